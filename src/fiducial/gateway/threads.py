"""Threads for what may take long, so many for each host: what one of them does holds no other up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
PER_HOST: Final = 16
"""Threads of one host at once; what needs another waits."""
APART: Final = 32 * 1024
"""Bytes of a body from which on it is worked through in a thread."""


class Threads:
    """Used on one event loop."""

    def __init__(self) -> None:
        self._of: dict[str, CapacityLimiter] = {}

    async def run(self, host: str, work: Callable[[], T]) -> T:
        """`work`, in a thread of `host`'s."""
        limiter = self._of.get(host)
        if limiter is None:
            limiter = self._of[host] = CapacityLimiter(PER_HOST)
        return await to_thread.run_sync(work, limiter=limiter)

    async def sized(self, host: str, size: int, work: Callable[[], T]) -> T:
        """`work` on a body of `size` bytes: at once, or in a thread when it is large."""
        return work() if size < APART else await self.run(host, work)


class Turns:
    """Who is at work in a session: any number on the event loop, or one apart from it.

    What is apart has the session's lock for long, and the event loop must not wait for that.
    """

    __slots__ = ("_alone", "_here", "_none_here", "inside")

    def __init__(self) -> None:
        self.inside = 0
        """At work, or waiting for their turn."""
        self._alone = asyncio.Lock()
        self._here = 0
        self._none_here = asyncio.Event()

    @property
    def alone(self) -> bool:
        """Somebody is at work apart."""
        return self._alone.locked()

    async def here(self, work: Callable[[], Awaitable[T]]) -> T:
        """`work`, on the event loop."""
        self.inside += 1
        try:
            while self._alone.locked():
                async with self._alone:
                    pass
            self._here += 1
            try:
                return await work()
            finally:
                self._here -= 1
                if not self._here:
                    self._none_here.set()
        finally:
            self.inside -= 1

    async def apart(self, work: Callable[[], Awaitable[T]]) -> T:
        """`work`, in a thread, with nobody beside it."""
        self.inside += 1
        try:
            async with self._alone:
                while self._here:
                    self._none_here.clear()
                    await self._none_here.wait()
                return await work()
        finally:
            self.inside -= 1


__all__ = ["APART", "PER_HOST", "Threads", "Turns"]
