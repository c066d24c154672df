"""The way of a call: ten steps, in this order. Every fault on the way denies, and says why.

 1 find the tool's contract          unknown tool: deny
 2 check the arguments strictly      unknown or mistyped: deny
 3 check the switches                halted: deny
 4 trace each argument to its sources
 5 gather the facts
 6 ask the policies
 7 compose the verdict               allowed (with masks) · held · unclear · denied
 8 record it                         durable before any side effect; budgets are reserved
 9 run the tool, or hold             what it changes is captured first, where the contract says so
10 label the result, record the outcome        ok · failed · unknown; budgets are settled

Steps 3 to 8 are serialized within a session. The steps are generators that yield what is to be waited for or run
(`fiducial.guard.effects`); `fiducial.guard.drivers` carries that out on threads or on asyncio.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from fiducial.charter.model import RateWindow
from fiducial.core.event import Entry, ShadowDecided
from fiducial.core.faults import told
from fiducial.core.ids import DecisionId, EventId, mint
from fiducial.core.label import TRUSTED
from fiducial.core.store import Add, AtMost, Commit, Put, Receipt, Unchanged
from fiducial.core.verdict import Allowed, Denied, Fault, Held, Reason, Remedies, Unclear, Verdict
from fiducial.errors import Conflict, StoreError
from fiducial.flow.trace import Trace
from fiducial.guard import captures, grounded, hooks, probes, remembered
from fiducial.guard.arguments import plain
from fiducial.guard.budgets import Counted, use_of
from fiducial.guard.desk import Case, Consulted, Writes
from fiducial.guard.effects import Kept, Ran, Run, Steps
from fiducial.guard.facts import arguments_label, remarkable
from fiducial.guard.judgement import Judgement, Request
from fiducial.guard.leases import LATE, LOST
from fiducial.guard.record import DecisionEntry, firings
from fiducial.guard.remedies import CHANGED, for_fault, for_ruling, in_words
from fiducial.guard.results import Result, masked, record, settle
from fiducial.guard.state import State, targets
from fiducial.guard.tool import Tool
from fiducial.policy.bounds import covers
from fiducial.policy.facts import Facts, PreviewFacts, SessionFacts
from fiducial.policy.ruling import Ruling, parameter_of

log = logging.getLogger("fiducial.guard")
DEFAULT_TIMEOUT = timedelta(seconds=60)
"""Longest run of a tool that no contract describes; only in `observe` mode does one run."""
_NO_PREVIEW = PreviewFacts()
_NO_APPROVALS: frozenset[str] = frozenset()
# Looking a member up in its enum costs as much as a small function call, and step by step that adds up.
_UNKNOWN_TOOL, _BAD_ARGUMENTS, _FACTS = Fault.UNKNOWN_TOOL, Fault.BAD_ARGUMENTS, Fault.FACTS
_ASKING = ("held", "unclear")
_NOBODY = Consulted(ruling=Ruling(kind="denied"))
"""No need to ask people; its ruling is not looked at."""
_DESK = Fault.DESK
_SESSION, _HALTED, _FLOW, _POLICY, _STORE = Fault.SESSION, Fault.HALTED, Fault.FLOW, Fault.POLICY, Fault.STORE


class _Refused(Exception):
    """A step refuses the call; its message is the reason."""


def judge(session: State, request: Request) -> Steps[Judgement]:
    """Steps 1 to 8: what may become of the call. Runs nothing but the contract's preview."""
    now = session.clock.unix_us()
    decision = DecisionId(mint("dec", now // 1000))
    tool: Tool | None = None
    fault = _UNKNOWN_TOOL
    try:
        # 1 find the tool's contract
        tool = session.tools.get(request.tool)
        if tool is None:
            raise _Refused("no contract describes the tool")
        # 2 check the arguments strictly
        fault = _BAD_ARGUMENTS
        if request.flaw:
            raise _Refused(request.flaw)
        checked = request.arguments
        if request.unmasked is not None:
            checked = request.unmasked()
            if not tool.keeps:
                request = msgspec.structs.replace(request, unmasked=None)
        if problems := tool.check(checked):
            raise _Refused("; ".join(problems))
        spend = _spend(tool, request.arguments)
        preview = _NO_PREVIEW
        if tool.contract.preview is not None:
            # A preview runs a tool, so what is stopped stops it too.
            fault, why = _stopped(session, tool, request)
            if why:
                raise _Refused(why)
            fault = _FACTS
            preview = request.preview or (yield from probes.preview(session, tool, request.arguments))
            now = session.clock.unix_us()  # what people allowed until a moment ago is judged by when it would run
    except Exception as error:  # noqa: BLE001 - any fault denies
        judgement, future = _refuse(session, request, decision, now, tool, fault, error)
    else:
        if session.windows:
            yield from _counted(session)
        with session.lock:
            judgement, future = _serialized(session, request, decision, now, tool, spend, preview)
    judgement = yield from _kept(session, judgement, future, now)
    if tool is not None and tool.declares:
        session.plan_kept(judgement)
    return judgement


def _counted(session: State) -> Steps[None]:
    """What the session's latest read brought is counted first: until then it holds all that is left of a window."""
    counting = session.counted_with
    try:
        if counting is not None and not counting.done():
            yield Kept(counting)
    except Exception as error:  # noqa: BLE001 - it holds what it held, and the call is judged by that
        log.warning("what a read brought could not be counted (%s)", told(error))


def _spend(tool: Tool, arguments: Mapping[str, Any]) -> int:
    try:
        return tool.spend(arguments)
    except ValueError as error:
        raise _Refused(f"`{tool.cost}` {error}") from None


def _stopped(session: State, tool: Tool, request: Request) -> tuple[Fault, str]:
    """Step 3: why no call may be made at all; empty when nothing stands in the way."""
    if session.closed:
        return _SESSION, "the session is closed"
    if session.lease is not None and session.lease.lost:
        return _SESSION, LOST
    if why := request.barred or session.withdrawn.get(tool.name):
        return Fault.WITHDRAWN, why
    return _HALTED, session.halted(tool)


def _serialized(
    session: State,
    request: Request,
    decision: DecisionId,
    now: int,
    tool: Tool,
    spend: int,
    preview: PreviewFacts,
) -> tuple[Judgement, Future[Receipt] | None]:
    """Steps 3 to 8, up to handing the record to the store."""
    arguments = request.arguments
    fault = _SESSION
    try:
        # 3 check the switches
        fault, why = _stopped(session, tool, request)
        if why:
            raise _Refused(why)
        use = use_of(tool.contract, spend, tool.currency)
        windows = session.windows.touched(tool.name, tool.contract, use, session.user, now) if session.windows else ()
        acts = tuple(targets(tool, arguments)) if tool.side_effect and tool.targets else ()
        fault = _DESK
        basis = session.plans_stand()
        fault = _FACTS
        traced, proposed = arguments, None
        if tool.declares:
            tool = proposed = session.proposed(tool, arguments)
            traced = proposed.values
        while True:
            # 4 trace each argument to its sources
            if session.heard_about(tool.name) and session.ground.desk is not None:
                fault = _DESK
                session.replied(tool.name, session.ground.desk.replies(session.id, tool.name))
            fault = _FLOW
            traces = session.traces(tool, traced)
            # 5 gather the facts
            fault = _FACTS
            plain = not any(map(remarkable, traces.values()))
            facts = session.facts(tool, traced, traces, plain, acts, use, windows, preview, request.confidence)
            if proposed is not None:
                facts = session.with_proposal(facts, proposed)
            if request.bound and request.bound != session.binding(tool, arguments, traces, facts)[0]:
                # People agreed to something else than what the call has become meanwhile.
                request = msgspec.structs.replace(request, approvals=_NO_APPROVALS, bound=None)
            # 6 ask the policies
            fault = _POLICY
            ruling = tool.slice.ask(session.principal, arguments, facts, request.approvals)
            if session.past_unknown and ruling.kind == "allowed":
                ruling, facts = _at_worst(session, tool, request, facts, ruling)
            consulted = _NOBODY
            if ruling.kind in _ASKING and session.ground.desk is not None and session.mode == "enforce":
                fault = _DESK
                if session.replied(tool.name, session.ground.desk.replies(session.id, tool.name)):
                    continue  # the user has answered since: what they named counts
                consulted = _consult(session, tool, request, decision, now, traces, facts, ruling)
                ruling = consulted.ruling
            break
        # 7 compose the verdict
        fault = _POLICY
        verdict, evidence = _compose(session, decision, ruling, traces, consulted, tool, traced)
        masks = isinstance(verdict, Allowed) and verdict.enforced and verdict.masks
        judgement = Judgement(
            verdict=verdict,
            request=request,
            tool=tool,
            traces=traces,
            facts=facts,
            label=TRUSTED if plain else arguments_label(tool, traces),
            use=use,
            counted=tuple(Counted(window.of, add) for window, _, add in windows) if windows else (),
            evidence=evidence,
            masked=masked(session, arguments, masks) if masks else None,
        )
        if proposed is not None and isinstance(verdict, Allowed):
            # What the requester confirms approves no plan; what people of a role do, does.
            agreed = request.approvals | consulted.approvals
            proposed.course.approved |= not tool.slice.holds.isdisjoint(agreed)
            proposed.course.holds |= frozenset(consulted.holds)
        # 8 record it
        fault = _STORE
        approved_plan = facts.plan.approved and isinstance(verdict, Allowed)
        return judgement, _recorded(
            session, judgement, consulted, windows, acts, now, plain=plain, basis=basis if approved_plan else ()
        )
    except Exception as error:  # noqa: BLE001 - any fault denies
        return _refuse(session, request, decision, now, tool, fault, error)


def _recorded(
    session: State,
    judgement: Judgement,
    consulted: Consulted,
    windows: Sequence[tuple[RateWindow, tuple[str, ...], Add]],
    acts: tuple[tuple[str, str], ...],
    now: int,
    *,
    plain: bool,
    basis: tuple[Unchanged, ...],
) -> Future[Receipt]:
    """Step 8, up to handing the record to the store: what may run has reserved its budget, and is remembered. `basis`:
    what the approval of the plan rests on, where the call may have been allowed by it."""
    request, tool, use, verdict = judgement.request, judgement.tool, judgement.use, judgement.verdict
    assert tool is not None
    may_act = tool.side_effect and judgement.may_run
    recorded = DecisionEntry(session.id, session.mode, judgement, now)
    stored: tuple[Put | Add, ...] = ()
    if may_act and tool.keeps:
        stored = remembered.keep(session, judgement, recorded.payloads[0].ref.digest, now)
    if judgement.may_run:
        over = session.account.reserve(use, even_over=not verdict.enforced)
        if over and verdict.enforced:
            raise _Refused(f"the call would exceed {', '.join(sorted(over))}")
    ended, ended_kept = session.plans_ended(now)
    entries: tuple[Entry | DecisionEntry, ...] = (
        *ended,
        recorded,
        *consulted.writes.entries,
    )
    if tool.slice.has_shadow:
        entries += _shadow(session, judgement, now)
    if tool.declares:
        entries += session.plan_entries(judgement, now)
    changes: tuple[Put | Add, ...] = consulted.writes.changes + stored
    if may_act and not plain:
        changes += session.launder(judgement)
    if windows and judgement.may_run:
        changes += tuple(add for _, _, add in windows if add.amount)
    if may_act:
        session.acts_on(acts)
    limits: tuple[AtMost | Unchanged, ...] = basis
    if windows and judgement.may_run:
        limits += session.windows.preconditions(windows)
    if request.claim is not None and judgement.may_run:
        limits += (request.claim.precondition,)
        changes += (request.claim.change(session.id, verdict.decision, now),)
    if session.lease is not None and (may_act or tool.declares or changes):
        limits = (session.lease.fence, *limits)
        changes += (session.lease.renewal(now),)
    try:
        future = session.store.commit(
            Commit(
                entries=entries,
                preconditions=limits + consulted.writes.preconditions,
                changes=changes,
                durable=may_act
                or tool.declares
                or bool(changes)
                or bool(windows)
                or bool(ended)
                or isinstance(verdict, (Held, Unclear)),
                patient=True,
            )
        )
        if changes:
            future.add_done_callback(partial(session.ground.laundry.stored, changes))
        if ended:
            future.add_done_callback(ended_kept)
    except Exception:
        if judgement.may_run:
            session.account.settle(use, kept=False)
        raise
    session.remember(judgement)
    if windows and judgement.may_run:
        session.windows.unkept.add(verdict.decision)
    return future


def _kept(session: State, judgement: Judgement, future: Future[Receipt] | None, now: int) -> Steps[Judgement]:
    """The rest of step 8: a call runs only once its record is kept."""
    if future is None:
        return judgement
    try:
        if future.done():
            future.result()
        else:
            yield Kept(future)
        session.windows.unkept.discard(judgement.verdict.decision)
        if (
            session.lease is not None
            and judgement.tool is not None
            and judgement.tool.side_effect
            and judgement.may_run
        ):
            session.lease.renewed(now)
    except Exception as error:  # noqa: BLE001 - any fault denies
        session.forget(judgement)
        session.windows.unkept.discard(judgement.verdict.decision)
        if judgement.may_run and judgement.facts is not None:
            session.account.settle(judgement.use, kept=False)
        decision = DecisionId(mint("dec", now // 1000))
        said_no = isinstance(error, Conflict)
        fault = _STORE
        if session.lease is not None and isinstance(error, Conflict) and error.key == session.lease.fence.key:
            session.lease.lost = True
            fault, error = _SESSION, _Refused(LOST)
        refused, again = _refuse(session, judgement.request, decision, now, judgement.tool, fault, error)
        if again is None:
            return refused
        try:
            if said_no:
                yield Kept(again)  # the store is well, it only said no
            elif again.done():
                again.result()
            else:
                raise StoreError("the store does not answer")
        except Exception as lost:  # noqa: BLE001 - the call is refused all the same
            log.error("a refusal could not be recorded: %s", lost)
            return msgspec.structs.replace(refused, recorded=False)
        return refused
    except BaseException as cut_off:
        # Cancelled while it waited: it has not begun. Its record may still be kept, so that is recorded too.
        if judgement.may_run:
            record(
                session, judgement, Ran("failed", error=f"did not run ({type(cut_off).__name__})", nothing_done=True)
            )
        else:
            session.forget(judgement)
        raise
    return judgement


def _at_worst(session: State, tool: Tool, request: Request, facts: Facts, ruling: Ruling) -> tuple[Ruling, Facts]:
    """Step 6, allowed where nobody knows what was done before: a rule may want something done first, too."""
    nothing = SessionFacts(tainted=True, exceeds=facts.session.exceeds)
    first = msgspec.structs.replace(facts, session=nothing)
    other = tool.slice.ask(session.principal, request.arguments, first, request.approvals)
    if other.kind != "allowed":
        return other, first
    masks = tuple(sorted({*ruling.masks, *other.masks}))
    return msgspec.structs.replace(ruling, masks=masks), facts


def _consult(
    session: State,
    tool: Tool,
    request: Request,
    decision: DecisionId,
    now: int,
    traces: Mapping[str, Trace],
    facts: Facts,
    ruling: Ruling,
) -> Consulted:
    """Step 6, where the policies want a person: what people have said, or that they are asked now."""
    desk = session.ground.desk
    assert desk is not None
    binding, group = session.binding(tool, request.arguments, traces, facts)
    case = Case(
        session=session.id, agent=session.agent, above=session.agents[1:], release=session.switches.release,
        user=session.user, tool=tool.name, arguments=request.arguments,
        decision=decision, binding=binding, group=group, now_us=now, rules=session.charter.about.oversight,
        previewed=tool.contract.preview is not None,
        undoes=request.claim.decision if request.claim is not None else None,
        # The rule of a class says nothing of what a preview finds, nor of what a state is put back over.
        covered=lambda rule: (
            tool.contract.preview is None
            and not (request.claim is not None and request.claim.forced)
            and covers(tool.slice.type, session.principal, rule, request.arguments)
        ),
    )  # fmt: skip
    said = desk.said(case, ruling)
    if said.refusal is not None:
        denied = Ruling(kind="denied", reasons=(said.refusal.reason, *ruling.reasons), fault=Fault.PEOPLE)
        return Consulted(ruling=denied, remedies=said.refusal.remedies)
    if said.approvals:
        # Decided afresh, on today's facts, as if those policies were satisfied.
        ruling = tool.slice.ask(session.principal, request.arguments, facts, request.approvals | said.approvals)
        if ruling.kind not in _ASKING:
            spent = said.spend if ruling.kind == "allowed" else Writes()
            return Consulted(ruling=ruling, approvals=said.approvals, holds=said.holds, writes=spent)
    asked = desk.ask(case, ruling)
    return Consulted(ruling=ruling, hold=asked.hold, writes=asked.writes)


def _compose(
    session: State,
    decision: DecisionId,
    ruling: Ruling,
    traces: Mapping[str, Trace],
    consulted: Consulted,
    tool: Tool,
    arguments: Mapping[str, Any],
) -> tuple[Verdict, Mapping[str, str]]:
    """Step 7: what the policies and people said, as a verdict with remedies, and the evidence in words."""
    enforced = session.mode == "enforce"
    if ruling.kind == "allowed":
        return Allowed(decision=decision, reasons=ruling.reasons, masks=ruling.masks, enforced=enforced), {}
    remedies = consulted.remedies or for_ruling(ruling)
    evidence = in_words(traces, {name: session.place(trace) for name, trace in traces.items()})
    for name, wrong in grounded.in_words(session, tool, arguments).items():
        evidence[name] = f"{evidence[name]}; {wrong}"
    if ruling.kind == "denied":
        return Denied(decision=decision, reasons=ruling.reasons, remedies=remedies, enforced=enforced), evidence
    if ruling.kind == "held":
        return Held(
            decision=decision, reasons=ruling.reasons, remedies=remedies, enforced=enforced, evidence=evidence,
            role=ruling.role or "operator", quorum=ruling.quorum, approvals=ruling.approvals, hold=consulted.hold,
        ), evidence  # fmt: skip
    return Unclear(
        decision=decision, reasons=ruling.reasons, remedies=remedies, enforced=enforced, evidence=evidence,
        question=ruling.question or "Please confirm what you want.", approvals=ruling.approvals,
        parameter=parameter_of(ruling), hold=consulted.hold,
    ), evidence  # fmt: skip


def _refuse(
    session: State,
    request: Request,
    decision: DecisionId,
    now: int,
    tool: Tool | None,
    fault: Fault,
    error: Exception,
) -> tuple[Judgement, Future[Receipt] | None]:
    """A denial for `fault`, recorded if that is possible at all."""
    said = isinstance(error, (_Refused, StoreError))
    message = str(error) if said else f"the step failed ({type(error).__name__})"
    if not said:
        log.error("step failed: %s (%s)", fault.value, told(error))
    budget = fault is Fault.STORE and isinstance(error, (Conflict, _Refused))
    changed = isinstance(error, Conflict) and not error.key.startswith("rate/")
    remedies = CHANGED if changed else for_fault(fault) if not budget else Remedies(
        agent="The budget for this is used up. Do not retry; tell the user.",
        user="The assistant has reached a limit that was set for it.",
        operator="raise the budget or the rate window in charter.yaml, or wait for the window to pass",
    )  # fmt: skip
    if fault is _BAD_ARGUMENTS and said:
        # Of the arguments it repeats names, and no value.
        remedies = msgspec.structs.replace(remedies, agent=f"{remedies.agent} {message}.")
    verdict = Denied(
        decision=decision,
        reasons=(Reason(message=message, fault=fault),),
        remedies=remedies,
        enforced=session.mode != "observe",
    )
    judgement = Judgement(verdict=verdict, request=request, tool=tool)
    try:
        entry = DecisionEntry(session.id, session.mode, judgement, now)
        future = session.store.commit(Commit(entries=(entry,), durable=False))
    except Exception as lost:  # noqa: BLE001 - the call is denied all the same, and the log says that it could not be kept
        log.error("a denial could not be recorded: %s", told(lost))
        return msgspec.structs.replace(judgement, recorded=False), None
    session.remember(judgement)
    return judgement, future


def _shadow(session: State, judgement: Judgement, now: int) -> tuple[Entry, ...]:
    """What the shadow policies would have decided, when that differs. A fault in them is logged, never enforced."""
    tool, facts = judgement.tool, judgement.facts
    if tool is None or facts is None:
        return ()
    ruling = tool.slice.ask_shadow(session.principal, judgement.request.arguments, facts, judgement.request.approvals)
    if ruling.kind == judgement.verdict.kind:
        return ()
    event = ShadowDecided(
        id=EventId(mint("evt", now // 1000)),
        session=session.id,
        at_us=now,
        decision=judgement.verdict.decision,
        verdict=ruling.kind,
        fired=firings(ruling.reasons),
    )
    return (Entry(event),)


def call(session: State, request: Request, run: Any) -> Steps[Result]:
    """All ten steps."""
    judgement = yield from judge(session, request)
    judgement = yield from hooks.answered(session, judgement, judge)
    # 9 run the tool, or hold
    if not judgement.may_run:
        return Result(verdict=judgement.verdict, status="not-run", recorded=judgement.recorded)
    if why := _outrun(session, judgement):
        return _not_run(session, judgement, why)
    # What is decided is what runs: the tool gets a copy, so that it cannot change the record.
    tool, arguments = judgement.tool, request.given if request.flaw else plain(judgement.passed)
    timeout = tool.contract.timeout if tool is not None else DEFAULT_TIMEOUT
    try:
        ran: Ran | None = yield from captures.before(session, judgement, arguments)
        if ran is None and (why := _outrun(session, judgement)):
            return _not_run(session, judgement, why)
        if ran is None:
            ran = yield Run(run, arguments, timeout)
            ran = yield from captures.after(session, judgement, arguments, ran)
    except BaseException as cut_off:
        # The run was cancelled from outside: record that before passing the cancellation on, and wait for nothing more.
        record(session, judgement, Ran("unknown", error=f"cancelled ({type(cut_off).__name__})"))
        raise
    # 10 label the result, record the outcome
    return (yield from settle(session, judgement, ran, timeout.total_seconds()))


def _outrun(session: State, judgement: Judgement) -> str:
    """Why the call may not run after all; empty when it may. Keeping the record, and the state, takes its time.

    Meanwhile everything may have been stopped, or another process may have taken the session over and called this one
    interrupted.
    """
    tool, lease = judgement.tool, session.lease
    if tool is None or not tool.side_effect or session.mode == "observe":
        return ""
    _, why = _stopped(session, tool, judgement.request)
    if not why and lease is not None and session.clock.unix_us() >= lease.until_us:
        return LATE
    return why


def _not_run(session: State, judgement: Judgement, why: str) -> Result:
    done = record(session, judgement, Ran("failed", error=why, nothing_done=True))
    return Result(verdict=judgement.verdict, status="not-run", error=why, recorded=done.recorded)
