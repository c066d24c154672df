"""The doors that are served over HTTP, as one application.

Routes without a parameter in their path are looked up here, and the rest by Starlette: its layers would cost a decision
as much again as finding its route does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fiducial.core.faults import wordless
from fiducial.errors import SessionError
from fiducial.gateway.authzen import METADATA, AuthZen
from fiducial.gateway.decisions import SessionDoor
from fiducial.gateway.describe import document
from fiducial.gateway.door import Door, Hosts, Operation
from fiducial.gateway.refusals import problem
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import Sessions
from fiducial.guard.guard import Guard
from fiducial.oversight.desk import Desk

if TYPE_CHECKING:
    from fiducial.gateway.otlp.intake import Intake

log = logging.getLogger("fiducial.gateway")
_LOOK: Final = 30.0
"""Seconds between two looks for sessions that nobody uses."""
_SWITCH: Final = 0.0005
"""Seconds after which a thread at work gives the event loop a turn; Python's own 0.005 are as long as a request."""
_COLLECT: Final = 5_000
"""Objects after which Python looks for those that nothing but each other refers to. Its own 700 are made in a few dozen
requests, and every hundredth look is through all that there is, for which all requests wait."""
OPENAPI: Final = "/v1/openapi.json"
TRACES: Final = "POST /v1/traces"
"""The route that every OTLP exporter appends to the address it is given."""


class Beside(Protocol):
    """A door at an address of its own."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Open, until the server stops."""


class Part(Beside, Protocol):
    """A door that is an application of its own."""

    def serves(self, path: str) -> bool:
        """Whether a path is behind it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""


class Doors:
    """An ASGI application."""

    def __init__(self, guard: Guard, admit: Callable[[str], str | None], *, url: str = "http://127.0.0.1:8440") -> None:
        """`admit` says which host a token is of; `url` is where hosts find the doors.

        Raises `SessionError` for a guard that has no desk to keep requests to people.
        """
        if not isinstance(guard.desk, Desk):
            raise SessionError("the guard of a gateway needs a desk: a call that is held waits for people there")
        self.sessions, self.requests = Sessions(guard), Requests(guard.desk)
        self.authzen = AuthZen(self.sessions, url)
        self.operations: Mapping[str, Operation] = {
            **SessionDoor(self.sessions, self.requests).operations,
            **self.authzen.operations,
        }
        self.hosts = Hosts(admit)
        doors = {
            route: Door(operation, self.hosts, self.sessions.threads) for route, operation in self.operations.items()
        }
        self._direct: dict[str, ASGIApp] = {route: door for route, door in doors.items() if "{" not in route}
        self.intake, self._direct[TRACES] = _intake(guard, self.hosts)
        self._parts: list[Part] = []
        self._beside: list[Beside] = []
        self._routed = self._app(doors)

    def add(self, part: Part) -> None:
        """Have `part` beside the others, before they are opened."""
        self._parts.append(part)

    def add_beside(self, door: Beside) -> None:
        """Have `door` open as long as the others, before they are opened."""
        self._beside.append(door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            door = self._direct.get(f"{scope['method']} {scope['path']}")
            if door is not None:
                await door(scope, receive, send)
                return
            for part in self._parts:
                if part.serves(scope["path"]):
                    await part(scope, receive, send)
                    return
        await self._routed(scope, receive, send)

    def _app(self, doors: Mapping[str, Door]) -> Starlette:
        routes = []
        for route, door in doors.items():
            method, _, path = route.partition(" ")
            routes.append(Route(path, door, methods=[method]))
        described = msgspec.json.encode(document("Fiducial's doors", self.operations))
        configuration = msgspec.json.encode(self.authzen.configuration)
        routes += [_constant(OPENAPI, described), _constant(METADATA, configuration)]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _missing}, lifespan=self.lifespan)
        app.router.redirect_slashes = False
        return app

    def serves(self, path: str) -> bool:
        """Whether a path is behind one of the doors."""
        own = path.startswith(("/v1/", "/access/v1/")) or path == METADATA
        return own or any(part.serves(path) for part in self._parts)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """Open, until the server stops; sessions are let go of then, and do not end."""
        self.requests.begin()
        if self.intake is not None:
            self.intake.begin()
        looking = asyncio.create_task(self._look())
        try:
            async with contextlib.AsyncExitStack() as parts:
                parts.enter_context(_PACE.kept())
                for part in (*self._parts, *self._beside):
                    await parts.enter_async_context(part.lifespan())
                yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            self.requests.close()
            if self.intake is not None:
                await self.intake.close()
            await self.sessions.close()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self.sessions.let_go()
            except Exception as error:
                log.error(
                    "sessions that nobody uses could not be let go of, which is tried again", exc_info=wordless(error)
                )


class _Pace:
    """That Python keeps no request waiting, neither for a thread at work nor for garbage, while any doors are open. The
    first that are opened have it so, and the last that are closed put back what was so before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._back: list[Callable[[], None]] = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While doors are open."""
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._begin()
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                while not self._open and self._back:
                    self._back.pop()()

    def _begin(self) -> None:
        interval, collect = sys.getswitchinterval(), gc.get_threshold()
        self._back = [partial(sys.setswitchinterval, interval), partial(gc.set_threshold, *collect)]
        sys.setswitchinterval(min(interval, _SWITCH))
        if collect[0]:  # or whoever runs this wants none collected
            gc.set_threshold(max(collect[0], _COLLECT), *collect[1:])
        if not gc.get_freeze_count():
            gc.collect()  # or what is garbage by now would stay, too
            gc.freeze()  # what is there by now, most of it modules, stays as long as the server
            self._back.append(gc.unfreeze)


_PACE: Final = _Pace()


def _intake(guard: Guard, hosts: Hosts) -> tuple[Intake | None, ASGIApp]:
    """What takes traces in, and its door; where its packages are not installed, one that says so."""
    try:
        from fiducial.gateway.otlp.door import TracesDoor
        from fiducial.gateway.otlp.intake import Intake
        from fiducial.gateway.otlp.receiver import Receiver
    except ImportError as error:
        if not (error.name or "").startswith(("google", "opentelemetry")):
            raise
        missing = "traces are taken in where `fiducial[otel]` is installed"
        return None, Response(problem(501, missing), 501, media_type="application/problem+json")
    intake = Intake(Receiver(guard))
    return intake, TracesDoor(intake, hosts)


def _constant(path: str, body: bytes) -> Route:
    async def serve(request: Request) -> Response:
        return Response(body, headers=_same_id(request), media_type="application/json")

    return Route(path, serve)


def _same_id(request: Request) -> dict[str, str]:
    """The request's id, for its answer."""
    return {name: value for name, value in request.headers.items() if name == "x-request-id"}


async def _missing(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = {**_same_id(request), **((error.headers or {}) if isinstance(error, HTTPException) else {})}
    detail = "there is no such door; /v1/openapi.json lists them" if status == 404 else "not by this method"
    return Response(problem(status, detail), status, headers, "application/problem+json")


__all__ = ["Beside", "Doors", "Part"]
