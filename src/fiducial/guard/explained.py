"""A recorded decision, read back from the ledger with everything that was kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fiducial.core.event import (
    ApprovalSpent,
    CallDecided,
    CallFinished,
    HoldAnswered,
    HoldRequested,
    HoldSettled,
    HoldVoted,
    SessionOpened,
    ShadowDecided,
)
from fiducial.core.ids import DecisionId, HoldId, SessionId
from fiducial.errors import StoreError
from fiducial.guard.evidence import evidence
from fiducial.guard.record import DecisionRecord, decode_decision
from fiducial.store.bundle import Record
from fiducial.store.ledger import Ledger


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What one person answered."""

    by: str
    role: str
    answer: str
    """`approve`, `reject`, `edit` or `answer`."""
    note: str = ""
    """What they said; empty too when it was erased."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request to people about the call, or one whose approval it used up."""

    hold: HoldId
    decision: DecisionId
    """The decision that asked."""
    role: str
    votes: tuple[Vote, ...] = ()
    outcome: str = "waiting"
    """What became of the request itself."""
    used_by: DecisionId | None = None
    """The decision that its approval let through."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One decision and what followed from it."""

    decided: CallDecided
    record: DecisionRecord | None
    """`None` when the payload was erased."""
    evidence: Mapping[str, str] = {}
    """Parameter → where its value came from, in words, as far as its source was not erased since."""
    opened: SessionOpened | None
    """The session it was made in."""
    answered: tuple[HoldAnswered, ...] = ()
    asked: tuple[Asked, ...] = ()
    """Oldest first."""
    finished: CallFinished | None = None
    """`None` when nothing was recorded: the tool did not run, or what came of it is unknown."""
    shadow: ShadowDecided | None = None


def explained(ledger: Ledger, decision: DecisionId) -> Explained | None:
    """What `ledger` holds on `decision`; `None` when it knows no such decision.

    Raises `StoreError` when the payload does not hold a decision.
    """
    found = ledger.decision(decision)
    decided = next((each for each in found if isinstance(each.event, CallDecided)), None)
    if decided is None or not isinstance(decided.event, CallDecided):
        return None
    record = None
    for ref in decided.event.payloads:
        if ref.role == "call" and (data := ledger.payload(ref.digest)) is not None:
            try:
                record = decode_decision(data)
            except msgspec.DecodeError as error:
                raise StoreError(f"the record of `{decision}` cannot be read; run `fiducial log verify`") from error
    events = [each.event for each in found]
    session = decided.event.session
    records = list(ledger.session(session)) if session is not None else []
    return Explained(
        decided=decided.event,
        record=record,
        evidence=_evidence(record, records, session),
        opened=ledger.trajectory(session).opened if session is not None else None,
        answered=tuple(event for event in events if isinstance(event, HoldAnswered)),
        asked=_asked(decision, records),
        finished=next((event for event in events if isinstance(event, CallFinished)), None),
        shadow=next((event for event in events if isinstance(event, ShadowDecided)), None),
    )


def _asked(decision: DecisionId, records: Sequence[Record]) -> tuple[Asked, ...]:
    """The requests that `decision` made or used up, out of its session's `records`."""
    found: dict[HoldId, Asked] = {}
    for record in records:
        event = record.event
        if isinstance(event, HoldRequested):
            found[event.hold] = Asked(hold=event.hold, decision=event.decision, role=event.role)
        elif isinstance(event, HoldVoted) and event.hold in found:
            note = next((each.data for each in record.payloads if each.ref.role == "note"), None) or b""
            vote = Vote(by=event.by, role=event.role, answer=event.answer, note=note.decode(errors="replace"))
            before = found[event.hold]
            found[event.hold] = msgspec.structs.replace(before, votes=(*before.votes, vote))
        elif isinstance(event, HoldSettled) and event.hold in found and event.outcome != "escalated":
            found[event.hold] = msgspec.structs.replace(found[event.hold], outcome=event.outcome)
        elif isinstance(event, ApprovalSpent) and event.hold in found:
            found[event.hold] = msgspec.structs.replace(found[event.hold], used_by=event.decision)
    return tuple(each for each in found.values() if decision in (each.decision, each.used_by))


def _evidence(record: DecisionRecord | None, records: Sequence[Record], session: SessionId | None) -> dict[str, str]:
    if record is None or session is None:
        return {}
    try:
        return evidence(record.traces, list(records))
    except msgspec.DecodeError as error:
        raise StoreError(f"a result of session `{session}` cannot be read; run `fiducial log verify`") from error
