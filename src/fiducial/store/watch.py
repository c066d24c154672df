"""Telling those who watch state which keys changed, and how long ago a store last answered.

One thread a store does it, and only while somebody watches. What it asks depends on the store: `Changes`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from fiducial.core.clock import Clock, SystemClock
from fiducial.core.faults import wordless
from fiducial.errors import StoreError
from fiducial.store import schema
from fiducial.store.reader import LogReader

_log = logging.getLogger("fiducial.store")

Told = Callable[[frozenset[str]], None]
LOOK = timedelta(milliseconds=200)
"""How often a store looks that is not told: a fifth of the second within which changes are reported."""


class Pulse:
    """When the store last answered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()

    def beat(self) -> None:
        """It answered just now."""
        self._at = self._clock.monotonic()

    def silence(self) -> timedelta:
        """How long ago it last did."""
        return timedelta(seconds=max(0.0, self._clock.monotonic() - self._at))


class Changes(Protocol):
    """How one store finds out. Used by one thread at a time."""

    def begin(self, prefix: str) -> None:
        """From here on, changes of keys that start with `prefix` count. Raises `StoreError`."""
        ...

    def end(self, prefix: str) -> None:
        """Nobody watches keys that start with `prefix` any more."""
        ...

    def next(self, ending: threading.Event) -> frozenset[str]:
        """Wait a little, or until `ending`, and return the keys that have changed and count; none when there are none.

        Raises `StoreError` when the store does not answer; what changed meanwhile is returned once it does.
        """
        ...

    def close(self) -> None:
        """Let go of what it looks through."""
        ...


class Watching:
    """A watch; close it to end it."""

    def __init__(self, prefix: str, told: Told, end: Callable[[Watching], None]) -> None:
        self.prefix = prefix
        self._told = told
        self._end = end
        self._closed = False
        self._failing = False

    def tell(self, keys: frozenset[str]) -> bool:
        """Report those of `keys` that are watched; false when whoever watches failed at it."""
        mine = frozenset(key for key in keys if key.startswith(self.prefix))
        if not mine or self._closed:
            return True
        try:
            self._told(mine)
        except Exception as error:  # noqa: BLE001 - whatever it is that failed
            # The others who watch must hear of it all the same. Said once, however often it is tried again.
            if not self._failing:
                _log.error("whoever watches `%s` failed at the news of a change", self.prefix, exc_info=wordless(error))
            self._failing = True
            return False
        self._failing = False
        return True

    def close(self) -> None:
        """End the watch; a call that is under way ends by itself."""
        self._closed = True
        self._end(self)


class Watcher:
    """The watches of one store, and the thread that tells them."""

    def __init__(self, changes: Callable[[Pulse], Changes]) -> None:
        """`changes` makes how it finds out; the pulse is beaten whenever everything up to then has been found."""
        self._make = changes
        # By the machine's clock, as the thread waits: a clock that a test moves says nothing of what was heard.
        self._pulse = Pulse(SystemClock())
        self._lock = threading.RLock()
        self._watches: list[Watching] = []
        self._changes: Changes | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def watch(self, prefix: str, told: Told) -> Watching:
        """Call `told` with what changes from here on. Raises `StoreError` when the store does not answer."""
        with self._lock:
            if self._changes is None:
                self._changes = self._make(self._pulse)
            self._changes.begin(prefix)
            if self._thread is None:
                # Before there is a watch: from then on this pulse is the store's.
                self._pulse.beat()
            watching = Watching(prefix, told, self._end)
            self._watches.append(watching)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fiducial-watcher", daemon=True)
                self._thread.start()
            return watching

    def silence(self) -> timedelta | None:
        """For how long no change could have been found, whatever else the store answered; `None` when nobody watches.

        Whoever stops at a change must count on this alone: reads and commits may succeed while the watcher is deaf.
        """
        return self._pulse.silence() if self._watches else None

    def close(self) -> None:
        """End all watches."""
        with self._lock:
            self._watches.clear()
            self._ending.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _end(self, watching: Watching) -> None:
        with self._lock:
            if watching in self._watches:
                self._watches.remove(watching)
            if self._changes is not None and all(other.prefix != watching.prefix for other in self._watches):
                self._changes.end(watching.prefix)

    def _run(self) -> None:
        # What a watch failed at, told again until it does not: it may be a halt.
        again: dict[Watching, frozenset[str]] = {}
        while True:
            with self._lock:
                changes = self._changes
                if not self._watches or changes is None:
                    self._thread = self._changes = None
                    if changes is not None:
                        changes.close()
                    return
                self._ending.clear()
            try:
                keys = changes.next(self._ending)
            except StoreError:
                self._ending.wait(LOOK.total_seconds())
                continue
            if keys or again:
                # Copied only now: whoever began to watch while this waited must hear of what it found.
                with self._lock:
                    news = {watching: keys | again.get(watching, frozenset()) for watching in self._watches}
                again = {watching: mine for watching, mine in news.items() if not watching.tell(mine)}


class SqliteChanges:
    """SQLite says only that something was written, so the versions of what is watched are compared."""

    def __init__(self, reader: LogReader, pulse: Pulse) -> None:
        """`reader` is for this alone: what SQLite says depends on who asks."""
        self._reader = reader
        self._pulse = pulse
        self._lock = threading.Lock()
        self._written = -1
        self._versions: dict[str, dict[str, int]] = {}

    def begin(self, prefix: str) -> None:
        """See `Changes.begin`."""
        with self._lock:
            if prefix not in self._versions:
                self._versions[prefix] = self._look(prefix)

    def end(self, prefix: str) -> None:
        """See `Changes.end`."""
        with self._lock:
            self._versions.pop(prefix, None)

    def next(self, ending: threading.Event) -> frozenset[str]:
        """See `Changes.next`."""
        ending.wait(LOOK.total_seconds())
        with self._lock:
            ((written,),) = self._reader.rows(schema.DATA_VERSION)
            found: set[str] = set()
            if written != self._written:
                # Kept only once all are read: when one cannot be, what the others found is found again.
                now = {prefix: self._look(prefix) for prefix in self._versions}
                for prefix, before in self._versions.items():
                    found.update(key for key, version in now[prefix].items() if before.get(key) != version)
                self._versions, self._written = now, written
            self._pulse.beat()
            return frozenset(found)

    def close(self) -> None:
        """See `Changes.close`."""
        self._reader.close()

    def _look(self, prefix: str) -> dict[str, int]:
        return dict(self._reader.rows(schema.SCAN_VERSIONS, *schema.span(prefix)))
