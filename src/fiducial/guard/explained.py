"""A recorded decision, read back from the ledger with everything that was kept of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fiducial.core.event import CallDecided, CallFinished, HoldAnswered, SessionOpened, ShadowDecided
from fiducial.core.ids import DecisionId, SessionId
from fiducial.errors import StoreError
from fiducial.guard.evidence import evidence
from fiducial.guard.record import DecisionRecord, decode_decision
from fiducial.store.ledger import Ledger


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
    return Explained(
        decided=decided.event,
        record=record,
        evidence=_evidence(record, ledger, session),
        opened=ledger.trajectory(session).opened if session is not None else None,
        answered=tuple(event for event in events if isinstance(event, HoldAnswered)),
        finished=next((event for event in events if isinstance(event, CallFinished)), None),
        shadow=next((event for event in events if isinstance(event, ShadowDecided)), None),
    )


def _evidence(record: DecisionRecord | None, ledger: Ledger, session: SessionId | None) -> dict[str, str]:
    if record is None or session is None:
        return {}
    try:
        return evidence(record.traces, list(ledger.session(session)))
    except msgspec.DecodeError as error:
        raise StoreError(f"a result of session `{session}` cannot be read; run `fiducial log verify`") from error
