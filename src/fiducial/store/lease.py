"""Session leases: one owner at a time for what must not run twice, and another one after a crash.

A lease is a state cell, `lease/<session>`: who owns it and until when. It is taken, renewed, released and stolen by
compare-and-set, so of two that try at once one wins. Its time is by the owner's clock; another one steals it only
`SKEW` after it ended, because clocks of machines differ.

Time alone does not protect anything: an owner may be stopped for a minute between looking at its clock and acting.
What does is `Lease.held`, a precondition for everything that the owner commits: once the lease was taken by another,
the commit is a `Conflict`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Final

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.ids import SessionId
from fiducial.core.store import Cell, Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, StoreError

PREFIX: Final = "lease/"
DURATION: Final = timedelta(seconds=30)
"""How long a lease lasts unless it is renewed. Renew it after a third of that."""
SKEW: Final = timedelta(seconds=5)
"""By how much clocks may differ. NTP keeps them within a hundredth of it."""
_US = timedelta(microseconds=1)


class _Stored(msgspec.Struct, frozen=True):
    owner: str
    until_us: int
    token: str
    """Of this very taking or renewal."""


class Lease(msgspec.Struct, frozen=True):
    """Yours, as long as nobody took it."""

    session: SessionId
    owner: str
    until_us: int
    """Microseconds since 1970 UTC; nobody takes it before."""
    version: int
    """Of its cell."""

    def held(self) -> Unchanged:
        """The precondition that it still is yours: for every commit that relies on that."""
        return Unchanged(PREFIX + self.session, self.version)


class Elsewhere(msgspec.Struct, frozen=True):
    """Somebody else's."""

    owner: str
    """Empty when nobody's: it was released."""
    until_us: int
    """Until when, by their clock."""


def take(
    store: Store, session: SessionId, owner: str, *, clock: Clock, duration: timedelta = DURATION
) -> Lease | Elsewhere:
    """Take the lease of `session` if it is free, ended `SKEW` ago, or was `owner`'s before.

    `owner` names one process: a second one under the same name takes it from the first. Raises `StoreError`.
    """
    if not owner:
        raise StoreError("whoever takes a lease needs a name")
    while True:
        cell = store.read([PREFIX + session]).get(PREFIX + session)
        if cell is not None:
            now = _decode(session, cell)
            if now.owner != owner and clock.unix_us() < now.until_us + SKEW // _US:
                return Elsewhere(now.owner, now.until_us)
        lease = _set(store, session, owner, 0 if cell is None else cell.version, clock.unix_us() + duration // _US)
        if lease is not None:
            return lease


def renew(store: Store, lease: Lease, *, clock: Clock, duration: timedelta = DURATION) -> Lease | Elsewhere:
    """Lengthen `lease`, also when it has ended and nobody took it. Raises `StoreError`."""
    renewed = _set(store, lease.session, lease.owner, lease.version, clock.unix_us() + duration // _US)
    if renewed is not None:
        return renewed
    cell = store.read([PREFIX + lease.session]).get(PREFIX + lease.session)
    if cell is None:
        return Elsewhere("", 0)
    now = _decode(lease.session, cell)
    return Elsewhere(now.owner, now.until_us)


def release(store: Store, lease: Lease) -> bool:
    """Give `lease` up, so that another takes it at once; false when it was no longer yours. Raises `StoreError`."""
    try:
        store.commit(Commit(preconditions=(lease.held(),), changes=(Put(PREFIX + lease.session, None),))).result()
    except Conflict:
        return False
    return True


def _set(store: Store, session: SessionId, owner: str, version: int, until_us: int) -> Lease | None:
    """Write the lease over `version` (0: there is none); `None` when somebody else was faster."""
    stored = _Stored(owner, until_us, os.urandom(12).hex())
    key = PREFIX + session
    change = Put(key, msgspec.json.encode(stored))
    try:
        store.commit(Commit(preconditions=(Unchanged(key, version),), changes=(change,))).result()
    except Conflict:
        return None
    # A cell that was made again goes on counting where the one before it ended, so its version has to be read.
    cell = store.read([key]).get(key)
    if cell is None or _decode(session, cell) != stored:
        return None
    return Lease(session, owner, until_us, cell.version)


def _decode(session: SessionId, cell: Cell) -> _Stored:
    try:
        return msgspec.json.decode(cell.value, type=_Stored)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"the lease of `{session}` is damaged; delete `{PREFIX}{session}`") from error
