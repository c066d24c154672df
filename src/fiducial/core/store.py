"""The Store protocol: how anything that happens is kept.

One method. A commit holds events, state changes and preconditions; either all of it is kept, in one transaction, or
none of it is. State is a flat map from key to bytes (approvals, switches, counters), each with a version that grows
by one at every change, so that a decision can be bound to what it read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

import msgspec

from fiducial.core.event import Entry, Event
from fiducial.core.payload import Payload


class Unchanged(msgspec.Struct, frozen=True):
    """Precondition: `key` still has `version` (0: it does not exist)."""

    key: str
    version: int


class AtMost(msgspec.Struct, frozen=True):
    """Precondition: the counters at `keys`, summed with this commit's additions to them, stay within `ceiling`."""

    keys: tuple[str, ...]
    ceiling: int


class Put(msgspec.Struct, frozen=True):
    """Change: `key` holds `value` from here on; `None` deletes it."""

    key: str
    value: bytes | None


class Add(msgspec.Struct, frozen=True):
    """Change: the counter at `key` (an integer, 0 when absent) grows by `amount`, which may be negative."""

    key: str
    amount: int


class LateEntry(Protocol):
    """An entry whose event and payloads are made when they are first looked at.

    Whatever it is made of must not change, and making it must not fail: a store that keeps nothing may look late.
    """

    @property
    def event(self) -> Event:
        """The event."""
        ...

    @property
    def payloads(self) -> tuple[Payload, ...]:
        """The payloads that the event refers to."""
        ...


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be kept, all or nothing."""

    entries: tuple[Entry | LateEntry, ...] = ()
    preconditions: tuple[Unchanged | AtMost, ...] = ()
    changes: tuple[Put | Add, ...] = ()
    durable: bool = True
    """True: the future resolves once it is on disk. False: once it is queued, for what has no side effect."""


class Receipt(msgspec.Struct, frozen=True):
    """Where a durable commit's entries stand in the log."""

    first: int
    """Index of its first entry; the size of the log when it had none. -1 when that is not known yet: the commit was not
    `durable`, or the store puts what several processes commit into the log a little later."""
    count: int
    """How many entries."""


class Cell(msgspec.Struct, frozen=True):
    """A state key's value and version."""

    value: bytes
    version: int


class Store(Protocol):
    """Keeps what happens."""

    def commit(self, commit: Commit) -> Future[Receipt]:
        """Keep `commit`.

        Blocks while the queue is full, then raises `StoreBusy`; nothing is ever dropped. The future, or the call
        itself, raises `Conflict` when a precondition does not hold and another `StoreError` when it could not be kept.
        """
        ...

    def read(self, keys: Sequence[str]) -> Mapping[str, Cell]:
        """The cells of those `keys` that exist, as of one instant. Counters hold decimal digits."""
        ...

    def scan(self, prefix: str) -> Mapping[str, Cell]:
        """Every cell whose key starts with `prefix`, as of one instant, in key order."""
        ...

    def close(self) -> None:
        """Flush what is queued and let go of files; later commits raise `StoreClosed`."""
        ...
