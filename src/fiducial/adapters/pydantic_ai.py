"""Agents of Pydantic AI: with the capability `Guarded`, every call of a tool goes the ten steps.

    agent = Agent(model, tools=[…], output_type=[str, DeferredToolRequests], capabilities=[Guarded()])

    with guard.session(user="emma", task=prompt) as session, fiducial.using(session):
        result = agent.run_sync(prompt)

It wraps all tools that a run has, wherever they come from: functions, toolsets, MCP servers, other capabilities. A call
that gets past the wrapper is not made. What it cannot guard it refuses, with `UserError`, which ends the run: tools
that the model's provider runs, tools that the host runs outside of the run, output functions; realtime sessions, and
runs within a durable workflow.

What is decided is JSON. The tool runs with what its own validator makes of that, and with nothing else. What the model
gets to read is known to the session before it reads it: the prompt as the user's words, the agent's instructions as the
system's, and results of tools; all else as untrusted, also messages of earlier runs that this session has not seen.
"""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_ai import exceptions as flow
from pydantic_ai.agent import AgentRunResult
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.messages import (
    InstructionDeltaPart,
    ModelRequest,
    RetryFeedbackPart,
    SystemPromptPart,
    TextContent,
    ToolReturn,
    ToolReturnPart,
    UserPromptPart,
    tool_return_ta,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.output import OutputContext
from pydantic_ai.tools import AgentDepsT, DeferredToolRequests, RunContext, ToolDenied
from pydantic_ai.toolsets import AbstractToolset, CombinedToolset, FunctionToolset, ToolsetTool, WrapperToolset
from pydantic_core import to_jsonable_python

from fiducial.adapters.calls import AT_ONCE, acall, readable
from fiducial.adapters.tool import in_use, using
from fiducial.core.event import Authority
from fiducial.errors import SessionError, ToolFailed, ToolRefused
from fiducial.guard.arguments import same
from fiducial.guard.heard import hear, see, seen
from fiducial.guard.session import Session

_CALLING: ContextVar[Session | None] = ContextVar("fiducial-pydantic-ai", default=None)
"""The session in which a tool is being run."""
_SIGNALS: Final = (
    flow.ModelRetry,
    flow.ToolFailed,
    flow.ToolRetryError,
    flow.ToolFailedError,
    flow.CallDeferred,
    flow.ApprovalRequired,
    flow.RunCancelled,
    flow.UsageLimitExceeded,
)
"""What a tool raises to tell the framework something: it gets to hear it."""
_UNGUARDED: Final = (
    "This tool is called in a way that is not guarded, so it was not run. Do not call it like this again."
)
_BROKE: Final = "The tool was called, and nobody knows what came of it. Do not make the call again; tell the user."


@dataclass
class Guarded(AbstractCapability[AgentDepsT]):
    """Guards all tools of an agent, or of one run (`agent.run(…, capabilities=[Guarded(session)])`).

    A run without a session raises `SessionError` before the model is asked. One that is started within a tool is a
    sub-agent's: it gets a session delegated from the one in which the tool is called.
    """

    session: Session | None = None
    """In which calls are decided; without it, the one that is in use where the run starts (`fiducial.using`)."""
    wait: timedelta = AT_ONCE
    """How long a call that people are asked about waits for them, within the run."""
    prompt: Authority = "user"
    """Whose words the prompt is. `"agent"` where a program puts it together from what others wrote: it is untrusted."""
    pause: bool | None = None
    """A call that waits for people ends the run with `DeferredToolRequests`; otherwise the model is told to go on.
    `None`: where the agent's `output_type` has `DeferredToolRequests`, and no tool has started the run. Say so where
    only the run's has."""
    id: str | None = field(default="fiducial", kw_only=True)
    """One of a run takes the place of the agent's."""
    _known: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False, compare=False)
    """Words that the session knows of by now, each with whose they are."""
    _calls: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """Ids of the calls of this run that were decided here."""

    def __post_init__(self) -> None:
        if self.defer_loading:
            raise flow.UserError("a guard that the model has to load guards nothing: leave `defer_loading` out")

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="outermost", wraps=(_Other,))  # type: ignore[arg-type]

    # --- the run

    async def for_run(self, ctx: RunContext[AgentDepsT]) -> Guarded[AgentDepsT]:
        return replace(self)  # which may turn out to be one that another takes the place of

    async def wrap_run(
        self, ctx: RunContext[AgentDepsT], *, handler: Callable[[], Awaitable[AgentRunResult[Any]]]
    ) -> AgentRunResult[Any]:
        if ctx.realtime or ctx.in_durable_context:
            raise flow.UserError("nobody can guard a realtime session, or a durable run that is replayed")
        self.session, above, delegated = self.session or in_use(), _CALLING.get(), False
        if self.pause is None:
            self.pause = above is None and ctx.agent is not None and _pauses(ctx.agent.output_type)
        if above is not None:  # a tool has started this run, so what it prompts is no user's words
            self.prompt = "agent"
            if self.session is above:
                name = ctx.agent.name if ctx.agent is not None else None
                words = _words(ctx.prompt)
                self.session, delegated = above.delegate("\n".join(words) or "…", agent=name or "agent"), True
                self._known |= {("agent", each) for each in words}
        try:
            return await handler()
        finally:
            if delegated:
                self.session.close()

    def _open(self) -> Session:
        if self.session is None:
            raise SessionError("no session is in use here")
        return self.session

    # --- what the model reads

    async def prepare_model_request(
        self, ctx: RunContext[AgentDepsT], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        asked = request_context.model_request_parameters
        if native := [each.kind for each in asked.native_tools if each.kind != "tool_search"]:
            raise flow.UserError(f"nobody can guard what the model's provider runs: {', '.join(native)}")
        for each in asked.instruction_parts or ():
            self._instruct(each.content)
        for message in request_context.messages:
            if isinstance(message, ModelRequest):
                for part in message.parts:
                    self._read(part, ctx.prompt, own=message.run_id == ctx.run_id)
        return request_context

    def _read(self, part: Any, prompt: Any, *, own: bool) -> None:
        """`own`: the framework put it together in this run, and no other capability did."""
        if isinstance(part, SystemPromptPart):
            self._say(part.content, "system" if own else "agent")
        elif isinstance(part, UserPromptPart):
            authority: Authority = self.prompt if own and part.content == prompt else "agent"
            for text in _words(part.content):
                self._say(text, authority)
            for each in () if isinstance(part.content, str) else part.content:
                if not isinstance(each, (str, TextContent)):
                    see(self._open(), "user_prompt", _plain(each))
        elif isinstance(part, ToolReturnPart):
            if own and (part.outcome in ("denied", "retried") or part.tool_call_id in self._calls):
                seen(self._open(), _plain(part.content))  # the host's words, the framework's, or what came of a call
            else:
                see(self._open(), part.tool_name, _plain(part.content))
        elif isinstance(part, InstructionDeltaPart):
            self._instruct(part.content or "")
        elif not (own and isinstance(part, RetryFeedbackPart)) and isinstance(
            words := getattr(part, "content", None), str
        ):
            self._say(words, "agent")

    def _instruct(self, text: str) -> None:
        self._say(text, "agent" if ("agent", text.strip()) in self._known else "system")

    def _say(self, text: str, authority: Authority) -> None:
        """Once. What the user or the system has said already is untrusted in nobody's mouth."""
        session, text = self._open(), text.strip()
        if text and (authority, text) not in self._known:
            self._known.add((authority, text))
            if authority == "agent":
                hear(session, text, authority)
                return
            said = set[tuple[str, str]]()
            with suppress(SessionError):  # more was said than is kept
                said = {(by, words.strip()) for by, words, _ in session.said}
            if (authority, text) not in said:
                session.say(text, authority=authority)

    # --- what it calls

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        return GuardedToolset(toolset, self)

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDepsT], *, call: Any, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        outer = ctx.tool_manager.toolset if ctx.tool_manager is not None else None
        each = outer.toolsets if isinstance(outer, CombinedToolset) else (outer,)
        if not any(isinstance(one, GuardedToolset) for one in each):
            return ToolDenied(_UNGUARDED)
        return await handler(args)

    async def wrap_output_process(
        self, ctx: RunContext[AgentDepsT], *, output_context: OutputContext, output: Any, handler: Any
    ) -> Any:
        if output_context.has_function:
            raise flow.UserError("an output function cannot be guarded: make it a tool")
        return await handler(output)

    async def through(
        self,
        name: str,
        given: dict[str, Any],
        ctx: RunContext[AgentDepsT],
        tool: ToolsetTool[AgentDepsT],
        execute: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Any:
        """All ten steps; `execute` is called if it may.

        Raises `ApprovalRequired` where the call waits for people and the run can pause, `ToolFailed` when the tool
        failed or was cut off, and what the tool raised to tell the framework something.
        """
        session, began = self._open(), False
        came, raised = list[Any](), list[Exception]()

        async def run(**decided: Any) -> Any:
            nonlocal began
            try:
                valid = tool.args_validator.validate_json(json.dumps(decided), context=ctx.validation_context)
            except ValidationError as error:
                raise ToolRefused(f"what was decided does not fit the tool: {error}") from error
            if not same(_arguments(valid, tool), decided):
                raise ToolRefused("the tool's validators make other arguments of those that were decided")
            began, token = True, _CALLING.set(session)
            try:
                with using(session):
                    value = await execute(valid)
            except Exception as error:
                raised.append(error)
                if isinstance(error, flow.CallDeferred) or isinstance(error.__context__, TimeoutError):
                    raise ToolFailed("it goes on, or was cut off", outcome="unknown") from error
                raise
            finally:
                _CALLING.reset(token)
            read = readable(lambda: _result(value))
            seen(session, read)
            came.append(value)
            return read

        called = await acall(session, name, _arguments(given, tool), run, wait=self.wait)
        if raised and isinstance(raised[-1], (flow.CallDeferred, flow.ApprovalRequired)):
            raise raised[-1]
        if ctx.tool_call_id is not None:
            self._calls.add(ctx.tool_call_id)
        if raised and isinstance(raised[-1], _SIGNALS) and called.as_given:
            raise raised[-1]
        if called.ran and came:
            return came[-1]
        if called.in_part:
            return called.value
        if called.result is None and began:
            raise flow.ToolFailed(_BROKE)
        if called.waiting is not None and self.pause:
            assert called.result is not None
            verdict = called.result.verdict
            asked = {"request": called.waiting, "verdict": verdict.kind, "user": verdict.remedies.user}
            raise flow.ApprovalRequired({"fiducial": asked})
        if called.result is None or called.result.status == "not-run":
            return ToolDenied(called.told)
        raise flow.ToolFailed(called.told)


class _Other(ABC):  # noqa: B024 - for its hook alone
    """Any capability but `Guarded`, to the framework's `issubclass`. It is none itself, or all else would be one."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return issubclass(other, AbstractCapability) and not issubclass(other, Guarded)


@dataclass
class GuardedToolset(WrapperToolset[AgentDepsT]):
    """All tools of a run. Made by `Guarded`."""

    guard: Guarded[AgentDepsT]

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        tools = await super().get_tools(ctx)
        if external := [name for name, each in tools.items() if each.tool_def.kind == "external"]:
            raise flow.UserError(f"nobody can guard what is run outside of the run: {', '.join(external)}")
        return tools

    async def get_instructions(self, ctx: RunContext[AgentDepsT]) -> Any:
        found = await super().get_instructions(ctx)
        leaves: list[Any] = []
        self.apply(leaves.append)
        if not all(isinstance(each, FunctionToolset) for each in leaves):
            for each in found if isinstance(found, (list, tuple)) else (found,):
                if isinstance(words := getattr(each, "content", each), str):
                    self.guard._say(words, "agent")
        return found

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        async def execute(valid: dict[str, Any]) -> Any:
            return await self.wrapped.call_tool(name, valid, ctx, tool)

        return await self.guard.through(name, tool_args, ctx, tool, execute)


def _arguments(given: Any, tool: ToolsetTool[Any]) -> Any:
    """Arguments as the model gives them, by the tool's own schema; what has no form in JSON stays as it is, which the
    guard denies."""
    known = tool.tool_def.parameters_json_schema.get("properties", {})
    try:
        plain = to_jsonable_python(given)
    except Exception:  # noqa: BLE001 - what a value raises when it is read
        return given
    if len(plain) == 1 and not plain.keys() & known.keys() and isinstance(inner := next(iter(plain.values())), dict):
        plain = inner if known else plain  # a model that is the only parameter: the schema is the model's
    return {
        name: value
        for name, value in plain.items()
        if value is not None or known.get(name, {}).get("default", ...) is not None
    }


def _result(value: Any) -> Any:
    """What the model reads of a tool's result, in JSON."""
    return _plain(value.return_value if isinstance(value, ToolReturn) else value)


def _plain(value: Any) -> Any:
    return tool_return_ta.dump_python(value, mode="json", by_alias=True)


def _words(prompt: Any) -> list[str]:
    found = [prompt] if isinstance(prompt, str) else [getattr(each, "content", each) for each in prompt or ()]
    return [each.strip() for each in found if isinstance(each, str) and each.strip()]


def _pauses(spec: Any) -> bool:
    """An output type has `DeferredToolRequests` in it."""
    return spec is DeferredToolRequests or any(
        _pauses(each) for each in (spec if isinstance(spec, (list, tuple)) else get_args(spec))
    )


__all__ = ["Guarded"]
