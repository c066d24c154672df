"""Captures of SQL rows: the rows of one table that a key selects, put back in one transaction.

    orders = Rows(lambda: sqlite3.connect("shop.db"), "orders", key=["id"], dialect="sqlite")
    guard = Guard(charter, captures={"orders": orders})

The host names table and columns; arguments are values of the key's columns, and never become part of a statement.
`connect` gives a new DB-API connection each time, which is closed after use; it has to see what tools have committed.

Rows are put back by the least change: those that were added are deleted, those that differ are updated in the columns
that differ, those that are gone are inserted. Before the transaction ends they are read again, so that a trigger that
makes them another way undoes it all. What foreign keys or triggers change in other tables is not looked at.

Where that meets a constraint on the way, such as values of a unique column that rows have swapped, nothing is put back
and the reason is said. A call must not write the key's columns: a row that it moved to another key is not found again,
and looks like one that it deleted.

SQLite keeps its values as they are, PostgreSQL in their text form, which reads back the same for every type.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal, Protocol

import msgspec

from fiducial.core.canonical import canonical_bytes, digest
from fiducial.core.ids import Digest
from fiducial.errors import CaptureError, ChangedSince
from fiducial.guard.compensation import Snapshot

MAX_ROWS = 1_000
"""Default bound on captured rows."""


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows of a key."""

    columns: list[str]
    rows: list[list[Any]]
    """In the order of their identities."""


class Rows:
    """Rows of one table: a `fiducial.guard.compensation.Capture`."""

    def __init__(
        self,
        connect: Callable[[], Any],
        table: str,
        key: Sequence[str],
        *,
        dialect: Literal["sqlite", "postgresql"],
        identity: Sequence[str] | None = None,
        max_rows: int = MAX_ROWS,
    ) -> None:
        """`table`: its name, with its schema and a dot before it where needed. `key`: columns by which a call's rows
        are found. `identity`: columns that tell one row from another; `None`: the key does. `max_rows`: more rows
        cannot be captured.
        """
        self._connect = connect
        self._table = ".".join(map(_quoted, table.split(".")))
        self._key = tuple(key)
        self._identity = tuple(identity or key)
        self._max_rows = max_rows
        self._dialect: _Dialect = _Sqlite() if dialect == "sqlite" else _Postgres()

    def take(self, arguments: Mapping[str, Any]) -> Snapshot:
        """The rows that the key selects, as they are now."""
        with self._transaction(arguments, write=False) as cursor:
            return Snapshot(msgspec.to_builtins(self._read(cursor, arguments, self._columns(cursor), lock=False)))

    def restore(self, arguments: Mapping[str, Any], before: Snapshot, after: Digest | None) -> None:
        """Put the rows that the key selects back as they were."""
        try:
            wanted = msgspec.convert(before.state, _State)
        except msgspec.ValidationError as error:
            raise CaptureError("what was kept are no rows") from error
        with self._transaction(arguments, write=True) as cursor:
            columns = self._columns(cursor)
            present = self._read(cursor, arguments, columns, lock=True)
            if after is not None and digest(msgspec.to_builtins(present)) != after:
                raise ChangedSince("the rows have been changed since")
            if present.columns != wanted.columns:
                raise CaptureError("the table has other columns by now")
            self._change(cursor, columns, self._by_identity(present), self._by_identity(wanted))
            if self._read(cursor, arguments, columns, lock=False) != wanted:
                raise CaptureError("the database does not take the rows back as they were")

    @contextmanager
    def _transaction(self, arguments: Mapping[str, Any], *, write: bool) -> Iterator[Any]:
        if set(arguments) != set(self._key):
            raise CaptureError(f"the capture of these rows takes the arguments {', '.join(self._key)}")
        if any(not isinstance(value, (str, int, float)) for value in arguments.values()):
            raise CaptureError("the key of a row is text, a number, true or false")
        try:
            with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
                try:
                    self._dialect.begin(connection, cursor, write=write)
                    yield cursor
                    if write:
                        connection.commit()
                finally:
                    connection.rollback()
        except CaptureError:
            raise
        except Exception as error:  # the errors of drivers have no common root that could be named here
            raise CaptureError(f"the rows cannot be read or put back: {type(error).__name__}: {error}") from error

    def _columns(self, cursor: Any) -> dict[str, str]:
        """Columns that can be written → their types. Raises `CaptureError` when key or identity are not among them."""
        found = self._dialect.columns(cursor, self._table)
        for name in (*self._key, *self._identity):
            if name not in found:
                raise CaptureError(f"the table has no column `{name}` that can be written")
        return found

    def _read(self, cursor: Any, arguments: Mapping[str, Any], columns: Mapping[str, str], *, lock: bool) -> _State:
        read, holder = self._dialect.read, self._dialect.holder
        where = " AND ".join(f"{_quoted(name)} = {holder(columns[name])}" for name in self._key)
        selected = ", ".join(read(_quoted(name)) for name in columns)
        statement = f"SELECT {selected} FROM {self._table} WHERE {where}"  # noqa: S608 - names are the host's
        cursor.execute(statement + (self._dialect.lock if lock else ""), [
            self._dialect.argument(arguments[name]) for name in self._key
        ])  # fmt: skip
        rows = [[self._dialect.kept(value) for value in row] for row in cursor.fetchmany(self._max_rows + 1)]
        if len(rows) > self._max_rows:
            raise CaptureError(f"there are more than the {self._max_rows} rows that are captured")
        state = _State(list(columns), rows)
        return _State(state.columns, list(self._by_identity(state).values()))

    def _by_identity(self, state: _State) -> dict[bytes, list[Any]]:
        """Rows by the columns that tell them apart, in their order."""
        places = [state.columns.index(name) for name in self._identity]
        found: dict[bytes, list[Any]] = {}
        for row in state.rows:
            values = [row[place] for place in places]
            if None in values or found.setdefault(canonical_bytes(values), row) is not row:
                raise CaptureError(f"the columns {', '.join(self._identity)} do not tell the rows apart")
        return dict(sorted(found.items()))

    def _change(
        self, cursor: Any, columns: Mapping[str, str], present: dict[bytes, list[Any]], wanted: dict[bytes, list[Any]]
    ) -> None:
        names, types, holder = list(columns), list(columns.values()), self._dialect.holder
        places = [names.index(name) for name in self._identity]
        where = " AND ".join(f"{_quoted(names[place])} = {holder(types[place])}" for place in places)

        def run(statement: str, values: list[Any]) -> None:
            cursor.execute(statement, [self._dialect.given(value) for value in values])
            if cursor.rowcount != 1:
                raise CaptureError("the database does not take the rows back as they were")

        for key, row in present.items():
            if key not in wanted:
                run(f"DELETE FROM {self._table} WHERE {where}", [row[place] for place in places])  # noqa: S608
        for key, row in wanted.items():
            if key not in present:
                listed = ", ".join(map(_quoted, names))
                values = ", ".join(map(holder, types))
                run(f"INSERT INTO {self._table} ({listed}) {self._dialect.overriding}VALUES ({values})", row)
                continue
            differ = [place for place, value in enumerate(row) if value != present[key][place]]
            if differ:
                assigned = ", ".join(f"{_quoted(names[place])} = {holder(types[place])}" for place in differ)
                run(
                    f"UPDATE {self._table} SET {assigned} WHERE {where}",  # noqa: S608
                    [row[place] for place in (*differ, *places)],
                )


