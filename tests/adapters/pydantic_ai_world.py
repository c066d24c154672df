"""An agent of Pydantic AI whose model says what a test wants, over the tools of a house."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, cancelled
from pydantic_ai import Agent, Tool, models
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import DeferredToolRequests

import fiducial
from fiducial.adapters.pydantic_ai import Guarded
from fiducial.adapters.tool import using

models.ALLOW_MODEL_REQUESTS = False
Call = tuple[str, dict[str, Any]]


class Script:
    """A model: each time that it is asked it makes the next calls, and at the end it says that it is done."""

    def __init__(self, *turns: Sequence[Call], before: Callable[[], None] | None = None) -> None:
        self.turns, self.before = list(turns), before
        self.read: list[list[ModelMessage]] = []
        self.asked: list[AgentInfo] = []

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.read.append(list(messages))
        self.asked.append(info)
        if self.before is not None:
            self.before()
        if not self.turns:
            return ModelResponse(parts=[TextPart("That is all.")])
        return ModelResponse(parts=[ToolCallPart(name, arguments) for name, arguments in self.turns.pop(0)])

    def model(self) -> FunctionModel:
        return FunctionModel(self)

    @property
    def got(self) -> list[ToolReturnPart[Any]]:
        """The results that it got, in order."""
        parts = [part for one in self.read[-1] if isinstance(one, ModelRequest) for part in one.parts]
        return [part for part in parts if isinstance(part, ToolReturnPart)]


def tools(house: House) -> list[Tool[Any]]:
    """The house's, and those that no contract describes; the framework lets them have any arguments."""

    def made(name: str) -> Tool[Any]:
        def run(**arguments: Any) -> Any:
            return house.tools.run(name, arguments)

        return Tool.from_schema(run, name, f"Does what {name} says.", {"type": "object", "properties": {}})

    return [made(name) for name in (*CONTRACTS, "no_such_tool")]


def agent(house: House, script: Script, **more: Any) -> Agent[None, Any]:
    """An agent that can pause."""
    options: dict[str, Any] = {
        "tools": tools(house),
        "capabilities": [Guarded()],
        "output_type": [str, DeferredToolRequests],
    }
    return Agent(script.model(), **(options | more))


class OverPydanticAi(Door):
    """Runs of an agent, in one session."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _OverPydanticAi(self, self.house.guard.session(user=user, task=task), task)


class _OverPydanticAi(Visit):
    def __init__(self, door: Door, session: fiducial.Session, task: str | None) -> None:
        self.door, self.house, self.session, self.prompt = door, door.house, session, task or "Go on."
        if task is None:
            session.say(self.prompt)

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        script = Script([(tool, arguments)])
        result = asyncio.run(self._run(script))
        if isinstance(result.output, DeferredToolRequests):
            [asked] = result.output.metadata.values()
            return Came(
                asked["fiducial"]["verdict"], False, None, asked["fiducial"]["user"], asked["fiducial"]["request"]
            )
        [got] = script.got
        if got.outcome == "success":
            return Came("allowed", True, got.content)
        return Came("denied", False, None, got.content)

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        cancelled(self.house, self._run(Script([(tool, arguments)])), when)

    async def _run(self, script: Script) -> Any:
        with using(self.session):
            return await agent(self.house, script, capabilities=[Guarded(wait=self.door.wait)]).run(self.prompt)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


__all__ = ["Call", "OverPydanticAi", "Script", "agent", "tools"]
