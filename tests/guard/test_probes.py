"""Previews before a decision, post-conditions after a run: an agent's own word confirms nothing."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import timedelta
from typing import Any

import pytest

from fiducial import Answer, Guard, MemoryStore
from fiducial.charter.model import Case
from fiducial.core.clock import ManualClock
from fiducial.core.event import CallFinished
from fiducial.errors import NotPermitted
from fiducial.guard.cases import run_case
from fiducial.guard.probes import MAX_WALK, TooLarge, _same, fill, fill_exactly, find
from fiducial.oversight import Approver, Desk
from fiducial.policy.bounds import Bound

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
        (lambda table: {"rows": 0.0}, "yes"),
        (lambda table: {"rows": 1}, "no"),
        (lambda table: {"rows": False}, "no"),
        (lambda table: {"rows": [0]}, "no"),
        (_raises, "unknown"),
        (lambda table: {"rows": 0, "history": [0] * MAX_WALK}, "unknown"),
        (lambda table: {"rows": 1, "history": [0] * MAX_WALK}, "unknown"),
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


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1, {"b": "x"}]}, {"a": (1.0, {"b": "x"})}, True),
        ({"a": [1, {"b": True}]}, {"a": [1, {"b": 1}]}, False),
        ([0, 1], [0, 1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (True, True, True),
        (None, False, False),
    ],
)
def test_what_is_expected_is_compared_as_json_is(one: Any, other: Any, same: bool) -> None:
    assert _same(one, other) is _same(other, one) is same


def test_templates_name_parts_of_the_call_and_its_result() -> None:
    filled = fill(
        {"a": "$arguments.x", "b": "$result.rows[0].id", "c": 5, "d": "$result.none"}, {"x": 1}, {"rows": [{"id": 7}]}
    )
    assert filled == {"a": 1, "b": 7, "c": 5, "d": None}
    assert find({"a": [{"b": 1}, {"b": 2}]}, "$.a[*].b") == [1, 2]


@pytest.mark.parametrize(("path", "rows"), [("$.rows[*]", MAX_WALK + 1), ("$.rows[*].id", MAX_WALK)])
@pytest.mark.long
def test_records_that_cannot_be_looked_through_count_all_the_same(make_charter: Any, path: str, rows: int) -> None:
    dump = {"dump": {"effect": "read", "kind": "read", "output": {"records": path}}}
    with Guard(make_charter(PERMIT, tools=dump)).session(user="ann", task="Dump it") as session:
        assert session.call("dump", {}, run=lambda: {"rows": [{"id": 1}] * rows}).status == "ok"
        assert session.account.records == rows


def test_what_is_too_large_to_be_looked_through_is_not_taken_for_nothing() -> None:
    large = {"rows": [0] * MAX_WALK, "id": 7}
    for template in (fill, fill_exactly):
        with pytest.raises(TooLarge):
            template({"a": "$arguments.id"}, large, None)
    assert fill({"a": "$arguments.rows"}, {"rows": large}, None) == {"a": large}


@dataclasses.dataclass
class Page:
    rows: Any
    id: int = 7


FORMS: dict[str, Any] = {
    "object": lambda value: value,
    "text": json.dumps,
    "bytes": lambda value: json.dumps(value).encode(),
    "long text": lambda value: json.dumps({**value, "text": "x" * 300_000}),
    "model": lambda value: Page(**value),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_result_is_looked_through_however_it_comes(make_charter: Any, form: Any) -> None:
    tables = [3]

    def count(table: str) -> Any:
        return form({"rows": tables[0]})

    def run(table: str) -> Any:
        tables[0] = 0
        return form({"rows": 0, "id": 7})

    with guard_with(make_charter, count).session(user="ann", task="Purge the table logs") as session:
        done = session.call("purge", {"table": "logs"}, run=run)
        assert (done.status, done.confirmed) == ("ok", "yes")
        tables[0] = 30
        assert session.decide("purge", {"table": "logs"}).kind == "held"
    assert fill_exactly({"id": "$result.id", "all": "$result"}, {}, form({"rows": 0, "id": 7}))["id"] == 7


def test_the_whole_result_is_passed_on_as_it_came() -> None:
    assert fill_exactly({"all": "$result"}, {}, '{"id": 7}') == {"all": '{"id": 7}'}
    assert fill_exactly({"id": "$result.id"}, {}, '{"id": "7"}') == {"id": "7"}


def test_of_a_key_that_is_said_twice_nobody_knows_which_is_meant(make_charter: Any) -> None:
    for twice in ('{"rows": 3, "rows": 5000}', "rows: 3\nrows: 5000\n", "{'rows': 3, 'rows': 5000}"):
        for text in (twice, twice[:-1] + f', "x": "{"x" * 300_000}"' + "}"):
            assert find(text, "$.rows") == []
    assert purge(guard_with(make_charter, lambda table: '{"rows": 3, "rows": 5000}')).verdict.kind == "held"


@pytest.mark.parametrize(("form", "size"), [("object", 3), ("text", 0), ("text", 3), ("bytes", 3), ("text", 3000)])
def test_records_count_however_they_come(make_charter: Any, form: str, size: int) -> None:
    reads: dict[str, Any] = {
        name: {"effect": "read", "kind": "read", "output": output}
        for name, output in {"plain": {}, "paged": {"records": "$.rows"}, "each": {"records": "$[*]"}}.items()
    }
    rows = [{"id": "x" * 100}] * size
    with Guard(make_charter(PERMIT, tools=reads)).session(user="ann", task="List them") as session:
        for count, (name, value) in enumerate((("plain", rows), ("paged", {"rows": rows}), ("each", rows)), start=1):
            assert session.call(name, {}, run=lambda value=value: FORMS[form](value)).status == "ok"
            assert session.account.records == count * size


@pytest.mark.parametrize(
    ("output", "value", "records"),
    [
        ({"records": "$.rows"}, Page([1, 2]), 2),
        ({"records": "$.rows"}, {"items": [1, 2]}, 1),
        ({"records": "$.rows"}, '{"items": [1, 2]}', 1),
        ({"records": "$.rows"}, "three rows", 1),
        ({"records": "$.rows"}, "", 0),
        ({"records": "$.rows"}, "{}", 0),
        ({"records": "$.rows"}, {"rows": []}, 0),
        ({}, "- a: 1\n- a: 2\n", 2),
        ({}, "[{'a': 1}, {'a': 2}]", 2),
        ({}, {1, 2}, 2),
        ({}, "some words", 1),
        ({}, {"a": [1, 2]}, 1),
    ],
)
def test_what_a_result_counts_for(make_charter: Any, output: Any, value: Any, records: int) -> None:
    tools = {"dump": {"effect": "read", "kind": "read", "output": output}}
    with Guard(make_charter(PERMIT, tools=tools)).session(user="ann", task="Dump it") as session:
        assert session.call("dump", {}, run=lambda: value).status == "ok"
        assert session.account.records == records


@pytest.mark.parametrize("text", ["[" * 150 + "]" * 150, '{"a":' * 150 + "1" + "}" * 150])
@pytest.mark.parametrize("path", ["$.id", "$..id"])
def test_nested_text_is_looked_through_in_no_time(text: str, path: str) -> None:
    started = time.thread_time()
    assert find(f"[{','.join([text] * 20)}]", path) == []
    assert time.thread_time() - started < 1


def test_what_nests_too_deep_is_not_taken_for_nothing() -> None:
    with pytest.raises(TooLarge) as raised:
        find([json.loads("[" * 300 + "]" * 300)] * 20, "$..id")
    assert raised.value.seen >= 20


UNSAID = [
    lambda table: '{"rows": "3"}', lambda table: '{"rows": true}', lambda table: '{"rows": 3',
    _raises, lambda table: {"rows": 3, "more": [0] * MAX_WALK},
    lambda table: {}, lambda table: {"rows": "5000000"}, lambda table: {"rows": float("nan")},
    lambda table: {"rows": -1},
]  # fmt: skip


@pytest.mark.parametrize("count", [*UNSAID, None])
def test_a_preview_that_does_not_say_what_it_is_asked_waits_for_a_person(make_charter: Any, count: Any) -> None:
    charter = make_charter(PERMIT, tools=PURGE)
    held = purge(Guard(charter, tools={"count": count} if count is not None else {}))
    assert (held.status, [each.policy for each in held.verdict.reasons]) == ("not-run", ["baseline/preview-failed"])


@pytest.mark.parametrize("rows", [101, 10**16, float("inf"), 2**53])
def test_more_than_a_number_can_be_is_many(make_charter: Any, rows: float) -> None:
    held = purge(Guard(make_charter(PERMIT, tools=PURGE), tools={"count": lambda table: {"rows": rows}}))
    assert [each.policy for each in held.verdict.reasons] == ["baseline/many-rows"]


@pytest.mark.parametrize(
    ("total", "kind"),
    [
        (4999, "allowed"), (5001, "held"), (98.7, "held"), (98.0, "held"), ("4999", "held"), ([1, 2], "held"),
        (True, "held"), (-1, "held"), (10**20, "held"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [lambda value: value, json.dumps], ids=["object", "text"])
def test_a_preview_tells_its_cost_in_minor_units(make_charter: Any, total: Any, kind: str, form: Any) -> None:
    dear = '@id("charter/dear") @hold("operator") forbid (principal, action == Action::"purge", resource) ' \
           "when { context.preview.cost > 5000 };"  # fmt: skip
    tools = {**PURGE, "purge": {**PURGE["purge"], "preview": {**PURGE["purge"]["preview"], "facts": {"cost": "$.c"}}}}
    guard = Guard(make_charter(PERMIT + dear, tools=tools), tools={"count": lambda table: form({"c": total})})
    with guard.session(user="ann", task="Purge the table logs") as session:
        assert session.decide("purge", {"table": "logs"}).kind == kind


def test_several_prices_are_no_cost(make_charter: Any) -> None:
    facts = {"cost": "$[*].price"}
    tools = {**PURGE, "purge": {**PURGE["purge"], "preview": {**PURGE["purge"]["preview"], "facts": facts}}}
    guard = Guard(make_charter(PERMIT, tools=tools), tools={"count": lambda table: [{"price": 9}, {"price": 10**9}]})
    assert purge(guard).verdict.kind == "held"


def test_an_approval_is_for_what_the_preview_found(make_charter: Any) -> None:
    rows = [150]
    store = MemoryStore()
    desk = Desk(store)
    guard = Guard(
        make_charter(PERMIT, tools=PURGE), store=store, desk=desk, tools={"count": lambda table: {"rows": rows[0]}}
    )
    olga = Approver(id="olga", roles=frozenset({"operator"}))
    ran: list[int] = []
    with guard.session(user="ann", task="Purge the table logs") as session:

        def purged() -> str:
            return str(session.call("purge", {"table": "logs"}, run=lambda **_: ran.append(rows[0])).status)

        assert purged() == "not-run"
        [hold] = desk.waiting()
        desk.vote(hold.id, olga, "approve")
        rows[0] = 5_000_000
        assert purged() == "not-run"
        rows[0] = 150
        assert purged() == "ok"
    assert ran == [150]


def test_a_no_stands_whatever_the_preview_finds_and_an_appeal_has_people_asked_about_that(make_charter: Any) -> None:
    rows = [150]
    store = MemoryStore()
    desk = Desk(store)
    guard = Guard(
        make_charter(PERMIT, tools=PURGE), store=store, desk=desk, tools={"count": lambda table: {"rows": rows[0]}}
    )
    olga, pete = (Approver(id=name, roles=frozenset({"operator"})) for name in ("olga", "pete"))
    with guard.session(user="ann", task="Purge the table logs") as session:
        refused = session.decide("purge", {"table": "logs"}).hold
        desk.vote(refused, olga, "reject", note="too many")
        # An agent that can add a row, or break the preview, could ask until somebody agrees.
        for found in (151, -1, 140):
            rows[0] = found
            verdict = session.decide("purge", {"table": "logs"})
            assert (verdict.kind, verdict.reasons[0].fault) == ("denied", "people-refused")
        assert "tell the user" in verdict.remedies.agent
        assert "appeal" in verdict.remedies.user
        assert "appeal" in verdict.remedies.operator
        assert not desk.waiting()
        appeal = desk.appeal(refused, "ann", "it is less by now")
        desk.vote(appeal.id, pete, "approve")
        asked = session.decide("purge", {"table": "logs"})
        assert asked.kind == "held", "what the appeal allows is the 150 rows"
        desk.vote(asked.hold, olga, "approve")
        assert session.decide("purge", {"table": "logs"}).kind == "allowed"


def test_an_approval_that_ends_while_the_preview_runs_is_too_late(make_charter: Any) -> None:
    takes = [timedelta(0)]
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    desk = Desk(store, clock=clock)

    def count(table: str) -> dict[str, int]:
        clock.advance(takes[0])
        return {"rows": 150}

    guard = Guard(make_charter(PERMIT, tools=PURGE), store=store, desk=desk, clock=clock, tools={"count": count})
    with guard.session(user="ann", task="Purge the table logs") as session:
        held = session.decide("purge", {"table": "logs"})
        hold = desk.vote(held.hold, Approver(id="olga", roles=frozenset({"operator"})), "approve")
        clock.advance(timedelta(microseconds=hold.expires_us - clock.unix_us() - 1))
        takes[0] = timedelta(seconds=1)
        assert session.decide("purge", {"table": "logs"}).kind == "denied"


def test_no_other_call_is_approved_for_what_a_preview_found(make_charter: Any) -> None:
    store = MemoryStore()
    desk = Desk(store)
    guard = Guard(
        make_charter(PERMIT, tools=PURGE), store=store, desk=desk, tools={"count": lambda table: {"rows": 150}}
    )
    with guard.session(user="ann", task="Purge the table logs") as session:
        verdict = session.decide("purge", {"table": "logs"})
        olga = Approver(id="olga", roles=frozenset({"operator"}))
        tool = session.rulebook.slice("purge").type
        with pytest.raises(NotPermitted, match="preview"):
            desk.grant(verdict.hold, olga, tool, {"table": Bound(equals="logs")}, uses=9, lasting=timedelta(hours=1))
        with pytest.raises(NotPermitted, match="preview"):
            desk.edit(verdict.hold, olga, tool, {"table": "old-logs"})
        assert desk.vote(verdict.hold, olga, "approve").state == "approved"
        assert session.decide("purge", {"table": "logs"}).kind == "allowed"


def test_what_a_hook_approves_is_what_the_preview_found_then(make_charter: Any) -> None:
    rows, ran = [150], []

    def grows(question: Any) -> Answer:
        rows[0] += 5_000_000
        return Answer(approved=True, by="olga")

    guard = Guard(make_charter(PERMIT, tools=PURGE), tools={"count": lambda table: {"rows": rows[0]}}, on_held=grows)
    with guard.session(user="ann", task="Purge the table logs") as session:
        result = session.call("purge", {"table": "logs"}, run=lambda **_: ran.append(rows[0]))
    assert (result.status, result.verdict.kind, ran) == ("not-run", "held", [])


@pytest.mark.parametrize(("found", "kind"), [({"rows": 3}, "allowed"), ({"rows": 300}, "held"), (None, "held")])
def test_a_case_of_a_charter_says_what_the_preview_finds(make_charter: Any, found: Any, kind: str) -> None:
    written = {
        "name": "purges",
        "given": {"task": "Purge the table logs", **({"preview": found} if found else {})},
        "call": {"tool": "purge", "arguments": {"table": "logs"}},
        "expect": {"verdict": kind},
    }
    result = run_case(Guard(make_charter(PERMIT, tools=PURGE)), Case.model_validate(written))
    assert result.wrong == ()


def test_a_tool_that_is_halted_by_name_is_not_run_around_other_calls_either(make_charter: Any) -> None:
    looked: list[str] = []

    def count(table: str) -> Any:
        looked.append(table)
        return {"rows": 0}

    guard = guard_with(make_charter, count)
    halt = guard.halt("it leaks data", by="olga", tool="count")
    assert purge(guard).verdict.kind == "held", "what it would find is not known"
    assert looked == []
    guard.resume(halt, by="omar")
    with guard.session(user="ann", task="Purge the table logs") as session:
        done = session.call(
            "purge", {"table": "logs"}, run=lambda **_: str(guard.halt("it leaks data", by="olga", tool="count"))
        )
    assert (done.status, done.confirmed, looked) == ("ok", "unknown", ["logs"])
