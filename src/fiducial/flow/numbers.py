"""Numbers in text: how one number may be spelled, and which simple sums make another out of numbers already seen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from itertools import combinations
from typing import Any, NamedTuple

NUMERAL = re.compile(r"(?<![\w.,:/-])[-+]?\d{1,15}(?:[.,]\d{1,6})*(?![\w:/]|[.,-]\d)\s?%?")
"""A number in running text, with its percent sign; parts of dates, times, versions and codes are not."""
PLAIN = re.compile(r"[-+]?\d{1,18}(?:\.\d{1,9})?")
"""A number as a program writes it."""
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d{1,9})?")
_CENT = Decimal("0.01")
_HUNDRED = Decimal(100)


class Seen(NamedTuple):
    """A number and whether it was a percentage."""

    value: Decimal
    percent: bool


def number(value: Any) -> Decimal | None:
    """The finite number that `value` is or spells (`98.70`, `1,200.50`, `$5`); `None` otherwise."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < 10**18 else None
    if isinstance(value, float | Decimal):
        try:
            exact = Decimal(repr(value)) if isinstance(value, float) else value
        except InvalidOperation:
            return None
        return exact if exact.is_finite() and abs(exact) < 10**18 else None
    if isinstance(value, str) and len(value) <= 32:
        text = value.strip().lstrip("$€£¥").strip()
        if PLAIN.fullmatch(text):
            return Decimal(text)
        if _GROUPED.fullmatch(text):
            return Decimal(text.replace(",", ""))
    return None


def numbers_in(text: str, *, limit: int) -> list[Seen]:
    """The first `limit` numbers of a text."""
    found: list[Seen] = []
    for match in NUMERAL.finditer(text):
        spelled = match[0].strip()
        value = number(spelled.rstrip("% "))
        if value is not None:
            found.append(Seen(value, spelled.endswith("%")))
            if len(found) >= limit:
                break
    return found


def spellings(value: Decimal) -> list[str]:
    """How `value` may be written: with and without thousands marks and trailing zeros, with either decimal sign."""
    sign = "-" if value < 0 else ""
    whole_part, _, fraction = f"{abs(value):f}".partition(".")
    fraction = fraction.rstrip("0")
    whole_part = whole_part.lstrip("0") or "0"
    if fraction:
        fractions = [fraction] if len(fraction) >= 2 else [fraction, fraction + "0"]
    else:
        fractions = ["", "0", "00"]
    wholes = [(whole_part, ".,")]
    if len(whole_part) > 3:
        thousands = f"{int(whole_part):,}"
        wholes += [(thousands, "."), (thousands.replace(",", "."), ","), (thousands.replace(",", "'"), ".")]
    out = []
    for digits, marks in wholes:
        for tail in fractions:
            out += [sign + digits + mark + tail for mark in marks] if tail else [sign + digits]
    return out


def derivation(
    target: Decimal, named: Iterable[Seen], records: Iterable[Seen], totals: Iterable[Decimal]
) -> str | None:
    """How `target` follows from seen numbers, in words; `None` when it does not in a few simple ways.

    Totals of a list; sum or difference of two numbers; a percentage of a number, of that added or taken off, or with
    one more number the user named. `named` and `records` are short: the work grows with the square of their lengths.
    """
    if target in totals:
        return "total of a list"
    said = list(dict.fromkeys(named))
    recorded = list(dict.fromkeys(records))
    amounts = [seen.value for seen in said + recorded if not seen.percent]
    for first, second in combinations(amounts, 2):
        if first + second == target:
            return "sum of seen numbers"
        if first - second == target or second - first == target:
            return "difference of seen numbers"
    extra = [seen.value for seen in said if not seen.percent]
    for share in (seen.value / _HUNDRED for seen in said + recorded if seen.percent):
        for amount in amounts:
            part = amount * share
            for result in (part, amount + part, amount - part):
                if _near(result, target):
                    return "percentage of a seen number"
            if any(_near(part + more, target) for more in extra):
                return "percentage of a seen number"
    for count in (value for value in extra if value in _COUNTS):
        for amount in amounts:
            if _near(amount * count, target) or _near(amount / count, target):
                return "multiple of a seen number"
    return None


_COUNTS = {Decimal(count) for count in range(2, 32)}


def _near(value: Decimal, target: Decimal) -> bool:
    """Equal to the cent: percentages are rounded when they are paid."""
    return abs(value - target) < _CENT / 2 or value == target
