"""A witness: what it answers to a log that asks for a cosignature, and what it must never forget.

For each log that it knows, a witness keeps one thing: size and root of the largest tree that it cosigned. It cosigns a
checkpoint only when

1. it can be read, or the answer is 400;
2. its origin is that of a log it knows, or 404;
3. a key of that log signed it, and no signature by such a key is false, or 403;
4. the old size is at most the checkpoint's, or 400;
5. the old size is that of the tree it cosigned last (0 for none), or 409 and that size;
6. the proof shows that tree to be a prefix of this one, or 422; trees of one size need the same root, or 409;
7. the new size and root are on disk, compared and set in one transaction.

So no two trees that it ever cosigned are inconsistent, whatever the log sends and whenever the witness is killed. The
time in a cosignature is taken inside the transaction, when nothing larger had been seen.

Key and memory are one file: a witness that has lost what it saw must not go on under the same key. For the same reason
the file must never be restored from a copy; a new witness under a new key is made instead.

Source: https://c2sp.org/tlog-witness.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from fiducial.core.clock import Clock, SystemClock
from fiducial.errors import Corrupt, StoreClosed, StoreError, WrongKey
from fiducial.store.checkpoint import Checkpoint, Signer, Verifier, peek, split_note
from fiducial.store.files import sync_directory
from fiducial.store.merkle import EMPTY_ROOT, verify_consistency
from fiducial.store.published.cosign import Cosigner, WitnessKey
from fiducial.store.published.submission import SIZE_TYPE, Submission, parse

_SCHEMA = """
CREATE TABLE witness (key TEXT NOT NULL) STRICT;
CREATE TABLE seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""
_GET = "SELECT size, root FROM seen WHERE origin = ?"
_SET = "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root"
_PLAIN = "text/plain; charset=utf-8"
_PATIENCE = 30.0
"""Seconds to wait for another process that holds the state."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_log = logging.getLogger("fiducial.witness")


class Answer(NamedTuple):
    """What an `add-checkpoint` request is answered with."""

    status: int
    """Of HTTP; 200 when it is cosigned."""
    text: str
    """The signature line, the size, or what is wrong; ends with a newline."""
    content_type: str = _PLAIN
    """`text/x.tlog.size` when `text` is a size."""


class Witness:
    """Cosigns the checkpoints of the logs it knows. Usable from any thread, and by several processes on one file."""

    def __init__(
        self, path: Path, logs: Iterable[Verifier], *, name: str | None = None, clock: Clock | None = None
    ) -> None:
        """Opens the state in `path`; makes it, with a fresh key, when there is none.

        `logs` are the public keys of the logs to cosign, several for a log whose key was rotated. `name` is the
        witness's own, a URL without its scheme; without it, one is made up.

        Raises `StoreError` when the state cannot be read or others may read it, `WrongKey` when it is of another name.
        """
        self._logs: dict[str, list[Verifier]] = {}
        for log in logs:
            self._logs.setdefault(log.name, []).append(log)
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._where = str(path)
        if not path.exists():
            _make(path, name or f"fiducial.local/witness/{os.urandom(8).hex()}")
        if path.stat().st_mode & _OTHERS:
            raise StoreError(f"the witness's state `{path}` holds its key and may be read by others; `chmod 600` it")
        self._connection: sqlite3.Connection | None = _connect(path)
        try:
            row = self._connection.execute("SELECT key FROM witness").fetchone()
            if row is None:
                raise Corrupt(f"the witness's state `{path}` holds no key; start a new witness with another file")
            self._cosigner = Cosigner(Signer.parse(row[0]))
            if name is not None and name != self.key.name:
                raise WrongKey(f"the witness in `{path}` is named `{self.key.name}`, not `{name}`")
        except sqlite3.Error as error:
            self.close()
            raise _fault(path, error) from error
        except BaseException:
            self.close()
            raise

    @property
    def key(self) -> WitnessKey:
        """What others verify its cosignatures with."""
        return self._cosigner.key

    def close(self) -> None:
        """Let go of the state."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_checkpoint(self, request: bytes) -> Answer:
        """The answer to the body of an `add-checkpoint` request. Raises `StoreError` when the state fails."""
        try:
            submission = parse(request)
            claimed = peek(submission.note)
        except Corrupt as error:
            return Answer(400, f"{error}\n")
        keys = self._logs.get(claimed.origin)
        if keys is None:
            return Answer(404, "this witness does not know that log\n")
        checkpoint = _signed(submission.note, keys)
        if checkpoint is None:
            return Answer(403, "no key that this witness knows of that log has signed the checkpoint\n")
        if submission.old > checkpoint.size:
            return Answer(400, "the old size is larger than the checkpoint\n")
        found = self._advance(submission, checkpoint)
        if isinstance(found, Answer):
            if found.content_type != SIZE_TYPE:
                # Signed and not consistent: whoever reads this may hold proof that the log forks.
                _log.warning("refused, %d: %r", found.status, submission.note)
            return found
        # The whole text is signed, with the extension lines that a checkpoint may have.
        return Answer(200, self._cosigner.cosign(split_note(submission.note)[0], found))

    def _advance(self, submission: Submission, checkpoint: Checkpoint) -> Answer | int:
        """Remember `checkpoint` as the largest seen; the time at which it was, in seconds, or why it is refused."""
        with self._lock:
            if self._connection is None:
                raise StoreClosed(f"the witness's state `{self._where}` is closed")
            try:
                # Takes the lock against other processes before it reads, and ends the transaction however it leaves.
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    row = self._connection.execute(_GET, (checkpoint.origin,)).fetchone()
                    refused = _judge(submission, checkpoint, *(row or (0, EMPTY_ROOT)))
                    if refused is not None:
                        return refused
                    if row != checkpoint[1:]:
                        self._connection.execute(_SET, checkpoint)
                    return self._clock.unix_us() // 1_000_000
            except sqlite3.Error as error:
                raise _fault(Path(self._where), error) from error


