"""Results of tools as the guard takes them in, and verdicts as an MCP client is told of them."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types

from fiducial.core.verdict import Verdict
from fiducial.errors import ToolFailed
from fiducial.gateway import bodies
from fiducial.gateway.refusals import Refused
from fiducial.gateway.requests import RequestState
from fiducial.guard.arguments import same

_GUARD = "io.fiducial/"
TICKET = _GUARD + "request"
"""Key of `_meta` under which a client finds the request that people have before them."""


def value_of(result: dict[str, Any]) -> Any:
    """What the tool returned: its structured content where it has some, else its one text, else all that it holds.

    Contracts name paths in it. Raises `ToolFailed` when the tool says that it failed.
    """
    content = result.get("content", [])
    if result.get("isError"):
        words = [block["text"] for block in content if block.get("type") == "text"]
        raise ToolFailed("\n".join(words) or "the tool failed", outcome="failed")
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    if len(content) == 1 and content[0].get("type") == "text":
        return content[0]["text"]
    return content


def beside(result: dict[str, Any]) -> list[Any]:
    """What the agent reads and `value_of` does not give; what only says the same once more is not in it."""
    content = result.get("content", [])
    structured = result.get("structuredContent")
    if result.get("isError"):
        # Of an error, the words are taken in, and no more of them than an error's words may have.
        return [*content, *([structured] if structured is not None else [])]
    if structured is None:
        return []
    new = [block for block in content if not (block.get("type") == "text" and _says(block["text"], structured))]
    if not new:
        return []
    # A list has often a text for each of its members, and a text that is wrapped stands there as it is.
    parts = _Parts(structured)
    return [block for block in new if not (block.get("type") == "text" and parts.says(block["text"]))]


def _says(text: str, structured: Any) -> bool:
    try:
        return same(_read(text), structured)
    except RecursionError:
        return False


class _Unread:
    """In place of what a text says that is no JSON, or names a key twice."""


def _read(text: str) -> Any:
    try:
        data = text.encode()
        bodies.check(data)
        return bodies.value_of(data, "the text")
    except (Refused, ValueError):
        return _Unread


class _Parts:
    """Every value in a JSON value, at any depth: each gets a number, by its kind and the numbers of its members."""

    def __init__(self, value: Any) -> None:
        self._numbers: dict[Any, int] = {}
        try:
            self._number(value, new=True)
        except RecursionError:
            self._numbers.clear()

    def says(self, text: str) -> bool:
        """`text` says what is in the value: it is one of its texts, or one of its parts as JSON."""
        if ("str", text) in self._numbers:
            return True
        try:
            value = _read(text)
            return value is not _Unread and self._number(value, new=False) is not None
        except RecursionError:
            return False

    def _number(self, value: Any, *, new: bool) -> int | None:
        """Of a value that is not there and not `new`, none. Raises `RecursionError` where it is nested too deeply."""
        key: tuple[str, Any]
        if isinstance(value, dict):
            members = {name: self._number(member, new=new) for name, member in value.items()}
            key = "object", None if None in members.values() else frozenset(members.items())
        elif isinstance(value, list):
            items = tuple(self._number(member, new=new) for member in value)
            key = "list", None if None in items else items
        else:
            # True is 1 to Python, and not to who reads it.
            key = type(value).__name__ if isinstance(value, (str, bool)) else "other", value
        return self._numbers.setdefault(key, len(self._numbers)) if new else self._numbers.get(key)


def unforged(result: dict[str, Any]) -> dict[str, Any]:
    """The result without what only the guard says in its `_meta`."""
    meta = result.get("_meta")
    if not isinstance(meta, dict):
        return result
    return {**result, "_meta": {key: value for key, value in meta.items() if not key.startswith(_GUARD)}}


def stopped(verdict: Verdict, waiting: RequestState | None = None, why: str = "") -> types.CallToolResult:
    """What a client is told of a call that was not made: as a result, so that the model can go on. `why`: what came of
    asking, before what the verdict says."""
    told = f"{why} {verdict.remedies.agent or 'This was not done.'}".lstrip()
    if waiting is None or not waiting.open:
        return failure(told)
    told += f" The request is {waiting.request}. Make the same call again once it was answered."
    return failure(told, {TICKET: waiting.request})


def failure(told: str, meta: dict[str, Any] | None = None) -> types.CallToolResult:
    """A result that is an error, in the guard's words."""
    return types.CallToolResult(content=[types.TextContent(text=told)], is_error=True, _meta=meta)


def remaining(result: dict[str, Any], value: Any) -> dict[str, Any]:
    """`value`, which is `value_of(result)` or what may be handed on of it, as a result, and nothing beside it."""
    structured = result.get("structuredContent") is not None
    if isinstance(value, list) and not structured:
        return {"content": value}
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], **({"structuredContent": value} if structured else {})}


__all__ = ["TICKET", "beside", "failure", "remaining", "stopped", "unforged", "value_of"]
