"""Forms: how values of a data class are written, so that they can be told from text.

A pattern is RE2 and is searched for anywhere in a text. How long a match can be is counted here, because a stream that
is masked holds back as much as the longest match: what has no bound is refused.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal, NamedTuple, TypeAlias

import re2
from pydantic import field_validator

from fiducial.charter.contracts import _Written

LONGEST = 256
"""Characters of the longest match of a form."""
BEFORE: Final = 48
"""Characters before a value in which words say what it is."""
Check: TypeAlias = Literal[
    "luhn", "verhoeff", "damm", "mod-11-2", "mod-11-10", "mod-37-2", "mod-37-36", "mod-97-10"
]  # fmt: skip
"""Ways to make check digits: those of ISO/IEC 7064 by their names there, and three others."""


class Width(NamedTuple):
    """Characters that a match can have."""

    least: float
    most: float
    """Infinite where there is no bound."""


class Form(_Written):
    """One way in which values of a data class are written."""

    pattern: str
    """RE2 expression of a value, found anywhere in a text; of at most 256 characters. `\\b` is where a word ends."""
    after: tuple[str, ...] = ()
    """Words of which one must stand in the 48 characters before the value; empty: it needs none. They are no
    longer than that."""
    check: Check | None = None
    """How its check digits are made, of its letters and digits; `None`: it has none."""

    @field_validator("after", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("after")
    @classmethod
    def _said(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not re.search(r"[^\W_]", word):
                raise ValueError("must be words: each with a letter or a digit")
            if len(_SPACE.sub(" ", word.strip())) > BEFORE:
                raise ValueError(f"must be words of at most {BEFORE} characters: no more are read before a value")
        return value

    @field_validator("pattern")
    @classmethod
    def _bounded(cls, value: str) -> str:
        least, most = width(value)
        if least == 0:
            raise ValueError("must not match an empty text: let it name at least one character")
        if most > LONGEST:
            found = "as much as there is" if math.isinf(most) else f"{most:.0f} characters"
            raise ValueError(f"must match at most {LONGEST} characters, not {found}: write `{{1,40}}` for `+` or `*`")
        return value


_TOKEN = re.compile(
    r"(?P<refused>\\[QCAz]|[\^$])|(?P<empty>\\[bB])|(?P<flags>(?:\(\?[a-zA-Z-]+\))+)"
    r"|(?P<one>\\(?:x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[pP](?:\{[^}]*\}|.)|[0-7]{1,3}|.)"
    r"|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\])"
    r"|(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:))?)|(?P<close>\))|(?P<either>\|)"
    r"|(?P<again>(?:[*+?]|\{(?P<least>\d+)(?P<upto>,(?P<most>\d*))?\})\??)|(?P<plain>.)",
    re.DOTALL,
)
"""Of an expression that RE2 takes (github.com/google/re2/wiki/Syntax)."""
_SPACE = re.compile(r"[\s_-]+")
_EMPTY, _ONE = Width(0, 0), Width(1, 1)
_AGAIN = {"*": (0.0, math.inf), "+": (1.0, math.inf), "?": (0.0, 1.0)}


class _Level:
    """What stands between two brackets, as far as it was read."""

    def __init__(self) -> None:
        self._whole: Width | None = None
        """Of the alternatives before."""
        self._before, self.last = _EMPTY, _EMPTY

    def add(self, what: Width) -> None:
        """The next part of this alternative."""
        self._before, self.last = _joined(self._before, self.last), what

    def either(self) -> None:
        """This alternative is over."""
        self._whole, self._before, self.last = self.width(), _EMPTY, _EMPTY

    def width(self) -> Width:
        """Of all alternatives."""
        own = _joined(self._before, self.last)
        if self._whole is None:
            return own
        return Width(min(own.least, self._whole.least), max(own.most, self._whole.most))


def width(pattern: str) -> Width:
    """How long a match of `pattern` can be. Raises `ValueError` for what is not RE2, for what says where a text begins
    or ends, which is nothing about a value, and for flags within it: RE2 repeats what stands before them."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options=options)
    except (re2.error, UnicodeEncodeError):
        raise ValueError("is not an RE2 expression (no look-around, no back-references): rewrite it") from None
    levels = [_Level()]
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "refused":
                raise ValueError(f"must not hold `{token[0]}`: a value may stand anywhere; `\\b` is where a word ends")
            case "flags" if token.start():
                raise ValueError(f"must not hold `{token[0]}` but where it begins: give flags a colon, `(?i:…)`")
            case "open":
                levels.append(_Level())
            case "close":
                inner = levels.pop()
                levels[-1].add(inner.width())
            case "either":
                levels[-1].either()
            case "again":
                levels[-1].last = _repeated(levels[-1].last, token)
            case "empty" | "flags":
                levels[-1].add(_EMPTY)
            case _:
                levels[-1].add(_ONE)
    return levels[0].width()


def _joined(one: Width, other: Width) -> Width:
    return Width(one.least + other.least, one.most + other.most)


def _repeated(what: Width, token: re.Match[str]) -> Width:
    if token["least"] is None:
        least, most = _AGAIN[token[0][0]]
    else:
        least = float(token["least"])
        most = least if token["upto"] is None else float(token["most"] or math.inf)
    return Width(what.least * least if least else 0, what.most * most if what.most and most else 0)


__all__ = ["LONGEST", "Check", "Form", "Width", "width"]
