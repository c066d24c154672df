"""Drafting contracts for tools that nobody has described, from what their servers say about them.

    tools.json      an MCP `tools/list` result, a bare list of such tools, or function-calling tool lists
    openapi.json    an OpenAPI 3 document: every operation is a tool (`fiducial.charter.openapi`)
    objects         with `name`, `description` and `inputSchema` (or `input_schema`, `parameters`, `args_schema`)

Everything inferred is marked `guessed`. Names, descriptions and hints are claims by whoever wrote the server; where
they are silent or contradict each other, the contract says the worse. What a schema demands beyond what
`fiducial.charter.schema` understands is left out of the contract and remains for the server to check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fiducial.charter import lexicon
from fiducial.charter.acts import Act, Described, act_of
from fiducial.charter.checks import encodable
from fiducial.charter.contracts import Audience, Contract, Effect, Kind, Parameter, Role
from fiducial.charter.findings import quote
from fiducial.charter.openapi import is_openapi, operations
from fiducial.charter.outputs import output_of
from fiducial.charter.phrases import phrases_for
from fiducial.charter.roles import Meaning, meanings
from fiducial.charter.simplify import simplified
from fiducial.charter.words import name_words
from fiducial.errors import CharterError, Problem

MAX_TOOLS = 5_000
"""Most tools a list may hold."""
MAX_DESCRIPTION = 1_000
"""Characters of a description that are kept; the contract is read by people."""
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_SCHEMAS = ("inputSchema", "input_schema", "parameters", "args_schema")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool as its server describes it, whatever the format was."""

    name: str
    description: str = ""
    input: Mapping[str, Any] = {}
    """JSON Schema of the arguments."""
    output: Mapping[str, Any] | None = None
    """JSON Schema of the result."""
    hints: Mapping[str, bool] = {}
    """MCP annotations that are given."""

    @property
    def properties(self) -> dict[str, Mapping[str, Any]]:
        """The schema of each argument, by name; empty where it is none."""
        found = self.input.get("properties")
        if not isinstance(found, Mapping):
            return {}
        return {str(name): schema if isinstance(schema, Mapping) else {} for name, schema in found.items()}

    @property
    def required(self) -> frozenset[str]:
        """Names of the arguments that the server needs."""
        listed = self.input.get("required", ())
        names = listed if isinstance(listed, (list, tuple)) else ()
        return frozenset(name for name in names if isinstance(name, str))


def infer_contracts(tools: object, *, server: str = "local") -> dict[str, Contract]:
    """A guessed contract for each of `tools` (see above), by name.

    Raises `CharterError` with every problem of the list: not a list of tools, a tool without a name, a name twice, text
    that cannot be written.
    """
    found = {tool.name: infer_contract(tool, server=server) for tool in read_tools(tools)}
    problems = [
        _problem(f"what is said of {quote(name)} holds text that is not valid Unicode", "remove its lone surrogates")
        for name, contract in found.items()
        if not _writable(contract)
    ]
    if problems:
        raise CharterError(problems)
    return found


def _writable(contract: Contract) -> bool:
    """Whether every name and value in it has a UTF-8 form: without one it can be neither hashed nor written."""
    try:
        msgspec.json.encode(contract.model_dump())
    except UnicodeEncodeError:
        return False
    return True


def infer_contract(tool: Tool, *, server: str = "local") -> Contract:
    """A guessed contract for one tool."""
    properties = tool.properties
    act = act_of(
        Described(name=tool.name, description=tool.description, parameters=tuple(properties), hints=tool.hints)
    )
    meant = meanings(act, properties, tool.input)
    parameters = {
        name: _parameter(meant[name], simplified(schema, tool.input), required=name in tool.required)
        for name, schema in properties.items()
    }
    reached = any(one.role is Role.TARGET and one.entity == "url" for one in meant.values())
    open_world = reached or (bool(tool.hints.get("openWorldHint")) and act.effect is Effect.READ)
    return Contract(
        effect=act.effect,
        kind=act.kind,
        description=" ".join(tool.description.split())[:MAX_DESCRIPTION],
        server=server,
        parameters=parameters,
        output=output_of(act, tool.name, tool.description, tool.output, open_world=open_world),
        audience=_audience(act, tool, meant),
        asked_by=phrases_for(act),
        cost=_cost(act, meant),
        guessed=True,
    )


def _parameter(meaning: Meaning, schema: dict[str, Any], *, required: bool) -> Parameter:
    return Parameter(
        role=meaning.role,
        schema=schema,
        required=required,
        unit=meaning.unit,
        entity=meaning.entity,
        classes=meaning.classes,
        guessed=True,
    )


def _cost(act: Act, meant: Mapping[str, Meaning]) -> str | None:
    """The one magnitude of money, when its currency is known."""
    spent = [name for name, one in meant.items() if one.unit is not None and len(one.unit) == 3 and one.unit.isupper()]
    return spent[0] if act.kind in (Kind.PAY, Kind.BOOK) and len(spent) == 1 else None


