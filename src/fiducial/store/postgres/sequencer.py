"""From the inbox into the log: one process at a time, whichever comes first.

    1  begin, under the lock that makes this the only one; take up the tree if another process appended last
    2  take parcels from the inbox, oldest first, as many as make one bundle
    3  check each: its signature fits, and it is the next one of the process that committed it
    4  append their events to the tree, sign its new head, insert the bundle
    5  delete the parcels and sign how far each process has come; commit

There is no leader to elect or to lose: the lock ends with the transaction, and the server ends a transaction whose
process hangs. Whoever appended last goes on, because it has the tree; anybody else steps in when a parcel has waited
for longer than `STEP_IN`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import RLock
from typing import Final, NamedTuple, TypeVar

from fiducial.errors import Corrupt, StoreBusy
from fiducial.store.bundle import Part
from fiducial.store.checkpoint import Signer
from fiducial.store.postgres import inbox
from fiducial.store.postgres.tables import PostgresTables
from fiducial.store.writer import LogWriter

_T = TypeVar("_T")

STEP_IN: Final = timedelta(milliseconds=250)
"""How long a parcel waits for the process that appended last. A few times the pause between two of its looks."""
_PARCELS: Final = 256
_BYTES: Final = 16 * 1024 * 1024
_ENTRIES: Final = 1_000
"""What one bundle takes up at most, beyond its first parcel."""

_OLDEST: Final = "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM inbox ORDER BY id LIMIT 1"
_LAG: Final = "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8 FROM inbox"
_NEWEST: Final = "SELECT max(id) FROM inbox"
_REST: Final = "SELECT count(*) FROM inbox WHERE id <= $1"
_TAKE: Final = "SELECT id, writer, number, body, signature FROM inbox ORDER BY id LIMIT $1"
_DONE: Final = "DELETE FROM inbox WHERE id = ANY($1::bigint[])"
_PROGRESS: Final = "SELECT writer, number, signature FROM writer WHERE writer = ANY($1::text[])"
_SET_PROGRESS: Final = (
    "INSERT INTO writer VALUES($1, $2, $3) "
    "ON CONFLICT(writer) DO UPDATE SET number = excluded.number, signature = excluded.signature"
)


class Lag(NamedTuple):
    """What is committed and not yet in the log."""

    parcels: int
    """Transactions."""
    age: timedelta
    """How long the oldest of them has waited; zero when there is none."""


class Sequencer:
    """One process's part in it. Usable from any thread, one at a time."""

    def __init__(self, tables: PostgresTables, signer: Callable[[str], Signer]) -> None:
        """Raises as `fiducial.store.writer.LogWriter`."""
        self.lock = RLock()
        """Held through whatever uses the writer."""
        self._tables = tables
        self.writer = LogWriter(tables, signer)
        self._come: dict[str, int] = {}
        """The last number of each process whose signature was found to fit."""

    def lag(self) -> Lag:
        """What is committed and not yet in the log."""
        with self.lock:
            ((parcels, seconds),) = self._tables.fetch(_LAG, (), None)
        return Lag(parcels, timedelta(seconds=max(0.0, seconds)))

    def tend(self) -> bool:
        """Put what waits into the log, if that is this process's business now; whether it was."""
        with self.lock:
            rows = self._tables.fetch(_OLDEST, (), None)
            if not rows or (not self._tables.ahead and rows[0][0] < STEP_IN.total_seconds()):
                return False
            self._tables.patient = False
            try:
                return self._step() > 0
            except StoreBusy:
                # Then it is being done.
                return False
            finally:
                self._tables.patient = True

    def drain(self) -> None:
        """Put everything into the log that is committed at this moment."""
        with self.lock:
            ((newest,),) = self._tables.fetch(_NEWEST, (), None)
            while newest is not None and self._tables.fetch(_REST, (newest,), None) != [(0,)]:
                self._step()

    def alone(self, run: Callable[[], _T]) -> _T:
        """`run` with the inbox empty and nobody committing, whose transactions wait meanwhile."""
        with self.lock:
            # Most of it before the others have to wait.
            self.drain()
            # The waits of others for the gate end with their patience; this one's must end before.
            with self._tables.gated():
                self.drain()
                return run()

    def _step(self) -> int:
        """All five steps; how many parcels."""
        with self.writer.transaction():
            rows = self._tables.fetch(_TAKE, (_PARCELS,), _BYTES)
            parcels: list[Part] = []
            done: list[int] = []
            known = self._progress({writer for _, writer, *_ in rows})
            come: dict[str, int] = {}
            entries = 0
            for number, (ident, writer, count, body, signature) in enumerate(rows):
                if number and entries >= _ENTRIES:
                    break
                before = come.get(writer) or known.get(writer, 0)
                if count != before + 1:
                    what = f"{before + 1} of `{writer}` is missing from the inbox"
                    if count <= before:
                        what = f"{count} of `{writer}` is in the inbox a second time"
                    raise Corrupt(f"transaction {what}: somebody changed the database; the log holds what came before")
                parcel = inbox.unseal(body, signature, self.writer.signer.verifier, writer, count)
                parcels.append(parcel)
                entries += parcel.count
                done.append(ident)
                come[writer] = count
            self.writer.extend(parcels)
            for writer, count in come.items():
                signature = self.writer.signer.sign(inbox.progress(self.writer.signer.verifier.name, writer, count))
                self._tables.execute(_SET_PROGRESS, writer, count, signature)
            if done:
                self._tables.execute(_DONE, done)
        self._come.update(come)
        return len(done)

    def _progress(self, writers: set[str]) -> dict[str, int]:
        """How many transactions of those processes are in the log. Raises `Corrupt` when no key of the log signed that.

        Asked anew each time: transactions that only changed state leave the tree as it is, so the tree does not tell
        whether another process took some up.
        """
        known: dict[str, int] = {}
        for writer, number, signature in self._tables.fetch(_PROGRESS, (sorted(writers),), None):
            if self._come.get(writer) != number:
                self._check(writer, number, signature)
            known[writer] = number
        return known

    def _check(self, writer: str, number: int, signature: bytes) -> None:
        for key in reversed(self.writer.keys()):
            try:
                return key.verify(inbox.progress(key.name, writer, number), signature)
            except Corrupt:
                continue
        raise Corrupt(f"how many transactions of `{writer}` the log holds was changed in the database")
