"""How much a request holds, counted before anything is made of it.

An empty message takes two bytes on the wire, an empty object of JSON three, and either many times that once it is made:
so a bound on the bytes of a request bounds nothing of what it takes.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fiducial.gateway.refusals import Refused

MAX_FIELDS: Final = 1_000_000
"""Fields of protobuf, or values of JSON, in a request: ten thousand spans of thirty attributes each."""


def _messages(top: Descriptor) -> dict[str, dict[int, str]]:
    """The fields that are messages, by number, for each message that can stand in `top`."""
    found: dict[str, dict[int, str]] = {}
    left = [top]
    while left:
        kind = left.pop()
        if kind.full_name not in found:
            inner = {field.number: field.message_type for field in kind.fields if field.message_type is not None}
            found[kind.full_name] = {number: each.full_name for number, each in inner.items()}
            left += inner.values()
    return found


_TOP: Final = ExportTraceServiceRequest.DESCRIPTOR.full_name
_MESSAGES: Final = _messages(ExportTraceServiceRequest.DESCRIPTOR)


def check_protobuf(body: bytes) -> None:
    """Raises `Refused`: 413 when `body` holds too much, 400 when it is no message."""
    try:
        _walk(body)
    except (IndexError, ValueError) as error:
        raise Refused(400, "the body is no ExportTraceServiceRequest") from error


def check_json(found: Any) -> None:
    """Raises `Refused` when `found` holds too much."""
    left, count = [found], 0
    while left:
        each = left.pop()
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        count += len(inner)
        if count > MAX_FIELDS:
            raise _too_much()
        left += inner


def _walk(body: bytes) -> None:
    """By wire types: https://protobuf.dev/programming-guides/encoding/#structure."""
    at, end, kind, count = 0, len(body), _MESSAGES[_TOP], 0
    above: list[tuple[int, dict[int, str]]] = []
    while at < end or above:
        if at == end:
            end, kind = above.pop()
            continue
        count += 1
        if count > MAX_FIELDS:
            raise _too_much()
        tag, at = _varint(body, at)
        match tag & 7:
            case 0:
                _, at = _varint(body, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                size, at = _varint(body, at)
                inner = kind.get(tag >> 3)
                if inner is None or at + size > end:
                    at += size
                else:
                    above.append((end, kind))
                    end, kind = at + size, _MESSAGES[inner]
            case _:
                raise ValueError("groups, which no message of these has")
        if at > end:
            raise ValueError("a field that is longer than what it stands in")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises `IndexError` and `ValueError`."""
    byte = body[at]
    if byte < 128:
        return byte, at + 1
    value = byte & 127
    for shift in range(7, 70, 7):
        at += 1
        byte = body[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
    raise ValueError("a number that does not end")


def _too_much() -> Refused:
    return Refused(413, f"a request has at most {MAX_FIELDS} fields")


__all__ = ["MAX_FIELDS", "check_json", "check_protobuf"]
