"""Session leases: one owner at a time for what must not run twice, and another one after a crash.

A lease is two state cells: `lease/<session>` says whose it is and changes only when it changes hands, and
`lease-until/<session>` says until when, and is put anew while the owner lives. Both change under the precondition that
the first has not, so of two that try at once one wins. Time is by the owner's clock; another one takes the lease only
`SKEW` after it ended, because clocks of machines differ, or earlier on somebody's word that the owner is gone.

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
from fiducial.core.event import Entry, SessionTaken
from fiducial.core.ids import EventId, SessionId, mint
from fiducial.core.store import Cell, Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, StoreError

PREFIX: Final = "lease/"
UNTIL: Final = "lease-until/"
DURATION: Final = timedelta(seconds=30)
"""How long a lease lasts unless it is renewed. Renew it after a third of that."""
SKEW: Final = timedelta(seconds=5)
"""By how much clocks may differ. NTP keeps them within a hundredth of it."""
MAX_WHY: Final = 500
"""Characters of why a lease was taken early; it is in the log itself, so it must name nobody."""
_US = timedelta(microseconds=1)


class _Owner(msgspec.Struct, frozen=True):
    owner: str
    token: str
    """Of this very taking."""


class Lease(msgspec.Struct, frozen=True):
    """Yours, as long as nobody took it."""

    session: SessionId
    owner: str
    until_us: int
    """Microseconds since 1970 UTC; nobody takes it before, unless somebody says that you are gone."""
    version: int
    """Of its first cell."""

    def held(self) -> Unchanged:
        """The precondition that it still is yours: for every commit that relies on that."""
        return Unchanged(PREFIX + self.session, self.version)

    def renewal(self, until_us: int) -> Put:
        """The change that lengthens it, to be committed with `held`."""
        return Put(UNTIL + self.session, b"%d" % until_us)

    def release(self) -> tuple[Put, ...]:
        """The changes that give it up, to be committed with `held`."""
        return Put(PREFIX + self.session, None), Put(UNTIL + self.session, None)


class Elsewhere(msgspec.Struct, frozen=True):
    """Somebody else's."""

    owner: str
    """Empty when nobody's: it was released."""
    until_us: int
    """Until when, by their clock."""


def first(session: SessionId, owner: str, until_us: int) -> tuple[Lease, Commit]:
    """The lease of a session that is new, and the commit that makes it, to be kept with the session's first event."""
    lease = Lease(session, owner, until_us, 1)
    changes = (Put(PREFIX + session, msgspec.json.encode(_Owner(owner, ""))), lease.renewal(until_us))
    return lease, Commit(preconditions=(Unchanged(PREFIX + session, 0),), changes=changes, durable=False)


def take(
    store: Store,
    session: SessionId,
    owner: str,
    *,
    clock: Clock,
    duration: timedelta = DURATION,
    claim: str | None = None,
) -> Lease | Elsewhere:
    """Take the lease of `session` if it is free, ended `SKEW` ago, was `owner`'s before, or on a `claim`.

    `owner` names one process: a second one under the same name takes it from the first. `claim` says why the one who
    has it is known to be gone. When it had not been given up by another, the log says that it changed hands.
    Raises `StoreError`.
    """
    if not owner:
        raise StoreError("whoever takes a lease needs a name")
    while True:
        now_us = clock.unix_us()
        cell, before, until_us, versions = _read(store, session)
        ended = now_us >= until_us + SKEW // _US
        if before is not None and before.owner != owner and not ended and claim is None:
            return Elsewhere(before.owner, until_us)
        entries: tuple[Entry, ...] = ()
        if before is not None and before.owner != owner:
            event = SessionTaken(
                id=EventId(mint("evt", now_us // 1000)), session=session, at_us=now_us, owner=owner,
                before=before.owner, ended=ended, why=(claim or "")[:MAX_WHY],
            )  # fmt: skip
            entries = (Entry(event),)
        mine = _Owner(owner, os.urandom(12).hex())
        ends = now_us + duration // _US
        changes = (Put(PREFIX + session, msgspec.json.encode(mine)), Put(UNTIL + session, b"%d" % ends))
        try:
            store.commit(Commit(entries=entries, preconditions=versions, changes=changes)).result()
        except Conflict:
            continue
        # A cell that was made again goes on counting where the one before it ended, so its version has to be read.
        cell, found, _, _ = _read(store, session)
        if cell is not None and found == mine:
            return Lease(session, owner, ends, cell.version)


def renew(store: Store, lease: Lease, *, clock: Clock, duration: timedelta = DURATION) -> Lease | Elsewhere:
    """Lengthen `lease`, also when it has ended and nobody took it. Raises `StoreError`."""
    until_us = clock.unix_us() + duration // _US
    try:
        store.commit(Commit(preconditions=(lease.held(),), changes=(lease.renewal(until_us),))).result()
    except Conflict:
        _, now, ends, _ = _read(store, lease.session)
        return Elsewhere("", 0) if now is None else Elsewhere(now.owner, ends)
    return msgspec.structs.replace(lease, until_us=until_us)


def release(store: Store, lease: Lease) -> bool:
    """Give `lease` up, so that another takes it at once; false when it was no longer yours. Raises `StoreError`."""
    try:
        store.commit(Commit(preconditions=(lease.held(),), changes=lease.release())).result()
    except Conflict:
        return False
    return True


def _read(store: Store, session: SessionId) -> tuple[Cell | None, _Owner | None, int, tuple[Unchanged, ...]]:
    """The first cell, what it says, until when, and the preconditions that both cells are still as read."""
    keys = (PREFIX + session, UNTIL + session)
    cells = store.read(keys)
    versions = tuple(Unchanged(key, cells[key].version if key in cells else 0) for key in keys)
    cell, until = cells.get(keys[0]), cells.get(keys[1])
    if cell is None:
        return None, None, 0, versions
    try:
        return cell, msgspec.json.decode(cell.value, type=_Owner), int(until.value) if until else 0, versions
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"the lease of `{session}` is damaged; delete `{PREFIX}{session}`") from error
