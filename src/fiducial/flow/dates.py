"""Dates and times in text: what a phrase of the user's request may mean, and what a value says.

`dates_in` reads ISO dates, day and month names in either order, with or without a year, ordinals, ranges (`from the
13th to the 17th of May 2024`), numeric forms (both readings of `05/06/2024` count), and words relative to today.
English month names and words only; a date written otherwise is simply not found, which leaves it unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

_MONTH_NAMES = "january|february|march|april|may|june|july|august|september|october|november|december"
_MONTHS = {
    name: number
    for number, full in enumerate(_MONTH_NAMES.split("|"), 1)
    for name in (full, full[:3], *(("sept",) if number == 9 else ()))
}
_WEEKDAY_NAMES = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_WEEKDAYS = {name: number for number, name in enumerate(_WEEKDAY_NAMES.split("|"))}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_JOIN = r"\s{0,3}(?:-|–|to|until|till|through|and|&|or|,)\s{0,3}(?:the\s)?"
_ISO = re.compile(r"(?<![\w.-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\d-])")
_NUMERIC = re.compile(r"(?<![\w./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?![\w/-])")
_MONTH_FIRST = re.compile(
    rf"(?<!\w)(?P<month>{_MONTH})\s{{1,3}}(?:the\s)?(?P<day>{_DAY})(?:{_JOIN}(?P<more>{_DAY})(?![\w:]))?(?!\w|:\d)"
    r"(?:,?\s{1,3}(?P<year>\d{4})(?!\w))?",
    re.IGNORECASE,
)
_DAY_FIRST = re.compile(
    rf"(?<![\w:.-])(?P<day>{_DAY})(?:{_JOIN}(?P<more>{_DAY}))?\s{{1,3}}(?:day\s)?(?:of\s)?(?P<month>{_MONTH})(?!\w)"
    r"(?:,?\s{1,3}(?P<year>\d{4})(?!\w))?",
    re.IGNORECASE,
)
_RELATIVE = re.compile(
    r"(?<!\w)(?:(?P<word>today|tonight|tomorrow|yesterday|now)|in\s(?P<count>\d{1,3}|a|one|two|three|four|five|six|seven)"
    r"\s(?P<unit>day|week)s?|(?P<next>next|this|last|on|coming)?\s?(?P<weekday>" + "|".join(_WEEKDAYS) + r"))(?!\w)",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?<![\w:.-])(?:(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::\d{2}(?:\.\d+)?)?\s?(?P<half>am|pm|a\.m\.|p\.m\.)?"
    r"|(?P<bare>1[0-2]|0?[1-9])\s?(?P<bare_half>am|pm|a\.m\.|p\.m\.|o'clock)|(?P<word>noon|midday|midnight))(?!\w)",
    re.IGNORECASE,
)
_DURATION = re.compile(
    r"(?<!\w)(?P<count>\d{1,3}(?:\.\d)?|an?|one|two|three|four|five|six|half an?)[\s-]{1,2}"
    r"(?P<unit>hour|hr|minute|min)s?(?!\w)",
    re.IGNORECASE,
)
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_VALUE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d)(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)


class Found(NamedTuple):
    """A date that a text names."""

    year: int | None
    """`None` when the text leaves it out."""
    month: int
    day: int
    start: int
    end: int
    """Where it stands."""

    def matches(self, value: date) -> bool:
        return self.month == value.month and self.day == value.day and self.year in (None, value.year)


class Relative(NamedTuple):
    """A date that depends on today."""

    days: tuple[int, ...]
    """Days from today that the phrase may mean; empty for a weekday."""
    weekday: int | None
    """0 for Monday."""
    start: int
    end: int

    def matches(self, value: date, today: date) -> bool:
        distance = (value - today).days
        if self.weekday is not None:
            return value.weekday() == self.weekday and -7 <= distance <= 14
        return distance in self.days


class Moment(NamedTuple):
    """A value that says when."""

    day: date | None
    minute: int | None
    """Minutes since midnight; `None` when the value has no time."""


_TELLING = re.compile(r"\d|noon|midday|midnight", re.IGNORECASE)
"""Without any of these, a text is no moment."""


def moment(text: str) -> Moment | None:
    """The date and time that `text` is, in ISO form or as one phrase with a year, or a time of day; else `None`."""
    text = text.strip()
    if len(text) == 10 and text[4] == text[7] == "-" and (day := _iso(text)) is not None:
        return Moment(day, None)  # as most records say it: in a third of the time
    if len(text) > 64 or _TELLING.search(text) is None:
        return None
    match = _VALUE.fullmatch(text)
    if match is not None:
        day = _date(int(match["year"]), int(match["month"]), int(match["day"]))
        if day is None:
            return None
        return Moment(day, int(match["hour"]) * 60 + int(match["minute"]) if match["hour"] else None)
    times = list(times_in(text))
    if times and _TIME.fullmatch(text):
        return Moment(None, times[0])
    found = [one for one in dates_in(text) if isinstance(one, Found)]
    if len(found) == 1 and found[0].year and found[0].end - found[0].start >= len(text) - 12:
        day = _date(found[0].year, found[0].month, found[0].day)
        return Moment(day, times[0] if times else None) if day else None
    return None


def _iso(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def dates_in(text: str) -> Iterator[Found | Relative]:
    """Every date that `text` names."""
    for match in _ISO.finditer(text):
        yield from _found(int(match[1]), int(match[3]), int(match[4]), match)
    for match in _NUMERIC.finditer(text):
        first, second, stated = int(match[1]), int(match[3]), int(match[4])
        yield from _found(stated, first, second, match)
        if first != second:
            yield from _found(stated, second, first, match)
    for pattern in (_MONTH_FIRST, _DAY_FIRST):
        for match in pattern.finditer(text):
            month = _MONTHS[match["month"].lower().rstrip(".")]
            year = int(match["year"]) if match["year"] else None
            for part in ("day", "more"):
                if match[part]:
                    yield from _found(year, month, int(re.sub(r"\D", "", match[part])), match)
    for match in _RELATIVE.finditer(text):
        yield _relative(match)


def _found(year: int | None, month: int, day: int, match: re.Match[str]) -> Iterator[Found]:
    # 2024 is a leap year: a date without a year may be in one.
    if _date(year or 2024, month, day) is not None:
        yield Found(year, month, day, match.start(), match.end())


def _relative(match: re.Match[str]) -> Relative:
    start, end = match.span()
    if match["weekday"]:
        return Relative((), _WEEKDAYS[match["weekday"].lower()], start, end)
    if match["word"]:
        days = {"tomorrow": 1, "yesterday": -1}.get(match["word"].lower(), 0)
        return Relative((days,), None, start, end)
    spelled = match["count"].lower()
    count = int(spelled) if spelled.isdigit() else _COUNTS[spelled]
    return Relative((count * (7 if match["unit"].lower() == "week" else 1),), None, start, end)


def times_in(text: str) -> Iterator[int]:
    """Times of day that `text` names, in minutes since midnight; `10` o'clock may be either half of the day."""
    for match in _TIME.finditer(text):
        if match["word"]:
            yield 0 if match["word"].lower() == "midnight" else 720
            continue
        hour = int(match["hour"] or match["bare"])
        minute = int(match["minute"] or 0)
        half = (match["half"] or match["bare_half"] or "").lower()[:1]
        if half == "p" and hour < 12:
            hour += 12
        elif half == "a" and hour == 12:
            hour = 0
        yield hour * 60 + minute
        if half == "o" and hour < 12:
            yield (hour + 12) * 60


