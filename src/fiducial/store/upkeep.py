"""What a store does for its log from time to time: keep its checkpoint, apply its retention, remove what that left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec

from fiducial.core.clock import Clock
from fiducial.errors import StoreError
from fiducial.store import erase, owed, retained
from fiducial.store.writer import LogWriter

_log = logging.getLogger("fiducial.store")
_RETENTION_PAUSE = timedelta(hours=1)
"""How often a retention setting is applied. Its unit is days."""
_OWED_PAUSE = timedelta(seconds=10)
"""How often the database is asked whether an erasure, of whichever process, left something behind."""
_LONGEST_OWED_PAUSE = timedelta(hours=1)
"""Each time that it could not be removed, twice as long passes before the next; at most this."""


class Schedule(msgspec.Struct, frozen=True):
    """When."""

    checkpoint_every: int = 10_000
    """Entries after which the checkpoint is renewed."""
    checkpoint_interval: timedelta = timedelta(seconds=10)
    """Time after which it is, if there are any new ones."""
    retention: timedelta | None = None
    """Age at which payloads are erased; `None` keeps them."""

    def check(self) -> None:
        """Raises `StoreError` for what cannot be meant."""
        if self.checkpoint_every < 1:
            raise StoreError("checkpoint_every has to be at least 1")
        if self.retention is not None and self.retention <= timedelta(0):
            raise StoreError("retention has to be a positive duration; leave it out to keep payloads")


class Upkeep:
    """Done by the thread that owns `writer`, between two transactions."""

    def __init__(
        self, writer: LogWriter, checkpoint: Path, schedule: Schedule, clock: Clock, scrub: Callable[[], None]
    ) -> None:
        """`scrub` removes what an erasure leaves behind, and does not wait long for others that hold it."""
        self._writer = writer
        self._beside = retained.Beside(checkpoint)
        self._schedule = schedule
        self._clock = clock
        self._scrub = scrub
        self._kept_size = 0
        self._kept_at = self._retain_at = self._pay_at = clock.monotonic()
        self._pay_pause = _OWED_PAUSE
        self._interval = schedule.checkpoint_interval.total_seconds()
        self._touched = False

    def touch(self) -> None:
        """The log grows, or will, by another hand than `writer`'s."""
        self._touched = True

    def pause(self) -> float:
        """Seconds until there is something to do."""
        now = self._clock.monotonic()
        dues = [self._pay_at]
        if self._fresh():
            dues.append(self._kept_at + self._interval)
        if self._schedule.retention is not None:
            dues.append(self._retain_at)
        return max(0.0, min(dues) - now)

    def tend(self) -> None:
        """Do what is due."""
        now = self._clock.monotonic()
        fresh = self._fresh()
        if fresh >= self._schedule.checkpoint_every or (fresh and now >= self._kept_at + self._interval):
            self.keep_checkpoint()
        if self._schedule.retention is not None and now >= self._retain_at:
            step = erase.keep_to(self._writer, self._schedule.retention, at_us=self._clock.unix_us())
            if step.place is not None:
                return
            self._retain_at = now + _RETENTION_PAUSE.total_seconds()
            self._pay_at = now
        if now >= self._pay_at:
            self._pay()
            self._pay_at = now + self._pay_pause.total_seconds()

    def keep_checkpoint(self) -> str:
        """Sign the log as it is now, keep that and return it."""
        self._touched = False
        with self._writer.transaction():
            note = self._writer.note()
        self._beside.keep(note)
        self._kept_size = self._writer.size
        self._kept_at = self._clock.monotonic()
        return note

    def advance(self) -> None:
        """Have the checkpoint say what was just written; nothing here waits for the disk."""
        self._beside.advance(self._writer.note())

    def close(self) -> None:
        """Let go of the checkpoint's file."""
        self._beside.close()

    def _pay(self) -> None:
        """Remove what erasures left behind; when that fails it stays owed, and the store goes on."""
        try:
            if owed.owed(self._writer.reader) is None:
                return
        except StoreError:
            return  # a database that cannot be read is noticed by whoever commits
        try:
            owed.pay(self._writer, self._scrub)
        except StoreError as error:
            _log.warning("the log says that payloads are erased, and their bytes may not be gone yet: %s", error)
            self._pay_pause = min(2 * self._pay_pause, _LONGEST_OWED_PAUSE)
        else:
            self._pay_pause = _OWED_PAUSE

    def _fresh(self) -> int:
        return self._writer.size - self._kept_size or int(self._touched)
