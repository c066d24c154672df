"""Backing up a store in SQLite, and bringing it back.

A backup is a database of its own, one file, as of one instant, made while others go on writing. `fiducial log` reads
and verifies it like any other; a store refuses it. Its newest tree head lies beside it, as `<file>.checkpoint`. The
signing key is not in it: keep that elsewhere.

Bringing it back keeps one thing of the database that it replaces: which files were exported from it, so that erasing
still reaches them.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from fiducial.core.event import LogRestored
from fiducial.core.ids import Digest
from fiducial.errors import StoreError
from fiducial.store import keyfile, restore, retained, schema
from fiducial.store.files import sync_directory, write_atomically
from fiducial.store.ledger import Ledger
from fiducial.store.restore import MARK, Made, Settle
from fiducial.store.rows import SqliteTables
from fiducial.store.writer import SqliteWriter

_log = logging.getLogger("fiducial.store")
_MODE = 0o600
_EXPORTS = "SELECT path, at_us FROM export ORDER BY path"


def back_up(database: Path, target: Path, *, at_us: int) -> Made:
    """Write the log in `database`, with its control state, to the file `target`. Raises `StoreError`."""
    refuse_existing(target)
    scratch = target.with_name(f"{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        os.close(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
        with closing(schema.connect_reader(database)) as source, closing(sqlite3.connect(scratch)) as copy:
            copy.isolation_level = None
            source.backup(copy)
            # One file, without a -wal beside it.
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            with Ledger.open(scratch) as ledger:
                made, note = Made.of(ledger.reader, at_us), ledger.checkpoint()
            copy.execute(schema.SET_META, (MARK, made.text()))
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        write_atomically(retained.checkpoint_path(target), note, mode=0o644)
        scratch.replace(target)
        sync_directory(target.parent)
    except schema.FAULTS as error:
        raise schema.translate(error, str(database)) from error
    except OSError as error:
        raise StoreError(f"the backup `{target}` cannot be written ({error.strerror}); check its path") from error
    finally:
        scratch.unlink(missing_ok=True)
    return made


def bring_back(
    backup: Path, database: Path, *, settle: Settle, key_path: Path | None = None, by: str, why: str, at_us: int
) -> LogRestored:
    """Put what `back_up` wrote in place of `database`, whatever is there, and record that.

    settle   `fiducial.console.restored.settle`: what may not go on as the backup has it

    The backup is verified first, and the key has to be there. A store that has the database open stops.
    Raises `StoreError`, and the database is what it was, or says that it is a backup until this was done to the end.
    """
    restore.check_words(by, why)
    key_path = key_path or database.with_name(database.name + ".key")
    with Ledger.open(backup) as ledger:
        marks = ledger.reader.rows(schema.GET_META, MARK)
        if not marks:
            raise StoreError(f"`{backup}` is not a backup that `fiducial store backup` made; see `accept_rollback`")
        made = Made.parse(marks[0][0])
        key = keyfile.read_key(key_path).verifier
        restore.check_key(made, ledger.reader.meta("key"), key)
        ledger.verify(key=key)
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        replaced = _set_aside(database, made)
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
        with (
            closing(schema.connect_reader(backup)) as source,
            closing(sqlite3.connect(database, timeout=schema.BUSY_SECONDS)) as target,
        ):
            # One transaction on the target: whoever has it open sees the log before, or the one after.
            source.backup(target)
    except schema.FAULTS as error:
        raise schema.translate(error, str(database)) from error
    except OSError as error:
        raise StoreError(f"the database `{database}` cannot be written ({error.strerror}); check its path") from error
    connection, _ = schema.connect_writer(database)
    with closing(connection):
        writer = SqliteWriter(
            SqliteTables(connection, str(database)), lambda public: keyfile.signer_for(key_path, public)
        )
        event = restore.record(
            writer, made, retained.checkpoint_path(database), settle, by=by, why=why, at_us=at_us,
            exports=replaced.exports,
        )  # fmt: skip
        restore.say_what_is_back(writer.reader, replaced.erased)
    _aside(database).unlink(missing_ok=True)
    return event


class _Replaced(msgspec.Struct, frozen=True):
    """What is to be known of a database that is replaced."""

    exports: list[tuple[str, int]] = []
    """Files that were exported with payloads in them, and when."""
    erased: list[Digest] = []
    """See `restore.erased_since`."""


def _set_aside(database: Path, made: Made) -> _Replaced:
    """What the database says that is about to be replaced, kept in a file until that was done to the end: when it is
    cut off, the database may be the backup already.

    A damaged one may say nothing any more: then a warning tells what to do by hand.
    """
    aside = _aside(database)
    try:
        known = msgspec.json.decode(aside.read_bytes(), type=_Replaced) if aside.exists() else _Replaced()
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"`{aside}`, which a restore left that was cut off, is damaged; remove it") from error
    exports, erased = dict(known.exports), list(known.erased)
    if database.exists() and database.stat().st_size:
        try:
            with Ledger.open(database) as ledger:
                exports |= dict(ledger.reader.rows(_EXPORTS))
                erased += restore.erased_since(ledger.reader, made)
        except StoreError as error:
            _log.warning(
                "what the replaced database remembers cannot be read (%s): erase again what was erased since the "
                "backup was made, and delete the files that were exported since",
                error,
            )
    replaced = _Replaced([*exports.items()], erased)
    write_atomically(aside, msgspec.json.encode(replaced).decode(), mode=_MODE)
    return replaced


def _aside(database: Path) -> Path:
    return database.with_name(database.name + ".restoring")


def refuse_existing(target: Path) -> None:
    """Raises `StoreError` when there is something where a backup is to be written."""
    if target.exists():
        raise StoreError(f"`{target}` is there already; a backup does not replace anything, give another name")
    if not target.parent.is_dir():
        raise StoreError(f"there is no directory `{target.parent}`; make it")
