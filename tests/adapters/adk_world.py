"""Agents of Google's ADK with a model that says what it is told to say, and the tools of a house."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, cancelled
from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.events import Event
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools import BaseTool
from google.genai import types
from pydantic import PrivateAttr

import fiducial
from fiducial.adapters.adk import GuardPlugin, requests
from fiducial.adapters.tool import using

Turn = Sequence[tuple[str, dict[str, Any]]] | types.Part | str


class Of(BaseTool):
    """A tool of the house, which takes whatever the model gives it."""

    def __init__(self, house: House, name: str, **more: Any) -> None:
        super().__init__(name=name, description=f"Does it: {name}.", **more)
        self._house = house

    def _get_declaration(self) -> types.FunctionDeclaration:
        return types.FunctionDeclaration(name=self.name, description=self.description)

    async def run_async(self, *, args: dict[str, Any], tool_context: Any) -> Any:
        return await asyncio.to_thread(self._house.tools.run, self.name, args)


class Scripted(BaseLlm):
    """A model that makes these calls, turn by turn, or says these words; at last, it says `done`."""

    _turns: Iterator[Turn] = PrivateAttr()
    _asked: list[LlmRequest] = PrivateAttr(default_factory=list)

    def __init__(self, *turns: Turn) -> None:
        super().__init__(model="scripted")
        self._turns = itertools.chain(turns, itertools.repeat("done"))

    @property
    def asked(self) -> list[LlmRequest]:
        """Each request."""
        return self._asked

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        self._asked.append(llm_request.model_copy(update={"contents": list(llm_request.contents)}))
        turn = next(self._turns)
        parts = (
            [types.Part(text=turn) if isinstance(turn, str) else turn]
            if isinstance(turn, (str, types.Part))
            else [types.Part(function_call=types.FunctionCall(name=name, args=args)) for name, args in turn]
        )
        yield LlmResponse(content=types.Content(role="model", parts=parts))


def clerk(house: House, model: BaseLlm, **more: Any) -> LlmAgent:
    """An agent with every tool of the house, and one that no contract describes."""
    tools = [Of(house, name) for name in (*CONTRACTS, "no_such_tool")]
    return LlmAgent(**{"name": "clerk", "model": model, "instruction": "Keep the books.", "tools": tools, **more})


class Conversation:
    """One session of ADK's with `agent`."""

    def __init__(self, agent: Any, *plugins: Any, **more: Any) -> None:
        app = App(name="house", root_agent=agent, plugins=[*plugins, GuardPlugin(**more)])
        self.runner, self.id = InMemoryRunner(app=app), ""

    def run(self, session: fiducial.Session | None, given: str | types.Content = "Go on.") -> list[Event]:
        """A run in `session`."""
        return asyncio.run(self.arun(session, given))

    async def arun(self, session: fiducial.Session | None, given: str | types.Content = "Go on.") -> list[Event]:
        """The same, on the running event loop."""
        message = types.Content(role="user", parts=[types.Part(text=given)]) if isinstance(given, str) else given
        if session is None:
            return await self._run(message)
        with using(session):
            return await self._run(message)

    async def _run(self, message: types.Content) -> list[Event]:
        if not self.id:
            made = await self.runner.session_service.create_session(app_name="house", user_id="emma")
            self.id = made.id
        run = self.runner.run_async(user_id="emma", session_id=self.id, new_message=message)
        return [event async for event in run]


def got(events: list[Event]) -> list[dict[str, Any]]:
    """What the model got for its calls."""
    return [each.response or {} for event in events for each in event.get_function_responses()]


class OverAdk(Door):
    """Each call is a run of its own, of one agent in one session."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _OverAdk(self, self.house.guard.session(user=user, task=task))


class _OverAdk(Visit):
    def __init__(self, door: Door, session: fiducial.Session) -> None:
        self.door, self.house, self.session = door, door.house, session

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        cancelled(self.house, self._conversation(tool, arguments).arun(self.session), when)

    def _conversation(self, tool: str, arguments: dict[str, Any]) -> Conversation:
        return Conversation(clerk(self.house, Scripted([(tool, arguments)])), wait=self.door.wait)

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        try:
            events = self._conversation(tool, arguments).run(self.session)
        except RuntimeError as error:
            return Came("denied", False, told=str(error))
        if waiting := list(requests(events).values()):
            return Came("held", False, request=waiting[0])
        [response] = got(events)
        if "error" in response:
            return Came("denied", False, told=response["error"])
        return Came("allowed", True, response["result"])

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


__all__ = ["Conversation", "Of", "OverAdk", "Scripted", "clerk", "got"]
