"""Reading recorded runs: what cannot be understood is refused, and calls find their results."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from recorded_runs import read_runs


def _logged(**changes: Any) -> dict[str, Any]:
    def said(text: str) -> list[dict[str, str]]:
        return [{"type": "text", "content": text}]

    def call(name: str, id: str | None, **args: Any) -> dict[str, Any]:
        return {"function": name, "args": args, "id": id, "placeholder_args": None}

    return {
        "suite_name": "shop",
        "user_task_id": "user_task_0",
        "injection_task_id": None,
        "attack_type": None,
        "injections": {},
        "messages": [
            {"role": "system", "content": said("You help.")},
            {"role": "user", "content": said("Read both.")},
            {"role": "assistant", "content": None, "tool_calls": [call("a", "1", x=1), call("b", "2")]},
            {"role": "tool", "content": said("of b"), "tool_call_id": "2", "error": None},
            {"role": "tool", "content": said("of a"), "tool_call_id": "1", "error": None},
            {"role": "assistant", "content": None, "tool_calls": [call("c", None)]},
            {"role": "tool", "content": said(""), "tool_call_id": None, "error": "no such tool"},
            {"role": "assistant", "content": said("Done."), "tool_calls": None},
        ],
        "error": None,
        "utility": True,
        "security": True,
        "benchmark_version": "v1.2.2",
        **changes,
    }


def test_what_is_no_run_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(json.dumps(_logged()) + "\n" + json.dumps({"suite_name": "shop"}) + "\n")
    with pytest.raises(ValueError, match=r"runs\.jsonl:2: not a recorded run"):
        read_runs(file)


def test_a_benign_run_never_counts_as_a_successful_attack(tmp_path: Path) -> None:
    # `security: true` stands on benign runs too, where nothing was attacked.
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(json.dumps(_logged(attack_type=kind)) for kind in (None, "direct")))
    benign, attacked = read_runs(file)
    assert (benign.attacked, benign.attack_succeeded) == (False, False)
    assert (attacked.attacked, attacked.attack_succeeded) == (True, True)


def test_calls_of_a_turn_find_their_own_results(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(_logged()).encode()))
    (run,) = read_runs(file)
    assert (run.system, run.task) == ("You help.", "Read both.")
    assert [[(call.tool, call.result) for call in turn] for turn in run.calls] == [
        [("a", "of a"), ("b", "of b")],
        [("c", "")],
    ]
    assert run.calls[1][0].error == "no such tool"


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.json").write_text(json.dumps(_logged(), indent=2))
    (tmp_path / "two.jsonl").write_text(json.dumps(_logged()) + "\n")
    assert len(read_runs(tmp_path)) == 2
