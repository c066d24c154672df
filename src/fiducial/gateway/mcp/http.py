"""The door for MCP over streamable HTTP: every server that the settings name, at `/mcp/<server>`.

Each request goes the same way, and is answered where it can go no further:

1. Its path names a server                                            404
2. Its `Host` is this gateway, and its `Origin` no other site's       421, 403
3. Its method and its version are some of the protocol's              405, 400
4. Its token says who asks, for this server                           401, 403, with where to get one
5. What its host says that the user asked for; else it is not known
6. The session that its host names, where it names one                400, 403, 404, 409
7. It belongs to a session of that principal at that server           404
8. The SDK's transport takes it, in that session
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import mcp_types as types
import msgspec
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, SUPPORTED_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from fiducial.core.faults import wordless
from fiducial.errors import StoreError
from fiducial.gateway.door import Hosts, Refused, body_of
from fiducial.gateway.mcp.lines import Line, Lines, McpServer
from fiducial.gateway.mcp.marks import Marks
from fiducial.gateway.mcp.pool import Pool
from fiducial.gateway.mcp.proxy import WAIT
from fiducial.gateway.mcp.settings import McpSettings
from fiducial.gateway.principals import NotGoodFor, Principal, Principals
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import NONE, Seat, Sessions, named
from fiducial.gateway.statements import HEADER as STATEMENT
from fiducial.gateway.statements import Statement, Statements, Unfounded, carried
from fiducial.guard.guard import Guard
from fiducial.oversight.pins import Pins

log = logging.getLogger("fiducial.gateway")
PATH: Final = "/mcp/"
METADATA: Final = "/.well-known/oauth-protected-resource"
"""Where a protected resource describes itself: RFC 9728 section 3.1; the resource's path follows."""
_SESSION: Final = b"mcp-session-id"
_VERSION: Final = b"mcp-protocol-version"
_METHODS: Final = ("GET", "POST", "DELETE")
_OPENING: Final = 64 * 1024
"""Bytes of a request that opens a session."""
_LOOK: Final = 30.0
"""Seconds between two looks for sessions that nobody uses."""
_BEARER: Final = re.compile(rb"bearer\b", re.IGNORECASE)
_JSON: Final = (b"content-type", b"application/json")


