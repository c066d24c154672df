"""Agents of Google's Agent Development Kit, guarded.

    runner = InMemoryRunner(app=App(name="bank", root_agent=clerk, plugins=[…, GuardPlugin()]))

    with guard.session(user="emma", task=prompt) as session, fiducial.using(session):
        async for event in runner.run_async(…): ...

1. ADK asks its plugins before it calls a tool. This one decides the call in the session in use, runs the tool itself,
   if it may run, and answers ADK with the result: nothing can change the arguments in between. What the agent's own
   callbacks before a tool say or change comes first. A plugin that raises ends the run, so a crash runs nothing.
2. A call that waits for people pauses the run by ADK's request for a confirmation, which its session service keeps.
   When the run goes on, the call is decided afresh. A confirmation has ADK make the call again; only the answer at
   the desk allows it.
3. A sub-agent that the conversation is transferred to, and an agent as a tool, work in delegated sessions.
4. Before a model reads something that it has not written, it is something that the host has said in the session, or
   what came of a call here; anything else is taken in, untrusted.
5. What a provider, a code executor or another program runs cannot be decided, so a run in which it could is ended.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

from google.adk.agents import LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.events import Event
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools import BaseTool
from google.adk.tools.agent_tool import AgentTool
from google.adk.tools.set_model_response_tool import SetModelResponseTool
from google.adk.tools.transfer_to_agent_tool import TransferToAgentTool
from google.genai import types
from pydantic_core import to_jsonable_python

from fiducial.adapters.calls import AT_ONCE, BROKEN, UNKNOWN, acall, readable
from fiducial.adapters.tool import in_use, using
from fiducial.core.faults import wordless
from fiducial.core.ids import HoldId
from fiducial.errors import CallError
from fiducial.guard.heard import hear, know, see
from fiducial.guard.session import Session
from fiducial.oversight.desk import Desk

log = logging.getLogger("fiducial.adapters")
_CONFIRMATION: Final = "adk_request_confirmation"
_AGENTS: Final = (LlmAgent, LoopAgent, ParallelAgent, SequentialAgent)
_HARMLESS: Final = (TransferToAgentTool, SetModelResponseTool)
"""ADK's own tools that only say how the run goes on."""
_MARKS: Final = frozenset({"thought", "thought_signature", "media_resolution"})
"""What stands at a part and is none of its content."""
_CHILDREN: WeakKeyDictionary[Session, dict[str, Session]] = WeakKeyDictionary()
"""Of a session, the sub-agents' own."""


