"""Erasing payloads: the data is gone, the log still verifies, and says that it was erased.

A payload and its salt are overwritten with zeros where they lie, and what control state has of it is deleted
(`fiducial.core.store.text_key`), in the transaction that records the erasure. The bytes are then gone from the
database, but older copies of the page may stand in the write-ahead log, so that is emptied before an erasure is
reported as done (`empty_wal`); and files that were exported with payloads in them are rewritten without
(`fiducial.store.export.purge`). Backups and other copies are beyond Fiducial's reach.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import NamedTuple

from fiducial.core.event import Entry, PayloadErased, RetentionApplied
from fiducial.core.ids import Digest, EventId, mint
from fiducial.core.payload import SALT_BYTES
from fiducial.errors import StoreBusy, StoreError
from fiducial.store import owed, schema
from fiducial.store.bundle import StoredPayload, records
from fiducial.store.writer import LogWriter

MAX_WHY = 500
"""Characters: `PayloadErased.why`."""
_STEP_BUNDLES = 256
"""Bundles that one step of retention goes through, so that commits never wait long for it."""
PATIENCE_SECONDS = 5.0
"""How long somebody who erases waits for others to let go of the write-ahead log, or of an export. Commits wait
meanwhile."""
POSITION = "retained"
"""In `meta`: the entry before which no payload is left for retention to erase."""


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
    more: bool
    """Whether there may be more to erase."""


def retain(writer: LogWriter, before: datetime, *, at_us: int) -> int:
    """Erase every payload of events recorded before `before`; how many there were."""
    total = 0
    while True:
        step = retain_step(writer, before, at_us=at_us)
        total += step.erased
        if not step.more:
            return total


def retain_step(writer: LogWriter, before: datetime, *, at_us: int) -> Step:
    """One transaction's worth of `retain`. Raises `StoreError` when `before` has no time zone."""
    if before.tzinfo is None:
        raise StoreError("the instant before which payloads are erased needs a time zone")
    before_us = int(before.timestamp() * 1_000_000)
    erased = seen = 0
    more = False
    with writer.transaction():
        row = writer.reader.one(schema.GET_META, POSITION)
        position = start = 0 if row is None else int(row[0])
        clean = True
        for bundle in writer.reader.bundles(start):
            if seen == _STEP_BUNDLES:
                more = True
                break
            seen += 1
            kept = [(record, stored) for record in records(bundle) for stored in record.payloads if _alive(stored)]
            expired = [stored for record, stored in kept if record.event.at_us < before_us]
            if kept and not expired:
                break
            if len(expired) == len(kept):
                writer.tables.run(schema.DROP_PAYLOADS, bundle.first)
            else:
                clean = False
                for stored in expired:
                    _overwrite(writer, bundle.first, stored)
            writer.forget(stored.ref.digest for stored in expired if stored.ref.role == "note")
            erased += len(expired)
            if clean:
                position = bundle.first + bundle.count
        if position != start:
            writer.tables.run(schema.SET_META, POSITION, str(position))
        if erased:
            owed.note(writer)
            writer.append(
                Entry(RetentionApplied(id=_mint(at_us), session=None, at_us=at_us, before_us=before_us, erased=erased))
            )
        more = more and position > start
    return Step(erased, more)


def empty_wal(connection: sqlite3.Connection, where: str, seconds: float) -> None:
    """Move everything from the write-ahead log into the database and truncate it to nothing.

    Raises `StoreBusy` when a reader does not let go of it within `seconds`: what was erased may still stand in it.
    """
    try:
        connection.execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout={round(schema.BUSY_SECONDS * 1000)}")
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
