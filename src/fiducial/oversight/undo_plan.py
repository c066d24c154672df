"""What an undo would do, from the ledger and its cells alone: nothing is read, run or asked here.

Every call with a side effect that ran, or may have, in the session or in one that it delegated to, newest first:

    undone        it was taken back before
    undoable      its compensation is known, with its arguments
    unknown       whether it happened, or whether it was taken back, has to be found out first
    too-late      the contract says how long taking it back works, and that is over
    impossible    irreversible, nothing declared, the record erased, or a part of it missing

The contract that counts is today's. A call that ran may have changed something, and one whose tool refused changed
nothing, unless its capture shows otherwise. One that failed in any other way may have acted before it did. One that
left what was captured as it was is left out where another call changed the same thing: that one is compared with what
is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.event import CallDecided, CallFinished, CaptureTaken, SessionOpened
from fiducial.core.ids import DecisionId, Digest, EventId, SessionId
from fiducial.core.store import Store
from fiducial.errors import SessionError
from fiducial.guard.compensation import LOST, Claimed, claim_key, read_claims
from fiducial.guard.drivers import STORE_TIMEOUT
from fiducial.guard.tool import Tool
from fiducial.oversight.undo_effect import Case, Effect, Kept, captured, changed, happened
from fiducial.store.bundle import records
from fiducial.store.ledger import Ledger, Record


def plan(
    ledger: Ledger,
    store: Store,
    tools: Mapping[str, Tool],
    session: SessionId,
    *,
    now_us: int,
    since: EventId | None = None,
) -> list[Effect]:
    """The effects of `session` and those it delegated to, newest first. `since`: only from that event on.

    Raises `SessionError` when the log knows no such session or event in it, `StoreError` when it cannot be read.
    """
    found: dict[DecisionId, Kept] = {}
    start: int | None = 0 if since is None else None
    for each in family(ledger, session):
        for entry in ledger.session(each):
            if entry.event.id == since:
                start = entry.index
            _gather(found, entry)
    if start is None:
        raise SessionError(f"the session has no event `{since}`; `fiducial log show {session}` lists them")
    moved = {captured(each) for each in found.values() if changed(each)}
    kept = [
        each
        for each in found.values()
        if each.entry.index >= start and happened(each) and not (changed(each) is False and captured(each) in moved)
    ]
    kept.sort(key=lambda each: each.entry.index, reverse=True)
    claims = _claims(store, [each.decided.decision for each in kept])
    claims |= _lost(ledger, tools, [each for each in kept if each.decided.decision not in claims])
    return [Case(each, tools.get(each.decided.tool), tools, claims, now_us).effect() for each in kept]


def digest_of(effects: Iterable[Effect], *, force: bool) -> Digest:
    """Names a plan and how it is to be carried out, so that what is done is what somebody was shown."""
    said = []
    for effect in effects:
        how = effect.compensation
        call = how and msgspec.json.encode([how.tool, how.arguments, how.driver, how.untrusted]).decode()
        said.append([effect.decision, effect.state, effect.why, call])
    return digest([force, said])


def family(ledger: Ledger, session: SessionId) -> list[SessionId]:
    """The session and all that it delegated to, oldest first. Raises `SessionError` when there is no such session."""
    first = next(iter(ledger.session(session)), None)
    if first is None:
        raise SessionError(f"no session `{session}` in this log; `fiducial log tail` lists the latest")
    found = [session]
    for bundle in ledger.reader.bundles(first.index, payloads=False):
        # Most bundles name none of them, and are not decoded.
        if any(each.encode() in bundle.events for each in found):
            for entry in records(bundle):
                event = entry.event
                if isinstance(event, SessionOpened) and event.parent in found and event.session is not None:
                    found.append(event.session)
    return found


def _gather(found: dict[DecisionId, Kept], entry: Record) -> None:
    event = entry.event
    if isinstance(event, CallDecided) and event.side_effect:
        found[event.decision] = Kept(decided=event, entry=entry)
    elif isinstance(event, (CallFinished, CaptureTaken)) and event.decision in found:
        kept = found[event.decision]
        if isinstance(event, CallFinished):
            kept.finished = entry
        elif event.moment == "before":
            kept.before = entry
        else:
            kept.after = entry


def _claims(store: Store, decisions: list[DecisionId]) -> dict[DecisionId, tuple[Claimed, int]]:
    """Claims on those effects, on the calls that took them back, and so on."""
    found: dict[DecisionId, tuple[Claimed, int]] = {}
    while decisions:
        more = read_claims(store.read([claim_key(each) for each in decisions]), decisions)
        found |= more
        decisions = [claimed.compensation for claimed, _ in more.values() if claimed.compensation not in found]
    return found


def _lost(ledger: Ledger, tools: Mapping[str, Tool], kept: list[Kept]) -> dict[DecisionId, tuple[Claimed, int]]:
    """Claims that may be gone: the log was set back since, and somebody may have taken those effects back before that,
    or may still be at it."""
    back = ledger.reader.set_back() if kept else None
    if back is None:
        return {}
    # As long as a call that takes something back may last at most; see `undo`.
    longest = 2 * max((each.contract.timeout for each in tools.values()), default=timedelta()).total_seconds()
    until_us = back.event.at_us + int((STORE_TIMEOUT + longest) * 1_000_000)
    return {
        each.decided.decision: (Claimed(session=each.decided.session, compensation=LOST, until_us=until_us), 0)
        for each in kept
        if each.entry.index < back.index and each.decided.session is not None
    }


__all__ = ["digest_of", "family", "plan"]
