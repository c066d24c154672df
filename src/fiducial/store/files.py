"""Small files beside the database, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
