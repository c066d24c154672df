"""The durable store: a SQLite database, one thread that writes it, and as few waits for the disk as there can be.

    commit      checked, encoded and hashed by the caller's thread, then queued
    queue       bounded; when it is full, callers wait, and past a deadline get `StoreBusy` (`fiducial.store.queue`)
    writer      takes all that is queued, up to a limit, and writes it as one transaction (`fiducial.store.writer`)
    answer      a durable commit's future resolves when the transaction is on disk; other commits are answered when
                queued, unless they have preconditions or changes, which only the writer can judge

When the database fails, every commit that waits gets the error, the store
stops, and everything later raises `StoreClosed`: there is no state in which events are quietly not kept.

Several processes may have the same database open; SQLite serializes their transactions, and each takes up the
other's tree before it appends.

Beside the database stand its key (`.key`) and the largest checkpoint seen (`.checkpoint`), advanced with every
transaction before anybody hears of it, and made durable at close, on demand, and every `checkpoint_every` entries or
`checkpoint_interval`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from fiducial.core.clock import Clock
from fiducial.core.ids import Digest
from fiducial.core.store import Commit, Receipt
from fiducial.errors import RolledBack, StoreError
from fiducial.store import erase, keyfile, owed, restore, retained, schema
from fiducial.store.bundle import Prepared, prepare
from fiducial.store.checkpoint import peek
from fiducial.store.export import purge_exports
from fiducial.store.ledger import Ledger
from fiducial.store.opened import Opened
from fiducial.store.queue import Job, Limits, refuse, settle
from fiducial.store.reader import LogReader
from fiducial.store.rows import SqliteRows, SqliteTables
from fiducial.store.upkeep import Schedule, Upkeep
from fiducial.store.watch import Pulse, SqliteChanges, Watcher, Watching
from fiducial.store.writer import SqliteWriter, begin_log

_LARGE = 32
"""Entries past which a commit has kept other threads waiting for about a millisecond."""


_BRIEF_SECONDS = 0.2
"""How long the store waits, when it looks after itself, for what somebody else holds: commits wait meanwhile."""
_PROBE = timedelta(seconds=1)
"""Silence after which the database is asked."""


class SqliteStore(Opened):
    """A `Store` on disk. Usable from any thread; not across a fork."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key_path: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        queue_size: int = 10_000,
        queue_bytes: int = 64 * 1024 * 1024,
        queue_deadline: timedelta = timedelta(seconds=30),
        max_batch: int = 1_000,
        linger: timedelta = timedelta(milliseconds=5),
        checkpoint_every: int = 10_000,
        checkpoint_interval: timedelta = timedelta(seconds=10),
        retention: timedelta | None = None,
        accept_rollback: bool = False,
    ) -> None:
        """Open the database at `path`, or make it, its directory and its key.

        `key_path`: where the signing key is (default: `path` and `.key`). `queue_size`, `queue_bytes`: how much may
        wait to be written. `queue_deadline`: how long a commit waits for room. `max_batch`: entries in a transaction.
        `linger`: how long entries that nobody waits for are gathered. `retention`: age at which payloads are erased;
        `None` keeps them. `accept_rollback`: go on from a database that is older than the checkpoint beside it; the
        loss is recorded in the log and the checkpoint moved to `.checkpoint.rejected`.

        Raises `RolledBack`, `WrongKey`, `TooNew`, `Corrupt` or another `StoreError`.
        """
        schedule = Schedule(checkpoint_every, checkpoint_interval, retention)
        schedule.check()
        super().__init__(clock, Limits(queue_size, queue_bytes, queue_deadline, max_batch, linger))
        self.path = Path(path)
        """The database."""
        self.key_path = Path(key_path) if key_path is not None else self.path.with_name(self.path.name + ".key")
        """The signing key."""
        self._unheard = ""
        self._writer = self._open(accept_rollback)
        try:
            self._reader = LogReader(
                SqliteRows(schema.connect_reader(self.path), str(self.path)), ended=self._check_open
            )
        except BaseException:
            self._writer.tables.close()
            raise
        self._pulse = Pulse(self._clock)
        self._watcher = Watcher(self._changes)
        scrub = partial(self._scrub, _BRIEF_SECONDS)
        self._upkeep = Upkeep(self._writer, retained.checkpoint_path(self.path), schedule, self._clock, scrub)
        self._thread = threading.Thread(target=self._run, name="fiducial-ledger", daemon=True)
        self._thread.start()
        # A daemon thread dies with the interpreter; what is queued must not die with it.
        atexit.register(self.close)

    def commit(self, commit: Commit) -> Future[Receipt]:
        """Keep `commit`; see `fiducial.core.store.Store`. A future cannot be cancelled: what was queued is kept."""
        # Preparing a large commit holds the interpreter; the writer's thread may have it between two steps.
        yielding = len(commit.entries) >= _LARGE
        prepared = prepare(commit)
        if yielding:
            time.sleep(0)
        prepared.part()
        future = self._queue.commit(prepared)
        if yielding:
            time.sleep(0)
        return future

    def secret(self, name: str, first: bytes | None = None) -> bytes:
        """Bytes that no copy of the database holds, in a file beside the signing key; see `KeepsSecrets`."""
        return keyfile.secret(self.key_path.with_suffix(f".{name}"), first)

    def watch(self, prefix: str, callback: Callable[[frozenset[str]], None]) -> Watching:
        """See `fiducial.core.store.Store.watch`: the database is looked at five times a second while somebody does."""
        self._check_open()
        return self._watcher.watch(prefix, callback)

    def silence(self) -> timedelta:
        """See `fiducial.core.store.Store.silence`: while somebody watches, only what the watcher finds counts.

        Otherwise the database is read when it was not for a second.
        """
        if (deaf := self._watcher.silence()) is not None:
            return deaf
        silence = self._pulse.silence()
        if silence < _PROBE or self._fault is not None:
            return silence
        with suppress(StoreError):
            self._reader.meta("origin")
            self._pulse.beat()
        return self._pulse.silence()

    def flush(self) -> None:
        """Wait until everything queued so far is on disk. Raises `StoreError` when that fails."""
        self._queue.do(lambda: None)

    def ledger(self) -> Ledger:
        """The log, to query and to verify, over a connection of its own; what is still queued does not show.

        It is closed with the store: a reader left open would keep old pages in the -wal file.
        """
        self._check_open()
        ledger = Ledger.open(self.path)
        self._ledgers.add(ledger)
        return ledger

    def checkpoint(self) -> str:
        """Sign the log as it is now, keep that beside the database and return it: a signed note."""
        return self._queue.do(self._upkeep.keep_checkpoint)

    def erase(self, payload: Digest, *, by: str, why: str) -> bool:
        """Erase a payload from the database, the -wal and the exports: see `fiducial.store.erase.erase`."""

        def run() -> bool:
            done = erase.erase(self._writer, payload, by=by, why=why, at_us=self._clock.unix_us())
            owed.pay(self._writer, self._scrub)
            return done

        return self._queue.do(run)

    def retain(self, before: datetime) -> int:
        """Erase the payloads of all events before `before`; how many there were."""
        at_us = self._clock.unix_us()
        erased = erase.retain(self._writer, before, at_us=at_us, alone=self._queue.do)
        self._queue.do(lambda: owed.pay(self._writer, self._scrub))
        return erased

    def rotate_key(self, *, by: str) -> str:
        """Sign with a new key from here on, recorded in the log; returns the new public key."""

        def run() -> str:
            public = keyfile.rotate(self._writer, self.key_path, by=by, at_us=self._clock.unix_us())
            self._upkeep.keep_checkpoint()
            return public

        return self._queue.do(run)

    def close(self) -> None:
        """Write what is queued, keep a checkpoint, let go of the files.

        Raises `StoreError` when the writer stopped and nobody has heard of it yet.
        """
        self._say_farewell()
        self._queue.close()
        if os.getpid() != self._pid or threading.current_thread() is self._thread:
            return
        self._thread.join()
        atexit.unregister(self.close)
        unheard, self._unheard = self._unheard, ""
        if unheard:
            raise StoreError(f"{unheard}: {self._fault}") from self._fault

    # The writer's thread

    def _run(self) -> None:
        batch: list[Prepared] | Job | None = None
        try:
            while (batch := self._queue.take(self._upkeep.pause)) is not None:
                if isinstance(batch, Job):
                    self._work_on(batch)
                elif batch:
                    answers = self._writer.write(batch)
                    # Before anybody hears that it was kept: cutting off what was acknowledged shows from then on.
                    self._upkeep.advance()
                    self._pulse.beat()
                    for prepared, answer in zip(batch, answers, strict=True):
                        settle(prepared, answer)
                    # Or the session that committed last would be held, and its lease renewed, for as long as none does.
                    del answers, prepared, answer
                batch = None
                self._upkeep.tend()
            self._upkeep.keep_checkpoint()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            self._stop(error, batch)
        finally:
            # The writer's connection goes last: whoever does empties the -wal file into the database.
            self._upkeep.close()
            self._watcher.close()
            for ledger in list(self._ledgers):
                ledger.close()
            self._reader.close()
            self._writer.tables.close()

    def _work_on(self, job: Job) -> None:
        try:
            result = job.run()
        except StoreError as error:
            job.future.set_exception(error)
        except Exception as error:
            job.future.set_exception(StoreError(f"the store failed: {error}"))
            raise
        else:
            job.future.set_result(result)

    def _changes(self, pulse: Pulse) -> SqliteChanges:
        return SqliteChanges(LogReader(SqliteRows(schema.connect_reader(self.path), str(self.path))), pulse)

    def _scrub(self, seconds: float | None = None) -> None:
        seconds = erase.PATIENCE_SECONDS if seconds is None else seconds
        try:
            erase.empty_wal(self._writer.tables.connection, str(self.path), seconds)
        finally:
            purge_exports(self._writer.reader, seconds)

    def _stop(self, error: Exception, work: list[Prepared] | Job | None) -> None:
        """Answer everybody who waits, and let nobody in. A job that was worked on has its answer already."""
        batch = work if isinstance(work, list) else []
        fault = self._fault = error if isinstance(error, StoreError) else StoreError(f"the store failed: {error}")
        for prepared in batch:
            settle(prepared, fault)
        rest = self._queue.stop()
        lost = sum(each.count for each in batch if each.future is None) + refuse(rest, fault)
        if lost:
            self._unheard = f"{lost} entries that nobody waited for were not kept"
        elif not work and not rest:
            self._unheard = "the store stopped while nobody waited for it"

    # Opening

    def _open(self, accept_rollback: bool) -> SqliteWriter:
        beside = retained.checkpoint_path(self.path)
        # Before the database is looked at: another process may be making both at this moment.
        seen = retained.load(beside)
        connection, fresh = schema.connect_writer(self.path)
        tables = SqliteTables(connection, str(self.path))
        try:
            if fresh:
                if seen is not None and peek(seen).size and not accept_rollback:
                    raise RolledBack(
                        f"the database `{self.path}` is empty, but the checkpoint `{beside}` has seen a log there; "
                        "bring the database back, or move the checkpoint and the key away to start a new log"
                    )
                signer = keyfile.make_key(self.key_path)
                retained.begin(beside, signer)
                begin_log(tables, signer, self._clock.unix_us())
            else:
                restore.refuse_backup(tables)
            writer = SqliteWriter(tables, lambda public: keyfile.signer_for(self.key_path, public))
            # Another process may have made both since.
            seen = seen if seen is not None else retained.load(beside)
            if seen is None:
                retained.missing(beside, writer, accept_rollback, self._clock.unix_us())
            else:
                retained.hold_to(seen, beside, writer, accept_rollback, self._clock.unix_us())
        except BaseException:
            tables.close()
            raise
        return writer
