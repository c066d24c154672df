"""What a log's reader and writer need of a database, and SQLite's way of giving it.

The statements are those of `fiducial.store.schema`, with parameters `?1`, `?2`, … and the same meaning everywhere.
Whatever the database raises leaves here as a `StoreError`; nothing above knows which database it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from fiducial.errors import StoreClosed
from fiducial.store import schema
from fiducial.store.merkle import Tree

_AGAIN_SECONDS: Final = 0.001
"""Between two tries to write while another process does. A transaction lasts a few of these."""


class Rows(Protocol):
    """Reads from a database, from one thread at a time. Everything raises `StoreError`."""

    where: str
    """The database, for messages: never with a password in it."""

    @property
    def inside(self) -> bool:
        """Whether a transaction is open, for reading or for writing."""
        ...

    def fetch(self, sql: str, parameters: Sequence[Any], budget: int | None) -> list[tuple[Any, ...]]:
        """The rows of a query; with a `budget`, only the first whose blobs fit into that many bytes, at least one."""
        ...

    def begin(self) -> None:
        """From here to `end`, everything read is as of one instant."""
        ...

    def end(self) -> None:
        """The end of that. Never raises: nothing was written, so only what failed before matters."""
        ...

    def fault(self) -> str | None:
        """What is wrong with the database itself, below what it says; `None` when nothing is."""
        ...

    def close(self) -> None:
        """Let go of the database; what is read later raises `StoreClosed`."""
        ...


class Tables(Rows, Protocol):
    """Also writes to it."""

    def begin_write(self) -> None:
        """Begin a transaction; until it ends, nobody else's can append. Waits for theirs, for a bounded time."""
        ...

    def commit(self) -> None:
        """Keep what was written since `begin_write`: on disk once this returns."""
        ...

    def roll_back(self) -> None:
        """Drop what was written since `begin_write`; nothing when no transaction is open."""
        ...

    def changed(self, tree: Tree) -> bool:
        """Whether the log may have become another since `tree` was its tree; asked within a transaction."""
        ...

    def run(self, sql: str, *parameters: Any) -> None:
        """Execute a statement that returns nothing."""
        ...

    def append(self, row: Sequence[Any]) -> None:
        """Insert a bundle with its index: the columns of the view `append`."""
        ...

    def overwrite(self, first: int, offset: int, length: int) -> None:
        """Put zeros in place of `length` bytes of the payloads of the bundle that begins at `first`."""
        ...

    def create(self) -> bool:
        """Make the tables, within the transaction; false when another process has opened the log meanwhile."""
        ...


class SqliteRows:
    """`Rows` over an SQLite connection."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self.connection = connection
        self.where = where
        self._closed = False

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        return self.connection.in_transaction

    def fetch(self, sql: str, parameters: Sequence[Any], budget: int | None) -> list[tuple[Any, ...]]:
        """See `Rows.fetch`."""
        if self._closed:
            raise StoreClosed(f"the database `{self.where}` is closed; open it again")
        try:
            cursor = self._execute(sql, parameters)
            if budget is None:
                return cursor.fetchall()
            return _within(cursor, budget)
        except schema.FAULTS as error:
            raise schema.translate(error, self.where) from error

    def begin(self) -> None:
        """See `Rows.begin`."""
        self.fetch(schema.BEGIN_READ, (), None)

    def end(self) -> None:
        """See `Rows.end`."""
        with suppress(*schema.FAULTS):
            if self.connection.in_transaction:
                self.connection.execute(schema.ROLLBACK)

    def fault(self) -> str | None:
        """What SQLite's own check of the file finds first."""
        ((found,),) = self.fetch(schema.SOUND, (), None)
        return None if found == "ok" else str(found)

    def close(self) -> None:
        """See `Rows.close`."""
        self._closed = True
        self.connection.close()

    def _execute(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        return self.connection.execute(sql, parameters)


class SqliteTables(SqliteRows):
    """`Tables` over an SQLite connection."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        super().__init__(connection, where)
        self._seen = -1
        connection.execute("PRAGMA busy_timeout=0")

    def begin_write(self) -> None:
        """See `Tables.begin_write`."""
        self.run(schema.BEGIN_WRITE)

    def commit(self) -> None:
        """See `Tables.commit`."""
        self.run(schema.COMMIT)

    def roll_back(self) -> None:
        """See `Tables.roll_back`."""
        if self.connection.in_transaction:
            self.run(schema.ROLLBACK)

    def changed(self, tree: Tree) -> bool:
        """Whether another connection has written anything."""
        ((version,),) = self.fetch(schema.DATA_VERSION, (), None)
        seen, self._seen = self._seen, version
        return bool(version != seen)

    def run(self, sql: str, *parameters: Any) -> None:
        """See `Tables.run`."""
        try:
            self._execute(sql, parameters)
        except schema.FAULTS as error:
            raise schema.translate(error, self.where) from error

    def append(self, row: Sequence[Any]) -> None:
        """See `Tables.append`."""
        self.run(schema.APPEND, *row)

    def append_alone(self, row: Sequence[Any]) -> bool:
        """`append` as a transaction by itself, which one statement is; false, and nothing is kept, when another
        process's bundle stands there."""
        try:
            self._execute(schema.APPEND, row)
        except sqlite3.IntegrityError:
            return False
        except schema.FAULTS as error:
            raise schema.translate(error, self.where) from error
        return True

    def overwrite(self, first: int, offset: int, length: int) -> None:
        """See `Tables.overwrite`: in place, where they lie in the file."""
        try:
            with self.connection.blobopen("bundle", "payloads", first) as blob:
                blob.seek(offset)
                blob.write(bytes(length))
        except schema.FAULTS as error:
            raise schema.translate(error, self.where) from error

    def create(self) -> bool:
        """See `Tables.create`."""
        if self.fetch(schema.COUNT_TABLES, (), None)[0][0]:
            return False
        try:
            schema.create_tables(self.connection)
        except schema.FAULTS as error:
            raise schema.translate(error, self.where) from error
        return True

    def _execute(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        # SQLite's own waiting asks ever more rarely, up to every 100 ms: beside processes that write all the time, who
        # ask every millisecond, it may be seconds before one question falls between two of their transactions. A halt
        # cannot wait for that. So everybody asks equally often.
        deadline = 0.0
        while True:
            try:
                return self.connection.execute(sql, parameters)
            except sqlite3.OperationalError as error:
                # Within a transaction, waiting would not help: this one is what the others wait for.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or self.connection.in_transaction:
                    raise
                deadline = deadline or time.monotonic() + schema.BUSY_SECONDS
                if time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)


def _within(cursor: sqlite3.Cursor, budget: int) -> list[tuple[Any, ...]]:
    """The first rows, at least one, that fit into `budget` bytes of blobs; an error only when it is in the first."""
    found: list[tuple[Any, ...]] = []
    try:
        for row in cursor:
            found.append(row)
            budget -= sum(len(value) for value in row if isinstance(value, bytes))
            if budget < 0:
                break
    except schema.FAULTS:
        # Whoever goes on from here meets it again, and then knows where.
        if not found:
            raise
    finally:
        cursor.close()
    return found
