"""The sessions that hosts have open, each with the host that opened it.

A session lives in memory while it is used. One that is not used for a while is let go of, as are all when the server
stops, and is read back from the log when its host comes again, to whichever server on the store. Which host opened it
is kept in a cell, `door/<session>`: for every other host there is no such session. At which door its calls are
decided is kept in another one, `decides/<session>`, before the first of them.

A session stays where it is found until it is let go of, and nobody is let in meanwhile: read back any earlier, it would
lack what is still being taken in.

Deciding happens on the event loop. What may take long (taking in a large result, a session that is opened) gets a
thread, and the session's decisions wait for it without holding the loop up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, TypeVar

from anyio import CancelScope

from fiducial.core.event import SessionClosed
from fiducial.core.ids import SessionId
from fiducial.core.store import Commit, Put
from fiducial.errors import SessionError, StoreError
from fiducial.gateway.door import Refused
from fiducial.gateway.threads import Threads, Turns
from fiducial.guard.guard import Guard
from fiducial.guard.reopen import Readable
from fiducial.guard.session import Session

log = logging.getLogger("fiducial.gateway")
T = TypeVar("T")
Reason = Literal["done", "error", "lost"]
Where = Literal["model", "tools"]
"""At which door calls are decided: where the model asks for them, or where tools are called."""
HEADER: Final = b"fiducial-session"
"""The header by which a host says in which of its sessions something is done."""
DOORS: Final = "door/"
"""Prefix of the cells that say which host opened a session."""
DECIDES: Final = "decides/"
"""Prefix of the cells that say at which door a session's calls are decided."""
IDLE: Final = timedelta(minutes=15)
"""Unused for so long, a session is let go of."""
MOST: Final = 5_000
"""Sessions in memory at once, with all that they delegated to; past it, those that were not used for longest are let go
of."""
NONE: Final = "you have no open session of that id"


class Seat:
    """One session, with whose it is."""

    __slots__ = ("_threads", "_turns", "_where", "children", "ending", "going", "host", "parent", "session", "used")

    def __init__(
        self, session: Session, host: str, threads: Threads, parent: Seat | None = None, where: str | None = None
    ) -> None:
        self.session, self.host, self.parent = session, host, parent
        self.children: list[SessionId] = []
        self.used = time.monotonic()
        self.ending: Reason | None = None
        """How it is to end, until that is kept."""
        self.going: asyncio.Task[None] | None = None
        """Lets go of it."""
        self._where = where
        self._threads = threads
        self._turns: Turns = Turns() if parent is None else parent._turns

    async def apart(self, run: Callable[[], T]) -> T:
        """`run` in a thread of the host's, while nothing else happens in the session and those it delegated to."""
        return await self._turns.apart(lambda: self._threads.run(self.host, run))

    async def here(self, work: Callable[[], Awaitable[T]]) -> T:
        """`work` on the event loop, while nothing runs apart."""
        return await self._turns.here(work)

    async def turn(self) -> None:
        """Wait until nothing runs apart: who takes the session's lock on the event loop would hold that up."""

        async def nothing() -> None:
            pass

        if self._turns.alone:
            await self._turns.here(nothing)

    async def whole(self, work: Callable[[], T], *, apart: bool) -> T:
        """`work` when it is its turn, on the event loop or `apart`, and to its end: what it does counts, so whoever is
        given up meanwhile hears of it afterwards. Raises what `work` does, or where it cannot begin."""
        if not apart:
            with CancelScope(shield=True):
                await self.turn()
            return work()
        going, given_up = asyncio.ensure_future(self.apart(work)), False
        with CancelScope(shield=True):
            while not going.done():
                try:
                    await asyncio.wait({going})
                except asyncio.CancelledError:
                    given_up = True
        if given_up and (task := asyncio.current_task()) is not None:
            task.uncancel()
            task.cancel()
        return going.result()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """It is not let go of meanwhile, and nobody waits."""
        self._turns.inside += 1
        try:
            yield
        finally:
            self._turns.inside -= 1
            self.used = self.top.used = time.monotonic()

    def decides(self, where: Where) -> None:
        """Calls are decided there from here on, whoever reads the session back. Raises `Refused` when they are at the
        other door: each would be decided, counted and approved twice; `StoreError` when it cannot be kept."""
        if self._where not in (None, where):
            other = "where its tools are called; a model's are left to that by `calls: leave`"
            raise Refused(409, f"calls of this session are decided {other if where == 'model' else 'at its model'}")
        if self._where is None and self.parent is None:  # one that was delegated is not read back
            # Nobody waits for it: what is decided after it is kept after it.
            kept = Commit(changes=(Put(DECIDES + self.session.id, where.encode()),), durable=False)
            self.session.store.commit(kept)
        self._where = where

    @property
    def top(self) -> Seat:
        """The session that it was delegated by, and that one by, up to the first."""
        return self if self.parent is None else self.parent.top

    @property
    def free(self) -> bool:
        """Nobody is at work in it, and nothing is to be done with it."""
        return not self._turns.inside and self.going is None and self.ending is None


