"""A session: one run of an agent for one user.

It keeps what was said, the sources seen, the plan and what was used up, and is where the ten steps find them. Every
method has an asynchronous twin with an `a` before its name where it may wait. Calls of one session may run in
parallel; deciding them is serialized.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from fiducial.charter.contracts import Kind
from fiducial.charter.model import RateWindow
from fiducial.core.event import (
    Authority,
    Entry,
    MessageObserved,
    Mode,
    Outcome,
    PlanDeclared,
    ResultObserved,
    SessionClosed,
    SessionOpened,
)
from fiducial.core.ids import DecisionId, EventId, SessionId, SourceId, mint
from fiducial.core.label import UNTRUSTED, Integrity, Label
from fiducial.core.payload import seal
from fiducial.core.store import Add, Commit, Put, Receipt
from fiducial.core.verdict import Verdict
from fiducial.errors import CallMismatch, SessionError
from fiducial.flow.provenance import Provenance
from fiducial.flow.trace import Origin, Trace
from fiducial.guard.binding import bound_elsewhere, instructed
from fiducial.guard.budgets import Account, Use, Windows
from fiducial.guard.drivers import drive, drive_async
from fiducial.guard.effects import Kept, Ran, Steps
from fiducial.guard.facts import arguments_label, flow_facts, intent_facts
from fiducial.guard.intent import Intent
from fiducial.guard.kinds import kinds_in
from fiducial.guard.record import ResultRecord, printable, sealed_result
from fiducial.guard.results import Result, record
from fiducial.guard.risk import risk_of
from fiducial.guard.steps import MAX_TOOL_NAME, Answer, Judgement, Request, answer_entry, call, judge, own
from fiducial.guard.tool import RESPOND, Tool
from fiducial.policy.facts import AgentFacts, AnswerFacts, Facts, IntentFacts, PlanFacts, PreviewFacts, SessionFacts

if TYPE_CHECKING:
    from fiducial.core.verdict import Held, Unclear
    from fiducial.guard.guard import Guard

MAX_PENDING = 4096
"""Decisions whose outcome is awaited; past it the oldest can no longer be reported on."""
_NO_PLAN = PlanFacts()
_NONE: frozenset[str] = frozenset()


class Session:
    """One run of an agent. Made by `Guard.session`; use it as a context manager, or call `close`."""

    def __init__(
        self,
        guard: Guard,
        *,
        user: str,
        roles: Iterable[str],
        task: str | None,
        system: str | None,
        operator: str | None,
        plan: Sequence[str] | None,
        parent: Session | None,
        agent: str | None,
    ) -> None:
        current = guard.current
        about = current.charter.about
        self.clock = guard.clock
        self.store = guard.store
        self.switches = guard.switches
        self.runners = guard.tools
        self.on_held = guard.on_held
        self.on_unclear = guard.on_unclear
        self.charter = current.charter
        """The charter that holds for the whole session, whatever the guard is given later."""
        self.tools: Mapping[str, Tool] = current.tools
        self.id = SessionId(mint("ses", self.clock.unix_us() // 1000))
        self.user = user
        self.roles = tuple(sorted(set(roles)))
        self.agent = agent or about.agent
        self.mode: Mode = guard.mode
        self.closed = False
        self.lock = threading.RLock()
        self.default_timeout = timedelta(seconds=60)
        self.rulebook = current.rulebook
        self.principal = current.rulebook.principal(user, self.roles)
        self.provenance = Provenance(budget=about.session_memory, laundered=guard.laundered)
        self.account: Account = parent.account if parent is not None else Account(about.budgets.session)
        self.windows = Windows(about.budgets, about.agent, self.store)
        self._guard = guard
        self._inside = frozenset(domain.lower() for domain in about.organization)
        self._intent = Intent(kinds_in)
        self._minimum_confidence = about.minimum_confidence
        self._agent_facts = AgentFacts(id=self.agent, tier=about.tier.value)
        self._plan: Counter[str] | None = Counter(plan) if plan is not None else None
        self._pending: OrderedDict[DecisionId, Judgement] = OrderedDict()
        self._reported: set[DecisionId] = set()
        self._acted: set[str] = set()
        self._read: frozenset[str] = frozenset()
        self._done: frozenset[str] = frozenset()
        self._about: dict[SourceId, str] = {}
        self._said: list[tuple[Authority, str]] = []
        self._known = False
        self._words: dict[tuple[str, bool], IntentFacts] = {}
        self._calls = 0
        self._note(
            SessionOpened(
                id=self._event_id(),
                session=self.id,
                at_us=self.clock.unix_us(),
                agent=self.agent,
                user=user,
                roles=self.roles,
                tier=about.tier.value,
                charter=self.charter.digest,
                mode=self.mode,
                parent=parent.id if parent is not None else None,
            )
        )
        if system is not None:
            self.say(system, authority="system")
        if operator is not None:
            self.say(operator, authority="operator")
        if task is not None:
            self.say(task)
        if plan is not None:
            self._declare(tuple(plan))

    # --- what is said and seen

    def say(self, text: str, *, authority: Authority = "user", integrity: Integrity | None = None) -> SourceId:
        """Take in what somebody said: the user (the default), the operator, the system, or another agent.

        What another agent or a tool says is untrusted unless `integrity` says otherwise. Raises `SessionError` when
        the session is closed, `StoreError` when it cannot be kept.
        """
        self._open()
        if integrity is None:
            integrity = Integrity.UNTRUSTED if authority in ("agent", "tool") else Integrity.TRUSTED
        with self.lock:
            now = self.clock.unix_us()
            source = SourceId(mint("src", now // 1000))
            payload = seal("text", text.encode("utf-8", "replace"))
            event = MessageObserved(
                id=self._event_id(now), session=self.id, at_us=now, payloads=(payload.ref,),
                source=source, authority=authority, integrity=integrity,
            )  # fmt: skip
            self.store.commit(Commit(entries=(Entry(event, (payload,)),), durable=False))
            self.provenance.observe_text(source, text, authority=authority, integrity=integrity)
            self._about[source] = {"user": "the user's message", "agent": "another agent's message"}.get(
                authority, f"the {authority}'s text"
            )
            if authority != "tool":
                self._intent.hear(text, authority)
            if authority in ("system", "operator", "user"):
                self._said.append((authority, text))
            self._known = self._known or authority == "user"
            self._words.clear()
        return source

    def observe(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        result: Any,
        *,
        decision: Verdict | DecisionId | None = None,
        outcome: Outcome = "ok",
        error: str | None = None,
    ) -> Label:
        """Take in a tool's result: what came of `decision`, or something obtained elsewhere. Returns its label.

        Raises `CallMismatch` when `decision` was made on another session, tool or arguments, or has been reported
        already; `SessionError` when the session is closed; `StoreError` when it cannot be kept.
        """
        self._open()
        if decision is None:
            return self._obtained(tool, arguments, result)
        decided = decision if isinstance(decision, str) else decision.decision
        with self.lock:
            judgement = self._pending.get(decided)
            if judgement is None:
                known = "has been reported already" if decided in self._reported else "is not known in this session"
                raise CallMismatch(f"the decision `{decided}` {known}")
            if judgement.request.tool != tool or judgement.request.arguments != arguments:
                raise CallMismatch(
                    f"the decision `{decided}` was made on another tool or other arguments; decide this call anew"
                )
            label, _ = record(self, judgement, Ran(outcome, result, error))
        return label

    # --- calls

    def decide(self, tool: str, arguments: Mapping[str, Any], *, confidence: float | None = None) -> Verdict:
        """What may become of a call; runs nothing. Report what came of it with `observe`."""
        return drive(judge(self, Request(tool=tool, arguments=own(arguments), confidence=confidence))).verdict

    async def adecide(self, tool: str, arguments: Mapping[str, Any], *, confidence: float | None = None) -> Verdict:
        """`decide`, on the running event loop."""
        return (
            await drive_async(judge(self, Request(tool=tool, arguments=own(arguments), confidence=confidence)))
        ).verdict

    def call(
        self, tool: str, arguments: Mapping[str, Any], *, run: Callable[..., Any], confidence: float | None = None
    ) -> Result:
        """All ten steps: decide, run `run(**arguments)` if it may, label and record what came of it.

        Never raises for what the tool or the policies did: look at the result's `status`, or `unwrap` it.
        """
        request = Request(tool=tool, arguments=own(arguments), confidence=confidence, runs=True)
        return drive(call(self, request, run))

    async def acall(
        self, tool: str, arguments: Mapping[str, Any], *, run: Callable[..., Any], confidence: float | None = None
    ) -> Result:
        """`call`, on the running event loop; `run` may be asynchronous."""
        request = Request(tool=tool, arguments=own(arguments), confidence=confidence, runs=True)
        return await drive_async(call(self, request, run))

    def respond(
        self, text: str, *, audience: str = "self", domain: str = "general", confidence: float | None = None
    ) -> Result:
        """Decide an answer: a call to the built-in tool `respond`. The result's value is the text to show, masked.

        audience  `self` (the user), `organization`, `third_party`, `public`
        domain    `general`, `official`, `legal`, `health`, `finance`, `security`, `hiring`
        """
        arguments = {"text": text, "audience": audience, "domain": domain}
        return self.call(RESPOND, arguments, run=_answer, confidence=confidence)

    async def arespond(
        self, text: str, *, audience: str = "self", domain: str = "general", confidence: float | None = None
    ) -> Result:
        """`respond`, on the running event loop."""
        arguments = {"text": text, "audience": audience, "domain": domain}
        return await self.acall(RESPOND, arguments, run=_answer, confidence=confidence)

    # --- delegation

    def delegate(self, instructions: str, *, agent: str) -> Session:
        """A child session in which `agent` works for the same user on `instructions` from this session's agent.

        The user's own words go along with the authority they have. The instructions are an agent's words: trusted
        only while this session has read nothing that is not. Budgets are shared.
        """
        self._open()
        child = Session(
            self._guard, user=self.user, roles=self.roles, task=None, system=None, operator=None, plan=None,
            parent=self, agent=agent,
        )  # fmt: skip
        for authority, text in self._said:
            child.say(text, authority=authority)
        tainted = self.provenance.tainted
        child.say(instructions, authority="agent", integrity=Integrity.UNTRUSTED if tainted else Integrity.TRUSTED)
        return child

    # --- ending

    def close(self, reason: Literal["done", "error", "lost"] = "done") -> None:
        """End the session; later calls are denied. Closing twice does nothing."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            now = self.clock.unix_us()
            self._note(
                SessionClosed(id=self._event_id(now), session=self.id, at_us=now, calls=self._calls, reason=reason)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("done" if error is None else "error")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("done" if error is None else "error")

    # --- what the steps need

    def facts(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        traces: Mapping[str, Trace],
        use: Use,
        windows: Iterable[tuple[RateWindow, tuple[str, ...], Add]],
        preview: PreviewFacts,
        confidence: float | None,
    ) -> Facts:
        """Step 5. Called with the lock held."""
        intent, provenance = self._intent, self.provenance
        tainted = provenance.tainted
        asked = intent.about(tool.name, tool.phrases)
        novel = self._novel(tool, arguments) if tool.side_effect and tool.targets else _NONE
        flow = flow_facts(tool, traces, arguments, novel=novel, inside=self._inside, when_named=intent.names("date"))
        if flow.untrusted_targets or flow.contested_targets:
            told = instructed(provenance, tool, traces)
            if told:
                flow = msgspec.structs.replace(flow, instructed_targets=told)
        bound = bound_elsewhere(intent, tool, arguments, traces, asked)
        plain = (tool.name, tainted)
        words = self._words.get(plain) if not bound and not flow.classes else None
        if words is None:
            words = intent_facts(
                asked, intent, known=self._known, tainted=tainted, bound_elsewhere=bound, classes=flow.classes
            )
            if not bound and not flow.classes:
                self._words[plain] = words
        unsure = confidence is not None and not confidence >= self._minimum_confidence
        exceeds = self.account.exceeds(use)
        if windows:
            exceeds |= self.windows.exceeded(windows)
        account = self.account
        plan = _NO_PLAN
        if self._plan is not None:
            plan = PlanFacts(declared=True, includes=tool.name == RESPOND or self._plan[tool.name] > 0)
        return Facts(
            flow=flow,
            session=SessionFacts(
                tainted=tainted,
                read=self._read,
                done=self._done,
                calls=account.calls,
                writes=account.writes,
                records=account.records,
                spent=account.spent.get(use.currency, 0) if use.currency else 0,
                exceeds=exceeds,
            ),
            intent=words,
            plan=plan,
            risk=risk_of(tool.contract, flow, words, unsure=unsure),
            agent=self._agent_facts
            if confidence is None
            else AgentFacts(
                id=self.agent,
                tier=self._agent_facts.tier,
                confidence=_percent(confidence),
                unsure=unsure,
            ),
            preview=preview,
            answer=_answer_facts(arguments) if tool.name == RESPOND else _GENERAL,
        )

    def remember(self, judgement: Judgement) -> None:
        """A decision was recorded; its outcome is awaited. Called with the lock held."""
        self._calls += 1
        self._pending[judgement.verdict.decision] = judgement
        if len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        if self._plan is not None and judgement.may_run and judgement.tool is not None:
            self._plan[judgement.tool.name] -= 1

    def forget(self, judgement: Judgement) -> None:
        """The decision came to nothing; no outcome will be accepted for it."""
        with self.lock:
            self._pending.pop(judgement.verdict.decision, None)

    def finished(self, judgement: Judgement, *, kept: bool, records: int) -> None:
        """Step 10: the outcome is known. Called with the lock held."""
        decision = judgement.verdict.decision
        self._pending.pop(decision, None)
        self._reported.add(decision)
        if judgement.may_run:
            self.account.settle(judgement.use, kept=kept, records=records)
        elif kept:
            self.account.reserve(judgement.use, even_over=True)
            self.account.settle(judgement.use, kept=True, records=records)
        if kept and judgement.tool is not None and judgement.tool.side_effect:
            self._done |= {judgement.tool.contract.kind.value}

    def take_in(self, source: SourceId, judgement: Judgement, value: Any, *, failed: bool) -> Label:
        """Step 10: label a result and make it known to later traces. Called with the lock held."""
        tool, request = judgement.tool, judgement.request
        return self._index(source, tool, request.tool, request.arguments, value, judgement.traces, failed=failed)

    def launder(self, judgement: Judgement) -> tuple[Put, ...]:
        """Remember untrusted values that a call writes somewhere, so that they stay untrusted when read back."""
        if judgement.tool is None or not judgement.tool.side_effect:
            return ()
        hashes: list[int] = []
        for name, trace in judgement.traces.items():
            if trace.origin is Origin.UNTRUSTED or trace.untrusted_text or trace.links:
                hashes.extend(self._guard.laundered.add_value(judgement.request.arguments[name]))
        return self._guard.laundry.changes(judgement.verdict.decision, hashes)

    def note_targets(self, tool: Tool, arguments: Mapping[str, Any]) -> None:
        """The session is about to act on these targets."""
        for _, value in _targets(tool, arguments):
            self._acted.add(value)

    def record_answer(self, verdict: Held | Unclear, answer: Answer) -> Steps[None]:
        """Keep what a person answered, durably, before it is acted on."""
        entry = answer_entry(self.id, self.clock.unix_us(), verdict, answer)
        yield Kept(self.store.commit(Commit(entries=(entry,))))

    def place(self, trace: Trace) -> str:
        """Where a traced value was first found, in words; empty when nowhere."""
        if not trace.where:
            return ""
        where = trace.where[0]
        about = self._about.get(where.source, "a source")
        line, _, text = self.provenance.excerpt(where).partition(": ")
        if where.path != "$":
            line = f"`{where.path}`" if line == "line 1" else f"{line} of `{where.path}`"
        return f"{line} of {about}: “{text.strip()}”" if text else about

    # --- inside

    def _index(
        self,
        source: SourceId,
        tool: Tool | None,
        name: str,
        arguments: Mapping[str, Any],
        value: Any,
        traces: Mapping[str, Trace],
        *,
        failed: bool = False,
    ) -> Label:
        self._about[source] = f"the result of `{name}`{_shown(arguments)}"
        if tool is None or failed:
            label = self.provenance.observe_result(
                source, value, label=UNTRUSTED, untrusted=(), prose=(), classes={}, pointed=False
            )
        else:
            pointed = tool.contract.kind is not Kind.FETCH and self._points(traces)
            label = self.provenance.observe_result(
                source,
                value,
                label=arguments_label(tool, traces),
                untrusted=tool.untrusted,
                prose=tool.prose,
                classes=tool.classes,
                pointed=pointed,
            )
        if label.classes:
            self._read |= label.classes
        return label

    def _points(self, traces: Mapping[str, Trace]) -> bool:
        """The user named what a call reads, or handed the task to a document that names it."""
        doubtful = [trace for trace in traces.values() if trace.origin is Origin.UNTRUSTED]
        if not doubtful:
            return any(trace.origin is Origin.USER for trace in traces.values())
        return self._intent.delegated and all(trace.pointed for trace in doubtful)

    def _obtained(self, name: str, arguments: Mapping[str, Any], result: Any) -> Label:
        with self.lock:
            tool = self.tools.get(name)
            traces: dict[str, Trace] = {}
            if tool is not None and not tool.check(arguments):
                for key, value in arguments.items():
                    parameter = tool.parameters[key]
                    traces[key] = self.provenance.trace(
                        key, value, parameter.role, unit=parameter.unit, entity=parameter.entity
                    )
            elif arguments:
                tool = None
            now = self.clock.unix_us()
            source = SourceId(mint("src", now // 1000))
            label = self._index(source, tool, name, arguments, result, traces)
            payload = sealed_result(ResultRecord(tool=name, arguments=arguments, result=result))
            event = ResultObserved(
                id=self._event_id(now), session=self.id, at_us=now, payloads=(payload.ref,),
                tool=printable(name)[:MAX_TOOL_NAME], source=source,
                integrity=label.integrity, classes=tuple(sorted(label.classes)),
            )  # fmt: skip
            self.store.commit(Commit(entries=(Entry(event, (payload,)),), durable=False))
        return label

    def _declare(self, tools: tuple[str, ...]) -> None:
        now = self.clock.unix_us()
        unknown = [name for name in tools if name not in self.tools]
        if unknown:
            raise SessionError(f"the plan names the unknown tool `{unknown[0]}`; name only tools of the charter")
        self._note(PlanDeclared(id=self._event_id(now), session=self.id, at_us=now, tools=tools))

    def _novel(self, tool: Tool, arguments: Mapping[str, Any]) -> frozenset[str]:
        found = {name for name, value in _targets(tool, arguments) if value not in self._acted}
        return frozenset(found) if found else _NONE

    def _note(self, event: SessionOpened | SessionClosed | PlanDeclared) -> Future[Receipt]:
        return self.store.commit(Commit(entries=(Entry(event),), durable=False))

    def _event_id(self, now_us: int | None = None) -> EventId:
        return EventId(mint("evt", (self.clock.unix_us() if now_us is None else now_us) // 1000))

    def _open(self) -> None:
        if self.closed:
            raise SessionError("the session is closed; open a new one")


_GENERAL = AnswerFacts()


def _answer(text: str, audience: str, domain: str) -> str:
    return text


def _answer_facts(arguments: Mapping[str, Any]) -> AnswerFacts:
    return AnswerFacts(domain=str(arguments.get("domain", "general")))


def _percent(confidence: float) -> int:
    return round(min(1.0, max(0.0, confidence)) * 100) if confidence == confidence else 0


def _targets(tool: Tool, arguments: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Target parameters with each of their values, as text."""
    for name in tool.targets:
        if (value := arguments.get(name)) is not None:
            for item in value if isinstance(value, list) else (value,):
                yield name, f"{tool.kind}\0{item}"


def _shown(arguments: Mapping[str, Any]) -> str:
    """The first short argument, to tell one result from another in explanations."""
    for value in arguments.values():
        if isinstance(value, str) and 0 < len(value) <= 60 and value.isprintable():
            return f" for `{value}`"
    return ""
