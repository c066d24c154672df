"""Results of tools as the guard takes them in, and verdicts as an MCP client is told of them."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types

from fiducial.core.verdict import Allowed, Verdict
from fiducial.errors import ToolFailed
from fiducial.gateway.requests import RequestState

TICKET = "io.fiducial/request"
"""Key of `_meta` under which a client finds the request that people have before them."""


class Failed(ToolFailed):
    """A tool says that it failed; `result` is how it said so."""

    def __init__(self, result: types.CallToolResult) -> None:
        self.result = result
        super().__init__("\n".join(texts(result)) or "the tool failed", outcome="failed")


def texts(result: types.CallToolResult) -> list[str]:
    """Every text in what the agent reads."""
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


def value_of(result: types.CallToolResult) -> Any:
    """What the tool returned: its structured content where it has some, else its one text, else all that it holds.

    Contracts name paths in it. Raises `Failed` when the tool says that it failed.
    """
    if result.is_error:
        raise Failed(result)
    if result.structured_content is not None:
        return result.structured_content
    if len(result.content) == 1 and isinstance(result.content[0], types.TextContent):
        return result.content[0].text
    return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]


def beside(result: types.CallToolResult) -> list[Any]:
    """What the agent reads beside the structured content, and is not only another way of writing that down."""
    if result.structured_content is None:
        return []
    return [
        block.model_dump(mode="json", by_alias=True, exclude_none=True)
        for block in result.content
        if not (isinstance(block, types.TextContent) and _says(block.text, result.structured_content))
    ]


def _says(text: str, structured: Any) -> bool:
    try:
        return bool(json.loads(text) == structured)
    except (ValueError, RecursionError):
        return False


def stopped(verdict: Verdict, waiting: RequestState | None = None) -> types.CallToolResult:
    """What a client is told of a call that was not made: as a result, so that the model can go on."""
    told = verdict.remedies.agent or "This was not done."
    meta: dict[str, Any] | None = None
    if waiting is not None and waiting.open:
        told += f" The request is {waiting.request}. Make the same call again once it was answered."
        meta = {TICKET: waiting.request}
    return types.CallToolResult(content=[types.TextContent(text=told)], is_error=True, _meta=meta)


def ran(verdict: Verdict) -> bool:
    """The tool was called."""
    return isinstance(verdict, Allowed) or not verdict.enforced


__all__ = ["TICKET", "Failed", "beside", "ran", "stopped", "texts", "value_of"]
