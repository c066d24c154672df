"""What waits to be written: bounded in entries and in bytes, in the order in which it was committed.

A store's writer takes all that is queued, up to a limit, and writes it as one transaction. It starts as soon as
somebody waits; with nobody waiting it lingers a little, so that what needs no waiting (records of reads) costs few
transactions. When the queue is full, callers wait, and past a deadline get `StoreBusy`; nothing is ever dropped.

A commit that is `patient` and made on an event loop starts the writer once the loop has come round: what is decided in
one round is written together, and the writer takes the interpreter from nobody who decides in it. Whoever blocks the
loop in its future's `result` or `exception` starts the writer at once, and so does any other commit that somebody waits
for. Whoever blocks it otherwise, in `concurrent.futures.wait` or until a callback is called, starts nothing, and
may wait for what only the loop would start.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, _get_running_loop  # the public one costs an exception where there is no loop
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from fiducial.core.store import Receipt
from fiducial.errors import StoreBusy, StoreClosed, StoreError
from fiducial.store.bundle import Prepared
from fiducial.store.settled import Settled

_T = TypeVar("_T")

_BATCH_BYTES = 16 * 1024 * 1024
"""Where a transaction ends even when more is queued: it bounds memory, and a database's copy of it in its log."""


class Limits(msgspec.Struct, frozen=True):
    """How much may wait, and how long."""

    size: int = 10_000
    """Entries that may wait to be written."""
    bytes: int = 64 * 1024 * 1024
    """And how many bytes of them."""
    deadline: timedelta = timedelta(seconds=30)
    """How long a commit waits for room."""
    batch: int = 1_000
    """Entries in a transaction."""
    linger: timedelta = timedelta(milliseconds=5)
    """How long entries that nobody waits for are gathered."""


class Job:
    """Something the writer's thread does between two transactions."""

    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.future: Future[Any] = Future()


