"""What a session observed, so that an argument's lookup costs by the argument and not by the session.

A *lane* holds the texts of one kind of source (the user's words, tools' records, untrusted text), leaf after leaf, in
chunks of about `CHUNK` characters. Its table (`fiducial.flow.table`) says for every word in which chunks it stands. A
lookup takes the chunks of the value's rarest word and searches those for the value itself: the table only says where to
look, and a collision of hashes costs a search and never an answer.

- An *exact* lane (trusted text) also has the hashes of its short whole leaves. Its words keep their case: only the same
  code points count.
- A *folded* lane (untrusted text) keeps beside the text its `stream`, the folded words with single spaces between, and
  in the table every second run of four words. Any five copied words contain one of those, whatever stands between them.

Lanes do not share room: flooding one evicts nothing from another. A lane that reaches its budget takes no more
(`full`), and whoever asks then treats what it does not find as unknown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeAlias

from fiducial.flow.lexer import LEAF, fold, pieces, pieces_and_leaves
from fiducial.flow.structure import Place, Root, root_of
from fiducial.flow.table import CAP, RUN, STEP, Table

CHUNK = 32 * 1024
"""Characters a chunk: one search takes about 3 µs, one indexing about 3 ms, so other threads never wait long."""
OVERLAP = 512
"""Characters that the pieces of a longer leaf share, so that no entity shorter than that is cut."""
LATEST = 32
"""Of a value all of whose words are common, this many of the latest chunks are searched too."""
SHORT_LEAF = 200
"""Characters up to which a whole leaf of an exact lane is in the table as one token."""
COPIED = RUN + STEP - 1
"""Words in a row that count as copied."""

_CHUNK_BYTES = 600
_WIDEST = 8
"""Bytes that a character takes at most: four in the text and four in its stream."""
_LEAF_BYTES = 160
"""A path node, its place and its start."""

Accept: TypeAlias = Callable[[str, int, int], bool]


class Chunk:
    """A stretch of one lane's text: leaves, each with `LEAF` before it, and one at the end unless the text goes on."""

    __slots__ = ("_keys", "_parents", "base", "handle", "lines", "starts", "stream", "text")

    def __init__(self, text: str, handle: int) -> None:
        self.text = text
        self.handle = handle
        """Number of its lane and its own number in it, for `Hit.handle`."""
        self.stream = " "
        """Folded words, each with a space before and after; `LEAF` stands as a word."""
        self.starts: list[int] = []
        """Where each leaf's text starts."""
        # Places in two lists: a tuple kept for every leaf would be one more object for the garbage collector to walk.
        self._parents: list[Place] = []
        self._keys: list[str | int | None] = []
        self.base = 0
        """Characters of the first leaf that lie in earlier chunks."""
        self.lines = 0
        """Line ends of the first leaf that lie in earlier chunks."""

    def add(self, starts: Iterable[int], places: Iterable[Place]) -> None:
        """Leaves' texts start at `starts`."""
        self.starts.extend(starts)
        parents, keys = self._parents, self._keys
        for place in places:
            if type(place) is tuple and len(place) == 2:
                parents.append(place[0])
                keys.append(place[1])
            else:
                parents.append(place)
                keys.append(None)

    def place(self, number: int) -> Place:
        """The place of a leaf."""
        key = self._keys[number]
        return self._parents[number] if key is None else (self._parents[number], key)

    def root(self, number: int) -> Root:
        """The source of a leaf."""
        return root_of(self._parents[number])

    def leaf_at(self, offset: int) -> int:
        """Number of the leaf that holds `offset`."""
        return max(0, bisect_right(self.starts, offset) - 1)


class Hit:
    """One occurrence, in a lane."""

    __slots__ = ("chunk", "end", "start")

    def __init__(self, chunk: Chunk, start: int, end: int) -> None:
        self.chunk = chunk
        self.start = start
        self.end = end

    @property
    def place(self) -> Place:
        """The leaf."""
        return self.chunk.place(self.chunk.leaf_at(self.start))

    @property
    def root(self) -> Root:
        """The source."""
        return self.chunk.root(self.chunk.leaf_at(self.start))

    @property
    def offset(self) -> int:
        """Offset in the leaf."""
        number = self.chunk.leaf_at(self.start)
        return self.start - self.chunk.starts[number] + (self.chunk.base if number == 0 else 0)

    @property
    def handle(self) -> int:
        """A number by which `Lane.line` finds the place again."""
        return self.chunk.handle << _START_BITS | self.start


_START_BITS = 17
"""Bits of an offset in a chunk."""
_LANE_BITS = 2