class GuardPlugin(BasePlugin):  # type: ignore[misc,unused-ignore]
    """Puts the guard around all tools of an app. It has to be the last of the plugins.

    wait   how long a call that people are asked about waits for them, before anything else
    pause  pause the run for a call that still waits; otherwise the model is told

    ADK ends a run with `RuntimeError` when no session is in use (by `SessionError`), when there is something that
    cannot be guarded (`CallError`), and when what the model is to read cannot be recorded (`StoreError`).
    """

    def __init__(self, *, wait: timedelta = AT_ONCE, pause: bool = True) -> None:
        super().__init__(name="fiducial")
        self._wait, self._pause = wait, pause

    async def before_run_callback(self, *, invocation_context: Any) -> None:
        """See that the whole run can be guarded."""
        in_use()
        if invocation_context.live_request_queue is not None:
            raise CallError("a live run cannot be guarded")
        if invocation_context.plugin_manager.plugins[-1] is not self:
            raise CallError("the guard has to be the last of the plugins")
        _check(invocation_context.agent)

    async def before_model_callback(self, *, callback_context: Any, llm_request: Any) -> None:
        """Take in what the model is going to read."""
        agent, config = callback_context._invocation_context.agent, llm_request.config
        _check(agent)
        if any(each.model_fields_set - {"function_declarations"} for each in config.tools or ()):
            raise CallError(f"`{agent.name}` has a tool that its model's provider runs, which nobody can decide")
        session = _session(agent)
        _instruct(session, agent, config.system_instruction)
        for content in llm_request.contents:
            for part in content.parts or ():
                if content.role != "model" or part.function_response is not None:
                    _read(session, part)

    async def after_model_callback(self, *, callback_context: Any, llm_response: Any) -> None:
        """See that the model's provider has run nothing by itself."""
        parts = (llm_response.content and llm_response.content.parts) or ()
        if any(each.executable_code or each.code_execution_result for each in parts) or llm_response.grounding_metadata:
            raise CallError("the model's provider has run a tool that nobody decided: take it out of the model's")

    async def before_tool_callback(self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: Any) -> Any:
        """Decide a call, run it if it may be run, and give what the model is told of it."""
        if type(tool) in _HARMLESS:
            return None
        try:
            agent = tool_context._invocation_context.agent
            if isinstance(tool, AgentTool):  # one that a toolset gave was not seen before
                _check_tool(tool)
            if (answer := await _asked_first(agent, tool, tool_args, tool_context)) is not None:
                return answer
            session = _session(agent)
            answer = await (self._delegate if type(tool) is AgentTool else self._call)(
                session, tool, tool_args, tool_context
            )
        except Exception as error:
            log.error("the guard broke before `%s`", tool.name, exc_info=wordless(error))
            return {"error": BROKEN}
        try:
            know(session, _written(answer))
        except Exception as error:
            log.error("the guard broke after `%s`", tool.name, exc_info=wordless(error))
            return {"error": UNKNOWN}
        return answer

    async def _call(self, session: Session, tool: BaseTool, given: dict[str, Any], context: Any) -> dict[str, Any]:
        came = list[Any]()

        async def run(**decided: Any) -> Any:
            with using(session):
                came.append(await tool.run_async(args=decided, tool_context=context))
            return readable(lambda: _plain(came[-1]))

        called = await acall(session, tool.name, _plain(given), run, wait=self._wait)
        if called.ran and came:
            return _response(tool, came[-1])
        if called.in_part:
            return _response(tool, called.value)
        resumed = context.tool_confirmation is not None  # ADK asks once for one call
        if called.waiting is not None and called.result is not None and self._pause and not resumed:
            verdict = called.result.verdict
            asked = {"request": called.waiting, "verdict": verdict.kind, "user": verdict.remedies.user}
            context.request_confirmation(hint=verdict.remedies.user, payload={"fiducial": asked})
            context.actions.skip_summarization = True
        return {"error": called.told}

    async def _delegate(self, session: Session, tool: Any, given: dict[str, Any], context: Any) -> dict[str, Any]:
        words = [given["request"]] if given.keys() == {"request"} else [json.dumps(_plain(given), ensure_ascii=False)]
        child = session.delegate(words[0], agent=tool.agent.name)
        know(child, *words)
        try:
            with using(child):
                said = await tool.run_async(args=given, tool_context=context)
        except Exception as error:  # noqa: BLE001 - whatever ended the other agent's run
            said = {"error": f"the agent's run ended: {error}"}
        try:
            session.say(_written(said), authority="agent")
            child.close()
        except Exception as error:
            log.error("what `%s` said cannot be taken in", tool.name, exc_info=wordless(error))
            return {"error": UNKNOWN}
        return _response(tool, said)


def requests(events: Iterable[Event]) -> dict[str, HoldId]:
    """Id of ADK's request for a confirmation → the request at the desk, for calls in `events` that wait for people."""
    found = {}
    for call in (each for event in events for each in event.get_function_calls() if each.name == _CONFIRMATION):
        payload = ((call.args or {}).get("toolConfirmation") or {}).get("payload")
        if isinstance(payload, Mapping) and "fiducial" in payload:
            found[str(call.id)] = HoldId(payload["fiducial"]["request"])
    return found


def answered(asked: Mapping[str, HoldId], desk: Desk) -> types.Content | None:
    """The message by which a run goes on with those calls that people have answered; `None` when they have none.

    asked  what `requests` gave

    Each call is decided afresh, on what people answered. Raises `StoreError` when the desk cannot be read.
    """
    parts = [
        types.Part(function_response=types.FunctionResponse(id=id, name=_CONFIRMATION, response={"confirmed": True}))
        for id, hold in asked.items()
        if not desk.hold(hold).open
    ]
    return types.Content(role="user", parts=parts) if parts else None


