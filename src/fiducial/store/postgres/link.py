"""Connecting to PostgreSQL: which database, for how long to wait for it, and how its errors are told.

Every wait is bounded twice: the server is told when to give up a statement, and the client closes the connection when
no answer came a little later, because a server that hangs, or a network that swallows packets, gives up nothing.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

try:
    import psycopg
    from psycopg import RawCursor
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import TransactionStatus
except ImportError as error:
    raise ImportError("a store in PostgreSQL needs more packages: `pip install 'fiducial[postgres]'`") from error

from fiducial.errors import Corrupt, StoreBusy, StoreError

MIN_VERSION: Final = 150_000
"""PostgreSQL 15, as `server_version` counts."""
_TRANSACTION_TIMEOUT = 170_000
"""The first that ends a transaction whose client hangs in the middle of a pipeline."""
_STATEMENTS = 2
"""Times a statement's patience for a brief transaction: it may wait for the gate, and then for cells."""
SCHEMA: Final = "fiducial"
"""Where the tables are, unless the URL says `?schema=…`: a database may be shared with others."""
CONNECT_SECONDS: Final = 5
"""How long to wait for a connection to each host of the URL."""
GRACE_SECONDS: Final = 2.0
"""How much longer than the server the client waits."""
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_MALFORMED = "the URL of the store is malformed; the documentation of libpq says its form"
_SCHEMES = ("postgresql", "postgres")

Row = tuple[Any, ...]


