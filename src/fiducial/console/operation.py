"""One operation of the HTTP interface: what it takes, what it gives, and how it is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from starlette.responses import Response

from fiducial.console.gate import Handler
from fiducial.console.visit import Refused, Visit

_B = TypeVar("_B", bound=msgspec.Struct)
Note = Annotated[str, msgspec.Meta(max_length=4_000)]
Why = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"\S")]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the interface."""

    run: Callable[[Visit], msgspec.Struct]
    summary: str
    gives: type[msgspec.Struct]
    takes: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()
    status: int = 200


def served(operation: Operation) -> Handler:
    """What the gate calls for it."""

    def serve(visit: Visit) -> Response:
        try:
            body = msgspec.json.encode(operation.run(visit))
        except ValueError as error:
            raise Refused(422, str(error)) from error
        return Response(body, operation.status, media_type="application/json")

    return serve


def body_of(visit: Visit, kind: type[_B]) -> _B:
    """What was sent, read strictly. Raises `Refused`."""
    sent = visit.incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != "application/json":
        raise Refused(415, "send JSON, as `application/json`")
    try:
        return msgspec.json.decode(visit.incoming.body, type=kind, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(422, str(error)) from error
    except RecursionError as error:
        raise Refused(422, "it is nested too deeply") from error


__all__ = ["Note", "Operation", "Why", "body_of", "served"]
