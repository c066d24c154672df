"""Contracts as YAML that people go on writing by hand.

Only what differs from the defaults is written, one parameter a line; what was guessed stays marked until a person has
confirmed it by removing the mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

import msgspec

from fiducial.charter.contracts import Contract, Output, Parameter
from fiducial.charter.findings import quote
from fiducial.charter.schema import ANNOTATIONS, KEYWORDS
from fiducial.charter.yaml import is_plain
from fiducial.core.plain import is_odd
from fiducial.errors import CharterError, Problem

_WIDTH = 112
"""Columns of a line before it is indented."""
_OWN = frozenset(Parameter.model_fields) | {"schema"}


def draft_contracts(contracts: Mapping[str, Contract]) -> str:
    """`contracts.yaml` for `contracts`; reading it gives equal contracts.

    Raises `CharterError` for text that no file can hold.
    """
    lines = ["tools:" if contracts else "tools: {}"]
    for name, contract in contracts.items():
        try:
            lines += [f"  {_key(name)}:", *("    " + line for line in _contract(contract)), ""]
        except UnicodeEncodeError:
            message = f"the contract of {quote(name)} holds text that is not valid Unicode"
            problem = Problem("", 0, "invalid-value", message, "remove its lone surrogates")
            raise CharterError([problem]) from None
    return "\n".join(lines).rstrip() + "\n"


def _contract(contract: Contract) -> Iterator[str]:
    if contract.description:
        yield from _value("description", contract.description)
    yield f"effect: {contract.effect.value}"
    yield f"kind: {contract.kind.value}"
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Contract.model_fields.items()}
    if contract.server != "local":
        yield from _value("server", contract.server)
    if contract.audience is not defaults["audience"]:
        yield f"audience: {contract.audience.value}"
    if contract.parameters:
        yield "parameters:"
        for name, parameter in contract.parameters.items():
            yield from ("  " + line for line in _value(name, _parameter(parameter)))
    if contract.output != Output():
        yield "output:"
        for key, value in contract.output.model_dump(exclude_defaults=True).items():
            yield from ("  " + line for line in _value(key, _plain(value)))
    rest = contract.model_dump(exclude_defaults=True)
    for key in _REST:
        if key in rest:
            yield from _value(key, _plain(rest[key]))


_REST = ("asked_by", "cost", "preview", "postcondition", "undo", "capture", "timeout", "idempotency_key", "guessed")


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """A parameter with its schema's keywords on itself where they can stand there."""
    schema = dict(parameter.schema_)
    written: dict[str, Any] = {"role": parameter.role.value}
    short = bool(schema) and not schema.keys() & _OWN and schema.keys() <= KEYWORDS | ANNOTATIONS
    if schema != {"type": "string"}:
        written.update(schema if short else {"schema": schema})
    for key in ("required", "unit", "entity", "classes", "guessed"):
        value = getattr(parameter, key)
        if value != Parameter.model_fields[key].get_default(call_default_factory=True):
            written[key] = _plain(value)
    return written


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{round(seconds * 1000)}ms"


def _value(key: str, value: Any) -> list[str]:
    """`key: value` on one line, or a list over several when it is too long for one."""
    line = f"{_key(key)}: {_flow(value)}"
    if len(line) <= _WIDTH or not isinstance(value, (list, dict)) or not value:
        return [line]
    if isinstance(value, list):
        return [f"{_key(key)}:", *_wrapped(value)]
    return [f"{_key(key)}:", *("  " + line for inner, one in value.items() for line in _value(inner, one))]


def _wrapped(values: list[Any]) -> list[str]:
    """A long list in brackets, filled line by line."""
    lines, line = ["  ["], "   "
    for one in values:
        word = f" {_flow(one)},"
        if len(line) + len(word) > _WIDTH and line.strip():
            lines.append(line)
            line = "   "
        line += word
    return [*lines, line, "  ]"]


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) and is_plain(value) else _quoted(value)


def _key(key: str) -> str:
    return key if is_plain(key) else _quoted(key)


def _quoted(value: Any) -> str:
    """As in JSON; what a reader would not see is written as YAML escapes it."""
    return "".join(f"\\U{ord(each):08x}" if is_odd(each) else each for each in msgspec.json.encode(value).decode())
