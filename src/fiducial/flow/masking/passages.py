"""Passages: the stretches of a text that a model for named entities is given, one by one.

1. A passage ends with the first blank line.
2. Without one, in a text that has `LONGEST` more characters, it ends with the last sentence or line of these, else with
   the last word, else with them.
3. What is left is the last one.

Where one ends depends on nothing but the `LONGEST` characters from where it begins. So a stream, which gives out whole
passages, has the same ones as a whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 1_000
"""Characters of the longest passage."""
_BLANK = re.compile(r"\n[^\S\n]*\n")
_ENDS = re.compile(r"[.!?…][\"'”’)\]]{0,3}\s|[。！？\n]")
"""Of sentences and lines."""
_SPACE = re.compile(r"\s")


def end(text: str, start: int, *, whole: bool) -> int | None:
    """Where the passage ends that begins at `start`; `None` when that depends on what comes. `whole`: nothing does."""
    window = text[start : start + LONGEST]
    if (blank := _BLANK.search(window)) is not None:
        return start + blank.end()
    if len(window) < LONGEST:
        return len(text) if whole else None
    for pattern in (_ENDS, _SPACE):
        if found := [each.end() for each in pattern.finditer(window)]:
            return start + found[-1]
    return start + LONGEST


def passages(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each passage of a whole text."""
    start = 0
    while start < len(text):
        upto = end(text, start, whole=True)
        assert upto is not None
        yield start, upto
        start = upto


__all__ = ["LONGEST", "end", "passages"]
