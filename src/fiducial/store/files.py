"""Small files beside the database, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fiducial.errors import StoreBusy


@contextmanager
def replacing(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """A file to write; it takes the place of `path` when the block ends well, durably, and vanishes when it does not.

    Readers see the old file or the new one, whole. `mode` is its permissions.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextmanager
def drafting(draft: Path, *, mode: int, seconds: float) -> Iterator[BinaryIO]:
    """The empty file `draft`, to write what takes another's place (`put_in_place`), and in the end gone.

    One process at a time is within one of the same path. Who was killed there leaves the file, unlocked, and the next
    one empties it. Raises `StoreBusy` when it is not free within that many `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            if take_lock(descriptor, deadline):
                if not _is_at(descriptor, draft):
                    continue  # put in place, or removed, while this waited
                try:
                    file.truncate(0)
                    yield file
                finally:
                    # Once it is in its place, another may have begun one of this name.
                    if _is_at(descriptor, draft):
                        draft.unlink()
                return
        raise StoreBusy(f"`{draft}` is being written; wait for that, or end it, and try again")


def put_in_place(file: BinaryIO, draft: Path, path: Path) -> None:
    """Have `file`, which is at `draft`, take the place of `path`, whole and durably."""
    file.flush()
    os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def take_lock(descriptor: int, deadline: float, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock the file; false when somebody else still has it at `deadline`, on the monotonic clock.

    A process that is stopped keeps what it has locked, so whoever waited for it without end would be stopped with it.
    """
    pause = 0.000_2
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write_atomically(path: Path, text: str, *, mode: int) -> None:
    """Replace `path` by a file with `text`, durably."""
    with replacing(path, mode=mode) as file:
        file.write(text.encode())


def write_once(path: Path, text: str, *, mode: int) -> None:
    """Make a file `path` with `text`, durably; when one is there already, it stays as it is."""
    if path.exists():
        return
    scratch = path.with_name(f"{path.name}.{os.urandom(4).hex()}.new")
    write_atomically(scratch, text, mode=mode)
    try:
        # Unlike renaming, linking does not replace what somebody else just put there.
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
    sync_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within it, no other process is within one of the same `path`, a file that is made for it and stays empty."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make the directory `path` and those above it, durably, if they are not there."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames within `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