def durations_in(text: str) -> Iterator[int]:
    """Durations that `text` names, in minutes."""
    for match in _DURATION.finditer(text):
        unit = 60 if match["unit"].lower().startswith("h") else 1
        spelled = match["count"].lower()
        if spelled.startswith("half"):
            yield unit // 2
        else:
            yield round((float(spelled) if spelled[0].isdigit() else _COUNTS[spelled]) * unit)


def spellings(day: date) -> list[str]:
    """How a text may write `day`, folded: for lookups that may only lower trust, and in records."""
    names = [name for name, number in _MONTHS.items() if number == day.month]
    number = day.day
    ordinal = f"{number}{'th' if 11 <= number <= 13 else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
    out = [
        day.isoformat(),
        f"{day.year}/{day.month:02}/{day.day:02}",
        f"{day.month:02}/{day.day:02}/{day.year}",
        f"{day.day:02}/{day.month:02}/{day.year}",
        f"{day.day:02}.{day.month:02}.{day.year}",
        f"{day.month}/{day.day}/{day.year}",
        f"{day.day}.{day.month}.{day.year}",
    ]
    for name in names:
        out += [
            f"{name} {number}",
            f"{name} {ordinal}",
            f"{number} {name}",
            f"{ordinal} {name}",
            f"{ordinal} of {name}",
        ]
    return out
