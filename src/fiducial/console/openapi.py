"""The description of the HTTP interface, made of the table that serves it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response

import fiducial
from fiducial.console.access import ACCESS
from fiducial.console.api import OPERATIONS
from fiducial.console.gate import Handler
from fiducial.console.operation import Operation
from fiducial.console.visit import Visit

_FAULTS = {
    400: "it cannot be read", 401: "no token, or one that is worth nothing", 403: "the token's roles do not include it",
    404: "there is no such thing", 409: "it has changed, or is settled", 413: "it is too large",
    415: "it is not JSON", 422: "it cannot be done as asked", 503: "the store cannot be reached",
}  # fmt: skip


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    types = {operation.gives for operation in OPERATIONS.values()}
    types |= {operation.takes for operation in OPERATIONS.values() if operation.takes is not None}
    ordered = sorted(types, key=lambda kind: kind.__name__)
    references, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(ordered, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in OPERATIONS.items():
        method, _, path = route.partition(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(route, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fiducial console", "version": fiducial.__version__},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}


def _operation(route: str, operation: Operation, schemas: Mapping[type, Any]) -> dict[str, Any]:
    path = route.partition(" ")[2]
    roles = sorted(ACCESS[route] or ())
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
        for status, words in _FAULTS.items()
    }
    described: dict[str, Any] = {
        "summary": operation.summary,
        "description": f"For the roles {', '.join(roles)}.",
        "operationId": re.sub(r"\W+", "_", route.replace("/api/v1", "").lower()).strip("_"),
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


def serve(_: Visit) -> Response:
    """The document."""
    return JSONResponse(document())


PAGES: Mapping[str, Handler] = {"GET /api/v1/openapi.json": serve}

__all__ = ["PAGES", "document"]
