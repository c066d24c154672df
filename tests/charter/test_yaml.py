"""YAML with one reading: what is refused, what is kept, and where it stands."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.yaml import MAX_BYTES, MAX_DEPTH, MAX_VALUES, is_plain, read_yaml


def codes(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in read_yaml(text, "f.yaml").problems]


def test_an_empty_file_holds_nothing() -> None:
    for text in ("", "# only a comment\n", "---\n", "null"):
        document = read_yaml(text, "f.yaml")
        assert document.data is None
        assert document.problems == []
        assert document.line(("a", 1)) >= 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("+4", 4),
        ("0", 0), ("0x1f", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("2026-01-31", "2026-01-31"),
        ("12:30", "12:30"), ("30s", "30s"), ("PT5M", "PT5M"), ("a b", "a b"), ("'yes'", "yes"), ('"0123"', "0123"),
        ("'null'", "null"), ("+", "+"), (".", "."), ("1.2.3", "1.2.3"), ("=", "="), ("9223372036854775807", 2**63 - 1),
        ("'\\d+'", "\\d+"), ('"\\u00e9"', "é"), ("y", "y"), ("n", "n"), ("nowhere", "nowhere"),
    ],
)  # fmt: skip
def test_a_scalar_has_one_reading(text: str, value: Any) -> None:
    document = read_yaml(f"k: {text}\n", "f.yaml")
    assert document.problems == []
    assert document.data == {"k": value}
    assert type(document.data["k"]) is type(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("yes", "ambiguous-value"), ("No", "ambiguous-value"), ("ON", "ambiguous-value"), ("off", "ambiguous-value"),
        ("0123", "ambiguous-value"), ("1_000", "ambiguous-value"), (".inf", "not-json"), ("-.Inf", "not-json"),
        (".NaN", "not-json"), ("1e999", "not-json"), ("9223372036854775808", "not-json"), ("9" * 5000, "not-json"),
        ("0x" + "f" * 40, "not-json"), ("&a 1", "yaml-anchor"), ("*a", "yaml-anchor"), ("!!str 5", "yaml-tag"),
        ("!!python/object/apply:os.system ['true']", "yaml-tag"), ("! x", "yaml-tag"), ("&a [*a]", "yaml-anchor"),
    ],
)  # fmt: skip
def test_what_has_two_readings_is_refused_with_its_line(text: str, code: str) -> None:
    assert (2, code) in codes(f"a: 1\nk: {text}\nz: 1\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, "repeated-key")),
        ("a:\n  b: 1\n  b: 2\n", (3, "repeated-key")),
        ("5: x\n", (1, "key-not-text")),
        ("true: x\n", (1, "key-not-text")),
        ("null: x\n", (1, "key-not-text")),
        ("on: x\n", (1, "ambiguous-value")),
        ("? [a]\n: b\n", (1, "key-not-text")),
        ("? {a: b}\n: c\n", (1, "key-not-text")),
        ("*a : b\n", (1, "yaml-anchor")),
        ("<<: {a: 1}\n", (1, "yaml-anchor")),
        ("a: 1\n---\nb: 2\n", (2, "several-documents")),
        ("a: b: c\n", (1, "yaml-syntax")),
        ("a: [1\n", (2, "yaml-syntax")),
        ("a: 'x\n", (2, "yaml-syntax")),
        ("a:\n\tb: 1\n", (2, "yaml-syntax")),
        ("a: \x01\n", (1, "yaml-syntax")),
        ("ok: 1\na: \ud800\n", (2, "yaml-syntax")),
        ('a: "\\ud800"\n', (1, "yaml-syntax")),
    ],
)
def test_structure_that_loses_something_is_refused(text: str, expected: tuple[int, str]) -> None:
    assert expected in codes(text)


def test_every_problem_is_reported_at_once_and_the_rest_is_read() -> None:
    document = read_yaml("a: yes\nb: 0123\nc: {d: *x}\na: 2\ne: [1, 2]\n", "f.yaml")
    assert [problem.line for problem in document.problems] == [1, 2, 3, 4]
    assert document.data["e"] == [1, 2]
    assert document.data["a"] == "yes"
    assert all(problem.fix for problem in document.problems)


def test_lines_are_those_of_keys_and_elements() -> None:
    document = read_yaml("a:\n  - x: 1\n    y: [1,\n      2]\n\nb: |\n  text\n", "f.yaml")
    assert document.line(("a",)) == 1
    assert document.line(("a", 0)) == 2
    assert document.line(("a", 0, "y")) == 3
    assert document.line(("a", 0, "y", 1)) == 4
    assert document.line(("b",)) == 6
    assert document.line(("a", 0, "y", 1, "deeper", 7)) == 4
    assert document.line(("nowhere",)) == 1


def test_bounds_hold() -> None:
    assert (0, "too-large") in codes("#" * (MAX_BYTES + 1))
    assert codes("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    assert (1, "too-large") in codes("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert (1, "too-large") in codes("[" * 100_000)
    assert any(code == "too-large" for _, code in codes("- 1\n" * (MAX_VALUES + 1)))
    assert any(code == "too-large" for _, code in codes("- " * 100_000))


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
    started = time.process_time()
    assert codes(bomb)
    assert time.process_time() - started < 10


def test_problems_never_run_over_a_line() -> None:
    document = read_yaml(f"'{'k' * 500}\\n`': 1\n'{'k' * 500}\\n`': 2\n", "f.yaml")
    (problem,) = document.problems
    assert len(problem.message) < 200
    assert "\n" not in problem.message


@given(st.text(max_size=200))
def test_any_text_gets_an_answer(text: str) -> None:
    document = read_yaml(text, "f.yaml")
    assert document.readable or document.problems


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(_JSON)
def test_json_is_read_as_json(value: Any) -> None:
    document = read_yaml(msgspec.json.encode({"v": value}).decode(), "f.yaml")
    if not document.problems:
        assert document.data == {"v": value}
    else:  # YAML refuses some characters that JSON allows
        assert {problem.code for problem in document.problems} <= {"yaml-syntax"}


@given(st.text())
def test_plain_text_is_read_back(text: str) -> None:
    if is_plain(text):
        assert read_yaml(f"k: {text}\n", "f").data == {"k": text}
        assert read_yaml(f"{text}: [{text}, {{{text}: {text}}}]\n", "f").data == {text: [text, {text: text}]}


def test_the_pure_python_reader_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: yes\nb: [1, '2', {c: &x 3}]\nd: *x\na: 1\n\"e\": |\n  t\n5: 6\n"
    fast = read_yaml(text, "f")
    monkeypatch.setattr("fiducial.charter.yaml._Loader", yaml.SafeLoader)
    slow = read_yaml(text, "f")
    assert fast.data == slow.data
    assert fast.lines == slow.lines
    assert [(p.line, p.code) for p in fast.problems] == [(p.line, p.code) for p in slow.problems]
    assert [p.code for p in read_yaml('a: "\\ud800"\n', "f").problems] == ["yaml-syntax"]


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\r", "\u202e"])
def test_what_shows_other_lines_than_yaml_reads_is_refused(odd: str) -> None:
    document = read_yaml(f"a: 1\nb: 2 # note{odd}c: 3\n", "intent.yaml")
    assert [(each.code, each.line) for each in document.problems] == [("misread-character", 2)]
    assert not read_yaml("a: 1\r\nb: 2\r\n", "intent.yaml").problems
