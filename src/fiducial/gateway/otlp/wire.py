"""OTLP: what an exporter sends, in both encodings, and what it is answered.

https://opentelemetry.io/docs/specs/otlp/, version 1.10: protobuf, or JSON in which ids are hexadecimal; plain or gzip.
A request of which nothing can be read is refused as a whole. Of one that can, each span that cannot is counted in the
answer, which the exporter must not send again.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from fiducial.gateway.otlp import conventions as names
from fiducial.gateway.otlp.counting import check_json, check_protobuf
from fiducial.gateway.refusals import Refused

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes of a request, before and after it is decompressed."""
MAX_SPANS: Final = 10_000
"""Spans of a request; twenty times what the SDKs send at once."""
MAX_SPAN: Final = 4 * 1024 * 1024
"""Bytes of a span."""
AGAIN: Final = frozenset({429, 503})
"""Statuses of what can be sent again, as it is."""
LATER: Final = 5
"""Seconds until then."""
_CODES: Final = {401: 16, 413: 8, 429: 8, 500: 13, 503: 14, 504: 4}
"""Status → `google.rpc.Code`, which is a status of gRPC too: https://opentelemetry.io/docs/specs/otlp/#failures. What
is not here is 3, `INVALID_ARGUMENT`. 8, `RESOURCE_EXHAUSTED`, can be sent again where it says when, not otherwise."""
_MEMBERS: Final = 100
"""Members of a gzip, RFC 1952 section 2.2; each costs, and may hold nothing."""
_SHARED: Final = frozenset(
    {names.CONVERSATION, names.OI_SESSION, *names.USER_IDS, names.USER_ROLES, names.AGENT_NAME, names.OI_AGENT}
)
"""What a resource says of each of its spans; what else it holds is about the process."""
_MAX_SHARED: Final = 64 * 1024
"""Bytes of one of those."""
_TRACE_ID, _SPAN_ID = 16, 8
_MESSAGE: Final = 1000
"""Characters of the message in an answer."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span, as it was sent."""

    trace: bytes
    id: bytes
    parent: bytes
    """Empty for the first of a trace."""
    name: str
    start_ns: int
    end_ns: int
    failed: bool
    error: str
    attributes: Mapping[str, Any]
    """The span's, over those of the resource that say whose it is."""
    events: Sequence[tuple[str, Mapping[str, Any]]]
    scope: str


class Unreadable(NamedTuple):
    """A span that cannot be taken in."""

    trace: bytes | None
    """The trace that it belongs to, where that can be told."""
    id: bytes
    """Its own id where it has one, or what stands for it."""
    why: str


def decoded(body: bytes, kind: str, encoding: str) -> ExportTraceServiceRequest:
    """The request in `body`, of content type `kind`. Raises `Refused`."""
    body = _plain(body, encoding)
    request = _request(body, kind)
    containers = len(request.resource_spans)
    if containers <= MAX_SPANS:
        containers = sum(len(resource.scope_spans) for resource in request.resource_spans)
    # Whoever has so many containers has more of them than spans.
    if containers > MAX_SPANS or sum(map(len, _lists(request))) > MAX_SPANS:
        raise Refused(413, f"a request has at most {MAX_SPANS} spans")
    return request


def _lists(request: ExportTraceServiceRequest) -> Iterator[Sequence[trace_pb2.Span]]:
    return (scope.spans for resource in request.resource_spans for scope in resource.scope_spans)


def _request(body: bytes, kind: str) -> ExportTraceServiceRequest:
    if kind == PROTOBUF:
        check_protobuf(body)
        try:
            whole: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
            return whole
        except DecodeError as error:
            raise Refused(400, "the body is no ExportTraceServiceRequest") from error
    if kind != JSON:
        raise Refused(415, f"send `{PROTOBUF}` or `{JSON}`")
    try:
        found = json.loads(body)
        check_json(found)
        _with_binary_ids(found)
        read = ExportTraceServiceRequest()
        json_format.ParseDict(found, read, ignore_unknown_fields=True)
        return read
    except (ValueError, RecursionError, TypeError, AttributeError, json_format.ParseError) as error:
        raise Refused(400, "the body is no ExportTraceServiceRequest in OTLP's JSON") from error


