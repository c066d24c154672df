"""A bound is kept, missed, or its number is missing; only the first is good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bounds

REPORT = {"a": {"x": 1, "y": 2.5}, "b": 3, "words": "none", "flag": {"deep": {"z": 7}}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("b", {"b": 3}),
        ("a/x", {"a/x": 1}),
        ("a/*", {"a/x": 1, "a/y": 2.5}),
        ("flag/deep/z", {"flag/deep/z": 7}),
        ("a/none", {}),
        ("a", {}),
        ("words", {}),
        ("b/x", {}),
        ("", {}),
    ],
)
def test_numbers_are_found_by_their_path(path: str, found: dict[str, float]) -> None:
    assert bounds.find(REPORT, path) == found
    assert bounds.find(None, path) == {}


@pytest.mark.parametrize(
    ("report", "fault", "status"),
    [
        ({"a": {"x": 1}}, "", 0),
        ({"a": {"x": 2}}, "", 1),
        ({"a": {}}, "", 1),
        (None, "exits 1: no such thing", 1),
    ],
)
def test_one_missed_bound_fails_the_run(
    report: Any, fault: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = bounds.Benchmark("made up", ("none.py",), (bounds.Bound("a/x", "≤", 1),))
    monkeypatch.setattr(bounds, "BENCHMARKS", (benchmark,))
    monkeypatch.setattr(bounds, "run", lambda _: (report, fault))
    assert bounds.main([]) == status
    assert fault in capsys.readouterr().out


@pytest.mark.parametrize(("value", "said"), [(0.7, "≥ 0.7 reached"), (0.3, "≥ 0.7 not reached"), (None, "not reached")])
def test_a_goal_stands_beside_its_bound_and_fails_nothing(
    value: float | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = bounds.Benchmark("made up", ("none.py",), (bounds.Bound("a/x", "≥", 0.2, goal=0.7),))
    monkeypatch.setattr(bounds, "BENCHMARKS", (benchmark,))
    monkeypatch.setattr(bounds, "run", lambda _: ({"a": {"x": value}}, ""))
    assert bounds.main([]) == (value is None)
    assert f"{said} " in capsys.readouterr().out.replace("│", "")


def test_a_name_that_no_benchmark_has_is_refused() -> None:
    with pytest.raises(SystemExit, match="no benchmark"):
        bounds.main(["nonsense"])


def test_every_benchmark_is_there_and_has_bounds() -> None:
    for benchmark in bounds.BENCHMARKS:
        assert (Path(bounds.HERE) / benchmark.arguments[0]).exists(), benchmark.name
        for bound in benchmark.bounds:
            # A goal is more than the limit, or the limit would say too much.
            assert bound.goal is None or (bound.keeps(bound.goal) and bound.goal != bound.limit), bound.path
        assert benchmark.bounds


def test_a_program_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HERE", tmp_path)
    (tmp_path / "fails.py").write_text("import sys; sys.exit('out of paper')")
    (tmp_path / "talks.py").write_text("print('hello')")
    assert "out of paper" in bounds.run(bounds.Benchmark("fails", ("fails.py",), ()))[1]
    assert "prints no JSON" in bounds.run(bounds.Benchmark("talks", ("talks.py",), ()))[1]
