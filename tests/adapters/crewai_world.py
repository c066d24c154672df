"""Crews of CrewAI with a model that says what it is told to say, and the tools of a house."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

# Before CrewAI is there: it would ask its makers' servers, and keep files in the home directory.
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_DISABLE_TRACKING": "true", "CREWAI_TRACING_ENABLED": "false"}
os.environ |= {"OTEL_SDK_DISABLED": "true", "CREWAI_STORAGE_DIR": tempfile.mkdtemp(prefix="crewai-")}

from crewai import Agent, Crew, Task
from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, abandoned
from pydantic import BaseModel, ConfigDict, PrivateAttr, create_model

import fiducial
from fiducial.adapters.crewai import guarded
from fiducial.adapters.tool import using

Turn = Sequence[tuple[str, Any]] | str
_IDS = itertools.count(1)


def _schema(name: str) -> type[BaseModel]:
    """The parameters of a tool, of which CrewAI is to find nothing wrong."""
    named: dict[str, Any] = dict.fromkeys(CONTRACTS.get(name, {}).get("parameters", {}), (Any, None))
    return create_model(f"{name}_schema", __config__=ConfigDict(extra="allow"), **named)


class Of(BaseTool):
    """A tool of the house."""

    _house: House = PrivateAttr()

    def __init__(self, house: House, name: str, **more: Any) -> None:
        super().__init__(**{"name": name, "description": f"Does it: {name}.", "args_schema": _schema(name)} | more)
        self._house = house

    def _run(self, **given: Any) -> Any:
        return self._house.tools.run(self.name, given)


class Scripted(BaseLLM):
    """A model that makes these calls, turn by turn, or says these words; at last, it says `done`. Without `native`, it
    writes its calls as text."""

    native: bool = True
    _turns: Iterator[Turn] = PrivateAttr()
    _asked: list[list[dict[str, Any]]] = PrivateAttr(default_factory=list)

    def __init__(self, *turns: Turn, **more: Any) -> None:
        super().__init__(model="scripted", **more)
        self._turns = itertools.chain(turns, itertools.repeat("done"))

    @property
    def asked(self) -> list[list[dict[str, Any]]]:
        """The messages of each request."""
        return self._asked

    @property
    def got(self) -> list[str]:
        """What it got for its calls, in the last conversation that it was asked about."""
        if self.native:
            return [each["content"] for each in self._asked[-1] if each["role"] == "tool"]
        said = [each["content"] for each in self._asked[-1] if each["role"] == "assistant"]
        return [each.split("\nObservation: ", 1)[1] for each in said if "\nObservation: " in each]

    def supports_function_calling(self) -> bool:
        return self.native

    def get_context_window_size(self) -> int:
        return 10**9

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        self._asked.append([dict(each) for each in messages])
        turn = next(self._turns)
        if self.native:
            return turn if isinstance(turn, str) else [_call(*each) for each in turn]
        if isinstance(turn, str):
            return f"Thought: I know.\nFinal Answer: {turn}"
        [(name, arguments)] = turn
        return f"Thought: I need it.\nAction: {name}\nAction Input: {json.dumps(arguments)}"

    async def acall(self, messages: Any, *more: Any, **named: Any) -> Any:
        return self.call(messages, *more, **named)


def _call(name: str, arguments: Any) -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": f"call-{next(_IDS)}", "type": "function", "function": {"name": name, "arguments": written}}


def clerk(house: House, model: BaseLLM, **more: Any) -> Agent:
    """An agent with every tool of the house, and one that no contract describes."""
    given: dict[str, Any] = {"role": "clerk", "goal": "Keep the books.", "backstory": "You are careful."}
    tools = [Of(house, name) for name in (*CONTRACTS, "no_such_tool")]
    return Agent(**{**given, "tools": tools, "llm": model, **more})


def work(agent: Agent, description: str = "Go on.", **more: Any) -> Task:
    """Something for `agent` to do."""
    return Task(description=description, expected_output="A word.", agent=agent, **more)


def crew(*agents: Agent, **more: Any) -> Crew:
    """A crew in which each has the same to do, one after the other."""
    return Crew(**{"agents": list(agents), "tasks": [work(each) for each in agents], "tracing": False} | more)


def run(given: Crew, session: fiducial.Session, **more: Any) -> Any:
    """A run of the crew in `session`."""
    with using(session):
        return given.kickoff(**more)


class OverCrewAI(Door):
    """Each call is a run of its own, of one crew in one session. `native`: the model has a way of its own to call."""

    gives_up = False  # CrewAI runs tools on threads, and waits for them whatever happens

    def __init__(self, house: House, *, native: bool = True) -> None:
        super().__init__(house)
        self.native = native

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _OverCrewAI(self, self.house.guard.session(user=user, task=task))


class _OverCrewAI(Visit):
    def __init__(self, door: OverCrewAI, session: fiducial.Session) -> None:
        self.door, self.house, self.session = door, door.house, session

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        model = Scripted([(tool, arguments)], native=self.door.native)
        try:
            result = run(guarded(crew(clerk(self.house, model)), wait=self.door.wait), self.session)
        except HookAborted as aborted:
            return Came("denied", False, told=str(aborted))
        failures = result.tasks_output[0].tool_failures
        if not failures:
            [value] = model.got
            return Came("allowed", True, value)
        details = failures[0].failure.details
        return Came(details.get("verdict", "denied"), False, told=model.got[0], request=details.get("request"))

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        abandoned(self.house, lambda: self.call(tool, arguments), when)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


__all__ = ["Of", "OverCrewAI", "Scripted", "Turn", "clerk", "crew", "run", "work"]
