"""Answers of Anthropic's Messages, whole and streamed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fiducial.gateway.model.api import NO_END, asks
from fiducial.gateway.model.outgoing import THOUGHTS
from fiducial.gateway.model.sse import Event, written
from fiducial.gateway.model.steps import Json, arguments_in, beside, dumped, kind_of, part_of
from fiducial.gateway.model.turn import Passed, Restoring, Turn, Withheld

TEXTS: Final = {"text": "text"}
"""Kinds of parts that are texts, and the member that holds it."""
CALL: Final = frozenset(["id", "input", "name", "type"])
"""Members of a call."""
_AT_PROVIDER: Final = frozenset(["mcp_tool_use", "server_tool_use"])
"""Calls that the provider makes itself."""
_CUT: Final = ("max_tokens", "model_context_window_exceeded", "refusal")
"""Why an answer ends that is not whole."""
_ALONG: Final = {
    "citations_delta": ("citation", "citations"), "compaction_delta": ("content", "content"),
    "signature_delta": ("signature", "signature"), "thinking_delta": ("thinking", "thinking"),
}  # fmt: skip
"""Kinds of pieces: the member of the piece, and the one of the part that it is a piece of."""


async def edited(answer: Json, turn: Turn) -> Json:
    """A whole answer; see `Api.edited`."""
    if "content" not in answer:
        return answer
    blocks: list[Json] = []
    kept = withheld = 0
    said = _blocks(answer["content"])
    for number, block in enumerate(said, 1):
        if block.get("type") != "tool_use":
            blocks.append(await _shown(block, turn))
            continue
        tool = str(block.get("name", ""))
        for part in beside(block, CALL):
            turn.own(part.value)
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


def _blocks(content: Any) -> list[Json]:
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise ValueError("an answer has no content")
    return content


async def _shown(block: Json, turn: Turn) -> Json:
    """A block that is no call, as the client gets it."""
    if block.get("type") != "text" or not isinstance(block.get("text"), str):
        _check(block, turn)
        _keep(block, turn)
        return block
    text = await turn.text(block["text"])
    turn.wrote(text)
    _cite(block, turn)
    return block | {"text": text}


def _keep(block: Json, turn: Turn) -> None:
    """A block that is no text: what the model gave along with its words, or what was done at the provider."""
    if kind_of(block) in THOUGHTS:
        turn.own(block)
    else:
        turn.looked_up()
        turn.read(part_of(block))


def _cite(block: Json, turn: Turn) -> None:
    for part in beside(block, {"text", "type"}):
        turn.own(part.value, found=True)


def _check(block: Json, turn: Turn) -> None:
    """Raises `ValueError` for a block that could be a call of a kind that is not known."""
    if turn.decides and kind_of(block) not in _AT_PROVIDER and asks(block):
        raise ValueError("a call of a kind that is not known")


def _reason(reason: Any, kept: int, withheld: int) -> Any:
    return "end_turn" if withheld and not kept and reason == "tool_use" else reason


class _Block:
    """A part of an answer that is not over yet."""

    def __init__(self, begun: Json, stream: Restoring | None) -> None:
        self.begun, self.stream = begun, stream
        self.pieces: list[str] = []
        self._along: dict[str, list[Any]] = {}
        """Member → what has come of it, where it is not the text and not the arguments."""

    @property
    def text(self) -> str:
        """As far as it has come."""
        return "".join(self.pieces)

    def add(self, delta: Json) -> None:
        """A piece of something else than the text."""
        piece, key = _ALONG.get(str(delta.get("type")), ("", ""))
        if piece in delta:
            self._along.setdefault(key, []).append(delta[piece])

    @property
    def whole(self) -> Json:
        """As far as it has come, without the text."""
        whole = dict(self.begun)
        for key, pieces in self._along.items():
            texts = all(isinstance(each, str) for each in pieces)
            whole[key] = (whole.get(key) or "") + "".join(pieces) if texts else [*(whole.get(key) or ()), *pieces]
        return whole

    @property
    def kind(self) -> str:
        return kind_of(self.begun)


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
                return await self._start(event, said)
            case "content_block_delta":
                return await self._delta(event, said)
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

    async def _start(self, event: Event, said: Json) -> bytes:
        begun = said.get("content_block")
        if not isinstance(begun, dict) or said.get("index") in self._blocks:
            raise ValueError("a part of an answer cannot be read")
        block = self._blocks[said.get("index")] = _Block(begun, self._turn.stream())
        if block.kind == "tool_use" and self._turn.whole:
            return b""
        if block.kind != "tool_use":
            _check(begun, self._turn)
            if block.kind != "text" and block.kind not in THOUGHTS:
                self._turn.looked_up()
        if block.kind == "text" and isinstance(begun.get("text"), str) and begun["text"]:
            text = await self._fed(block, begun["text"])
            return _as(event, said, {"content_block": begun | {"text": text}})
        return event.raw

    async def _delta(self, event: Event, said: Json) -> bytes:
        block, delta = self._blocks.get(said.get("index")), said.get("delta")
        if block is None or not isinstance(delta, dict):
            raise ValueError("a part of an answer cannot be read")
        if delta.get("type") == "input_json_delta" and block.kind == "tool_use":
            block.pieces.append(str(delta.get("partial_json", "")))
            return b"" if self._turn.whole else event.raw
        if delta.get("type") == "input_json_delta" and block.kind not in _AT_PROVIDER:
            raise ValueError("a part of a call that has not begun")
        if delta.get("type") == "text_delta" and isinstance(delta.get("text"), str):
            text = await self._fed(block, delta["text"])
            return event.raw if text == delta["text"] else _as(event, said, {"delta": delta | {"text": text}})
        block.add(delta)
        return event.raw

    @staticmethod
    async def _fed(block: _Block, text: str) -> str:
        if block.stream is not None:
            text = await block.stream.feed(text)
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
            _cite(block.whole, self._turn)
        else:
            _keep(block.whole, self._turn)
        return before + event.raw

    async def _called(self, block: _Block, event: Event, said: Json, *, cut: bool = False) -> bytes:
        given = arguments_in(block.text) if block.text.strip() else block.begun.get("input", {})
        call, tool = str(block.begun.get("id", "")), str(block.begun.get("name", ""))
        for part in beside(block.begun, CALL):
            self._turn.own(part.value)
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


__all__ = ["CALL", "TEXTS", "MessagesEdit", "edited"]
