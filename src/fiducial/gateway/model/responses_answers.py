"""Answers of OpenAI's Responses, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from fiducial.gateway.model.api import NO_END, asks
from fiducial.gateway.model.outgoing import THOUGHTS
from fiducial.gateway.model.sse import Event, written
from fiducial.gateway.model.steps import Asked, Json, Part, arguments_in, beside, dumped, kind_of
from fiducial.gateway.model.turn import Passed, Restoring, Turn, Withheld

CALLS: Final = frozenset(["apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call"])
"""Kinds of items by which a model asks for a call that the client makes."""
_AT_PROVIDER: Final = frozenset(
    [
        "code_interpreter_call", "file_search_call", "image_generation_call", "mcp_approval_request", "mcp_call",
        "mcp_list_tools", "web_search_call",
    ]
)  # fmt: skip
"""Kinds of items of what the provider does itself."""
_EVENTS_AT_PROVIDER: Final = tuple(f"response.{kind}" for kind in _AT_PROVIDER)
_NOT_GIVEN: Final = frozenset(
    ["acknowledged_safety_checks", "call_id", "id", "pending_safety_checks", "status", "type"]
)
"""Members of such an item that are no arguments of the call."""
_NAMED: Final = frozenset(["arguments", "call_id", "input", "name", "namespace", "type"])
"""Members of one that names a tool."""
TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
"""Kinds of parts that are texts, and the member that holds it."""
_DELTAS: Final = {"response.output_text.delta": "text", "response.refusal.delta": "refusal"}
_DONE: Final = {"response.output_text.done": "text", "response.refusal.done": "refusal"}
_BEGUN: Final = frozenset(["response.created", "response.in_progress", "response.queued"])
"""Events that come before the answer: nobody can go on from it yet."""
_ENDS: Final = frozenset(["error", "response.completed", "response.failed", "response.incomplete"])
_MESSAGE: Final = frozenset(["content", "role", "type"])
_QUIET: Final = THOUGHTS | CALLS | {"message"}
"""Kinds of items by which nothing is done at the provider."""
_MADE: Final = "msg_fiducial_"
"""Beginning of the ids of items that stand in the place of calls; the provider knows none of them."""


def _items(answer: Json) -> list[Json]:
    output = answer.get("output")
    if not isinstance(output, list) or not all(isinstance(each, dict) for each in output):
        raise ValueError("an answer has no output")
    return output


def asked_in(item: Json) -> Asked:
    """The call that an item asks for."""
    call, kind = str(item.get("call_id") or item.get("id", "")), item["type"]
    if kind == "function_call":
        text = item.get("arguments") or "{}"
        read = arguments_in(text) if isinstance(text, str) else text
        return Asked(call, str(item.get("name", "")), text if read is None else read)
    if kind == "custom_tool_call":
        return Asked(call, str(item.get("name", "")), {"input": item.get("input", "")})
    given = {key: value for key, value in item.items() if key not in _NOT_GIVEN}
    return Asked(call, kind.removesuffix("_call"), given)


def besides_call(item: Json) -> Iterator[Part]:
    """What an item says beside the call that it asks for."""
    named = item["type"] in ("custom_tool_call", "function_call")
    known = _NAMED if named else item.keys() - {"acknowledged_safety_checks", "pending_safety_checks"}
    return beside(item, known, "a member of a call")


def _with(item: Json, asked: Asked, arguments: Any) -> Json:
    """The item of a call, with other arguments."""
    if arguments == asked.arguments:
        return item
    if item["type"] == "function_call":
        return item | {"arguments": arguments if isinstance(arguments, str) else dumped(arguments)}
    return item | (arguments if isinstance(arguments, dict) else {})


async def edited(answer: Json, turn: Turn) -> Json:
    """A whole answer; see `Api.edited`."""
    turn.answer = str(answer.get("id", ""))
    return answer | {"output": [await _edited(item, turn) for item in _items(answer)]}


async def _edited(item: Json, turn: Turn) -> Json:
    """An item of an answer, as the client gets it."""
    kind = kind_of(item)
    if isinstance(item.get("id"), str):
        turn.gave(item["id"])
    if kind in CALLS:
        asked = asked_in(item)
        for part in besides_call(item):
            turn.own(part.value)
        if item.get("status") == "incomplete" and turn.decides:
            return _in_place(item, asked, turn.cut(asked.tool), turn)
        became = await turn.call(asked.call, asked.tool, asked.arguments)
        if isinstance(became, Passed):
            return _with(item, asked, became.arguments)
        return _in_place(item, asked, became, turn)
    _check(item, turn)
    if kind == "message":
        for part in beside(item, _MESSAGE):
            turn.own(part.value)
        return item | {"content": [await _shown(part, turn) for part in item.get("content") or []]}
    if kind in THOUGHTS:
        turn.own(item)
    else:
        turn.looked_up()
        turn.read(Part(f"an item of a conversation: {kind}", item))
    return item


def _check(value: Any, turn: Turn) -> None:
    """Raises `ValueError` for what could be a call of a kind that is not known."""
    kind = kind_of(value)
    if turn.decides and kind not in _AT_PROVIDER and asks(value):
        raise ValueError("a call of a kind that is not known")


def _of_call(kind: str) -> bool:
    """The event tells of a call that the client makes."""
    return ("_call" in kind or "arguments" in kind) and not kind.startswith(_EVENTS_AT_PROVIDER)


def _in_place(item: Json, asked: Asked, became: Withheld, turn: Turn) -> Json:
    turn.wrote(became.told)
    # Where the provider goes on from this answer, it waits for what came of the call.
    told = turn.masked(became.told)
    turn.owed.append({"type": f"{item['type']}_output", "call_id": asked.call, "output": told})
    part = {"type": "output_text", "text": became.told, "annotations": [], "logprobs": []}
    return {
        "type": "message", "id": f"{_MADE}{item.get('id', asked.call)}", "role": "assistant", "status": "completed",
        "content": [part],
    }  # fmt: skip


async def _shown(part: Any, turn: Turn) -> Any:
    """A part of a message, as the client gets it."""
    key = _key(part)
    if not key:
        turn.own(part)
        return part
    if part.get("annotations"):
        turn.looked_up()
    for each in beside(part, {"type", key}):
        turn.own(each.value, found=True)
    shown = await _restored(part, turn)
    turn.wrote(shown[key])
    return shown


async def _restored(part: Any, turn: Turn) -> Any:
    key = _key(part)
    return part | {key: await _text(part[key], key, turn)} if key else part


async def _text(text: str, key: str, turn: Turn) -> str:
    return await (turn.plain(text) if key == "refusal" else turn.text(text))


def _key(part: Any) -> str:
    """The member that holds the text of a part; empty for one that is none."""
    key = TEXTS.get(str(part.get("type")), "") if isinstance(part, dict) else ""
    return key if key and isinstance(part.get(key), str) else ""


class ResponsesEdit:
    """See `fiducial.gateway.model.api.Edit`."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._ended = turn, False
        self._next: int | None = None
        self._held: dict[Any, Json] = {}
        """Output index → the event that began a call."""
        self._items: dict[Any, Json] = {}
        """Output index → the item as the client got it."""
        self._streams: dict[tuple[Any, Any, str], Restoring | None] = {}

    async def feed(self, event: Event) -> bytes:
        """See `Edit.feed`."""
        if not event.data or event.data == b"[DONE]":
            return event.raw
        said = msgspec.json.decode(event.data)
        if not isinstance(said, dict):
            return event.raw
        kind, index = kind_of(said), said.get("output_index")
        if self._next is None:
            self._next = said.get("sequence_number", 0)
        if event.name not in ("", kind):
            raise ValueError("an event has two names")
        self._ended = self._ended or kind in _ENDS
        if isinstance(said.get("response"), dict):
            return await self._whole(event, said)
        if kind == "response.output_item.done":
            return await self._done(event, said)
        if kind == "response.output_item.added":
            if self._turn.whole and kind_of(said.get("item")) in CALLS:
                self._held[index] = said
                return b""
            _check(said.get("item"), self._turn)
            if kind_of(said.get("item")) not in _QUIET:
                self._turn.looked_up()
            return self._out(event, said)
        if index is not None and index in self._held:
            return b""
        if self._turn.whole and _of_call(kind):
            return b""  # what is to be known of a call, its end tells
        _check({name: each for name, each in said.items() if name != "type"}, self._turn)
        if kind in _DELTAS:
            return await self._delta(event, said, _DELTAS[kind])
        if kind in _DONE:
            return await self._over(event, said, _DONE[kind])
        if kind == "response.content_part.done":
            return self._out(event, said | {"part": await _restored(said.get("part"), self._turn)})
        return self._out(event, said)

    async def close(self) -> bytes:
        """See `Edit.close`."""
        if not self._ended:
            raise ValueError(NO_END)
        return b""

    def _out(self, event: Event, said: Json, *, same: bool = False) -> bytes:
        """An event, with the number that it has by now."""
        number = said.get("sequence_number")
        if number is None:
            return event.raw if same else written(said, event.name)
        assert self._next is not None
        due, self._next = self._next, self._next + 1
        if same and number == due:
            return event.raw
        return written(said | {"sequence_number": due}, event.name)

    def _made(self, kind: str, **said: Any) -> bytes:
        """An event that did not come from the provider."""
        return self._out(Event(b"", kind, b""), {"type": kind, "sequence_number": 0} | said)

    async def _delta(self, event: Event, said: Json, key: str) -> bytes:
        place = said.get("output_index"), said.get("content_index"), key
        if place not in self._streams:
            self._streams[place] = self._turn.stream(plain=key == "refusal")
        stream, text = self._streams[place], said.get("delta")
        if stream is None or not isinstance(text, str):
            return self._out(event, said, same=True)
        shown = await stream.feed(text)
        return self._out(event, said | {"delta": shown}) if shown else b""

    async def _over(self, event: Event, said: Json, key: str) -> bytes:
        stream = self._streams.get((said.get("output_index"), said.get("content_index"), key))
        if stream is None:
            return self._out(event, said, same=True)
        before, tail = b"", stream.close()
        if tail:
            delta = {name: said[name] for name in ("item_id", "output_index", "content_index") if name in said}
            before = self._made(_event_of(key), **delta, delta=tail, **({"logprobs": []} if key == "text" else {}))
        return before + self._out(event, said | {key: await _text(str(said.get(key, "")), key, self._turn)})

    async def _done(self, event: Event, said: Json) -> bytes:
        """An item is whole."""
        index, item = said.get("output_index"), said.get("item")
        if not isinstance(item, dict):
            raise ValueError("an item of an answer cannot be read")
        shown = self._items[index] = await _edited(item, self._turn)
        begun = self._held.pop(index, None)
        if begun is None:
            if self._turn.whole and kind_of(item) in CALLS:
                begun = {"output_index": index}
            else:
                return self._out(event, said | {"item": shown}, same=shown == item)
        if shown.get("type") == "message":
            return self._said_instead(index, shown)
        out = self._made("response.output_item.added", output_index=index, item=_empty(shown))
        where = {"item_id": shown.get("id", ""), "output_index": index}
        if shown["type"] == "function_call":
            text = shown.get("arguments", "")
            out += self._made("response.function_call_arguments.delta", **where, delta=text)
            out += self._made(
                "response.function_call_arguments.done", **where, name=shown.get("name", ""), arguments=text
            )
        elif shown["type"] == "custom_tool_call":
            text = shown.get("input", "")
            out += self._made("response.custom_tool_call_input.delta", **where, delta=text)
            out += self._made("response.custom_tool_call_input.done", **where, input=text)
        return out + self._out(event, said | {"item": shown})

    def _said_instead(self, index: Any, item: Json) -> bytes:
        """A message in the place of a call, in the events that a message comes in."""
        part = item["content"][0]
        where = {"item_id": item["id"], "output_index": index, "content_index": 0}
        begun = item | {"status": "in_progress", "content": []}
        return b"".join(
            (
                self._made("response.output_item.added", output_index=index, item=begun),
                self._made("response.content_part.added", **where, part=part | {"text": ""}),
                self._made("response.output_text.delta", **where, delta=part["text"], logprobs=[]),
                self._made("response.output_text.done", **where, text=part["text"], logprobs=[]),
                self._made("response.content_part.done", **where, part=part),
                self._made("response.output_item.done", output_index=index, item=item),
            )
        )

    async def _whole(self, event: Event, said: Json) -> bytes:
        """An event with all of the answer as it is by now."""
        response = said["response"]
        if kind_of(said) not in _BEGUN:
            self._turn.answer = str(response.get("id", ""))
        output = response.get("output") or []
        if not output:
            return self._out(event, said, same=True)
        items = [
            self._items[index] if index in self._items else await _edited(item, self._turn)
            for index, item in enumerate(_items(response))
        ]
        return self._out(event, said | {"response": response | {"output": items}}, same=items == output)


def _event_of(key: str) -> str:
    """The event that brings a piece of a text."""
    return next(kind for kind, each in _DELTAS.items() if each == key)


def _empty(item: Json) -> Json:
    """An item that has only begun."""
    given = {"function_call": "arguments", "custom_tool_call": "input"}.get(item["type"])
    return item | {"status": "in_progress"} | ({given: ""} if given else {})


__all__ = ["CALLS", "TEXTS", "ResponsesEdit", "asked_in", "besides_call", "edited"]
