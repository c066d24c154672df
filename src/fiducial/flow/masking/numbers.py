"""Runs of digits: cards, telephone numbers and national numbers, told apart by their shape.

A run is digits with at most three of space, `.`, `(`, `)`, `/` and `-` between them. It may be followed by others, so
each place where a group of digits ends is tried as the number's end, the furthest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fiducial.flow.masking.accounts import card, luhn
from fiducial.flow.masking.detector import Detector, Found
from fiducial.flow.masking.identity import BY_SHAPE, NAMED_WITHIN
from fiducial.flow.masking.phones import dialled, phone

_SHAPE = str.maketrans("012345678", "999999999")
_NOT_DIGITS = str.maketrans("", "", " .()/-+")
_GROUP_ENDS = re.compile(r"[0-9](?![0-9])")
_CARD_SEPARATED = re.compile(r"[0-9]+(?:[ -][0-9]+){0,18}")
_CARD_NAMED = re.compile(r"(?<![^\W_])(?:card|karte|carte|tarjeta|carta)s?(?![^\W_])", re.IGNORECASE)
_PHONE_NAMED = re.compile(
    r"(?<![^\W_])(?:(?:tele)?phone|tel|telefon|t[eé]l[eé]phone|tel[eé]fono|mobile?|cell|handy|fax|whatsapp|sms|call|dial|ring)"
    r"(?:s|ed)?(?![^\W_])[^\n]{0,20}\Z",
    re.IGNORECASE,
)
_ACCOUNT_NAMED = re.compile(
    r"(?<![^\W_])(?:bank )?account (?:number|no\.?|nr\.?|#)\s?[:#]?\s?(?:is )?\Z", re.IGNORECASE
)


def _number(match: re.Match[str]) -> Found | None:
    text, run, start = match.string, match[0], match.start()
    for end in _ends(text, match):
        found = _class_of(run[:end], text, start)
        if found is not None:
            return Found(start, start + end, found)
    return None


def _ends(text: str, match: re.Match[str]) -> Iterator[int]:
    """Where the number could end, from the furthest on, counted from the match's start."""
    run, start = match[0], match.start()
    for end in reversed([each.end() for each in _GROUP_ENDS.finditer(run)]):
        after = text[start + end : start + end + 2]
        if end >= _SHORTEST and not _goes_on(run[:end], after):
            yield end


def _goes_on(value: str, after: str) -> bool:
    """Whether what stands behind `value` is part of the same word."""
    if after[:1].isalnum() or after[:1] == "_":
        return True
    if after[:1] == "-":
        return after[1:].isalnum() and (value.isdecimal() or "-" in value)
    return after[:1] == "." and after[1:].isdecimal()


def _class_of(value: str, text: str, start: int) -> str | None:
    digits = value.translate(_NOT_DIGITS)
    size = len(digits)
    if 13 <= size <= 19 and luhn(digits) and _CARD_SEPARATED.fullmatch(value) and _card(digits, text, start):
        return "payment"
    national = BY_SHAPE.get(value.translate(_SHAPE))
    if national is not None:
        before = text[max(0, start - NAMED_WITHIN) : start]
        for each in national:
            if each.words is not None and each.words.search(before) is None:
                continue
            if each.check(value) and not (each.apart and _in_a_row(text, start, start + len(value))):
                return each.data_class
    if 7 <= size <= 17 and _phone(value, digits, text, start):
        return "contact"
    if 7 <= size <= 17 and value == digits and _named(_ACCOUNT_NAMED, ("account",), text, start):
        return "payment"
    return None


def _card(digits: str, text: str, start: int) -> bool:
    return card(digits) or (_named(_CARD_NAMED, ("car", "tarjeta", "karte"), text, start) and card(digits, named=True))


def _phone(value: str, digits: str, text: str, start: int) -> bool:
    continues = _continues(text, start)
    if phone(value, digits, continues=continues):
        return True
    return (
        not continues and value[0] != "+" and _named(_PHONE_NAMED, _PHONE_HINTS, text, start) and dialled(value, digits)
    )


def _continues(text: str, start: int) -> bool:
    """Whether digits stand right before, or two characters before, such as in another group."""
    return text[max(0, start - 3) : start].translate(_NOT_DIGITS)[-1:].isdecimal()


def _in_a_row(text: str, start: int, end: int) -> bool:
    return _continues(text, start) or text[end : end + 2].translate(_NOT_DIGITS)[:1].isdecimal()


def _named(words: re.Pattern[str], hints: tuple[str, ...], text: str, start: int) -> bool:
    """Whether one of `words` stands before. `hints`: parts of them, one of which must be there, and faster to find."""
    before = text[max(0, start - NAMED_WITHIN) : start].lower()
    return any(hint in before for hint in hints) and words.search(before) is not None


_SHORTEST = 7
"""Characters of the shortest number."""
_PHONE_HINTS = ("phone", "tel", "tél", "mobil", "cell", "handy", "fax", "sapp", "sms", "call", "dial", "ring")


NUMBER = Detector(
    screen=r"[0-9](?:[ .()/-]{0,3}[0-9]){6}",
    # Behind two digits that stand alone no number begins: it would have begun before them.
    find=re.compile(
        r"(?:(?<![\w+])\+|(?<![\w.+-])\(|(?<![\w.(+-])(?<![0-9][ /][0-9][ /]))[0-9](?:[ .()/-]{0,3}[0-9]){6,18}"
    ),
    judge=_number,
    before=3,
    after=80,
    classes=frozenset({"payment", "contact", "identity", "health"}),
)
