"""`POST /v1/traces`: OTLP over HTTP, with the token of a host as every other door."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from fiducial.gateway.door import Hosts, answer_to, body_of
from fiducial.gateway.otlp import wire
from fiducial.gateway.otlp.intake import Intake


class TracesDoor:
    """An ASGI application."""

    def __init__(self, intake: Intake, hosts: Hosts) -> None:
        self._intake, self._hosts = intake, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        given = {name: value.decode("latin-1") for name, value in scope["headers"]}
        kind = given.get(b"content-type", "").partition(";")[0].strip().lower()
        spoken = kind if kind == wire.JSON else wire.PROTOBUF
        headers = [(b"content-type", spoken.encode()), (b"cache-control", b"no-store")]
        try:
            host = await self._hosts.of(given.get(b"authorization", "").encode("latin-1"))
            body = await body_of(receive, wire.MAX_BODY)
            encoding = given.get(b"content-encoding", "").strip().lower()
            taken = await self._intake.take(host, body, kind, encoding)
            status, answer = 200, wire.answered(spoken, taken.rejected, taken.why)
        except Exception as error:  # noqa: BLE001 - every fault is answered
            status, detail = answer_to(error, scope["path"])
            answer = wire.refused(spoken, status, detail)
            if status == 401:
                headers.append((b"www-authenticate", b"Bearer"))
            elif status in wire.AGAIN:
                headers.append((b"retry-after", b"%d" % wire.LATER))
        headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


__all__ = ["TracesDoor"]
