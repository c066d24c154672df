"""YAML read line by line is what libyaml reads."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow.formats import yaml_events
from fiducial.flow.formats.members import MAX_DEPTH

yaml_lines = pytest.importorskip("fiducial.flow.formats._yaml_lines", reason="not compiled")


MAX_KEY = 120
"""Characters of the longest key that is read line by line."""


def same(text: str) -> bool:
    """Whether it was read line by line; then libyaml must say the same."""
    value = yaml_lines.read(text)
    if value is None:
        return False
    events = yaml_events.read(text)
    assert (value, type(value)) == (events, type(events))
    return True


PIECES = [
    "- ", "- ", "  ", "    ", " ", "a: ", "b: ", "key two:", "c:\n", "\n", "\n", "\n\n", "\n  ", "\n    ",
    "x", "foo bar", "'it''s'", "'q\n", "'", '"d"', '"', "a@b.c", "http://x.y/z#q", "=", "<<", "~", "null", "é", "“",
    "#", " # c", ": ", ":", "[]", "{}", "-", "---\n", "...", "|\n", "> ", "&a ", "*a", "!t ", "%", "@", "`", "?", "? ",
    ",", "[", "]", "{", "}", "\t", "\u2028", "\r\n", "\\", "\\\n", "\\ ", "\\n", "\\u2014", "\\x41", "\\U0001f600",
    "\\ud800",
]  # fmt: skip
VALUES = st.recursive(
    st.text(max_size=30) | st.text("ab '\n:#-\"\\", max_size=120) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab _-:", max_size=9), inner, max_size=4),
    max_leaves=15,
)


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join))
def test_any_text_reads_alike(text: str) -> None:
    same(text)


@given(VALUES, st.sampled_from([20, 80]), st.booleans(), st.sampled_from([2, 4]))
def test_what_a_program_writes_reads_alike(value: Any, width: int, unicode: bool, indent: int) -> None:
    same(yaml.safe_dump(value, width=width, allow_unicode=unicode, indent=indent))


LINES = st.lists(
    st.tuples(
        st.integers(0, 4).map(" ".__mul__),
        st.sampled_from(["", "", "a", "b c", "é“”", "\\", "\\\\", "x\\", "\\ y", "long words\\\\\\", "''", "z: "]),
        st.sampled_from(["", "", "", " ", "  "]),
    ).map("".join),
    min_size=1,
    max_size=6,
).map("\n".join)


@given(st.sampled_from(["- ", "a: ", "a:\n  b: ", "a:\n- b: "]), st.sampled_from(["'", '"', ""]), LINES)
def test_folded_lines_read_alike(before: str, quote: str, lines: str) -> None:
    same(f"{before}{quote}{lines}{quote}\n")
    same(f"{before}{quote}{lines}{quote}\nc: d\n")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("'a  \n  b'", "a b"),
        ("'\n  a\n\n\n  b\n  '", " a\n\nb "),
        ('"a \\\n  b\\\n  \\ c"', "a b c"),
        ('"a\\\\\n  b"', "a\\ b"),
        ("a\n   b  \n  c  ", "a b c"),
        ("é\n  “”", "é “”"),
    ],
    ids=range(6),
)
def test_lines_are_folded(written: str, value: str) -> None:
    text = f"k:\n- {written}\n"
    assert yaml_lines.read(text) == (("k", [value]),)
    assert same(text)


@pytest.mark.parametrize("written", ["'a\nb'", '"a\\ \n  b"', '"a\\\n\n  b"', "'a\n  b\n'"], ids=range(4))
def test_lines_that_may_be_folded_otherwise_are_left_alone(written: str) -> None:
    assert yaml_lines.read(f"- {written}\n") is None


PROSE = 'Dear all,\n\nthe meeting is at ten: bring this. Don\'t be "late".\n Bye\n' * 3


@pytest.mark.parametrize(
    "value",
    [
        [
            {"id": 1, "from": "ann@example.org", "body": PROSE, "read": False, "cc": [], "meta": {}},
            {"id": 2, "to": None},
        ],
        {"users": {"ann": {"roles": ["a", "b"], "note": "long words " * 30}}, "count": 2.5, "x": "", "y": "# no"},
        [["a", "b"], ["c", ["d"]]],
        {"text": "— “quoted” — " * 12, "emoji": "\U0001f600"},
    ],
    ids=range(4),
)
def test_results_of_tools_are_read_line_by_line(value: Any) -> None:
    assert same(yaml.safe_dump(value, sort_keys=False))
    assert same("---\n" + yaml.safe_dump(value, sort_keys=False, indent=4))


def test_keys_that_are_alike_are_told_apart() -> None:
    keys = ["a" * size for size in range(1, MAX_KEY + 1)] + ["".join(two) for two in product("abyz019_", repeat=2)]
    for order in (keys, keys[::-1]):
        text = "".join(f"- {key}: 1\n" for key in order)
        assert [record[0][0] for record in yaml_lines.read(text)] == order
        assert same(text)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_text_that_ends_anywhere_reads_alike(quote: str) -> None:
    value = [{"body": PROSE[:90], "cc": [], "meta": {}, "é": {"a b": "“quoted”"}}, ["x"]]
    text = yaml.dump(value, Dumper=yaml.SafeDumper, width=30, default_style=quote, allow_unicode=True)
    for end in range(len(text)):
        same(text[:end])


@pytest.mark.parametrize(
    "text",
    [
        "a: b # note\n",
        "a: &x b\n",
        "a: !t b\n",
        "a: |\n  b\n",
        "a: [b]\n",
        "a: 'b'c\n",
        "a: 'b\nc'\n",
        "a: b: c\n",
        "a: b\n c: d\n",
        "a: b\n...\n",
        "- a\nb: c\n",
        "a:\n  b\n",
        'a: "\\q"\n',
        "a: \x85b\n",
        "a: é\x85b\n",
        "a: \x7fb\n",
        "a: b\tc\n",
        "a: é\tc\n",
        "a: \ud800\n",
        "just text\n",
        "",
        "- " * (MAX_DEPTH + 1) + "a",
    ],
    ids=range(22),
)
def test_what_may_mean_something_else_is_left_alone(text: str) -> None:
    assert yaml_lines.read(text) is None
