"""Waiting for people: what has become of a request, as soon as it is known.

An agent that waits holds no thread: its host asks with `?wait=` seconds, and is answered when the request is settled or
the time is over. Changes are heard from the store, whichever process made them; so are halts, which void requests.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from functools import partial
from typing import Any, Final

import msgspec

from fiducial.core.ids import HoldId, SessionId
from fiducial.core.store import Watch
from fiducial.errors import OversightError
from fiducial.gateway.refusals import Refused
from fiducial.gateway.threads import Threads
from fiducial.guard.switches import HALTS
from fiducial.oversight.cells import HOLDS
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Hold, State

MAX_WAIT: Final = 60.0
"""Seconds; whoever wants to wait for longer asks again."""


class RequestState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has become of a request."""

    request: HoldId
    state: State
    """`approved` and `answered`: make the call again, and it is decided afresh."""
    open: bool
    why: str = ""
    """Why it was rejected, or is void."""
    instead: Any = None
    """Arguments to make the call with instead; nothing when there are none."""


class Requests:
    """Used on one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._threads = desk, Threads()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watches: tuple[Watch, ...] = ()
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def begin(self) -> None:
        """Listen, until `close`. Raises `StoreError`."""
        self._loop = asyncio.get_running_loop()
        self._watches = tuple(self._desk.store.watch(prefix, self._changed) for prefix in (HOLDS, HALTS))

    def close(self) -> None:
        """Whoever waits is answered with what is known."""
        watches, self._watches = self._watches, ()
        for watch in watches:
            watch.close()
        self._tell(frozenset(self._waiting))

    async def state(self, session: SessionId, hold: HoldId, seconds: float, host: str = "") -> RequestState:
        """What has become of it within `seconds`, told to `host`. Raises `Refused` when the session has no such
        request."""
        if not 0 <= seconds <= MAX_WAIT:  # NaN is neither
            raise Refused(400, f"`wait` is at most {MAX_WAIT:.0f} seconds")
        deadline = time.monotonic() + seconds
        changed = asyncio.Event()
        self._waiting[HOLDS + hold].add(changed)
        try:
            while True:
                changed.clear()
                found = await self._threads.run(host, partial(self._read, session, hold))
                left = min(deadline - time.monotonic(), self._expires(found))
                if not found.open or deadline <= time.monotonic() or not self._watches:
                    return _told(found)
                try:
                    await asyncio.wait_for(changed.wait(), max(0.05, left))
                except TimeoutError:
                    continue
        finally:
            waiting = self._waiting[HOLDS + hold]
            waiting.discard(changed)
            if not waiting:
                del self._waiting[HOLDS + hold]

    def _read(self, session: SessionId, hold: HoldId) -> Hold:
        try:
            found = self._desk.hold(hold)
        except OversightError:
            found = None
        if found is None or found.session != session:
            raise Refused(404, "the session has no such request")
        return found

    def _expires(self, hold: Hold) -> float:
        """Seconds until time alone changes it; it may have, since it was read."""
        return max(0, hold.expires_us - self._desk.clock.unix_us()) / 1e6

    def _changed(self, keys: frozenset[str]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, keys)

    def _tell(self, keys: frozenset[str]) -> None:
        # A halt may be about any of them.
        halted = any(key.startswith(HALTS) for key in keys)
        for key in self._waiting if halted else keys & self._waiting.keys():
            for event in self._waiting[key]:
                event.set()


def _told(hold: Hold) -> RequestState:
    return RequestState(request=hold.id, state=hold.state, open=hold.open, why=hold.why, instead=hold.instead)


__all__ = ["MAX_WAIT", "RequestState", "Requests"]
