"""What the stores share that write with threads of their own: whose they are, and whether they are open.

A store belongs to the process that opened it, because its threads do not cross a fork. It is open until it is closed,
or until a fault stops it; from then on everything raises `StoreClosed` and says which of these it was.
"""

from __future__ import annotations

import os
import platform
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from fiducial.core.clock import Clock, SystemClock
from fiducial.core.store import Cell
from fiducial.errors import StoreClosed, StoreError
from fiducial.store.ledger import Ledger
from fiducial.store.queue import CommitQueue, Limits
from fiducial.store.reader import LogReader


class Opened(ABC):
    """A store that is open in one process: its queue, its reader, and what closes with it."""

    _reader: LogReader

    def __init__(self, clock: Clock | None, limits: Limits) -> None:
        self._clock = clock or SystemClock()
        self._pid = os.getpid()
        self._queue = CommitQueue(limits, self._check_open)
        self._fault: StoreError | None = None
        """What stopped it; `None` while nothing has."""
        self._ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self.owner = f"{platform.node()}/{self._pid}/{os.urandom(6).hex()}"
        """Names this very opening of the store: the machine, the process, and a part of its own."""
        self._farewells: list[Callable[[], None]] = []

    def read(self, keys: Sequence[str]) -> Mapping[str, Cell]:
        """The cells of those `keys` that exist, as of one instant. What is still queued does not show."""
        self._check_open()
        return self._reader.cells(keys)

    def scan(self, prefix: str) -> Mapping[str, Cell]:
        """Every cell whose key starts with `prefix`, as of one instant, in key order. What is queued does not show."""
        self._check_open()
        return self._reader.scan(prefix)

    def before_close(self, run: Callable[[], None]) -> None:
        """See `fiducial.core.store.Shared.before_close`."""
        self._farewells.append(run)

    def _say_farewell(self) -> None:
        """Before anything else of closing; nothing when the store is closed already, or another process's."""
        farewells, self._farewells = self._farewells, []
        for run in farewells:
            # What cannot be committed any more is not needed any more.
            with suppress(StoreError):
                self._check_open()
                run()

    @abstractmethod
    def close(self) -> None:
        """Write what is queued and let go of what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise StoreClosed("the store was opened by another process; open one in this process")
        if self._fault is not None:
            raise StoreClosed(f"the store stopped: {self._fault}") from self._fault
        if self._queue.closing:
            raise StoreClosed("the store is closed; open another one")
