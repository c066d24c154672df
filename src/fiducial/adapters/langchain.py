"""Agents of LangChain: the guard as a middleware of `langchain.agents.create_agent`.

    agent = create_agent(model, tools, middleware=[…, GuardMiddleware()], checkpointer=checkpointer)
    with guard.session(user="emma", task=prompt) as session, fiducial.using(session):
        agent.invoke({"messages": [("user", prompt)]}, config)

1. Every call of a tool goes the ten steps in the session that is in use, whoever registered the tool.
2. A call that waits for people interrupts the graph. When that goes on, the node runs again from its start, and so the
   call is decided afresh, on what people answered at the desk. What the graph is resumed with is not looked at.
3. A decision is for one run with the decided arguments: middleware further in that repeats or changes the call gets an
   error instead.
4. No message has authority by itself. Before the model reads one, its text is something that the host has said in the
   session, or what came of a call here; anything else is taken in, untrusted.
5. Tools that the model's provider runs cannot be guarded: an agent with one does not get to its model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain.tools import BaseTool, ToolRuntime
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command, interrupt

from fiducial.adapters.calls import AT_ONCE, Called, acall, call
from fiducial.adapters.tool import in_use, using
from fiducial.errors import CallError, ToolFailed, ToolRefused
from fiducial.guard.arguments import same
from fiducial.guard.heard import hear, know
from fiducial.guard.session import Session

_MARK: Final = "fiducial"
"""In a message's `response_metadata`: in which session its very content was taken in with a call."""
_PROVIDED: Final = re.compile(r"server_tool|_(call|result|use)$|^mcp_")
_MODELS: Final = frozenset({"tool_call", "invalid_tool_call", "function_call", "custom_tool_call", "tool_use"})
"""Of those, what a model asks for and this process runs."""
_PAUSED: WeakKeyDictionary[Session, dict[tuple[str | None, str, str], Session]] = WeakKeyDictionary()
"""Child sessions whose tool has paused the run."""


class GuardMiddleware(AgentMiddleware[Any, Any, Any]):
    """Puts the guard around all tools of an agent.

    wait     how long a call that people are asked about waits for them, before anything else
    pause    interrupt the graph for a call that still waits, which needs a checkpointer; otherwise the model is told
    session  finds the session of a run, where the host cannot have it in use

    Where no session is in use, `SessionError` ends the run; so does `CallError` when a tool of the model's provider is
    there, and `StoreError` when something new cannot be recorded before the model reads it. What a tool, a policy or
    the guard does ends no run: the model is told.
    """

    def __init__(
        self, *, wait: timedelta = AT_ONCE, pause: bool = True, session: Callable[[], Session] = in_use
    ) -> None:
        super().__init__()
        self.tools = []
        self._wait, self._pause, self._session = wait, pause, session

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> ToolMessage | Command[Any]:
        """Decide a call, run it by `handler` if it may be run, and give what the model is told of it."""
        made = _Made(self._session(), request)

        def run(**arguments: Any) -> Any:
            with made.running():
                return made.took_in(handler(made.decided(arguments)))

        return self._told(made, call(made.session, made.name, made.given, run, wait=self._wait))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> ToolMessage | Command[Any]:
        """`wrap_tool_call`, on the running event loop."""
        made = _Made(self._session(), request)

        async def run(**arguments: Any) -> Any:
            with made.running():
                return made.took_in(await handler(made.decided(arguments)))

        return self._told(made, await acall(made.session, made.name, made.given, run, wait=self._wait))

    def _told(self, made: _Made, called: Called) -> ToolMessage | Command[Any]:
        if made.paused is not None:
            raise made.paused
        while self._pause and called.waiting is not None:
            # What it was resumed with changes nothing. Once no such value is left, this raises.
            interrupt(made.question(called))
        return made.message(called)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Take in what the model is going to read, and see that it has run no tool by itself."""
        self._before(request)
        return _own(handler(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """`wrap_model_call`, on the running event loop."""
        self._before(request)
        return _own(await handler(request))

    def _before(self, request: ModelRequest[Any]) -> None:
        if any(not isinstance(each, BaseTool) for each in request.tools):
            raise CallError("the agent has a tool that its model's provider runs, which nobody can decide: take it out")
        read = (request.system_message, *request.messages)
        _hear(self._session(), [each for each in read if each is not None])


class _Made:
    """One call that is made, and what has come of it in the framework's own form."""

    def __init__(self, session: Session, request: ToolCallRequest) -> None:
        self.session, self._request = session, request
        self.name, self.given = request.tool_call["name"], request.tool_call["args"]
        self._output: Any = None
        self.paused: GraphBubbleUp | None = None
        """By which the tool itself has paused the run."""

    def decided(self, arguments: dict[str, Any]) -> ToolCallRequest:
        """The call with the arguments that were decided, whose tool runs with those alone, and once. Raises
        `ToolRefused` when there is no tool yet: one that comes from further in could run in any way."""
        if self._request.tool is None:
            raise ToolRefused("no tool of this name is there when it is decided; put what brings it before the guard")
        request = self._request.override(tool_call={**self._request.tool_call, "args": arguments})
        return request.override(tool=_once(self._request.tool, arguments))

    @contextmanager
    def running(self) -> Iterator[None]:
        """The tool runs: in this session. One that pauses the run has not failed; how far it came, nobody knows."""
        try:
            with using(self.session):
                yield
        except GraphBubbleUp as paused:
            self.paused = paused
            raise ToolFailed("the tool paused the run", outcome="unknown") from None

    def took_in(self, output: Any) -> Any:
        """What the model will read of the tool's output."""
        self._output = output
        if isinstance(output, ToolMessage) and output.status == "error":
            raise ToolFailed(output.text, outcome="failed")
        found = [each.content for each in _messages(output)]
        return found[0] if len(found) == 1 else found

    def question(self, called: Called) -> dict[str, Any]:
        """What the interrupt shows to the host."""
        assert called.result is not None
        verdict = called.result.verdict
        call_id, user = self._request.tool_call["id"], verdict.remedies.user
        asked = {"request": called.waiting, "verdict": verdict.kind, "user": user}
        return {**asked, "tool": self.name, "tool_call_id": call_id}

    def message(self, called: Called) -> ToolMessage | Command[Any]:
        """What the model gets: what the tool gave, its own words for a failure too, or words in its place."""
        output: ToolMessage | Command[Any] | None = self._output if called.as_given else None
        if output is None:
            call_id = self._request.tool_call["id"]
            status: Literal["success", "error"] = "success" if called.in_part else "error"
            output = ToolMessage(called.told, name=self.name, tool_call_id=call_id, status=status)
        for each in _messages(output):
            each.response_metadata[_MARK] = _mark(self.session, each)
        return output


