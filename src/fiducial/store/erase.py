"""Erasing payloads: the data is gone, the log still verifies, and says that it was erased.

A payload and its salt are overwritten with zeros where they lie, and what control state has of it is deleted
(`fiducial.core.store.text_key`), in the transaction that records the erasure. The bytes are then gone from the
database, but older copies of the page may stand in the write-ahead log, so that is emptied before an erasure is
reported as done (`empty_wal`); and files that were exported with payloads in them are rewritten without
(`fiducial.store.export.purge_exports`). Until both were done, that is owed (`fiducial.store.owed`). Backups and other
copies are beyond Fiducial's reach.

Retention goes by when events say that they were recorded, and a clock may have been ahead: an entry that is young does
not mean that those after it are. Going through the whole log each time would cost more and more. So every hour what is
expired is erased up to the first bundle that is young, and in every thirty-second part of the age, about a day for a
month, a round goes through everything: whatever the clocks, a payload outlives its age by little more than that, and
is looked at some thirty times in its life.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from fiducial.core.event import Entry, PayloadErased, RetentionApplied
from fiducial.core.ids import Digest, EventId, mint
from fiducial.core.payload import SALT_BYTES
from fiducial.errors import StoreBusy, StoreError
from fiducial.store import owed, schema
from fiducial.store.bundle import StoredPayload, records
from fiducial.store.reader import no_nonsense
from fiducial.store.writer import LogWriter

MAX_WHY = 500
"""Characters: `PayloadErased.why`."""
_STEP_BUNDLES = 256
"""Bundles that one step of retention goes through, so that commits never wait long for it."""
_STEP_ENTRIES = 4096
"""And about how many entries of them."""
_ROUNDS = 32
"""Rounds through the log in the age at which payloads are erased."""
_SHORTEST_ROUND = timedelta(hours=1)
PATIENCE_SECONDS = 5.0
"""How long somebody who erases waits for others to let go of the write-ahead log, or of an export. Commits wait
meanwhile."""
POSITION = "retained"
"""In `meta`: the entry before which no payload is left for retention to erase."""
ROUND = "retained.round"
"""In `meta`: when the last round through the log began, and the entry from which it goes on until it is at its end."""
_MICROSECOND = timedelta(microseconds=1)


def erase(writer: LogWriter, payload: Digest, *, by: str, why: str, at_us: int) -> bool:
    """Overwrite `payload` wherever it is kept, and record who did it and why; false when it was erased already.

    `why` is 1 to 500 characters and must not repeat the data. Raises `StoreError` when no entry names the payload.
    """
    if not why.strip() or len(why) > MAX_WHY:
        raise StoreError(f"say why the payload is erased, in 1 to {MAX_WHY} characters and without repeating it")
    if not by.strip():
        raise StoreError("say who erases the payload")
    with writer.transaction():
        found = writer.reader.find_payloads(payload)
        if not found:
            raise StoreError(f"no entry names the payload `{payload}`; `fiducial log show` lists them")
        alive = [(first, stored) for first, stored in found if stored.data is not None]
        for first, stored in alive:
            _overwrite(writer, first, stored)
        writer.forget([payload])
        if alive:
            owed.note(writer)
            event = PayloadErased(id=_mint(at_us), session=None, at_us=at_us, payload=payload, by=by, why=why)
            writer.append(Entry(event))
    return bool(alive)


class Step(NamedTuple):
    """What one step of retention did."""

    erased: int
    """Payloads."""
    place: int | None
    """The entry from which the next step goes on; `None` at the end."""


def retain(
    writer: LogWriter,
    before: datetime,
    *,
    at_us: int,
    alone: Callable[[Callable[[], Step]], Step] = lambda step: step(),
) -> int:
    """Erase every payload of events recorded before `before`; how many there were.

    `alone` does a step when nobody else uses `writer`. Raises `StoreError` when `before` has no time zone.
    """
    if before.tzinfo is None:
        raise StoreError("the instant before which payloads are erased needs a time zone")
    before_us = int(before.timestamp() * 1_000_000)
    total = 0
    place: int | None = 0
    while place is not None:
        step = alone(partial(_retain_step, writer, before_us, place, at_us))
        total += step.erased
        place = step.place
    return total


def _retain_step(writer: LogWriter, before_us: int, place: int, at_us: int) -> Step:
    with writer.transaction():
        return _sweep(writer, before_us, place, at_us, past_young=True)


def keep_to(writer: LogWriter, age: timedelta, *, at_us: int) -> Step:
    """One transaction's worth of what a retention setting asks for; its place says only whether there is more now."""
    before_us = at_us - round(age / _MICROSECOND)
    every_us = round(max(age / _ROUNDS, _SHORTEST_ROUND) / _MICROSECOND)
    with writer.transaction():
        began, place = _round(writer)
        if place is None and not 0 <= at_us - began < every_us:
            began, place = at_us, 0
        if place is None:
            return _sweep(writer, before_us, 0, at_us, past_young=False)
        step = _sweep(writer, before_us, place, at_us, past_young=True)
        writer.tables.run(schema.SET_META, ROUND, f"{began}" if step.place is None else f"{began} {step.place}")
        return step


