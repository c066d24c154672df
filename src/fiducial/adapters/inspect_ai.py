"""Agents of Inspect: every call of a tool in an evaluation is decided, and what came of it is taken in.

    guarded = Guarded(guard, user="emma", roles=["user"])
    eval(task, approval=guarded.approval, review=guarded.review)

1. An approver decides, and sees no results; a reviewer is asked about those before the model reads them. So a call is
   decided by the one and told of by the other. Without the other no call is made.
2. Each run of a sample is a session of its own: what the sample's input says is the user's words, system messages are
   the system's. It ends with the sample. Outside of a sample, the session is the one that is in use.
3. What the agent has read by then is known to the session before a call is decided: the approver gets all of it.
4. An agent that runs within a tool of another one, or that is handed over to, works in a session delegated by it.
5. What cannot be taken in, and a call that was made without being decided, ends the sample.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

import msgspec
from inspect_ai.approval import Approval, ApprovalPolicy, approver
from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.log._samples import sample_active
from inspect_ai.model import ChatMessage, ChatMessageTool, ContentText
from inspect_ai.review import Review, ReviewPolicy, reviewer
from inspect_ai.review._apply import have_tool_review
from inspect_ai.tool import ToolCall
from inspect_ai.util._span import current_span_id

from fiducial.adapters.calls import AT_ONCE, BROKEN, Begun, Called
from fiducial.adapters.tool import in_use
from fiducial.core.event import Authority
from fiducial.core.faults import wordless
from fiducial.errors import CallError, SessionError, ToolFailed
from fiducial.guard.arguments import same
from fiducial.guard.guard import Guard
from fiducial.guard.session import Session

log = logging.getLogger("fiducial.adapters")
_SAID_BY: Final[dict[str | None, Authority]] = {"input": "user", "operator": "operator"}
"""`source` of a user message → whose words it has; any other message is put together by a program."""
_LOST: Final = frozenset({"timeout", "cancelled"})
"""Errors after which nobody knows what the tool has done."""
_CALLING: ContextVar[tuple[Agent, ToolCall, str | None] | None] = ContextVar("fiducial-inspect", default=None)
"""The call that was decided last here, the agent that makes it, and the span in which it does. Whoever makes a call
before it is done, in another span, is an agent within its tool."""
_SAMPLES: Final[dict[str, Agent]] = {}
"""Id of a running sample → its first agent."""
_ELSEWHERE: WeakKeyDictionary[Session, Agent] = WeakKeyDictionary()
"""The same, outside of a sample."""


class Guarded:
    """Decides all calls of tools in an evaluation.

    user, roles  for whom the agents of the samples work
    wait         how long a call that people are asked about waits for them; the model is told to wait after that

    Nothing here raises: what the guard cannot decide is rejected, what it cannot take in ends the sample.
    """

    def __init__(self, guard: Guard, *, user: str, roles: Iterable[str] = (), wait: timedelta = AT_ONCE) -> None:
        self._guard, self._user, self._roles, self._wait = guard, user, tuple(roles), wait

    @property
    def approval(self) -> list[ApprovalPolicy]:
        """For `approval=` of `eval`, or of a task."""
        return [ApprovalPolicy(approver(name="fiducial")(lambda: _function(self.approve))(), "*")]

    @property
    def review(self) -> list[ReviewPolicy]:
        """For `review=` of the same."""
        return [ReviewPolicy(reviewer(name="fiducial")(lambda: _function(self.reviewed))(), "*")]

    async def approve(self, message: str, call: ToolCall, view: Any, history: list[ChatMessage]) -> Approval:
        """Whether `call` is made, and with which arguments, as an Inspect approver."""
        if not have_tool_review():
            return _rejected("Nothing was run: the host has to set `review=guarded.review` as well.")
        if not history:
            log.error("nobody said what the agent has read, so `%s` was not called", call.function)
            return _rejected(BROKEN)
        return await self.decide(call, history, turn=history[-1].id)

    async def decide(self, call: ToolCall, history: Sequence[ChatMessage], *, turn: str | None) -> Approval:
        """The same, wherever it is asked. `history`: all that the agent has read. `turn`: id of its own message that
        makes the call."""
        try:
            agent = self._agent()
            await agent.hear(history, turn)
            came = await agent.begin(call, self._wait)
        except CallError as error:
            return Approval(decision="terminate", explanation=str(error))
        except Exception as error:
            log.error("the guard broke, so `%s` was not called", call.function, exc_info=wordless(error))
            return _rejected(BROKEN)
        if isinstance(came, Called):
            return _rejected(came.told, **_asked(came))
        _CALLING.set((agent, call, current_span_id()))
        if same(came, call.arguments):
            return Approval(decision="approve")
        return Approval(decision="modify", modified=replace(call, arguments=came))

    async def reviewed(
        self, message: str, call: ToolCall, result: ChatMessageTool, output: Any, view: Any, history: list[ChatMessage]
    ) -> Review:
        """Take in what came of `call`, before the model reads it, as an Inspect reviewer."""
        try:
            await self._agent(making=call).finish(call, result, output)
        except Exception as error:
            log.error("what `%s` gave cannot be taken in", call.function, exc_info=wordless(error))
            return Review(decision="terminate", explanation=f"what came of it cannot be taken in: {error}")
        return Review(decision="continue")

    async def heard(self, messages: Sequence[ChatMessage], *, turn: str | None = None) -> None:
        """Take in what the model is about to read, or has answered.

        Raises `CallError` when the model's provider has run a tool, `StoreError` when something cannot be kept,
        `SessionError` where there is no session.
        """
        await self._agent().hear(messages, turn)

    def _agent(self, *, making: ToolCall | None = None) -> Agent:
        """Who calls here. `making`: that call, which it has begun."""
        if (calling := _CALLING.get()) is not None and calling[1].id in calling[0].begun:
            agent, call, span = calling
            same_agent = making.id == call.id if making is not None else span == current_span_id()
            return agent if same_agent else agent.within(call)
        if (sample := sample_active()) is None:
            session = in_use()
            return _ELSEWHERE.setdefault(session, Agent(weakref.proxy(session)))
        if (found := _SAMPLES.get(sample.sample_uuid)) is None:
            found = Agent(self._guard.session(user=self._user, roles=self._roles))
            _SAMPLES[sample.sample_uuid] = found
        return found


class Agent:
    """One agent of a sample, with its session."""

    def __init__(self, session: Session, *, inner: bool = False) -> None:
        self.session, self._inner = session, inner
        self.begun: dict[str, tuple[Begun, ToolCall]] = {}
        """Id → calls of which nothing was heard yet."""
        self._within: dict[str, Agent] = {}
        """Id of a call → the agent that runs within its tool."""
        self._own = set[str | None]()
        """Ids of its own turns."""
        self._answered: set[str] = set()
        """Ids of calls of which the model gets the guard's words, or what was taken in."""
        self._heard: set[str] = set()

    async def begin(self, call: ToolCall, wait: timedelta) -> dict[str, Any] | Called:
        """The arguments that `call` is to be made with, or what the model gets in its place."""
        if call.id in self.begun or call.id in self._answered:
            raise ValueError(f"there was a call of the id `{call.id}` before")
        begun = Begun(self.session, call.function, call.arguments, wait=wait)
        came = await begun.decided()
        if isinstance(came, Called):
            self._answered.add(call.id)
        else:
            self.begun[call.id] = begun, replace(call, arguments=came)
        return came

    async def finish(self, call: ToolCall, result: ChatMessageTool, output: Any) -> None:
        """What came of a call. Raises `CallError` when nobody decided it and when not all of it may be handed on, as
        Inspect hands on all or nothing; `StoreError` when it cannot be kept."""
        begun, decided = self.begun.pop(call.id, (None, call))
        self._answered.add(call.id)
        if (child := self._within.pop(call.id, None)) is not None:
            await child.close()
        if begun is None or not same(call.arguments, decided.arguments):
            self.session.observe(call.function, call.arguments, _plain(output))
            raise CallError(f"`{call.function}` was called in a way that nobody decided")
        if result.error is not None:
            lost = result.error.type in _LOST
            came = await begun.raised(ToolFailed(result.error.message, outcome="unknown" if lost else "failed"))
        else:
            came = await begun.returned(_plain(output))
        if came.result is not None and came.result.withheld:
            raise CallError(f"what `{call.function}` gave is not all this user's")
        taken_in = came.ran or (came.result is not None and came.result.status == "failed" and not result.text)
        if not taken_in:
            self.session.observe(call.function, call.arguments, [_plain(output), *_errors(result)])

    def within(self, call: ToolCall) -> Agent:
        """The agent that runs within the tool of `call`."""
        if call.id not in self._within:
            child = self.session.delegate(msgspec.json.encode(call.arguments).decode(), agent=call.function)
            self._within[call.id] = Agent(child, inner=True)
        return self._within[call.id]

    async def hear(self, history: Sequence[ChatMessage], turn: str | None) -> None:
        """Take in what the agent has read, once, but for its own `turn`. Raises `CallError` when the model's provider
        has run a tool."""
        self._own.add(turn)
        known = set[str]()
        with suppress(SessionError):  # more was said than is kept
            known = {text for _, text, _ in self.session.said}
        for message in history:
            if isinstance(message, ChatMessageTool):
                await self._result(message)
                continue
            parts = [message.content] if isinstance(message.content, str) else message.content
            if message.role == "assistant" and any(getattr(each, "type", "") == "tool_use" for each in parts):
                raise CallError("the model's provider has run a tool that nobody decided: take it out of the agent's")
            if message.role == "assistant" and message.id in self._own:
                continue
            for each in parts:
                said = each.text if isinstance(each, ContentText) else each
                key = said if isinstance(said, str) else _written(said)
                if isinstance(said, str) and said.strip() and said not in known | self._heard:
                    self.session.say(said, authority=self._authority(message))
                elif not isinstance(said, str) and key not in self._heard:
                    self.session.observe(message.role, {}, _plain(said))
                self._heard.add(key)

    async def close(self, reason: Literal["done", "error"] = "done") -> None:
        """Its session ends. Nobody knows what came of the calls that were begun."""
        for begun, _ in self.begun.values():
            await begun.raised(ToolFailed("nothing was heard of it", outcome="unknown"))
        self.begun.clear()
        for each in self._within.values():
            await each.close(reason)
        self.session.close(reason)

    async def _result(self, message: ChatMessageTool) -> None:
        id = message.tool_call_id or ""
        if id in self._answered:
            return
        self._answered.update({id} - {""})
        begun, _ = self.begun.pop(id, (None, None))
        if begun is not None:  # no reviewer was asked: it was not run, or by something else than Inspect
            await begun.raised(ToolFailed("nobody said what came of it", outcome="unknown"))
        read = [message.text, *_errors(message)]
        unread = message.error is not None and message.error.type == "parsing" and not message.text
        if not unread and (id or _written(read) not in self._heard):
            self._heard.add(_written(read))
            self.session.observe(message.function or "tool", {}, [_plain(message.content), *_errors(message)])

    def _authority(self, message: ChatMessage) -> Authority:
        if message.role == "system":
            return "system"
        by = _SAID_BY.get(message.source, "agent") if message.role == "user" else "agent"
        return "agent" if self._inner and by == "user" else by  # an inner agent's input is the outer one's words


