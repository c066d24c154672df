"""What the rules of all roles share: where a value stands in what the session observed, and what follows from that.

Words are looked for in the letters they are usually written in; entities code point for code point (`whole`), or where
nothing that belongs to them touches them (`apart`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from fiducial.core.ids import SourceId
from fiducial.core.label import Integrity, Label
from fiducial.flow import entities, lexer
from fiducial.flow.disguise import may_disguise, undisguised
from fiducial.flow.index import Hit, Lane
from fiducial.flow.lexer import fold, pieces, whole, words
from fiducial.flow.memory import Memory
from fiducial.flow.structure import root_of, show_place
from fiducial.flow.trace import MAX_WHERE, Origin, Trace, Where

NO_CLASSES: frozenset[str] = frozenset()
# Looking a member up in its enum costs as much as a small function call.
_USER, _TRUSTED = Origin.USER, Integrity.TRUSTED
_JOINS = frozenset("-_/@")
_COMMON_PARTS = (
    "http https html index home page file files data user users docs mail test info www com org net name main"
)
_COMMON = lexer.FUNCTION_WORDS | frozenset(_COMMON_PARTS.split())


def trusted(memory: Memory, text: str, tokens: Sequence[str]) -> tuple[Where | None, Lane | None]:
    """Where the value stands as one whole entity in the user's words, or else in a record."""
    canonical = entities.canonical_address(text)
    where = memory.named.get(text)
    if where is None and canonical is not None:
        where = memory.named.get(canonical)
    if where is not None:
        return where, memory.user
    for lane in (memory.user, memory.record):
        hit = lane.leaf(text)
        if hit is None and tokens:
            hit = next(iter(lane.find(text, tokens, whole)), None)
        if hit is None and canonical is not None and canonical != text:
            hit = lane.leaf(canonical) or next(iter(lane.find(canonical, pieces(canonical), whole)), None)
        if hit is not None:
            return places([hit])[0], lane
    return None, None


def stands(lane: Lane, token: str) -> bool:
    """The folded word stands in the lane, in one of its usual cases."""
    return lane.has(token) or lane.has(token.capitalize()) or lane.has(token.upper())


def anywhere(memory: Memory, token: str) -> bool:
    """The folded word stands in trusted text."""
    return stands(memory.user, token) or stands(memory.record, token)


def part(memory: Memory, folded: Sequence[str]) -> list[Hit]:
    """A telling word of the value stands in untrusted text and in no trusted text."""
    lane = memory.untrusted
    for token in folded:
        telling = len(token) >= 4 or (len(token) >= 3 and token.isdecimal())
        if telling and token not in _COMMON and lane.has(token) and not anywhere(memory, token):
            hits = lane.stream([token])
            if hits:
                return hits
    return []


def apart(text: str, start: int, end: int) -> bool:
    """Looser than `whole`: nothing that is surely part of a longer entity touches it."""
    left, right = text[start - 1 : start], text[end : end + 1]
    if left.isalnum() or left in _JOINS or right.isalnum() or right in _JOINS:
        return False
    beyond = text[end + 1 : end + 2]
    before = text[start - 2 : start - 1] if start > 1 else ""
    return not (right in (".", ":") and beyond.isalnum()) and not (left in (".", ":") and before.isalnum())


def named(where: Where, classes: frozenset[str] = NO_CLASSES) -> Trace:
    """A value that the user named: the frequent case, kept short."""
    return Trace(_USER, Label(_TRUSTED, classes, (where.source,)), verbatim=True, classes=classes, where=(where,))


def classes_of(memory: Memory, text: str) -> frozenset[str]:
    """Classes of declared values that the text carries."""
    return memory.classed.of(words(fold(text))) if memory.classed else NO_CLASSES


def hidden_classes(memory: Memory, text: str) -> frozenset[str]:
    """Classes of declared values that the text spells out, encodes or has backwards."""
    if not memory.classed:
        return NO_CLASSES
    found = memory.classed.of(words(fold(text[::-1])))
    for _, _, classes in memory.classed.codes(text):
        found |= classes
    if may_disguise(text):
        for plain in undisguised(text):
            found |= memory.classed.of(words(fold(plain)))
    return found


def label_of(hits: Sequence[Hit], classes: frozenset[str], integrity: Integrity) -> Label:
    """The label of a value that stands at `hits`."""
    return Label(integrity, classes, tuple(dict.fromkeys(SourceId(hit.root.id) for hit in hits)))


def unknown_label(memory: Memory, classes: frozenset[str]) -> Label:
    """The label of a value that stands nowhere: it may carry whatever was seen."""
    return memory.seen | Label(classes=classes)


def places(hits: Iterable[Hit]) -> tuple[Where, ...]:
    """The first hits, as they are shown: at most `MAX_WHERE`."""
    return tuple(map(place_of, islice(hits, MAX_WHERE)))


def place_of(hit: Hit) -> Where:
    """A hit as it is shown: the source, the path in it, and the characters from there."""
    chunk, start = hit.chunk, hit.start
    number = chunk.leaf_at(start)
    place = chunk.place(number)
    offset = start - chunk.starts[number] + (0 if number else chunk.base)
    return Where(SourceId(root_of(place).id), show_place(place), offset, offset + hit.end - start, hit.handle)
