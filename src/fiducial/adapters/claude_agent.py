"""Agents of the Claude Agent SDK, guarded.

    options = guarded(ClaudeAgentOptions(mcp_servers={"bank": server}), servers=["bank"])

    with guard.session(user="emma", task=prompt) as session, fiducial.using(session):
        async for message in query(prompt=prompt, options=options): ...

1. Claude Code, another program, runs the tools: its own, and those of MCP servers, also of those that are in this
   process. It asks hooks before a call, and tells them what came of it: at the first the call is decided, at the second
   its result is taken in. In between it stands still here.
2. A hook that raises, or answers too late, stops the call, because it says so when it is registered (`on_failure`).
3. By a permission rule for all tools, every call is asked about once more, when no hook can change it any longer. One
   that was not decided, or is another one by then, is refused: also when Claude Code was made to ask no hooks.
4. A call that waits for people is refused, with words that say so. `refused` has the request; nothing is paused.
5. A subagent works in a session delegated by that of the agent which started it.
6. What a prompt says is taken in before the model reads it: as an agent's words, unless the host has said the same.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from claude_agent_sdk import (
    ClaudeAgentOptions,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)

from fiducial.adapters.calls import AT_ONCE, BROKEN, UNKNOWN, Begun, Called
from fiducial.adapters.claude_options import asking, instructions
from fiducial.adapters.runs import PerSession
from fiducial.adapters.tool import in_use
from fiducial.core.faults import wordless
from fiducial.errors import CallError, SessionError, ToolFailed, ToolRefused
from fiducial.guard.arguments import same
from fiducial.guard.heard import hear, know, see
from fiducial.guard.session import Session

Answer = dict[str, Any]
Hook = Callable[..., Awaitable[Any]]
log = logging.getLogger("fiducial.adapters")
_MARGIN: Final = timedelta(minutes=10)
"""How long a hook may take, besides waiting for people."""
_IN_TIME: Final = _MARGIN.total_seconds() / 2
"""How long taking in a result may take: when a hook is too late, the model reads what it was told of."""
_STARTS: Final = frozenset({"Agent", "Task"})
"""Claude Code's tool that starts a subagent, by its name and its former one."""
_STARTED_WITH: Final = frozenset({"description", "prompt", "subagent_type", "model", "run_in_background"})
"""Its arguments that have the subagent run here, among the others."""
_HARMLESS: Final = frozenset({"StructuredOutput"})
"""Claude Code's own tools that only say how the run goes on."""
_CONVERSATION: Final = "This is the conversation {} of Claude Code."
"""Said in the system's name, so that a session which is reopened knows it."""
_ELSEWHERE: Final = "This agent was started elsewhere."


def guarded(
    options: ClaudeAgentOptions, *, servers: Collection[str] = (), wait: timedelta = AT_ONCE
) -> ClaudeAgentOptions:
    """A copy of `options` with every tool guarded, whichever Claude Code comes to have.

    servers  MCP servers whose tools the charter names as they do: `send_money`, not `mcp__bank__send_money`
    wait     how long a call that people are asked about waits for them

    Raises `CallError` for what would take the guard out of the way, or cannot be read.
    """
    return _Guard(options, frozenset(servers), wait).options()


def refused(session: Session) -> dict[str, Called]:
    """Id of the tool call → why it was not made, for the calls of this session's agents: `waiting` is the request that
    people, or the user, have before them."""
    return dict(_run_of(session).refused)


def _output(event: str, **said: Any) -> Answer:
    return {"hookSpecificOutput": {"hookEventName": event, **said}}


def _denied(told: str) -> Answer:
    return _output("PreToolUse", permissionDecision="deny", permissionDecisionReason=told)


def _allowed(instead: dict[str, Any] | None) -> Answer:
    return _output("PreToolUse", permissionDecision="ask", **({} if instead is None else {"updatedInput": instead}))


