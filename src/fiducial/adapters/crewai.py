"""Agents of CrewAI, guarded.

    crew = guarded(Crew(agents=[clerk], tasks=[task]))

    with guard.session(user="emma", task=task.description) as session, fiducial.using(session):
        crew.kickoff()

1. CrewAI goes on after a hook has raised: with the tool. So no hook decides. When an agent has gathered its tools for a
   run, wherever they come from, each is put into one that decides, in the session in use, and only then runs it.
2. A hook stops what is no such tool, of whichever agent, while a session is in use. That is the second line, not the
   first, and whatever it raises, it raises as `HookAborted`, which alone CrewAI heeds.
3. A call that does not run, or fails, is a `ToolFailure`, whose `details` have the request that people have before
   them. CrewAI records it with the task; nothing is paused.
4. Nothing that CrewAI caches is of a guarded tool: a decision is for one call.
5. A coworker that work is delegated to works in a session delegated by the other one's.
6. Before a model reads a message that it has not written, its text is something that the host has said in the session,
   or what came of a call here; anything else is taken in, untrusted. Where that fails, the model is not asked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, TypeVar

from crewai import Agent, Crew, Process
from crewai.agents.agent_executor import AgentExecutor
from crewai.hooks import LLMCallHookContext, ToolCallHookContext
from crewai.hooks.dispatch import HookAborted, InterceptionPoint, get_hooks, register
from crewai.skills.tool import LoadSkillTool
from crewai.tools.agent_tools.base_agent_tools import BaseAgentTool
from crewai.tools.agent_tools.deferred_tool_result_reader import DeferredToolResultReader
from crewai.tools.base_tool import BaseTool
from crewai.tools.tool_failure import ToolFailure, ToolFailureReason
from crewai.utilities.i18n import I18N_DEFAULT
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import Field
from pydantic_core import to_jsonable_python

from fiducial.adapters.calls import AT_ONCE, BROKEN, UNKNOWN, Called, call, readable
from fiducial.adapters.tool import in_use, using
from fiducial.core.faults import wordless
from fiducial.errors import CallError, SessionError, ToolFailed, ToolRefused
from fiducial.guard.arguments import same
from fiducial.guard.heard import hear, know, see
from fiducial.guard.session import Session

log = logging.getLogger("fiducial.adapters")
T = TypeVar("T", Agent, Crew)
_READERS: Final = (DeferredToolResultReader, LoadSkillTool)
"""CrewAI's own tools without effect, which give what is at hand: a result that was too long, a skill of the host's."""
_UNTRIED: Final = frozenset({ToolFailureReason.USAGE_LIMIT, ToolFailureReason.INVALID_INPUT})
_PROVIDED: Final = frozenset({"tools", "mcp_servers", "web_search_options"})
"""Of a model's further parameters: those by which its provider is given tools to run."""
_CREWAIS: Final = frozenset(
    each.strip() for each in (I18N_DEFAULT.slice("post_tool_reasoning"), I18N_DEFAULT.errors("force_final_answer"))
)
"""Messages that CrewAI itself puts between those of a run."""


def guarded(given: T, *, wait: timedelta = AT_ONCE) -> T:
    """`given` itself, an agent or a crew, with all its agents guarded from now on; so are copies of it.

    wait  how long a call that people are asked about waits for them, in its thread

    Raises `CallError` for what cannot be guarded: other classes of agents or executors, agents that have others work
    for them elsewhere, and a hierarchical crew whose manager CrewAI would make itself.
    """
    if isinstance(given, Agent):
        _guard(given, wait)
        return given
    if given.process is Process.hierarchical and given.manager_agent is None:
        raise CallError("the crew would make a manager that is not guarded: give it a `manager_agent`")
    for agent in (*given.agents, given.manager_agent, *(task.agent for task in given.tasks)):
        if agent is not None:
            _guard(agent, wait)
    return given


def _guard(agent: Any, wait: timedelta) -> None:
    if type(agent) not in (Agent, GuardedAgent):
        raise CallError(f"`{type(agent).__name__}` is another kind of agent, which may run tools in its own way")
    if agent.executor_class is not AgentExecutor:
        raise CallError(f"`{agent.role}` has an executor of its own, which may run tools in its own way")
    if agent.a2a is not None:
        raise CallError(f"`{agent.role}` has agents elsewhere work for it (`a2a`), which nobody can decide")
    agent.__class__ = GuardedAgent
    agent.wait = wait


class GuardedAgent(Agent):  # type: ignore[misc,unused-ignore]
    """What `guarded` makes of an agent. As long as no session is in use, its runs raise `SessionError`."""

    wait: timedelta = AT_ONCE
    """How long a call that people are asked about waits for them."""

    def _add_skill_loader_tool(self, tools: list[BaseTool], task: Any = None) -> list[BaseTool]:
        # The last that CrewAI does with the tools of a run before it hands them to the executor. Should that change,
        # tools get to it as they are, and the hook stops them all.
        in_use()
        _watch()
        more = getattr(self.llm, "additional_params", {})
        if _PROVIDED & (more.keys() | (more.get("extra_body") or {}).keys()) or getattr(
            self.llm, "builtin_tools", None
        ):
            raise CallError(f"the model of `{self.role}` has tools that its provider runs, which nobody can decide")
        found: dict[str, BaseTool] = {}
        for each in super()._add_skill_loader_tool(tools, task=task):
            if not isinstance(each, BaseTool):
                raise CallError(f"`{type(each).__name__}` is no tool of CrewAI's, and cannot be guarded")
            if (name := sanitize_tool_name(each.name)) in found:
                raise CallError(f"two tools of `{self.role}` are named `{name}`: they could not be told apart")
            found[name] = each if type(each) in (*_GUARDED, *_READERS) else _wrapped(each, self.wait)
        return list(found.values())


