"""Sessions of the guard that clients of MCP are in over HTTP.

A *line* is one session, with its proxy and the transport of the SDK. Which line a request belongs to:

1. It names a session of the protocol's (`Mcp-Session-Id`, versions up to 2025-11-25): the line where that was opened.
2. It names a session of the guard's that its host has open (`Fiducial-Session`): the line in that session, of this
   principal at this server. Other doors are at work in the session too, and it does not end with the line.
3. It carries a statement of its host's: the line of that conversation, of this principal at this server.
4. It opens a session of the protocol's: a line of its own, whose task is not known.
5. Otherwise (version of 2026-07-28, which has no sessions): the one line of this principal at this server that nobody
   said anything of. What is read in any of its calls counts for all of them.

Who uses a server both with and without a statement, or a named session, counts as having read anything in all their
lines there. So does a line that is made anew for a conversation: see `marks.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import mcp_types as types
import msgspec
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from fiducial.core.faults import wordless
from fiducial.errors import FiducialError
from fiducial.gateway.mcp.forms import Forms
from fiducial.gateway.mcp.marks import Marks
from fiducial.gateway.mcp.pool import Pool, over
from fiducial.gateway.mcp.proxy import WAIT, Proxy
from fiducial.gateway.mcp.upstream import SECONDS, Upstream
from fiducial.gateway.principals import Principal
from fiducial.gateway.refusals import Refused
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import Seat
from fiducial.gateway.statements import Statement
from fiducial.gateway.threads import Threads
from fiducial.guard.guard import Guard
from fiducial.guard.tool import classes_of
from fiducial.oversight.desk import Desk
from fiducial.oversight.pins import Pins

log = logging.getLogger("fiducial.gateway")
IDLE: Final = 15 * 60.0
"""Unused for so many seconds, a line ends; not before what its host has stated has expired."""
MOST: Final = 64
"""Lines of one principal at once."""
MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes of a request: while one is read, the others wait."""
_CLIENTS: Final = 32
"""Sessions of the protocol's in one line at once."""
_END: Final = 20.0
"""Seconds for a line to end in: longer than its connection takes."""


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server, as lines are made to it."""

    name: str
    address: str
    """Where clients find it here; what their tokens are for."""
    guard: Guard
    pins: Pins
    marks: Marks
    pool: Pool
    requests: Requests
    others: frozenset[str]
    """Names of the servers beside it."""
    among: bool = False
    """One of those has the same charter, so that one session may be in both."""
    alone: bool = False
    wait: float = WAIT


class Line:
    """One session of the guard."""

    def __init__(
        self,
        served: McpServer,
        principal: Principal,
        can: types.ClientCapabilities,
        stated: Statement | None,
        seat: Seat | None,
        threads: Threads,
        *,
        own: bool,
        akin: list[Line],
    ) -> None:
        """
        seat  the session that its host named; `None`: one of its own
        own   nobody comes to it but by the session of the protocol's that is opened in it
        akin  lines whose agent may be the same: from here on, each may have read what the others do
        """
        self.served, self.principal, self.stated, self.seat, self._own = served, principal, stated, seat, own
        self.used = time.monotonic()
        self.at_work = 0
        """Requests that are being answered, streams that a client listens at among them."""
        self.ending = asyncio.Event()
        self._can = can
        self._akin = akin
        self._threads = threads
        self._doubted = bool(akin) or (seat is None and not served.alone)
        self._said = {stated.task} if stated is not None else set()
        self._inside: Seat | None = None
        """Where it is at work: `seat`, or that of its own session."""
        self._ready: asyncio.Future[StreamableHTTPSessionManager] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run())

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises `Refused` when the server cannot be talked to, `StoreError` when the session cannot
        be kept."""
        self.at_work += 1
        try:
            manager = await asyncio.shield(self._ready)
            if self.ending.is_set():
                raise Refused(503, "this session is ending; ask again")
            await manager.handle_request(scope, receive, send)
        finally:
            self.at_work -= 1
            self.used = time.monotonic()

    async def hear(self, stated: Statement) -> None:
        """The host says what its user asks for by now. Raises as `serve`."""
        await asyncio.shield(self._ready)
        if stated.task not in self._said:
            assert self._inside is not None
            await self._inside.apart(partial(self._inside.session.say, stated.task))
            self._said.add(stated.task)
        self.stated = max(stated, self.stated or stated, key=lambda each: each.expires)

    async def doubt(self) -> None:
        """Its agent may have read what is not known here."""
        self._doubted = True
        if (inside := self._inside) is not None:
            await inside.turn()
            with inside.session.lock:
                inside.session.doubt(classes_of(*inside.session.tools.values()))

    def talks(self, stated: Statement) -> bool:
        """It is of the conversation that a statement names."""
        own = self.stated
        return own is not None and (own.host, own.conversation) == (stated.host, stated.conversation)

    def may_know(self, stated: Statement | None, seat: Seat | None) -> bool:
        """Its agent may be that of another line of the principal's, which says `stated` or is in `seat`: of the same
        conversation with other roles, or because the host has let a statement expire or left it out."""
        if stated is not None and self.stated is not None:
            return self.talks(stated)
        return (self.stated is None and self.seat is None) != (stated is None and seat is None)

    @property
    def over(self) -> bool:
        """Its session has ended, or was let go of: at another door."""
        return self._inside is not None and self._inside.session.closed

    def idle(self, since: float, unix: float) -> bool:
        """Nobody has used it since, and nobody can come back to it by what was stated."""
        return not self.at_work and self.used <= since and (self.stated is None or self.stated.expires <= unix)

    async def end(self) -> None:
        """End the session. What does not end within some seconds is left."""
        self.ending.set()
        await over(self.task, _END)

    async def _run(self) -> None:
        try:
            while self._akin:
                await self._akin.pop().doubt()
            async with self.served.pool.borrowed(self.principal, self._can) as up:
                try:
                    await self._serve(up)
                finally:
                    if self._inside is not None and self.seat is None:
                        await run_in_threadpool(self._inside.session.close)
        except (Refused, FiducialError) as error:
            self._failed(error)
        except Exception as error:
            log.error("a session at the MCP server `%s` has failed", self.served.name, exc_info=wordless(error))
            self._failed(error)
        finally:
            self.ending.set()

    def _failed(self, error: Exception) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # nobody may be left who waits
        else:
            log.warning("a session at the MCP server `%s` has ended: %s", self.served.name, type(error).__name__)

    async def _serve(self, up: Upstream) -> None:
        served, stated, seat = self.served, self.stated, self.seat
        async with asyncio.timeout(SECONDS):
            said = await up.tools()
        leave = partial(served.marks.leave, self.principal.who, stated, own=self._own, named=seat is not None)
        been = await run_in_threadpool(leave)
        self._doubted = self._doubted or been
        inside = seat
        if inside is None:
            session = await run_in_threadpool(
                served.guard.session,
                user=self.principal.user,
                roles=self.principal.roles,
                task=stated.task if stated is not None else None,
            )
            inside = Seat(session, self.principal.host or "", self._threads)
        self._inside, session = inside, inside.session
        if self._doubted:
            await self.doubt()
        desk = served.guard.desk
        forms = Forms(session, served.requests, desk) if self.principal.attended and isinstance(desk, Desk) else None
        proxy = Proxy(
            up, inside, served.requests, served.pins, served.guard.switches,
            name=served.name, wait=served.wait, others=served.others, forms=forms, shared=seat is not None,
            among=seat is not None and served.among, transport="tcp",
        )  # fmt: skip
        try:
            await proxy.look(said)
            manager = StreamableHTTPSessionManager(
                proxy.server(), max_request_body_size=MAX_BODY, max_sessions=_CLIENTS, session_idle_timeout=IDLE
            )
            async with manager.run():
                self._ready.set_result(manager)
                await _either(self.ending, up.ended)
                if not self.ending.is_set():
                    self.ending.set()  # nobody new comes in
                    await proxy.answered()
        finally:
            up.leave(proxy)
            try:
                await inside.turn()
            finally:
                session.withdraw(proxy, {})


