"""What an answer names: not the value that was asked about, in whatever spelling, unless it is said alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.oversight.naming import LEFT_OUT, asked_about, without


@pytest.mark.parametrize(
    ("value", "answer", "left"),
    [
        ("Mallory", "No, not Mallory!", "No, not …"),
        ("Mallory", "not MALLORY, take erin", "not … take erin"),
        ("Mallory Smith", "anyone but “mallory  smith”, please", "anyone but … please"),
        ("Mallory Smith", "not Mallory Brown", "not Mallory Brown"),
        ("DE89 3704 0044 0532 0130 00", "no: DE89370400440532013000", "no: …"),
        (100.0, "100 is too much, 50", "… is too much, 50"),
        ("1,200.50", "never 1200.5", "never …"),
        ("2026-03-01", "not on 1 March 2026 but on 2 March 2026", "not on … but on 2 March 2026"),
        (["ann@x.org", "bob@x.org"], "ann@x.org yes, bob@x.org no", "… yes, … no"),
        ({"to": {"name": "Mallory"}}, "who is Mallory?", "who is …"),
        ("Mallory", "Mallory", "Mallory"),
        ("Mallory", " mallory. ", " mallory. "),
        ("", "erin", "erin"),
        ("!?", "erin!?", "erin!?"),
        (list(range(1000)), "5 or 6", "…"),
    ],
)
def test_the_value_asked_about_is_left_out(value: object, answer: str, left: str) -> None:
    assert without(answer, asked_about(value)) == left


@given(
    st.lists(st.text("ab1. ,!", min_size=1), min_size=1, max_size=4),
    st.text("ab1. ,!", max_size=60),
    st.integers(0, 60),
)
def test_nothing_else_is_lost_and_nothing_is_left(values: list[str], text: str, at: int) -> None:
    asked = asked_about(values)
    answer = f"{text[:at]} {values[0]} {text[at:]}"
    left = without(answer, asked)
    if left != answer:
        rest = iter(answer)
        assert all(part in answer for part in left.split(LEFT_OUT))
        assert all(letter in rest for letter in left.replace(LEFT_OUT, ""))
        assert without(left, asked) == left
