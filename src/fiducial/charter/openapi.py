"""OpenAPI 3 documents as lists of tools: every operation is one.

The name is the `operationId`, else method and path. Arguments are the parameters of path, query, header and cookie, and
the members of a JSON body, with those of its `allOf`; a body that is no object, or one of several, is the argument
`body`, and a member whose name is taken becomes `body_NAME`. `GET` and `HEAD` claim that nothing changes, as a hint
does; `DELETE`, `PUT` and `PATCH` say that something does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
_CLAIMS: dict[str, dict[str, bool]] = {
    "get": {"readOnlyHint": True},
    "head": {"readOnlyHint": True},
    "options": {"readOnlyHint": True},
    "delete": {"readOnlyHint": False, "destructiveHint": True},
    "put": {"readOnlyHint": False},
    "patch": {"readOnlyHint": False},
}
_VERBS = {"get": "get", "head": "get", "options": "get", "post": "create", "put": "update", "patch": "update"}


def is_openapi(document: Mapping[str, Any]) -> bool:
    """Whether `document` looks like OpenAPI 3."""
    return str(document.get("openapi", "")).startswith("3") and isinstance(document.get("paths"), Mapping)


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of `document` as a tool: name, description, inputSchema, annotations."""
    components = document.get("components")
    for path, item in document["paths"].items():
        item = _resolved(item, document)
        for method in _METHODS:
            operation = item.get(method)
            if isinstance(operation, Mapping):
                yield _tool(str(path), method, item, operation, document, components)


def _tool(
    path: str, method: str, item: Mapping[str, Any], operation: Mapping[str, Any], document: Mapping[str, Any],
    components: Any,
) -> dict[str, Any]:  # fmt: skip
    properties: dict[str, Any] = {}
    required: list[str] = []
    listed = [*_list(item.get("parameters")), *_list(operation.get("parameters"))]
    for found in listed:
        parameter = _resolved(found, document)
        name = parameter.get("name")
        if isinstance(name, str):
            schema = parameter.get("schema")
            described = {"description": parameter["description"]} if "description" in parameter else {}
            properties[name] = {**described, **(schema if isinstance(schema, Mapping) else {})}
            if parameter.get("required") is True:
                required.append(name)
    _body(_resolved(operation.get("requestBody"), document), document, properties, required)
    said = [operation.get("summary"), operation.get("description")]
    schema = {"type": "object", "properties": properties, "required": required, "components": components or {}}
    return {
        "name": _name(path, method, operation),
        "description": "\n".join(part for part in said if isinstance(part, str)),
        "inputSchema": schema,
        "annotations": _CLAIMS.get(method, {}),
    }


def _body(
    body: Mapping[str, Any], document: Mapping[str, Any], properties: dict[str, Any], required: list[str]
) -> None:
    content = body.get("content")
    if not isinstance(content, Mapping) or not content:
        return
    media = content.get("application/json") or next(iter(content.values()))
    schema = _resolved(media.get("schema") if isinstance(media, Mapping) else None, document)
    members: dict[str, Any] = {}
    needed: list[str] = []
    if not _gather(schema, document, members, needed, 0) or not members:
        properties["body"] = schema
        if body.get("required") is True:
            required.append("body")
        return
    for name, member in members.items():
        key = f"body_{name}" if name in properties else name
        properties[key] = member
        if name in needed and body.get("required") is True:
            required.append(key)


def _gather(
    schema: Mapping[str, Any], document: Mapping[str, Any], members: dict[str, Any], needed: list[str], depth: int
) -> bool:
    """Put the members of an object and of all its `allOf` into `members`; false when they are not all that it has."""
    properties, parts = schema.get("properties"), _list(schema.get("allOf"))
    if depth > 8 or len(parts) > 32 or (not properties and schema.keys() & {"anyOf", "oneOf"}):
        return False
    for name, member in properties.items() if isinstance(properties, Mapping) else ():
        members.setdefault(str(name), member)
    needed += [name for name in _list(schema.get("required")) if isinstance(name, str)]
    return all(_gather(_resolved(part, document), document, members, needed, depth + 1) for part in parts)


def _name(path: str, method: str, operation: Mapping[str, Any]) -> str:
    given = operation.get("operationId")
    if isinstance(given, str) and given:
        return given
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", re.sub(r"\{[^}]*\}", "", path)) if part]
    return "_".join([_VERBS.get(method, method), *parts])


def _resolved(value: Any, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`value`, its reference followed (a few times at most)."""
    for _ in range(8):
        if not isinstance(value, Mapping):
            return {}
        reference = value.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return value
        value = pointed(reference, document)
    return {}


def pointed(reference: str, document: Mapping[str, Any]) -> Any:
    """What a JSON reference within `document` points to; `None` when that is nothing in it."""
    found: Any = document if reference == "#" or reference.startswith("#/") else None
    for step in reference[2:].split("/") if len(reference) > 1 else ():
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
