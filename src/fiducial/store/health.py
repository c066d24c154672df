"""Whether a store is fit to be relied on: its log verifies, and nothing around it undoes what it promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from fiducial.errors import StoreError
from fiducial.store import keyfile, restore, retained
from fiducial.store.checkpoint import Verifier
from fiducial.store.ledger import Ledger, Verified
from fiducial.store.open import Where, beside, in_postgres, open_ledger, target

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


def _marked(ledger: Ledger) -> list[Finding]:
    try:
        ledger.reader.meta(restore.MARK)
    except StoreError:
        return []
    return [Finding("this is a backup, or a restore was cut off", "run `fiducial store restore`")]
