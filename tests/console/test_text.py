"""Text made safe to look at: nothing invisible stays so, nothing readable is lost, marks stand where they belong."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.console.text import LIMIT, Mark, marked, ticked, visible

characters = st.text(st.characters(codec="utf-8"), max_size=200)


@given(characters)
def test_nothing_that_is_shown_is_invisible(text: str) -> None:
    shown = visible(text)
    odd = [
        c for c in shown if c not in "\n\t " and unicodedata.category(c) in {"Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"}
    ]
    assert odd == []


@given(characters)
def test_what_can_be_seen_is_not_changed(text: str) -> None:
    plain = "".join(c for c in text if unicodedata.category(c)[0] in "LNPS" and visible(c) == c)
    assert visible(plain) == plain
    assert html.unescape(str(marked(plain))) == plain


@given(characters, st.lists(st.tuples(st.integers(-5, 210), st.integers(-5, 210)), max_size=6))
def test_marked_text_says_the_same_as_the_text(text: str, spans: list[tuple[int, int]]) -> None:
    marks = [Mark(start, end, "user", f"m{n}", "NOTE") for n, (start, end) in enumerate(spans)]
    shown = str(marked(text, marks))
    without = re.sub(r'<span class="tag">NOTE</span>', "", shown)
    bare = html.unescape(re.sub(r"</?(?:mark|span)\b[^>]*>", "", without))
    # Combining marks are counted in each piece by itself, so that a mark may split a pile of them.
    if not re.search(r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4}", text):
        assert bare == visible(text)
    assert shown.count("<mark") == shown.count("</mark>")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("pay\u200bpal", "pay⟨U+200B⟩pal"),
        ("x\u00a0y", "x⟨U+00A0⟩y"),
        ("\x00\x1b[2J", "⟨U+0000⟩⟨U+001B⟩[2J"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\u3164", "⟨U+3164⟩"),
        ("e\u0301", "e\u0301"),
        ("e" + "\u0301" * 4, "e" + "⟨U+0301⟩" * 4),
        ("line\nline\ttab", "line\nline\ttab"),
        ("日本語 ελληνικά עברית", "日本語 ελληνικά עברית"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_is_cut_at_the_limit_and_says_how_much_is_missing() -> None:
    assert visible("x" * LIMIT) == "x" * LIMIT
    assert visible("x" * (LIMIT + 5)).endswith("… (5 characters left out)")


def test_what_surrounds_a_mark_is_shown_however_long_the_text() -> None:
    text = "a" * 50_000 + "HERE" + "b" * 50_000
    shown = str(marked(text, [Mark(50_000, 50_004, "untrusted", "m", "amount")]))
    assert '<mark id="m" class="from untrusted" tabindex="0">HERE<span class="tag">amount</span></mark>' in shown
    assert len(shown) < 3_000
    assert shown.count("characters left out") == 2


def test_a_mark_over_everything_is_still_bounded() -> None:
    assert len(str(marked("x" * 10**6, [Mark(0, 10**6, "user", "m", "n")]))) < 2 * 10**6


def test_markup_in_notes_and_text_is_text() -> None:
    shown = str(marked("<b>&'\"", [Mark(0, 3, "user", "m", "<i>")]))
    assert "<b>" not in shown
    assert "<i>" not in shown


def test_names_between_backticks_are_code_and_nothing_else_is() -> None:
    assert str(ticked("the result of `<b>`")) == "the result of <code>&lt;b&gt;</code>"
    assert str(ticked("one ` alone")) == "one ` alone"
