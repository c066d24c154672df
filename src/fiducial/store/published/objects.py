"""Where a published log is kept: named objects, each replaced whole, in a folder that any web server can serve.

A backend for another place (an object store) provides the same four methods. `put` has to be durable when it returns;
`swap` has to be atomic, for it is what keeps two publishers from taking the checkpoint back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from fiducial.errors import Corrupt, StoreError
from fiducial.store.files import locked, make_directory, replacing
from fiducial.store.merkle import TILE_HEIGHT, TILE_WIDTH
from fiducial.store.published.tiles import Tile, decode_entries, decode_hashes

_MODE = 0o644
_LOCK = ".lock"


class Objects(Protocol):
    """Named objects. Paths are relative, with `/`. Each method raises `StoreError` when the place fails."""

    def get(self, path: str) -> bytes | None:
        """What is kept there; `None` when nothing is."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Keep `data` there, durably and whole, in place of what was there."""
        ...

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """As `put`, but raises `StoreError` when what is there is not `old`."""
        ...

    def discard(self, prefix: str) -> None:
        """Remove everything whose path begins with `prefix` and a `/`, if there is anything."""
        ...


class Folder:
    """A directory; made when something is put into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        """Where it is."""

    def get(self, path: str) -> bytes | None:
        """See `Objects`."""
        with self._translated(path):
            try:
                return (self.root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, path: str, data: bytes) -> None:
        """See `Objects`."""
        with self._translated(path):
            target = self.root / path
            make_directory(target.parent)
            with replacing(target, mode=_MODE) as file:
                file.write(data)

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """See `Objects`."""
        with self._translated(path):
            make_directory(self.root)
            with locked(self.root / _LOCK):
                if self.get(path) != old:
                    raise StoreError(f"another process replaced `{self.root / path}` meanwhile; run the command again")
                self.put(path, new)

    def discard(self, prefix: str) -> None:
        """See `Objects`."""
        with self._translated(prefix):
            target = self.root / prefix
            if target.is_dir():
                shutil.rmtree(target)

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the published log `{self.root}`: `{path}` cannot be read or written ({error.strerror}); "
                "check its path and permissions"
            ) from error


def read_hashes(objects: Objects, tile: Tile) -> list[bytes]:
    """The hashes of `tile`, from the full tile in its place when the partial one is gone. Raises `Corrupt`."""
    data, wide = _read(objects, tile, entries=False)
    return decode_hashes(data, wide)[: tile.width]


def read_entries(objects: Objects, tile: Tile) -> list[bytes]:
    """The entries below `tile`, likewise."""
    data, wide = _read(objects, tile, entries=True)
    return decode_entries(data, wide)[: tile.width]


def _read(objects: Objects, tile: Tile, *, entries: bool) -> tuple[bytes, Tile]:
    # A partial tile may be removed once the full one is there: C2SP tlog-tiles section "Partial Tiles".
    for wide in (tile, tile.full):
        data = objects.get(wide.entries_path if entries else wide.path)
        if data is not None:
            return data, wide
    path = tile.entries_path if entries else tile.path
    raise Corrupt(f"`{path}` is missing", index=tile.first if tile.level == 0 else None)


class TileHashes:
    """The hashes of a published tree: `fiducial.store.merkle.Hashes`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def __call__(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `fiducial.store.merkle.Hashes`."""
        return read_hashes(self._objects, Tile(level // TILE_HEIGHT, start // TILE_WIDTH, stop - start))
