"""Captures of files: existence, content, mode and owner, put back in one step.

    guard = Guard(charter, captures={"files": Files("/srv/notes")})

Argument: `path`, absolute within the root or relative to it. No part of it may be a symbolic link or `..`: every
directory is opened below the one before it, so that nobody can move the path away while it is used. A file with
several names is refused, because replacing it would tear them apart. Extended attributes and times are not kept.

A file is put back by replacing it with a finished copy. What another process writes between the last look and that
moment is lost: there is no lock on a file that everybody honours.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.ids import Digest
from fiducial.errors import CaptureError, ChangedSince
from fiducial.guard.compensation import Snapshot

MAX_BYTES = 8 * 1024 * 1024
"""Default bound on a captured file: a before-image is kept in the ledger, where it weighs a third more."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1024 * 1024
_MAX_NAME = 255
"""Bytes: longest name of a file (NAME_MAX of Linux and its file systems)."""


class _There(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="file"):
    content: str
    """Base 64."""
    mode: int
    owner: tuple[int, int]
    """User and group."""


class _Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="absent"):
    pass


class _Place(msgspec.Struct, frozen=True):
    """Where a path leads."""

    directory: int
    """Descriptor of the directory that holds it; -1 when that is missing."""
    name: str
    missing: tuple[str, ...]
    """Directories of the path that do not exist, outermost first, relative to the root."""


class Files:
    """Files below one directory: a `fiducial.guard.compensation.Capture`."""

    def __init__(self, root: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> None:
        """`root` has to exist. `max_bytes`: a larger file cannot be captured."""
        self._given = Path(os.path.abspath(root))
        self._root = self._given.resolve(strict=True)
        self._max_bytes = max_bytes

    def take(self, arguments: Mapping[str, Any]) -> Snapshot:
        """The state of the file at `path`."""
        with _translated(), self._place(arguments) as place:
            return Snapshot(msgspec.to_builtins(self._state(place)), list(place.missing))

    def restore(self, arguments: Mapping[str, Any], before: Snapshot, after: Digest | None) -> None:
        """Put the file at `path` back as it was; a file that was not there is removed, with directories made for it."""
        try:
            wanted: _There | _Absent = msgspec.convert(before.state, _There | _Absent)
            missing = msgspec.convert(before.aside, tuple[str, ...])
        except msgspec.ValidationError as error:
            raise CaptureError("what was kept is no state of a file") from error
        with _translated(), self._place(arguments) as place:
            if after is not None and digest(msgspec.to_builtins(self._state(place))) != after:
                raise ChangedSince("the file has been changed since")
            if isinstance(wanted, _There):
                if place.directory < 0:
                    raise CaptureError("the directory that held the file is gone")
                _replace(place, wanted)
                return
            if place.directory >= 0:
                with suppress(FileNotFoundError):
                    os.unlink(place.name, dir_fd=place.directory)
                os.fsync(place.directory)
        self._remove(missing)

    def _parts(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        path = arguments.get("path")
        if set(arguments) != {"path"} or not isinstance(path, str) or not path or "\0" in path:
            raise CaptureError("the capture of a file takes one argument, `path`, a text")
        pure = PurePosixPath(path)
        if pure.is_absolute():
            root = next((root for root in (self._root, self._given) if pure.is_relative_to(root)), None)
            if root is None:
                raise CaptureError("the path leads out of the directory whose files are captured")
            pure = pure.relative_to(root)
        if not pure.parts or ".." in pure.parts:
            raise CaptureError("the path names no file below the directory whose files are captured")
        return pure.parts

    @contextmanager
    def _place(self, arguments: Mapping[str, Any]) -> Iterator[_Place]:
        parts = self._parts(arguments)
        directory = os.open(self._root, _DIRECTORY)
        try:
            for depth, part in enumerate(parts[:-1]):
                try:
                    inner = os.open(part, _DIRECTORY, dir_fd=directory)
                except FileNotFoundError:
                    missing = tuple("/".join(parts[: end + 1]) for end in range(depth, len(parts) - 1))
                    yield _Place(-1, parts[-1], missing)
                    return
                os.close(directory)
                directory = inner
            yield _Place(directory, parts[-1], ())
        finally:
            os.close(directory)

    def _state(self, place: _Place) -> _There | _Absent:
        if place.directory < 0:
            return _Absent()
        try:
            file = os.open(place.name, _READ, dir_fd=place.directory)
        except FileNotFoundError:
            return _Absent()
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise CaptureError("the path names something else than a file")
            if found.st_nlink > 1:
                raise CaptureError("the file has several names (hard links), which could not be kept together")
            content = bytearray()
            while len(content) <= self._max_bytes and (read := os.read(file, _CHUNK)):
                content += read
            if len(content) > self._max_bytes:
                raise CaptureError(f"the file is larger than the {self._max_bytes} bytes that are captured")
            again = os.fstat(file)
            if (again.st_size, again.st_mtime_ns) != (found.st_size, found.st_mtime_ns) or len(
                content
            ) != found.st_size:
                raise CaptureError("the file is being written")
        finally:
            os.close(file)
        return _There(base64.b64encode(content).decode(), stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))

    def _remove(self, missing: tuple[str, ...]) -> None:
        """Remove directories that were made for a file, as far as nobody else uses them."""
        for path in reversed(missing):
            with suppress(OSError, CaptureError), self._place({"path": path}) as place:
                os.rmdir(place.name, dir_fd=place.directory)


def _replace(place: _Place, wanted: _There) -> None:
    # One name a file, so that what a crash leaves behind is found and taken over by whoever does it again.
    copy = f".{place.name}.fiducial-undo"
    if len(os.fsencode(copy)) > _MAX_NAME:
        copy = f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()}.fiducial-undo"
    with suppress(FileNotFoundError):
        os.unlink(copy, dir_fd=place.directory)
    file = os.open(copy, _WRITE, 0o600, dir_fd=place.directory)
    try:
        try:
            content = memoryview(base64.b64decode(wanted.content, validate=True))
            while content:
                content = content[os.write(file, content) :]
            os.fchown(file, *wanted.owner)
            os.fchmod(file, wanted.mode)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(copy, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(copy, dir_fd=place.directory)
        raise
    os.fsync(place.directory)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CaptureError("the path leads through a symbolic link, or something that is no directory") from error
        raise CaptureError(f"the file cannot be read or put back: {error.strerror}") from error
    except ValueError as error:
        raise CaptureError("what was kept is no content of a file") from error


__all__ = ["MAX_BYTES", "Files"]
