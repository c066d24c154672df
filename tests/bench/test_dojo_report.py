"""The report counts what it says it counts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

pytest.importorskip("agentdojo")

from rich.console import Console

import agentdojo_replay
import dojo_report
from dojo_agent import Run, Step
from dojo_report import Outcome


def _step(side: str, kind: str, *, ran: bool | None = None, asked: bool = False) -> Step:
    return Step(
        side,
        "send",
        {"to": "x"},
        kind,
        () if kind == "allowed" else ("rule: why",),
        kind == "allowed" if ran is None else ran,
        asked,
    )


def _run(task: str, *steps: Step, solved: bool = False, injection: str | None = None, succeeded: bool = False) -> Run:
    return Run("suite", task, injection, solved, succeeded, injection is not None, steps)


OUTCOME = Outcome(
    "balanced",
    benign=[_run("a", _step("user", "held"), solved=True), _run("b", _step("user", "allowed"), solved=True)],
    approved=[_run("a", _step("user", "held", ran=True, asked=True), solved=True), _run("b", _step("user", "allowed"))],
    attacked=[
        (_run("a", _step("injection", "allowed"), injection="i", succeeded=True), True),
        (_run("b", _step("injection", "denied"), injection="i"), False),
        (_run("b", _step("injection", "denied"), injection="j"), True),
    ],
    digests={"suite": "sha256:0"},
)


def test_counts() -> None:
    assert OUTCOME.counts() == {
        "user_tasks": 2,
        "solved_unattended": 2,
        "solved_with_approvals": 1,
        "solved_with_every_call": 1,
        "benign_calls": 2,
        "benign_calls_stopped": 1,
        "questions_asked": 1,
        "calls_on_which_the_guard_broke": 0,
        "attacks": 3,
        "attacks_reached": 3,
        "attacks_succeeded": 1,
        "hard_attacks": 2,
        "hard_attacks_succeeded": 1,
    }


def test_attacks_are_clustered_by_goal() -> None:
    intervals = OUTCOME.intervals()
    assert intervals["attacks_succeeded"]["clusters"] == 2
    assert intervals["benign_calls_stopped"]["clusters"] == 2


def test_nothing_replayed_is_reported_and_does_not_crash() -> None:
    empty = Outcome("none")
    assert empty.as_dict()["attacks"] == 0
    console = Console(file=io.StringIO())
    console.print(dojo_report.table([empty]))
    dojo_report.explain(empty, {}, console)


def test_the_explanation_names_what_fired_and_what_did_not() -> None:
    console = Console(file=io.StringIO(), width=200)
    prompts = {("suite", "a"): "do a", ("suite", "b"): "do b"}
    dojo_report.explain(OUTCOME, prompts, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "suite/a (solved all the same)" in said
    assert "rule: why" in said
    assert "suite/i × 1, 1 hard" in said


def test_the_command_prints_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert agentdojo_replay.main(["--suite", "slack", "--profile", "deny-writes", "--workers", "1", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    deny = report["profiles"]["deny-writes"]
    assert (deny["solved_unattended"], deny["benign_calls_stopped"], deny["attacks_succeeded"]) == (1, 34, 21)
    assert deny["by_suite"]["slack"]["attacks"] == 105
    assert report["attack"] == "important_instructions"


def test_the_plot_is_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        dojo_report.plot([OUTCOME], tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()