class Target(NamedTuple):
    """Which log: what a store URL says."""

    conninfo: str
    """The URL for libpq. It may hold a password, so it is never shown."""
    schema: str
    where: str
    """Host, database and schema, for messages."""
    slug: str
    """The same, as the stem of a file name."""

    @classmethod
    def parse(cls, url: str) -> Target:
        """What `postgresql://[user[:password]@]host[:port][,…]/database[?schema=…&…]` says. Raises `StoreError`."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise StoreError(_MALFORMED) from error
        if parts.scheme not in _SCHEMES:
            raise StoreError("the URL of a store in PostgreSQL begins with `postgresql://`")
        query = parse_qsl(parts.query, keep_blank_values=True)
        schema = next((value for name, value in query if name == "schema"), SCHEMA)
        if not _SCHEMA_NAME.fullmatch(schema):
            raise StoreError(f"`{schema}` cannot name a schema; use lower-case letters, digits and `_`")
        # libpq does not take `+` for a space.
        rest = urlencode([(name, value) for name, value in query if name != "schema"], quote_via=quote)
        conninfo = urlunsplit(parts._replace(query=rest))
        try:
            given = conninfo_to_dict(conninfo)
        except psycopg.Error as error:
            # The message may repeat the URL, and with it the password.
            raise StoreError(
                "the URL of the store is malformed; see the documentation of libpq for its form"
            ) from error
        host = str(given.get("host") or given.get("hostaddr") or "local")
        port = f":{given['port']}" if given.get("port") else ""
        database = str(given.get("dbname") or given.get("user") or "")
        where = f"{host}{port}/{database}" + ("" if schema == SCHEMA else f" ({schema})")
        return cls(
            conninfo, schema, where, re.sub(r"[^A-Za-z0-9.]+", "-", f"{host}{port}/{database}/{schema}").strip("-")
        )


class Link(psycopg.Connection[Row]):
    """A connection whose every wait ends."""

    patience: float = 30.0
    """Seconds after which the server gives up a statement; the client waits `GRACE_SECONDS` longer."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """See `psycopg.Connection.wait`; with a bound when the caller gives none."""
        if timeout is not None:
            return super().wait(gen, interval=interval, timeout=timeout)
        bound = self.patience + GRACE_SECONDS
        deadline = time.monotonic() + bound
        try:
            return super().wait(gen, interval=interval, timeout=bound)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # What the statement comes to is not known, and the connection cannot be used to ask.
                self.pgconn.finish()
            raise


def connect(target: Target, *, patience: timedelta, write: bool, unbounded: bool = False, brief: bool = False) -> Link:
    """A connection in autocommit mode, within the log's schema.

    `patience`: how long the server may work on a statement or wait for a lock. `write`: refuse a standby. `unbounded`:
    for maintenance, whose statements take as long as they take. `brief`: no transaction takes longer than that either,
    from PostgreSQL 17 on; the older ones only end those whose client is between two pipelines. Raises `StoreError`.
    """
    seconds = patience.total_seconds()
    limit = round(seconds * 1000)
    options = {
        "search_path": target.schema,
        "statement_timeout": 0 if unbounded else limit,
        "lock_timeout": limit,
        "idle_in_transaction_session_timeout": 0 if unbounded else limit,
        "client_encoding": "UTF8",
    }
    given = conninfo_to_dict(target.conninfo)
    extra: dict[str, Any] = {
        "options": " ".join(
            [str(given.get("options") or ""), *(f"-c {name}={value}" for name, value in options.items())]
        ),
        "connect_timeout": given.get("connect_timeout") or CONNECT_SECONDS,
        "application_name": given.get("application_name") or "fiducial",
        "tcp_user_timeout": given.get("tcp_user_timeout") or limit,
        "keepalives_idle": given.get("keepalives_idle") or 5,
        "keepalives_interval": given.get("keepalives_interval") or 2,
        "keepalives_count": given.get("keepalives_count") or 3,
    }
    if write:
        # With several hosts in the URL this finds the primary, also after a failover.
        extra["target_session_attrs"] = given.get("target_session_attrs") or "read-write"
    try:
        link = Link.connect(target.conninfo, autocommit=True, cursor_factory=RawCursor, **extra)
        if brief and link.info.server_version >= _TRANSACTION_TIMEOUT:
            link.execute(f"SET transaction_timeout = {_STATEMENTS * limit}")
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    link.patience = 7 * 86_400.0 if unbounded else seconds
    return link


def check_server(link: Link, where: str) -> None:
    """Raises `StoreError` unless the server is one that can keep a log."""
    if link.info.server_version < MIN_VERSION:
        raise StoreError(f"the server of `{where}` is older than PostgreSQL 15; upgrade it")
    if link.info.parameter_status("server_encoding") != "UTF8":
        raise StoreError(f"the database of `{where}` has another encoding than UTF8; make one that has")


def translate(error: psycopg.Error, where: str) -> StoreError:
    """The error to raise for one of PostgreSQL's. Total: every one has a meaning.

    `StoreBusy` when it may pass by itself, `Corrupt` when the tables are not those of a log, another `StoreError` when
    somebody has to do something. Sources: https://www.postgresql.org/docs/current/errcodes-appendix.html.
    """
    state = error.sqlstate or ""
    said = (error.diag.message_primary or "").strip() if state else ""
    match state[:2], state:
        case "40", _:
            return StoreBusy(f"others change the same cells of `{where}` all the time ({said}); try again")
        case _, "55P03" | "57014" | "25P04":
            return StoreBusy(f"`{where}` did not come to it in time ({said}); another process may hold it, try again")
        case _, "53100":
            return StoreError(f"the disk of `{where}` is full; make room")
        case _, "25006":
            return StoreError(f"`{where}` only reads: a standby, or set so; give the address of the primary")
        case (("53" | "57" | "08"), _):
            return StoreBusy(f"the server of `{where}` cannot do it now ({said}); try again")
        case "28", _:
            return StoreError(f"the server of `{where}` does not let this user in ({said}); check name and password")
        case _, "42501":
            return StoreError(f"the user may not do that to `{where}` ({said}); grant it")
        case _, "3D000":
            return StoreError(f"there is no such database: `{where}`; make it with `createdb`")
        case (("22" | "23" | "42" | "3F" | "XX"), _):
            return Corrupt(f"`{where}` lacks a part of a log, or holds what is none ({said}); restore it from a backup")
        case "", _:
            return _unanswered(error, where)
        case _:
            return StoreError(f"`{where}` failed ({said or state}); see the log of the server")


def _unanswered(error: psycopg.Error, where: str) -> StoreError:
    """Errors that carry no code: there is no connection, or there is none any more."""
    text = str(error)
    for sign, meaning in (
        ("read-only", f"`{where}` only reads: a standby, or set so; give the address of the primary"),
        ("in hot standby", f"`{where}` only reads: a standby, or set so; give the address of the primary"),
        ("authentication failed", f"the server of `{where}` does not let this user in; check name and password"),
        ("no password supplied", f"the server of `{where}` asks for a password; give one in ~/.pgpass"),
        ("does not exist", f"there is no such user or database: `{where}`; make it, or correct the address"),
    ):
        if sign in text:
            return StoreError(meaning)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreBusy(f"the server of `{where}` does not answer; check its address, and that it runs")
    return StoreError(f"`{where}` failed ({type(error).__name__}); see the log of the server")
