"""The sessions that hosts have open, each with the host that opened it.

A session lives in memory while it is used. One that is not used for a while is let go of, as are all when the server
stops, and is read back from the log when its host comes again, to whichever server on the store. Which host opened it
is kept in a cell, `door/<session>`: for every other host there is no such session.

Deciding happens on the event loop. What may take long (taking in a large result, a session that is opened) gets a
thread, and the session's decisions wait for it without holding the loop up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, TypeVar

from starlette.concurrency import run_in_threadpool

from fiducial.core.ids import SessionId
from fiducial.core.store import Commit, Put
from fiducial.errors import SessionError, StoreError
from fiducial.gateway.door import Refused
from fiducial.guard.guard import Guard
from fiducial.guard.session import Session

log = logging.getLogger("fiducial.gateway")
T = TypeVar("T")
DOORS: Final = "door/"
"""Prefix of the cells that say which host opened a session."""
IDLE: Final = timedelta(minutes=15)
"""Unused for so long, a session is let go of."""
MOST: Final = 5_000
"""Sessions in memory at once; past it, those that were not used for longest are let go of."""
_NONE = "you have no open session of that id"


class Seat:
    """One session, with whose it is."""

    __slots__ = ("_busy", "children", "host", "parent", "session", "used")

    def __init__(self, session: Session, host: str, parent: Seat | None = None) -> None:
        self.session, self.host, self.parent = session, host, parent
        self.children: list[SessionId] = []
        self.used = time.monotonic()
        self._busy: asyncio.Lock = asyncio.Lock() if parent is None else parent._busy

    async def apart(self, run: Callable[[], T]) -> T:
        """`run` in a thread of its own, while nothing else happens in the session and those it delegated to."""
        async with self._busy:
            return await run_in_threadpool(run)

    async def free(self) -> None:
        """Wait until nothing runs apart."""
        if self._busy.locked():
            async with self._busy:
                pass

    @property
    def top(self) -> Seat:
        """The session that it was delegated by, and that one by, up to the first."""
        return self if self.parent is None else self.parent.top


class Sessions:
    """Used on one event loop."""

    def __init__(self, guard: Guard, *, idle: timedelta = IDLE, most: int = MOST) -> None:
        self.guard = guard
        self._idle, self._most = idle.total_seconds(), most
        self._seats: dict[SessionId, Seat] = {}
        self._coming: dict[SessionId, asyncio.Task[Seat | None]] = {}

    async def open(self, host: str, **given: Any) -> Seat:
        """A new session of `host`'s; `given` as `Guard.session` takes it."""

        def opened() -> Session:
            session = self.guard.session(**given)
            try:
                self.guard.store.commit(Commit(changes=(Put(DOORS + session.id, host.encode()),))).result()
            except StoreError:
                session.leave()
                raise
            return session

        seat = Seat(await run_in_threadpool(opened), host)
        await self._let_go_of_old()
        self._seats[seat.session.id] = seat
        return seat

    async def single(self, host: str, **given: Any) -> Seat:
        """A session for one decision, which nobody finds; `given` as `Guard.single` takes it."""
        return Seat(await run_in_threadpool(lambda: self.guard.single(**given)), host)

    async def find(self, host: str, id: str) -> Seat:
        """The session of that id. Raises `Refused` when `host` has none, or it cannot be gone on with."""
        session = SessionId(id)
        seat = self._seats.get(session)
        if seat is None:
            seat = await self._back(session)
        if seat is None or seat.host != host:
            raise Refused(404, _NONE)
        seat.used = seat.top.used = time.monotonic()
        if seat.session.closed:
            self.forget(seat)
            raise Refused(404, _NONE)
        return seat

    async def delegate(self, seat: Seat, instructions: str, agent: str) -> Seat:
        """A child session of `seat`'s; it lives in memory with the one above it."""
        session = await seat.apart(lambda: seat.session.delegate(instructions, agent=agent))
        child = Seat(session, seat.host, seat)
        seat.children.append(session.id)
        self._seats[session.id] = child
        return child

    def forget(self, seat: Seat) -> None:
        """It has ended, and those that it delegated to with it."""
        self._seats.pop(seat.session.id, None)
        for child in seat.children:
            if (found := self._seats.get(child)) is not None:
                self.forget(found)

    async def let_go(self) -> None:
        """Let go of those that were not used for long."""
        now = time.monotonic()
        for seat in self._tops():
            if now - seat.used >= self._idle:
                await self._leave(seat)

    async def close(self) -> None:
        """Let go of all; none of them ends."""
        for seat in self._tops():
            await self._leave(seat)

    def _tops(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.parent is None]

    async def _let_go_of_old(self) -> None:
        if len(self._seats) >= self._most:
            # Some at once: looking for the oldest takes its time.
            for seat in sorted(self._tops(), key=lambda seat: seat.used)[: 1 + self._most // 20]:
                await self._leave(seat)

    async def _leave(self, seat: Seat) -> None:
        self.forget(seat)
        try:
            await seat.apart(seat.session.leave)
        except StoreError as error:
            log.warning("the session %s could not be given up: %s", seat.session.id, error)

    async def _back(self, id: SessionId) -> Seat | None:
        """The session as the log has it; two that come at once get the same one."""
        task = self._coming.get(id)
        if task is None:
            task = self._coming[id] = asyncio.create_task(self._read_back(id))
            task.add_done_callback(lambda _: self._coming.pop(id, None))
        return await asyncio.shield(task)

    async def _read_back(self, id: SessionId) -> Seat | None:
        cell = (await run_in_threadpool(self.guard.store.read, [DOORS + id])).get(DOORS + id)
        if cell is None:
            return None
        try:
            session = await run_in_threadpool(self.guard.reopen, id)
        except SessionError as error:
            raise Refused(409, f"the session cannot be gone on with: {error}") from error
        seat = Seat(session, cell.value.decode())
        await self._let_go_of_old()
        self._seats[id] = seat
        return seat


__all__ = ["DOORS", "IDLE", "MOST", "Seat", "Sessions"]
