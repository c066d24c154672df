"""What a detector is, and the rules that let a stream be masked like the whole of it.

1. Whether a value stands at a character depends on at most `CONTEXT` characters before it and on the value itself, plus
   two characters behind it. It does not depend on what else was found: values of one text may overlap.
2. A value is at most `LONGEST` characters; a private key, at most `LONGEST_KEY`.
3. Only numbers in groups, dates, private keys and passwords in quotes hold whitespace. The first two are rows of at
   most `LONGEST_ROW` characters, parted by at most three spaces and no end of a line; such a row begins with a group
   that has a digit, or with two capitals or a month, and its other groups have a digit, or are of at most four
   characters, or name a month. Passwords in quotes stand on one line and have at most `LONGEST_QUOTED` characters.
4. No other value holds a letter of a script that is written without spaces (`UNSPACED`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

CONTEXT = 256
"""Characters before a value that can decide about it."""
LONGEST = 9600
"""Characters of the longest value but a key: a token of three parts (JWT)."""
LONGEST_KEY = 8300
"""Characters of the longest private key: RSA with 8192 bits in PEM takes 6,400."""
LONGEST_QUOTED = 100
"""Characters, some of them written as two, of the longest password that is in quotes and holds spaces."""
LONGEST_ROW = 128
"""Characters of the longest number in groups."""
UNSPACED = "\u2e80-\u9fff"
"""For a character class: CJK and kana with their punctuation."""


class Found(NamedTuple):
    """One value of a class."""

    start: int
    end: int
    data_class: str


class Detector(NamedTuple):
    """How values of one shape are found: a screen, a search where the screen hits, a verdict on what was found."""

    screen: str
    """RE2: wherever `find` matches, this does, from at most `before` characters behind the match's start on. Text
    beyond ASCII is shown to it as question marks."""
    find: re.Pattern[str]
    """The match at each place where a value may start; every repetition is bounded."""
    judge: Callable[[re.Match[str]], Found | None]
    """The value in a match, if one is there."""
    before: int
    after: int
    """Characters from where the screen hits to the end of the match, with two more for what it looks ahead."""
    classes: frozenset[str]
    """Classes that `judge` can tell."""


def always(data_class: str, check: Callable[[str], bool] | None = None) -> Callable[[re.Match[str]], Found | None]:
    """A verdict: group 1 of the match (all of it where there is none) is a value, if `check` says so."""

    def judge(match: re.Match[str]) -> Found | None:
        group = match.re.groups and 1
        if check is not None and not check(match[group]):
            return None
        return Found(*match.span(group), data_class)

    return judge
