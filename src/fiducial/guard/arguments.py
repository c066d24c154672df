"""Arguments: what an agent gives to a call, made plain once.

One copy, of exactly the types that JSON has, is decided, recorded and run. A mapping of another kind, or a subclass of
one of those types, could say one thing to the guard and another to the tool, so nothing of it survives the copy. What
has no plain form is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fiducial.charter.arguments import MAX_DEPTH

_SCALARS = frozenset({str, int, float, bool, type(None)})


class NotPlain(ValueError):
    """A value has no plain form; the message says why."""


def plain(arguments: Any) -> dict[str, Any]:
    """A copy of `arguments` that nobody else holds, of exactly `dict`, `list`, `str`, `int`, `float`, `bool`, `None`.

    Raises `NotPlain` when that cannot be had: it is no mapping, holds other things, is nested too deeply, or cannot be
    read.
    """
    if type(arguments) is dict:
        copied = arguments.copy()
        for name, value in copied.items():
            if type(name) is not str or type(value) not in _SCALARS:
                break
        else:
            return copied
    if not isinstance(arguments, Mapping):
        raise NotPlain("the arguments must be an object")
    try:
        return _object(arguments, 1, _refuse)
    except NotPlain:
        raise
    except Exception as fault:  # noqa: BLE001 - values run their own code, which may raise anything
        raise NotPlain(f"the arguments cannot be read ({type(fault).__name__})") from None


def described(arguments: Any) -> dict[str, Any]:
    """`arguments` for the record, where they have no plain form: one member, under the name of their type.

    What has no plain form is replaced by the name of its type. No tool declares a parameter with such a name.
    """
    kind = f"<{type(arguments).__name__}>"
    try:
        return {kind: _plain(arguments, 0, lambda value, _: f"<{type(value).__name__}>")}
    except Exception as fault:  # noqa: BLE001 - values run their own code, which may raise anything
        return {kind: f"cannot be read ({type(fault).__name__})"}


def same(one: Any, other: Any) -> bool:
    """Two plain values are the same to a tool: unlike `==`, `True` is not 1."""
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(same, one, other))
    return (type(one) is bool) is (type(other) is bool) and bool(one == other)


def _refuse(value: Any, why: str) -> Any:
    raise NotPlain(f"the arguments hold a `{type(value).__name__}`: {why}")


def _plain(value: Any, depth: int, foreign: Callable[[Any, str], Any]) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    # The methods of the types themselves: a subclass may answer for its own as it likes.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if depth > MAX_DEPTH:
        return foreign(value, f"nested at most {MAX_DEPTH} levels deep is what JSON may be")
    if isinstance(value, Mapping):
        return _object(value, depth + 1, foreign)
    if isinstance(value, (list, tuple)):
        return [_plain(member, depth + 1, foreign) for member in value]
    return foreign(value, "give JSON values only")


def _object(value: Mapping[Any, Any], depth: int, foreign: Callable[[Any, str], Any]) -> dict[str, Any]:
    copied = {}
    for name, member in value.items():
        key = str.__str__(name) if isinstance(name, str) else foreign(name, "keys are strings")
        copied[key] = _plain(member, depth, foreign)
    return copied


__all__ = ["NotPlain", "described", "plain", "same"]
