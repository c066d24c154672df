"""How a result's leaves are labelled, by what the contract says of the places where they stand.

1. When the label of the call's own arguments is untrusted, every leaf is: what goes in comes out.
2. A leaf under an `untrusted` pattern, or under no pattern at all, is untrusted: a result that is wrapped, or has other
   members than the contract knows, is nobody's record there.
3. A leaf under a `prose` pattern is a trusted record only if it looks like one: one line, at most `PROSE_WORDS` words
   and `PROSE_CHARACTERS` characters, no address unless it is the whole value. Otherwise anyone may have written it.
4. A text that is not structured, although the contract says of parts of it that others could have written them, is
   untrusted unless it looks like a record: which part is whose cannot be told.
5. A trusted leaf that carries something that was written out from an untrusted source (`laundry`) is untrusted, and so
   is one that says back what the call itself was given by nobody whom the session trusts.
6. Any other leaf under a `trusted` pattern is the tool's own record; nested deeper than any real one, it is untrusted.

Keys are labelled like their members; one that a pattern names on its way to a member is the contract's own word.

Rules 1, 2, 4 and 6 hold for a place, and are applied here; 3 and 5 depend on the leaf, and `memory` applies them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from fiducial.core.path import PathPattern
from fiducial.flow import entities, lexer, scripts
from fiducial.flow.structure import Place, path_of

TRUST, DISTRUST, PROSE = 0, 1, 2
"""What a place says of the leaf there; `PROSE`: rule 3 decides."""
PROSE_WORDS = 6
"""Words a short record may have: names, titles and cities have fewer; six words are the shortest useful instruction."""
PROSE_CHARACTERS = 64
_JOINED = 10
"""Words joined without spaces up to which a text is a file's name, a slug or a code; `PROSE_WORDS` when two of them are
such as only sentences have."""
_SENTENCE = 2
_NAME = 2 * PROSE_WORDS
"""Characters that are too few for so many words."""
_GLUED = 40
"""Letters in a row that are no one word."""
_GLUED_WORD = 5
"""Letters of each of the words that they count as."""
_UNREAD = 64 * 1024
"""Characters past which a text with hardly any spaces counts as prose unread."""
_ADDRESSED = re.compile(r"(?:[\w+.-]{1,16}:/|www\.|[/~.]|[A-Za-z]:\\)")
_STEP = re.compile(r"[/?&=:\\#]+")
"""Between the parts of a URL or path."""
_PART = re.compile(r"[^\W_]{1,1024}")
_INDEX = re.compile(r"\[\d")


class OutputPaths(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract says of the paths of a tool's result."""

    trusted: Sequence[PathPattern]
    untrusted: Sequence[PathPattern]
    prose: Sequence[PathPattern]
    classes: Mapping[str, Sequence[PathPattern]]
    """Data class → where its values stand."""
    documents: PathPattern | None = None
    """Where the ids of documents stand; what its last wildcard goes through are the documents."""

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
    if len(text) > PROSE_CHARACTERS or "\n" in text or "\r" in text or said(text, PROSE_WORDS + 1) > PROSE_WORDS:
        return False
    found = list(entities.addresses(text))
    if not found:
        return True
    value = text.strip()
    listed = " " in value or "," in value or ";" in value
    return not listed and (value in found or entities.PATH.fullmatch(value) is not None)


def said(text: str, enough: int) -> int:
    """How many words `text` says; when there are `enough`, that or more.

    A sentence may have no spaces: because its script has none, or because its words are joined by other signs.
    Identifiers, numbers, dates, paths, URLs and addresses are one word.
    """
    count = len(text.split(None, enough))
    if count >= enough or (len(text) <= _NAME and text.isascii()):
        return min(count, enough)
    if len(text) > _UNREAD:
        return enough
    return max(count, scripts.count(text), *map(_joined, text.split()))


def _joined(text: str) -> int:
    """How many words a text without spaces says; one unless they are so many that it is no name of anything."""
    if len(text) <= _NAME:
        return 1
    most = 1
    for step in _STEP.split(text) if _ADDRESSED.match(text) else (text,):
        parts = _PART.findall(step)
        spoken = [part for part in parts if part.isalpha()]
        if 2 * len(spoken) < len(parts):
            continue
        count = len(spoken)
        if count > PROSE_WORDS:
            telling = sum(part.lower() in lexer.FUNCTION_WORDS for part in spoken) >= _SENTENCE
            if telling or count > _JOINED:
                most = max(most, count)
        glued = max(map(len, spoken), default=0)
        if glued > _GLUED:
            most = max(most, glued // _GLUED_WORD)
    return most