class McpGateway:
    """An ASGI application."""

    def __init__(
        self,
        settings: McpSettings,
        guards: Callable[[str], Guard],
        sessions: Sessions,
        requests: Requests,
        admit: Callable[[str], str | None],
        *,
        url: str,
        wait: float = WAIT,
    ) -> None:
        """
        guards    server → the guard that decides what is called there; all of one store
        sessions  those that hosts have open
        requests  of the desk that they have
        admit     says which host a token is of
        url       where clients find this: scheme, host and port
        wait      seconds for which a call that is held waits for people
        """
        self._settings, self._url, self._sessions = settings, url.rstrip("/"), sessions
        parts = urlsplit(self._url)
        self._host, self._origin = parts.netloc.lower().encode(), self._url.lower().encode()
        self._lines = Lines()
        made = {name: guards(name) for name in settings.servers}
        self._servers = {
            name: McpServer(
                name=name,
                address=f"{self._url}{PATH}{name}",
                guard=made[name],
                pins=Pins(made[name].store, made[name].clock, server.pins),
                marks=Marks(made[name].store, name),
                pool=Pool(name, server, settings.token(name)),
                requests=requests,
                others=frozenset(settings.servers.keys() - {name}),
                among=sum(each is made[name] for each in made.values()) > 1,
                alone=server.alone,
                wait=wait,
            )
            for name, server in settings.servers.items()
        }
        self._clock = next(iter(made.values())).clock
        self._principals = Principals(Hosts(admit), settings.users, self._clock, settings.attended)
        self._statements = Statements(settings.keys, self._clock)

    def serves(self, path: str) -> bool:
        """Whether a path is behind this door."""
        return path.startswith((PATH, METADATA + PATH))

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Open, until the server stops; sessions end then."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            await self._lines.close()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self._lines.let_go(self._now())
            except Exception as error:
                log.error("sessions that nobody uses could not all be ended", exc_info=wordless(error))

    def _now(self) -> float:
        """Unix time, seconds."""
        return self._clock.unix_us() / 1e6

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        served = self._servers.get(scope["path"].rpartition("/")[2])
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(served, scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - every fault is answered, and none lets a call through
            status, told = _told(error, scope["path"])
            if not begun:
                more = _allowed(error) or self._challenge(served, scope, error)
                await _send(send, status, _failure(status, told, error), more)

    async def _answer(self, served: McpServer | None, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if served is None or scope["path"] not in (PATH + served.name, METADATA + PATH + served.name):
            raise Refused(404, "there is no such server")
        self._check_site(headers)
        if scope["path"].startswith(METADATA):
            await self._describe(served, scope, send)
            return
        _check_protocol(scope["method"], _once(headers, _VERSION) or HANDSHAKE_PROTOCOL_VERSIONS[0])
        principal = await self._principals.of(headers, served.address)
        stated = self._stated(served, principal, headers)
        seat = await self._seat(served, principal, headers)
        with contextlib.nullcontext() if seat is None else seat.kept():
            await self._in_line(served, principal, stated, seat, scope, receive, send)

    async def _in_line(
        self, served: McpServer, principal: Principal, stated: Statement | None, seat: Seat | None,
        scope: Scope, receive: Receive, send: Send,
    ) -> None:  # fmt: skip
        headers = scope["headers"]
        version, session = _once(headers, _VERSION) or HANDSHAKE_PROTOCOL_VERSIONS[0], _once(headers, _SESSION)
        if version not in HANDSHAKE_PROTOCOL_VERSIONS:
            line = await self._lines.of(served, principal, types.ClientCapabilities(), stated, seat)
            await line.serve(scope, receive, send)
        elif session is None:
            body = await body_of(receive, _OPENING)
            line = await self._lines.of(served, principal, _asked_of(body), stated, seat, own=True)
            await self._open(line, scope, _again(body, receive), send)
        else:
            line = self._lines.named(session, served, principal, seat)
            if stated is not None and line.talks(stated):
                await line.hear(stated)
            elif scope["method"] != "DELETE" and line.stated is not None and line.stated.expires <= self._now():
                raise Refused(404, "what your host said of its user's task has expired: begin a new session")
            await self._go_on(session, line, scope, receive, send)

    def _check_site(self, headers: list[tuple[bytes, bytes]]) -> None:
        """A page of another site could otherwise be pointed at a gateway on its reader's machine."""
        if [value.lower() for name, value in headers if name == b"host"] != [self._host]:
            raise Refused(421, "this gateway is reached by another name; see `--url`")
        if any(value.lower() != self._origin for name, value in headers if name == b"origin"):
            raise Refused(403, "pages of other sites are not let in")

    def _stated(self, served: McpServer, principal: Principal, headers: list[tuple[bytes, bytes]]) -> Statement | None:
        try:
            text = carried(headers)
            if text is None:
                return None
            return self._statements.read(text, user=principal.user, audience=served.address, host=principal.host)
        except Unfounded as error:
            log.warning("what a host says of a task at `%s` does not count: %s", served.name, error)
            return None

    async def _seat(self, served: McpServer, principal: Principal, headers: list[tuple[bytes, bytes]]) -> Seat | None:
        """The session that a host names, for work that is begun before anything else is waited for; `None`: none is
        named. Raises `Refused` when it is none of this host's and this user's, or its calls are not for this server."""
        session = named(headers)
        if session is None:
            return None
        if principal.host is None:
            raise Refused(403, "only a host names a session")
        if any(name == STATEMENT for name, _ in headers):
            raise Refused(400, "a session that is named knows its task: send no `Fiducial-Task` with it")
        if served.guard is not self._sessions.guard:
            raise Refused(409, f"`{served.name}` has a charter of its own, which no session that you have opened has")
        seat = await self._sessions.find(principal.host, session)
        found = seat.session
        if found.user != principal.user or (principal.roles and principal.roles != found.roles):
            raise Refused(404, NONE)
        seat.decides("tools")
        return seat

    async def _open(self, line: Line, scope: Scope, receive: Receive, send: Send) -> None:
        """A session of the protocol's, in the line."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                opened = dict(message["headers"]).get(_SESSION)
                if opened is not None:
                    self._lines.opened(opened.decode("latin-1"), line)
            await send(message)

        try:
            await line.serve(scope, receive, sending)
        finally:
            await self._lines.left(line)

    async def _go_on(self, session: str, line: Line, scope: Scope, receive: Receive, send: Send) -> None:
        """In a session of the protocol's, which may end by this."""
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await line.serve(scope, receive, sending)
        if status == 404 or (scope["method"] == "DELETE" and status < 400):
            await self._lines.closed(session, line)

    async def _describe(self, served: McpServer, scope: Scope, send: Send) -> None:
        users = self._settings.users
        if users is None or scope["method"] not in ("GET", "HEAD"):
            raise Refused(404, "no authorization server is set up")
        described = {
            "resource": served.address,
            "authorization_servers": [users.issuer],
            "scopes_supported": [users.scope],
            "bearer_methods_supported": ["header"],
        }
        await _send(send, 200, msgspec.json.encode(described), [(b"access-control-allow-origin", b"*")])

    def _challenge(self, served: McpServer | None, scope: Scope, error: Exception) -> list[tuple[bytes, bytes]]:
        """Where to get a token: RFC 6750 section 3, RFC 9728 section 5.1."""
        lacking = isinstance(error, NotGoodFor)
        if served is None or not (lacking or (isinstance(error, Refused) and error.status == 401)):
            return []
        parts: list[str] = []
        if lacking:
            parts.append('error="insufficient_scope"')
        elif any(name == b"authorization" and _BEARER.match(value) for name, value in scope["headers"]):
            parts.append('error="invalid_token"')
        if (users := self._settings.users) is not None:
            parts += [f'resource_metadata="{self._url}{METADATA}{PATH}{served.name}"', f'scope="{users.scope}"']
        return [(b"www-authenticate", " ".join(["Bearer", ", ".join(parts)]).strip().encode("latin-1"))]


class _OtherVersion(Refused):
    """The version of the protocol is none that is known here."""

    def __init__(self, asked: str) -> None:
        super().__init__(400, "this version of the protocol is not known here")
        self.asked = asked


class _OtherMethod(Refused):
    """No request of this version has this method."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(405, f"use {', '.join(allowed)}")
        self.allowed = allowed


def _once(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    """A header's value. Raises `Refused` when it is there several times: others may take another one of them."""
    found = [value.decode("latin-1") for name, value in headers if name == wanted]
    if len(found) > 1:
        raise Refused(400, f"`{wanted.decode()}` is there several times")
    return found[0] if found else None


def _check_protocol(method: str, version: str) -> None:
    """Raises `Refused` for what no request of the protocol's is, before anything is begun for it."""
    if version not in SUPPORTED_PROTOCOL_VERSIONS:
        raise _OtherVersion(version)
    allowed = _METHODS if version in HANDSHAKE_PROTOCOL_VERSIONS else ("POST",)
    if method not in allowed:
        raise _OtherMethod(allowed)


def _allowed(error: Exception) -> list[tuple[bytes, bytes]]:
    """RFC 9110 section 15.5.6."""
    return [(b"allow", ", ".join(error.allowed).encode())] if isinstance(error, _OtherMethod) else []


def _asked_of(body: bytes) -> types.ClientCapabilities:
    """What a client says that it can be asked when it opens a session. Raises `Refused` for anything else."""
    try:
        asked = json.loads(body)
        if asked["method"] != "initialize":
            raise ValueError
        said = types.ClientCapabilities.model_validate(asked["params"]["capabilities"], by_name=False)
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError):
        raise Refused(400, "this opens no session and names none: send `initialize` first") from None
    sampling = said.sampling
    if sampling is not None:
        sampling = types.SamplingCapability(tools=sampling.tools, context=sampling.context)
    # What else a client can do is no reason for a connection of its own.
    return types.ClientCapabilities(
        sampling=sampling,
        elicitation=types.ElicitationCapability() if said.elicitation is not None else None,
        roots=types.RootsCapability() if said.roots is not None else None,
    )


def _again(body: bytes, receive: Receive) -> Receive:
    """What the request still has to say when its body was read."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return left.pop() if left else await receive()

    return receiving


def _told(error: Exception, path: str) -> tuple[int, str]:
    if isinstance(error, Refused):
        return error.status, error.detail
    log.error("%s failed", path, exc_info=wordless(error))
    return (503 if isinstance(error, StoreError) else 500), "the server's log says what"


def _failure(status: int, told: str, error: Exception) -> bytes:
    """As a message of the protocol's, which clients show; of a version, with those that are known (2026-07-28)."""
    said: dict[str, Any] = {"code": types.INVALID_REQUEST if status < 500 else types.INTERNAL_ERROR, "message": told}
    if isinstance(error, _OtherVersion):
        known = {"supported": list(SUPPORTED_PROTOCOL_VERSIONS), "requested": error.asked[:100]}
        said |= {"code": types.UNSUPPORTED_PROTOCOL_VERSION, "data": known}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": said})


async def _send(send: Send, status: int, body: bytes, more: list[tuple[bytes, bytes]]) -> None:
    headers = [_JSON, (b"cache-control", b"no-store"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


__all__ = ["METADATA", "PATH", "McpGateway"]
