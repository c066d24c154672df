"""Reopening: a session's state folded again from what the log holds of it, after its process has ended.

What was said, seen, decided and done is taken in once more, in order, from the payloads; in the sessions that it
delegated to as well, which end with that. A call that was running when the process ended gets the outcome `unknown`:
nobody can tell from here whether its effect happened.

A read is recorded without waiting for the disk, so after a crash the last ones may be lost. A session that was
ever taken from a process that had not given it up therefore counts as having read something untrusted, with data of
every class that some tool of the charter gives. Of a call that was let through, and whose outcome the log does not
know, every session counts as having read what it may have brought.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fiducial.core.event import (
    CallDecided,
    CallFinished,
    LogRestored,
    MessageObserved,
    PlanDeclared,
    PlanSettled,
    ResultObserved,
    RollbackAccepted,
    SessionClosed,
    SessionOpened,
    SessionTaken,
)
from fiducial.core.ids import SessionId
from fiducial.core.label import TRUSTED
from fiducial.core.payload import PayloadRole
from fiducial.core.verdict import Allowed, Denied, Reason
from fiducial.errors import CallMismatch, SessionError
from fiducial.guard.budgets import Use, use_of
from fiducial.guard.effects import Ran
from fiducial.guard.facts import arguments_label
from fiducial.guard.ground import Ground
from fiducial.guard.judgement import Judgement, Request
from fiducial.guard.record import DecisionRecord, decode_decision, decode_result
from fiducial.guard.results import record, records_of
from fiducial.guard.session import Session
from fiducial.guard.state import targets
from fiducial.guard.tool import classes_of
from fiducial.store.bundle import Record
from fiducial.store.ledger import Ledger
from fiducial.store.memory import MemoryStore


@runtime_checkable
class Readable(Protocol):
    """A store whose log can be read back."""

    def ledger(self) -> Ledger:
        """The log."""
        ...


def reopened(ground: Ground, session_id: SessionId, takeover: str | None = None) -> Session:
    """The session `session_id`, as the log knows it, to go on with.

    Raises `SessionError` when the log does not hold it, it was closed, it ran under another charter or mode, it belongs
    to another session or process, or something of it was erased; `StoreError` when the log cannot be read.
    """
    if not isinstance(ground.store, Readable):
        raise SessionError("the store cannot be read back; sessions on it end with their process")
    records = list(ground.store.ledger().session(session_id))
    opened = next((each.event for each in records if isinstance(each.event, SessionOpened)), None)
    if opened is None:
        raise SessionError(f"the log holds no session `{session_id}`")
    if any(isinstance(each.event, SessionClosed) for each in records):
        raise SessionError("the session was closed; open a new one")
    if opened.parent is not None:
        raise SessionError(f"the session was delegated by `{opened.parent}`; reopen that one and delegate again")
    if opened.charter != ground.charter.digest or opened.mode != ground.mode:
        raise SessionError("the session ran under another charter or mode; open a new one")
    session = Session.continued(ground, session_id, user=opened.user, roles=opened.roles, agent=opened.agent)
    session.lease = ground.leases.take(session_id, takeover)
    if session.lease is None:
        session.supersede()
    # From here on nobody else adds to it; what somebody did until now may have come after it was read.
    whole = session.lease is not None or isinstance(ground.store, MemoryStore)
    family: dict[SessionId | None, Session] = {session_id: session}
    with session.lock:
        if opened.planned:
            session.plan_nothing()
        for each in ground.store.ledger().entries(records[0].index):
            event = each.event
            if isinstance(event, SessionOpened) and event.parent in family:
                family[event.session] = _delegated(ground, event, family[event.parent])
            elif isinstance(event, (SessionTaken, LogRestored, RollbackAccepted)):
                whole = whole and event.session not in (None, session_id)
            elif event.session in family:
                _fold(family[event.session], each)
                if isinstance(event, SessionClosed):
                    family[event.session].closed = True
        if not whole:
            session.doubt(classes_of(*session.tools.values()))
        for one in family.values():
            _settle(one)
            if one is not session:
                one.close("lost")
    return session


def _delegated(ground: Ground, opened: SessionOpened, parent: Session) -> Session:
    """A session that `parent` delegated to: it counts against the same budget and plan, and what it read and did counts
    as read and done."""
    assert opened.session is not None
    return Session.continued(
        ground, opened.session, user=opened.user, roles=opened.roles, agent=opened.agent, parent=parent
    )


def _settle(session: Session) -> None:
    """Assume of what was let through, and has no outcome, what may have come of it. Called with the lock held."""
    for judgement in session.unfinished():
        session.doubt(classes_of(judgement.tool) if judgement.tool is not None else frozenset())
        if judgement.request.runs:
            record(session, judgement, Ran("unknown", error="the process ended while the tool was running"))


def _fold(session: Session, found: Record) -> None:
    event = found.event
    if isinstance(event, MessageObserved):
        text = _payload(found, "text").decode("utf-8")
        session.hear(event.source, text, event.authority, event.integrity)
    elif isinstance(event, (PlanDeclared, PlanSettled)):
        session.plan_recalled(event)
    elif isinstance(event, CallDecided):
        judgement = _judgement(session, event, decode_decision(_payload(found, "call")))
        if judgement.may_run:
            session.account.reserve(judgement.use, even_over=True)
            if judgement.tool is not None and judgement.tool.side_effect:
                session.acts_on(targets(judgement.tool, judgement.request.arguments))
        session.remember(judgement)
        session.plan_kept(judgement)
    elif isinstance(event, CallFinished):
        try:
            judgement = session.awaited(event.decision)
        except CallMismatch:
            # Told a second time: whoever took the session over did not know what came of it, and then it came.
            return
        result = decode_result(_payload(found, "result"))
        if event.source is not None:
            failed = event.outcome != "ok"
            session.take_in(
                event.source, judgement, result.result, failed=failed, error=result.error, at_us=event.at_us
            )
            session.came_back(event.source)
            session.has_read(event.classes)
        records = records_of(judgement, event.outcome, result.result, nothing_done=result.nothing_done)
        ok = event.outcome == "ok" and event.confirmed != "no"
        session.finished(judgement, ok=ok, kept=not result.nothing_done, records=records)
    elif isinstance(event, ResultObserved):
        result = decode_result(_payload(found, "result"))
        failed = result.outcome not in (None, "ok")
        session.obtained(
            event.source,
            result.tool,
            result.arguments or {},
            result.result,
            failed=failed,
            error=result.error,
            at_us=event.at_us,
        )
        session.has_read(event.classes)


def _judgement(session: Session, event: CallDecided, kept: DecisionRecord) -> Judgement:
    tool = session.tools.get(kept.tool)
    enforced = event.mode != "observe" and (event.mode == "enforce" or event.fault is not None)
    verdict: Allowed | Denied
    if event.verdict == "allowed":
        verdict = Allowed(decision=event.decision, reasons=kept.reasons, masks=event.masks, enforced=enforced)
    else:
        # Held, unclear or denied: no outcome can follow from it any more, whatever it was.
        verdict = Denied(decision=event.decision, reasons=kept.reasons or (Reason("held"),), enforced=enforced)
    use, label = Use(), TRUSTED
    if tool is not None and kept.facts is not None:
        if tool.declares:
            tool = session.proposed(tool, kept.arguments)
        spend = kept.spend if kept.spend is not None else tool.spend(kept.arguments)
        use = use_of(tool.contract, spend, tool.currency)
        label = arguments_label(tool, kept.traces)
    return Judgement(
        verdict=verdict,
        request=Request(tool=kept.tool, arguments=kept.arguments, confidence=kept.confidence, runs=event.runs),
        tool=tool,
        traces=kept.traces,
        facts=kept.facts,
        label=label,
        use=use,
        counted=kept.counted,
    )


def _payload(found: Record, role: PayloadRole) -> bytes:
    for stored in found.payloads:
        if stored.ref.role == role:
            if stored.data is None:
                raise SessionError(f"entry {found.index} of the session was erased; open a new one")
            return stored.data
    raise SessionError(f"entry {found.index} of the session lacks its `{role}`; run `fiducial log verify`")


__all__ = ["Readable", "reopened"]
