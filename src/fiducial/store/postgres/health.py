"""What can be wrong with a store in PostgreSQL beside its log: the server's settings, and what waits in the inbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import psycopg

from fiducial.errors import Corrupt
from fiducial.store.postgres import inbox, migrate
from fiducial.store.postgres.link import Target, translate
from fiducial.store.postgres.tables import PostgresRows
from fiducial.store.reader import LogReader

_SETTINGS: Final = (
    ("fsync", "off", "the server does not write to disk before it answers: a power cut loses or damages the log"),
    ("full_page_writes", "off", "the server may leave half-written pages after a power cut"),
    ("data_checksums", "off", "the server does not notice when its disk changes what it stored"),
)
_WAITING: Final = "SELECT id, writer, number, extract(epoch FROM clock_timestamp() - at)::float8 FROM inbox ORDER BY id"
_PARCEL: Final = "SELECT body, signature FROM inbox WHERE id = $1"
_PATIENCE: Final = timedelta(seconds=30)


def look(target: Target, stuck: timedelta) -> tuple[int, list[tuple[str, str]]]:
    """How many parcels wait, and what is wrong: each with what to do about it. Raises `StoreError`."""
    found: list[tuple[str, str]] = []
    rows = PostgresRows(target, _PATIENCE)
    try:
        migrate.need_tables(rows.link, target)
        for name, bad, meaning in _SETTINGS:
            ((value,),) = rows.fetch(f"SHOW {name}", (), None)
            if value == bad:
                found.append((f"{name} is {bad}: {meaning}", f"turn {name} on"))
        rows.begin()
        key = LogReader(rows).keys()[-1]
        waiting = rows.fetch(_WAITING, (), None)
        for ident, writer, number, seconds in waiting:
            if seconds > stuck.total_seconds() and not any("waits" in what for what, _ in found):
                found.append((
                    f"transaction {number} of `{writer}` waits in the inbox for {seconds:.0f} s",
                    "open the store with its key: any process that has it puts the inbox into the log",
                ))  # fmt: skip
            ((body, signature),) = rows.fetch(_PARCEL, (ident,), None)
            try:
                inbox.unseal(body, signature, key, writer, number)
            except Corrupt as error:
                found.append((str(error), "find out who writes to the database; restore a backup"))
        return len(waiting), found
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    finally:
        rows.close()
