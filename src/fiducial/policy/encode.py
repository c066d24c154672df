"""Encoding: the context of one request as JSON text, with nothing in it that the slice does not read.

Cost is context size, so each slice gets its own function, generated once at load: no walk over types at the call.
The encoding is safe by construction, which is why the engine need not check it against a schema again at each call
(that would add half of its time): every value is written by the one writer of its declared type, each of which accepts
nothing else. A string is always written as a JSON string, so text such as `{"__entity": …}` stays text; keys come from
the charter and never from a call. `tests/policy/test_encode.py` checks with generated values that every context
conforms to the slice's schema, or the encoder raises `Unfit`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from types import CodeType
from typing import Any, Protocol

from fiducial.charter.money import LONG, scaled
from fiducial.policy.facts import Facts
from fiducial.policy.schema import DECIMAL_PLACES, ContextPath, Type

_DECIMAL_UNIT = 10**DECIMAL_PLACES


class Unfit(Exception):
    """A value has no place in Cedar's type for it."""

    def __init__(self, path: ContextPath, why: str) -> None:
        self.path = path
        """Where in the context."""
        super().__init__(why)


class Encoder(Protocol):
    """From arguments, facts and approvals to the pruned context. Raises `Unfit`."""

    def __call__(self, arguments: Mapping[str, Any], facts: Facts, approvals: frozenset[str], /) -> str: ...


def _string(value: Any) -> str:
    if type(value) is not str:
        if not isinstance(value, str):
            raise ValueError("is not a string")
        value = str.__str__(value)
    return encode_basestring(value)


def _long(value: Any) -> str:
    if type(value) is not int:
        if type(value) is not float or not value.is_integer():
            raise ValueError("is not a whole number")
        value = int(value)
    if not -LONG <= value < LONG:
        raise ValueError("does not fit 64 bits")
    return int.__repr__(value)


def _bool(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise ValueError("is not true or false")


def _decimal(value: Any) -> str:
    number = scaled(value, DECIMAL_PLACES)
    whole, rest = divmod(abs(number), _DECIMAL_UNIT)
    return f'{{"__extn":{{"fn":"decimal","arg":"{"-" if number < 0 else ""}{whole}.{rest:0{DECIMAL_PLACES}}"}}}}'


def _money(exponent: int) -> Callable[[Any], str]:
    return lambda value: int.__repr__(scaled(value, exponent))


def _set(writer: Callable[[Any], str]) -> Callable[[Any], str]:
    def write(values: Any) -> str:
        if type(values) is not list and type(values) is not tuple:
            raise ValueError("is not a list")
        return "[" + ",".join(map(writer, values)) + "]"

    return write


def _names(values: frozenset[str]) -> str:
    """Sorted, so that equal requests are equal text."""
    return "[" + ",".join(map(_string, sorted(values))) + "]" if values else "[]"


def _record(of: Type) -> Callable[[Any], str]:
    members = [
        (name, encode_basestring(name) + ":", _writer(attribute.type), attribute.required)
        for name, attribute in (of.attributes or {}).items()
    ]

    def write(value: Any) -> str:
        if not isinstance(value, Mapping):
            raise ValueError("is not an object")
        parts = []
        for name, key, writer, required in members:
            member = value.get(name)
            if member is not None:
                parts.append(key + writer(member))
            elif required:
                raise ValueError(f"lacks `{name}`")
        return "{" + ",".join(parts) + "}"

    return write


def _writer(of: Type) -> Callable[[Any], str]:
    if of.exponent is not None:
        return _money(of.exponent)
    if of.element is not None:
        return _set(_writer(of.element))
    if of.attributes is not None:
        return _record(of)
    return {"Long": _long, "String": _string, "Bool": _bool, "decimal": _decimal}[of.name]


def encoder(context: Type) -> Encoder:
    """The encoder of `context`, a context type pruned to what is read.

    Field by field, the generated function reads:

        def encode(arguments, facts, approvals):
            flow = facts.flow
            return '{"flow":{"audience":' + string(flow.audience) + '},"approvals":' + names(approvals) + '}'
    """
    names: dict[str, Any] = {"names": _names, "string": _string, "long": _long, "bool_": _bool, "Unfit": Unfit}
    body: list[str] = []
    parts: list[str] = []
    members = context.attributes or {}
    for index, (name, attribute) in enumerate(members.items()):
        parts.append(repr(("," if index else "") + json.dumps(name) + ":"))
        if name == "input":
            body += _input_code(attribute.type, names)
            parts.append("given")
        elif name == "approvals":
            parts.append("names(approvals)")
        else:
            body.append(f"    {name} = facts.{name}")
            parts.append(repr("{"))
            for place, (field, fact) in enumerate((attribute.type.attributes or {}).items()):
                parts.append(repr(("," if place else "") + json.dumps(field) + ":"))
                parts.append(f"{_FACT_WRITERS[fact.type.name]}({name}.{field})")
            parts.append(repr("}"))
    source = ["def encode(arguments, facts, approvals):", *body]
    source.append("    return " + " + ".join([repr("{"), *parts, repr("}")]))
    exec(_compiled("\n".join(source)), names)  # noqa: S102 - names and keys enter it through `repr` alone
    made: Encoder = names["encode"]
    return made


@lru_cache(maxsize=1024)
def _compiled(source: str) -> CodeType:
    """Most tools of all charters read the same facts, and so have the same source."""
    return compile(source, "<encoder>", "exec")


_FACT_WRITERS = {"Bool": "bool_", "Long": "long", "String": "string", "Set": "names"}


def _input_code(given: Type, names: dict[str, Any]) -> list[str]:
    """Code that leaves the text of `input` in `given`."""
    lines = ["    given = ''", "    try:"]
    for index, (name, attribute) in enumerate((given.attributes or {}).items()):
        names[f"write{index}"] = _writer(attribute.type)
        key = "," + encode_basestring(name) + ":"
        lines.append(f"        at = {name!r}")
        lines.append("        value = arguments.get(at)")
        lines.append("        if value is not None:")
        lines.append(f"            given += {key!r} + write{index}(value)")
        if attribute.required:
            lines.append("        else:")
            lines.append("            raise ValueError('is missing')")
    if len(lines) == 2:
        return ["    given = '{}'"]
    lines.append("    except ValueError as error:")
    lines.append("        raise Unfit(('input', at), str(error)) from None")
    lines.append("    given = '{' + given[1:] + '}'")
    return lines
