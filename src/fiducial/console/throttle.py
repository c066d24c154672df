"""Slowing down whoever guesses: after a few failures, each further try has to wait twice as long as the one before.

A try is counted as a failure when it begins, and given back when it succeeds: otherwise whoever asks a hundred times at
once would fail a hundred times before the first is counted.

Failures are counted by the name that was tried, where there is one, and by the address that tried it. An address waits
up to a quarter of an hour. A name waits up to half a minute only: otherwise anybody could lock its owner out by failing
in their place. The counts are this process's own and end with it; whoever can restart it has no need to guess.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from datetime import timedelta
from threading import Lock
from typing import NamedTuple

from fiducial.core.clock import Clock

FREE = 3
"""Failures that cost nothing: people mistype."""
ADDRESS_WAIT = timedelta(minutes=15)
NAME_WAIT = timedelta(seconds=30)
FORGET = timedelta(hours=1)
"""Without a further failure, what was counted is forgotten after this long."""
MAX_COUNTED = 20_000
"""Names and addresses counted; past it the one that failed longest ago is forgotten."""


class _Count(NamedTuple):
    failures: int
    last: float
    """By the monotonic clock."""
    before: float
    """When the one before it was."""


class Throttle:
    """Counts failures. Usable from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def begin(self, address: str, name: str = "") -> timedelta:
        """Begin a try from `address`: zero, and it counts as failed until it `succeeded`; or how long to wait first."""
        now = self._clock.monotonic()
        keys = _keys(address, name)
        with self._lock:
            wait = max(self._left(key, most, now) for key, most in keys)
            if wait:
                return wait
            for key, _ in keys:
                count = self._current(key, now)
                before = self._counts[key].last if count else now
                self._counts[key] = _Count(count + 1, now, before)
                self._counts.move_to_end(key)
            while len(self._counts) > MAX_COUNTED:
                self._counts.popitem(last=False)
            return wait

    def succeeded(self, address: str, name: str = "") -> None:
        """The try was no failure; by the owner of `name`, whose failures are forgotten.

        The address stays counted for the others: one good account must not free a guesser.
        """
        with self._lock:
            self._counts.pop(_by_name(name), None)
            key = _by_address(address)
            count = self._counts.get(key)
            if count is not None:
                self._counts[key] = _Count(count.failures - 1, count.before, count.before)

    def _current(self, key: str, now: float) -> int:
        count = self._counts.get(key)
        return 0 if count is None or now - count.last > FORGET.total_seconds() else count.failures

    def _left(self, key: str, most: timedelta, now: float) -> timedelta:
        failures = self._current(key, now)
        if failures < FREE:
            return timedelta(0)
        wait = min(2.0 ** min(failures - FREE, 20), most.total_seconds())
        return timedelta(seconds=max(0.0, self._counts[key].last + wait - now))


def _keys(address: str, name: str) -> list[tuple[str, timedelta]]:
    keys = [(_by_address(address), ADDRESS_WAIT)]
    return [*keys, (_by_name(name), NAME_WAIT)] if name else keys


def _by_name(name: str) -> str:
    return f"name {name[:200]}"


def _by_address(address: str) -> str:
    return f"from {_network(address)}"


def _network(address: str) -> str:
    """An IPv6 address by its /64, which is what one subscriber gets; others as they are."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


__all__ = ["Throttle"]
