"""Runs of digits: cards, telephone numbers and national numbers, told apart by their shape.

A run is digits with at most three of space, tab, `.`, `(`, `)`, `/` and `-` between them. It may be followed by others,
so each place where a group of digits ends is tried as the number's end, the furthest first.
"""

from __future__ import annotations

import re
from functools import cached_property

from fiducial.flow.masking.accounts import card, luhn
from fiducial.flow.masking.detector import Detector, Found
from fiducial.flow.masking.identity import BY_SHAPE, NAMED_WITHIN
from fiducial.flow.masking.phones import dialled, phone

_SHAPE = str.maketrans("012345678", "999999999")
_NOT_DIGITS = str.maketrans("", "", " \t.()/-+")
_GROUP = re.compile(r"[0-9]+")
_SPACES = re.compile(r"[ \t]+")
_CARD_SEPARATED = re.compile(r"[0-9]+(?:(?:[ \t]{1,3}|-)[0-9]+){0,18}")
_CARD_NAMED = re.compile(r"(?<![^\W_])(?:card|karte|carte|tarjeta|carta)s?(?![^\W_])", re.IGNORECASE)
_PHONE_NAMED = re.compile(
    r"(?<![^\W_])(?:(?:tele)?phone|tel|telefon|t[eé]l[eé]phone|tel[eé]fono|mobile?|cell|handy|fax|whatsapp|sms|call|dial|ring)"
    r"(?:s|ed)?(?![^\W_])[^\n]{0,20}\Z",
    re.IGNORECASE,
)
_ACCOUNT_NAMED = re.compile(
    r"(?<![^\W_])(?:bank )?account (?:number|no\.?|nr\.?|#)\s?[\"']?\s?[:#]?\s?(?:is )?[\"']?\Z", re.IGNORECASE
)


class _Before:
    """What stands before a number, looked at once for all the places where it could end."""

    def __init__(self, text: str, start: int) -> None:
        self.words = text[max(0, start - NAMED_WITHIN) : start]
        self.continues = self.words[-3:].translate(_NOT_DIGITS)[-1:].isdecimal()
        """Whether digits stand right before, or two characters before, such as in another group."""
        self.glued = self.words[-1:] in (".", "-")
        """Whether it is the end of a word: `Nr.41`, `id-53`."""

    @cached_property
    def card(self) -> bool:
        """Whether a card is named."""
        return self._name(_CARD_NAMED, ("car", "tarjeta", "karte"))

    @cached_property
    def phone(self) -> bool:
        """Whether a telephone is named."""
        return self._name(_PHONE_NAMED, _PHONE_HINTS)

    @cached_property
    def account(self) -> bool:
        """Whether an account is named."""
        return self._name(_ACCOUNT_NAMED, ("account",))

    @cached_property
    def _lower(self) -> str:
        return self.words.lower()

    def _name(self, words: re.Pattern[str], hints: tuple[str, ...]) -> bool:
        """`hints`: parts of the words, one of which must be there, and faster to find."""
        return any(hint in self._lower for hint in hints) and words.search(self._lower) is not None


def _number(match: re.Match[str]) -> Found | None:
    text, run, start = match.string, match[0], match.start()
    before, digits = _Before(text, start), run.translate(_NOT_DIGITS)
    in_brackets = "(" in run or ")" in run
    for end, size in _ends(text, start, run):
        value = run[:end]
        # A bracket that only opens or only closes is not the number's.
        if in_brackets and value.count("(") != value.count(")"):
            continue
        found = _class_of(value, digits[:size], before, text, start)
        if found is not None:
            return Found(start, start + end, found)
    return None


def _ends(text: str, start: int, run: str) -> list[tuple[int, int]]:
    """Where the number could end, from the furthest on, counted from `start`, and the digits until there."""
    ends, size, last = [], 0, len(run)
    may_be_card = "(" not in run and ")" not in run
    for count, group in enumerate(_GROUP.finditer(run), 1):
        begin, end = group.span()
        size += end - begin
        if size < _SHORTEST or (count > _MOST_GROUPS and (size < _SHORTEST_CARD or not may_be_card)):
            continue
        behind = text[start + end : start + end + 2]
        if (end < last and behind[0] in " \t/()") or not _goes_on(run[:end], behind):
            ends.append((end, size))
    ends.reverse()
    return ends


def _goes_on(value: str, after: str) -> bool:
    """Whether what stands behind `value` is part of the same word."""
    if after[:1].isalnum() or after[:1] == "_":
        return True
    if after[:1] == "-":
        return after[1:].isalnum() and (value.isdecimal() or "-" in value)
    return after[:1] == "." and after[1:].isdecimal()


def _class_of(value: str, digits: str, before: _Before, text: str, start: int) -> str | None:
    size = len(digits)
    if _SHORTEST_CARD <= size <= 19 and luhn(digits) and _CARD_SEPARATED.fullmatch(value) and _card(digits, before):
        return "payment"
    if size >= _SHORTEST_NATIONAL:
        found = _national(value, before, text, start)
        if found is not None:
            return found
    if size <= 17 and _phone(value, digits, before):
        return "contact"
    if size == len(value) <= 17 and before.account:
        return "payment"
    return None


def _national(value: str, before: _Before, text: str, start: int) -> str | None:
    end = start + len(value)
    if "\t" in value or "  " in value:
        value = _SPACES.sub(" ", value)
    for each in BY_SHAPE.get(value.translate(_SHAPE), ()):
        if each.words is not None and each.words.search(before.words) is None:
            continue
        if each.check(value) and not (each.apart and _in_a_row(text, before, end)):
            return each.data_class
    return None


def _card(digits: str, before: _Before) -> bool:
    return card(digits) or (before.card and card(digits, named=True))


def _phone(value: str, digits: str, before: _Before) -> bool:
    if phone(value, digits, continues=before.continues or before.glued):
        return True
    return not before.continues and value[0] != "+" and before.phone and dialled(value, digits)


def _in_a_row(text: str, before: _Before, end: int) -> bool:
    return before.continues or text[end : end + 2].translate(_NOT_DIGITS)[:1].isdecimal()


_SHORTEST = 7
"""Digits of the shortest number."""
_SHORTEST_CARD = 13
_MOST_GROUPS = 8
"""Groups of digits in any number but a card's, which may be written digit by digit."""
_SHORTEST_NATIONAL = min(shape.count("9") for shape in BY_SHAPE)
_PHONE_HINTS = ("phone", "tel", "tél", "mobil", "cell", "handy", "fax", "sapp", "sms", "call", "dial", "ring")


NUMBER = Detector(
    screen=r"[0-9](?:[ \t.()/-]{0,3}[0-9]){6}",
    # Behind two digits that stand alone begins no number of small groups: it would have begun before them.
    find=re.compile(
        r"(?:(?<![\w+])\+|(?<![\w.+-])\(|(?:(?<![\w.+-])|(?<=[A-Za-z][.-]))"
        r"(?:(?<![0-9][ /][0-9][ /])|(?=[0-9]{3})))[0-9](?:[ \t.()/-]{0,3}[0-9]){6,18}"
    ),
    judge=_number,
    before=3,
    after=80,
    classes=frozenset({"payment", "contact", "identity", "health"}),
)
