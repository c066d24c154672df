"""Anthropic's Messages (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from fiducial.flow.masking.streams import RestoreStream
from fiducial.gateway.model.api import (
    NO_END,
    Asked,
    Came,
    Json,
    Mask,
    Own,
    Part,
    Said,
    Step,
    arguments_in,
    asks,
    check_tools,
    dumped,
    listed,
    masked_in,
    texts_of,
)  # fmt: skip
from fiducial.gateway.model.sse import Event, written
from fiducial.gateway.model.turn import Passed, Turn, Withheld

_SETTINGS: Final = frozenset(
    [
        "betas",
        "container",
        "context_management",
        "inference_geo",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "thinking",
        "tool_choice",
        "tools",
    ]
)
"""Members of a request that no text of the conversation is in."""
_CLIENTS: Final = ("bash_", "computer_", "memory_", "text_editor_")
"""Beginnings of the types of tools that Anthropic describes and the client runs."""
_OWN: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""What a model writes; the rest of an answer is what tools at the provider were asked for, or found."""


_AT_PROVIDER: Final = frozenset({"server_tool_use", "mcp_tool_use"})
"""Calls that the provider makes itself."""
_CUT: Final = ("max_tokens", "model_context_window_exceeded", "refusal")
"""Why an answer ends that is not whole."""


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
        for part in texts_of(body.get("system"), _text):
            yield Said("system", part) if isinstance(part, str) else _part(part)
        for message in body["messages"]:
            role = message.get("role")
            for part in texts_of(message["content"], _text):
                if isinstance(part, str):
                    yield _said(role, part)
                else:
                    yield from _of_part(part)

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
        return {key: each if key in _SETTINGS else masked_in(each, mask, given=key) for key, each in body.items()}

    def settled(self, body: Json, owed: list[Json]) -> Json:
        """See `Api.settled`: the provider keeps nothing."""
        return body

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """See `Api.edited`."""
        if "content" not in answer:
            return answer
        blocks: list[Json] = []
        kept = withheld = 0
        said = _blocks(answer["content"])
        for number, block in enumerate(said, 1):
            if block.get("type") != "tool_use":
                blocks.append(_shown(block, turn))
                continue
            tool = str(block.get("name", ""))
            became: Passed | Withheld
            if answer.get("stop_reason") in _CUT and number == len(said) and turn.decides:
                became = turn.cut(tool)
            else:
                became = await turn.call(str(block.get("id", "")), tool, block.get("input"))
            if isinstance(became, Passed):
                blocks.append(block | {"input": became.arguments})
                kept += 1
            else:
                turn.wrote(became.told)
                blocks.append({"type": "text", "text": became.told})
                withheld += 1
        reason = _reason(answer.get("stop_reason"), kept, withheld)
        return answer | {"content": blocks, "stop_reason": reason}

    def editing(self, turn: Turn) -> MessagesEdit:
        """See `Api.editing`."""
        return MessagesEdit(turn)


def _said(role: Any, text: str) -> Step:
    if role == "assistant":
        return Own(text)
    return Said("user", text) if role == "user" else Part("a message of a role that is not known", text)


def _of_part(part: Any) -> Iterator[Step]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "tool_use":
        yield Asked(str(part.get("id", "")), str(part.get("name", "")), part.get("input"))
    elif kind == "tool_result":
        yield Came(str(part.get("tool_use_id", "")), _result(part.get("content")), failed=bool(part.get("is_error")))
    elif kind not in ("thinking", "redacted_thinking"):
        yield _part(part)


def _text(part: Mapping[str, Any]) -> str | None:
    return part.get("text") if part.get("type") == "text" else None


def _part(part: Any) -> Part:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return Part(f"a part of a message: {kind}" if isinstance(kind, str) else "a part of a message", part)


def _result(content: Any) -> Any:
    parts = list(texts_of(content, _text))
    return "\n".join(str(each) for each in parts) if all(isinstance(each, str) for each in parts) else content


def _blocks(content: Any) -> list[Json]:
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise ValueError("an answer has no content")
    return content


def _shown(block: Json, turn: Turn) -> Json:
    """A block that is no call, as the client gets it."""
    if block.get("type") == "text" and isinstance(block.get("text"), str):
        text = turn.text(block["text"])
        turn.wrote(text)
        return block | {"text": text}
    _check(block, turn)
    if block.get("type") not in _OWN:
        turn.read(f"a part of a message: {block.get('type')}", block)
    return block


def _check(block: Json, turn: Turn) -> None:
    """Raises `ValueError` for a block that could be a call of a kind that is not known."""
    if turn.decides and block.get("type") not in _AT_PROVIDER and asks(block):
        raise ValueError("a call of a kind that is not known")


def _reason(reason: Any, kept: int, withheld: int) -> Any:
    return "end_turn" if withheld and not kept and reason == "tool_use" else reason


class _Block:
    """A part of an answer that is not over yet."""

    def __init__(self, begun: Json, stream: RestoreStream | None) -> None:
        self.begun, self.stream = begun, stream
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        """As far as it has come."""
        return "".join(self.pieces)

    @property
    def kind(self) -> Any:
        return self.begun.get("type")


