"""Anthropic's Messages (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from fiducial.gateway.model.api import check_tools, listed
from fiducial.gateway.model.messages_answers import CALL, TEXTS, MessagesEdit, edited
from fiducial.gateway.model.outgoing import Mask, masked
from fiducial.gateway.model.steps import Asked, Came, Json, Own, Part, Said, Step, beside, result_of, texts_of
from fiducial.gateway.model.turn import Turn

_SETTINGS: Final = frozenset(
    ["betas", "cache_control", "context_management", "inference_geo", "max_tokens", "metadata", "model",
     "output_config", "output_format", "service_tier", "speed", "stop_sequences", "stream", "temperature", "thinking",
     "tool_choice", "tools", "top_k", "top_p"]
)  # fmt: skip
"""Members of a request that set something; the model reads none of them as what somebody said."""
_CLIENTS: Final = ("bash_", "computer_", "memory_", "text_editor_")
"""Beginnings of the types of tools that Anthropic describes and the client runs."""
_RESULT: Final = frozenset(["content", "is_error", "tool_use_id", "type"])


class Messages:
    """See `fiducial.gateway.model.api.Api`."""

    path, counts = "messages", "messages/count_tokens"

    def check(self, body: Json, provider_tools: frozenset[str] | None) -> None:
        """See `Api.check`."""
        for message in listed(body.get("messages"), "messages"):
            if not isinstance(message.get("content"), str):
                listed(message.get("content"), "content")
        wanted = {
            kind
            for tool in listed(body.get("tools") or [], "tools")
            if (kind := tool.get("type")) not in (None, "custom") and not str(kind).startswith(_CLIENTS)
        }
        if body.get("mcp_servers"):
            wanted.add("mcp_servers")
        check_tools(map(str, wanted), provider_tools)

    def history(self, body: Json) -> tuple[list[Any], str]:
        """See `Api.history`."""
        return body["messages"], ""

    def steps(self, body: Json) -> Iterator[Step]:
        """See `Api.steps`."""
        known = _SETTINGS | {"mcp_servers", "messages", "system"}
        yield from beside(body, known, "a member of a request")
        for part in texts_of(body.get("system"), TEXTS):
            yield Said("system", part) if isinstance(part, str) else part
        for message in body["messages"]:
            role = message.get("role")
            for part in texts_of(message["content"], TEXTS):
                if isinstance(part, str):
                    yield _said(role, part)
                else:
                    yield from _of_part(part)
            yield from beside(message, {"content", "role"}, "a member of a message")

    def prompted(self, body: Json, prompt: str) -> Json:
        """See `Api.prompted`."""
        own = body.get("system") or []
        return body | {
            "system": [
                {"type": "text", "text": prompt},
                *([{"type": "text", "text": own}] if isinstance(own, str) else own),
            ]
        }

    def masked(self, body: Json, mask: Mask) -> Json:
        """See `Api.masked`."""
        return masked(body, mask, frozenset(["messages", "system"]), _SETTINGS)

    def settled(self, body: Json, owed: list[Json], given: Container[str]) -> Json:
        """See `Api.settled`: the provider keeps nothing."""
        return body

    def looks_up(self, body: Json) -> bool:
        """See `Api.looks_up`: the answer says it."""
        return False

    def in_json(self, body: Json) -> bool:
        """See `Api.in_json`."""
        config = body.get("output_config")
        return bool(body.get("output_format")) or (isinstance(config, dict) and bool(config.get("format")))

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """See `Api.edited`."""
        return await edited(answer, turn)

    def editing(self, turn: Turn) -> MessagesEdit:
        """See `Api.editing`."""
        return MessagesEdit(turn)


def _said(role: Any, text: str) -> Step:
    if role == "assistant":
        return Own(text)
    return Said("user", text) if role == "user" else Part("a message of a role that is not known", text)


def _of_part(part: Part) -> Iterator[Step]:
    value = part.value
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "tool_use":
        yield Asked(str(value.get("id", "")), str(value.get("name", "")), value.get("input"))
        yield from beside(value, CALL, "a member of a call")
    elif kind == "tool_result":
        result = result_of(value.get("content"), TEXTS)
        yield Came(str(value.get("tool_use_id", "")), result, failed=bool(value.get("is_error")))
        yield from beside(value, _RESULT, "a member of a result")
    else:
        yield part


__all__ = ["Messages"]
