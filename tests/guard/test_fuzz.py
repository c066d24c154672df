"""Anything may come in as arguments, results and words: a verdict or a clear error comes out, never a crash."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial import Guard

odd_text = st.text(st.characters(), max_size=80) | st.sampled_from(
    ["\ud800", "\x00", "__entity", "__extn", "null", "\u202e", "a" * 5000, "{{}}", "'\"`", "\ufeff"]
)
odd_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | odd_text
    | st.binary(max_size=20)
)
odd_values = st.recursive(
    odd_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(odd_text, inner, max_size=4)
        | st.tuples(inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)
names = st.sampled_from(["send_money", "send_email", "read_file", "get_page", "respond", "nothing", ""]) | odd_text
arguments = st.dictionaries(
    st.sampled_from(["recipient", "amount", "subject", "to", "body", "path", "url", "text", "audience", "domain"])
    | odd_text,
    odd_values,
    max_size=5,
)


@given(tool=names, given_arguments=arguments, seen=odd_values, said=odd_text)
def test_any_call_comes_to_a_verdict(shared: Guard, tool: str, given_arguments: Any, seen: Any, said: str) -> None:
    with shared.session(user="ann", task=said) as session:
        session.observe("read_file", {"path": "a"}, seen)
        session.observe(tool, given_arguments, seen)
        verdict = session.decide(tool, given_arguments)
        assert verdict.kind in ("allowed", "held", "unclear", "denied")
        assert verdict.kind == "allowed" or verdict.reasons
        result = session.call(tool, given_arguments, run=lambda **_: seen)
        assert result.status in ("ok", "not-run")
        assert result.recorded


@pytest.fixture(scope="module")
def shared() -> Guard:
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("guard_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Guard(module.charter())


def _deep(levels: int) -> Any:
    value: Any = "end"
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 10_000_000, id="one-word"),
        pytest.param(_deep(100_000), id="deep"),
        pytest.param("[" * 1_000_000, id="brackets"),
        pytest.param("'" * 500_000, id="quotes"),
        pytest.param("word " * 2_000_000, id="many-words", marks=pytest.mark.long),
        pytest.param("a@b.c " * 500_000, id="addresses", marks=pytest.mark.long),
        pytest.param(["x"] * 200_000, id="long-list", marks=pytest.mark.long),
        pytest.param({str(n): n for n in range(50_000)}, id="wide-object", marks=pytest.mark.long),
        pytest.param("- " * 200_000, id="dashes", marks=pytest.mark.long),
    ],
)
def test_huge_and_hostile_results_and_arguments_take_linear_time(make_charter: Any, value: Any) -> None:
    started = time.process_time()
    with Guard(make_charter()).session(user="ann", task="Read it and email ann@example.com") as session:
        session.observe("read_file", {"path": "a"}, value)
        session.decide("send_email", {"to": ["ann@example.com"], "body": value if isinstance(value, str) else "x"})
        session.decide("send_email", {"to": value, "body": "x"})
    assert time.process_time() - started < 90
