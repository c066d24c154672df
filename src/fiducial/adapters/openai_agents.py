"""Agents of the OpenAI Agents SDK, guarded.

    clerk = guarded(Agent(name="clerk", instructions="…", tools=[look_up, pay_bill]))

    with guard.session(user="emma", task=prompt) as session, fiducial.using(session):
        result = await Runner.run(clerk, prompt)

1. Every function tool, and every tool of an MCP server, is decided in the session in use, under its name. The SDK asks
   whether a call needs approval before it makes it: that is when it is decided. One that people have to answer
   interrupts the run. Any other stands still until the SDK makes it, and then runs with what was decided.
2. A call that the SDK makes without asking, because its host approved it, is decided then. `RunState.approve` has the
   SDK make the call; only the answer at the desk allows it.
3. What the SDK or a provider runs by itself cannot be decided, so an agent that has such a tool is refused. At each
   turn its tools, handoffs and hooks are looked at again, and what a provider ran all the same ends the run.
4. An agent that another one hands over to, or has as a tool, works in a session delegated by the other one's. What it
   is given to read is taken in as that agent's words, and what it says as a tool, as an agent's.
5. Fixed instructions are the system's words. Those that a function makes are an agent's, unless the host said them.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Final

import pydantic_core
from agents import Agent, AgentHooks, FunctionTool, Handoff, ModelResponse, RunContextWrapper, RunState, Tool, UserError
from agents.tool import set_function_tool_failure_error_function
from agents.tool_context import ToolContext

from fiducial.adapters.calls import AT_ONCE, BROKEN, Called, acall
from fiducial.adapters.runs import PerSession
from fiducial.adapters.tool import in_use, using
from fiducial.core.faults import wordless
from fiducial.core.ids import HoldId
from fiducial.errors import SessionError, ToolRefused
from fiducial.guard.heard import hear, know, see, seen
from fiducial.guard.session import Session
from fiducial.guard.steps import DEFAULT_TIMEOUT
from fiducial.oversight.desk import Desk

log = logging.getLogger("fiducial.adapters")
_PATIENCE: Final = 0.9
"""Part of a tool's time after which a decided call that the SDK has not made has certainly done nothing."""
_NO_HISTORY: Final = frozenset({"user", "system", "developer"})
_ELSEWHERE: Final = "This agent was handed over to in another process."
_SCALARS: Final = (str, int, float, bool, bytes, type(None))
_OF_THE_MODEL: Final = frozenset({"message", "reasoning", "function_call", "compaction"})
"""What a model's answer is made of when the provider has run nothing."""


def guarded(agent: Agent[Any], *, wait: timedelta = AT_ONCE) -> GuardedAgent:
    """`agent` with every tool guarded, and every agent that it can hand over to.

    wait  how long a call that people are asked about waits for them before the run is interrupted

    Raises `UserError` for what cannot be guarded: tools other than function tools, prompts that the provider keeps,
    agents as tools that are not guarded themselves, MCP servers that call a tool again by themselves, two agents of one
    name, other kinds of agents.
    """
    return _Guarding(wait).agent(agent, entry=True)


def requests(session: Session) -> dict[str, HoldId]:
    """Id of the tool call → the request, for each interrupted call of this session's runs that people have before them.
    Keep it beside a `RunState` that another process is to go on with."""
    return dict(_run_of(session).requests)


def answered(state: RunState[Any, Any], asked: Mapping[str, HoldId], desk: Desk) -> list[HoldId]:
    """Approve, in the SDK's sense, the interrupted calls of `state` that people have answered; each is decided afresh
    when the run goes on. Returns the requests that are still open.

    asked  what `requests` gave

    Other interruptions are left to the host, unless their arguments are no object, so that they will be denied in any
    case. Raises `StoreError` when the desk cannot be read.
    """
    still: list[HoldId] = []
    for each in state.get_interruptions():
        hold = asked.get(each.call_id or "")
        if hold is not None and desk.hold(hold).open:
            still.append(hold)
        elif hold is not None or _object(each.arguments or "") is None:
            state.approve(each)
    return still