class MessagesEdit:
    """See `fiducial.gateway.model.api.Edit`."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._blocks: dict[Any, _Block] = {}
        self._kept = self._withheld = 0
        self._over = False
        self._empty: tuple[_Block, Event, Json] | None = None
        """A call of which nothing was said but its name: whether that is all, what comes next says."""

    async def _late(self, end: Json | None) -> bytes:
        if self._empty is None:
            return b""
        (block, event, said), self._empty = self._empty, None
        reason = (end or {}).get("delta", {}).get("stop_reason")
        return await self._called(block, event, said, cut=reason in _CUT)

    async def feed(self, event: Event) -> bytes:
        """See `Edit.feed`."""
        if not event.data:
            return event.raw
        said = msgspec.json.decode(event.data)
        kind = said.get("type") if isinstance(said, dict) else None
        if event.name not in ("", kind):
            raise ValueError("an event has two names")
        self._over = self._over or kind in ("message_stop", "error")
        late = await self._late(said if kind == "message_delta" else None)
        return late + await self._feed(event, said, kind)

    async def _feed(self, event: Event, said: Any, kind: Any) -> bytes:
        match kind:
            case "message_start":
                message = said.get("message")
                if not isinstance(message, dict) or message.get("content"):
                    raise ValueError("an answer begins with something in it")
                return event.raw
            case "content_block_start":
                return self._start(event, said)
            case "content_block_delta":
                return self._delta(event, said)
            case "content_block_stop":
                return await self._stop(event, said)
            case "message_delta":
                return self._end(event, said)
        if self._turn.decides and asks(said):
            raise ValueError("a call of a kind that is not known")
        return event.raw

    async def close(self) -> bytes:
        """See `Edit.close`."""
        for block in self._blocks.values():
            if block.kind == "text":
                self._turn.wrote(block.text)
        if not self._over:
            raise ValueError(NO_END)
        return b""

    def _start(self, event: Event, said: Json) -> bytes:
        begun = said.get("content_block")
        if not isinstance(begun, dict) or said.get("index") in self._blocks:
            raise ValueError("a part of an answer cannot be read")
        block = self._blocks[said.get("index")] = _Block(begun, self._turn.stream())
        if block.kind == "tool_use" and self._turn.whole:
            return b""
        if block.kind != "tool_use":
            _check(begun, self._turn)
        if block.kind == "text" and isinstance(begun.get("text"), str) and begun["text"]:
            text = self._fed(block, begun["text"])
            return _as(event, said, {"content_block": begun | {"text": text}})
        return event.raw

    def _delta(self, event: Event, said: Json) -> bytes:
        block, delta = self._blocks.get(said.get("index")), said.get("delta")
        if block is None or not isinstance(delta, dict):
            raise ValueError("a part of an answer cannot be read")
        if delta.get("type") == "input_json_delta" and block.kind == "tool_use":
            block.pieces.append(str(delta.get("partial_json", "")))
            return b"" if self._turn.whole else event.raw
        if delta.get("type") == "input_json_delta" and block.kind not in _AT_PROVIDER:
            raise ValueError("a part of a call that has not begun")
        if delta.get("type") == "text_delta" and isinstance(delta.get("text"), str):
            text = self._fed(block, delta["text"])
            return event.raw if text == delta["text"] else _as(event, said, {"delta": delta | {"text": text}})
        return event.raw

    @staticmethod
    def _fed(block: _Block, text: str) -> str:
        if block.stream is not None:
            text = block.stream.feed(text)
        block.pieces.append(text)
        return text

    async def _stop(self, event: Event, said: Json) -> bytes:
        block = self._blocks.pop(said.get("index"), None)
        if block is None:
            raise ValueError("a part of an answer cannot be read")
        if block.kind == "tool_use":
            if not block.text.strip() and self._turn.decides:
                self._empty = block, event, said
                return b""
            return await self._called(block, event, said)
        before = b""
        if block.kind == "text":
            if block.stream is not None and (tail := block.stream.close()):
                block.pieces.append(tail)
                before = _delta_of(said, {"type": "text_delta", "text": tail})
            self._turn.wrote(block.text)
        elif block.kind not in _OWN:
            self._turn.read(f"a part of a message: {block.kind}", block.begun)
        return before + event.raw

    async def _called(self, block: _Block, event: Event, said: Json, *, cut: bool = False) -> bytes:
        given = arguments_in(block.text) if block.text.strip() else block.begun.get("input", {})
        call, tool = str(block.begun.get("id", "")), str(block.begun.get("name", ""))
        text = block.text if given is None else given
        became = self._turn.cut(tool) if cut else await self._turn.call(call, tool, text)
        if not self._turn.whole:
            return event.raw
        if isinstance(became, Passed):
            self._kept += 1
            same = became.arguments == given
            text = block.text if same and block.text else dumped(became.arguments)
            begun, delta = block.begun | {"input": {}}, {"type": "input_json_delta", "partial_json": text}
        else:
            self._withheld += 1
            self._turn.wrote(became.told)
            begun, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": became.told}
        start = {"type": "content_block_start", "index": said.get("index"), "content_block": begun}
        return written(start, "content_block_start") + _delta_of(said, delta) + event.raw

    def _end(self, event: Event, said: Json) -> bytes:
        delta = said.get("delta")
        if not isinstance(delta, dict):
            raise ValueError("a part of an answer cannot be read")
        reason = _reason(delta.get("stop_reason"), self._kept, self._withheld)
        if reason == delta.get("stop_reason"):
            return event.raw
        return _as(event, said, {"delta": delta | {"stop_reason": reason}})


def _as(event: Event, said: Json, changed: Json) -> bytes:
    return written(said | changed, event.name)


def _delta_of(said: Json, delta: Json) -> bytes:
    return written({"type": "content_block_delta", "index": said.get("index"), "delta": delta}, "content_block_delta")


__all__ = ["Messages", "MessagesEdit"]
