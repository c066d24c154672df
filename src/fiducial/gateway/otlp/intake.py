"""What is sent to the receiver, whatever it is sent over: read in a thread, bounded, and kept.

What was begun is done to its end, also when whoever sent it does not wait for the answer: else a thread that nobody
counts any more would go on, and what it has kept would wait until all that waits is looked at.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from fiducial.gateway.otlp import wire
from fiducial.gateway.otlp.receiver import Receiver, Taken
from fiducial.gateway.otlp.wire import Span, Unreadable
from fiducial.gateway.refusals import Refused

MAX_UNDERWAY: Final = 64 * 1024 * 1024
"""Bytes of a host's requests that are taken in at once, as they were sent."""


class Intake:
    """Used on one event loop."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._underway: dict[asyncio.Task[Taken], tuple[str, int]] = {}
        """By what takes it in: the host, and the bytes that it sent."""

    async def take(self, host: str, body: bytes, kind: str, encoding: str) -> Taken:
        """Keep what is in `body`, of content type `kind`. Raises `Refused`, `StoreError` when it cannot be kept."""
        if len(body) + sum(size for of, size in self._underway.values() if of == host) > MAX_UNDERWAY:
            raise Refused(429, "too much at once; send it again later")
        task = asyncio.get_running_loop().create_task(self._take(host, body, kind, encoding))
        self._underway[task] = host, len(body)
        task.add_done_callback(self._underway.pop)
        return await asyncio.shield(task)

    async def _take(self, host: str, body: bytes, kind: str, encoding: str) -> Taken:
        found = await self.receiver.sessions.threads.run(host, partial(_read, body, kind, encoding))
        return await self.receiver.take(host, found)

    def begin(self) -> None:
        """Follow what waits, until `close`."""
        self.receiver.begin()

    async def close(self) -> None:
        """What was begun is done first."""
        await asyncio.gather(*self._underway, return_exceptions=True)
        await self.receiver.close()


def _read(body: bytes, kind: str, encoding: str) -> list[Span | Unreadable]:
    return list(wire.spans(wire.decoded(body, kind, encoding)))


__all__ = ["MAX_UNDERWAY", "Intake"]
