"""The console as one ASGI application.

    app = create_app(store, charter, Settings(url="https://console.example.org"))

Around everything, whatever answers: requests for another host are refused (a page of another site could otherwise be
pointed at a console on this machine), and every answer carries the headers that keep browsers from doing more with it
than showing it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fiducial.charter.model import Charter
from fiducial.console import api, openapi
from fiducial.console.access import ACCESS
from fiducial.console.gate import Handler, endpoint, refusal
from fiducial.console.pages import PAGES as WEB
from fiducial.console.services import Services, Settings
from fiducial.console.undoing import Hands
from fiducial.core.clock import Clock
from fiducial.errors import OversightError
from fiducial.oversight.clockwork import Clockwork
from fiducial.policy.rulebook import compile_rulebook
from fiducial.store.ledger import LedgerStore

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing but this console's own files; nothing inline, no frames."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`, under which browsers send forms with the origin `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_TRANSPORT = "max-age=31536000; includeSubDomains"
"""A year: https://hstspreload.org asks for at least that."""


PAGES: Mapping[str, Handler] = {**WEB, **api.PAGES, **openapi.PAGES}
"""Method and path → who answers: the pages and the interface."""


class Console:
    """The application, and what it stands on."""

    def __init__(self, services: Services) -> None:
        self.services = services
        """For whoever starts it: the first link, the index, the people."""
        self._app = _routed(services)
        self._headers = dict(HEADERS)
        if services.secure:
            self._headers["Strict-Transport-Security"] = _TRANSPORT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    if name != "Cache-Control" or name not in headers:
                        headers[name] = value
                del headers["server"]
            await send(message)

        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        app: ASGIApp = self._app if hosts == [self.services.host] else _OTHER_HOST
        await app(scope, receive, sending)


_OTHER_HOST = PlainTextResponse("this console is reached by another name; see `--url`\n", 421)


def create_app(
    store: LedgerStore,
    charter: Charter,
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    hands: Hands | None = None,
) -> Console:
    """The console of what `store` holds, for agents under `charter`; `hands` is what it can take effects back with.

    Raises `OversightError` for settings that are not safe, or when a route is missing from the access table or the
    other way round; `CharterError` for a charter that does not compile.
    """
    return Console(Services(store, compile_rulebook(charter), settings, clock, hands))


def checked(pages: Mapping[str, Handler]) -> Mapping[str, Handler]:
    """`pages`, if the access table has a line for each and no other. Raises `OversightError`."""
    if pages.keys() != ACCESS.keys():
        wrong = ", ".join(sorted(pages.keys() ^ ACCESS.keys()))
        raise OversightError(f"the access table and the routes differ: {wrong}")
    return pages


@asynccontextmanager
async def lifespan(services: Services, _: object = None) -> AsyncIterator[None]:
    """What goes on beside the pages while the console is served."""
    services.on_close(Clockwork(services.desk).stop)
    try:
        yield
    finally:
        services.close()


def _routed(services: Services) -> Starlette:
    routes = []
    for route, handler in checked(PAGES).items():
        method, _, path = route.partition(" ")
        routes.append(Route(path, endpoint(services, route, handler), methods=[method]))

    async def missing(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        message = "the address is wrong, or what it led to is not in this log" if status == 404 else "not in this way"
        response = refusal(services, f"{request.method} {request.url.path}", status, message)
        response.headers.update(headers)
        return response

    app = Starlette(routes=routes, exception_handlers={HTTPException: missing}, lifespan=partial(lifespan, services))
    # It would lead to what it takes for this console's scheme, which behind a proxy that does TLS is the wrong one.
    app.router.redirect_slashes = False
    return app


__all__ = ["HEADERS", "POLICY", "Console", "Settings", "checked", "create_app", "lifespan"]
