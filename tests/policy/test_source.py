"""Splitting Cedar text: statements with their lines."""

from __future__ import annotations

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.policy.source import split


def test_nothing_has_no_statements() -> None:
    assert split("f", "") == []
    assert split("f", " \n\t // only a comment; with a semicolon\n") == []


def test_statements_start_at_their_first_token() -> None:
    text = '// heading\n\n@id("a")\npermit (principal, action, resource);\n\n  forbid (principal, action, resource)\n;'
    found = split("f", text)
    assert [one.line for one in found] == [3, 6]
    assert found[0].text.startswith('@id("a")')
    assert found[1].text.endswith("\n;")


@pytest.mark.parametrize(
    "tricky",
    [
        '"a;b"',
        r'"a\";b"',
        r'"a\\"',
        '"a // b;"',
        '"two\nlines;"',
        '"it\'s"',
    ],
)
def test_strings_hide_semicolons_and_comments(tricky: str) -> None:
    text = f'@id("x") forbid (principal, action, resource) when {{ {tricky} == "y" }};\n'
    text += "permit (principal, action, resource);"
    found = split("f", text)
    assert len(found) == 2
    assert found[1].line == 2 + tricky.count("\n")


def test_comments_hide_semicolons_and_quotes() -> None:
    text = "permit (principal, action, resource) // it's \"open; never closed\n;\nforbid (principal, action, resource);"
    assert [one.line for one in split("f", text)] == [1, 3]


def test_text_without_its_end_is_the_last_statement() -> None:
    found = split("f", "permit (principal, action, resource);\nforbid (principal,\n")
    assert [one.text for one in found][1] == "forbid (principal,"
    assert len(split("f", 'forbid "never closed; ')) == 1


def test_line_of_looks_past_comments() -> None:
    (one,) = split("f", '@id("a")\nforbid (principal, action, resource)\n// amuont\nwhen { context.input.amuont };')
    assert one.line_of("amuont") == 4
    assert one.line_of("nowhere") == 1
    assert one.line_of("nowhere", "forbid") == 2


PIECES = st.sampled_from(
    [
        "permit(principal,action,resource);",
        'forbid(principal,action,resource) when {"a;\\"b" == "c"};',
        '// x;"\n',
        "\n",
        " ",
    ]
)


@given(st.lists(PIECES, max_size=12))
def test_splits_as_the_engine_does(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert len(split("f", text)) == len(cedarpy.PolicySet.from_str(text))


@given(st.text(alphabet='";/\\\n ab@', max_size=200))
def test_any_text_splits_and_keeps_every_token(text: str) -> None:
    found = split("f", text)
    assert all(one.text and text.split("\n")[one.line - 1 :] for one in found)
    kept = "".join(one.text for one in found)
    assert kept.count('"') <= text.count('"')
    for one in found:
        assert one.text in text


def test_long_text_is_split_in_linear_time() -> None:
    text = 'forbid(principal,action,resource) when {"' + "x" * 2_000_000 + '" == "y"};'
    assert len(split("f", text)) == 1
    assert len(split("f", "/" * 500_001)) <= 1
    assert len(split("f", ";" * 100_000)) == 100_000
