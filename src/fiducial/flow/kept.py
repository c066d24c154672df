"""What is kept of a text that was stored in a memory, so that it is known again: whole, or any part of it.

Kept are keyed 64-bit hashes, which say nothing to whoever has not the key:

- *exact*: every run of `RUN` words, code point for code point (white space apart), and the whole text and each line of
  it. A text is *surely* from an item when all of its runs are, or when it is the whole item or a line of it. Only this
  may keep trust: a run of five words leaves little to whoever would put another sentence together out of a trusted one.
- *folded*: every word and every run of `RUN` words (`lexer.pieces`, `lexer.fold`). A text is *known* from an item when
  all of its words and runs are. This lowers trust, and says what may be given back: of an item's own words, nothing in
  a text of fewer than `RUN` is anybody else's.

A chunk that was cut inside a word is neither, unless another item holds it as it stands.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from fiducial.flow.lexer import fold, pieces

RUN = 5
"""Words of a run."""
MAX_TEXT = 256 * 1024
"""Characters of an item that are kept track of; of one that is longer, everything may be a part."""
_HEADER = struct.Struct("<?II")
"""Cut, and how many exact and folded hashes follow."""
_EXACT, _WHOLE, _FOLDED, _WORD = b"x", b"X", b"f", b"w"


class Probe:
    """A text that came back, hashed as items are."""

    __slots__ = ("_exact", "_folded", "_key", "_text", "_whole", "words")

    def __init__(self, text: str, key: bytes) -> None:
        self._text = text
        self._key = key
        self.words = text.split()
        """As they are written; none when the text says nothing."""
        self._whole = hash_of(_WHOLE, " ".join(self.words), key)
        self._exact: list[int] | None = None
        self._folded: list[int] | None = None

    def exact(self) -> tuple[int, list[int]]:
        """The whole text, and its runs."""
        if self._exact is None:
            self._exact = list(dict.fromkeys(_runs(_EXACT, self.words, self._key)))
        return self._whole, self._exact

    def folded(self) -> list[int]:
        """Its runs and words, the rarer ones first."""
        if self._folded is None:
            self._folded = list(dict.fromkeys(_folded(self._text, self._key)))
        return self._folded


class Kept:
    """What is kept of one item."""

    __slots__ = ("_exact", "_folded", "cut")

    def __init__(self, cut: bool, exact: array[int], folded: array[int]) -> None:
        self.cut = cut
        """It was longer than what is kept track of."""
        self._exact = exact
        self._folded = folded

    @classmethod
    def of(cls, texts: Iterable[str], key: bytes) -> Kept:
        """What is kept of an item that says `texts`."""
        exact: set[int] = set()
        folded: set[int] = set()
        left, cut = MAX_TEXT, False
        for text in texts:
            cut = cut or len(text) > left
            text, left = text[:left], max(0, left - len(text))
            exact.update(_runs(_EXACT, text.split(), key))
            exact.update(hash_of(_WHOLE, " ".join(part.split()), key) for part in (text, *text.splitlines()))
            folded.update(_folded(text, key))
        return cls(cut, array("Q", sorted(exact)), array("Q", sorted(folded)))

    @classmethod
    def decode(cls, data: bytes) -> Kept:
        """What `encode` wrote. Raises `ValueError` when `data` is no such thing."""
        try:
            cut, exact, folded = _HEADER.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        hashes = array("Q")
        if (len(data) - _HEADER.size) % hashes.itemsize:
            raise ValueError("it ends within a hash")
        hashes.frombytes(data[_HEADER.size :])
        if sys.byteorder == "big":
            hashes.byteswap()
        if len(hashes) != exact + folded:
            raise ValueError("it is cut short, or too long")
        return cls(cut, hashes[:exact], hashes[exact:])

    def encode(self) -> bytes:
        """The form in which it is stored, little-endian."""
        hashes = self._exact + self._folded
        if sys.byteorder == "big":
            hashes.byteswap()
        return _HEADER.pack(self.cut, len(self._exact), len(self._folded)) + hashes.tobytes()

    def surely(self, probe: Probe) -> bool:
        """The text stands in the item, word for word."""
        whole, runs = probe.exact()
        return _has(self._exact, whole) or (bool(runs) and all(_has(self._exact, run) for run in runs))

    def known(self, probe: Probe) -> bool:
        """The text's words, and every run of them, stand in the item."""
        folded = probe.folded()
        return bool(folded) and all(_has(self._folded, one) for one in folded)


def _runs(domain: bytes, words: list[str], key: bytes) -> Iterator[int]:
    for index in range(len(words) - RUN + 1):
        yield hash_of(domain, " ".join(words[index : index + RUN]), key)


def _folded(text: str, key: bytes) -> Iterator[int]:
    words = pieces(fold(text))
    yield from _runs(_FOLDED, words, key)
    yield from (hash_of(_WORD, word, key) for word in words)


def hash_of(domain: bytes, text: str, key: bytes) -> int:
    """64 bits of BLAKE2b, keyed."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8, key=key, person=domain).digest(), "little")


def _has(hashes: array[int], one: int) -> bool:
    at = bisect_left(hashes, one)
    return at < len(hashes) and hashes[at] == one


__all__ = ["MAX_TEXT", "RUN", "Kept", "Probe", "hash_of"]
