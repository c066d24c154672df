"""Kinds of entity that a request can name and a value can be: `email`, `url`, `account`, `path`, `date`.

Amounts are left out on purpose: a request that names one ("we spent 12.00") often asks for another that follows.
"""

from __future__ import annotations

import re
from typing import Any

from fiducial.flow.dates import Found, dates_in, moment
from fiducial.flow.entities import ACCOUNT, DOMAIN, EMAIL, PATH, URL

_SHAPES: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...] = (
    ("email", (EMAIL,)),
    ("url", (URL, DOMAIN)),
    ("account", (ACCOUNT,)),
    ("path", (PATH,)),
)
_MAX_VALUE = 2048
"""Characters of a value that is looked at; longer ones are no entity."""
_NONE: frozenset[str] = frozenset()


def kinds_in(text: str) -> frozenset[str]:
    """Kinds of which `text` names an entity."""
    found = {kind for kind, shapes in _SHAPES if any(shape.search(text) for shape in shapes)}
    if "url" in found and "email" in found and not any(shape.search(EMAIL.sub(" ", text)) for shape in (URL, DOMAIN)):
        found.discard("url")
    if next(iter(dates_in(text)), None) is not None:
        found.add("date")
    return frozenset(found)


def days_in(text: str) -> frozenset[tuple[int, int]]:
    """Months and days of the month that `text` names, whatever the year."""
    return frozenset((found.month, found.day) for found in dates_in(text) if isinstance(found, Found))


def day_of(value: Any) -> tuple[int, int] | None:
    """Month and day of the month that `value` is a date of; `None` when it is none."""
    when = moment(value) if isinstance(value, str) and len(value) <= _MAX_VALUE else None
    return (when.day.month, when.day.day) if when is not None and when.day is not None else None


def kinds_of_value(value: Any, *, unit: str | None) -> frozenset[str]:
    """Kinds that `value`, or an item of it when it is a list, is; `unit` as in the contract."""
    found = set()
    for item in value if isinstance(value, list) else (value,):
        if not isinstance(item, str) or not 0 < len(item) <= _MAX_VALUE:
            continue
        if unit == "time":
            if moment(item) is not None:
                found.add("date")
            continue
        found |= {kind for kind, shapes in _SHAPES if any(shape.fullmatch(item) for shape in shapes)}
    return frozenset(found) if found else _NONE
