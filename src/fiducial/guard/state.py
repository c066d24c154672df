"""The state of a session: all that the ten steps read and change, and nothing that waits.

It is a fold of what was said, seen, decided and done. `fiducial.guard.session` puts the public interface on it.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from fiducial.charter.contracts import Kind, Role
from fiducial.charter.model import Charter, RateWindow
from fiducial.core.clock import Clock
from fiducial.core.event import Authority, Mode
from fiducial.core.ids import DecisionId, EventId, SessionId, SourceId, mint
from fiducial.core.label import TRUSTED, UNTRUSTED, Integrity, Label
from fiducial.core.path import PathPattern
from fiducial.core.store import Add, Put, Store
from fiducial.errors import CallMismatch, SessionError, StoreError
from fiducial.flow.provenance import Provenance
from fiducial.flow.trace import Origin, Trace
from fiducial.guard.binding import bound_elsewhere, instructed
from fiducial.guard.budgets import Account, Use, Windows
from fiducial.guard.compensation import Capture
from fiducial.guard.desk import Desk, Reply
from fiducial.guard.facts import arguments_label, flow_facts, intent_facts
from fiducial.guard.intent import Intent
from fiducial.guard.judgement import Judgement
from fiducial.guard.kinds import kinds_in
from fiducial.guard.laundry import Laundry
from fiducial.guard.risk import risk_of
from fiducial.guard.streams import Feed
from fiducial.guard.switches import Switches
from fiducial.guard.tool import Tool
from fiducial.policy.facts import AgentFacts, AnswerFacts, Facts, IntentFacts, PlanFacts, PreviewFacts, SessionFacts
from fiducial.policy.rulebook import Rulebook

MAX_PENDING = 4096
"""Decisions whose outcome is awaited; past it the oldest can no longer be reported on."""
MAX_WORDS = 4096
"""Words of instructions that are traced one by one; longer ones are untrusted once anything untrusted was read."""
_NAME = 6
"""Characters of the shortest word, other than letters alone, that could be somebody's name in disguise."""
_AROUND = ".,;:!?\"'()[]{}<>“”‘’`"
_REPLY_BUDGET = 2**20
"""Bytes of index for one answer of the user."""
_WRITING = frozenset({Kind.CREATE, Kind.UPDATE})
"""Kinds of act whose targets are objects that can be read back; others have targets whom they reach."""
_NO_PLAN = PlanFacts()
_NONE: frozenset[str] = frozenset()


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a session stands on: the charter it started with, made ready, and the guard's own parts."""

    charter: Charter
    rulebook: Rulebook
    tools: Mapping[str, Tool]
    clock: Clock
    store: Store
    mode: Mode
    switches: Switches
    laundry: Laundry
    runners: Mapping[str, Callable[..., Any]]
    """Functions that previews and post-conditions may run, by tool name."""
    captures: Mapping[str, Capture]
    """What takes states and puts them back, by name."""
    on_held: Callable[..., Any] | None
    on_unclear: Callable[..., Any] | None
    desk: Desk | None = None


class Past:
    """What a session and those that it delegates to have done so far: theirs together, like their budget."""

    __slots__ = ("acted", "done", "plan", "read")

    def __init__(self, plan: Counter[str] | None) -> None:
        self.plan = plan
        """Tool → calls left; `None` when no plan was declared."""
        self.acted: set[str] = set()
        """Targets acted on."""
        self.read: frozenset[str] = frozenset()
        """Data classes read."""
        self.done: frozenset[str] = frozenset()
        """Kinds of side effects done."""


