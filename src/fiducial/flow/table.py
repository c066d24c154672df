"""Which chunks of a lane each of its tokens stands in: words, whole short leaves, and runs of four words.

Every token is known by a 64-bit hash, keyed anew in every process so that collisions cannot be prepared. Up to `CAP`
chunks are listed for it; a token that has as many is common, and its list stays.

`Table` is compiled from `_table.pyx` where the package was built with a C compiler. Without one it is `DictTable`,
which gives the same answers an order of magnitude slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fiducial.flow.lexer import LEAF, words, words_and_leaves

CAP = 16
"""Chunks listed for one token. Bounds the work of a lookup."""
RUN = 4
STEP = 2
"""Words a run, and the step between runs: any `RUN + STEP - 1` copied words contain a whole one."""

_TOKEN_BYTES = 104
"""A dict entry at its emptiest (CPython grows a full table twofold: 8/3 × 24 bytes and its index) and an int."""
_CHUNK_BITS = 20
_CHUNK_MASK = (1 << _CHUNK_BITS) - 1
_COMMON = 1 << _CHUNK_BITS * (CAP - 1)
"""A packed integer from here on holds `CAP` chunks."""
_PACKED_BYTES = 16
"""What a packed integer grows by for each chunk, and what a new one takes, spread over them."""


class DictTable:
    """A dictionary of hash → chunks, packed into one integer, the latest lowest: nothing the collector walks."""

    __slots__ = ("_size", "_table")

    def __init__(self) -> None:
        self._table: dict[int, int] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes used, at most about."""
        return self._size

    def size_with(self, characters: int) -> int:
        """Bytes used at most about once so many more characters have been added."""
        # Every second character a word, every second word a run.
        return self._size + (characters // 2 + characters // 4 + 2) * _TOKEN_BYTES

    def add_words(self, text: str, chunk: int) -> None:
        """The words of `text` stand in `chunk`, a number from 1 to 2²⁰ - 1 that is not below those before.

        `text` is ASCII, or words of any script with spaces between.
        """
        self._note(set(map(hash, words(text) if text.isascii() else text.split())), chunk)

    def add_folded(self, text: str, chunk: int) -> str:
        """As `add_words`, in lower case and with runs, none over a `LEAF`; returns the words, a space behind each."""
        tokens = words_and_leaves(text.lower()) if text.isascii() else text.split()
        hashes = set(map(hash, tokens))
        hashes.discard(hash(LEAF))
        start = 0
        for end in [at for at, token in enumerate(tokens) if token == LEAF] + [len(tokens)]:
            leaf = tokens[start:end]
            hashes.update(map(hash, zip(leaf[::STEP], leaf[1::STEP], leaf[2::STEP], leaf[3::STEP], strict=False)))
            start = end + 1
        self._note(hashes, chunk)
        return " ".join(tokens) + " " if tokens else ""

    def add_tokens(self, tokens: Iterable[str], chunk: int) -> None:
        """Each of `tokens`, taken as a whole, stands in `chunk`."""
        self._note(set(map(hash, tokens)), chunk)

    def _note(self, hashes: set[int], chunk: int) -> None:
        if not 0 < chunk <= _CHUNK_MASK:
            raise ValueError("a chunk's number is from 1 to 2**20 - 1")
        table = self._table
        known = table.keys() & hashes
        grown = 0
        for token, packed in zip(known, map(table.__getitem__, known), strict=True):
            if packed < _COMMON and packed & _CHUNK_MASK != chunk:
                table[token] = packed << _CHUNK_BITS | chunk
                grown += _PACKED_BYTES
        hashes -= known
        table.update(dict.fromkeys(hashes, chunk))
        self._size += grown + _TOKEN_BYTES * len(hashes)

    def __contains__(self, token: str) -> bool:
        return hash(token) in self._table

    def chunks(self, token: str) -> list[int]:
        """The chunks listed for `token`, earliest first."""
        return _unpacked(self._table.get(hash(token), 0))

    def rarest(self, tokens: Sequence[str]) -> list[int]:
        """The chunks of the token that is listed in fewest; none when one of them stands nowhere."""
        least = 0
        for token in tokens:
            packed = self._table.get(hash(token))
            if packed is None:
                return []
            # Fewer chunks make a smaller integer.
            if not least or packed < least:
                least = packed
        return _unpacked(least)

    def runs(self, tokens: Sequence[str]) -> list[tuple[int, list[int]]]:
        """Positions in `tokens` at which a run of four may be one that was added, and the chunks it may be from."""
        hashes = map(hash, zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
        return [(index, _unpacked(self._table[run])) for index, run in enumerate(hashes) if run in self._table]


def _unpacked(packed: int) -> list[int]:
    """The chunks in a packed integer, earliest first."""
    found = []
    while packed:
        found.append(packed & _CHUNK_MASK)
        packed >>= _CHUNK_BITS
    found.reverse()
    return found


try:
    from fiducial.flow._table import Table as Table
except ImportError:
    Table = DictTable  # type: ignore[misc, assignment]
