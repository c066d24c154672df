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
from collections.abc import Sequence
from itertools import chain

import msgspec

from fiducial.errors import Corrupt, StoreError
from fiducial.store.bundle import Index, Prepared
from fiducial.store.checkpoint import Verifier


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """What one transaction adds to the log: `fiducial.store.bundle.Index` of all its commits."""

    events: list[bytes]
    leaves: list[bytes]
    ids: list[str]
    sessions: list[str]
    payloads: list[bytes]
    digests: bytes

    @classmethod
    def of(cls, batch: Sequence[Prepared]) -> Parcel:
        """The events of `batch`, in order; possibly none."""
        indexes = [prepared.indexed() for prepared in batch]
        return cls(
            events=list(chain.from_iterable(prepared.events for prepared in batch)),
            leaves=list(chain.from_iterable(index.leaves for index in indexes)),
            ids=list(chain.from_iterable(index.ids for index in indexes)),
            sessions=sorted(set().union(*[index.sessions for index in indexes])),
            payloads=list(chain.from_iterable(index.payloads for index in indexes)),
            digests=b"".join([index.digests for index in indexes]),
        )

    def indexed(self) -> Index:
        """For `fiducial.store.writer.LogWriter.extend`."""
        return Index(self.leaves, self.ids, set(self.sessions), self.payloads, self.digests)


EMPTY = Parcel([], [], [], [], [], b"")
"""Of a transaction that only changed state."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parcel).decode


def check_text(batch: Prepared) -> None:
    """Raises `StoreError` for names that hold a NUL, which no text in PostgreSQL may."""
    index = batch.indexed()
    names = [*index.ids, *index.sessions, *(change.key for change in batch.changes)]
    for precondition in batch.preconditions:
        names += getattr(precondition, "keys", None) or [getattr(precondition, "key", "")]
    if any("\0" in name for name in names):
        raise StoreError("an id or a key holds a NUL character; a store in PostgreSQL cannot keep it")


def seal(parcel: Parcel) -> bytes:
    """The bytes of `parcel`."""
    return _encode(parcel)


def statement(origin: str, writer: str, number: int, body: bytes) -> str:
    """The text that is signed for the parcel with those bytes."""
    return f"fiducial inbox v1\n{origin}\n{writer}\n{number}\n{hashlib.sha256(body).hexdigest()}\n"


def progress(origin: str, writer: str, number: int) -> str:
    """The text that is signed once the log holds a process's first `number` transactions."""
    return f"fiducial writer v1\n{origin}\n{writer}\n{number}\n"


def unseal(body: bytes, signature: bytes, key: Verifier, writer: str, number: int) -> Parcel:
    """The parcel, once it is shown to be what that process committed. Raises `Corrupt`."""
    try:
        key.verify(statement(key.name, writer, number, body), signature)
        return _decode(body)
    except (Corrupt, msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(
            f"transaction {number} of `{writer}` waits in the inbox and is not what was committed: somebody changed "
            "the database, or another key wrote it; nothing of it went into the log"
        ) from error