_ENDED: Final[Answer] = {"continue_": False, "stopReason": UNKNOWN}


def _otherwise(answer: Any) -> Callable[[Hook], Hook]:
    """Has a hook give `answer` when the guard breaks in it."""

    def made(hook: Hook) -> Hook:
        @functools.wraps(hook)
        async def asked(*given: Any) -> Any:
            try:
                return await hook(*given)
            except Exception as error:
                log.error("the guard broke in `%s`, and lets nothing through", hook.__name__, exc_info=wordless(error))
                return answer

        return asked

    return made


class _Guard:
    """What Claude Code asks, for one set of options."""

    def __init__(self, options: ClaudeAgentOptions, servers: frozenset[str], wait: timedelta) -> None:
        self._given, self._servers, self._wait = options, servers, wait

    def options(self) -> ClaudeAgentOptions:
        """Those that were given, guarded."""
        given = self._given
        hooks: dict[Any, list[HookMatcher]] = {event: list(each) for event, each in (given.hooks or {}).items()}
        seconds = (self._wait + _MARGIN).total_seconds()
        own: dict[str, Any] = {
            "UserPromptSubmit": self.prompted,
            "PreToolUse": self.before_tool,
            "PostToolUse": self.after_tool,
            "PostToolUseFailure": self.after_failure,
            "SubagentStart": self.agent_starts,
            "SubagentStop": self.agent_stops,
            "Stop": self.stops,
        }
        for event, hook in own.items():
            hooks.setdefault(event, []).append(HookMatcher(hooks=[hook], timeout=seconds, on_failure="block"))
        return replace(asking(given, self._servers), hooks=hooks, can_use_tool=self.may_run)

    # --- calls

    @_otherwise(_denied(BROKEN))
    async def before_tool(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """Decide a call."""
        run, tool, arguments = _run_of(in_use()), given["tool_name"], given["tool_input"]
        session, id = run.session(given), given["tool_use_id"]
        run.take(id)
        if (tool in _STARTS or tool in _HARMLESS) and given.get("mcp_server") is None:
            if tool in _STARTS and (more := arguments.keys() - _STARTED_WITH):
                raise CallError(f"a subagent would be started with {sorted(more)}, where it cannot be guarded")
            agent = str(arguments.get("subagent_type") or "general-purpose") if tool in _STARTS else ""
            run.calls[id] = _Call(given["session_id"], session, arguments, None, agent)
            return _allowed(None)
        begun = Begun(session, self._contract(given), arguments, wait=self._wait)
        came = await begun.decided()
        if isinstance(came, Called):
            run.refused[id] = came
            know(session, came.told)
            return _denied(came.told)
        run.calls[id] = _Call(given["session_id"], session, came, begun)
        return _allowed(None if same(came, arguments) else came)

    @_otherwise(PermissionResultDeny(message=BROKEN))
    async def may_run(
        self, tool: str, given: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        """Whether a call is the one that was decided, and the host's own `can_use_tool` is not against it."""
        run, id = _run_of(in_use()), context.tool_use_id or ""
        if (call := run.calls.get(id)) is None or call.asked:
            raise CallError("nobody has decided it, or it was made already")
        call.asked, made = True, False
        try:
            if not same(call.arguments, given):
                raise CallError("something has changed what was decided")
            own = self._given.can_use_tool
            allowed = PermissionResultAllow() if own is None else await own(tool, given, context)
            if not isinstance(allowed, PermissionResultAllow):
                return allowed
            if allowed.updated_input is not None and not same(allowed.updated_input, given):
                raise CallError("`can_use_tool` has changed what was decided")
            if call.begun is not None and call.begun.over:
                raise CallError("its time was over before it was made")
            made = True
            return PermissionResultAllow()  # and nothing that would change who is asked about later calls
        finally:
            if not made:
                await run.drop(id)

    @_otherwise(_ENDED)
    async def after_tool(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """Take in what a tool has returned. The run ends when that cannot be done, before the model reads it."""
        run, contract = _run_of(in_use()), self._contract(given)
        arguments, result = given["tool_input"], _plain(given["tool_response"])
        async with asyncio.timeout(_IN_TIME):
            call = run.calls.pop(given["tool_use_id"], None)
            if call is not None and same(call.arguments, arguments):
                if call.begun is None:
                    run.started(call, result)
                    return {}
                came = await call.begun.returned(result)
                if came.result is not None and came.result.withheld:
                    raise CallError(f"what `{contract}` gave is not all this user's")
                if not came.ran:
                    call.session.observe(contract, arguments, result)  # late: the model reads it all the same
                return {}
            if call is not None and call.begun is not None:
                await call.begun.raised(ToolFailed("it was called with other arguments", outcome="unknown"))
            run.session(given).observe(contract, arguments, result)
        raise CallError(f"`{given['tool_name']}` was called in a way that nobody decided")

    @_otherwise(_ENDED)
    async def after_failure(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """Take in why a tool has failed."""
        run, words = _run_of(in_use()), str(given.get("error") or "the tool failed")
        async with asyncio.timeout(_IN_TIME):
            if (call := run.calls.pop(given["tool_use_id"], None)) is None:
                run.session(given).observe(self._contract(given), given["tool_input"], words)
                raise CallError(f"`{given['tool_name']}` was called in a way that nobody decided")
            if call.begun is not None:
                cut_off = given.get("is_interrupt") is True
                came = await call.begun.raised(ToolFailed(words, outcome="unknown" if cut_off else "failed"))
                if came.as_given and not came.ran:
                    know(call.session, words)
            hear(call.session, words, "tool")
        return {}

    def _contract(self, given: Any) -> str:
        """The name that the charter has for a tool. One of a server's never has the name of one that is none of its."""
        tool, server = str(given["tool_name"]), (given.get("mcp_server") or {}).get("name")
        if server is not None and not tool.startswith("mcp__"):
            tool = f"mcp__{server}__{tool}"  # Claude Code can be made to leave that out
        for name in self._servers:
            if tool.startswith(prefix := f"mcp__{name}__") and server in (None, name):
                return tool.removeprefix(prefix)
        return tool

    # --- what is said, and by whom

    @_otherwise({"decision": "block", "reason": BROKEN})
    async def prompted(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """Take in a prompt, and what was said before. When that cannot be done, the model is not asked."""
        session = in_use()
        self._resumed(session, given)
        hear(session, instructions(self._given), "system")
        hear(session, given["prompt"], "agent")
        return {}

    def _resumed(self, session: Session, given: Any) -> None:
        """Take in a conversation that the session was not there for, and keep that it is now. Raises `CallError` when
        it is not to be found."""
        options, file = self._given, Path(given["transcript_path"])
        known = set[str]()
        with suppress(SessionError):  # more was said than is kept
            known = {text for authority, text, _ in session.said if authority == "system"}
        if not known & {_CONVERSATION.format(id) for id in (given["session_id"], options.resume)}:
            found = [each for each in (file, file.with_name(f"{options.resume}.jsonl")) if each.exists()]
            if (options.resume or options.continue_conversation) and not found:
                raise CallError("what was said in the conversation that is resumed cannot be found")
            for each in found:
                see(session, "conversation", [json.loads(line) for line in each.read_text().splitlines()])
        hear(session, _CONVERSATION.format(given["session_id"]), "system")

    @_otherwise({})
    async def agent_starts(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """Open the session of a subagent. Where that fails, none of its calls is allowed."""
        child, defined = _run_of(in_use()).session(given), self._given.agents or {}
        if (kind := given["agent_type"]) in defined:
            hear(child, defined[kind].prompt, "system")
        return {}

    @_otherwise(_ENDED)
    async def agent_stops(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """What a subagent says at last is its words, to the agent that started it."""
        run = _run_of(in_use())
        child = run.session(given)
        await run.give_up(given["session_id"], child)
        hear(run.above[child], given.get("last_assistant_message") or "", "agent")
        return {}

    @_otherwise({})
    async def stops(self, given: Any, _id: str | None, _context: Any) -> Answer:
        """The agent's turn ends: nothing will be heard of its calls any more."""
        session = in_use()
        await _run_of(session).give_up(given["session_id"], session)
        return {}


@dataclass
class _Call:
    """A call that may run, of which nothing was heard yet."""

    conversation: str
    session: Session
    arguments: dict[str, Any]
    """As they were decided."""
    begun: Begun | None
    """`None`: there was nothing to decide."""
    agent: str = ""
    """The kind of subagent that it starts."""
    asked: bool = False
    """Claude Code has asked whether it may make it, which it does once."""


@dataclass
class _Run:
    """What is under way in one session."""

    root: Session
    ids: set[str] = field(default_factory=set)
    """Of all tool calls."""
    calls: dict[str, _Call] = field(default_factory=dict)
    """By the ids of tool calls."""
    refused: dict[str, Called] = field(default_factory=dict)
    agents: dict[str, Session] = field(default_factory=dict)
    """Id of a subagent → its session."""
    above: dict[Session, Session] = field(default_factory=dict)
    """A subagent's session → that of the agent which started it."""

    def take(self, id: str) -> None:
        """Raises `CallError` when there was a call of that id."""
        if id in self.ids:
            raise CallError(f"there was a call of the id `{id}` already")
        self.ids.add(id)

    def session(self, given: Mapping[str, Any]) -> Session:
        """The session of the agent that a hook is asked about."""
        if (id := given.get("agent_id")) is None:
            return self.root
        if id not in self.agents:
            kind = given.get("agent_type") or "subagent"
            self._open(id, kind, [each for each in self.calls.values() if each.agent == kind])
        return self.agents[id]

    def started(self, call: _Call, result: Any) -> None:
        """What Claude Code says of a call by which a subagent was started, or has ended."""
        if call.agent and isinstance(result, Mapping) and isinstance(id := result.get("agentId"), str):
            if id not in self.agents:
                self._open(id, call.agent, [call])
            for block in result.get("content") or ():
                hear(call.session, str(block.get("text") or ""), "agent")

    def _open(self, id: str, kind: str, started: list[_Call]) -> None:
        """`started`: the calls that may have started the agent. Where it is not known whose they are, nobody can tell
        what the agent was given to read."""
        words = [str(each.arguments.get("prompt")) for each in started]
        known = len({each.session for each in started}) == 1
        above = started[0].session if known else self.root
        child = above.delegate("\n".join(words) or _ELSEWHERE, agent=kind)
        know(child, *words)
        if not known:
            see(child, "agent", _ELSEWHERE)
        self.agents[id], self.above[child] = child, above

    async def drop(self, id: str) -> None:
        """A decided call will not be made."""
        call = self.calls.pop(id)
        if call.begun is not None:
            await call.begun.raised(ToolRefused("the call was stopped before it was made"))

    async def give_up(self, conversation: str, session: Session) -> None:
        """Nothing more will be heard of an agent's calls."""
        for id, call in list(self.calls.items()):
            if call.conversation == conversation and call.session is session:
                del self.calls[id]
                if call.begun is not None:
                    await call.begun.raised(ToolFailed("nothing was heard of it", outcome="unknown"))


_RUNS: Final = PerSession[_Run]()


def _run_of(session: Session) -> _Run:
    return _RUNS.of(session, lambda: _Run(session))


def _plain(result: Any) -> Any:
    """What a tool has returned: the text of MCP content that is one text."""
    match result:
        case [{"type": "text", "text": text}]:
            return text
    return result


__all__ = ["guarded", "refused"]
