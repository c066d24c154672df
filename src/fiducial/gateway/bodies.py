"""What hosts send, read so that nobody can take it for something else than the guard did.

Parsers differ in which of two equal keys counts: a tool that takes the other one would run with what nobody has
decided, and a log that does would say what nobody has asked. So a body that has a key twice anywhere is refused.
"""

from __future__ import annotations

import json
from math import isinf
from typing import Any

import msgspec

from fiducial.gateway.refusals import Refused


def check(body: bytes, *, finite: bool = False) -> None:
    """Raises `Refused` when an object in it names a key twice, or it cannot be read. `finite`: also for a number that
    is none, or becomes infinite: it would go on as something else."""
    _read(_FINITE if finite else _CHECKING, body, "the body")


def object_of(raw: msgspec.Raw, what: str) -> dict[str, Any]:
    """The JSON object in `raw`, a part of a body that was checked. Raises `Refused` when it is none."""
    found = value_of(raw, what)
    if not isinstance(found, dict):
        raise Refused(400, f"{what} is an object")
    return found


def value_of(raw: msgspec.Raw | bytes, what: str) -> Any:
    """The JSON value in `raw`, a part of a body that was checked. Raises `Refused` when it cannot be read."""
    return _read(_READING, memoryview(raw), what)


class _Repeated(Exception):
    pass


def _read(decoder: json.JSONDecoder, text: bytes | memoryview, what: str) -> Any:
    try:
        return decoder.decode(str(text, "utf-8"))
    except _Repeated as error:
        raise Refused(400, f"{what} holds the key {error.args[0]!r} twice") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"{what} cannot be read: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Keeps nothing: what is read is thrown away, and large bodies would take as long again for that."""
    if len(dict(pairs)) != len(pairs):
        seen: set[str] = set()
        raise _Repeated(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]


def _as_it_is(found: dict[str, Any]) -> dict[str, Any]:
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    found = float(text)
    if isinf(found):
        raise ValueError("it holds a number that is too large to be read")
    return found


# With Python in all of them: a thread that reads a large body lets others run there.
_CHECKING = json.JSONDecoder(object_pairs_hook=_once)
_FINITE = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
_READING = json.JSONDecoder(object_hook=_as_it_is)

__all__ = ["check", "object_of", "value_of"]