def _audience(act: Act, tool: Tool, meant: Mapping[str, Meaning]) -> Audience:
    """The widest audience that the words allow for."""
    words = {*name_words(tool.name), *act.nouns}
    entities = {one.entity for one in meant.values() if one.role is Role.TARGET}
    if act.kind is Kind.PUBLISH:
        return Audience.PUBLIC
    if act.kind in (Kind.FETCH, Kind.PAY, Kind.BOOK):
        return Audience.THIRD_PARTY
    if act.kind is Kind.SEND:
        inside = "channel" in entities and not entities & {"email", "url", "phone"}
        return Audience.ORGANIZATION if inside else Audience.THIRD_PARTY
    if act.effect is Effect.READ:
        return Audience.SELF
    if words & {"public", "website", "webpage", "gist"}:
        return Audience.PUBLIC
    if act.notifies or entities & {"email", "url", "phone"} or act.kind is Kind.GRANT:
        return Audience.THIRD_PARTY
    if words & lexicon.SEEN_BY_OTHERS or words & {"github", "gitlab"}:
        return Audience.THIRD_PARTY
    shared = {"channel", "team", "workspace", "shared", "ticket", "case", "organization"}
    if words & shared or act.kind in (Kind.DEPLOY, Kind.EXECUTE):
        return Audience.ORGANIZATION
    return Audience.SELF


# ── reading lists of tools ────────────────────────────────────────────────────────────────────────────────────────


def read_tools(tools: object) -> list[Tool]:
    """The tools that `tools` lists, in any of the formats above; raises `CharterError` with every problem."""
    if isinstance(tools, Mapping) and is_openapi(tools):
        listed: list[Any] = list(operations(tools))
    elif isinstance(tools, Mapping) and isinstance(tools.get("result"), Mapping):
        return read_tools(tools["result"])
    elif isinstance(tools, Mapping) and isinstance(tools.get("tools"), (list, tuple)):
        listed = list(tools["tools"])
    elif isinstance(tools, Mapping) and "name" in tools:
        listed = [tools]
    elif isinstance(tools, Iterable) and not isinstance(tools, (str, bytes, Mapping)):
        listed = list(tools)
    else:
        raise CharterError([_problem("this is no list of tools", "give an MCP `tools/list` result, or OpenAPI 3")])
    if len(listed) > MAX_TOOLS:
        raise CharterError([_problem(f"there are more than {MAX_TOOLS} tools", "split the list")])
    found: dict[str, Tool] = {}
    problems: list[Problem] = []
    for index, one in enumerate(listed, 1):
        tool = _read_tool(one)
        if tool is None:
            problems.append(_problem(f"tool {index} has no name", "every tool needs a `name` of 1 to 256 characters"))
        elif tool.name in found:
            problems.append(_problem(f"there are two tools called {quote(tool.name)}", "rename one of them"))
        else:
            found[tool.name] = tool
    if problems:
        raise CharterError(problems)
    return list(found.values())


def _problem(message: str, fix: str) -> Problem:
    return Problem("", 0, "not-tools", message, fix)


def _read_tool(one: object) -> Tool | None:
    """One tool; `None` when it has no usable name."""
    if isinstance(one, Tool):
        return one
    if isinstance(one, Mapping) and isinstance(one.get("function"), Mapping):  # function-calling lists wrap each tool
        one = one["function"]
    name = _field(one, "name")
    if not isinstance(name, str) or not 0 < len(name) <= 256 or not encodable(name):
        return None
    description = _field(one, "description")
    output = _field(one, "outputSchema")
    return Tool(
        name=name,
        description=_clean(description) if isinstance(description, str) else "",
        input=next((schema for key in _SCHEMAS if (schema := _schema(_field(one, key)))), {}),
        output=_schema(output) or None,
        hints=_read_hints(_field(one, "annotations")),
    )


def _field(one: object, key: str) -> object:
    return one.get(key) if isinstance(one, Mapping) else getattr(one, key, None)


def _schema(value: object) -> Mapping[str, Any]:
    """A JSON Schema as such, or of a class that can give its own."""
    if isinstance(value, Mapping):
        return value
    make = getattr(value, "model_json_schema", None)
    made = make() if callable(make) else None
    return made if isinstance(made, Mapping) else {}


def _read_hints(annotations: object) -> dict[str, bool]:
    given = {key: _field(annotations, key) for key in _HINTS} if annotations is not None else {}
    return {key: value for key, value in given.items() if isinstance(value, bool)}


def _clean(text: str) -> str:
    return text[:20_000].encode("utf-8", "replace").decode()


__all__ = ["MAX_TOOLS", "Tool", "infer_contract", "infer_contracts", "read_tools"]
