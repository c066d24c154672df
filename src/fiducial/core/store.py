"""The Store protocol: how anything that happens is kept.

One method. A commit holds events, state changes and preconditions; either all of it is kept, in one transaction, or
none of it is. State is a flat map from key to bytes (approvals, switches, counters), each with a version that grows
by one at every change, so that a decision can be bound to what it read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Protocol, runtime_checkable

import msgspec

from fiducial.core.event import Entry, Event
from fiducial.core.ids import Digest
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


def text_key(payload: Digest) -> str:
    """Key of a cell that is deleted when `payload`, which is a `note`, is erased, in the same transaction: the one
    place for what control state needs of it."""
    return f"text/{payload}"


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
    patient: bool = False
    """Whoever commits it does nothing before its future resolves. Made on an event loop, it may then be written once
    the loop has come round, together with whatever else was committed meanwhile."""


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


class Watch(Protocol):
    """Somebody is told about changes, until it is closed."""

    def close(self) -> None:
        """End it; a call that is under way ends by itself. Closing twice is no fault."""
        ...


@runtime_checkable
class KeepsSecrets(Protocol):
    """A store that can keep something apart from what it holds."""

    def secret(self, name: str, first: bytes | None = None) -> bytes:
        """Secret bytes, always the same for a `name`: at first `first`, or random ones. Raises `StoreError`."""
        ...


@runtime_checkable
class Shared(Protocol):
    """A store that other processes may have open too: what must not run twice needs a lease there."""

    owner: str
    """Names this very opening of the store, and no other."""

    def before_close(self, run: Callable[[], None]) -> None:
        """Call `run` when the store is about to be closed and still takes commits."""
        ...


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

    def watch(self, prefix: str, callback: Callable[[frozenset[str]], None]) -> Watch:
        """Call `callback` with the keys that start with `prefix` and were put or deleted, by whichever process.

        Whatever is committed after this returns is reported within a second of its commit, and what is committed while
        the store cannot be reached within a second of when it can be again. Several changes may be reported at once,
        and a key may be reported twice or with the value that it had: read it. Changes by `Add` may be left out.

        `callback` is called by a thread of the store's, or by the one that commits; for one watch, never twice at the
        same time by the former. It has to be quick and must not commit. What it raises is logged, and the store's
        thread calls it again with those keys. Raises `StoreClosed`, or another `StoreError` when the store cannot be
        reached.
        """
        ...

    def silence(self) -> timedelta:
        """How long ago the store last answered, at most a second too much; zero for one that cannot fail to. While
        somebody watches, how long ago it last knew of every change.

        It says nothing about what is queued. A guard whose store has been silent for five seconds starts nothing that
        has a side effect: it could not learn of a halt.
        """
        ...

    def close(self) -> None:
        """Flush what is queued and let go of files; later commits raise `StoreClosed`."""
        ...
