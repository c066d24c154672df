"""Labels: how far a value may be trusted, and what kind of data it is.

integrity   `trusted` or `untrusted`. The join of two labels is untrusted when either is: nothing that is combined,
            copied or passed through a tool comes out with more trust than it went in with.
classes     data classes the value holds (`identity`, `payment`, …). The join is the union.
sources     ids of what the value came from. The join is the union, in order of first appearance, capped: past
            `MAX_SOURCES` the later ones are left out, which loses explanation and never trust or classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from fiducial.core.ids import SourceId

MAX_SOURCES = 64
"""Sources kept per label; explanation only, so a small bound that keeps labels cheap."""


class Integrity(StrEnum):
    """Who could have chosen the value."""

    TRUSTED = "trusted"
    """The user, the operator, the system, or a tool's own records."""
    UNTRUSTED = "untrusted"
    """A third party could have written it."""


class Label(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Integrity, data classes and sources of one value."""

    integrity: Integrity = Integrity.TRUSTED
    """Whether a third party could have chosen the value."""
    classes: frozenset[str] = frozenset()
    """Data classes in the value; empty when none are known."""
    sources: tuple[SourceId, ...] = ()
    """What the value came from, at most `MAX_SOURCES`."""

    @property
    def trusted(self) -> bool:
        """No third party could have chosen the value."""
        return self.integrity is Integrity.TRUSTED

    def __or__(self, other: Label) -> Label:
        """The join: untrusted if either is, classes and sources of both."""
        if self == other:
            return self
        return Label(
            integrity=self.integrity if not self.trusted else other.integrity,
            classes=self.classes | other.classes,
            sources=tuple(dict.fromkeys(self.sources + other.sources))[:MAX_SOURCES],
        )


TRUSTED = Label()
UNTRUSTED = Label(integrity=Integrity.UNTRUSTED)


def join(labels: Iterable[Label]) -> Label:
    """The join of all `labels`; of none, the trusted label with no classes."""
    result = TRUSTED
    for label in labels:
        result = result | label
    return result
