"""The ledger: the log as it is read, searched, proved and verified.

A `Ledger` only reads. It may be opened while a writer is live, and by somebody who may read the database and nothing
else. What it returns is what is stored; `verify` is what tells whether that is what was recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from fiducial.core.ids import DecisionId, Digest, EventId, SessionId
from fiducial.core.store import Store
from fiducial.core.trajectory import Trajectory
from fiducial.errors import Corrupt, StoreError
from fiducial.store import schema
from fiducial.store.bundle import Record, StoredPayload, records
from fiducial.store.checkpoint import Checkpoint, Verifier, note
from fiducial.store.merkle import inclusion_proof
from fiducial.store.proof import InclusionProof
from fiducial.store.reader import LogReader
from fiducial.store.rows import SqliteRows
from fiducial.store.verify import Verified, verify


class Ledger:
    """A log, opened for reading. Usable from any thread."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Ledger:
        """The log in the database at `path`. Raises `TooNew`, `Corrupt` or another `StoreError`."""
        return cls(LogReader(SqliteRows(schema.connect_reader(Path(path)), str(path))))

    def close(self) -> None:
        """Let go of the database."""
        self._reader.close()

    def __del__(self) -> None:
        # A connection is part of a reference cycle, and one left open keeps old pages in the -wal file.
        self.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def reader(self) -> LogReader:
        """What it reads through."""
        return self._reader

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._reader.meta("origin")

    @property
    def size(self) -> int:
        """Entries in the log; at least 1, the one that opened it."""
        return self._reader.head().size

    def head(self) -> Checkpoint:
        """The newest tree head, as stored."""
        head = self._reader.head()
        return Checkpoint(self.origin, head.size, head.root)

    def keys(self) -> list[Verifier]:
        """Every public key the log has had, oldest first."""
        return self._reader.keys()

    def checkpoint(self) -> str:
        """The newest tree head as a signed note. Raises `Corrupt` when no key of the log has signed it."""
        return self.signed_head()[0]

    def entries(self, start: int = 0, stop: int | None = None, *, payloads: bool = True) -> Iterator[Record]:
        """Entries from `start` up to `stop` (default: the end), with what is kept of their payloads, or without."""
        for bundle in self._reader.bundles(max(0, start), payloads=payloads):
            for record in records(bundle):
                if stop is not None and record.index >= stop:
                    return
                if record.index >= start:
                    yield record

    def session(self, session: SessionId) -> Iterator[Record]:
        """The entries of one session, in order."""
        for first in self._reader.bundles_of(session):
            for record in records(self._reader.bundle(first)):
                if record.event.session == session:
                    yield record

    def trajectory(self, session: SessionId) -> Trajectory:
        """The events of one session, in order; empty when the log knows no such session."""
        return Trajectory(session, (record.event for record in self.session(session)))

    def find(self, event: EventId) -> Record | None:
        """The entry of one event; `None` when there is none."""
        return self._reader.find_event(event)

    def event(self, event: EventId) -> Record:
        """The entry of one event. Raises `StoreError` when there is none."""
        found = self.find(event)
        if found is None:
            raise StoreError(f"no event `{event}` in this log; `fiducial log tail` lists them")
        return found

    def decision(self, decision: DecisionId) -> list[Record]:
        """The entries that carry this decision's id, in order: the verdict first, then what came of it; empty when the
        log knows no such decision."""
        with self._reader.snapshot():
            session = self._reader.session_of_decision(decision)
            found = () if session is None else self.session(session)
            return [record for record in found if getattr(record.event, "decision", None) == decision]

    def payload(self, payload: Digest) -> bytes | None:
        """The data of a payload; `None` when it was erased. Raises `StoreError` when no entry names it."""
        found = self._reader.find_payloads(payload)
        if not found:
            raise StoreError(f"no entry names the payload `{payload}`; `fiducial log show` lists them")
        return found[0][1].data

    def names_payload(self, payload: Digest) -> bool:
        """Whether any entry names that payload, erased or not."""
        return bool(self._reader.find_payloads(payload))

    def prove(self, event: EventId) -> InclusionProof:
        """A proof, for an outsider who has the log's public key, that the event stands in the log."""
        with self._reader.snapshot():
            record = self.event(event)
            text, checkpoint, key = self.signed_head()
            path = inclusion_proof(self._reader.subtrees(checkpoint.size), record.index, checkpoint.size)
            proof = InclusionProof.of(record, path, text, key)
        proof.verify(key)
        return proof

    def verify(
        self,
        *,
        key: Verifier | None = None,
        checkpoints: Sequence[tuple[str, str]] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Verified:
        """Check every stored byte: see `fiducial.store.verify.verify`."""
        return verify(self._reader, key=key, notes=checkpoints, progress=progress)

    def signed_head(self) -> tuple[str, Checkpoint, Verifier]:
        """The newest tree head: its signed note, what it says, and the key. Raises `Corrupt` when no key fits."""
        with self._reader.snapshot():
            checkpoint, head, keys = self.head(), self._reader.head(), self.keys()
        # The newest key signs the newest head, unless that head is the one that records the rotation to it.
        for key in keys[:-3:-1]:
            try:
                key.verify(checkpoint.body(), head.signature)
            except Corrupt:
                continue
            return note(checkpoint, key, head.signature), checkpoint, key
        raise Corrupt("the newest tree head is not signed by a key of this log; run `fiducial log verify`")


__all__ = ["Ledger", "Record", "StoredPayload", "Verified"]


class LedgerStore(Store, Protocol):
    """A store whose log can be read."""

    def ledger(self) -> Ledger:
        """The log."""
        ...

    def flush(self) -> None:
        """Wait until everything committed so far is in the log. Raises `StoreError` when that fails."""
        ...
