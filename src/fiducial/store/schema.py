"""The database: its tables, every SQL statement that the store runs, and how SQLite's errors are told.

    meta     origin and current public key of the log
    bundle   one row a transaction: the events, their hashes, the signed tree head after them, their payloads
    lookup   one row a bundle: the range of its event ids, four bytes of each payload's digest
    session  which bundles hold events of a session; the empty name is the log's own
    node     every eighth level of the Merkle tree, complete subtrees only: neighbours that one transaction completed
             share a row
    state    control state: value and version by key; a deleted key keeps its version
    export   files that were exported with payloads in them, so that erasing reaches them

History is in `bundle`, and the tree over it is signed; `lookup`, `session` and `node` follow from it, and verifying
compares them. `state` is what holds now, not history, and is not part of the tree.

What a transaction appends goes through the view `append`, whose trigger fills four tables. That makes appending one
statement, and one statement is one stretch in which SQLite works without holding up the interpreter's other threads;
with a statement a row, a busy interpreter makes the writer wait its turn for each.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fiducial.errors import Corrupt, StoreBusy, StoreClosed, StoreError, TooNew

SCHEMA_VERSION: Final = 1
"""Kept in `PRAGMA user_version`; raised by every change that an older version would misread."""
APPLICATION_ID: Final = 0x46494455
"""`FIDU`, in `PRAGMA application_id`: https://www.sqlite.org/fileformat.html#application_id."""
PAGE_BYTES: Final = 8192
"""Of a new database. Large transactions write half as many pages as with SQLite's default of 4096, at three quarters
of the processor time; small ones, of three or four pages, stay small."""
BUSY_SECONDS: Final = 30.0
"""How long to wait for another process's transaction. One lasts milliseconds; past this it hangs."""

TABLES: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE bundle(
  first INTEGER PRIMARY KEY, count INTEGER NOT NULL, root BLOB NOT NULL, signature BLOB NOT NULL,
  leaves BLOB NOT NULL, events BLOB NOT NULL, payloads BLOB);
CREATE TABLE lookup(first INTEGER PRIMARY KEY, first_id TEXT NOT NULL, last_id TEXT NOT NULL, digests BLOB NOT NULL);
CREATE TABLE session(session TEXT NOT NULL, first INTEGER NOT NULL, PRIMARY KEY(session, first)) WITHOUT ROWID;
CREATE TABLE node(level INTEGER NOT NULL, start INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY(level, start))
  WITHOUT ROWID;
