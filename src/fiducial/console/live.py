"""Telling open pages that the queue has changed.

One thread looks twice a second, while any page listens, whichever process made the change; each page's stream only
waits for its word. A stream ends when its person is signed out or may not see the queue any more, and after a while in
any case; browsers come back by themselves, through the gate.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable

from starlette.concurrency import run_in_threadpool

from fiducial.console.queue import Queue
from fiducial.console.visit import Refused
from fiducial.core.ids import PersonId
from fiducial.errors import StoreError

log = logging.getLogger("fiducial.console")
MAX_STREAMS = 500
"""Pages that may listen at once; others look again by themselves."""
MAX_EACH = 20
"""The same of one person's."""
_LOOK = 0.5
"""Seconds between two looks."""
_CHECK = 10.0
"""Seconds between two checks that the person is still signed in and may look; each also keeps the connection alive."""
_LAST = 60
"""Checks after which a stream ends: ten minutes."""


class _Listener:
    """One stream that waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, person: PersonId) -> None:
        self.person = person
        self._loop = loop
        self._news = asyncio.Event()

    def tell(self) -> None:
        """From any thread: there is something new."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    async def wait(self, seconds: float) -> bool:
        """Whether there was something new within that time."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Live:
    """Who listens for changes of the queue. Usable from any thread."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._looking = False
        self._state = ""

    def stream(self, person: PersonId, still: Callable[[], bool], seen: str) -> AsyncGenerator[bytes, None]:
        """Server-sent events: one at each change, as long as `still` says that the person may see them.

        `seen`: the state that the page shows, so that nothing is missed between the page and its stream. Raises
        `Refused` when too many listen.
        """
        with self._lock:
            self._room(person)
        return self._told(person, still, seen)

    async def _told(self, person: PersonId, still: Callable[[], bool], seen: str) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        listener = _Listener(loop, person)
        try:
            self._join(listener)
        except Refused:
            return  # others came in between; the browser asks again, and is told
        try:
            yield b"retry: 3000\n\n"
            # What changed before this stream was among the listeners.
            state = await run_in_threadpool(lambda: self._queue.now().state)
            for _ in range(_LAST):
                if not await run_in_threadpool(still):
                    return
                yield b": still here\n\n"
                until = loop.time() + _CHECK
                while True:
                    if state != seen:
                        seen = state
                        yield b"event: changed\ndata: %b\n\n" % state.encode()
                    left = until - loop.time()
                    if left <= 0 or not await listener.wait(left):
                        break
                    state = self._state
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _join(self, listener: _Listener) -> None:
        with self._lock:
            self._room(listener.person)
            self._listeners.add(listener)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="fiducial-live", daemon=True).start()

    def _room(self, person: PersonId) -> None:
        theirs = sum(each.person == person for each in self._listeners)
        if len(self._listeners) >= MAX_STREAMS or theirs >= MAX_EACH:
            raise Refused(503, "too many pages listen already; this one looks again by itself")

    def _look(self) -> None:
        while True:
            with self._lock:
                if not self._listeners:
                    self._looking = False
                    return
            try:
                state = self._queue.now().state
            except StoreError as error:
                # Streams end by their own checks when it stays so; browsers then come back.
                log.warning("the queue cannot be looked at: %s", error)
            else:
                with self._lock:
                    listeners = list(self._listeners) if state != self._state else []
                    self._state = state
                for each in listeners:
                    each.tell()
            time.sleep(_LOOK)


__all__ = ["Live"]