def _round(writer: LogWriter) -> tuple[int, int | None]:
    """When the last round began, and where it goes on; `None` when it came to its end."""
    row = writer.reader.one(schema.GET_META, ROUND)
    with no_nonsense(writer.reader.where):
        began, *place = [0] if row is None else map(int, row[0].split())
        return began, place[0] if place else None


def _sweep(writer: LogWriter, before_us: int, place: int, at_us: int, *, past_young: bool) -> Step:
    """Erase what is expired from entry `place` on, within the caller's transaction; `past_young`: also what stands
    behind a bundle in which nothing is."""
    row = writer.reader.one(schema.GET_META, POSITION)
    with no_nonsense(writer.reader.where):
        position = start = 0 if row is None else int(row[0])
    erased = entries = 0
    following: int | None = None
    for seen, bundle in enumerate(writer.reader.bundles(max(place, start))):
        if seen == _STEP_BUNDLES or entries >= _STEP_ENTRIES:
            following = bundle.first
            break
        clean = True
        if bundle.payloads:
            entries += bundle.count
            kept = [(record, stored) for record in records(bundle) for stored in record.payloads if _alive(stored)]
            expired = [stored for record, stored in kept if record.event.at_us < before_us]
            clean = len(expired) == len(kept)
            if kept and not expired and not past_young:
                break
            if clean:
                writer.tables.run(schema.DROP_PAYLOADS, bundle.first)
            for stored in () if clean else expired:
                _overwrite(writer, bundle.first, stored)
            writer.forget(stored.ref.digest for stored in expired if stored.ref.role == "note")
            erased += len(expired)
        if clean and bundle.first <= position:
            position = bundle.first + bundle.count
    if position != start:
        writer.tables.run(schema.SET_META, POSITION, str(position))
    if erased:
        owed.note(writer)
        writer.append(
            Entry(RetentionApplied(id=_mint(at_us), session=None, at_us=at_us, before_us=before_us, erased=erased))
        )
    # Without going past what is young, the next step begins where this one did, unless it got on.
    return Step(erased, following if past_young or position > start else None)


def empty_wal(connection: sqlite3.Connection, where: str, seconds: float) -> None:
    """Move everything from the write-ahead log into the database and truncate it to nothing.

    Raises `StoreBusy` when a reader does not let go of it within `seconds`: what was erased may still stand in it.
    """
    try:
        connection.execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout=0")
    except schema.FAULTS as error:
        raise schema.translate(error, where) from error
    if busy:
        raise StoreBusy(
            f"the payload is erased, but a reader of `{where}` keeps the -wal file, where its bytes may still stand; "
            "end that reader; the store tries again from time to time, and at once when it is erased again"
        )


def _alive(stored: StoredPayload) -> bool:
    return stored.data is not None


def _overwrite(writer: LogWriter, first: int, stored: StoredPayload) -> None:
    writer.tables.overwrite(first, stored.offset, SALT_BYTES + stored.ref.size)


def _mint(at_us: int) -> EventId:
    return EventId(mint("evt", at_us // 1000))
