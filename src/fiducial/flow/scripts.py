"""Scripts that are written without spaces between words.

Chinese and Japanese run on until the next sign, so that a whole sentence would be one word. Their letters are taken two
by two instead, overlapping: whatever stands before and after a copied passage, the pairs inside it are the same. Thai,
Lao, Khmer, Burmese and their neighbours are parted by their vowel signs, which are no letters; that is often enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_IDEOGRAPHS = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SYLLABLES = "\u3031-\u3035\u3040-\u3096\u3099-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\uff66-\uff9f\ua000-\ua48c"
"""Kana, Bopomofo and Yi."""
_SIGNED = (
    "\u0e01-\u0e4e\u0e81-\u0ede\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3\u1950-\u19df\u1a00-\u1aad\u1b00-\u1b4b"
    "\ua980-\ua9c0\ua9e0-\ua9ef\uaa00-\uaa4d\uaa60-\uaac2"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, and others of the south-east of Asia."""
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]+")
_LETTER = re.compile(f"[{_SYLLABLES}{_SIGNED}]+")
_PAIRED = re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}]")
_RUNS = re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}]+|[^{_IDEOGRAPHS}{_SYLLABLES}]+")
_IDEOGRAPHS_A_WORD = 2
_LETTERS_A_WORD = 4
"""How many letters a word of these scripts has, on average and at least."""


def unspaced(text: str) -> bool:
    """Whether `text` has letters that `pairs` takes two by two."""
    return not text.isascii() and _PAIRED.search(text) is not None


def pairs(start: int, word: str) -> Iterator[tuple[int, int]]:
    """Where the pieces of a word are that starts at `start`: pairs of letters, and what stands between such letters."""
    for run in _RUNS.finditer(word):
        low, high = start + run.start(), start + run.end()
        if high - low > 2 and _PAIRED.match(run[0]):
            yield from ((at, at + 2) for at in range(low, high - 1))
        else:
            yield low, high


def cut(words: list[str]) -> list[str]:
    """The words, those of scripts without spaces in pairs of letters."""
    found: list[str] = []
    for word in words:
        if not unspaced(word):
            found.append(word)
            continue
        for run in _RUNS.findall(word):
            if len(run) > 2 and _PAIRED.match(run):
                found += map("".join, pairwise(run))
            else:
                found.append(run)
    return found


def count(text: str) -> int:
    """About how many words the letters of scripts without spaces in `text` make."""
    if text.isascii():
        return 0
    ideographs = sum(map(len, _IDEOGRAPH.findall(text)))
    letters = sum(map(len, _LETTER.findall(text)))
    return (ideographs * _LETTERS_A_WORD + letters * _IDEOGRAPHS_A_WORD) // (_IDEOGRAPHS_A_WORD * _LETTERS_A_WORD)