def _plain(body: bytes, encoding: str) -> bytes:
    """`body` without its compression. Raises `Refused`."""
    if len(body) > MAX_BODY:
        raise Refused(413, f"a request has at most {MAX_BODY} bytes")
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Refused(415, "send it plain or as gzip")
    parts: list[bytes] = []
    left = MAX_BODY
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            part = stream.decompress(body, left + 1)
        except zlib.error as error:
            raise Refused(400, "the body is no gzip") from error
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise Refused(413, f"a request has at most {MAX_BODY} bytes when it is decompressed")
        if not stream.eof:
            raise Refused(400, "the body ends within its gzip")
        body = stream.unused_data
        if not body:
            return b"".join(parts)
    raise Refused(400, f"the body's gzip has at most {_MEMBERS} members")


def _with_binary_ids(request: Any) -> None:
    """OTLP's JSON has ids in hexadecimal where protobuf's has base64. Raises `ValueError`, `TypeError` and
    `AttributeError` for what has another shape."""
    for resource in request.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for each in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if each.get(name):
                            each[name] = base64.b64encode(bytes.fromhex(each[name])).decode()


def spans(request: ExportTraceServiceRequest) -> Iterator[Span | Unreadable]:
    """Every span of a request, in the order in which it holds them."""
    count = 0
    for resource in request.resource_spans:
        pairs = resource.resource.attributes
        shared = _attributes([pair for pair in pairs if pair.key in _SHARED and pair.ByteSize() <= _MAX_SHARED])
        for scope in resource.scope_spans:
            for span in scope.spans:
                count += 1
                yield _read(span, shared, scope.scope.name, count)


def _read(span: trace_pb2.Span, shared: Mapping[str, Any], scope: str, count: int) -> Span | Unreadable:
    if len(span.trace_id) != _TRACE_ID or not any(span.trace_id):
        return Unreadable(None, b"", "a span has no valid trace id")
    if len(span.span_id) != _SPAN_ID or not any(span.span_id):
        # Where it is found stands for its id: sent again, it is the same one.
        return Unreadable(span.trace_id, b"no id %d" % count, "a span has no valid id")
    if len(span.parent_span_id) not in (0, _SPAN_ID):
        return Unreadable(span.trace_id, span.span_id, "a span's parent has no valid id")
    if span.ByteSize() > MAX_SPAN:
        return Unreadable(span.trace_id, span.span_id, f"a span has at most {MAX_SPAN} bytes")
    return Span(
        trace=span.trace_id,
        id=span.span_id,
        parent=span.parent_span_id if any(span.parent_span_id) else b"",
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=max(span.start_time_unix_nano, span.end_time_unix_nano),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        error=span.status.message,
        attributes={**shared, **_attributes(span.attributes)},
        events=[(event.name, _attributes(event.attributes)) for event in span.events],
        scope=scope,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return None if kind is None else getattr(value, kind)


def answered(kind: str, rejected: int, message: str) -> bytes:
    """The answer to a request that was taken in, with how many of its spans were not, and why."""
    answer = ExportTraceServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message[:_MESSAGE]
    return _encoded(kind, answer)


def refused(kind: str, status: int, detail: str) -> bytes:
    """The answer to a request that was not."""
    return _encoded(kind, failure(status, detail))


def failure(status: int, detail: str) -> Status:
    """What a request is refused with, and when it can be sent again if it can."""
    found = Status(code=_CODES.get(status, 3), message=detail[:_MESSAGE])
    if status in AGAIN:
        found.details.add().Pack(retry())
    return found


def retry() -> RetryInfo:
    """When what can be sent again can be."""
    made = RetryInfo()
    made.retry_delay.seconds = LATER
    return made


def _encoded(kind: str, message: Message) -> bytes:
    encoded: bytes = (
        json_format.MessageToJson(message, indent=None).encode() if kind == JSON else message.SerializeToString()
    )
    return encoded


__all__ = [
    "AGAIN",
    "JSON",
    "LATER",
    "MAX_BODY",
    "MAX_SPAN",
    "MAX_SPANS",
    "PROTOBUF",
    "Span",
    "Unreadable",
    "answered",
    "decoded",
    "failure",
    "refused",
    "retry",
    "spans",
]
