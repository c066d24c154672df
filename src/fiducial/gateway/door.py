"""What every door has in common: who asks, what they sent, and what they are told when it cannot be done.

Whoever comes through a door is a *host*: a program that runs agents, known by the token that it carries. A host is
trusted to say for which user an agent works, and what that user asked for; an agent is not, and has no token.

An operation is served as plain ASGI, without the request and response objects of the framework: on the route of a
decision they would cost as much as the decision.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.types import Message, Receive, Scope, Send

from fiducial.core.faults import wordless
from fiducial.errors import CallMismatch, OversightError, SessionError, StoreError
from fiducial.gateway.bodies import check
from fiducial.gateway.refusals import Refused, problem
from fiducial.gateway.threads import Threads

log = logging.getLogger("fiducial.gateway")
MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a request's body."""
ADMITTED: Final = 1.0
"""Seconds for which a token is good without being looked up again: so long can a revoked one still be used."""
_MOST = 10_000
"""Tokens remembered at once."""
_LOOKING = 8
"""Tokens looked up at once."""


class Hosts:
    """Who may come in. `admit` says which host a token is of, and blocks while it looks; `None`: nobody's."""

    def __init__(self, admit: Callable[[str], str | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._admit, self._clock = admit, clock
        # Of its own: whoever has every other thread busy keeps nobody out.
        self._threads = CapacityLimiter(_LOOKING)
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    async def of(self, authorization: bytes) -> str:
        """The host whose token the header's value holds. Raises `Refused`."""
        known = self._known.get(authorization)
        if known is not None and self._clock() < known[1]:
            return known[0]
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        host = None
        if scheme.lower() == "bearer":
            host = await to_thread.run_sync(self._admit, token.strip(), limiter=self._threads)
        if host is None:
            self._known.pop(authorization, None)
            raise Refused(401, "send the token of a host, as `Authorization: Bearer …`")
        self._known[authorization] = host, self._clock() + ADMITTED
        self._known.move_to_end(authorization)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return host


class Asked(msgspec.Struct, frozen=True):
    """One request, as an operation sees it."""

    host: str
    body: Any
    """Of the type that the operation takes."""
    size: int
    """Bytes of the body."""
    path: Mapping[str, str]
    query: bytes

    def asks(self, name: str) -> str:
        """A parameter of the query; empty when it is missing."""
        return parse_qs(self.query.decode("latin-1")).get(name, [""])[-1]


class Unread(msgspec.Struct, frozen=True):
    """A request whose body cannot be read."""

    host: str
    body: bytes
    """Empty when it was too large."""
    path: Mapping[str, str]
    why: Refused


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a door."""

    run: Callable[[Asked], Awaitable[Any]]
    summary: str
    gives: Any
    """Type of what it answers with."""
    takes: Any = None
    """Type of the body; `None`: it has none."""
    query: tuple[str, ...] = ()
    status: int = 200
    unread: Callable[[Unread], Awaitable[Any]] | None = None
    """Run where the body cannot be read; without it, that is all there is to say."""


class Door:
    """An ASGI application that serves one operation."""

    def __init__(self, operation: Operation, hosts: Hosts, threads: Threads) -> None:
        self._operation, self._hosts, self._threads = operation, hosts, threads
        self._decode = msgspec.json.Decoder(operation.takes).decode if operation.takes is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        authorization = kind = request_id = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-type":
                kind = value
            elif name == b"x-request-id":
                request_id = value
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if request_id:
            headers.append((b"x-request-id", request_id))
        try:
            host = await self._hosts.of(authorization)
            done = await self._run(host, kind, scope, receive)
            answer, status = msgspec.json.encode(done), self._operation.status
        except Exception as error:  # noqa: BLE001 - every fault is answered, and none lets a call through
            status, detail = answer_to(error, scope["path"])
            answer = problem(status, detail)
            headers[0] = (b"content-type", b"application/problem+json")
            if status == 401:
                headers.append((b"www-authenticate", b"Bearer"))
        headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _run(self, host: str, kind: bytes, scope: Scope, receive: Receive) -> Any:
        path, sent, body = scope.get("path_params") or {}, None, b""
        if self._decode is not None:
            try:
                body = await body_of(receive, MAX_BODY)
                sent = await self._threads.sized(host, len(body), partial(self._read, body, kind))
            except Refused as error:
                if self._operation.unread is None or (not body and error.status != 413):
                    raise
                return await self._operation.unread(Unread(host, body, path, error))
        return await self._operation.run(Asked(host, sent, len(body), path, scope["query_string"]))

    def _read(self, body: bytes, kind: bytes) -> Any:
        if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
            raise Refused(415, "send JSON, as `application/json`")
        assert self._decode is not None
        try:
            sent = self._decode(body)
        except msgspec.ValidationError as error:
            raise Refused(400, str(error)) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, f"the body is no JSON that can be read: {error}") from error
        check(body)
        return sent


def answer_to(error: Exception, path: str) -> tuple[int, str]:
    """The status of the answer to a request that failed with `error`, and the sentence that says why."""
    match error:
        case Refused():
            return error.status, error.detail
        case CallMismatch():
            return 409, str(error)
        case SessionError() | OversightError():
            return 422, str(error)
        case StoreError():
            log.error("the store failed under %s: %s", path, error)
            return 503, "what was asked for could not be read or kept; the server's log says why"
        case _:
            log.error("%s failed", path, exc_info=wordless(error))
            return 500, "the server's log says what"


async def body_of(receive: Receive, most: int) -> bytes:
    """The body of a request. Raises `Refused` when it has more than `most` bytes, or does not arrive whole."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message: Message = await receive()
        if message["type"] != "http.request":
            raise Refused(400, "the body did not arrive whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise Refused(413, f"a body has at most {most} bytes")
        more = message.get("more_body", False)
    return b"".join(parts)


__all__ = [
    "ADMITTED",
    "MAX_BODY",
    "Asked",
    "Door",
    "Hosts",
    "Operation",
    "Refused",
    "Unread",
    "answer_to",
    "body_of",
    "problem",
]
