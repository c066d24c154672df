"""A store for one request: what it keeps is kept only while whoever asks may still sign in and is who they were.

The gate looks before the page begins, and somebody may be dismissed in between. So a person's acts carry the look with
them, as preconditions of their own commits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta

import msgspec

from fiducial.console.accounts import Signed, still
from fiducial.console.visit import Refused, Visit
from fiducial.core.store import Cell, Commit, Receipt, Store, Watch
from fiducial.errors import Conflict
from fiducial.guard.switches import Switches
from fiducial.oversight.desk import Desk
from fiducial.oversight.pins import Pins


class Sure:
    """`Store`, in the name of who asks."""

    def __init__(self, store: Store, asked: Signed) -> None:
        self._store = store
        self._still = still(asked)

    def commit(self, commit: Commit) -> Future[Receipt]:
        """Keep `commit`, and wait for that. Raises `Refused` when who asks was signed out or changed meanwhile."""
        sure = msgspec.structs.replace(commit, preconditions=(*self._still, *commit.preconditions))
        future: Future[Receipt] = Future()
        try:
            future.set_result(self._store.commit(sure).result())
        except Conflict as error:
            if any(error.key == each.key for each in self._still):
                raise Refused(409, "what you may do has changed since you asked; look again") from error
            raise
        return future

    def read(self, keys: Sequence[str]) -> Mapping[str, Cell]:
        """See `Store.read`."""
        return self._store.read(keys)

    def scan(self, prefix: str) -> Mapping[str, Cell]:
        """See `Store.scan`."""
        return self._store.scan(prefix)

    def watch(self, prefix: str, callback: Callable[[frozenset[str]], None]) -> Watch:
        """See `Store.watch`."""
        return self._store.watch(prefix, callback)

    def silence(self) -> timedelta:
        """See `Store.silence`."""
        return self._store.silence()

    def close(self) -> None:
        """Nothing: the store is everybody's."""


def desk_of(visit: Visit) -> Desk:
    """The desk, for what whoever visits decides."""
    services = visit.services
    return Desk(Sure(services.store, visit.me), clock=services.clock, roles_of=services.people.roles_of)


def switches_of(visit: Visit) -> Switches:
    """The switches, for what whoever visits stops and starts again."""
    return Switches(Sure(visit.services.store, visit.me), visit.services.clock)


def pins_of(visit: Visit) -> Pins:
    """The pins, for what whoever visits relies upon or keeps out."""
    return Pins(Sure(visit.services.store, visit.me), visit.services.clock)


__all__ = ["Sure", "desk_of", "pins_of", "switches_of"]
