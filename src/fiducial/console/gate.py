"""The gate: every request passes here, in this order, before any page sees it.

1. The body is read, up to a bound.
2. Who it is from: the session cookie; for `/api/`, a bearer token and nothing else, so that no cookie can use it.
3. Whether they may: one line of the access table. Without a sign-in, pages lead to it; the interface says 401.
4. Whether they meant it: what changes something needs the `Origin` of this console and the form's token.
5. The page answers, in a thread of its own. What it refuses, and what fails, becomes an error page without details.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from fiducial.console.access import ACCESS, PUBLIC, may
from fiducial.console.services import Services
from fiducial.console.visit import Fields, Incoming, Refused, Visit
from fiducial.core.faults import wordless
from fiducial.errors import AlreadySettled, Conflict, NotPermitted, OversightError, StoreError

log = logging.getLogger("fiducial.console")

Handler: TypeAlias = Callable[[Visit], Response]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

MAX_BODY = 128 * 1024
"""Bytes of a request's body; the largest form is an edited call."""
_SAFE = frozenset({"GET", "HEAD"})
_FORM = "application/x-www-form-urlencoded"
_NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TITLES = {
    400: "That request cannot be read", 401: "Sign in first", 403: "Not yours to do", 404: "There is nothing here",
    405: "That cannot be done here", 409: "Somebody was faster", 413: "That is too much", 415: "That is no form",
    422: "That cannot be done", 429: "Wait a little", 500: "Something broke", 503: "The store cannot be reached",
}  # fmt: skip


def endpoint(services: Services, route: str, handler: Handler) -> Endpoint:
    """What Starlette calls for `route`, such as `GET /people`."""

    async def serve(request: Request) -> Response:
        body = b""
        visit = None
        try:
            # 1
            if request.method not in _SAFE:
                body = await _body(request)
            visit = Visit(services, route, _incoming(request, body))
            _without_nul(visit.incoming)
        except Refused as refused:
            return refusal(services, route, refused.status, refused.message, visit)
        return await run_in_threadpool(_served, visit, handler)

    return serve


def _served(visit: Visit, handler: Handler) -> Response:
    services, route = visit.services, visit.route
    try:
        stopped = _admit(visit)
        return stopped if stopped is not None else handler(visit)
    except Refused as refused:
        return refusal(services, route, refused.status, refused.message, visit)
    except NotPermitted as error:
        return refusal(services, route, 403, str(error), visit)
    except AlreadySettled as error:
        return refusal(services, route, 409, str(error), visit)
    except OversightError as error:
        return refusal(services, route, 422, str(error), visit)
    except Conflict:
        message = "it has changed since you looked at it; look again, and decide afresh"
        return refusal(services, route, 409, message, visit)
    except StoreError as error:
        log.error("the store failed under %s: %s", route, error)
        return refusal(services, route, 503, "what was asked for could not be read or kept; the server's log says why")
    except Exception as error:
        log.error("the page of %s failed", route, exc_info=wordless(error))
        return refusal(services, route, 500, "the server's log says what; nothing was changed by halves")


def _admit(visit: Visit) -> Response | None:
    """2 to 4: nothing when the page may answer."""
    services, incoming, route = visit.services, visit.incoming, visit.route
    if is_api(route):
        scheme, _, secret = incoming.headers.get("authorization", "").partition(" ")
        visit.signed = services.accounts.token(secret.strip()) if scheme.lower() == "bearer" else None
    elif visit.session_secret:
        visit.signed = services.accounts.session(visit.session_secret)
    if ACCESS[route] is not PUBLIC:
        if visit.signed is None:
            if is_api(route) or incoming.method not in _SAFE:
                raise Refused(401, "your session is over, or you have not signed in")
            return visit.go(f"/sign-in?next={quote(incoming.path, safe='')}")
        if not may(visit.signed.roles, route):
            raise Refused(403, "your roles do not include this; an administrator can see which ones you have")
    if incoming.method not in _SAFE and not is_api(route):
        if incoming.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            raise Refused(415, "send the form of the page")
        if incoming.headers.get("origin") != services.origin:
            raise Refused(403, "this form was not sent by a page of this console")
        visit.form = Fields(incoming.body)
        if not visit.csrf_fits():
            raise Refused(
                403, "this form has expired, or was not sent by a page of this console; go back and reload it"
            )
    return None


def is_api(route: str) -> bool:
    """The route is of the HTTP interface."""
    return route.partition(" ")[2].startswith("/api/")


def refusal(services: Services, route: str, status: int, message: str, visit: Visit | None = None) -> Response:
    """An error page, or for the interface a problem document (RFC 9457)."""
    title = _TITLES.get(status, "That did not work")
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 and is_api(route) else {}
    if is_api(route):
        body = {"title": title, "status": status, "detail": message}
        return JSONResponse(body, status, headers=headers, media_type="application/problem+json")
    if visit is not None:
        return visit.page("error.html", status, title=title, message=message)
    text = services.render("error.html", visit=None, done="", title=title, message=message)
    return Response(text, status, media_type="text/html")


def _without_nul(incoming: Incoming) -> None:
    """Refuse what no name and no text has, and PostgreSQL can neither keep nor look for."""
    if any("\0" in value for value in incoming.params.values()):
        raise Refused(404, "the address is wrong, or what it led to is not in this log")
    kind, body = incoming.headers.get("content-type", "").partition(";")[0].strip().lower(), incoming.body
    written = b"%00" in body if kind == _FORM else _NUL_IN_JSON.search(body) is not None
    if written or b"\0" in body or "%00" in incoming.path:
        raise Refused(422, "there is a character in it that no text has")


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                raise Refused(413, f"a form has at most {MAX_BODY} bytes")
            parts.append(part)
    except ClientDisconnect as error:
        raise Refused(400, "the form did not arrive whole") from error
    return b"".join(parts)


def _incoming(request: Request, body: bytes) -> Incoming:
    query = request.url.query
    return Incoming(
        method=request.method,
        path=request.url.path + (f"?{query}" if query else ""),
        params=request.path_params,
        query=Fields(query),
        headers={name.lower(): value for name, value in request.headers.items()},
        cookies=request.cookies,
        body=body,
        address=request.client.host if request.client is not None else "",
    )


__all__ = ["Endpoint", "Handler", "endpoint", "is_api", "refusal"]
