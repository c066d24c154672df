"""The checkpoint kept beside the database: what tells a restored backup from the log that was there before.

Whoever puts an older copy of the database in its place also undoes the signatures in it, so nothing inside it can give
that away. The largest checkpoint ever seen is kept in a file of its own (`<database>.checkpoint`), replaced whole, and
the log has to contain it as a prefix whenever it is opened. Keep a copy of that file elsewhere to hold the log to it
even against somebody who can write both.
"""

from __future__ import annotations

from pathlib import Path

from fiducial.core.event import Entry, RollbackAccepted
from fiducial.core.ids import EventId, mint
from fiducial.errors import Corrupt, RolledBack, StoreError, WrongKey
from fiducial.store.checkpoint import Checkpoint, Verifier, peek
from fiducial.store.files import write_atomically
from fiducial.store.reader import LogReader
from fiducial.store.writer import LogWriter


def checkpoint_path(database: Path) -> Path:
    """Where the checkpoint of `database` is kept."""
    return database.with_name(database.name + ".checkpoint")


def load(path: Path) -> str | None:
    """The text in `path`; `None` when there is no such file. Raises `StoreError` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the checkpoint `{path}` cannot be read; check its permissions") from error


def keep(path: Path, text: str) -> None:
    """Keep the signed note `text` in `path`, unless a larger one is there."""
    old = load(path)
    if old is not None and peek(old).size > peek(text).size:
        return
    write_atomically(path, text, mode=0o644)


def open_note(text: str, keys: list[Verifier], where: str) -> Checkpoint:
    """The checkpoint in a signed note by any of a log's `keys`. Raises `WrongKey` or `Corrupt`."""
    try:
        claimed = peek(text)
        for key in reversed(keys):
            try:
                return key.open(text)
            except WrongKey:
                continue
    except Corrupt as error:
        raise Corrupt(f"the checkpoint `{where}`: {error}") from error
    raise WrongKey(
        f"the checkpoint `{where}` of `{claimed.origin}` is not signed by any key of this log; "
        "it belongs to another log, or this log was replaced"
    )


def signed_by(text: str, key: Verifier) -> bool:
    """Whether a signed note carries a valid signature by `key`."""
    try:
        key.open(text)
    except (WrongKey, Corrupt):
        return False
    return True


def check(checkpoint: Checkpoint, reader: LogReader, where: str) -> None:
    """Raises `RolledBack` unless the log contains `checkpoint` as a prefix."""
    size = reader.head().size
    if size < checkpoint.size:
        raise RolledBack(
            f"the log has {size} entries, the checkpoint `{where}` has seen {checkpoint.size}: an older copy was put "
            "in its place; bring back the newer one, or accept the loss by opening it with `accept_rollback`"
        )
    if checkpoint.size and reader.subtrees(size).span(0, checkpoint.size) != checkpoint.root:
        raise RolledBack(
            f"the first {checkpoint.size} entries are not those that the checkpoint `{where}` has seen: the log was "
            "rewritten, or went on from an older copy; bring back the other one, or accept the loss by opening it "
            "with `accept_rollback`"
        )


def hold_to(text: str, beside: Path, writer: LogWriter, accept_rollback: bool, at_us: int) -> None:
    """Check the log against the signed note `text`, kept in `beside`; go on from an older log only when told to.

    Then the loss is recorded in the log, and the checkpoint moved to `.rejected`. Raises as `check` and `open_note`.
    """
    with writer.reader.snapshot():
        checkpoint = open_note(text, writer.reader.keys(), str(beside))
        try:
            check(checkpoint, writer.reader, str(beside))
            return
        except RolledBack:
            if not accept_rollback:
                raise
    event = RollbackAccepted(
        id=EventId(mint("evt", at_us // 1000)), session=None, at_us=at_us,
        seen=checkpoint.size, root=checkpoint.root.hex(),
    )  # fmt: skip
    with writer.transaction():
        writer.append(Entry(event))
    reject(beside)


def reject(beside: Path) -> None:
    """Move the checkpoint in `beside` out of the way, for whoever wants to know what was lost."""
    beside.replace(beside.with_name(beside.name + ".rejected"))
