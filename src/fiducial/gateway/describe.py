"""An OpenAPI document, made of the table of operations that is served."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import msgspec

import fiducial

FAULTS = {
    400: "it cannot be read", 401: "no token, or one that is worth nothing", 403: "the token's roles do not include it",
    404: "there is no such thing", 409: "it has changed, or is settled", 413: "it is too large",
    415: "it is not JSON", 422: "it cannot be done as asked", 503: "the store cannot be reached",
}  # fmt: skip
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}


class Described(Protocol):
    """One operation, as far as it is described."""

    @property
    def summary(self) -> str: ...
    @property
    def gives(self) -> Any:
        """Type of the answer."""

    @property
    def takes(self) -> Any:
        """Type of the body; `None`: it has none."""

    @property
    def query(self) -> tuple[str, ...]: ...
    @property
    def status(self) -> int: ...


def document(
    title: str, operations: Mapping[str, Described], note: Callable[[str], str] = lambda _: ""
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `operations`, by route such as `GET /things/{id}`; `note` adds a sentence to each."""
    types = [operation.gives for operation in operations.values()]
    types += [operation.takes for operation in operations.values() if operation.takes is not None]
    schemas, components = _schemas(tuple(sorted(set(types), key=str)))
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in operations.items():
        method, _, path = route.partition(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(route, operation, schemas, note(route))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": fiducial.__version__},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


@cache
def _schemas(types: tuple[Any, ...]) -> tuple[Mapping[Any, Any], Mapping[str, Any]]:
    """By type, where it is described; and by name, how."""
    references, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return dict(zip(types, references, strict=True)), components


def _operation(route: str, operation: Described, schemas: Mapping[Any, Any], note: str) -> dict[str, Any]:
    path = route.partition(" ")[2]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in operation.query]
    faults = {
        str(status): {
            "description": words,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, words in FAULTS.items()
    }
    described: dict[str, Any] = {
        "summary": operation.summary,
        **({"description": note} if note else {}),
        "operationId": re.sub(r"\W+", "_", re.sub(r"/(?:api/)?v\d+", "", route).lower()).strip("_"),
        "parameters": parameters,
        "responses": {
            str(operation.status): {
                "description": "done",
                "content": {"application/json": {"schema": schemas[operation.gives]}},
            },
            **faults,
        },
    }
    if operation.takes is not None:
        described["requestBody"] = {
            "required": True, "content": {"application/json": {"schema": schemas[operation.takes]}}
        }  # fmt: skip
    return described


__all__ = ["Described", "document"]
