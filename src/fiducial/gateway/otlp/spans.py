"""What a span is made of: ids that follow from names, attributes, events, and why it failed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from fiducial.gateway.otlp import conventions as names

VERSION: Final = 1
"""Of the mapping; ids follow from it."""
_FAILED: Final = Status.STATUS_CODE_ERROR


def id_of(name: str, size: int) -> bytes:
    """The id, of `size` bytes, of what is called that in the log."""
    return hashlib.sha256(f"fiducial/otlp/v{VERSION}/{size}/{name}".encode()).digest()[:size]


def put(span: Span, found: dict[str, Any], why: str) -> None:
    """Set the attributes, and why it failed if it did. What is `None` or an empty list is left out."""
    span.attributes.extend(_attributes({**found, names.ERROR_TYPE: why or None}))
    if why:
        span.status.CopyFrom(Status(code=_FAILED, message=why))


def put_event(span: Span, name: str, at_us: int, found: dict[str, Any]) -> None:
    """Add an event, at microseconds since 1970 UTC."""
    event = span.events.add(name=name, time_unix_nano=at_us * 1000)
    event.attributes.extend(_attributes(found))


def _attributes(found: dict[str, Any]) -> Iterator[KeyValue]:
    for name, value in found.items():
        if value is not None and value != []:
            yield KeyValue(key=name, value=_value(value))


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    return AnyValue(string_value=value)


__all__ = ["VERSION", "id_of", "put", "put_event"]
