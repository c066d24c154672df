"""The log's tables in PostgreSQL, read and written: `fiducial.store.rows` over a `Link`.

    meta … export  as in SQLite (`fiducial.store.schema`), and with the same statements
    inbox          what was committed and is not yet in the log: one row a transaction
    writer         how many of each process's transactions are in the log, signed

Two advisory locks, named by the number of the table `meta`, so that each schema has its own:

    sequence  held through every transaction that appends to the log: one at a time
    gate      shared by every transaction that commits; held alone by what changes the rules under them: another key,
              another history
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, TypeVar

import psycopg
from psycopg import RawServerCursor
from psycopg.pq import TransactionStatus

from fiducial.errors import StoreBusy, StoreClosed
from fiducial.store import schema
from fiducial.store.merkle import Tree
from fiducial.store.postgres import foreign
from fiducial.store.postgres.link import Link, Target, connect, translate
from fiducial.store.watch import Pulse

_T = TypeVar("_T")

SEQUENCE: Final = 0x46494401
GATE: Final = 0x46494402
"""First halves of the advisory locks; the second is the number of `meta`."""
_FETCH = 64
"""Rows fetched at a time when there is a budget for their bytes."""

LOCK_SEQUENCE: Final = "SELECT pg_advisory_xact_lock($1::int, 'meta'::regclass::oid::bigint::bit(32)::int)"
TRY_SEQUENCE: Final = "SELECT pg_try_advisory_xact_lock($1::int, 'meta'::regclass::oid::bigint::bit(32)::int)"
SHARE_GATE: Final = "SELECT pg_advisory_xact_lock_shared($1::int, 'meta'::regclass::oid::bigint::bit(32)::int)"
LOCK_GATE: Final = "SELECT pg_advisory_lock($1::int, 'meta'::regclass::oid::bigint::bit(32)::int)"
_UNLOCK_GATE: Final = "SELECT pg_advisory_unlock($1::int, 'meta'::regclass::oid::bigint::bit(32)::int)"

_BEGIN_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
BEGIN_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_ADD_BUNDLE: Final = "INSERT INTO bundle VALUES($1,$2,$3,$4,$5,$6,$7)"
_ADD_LOOKUP: Final = "INSERT INTO lookup VALUES($1,$2,$3,$4)"
_ADD_SESSIONS: Final = "INSERT INTO session SELECT name, $2 FROM json_array_elements_text($1::json) AS name"
_OVERWRITE: Final = (
    "UPDATE bundle SET payloads = overlay(payloads PLACING $4::bytea FROM $2::int + 1 FOR $3::int) WHERE first = $1"
)


@lru_cache(maxsize=1024)
def numbered(sql: str) -> str:
    """PostgreSQL writes `$1` where SQLite writes `?1`; no statement holds another question mark."""
    return sql.replace("?", "$")


class PostgresRows:
    """`Rows` over a connection of its own, made when first needed and again when it was lost between transactions."""

    def __init__(
        self,
        target: Target,
        patience: timedelta,
        pulse: Pulse | None = None,
        *,
        write: bool = False,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """`pulse` is told whenever the server answers. `ended` raises why, when it is asked for after the end."""
        self.where = target.where
        self._target = target
        self._patience = patience
        self._write = write
        self._pulse = pulse
        self._ended = ended
        self._link: Link | None = None
        self._closed = False
        self._bound = False
        """Whether a lock hangs on this very connection: then no other may take its place."""

    @property
    def link(self) -> Link:
        """The connection. Raises `StoreError` when there is none to be had."""
        if self._closed:
            if self._ended is not None:
                self._ended()
            raise StoreClosed(f"the store `{self.where}` is closed; open it again")
        if self._link is None or self._link.closed:
            self._link = connect(self._target, patience=self._patience, write=self._write)
        return self._link

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        link = self._link
        return link is not None and not link.closed and link.info.transaction_status != TransactionStatus.IDLE

    def fetch(self, sql: str, parameters: Sequence[Any], budget: int | None) -> list[tuple[Any, ...]]:
        """See `Rows.fetch`."""
        return self._renewed(lambda: self._fetch(numbered(sql), parameters, budget))

    def _fetch(self, sql: str, parameters: Sequence[Any], budget: int | None) -> list[tuple[Any, ...]]:
        try:
            if budget is None:
                rows = self.link.execute(sql, parameters, binary=True).fetchall()
                if self._pulse is not None:
                    self._pulse.beat()
                return rows
            if self.inside:
                return self._within(sql, parameters, budget)
            self.begin()
            try:
                return self._within(sql, parameters, budget)
            finally:
                self.end()
        except psycopg.Error as error:
            raise translate(error, self.where) from error

    def _within(self, sql: str, parameters: Sequence[Any], budget: int) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        at_a_time = 1
        with RawServerCursor(self.link, "page") as cursor:
            cursor.execute(sql, parameters, binary=True)
            while budget >= 0 and (rows := cursor.fetchmany(at_a_time)):
                found += rows
                budget -= sum(len(value) for row in rows for value in row if isinstance(value, bytes))
                at_a_time = min(_FETCH, 2 * at_a_time)
        return found

    def begin(self) -> None:
        """See `Rows.begin`."""
        self._renewed(lambda: self.execute(_BEGIN_READ))

    def _renewed(self, read: Callable[[], _T]) -> _T:
        """`read`, once more over a new connection when the idle one turns out to have been cut: only using it tells."""
        idle = self._link is not None and not self._link.closed and not self.inside and not self._bound
        try:
            return read()
        except StoreBusy:
            if not idle or self._link is None or not self._link.closed:
                raise
            return read()

    @contextmanager
    def gated(self) -> Iterator[None]:
        """Nobody else's transaction that commits is open within; those that come wait."""
        self.execute(LOCK_GATE, GATE)
        self._bound = True
        try:
            yield
        finally:
            self._bound = False
            if self._link is not None and not self._link.closed:  # else the lock went with it
                self.execute(_UNLOCK_GATE, GATE)

    def end(self) -> None:
        """See `Rows.end`."""
        with suppress(psycopg.Error):
            if self.inside and self._link is not None:
                self._link.execute(schema.ROLLBACK)

    def execute(self, sql: str, *parameters: Any) -> None:
        """Execute a statement of PostgreSQL's own."""
        try:
            self.link.execute(sql, parameters)
        except psycopg.Error as error:
            raise translate(error, self.where) from error

    def fault(self) -> str | None:
        """What the schema holds that is not the log's; PostgreSQL checks pages itself, when it was made to."""
        return foreign.fault(self.link, self._target)

    def close(self) -> None:
        """See `Rows.close`."""
        self._closed = True
        if self._link is not None:
            self._link.close()


