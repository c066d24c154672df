"""Agents of Inspect whose model says what a test wants, over the tools of a house: in an evaluation, or alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, cancelled
from inspect_ai import Task, eval
from inspect_ai._util.exception import TerminateSampleError
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    Model,
    ModelOutput,
    ModelUsage,
    execute_tools,
    get_model,
)
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import ToolCall, ToolDef, ToolError, ToolParams

import fiducial
from fiducial.adapters.inspect_ai import Guarded
from fiducial.adapters.inspect_sentinel import sentinel
from fiducial.adapters.tool import using
from fiducial.errors import ToolFailed

TASK = "Look after my notes."
Call = tuple[str, dict[str, Any]]
_IDS = itertools.count(1)


def output(turn: Sequence[Call] | str) -> ModelOutput:
    """What a model answers: these calls, or these words."""
    calls = [] if isinstance(turn, str) else turn
    made = [ToolCall(id=f"call-{next(_IDS)}", function=name, arguments=given) for name, given in calls]
    said = ModelOutput.from_message(
        ChatMessageAssistant(content=turn if isinstance(turn, str) else "", tool_calls=made, source="generate")
    )
    said.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # or it is counted, by a download
    return said


def says(*turns: Sequence[Call] | str) -> Model:
    """A model that answers with these, in turn, and then that it is done."""
    return get_model("mockllm/model", custom_outputs=[*map(output, turns), output("done"), output("done")])


def tools(house: House, before: Callable[[str], None] = lambda _: None) -> list[Any]:
    """The house's, and one that no contract describes; they take whatever the model gives them."""

    def made(name: str) -> Any:
        async def execute(**given: Any) -> Any:
            await asyncio.to_thread(before, name)
            try:
                return await asyncio.to_thread(house.tools.run, name, given)
            except ToolFailed as failed:  # which it takes for its own fault, and ends the sample
                raise ToolError(str(failed)) from None

        schema = ToolParams(additionalProperties=True)
        return ToolDef(execute, name, f"Does what {name} says.", schema, parallel=True).as_tool()

    return [made(name) for name in (*CONTRACTS, "no_such_tool")]


def guarded(house: House, **more: Any) -> Guarded:
    return Guarded(house.guard, **{"user": "emma"} | more)


def run(
    house: House,
    path: Path,
    model: Model,
    *,
    input: Any = TASK,
    solver: Any = None,
    guard: Guarded | None = None,
    way: str = "approver",
    **more: Any,
) -> EvalLog:
    """An evaluation with one sample, or with those that are given, guarded in one of the two ways."""
    samples = input if isinstance(input, list) else [Sample(input=input)]
    task = Task(dataset=samples, solver=solver or [use_tools(tools(house)), generate()])
    guard = guard or guarded(house)
    ways = {
        "approver": lambda: {"approval": guard.approval, "review": guard.review},
        "sentinel": lambda: {"sentinel": sentinel(guard)},
    }
    options = {"display": "none", "log_dir": str(path), "message_limit": 40} | ways[way]()
    [log] = eval(task, model=model, **options | more)
    return log


def results(log: EvalLog) -> list[ChatMessageTool]:
    """What the model got for its calls."""
    return [each for one in log.samples or [] for each in one.messages if isinstance(each, ChatMessageTool)]


class OverInspect(Door):
    """Each call is a turn of an agent that goes on in one session, outside of an evaluation."""

    in_part = False
    hears_of_runs = False  # Inspect tells nobody; the call is unknown once the time that its contract gives it is over

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        guard = guarded(self.house, wait=self.wait)
        return _OverInspect(self.house, self.house.guard.session(user=user, task=task), guard)


class _OverInspect(Visit):
    def __init__(self, house: House, session: fiducial.Session, guard: Guarded) -> None:
        self.house, self.session, self.guard = house, session, guard
        session.say("Go on.")

    async def _turn(self, tool: str, arguments: dict[str, Any]) -> Came:
        approvals: list[Any] = []
        guard = self.guard.approval[0].approver

        async def approve(*given: Any) -> Any:
            approvals.append(await guard(*given))
            return approvals[-1]

        for each in ("__registry_info__", "__registry_params__"):
            setattr(approve, each, getattr(guard, each))
        policies = self.guard.approval
        policies[0].approver = approve
        said = (await says([(tool, arguments)]).generate("Go on.")).message
        history: list[ChatMessage] = [ChatMessageUser(content="Go on.", source="input"), said]
        try:
            done = await execute_tools(
                history, tools(self.house), max_output=0, approval=policies, review=self.guard.review
            )
        except TerminateSampleError as ended:
            return Came("denied", False, told=str(ended))
        [message] = done.messages
        assert isinstance(message, ChatMessageTool)
        if message.error is None:
            return Came("allowed", True, message.text)
        asked = approvals[-1].metadata or {}
        return Came(asked.get("verdict", "denied"), False, None, message.error.message, asked.get("request"))

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        return asyncio.run(self._used(tool, arguments))

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        cancelled(self.house, self._used(tool, arguments), when)

    async def _used(self, tool: str, arguments: dict[str, Any]) -> Came:
        with using(self.session):
            return await self._turn(tool, arguments)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


__all__ = ["TASK", "Call", "OverInspect", "guarded", "output", "results", "run", "says", "tools"]
