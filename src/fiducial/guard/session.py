"""A session: one run of an agent for one user.

Every method that may wait has an asynchronous twin with an `a` before its name. Calls of one session may run in
parallel; deciding them is serialized.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args
from weakref import WeakSet, WeakValueDictionary

import msgspec

from fiducial.charter.model import DECLARE_PLAN, RESPOND
from fiducial.core.event import (
    Authority,
    Entry,
    Outcome,
    ResultObserved,
    SessionClosed,
    SessionOpened,
)
from fiducial.core.ids import DecisionId, SessionId, SourceId, mint
from fiducial.core.label import Integrity, Label
from fiducial.core.store import Commit
from fiducial.core.verdict import Verdict
from fiducial.errors import CallMismatch, SessionError, StoreError, ToolRefused
from fiducial.guard import messages
from fiducial.guard.arguments import same
from fiducial.guard.drivers import drive, drive_async
from fiducial.guard.effects import Ran
from fiducial.guard.ground import Ground
from fiducial.guard.judgement import request
from fiducial.guard.plans import AnyPlan, checked
from fiducial.guard.record import MAX_TOOL_NAME, ResultRecord, printable, sealed_result
from fiducial.guard.results import Result, record
from fiducial.guard.state import State
from fiducial.guard.steps import call, judge

if TYPE_CHECKING:
    from fiducial.flow.grounding import Grounding

_ALONE = Commit(durable=False)
"""An event that nobody waits for, with no change of state."""
_LIVE: WeakValueDictionary[SessionId, Session] = WeakValueDictionary()
"""The sessions of this process on stores without leases."""
_TAKING = threading.Lock()
"""Held while one of them takes another's place."""


