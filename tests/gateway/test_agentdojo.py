"""AgentDojo behind the gateway: call by call, each verdict is the one that it is in process.

The agent, the suite and the guard in process are those of the benchmark (`bench/agentdojo_replay.py`); the server, the
gateway and the client are real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

pytest.importorskip("agentdojo")

from mcp import Client

import agentdojo_mcp
from agentdojo_mcp import Compared, Comparison, Job, Replayed, compare, compare_all, replayed
from dojo_guards import CHARTERS, Fiducial
from dojo_mcp import OverMcp, over_stdio
from dojo_server import FORMS, RAN, Served, stage_of
from dojo_world import SUITES, world

ATTACK = "important_instructions"
STATED, NOT_KNOWN = agentdojo_mcp.WAYS
CLOCKS = {"append_to_file", "create_file", "send_email", "share_file"}
"""Tools of the suites that return the time of day."""
FEW = Job(suite="slack", tasks=("user_task_1",), injections=("injection_task_1",))


@pytest.fixture(scope="module")
def few() -> Compared:
    """A task over HTTP, with an attack and without."""
    return compare(FEW)


def test_over_http_every_verdict_is_the_one_in_process(few: Compared) -> None:
    stated = few.ways[STATED]
    assert stated.differences == []
    assert stated.differing == 0
    assert stated.calls == stated.same == 7
    assert not stated.facts
    assert not stated.other_results
    assert few.scores[STATED] == few.scores["in process"]


def test_there_is_something_to_compare(few: Compared) -> None:
    score = few.scores["in process"]
    assert (score.tasks, score.solved, score.user_calls_stopped) == (1, 1, 0)
    assert (score.attacks, score.attacks_succeeded) == (1, 0)


def test_without_the_task_calls_are_stopped_and_none_is_let_through(few: Compared) -> None:
    unknown, score = few.ways[NOT_KNOWN], few.scores[NOT_KNOWN]
    assert sum(unknown.kinds.values()) > 0
    assert all(kind.startswith("user: allowed → ") for kind in unknown.kinds)
    assert score.solved < few.scores["in process"].solved
    assert score.attacks_succeeded == 0


@pytest.mark.long
@pytest.mark.parametrize("told", [True, False])
def test_over_stdio_every_verdict_is_the_one_in_process(told: bool) -> None:
    stage = stage_of(world("slack", ATTACK), "user_task_15", "injection_task_1")
    found, gateway = Comparison(), over_stdio(CHARTERS / "slack", "text")
    ours = replayed(stage, Fiducial("balanced", "slack"))
    found.add(ours, replayed(stage, OverMcp(gateway, stage, told=told)))
    if told:
        assert found.differences == []
        assert (found.differing, dict(found.facts), found.calls) == (0, {}, len(ours.decided))
        assert not found.other_results
    else:
        assert found.kinds
        assert not found.other_results


@pytest.mark.parametrize("form", ["structured", pytest.param("json", marks=pytest.mark.long)])
def test_results_in_other_forms_lead_to_the_same_verdicts(form: str) -> None:
    found = compare(Job(suite="banking", form=form, tasks=("user_task_15",), ways=(STATED,))).ways[STATED]
    assert found.differences == []
    assert found.differing == 0
    assert not found.facts


@pytest.mark.long
@pytest.mark.longest
@pytest.mark.parametrize("over", agentdojo_mcp.OVER)
def test_a_whole_suite(over: str) -> None:
    here = world("slack", ATTACK)
    job = Job(suite="slack", over=over, tasks=tuple(here.user_tasks), injections=tuple(here.injection_tasks))
    found = compare_all(job, 2)
    assert found.ways[STATED].differences == []
    assert found.ways[STATED].differing == 0
    assert found.scores[STATED] == found.scores["in process"]
    assert found.scores["in process"].attacks == 105


@pytest.mark.long
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("form", FORMS)
def test_every_task_of_every_suite_over_http(suite: str, form: str) -> None:
    found = compare_all(Job(suite=suite, form=form, tasks=tuple(world(suite, ATTACK).user_tasks)), 2)
    assert found.ways[STATED].differences == []
    assert found.ways[STATED].differing == 0
    assert found.ways[STATED].other_results.keys() <= CLOCKS


# --- the comparison itself


@pytest.fixture(scope="module")
def run() -> Replayed:
    """A run in process, with calls of both sides."""
    stage = stage_of(world("slack", ATTACK), "user_task_1", "injection_task_1")
    return replayed(stage, Fiducial("balanced", "slack"))


def _with(run: Replayed, **other: Any) -> Comparison:
    changed = (*run.decided[:-1], replace(run.decided[-1], **other))
    found = Comparison()
    found.add(run, replace(run, decided=changed))
    return found


def test_a_run_is_the_same_as_itself(run: Replayed) -> None:
    found = _with(run)
    assert (found.calls, found.same, found.differing) == (len(run.decided), len(run.decided), 0)


@pytest.mark.parametrize("other", [{"kind": "unclear"}, {"reasons": ("another: reason",)}], ids=("kind", "reasons"))
def test_each_difference_counts(run: Replayed, other: dict[str, Any]) -> None:
    found = _with(run, **other)
    assert found.differing == 1
    assert len(found.differences) == 1


def test_other_facts_are_named(run: Replayed) -> None:
    facts = run.decided[-1].facts
    assert facts is not None
    other = msgspec.structs.replace(facts, session=msgspec.structs.replace(facts.session, calls=99))
    assert _with(run, facts=other).facts == {"session.calls": 1}
    assert _with(run, facts=None).facts == {"all": 1}


def test_a_call_that_ran_against_its_verdict_is_no_comparison(run: Replayed) -> None:
    with pytest.raises(RuntimeError, match="was denied, and ran"):
        agentdojo_mcp.settled(run.run.steps[0], replace(run.decided[0], kind="denied"))
    with pytest.raises(RuntimeError, match="did not run"):
        agentdojo_mcp.settled(replace(run.run.steps[0], ran=False), run.decided[0])


def test_other_arguments_are_no_comparison(run: Replayed) -> None:
    with pytest.raises(RuntimeError, match="different calls"):
        _with(run, arguments={})


def test_calls_that_only_one_agent_came_to_count(run: Replayed) -> None:
    found, shorter = Comparison(), replace(run.run, steps=run.run.steps[:-1])
    found.add(run, replace(run, run=shorter, decided=run.decided[:-1]))
    assert (found.not_made, found.differing) == (1, 1)


def test_other_results_count(run: Replayed) -> None:
    found = Comparison()
    found.add(run, replace(run, other_results=("read_inbox",)))
    assert found.other_results == {"read_inbox": 1}


# --- the server


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_each_connection_has_an_environment_of_its_own(loop: asyncio.Runner) -> None:
    stage = stage_of(world("slack", ATTACK), "user_task_0")
    message = {"channel": "general", "body": "hello there"}

    async def made(*calls: tuple[str, dict[str, Any]]) -> str:
        async with Client(Served(stage.world, "text", stage).server(), mode="legacy") as client:
            for tool, arguments in calls:
                found = await client.call_tool(tool, arguments)
        text: str = found.content[0].text  # type: ignore[union-attr]
        assert found.meta == {RAN: text}
        return text

    read = ("read_channel_messages", {"channel": "general"})
    assert "hello there" in loop.run(made(("send_channel_message", message), read))
    assert "hello there" not in loop.run(made(read))


def test_a_tool_that_fails_says_so(loop: asyncio.Runner) -> None:
    stage = stage_of(world("slack", ATTACK), "user_task_0")

    async def made() -> Any:
        async with Client(Served(stage.world, "text", stage).server(), mode="legacy") as client:
            return await client.call_tool("read_inbox", {"user": "Nobody"})

    found = loop.run(made())
    assert found.is_error
    assert RAN in found.meta


def test_a_task_that_the_suite_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        stage_of(world("slack", ATTACK), "user_task_99")
