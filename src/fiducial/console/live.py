"""Telling open pages that the queue has changed: a number that grows, and a stream of it for each page.

The store says when something about waiting requests changes, in whichever process. A stream ends when its person is
signed out, and after a while in any case; browsers come back by themselves, through the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool

from fiducial.console.visit import Refused
from fiducial.core.store import Store
from fiducial.oversight.cells import HOLDS, WAITING

MAX_STREAMS = 500
"""Pages that may listen at once; others look again by themselves."""
_LOOK = 0.5
"""Seconds between two looks at the number."""
_CHECK = 20
"""Looks between two checks that the person is still signed in; each also keeps the connection alive."""
_LAST = 60
"""Checks after which a stream ends: ten minutes."""


class Live:
    """Counts changes of the queue."""

    def __init__(self, store: Store) -> None:
        self.changes = 0
        """Grows whenever a request comes, is answered or lapses."""
        self._streams = 0
        self._watches = [store.watch(prefix, self._changed) for prefix in (WAITING, HOLDS)]

    def close(self) -> None:
        """Watch no more."""
        for watch in self._watches:
            watch.close()

    def _changed(self, _: frozenset[str]) -> None:
        self.changes += 1

    async def stream(self, still: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events: one at each change, as long as `still` says that the person may see them."""
        if self._streams >= MAX_STREAMS:
            raise Refused(503, "too many pages listen already; this one looks again by itself")
        self._streams += 1
        try:
            told = self.changes
            yield b"retry: 3000\n\n"
            for _ in range(_LAST):
                if not await run_in_threadpool(still):
                    return
                yield b": still here\n\n"
                for _ in range(_CHECK):
                    await asyncio.sleep(_LOOK)
                    if self.changes != told:
                        told = self.changes
                        yield b"event: changed\ndata: %d\n\n" % told
        finally:
            self._streams -= 1


__all__ = ["Live"]
