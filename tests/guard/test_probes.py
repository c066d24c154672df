"""Previews before a decision, post-conditions after a run: an agent's own word confirms nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fiducial import Guard
from fiducial.core.event import CallFinished
from fiducial.guard.probes import fill, find

ROWS = '@id("charter/few") @hold("operator") forbid (principal, action == Action::"purge", resource) ' \
       "when { context.preview.rows > 10 || !context.preview.ran };"  # fmt: skip
PERMIT = '@id("charter/permit") permit (principal, action in Action::"declared", resource);\n'

PURGE: dict[str, dict[str, Any]] = {
    "count": {
        "effect": "read",
        "kind": "read",
        "parameters": {"table": {"role": "option"}},
    },
    "purge": {
        "effect": "irreversible",
        "kind": "delete",
        "parameters": {"table": {"role": "target"}},
        "asked_by": ["purge"],
        "preview": {"tool": "count", "arguments": {"table": "$arguments.table"}, "facts": {"rows": "$.rows"}},
        "postcondition": {
            "tool": "count",
            "arguments": {"table": "$arguments.table"},
            "expect": {"$.rows": 0},
            "timeout": "PT0.2S",
        },
    },
}


def guard_with(make_charter: Any, count: Any) -> Guard:
    return Guard(make_charter(PERMIT + ROWS, tools=PURGE), tools={"count": count})


def purge(guard: Guard) -> Any:
    with guard.session(user="ann", task="Purge the table logs") as session:
        return session.call("purge", {"table": "logs"}, run=lambda **_: "all gone, trust me")


def test_a_preview_is_a_fact_before_the_decision(make_charter: Any) -> None:
    assert purge(guard_with(make_charter, lambda table: {"rows": 3})).status == "ok"
    assert purge(guard_with(make_charter, lambda table: {"rows": 30})).verdict.kind == "held"


def _raises(table: str) -> Any:
    raise RuntimeError(table)


@pytest.mark.parametrize(
    "count", [_raises, lambda table: "no number", lambda table: {"rows": True}, lambda table: {"rows": -5}]
)
def test_a_preview_that_fails_leaves_its_fact_unknown(make_charter: Any, count: Any) -> None:
    guard = Guard(
        make_charter(
            PERMIT + '@id("charter/known") forbid (principal, action == Action::"purge", resource) '
            "when { context.preview.rows < 0 };",
            tools=PURGE,
        ),
        tools={"count": count},
    )
    assert purge(guard).verdict.kind == "denied"


@pytest.mark.parametrize(
    ("after", "confirmed"),
    [
        (lambda table: {"rows": 0}, "yes"),
        (lambda table: {"rows": 1}, "no"),
        (_raises, "unknown"),
        (lambda table: time.sleep(5), "unknown"),
    ],
)
def test_a_postcondition_reads_the_outcome_for_itself(make_charter: Any, after: Any, confirmed: str) -> None:
    calls: list[str] = []

    def count(table: str) -> Any:
        calls.append(table)
        return {"rows": 1} if len(calls) == 1 else after(table)

    guard = guard_with(make_charter, count)
    assert purge(guard).confirmed == confirmed
    finished = [
        each.event
        for each in guard.store.ledger().entries()  # type: ignore[attr-defined]
        if isinstance(each.event, CallFinished)
    ]
    assert finished[-1].confirmed == confirmed


def test_templates_name_parts_of_the_call_and_its_result() -> None:
    filled = fill(
        {"a": "$arguments.x", "b": "$result.rows[0].id", "c": 5, "d": "$result.none"}, {"x": 1}, {"rows": [{"id": 7}]}
    )
    assert filled == {"a": 1, "b": 7, "c": 5, "d": None}
    assert find({"a": [{"b": 1}, {"b": 2}]}, "$.a[*].b") == [1, 2]