class Session(State):
    """One run of an agent. Made by `Guard.session`; use it as a context manager, or call `close`."""

    def __init__(
        self,
        ground: Ground,
        *,
        user: str,
        roles: Iterable[str],
        task: str | None = None,
        system: str | None = None,
        operator: str | None = None,
        plan: AnyPlan | None = None,
        parent: Session | None = None,
        agent: str | None = None,
    ) -> None:
        if isinstance(roles, str):
            raise SessionError("the roles are a collection of names; for one role write `roles=[…]`")
        user, roles = messages.name_of("user", user), [messages.name_of("role", role) for role in roles]
        agent = messages.name_of("agent", agent) if agent is not None else None
        super().__init__(ground, user=user, roles=roles, agent=agent, account=None)
        self.planned: Verdict | None = None
        """What the plan that was given at opening came to; `None` when none was given."""
        arguments = checked(plan, self.tools) if plan is not None else None
        commit = _ALONE
        self._children: WeakSet[Session] = WeakSet()
        """Sessions that this one delegated to."""
        if parent is not None:
            self.belong_to(parent)
            parent._children.add(self)
        else:
            self.lease, commit = ground.leases.first(self.id)
            if self.lease is None:
                _LIVE[self.id] = self
        self._note(
            SessionOpened(
                id=self.event_id(),
                session=self.id,
                at_us=self.clock.unix_us(),
                agent=self.agent,
                user=user,
                roles=self.roles,
                tier=self.charter.about.tier.value,
                charter=self.charter.digest,
                mode=self.mode,
                parent=parent.id if parent is not None else None,
                planned=arguments is not None,
            ),
            commit,
        )
        if self.lease is not None and parent is None:
            ground.leases.keep(self.lease)
        if system is not None:
            self.say(system, authority="system")
        if operator is not None:
            self.say(operator, authority="operator")
        if task is not None:
            self.say(task)
        if arguments is not None:
            self.plan_nothing()
            self.planned = self.call(DECLARE_PLAN, arguments, run=_declared).verdict

    @classmethod
    def continued(
        cls,
        ground: Ground,
        id: SessionId,
        *,
        user: str,
        roles: Iterable[str],
        agent: str,
        parent: Session | None = None,
    ) -> Session:
        """The session `id` with nothing in it yet, opened earlier; see `fiducial.guard.reopen`."""
        session = cls.__new__(cls)
        State.__init__(session, ground, user=user, roles=roles, agent=agent, account=None, id=id)
        session.planned, session._children = None, WeakSet()
        if parent is not None:
            session.belong_to(parent)
            parent._children.add(session)
        return session

    def supersede(self) -> None:
        """Take the place of this very session in this process, if it is open still: on a store without leases."""
        with _TAKING:
            earlier = _LIVE.get(self.id)
            _LIVE[self.id] = self
        if earlier is not None:
            earlier._give_up()

    # --- what is said and seen

    def say(self, text: str, *, authority: Authority = "user", integrity: Integrity | None = None) -> SourceId:
        """Take in what somebody said: the user (the default), the operator, the system, or another agent.

        What another agent or a tool says is untrusted unless `integrity` says otherwise. Raises `SessionError` when
        the session is closed or something given is not of its type, `StoreError` when it cannot be kept.
        """
        return messages.take_in(self, text, authority, integrity)

    def answered(self, text: str, *, model: str) -> None:
        """Record what the agent's model said; `model`: the name that it was asked by. Nothing is traced to it.

        Raises as `say` does.
        """
        messages.answered(self, text, model)

    def observe(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        result: Any,
        *,
        decision: Verdict | DecisionId | None = None,
        outcome: Outcome = "ok",
        error: str | ToolRefused | None = None,
    ) -> Label:
        """Take in a tool's result: what came of `decision`, or something obtained elsewhere. Returns its label.

        A result of a call that was not allowed is taken in too, because the agent has seen it, and recorded as a
        breach: nothing in it is trusted. `failed` keeps what the call had reserved, as nobody knows how far it came,
        unless `error` is the `ToolRefused` by which the tool said that it did nothing. The agent has read `error` as it
        has the result, so that is taken in as well.

        Raises `CallMismatch` when `decision` was made on another session, tool or arguments, or has been reported
        already; `SessionError` when the session is closed or the outcome is none; `StoreError` when it cannot be kept.
        """
        self.must_be_open()
        outcome = messages.one_of("outcome", outcome, get_args(Outcome))
        if error is not None and not isinstance(error, (str, ToolRefused)):
            raise SessionError("the error must be text, or the `ToolRefused` that the tool raised")
        words = str(error) if isinstance(error, ToolRefused) else error
        if decision is None:
            return self._obtained(tool, arguments, result, outcome, words)
        decided = decision if isinstance(decision, str) else decision.decision
        with self.lock:
            judgement = self.awaited(decided)
            reported = request(tool, arguments, None)
            if judgement.request.tool != reported.tool or not same(judgement.request.arguments, reported.arguments):
                raise CallMismatch(
                    f"the decision `{decided}` was made on another tool or other arguments; decide this call anew"
                )
            refused = isinstance(error, ToolRefused)
            done = record(self, judgement, Ran(outcome, result, words, nothing_done=refused and outcome == "failed"))
        if not done.recorded:
            raise StoreError("the outcome could not be kept; the result is known to the session all the same")
        return done.label

    # --- calls

    def decide(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        confidence: float | None = None,
        unmasked: Callable[[], Mapping[str, Any]] | None = None,
    ) -> Verdict:
        """What may become of a call; runs nothing. Report what came of it with `observe`.

        `unmasked`: gives the arguments as the tool gets them, with the same keys, where values in `arguments` are
        masked. They are held against the tool's schema, and kept nowhere.
        """
        return drive(judge(self, request(tool, arguments, confidence, unmasked=unmasked))).verdict

    async def adecide(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        confidence: float | None = None,
        unmasked: Callable[[], Mapping[str, Any]] | None = None,
    ) -> Verdict:
        """`decide`, on the running event loop."""
        return (await drive_async(judge(self, request(tool, arguments, confidence, unmasked=unmasked)))).verdict

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        run: Callable[..., Any],
        confidence: float | None = None,
        via: str | None = None,
    ) -> Result:
        """All ten steps: decide, run `run(**arguments)` if it may, label and record what came of it. `via`: by what the
        call came, for the record.

        Never raises for what the tool or the policies did: look at the result's `status`, or `unwrap` it.
        """
        return drive(call(self, request(tool, arguments, confidence, runs=True, via=via), run))

    async def acall(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        run: Callable[..., Any],
        confidence: float | None = None,
        via: str | None = None,
    ) -> Result:
        """`call`, on the running event loop; `run` may be asynchronous."""
        return await drive_async(call(self, request(tool, arguments, confidence, runs=True, via=via), run))

    def respond(
        self,
        text: str,
        *,
        audience: str = "self",
        domain: str = "general",
        citations: Sequence[str] = (),
        confidence: float | None = None,
    ) -> Result:
        """Decide an answer: a call to the built-in tool `respond`. The result's value is the text to show, masked.

        audience   `self` (the user), `organization`, `third_party`, `public`
        domain     `general`, `official`, `legal`, `health`, `finance`, `security`, `hiring`
        citations  ids of the documents that `[1]`, `[2]`, … in the text stand for
        """
        return self.call(RESPOND, _said(text, audience, domain, citations), run=_answer, confidence=confidence)

    async def arespond(
        self,
        text: str,
        *,
        audience: str = "self",
        domain: str = "general",
        citations: Sequence[str] = (),
        confidence: float | None = None,
    ) -> Result:
        """`respond`, on the running event loop."""
        arguments = _said(text, audience, domain, citations)
        return await self.acall(RESPOND, arguments, run=_answer, confidence=confidence)

    def grounding(self, text: str, *, citations: Sequence[str] = ()) -> Grounding:
        """What of `text` traces to what this session has observed, and whether its citations hold; decides nothing.

        citations  ids of the documents that `[1]`, `[2]`, … in the text stand for
        """
        with self.lock:
            self.catch_up()
            return self.provenance.grounding(messages.name_of("text", text), citations)

    # --- the plan

    def declare(self, plan: AnyPlan, *, confidence: float | None = None) -> Verdict:
        """Say what the agent is going to do: a `Plan`, its JSON form, or names of tools.

        It is a call to the built-in tool `declare_plan`, decided as a whole like any call. Once it is allowed, it takes
        the place of the plan before it, and later calls are held against it. Until then the earlier plan counts; one
        that is held waits for people, and is declared again once they have approved it.

        Raises `SessionError` that names everything wrong with the plan.
        """
        return self.call(DECLARE_PLAN, checked(plan, self.tools), run=_declared, confidence=confidence).verdict

    async def adeclare(self, plan: AnyPlan, *, confidence: float | None = None) -> Verdict:
        """`declare`, on the running event loop."""
        arguments = checked(plan, self.tools)
        return (await self.acall(DECLARE_PLAN, arguments, run=_declared, confidence=confidence)).verdict

    # --- delegation

    def delegate(self, instructions: str, *, agent: str) -> Session:
        """A child session in which `agent` works for the same user on `instructions` from this session's agent.

        What the user and those above said goes along with the authority and the trust it has. The instructions are an
        agent's words: untrusted when they carry anything untrusted, or this session has read anything untrusted that
        they could carry. Budgets, the plan, the data classes read and what was done are shared, both ways. Closing this
        session closes the child.

        Raises `SessionError` when the session is closed or something is not of its type, `StoreError` when the child
        cannot be recorded.
        """
        with self.lock:
            self.must_be_open()
            child = Session(self.ground, user=self.user, roles=self.roles, parent=self, agent=agent)
            for authority, text, integrity in self.said:
                child.say(text, authority=authority, integrity=integrity)
            messages.take_in(child, instructions, "agent", *self.carried(messages.name_of("text", instructions)))
        return child

    # --- ending

    def close(self, reason: Literal["done", "error", "lost"] = "done") -> None:
        """End the session, and those that it delegated to; later calls are denied. Closing twice does nothing.

        Raises `SessionError` for another reason, `StoreError` when it cannot be kept.
        """
        reason = messages.one_of("reason", reason, ("done", "error", "lost"))
        with self.lock:
            if self.closed:
                return
            for feed in list(self.feeds):
                feed.end("unknown", "the session ended before the stream did")
            self.closed = True
            for child in self._children:
                child.close(reason)
            now = self.clock.unix_us()
            event = SessionClosed(id=self.event_id(now), session=self.id, at_us=now, calls=self.calls, reason=reason)
            self._note(event, self._ending())

    def leave(self) -> None:
        """Let go of the session, and of those that it delegated to, without ending it: whoever reopens it goes on with
        it, in this process or another (`Guard.reopen`). Calls of which nothing was heard then count as unknown.

        Raises `SessionError` for one that was delegated, `StoreError` when its lease cannot be given up.
        """
        if self.delegated:
            raise SessionError("a session that was delegated goes with the one above it")
        with self.lock:
            if self.closed:
                return
            self._give_up()
            if self.lease is not None:
                self.store.commit(self.ground.leases.release(self.lease))

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

    # --- inside

    def _give_up(self) -> None:
        """Another goes on with it: it and those that it delegated to can do nothing more, and record no end."""
        with self.lock:
            for feed in list(self.feeds):
                feed.abandon()
            self.closed = True
            for child in self._children:
                child._give_up()

    def _ending(self) -> Commit:
        """What else the commit that closes the session holds: its lease is given up, and what rate windows hold for
        calls of which nothing was heard. They are settled as unknown; one that still runs adds what it brings to that.
        """
        given_back = tuple(
            change
            for each in self.unfinished()
            if each.verdict.decision not in self.windows.unkept
            for change in self.windows.settled(each.counted, records=int(each.use.reads), kept=True)
        )
        if self.lease is not None and not self.delegated:
            end = self.ground.leases.release(self.lease)
            return msgspec.structs.replace(end, changes=end.changes + given_back)
        fence = (self.lease.fence,) if self.lease is not None and given_back else ()
        return Commit(preconditions=fence, changes=given_back, durable=False)

    def _obtained(
        self, name: str, arguments: Mapping[str, Any], result: Any, outcome: Outcome, error: str | None
    ) -> Label:
        with self.lock:
            now = self.clock.unix_us()
            source = SourceId(mint("src", now // 1000))
            asked = request(name, arguments, None)
            tool = self.tools.get(asked.tool)
            label = self.obtained(source, asked.tool, asked.arguments, result, failed=outcome != "ok", error=error)
            payload = sealed_result(
                ResultRecord(
                    tool=asked.tool,
                    arguments=asked.arguments,
                    outcome=outcome,
                    result=result,
                    error=error,
                    documents=tool.contract.output.documents if tool is not None else None,
                    recalled=self.came_back(source),
                )
            )
            event = ResultObserved(
                id=self.event_id(now), session=self.id, at_us=now, payloads=(payload.ref,),
                tool=printable(asked.tool)[:MAX_TOOL_NAME], source=source,
                integrity=label.integrity, classes=tuple(sorted(label.classes)),
            )  # fmt: skip
            self.store.commit(Commit(entries=(Entry(event, (payload,)),), durable=False))
        return label

    def _note(self, event: SessionOpened | SessionClosed, commit: Commit = _ALONE) -> None:
        self.store.commit(msgspec.structs.replace(commit, entries=(Entry(event),)))


def _declared(**_: Any) -> None:
    """Nothing is left to do: the plan counts from its decision on."""


def _said(text: str, audience: str, domain: str, citations: Sequence[str]) -> dict[str, Any]:
    """An answer as the arguments of a call; no `citations` where none are given."""
    listed = {"citations": list(citations)} if citations else {}
    return {"text": text, "audience": audience, "domain": domain, **listed}


def _answer(text: str, audience: str, domain: str, citations: Sequence[str] = ()) -> str:
    return text
