"""LangChain's doors: an agent of `create_agent` with a scripted model, whose tools the guard stands around."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, abandoned, cancelled
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import fiducial
from fiducial.adapters.langchain import GuardMiddleware

_IDS = count()


class Scripted(BaseChatModel):
    """A model that says what it is told to, and keeps what it was given to read."""

    says: list[AIMessage]
    read: list[list[BaseMessage]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.read.append(list(messages))
        said = self.says.pop(0) if self.says else AIMessage("done")
        return ChatResult(generations=[ChatGeneration(message=said)])


def calls(*made: tuple[str, Mapping[str, Any]]) -> AIMessage:
    """The model makes these calls in one turn."""
    return AIMessage(
        "", tool_calls=[{"name": name, "args": dict(given), "id": f"call-{next(_IDS)}"} for name, given in made]
    )


def scripted(*says: AIMessage) -> Scripted:
    """A model that says these, and then that it is done."""
    return Scripted(says=list(says), read=[])


def tools_of(house: House) -> list[BaseTool]:
    """The tools of the house, by a schema that refuses nothing."""

    def tool(name: str) -> BaseTool:
        def run(**given: Any) -> Any:
            return house.tools.run(name, given)

        schema = {"type": "object", "properties": {each: {} for each in CONTRACTS[name]["parameters"]}}
        return StructuredTool(name=name, description=name, args_schema=schema, func=run)

    return [tool(name) for name in CONTRACTS]


class Agent:
    """An agent on one thread of a checkpointer, in one session."""

    def __init__(
        self,
        session: fiducial.Session,
        model: Scripted,
        tools: Iterable[Any],
        *,
        guard: GuardMiddleware | None = None,
        outer: Sequence[Any] = (),
        inner: Sequence[Any] = (),
        saver: Any = None,
        thread: str = "thread",
        asynchronous: bool = False,
        **more: Any,
    ) -> None:
        self.session, self.model, self.asynchronous = session, model, asynchronous
        self.config: Any = {"configurable": {"thread_id": thread}}
        around = [*outer, guard or GuardMiddleware(), *inner]
        self.graph: Any = create_agent(
            model, list(tools), middleware=around, checkpointer=saver or InMemorySaver(), **more
        )

    def using(self) -> AbstractContextManager[Any]:
        """The session is in use."""
        return fiducial.using(self.session)

    def run(self, *messages: AnyMessage | tuple[str, str]) -> dict[str, Any]:
        """A turn that begins with these."""
        return self._invoke({"messages": list(messages)})

    def again(self) -> dict[str, Any]:
        """Go on from where it stands, with nothing to say."""
        return self._invoke(None)

    def resume(self, *interrupts: Any, value: Any = True) -> dict[str, Any]:
        """Go on, for all that have paused or for some."""
        return self._invoke(Command(resume={each.id: value for each in interrupts} if interrupts else value))

    async def arun(self, *messages: AnyMessage | tuple[str, str]) -> dict[str, Any]:
        """`run`, on the running event loop."""
        with self.using():
            return await self.graph.ainvoke({"messages": list(messages)}, self.config)  # type: ignore[no-any-return]

    def _invoke(self, given: Any) -> dict[str, Any]:
        with self.using():
            if self.asynchronous:
                return asyncio.run(self.graph.ainvoke(given, self.config))  # type: ignore[no-any-return]
            return self.graph.invoke(given, self.config)  # type: ignore[no-any-return]


def told(done: Mapping[str, Any]) -> list[ToolMessage]:
    """What the agent's model got of its tools."""
    return [each for each in done["messages"] if isinstance(each, ToolMessage)]


class ByLangChain(Door):
    """An agent that pauses for people."""

    asynchronous, pause = False, True
    gives_up = False  # LangGraph runs tools on threads, and waits for them whatever happens

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _ByLangChain(self.house, self.house.guard.session(user=user, task=task), task, self)


class ByLangChainAsync(ByLangChain):
    """The same, asynchronously."""

    asynchronous = gives_up = True


class ByLangChainTold(ByLangChain):
    """An agent whose model is told that people are asked."""

    pause = False


class _ByLangChain(Visit):
    def __init__(self, house: House, session: fiducial.Session, task: str | None, door: ByLangChain) -> None:
        self.house, self.session, self.door = house, session, door
        self.said = [] if task is None else [("user", task)]

    def _agent(self, *says: AIMessage) -> Agent:
        return Agent(
            self.session,
            scripted(*says),
            tools_of(self.house),
            guard=GuardMiddleware(wait=self.door.wait, pause=self.door.pause),
            asynchronous=self.door.asynchronous,
        )

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        agent = self._agent(calls((tool, arguments)))
        done = agent.run(*self.said)
        if paused := done.get("__interrupt__"):
            [asked] = paused
            assert not told(done)
            return Came(asked.value["verdict"], False, request=asked.value["request"])
        [message] = told(done)
        assert [each.content for each in told({"messages": agent.model.read[-1]})] == [message.content]
        if message.status == "success":
            return Came("allowed", True, message.content)
        text = str(message.content)
        if "The request is " in text:
            return Came("held", False, told=text, request=text.partition("The request is ")[2].split(".")[0])  # type: ignore[arg-type]
        return Came("denied", False, told=text)

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        agent = self._agent(calls((tool, arguments)))
        if self.door.gives_up:
            cancelled(self.house, agent.arun(*self.said), when)
        else:
            abandoned(self.house, lambda: agent.run(*self.said), when)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        asked = calls((tool, arguments))
        self._agent().run(asked, ToolMessage(result, name=tool, tool_call_id=asked.tool_calls[0]["id"]))
