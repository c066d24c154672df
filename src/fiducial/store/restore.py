"""What a backup is to a log, and what brings it back, whichever database it is of.

A copy of the database that takes its place without a word is a rollback, whoever puts it there, and the checkpoint kept
beside the log says so. A backup that is brought back is not: it is marked as a backup, so no store goes on from it as
it is; `fiducial store restore` verifies it, puts it in place, and records who did that, why, and what was lost. Then
the mark goes, in the same transaction, which also changes what the control state says of things that may have happened
since the backup was made: what that is, `Settle` knows. Until then the log is not opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from fiducial.core.event import Entry, LogRestored, PayloadErased
from fiducial.core.ids import Digest, EventId, mint
from fiducial.core.store import Cell, Commit
from fiducial.errors import Corrupt, LedgerError, StoreError, WrongKey
from fiducial.store import owed, retained, schema
from fiducial.store.bundle import Prepared, prepare, records
from fiducial.store.checkpoint import Verifier
from fiducial.store.reader import LogReader
from fiducial.store.rows import Rows
from fiducial.store.writer import LogWriter

_log = logging.getLogger("fiducial.store")
MARK: Final = "backup"
"""Name, in `meta`, of the mark."""
MAX_WHY: Final = 500
"""Characters: `LogRestored.why`."""
Scan: TypeAlias = Callable[[str], Mapping[str, Cell]]
"""Every cell whose key starts with a prefix, as the backup has it."""


class Settle(Protocol):
    """Says what else is recorded and changed by the transaction that ends a restoring."""

    def __call__(self, scan: Scan, *, by: str, why: str, at_us: int) -> Commit:
        """`by`, `why` and `at_us`: of the restoring."""
        ...


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made: what it says of itself."""

    origin: str
    """The log's name."""
    size: int
    """Entries."""
    root: str
    """Root hash, hexadecimal."""
    at_us: int
    """When, microseconds since 1970 UTC."""

    @classmethod
    def of(cls, reader: LogReader, at_us: int) -> Made:
        """What there is to say of the log behind `reader` as it is now."""
        head = reader.head()
        return cls(origin=reader.meta("origin"), size=head.size, root=head.root.hex(), at_us=at_us)

    def text(self) -> str:
        """As it is kept."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> Made:
        """What `text` says. Raises `Corrupt`."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt("the mark of the backup is damaged; take another backup") from error


def refuse_backup(tables: Rows) -> None:
    """Raises `StoreError` when the database is a backup that was not, or not wholly, brought back."""
    if tables.fetch(schema.GET_META, (MARK,), None):
        raise StoreError(
            f"`{tables.where}` is a backup, or was being restored when that was cut off; "
            "run `fiducial store restore`, which records that it was restored"
        )


def check_words(by: str, why: str) -> None:
    """Raises `StoreError` unless somebody gives a reason."""
    if not why.strip() or len(why) > MAX_WHY:
        raise StoreError(f"say why the backup is restored, in 1 to {MAX_WHY} characters")
    if not by.strip():
        raise StoreError("say who restores the backup")


def check_key(made: Made, newest: str, key: Verifier) -> None:
    """Raises `WrongKey` unless the key at hand is the one that the backup's log goes on with."""
    if key.text != newest:
        raise WrongKey(
            f"the backup of `{made.origin}` goes on with the key `{newest}`, the key at hand is `{key.text}`; "
            "bring back the key that belongs to it first"
        )


def erased_since(replaced: LogReader, made: Made) -> list[Digest]:
    """Payloads that were erased from the log in `replaced` one by one since the backup of it was made.

    What retention erased is left out: it erases that again.
    """
    with replaced.snapshot():
        if replaced.meta("origin") != made.origin:
            return []
        return [
            record.event.payload
            for first in replaced.bundles_of("")
            if first >= made.size
            for record in records(replaced.bundle(first, payloads=False))
            if isinstance(record.event, PayloadErased)
        ]


def say_what_is_back(reader: LogReader, erased: Sequence[Digest]) -> None:
    """Warn of those payloads, erased from the log that was replaced, which are back in the one behind `reader`."""
    back = [each for each in erased if any(stored.data is not None for _, stored in reader.find_payloads(each))]
    if back:
        _log.warning(
            "payloads that were erased since the backup was made are back; erase them again (%d): %s",
            len(back), " ".join(back),
        )  # fmt: skip


def record(
    writer: LogWriter,
    made: Made,
    beside: Path,
    settle: Settle,
    *,
    by: str,
    why: str,
    at_us: int,
    exports: Sequence[tuple[str, int]] = (),
) -> LogRestored:
    """Settle the cells, record the restoring and remove the mark, in one transaction; move a checkpoint that is
    contradicted away.

    `exports`: files, and when they were exported, which the log that was replaced remembered; erasing reaches them on.
    """
    note = retained.load(beside)
    seen = 0
    if note is not None:
        with writer.reader.snapshot():
            try:
                checkpoint = retained.open_note(note, writer.reader.keys(), str(beside))
                seen = checkpoint.size
                retained.check(checkpoint, writer.reader, str(beside))
                seen = 0
            except LedgerError:
                # Also when it is of another log, or damaged: it is kept aside, and the log goes on without it.
                seen = seen or -1
    event = LogRestored(
        id=EventId(mint("evt", at_us // 1000)), session=None, at_us=at_us,
        size=made.size, root=made.root, seen=max(0, seen), by=by, why=why,
    )  # fmt: skip
    with writer.transaction():
        settled = prepare(settle(writer.reader.scan, by=by, why=why, at_us=at_us))
        for answer in writer.put([settled, Prepared([Entry(event)], own=True)]):
            if isinstance(answer, StoreError):
                raise answer
        for export in exports:
            writer.tables.run(schema.SET_EXPORT, *export)
        # The replaced log may have owed what it erased before the backup was made.
        owed.note(writer)
        writer.tables.run(schema.DROP_META, MARK)
    if seen:
        retained.reject(beside)
    retained.keep(beside, writer.note())
    return event