class _Ends(Hooks):
    async def on_sample_end(self, data: SampleEnd) -> None:
        if (agent := _SAMPLES.pop(data.sample_id, None)) is not None:
            await agent.close("error" if data.sample.error is not None else "done")


hooks(name="fiducial", description="Ends the session of a sample with the sample.")(_Ends)


def _function(method: Any) -> Any:
    """`method`, as something that Inspect can put a name on."""

    async def asked(*given: Any, **named: Any) -> Any:
        return await method(*given, **named)

    return asked


def _rejected(told: str, **metadata: Any) -> Approval:
    return Approval(decision="reject", explanation=told, metadata=metadata or None)


def _asked(came: Called) -> dict[str, Any]:
    """For the host, who finds it in the sample's log: the verdict, and the request that people have before them."""
    if came.result is None:
        return {}
    verdict = came.result.verdict
    found = {"verdict": verdict.kind, "decision": verdict.decision, "user": verdict.remedies.user}
    return found | ({"request": came.waiting} if came.waiting is not None else {})


def _plain(value: Any) -> Any:
    """What a tool gave, or a part of a message, in JSON."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


def _written(value: Any) -> str:
    return msgspec.json.encode(_plain(value)).decode()


def _errors(message: ChatMessageTool) -> list[str]:
    return [message.error.message] if message.error is not None else []


__all__ = ["Guarded"]
