"""Who had which requests before them, for a whole list at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.event import Entry, HoldSeen
from fiducial.core.ids import HoldId, PersonId
from fiducial.core.store import Put, Store, Unchanged
from fiducial.errors import Conflict
from fiducial.oversight.cells import SEEN, Seen, commit, decode, encode, event_id
from fiducial.oversight.hold import Hold

_Found: TypeAlias = tuple[Hold, Seen, int]
"""A request, what was kept of it for the person, and the version of that."""
MAX_KEPT = 100_000
"""Pairs of request and person that are remembered."""


class Shown:
    """Keeps which requests were shown to whom. Usable from any thread, by any number of processes on one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._kept: set[tuple[HoldId, PersonId]] = set()
        """Of which it is known that the store has them: once there, that never changes."""

    def keep(self, holds: Sequence[Hold], by: PersonId) -> None:
        """The requests were shown to `by`: those that they see for the first time, in one commit for all.

        Raises `StoreError` when it cannot be kept.
        """
        unsure = [hold for hold in holds if (hold.id, by) not in self._kept]
        if not unsure:
            return
        fresh = _fresh(self._store, unsure, by)
        try:
            if fresh:
                _keep(self._store, self._clock, fresh, by)
        except Conflict:
            # The same person in two windows: each request by itself, so that one of them does not hide the others.
            for one in fresh:
                try:
                    _keep(self._store, self._clock, [one], by)
                except Conflict:
                    continue
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept.update((hold.id, by) for hold in unsure)


def _fresh(store: Store, holds: Sequence[Hold], by: PersonId) -> list[_Found]:
    cells = store.read([_key(hold, by) for hold in holds])
    found = []
    for hold in holds:
        cell = cells.get(_key(hold, by))
        before = decode(_key(hold, by), cell, Seen) if cell is not None else Seen()
        if not before.shown_us and not before.opened_us:
            found.append((hold, before, cell.version if cell is not None else 0))
    return found


def _keep(store: Store, clock: Clock, found: Sequence[_Found], by: PersonId) -> None:
    now = clock.unix_us()
    events = [
        HoldSeen(id=event_id(now), session=hold.session, at_us=now, hold=hold.id, by=by, how="shown")
        for hold, _, _ in found
    ]
    commit(
        store,
        [Entry(event) for event in events],
        [Unchanged(_key(hold, by), version) for hold, _, version in found],
        [Put(_key(hold, by), encode(msgspec.structs.replace(before, shown_us=now))) for hold, before, _ in found],
    )


def _key(hold: Hold, by: PersonId) -> str:
    return f"{SEEN}{hold.id}/{by}"


__all__ = ["Shown"]
