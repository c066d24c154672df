"""The description of the HTTP interface, made of the table that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from fiducial.console.access import ACCESS
from fiducial.console.api import OPERATIONS
from fiducial.console.gate import Handler
from fiducial.console.visit import Visit
from fiducial.gateway.describe import document as described


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    return described(
        "Fiducial console", OPERATIONS, lambda route: f"For the roles {', '.join(sorted(ACCESS[route] or ()))}."
    )


def serve(_: Visit) -> Response:
    """The document."""
    return JSONResponse(document())


PAGES: Mapping[str, Handler] = {"GET /api/v1/openapi.json": serve}

__all__ = ["PAGES", "document"]