# --- tools


class GuardedTool(BaseTool):  # type: ignore[misc,unused-ignore]
    """A tool that decides, and then runs another one if it may."""

    inner: BaseTool = Field(exclude=True)
    """What it runs."""
    wait: timedelta = AT_ONCE
    """How long a call that people are asked about waits for them."""

    def _run(self, **given: Any) -> Any:
        """What the tool returned, as it is, or a `ToolFailure`. Raises `SessionError` where no session is in use."""
        session, came = in_use(), list[Any]()

        def run(**decided: Any) -> Any:
            if not same(self._validated(decided), decided):
                raise ToolRefused("its schema makes other arguments of those that were decided")
            with using(session):
                came.append(self.inner.run(**decided))
            return readable(lambda: self._read(came[-1]))

        called = call(session, self._name, self._arguments(given), run, wait=self.wait)
        if came and called.as_given:
            try:
                return self._given(session, came[-1])
            except Exception as error:
                log.error("what `%s` gave cannot be read", self._name, exc_info=wordless(error))
                return self._given(session, ToolFailure(message=UNKNOWN, reason=ToolFailureReason.EXCEPTION))
        return self._given(session, called.told if called.in_part else _failure(called))

    def format_output_for_agent(self, raw_result: Any) -> str:
        """What the model reads of what the tool returned."""
        return str(self.inner.format_output_for_agent(raw_result))

    @property
    def _name(self) -> str:
        return str(sanitize_tool_name(self.inner.name))

    def _given(self, session: Session, raw: Any) -> Any:
        """`raw`, of which the model may read what the tool makes of it."""
        text = raw.as_agent_message() if isinstance(raw, ToolFailure) else self.format_output_for_agent(raw)
        know(session, text)
        return raw

    def _read(self, raw: Any) -> Any:
        """What is taken in of what the tool returned. Raises what it says by a `ToolFailure` of its own."""
        if isinstance(raw, ToolFailure):
            if raw.reason in _UNTRIED:
                raise ToolRefused(raw.as_agent_message())
            raise ToolFailed(raw.as_agent_message(), outcome="failed")
        try:
            plain = to_jsonable_python(raw)
        except Exception:  # noqa: BLE001 - what a value raises when it is read
            return self.format_output_for_agent(raw)
        return (
            plain if type(raw) in (str, int, float, bool, type(None), dict, list) else self.format_output_for_agent(raw)
        )

    def _validated(self, decided: dict[str, Any]) -> Any:
        """What the tool will make of `decided` when it is run, by its schema again. Raises `ToolRefused` when it does
        not fit."""
        try:
            return self._arguments(self.inner._validate_kwargs(dict(decided)))
        except Exception as error:
            raise ToolRefused(f"what was decided does not fit the tool: {error}") from error

    def _arguments(self, given: dict[str, Any]) -> Any:
        """The arguments of the model, which CrewAI has completed by the tool's schema, in JSON. What has no such form
        stays as it is, which the guard denies."""
        try:
            plain = to_jsonable_python(given)
        except Exception:  # noqa: BLE001 - what a value raises when it is read
            return given
        known = self.args_schema.model_fields
        left_out = {name for name, each in known.items() if each.default is None and plain.get(name, ...) is None}
        return {name: value for name, value in plain.items() if name not in left_out}


class _Delegation(GuardedTool):
    """A tool by which an agent has a coworker work: in a session delegated to the coworker."""

    def _run(self, **given: Any) -> Any:
        session, inner = in_use(), self.inner
        try:
            if unguarded := [each.role for each in inner.agents if not isinstance(each, GuardedAgent)]:
                raise CallError(f"`{unguarded[0]}` is not guarded")
            called = inner.sanitize_agent_name(inner._get_coworker(**{"coworker": None} | given))
            roles = [each.role for each in inner.agents if inner.sanitize_agent_name(each.role) == called]
            words = [str(given.get(each) or "") for each in ("task", "question", "context")]
            child = session.delegate("\n".join(filter(None, words)), agent=roles[0] if roles else "nobody")
        except Exception as error:
            log.error("nothing could be delegated by `%s`", self._name, exc_info=wordless(error))
            return self._given(session, ToolFailure(message=BROKEN))
        context = I18N_DEFAULT.slice("task_with_context").format(task="", context=words[-1])
        know(child, *words, context)
        try:
            with using(child):
                said = inner.run(**given)
        except BaseException:
            child.close("error")
            raise
        try:
            session.say(str(said), authority="agent")
        finally:
            child.close()
        return self._given(session, said)