# --- agents


def _check(agent: Any) -> None:
    """Raises `CallError` when something in `agent`, or an agent below it, runs what nobody can decide."""
    if type(agent) not in _AGENTS:
        name = getattr(agent, "name", "?")
        raise CallError(f"`{name}` is a `{type(agent).__name__}`, which may run tools in its own way")
    if getattr(agent, "code_executor", None) is not None:
        raise CallError(f"the code that `{agent.name}` executes cannot be decided: make it a tool")
    for each in getattr(agent, "tools", ()):
        if isinstance(each, AgentTool):
            _check_tool(each)
    for each in agent.sub_agents:
        _check(each)


def _check_tool(tool: AgentTool) -> None:
    """Raises `CallError` when the agent that is `tool` could run what nobody can decide."""
    if not tool.include_plugins or type(tool) is not AgentTool:
        raise CallError(f"the agent `{tool.name}` would run as a tool without the plugins of the app")
    _check(tool.agent)


def _session(agent: Any) -> Session:
    """The session of an agent: the one in use, or of a sub-agent, one that is delegated from it."""
    root = in_use()
    if agent.parent_agent is None:
        return root
    children = _CHILDREN.setdefault(root, {})
    if agent.name not in children or children[agent.name].closed:
        children[agent.name] = root.delegate("The conversation is yours now.", agent=agent.name)
    return children[agent.name]


async def _asked_first(agent: Any, tool: BaseTool, args: dict[str, Any], context: Any) -> Any:
    """What the host has to say before a call: the agent's own callbacks, and its confirmation where it wants one."""
    if tool._defers_response:
        return {"error": "This cannot be guarded, so it was not done."}
    for callback in agent.canonical_before_tool_callbacks:
        answer = callback(tool=tool, args=args, tool_context=context)
        answer = await answer if inspect.isawaitable(answer) else answer
        if answer is not None:
            return answer
    if context.tool_confirmation is not None:
        return None if context.tool_confirmation.confirmed else {"error": "This tool call is rejected."}
    if await tool.check_require_confirmation(args, context) is not True:
        return None
    context.request_confirmation(hint=f"May `{tool.name}` be called?")
    context.actions.skip_summarization = True
    return {"error": "This tool call requires confirmation, please approve or reject."}


# --- what models read


def _read(session: Session, part: types.Part) -> None:
    """Take in a part that the model has not written, whatever is in it."""
    response, known = part.function_response, {"text"}
    if part.text:
        hear(session, part.text, "agent")
    if response is not None:
        hear(session, _written(response.response), "tool")
        known |= set() if response.parts else {"function_response"}
    if (other := part.model_dump(mode="json", exclude_none=True, exclude=known)).keys() - _MARKS:
        see(session, "message", other)


def _instruct(session: Session, agent: Any, instruction: Any) -> None:
    """What the host has written into the agents is the system's words. The rest of an instruction may hold anything:
    ADK's state in the place of braces, what tools and plugins add, such as memories."""
    text, top = _written(instruction or ""), agent.root_agent
    identity = f'You are an agent. Your internal name is "{agent.name}".'
    described = f'{identity} The description about you is "{agent.description}".'
    for own in (
        agent.instruction,
        getattr(top, "global_instruction", ""),
        agent.static_instruction,
        described,
        identity,
    ):
        if isinstance(own, str) and own.strip() and own in text:
            hear(session, own, "system")
            text = text.replace(own, "\n", 1)
    hear(session, text, "agent")


def _response(tool: BaseTool, value: Any) -> dict[str, Any]:
    """What ADK makes of a tool's value; empty when a long-running tool will give one later."""
    if tool.is_long_running and not value:
        return {}
    return value if isinstance(value, dict) else {"result": value}


def _plain(value: Any) -> Any:
    return to_jsonable_python(value, serialize_unknown=True, bytes_mode="base64")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


__all__ = ["GuardPlugin", "answered", "requests"]
