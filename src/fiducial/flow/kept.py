"""What is kept of a text that was stored in a memory, so that it is known again: whole, or any part of it.

Kept are keyed 64-bit hashes, which say nothing to whoever has not the key, but that some words came twice:

- *exact*: the whole text, each line of it, and its runs of `RUN` words, one after the other, code point for code point
  (white space apart). A text is *surely* from an item when its runs stand there in a row, or when it is the whole item
  or a line of it. Only this may keep trust.
- *folded*: every one to `RUN` words in a row (`lexer.pieces`, `lexer.fold`). A text is *known* from an item when it
  stands there in a row; of more than `RUN` words, when each run of it does. This lowers trust, and says whose a text
  is: words of an item in another order are nobody's, or a list of all words would be everybody's memory.

A chunk that was cut inside a word is neither, unless another item holds it as it stands.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from fiducial.flow.lexer import fold, pieces

RUN = 5
"""Words of a run."""
MAX_TEXT = 256 * 1024
"""Characters of an item that are kept track of; of one that is longer, everything may be a part."""
_HEADER = struct.Struct("<?III")
"""Cut, and how many hashes of wholes, of runs and of folded words follow."""
_RUNS, _WHOLE, _FOLDED = b"x", b"X", b"f"
_GAP = 0
"""Stands between the runs of two texts, which are in no row."""


class Probe:
    """A text that came back, hashed as items are."""

    __slots__ = ("_folded", "_key", "_runs", "_text", "_whole", "words")

    def __init__(self, text: str, key: bytes) -> None:
        self._text = text
        self._key = key
        self.words = text.split()
        """As they are written; none when the text says nothing."""
        self._whole = hash_of(_WHOLE, " ".join(self.words), key)
        self._runs: bytes | None = None
        self._folded: list[int] | None = None

    def exact(self) -> tuple[int, bytes]:
        """The whole text, and its runs in a row; no runs when it has too few words."""
        if self._runs is None:
            self._runs = _packed(_runs(self.words, self._key))
        return self._whole, self._runs

    def folded(self) -> list[int]:
        """What of it has to be among the words of an item; nothing where it has no letter or digit."""
        if self._folded is None:
            words = pieces(fold(self._text))
            size = min(RUN, len(words))
            self._folded = list(dict.fromkeys(_in_rows(words, size, self._key))) if words else []
        return self._folded


class Kept:
    """What is kept of one item."""

    __slots__ = ("_folded", "_runs", "_wholes", "cut")

    def __init__(self, cut: bool, wholes: array[int], runs: bytes, folded: array[int]) -> None:
        self.cut = cut
        """It was longer than what is kept track of."""
        self._wholes = wholes
        self._runs = runs
        """Little-endian, one after the other."""
        self._folded = folded

    @classmethod
    def of(cls, texts: Iterable[str], key: bytes) -> Kept:
        """What is kept of an item that says `texts`."""
        wholes: set[int] = set()
        runs: list[int] = []
        folded: set[int] = set()
        left, cut = MAX_TEXT, False
        for text in texts:
            said, lines = text, [text, *text.splitlines()]
            if len(text) > left:
                # What stands where it is cut off is no whole word or line of it.
                cut, said = True, text[:left]
                lines = said.splitlines()[:-1]
                said = said[: len(said) - len((said.split() or [""])[-1])]
            left -= len(said)
            wholes.update(hash_of(_WHOLE, " ".join(line.split()), key) for line in lines)
            runs += [*_runs(said.split(), key), _GAP]
            words = pieces(fold(said))
            folded.update(hashed for size in range(1, RUN + 1) for hashed in _in_rows(words, size, key))
        return cls(cut, array("Q", sorted(wholes)), _packed(runs), array("Q", sorted(folded)))

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self._runs) + 8 * (len(self._wholes) + len(self._folded))

    @classmethod
    def decode(cls, data: bytes) -> Kept:
        """What `encode` wrote. Raises `ValueError` when `data` is no such thing."""
        try:
            cut, wholes, runs, folded = _HEADER.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        if len(data) != _HEADER.size + 8 * (wholes + runs + folded):
            raise ValueError("it is cut short, or too long")
        first = _HEADER.size + 8 * wholes
        last = first + 8 * runs
        return cls(cut, _unpacked(data[_HEADER.size : first]), data[first:last], _unpacked(data[last:]))

    def encode(self) -> bytes:
        """The form in which it is stored."""
        head = _HEADER.pack(self.cut, len(self._wholes), len(self._runs) // 8, len(self._folded))
        return b"".join((head, _packed(self._wholes), self._runs, _packed(self._folded)))

    def surely(self, probe: Probe) -> bool:
        """The text stands in the item, word for word."""
        whole, runs = probe.exact()
        return _has(self._wholes, whole) or (bool(runs) and self._in_a_row(runs))

    def known(self, probe: Probe) -> bool:
        """The text stands in the item, but for how its words are written; one without letters, as a whole."""
        folded = probe.folded()
        if not folded:
            return _has(self._wholes, probe.exact()[0])
        return all(_has(self._folded, one) for one in folded)

    def _in_a_row(self, runs: bytes) -> bool:
        at = self._runs.find(runs)
        while at >= 0 and at % 8:  # it only looks so, across two hashes
            at = self._runs.find(runs, at + 1)
        return at >= 0


def _runs(words: Sequence[str], key: bytes) -> Iterator[int]:
    for index in range(len(words) - RUN + 1):
        yield hash_of(_RUNS, " ".join(words[index : index + RUN]), key)


def _in_rows(words: Sequence[str], size: int, key: bytes) -> Iterator[int]:
    for index in range(len(words) - size + 1):
        yield hash_of(_FOLDED, " ".join(words[index : index + size]), key)


def hash_of(domain: bytes, text: str, key: bytes) -> int:
    """64 bits of BLAKE2b, keyed."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8, key=key, person=domain).digest(), "little")


def _has(hashes: array[int], one: int) -> bool:
    at = bisect_left(hashes, one)
    return at < len(hashes) and hashes[at] == one


def _packed(hashes: Iterable[int]) -> bytes:
    """Little-endian."""
    made = array("Q", hashes)
    if sys.byteorder == "big":
        made.byteswap()
    return made.tobytes()


def _unpacked(data: bytes) -> array[int]:
    made = array("Q", data)
    if sys.byteorder == "big":
        made.byteswap()
    return made


__all__ = ["MAX_TEXT", "RUN", "Kept", "Probe", "hash_of"]
