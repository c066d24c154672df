"""Where untrusted text holds a value: word for word, or in a disguise.

What `fiducial.flow.disguise` recovers when a text is observed lies in the index beside it; the other disguises are
looked for here, from the value's side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fiducial.flow.disguise import decoded, spellings, spoken
from fiducial.flow.index import Accept, Chunk, Hit, Lane
from fiducial.flow.lexer import LEAF, fold, piece_spans, pieces, whole
from fiducial.flow.memory import Recovered
from fiducial.flow.trace import MAX_WHERE

REVERSED = 5
"""Characters from which a value that stands backwards or without its punctuation stands there by no chance."""
MAX_SPELLED = 64
"""Places in one chunk that are looked at for one that somebody wrote, or that are kept of a spelled-out value."""


def pointed(lane: Lane, text: str, folded: Sequence[str]) -> list[Hit]:
    """An occurrence in a source that the user pointed to, among all that the index lists."""
    return [hit for hit in written(lane, text, folded, whole, limit=1 << 30) if hit.root.pointed][:1]


def written(lane: Lane, text: str, folded: Sequence[str], accept: Accept, *, limit: int = MAX_WHERE) -> list[Hit]:
    """Where untrusted text says so word for word, and not in a disguise that was undone."""
    found = []
    for hit in lane.find(text, folded, accept, limit=limit):
        chunk, at = hit.chunk, hit.start
        for _ in range(MAX_SPELLED):
            if at < 0 or not isinstance(hit.root, Recovered):
                break
            at = chunk.text.find(text, at + 1)
            if at >= 0 and accept(chunk.text, at, at + len(text)):
                hit = Hit(chunk, at, at + len(text))
        if not isinstance(hit.root, Recovered):
            found.append(hit)
    return found


def spelled(lane: Lane, plain: str) -> list[Hit]:
    """Where untrusted text spells the folded value out, character by character."""
    # Hardly any text has all letters of a value as words by themselves; to find that out costs a microsecond.
    if not lane.chunks or not all(map(lane.has, filter(str.isalpha, plain))):
        return []
    return [
        place
        for tokens in spellings(plain)
        for hit in lane.stream(tokens, limit=MAX_WHERE)
        for place in _standing(hit.chunk, tokens)
    ]


def _standing(chunk: Chunk, tokens: Sequence[str]) -> Iterator[Hit]:
    """Every place where the words stand one after the other, exactly."""
    stream, wanted = chunk.stream, f" {' '.join(tokens)} "
    at, leaf = stream.find(wanted), -1
    standing: list[tuple[int, int]] = []
    for _ in range(MAX_SPELLED):
        if at < 0:
            return
        start = stream.rfind(LEAF, 0, at) + 1
        if start != leaf:
            leaf = start
            number = min(stream.count(LEAF, 0, at), len(chunk.starts) - 1)
            end = chunk.text.find(LEAF, chunk.starts[number])
            standing = piece_spans(chunk.text, chunk.starts[number], end if end >= 0 else len(chunk.text))
        # The stream has a space before each word.
        first = stream.count(" ", start, at)
        if first + len(tokens) <= len(standing):
            yield Hit(chunk, standing[first][0], standing[first + len(tokens) - 1][1])
        at = stream.find(wanted, at + 1)


def may_hide(lane: Lane, plain: str, folded: Sequence[str]) -> bool:
    """Whether the lane has the words that the folded value would be hidden in: spelled out, backwards or squashed."""
    if all(lane.has(sign) or lane.has(spoken(sign)) for sign in plain if sign.isalnum()):
        return True
    return all(map(lane.has, pieces(plain[::-1]))) or (len(folded) > 1 and lane.has("".join(folded)))


def disguised(lane: Lane, text: str, plain: str, folded: Sequence[str]) -> list[Hit]:
    """Spelled out, without its punctuation, backwards, or decoded."""
    letters = spelled(lane, plain)
    if letters:
        return letters
    squashed = "".join(folded)
    if len(squashed) >= REVERSED and len(folded) > 1:
        hits = lane.stream([squashed])
        if hits:
            return hits
    if len(squashed) >= REVERSED:
        hits = lane.stream([squashed[::-1]]) or lane.stream(pieces(plain[::-1]))
        if hits:
            return hits
    if "%" in text:
        hits = lane.stream(pieces(fold(re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text))))
        if hits:
            return hits
    if len(text) >= 16:
        opened = decoded(text)
        if opened is not None:
            return lane.stream(pieces(fold(opened)))
    return []