def lane_of(handle: int) -> int:
    """Number of the lane that a hit's `handle` belongs to."""
    return handle >> _START_BITS & (1 << _LANE_BITS) - 1


class Lane:
    """The texts of one kind of source."""

    __slots__ = (
        "_pending",
        "_places",
        "_table",
        "_text_bytes",
        "_texts",
        "budget",
        "chunks",
        "folded",
        "full",
        "number",
    )

    def __init__(self, budget: int, *, number: int, folded: bool) -> None:
        """`budget` in bytes; `number`, 0 to 3, tells the lanes of a session apart."""
        self.budget = budget
        self.number = number
        self.folded = folded
        self.chunks: list[Chunk] = []
        self.full = False
        """Took no more from some point on."""
        self._table = Table()
        self._text_bytes = 0
        self._places: list[Place] = []
        self._texts: list[str] = []
        self._pending = 0

    @property
    def size(self) -> int:
        """Bytes used, at most; the tests compare it with what the interpreter allocates."""
        return self._text_bytes + self._table.size

    def push(self, place: Place, text: str) -> None:
        """Take one leaf; it can be found after `flush`, or sooner."""
        size = len(text)
        if self._pending + size > CHUNK:
            self.flush()
            if size > CHUNK:
                self._add_long(place, text)
                return
        self._places.append(place)
        self._texts.append(text)
        self._pending += size + 1

    def flush(self) -> None:
        """Index the leaves pushed so far."""
        places, texts, size = self._places, self._texts, self._pending
        if not texts:
            return
        self._places, self._texts, self._pending = [], [], 0
        if self._over(size):
            return
        added = LEAF.join(texts) + LEAF
        if added.count(LEAF) != len(texts):
            texts = [text.replace(LEAF, "\ufffd") for text in texts]
            added = LEAF.join(texts) + LEAF
        chunk = self.chunks[-1] if self.chunks else None
        if chunk is None or len(chunk.text) + len(added) > CHUNK or not chunk.text.endswith(LEAF):
            chunk = self._open(LEAF)
        # Each leaf starts behind the one before and its `LEAF`.
        sizes = [len(text) + 1 for text in texts]
        chunk.add(accumulate(sizes[:-1], initial=len(chunk.text)), places)
        self._put(chunk, added, texts)

    def _over(self, more: int) -> bool:
        """Whether the budget is used up, were `more` characters added that take as much as any can."""
        if not self.full:
            more = min(more, CHUNK)
            self.full = self._text_bytes + _WIDEST * more + self._table.size_with(more) > self.budget
        return self.full

    def _add_long(self, place: Place, text: str) -> None:
        """A leaf longer than a chunk goes into overlapping pieces, cut at white space where there is some."""
        start, size, lines = 0, len(text), 0
        while not self._over(CHUNK):
            end = min(size, start + CHUNK)
            if end < size:
                cut = max(text.rfind(" ", end - OVERLAP, end), text.rfind("\n", end - OVERLAP, end))
                end = cut if cut > start else end
            piece = text[start:end].replace(LEAF, "\ufffd")
            chunk = self._open(LEAF if start == 0 else "")
            chunk.base = start
            chunk.lines = lines
            chunk.add([len(chunk.text)], [place])
            self._put(chunk, piece + (LEAF if end >= size else ""), [])
            if end >= size:
                return
            # The next piece starts at a word, `OVERLAP` back.
            back = text.find(" ", end - OVERLAP, end)
            back = back if back > start else end - OVERLAP
            lines += text.count("\n", start, back)
            start = back

    def _open(self, text: str) -> Chunk:
        chunk = Chunk(text, len(self.chunks) << _LANE_BITS | self.number)
        self.chunks.append(chunk)
        return chunk

    def _put(self, chunk: Chunk, added: str, texts: list[str]) -> None:
        chunk.text += added
        number = len(self.chunks)
        ascii_ = added.isascii()
        if self.folded:
            chunk.stream += self._table.add_folded(
                added if ascii_ else " ".join(pieces_and_leaves(fold(added))), number
            )
        else:
            self._table.add_words(added if ascii_ else " ".join(pieces(added)), number)
            self._table.add_tokens([text for text in texts if len(text) <= SHORT_LEAF], number)
        wide = (1 if ascii_ else 4) * (2 if self.folded else 1)
        self._text_bytes += len(added) * wide + _CHUNK_BYTES // 8 + _LEAF_BYTES * len(texts)

    # Lookups

    def _at(self, handle: int) -> tuple[Chunk, int]:
        return self.chunks[handle >> _START_BITS + _LANE_BITS], handle & (1 << _START_BITS) - 1

    def source(self, handle: int) -> str:
        """Id of the source that a hit's place is in; empty when the handle is of another session."""
        if handle >> _START_BITS + _LANE_BITS >= len(self.chunks):
            return ""
        chunk, at = self._at(handle)
        return chunk.root(chunk.leaf_at(at)).id

    def line(self, handle: int, size: int, around: int) -> tuple[int, str]:
        """The line that a hit's place is on, from 1, and what it says around `size` characters there."""
        chunk, at = self._at(handle)
        number = chunk.leaf_at(at)
        start = chunk.starts[number]
        text = chunk.text
        line = 1 + text.count("\n", start, at) + (chunk.lines if number == 0 else 0)
        first = max(text.rfind("\n", start, at) + 1, start)
        last = min(end for end in (text.find("\n", at), text.find(LEAF, at), len(text)) if end >= 0)
        low = max(first, at - around // 2)
        high = min(last, at + size + around // 2)
        shown = text[low:high].strip()
        return line, ("…" if low > first else "") + shown + ("…" if high < last else "")

    def has(self, token: str) -> bool:
        """Whether the word stands anywhere; a collision of 64-bit hashes apart."""
        return token in self._table

    def candidates(self, tokens: Sequence[str]) -> Sequence[int]:
        """Numbers of chunks that may hold all of `tokens`: those of the rarest."""
        found = self._table.rarest(tokens)
        if len(found) < CAP:
            return found
        last = len(self.chunks)
        return [*found, *range(max(found[-1], last - LATEST) + 1, last + 1)]

    def find(self, value: str, tokens: Sequence[str], accept: Accept | None, *, limit: int = 1) -> list[Hit]:
        """Exact occurrences of `value` that `accept` takes, one a chunk, at most `limit`.

        `tokens` are its words, folded if the lane is.
        """
        hits: list[Hit] = []
        size = len(value)
        for number in self.candidates(tokens):
            chunk = self.chunks[number - 1]
            at = _occurrence(chunk.text, value, accept)
            if at >= 0:
                hits.append(Hit(chunk, at, at + size))
                if len(hits) >= limit:
                    break
        return hits

    def leaf(self, value: str) -> Hit | None:
        """A whole leaf that equals `value`."""
        for number in self._table.chunks(value):
            chunk = self.chunks[number - 1]
            at = chunk.text.find(f"{LEAF}{value}{LEAF}")
            if at >= 0:
                return Hit(chunk, at + 1, at + 1 + len(value))
        return None

    def stream(self, tokens: Sequence[str], *, limit: int = 1) -> list[Hit]:
        """Where the folded words `tokens` stand one after the other, one a chunk; for folded lanes."""
        hits: list[Hit] = []
        wanted = f" {' '.join(tokens)} "
        for number in self.candidates(tokens):
            chunk = self.chunks[number - 1]
            at = chunk.stream.find(wanted)
            if at >= 0:
                hits.append(_located(chunk, at, tokens))
                if len(hits) >= limit:
                    break
        return hits

    def runs(self, tokens: Sequence[str]) -> list[tuple[int, list[int]]]:
        """Positions at which a run of four of `tokens` may be copied from here, and the chunks it may be from."""
        return self._table.runs(tokens)


def _occurrence(text: str, value: str, accept: Accept | None) -> int:
    """Where `value` stands in `text` so that `accept` takes it; -1 when nowhere among the first 64 places."""
    size = len(value)
    at = text.find(value)
    if accept is None:
        return at
    tries = 0
    while at >= 0:
        if accept(text, at, at + size):
            return at
        tries += 1
        if tries >= 64:
            return -1
        at = text.find(value, at + 1)
    return -1


def _located(chunk: Chunk, at: int, tokens: Sequence[str]) -> Hit:
    """The place in a chunk's text of a place in its stream: the right leaf, and there the first of the words."""
    number = min(chunk.stream.count(LEAF, 0, at), len(chunk.starts) - 1)
    start = chunk.starts[number]
    end = chunk.text.find(LEAF, start)
    end = end if end >= 0 else len(chunk.text)
    leaf = chunk.text[start:end]
    lowered = leaf.lower()
    found = lowered.find(" ".join(tokens)) if len(lowered) == len(leaf) else -1
    if found < 0 and tokens:
        found = lowered.find(tokens[0])
    if found < 0:
        return Hit(chunk, start, end)
    stop = lowered.find(tokens[-1], found) + len(tokens[-1]) if tokens else found
    return Hit(chunk, start + found, start + max(stop, found + 1))


def located_run(chunk: Chunk, tokens: Sequence[str]) -> Hit | None:
    """Where the words stand in the chunk; `None` when they do not."""
    at = chunk.stream.find(f" {' '.join(tokens)} ")
    return _located(chunk, at, tokens) if at >= 0 else None