class Sessions:
    """Used on one event loop."""

    def __init__(self, guard: Guard, *, idle: timedelta = IDLE, most: int = MOST) -> None:
        self.guard, self.threads = guard, Threads()
        self._idle, self._most = idle.total_seconds(), most
        self._seats: dict[SessionId, Seat] = {}
        self._coming: dict[SessionId, asyncio.Task[Seat | None]] = {}

    async def open(self, host: str, *, durable: bool = True, **given: Any) -> Seat:
        """A new session of `host`'s; `given` as `Guard.session` takes it. One that is not `durable` may be nobody's
        after a crash: its host does not know its id."""

        def opened() -> Session:
            session = self.guard.session(**given)
            try:
                mark = Commit(changes=(Put(DOORS + session.id, host.encode()),), durable=durable)
                kept = self.guard.store.commit(mark)
                if durable:
                    kept.result()
            except StoreError:
                session.leave()
                raise
            return session

        seat = Seat(await self.threads.run(host, opened), host, self.threads)
        await self._let_go_of_old()
        self._seats[seat.session.id] = seat
        return seat

    async def single(self, host: str, **given: Any) -> Seat:
        """A session for one decision, which nobody finds; `given` as `Guard.single` takes it."""
        return Seat(await self.threads.run(host, partial(self.guard.single, **given)), host, self.threads)

    async def find(self, host: str, id: str, *, to_end: bool = False) -> Seat:
        """The session of that id, for work that is begun before anything else is waited for: only then is it not let go
        of. `to_end`: also one whose end could not be kept.

        Raises `Refused` when `host` has none, or it cannot be gone on with.
        """
        session = SessionId(id)
        while True:
            seat = self._seats.get(session) or await self._back(host, session)
            if seat is None or seat.host != host:
                raise Refused(404, NONE)
            top = seat.top
            if top.going is not None:
                await asyncio.wait([top.going])
            elif (lease := seat.session.lease) is not None and lease.lost:
                # It goes on elsewhere. What is here is worth nothing; whether it can come back, the store knows.
                self.forget(top)
                await self._leave(top)
            elif seat.ending is not None and not to_end:
                raise Refused(404, NONE)
            elif seat.session.closed and seat.ending is None:
                self.forget(seat)
                raise Refused(404, NONE)
            elif self._seats.get(session) is seat:
                seat.used = top.used = time.monotonic()
                return seat

    async def delegate(self, seat: Seat, instructions: str, agent: str) -> Seat:
        """A child session of `seat`'s; it lives in memory with the one above it."""
        session = await seat.apart(lambda: seat.session.delegate(instructions, agent=agent))
        child = Seat(session, seat.host, self.threads, seat)
        seat.children.append(session.id)
        self._seats[session.id] = child
        return child

    async def end(self, seat: Seat, reason: Reason) -> None:
        """End the session, and those that it delegated to. Raises `StoreError` when that cannot be kept: nothing more
        is decided in it then, and it can be ended again.
        """
        session = seat.session

        def ended() -> None:
            with session.lock:
                if seat.ending is not None:
                    session.closed = False  # or closing it again would do nothing
                seat.ending = reason
                session.close(reason)
                seat.ending = None

        await seat.apart(ended)
        self.forget(seat)

    def forget(self, seat: Seat) -> None:
        """It has ended, and those that it delegated to with it."""
        self._seats.pop(seat.session.id, None)
        for child in seat.children:
            if (found := self._seats.get(child)) is not None:
                self.forget(found)

    async def let_go(self) -> None:
        """Let go of those that were not used for long, and end those whose end could not be kept."""
        await self._end_again()
        before = time.monotonic() - self._idle
        for seat in self._tops():
            await self._leave_if_free(seat, before)

    async def close(self) -> None:
        """Let go of all; none of them ends."""
        await self._end_again()
        for seat in self._tops():
            await self._leave(seat)

    def _tops(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.parent is None]

    async def _end_again(self) -> None:
        for seat in list(self._seats.values()):
            if seat.ending is not None:
                try:
                    await self.end(seat, seat.ending)
                except Exception as error:  # noqa: BLE001 - it is tried again, and nothing is decided in it
                    log.warning("the end of the session %s could not be kept: %s", seat.session.id, error)

    async def _let_go_of_old(self) -> None:
        tops = self._tops()
        if len(tops) >= self._most:
            now = time.monotonic()
            # Some at once: looking for the oldest takes its time.
            for seat in sorted(tops, key=lambda seat: seat.used)[: 1 + self._most // 20]:
                await self._leave_if_free(seat, now)

    async def _leave_if_free(self, seat: Seat, before: float) -> None:
        """Let go of it when nobody is at work in it, or has found it since `before`."""
        if seat.free and seat.used <= before and self._seats.get(seat.session.id) is seat:
            await self._leave(seat)

    async def _leave(self, seat: Seat) -> None:
        if seat.going is None:
            seat.going = asyncio.create_task(self._left(seat))
        await asyncio.shield(seat.going)

    async def _left(self, seat: Seat) -> None:
        try:
            await seat.apart(seat.session.leave)
        except Exception as error:  # noqa: BLE001 - the others are let go of all the same
            log.warning("the session %s could not be given up: %s", seat.session.id, error)
        finally:
            if seat.session.closed:
                self.forget(seat)
            seat.going = None

    async def _back(self, host: str, id: SessionId) -> Seat | None:
        """The session as the log has it, if it is `host`'s; two that come at once get the same one."""
        key = DOORS + id
        cell = (await self.threads.run(host, partial(self.guard.store.read, [key]))).get(key)
        # Its lease is taken for its own host alone.
        if cell is None or cell.value.decode() != host:
            return None
        if (seat := self._seats.get(id)) is not None:
            return seat
        task = self._coming.get(id)
        if task is None:
            task = self._coming[id] = asyncio.create_task(self._read_back(host, id))
            task.add_done_callback(lambda _: self._coming.pop(id, None))
        return await asyncio.shield(task)

    async def _read_back(self, host: str, id: SessionId) -> Seat | None:
        def reopened() -> tuple[Session, str | None]:
            session, key = self.guard.reopen(id), DECIDES + id
            try:
                cell = self.guard.store.read([key]).get(key)
            except StoreError:
                session.leave()
                raise
            return session, cell.value.decode() if cell is not None else None

        try:
            session, where = await self.threads.run(host, reopened)
        except SessionError as error:
            if await self.threads.run(host, partial(self._ended, id)):
                return None
            raise Refused(409, f"the session cannot be gone on with: {error}") from error
        seat = Seat(session, host, self.threads, where=where)
        await self._let_go_of_old()
        self._seats[id] = seat
        return seat

    def _ended(self, id: SessionId) -> bool:
        """The log says that the session was closed."""
        store = self.guard.store
        return isinstance(store, Readable) and any(
            isinstance(each.event, SessionClosed) for each in store.ledger().session(id)
        )


def named(headers: list[tuple[bytes, bytes]]) -> SessionId | None:
    """The session that a request says it belongs to; `None`: it names none. Raises `Refused`."""
    found = [value.decode("latin-1") for name, value in headers if name == HEADER]
    if len(found) > 1:
        raise Refused(400, "name one session")
    return SessionId(found[0]) if found else None


__all__ = [
    "DECIDES", "DOORS", "HEADER", "IDLE", "MOST", "NONE", "Reason", "Seat", "Sessions", "Where", "named",
]  # fmt: skip
