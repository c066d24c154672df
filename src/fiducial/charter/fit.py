"""Whether contracts fit the tools that servers list.

A contract that does not fit fails closed: a tool that nobody described is never run, an argument that its contract
does not declare is refused. So nothing here is an error of a charter; it is what keeps an agent from working, or what
is worth a second look because server and contract say different things.

    undescribed-tool      a server lists it, and no contract is for it
    unlisted-tool         a contract is for it, and no server lists it
    undeclared-parameter  the server takes it, and calls with it are refused
    unlisted-parameter    the contract has it, and the server does not
    missing-parameter     the server needs it, and the contract lets calls go without it
    schema-differs        a value that one of them takes and the other one does not
    milder                the server says that the tool changes something, and the contract that it only reads
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from fiducial.charter.contracts import Contract, Effect
from fiducial.charter.findings import quote
from fiducial.charter.infer import Tool
from fiducial.charter.schema import shape
from fiducial.charter.shape import Shape
from fiducial.charter.simplify import simplified

_ALL = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})


class Misfit(msgspec.Struct, frozen=True, order=True):
    """One thing that server and contract do not agree on."""

    tool: str
    code: str
    """See above."""
    message: str
    fix: str
    at: str = ""
    """The argument that it is about: `filename`, `params.outputDir`; empty when it is about none."""


def misfits(contracts: Mapping[str, Contract], tools: Iterable[Tool]) -> list[Misfit]:
    """What does not fit between the contracts of a charter and the tools of all of its servers, by tool."""
    listed = {tool.name: tool for tool in tools}
    found = [
        Misfit(
            name,
            "undescribed-tool",
            f"no contract describes {quote(name)}: it is never run",
            "describe it, or leave it",
        )
        for name in listed.keys() - contracts.keys()
    ]
    found += [
        Misfit(name, "unlisted-tool", f"no server lists {quote(name)}", "drop it, or take less of its pack with `only`")
        for name in contracts.keys() - listed.keys()
    ]
    for name in listed.keys() & contracts.keys():
        found += _differences(name, contracts[name], listed[name])
    return sorted(found)


def _differences(name: str, contract: Contract, tool: Tool) -> Iterator[Misfit]:
    for parameter, schema in tool.properties.items():
        declared = contract.parameters.get(parameter)
        if declared is None:
            message = f"{quote(name)} takes {quote(parameter)}, which its contract does not declare: it is refused"
            yield Misfit(name, "undeclared-parameter", message, "declare it", parameter)
            continue
        if parameter in tool.required and not declared.required:
            message = f"{quote(name)} needs {quote(parameter)}, which its contract calls optional"
            yield Misfit(name, "missing-parameter", message, "drop `required: false`", parameter)
        theirs = shape(simplified(schema, tool.input))
        for at, what in differences(shape(declared.schema_), theirs):
            message = f"{quote(parameter + at)} of {quote(name)}: {what}"
            yield Misfit(name, "schema-differs", message, "compare the two", parameter + at)
    for parameter in contract.parameters.keys() - tool.properties.keys():
        message = f"{quote(name)} has no parameter {quote(parameter)}, which its contract declares"
        yield Misfit(name, "unlisted-parameter", message, "drop it", parameter)
    changes = tool.hints.get("readOnlyHint") is False or tool.hints.get("destructiveHint") is True
    if changes and contract.effect is Effect.READ:
        message = f"the server says that {quote(name)} changes something, and its contract that it only reads"
        yield Misfit(name, "milder", message, "find out who is right")


def differences(ours: Shape, theirs: Shape) -> Iterator[tuple[str, str]]:
    """Where `ours`, of a contract, and `theirs`, of a server, take different kinds of values or choices.

    Bounds, lengths and patterns are left out: a contract may be narrower there, and a server looks at its own again.
    """
    mine, other = _kinds(ours), _kinds(theirs)
    for kind in sorted(mine - other):
        yield "", f"the contract takes {_WORDS[kind]}, and the server does not"
    for kind in sorted(other - mine):
        yield "", f"the server takes {_WORDS[kind]}, and the contract does not"
    if theirs.enum is not None:
        if more := [each for each in ours.enum or () if each not in theirs.enum]:
            yield "", f"the server does not take {quote(more[0])}"
        if ours.enum is None:
            yield "", "the server takes listed values only, and the contract any"
    if ours.enum is not None:
        if theirs.enum is None:
            yield "", "the contract takes listed values only, and the server any"
        elif fewer := [each for each in theirs.enum if each not in ours.enum]:
            yield "", f"the contract does not take {quote(fewer[0])}"
    if ours.items is not None and theirs.items is not None:
        yield from ((f"[*]{at}", what) for at, what in differences(ours.items, theirs.items))
    yield from _members(ours, theirs)


def _members(ours: Shape, theirs: Shape) -> Iterator[tuple[str, str]]:
    mine, other = ours.properties or {}, theirs.properties or {}
    for name in sorted(mine.keys() | other.keys()):
        if name in mine and name in other:
            yield from ((f".{name}{at}", what) for at, what in differences(mine[name], other[name]))
        elif name in other and not ours.additional:
            yield f".{name}", "the contract does not declare it"
        elif name in mine and not theirs.additional:
            yield f".{name}", "the server does not know it"


_WORDS = {
    "string": "text", "integer": "integers", "number": "numbers", "boolean": "`true` and `false`", "array": "lists",
    "object": "objects", "null": "`null`",
}  # fmt: skip


def _kinds(what: Shape) -> frozenset[str]:
    """The kinds of JSON values that a shape takes; integers are numbers too."""
    if what.one_of:
        found = frozenset(kind for one in what.one_of for kind in _kinds(one))
    elif what.type == "any":
        found = _ALL - {"null"} if what.enum is None else frozenset(map(_kind_of, what.enum))
    else:
        found = frozenset({what.type})
    if "number" in found:
        found |= {"integer"}
    return found | {"null"} if what.nullable else found


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds: dict[type, str] = {
        str: "string",
        int: "integer",
        float: "number",
        list: "array",
        tuple: "array",
        dict: "object",
    }
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "null")


__all__ = ["Misfit", "differences", "misfits"]
