"""What a trace says: where one argument's value came from.

Origins, from least to most worrying: `constant`, `user`, `record`, `derived`, `unknown`, `untrusted`. A list or object
is as worrying as its worst leaf.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from fiducial.core.ids import SourceId
from fiducial.core.label import TRUSTED, Label, join

MAX_WHERE = 8
"""Places kept per trace; explanation only."""


class Origin(StrEnum):
    """Where a value came from."""

    CONSTANT = "constant"
    """Nothing anyone could have chosen: a flag, an empty value, a small number."""
    USER = "user"
    """Words of the user, the operator or the system."""
    RECORD = "record"
    """A tool's own record."""
    DERIVED = "derived"
    """Follows from trusted values in a known way, named in `derivation`, or is composed of trusted words."""
    UNKNOWN = "unknown"
    """Found nowhere: the model made it up, or it was disguised."""
    UNTRUSTED = "untrusted"
    """Found in text that a third party could have written, and in no trusted source as one whole entity."""


_RANK = {origin: rank for rank, origin in enumerate(Origin)}


class Where(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One place a value stands in."""

    source: SourceId
    path: str
    """JSONPath in the source; `$` for texts."""
    start: int
    end: int
    """Character offsets in the text at `path`."""
    handle: int = -1
    """Where the session's index keeps it; says nothing outside the session."""


class Trace(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where one argument's value came from."""

    origin: Origin
    label: Label = TRUSTED
    """Of what it came from; for an unknown value, the join of everything the session has seen."""
    contested: bool = False
    """A record that untrusted text names too, and the user does not."""
    pointed: bool = False
    """Untrusted, and stands word for word as one whole entity in a source that the user pointed to."""
    verbatim: bool = False
    """Stands word for word as one whole entity in one source."""
    composed: bool = False
    """Put together from several sources, or altered: a secret could be hidden in it."""
    links: bool = False
    """Holds an address (URL, host, e-mail, account) that no trusted source names."""
    untrusted_text: bool = False
    """Carries words, a name or a number of an untrusted source."""
    classes: frozenset[str] = frozenset()
    """Data classes of what it came from."""
    where: tuple[Where, ...] = ()
    """Places it stands in, at most `MAX_WHERE`."""
    against: tuple[Where, ...] = ()
    """For a contested record: places in untrusted text that name it."""
    derivation: str | None = None
    """How it follows from trusted values; `None` when it stands there as it is."""

    @property
    def trusted(self) -> bool:
        """Its origin is known and no third party's."""
        return self.origin not in (Origin.UNKNOWN, Origin.UNTRUSTED)

    def doubtful(self, *, tainted: bool) -> bool:
        """A third party may have chosen it.

        `tainted`: untrusted text was read before, which may have told the model how to make an unknown value up.
        """
        return (
            self.origin is Origin.UNTRUSTED
            or (tainted and self.origin is Origin.UNKNOWN)
            or self.untrusted_text
            or self.links
        )


CONSTANT = Trace(Origin.CONSTANT, verbatim=True)


def joined(traces: Iterable[Trace]) -> Trace:
    """The trace of a value made of several leaves; of none, a constant."""
    several = list(traces)
    if len(several) == 1:
        return several[0]
    if not several:
        return CONSTANT
    worst = max(several, key=lambda trace: _RANK[trace.origin])
    untrusted = [trace for trace in several if trace.origin is Origin.UNTRUSTED]
    return Trace(
        origin=worst.origin,
        label=join(trace.label for trace in several),
        contested=any(trace.contested for trace in several),
        # Pointed excuses an untrusted value, so every untrusted leaf must be.
        pointed=bool(untrusted) and all(trace.pointed for trace in untrusted),
        verbatim=all(trace.verbatim for trace in several),
        composed=any(trace.composed for trace in several),
        links=any(trace.links for trace in several),
        untrusted_text=any(trace.untrusted_text for trace in several),
        classes=frozenset().union(*(trace.classes for trace in several)),
        where=tuple(
            dict.fromkeys(
                where for trace in sorted(several, key=lambda one: -_RANK[one.origin]) for where in trace.where
            )
        )[:MAX_WHERE],
        against=tuple(dict.fromkeys(where for trace in several for where in trace.against))[:MAX_WHERE],
        derivation=worst.derivation,
    )
