"""Text as tokens that compare by what they say: the same ones for what is claimed and for what it is looked up in.

A token is a number (`1,200.50`, with its unit where one stands beside it) or a word; what letters, digits and the signs
inside addresses and codes join is one word (`INV-2024-7`, `ann@corp.example`, `https://a.example/b`). Words are folded
(`fiducial.flow.lexer.fold`), and a possessive `'s` is left off. A script without spaces is cut into pairs of letters.

A number that may be read in two ways (`1,200`) has both readings. Each pattern looks at a character a bounded number of
times, so that the time grows with the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from fiducial.charter.money import EXPONENTS
from fiducial.flow import scripts
from fiducial.flow.lexer import fold

_TOKEN = re.compile(
    r"(?P<number>\d{1,18}(?:[.,'’\u00a0\u202f]\d{1,9}){0,6})(?P<suffix>[^\W\d_]{1,3})?"
    r"(?![^\W_]|[.,:/@_'’+&=-][^\W_])"
    r"|(?P<word>[^\W_]{1,256}(?:(?:://|[-._/@:+?=&#%~]{1,3}|['’])[^\W_]{1,256}){0,64})"
)
_JOINED = re.compile(r"(\d{1,9})-(\d{1,9}|[^\W\d_]{2,32})")
"""A range (`5-10`), or a number and what it counts (`14-day`)."""
_PARTED = re.compile(r"[^\W\d_]{2,64}(?:/[^\W\d_]{2,64}){1,8}")
"""Words that a slash sets side by side (`Berlin/Munich`)."""
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "%": "%"}
_WRITTEN_BEHIND = "st nd rd th k m bn kg g mg km cm mm l ml am pm h hrs min s"
_SUFFIXES = frozenset(_WRITTEN_BEHIND.split())
"""What may stand right behind the digits of a number, besides a currency."""
_IN_LETTERS = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: Decimal(value) for value, word in enumerate(_IN_LETTERS.split())}
_MARKS = re.compile(r"['’\u00a0\u202f]")
_SEPARATORS = re.compile(r"[.,]")


class Token(NamedTuple):
    """One token, and where it stands."""

    key: str
    """By which it compares in a row: a folded word, or a number in plain decimals."""
    start: int
    end: int
    values: tuple[Decimal, ...] = ()
    """Of a number, how it may be read; empty for a word."""
    unit: str = ""
    """Of a number, its currency (ISO 4217) or `%`, where one stands beside it."""
    spelled: bool = False
    """It is a number in letters."""


def tokens(text: str) -> list[Token]:
    """The tokens of `text`, in order."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        if match["number"] is not None:
            suffix = match["suffix"] or ""
            if not suffix or suffix in _SUFFIXES or suffix.upper() in EXPONENTS:
                found.append(_number(text, start, match.end("number"), end, suffix))
            else:
                found.append(Token(fold(match[0]), start, end))
        elif (word := match[0]).isalpha() and word.isascii():
            key = word.lower()
            value = _NUMBERS.get(key)
            found.append(Token(key, start, end) if value is None else Token(key, start, end, (value,), spelled=True))
        else:
            found.extend(_words(text, word, start))
    return found


def _words(text: str, word: str, start: int) -> Iterator[Token]:
    end = start + len(word)
    joined = _JOINED.fullmatch(word)
    if joined is not None:
        yield _number(text, start, start + joined.end(1), start + joined.end(1), "")
        if joined[2].isdecimal():
            yield _number(text, start + joined.start(2), end, end, "")
            return
        word, start = joined[2], start + joined.start(2)
    elif _PARTED.fullmatch(word) is not None:
        for part in word.split("/"):
            yield Token(fold(part), start, start + len(part))
            start += len(part) + 1
        return
    elif scripts.unspaced(word):
        for low, high in scripts.pairs(start, word):
            if text[low:high].isdecimal():
                yield _number(text, low, high, high, "")
            else:
                yield Token(fold(text[low:high]), low, high)
        return
    key = fold(word)
    if key.endswith("'s"):
        key, end = key[:-2], end - 2
    yield Token(key, start, end)


def _number(text: str, start: int, digits_end: int, end: int, suffix: str) -> Token:
    digits = text[start:digits_end]
    unit = suffix.upper() if suffix.upper() in EXPONENTS else _unit(text, start, end)
    values = readings(digits)
    key = digits if digits.isdecimal() else f"{values[0].normalize():f}"
    return Token(key, start, end, values, unit)


def _unit(text: str, start: int, end: int) -> str:
    """The currency or percent sign beside the number at `text[start:end]`."""
    after = text[end : end + 9].lstrip(" \u00a0\u202f")
    if after[:1] in _SIGNS:
        return _SIGNS[after[0]]
    if after.startswith(("percent", "per cent")):
        return "%"
    if after[:3] in EXPONENTS and not after[3:4].isalnum():
        return after[:3]
    before = text[max(0, start - 5) : start].rstrip(" \u00a0\u202f")
    if before[-1:] in _SIGNS and before[-1:] != "%":
        return _SIGNS[before[-1]]
    if before[-3:] in EXPONENTS and not before[-4:-3].isalnum():
        return before[-3:]
    return ""


def readings(digits: str) -> tuple[Decimal, ...]:
    """How a number with decimal and thousands marks may be read: `1,200` as 1200 and as 1.2."""
    plain = _MARKS.sub("", digits)
    marks = _SEPARATORS.findall(plain)
    if not marks:
        return (Decimal(plain),)
    head, tail = plain[: (last := max(plain.rfind("."), plain.rfind(",")))], plain[last + 1 :]
    whole, fraction = Decimal(_SEPARATORS.sub("", plain)), Decimal(f"{_SEPARATORS.sub('', head)}.{tail}")
    if len(marks) > 1:
        return (fraction,) if len(set(marks)) > 1 else (whole,)
    return (whole, fraction) if len(tail) == 3 and head != "0" else (fraction,)


__all__ = ["Token", "readings", "tokens"]
