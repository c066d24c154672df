"""Telling open pages that the queue has changed.

Every page that listens has a stream of its own; what they are told is looked up once for all of them, at most twice a
second, whichever process made the change. A stream ends when its person is signed out, and after a while in any case;
browsers come back by themselves, through the gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool

from fiducial.console.visit import Refused
from fiducial.core.clock import Clock
from fiducial.core.store import Store
from fiducial.oversight.cells import HOLDS, WAITING

MAX_STREAMS = 500
"""Pages that may listen at once; others look again by themselves."""
_LOOK = 0.5
"""Seconds between two looks."""
_CHECK = 20
"""Looks between two checks that the person is still signed in; each also keeps the connection alive."""
_LAST = 60
"""Checks after which a stream ends: ten minutes."""


class Live:
    """What the queue is, in a word that changes with it. Usable from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._looked = -1.0
        self._state = ""
        self._streams = 0

    def state(self, *, now: bool = False) -> str:
        """The word, looked up afresh if `now`, or if the last look was half a second ago. Raises `StoreError`."""
        with self._lock:
            at = self._clock.monotonic()
            if now or not 0 <= at - self._looked < _LOOK or self._looked < 0:
                waiting = self._store.scan(WAITING)
                cells = self._store.read([HOLDS + key.removeprefix(WAITING) for key in waiting])
                versions = [f"{key} {cells[key].version}" for key in sorted(cells)]
                self._state = hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]
                self._looked = at
            return self._state

    async def stream(self, still: Callable[[], bool], seen: str) -> AsyncIterator[bytes]:
        """Server-sent events: one at each change, as long as `still` says that the person may see them.

        `seen`: the state that the page shows, so that nothing is missed between the page and its stream.
        """
        if self._streams >= MAX_STREAMS:
            raise Refused(503, "too many pages listen already; this one looks again by itself")
        self._streams += 1
        try:
            yield b"retry: 3000\n\n"
            for _ in range(_LAST):
                if not await run_in_threadpool(still):
                    return
                yield b": still here\n\n"
                for _ in range(_CHECK):
                    state = await run_in_threadpool(self.state)
                    if state != seen:
                        seen = state
                        yield b"event: changed\ndata: %b\n\n" % state.encode()
                    await asyncio.sleep(_LOOK)
        finally:
            self._streams -= 1


__all__ = ["Live"]
