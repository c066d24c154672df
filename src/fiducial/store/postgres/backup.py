"""Backing up a store in PostgreSQL, and bringing it back: all tables as of one instant, in one file.

The file is a ZIP archive, so that other tools open it: `backup.json` says what it is of, `checkpoint` is its newest
tree head, and each table is as `COPY … (FORMAT binary)` writes it. What was still in the inbox is in it, signed, and
goes into the log after the restore. The signing key is not in it: keep that elsewhere.
"""

from __future__ import annotations

import os
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from fiducial.core.clock import SystemClock
from fiducial.core.event import LogRestored
from fiducial.errors import Corrupt, StoreError, TooNew
from fiducial.store import keyfile, restore, schema
from fiducial.store.backup import refuse_existing
from fiducial.store.checkpoint import Verifier
from fiducial.store.files import replacing
from fiducial.store.ledger import Ledger
from fiducial.store.postgres import migrate
from fiducial.store.postgres.link import Target, translate
from fiducial.store.postgres.sequencer import Sequencer
from fiducial.store.postgres.tables import BEGIN_WRITE, GATE, LOCK_GATE, LOCK_SEQUENCE, SEQUENCE, PostgresTables
from fiducial.store.reader import LogReader
from fiducial.store.restore import MARK, Made, Settle
from fiducial.store.verify import verify
from fiducial.store.watch import Pulse

TABLES: Final = {
    "meta": "name, value",
    "bundle": "first, count, root, signature, leaves, events, payloads",
    "lookup": "first, first_id, last_id, digests",
    "session": "session, first",
    "node": "level, start, hashes",
    "state": "key, value, version",
    "inbox": "id, writer, number, at, body, signature",
    "writer": "writer, number, signature",
}
"""Every table, with its columns."""
FORMAT: Final = "fiducial/backup/v1"
_MODE = 0o600
_CHUNK = 1024 * 1024
_PATIENCE = timedelta(days=1)
"""For one statement: copying a table takes as long as it takes."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`backup.json`."""

    format: str = FORMAT
    version: str
    """Of the tables: `fiducial.store.postgres.migrate.VERSION`."""
    made: Made


def back_up(target: Target, file: Path, *, at_us: int) -> Made:
    """Write the log at `target`, with its control state and inbox, to `file`. Raises `StoreError`."""
    refuse_existing(file)
    tables = _tables(target)
    try:
        migrate.need_tables(tables.link, target)
        tables.begin()
        # It closes the connection when it goes, so it stays until the end.
        ledger = Ledger(LogReader(tables))
        made, note = Made.of(ledger.reader, at_us), ledger.checkpoint()
        with replacing(file, mode=_MODE) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("backup.json", msgspec.json.encode(Manifest(version=migrate.VERSION, made=made)))
            archive.writestr("checkpoint", note)
            for table, columns in TABLES.items():
                with (
                    archive.open(f"{table}.copy", "w", force_zip64=True) as member,
                    tables.link.cursor().copy(f"COPY {table}({columns}) TO STDOUT (FORMAT binary)") as copy,
                ):
                    for data in copy:
                        member.write(data)
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    except OSError as error:
        raise StoreError(f"the backup `{file}` cannot be written ({error.strerror}); check its path") from error
    finally:
        tables.close()
    return made


def bring_back(
    file: Path, target: Target, *, settle: Settle, key_path: Path, by: str, why: str, at_us: int
) -> LogRestored:
    """Put what `back_up` wrote in place of the log at `target`, whatever is there, and record that.

    settle   `fiducial.console.restored.settle`: what may not go on as the backup has it

    The backup is verified before anything of it holds, and the key has to be there. Every store that is open stops.
    Raises `StoreError`, and the log is what it was, or says that it is a backup until this was done to the end.
    """
    restore.check_words(by, why)
    key = keyfile.read_key(key_path).verifier
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _manifest(archive, file)
            migrate.migrate(target)
            tables = _tables(target)
            try:
                reader = LogReader(tables)
                replaced = bool(reader.rows(schema.GET_META, "origin"))
                erased = restore.erased_since(reader, manifest.made) if replaced else []
                _replace(archive, tables, manifest, key)
                # What waited in the inbox goes in first: it was committed before the backup was made.
                sequencer = Sequencer(tables, lambda public: keyfile.signer_for(key_path, public))
                sequencer.drain()
                beside = key_path.with_suffix(".checkpoint")
                event = restore.record(sequencer.writer, manifest.made, beside, settle, by=by, why=why, at_us=at_us)
                restore.say_what_is_back(reader, erased)
                return event
            finally:
                tables.close()
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise Corrupt(f"the backup `{file}` cannot be read, or is damaged; take another one") from error


def _replace(archive: zipfile.ZipFile, tables: PostgresTables, manifest: Manifest, key: Verifier) -> None:
    """Everything in one transaction, which ends well only when the log verifies."""
    tables.execute(LOCK_GATE, GATE)
    tables.execute(BEGIN_WRITE)
    try:
        tables.execute(LOCK_SEQUENCE, SEQUENCE)
        tables.execute(f"TRUNCATE {', '.join(TABLES)}")
        for table, columns in TABLES.items():
            with (
                archive.open(f"{table}.copy") as member,
                tables.link.cursor().copy(f"COPY {table}({columns}) FROM STDIN (FORMAT binary)") as copy,
            ):
                while data := member.read(_CHUNK):
                    copy.write(data)
        tables.execute("SELECT setval(pg_get_serial_sequence('inbox', 'id'), coalesce(max(id), 0) + 1) FROM inbox")
        # Whoever has the store open finds another epoch, and stops.
        tables.run(schema.SET_META, "epoch", os.urandom(8).hex())
        tables.run(schema.SET_META, MARK, manifest.made.text())
        reader = LogReader(tables)
        restore.check_key(manifest.made, reader.meta("key"), key)
        verify(reader, key=key)
        if Made.of(reader, manifest.made.at_us) != manifest.made:
            raise Corrupt("the backup holds another log than it says; take another one")
        tables.commit()
    except BaseException:
        tables.roll_back()
        raise
    # The lock on the gate ends with the connection, or here.
    tables.execute("SELECT pg_advisory_unlock_all()")


def _manifest(archive: zipfile.ZipFile, file: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(archive.read("backup.json"), type=Manifest)
    except (KeyError, msgspec.MsgspecError, ValueError) as error:
        raise StoreError(
            f"`{file}` is not a backup that `fiducial store backup` made of a store in PostgreSQL"
        ) from error
    if manifest.format != FORMAT or manifest.version > migrate.VERSION:
        raise TooNew(f"the backup `{file}` was made by a newer version of Fiducial; upgrade Fiducial")
    if manifest.version < migrate.VERSION:
        raise StoreError(
            f"the backup `{file}` was made by version {manifest.version}; restore it with that, then migrate"
        )
    return manifest


def _tables(target: Target) -> PostgresTables:
    return PostgresTables(target, _PATIENCE, Pulse(SystemClock()))