def _signed(note: str, keys: Iterable[Verifier]) -> Checkpoint | None:
    found = None
    for key in keys:
        try:
            found = key.open(note)
        except WrongKey:
            continue
        except Corrupt:
            return None
    return found


def _judge(submission: Submission, checkpoint: Checkpoint, size: int, root: bytes) -> Answer | None:
    """Why the tree of `size` and `root`, cosigned last, does not lead to `checkpoint`; `None` when it does."""
    if submission.old != size:
        return Answer(409, f"{size}\n", SIZE_TYPE)
    if checkpoint.size == size and not submission.proof:
        return None if checkpoint.root == root else Answer(409, "another tree of that size was cosigned\n")
    if size == 0:
        return Answer(422, "there is no proof from an empty tree\n") if submission.proof else None
    try:
        verify_consistency(size, root, checkpoint.size, checkpoint.root, submission.proof)
    except Corrupt as error:
        return Answer(422, f"{error}\n")
    return None


def _make(path: Path, name: str) -> None:
    """A state with a fresh key at `path`; of several processes at once, all get the first one's."""
    scratch = path.with_name(f"{path.name}.{os.urandom(4).hex()}.new")
    try:
        signer = Signer.generate(name)
        os.close(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(_connect(scratch)) as connection, connection:
            connection.executescript(f"BEGIN;{_SCHEMA}")
            connection.execute("INSERT INTO witness VALUES (?)", (signer.secret(),))
        os.link(scratch, path)
    except FileExistsError:
        pass
    except (OSError, sqlite3.Error) as error:
        raise _fault(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)
    sync_directory(path.parent)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
    try:
        # EXTRA also syncs the directory after the journal is deleted: only then is a commit there after a power cut.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
    except sqlite3.Error as error:
        connection.close()
        raise _fault(path, error) from error
    return connection


def _fault(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"the witness's state `{path}` cannot be used ({error}); when it is lost, start a new witness with another file"
    )
