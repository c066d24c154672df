"""The store in PostgreSQL: any number of processes on any number of machines commit into one log.

    commit      checked, encoded and hashed by the caller's thread, then queued; when the queue is full, callers wait,
                and past a deadline get `StoreBusy`
    committer   one thread; takes all that is queued, up to a limit, and commits it as one transaction: state, its
                preconditions, and the events as one signed parcel in the inbox (`fiducial.store.postgres.committer`)
    answer      a durable commit's future resolves when that transaction is on disk
    sequencer   one thread, of one process at a time: moves parcels from the inbox into the log
                (`fiducial.store.postgres.sequencer`)

Where an entry will stand in the log is not known when its commit is answered, so a receipt says -1. The entries of a
session stand in the order of their commits, and an entry that was committed after another was answered stands after it.

When the server does not answer, or says no, whoever waits gets an error within `patience`; what nobody waits for stays
queued, and the store goes on by itself once the server does. When the log is not what it should be, the store stops,
and everything later raises `StoreClosed`.

Every process has the log's key, because each may be the one to sign; and each keeps the largest checkpoint that it has
seen, in a file of its own machine, to which it holds the log when it is opened.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from fiducial.core.clock import Clock
from fiducial.core.ids import Digest
from fiducial.core.store import Commit, Receipt
from fiducial.errors import Corrupt, RolledBack, StoreBusy, StoreError, TooNew
from fiducial.store import erase, keyfile, owed, restore, retained
from fiducial.store.bundle import Prepared, prepare
from fiducial.store.checkpoint import Signer
from fiducial.store.ledger import Ledger
from fiducial.store.opened import Opened
from fiducial.store.postgres import migrate
from fiducial.store.postgres.committer import RULES, Committer, InDoubt, Rules
from fiducial.store.postgres.inbox import check_text
from fiducial.store.postgres.link import Target, check_server, connect
from fiducial.store.postgres.notices import Notices
from fiducial.store.postgres.sequencer import Lag, Sequencer
from fiducial.store.postgres.tables import PostgresRows, PostgresTables
from fiducial.store.queue import Limits, refuse, settle
from fiducial.store.reader import LogReader
from fiducial.store.upkeep import Schedule, Upkeep
from fiducial.store.watch import Pulse, Watcher, Watching
from fiducial.store.writer import begin_log

_T = TypeVar("_T")
_READ_PATIENCE = timedelta(seconds=30)
"""How long the server may take for one query over the log."""
_LOOK_SECONDS = 0.05
"""How often the process that appended last looks for what others committed."""
_BEAT_SECONDS = 1.0
"""How often every process looks, and so knows whether the server answers."""
_RETRY_SECONDS = 0.1
_FATAL = (Corrupt, RolledBack, TooNew)
"""After these, nothing that the store could do would be right."""


class PostgresStore(Opened):
    """A `Store` for several processes and machines. Usable from any thread; not across a fork."""

    def __init__(
        self,
        url: str,
        *,
        key_path: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        patience: timedelta = timedelta(seconds=5),
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
        """Open the log at `url`, `postgresql://user@host/database[?schema=…]`, or make it and its key.

        `key_path`: where the signing key is (default: in `.fiducial`, named after the URL); the checkpoint is kept
        beside it. Copy the key to every machine. `patience`: how long a commit waits for a server that does not answer
        or for others that hold the same cells. The rest: `fiducial.store.sqlite.SqliteStore`.

        Raises `RolledBack`, `WrongKey`, `TooNew`, `Corrupt`, `StoreBusy` or another `StoreError`.
        """
        schedule = Schedule(checkpoint_every, checkpoint_interval, retention)
        schedule.check()
        if patience <= timedelta(0):
            raise StoreError("patience has to be a positive duration")
        super().__init__(clock, Limits(queue_size, queue_bytes, queue_deadline, max_batch, linger))
        self.target = Target.parse(url)
        """Which log."""
        self.key_path = Path(key_path) if key_path is not None else Path(".fiducial") / f"{self.target.slug}.key"
        """The signing key."""
        self._patience = patience
        self._lost = 0
        self._wake = threading.Event()
        self._pulse = Pulse(self._clock)
        self._tables = PostgresTables(self.target, patience, self._pulse, ended=self._check_open)
        try:
            self._sequencer = self._open(accept_rollback)
            rules = Rules(**dict(self._tables.fetch(RULES, (), None)))
            self._committer = Committer(self.target, patience, rules, self._signer)
        except BaseException:
            self._tables.close()
            raise
        self._reader = LogReader(PostgresRows(self.target, _READ_PATIENCE, self._pulse), ended=self._check_open)
        self._watcher = Watcher(lambda pulse: Notices(self.target, pulse))
        self._upkeep = Upkeep(self._sequencer.writer, self.checkpoint_path, schedule, self._clock, self._scrub)
        self._threads = [
            threading.Thread(target=self._guarded, args=(run, end), name=f"fiducial-{name}", daemon=True)
            for name, run, end in (
                ("committer", self._commit_all, self._end_commits),
                ("sequencer", self._sequence, self._end_log),
            )
        ]
        for thread in self._threads:
            thread.start()
        # A daemon thread dies with the interpreter; what is queued must not die with it.
        atexit.register(self.close)

    def commit(self, commit: Commit) -> Future[Receipt]:
        """Keep `commit`; see `fiducial.core.store.Store`. A future cannot be cancelled: what was queued is kept."""
        prepared = prepare(commit)
        check_text(prepared)
        return self._queue.commit(prepared)

    def watch(self, prefix: str, callback: Callable[[frozenset[str]], None]) -> Watching:
        """See `fiducial.core.store.Store.watch`: by LISTEN and NOTIFY. Changes by `Add` are not reported."""
        self._check_open()
        return self._watcher.watch(prefix, callback)

    def silence(self) -> timedelta:
        """See `fiducial.core.store.Store.silence`: while somebody watches, only what the watcher hears counts.

        The server is asked once a second at least.
        """
        deaf = self._watcher.silence()
        return self._pulse.silence() if deaf is None else deaf

    def flush(self) -> None:
        """Wait until everything queued so far is in the log. Raises `StoreError` when that fails."""
        self._queue.do(lambda: None)
        self._sequencer.drain()

    def lag(self) -> Lag:
        """What any process has committed that is not yet in the log."""
        self._check_open()
        return self._sequencer.lag()

    def ledger(self) -> Ledger:
        """The log, to query and to verify, over a connection of its own; everything is in it that was committed before.

        It is closed with the store.
        """
        self._check_open()
        self._sequencer.drain()
        ledger = Ledger(LogReader(PostgresRows(self.target, _READ_PATIENCE), ended=self._check_open))
        self._ledgers.add(ledger)
        return ledger

    def checkpoint(self) -> str:
        """Sign the log as it is now, keep that beside the key and return it: a signed note."""
        return self._with_log(self._upkeep.keep_checkpoint)

    def erase(self, payload: Digest, *, by: str, why: str) -> bool:
        """Erase a payload from the tables: see `fiducial.store.erase.erase`.

        PostgreSQL may keep the bytes in its files until it writes something else there; backups are beyond reach.
        """

        at_us = self._clock.unix_us()
        done = self._with_log(lambda: erase.erase(self._sequencer.writer, payload, by=by, why=why, at_us=at_us))
        self._pay()
        return done

    def retain(self, before: datetime) -> int:
        """Erase the payloads of all events before `before`; how many there were."""

        at_us = self._clock.unix_us()
        erased = erase.retain(self._sequencer.writer, before, at_us=at_us, alone=self._with_log)
        self._pay()
        return erased

    def rotate_key(self, *, by: str) -> str:
        """Sign with a new key from here on, recorded in the log; returns the new public key.

        Other processes go on once they find it in their key file; until then their commits raise `WrongKey`.
        """

        def run() -> str:
            public = keyfile.rotate(self._sequencer.writer, self.key_path, by=by, at_us=self._clock.unix_us())
            self._upkeep.keep_checkpoint()
            return public

        self._check_open()
        return self._sequencer.alone(run)

    def close(self) -> None:
        """Commit what is queued, put it into the log, keep a checkpoint, let go of the connections.

        Raises `StoreError` when something was not kept and nobody has heard of it yet.
        """
        self._say_farewell()
        self._queue.close()
        if os.getpid() != self._pid or threading.current_thread() in self._threads:
            return
        self._watcher.close()
        for thread in self._threads:
            thread.join()
            self._wake.set()
        atexit.unregister(self.close)
        lost, self._lost = self._lost, 0
        if lost:
            why = self._fault or "the server did not answer"
            raise StoreError(f"{lost} entries that nobody waited for were not kept, or it is not known: {why}")

    def _with_log(self, run: Callable[[], _T]) -> _T:
        self._check_open()
        with self._sequencer.lock:
            self._sequencer.drain()
            return run()

    def _pay(self) -> None:
        """As `fiducial.store.owed.pay`, while the log goes on."""
        debt = self._with_log(lambda: owed.owed(self._sequencer.writer.reader))
        self._scrub()
        self._with_log(lambda: owed.strike_out(self._sequencer.writer, debt))

    # The threads

    def _guarded(self, run: Callable[[], None], end: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            self._stop(error)
        finally:
            # Only now: whoever finds something closed is told of the fault, and so it has to be known.
            end()

    def _commit_all(self) -> None:
        """The committer's thread."""
        while (work := self._queue.take(self._owed_pause)) is not None:
            if isinstance(work, list):
                self._keep(work)
            else:
                work.future.set_result(work.run())
        if self._committer.owed:
            self._keep([])

    def _end_commits(self) -> None:
        self._lost += _entries(self._committer.owed)
        self._committer.close()

    def _owed_pause(self) -> float | None:
        return _BEAT_SECONDS if self._committer.owed else None

    def _keep(self, batch: list[Prepared]) -> None:
        """Commit `batch` and tell whoever waits; when patience ends, that it was not kept, or that it is not known."""
        deadline = time.monotonic() + self._patience.total_seconds()
        while True:
            try:
                answers = self._committer.write(batch)
                break
            except _FATAL as error:
                self._fail(batch, error)
                self._lost += _entries(prepared for prepared in batch if prepared.future is None)
                raise
            except StoreError as error:
                again = isinstance(error, StoreBusy) and time.monotonic() < deadline
                if not again:
                    self._hand_back(batch, error)
                    return
            time.sleep(_RETRY_SECONDS)
        self._pulse.beat()
        for prepared, answer in zip(batch, answers, strict=True):
            settle(prepared, answer)
        self._upkeep.touch()
        self._wake.set()

    def _hand_back(self, batch: list[Prepared], error: StoreError) -> None:
        """Tell whoever waits that `batch` was not kept, or may not have been; what nobody waits for is tried again."""
        in_doubt = self._committer.give_up(batch)
        told = InDoubt(f"{error}; whether this commit was kept is not known") if in_doubt else error
        self._fail(batch, told)
        quiet = [prepared for prepared in batch if prepared.future is None]
        if quiet and not in_doubt:
            if self._queue.closing:
                self._committer.owed += quiet
            else:
                self._queue.give_back(quiet)
                time.sleep(_RETRY_SECONDS)

    def _fail(self, batch: list[Prepared], error: StoreError) -> None:
        for prepared in batch:
            settle(prepared, error)

    def _sequence(self) -> None:
        """The sequencer's thread."""
        while self._threads[0].is_alive():
            self._wake.wait(_LOOK_SECONDS if self._tables.ahead else _BEAT_SECONDS)
            self._wake.clear()
            # Without an answer, the next beat tries again; commits are told by their own connection.
            with self._sequencer.lock, _going_on():
                while self._sequencer.tend():
                    self._upkeep.advance()
                self._upkeep.tend()
        if self._fault is None:
            # What was committed is in the inbox: without an answer, the next process puts it into the log.
            with self._sequencer.lock, _going_on():
                self._sequencer.drain()
                self._upkeep.keep_checkpoint()

    def _end_log(self) -> None:
        with self._sequencer.lock:
            self._upkeep.close()
            for ledger in list(self._ledgers):
                ledger.close()
            self._reader.close()
            self._tables.close()

    def _stop(self, error: Exception) -> None:
        """Let nobody in any more, and tell whoever waits."""
        fault = error if isinstance(error, StoreError) else StoreError(f"the store failed: {error}")
        # Of two, the first is told: the second may be what came of it.
        self._fault = fault = self._fault or fault
        self._queue.close()
        self._lost += refuse(self._queue.stop(), fault)
        self._wake.set()

    def _scrub(self) -> None:
        self._tables.vacuum()

    # Opening

    @property
    def checkpoint_path(self) -> Path:
        """The largest tree head that this machine has seen."""
        return self.key_path.with_suffix(".checkpoint")

    def _signer(self, public: str) -> Signer:
        return keyfile.signer_for(self.key_path, public)

    def _open(self, accept_rollback: bool) -> Sequencer:
        beside = self.checkpoint_path
        seen = retained.load(beside)
        link = connect(self.target, patience=self._patience, write=True)
        try:
            check_server(link, self.target.where)
            made = migrate.open_tables(link, self.target)
        finally:
            link.close()
        if not made:
            migrate.migrate(self.target)
        if self._tables.create():
            if seen is not None and not accept_rollback:
                raise RolledBack(
                    f"the store `{self.target.where}` is empty, but the checkpoint `{beside}` has seen a log there; "
                    "bring the database back, or move the checkpoint and the key away to start a new log"
                )
            try:
                self.key_path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the key `{self.key_path}` cannot be written ({error.strerror})") from error
            begin_log(self._tables, keyfile.make_key(self.key_path), self._clock.unix_us())
        restore.refuse_backup(self._tables)
        sequencer = Sequencer(self._tables, self._signer)
        if seen is not None:
            sequencer.drain()
            retained.hold_to(seen, beside, sequencer.writer, accept_rollback, self._clock.unix_us())
        # From now on this machine knows how far the log is, whoever put it there.
        retained.keep(beside, sequencer.writer.note())
        return sequencer


@contextmanager
def _going_on() -> Iterator[None]:
    """Within it, only what is fatal ends the thread."""
    try:
        yield
    except _FATAL:
        raise
    except StoreError:
        return


def _entries(batch: Iterable[Prepared]) -> int:
    return sum(prepared.count for prepared in batch)


def open_reader(target: Target) -> LogReader:
    """The log at `target`, for reading, also from a standby. Raises `StoreError` when there is none."""
    rows = PostgresRows(target, _READ_PATIENCE)
    try:
        check_server(rows.link, target.where)
        migrate.need_tables(rows.link, target)
    except BaseException:
        rows.close()
        raise
    return LogReader(rows)
