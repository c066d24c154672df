"""Numbers that people write in groups (telephone, card and account numbers), and where one ends and the next begins.

Single spaces and hyphens join digits into one number, of which no group is an entity by itself. A space does not join

- a date (`room 12 2024-05-05`);
- an amount, which its currency, unit or `days` tells (`order 4711 25 EUR`), unless it could be the end of what stands
  before it: of thousands (`12 250 EUR`) or of groups as long as itself (`1234 5678 9012 EUR`);
- two numbers of which one has eight digits or more (`12-34-56 12345678`, `12345678 100`), unless they begin as
  telephone numbers and IBANs do, or are more than two.

Where it cannot be told, everything is one number: a question too many, and nobody's part of a number trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_RUN = 32
"""Characters beside a value that are looked through for more groups; a telephone number has fifteen digits (E.164)."""
_BESIDE = re.compile(rf"[\d ()+-]{{1,{_RUN}}}")
_GROUPS = re.compile(r"\(?\d[\d ()-]*")
_RUN_OF_GROUPS = re.compile(r"(?<![\w.,:/$€£¥-])[+(]?\d+(?:\)?[ -]\(?\d+)+(?![\w:/%]|[.,]\d)")
_WORD = re.compile(r"[^ ]+")

_DATE = re.compile(r"(?:1[89]|2[01])\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
"""Not every date of the calendar: one of a year that no telephone number looks like."""
_CODES = (
    "AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|SAR|"
    "SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR|usd|eur|gbp|chf|(?i:dollars?|euros?|pounds?|francs?|cents?|bucks)"
)
_UNITS = (
    "days?|weeks?|months?|years?|nights?|hours?|hrs?|minutes?|mins?|seconds?|times|pieces|pcs|items|units|copies|people|"
    "persons|guests|points|percent|k[gm]|[cm]m|ml"
)
_AMOUNT = re.compile(
    rf"[1-9]\d{{0,6}} ?(?:[$€£¥₹₩₽₿¢%]|(?:{_CODES})(?!\w))(?! ?\d)"
    rf"|[1-9]\d{{0,2}} (?i:{_UNITS})(?!\w)"
    r"|(?:[1-9]|1[0-2]) (?i:[ap]\.?m\.?|noon|o['’]clock)(?!\w)"
)
"""A number and what tells that it is an amount. A currency before another number belongs to that."""
_LONG = 8
"""Digits of a number that needs no other to be complete."""
_DIALLED = re.compile(r"[+(]|0\d{0,4} |\d{1,3}-\d{1,4} ")
"""How a telephone number begins whose last group could be long: a country's or an area's code."""
_CONTINUED = re.compile(r"(?:\d\)?|(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: +[0-9A-Z]{1,12}){0,8})[ \u00a0]+\Z")
"""What stands before groups that are not the first of their number; an IBAN begins with two letters and two digits."""
_BEFORE = 64
_EDGE = frozenset(" \n\t\r\x00\"'“‘`")


def in_run(text: str, start: int, end: int) -> bool:
    """`text[start:end]` is some groups of digits of a number of more."""
    if _GROUPS.fullmatch(text, start, end) is None:
        return False
    before = _BESIDE.match(text[max(0, start - _RUN) : start][::-1])
    after = _BESIDE.match(text, end)
    if before is None and after is None:
        return False
    low = start - before.end() if before is not None else start
    high = after.end() if after is not None else end
    cut = _RUN in (start - low, high - end)
    return any(
        first < start < last or first < end < last
        for run in _RUN_OF_GROUPS.finditer(text, low, high + 2)
        for first, last in _numbers(text, run, cut=cut)
    )


def _numbers(text: str, run: re.Match[str], *, cut: bool) -> Iterator[tuple[int, int]]:
    """The numbers in a run of groups, each with its start and end. `cut`: the run may be longer than what was seen."""
    words = [match.span() for match in _WORD.finditer(text, *run.span())]
    amount = words[-1] if not cut and len(words) > 1 and _amount(text, words) else None
    begin = 0
    for index, (start, end) in enumerate(words):
        if _DATE.fullmatch(text, start, end) is not None or (start, end) == amount:
            yield from _told_apart(text, words[begin:index], cut=cut, first=begin == 0)
            yield start, end
            begin = index + 1
    yield from _told_apart(text, words[begin:], cut=cut, first=begin == 0)


def _amount(text: str, words: list[tuple[int, int]]) -> bool:
    """The last of `words` is an amount, and not the end of what stands before it."""
    start, end = words[-1]
    if _AMOUNT.match(text, start) is None:
        return False
    digits = end - start
    before = text[slice(*words[-2])]
    if digits == 3 and len(before) <= 3 and before.isdigit():
        return False
    return len(words) == 2 or (digits <= 4 and digits != len(before.rpartition("-")[2]))


def _told_apart(text: str, words: list[tuple[int, int]], *, cut: bool, first: bool) -> Iterator[tuple[int, int]]:
    """The numbers in what neither a date nor an amount parts. `first`: it begins the run."""
    if not words:
        return
    start, end = words[0][0], words[-1][1]
    if len(words) == 2 and not cut and not (first and _goes_on(text, start)):
        left, right = (text[slice(*word)] for word in words)
        complete = len(left.replace("-", "")) >= _LONG or (len(right) >= _LONG and right.isdigit())
        if complete and _DIALLED.match(text, start, end) is None:
            yield from words
            return
    yield start, end


def _goes_on(text: str, start: int) -> bool:
    """A run of groups that begins at `start` may be the rest of a longer number."""
    low = max(0, start - _BEFORE)
    return (start > 0 and text[start - 1] not in _EDGE) or _CONTINUED.search(text[low:start]) is not None