class State:
    """What one session knows."""

    def __init__(
        self,
        ground: Ground,
        *,
        user: str,
        roles: Iterable[str],
        agent: str | None,
        plan: Sequence[str] | None,
        account: Account | None,
        id: SessionId | None = None,
    ) -> None:
        about = ground.charter.about
        self.ground = ground
        self.clock = ground.clock
        self.store = ground.store
        self.switches = ground.switches
        self.mode = ground.mode
        self.tools = ground.tools
        self.charter = ground.charter
        """The charter that holds for the whole session, whatever the guard is given later."""
        self.rulebook = ground.rulebook
        self.id = id or SessionId(mint("ses", self.clock.unix_us() // 1000))
        self.user = user
        self.roles = tuple(sorted(set(roles)))
        self.agent = agent or about.agent
        self.closed = False
        self.lock = threading.RLock()
        """Held for steps 3 to 8, and whenever something is taken in."""
        self.principal = ground.rulebook.principal(user, self.roles)
        self.provenance = Provenance(budget=about.session_memory, laundered=ground.laundry.known)
        self.account = account if account is not None else Account(about.budgets.session)
        """Shared with the sessions that this one delegates to."""
        self.windows = Windows(about.budgets, about.agent, self.store)
        self.calls = 0
        """Calls decided."""
        self._inside = frozenset(domain.lower() for domain in about.organization)
        self._intent = Intent(kinds_in, budget=about.session_memory // 8)
        self._unsaid = about.session_memory // 8
        """Characters that may still be kept to be passed on."""
        self._minimum_confidence = about.minimum_confidence
        self._agent_facts = AgentFacts(id=self.agent, tier=about.tier.value)
        self._past = Past(Counter(plan) if plan is not None else None)
        self._pending: dict[DecisionId, Judgement] = {}
        # Decisions that make room first when there are too many: those that let nothing run, then those that read. So
        # an agent cannot push out the payment that it was allowed by asking for what it is not.
        self._idle: tuple[OrderedDict[DecisionId, None], OrderedDict[DecisionId, None]] = (OrderedDict(), OrderedDict())
        self._reported: set[DecisionId] = set()
        self._about: dict[SourceId, str] = {}
        self.feeds: list[Feed] = []
        """Streams that are being read."""
        self._said: list[tuple[Authority, str, Integrity]] = []
        self._known = False
        self._words: dict[tuple[str, bool], IntentFacts] = {}
        self._replies: dict[str, dict[str, Reply]] = {}
        self._replied: dict[str, dict[str, Provenance]] = {}
        """Tool → parameter → what the user answered to a question about it: trusted for that alone."""

    def must_be_open(self) -> None:
        """Raises `SessionError` when the session is closed."""
        if self.closed:
            raise SessionError("the session is closed; open a new one")

    def belong_to(self, parent: State) -> None:
        """Share what `parent` has used up, planned and done, and decide in turns with it. Before anything else."""
        self.lock, self.account, self._past = parent.lock, parent.account, parent._past

    def carried(self, text: str) -> tuple[Integrity, frozenset[str]]:
        """What this session would pass on with `text`: whether a third party could have chosen any of it, and its data
        classes. Called with the lock held.
        """
        self.catch_up()
        provenance = self.provenance
        trace = provenance.trace("instructions", text, Role.CONTENT)
        if provenance.seen.trusted and not provenance.tainted:
            return Integrity.TRUSTED, trace.classes
        if provenance.tainted or trace.origin is Origin.UNTRUSTED or trace.untrusted_text or trace.links:
            return Integrity.UNTRUSTED, trace.classes
        # What was read could not give orders, but it may have named what the text names, or be it in disguise.
        words = text.split()
        for word in words[:MAX_WORDS]:
            name = word.strip(_AROUND)
            origin = provenance.trace("instructions", name, Role.TARGET).origin
            disguise = origin is Origin.UNKNOWN and len(name) >= _NAME and not name.isalpha()
            if origin is Origin.UNTRUSTED or disguise:
                return Integrity.UNTRUSTED, trace.classes
        return (Integrity.TRUSTED if len(words) <= MAX_WORDS else Integrity.UNTRUSTED), trace.classes

    def hear(
        self,
        source: SourceId,
        text: str,
        authority: Authority,
        integrity: Integrity,
        classes: frozenset[str] = _NONE,
    ) -> None:
        """Somebody said something, holding data of `classes`. Called with the lock held.

        Untrusted words have no more authority than another agent's, whoever they are said to be from.
        """
        self.provenance.observe_text(source, text, authority=authority, integrity=integrity, classes=classes)
        self._about[source] = {"user": "the user's message", "agent": "another agent's message"}.get(
            authority, f"the {authority}'s text"
        )
        trusted = integrity is Integrity.TRUSTED
        if authority != "tool":
            self._intent.hear(text, authority if trusted else "agent")
        if authority in ("system", "operator", "user"):
            self._unsaid -= len(text)
            if self._unsaid >= 0:
                self._said.append((authority, text, integrity))
        self._known = self._known or (authority == "user" and trusted)
        self._words.clear()

    def catch_up(self) -> None:
        """Make known what has come of streams so far. Called with the lock held."""
        for feed in list(self.feeds):
            if feed.dropped:
                feed.end("unknown", "the stream was not read to its end")
            elif (news := feed.news()) is not None:
                source = SourceId(mint("src", self.clock.unix_us() // 1000))
                self.take_in(source, feed.judgement, news, failed=False)

    def traces(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Trace]:
        """Step 4, with the lock held: where each argument came from."""
        if self.feeds:
            self.catch_up()
        trace, parameters = self.provenance.trace, tool.parameters
        replied = self._replied.get(tool.name)
        traces = {}
        for name, value in arguments.items():
            parameter = parameters[name]
            traces[name] = trace(name, value, parameter.role, unit=parameter.unit, entity=parameter.entity)
            if replied is not None and name in replied:
                answer = replied[name].trace(name, value, parameter.role, unit=parameter.unit, entity=parameter.entity)
                if answer.origin is Origin.USER:
                    traces[name] = answer
        return traces

    def replied(self, tool: str, replies: Mapping[str, Reply]) -> bool:
        """Take in what the user answered about parameters of `tool`; returns whether anything of it is new."""
        if self._replies.get(tool, {}) == replies:
            return False
        self._replies[tool] = dict(replies)
        self._replied[tool] = {}
        for parameter, reply in replies.items():
            answer = self._replied[tool][parameter] = Provenance(budget=_REPLY_BUDGET)
            answer.observe_text(SourceId(reply.hold), reply.text, authority="user", integrity=Integrity.TRUSTED)
            self._about[SourceId(reply.hold)] = "the user's answer"
        return True

    @property
    def said(self) -> tuple[tuple[Authority, str, Integrity], ...]:
        """What the user and those above said, in order, and how far it may be trusted.

        Raises `SessionError` when that is more than is kept: part of it might allow what the rest forbids.
        """
        if self._unsaid < 0:
            raise SessionError("too much was said in this session for it to be passed on; open a new one")
        return tuple(self._said)

    def awaited(self, decision: DecisionId) -> Judgement:
        """The judgement whose outcome is awaited; called with the lock held. Raises `CallMismatch` when none is."""
        judgement = self._pending.get(decision)
        if judgement is None:
            known = "has been reported already" if decision in self._reported else "is not known in this session"
            raise CallMismatch(f"the decision `{decision}` {known}")
        return judgement

    def facts(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        traces: Mapping[str, Trace],
        plain: bool,
        acts: Sequence[tuple[str, str]],
        use: Use,
        windows: Iterable[tuple[RateWindow, tuple[str, ...], Add]],
        preview: PreviewFacts,
        confidence: float | None,
    ) -> Facts:
        """Step 5, with the lock held. `plain`: no trace is remarkable. `acts`: target parameters with their values."""
        intent, provenance = self._intent, self.provenance
        tainted = provenance.tainted
        asked = intent.about(tool.name, tool.phrases)
        novel = frozenset([name for name, value in acts if value not in self._past.acted]) if acts else _NONE
        flow = flow_facts(
            tool,
            traces,
            arguments,
            plain=plain,
            novel=novel,
            inside=self._inside,
            when_named=intent.names("date"),
        )
        if flow.untrusted_targets or flow.contested_targets:
            told = instructed(provenance, tool, traces)
            if told:
                flow = msgspec.structs.replace(flow, instructed_targets=told)
        bound = _NONE if plain else bound_elsewhere(intent, tool, arguments, traces, asked)
        known = (tool.name, tainted)
        words = self._words.get(known) if not bound and not flow.classes else None
        if words is None:
            words = intent_facts(
                asked, intent, known=self._known, tainted=tainted, bound_elsewhere=bound, classes=flow.classes
            )
            if not bound and not flow.classes:
                self._words[known] = words
        unsure = confidence is not None and not confidence >= self._minimum_confidence
        exceeds = self.account.exceeds(use) if self.account.limited else _NONE
        if windows:
            exceeds |= self.windows.exceeded(windows)
        account = self.account
        plan = _NO_PLAN
        if self._past.plan is not None:
            plan = PlanFacts(declared=True, includes=tool.speaks or self._past.plan[tool.name] > 0)
        return Facts(
            flow=flow,
            session=SessionFacts(
                tainted=tainted,
                read=self._past.read,
                done=self._past.done,
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
            answer=_answer_facts(arguments) if tool.speaks else _GENERAL,
        )

    def remember(self, judgement: Judgement) -> None:
        """A decision was recorded; its outcome is awaited. Called with the lock held."""
        self.calls += 1
        decision = judgement.verdict.decision
        self._pending[decision] = judgement
        if not judgement.may_run:
            self._idle[0][decision] = None
        elif judgement.tool is not None and not judgement.tool.side_effect:
            self._idle[1][decision] = None
        if len(self._pending) > MAX_PENDING:
            oldest = next((next(iter(each)) for each in self._idle if each), None) or next(iter(self._pending))
            given_up = self._unawaited(oldest)
            if given_up is not None and given_up.may_run:
                self.account.settle(given_up.use, kept=True)
        if self._past.plan is not None and judgement.may_run and judgement.tool is not None:
            self._past.plan[judgement.tool.name] -= 1

    def plan(self, tools: Iterable[str]) -> None:
        """The agent, or its host, said which tools it will use. Called with the lock held."""
        self._past.plan = Counter(tools)

    def running(self) -> list[Judgement]:
        """Calls that Fiducial was to run, and whose outcome is not known. Called with the lock held."""
        return [judgement for judgement in self._pending.values() if judgement.may_run and judgement.request.runs]

    def obtained(self, source: SourceId, name: str, arguments: Mapping[str, Any], result: Any) -> Label:
        """Take in a result that was obtained with no decision. Called with the lock held."""
        tool = self.tools.get(name)
        traces: dict[str, Trace] = {}
        if tool is not None and not tool.check(arguments):
            traces = self.traces(tool, arguments)
        elif arguments:
            tool = None
        return self.index(source, tool, name, arguments, result, traces)

    def forget(self, judgement: Judgement) -> None:
        """The decision came to nothing; no outcome will be accepted for it."""
        with self.lock:
            self._unawaited(judgement.verdict.decision)

    def _unawaited(self, decision: DecisionId) -> Judgement | None:
        for each in self._idle:
            each.pop(decision, None)
        return self._pending.pop(decision, None)

    def finished(self, judgement: Judgement, *, kept: bool, records: int) -> None:
        """Step 10: the outcome is known. Called with the lock held."""
        decision = judgement.verdict.decision
        self._unawaited(decision)
        self._reported.add(decision)
        if judgement.may_run:
            self.account.settle(judgement.use, kept=kept, records=records)
        elif kept:
            self.account.reserve(judgement.use, even_over=True)
            self.account.settle(judgement.use, kept=True, records=records)
        if kept and judgement.tool is not None and judgement.tool.side_effect:
            self._past.done |= {judgement.tool.contract.kind.value}

    def take_in(self, source: SourceId, judgement: Judgement, value: Any, *, failed: bool) -> Label:
        """Step 10: label a result and make it known to later traces. Called with the lock held."""
        tool, request = judgement.tool, judgement.request
        return self.index(
            source,
            tool,
            request.tool,
            request.arguments,
            value,
            judgement.traces,
            failed=failed,
            breach=not judgement.may_run,
        )

    def launder(self, judgement: Judgement) -> tuple[Put | Add, ...]:
        """Remember what a third party may have chosen of what a call writes, so that it stays untrusted when read back.

        After untrusted text was read, that is whatever the model made up too: it may have been told how. What is
        written into an object taints the object.
        """
        tool = judgement.tool
        if tool is None or not tool.side_effect:
            return ()
        known, tainted = self.ground.laundry.known, self.provenance.tainted
        arguments = judgement.request.arguments
        doubtful = [
            name
            for name, trace in judgement.traces.items()
            if trace.origin is Origin.UNTRUSTED
            or (tainted and trace.origin is Origin.UNKNOWN)
            or trace.untrusted_text
            or trace.links
        ]
        hashes = [hash_ for name in doubtful for hash_ in known.add_value(arguments[name])]
        if doubtful and tool.contract.kind in _WRITING:
            for name in tool.targets:
                hashes.extend(known.add_object(tool.contract.server, arguments.get(name)))
        return self.ground.laundry.changes(judgement.verdict.decision, hashes)

    def _stained(self, tool: Tool, arguments: Mapping[str, Any]) -> bool:
        """A read names an object into which something of a third party's was written, or that cannot be told."""
        try:
            self.ground.laundry.refresh()
        except StoreError:
            return True
        known, server = self.ground.laundry.known, tool.contract.server
        return not tool.side_effect and any(known.holds_object(server, value) for value in arguments.values())

    def acts_on(self, values: Iterable[tuple[str, str]]) -> None:
        """The session is about to act on these targets. Called with the lock held."""
        for _, value in values:
            self._past.acted.add(value)

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

    def index(
        self,
        source: SourceId,
        tool: Tool | None,
        name: str,
        arguments: Mapping[str, Any],
        value: Any,
        traces: Mapping[str, Trace],
        *,
        failed: bool = False,
        breach: bool = False,
    ) -> Label:
        """Make a result known to later traces; returns its label. Called with the lock held.

        `breach`: the call had not been allowed, so nobody vouches for anything in what came of it.
        """
        self._about[source] = f"the result of `{name}`{first_short(arguments)}"
        if tool is None or failed:
            label = self.provenance.observe_result(
                source, value, label=UNTRUSTED, untrusted=(), prose=(), classes={}, pointed=False
            )
        else:
            label = arguments_label(tool, traces)
            if (tool.trusted or tool.prose) and self._stained(tool, arguments):
                label = label | UNTRUSTED
            pointed = not breach and tool.contract.kind is not Kind.FETCH and self._points(traces)
            label = self.provenance.observe_result(
                source,
                value,
                label=label | UNTRUSTED if breach else label,
                trusted=tool.trusted,
                untrusted=tool.untrusted,
                prose=tool.prose,
                classes=tool.classes,
                pointed=pointed,
            )
        if label.classes:
            self._past.read |= label.classes
        return label

    def recall(
        self, about: str, values: Mapping[str, Any], untrusted: Iterable[str], classes: Mapping[str, Iterable[str]]
    ) -> None:
        """Take `values` in as records of Fiducial's own log, for a call that takes back what the log says was done.

        `untrusted`: names of those that a third party could have chosen when they were first used. `classes`: data
        class → names of those that hold it. Nothing is recorded: the log has it already.
        """
        source = SourceId(mint("src", self.clock.unix_us() // 1000))
        with self.lock:
            self._about[source] = about
            self.provenance.observe_result(
                source,
                values,
                label=TRUSTED,
                untrusted=[_member(name) for name in untrusted],
                prose=(),
                classes={key: [_member(name) for name in names] for key, names in classes.items()},
            )

    def _points(self, traces: Mapping[str, Trace]) -> bool:
        """The user named what a call reads, or handed the task to a document that names it."""
        doubtful = [trace for trace in traces.values() if trace.origin is Origin.UNTRUSTED]
        if not doubtful:
            return any(trace.origin is Origin.USER for trace in traces.values())
        return self._intent.delegated and all(trace.pointed for trace in doubtful)

    def event_id(self, now_us: int | None = None) -> EventId:
        """A new id for an event, now unless said otherwise."""
        return EventId(mint("evt", (self.clock.unix_us() if now_us is None else now_us) // 1000))


_GENERAL = AnswerFacts()


def _answer_facts(arguments: Mapping[str, Any]) -> AnswerFacts:
    return AnswerFacts(domain=str(arguments.get("domain", "general")))


def _member(name: str) -> PathPattern:
    """The member `name`; everything, when a pattern cannot name it."""
    return PathPattern("$" if "'" in name else f"$['{name}']")


def _percent(confidence: float) -> int:
    return round(min(1.0, max(0.0, confidence)) * 100) if confidence == confidence else 0


def targets(tool: Tool, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Target parameters with each of their values, as text that tells one kind of act from another."""
    for name in tool.targets:
        if (value := arguments.get(name)) is not None:
            for item in value if isinstance(value, list) else (value,):
                yield name, f"{tool.kind}\0{item}"


def first_short(arguments: Mapping[str, Any]) -> str:
    """The first short argument, to tell one result from another in explanations."""
    for value in arguments.values():
        if isinstance(value, str) and 0 < len(value) <= 60 and value.isprintable():
            return f" for `{value}`"
    return ""
