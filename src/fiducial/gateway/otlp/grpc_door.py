"""OTLP over gRPC: the traces' door at an address of its own.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc. A request is one message. It is served as a stream of them all the
same: so the token is looked at before anything of the message is, as over HTTP. And the message is left packed as it
came, so that it is unpacked in a thread of its host's, by the same bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import grpc
from grpc import aio

from fiducial.gateway.door import Hosts, answer_to
from fiducial.gateway.otlp import wire
from fiducial.gateway.otlp.intake import Intake
from fiducial.gateway.refusals import Refused

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
ARRIVES: Final = 30.0
"""Seconds within which a message arrives, and a connection is made."""
GRACE: Final = 3.0
"""Seconds for what is underway when the server stops, as `fiducial up` gives to requests over HTTP."""
_DETAILS: Final = "grpc-status-details-bin"
"""Where a `google.rpc.Status` stands: https://grpc.io/docs/guides/error/#richer-error-model."""
_RETRY: Final = "google.rpc.retryinfo-bin"
"""Where the exporter in Python looks for the `RetryInfo` that stands in it."""
_STATUSES: Final = {status.value[0]: status for status in grpc.StatusCode}
"""By number, which is that of a `google.rpc.Code`."""
_PACKED: Final = b"\x1f"
"""How gzip begins, and no message does: its wire type would be 7, of which there is none."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", wire.MAX_BODY),
    ("grpc.per_message_decompression", 0),
    # Plain and gzip; what is packed otherwise is refused, as it could not be told from a message.
    ("grpc.compression_enabled_algorithms_bitset", 0b101),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.server_handshake_timeout_ms", int(ARRIVES * 1000)),
    ("grpc.max_connection_idle_ms", 300_000),
    # Else two servers could be at one address, and each have a part of what is sent there.
    ("grpc.so_reuseport", 0),
)


class GrpcDoor:
    """A door beside the others; see `fiducial.gateway.app.Beside`."""

    def __init__(self, intake: Intake, hosts: Hosts, address: str, *, tls: tuple[bytes, bytes] | None = None) -> None:
        """`address` is `HOST:PORT`; `tls` the certificate and its private key, PEM."""
        self._intake, self._hosts = intake, hosts
        self._address, self._tls = address, tls
        self.port = 0
        """Where it listens, once it is open."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Open, until the server stops. Raises `RuntimeError` where nothing can listen at the address."""
        server = aio.server(options=_OPTIONS)
        export: Any = grpc.stream_unary_rpc_method_handler(self._export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": export}),))
        if self._tls is None:
            self.port = server.add_insecure_port(self._address)
        else:
            certificate, key = self._tls
            credentials = grpc.ssl_server_credentials([(key, certificate)])
            self.port = server.add_secure_port(self._address, credentials)
        await server.start()
        try:
            yield
        finally:
            await server.stop(GRACE)

    async def _export(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            host = await self._hosts.of(_authorization(context))
            body = await _only(messages)
            packed = "gzip" if body.startswith(_PACKED) else ""
            taken = await self._intake.take(host, body, wire.PROTOBUF, packed)
        except Exception as error:  # noqa: BLE001 - every fault is answered
            await _refuse(context, *answer_to(error, f"{SERVICE}/Export"))
        return wire.answered(wire.PROTOBUF, taken.rejected, taken.why)


def _authorization(context: Any) -> bytes:
    """The value of the header; empty when there is none."""
    given = dict(context.invocation_metadata() or ()).get("authorization", "")
    return given if isinstance(given, bytes) else given.encode()


async def _only(messages: AsyncIterator[bytes]) -> bytes:
    """The message of a request, which has one. Raises `Refused`."""
    found = None
    try:
        async with asyncio.timeout(ARRIVES):
            async for message in messages:
                if found is not None:
                    raise Refused(400, "a request is one message")
                found = message
    except TimeoutError as error:
        raise Refused(504, f"a request arrives within {ARRIVES:.0f} seconds") from error
    if found is None:
        raise Refused(400, "the request has no message")
    return found


async def _refuse(context: Any, status: int, detail: str) -> NoReturn:
    """End the request with what it is refused with."""
    why = wire.failure(status, detail)
    found = [(_DETAILS, why.SerializeToString())]
    if status in wire.AGAIN:
        found.append((_RETRY, wire.retry().SerializeToString()))
    await context.abort(_STATUSES[why.code], why.message, tuple(found))
    raise AssertionError("aborting raises")


__all__ = ["ARRIVES", "GRACE", "SERVICE", "GrpcDoor"]
