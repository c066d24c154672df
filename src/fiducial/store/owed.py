"""What erasing still owes: bytes that may stand in the write-ahead log or in an export, though the log says "erased".

The transaction that erases notes it in `meta`, and it is struck out once they are gone. So it outlasts a process that
is killed in between, and a reader that holds on to the write-ahead log.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from fiducial.store import schema
from fiducial.store.reader import LogReader
from fiducial.store.writer import LogWriter

OWED: Final = "scrub"
"""In `meta`: another value for each transaction that erased; no row when nothing is owed."""


def note(writer: LogWriter) -> None:
    """Something was erased, within the caller's transaction."""
    writer.tables.run(schema.SET_META, OWED, os.urandom(8).hex())


def owed(reader: LogReader) -> str | None:
    """What is owed; `None` when nothing is."""
    row = reader.one(schema.GET_META, OWED)
    return None if row is None else str(row[0])


def pay(writer: LogWriter, scrub: Callable[[], None]) -> None:
    """Remove by `scrub` what erasures left behind. Raises `StoreError`, and then it stays owed."""
    debt = owed(writer.reader)
    scrub()
    strike_out(writer, debt)


def strike_out(writer: LogWriter, debt: str | None) -> None:
    """What `owed` said is gone; what was erased since then stays owed."""
    if debt is None:
        return
    with writer.transaction():
        if owed(writer.reader) == debt:
            writer.tables.run(schema.DROP_META, OWED)