@dataclass
class GuardedAgent(Agent[Any]):
    """What `guarded` makes. Asked for its tools, as at each turn, it raises `UserError` when one is not guarded."""

    entry: bool = field(default=False, kw_only=True)
    """The host gave it to `guarded`: when it is the first to run, it works in the session in use itself."""
    wait: timedelta = field(default=AT_ONCE, kw_only=True)
    """How long a call that people are asked about waits for them."""

    async def get_mcp_tools(self, run_context: RunContextWrapper[Any]) -> list[Tool]:
        return [_tool(each, self.name, self.entry, self.wait) for each in await super().get_mcp_tools(run_context)]

    async def get_all_tools(self, run_context: RunContextWrapper[Any]) -> list[Tool]:
        _check(self)
        if not isinstance(self.hooks, _Hooks):
            raise UserError(f"the hooks of `{self.name}` are no longer those that `guarded` gave it")
        for each in self.handoffs:
            leads = each.on_invoke_handoff if isinstance(each, Handoff) else None
            if not isinstance(each, GuardedAgent) and not isinstance(leads, _Handover):
                raise UserError(f"`{self.name}` can hand over to an agent that is not guarded; add it before `guarded`")
        tools = await super().get_all_tools(run_context)
        for tool in tools:
            run = tool.on_invoke_tool if isinstance(tool, FunctionTool) else None
            if not isinstance(run, (_Call, _Delegation)) or run.agent != self.name:
                raise UserError(f"the tool `{tool.name}` of `{self.name}` is not guarded; add it before `guarded`")
        return tools


