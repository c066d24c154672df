"""The numbers, dates and times that a session has observed, laid out so that sums and days cost no search.

Of the user's words all are kept, up to a limit. Of a tool's records the latest numbers, the totals of its lists, and
the days and times; a column is totalled when it holds amounts, which have a decimal sign somewhere: ids and counts have
none. Of untrusted text the latest numbers, because a sum that takes one of them is not the user's.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from fiducial.core.ids import SourceId
from fiducial.flow import dates, entities, lexer, numbers
from fiducial.flow.index import Chunk, Hit
from fiducial.flow.trace import Where

SHORT_NUMBER = 24
"""Characters up to which a leaf may be a number."""
_USER_NUMBERS = 32
_AMOUNTS = 20_000
_LATEST = 32
"""Numbers, texts and totals that are kept, the latest."""
NUMBERED = 512
"""Characters of each of the latest untrusted texts whose numbers are tried in sums."""
_NUMERALS = 4096
"""Numbers and dates of one result that are laid out; the lists of a longer one are not totalled."""
_DATES = 4096
_MINUTES = 1440
_PER_DATE = 16 * 1024
"""Bytes of budget for each date."""
_NUMERIC = re.compile(r"[-+$€£¥]?\d[\d,]{0,17}(?:\.\d{1,9})?\s?%?")
_DATE_LEAF = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")


class Figures:
    """The tables of one session."""

    def __init__(self, budget: int) -> None:
        self._most_dates = min(_DATES, budget // _PER_DATE)
        self.amounts: dict[Decimal, tuple[Where, str]] = {}
        """The user's, with where they stand and how they are written."""
        self.user_numbers: list[numbers.Seen] = []
        self.record_numbers: deque[numbers.Seen] = deque(maxlen=_LATEST)
        self.untrusted_numbers: deque[numbers.Seen] = deque(maxlen=_LATEST)
        self.untrusted_texts: deque[str] = deque(maxlen=_LATEST)
        """Up to `NUMBERED` characters of each."""
        self.totals: deque[Decimal] = deque(maxlen=_LATEST)
        """Of a column of amounts, or how many members a list has."""
        self.user_dates: list[tuple[dates.Found | dates.Relative, Hit]] = []
        self.record_dates: dict[date, str] = {}
        """As they are written."""
        self.todays: dict[date, None] = {}
        """Days that were all a tool said, the latest last: what it is asked for is today."""
        self.times: set[int] = set()
        """Minutes of the day, of the user and the records."""
        self.durations: set[int] = {30, 60}
        """Minutes."""

    def user(self, source: SourceId, text: str, chunk: Chunk, start: int) -> None:
        """Lay out a text of the user, which stands whole in `chunk` from `start`."""
        for match in entities.AMOUNT.finditer(text):
            low, high = match.span()
            amount = numbers.number(match[0])
            if amount is None or amount in self.amounts or len(self.amounts) >= _AMOUNTS:
                continue
            if lexer.counted(chunk.text, start + low, start + high):
                handle = Hit(chunk, start + low, start + high).handle
                self.amounts[amount] = Where(source, "$", low, high, handle), match[0]
        room = _USER_NUMBERS - len(self.user_numbers)
        if room > 0:
            self.user_numbers += numbers.numbers_in(text, limit=room)
        for found in dates.dates_in(text):
            if len(self.user_dates) < self._most_dates:
                self.user_dates.append((found, Hit(chunk, start + found.start, start + found.end)))
        self.times.update(dates.times_in(text))
        self.durations.update(dates.durations_in(text))

    def untrusted(self, text: str) -> None:
        """Note an untrusted leaf that may be a number."""
        value = numbers.number(text)
        if value is not None:
            self.untrusted_numbers.append(numbers.Seen(value, False))

    def records(self, numerals: Sequence[tuple[int, str]], *, told: bool) -> None:
        """Note a result's trusted leaves that are numbers or dates, by shape.

        `told`: the one leaf is all that the tool says.
        """
        if len(numerals) <= _NUMERALS:
            columns: dict[int, list[str]] = {}
            for shape, text in numerals:
                columns.setdefault(shape, []).append(text)
            for column in columns.values():
                if len(column) > 1 and any("." in text and _value(text) is not None for text in column):
                    values = [value for value in map(_value, column) if value is not None]
                    if len(values) > 1:
                        self.totals.append(sum(values, Decimal()))
        latest: dict[numbers.Seen, None] = {}
        for _, text in reversed(numerals[:_NUMERALS]):
            number = _seen(text)
            if number is not None:
                latest[number] = None
                if len(latest) >= _LATEST:
                    break
        for number in reversed(latest):
            if number not in self.record_numbers:
                self.record_numbers.append(number)
        for text in dict.fromkeys(text for _, text in numerals[:_NUMERALS] if text[4:5] == "-"):
            if _DATE_LEAF.fullmatch(text):
                self._date(text, told=told)

    def _date(self, text: str, *, told: bool) -> None:
        found = dates.moment(text)
        if found is None or found.day is None:
            return
        if told:
            self.todays.pop(found.day, None)
            self.todays[found.day] = None
        if len(self.record_dates) < self._most_dates:
            self.record_dates.setdefault(found.day, text)
        if found.minute is not None and len(self.times) < _MINUTES:
            self.times.add(found.minute)


def _seen(text: str) -> numbers.Seen | None:
    """The number that a leaf is."""
    value = _value(text)
    return None if value is None else numbers.Seen(value, text.endswith("%"))


def _value(text: str) -> Decimal | None:
    """The number that a leaf is, of a percentage what stands before its sign."""
    if numbers.PLAIN.fullmatch(text):
        return Decimal(text)
    return numbers.number(text.rstrip("% ")) if _NUMERIC.fullmatch(text) else None
