"""What an answer in words names: not the very value that it was asked about, which is confirmed or it is not.

"No, not Mallory!" names Mallory and means anything but. Whether words agree to something cannot be read off them, so
who agrees says so (`confirms`), and what stands in other words of the value that was asked about is left out of what
the answer may make the user's. The request keeps digests of that value and never the value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any

from fiducial.core.canonical import digest
from fiducial.core.ids import Digest
from fiducial.flow.dates import moment
from fiducial.flow.numbers import number
from fiducial.flow.structure import Root, leaves, scalar_text

_LONGEST = 12
"""Words of a value that is looked for in an answer; a longer one is nobody's to repeat in passing."""
_MOST = 256
"""Digests kept of one value. An answer about one with more in it names nothing, unless it confirms."""
_ANYTHING = Digest("*")
_WORD = re.compile(r"\S+")
_AROUND = ".,;:!?\"'()[]{}<>“”‘’`"
LEFT_OUT = "…"
"""What stands in the place of a value that was left out."""


def asked_about(value: Any) -> tuple[Digest, ...]:
    """Digests of each simple value in `value`, the same for all its usual spellings."""
    forms: set[str] = set()
    for _, _, leaf, _ in leaves(value, Root("asked"), exact_indices=False):
        forms.update(_forms(scalar_text(leaf).strip(_AROUND)))
        if len(forms) > _MOST:
            return (_ANYTHING,)
    return tuple(sorted(map(digest, forms)))


def without(text: str, asked: Collection[Digest]) -> str:
    """`text` without the values that were `asked` about; as it is where it says one of them and nothing else."""
    if not asked or _names(text, asked):
        return text
    if _ANYTHING in asked:
        return LEFT_OUT
    words = [match.span() for match in _WORD.finditer(text)]
    kept, at, first = [], 0, 0
    while first < len(words):
        for last in range(first, min(first + _LONGEST, len(words))):
            end = words[last][1]
            if _names(text[words[first][0] : end], asked):
                while first < last and _names(text[words[first + 1][0] : end], asked):
                    first += 1  # a date is told with a few letters around it
                kept += [text[at : words[first][0]], LEFT_OUT]
                at, first = end, last
                break
        first += 1
    return "".join([*kept, text[at:]])


def _names(text: str, asked: Collection[Digest]) -> bool:
    return any(digest(form) in asked for form in _forms(text.strip(_AROUND + " ")))


def _forms(text: str) -> Iterator[str]:
    """What is the same in all spellings of `text`: the day or hour it is, the number, else its letters and digits."""
    when, quantity = moment(text), number(text)
    if when is not None:
        yield f"{when.day} {when.minute}"
    if quantity is not None:
        yield f"{quantity.normalize():f}"
    folded = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
    if folded:
        yield folded


__all__ = ["LEFT_OUT", "asked_about", "without"]