class _Guarding:
    """One `guarded`: each agent that it comes to is guarded once."""

    def __init__(self, wait: timedelta) -> None:
        self._wait = wait
        self.made: dict[int, tuple[Agent[Any], GuardedAgent]] = {}

    def agent(self, agent: Agent[Any], *, entry: bool = False) -> GuardedAgent:
        if isinstance(agent, GuardedAgent):
            return agent
        if id(agent) in self.made:
            return self.made[id(agent)][1]
        if type(agent) is not Agent:
            raise UserError(f"`{type(agent).__name__}` is another kind of agent, which may have tools of its own")
        if any(agent.name == each.name for each, _ in self.made.values()):
            raise UserError(f"two agents are named `{agent.name}`; they could not be told apart in the log")
        _check(agent)
        own = {each.name: getattr(agent, each.name) for each in fields(Agent)}
        own["tools"] = [_tool(each, agent.name, entry, self._wait) for each in agent.tools]
        own["hooks"] = agent.hooks if isinstance(agent.hooks, _Hooks) else _Hooks(agent.hooks or AgentHooks())
        made = GuardedAgent(**own | {"handoffs": []}, entry=entry, wait=self._wait)
        self.made[id(agent)] = agent, made
        made.handoffs = [self._handoff(each) for each in agent.handoffs]
        return made

    def _handoff(self, given: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | Handoff[Any, Any]:
        if isinstance(given, Agent):
            return self.agent(given)
        handoff = copy.copy(given)
        target = given._agent_ref() if given._agent_ref is not None else None
        if isinstance(target, Agent):
            handoff._agent_ref = weakref.ref(self.agent(target))
        handoff.on_invoke_handoff = _Handover(given, self)
        return handoff


class _Handover:
    """In the place of what a handoff does: the same, and then the guarded agent."""

    def __init__(self, handoff: Handoff[Any, Any], guarding: _Guarding) -> None:
        self._own, self._guarding = handoff.on_invoke_handoff, guarding

    async def __call__(self, ctx: RunContextWrapper[Any], arguments: str) -> GuardedAgent:
        agent = await self._own(ctx, arguments)
        if not isinstance(agent, GuardedAgent) and id(agent) not in self._guarding.made:
            raise UserError(f"the handoff leads to `{agent.name}`, which is not guarded")
        return self._guarding.agent(agent)


def _check(agent: Agent[Any]) -> None:
    for more in (agent.model_settings.extra_body, agent.model_settings.extra_args):
        if isinstance(more, Mapping) and "tools" in more:
            raise UserError(f"the model settings of `{agent.name}` bring tools that the provider runs itself")
    if agent.prompt is not None:
        raise UserError(f"the prompt of `{agent.name}` is kept by the provider, and can hold tools that it runs itself")
    for server in agent.mcp_servers:
        if getattr(server, "max_retry_attempts", 0):
            raise UserError(f"the MCP server `{server.name}` calls a tool again by itself; set `max_retry_attempts=0`")


def _tool(tool: Tool, agent: str, entry: bool, wait: timedelta) -> FunctionTool:
    if not isinstance(tool, FunctionTool):
        raise UserError(f"the tool `{tool.name}` of `{agent}` does not go through the guard: it is no function tool")
    if isinstance(tool.on_invoke_tool, (_Call, _Delegation)):
        raise UserError(f"the tool `{tool.name}` of `{agent}` is another agent's, guarded for that one")
    made = copy.copy(tool)
    made.output_json_schema = made._output_type_adapter = None  # what is told instead of a value has no schema
    if tool._agent_instance is not None:
        if not isinstance(tool._agent_instance, GuardedAgent):
            raise UserError(f"the agent that is the tool `{tool.name}` is not guarded: `guarded(agent).as_tool(…)`")
        made.on_invoke_tool = _Delegation(tool, agent, entry)
    else:
        made.on_invoke_tool = call = _Call(tool, agent, entry, wait)
        made.needs_approval = call.needs_approval
    return made


class _Call:
    """In the place of what a tool does: its call, decided, and run if it may."""

    def __init__(self, tool: FunctionTool, agent: str, entry: bool, wait: timedelta) -> None:
        self.agent, self._entry, self._name, self._wait = agent, entry, tool.qualified_name, wait
        self._tool = set_function_tool_failure_error_function(copy.copy(tool), None)  # what it raises is its outcome

    async def needs_approval(self, ctx: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        """True: the run is interrupted, for people at the desk or because the tool's host wants to approve it."""
        own = self._tool.needs_approval
        if own is True or (callable(own) and await own(ctx, copy.deepcopy(arguments), call_id)):
            return True
        try:
            run = _run_of(in_use())
            begun = _Begun(self._tool, self._name, run.session(self.agent, self._entry), arguments, self._wait)
            came = await begun.decided()
            if came is not None and came.waiting is not None:
                run.requests[call_id] = came.waiting
                return True
            run.begun[call_id] = begun, ctx
        except Exception as error:
            log.error(
                "the guard broke before `%s`, which is decided when it is called", self._name, exc_info=wordless(error)
            )
        return False

    async def __call__(self, ctx: ToolContext[Any], input: str) -> Any:
        try:
            run = _run_of(in_use())
            run.made.add(ctx.tool_call_id)
            run.requests.pop(ctx.tool_call_id, None)
            (begun, _), arguments = run.begun.pop(ctx.tool_call_id, (None, None)), _object(input or "{}")
            if begun is not None and (begun.name, begun.arguments) != (self._name, arguments):
                await begun.give_up()  # another call of the same id
                begun = None
            if begun is None:
                session = run.session(self.agent, self._entry)
                begun = _Begun(self._tool, self._name, session, input if arguments is None else arguments, self._wait)
            return await begun.go(ctx)
        except Exception as error:
            log.error("the guard broke, so `%s` was not called", self._name, exc_info=wordless(error))
            return BROKEN


class _Begun:
    """A call under way: it is decided, and if it may run, it stands still until the SDK makes it."""

    def __init__(self, tool: FunctionTool, name: str, session: Session, arguments: Any, wait: timedelta) -> None:
        self.name, self.arguments, self._tool = name, copy.deepcopy(arguments), tool
        known = session.tools.get(name)
        self._patience = _PATIENCE * (known.contract.timeout if known is not None else DEFAULT_TIMEOUT).total_seconds()
        self._may_run, self._result = asyncio.Event(), None
        self._made: asyncio.Future[ToolContext[Any]] = asyncio.get_running_loop().create_future()
        self._came = asyncio.ensure_future(acall(session, name, arguments, self._run, wait=wait))

    async def decided(self) -> Called | None:
        """What came of it without the tool; `None` when it may run."""
        may_run = asyncio.ensure_future(self._may_run.wait())
        try:
            await asyncio.wait({self._came, may_run}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._came.cancel()
            raise
        finally:
            may_run.cancel()
        return self._came.result() if self._came.done() else None

    async def go(self, ctx: ToolContext[Any]) -> Any:
        """What the model gets, now that the SDK makes the call."""
        if not self._made.done():
            self._made.set_result(ctx)
        came = await self._came
        return self._result if came.ran else came.told

    async def give_up(self) -> None:
        """The SDK did not make this call."""
        self._made.cancel()
        await self._came

    async def _run(self, **given: Any) -> Any:
        self._may_run.set()
        done, _ = await asyncio.wait({self._made}, timeout=self._patience)
        if not done or self._made.cancelled():
            self._made.cancel()
            raise ToolRefused("the call was decided, and was not made in time")
        ctx, written = copy.copy(self._made.result()), json.dumps(given, ensure_ascii=False)
        ctx.tool_arguments = written  # a tool that looks there gets what was decided, too
        if ctx.tool_call is not None:
            ctx.tool_call = ctx.tool_call.model_copy(update={"arguments": written})
        ctx._function_tool_arguments = None
        self._result = result = await self._tool.on_invoke_tool(ctx, written)
        return result if isinstance(result, _SCALARS) else _plain(result)


class _Delegation:
    """In the place of an agent as a tool: the same, in a session delegated to it."""

    def __init__(self, tool: FunctionTool, agent: str, entry: bool) -> None:
        self.agent, self._entry, self._tool = agent, entry, tool

    async def __call__(self, ctx: ToolContext[Any], input: str) -> Any:
        run = _run_of(in_use())
        session = run.session(self.agent, self._entry)
        run.made.add(ctx.tool_call_id)
        try:
            child = run.delegated.get(ctx.tool_call_id)
            if child is None:  # else it was interrupted, and goes on
                child = session.delegate(input, agent=self._tool._agent_instance.name)
                run.delegated[ctx.tool_call_id] = child
            _run_of(child, run.requests)
        except Exception as error:
            log.error("nothing could be delegated by `%s`", self._tool.name, exc_info=wordless(error))
            return BROKEN
        with using(child):
            said = await self._tool.on_invoke_tool(ctx, input)
        if said is not None:
            session.say(str(said), authority="agent")
            run.delegated.pop(ctx.tool_call_id, None)
            child.close()
        return said


class _Run:
    """What is under way in one session: the agents in it, each with its own session, and their calls."""

    def __init__(self, root: Session, requests: dict[str, HoldId]) -> None:
        self.root, self.requests = root, requests
        self.delegated: dict[str, Session] = {}
        """Id of the tool call → the session of the agent that is the tool."""
        self.begun: dict[str, tuple[_Begun, RunContextWrapper[Any]]] = {}
        """Id of the tool call → what was decided before the SDK made it, and in which run."""
        self.made: set[str] = set()
        """Ids of the calls that were made here, and whose output no model has read yet."""
        self._sessions: dict[str, Session] = {}
        self._heard: dict[str, int] = {}
        """Agent → how much of what was said in the first session it has heard."""
        self._instructed: set[tuple[str, str]] = set()
        self._last = ""
        """The agent whose model was asked last; empty when none was."""
        self._lock = threading.RLock()

    def session(self, agent: str, entry: bool, given: Callable[[], str] = lambda: _ELSEWHERE) -> Session:
        """The session of an agent. `given`: what it has to read, when it was handed over to."""
        with self._lock:
            if entry and not self._sessions:
                self._sessions[agent] = self.root
            elif agent not in self._sessions:
                above = self._sessions.get(self._last, self.root)
                heard = len(self.root.said) if above is self.root else self._heard[self._last]
                self._sessions[agent], self._heard[agent] = above.delegate(given(), agent=agent), heard
            return self._sessions[agent]

    def turn(self, agent: GuardedAgent, system: str | None, items: list[Any]) -> None:
        """The model of `agent` is about to be asked, with `items` to read: what its session has not seen, and it has
        not written, is taken in."""
        history = any(not isinstance(each, dict) or each.get("role") not in _NO_HISTORY for each in items)

        def read() -> str:
            return json.dumps(_plain(items), ensure_ascii=False)

        with self._lock:
            known, first = agent.name in self._sessions, not self._last
            if first and history:
                self.root.say(read(), authority="agent")  # nobody has seen it here
            session = self.session(agent.name, agent.entry, read)
            changed = known and self._sessions.get(self._last, self.root) is not session
            if changed:
                session.say(read(), authority="agent")  # another agent has seen it
            whole = changed or (first and history) or (not known and session is not self.root)
            if session is not self.root:
                for authority, text, integrity in self.root.said[self._heard[agent.name] :]:
                    session.say(text, authority=authority, integrity=integrity)
                    self._heard[agent.name] += 1
            if system and (agent.name, system) not in self._instructed:
                if not _was_said(session, system):
                    session.say(system, authority="system" if system == agent.instructions else "agent")
                self._instructed.add((agent.name, system))
            self._last = agent.name
            for each in _plain(items):
                self._read(session, each, known=whole)

    def _read(self, session: Session, item: Any, *, known: bool) -> None:
        """Take in one item, once. `known`: it was taken in with all the others."""
        kind = item.get("type", "message") if isinstance(item, dict) else "?"
        if kind in _OF_THE_MODEL - {"message"}:
            return
        if kind != "message":
            made = kind == "function_call_output" and item.get("call_id") in self.made
            if made:
                self.made.remove(item["call_id"])  # another of that id is none that was made here
            seen(session, item) if known or made else see(session, kind, item)
            return
        content, own = item.get("content") or (), item.get("role") == "assistant"
        for part in [content] if isinstance(content, str) else content:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                know(session, text) if known else hear(session, text, "agent")
            elif not own:
                seen(session, part) if known else see(session, "message", part)

    async def give_up(self, context: RunContextWrapper[Any]) -> None:
        """The calls of this run that were decided and not made, because a guardrail of the host's was against them."""
        for call_id, (begun, by) in list(self.begun.items()):
            if by is context:
                del self.begun[call_id]
                await begun.give_up()


def _was_said(session: Session, text: str) -> bool:
    with contextlib.suppress(SessionError):  # more was said than is kept
        return any(text == each for _, each, _ in session.said)
    return False


class _Hooks(AgentHooks[Any]):
    """The agent's own hooks; before its model is asked, its session learns what the model is given."""

    def __init__(self, own: AgentHooks[Any]) -> None:
        self._own = own
        for name in ("on_start", "on_end", "on_handoff", "on_tool_start", "on_tool_end"):
            setattr(self, name, getattr(own, name))

    async def on_llm_start(
        self, context: RunContextWrapper[Any], agent: Agent[Any], system_prompt: str | None, input_items: list[Any]
    ) -> None:
        if not isinstance(agent, GuardedAgent):
            raise UserError(f"`{agent.name}` is not guarded")
        run = _run_of(in_use())
        await run.give_up(context)
        run.turn(agent, system_prompt, input_items)
        await self._own.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        session = _run_of(in_use()).session(agent.name, getattr(agent, "entry", False))
        for part in (part for each in response.output for part in getattr(each, "content", None) or ()):
            know(session, str(getattr(part, "text", "")))
        ran = [each for each in response.output if getattr(each, "type", "") not in _OF_THE_MODEL]
        for each in ran:
            session.observe(str(getattr(each, "type", "?")), {}, _plain(each))
        if ran:
            raise UserError(f"the provider ran something by itself for `{agent.name}`, which was not decided")
        await self._own.on_llm_end(context, agent, response)


_RUNS: Final = PerSession[_Run]()


def _run_of(session: Session, requests: dict[str, HoldId] | None = None) -> _Run:
    return _RUNS.of(session, lambda: _Run(session, {} if requests is None else requests))


def _object(written: str) -> dict[str, Any] | None:
    try:
        found = json.loads(written, parse_constant=_no_number)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _no_number(written: str) -> None:
    raise ValueError(f"`{written}` is no number")


def _plain(value: Any) -> Any:
    """`value` in the types of JSON; what has no such form, as the text that the SDK gives to the model."""
    try:
        return pydantic_core.to_jsonable_python(value, serialize_unknown=True, bytes_mode="base64")
    except ValueError:
        return str(value)


__all__ = ["GuardedAgent", "answered", "guarded", "requests"]
