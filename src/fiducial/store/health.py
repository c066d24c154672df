"""Whether a store is fit to be relied on: its log verifies, and nothing around it undoes what it promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from fiducial.errors import RolledBack, StoreError
from fiducial.store import keyfile, restore, retained
from fiducial.store.checkpoint import Verifier
from fiducial.store.ledger import Ledger, LedgerStore, Verified
from fiducial.store.memory import MemoryStore
from fiducial.store.open import Beside, Where, beside, in_postgres, open_ledger, target
from fiducial.store.sqlite import SqliteStore

STUCK: Final = timedelta(minutes=1)
"""A parcel that waits for longer than this is not being looked after: a thousand times its usual wait."""


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong."""

    what: str
    fix: str
    """What to do about it."""


class Health(msgspec.Struct, frozen=True):
    """What a check found."""

    verified: Verified
    """The log."""
    parcels: int
    """Transactions that are committed and not yet in the log."""
    findings: tuple[Finding, ...]


def check(
    where: Where,
    *,
    key: Verifier | None = None,
    key_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Health:
    """Check the store at `where`. The log is held to `key`, or the key file's, and to the checkpoint beside it.

    Raises `Corrupt`, `RolledBack` or `WrongKey` when the log is at fault, and another `StoreError` when it cannot be
    looked at.
    """
    files = beside(where, key_path)
    findings: list[Finding] = []
    try:
        key = key or keyfile.read_key(files.key).verifier
    except StoreError as error:
        findings.append(Finding(str(error), "without its key the log is not held to one, and not appended to"))
    note = retained.load(files.checkpoint)
    if note is None:
        findings.append(Finding(_missing(files), "bring it back, or open the store with `accept_rollback`"))
    with open_ledger(where) as ledger:
        findings += _marked(ledger)
        notes = [(str(files.checkpoint), note)] if note is not None else []
        verified = ledger.verify(key=key, checkpoints=notes, progress=progress)
    parcels = 0
    if in_postgres(where):
        from fiducial.store.postgres import health

        parcels, more = health.look(target(where), STUCK)
        findings += [Finding(*each) for each in more]
    return Health(verified, parcels, tuple(findings))


def verify_open(store: LedgerStore, *, progress: Callable[[int, int], None] | None = None) -> Verified:
    """Check the log of a store that is open, held to the key and the checkpoint beside it; one in memory has neither.

    Raises as `check`, and `RolledBack` when there is no checkpoint.
    """
    if isinstance(store, MemoryStore):
        return store.ledger().verify(progress=progress)
    files = _files(store)
    # Before the log is looked at: from then on it only grows.
    note = retained.load(files.checkpoint)
    if note is None:
        raise RolledBack(f"{_missing(files)}; bring it back")
    key = keyfile.read_key(files.key).verifier
    with store.ledger() as ledger:
        return ledger.verify(key=key, checkpoints=[(str(files.checkpoint), note)], progress=progress)


def _files(store: LedgerStore) -> Beside:
    if isinstance(store, SqliteStore):
        return beside(store.path, store.key_path)
    from fiducial.store.postgres.store import PostgresStore

    if isinstance(store, PostgresStore):
        return Beside(store.key_path, store.checkpoint_path)
    raise StoreError("where this store keeps its key and its checkpoint is not known; use `fiducial log verify`")


def _missing(files: Beside) -> str:
    return f"there is no checkpoint at `{files.checkpoint}`: entries may be missing at the end, and nobody could tell"


def _marked(ledger: Ledger) -> list[Finding]:
    try:
        ledger.reader.meta(restore.MARK)
    except StoreError:
        return []
    return [Finding("this is a backup, or a restore was cut off", "run `fiducial store restore`")]
