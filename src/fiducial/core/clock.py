"""Time comes in through here, so that every decision can be tested with no real clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The two kinds of time a decision needs."""

    def unix_us(self) -> int:
        """Wall-clock time, microseconds since 1970-01-01 UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations and deadlines."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def unix_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to."""

    __slots__ = ("_monotonic", "_unix_us")

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._unix_us = int(start.timestamp() * 1_000_000)
        self._monotonic = 0.0

    def unix_us(self) -> int:
        return self._unix_us

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Both clocks move forward by `by`."""
        self._unix_us += by // timedelta(microseconds=1)
        self._monotonic += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Only the wall clock moves, as when an operator or NTP sets it; `by` may be negative."""
        self._unix_us += by // timedelta(microseconds=1)


def instant(unix_us: int) -> datetime:
    """`unix_us` (microseconds since 1970, UTC) as an aware datetime."""
    return datetime.fromtimestamp(unix_us / 1_000_000, UTC)