_GUARDED: Final = (GuardedTool, _Delegation)


def _wrapped(tool: BaseTool, wait: timedelta) -> GuardedTool:
    made = _Delegation if isinstance(tool, BaseAgentTool) else GuardedTool
    return made(
        name=tool.name,
        description=tool.description,
        args_schema=tool.args_schema,
        cache_function=_never,
        result_as_answer=tool.result_as_answer,
        tool_failure_policy=tool.tool_failure_policy,
        inner=tool,
        wait=wait,
    )


def _never(_arguments: Any = None, _result: Any = None) -> bool:
    """Whether a result may be given for another call."""
    return False


def _failure(called: Called) -> ToolFailure:
    result = called.result
    if result is None or result.status != "not-run":
        return ToolFailure(message=called.told, reason=ToolFailureReason.EXCEPTION)
    details = {"verdict": result.verdict.kind, "user": result.verdict.remedies.user}
    if called.waiting is not None:
        details["request"] = called.waiting
    return ToolFailure(message=called.told, retryable=called.waiting is not None, details=details)


# --- hooks


def _watch() -> None:
    """Have CrewAI ask the hooks, if it no longer does."""
    for point, hook in (
        (InterceptionPoint.PRE_TOOL_CALL, _before_tool),
        (InterceptionPoint.POST_TOOL_CALL, _after_tool),
        (InterceptionPoint.PRE_MODEL_CALL, _before_model),
    ):
        if hook not in get_hooks(point):
            register(point, hook)


def _heeded(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    """`hook`, which stops what it is asked about when it breaks."""

    def heeded(context: Any) -> None:
        try:
            hook(context)
        except HookAborted:
            raise
        except Exception as error:
            log.error("a guarding hook broke, so nothing goes on", exc_info=wordless(error))
            raise HookAborted(f"the guard could not say what is allowed: {error}", source="fiducial") from error

    return heeded


@_heeded
def _before_tool(context: ToolCallHookContext) -> None:
    if (isinstance(context.agent, GuardedAgent) or _in_use()) and type(_owner(context)) not in (*_GUARDED, *_READERS):
        log.error("`%s` is not guarded, so it was not called", context.tool_name)
        raise HookAborted(f"`{context.tool_name}` is not guarded", source="fiducial")


@_heeded
def _after_tool(context: ToolCallHookContext) -> None:
    if isinstance(context.agent, GuardedAgent) and type(_owner(context)) in _READERS:
        session = in_use()
        session.observe(context.tool_name, dict(context.tool_input), context.tool_result)
        know(session, str(context.tool_result))


@_heeded
def _before_model(context: LLMCallHookContext) -> None:
    if isinstance(context.agent, GuardedAgent):
        session = in_use()
        _instruct(session, context.agent, context.task)
        for message in context.messages:
            if message["role"] != "assistant":
                for text in _pieces(message, context):
                    if text.strip() not in _CREWAIS:
                        hear(session, text, "tool" if message["role"] == "tool" else "agent")
                for name, file in (message.get("files") or {}).items():
                    see(session, "message", [name, to_jsonable_python(file, serialize_unknown=True)])


def _in_use() -> bool:
    try:
        in_use()
    except SessionError:
        return False
    return True


def _owner(context: ToolCallHookContext) -> Any:
    """The tool as its agent has it, of which CrewAI has made another."""
    return getattr(context.tool, "_original_tool", None) or context.tool


# --- what models read


def _instruct(session: Session, agent: Any, task: Any) -> None:
    """The system's words, unless CrewAI has put a run's inputs into them."""
    for made, names in ((agent, ("role", "goal", "backstory")), (task, ("expected_output",))):
        for name in names if made is not None else ():
            text, original = getattr(made, name), getattr(made, f"_original_{name}", None)
            hear(session, text, "system" if original in (None, text) else "agent")


def _pieces(message: Any, context: LLMCallHookContext) -> Iterator[str]:
    """What a message says, without the words that CrewAI has put around it."""
    content = message.get("content") or ""
    text = content if isinstance(content, str) else json.dumps(content, default=str)
    text = _inside(text, context.executor)
    if context.task is not None and text.startswith(given := context.task.description):
        yield given
        wanted = I18N_DEFAULT.slice("expected_output").format(expected_output=context.task.expected_output)
        text = text[len(given) :].strip().removeprefix(wanted.strip())
    yield text


def _inside(text: str, executor: Any) -> str:
    """What stands in the place of the input, if `text` was made by the prompt of `executor`."""
    for part in ("system", "user", "prompt"):
        template = getattr(getattr(executor, "prompt", None), part, None) or ""
        for name, value in (("{tool_names}", "tools_names"), ("{tools}", "tools_description")):
            template = template.replace(name, getattr(executor, value, ""))
        head, found, tail = template.partition("{input}")
        if text == template:
            return ""
        if found and text.startswith(head) and text.endswith(tail):
            return text[len(head) : len(text) - len(tail)]
    return text


__all__ = ["GuardedAgent", "GuardedTool", "guarded"]
