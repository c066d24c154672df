"""Magnitudes: how much, perhaps with its unit, or when."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

from fiducial.core.label import TRUSTED, Integrity, Label
from fiducial.flow import dates, numbers, occurrences
from fiducial.flow.index import Hit
from fiducial.flow.lexer import counted, pieces
from fiducial.flow.memory import Memory
from fiducial.flow.rules.standing import (
    NO_CLASSES,
    apart,
    classes_of,
    label_of,
    named,
    places,
    trusted,
    unknown_label,
)
from fiducial.flow.rules.targets import target
from fiducial.flow.trace import CONSTANT, MAX_WHERE, Origin, Trace

_MAX_NUMBERS = 32
"""Untrusted numbers tried in sums, the latest."""
_HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
"""How untrusted text may say an hour, in English."""
_PAST = {15: ("quarter", "15", "fifteen"), 30: ("half", "30", "thirty")}
_YEAR = re.compile(r",?\s{1,3}(\d{4})(?!\w)")


def magnitude(memory: Memory, value: Any, text: str, unit: str | None) -> Trace:
    """A value that says how much, perhaps with its unit, or when."""
    amount = numbers.number(value)
    if amount is None and unit is not None and unit in text:
        amount = numbers.number(text.replace(unit, "", 1).strip())
    if amount is not None:
        return number(memory, amount)
    when = dates.moment(text)
    if when is not None:
        return moment(memory, text, when)
    return target(memory, text)


def number(memory: Memory, amount: Decimal) -> Trace:
    """A number, however it is written."""
    known = memory.figures.amounts.get(amount)
    if known is not None:
        return named(known[0], classes_of(memory, known[1]))
    spelled = [(form, pieces(form)) for form in numbers.spellings(amount)]
    for lane, origin in ((memory.user, Origin.USER), (memory.record, Origin.RECORD)):
        for form, tokens in spelled:
            hits = lane.find(form, tokens, counted)
            if hits:
                classes = classes_of(memory, form)
                return Trace(
                    origin,
                    label_of(hits, classes, Integrity.TRUSTED),
                    verbatim=True,
                    classes=classes,
                    where=places(hits),
                )
    if amount in (0, 1):
        return CONSTANT
    how = numbers.derivation(amount, memory.figures.user_numbers, memory.figures.record_numbers, memory.figures.totals)
    if how is not None:
        return Trace(Origin.DERIVED, TRUSTED, derivation=how)
    for form, tokens in spelled:
        hits = memory.untrusted.find(form, tokens, counted, limit=MAX_WHERE)
        if hits:
            written = occurrences.written(memory.untrusted, form, tokens, counted)
            return Trace(
                Origin.UNTRUSTED,
                label_of(hits, NO_CLASSES, Integrity.UNTRUSTED),
                verbatim=bool(written),
                composed=not written,
                pointed=any(hit.root.pointed for hit in written),
                where=places(hits),
                untrusted_text=True,
            )
    if memory.figures.untrusted_numbers or memory.figures.untrusted_texts:
        heard = [seen for text in memory.figures.untrusted_texts for seen in numbers.numbers_in(text, limit=8)]
        heard = [*memory.figures.untrusted_numbers, *heard][-_MAX_NUMBERS:]
        how = numbers.derivation(amount, [*memory.figures.user_numbers, *heard], memory.figures.record_numbers, ())
        if how is not None:
            return Trace(
                Origin.UNTRUSTED,
                label_of([], NO_CLASSES, Integrity.UNTRUSTED) | memory.seen,
                composed=True,
                derivation=how,
                untrusted_text=True,
            )
    return Trace(Origin.UNKNOWN, unknown_label(memory, NO_CLASSES), composed=True)


def moment(memory: Memory, text: str, when: dates.Moment) -> Trace:
    """A day, a time or both, written as `text`."""
    if when.day is None:
        return _time(memory, text, when)
    hit, origin, how = _day(memory, when.day)
    if hit is None and origin is None:
        hits = _untrusted_day(memory, when.day)
        if hits:
            return Trace(
                Origin.UNTRUSTED,
                label_of(hits, NO_CLASSES, Integrity.UNTRUSTED),
                pointed=any(one.root.pointed for one in hits),
                where=places(hits),
                untrusted_text=True,
            )
        return Trace(Origin.UNKNOWN, unknown_label(memory, NO_CLASSES), composed=True)
    found = [hit] if hit is not None else []
    if when.minute is not None and not _known_minute(memory, when.minute) and _untrusted_minute(memory, when.minute):
        return Trace(Origin.UNTRUSTED, memory.seen | Label(Integrity.UNTRUSTED), composed=True, untrusted_text=True)
    return Trace(
        origin or Origin.DERIVED,
        label_of(found, NO_CLASSES, Integrity.TRUSTED),
        verbatim=how is None,
        where=places(found),
        derivation=how,
    )


def _day(memory: Memory, day: date) -> tuple[Hit | None, Origin | None, str | None]:
    """Where a trusted source names the day, with the origin and, for a phrase, how."""
    relative = None
    for found, hit in memory.figures.user_dates:
        if isinstance(found, dates.Found):
            if found.matches(day):
                if hit.chunk.text[hit.start : hit.end].startswith(day.isoformat()):
                    return hit, Origin.USER, None
                relative = relative or (hit, Origin.DERIVED, "date from a phrase")
        elif any(found.matches(day, today) for today in memory.figures.todays or memory.figures.record_dates):
            relative = relative or (hit, Origin.DERIVED, "date from a phrase")
    if relative is not None:
        return relative
    if day in memory.figures.record_dates:
        return memory.record.leaf(memory.figures.record_dates[day]), Origin.RECORD, None
    for lane, origin in ((memory.user, Origin.USER), (memory.record, Origin.RECORD)):
        iso = day.isoformat()
        for hit in lane.find(iso, pieces(iso), _dated):
            return hit, origin, None
    for form in dates.spellings(day)[1:]:
        shown = form.title().replace("Of", "of").replace("Th", "th").replace("St", "st").replace("Nd", "nd")
        for lane in (memory.user, memory.record):
            for hit in lane.find(shown, pieces(shown), apart, limit=MAX_WHERE):
                year = _YEAR.match(hit.chunk.text, hit.end)
                if year is None or int(year[1]) == day.year:
                    return hit, Origin.DERIVED, "date from a phrase"
    return None, None, None


def _dated(text: str, start: int, end: int) -> bool:
    """An ISO date, alone or before its time."""
    before = text[start - 1 : start]
    return (
        not (before.isalnum() or before in "-./:_")
        and re.match(r"(?:[T ]\d|[^\w-]|$)", text[end : end + 2]) is not None
    )


def _untrusted_day(memory: Memory, day: date) -> list[Hit]:
    for form in dates.spellings(day):
        hits = memory.untrusted.stream(pieces(form), limit=MAX_WHERE)
        if hits:
            return hits
    return []


def _known_minute(memory: Memory, minute: int) -> bool:
    """The time is a trusted one, or lies a named duration (or half an hour, or an hour) from one, or bounds a day."""
    times = memory.figures.times
    if minute in times or minute in (0, 1439):
        return True
    return any((minute - length) in times or (minute + length) in times for length in memory.figures.durations)


def _untrusted_minute(memory: Memory, minute: int) -> bool:
    hour, rest = divmod(minute, 60)
    half = "am" if hour < 12 else "pm"
    twelve = hour % 12 or 12
    forms = [[f"{twelve}", f"{rest:02}{half}"], [f"{hour:02}{rest:02}"]]
    for number in {f"{hour:02}", f"{hour}", f"{twelve}"}:
        forms += [[number, f"{rest:02}"], [f"{number}h{rest:02}"], [f"{number}h", f"{rest:02}"]]
    name = _HOURS[twelve - 1]
    forms += [[past, "past", hour_] for past in _PAST.get(rest, ()) for hour_ in (name, f"{twelve}")]
    if rest in (30, 15, 45):
        forms.append([name, {15: "fifteen", 30: "thirty", 45: "forty"}[rest]])
    if rest == 45:
        forms += [["quarter", "to", _HOURS[twelve % 12]], ["quarter", "to", f"{twelve % 12 + 1}"]]
    if not rest:
        forms += [[f"{twelve}{half}"], [f"{hour}h"]]
        forms += [[hour_, *more] for hour_ in (name, f"{twelve}") for more in ([half], ["o", "clock"], ["in", "the"])]
    return any(memory.untrusted.stream(form) for form in forms)


def _time(memory: Memory, text: str, when: dates.Moment) -> Trace:
    minute = when.minute or 0
    if minute in memory.figures.times:
        where, lane = trusted(memory, text, pieces(text))
        if where is None:
            return Trace(Origin.DERIVED, derivation="time from a phrase")
        origin = Origin.USER if lane is memory.user else Origin.RECORD
        return Trace(origin, Label(sources=(where.source,)), verbatim=True, where=(where,))
    if _known_minute(memory, minute):
        return Trace(Origin.DERIVED, TRUSTED, derivation="time from a phrase")
    if _untrusted_minute(memory, minute):
        return Trace(Origin.UNTRUSTED, memory.seen | Label(Integrity.UNTRUSTED), untrusted_text=True)
    return Trace(Origin.UNKNOWN, unknown_label(memory, NO_CLASSES), composed=True)