CREATE TABLE state(key TEXT PRIMARY KEY, value BLOB, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE export(path TEXT PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIEW append AS SELECT
  first, count, root, signature, leaves, events, payloads, '' AS first_id, '' AS last_id, x'' AS digests,
  '' AS sessions, 0 AS level, 0 AS start, x'' AS hashes FROM bundle
"""
TRIGGER: Final = """
CREATE TRIGGER append_bundle INSTEAD OF INSERT ON append BEGIN
  INSERT INTO bundle VALUES(
    new.first, new.count, new.root, new.signature, new.leaves, new.events, new.payloads);
  INSERT INTO lookup VALUES(new.first, new.first_id, new.last_id, new.digests);
  INSERT INTO session SELECT value, new.first FROM json_each(new.sessions);
  INSERT INTO node SELECT new.level, new.start, new.hashes WHERE new.hashes IS NOT NULL;
END
"""

BEGIN_WRITE: Final = "BEGIN IMMEDIATE"
BEGIN_READ: Final = "BEGIN"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"
DATA_VERSION: Final = "PRAGMA data_version"
"""Changes when another connection has written: https://www.sqlite.org/pragma.html#pragma_data_version."""

APPEND: Final = "INSERT INTO append VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)"
ADD_NODE: Final = "INSERT INTO node VALUES(?1,?2,?3)"
SET_META: Final = "INSERT INTO meta VALUES(?1,?2) ON CONFLICT(name) DO UPDATE SET value=excluded.value"
SET_STATE: Final = (
    "INSERT INTO state VALUES(?1,?2,?3) ON CONFLICT(key) DO UPDATE SET value=excluded.value, version=excluded.version"
)
DROP_STATE: Final = "UPDATE state SET value=NULL, version=version+1 WHERE key=?1 AND value IS NOT NULL"
SET_EXPORT: Final = "INSERT INTO export VALUES(?1,?2) ON CONFLICT(path) DO UPDATE SET at_us=excluded.at_us"
DROP_PAYLOADS: Final = "UPDATE bundle SET payloads=NULL WHERE first=?1"

GET_META: Final = "SELECT value FROM meta WHERE name=?1"
GET_STATE: Final = "SELECT value, version FROM state WHERE key=?1"
GET_STATES: Final = "SELECT key, value, version FROM state WHERE value IS NOT NULL AND key IN ({})"
SCAN_STATE: Final = "SELECT key, value, version FROM state WHERE key>=?1 AND key<?2 AND value IS NOT NULL ORDER BY key"
SCAN_VERSIONS: Final = "SELECT key, version FROM state WHERE key>=?1 AND key<?2"
DROP_META: Final = "DELETE FROM meta WHERE name=?1"
GET_EXPORTS: Final = "SELECT path FROM export ORDER BY path"

_HEAD: Final = "SELECT first, count, root, signature, leaves, events, "
WITH_PAYLOADS: Final = _HEAD + "payloads FROM bundle "
WITHOUT_PAYLOADS: Final = _HEAD + "NULL FROM bundle "
FROM_FIRST: Final = "WHERE first>=?1 ORDER BY first"
AT_FIRST: Final = "WHERE first=?1"
FIRST_AT_OR_BEFORE: Final = "SELECT max(first) FROM bundle WHERE first<=?1"
LAST_HEAD: Final = "SELECT first, count, root, signature FROM bundle ORDER BY first DESC LIMIT 1"
LEAVES: Final = "SELECT first, leaves FROM bundle WHERE first>=?1 AND first<?2 ORDER BY first"
NODES: Final = (
    "SELECT start, hashes FROM node WHERE level=?1 AND start<?3 AND start>="
    "coalesce((SELECT max(start) FROM node WHERE level=?1 AND start<=?2), ?2) ORDER BY start"
)
NODE_AT: Final = "SELECT hashes FROM node WHERE level=?1 AND start=?2"
LOOKUP_AT: Final = "SELECT first_id, last_id, digests FROM lookup WHERE first=?1"
LOOKUP_ID: Final = "SELECT first FROM lookup WHERE first_id<=?1 AND last_id>=?2 ORDER BY first"
LOOKUP_DIGEST: Final = "SELECT first FROM lookup WHERE instr(digests, ?1)>0 ORDER BY first"
LOOKUP_SINCE: Final = "SELECT min(first) FROM lookup WHERE last_id>=?1"
MENTIONS: Final = "SELECT first FROM bundle WHERE first>=?1 AND instr(events, ?2)>0 ORDER BY first LIMIT 1"
SESSION_BUNDLES: Final = "SELECT first FROM session WHERE session=?1 ORDER BY first"
OWN_MENTIONS: Final = (
    "SELECT bundle.first FROM session JOIN bundle ON bundle.first=session.first WHERE session.session='' "
    "AND (instr(bundle.events, ?1)>0 OR instr(bundle.events, ?2)>0) ORDER BY bundle.first"
)
SESSION_HAS: Final = "SELECT count(*) FROM session WHERE first=?1 AND session=?2"
SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
SOUND: Final = "PRAGMA quick_check(1)"
COUNT_TABLES: Final = "SELECT count(*) FROM sqlite_master"
COUNT_LOOKUP: Final = "SELECT count(*) FROM lookup"
COUNT_SESSION: Final = "SELECT count(*) FROM session"
COUNT_NODE: Final = "SELECT count(*) FROM node"


def span(prefix: str) -> tuple[str, str]:
    """The first text that starts with `prefix`, and the first after all that do: an index finds what lies between.

    Texts are in the order of their code points, which is that of their UTF-8. No key starts with a hundred of the last.
    """
    head = prefix.rstrip(_LAST)
    if not head:
        return prefix, _LAST * 100
    after = ord(head[-1]) + 1
    return prefix, head[:-1] + chr(0xE000 if after == 0xD800 else after)


_LAST: Final = chr(0x10FFFF)
FAULTS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises. The second: names and messages of a damaged database that are no text."""


def translate(error: sqlite3.Error | UnicodeDecodeError, where: str) -> StoreError:
    """The error to raise for one of SQLite's: https://www.sqlite.org/rescode.html. Total: every one has a meaning."""
    if isinstance(error, UnicodeDecodeError):
        return Corrupt(f"the database `{where}` is damaged: what should be text is none; restore it from a backup")
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    match primary:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Corrupt(f"the database `{where}` is damaged or cut short ({error}); restore it from a backup")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(f"another process holds the database `{where}`; wait for it, or end it, and try again")
        case sqlite3.SQLITE_FULL:
            return StoreError(f"the disk, or the quota, of the database `{where}` is full; make room and start again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_CANTOPEN:
            return StoreError(f"the database `{where}` cannot be opened or written ({error}); check its permissions")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM | sqlite3.SQLITE_PROTOCOL:
            return StoreError(f"reading or writing the database `{where}` failed ({error}); check the disk and memory")
        case _ if isinstance(error, sqlite3.ProgrammingError):
            return StoreClosed(f"the database `{where}` is closed; open it again")
        case _ if isinstance(error, sqlite3.OperationalError) and "no such" in str(error):
            return Corrupt(f"the database `{where}` lacks a part of a log ({error}); restore it from a backup")
        case _ if isinstance(error, sqlite3.OperationalError) and "decode" in str(error):
            return Corrupt(f"the database `{where}` holds text where none may be; restore it from a backup")
        case _:
            return StoreError(f"the database `{where}` failed ({error}); check it with `fiducial log verify`")


def connect_writer(path: Path | None) -> tuple[sqlite3.Connection, bool]:
    """A connection to append through, and whether the database is new. `None`: one in memory.

    Raises `TooNew`, `Corrupt` or another `StoreError`.
    """
    where = ":memory:" if path is None else str(path)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives its -wal and -shm files the mode of the database; what they hold is nobody else's business.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR))
    except OSError as error:
        raise StoreError(f"the database `{where}` cannot be opened ({error.strerror}); check its path") from error
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        fresh = _recognise(connection, path)
        if fresh:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        _use_wal(connection)
        # FULL makes COMMIT wait for the disk. Erasing relies on secure_delete, and on temporary data staying in memory.
        for pragma in ("synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, FAULTS):
            raise _unopened(error, path) from error
        raise
    return connection, fresh


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, usable while a writer is live. Raises as `connect_writer`, also when missing."""
    if not path.is_file():
        raise StoreError(f"there is no database at `{path}`; give its path with `--db`, or in FIDUCIAL_DB")
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        if _recognise(connection, path):
            raise StoreError(f"the database `{path}` is empty; nothing was recorded in it yet")
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, FAULTS):
            raise _unopened(error, path) from error
        raise
    return connection


def _unopened(error: sqlite3.Error | UnicodeDecodeError, path: Path | None) -> StoreError:
    """As `translate`; a file that is no database, and beside which nothing speaks of a log, is none that is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    beside = path is not None and path.with_name(path.name + ".checkpoint").exists()
    if code == sqlite3.SQLITE_NOTADB and not beside:
        return StoreError(f"`{path}` is not a ledger, nor any other database; give the path of one")
    return translate(error, ":memory:" if path is None else str(path))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Set the journal's mode. SQLite does not wait for another process in this, whatever the timeout."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _recognise(connection: sqlite3.Connection, path: Path | None) -> bool:
    """True when the database is new and empty. Raises when it is not one that this version can work with."""
    connection.execute(BEGIN_READ)
    try:
        # All three of one instant; the first is what begins it.
        (tables,) = connection.execute(COUNT_TABLES).fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        connection.execute(ROLLBACK)
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != APPLICATION_ID:
        raise StoreError(f"the database `{path}` is not Fiducial's; give another path, it would be overwritten")
    if version > SCHEMA_VERSION:
        raise TooNew(
            f"the database `{path}` has format {version}, this version of Fiducial knows {SCHEMA_VERSION}; "
            "upgrade Fiducial"
        )
    if version < 1 or not tables:
        raise Corrupt(f"the database `{path}` has no valid format number; restore it from a backup")
    wal = None if path is None else path.with_name(path.name + "-wal")
    if path is not None and not (wal is not None and wal.exists() and wal.stat().st_size):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        if path.stat().st_size < pages * page:
            raise Corrupt(
                f"the database `{path}` is cut short: {path.stat().st_size} of {pages * page} bytes; "
                "restore it from a backup"
            )
    _compare_schema(connection, path)
    return False


def _compare_schema(connection: sqlite3.Connection, path: Path | None) -> None:
    """Raises `Corrupt` unless the database has the tables, the view and the trigger of this format and no others.

    A trigger of somebody else's would change or drop what is written, within the transaction that keeps it.
    """
    found = set(connection.execute(SCHEMA).fetchall())
    for kind, name, *_ in sorted(found ^ _schema(), key=str):
        raise Corrupt(
            f"the {kind} `{name}` of the database `{path}` is missing, is not what this version makes, or is not "
            "Fiducial's; restore it from a backup"
        )


@cache
def _schema() -> frozenset[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        create_tables(connection)
        return frozenset(connection.execute(SCHEMA).fetchall())


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, within the caller's transaction."""
    for statement in TABLES.split(";"):
        connection.execute(statement)
    connection.execute(TRIGGER)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