class PostgresTables(PostgresRows):
    """`Tables`: what appends to the log, under the lock that makes it the only one."""

    def __init__(
        self, target: Target, patience: timedelta, pulse: Pulse, *, ended: Callable[[], None] | None = None
    ) -> None:
        super().__init__(target, patience, pulse, write=True, ended=ended)
        self.ahead = True
        """Whether nobody else has appended since this one last did."""
        self.patient = True
        """Whether to wait, for as long as `patience`, for somebody else's transaction."""

    def begin_write(self) -> None:
        """See `Tables.begin_write`. Raises `StoreBusy` when it does not wait and somebody else has the lock."""
        self.execute(BEGIN_WRITE)
        if self.patient:
            self.execute(LOCK_SEQUENCE, SEQUENCE)
        elif self.fetch(TRY_SEQUENCE, (SEQUENCE,), None) != [(True,)]:
            raise StoreBusy(f"another process appends to `{self.where}` at this moment")

    def commit(self) -> None:
        """See `Tables.commit`."""
        self.execute(schema.COMMIT)

    def roll_back(self) -> None:
        """See `Tables.roll_back`. Losing the connection does it too."""
        self.end()

    def changed(self, tree: Tree) -> bool:
        """Whether the newest head is another than that of `tree`."""
        rows = self.fetch(schema.LAST_HEAD, (), None)
        self.ahead = bool(rows) and (rows[0][0] + rows[0][1], rows[0][2]) == (tree.size, tree.root())
        return not self.ahead

    def run(self, sql: str, *parameters: Any) -> None:
        """See `Tables.run`."""
        self.execute(numbered(sql), *parameters)

    def append(self, row: Sequence[Any]) -> None:
        """See `Tables.append`."""
        first, count, root, signature, leaves, events, payloads, first_id, last_id, digests, sessions, *node = row
        # One by one: in the middle of a pipeline the server would wait for a process that hangs, and keep the lock.
        self.execute(_ADD_BUNDLE, first, count, root, signature, leaves, events, payloads)
        self.execute(_ADD_LOOKUP, first, first_id, last_id, digests)
        self.execute(_ADD_SESSIONS, sessions, first)
        if node[2] is not None:
            self.run(schema.ADD_NODE, *node)

    def overwrite(self, first: int, offset: int, length: int) -> None:
        """See `Tables.overwrite`: the row is written anew, and `vacuum` clears the old one."""
        self.execute(_OVERWRITE, first, offset, length, bytes(length))

    def create(self) -> bool:
        """Whether the log still has to be opened. The tables are there: `fiducial.store.postgres.migrate`."""
        return not self.fetch(schema.GET_META, ("origin",), None)

    def vacuum(self) -> None:
        """Clear rows that were overwritten or moved into the log, as far as no other transaction still sees them."""
        link = connect(self._target, patience=self._patience, write=True, unbounded=True)
        try:
            link.execute("VACUUM bundle, inbox, state")
        except psycopg.Error as error:
            raise translate(error, self.where) from error
        finally:
            link.close()
