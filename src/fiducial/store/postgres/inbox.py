"""What stands between a commit and the log: one signed parcel a transaction.

Whoever may write to the database but has no key must not be able to put anything into the log, to repeat anything or
to take anything away unseen, and the inbox is a table like others. So the process that commits signs its parcel with
the log's key, and numbers it: each process counts its transactions from 1, under a name that it draws when it opens
the store. The sequencer takes up a parcel only when its signature fits and its number is the next one of its process,
and signs how far it has come.

What is signed is text of five lines. The first tells it from every checkpoint, whose first line is a log's name.

    fiducial inbox v1            or `fiducial writer v1`, without the last line
    <origin>
    <writer>
    <number>
    <SHA-256 of the parcel's bytes, hexadecimal>
"""

from __future__ import annotations

import hashlib

import msgspec

from fiducial.errors import Corrupt, StoreError
from fiducial.store.bundle import Part, Prepared
from fiducial.store.checkpoint import Verifier

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Part).decode


def check_text(batch: Prepared) -> None:
    """Raises `StoreError` for names that hold a NUL, which no text in PostgreSQL may."""
    part = batch.part()
    names = [part.first_id, part.last_id, *part.sessions, *(change.key for change in batch.changes)]
    for precondition in batch.preconditions:
        names += getattr(precondition, "keys", None) or [getattr(precondition, "key", "")]
    if any("\0" in name for name in names):
        raise StoreError("an id or a key holds a NUL character; a store in PostgreSQL cannot keep it")


def seal(parcel: Part) -> bytes:
    """The bytes of `parcel`."""
    return _encode(parcel)


def statement(origin: str, writer: str, number: int, body: bytes) -> str:
    """The text that is signed for the parcel with those bytes."""
    return f"fiducial inbox v1\n{origin}\n{writer}\n{number}\n{hashlib.sha256(body).hexdigest()}\n"


def progress(origin: str, writer: str, number: int) -> str:
    """The text that is signed once the log holds a process's first `number` transactions."""
    return f"fiducial writer v1\n{origin}\n{writer}\n{number}\n"


def unseal(body: bytes, signature: bytes, key: Verifier, writer: str, number: int) -> Part:
    """The parcel, once it is shown to be what that process committed. Raises `Corrupt`."""
    try:
        key.verify(statement(key.name, writer, number, body), signature)
        return _decode(body)
    except (Corrupt, msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(
            f"transaction {number} of `{writer}` waits in the inbox and is not what was committed: somebody changed "
            "the database, or another key wrote it; nothing of it went into the log"
        ) from error
