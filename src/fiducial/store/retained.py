"""The checkpoint kept beside the database: what tells a restored backup from the log that was there before.

Whoever puts an older copy of the database in its place also undoes the signatures in it, so nothing inside it can give
that away. The largest checkpoint ever seen is kept in a file of its own (`<database>.checkpoint`), replaced whole, and
the log has to contain it as a prefix whenever it is opened. It is made before the log is, and a log whose checkpoint is
missing is not opened. Keep a copy of it elsewhere to hold the log to it even against somebody who can write both.

A writer advances it with every transaction, in place: a write to the file, for which nobody waits at the disk. So it
may be behind after a power failure, by what was not yet written back, and never after a process was killed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fiducial.core.event import Entry, RollbackAccepted
from fiducial.core.ids import EventId, mint
from fiducial.errors import Corrupt, RolledBack, StoreBusy, StoreError, WrongKey
from fiducial.store.checkpoint import Checkpoint, Signer, Verifier, note, peek
from fiducial.store.files import take_lock, write_atomically, write_once
from fiducial.store.merkle import Tree
from fiducial.store.reader import LogReader
from fiducial.store.writer import LogWriter

try:
    from fiducial.store._overwrite import overwrite
except ImportError:

    def overwrite(descriptor: int, old: bytes, new: bytes) -> bool:
        """Not compiled: whoever asks goes the longer way."""
        return False


_MODE = 0o644
_MAX_BYTES = 1_000_000
"""More than any checkpoint has, cosigned by however many."""
PATIENCE_SECONDS = 30.0
"""Until another process that has the checkpoint locked counts as stuck: as long as the database is waited for."""


def checkpoint_path(database: Path) -> Path:
    """Where the checkpoint of `database` is kept."""
    return database.with_name(database.name + ".checkpoint")


def load(path: Path) -> str | None:
    """The text in `path`; `None` when there is no such file.

    Raises `StoreError` when it cannot be read, `StoreBusy` when another process keeps it locked.
    """
    try:
        with path.open("rb") as file:
            # Whoever overwrites it holds the lock: what is read is one note, whole.
            _lock(file.fileno(), path, fcntl.LOCK_SH)
            return file.read().decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the checkpoint `{path}` cannot be read; check its permissions") from error


def begin(path: Path, signer: Signer) -> None:
    """Keep the checkpoint of an empty log in `path`, if there is none: from here on one has to be there."""
    empty = Checkpoint(signer.verifier.name, 0, Tree().root())
    write_once(path, note(empty, signer.verifier, signer.sign(empty.body())), mode=_MODE)


def keep(path: Path, text: str) -> None:
    """Keep the signed note `text` in `path`, durably, unless a larger one is there."""
    with _locked(path) as old:
        if old is None or peek(old).size <= peek(text).size:
            write_atomically(path, text, mode=_MODE)


class Beside:
    """The file of a checkpoint, held open by the one writer that advances it with every transaction.

    A system call in Python lets the other threads run and has to wait for its turn again, which costs more than the
    call: so the file stays open, is looked up by its name only when it was replaced, and overwriting what this writer
    wrote last is one compiled call (`_overwrite.pyx`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._written = b""

    def keep(self, text: str) -> None:
        """See `keep`."""
        self.close()
        keep(self._path, text)

    def advance(self, text: str) -> None:
        """As `keep`, without waiting for the disk."""
        data = text.encode()
        if overwrite(self._descriptor, self._written, data):
            self._written = data
            return
        while self._descriptor >= 0 or self._open():
            # Until it is unlocked or closed, nobody else changes it.
            _lock(self._descriptor, self._path)
            try:
                status = os.fstat(self._descriptor)
                if status.st_nlink:
                    self._advance(data, os.pread(self._descriptor, min(status.st_size, _MAX_BYTES), 0))
                    return
                self.close()  # replaced meanwhile
            finally:
                if self._descriptor >= 0:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        write_atomically(self._path, text, mode=_MODE)

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> bool:
        self._descriptor = _descriptor(self._path)
        return self._descriptor >= 0

    def _advance(self, data: bytes, old: bytes) -> None:
        # What this writer wrote last is smaller than what it writes now; anybody else's has to be read.
        if old != self._written and peek(_text(old, self._path)).size >= peek(data.decode()).size:
            return
        if len(old) != len(data) or os.pwrite(self._descriptor, data, 0) != len(data):
            # Only a file of the same length can be overwritten so that no crash leaves half of each.
            write_atomically(self._path, data.decode(), mode=_MODE)
        self._written = data


@contextmanager
def _locked(path: Path) -> Iterator[str | None]:
    """The text of a checkpoint, which nobody else changes meanwhile; `None` when there is none."""
    while True:
        descriptor = _descriptor(path)
        if descriptor < 0:
            yield None
            return
        try:
            _lock(descriptor, path)
            if not _is_at(descriptor, path):
                continue  # replaced while this waited for the lock
            yield _text(os.pread(descriptor, _MAX_BYTES, 0), path)
            return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, path: Path, kind: int = fcntl.LOCK_EX) -> None:
    if not take_lock(descriptor, time.monotonic() + PATIENCE_SECONDS, kind):
        raise StoreBusy(
            f"another process has kept the checkpoint `{path}` locked for {PATIENCE_SECONDS:g} s, and may have been "
            "stopped there; end it, or let it go on. What was being written meanwhile may have been kept"
        )


def _descriptor(path: Path) -> int:
    """The file, to read and write; -1 when there is none."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise StoreError(f"the checkpoint `{path}` cannot be written ({error.strerror})") from error


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Corrupt(f"the checkpoint `{path}` is no text; restore it from a backup") from error


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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


def missing(beside: Path, writer: LogWriter, accept_rollback: bool, at_us: int) -> None:
    """Go on from a log whose checkpoint is not in `beside`, only when told to; then that is recorded in the log.

    Raises `RolledBack`.
    """
    if not accept_rollback:
        raise RolledBack(
            f"the checkpoint `{beside}` is missing: without it nobody can tell whether this is the newest copy of the "
            "log; bring it back, or accept what may be lost by opening it with `accept_rollback`"
        )
    event = RollbackAccepted(
        id=EventId(mint("evt", at_us // 1000)), session=None, at_us=at_us, seen=0, root=Tree().root().hex(),
    )  # fmt: skip
    with writer.transaction():
        writer.append(Entry(event))
    keep(beside, writer.note())


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
    keep(beside, writer.note())


def reject(beside: Path) -> None:
    """Move the checkpoint in `beside` out of the way, for whoever wants to know what was lost."""
    beside.replace(beside.with_name(beside.name + ".rejected"))
