"""A checkpoint overwritten in one compiled call, or not at all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

_overwrite = pytest.importorskip("fiducial.store._overwrite", reason="not compiled")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def attempt(path: Path, old: bytes, new: bytes) -> bool:
    descriptor = os.open(path, os.O_RDWR)
    try:
        done: bool = _overwrite.overwrite(descriptor, old, new)
        return done
    finally:
        os.close(descriptor)


def test_what_is_as_expected_is_overwritten_and_unlocked(file: Path) -> None:
    assert attempt(file, b"old", b"new")
    assert file.read_bytes() == b"new"
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("old", "new"), [(b"odd", b"new"), (b"ol", b"ne"), (b"older", b"newer"), (b"old", b"newer"), (b"", b"")]
)
def test_anything_else_is_left_alone(file: Path, old: bytes, new: bytes) -> None:
    assert not attempt(file, old, new)
    assert file.read_bytes() == b"old"
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_locked_file_is_left_alone(file: Path) -> None:
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not attempt(file, b"old", b"new")
    assert file.read_bytes() == b"old"


def test_a_file_that_was_removed_or_replaced_is_left_alone(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR)
    replacement = file.with_name("replacement")
    replacement.write_bytes(b"old")
    replacement.replace(file)
    assert not _overwrite.overwrite(descriptor, b"old", b"new")
    assert os.pread(descriptor, 9, 0) == b"old"
    os.close(descriptor)


def test_more_than_a_note_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(1025))
    assert not attempt(path, bytes(1025), b"x" * 1025)
    path.write_bytes(bytes(1024))
    assert attempt(path, bytes(1024), b"x" * 1024)


def test_what_is_no_file_or_may_not_be_written_is_left_alone(file: Path) -> None:
    assert not _overwrite.overwrite(-1, b"", b"")
    descriptor = os.open(file, os.O_RDONLY)
    assert not _overwrite.overwrite(descriptor, b"old", b"new")
    os.close(descriptor)
    assert file.read_bytes() == b"old"