def _once(tool: BaseTool, arguments: dict[str, Any]) -> BaseTool:
    """`tool`, to be invoked a single time, with the arguments of the model's that were decided."""
    shown, left = tool.args.keys(), [True]

    def checked(call: Any) -> Any:
        given = call["args"]  # with what the framework injects, which no model gives
        if not same({name: each for name, each in given.items() if name in arguments or name in shown}, arguments):
            raise ToolFailed("other arguments were decided than those that the tool was to get", outcome="failed")
        if not left:
            raise ToolFailed("it has run already, and another run takes another decision", outcome="failed")
        left.clear()
        return call

    def invoke(call: Any, config: Any = None, **more: Any) -> Any:
        return tool.invoke(checked(call), config, **more)

    async def ainvoke(call: Any, config: Any = None, **more: Any) -> Any:
        return await tool.ainvoke(checked(call), config, **more)

    decided = tool.model_copy()  # so that it is whatever the tool is; what is run is the tool itself
    object.__setattr__(decided, "invoke", invoke)
    object.__setattr__(decided, "ainvoke", ainvoke)
    return decided


@contextmanager
def delegated(instructions: str, *, agent: str, runtime: ToolRuntime[Any, Any]) -> Iterator[Session]:
    """Within it, a child session for another agent is in use: for a tool that runs one on `instructions`.

    runtime  the tool's own; by it, a call that was paused in the other agent goes on in the child session that it had,
             when the tool is run again in this process

    Raises as `Session.delegate` does.
    """
    parent = in_use()
    paused, key = _PAUSED.setdefault(parent, {}), (runtime.tool_call_id, agent, instructions)
    child = paused.pop(key, None)
    if child is None or child.closed:
        child = parent.delegate(instructions, agent=agent)
        know(child, instructions)
    try:
        with using(child):
            yield child
    except GraphBubbleUp:
        paused[key] = child
        raise
    except BaseException:
        child.close("error")
        raise
    child.close()


def _own(response: ModelResponse[Any]) -> ModelResponse[Any]:
    """`response`, when the model's provider has run nothing for it."""
    if any(_provided(each) for each in response.result):
        raise CallError("the model's provider has run a tool that nobody decided: take it out of the model's")
    return response


def _provided(message: BaseMessage) -> list[Any]:
    """The parts of a model's message in which its provider has run a tool."""
    found = []
    for part in message.content_blocks if isinstance(message, AIMessage) else ():
        kind = str(part["value"].get("type") if part["type"] == "non_standard" else part["type"])
        if _PROVIDED.search(kind) and kind not in _MODELS:
            found.append(part)
    return found


def _hear(session: Session, messages: Sequence[BaseMessage]) -> None:
    """Take in, once, what nobody has said in the session: as the words of nobody who has authority."""
    for message in messages:
        if (mark := message.response_metadata.get(_MARK)) and mark == _mark(session, message):
            continue
        for text in _texts(message):
            hear(session, text, "tool" if isinstance(message, ToolMessage) else "agent")


def _texts(message: BaseMessage) -> Iterator[str]:
    """The parts of a message that a model reads, but for its own words."""
    content = [message.content] if isinstance(message.content, str) else message.content
    for part in _provided(message) if isinstance(message, AIMessage) else content:
        text = part.get("text") if isinstance(part, dict) else part
        yield text if isinstance(text, str) else json.dumps(part, default=str)


def _messages(output: Any) -> list[BaseMessage]:
    """The messages in what a tool gave."""
    if isinstance(output, Command):
        output = output.update.get("messages", []) if isinstance(output.update, dict) else []
    if isinstance(output, (list, tuple)):
        return [message for each in output for message in _messages(each)]
    return [output] if isinstance(output, BaseMessage) else []


def _mark(session: Session, message: BaseMessage) -> str:
    return f"{session.id} {_digest(json.dumps(message.content, default=str))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


__all__ = ["GuardMiddleware", "delegated"]
