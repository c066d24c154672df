"""What counts as a day or a time."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow import dates


@pytest.mark.parametrize(
    ("text", "day", "minute"),
    [
        ("noon", None, 720),
        ("Midday", None, 720),
        (" midnight ", None, 0),
        ("10:30", None, 630),
        ("7 pm", None, 1140),
        ("2030-01-02", date(2030, 1, 2), None),
        ("2030-01-02T10:30:00Z", date(2030, 1, 2), 630),
        ("2 January 2030", date(2030, 1, 2), None),
    ],
)
def test_moments(text: str, day: date | None, minute: int | None) -> None:
    assert dates.moment(text) == dates.Moment(day, minute)


@pytest.mark.parametrize("text", ["", "bill.txt", "tomorrow", "May", "2030-13-01", "2030-W01-1", "7 apples"])
def test_what_is_none(text: str) -> None:
    assert dates.moment(text) is None


@given(st.dates(min_value=date(1000, 1, 1)))
def test_every_spelling_with_a_year_is_that_day(day: date) -> None:
    found = {spelling: dates.moment(spelling) for spelling in dates.spellings(day) if str(day.year) in spelling}
    assert day.isoformat() in found
    told = dates.Moment(day, None)
    assert all(one in (told, None) for one in found.values()), found
    # Only `03/04/2030` may be one day or another.
    assert all(one == told for spelling, one in found.items() if "/" not in spelling[:6] and "." not in spelling), found


@given(st.dates().map(date.isoformat) | st.from_regex(r"\A(?:2024|\d{4})-(?:0|W|\d)\d-\d(?:\d|-)\Z"))
def test_a_day_is_the_same_with_a_time_behind_it(text: str) -> None:
    timed = dates.moment(f"{text}T00:00")
    assert dates.moment(text) == (timed and dates.Moment(timed.day, None))
