"""Objects that hosts send, read so that nobody can take them for something else than the guard did."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from fiducial.gateway.door import Refused


def object_of(raw: msgspec.Raw, what: str) -> dict[str, Any]:
    """The JSON object in `raw`. Raises `Refused` when it is none, or names a key twice.

    Parsers differ in which of two equal keys counts; a tool that takes the other one would be called with what nobody
    has decided.
    """
    found = value_of(raw, what)
    if not isinstance(found, dict):
        raise Refused(400, f"{what} is an object")
    return found


def value_of(raw: msgspec.Raw, what: str) -> Any:
    """The JSON value in `raw`. Raises `Refused` when it names a key twice, or cannot be read."""
    try:
        return _DECODER.decode(str(memoryview(raw), "utf-8"))
    except _Repeated as error:
        raise Refused(400, f"{what} holds the key {error.args[0]!r} twice") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"{what} cannot be read: {error}") from error


class _Repeated(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _Repeated(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)

__all__ = ["object_of", "value_of"]
