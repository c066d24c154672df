"""Which store a name means: a path is a database of SQLite, `postgresql://…` is one of PostgreSQL.

Everything that takes a store takes either, through here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from fiducial.errors import StoreError
from fiducial.store.ledger import Ledger
from fiducial.store.retained import checkpoint_path
from fiducial.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from fiducial.store.postgres.link import Target
    from fiducial.store.postgres.store import PostgresStore

Where: TypeAlias = str | os.PathLike[str]
_SCHEMES = ("postgresql:", "postgres:")


class Beside(NamedTuple):
    """The files that belong to a store on this machine."""

    key: Path
    """The signing key."""
    checkpoint: Path
    """The largest tree head seen."""


def in_postgres(where: Where) -> bool:
    """Whether `where` names a store in PostgreSQL."""
    return isinstance(where, str) and where.startswith(_SCHEMES)


def open_store(where: Where, *, key_path: Path | None = None, **settings: Any) -> SqliteStore | PostgresStore:
    """The store at `where`, opened or made; `settings` are those of `SqliteStore` and `PostgresStore`.

    Raises `StoreError`.
    """
    if not in_postgres(where):
        return SqliteStore(where, key_path=key_path, **settings)
    with needing_postgres():
        from fiducial.store.postgres.store import PostgresStore
    return PostgresStore(str(where), key_path=key_path, **settings)


def open_ledger(where: Where) -> Ledger:
    """The log at `where`, for reading. What waits in an inbox of PostgreSQL is not in it yet. Raises `StoreError`."""
    if not in_postgres(where):
        return Ledger.open(where)
    with needing_postgres():
        from fiducial.store.postgres.store import open_reader
    return Ledger(open_reader(target(where)))


def beside(where: Where, key_path: Path | None = None) -> Beside:
    """The files of the store at `where`; `key_path` is where the key is when it is not in its usual place."""
    if in_postgres(where):
        key = key_path or Path(".fiducial") / f"{target(where).slug}.key"
        return Beside(key, key.with_suffix(".checkpoint"))
    path = Path(where)
    return Beside(key_path or path.with_name(path.name + ".key"), checkpoint_path(path))


def target(where: Where) -> Target:
    """What a URL of PostgreSQL says. Raises `StoreError`."""
    with needing_postgres():
        from fiducial.store.postgres.link import Target
    return Target.parse(str(where))


@contextmanager
def needing_postgres() -> Iterator[None]:
    """Within it, packages that are not installed are a `StoreError` that names them."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StoreError("a store in PostgreSQL needs more packages: `pip install 'fiducial[postgres]'`") from error
    except ImportError as error:
        raise StoreError(str(error)) from error