def _quoted(name: str) -> str:
    """An identifier, for both dialects (SQL:2016 section 5.2, delimited identifier)."""
    return '"' + name.replace('"', '""') + '"'


class _Dialect(Protocol):
    """What differs between databases."""

    lock: str
    """Ends a query whose rows are to be changed."""
    overriding: str
    """Lets an insert name the value of an identity column."""

    def begin(self, connection: Any, cursor: Any, *, write: bool) -> None: ...

    def columns(self, cursor: Any, table: str) -> dict[str, str]:
        """Columns that can be written, in the table's order, each with its type."""
        ...

    def holder(self, type_: str) -> str:
        """Placeholder of a value of that type."""
        ...

    def read(self, column: str) -> str:
        """How a column is selected."""
        ...

    def argument(self, value: Any) -> Any:
        """A call's argument, as a parameter."""
        ...

    def kept(self, value: Any) -> Any:
        """A value that was read, as JSON."""
        ...

    def given(self, value: Any) -> Any:
        """The reverse of `kept`."""
        ...


class _Sqlite:
    lock = overriding = ""

    def begin(self, connection: Any, cursor: Any, *, write: bool) -> None:
        cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def columns(self, cursor: Any, table: str) -> dict[str, str]:
        # Hidden is 0 for what can be written: https://www.sqlite.org/pragma.html#pragma_table_xinfo
        schema, _, name = table.rpartition(".")
        cursor.execute(f"PRAGMA {schema + '.' if schema else ''}table_xinfo({name})")
        return {row[1]: row[2] for row in cursor.fetchall() if row[6] == 0}

    def holder(self, type_: str) -> str:
        return "?"

    def read(self, column: str) -> str:
        return column

    def argument(self, value: Any) -> Any:
        return value

    def kept(self, value: Any) -> Any:
        if value is None or type(value) in (int, str):
            return value
        if type(value) is float:
            return {"real": repr(value)}
        if type(value) is bytes:
            return {"blob": base64.b64encode(value).decode()}
        raise CaptureError(f"a column is read as `{type(value).__name__}`; connect without converters of types")

    def given(self, value: Any) -> Any:
        if isinstance(value, dict):
            return float(value["real"]) if "real" in value else base64.b64decode(value["blob"], validate=True)
        return value


class _Postgres:
    lock = " FOR UPDATE"
    overriding = "OVERRIDING SYSTEM VALUE "

    def begin(self, connection: Any, cursor: Any, *, write: bool) -> None:
        if getattr(connection, "autocommit", False):
            raise CaptureError("the connection commits by itself; connect without autocommit")
        cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        # The text form of these types depends on settings of the session.
        for setting in ("datestyle = 'ISO, YMD'", "intervalstyle = 'postgres'", "bytea_output = 'hex'",
                        "extra_float_digits = 1", "timezone = 'UTC'"):  # fmt: skip
            cursor.execute(f"SET LOCAL {setting}")

    def columns(self, cursor: Any, table: str) -> dict[str, str]:
        # A modifier of -1 names the type without its length: a cast to `character` would cut off all but a letter.
        cursor.execute(
            "SELECT attname, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = CAST(%s AS regclass)"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            [table],
        )
        return dict(cursor.fetchall())

    def holder(self, type_: str) -> str:
        return f"CAST(%s AS {type_})"

    def read(self, column: str) -> str:
        return f"CAST({column} AS text)"

    def argument(self, value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else str(value)

    def kept(self, value: Any) -> Any:
        return value

    def given(self, value: Any) -> Any:
        return value


__all__ = ["MAX_ROWS", "Rows"]
