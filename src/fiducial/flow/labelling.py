"""How a result's leaves are labelled, by what the contract says of the places where they stand.

1. When the label of the call's own arguments is untrusted, every leaf is: what goes in comes out.
2. A leaf under an `untrusted` pattern, or under no pattern at all, is untrusted: a result that is wrapped, or has other
   members than the contract knows, is nobody's record there.
3. A leaf under a `prose` pattern is a trusted record only if it looks like one: one line, at most `PROSE_WORDS` words
   and `PROSE_CHARACTERS` characters, no address unless it is the whole value. Otherwise anyone may have written it.
4. A text that is not structured, although the contract says of parts of it that others could have written them, is
   untrusted unless it looks like a record: which part is whose cannot be told.
5. A trusted leaf that carries something that was written out from an untrusted source (`laundry`) is untrusted.
6. Any other leaf under a `trusted` pattern is the tool's own record; nested deeper than any real one, it is untrusted.

Keys are labelled like their members; one that a pattern names on its way to a member is the contract's own word.

Rules 1, 2, 4 and 6 hold for a place, and are applied here; 3 and 5 depend on the leaf, and `memory` applies them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from fiducial.core.path import PathPattern
from fiducial.flow import entities
from fiducial.flow.structure import Place, path_of

TRUST, DISTRUST, PROSE = 0, 1, 2
"""What a place says of the leaf there; `PROSE`: rule 3 decides."""
PROSE_WORDS = 6
"""Words a short record may have: names, titles and cities have fewer; six words are the shortest useful instruction."""
PROSE_CHARACTERS = 64
_INDEX = re.compile(r"\[\d")


class OutputPaths(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract says of the paths of a tool's result."""

    trusted: Sequence[PathPattern]
    untrusted: Sequence[PathPattern]
    prose: Sequence[PathPattern]
    classes: Mapping[str, Sequence[PathPattern]]
    """Data class → where its values stand."""

    @property
    def exact(self) -> bool:
        """Some pattern names one member of a list, so that members have to be told apart."""
        patterns = [*self.trusted, *self.untrusted, *self.prose]
        patterns += [pattern for many in self.classes.values() for pattern in many]
        return any(_INDEX.search(pattern.text) for pattern in patterns)

    @property
    def doubtful(self) -> bool:
        """Others could have written parts of the result."""
        return bool(self.untrusted or self.prose)

    def rule(self, place: Place, *, everything: bool, vague: bool) -> tuple[int, frozenset[str]]:
        """What holds for a leaf at `place`, and its data classes. `everything`, `vague`: rules 1 and 4 apply."""
        path = path_of(place)
        found = frozenset(name for name, many in self.classes.items() if any(pattern.covers(path) for pattern in many))
        if everything or any(pattern.covers(path) for pattern in self.untrusted):
            return DISTRUST, found
        if any(pattern.covers(path) for pattern in self.prose):
            return PROSE, found
        if any(pattern.covers(path) for pattern in self.trusted):
            return PROSE if vague else TRUST, found
        return DISTRUST, found

    def knows(self, place: Place) -> bool:
        """The key at `place` is one that a pattern names on its way to a member."""
        path = path_of(place)
        return any(pattern.names(path) for several in (self.trusted, self.prose) for pattern in several)


def looks_like_record(text: str) -> bool:
    """Short enough to be an id, a name, a number, a date, a path or an address, and nothing more."""
    if len(text) > PROSE_CHARACTERS or "\n" in text or "\r" in text or len(text.split()) > PROSE_WORDS:
        return False
    return " " not in text.strip() or next(entities.addresses(text), None) is None
