"""What waits, read once for all who look at the same time.

Many people look at the queue, and all of them at once when it changes. Three things make that cheap, and none of them
shows anything that is over:

1. A read serves everybody who asked before it *began*; whoever comes later waits for the next. So a request that was
   settled before a page was asked for is never on it.
2. What a request is about (the record of its decision) never changes and is kept, until something is erased from the
   log.
3. A cell that has the version it had is not decoded again; what it means now follows from the time and the halts, and
   is worked out at each read.
"""

from __future__ import annotations

import hashlib
import threading

import msgspec

from fiducial.charter.model import Charter
from fiducial.console.trajectory import arguments_of, decision_in
from fiducial.core.clock import Clock
from fiducial.core.event import CallDecided, PayloadErased, RetentionApplied, SessionOpened
from fiducial.core.ids import DecisionId, Digest, EventId, HoldId, SessionId
from fiducial.guard.record import DecisionRecord
from fiducial.oversight.cells import WAITING, decode, hold_key
from fiducial.oversight.hold import Hold, effective
from fiducial.oversight.requests import stops_of
from fiducial.store.bundle import Record
from fiducial.store.ledger import Ledger, LedgerStore

MAX_KEPT = 10_000
"""Requests of which is remembered what they are about."""
_ERASING = tuple(str(kind.__struct_config__.tag).encode() for kind in (PayloadErased, RetentionApplied))
"""How events that take payloads out of the log are named in it."""


class Evidence(msgspec.Struct, frozen=True):
    """What a request is about, as far as a list shows it."""

    risk: int = 0
    """0 to 4."""
    ours: bool = False
    """The agent runs under the charter that this console shows."""
    targets: tuple[tuple[str, str, str], ...] = ()
    """Name, value and origin of each argument that says on whom, where or how much."""


class Card(msgspec.Struct, kw_only=True):
    """A request in the queue."""

    hold: Hold
    words: str = ""
    """What the agent wants, after its name."""
    evidence: Evidence = Evidence()
    mine: bool = False
    """Whoever looks may answer it."""
    alike: int = 0
    """Further waiting requests that differ in nothing but the session."""
    version: int = 0
    """Of the request's cell."""

    @property
    def risk(self) -> int:
        """0 to 4."""
        return self.evidence.risk


class Waiting(msgspec.Struct, frozen=True):
    """What waited at one instant."""

    holds: list[Hold]
    """Oldest first, as they stand then."""
    versions: dict[HoldId, int]
    """Of their cells."""
    state: str
    """A word that changes with any of it."""
    erasures: int
    """How often something had been erased from the log; then what requests are about may be gone."""


class Queue:
    """What waits. Usable from any thread."""

    def __init__(self, store: LedgerStore, ledger: Ledger, charter: Charter, clock: Clock) -> None:
        self._store, self._ledger, self._charter, self._clock = store, ledger, charter, clock
        self._turn = threading.Condition()
        self._begun = self._done = 0
        self._reading = False
        self._last = Waiting([], {}, "", 0)
        self._holds: dict[HoldId, tuple[int, Hold]] = {}
        self._evidence: dict[DecisionId, Evidence] = {}
        self._erasures = 0
        self._looked = ledger.size
        """Entries of the log up to which erasures have been looked for."""

    def now(self) -> Waiting:
        """What waits, by a read that began after this was called. Raises `StoreError`."""
        with self._turn:
            wanted = self._begun + 1
            while True:
                if self._done >= wanted:
                    return self._last
                if not self._reading:
                    break
                self._turn.wait()
            self._reading = True
            self._begun = number = self._begun + 1
        try:
            found = self._read()
        except BaseException:
            with self._turn:
                self._reading = False
                self._turn.notify_all()  # each of the others tries for themselves
            raise
        with self._turn:
            self._reading = False
            self._done, self._last = number, found
            self._turn.notify_all()
        return found

    def decided(self, hold: Hold) -> Record | None:
        """The entry of its decision, which may still be on its way into the log."""
        event = EventId("evt" + hold.decision[3:])
        found = self._ledger.find(event)
        if found is None:
            self._store.flush()
            found = self._ledger.find(event)
        return found

    def record(self, hold: Hold) -> DecisionRecord | None:
        """What would be done; `None` when it was erased."""
        found = self.decided(hold)
        return decision_in(found) if found is not None else None

    def charter_of(self, session: SessionId) -> Digest | None:
        """The charter that a session runs under; `None` when the log does not say."""
        first = next(iter(self._ledger.session(session)), None)
        return first.event.charter if first is not None and isinstance(first.event, SessionOpened) else None

    def evidence(self, hold: Hold) -> Evidence:
        """What `hold` is about; nothing when its decision was erased."""
        kept = self._evidence.get(hold.decision)
        if kept is not None:
            return kept
        before = self._erasures
        found = self.decided(hold)
        if found is None or not isinstance(found.event, CallDecided):
            return Evidence()
        record = decision_in(found)
        arguments = arguments_of(record, {}, self._charter, "") if record is not None else []
        evidence = Evidence(
            found.event.risk,
            self.charter_of(hold.session) == self._charter.digest,
            tuple((each.name, each.value, each.origin) for each in arguments if each.role in ("target", "magnitude")),
        )
        with self._turn:
            if len(self._evidence) >= MAX_KEPT:
                self._evidence.clear()
            if before == self._erasures:  # else it may be what was just erased
                self._evidence[hold.decision] = evidence
        return evidence

    def _read(self) -> Waiting:
        self._forget_what_was_erased()
        ids = [HoldId(key.removeprefix(WAITING)) for key in self._store.scan(WAITING)]
        cells = self._store.read([hold_key(each) for each in ids])
        stops, now = stops_of(self._store), self._clock.unix_us()
        kept: dict[HoldId, tuple[int, Hold]] = {}
        for each in ids:
            cell = cells.get(hold_key(each))
            if cell is None:
                continue
            known = self._holds.get(each)
            if known is None or known[0] != cell.version:
                known = cell.version, decode(hold_key(each), cell, Hold)
            kept[each] = known
        self._holds = kept
        holds = [hold for _, stored in kept.values() if (hold := effective(stored, now, stops)).open]
        holds.sort(key=lambda hold: (hold.requested_us, hold.id))
        versions = {hold.id: kept[hold.id][0] for hold in holds}
        words = "\n".join(f"{hold.id} {versions[hold.id]} {hold.role}" for hold in holds)
        return Waiting(holds, versions, hashlib.sha256(words.encode()).hexdigest()[:16], self._erasures)

    def _forget_what_was_erased(self) -> None:
        for bundle in self._ledger.reader.bundles(self._looked, payloads=False):
            if bundle.first + bundle.count > self._looked and any(tag in bundle.events for tag in _ERASING):
                with self._turn:
                    self._erasures += 1
                    self._evidence.clear()
            self._looked = max(self._looked, bundle.first + bundle.count)


__all__ = ["Card", "Evidence", "Queue", "Waiting"]
