"""The state of a session: all that the ten steps read and change, and nothing that waits.

It is a fold of what was said, seen, decided and done. `fiducial.guard.session` puts the public interface on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from fiducial.charter.model import RateWindow
from fiducial.core.event import Entry, PlanDeclared, PlanSettled
from fiducial.core.ids import DecisionId, Digest, EventId, SessionId, mint
from fiducial.core.store import Add, Receipt, Unchanged
from fiducial.errors import CallMismatch, SessionError
from fiducial.flow.trace import Trace
from fiducial.guard.binding import bound_elsewhere, instructed
from fiducial.guard.budgets import Account, Use, Windows
from fiducial.guard.course import (
    Course,
    Proposal,
    accepted,
    after,
    ended_entries,
    nothing,
    plan_facts,
    proposal,
    proposal_facts,
    settled_entries,
    without,
)
from fiducial.guard.desk import binding_of
from fiducial.guard.facts import flow_facts, intent_facts
from fiducial.guard.ground import Ground
from fiducial.guard.grounded import grounding_facts
from fiducial.guard.judgement import Judgement
from fiducial.guard.knowledge import Knowledge
from fiducial.guard.leases import Held
from fiducial.guard.plans import arguments_of, fitted, read
from fiducial.guard.risk import risk_of
from fiducial.guard.switches import DEAF
from fiducial.guard.tool import Tool
from fiducial.policy.facts import AgentFacts, AnswerFacts, Facts, PlanFacts, PreviewFacts, SessionFacts

MAX_PENDING = 4096
"""Decisions whose outcome is awaited; past it the oldest can no longer be reported on."""
_NO_PLAN = PlanFacts()
_NONE: frozenset[str] = frozenset()


class State(Knowledge):
    """What one session knows."""

    def __init__(
        self,
        ground: Ground,
        *,
        user: str,
        roles: Iterable[str],
        agent: str | None,
        account: Account | None,
        id: SessionId | None = None,
    ) -> None:
        super().__init__(ground)
        about = ground.charter.about
        self.store = ground.store
        self.switches = ground.switches
        self.mode = ground.mode
        self.charter = ground.charter
        """The charter that holds for the whole session, whatever the guard is given later."""
        self.rulebook = ground.rulebook
        self.id = id or SessionId(mint("ses", self.clock.unix_us() // 1000))
        self.user = user
        self.roles = tuple(sorted(set(roles)))
        self.agent = agent or about.agent
        self.agents: tuple[str, ...] = (self.agent,)
        """The agent, and above it those that delegated."""
        self.closed = False
        self.lease: Held | None = None
        """That this process is the session's only owner; `None` on a store that no other process has."""
        self.delegated = False
        """Another session has delegated to this one, and has the lease for both."""
        self.principal = ground.rulebook.principal(user, self.roles)
        self.account = account if account is not None else Account(about.budgets.session)
        """Shared with the sessions that this one delegates to."""
        self.windows = Windows(about.budgets, about.agent, self.store)
        self.calls = 0
        """Calls decided."""
        self.past_unknown = False
        """Nobody knows what was read, done and used up before."""
        self._inside = frozenset(domain.lower() for domain in about.organization)
        self._minimum_confidence = about.minimum_confidence
        self._agent_facts = AgentFacts(id=self.agent, tier=about.tier.value)
        self._pending: dict[DecisionId, Judgement] = {}
        # Decisions that make room first when there are too many: those that let nothing run, then those that read. So
        # an agent cannot push out the payment that it was allowed by asking for what it is not.
        self._idle: tuple[OrderedDict[DecisionId, None], OrderedDict[DecisionId, None]] = (OrderedDict(), OrderedDict())
        self._reported: set[DecisionId] = set()

    def must_be_open(self) -> None:
        """Raises `SessionError` when the session is closed."""
        if self.closed:
            raise SessionError("the session is closed; open a new one")

    def belong_to(self, parent: State) -> None:
        """Share what `parent` has used up, planned and done, and decide in turns with it. Before anything else."""
        self.lock, self.account, self._past = parent.lock, parent.account, parent._past
        self.lease, self.delegated = parent.lease, True
        self.agents += parent.agents

    @property
    def withdrawn(self) -> Mapping[str, str]:
        """Tools that are not to be used in this session and those that it delegates to, whatever else holds, and why.
        Replaced as a whole."""
        return self._past.withdrawn

    def withdraw(self, by: object, why: Mapping[str, str]) -> None:
        """Have the tools in `why` withdrawn, in place of those that `by` withdrew before."""
        with self.lock:
            past = self._past
            past.withdrawing.pop(by, None)
            if why:
                past.withdrawing[by] = why
            past.withdrawn = {tool: each for said in past.withdrawing.values() for tool, each in said.items()}

    def assume(self, classes: frozenset[str]) -> None:
        """Nothing is known of what was read, with data of `classes`, done and used up before: it is taken at its worst.
        Before any call is decided."""
        with self.lock:
            self.doubt(classes)
            tools = self.tools.values()
            self._past.done = frozenset(tool.contract.kind.value for tool in tools if tool.side_effect)
            self.account.use_up({tool.currency for tool in tools if tool.currency})
            self.past_unknown = True

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
        flow, claimed = grounding_facts(self, tool, arguments, flow)
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
        if self._past.courses:
            plan = plan_facts(self._past.courses, self.principal, tool, arguments)
        return Facts(
            flow=flow,
            session=SessionFacts(
                tainted=tainted,
                strays=self._past.strays,
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
            grounding=claimed,
        )

    taking_back: tuple[Any, ...] = ()
    """What the call that is decided next takes back, where that is not in its arguments."""

    def binding(
        self, tool: Tool, arguments: Mapping[str, Any], traces: Mapping[str, Trace], facts: Facts
    ) -> tuple[Digest, Digest]:
        """Binding and group of a call: of everything that an answer of people to it is for; see `binding_of`."""
        parts = (self.user, self.roles, self.agent, tool.name, tool.digest, tool.slice.digest, facts.preview)
        binds = (*tool.binds, self.taking_back) if self.taking_back else tool.binds
        return binding_of((*parts, *binds), self.id, arguments, traces, self._shown(traces))

    def _shown(self, traces: Mapping[str, Trace]) -> tuple[Any, ...]:
        """What people are shown besides a call: what was said, and where each value stands and is named against it."""
        said = [(authority, text, integrity.value) for authority, text, integrity in self._said]
        places = {
            name: [self.place(msgspec.structs.replace(trace, where=(one,))) for one in (*trace.where, *trace.against)]
            for name, trace in traces.items()
        }
        # Where too much was said to be kept, nothing can be told to be the same.
        return said, places, self.id if self._unsaid < 0 else ""

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
        if judgement.tool is not None and (self._past.courses or judgement.tool.declares):
            self.plan_used(judgement)

    # --- the plan

    def plan_nothing(self) -> None:
        """A plan was given at opening: until it is accepted, no call is on it. Before anything else."""
        self._past.courses = (nothing(),)

    def plan_used(self, judgement: Judgement) -> None:
        """A decision was recorded: it uses up a step, or accepts another plan. Called with the lock held."""
        course = accepted(judgement)
        if course is not None:
            course.decision = judgement.verdict.decision
            self._past.courses = (*self._past.courses, course)
        elif judgement.may_run and judgement.tool is not None:
            for each in self._past.courses:
                each.use(judgement.verdict.decision, self.principal, judgement.tool.name, judgement.request.arguments)

    def proposed(self, tool: Tool, arguments: Mapping[str, Any]) -> Proposal:
        """`tool`, by which plans are declared, called with a plan without problems. Called with the lock held."""
        tier = self.charter.about.tier.value
        return proposal(tool, arguments, self.tools, self.principal, tier, self._past.courses)

    def with_proposal(self, facts: Facts, tool: Proposal) -> Facts:
        """`facts` of the call by which a plan is declared, with what it proposes. Called with the lock held."""
        tainted = self._past.tainted or self.provenance.tainted
        return msgspec.structs.replace(facts, proposal=proposal_facts(tool, self.tools, tainted=tainted))

    def plan_entries(self, judgement: Judgement, now: int) -> tuple[Entry, ...]:
        """The record of what `judgement` means for the plan that it is about. Called with the lock held."""
        return settled_entries(self.id, judgement, self._past.courses, self._past.declared, now)

    def plan_kept(self, judgement: Judgement) -> None:
        """The record of `judgement` is kept: if it accepts a plan, that one counts from here on."""
        course = accepted(judgement)
        if course is not None:
            with self.lock:
                self._past.courses = after(self._past.courses, course)

    def halted(self, tool: Tool) -> str:
        """Why no call of `tool` may act now; empty when nothing stands in the way."""
        if self.switches.halts and (halt := self.switches.stops(self.agents, tool.name, self.user)):
            return f"halted: {halt.why}"
        if tool.side_effect and (silence := self.store.silence()) > DEAF:
            return f"nothing was heard of the store for {silence.total_seconds():.0f} s; a halt could not be heard"
        return ""

    def plans_stand(self) -> tuple[Unchanged, ...]:
        """A plan that people approved is no longer approved once their approval does not stand, for good. Returns what
        the approvals that stand rest on, as preconditions of what is decided by them. Called with the lock held."""
        desk, basis = self.ground.desk, set[Unchanged]()
        for each in self._past.courses:
            if each.approved and each.holds:
                rests_on = desk.stand(each.holds) if desk is not None else None
                each.approved, each.ended = rests_on is not None, rests_on is None
                basis.update(rests_on or ())
        return tuple(basis)

    def plans_ended(self, now: int) -> tuple[tuple[Entry, ...], Callable[[Future[Receipt]], None]]:
        """The record that plans are approved no more, as long as none is kept, so that they are not once the session is
        reopened either; and what the commit that holds it is to tell. Called with the lock held."""
        ended = [each for each in self._past.courses if each.ended]

        def told(future: Future[Receipt]) -> None:
            if not future.cancelled() and future.exception() is None:
                for each in ended:
                    each.ended = False

        return ended_entries(self.id, ended, now), told

    def plan_recalled(self, event: PlanDeclared | PlanSettled) -> None:
        """What the log says of a plan, after the decision on it was remembered. Called with the lock held."""
        if isinstance(event, PlanSettled):
            for each in self._past.courses:
                if each.digest == event.plan and event.outcome == "accepted":
                    each.approved, each.holds = event.approved, frozenset(event.holds)
        elif event.plan is not None:
            self._past.declared.add(event.plan)
        else:
            plan = read(arguments_of(event.tools))
            self._past.courses = (Course(plan, fitted(plan, self.tools, self.user), kept=True),)

    def unfinished(self) -> list[Judgement]:
        """Calls that were let through, and whose outcome is not known. Called with the lock held."""
        return [judgement for judgement in self._pending.values() if judgement.may_run]

    def forget(self, judgement: Judgement) -> None:
        """The decision came to nothing; no outcome will be accepted for it."""
        with self.lock:
            self._unawaited(judgement.verdict.decision)
            for each in self._past.courses:
                each.failed(judgement.verdict.decision, undone=True)
            if (course := accepted(judgement)) is not None:
                self._past.courses = without(self._past.courses, course)

    def _unawaited(self, decision: DecisionId) -> Judgement | None:
        for each in self._idle:
            each.pop(decision, None)
        return self._pending.pop(decision, None)

    def finished(self, judgement: Judgement, *, ok: bool, kept: bool, records: int) -> None:
        """Step 10: the outcome is known. `ok`: the call did what it is for; `kept`: it may have done something. Called
        with the lock held."""
        decision = judgement.verdict.decision
        self._unawaited(decision)
        self._reported.add(decision)
        if judgement.may_run:
            self.account.settle(judgement.use, kept=kept, records=records)
        elif kept:
            self.account.reserve(judgement.use, even_over=True)
            self.account.settle(judgement.use, kept=True, records=records)
        acts = judgement.tool is None or judgement.tool.side_effect
        for each in self._past.courses:
            if ok:
                each.succeeded(decision)
            else:
                each.failed(decision, undone=not (kept and acts))
        if kept and judgement.tool is not None and acts:
            self._past.done |= {judgement.tool.contract.kind.value}

    def counting(self, future: Future[Receipt]) -> None:
        """`future` gives back what a read held of a window of records. Called with the lock held."""
        self._past.counting = future

    @property
    def counted_with(self) -> Future[Receipt] | None:
        """What `counting` was told last, by this session or one that it shares its budget with."""
        return self._past.counting

    def acts_on(self, values: Iterable[tuple[str, str]]) -> None:
        """The session is about to act on these targets. Called with the lock held."""
        for _, value in values:
            self._past.acted.add(value)

    def event_id(self, now_us: int | None = None) -> EventId:
        """A new id for an event, now unless said otherwise."""
        return EventId(mint("evt", (self.clock.unix_us() if now_us is None else now_us) // 1000))


_GENERAL = AnswerFacts()


def _answer_facts(arguments: Mapping[str, Any]) -> AnswerFacts:
    return AnswerFacts(domain=str(arguments.get("domain", "general")))


def _percent(confidence: float) -> int:
    return round(min(1.0, max(0.0, confidence)) * 100) if confidence == confidence else 0


def targets(tool: Tool, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Target parameters with each of their values, as text that tells one kind of act from another."""
    for name in tool.targets:
        if (value := arguments.get(name)) is not None:
            for item in value if isinstance(value, list) else (value,):
                yield name, f"{tool.kind}\0{item}"