class Lines:
    """Used on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all: set[Line] = set()
        self._sessions: dict[str, Line] = {}
        """Sessions of the protocol's."""
        self._shared: dict[tuple[object, ...], Line] = {}
        """Lines that requests find without one."""
        self._threads = Threads()

    def named(self, session: str, served: McpServer, principal: Principal, seat: Seat | None) -> Line:
        """The line in which that session was opened. Raises `Refused` when this principal has none at this server, in
        `seat`."""
        line = self._sessions.get(session)
        if line is None or line.ending.is_set() or line.served is not served or line.principal != principal:
            raise Refused(404, "you have no such session")
        if line.seat is not seat:
            raise Refused(404, "you have no such session")
        line.used = self._clock()
        return line

    def opened(self, session: str, line: Line) -> None:
        """A session of the protocol's was opened in it."""
        self._sessions[session] = line

    async def closed(self, session: str, line: Line) -> None:
        """Its client has ended a session that was opened in the line; one that was opened in another one goes on."""
        if self._sessions.get(session) is line:
            del self._sessions[session]
            await self.left(line)

    async def left(self, line: Line) -> None:
        """A client has left, or has opened no session after all: a line that nobody can come to any more ends."""
        if line not in self._shared.values() and line not in self._sessions.values():
            await line.end()

    async def of(
        self,
        served: McpServer,
        principal: Principal,
        can: types.ClientCapabilities,
        stated: Statement | None,
        seat: Seat | None,
        *,
        own: bool = False,
    ) -> Line:
        """The line that a request belongs to, which says `stated` or names `seat`. `own`: it opens a session of the
        protocol's.

        Raises `Refused` when this principal has too many, and as `Line.serve`.
        """
        if stated is None and seat is None and own:
            return self._made(served, principal, can, None, None, own=True)
        about = (stated.host, stated.conversation) if stated is not None else ()
        key = served.name, principal, seat, *about
        line = self._shared.get(key)
        if line is None or line.ending.is_set():
            line = self._shared[key] = self._made(served, principal, can, stated, seat)
        else:
            line.used = self._clock()
            if stated is not None:
                await line.hear(stated)
        return line

    def _made(
        self,
        served: McpServer,
        principal: Principal,
        can: types.ClientCapabilities,
        stated: Statement | None,
        seat: Seat | None,
        *,
        own: bool = False,
    ) -> Line:
        if sum(each.principal == principal for each in self._all) >= MOST:
            raise Refused(503, f"you have {MOST} sessions, and no more can be opened before one has ended")
        akin = [
            each
            for each in self._all
            if each.served is served and each.principal.who == principal.who and each.may_know(stated, seat)
        ]
        line = Line(served, principal, can, stated, seat, self._threads, own=own, akin=akin)
        self._all.add(line)
        line.task.add_done_callback(lambda _: self._forget(line))
        return line

    def _forget(self, line: Line) -> None:
        self._all.discard(line)
        self._sessions = {name: each for name, each in self._sessions.items() if each is not line}
        self._shared = {key: each for key, each in self._shared.items() if each is not line}

    async def let_go(self, unix: float) -> None:
        """End those that nobody uses, or whose session has ended; `unix` is the time."""
        since = self._clock() - IDLE

        async def end(line: Line) -> None:
            if line.over or line.idle(since, unix):  # still: nothing is awaited between this and its end's beginning
                await line.end()

        await asyncio.gather(*(end(line) for line in list(self._all)))

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(line.end() for line in list(self._all)))


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(each.wait()) for each in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waiting)


__all__ = ["IDLE", "MAX_BODY", "MOST", "Line", "Lines", "McpServer"]
