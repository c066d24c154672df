"""A log kept in memory: what the guard uses when it is given no store, and what tests use.

A commit costs a few microseconds: it is checked and encoded, and a `LateEntry` not even that. The rest, the tree, the
index and the signatures are made when somebody asks (`ledger()`), by the same code that writes files, in a database
that has none. So a query, a proof or an erasure means the same here as there; only durability is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any

from fiducial.core.clock import Clock, SystemClock
from fiducial.core.event import Entry
from fiducial.core.ids import Digest
from fiducial.core.store import Cell, Commit, Receipt, text_key
from fiducial.errors import StoreClosed, StoreError
from fiducial.store.bundle import Prepared, prepare
from fiducial.store.settled import Settled
from fiducial.store.state import MISSING, Slot, cell, outcome

if TYPE_CHECKING:
    from fiducial.store.ledger import Ledger
    from fiducial.store.watch import Watching
    from fiducial.store.writer import SqliteWriter

_FLUSH = 1000
"""Commits that become one bundle: what `SqliteStore` writes at most in one transaction."""


def _events(kept: Prepared | Commit) -> Prepared:
    """What the log is to keep: the events alone, state was changed at the commit."""
    prepared = prepare(kept) if isinstance(kept, Commit) else kept
    prepared.preconditions = prepared.changes = ()
    return prepared


class MemoryStore:
    """A `Store` that forgets. Usable from any thread."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = RLock()
        self._pending: list[Prepared | Commit] = []
        self._slots: dict[str, Slot] = {}
        # The first entry says that the log was opened; it is written when the log is first asked for.
        self._opened_us = self._clock.unix_us()
        self._size = 1
        self._closed = False
        self._watches: list[Watching] = []
        self._writer: SqliteWriter | None = None

    def commit(self, commit: Commit) -> Future[Receipt]:
        """Keep `commit`; see `fiducial.core.store.Store`. Never blocks."""
        count = len(commit.entries)
        late = count == 1 and type(commit.entries[0]) is not Entry
        kept = commit if late else prepare(commit)
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed; open another one")
            if commit.preconditions or commit.changes:
                try:
                    self._slots.update(outcome(commit.preconditions, commit.changes, self._slot))
                except StoreError as error:
                    return Settled(None, error)
            first = self._size if commit.durable else -1
            if count:
                self._pending.append(kept)
                self._size += count
            watches = tuple(self._watches) if commit.changes else ()
        if watches:
            keys = frozenset(change.key for change in commit.changes)
            for watching in watches:
                watching.tell(keys)
        return Settled(Receipt(first, count))

    def read(self, keys: Sequence[str]) -> Mapping[str, Cell]:
        """The cells of those `keys` that exist."""
        with self._lock:
            found = {key: cell(self._slot(key)) for key in keys}
        return {key: each for key, each in found.items() if each is not None}

    def scan(self, prefix: str) -> Mapping[str, Cell]:
        """Every cell whose key starts with `prefix`, in key order."""
        with self._lock:
            return self.read(sorted(key for key in self._slots if key.startswith(prefix)))

    def watch(self, prefix: str, callback: Callable[[frozenset[str]], None]) -> Watching:
        """See `fiducial.core.store.Store.watch`: `callback` is called by the thread that commits."""
        from fiducial.store.watch import Watching

        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed; open another one")
            watching = Watching(prefix, callback, self._unwatch)
            self._watches.append(watching)
        return watching

    def silence(self) -> timedelta:
        """Zero: it always answers."""
        return timedelta(0)

    def flush(self) -> None:
        """Put everything committed so far into the log."""
        with self._lock:
            writer = self._open()
            while self._pending and not writer.tables.inside:
                writer.write([_events(kept) for kept in self._pending[:_FLUSH]])
                del self._pending[:_FLUSH]

    def ledger(self) -> Ledger:
        """The log, to query and to verify; it also sees what is committed later."""
        from fiducial.store.ledger import Ledger
        from fiducial.store.reader import LogReader
        from fiducial.store.rows import SqliteRows

        store = self

        class _Fresh(SqliteRows):
            def fetch(self, sql: str, parameters: Sequence[Any], budget: int | None) -> list[tuple[Any, ...]]:
                store.flush()
                return super().fetch(sql, parameters, budget)

            def close(self) -> None:
                """Nothing: the connection is the store's."""

        return Ledger(LogReader(_Fresh(self._open().tables.connection, ":memory:"), self._lock))

    def erase(self, payload: Digest, *, by: str, why: str) -> bool:
        """Erase a payload: see `fiducial.store.erase.erase`."""
        from fiducial.store.erase import erase

        with self._lock:
            self.flush()
            return erase(self._open(), payload, by=by, why=why, at_us=self._clock.unix_us())

    def retain(self, before: datetime) -> int:
        """Erase the payloads of events before `before`: see `fiducial.store.erase.retain`."""
        from fiducial.store.erase import retain

        with self._lock:
            self.flush()
            return retain(self._open(), before, at_us=self._clock.unix_us())

    def checkpoint(self) -> str:
        """The newest tree head, as a signed note, by a key that this store made for itself."""
        with self._lock:
            self.flush()
            return self._open().note()

    def close(self) -> None:
        """Later commits raise `StoreClosed`; what was kept can still be read."""
        with self._lock:
            self._closed = True

    def _unwatch(self, watching: Watching) -> None:
        with self._lock:
            if watching in self._watches:
                self._watches.remove(watching)

    def _slot(self, key: str) -> Slot:
        return self._slots.get(key, MISSING)

    def _open(self) -> SqliteWriter:
        # SQLite and the signatures are loaded here, and not with the module: a guard that keeps nothing needs neither.
        from fiducial.store.checkpoint import Signer
        from fiducial.store.keyfile import fresh_origin
        from fiducial.store.rows import SqliteTables
        from fiducial.store.schema import connect_writer
        from fiducial.store.writer import SqliteWriter, begin_log

        store = self

        class _Writer(SqliteWriter):
            def forget(self, payloads: Iterable[Digest]) -> None:
                for key in map(text_key, payloads):
                    if store._slot(key).value is not None:
                        store._slots[key] = Slot(None, store._slot(key).version + 1)

        with self._lock:
            if self._writer is None:
                connection, _ = connect_writer(None)
                signer = Signer.generate(fresh_origin())
                tables = SqliteTables(connection, ":memory:")
                begin_log(tables, signer, self._opened_us)
                self._writer = _Writer(tables, lambda _: signer)
            return self._writer
