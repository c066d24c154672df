"""Agents of the OpenAI Agents SDK with a model that says what it is told to say, and the tools of a house."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

from agents import Agent, FunctionTool, RunConfig, Runner, RunResult, ToolCallOutputItem
from agents.testing import ScriptedModel, assistant_message, function_call
from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, cancelled

import fiducial
from fiducial.adapters.openai_agents import guarded, requests
from fiducial.adapters.tool import using
from fiducial.errors import StoreError

_IDS = itertools.count(1)


def tool(house: House, name: str, **more: Any) -> FunctionTool:
    """A function tool that takes whatever the model gives it."""

    async def invoke(_: Any, written: str) -> Any:
        return await asyncio.to_thread(house.tools.run, name, json.loads(written))

    schema = {"type": "object", "additionalProperties": True}
    return FunctionTool(name, f"Does what {name} says.", schema, invoke, strict_json_schema=False, **more)


def clerk(house: House, **more: Any) -> Agent[Any]:
    """An agent with every tool of the house, and one that no contract describes."""
    tools = [tool(house, name) for name in (*CONTRACTS, "no_such_tool")]
    return Agent(**{"name": "clerk", "tools": tools} | more)


def says(*turns: Sequence[tuple[str, dict[str, Any] | str]] | str) -> ScriptedModel:
    """A model that makes these calls, turn by turn, or says these words; at last, it says `done`."""
    steps = [
        [assistant_message(turn)]
        if isinstance(turn, str)
        else [function_call(name, arguments, call_id=f"call-{next(_IDS)}") for name, arguments in turn]
        for turn in turns
    ]
    return ScriptedModel([*steps, [assistant_message("done")]])


def config(model: ScriptedModel, **more: Any) -> RunConfig:
    """Without tracing, which would go to a server."""
    return RunConfig(model=model, tracing_disabled=True, **more)


def run(agent: Any, model: ScriptedModel, session: fiducial.Session, given: Any = "Go on.", **more: Any) -> RunResult:
    """A run of `agent`, from `given`, in `session`."""
    return asyncio.run(arun(agent, model, session, given, **more))


async def arun(
    agent: Any, model: ScriptedModel, session: fiducial.Session, given: Any = "Go on.", **more: Any
) -> RunResult:
    """The same, on the running event loop."""
    with using(session):
        return await Runner.run(agent, given, run_config=config(model, **more))


def outputs(result: RunResult) -> list[Any]:
    """What the model got for its calls, in this run."""
    return [each.output for each in result.new_items if isinstance(each, ToolCallOutputItem)]


class OverOpenAIAgents(Door):
    """Each call is a run of its own, of one agent in one session."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        agent = guarded(clerk(self.house), wait=self.wait)
        return _OverOpenAIAgents(self.house, self.house.guard.session(user=user, task=task), agent)


class _OverOpenAIAgents(Visit):
    def __init__(self, house: House, session: fiducial.Session, agent: Any) -> None:
        self.house, self.session, self.agent = house, session, agent

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        cancelled(self.house, arun(self.agent, says([(tool, arguments)]), self.session), when)

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        try:
            result = run(self.agent, says([(tool, arguments)]), self.session)
        except StoreError as error:  # what its model was to read cannot be recorded
            return Came("denied", False, told=str(error))
        if result.interruptions:
            [waiting] = result.interruptions
            return Came("held", False, request=requests(self.session).get(waiting.call_id or ""))
        [output] = outputs(result)
        if output == self.house.tools.result:
            return Came("allowed", True, output)
        return Came("denied", False, told=output)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


__all__ = ["OverOpenAIAgents", "clerk", "config", "outputs", "run", "says", "tool"]
