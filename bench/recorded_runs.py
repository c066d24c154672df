"""Recorded runs of agents, in the format in which AgentDojo and AgentDyn log them: one JSON object a line (or a file).

A run has `suite_name`, `user_task_id`, `injection_task_id`, `attack_type` (null when nobody attacked), `utility` (the
user's task was solved), `security` (true means that the attack *succeeded*) and `messages`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A tool call and what came back."""

    tool: str
    arguments: Mapping[str, Any]
    result: str
    error: str | None
    """What the tool said when it failed; `None` when it did not."""

    @property
    def key(self) -> str:
        """Equal for equal calls: same tool, same arguments."""
        return json.dumps([self.tool, self.arguments], sort_keys=True)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run."""

    suite: str
    user_task: str
    injection_task: str | None
    attacked: bool
    attack_succeeded: bool
    """False when nobody attacked, whatever the log says."""
    solved: bool
    system: str | None
    task: str
    """The user's first message."""
    calls: tuple[tuple[RecordedCall, ...], ...]
    """Turn by turn; the calls of a turn were asked for together, before any of their results."""


def read_runs(path: Path) -> list[RecordedRun]:
    """The runs in a `.jsonl`, `.jsonl.gz` or `.json` file, or in all such files below a folder.

    Raises `ValueError` naming the file and line that cannot be understood.
    """
    files = (
        sorted(p for p in path.rglob("*") if p.name.endswith((".json", ".jsonl", ".gz"))) if path.is_dir() else [path]
    )
    return [run for file in files for run in _in_file(file)]


def _in_file(file: Path) -> Iterator[RecordedRun]:
    raw = file.read_bytes()
    text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()
    whole = file.name.removesuffix(".gz").endswith(".json")
    for number, line in enumerate([text] if whole else text.splitlines(), 1):
        if line.strip():
            try:
                yield _run(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{file}:{number}: not a recorded run: {error!r}") from error


def _run(logged: Mapping[str, Any]) -> RecordedRun:
    attacked = logged["attack_type"] is not None
    messages = logged["messages"]
    return RecordedRun(
        suite=logged["suite_name"],
        user_task=logged["user_task_id"],
        injection_task=logged["injection_task_id"],
        attacked=attacked,
        attack_succeeded=attacked and logged["security"] is True,
        solved=logged["utility"] is True,
        system=next((_text(m) for m in messages if m["role"] == "system"), None),
        task=next((_text(m) for m in messages if m["role"] == "user"), ""),
        calls=tuple(_turns(messages)),
    )


def _turns(messages: list[Mapping[str, Any]]) -> Iterator[tuple[RecordedCall, ...]]:
    for index, message in enumerate(messages):
        asked = message.get("tool_calls") or []
        if message["role"] != "assistant" or not asked:
            continue
        answers: list[Mapping[str, Any]] = []
        for later in messages[index + 1 :]:
            if later["role"] == "assistant":
                break
            if later["role"] == "tool":
                answers.append(later)
        turn = []
        for position, call in enumerate(asked):
            same_id = [a for a in answers if call.get("id") and a.get("tool_call_id") == call["id"]]
            answer = same_id[0] if same_id else answers[position] if position < len(answers) else None
            turn.append(
                RecordedCall(
                    tool=call["function"],
                    arguments=call["args"] or {},
                    result=_text(answer) if answer else "",
                    error=(answer or {}).get("error"),
                )
            )
        yield tuple(turn)


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(block.get("content") or block.get("text") or "" for block in content or [])