class _Awaited(Future[Receipt]):
    """Starts the writer for whoever blocks until it is settled."""

    def __init__(self, start: Callable[[], None]) -> None:
        super().__init__()
        self._start = start

    def result(self, timeout: float | None = None) -> Receipt:
        """See `concurrent.futures.Future.result`."""
        if not self.done():
            self._start()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future.exception`."""
        if not self.done():
            self._start()
        return super().exception(timeout)


class CommitQueue:
    """Between the threads that commit and the one that writes."""

    def __init__(self, limits: Limits, check_open: Callable[[], None]) -> None:
        """`check_open` raises when nothing may be queued any more. Raises `StoreError` when a limit admits nothing."""
        if min(limits.size, limits.bytes, limits.batch) < 1:
            raise StoreError("queue_size, queue_bytes and max_batch have to be at least 1")
        self._limits = limits
        self._deadline = limits.deadline.total_seconds()
        self._linger = limits.linger.total_seconds()
        self._check_open = check_open
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._items: deque[Prepared | Job] = deque()
        self._weight = self._bytes = self._urgent = self._crowd = 0
        self._round_of: AbstractEventLoop | None = None
        """All that somebody waits for is patient, and this event loop has not come round yet."""
        self._asleep = False
        """The writer has nothing to do, and nobody has woken it."""
        self.closing = False
        """Nothing is taken in any more, and the writer ends once the queue is empty."""
        self._stopped = False

    def put(self, item: Prepared | Job) -> None:
        """Queue `item`. Blocks while there is no room, then raises `StoreBusy`."""
        weight, cost = _load(item)
        with self._lock:
            self._check_open()
            if self._full(weight, cost):
                self._crowd += 1
                self._round_of = None  # this may be the loop that would have to come round
                self._wake()
                try:
                    if not self._room.wait_for(
                        lambda: self.closing or self._stopped or not self._full(weight, cost), self._deadline
                    ):
                        raise StoreBusy(
                            f"the queue stayed full for {self._deadline:g} s; nothing of this commit was kept, "
                            "try again when the disk has caught up"
                        )
                finally:
                    self._crowd -= 1
                self._check_open()
            loop = _get_running_loop() if isinstance(item, Prepared) and item.waits and item.patient else None
            if loop is None:
                if _urgent(item):
                    self._round_of = None
            elif not self._urgent or self._round_of not in (None, loop):
                self._round_of = loop
                loop.call_soon(self._start)
            self._items.append(item)
            self._count(item, 1)
            if self._enough() or (self._asleep and loop is None):
                # Not for every one: a writer that is woken up only to linger on takes its time from whoever commits.
                self._wake()

    def commit(self, prepared: Prepared) -> Future[Receipt]:
        """Queue a commit; its future, which cannot be cancelled: what was queued is kept."""
        future: Future[Receipt]
        if prepared.waits:
            future = prepared.future = _Awaited(self._start)
            future.set_running_or_notify_cancel()
        else:
            future = Settled(Receipt(-1, prepared.count))
        self.put(prepared)
        return future

    def do(self, run: Callable[[], _T]) -> _T:
        """Have the writer's thread do something after what is queued; its result."""
        job = Job(run)
        self.put(job)
        result: _T = job.future.result()
        return result

    def _start(self) -> None:
        with self._lock:
            self._round_of = None
            if self._items:
                self._wake()

    def _wake(self) -> None:
        self._asleep = False
        self._work.notify()

    def take(self, pause: Callable[[], float | None]) -> list[Prepared] | Job | None:
        """What to do next: a batch, a job, an empty batch when `pause` seconds passed with nothing to do, `None` at the
        end. `None` for a pause waits for as long as it takes."""
        with self._lock:
            if not self._items and not self.closing:
                self._asleep = True
                self._work.wait(pause())
                self._asleep = False
            if self._items and not self._enough():
                self._work.wait_for(self._enough, self._linger)
            if not self._items:
                return None if self.closing else []
            if isinstance(head := self._items[0], Job):
                self._items.popleft()
                self._count(head, -1)
                return head
            batch: list[Prepared] = []
            weight = cost = 0
            while self._items and weight < self._limits.batch and cost < _BATCH_BYTES:
                item = self._items[0]
                if isinstance(item, Job) or (batch and weight + item.count > self._limits.batch):
                    break
                self._items.popleft()
                batch.append(item)
                self._count(item, -1)
                weight += max(1, item.count)
                cost += item.cost
            if self._crowd:
                self._room.notify_all()
            return batch

    def give_back(self, batch: Sequence[Prepared]) -> None:
        """Put what could not be written back to the front: it goes on counting for what may wait."""
        with self._lock:
            self._items.extendleft(reversed(batch))
            for item in batch:
                self._count(item, 1)

    def close(self) -> None:
        """Take nothing in any more; the writer still gets what is queued."""
        with self._lock:
            self.closing = True
            self._work.notify_all()
            self._room.notify_all()

    def stop(self) -> list[Prepared | Job]:
        """Take nothing in any more; returns what will not be written, for somebody to tell."""
        with self._lock:
            self._stopped = True
            rest = list(self._items)
            self._items.clear()
            self._room.notify_all()
            return rest

    def _enough(self) -> bool:
        return bool(self._urgent and self._round_of is None) or self.closing or self._weight >= self._limits.batch

    def _full(self, weight: int, cost: int) -> bool:
        # Something larger than the whole queue still gets through, alone.
        return bool(self._items) and (
            self._weight + weight > self._limits.size or self._bytes + cost > self._limits.bytes
        )

    def _count(self, item: Prepared | Job, sign: int) -> None:
        weight, cost = _load(item)
        self._weight += sign * weight
        self._bytes += sign * cost
        self._urgent += sign * _urgent(item)


def settle(prepared: Prepared, answer: Receipt | StoreError) -> None:
    """Tell whoever waits for `prepared` what became of it."""
    if prepared.future is None:
        return
    if isinstance(answer, Receipt):
        prepared.future.set_result(answer)
    else:
        prepared.future.set_exception(answer)


def refuse(rest: Sequence[Prepared | Job], fault: StoreError) -> int:
    """Tell whoever waits for any of `rest` that it was not done; how many entries nobody waited for."""
    quiet = 0
    for item in rest:
        if isinstance(item, Job):
            item.future.set_exception(StoreClosed(f"the store stopped: {fault}"))
            continue
        settle(item, StoreClosed(f"the store stopped: {fault}"))
        quiet += item.count if item.future is None else 0
    return quiet


def _urgent(item: Prepared | Job) -> bool:
    return isinstance(item, Job) or item.waits


def _load(item: Prepared | Job) -> tuple[int, int]:
    return (0, 0) if isinstance(item, Job) else (max(1, item.count), item.cost)
