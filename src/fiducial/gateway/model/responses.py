"""OpenAI's Responses (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from fiducial.core.event import Authority
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
from fiducial.gateway.refusals import Refused

_AUTHORITIES: Final[Mapping[str, Authority]] = {"system": "system", "developer": "operator", "user": "user"}
_SETTINGS: Final = frozenset(
    [
        "background",
        "conversation",
        "include",
        "max_tool_calls",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    ]
)
"""Members of a request that no text of the conversation is in."""
_TOOLS: Final = frozenset(["apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell"])
"""Kinds of tools that the client runs."""
_CALLS: Final = frozenset(
    ["apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call"]
)
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
_TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
"""Kinds of parts that are texts, and the member that holds it."""
_DELTAS: Final = {"response.output_text.delta": "text", "response.refusal.delta": "refusal"}
_DONE: Final = {"response.output_text.done": "text", "response.refusal.done": "refusal"}
_BEGUN: Final = frozenset(["response.created", "response.in_progress", "response.queued"])
"""Events that come before the answer: nobody can go on from it yet."""
_ENDS: Final = frozenset(["error", "response.completed", "response.failed", "response.incomplete"])
_MADE: Final = "msg_fiducial_"
"""Beginning of the ids of items that stand in the place of calls; the provider knows none of them."""
CONVERSATION: Final = "conversation "
"""Before the name of a conversation at the provider's, where the name of an answer could stand."""


class Responses:
    """See `fiducial.gateway.model.api.Api`."""

    path, counts = "responses", "responses/input_tokens"

    def check(self, body: Json, provider_tools: frozenset[str] | None) -> None:
        """See `Api.check`."""
        if body.get("background"):
            raise Refused(400, "answers in the background are not passed on: they would be fetched past this gateway")
        if not isinstance(body.get("input", ""), str):
            listed(body["input"], "input")
        wanted = {str(tool.get("type")) for tool in listed(body.get("tools") or [], "tools")} - _TOOLS
        if body.get("prompt") is not None:
            wanted.add("prompt")
        check_tools(wanted, provider_tools)

    def history(self, body: Json) -> tuple[list[Any], str]:
        """See `Api.history`."""
        given, conversation = body.get("input", ""), body.get("conversation")
        items = given if isinstance(given, list) else [given]
        name = conversation.get("id") if isinstance(conversation, dict) else conversation
        earlier = f"{CONVERSATION}{name}" if name else str(body.get("previous_response_id") or "")
        return [each for each in items if _role(each) not in ("system", "developer")], earlier

    def steps(self, body: Json) -> Iterator[Step]:
        """See `Api.steps`."""
        if isinstance(body.get("instructions"), str):
            yield Said("system", body["instructions"])
        given = body.get("input", "")
        for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
            yield from _of_item(item)

    def prompted(self, body: Json, prompt: str) -> Json:
        """See `Api.prompted`."""
        own = body.get("instructions")
        return body | {"instructions": f"{prompt}\n\n{own}" if own else prompt}

    def masked(self, body: Json, mask: Mask) -> Json:
        """See `Api.masked`."""
        return {key: each if key in _SETTINGS else masked_in(each, mask, given=key) for key, each in body.items()}

    def settled(self, body: Json, owed: list[Json]) -> Json:
        """See `Api.settled`."""
        given = body.get("input", [])
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        made = [each for each in items if str(each.get("id", "")).startswith(_MADE)]
        if not made and not owed:
            return body
        known = [{key: value for key, value in each.items() if key != "id"} if each in made else each for each in items]
        return body | {"input": [*owed, *known]}

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """See `Api.edited`."""
        turn.answer = str(answer.get("id", ""))
        return answer | {"output": [await _edited(item, turn) for item in _items(answer)]}

    def editing(self, turn: Turn) -> ResponsesEdit:
        """See `Api.editing`."""
        return ResponsesEdit(turn)


def _role(item: Any) -> Any:
    return item.get("role") if isinstance(item, dict) else None


def _items(answer: Json) -> list[Json]:
    output = answer.get("output")
    if not isinstance(output, list) or not all(isinstance(each, dict) for each in output):
        raise ValueError("an answer has no output")
    return output


def _of_item(item: Json) -> Iterator[Step]:
    kind, role = item.get("type", "message"), str(item.get("role"))
    if kind == "message" and role in _AUTHORITIES:
        for part in texts_of(item.get("content"), _text):
            yield Said(_AUTHORITIES[role], part) if isinstance(part, str) else _part(part)
    elif kind == "message" and role == "assistant":
        for part in texts_of(item.get("content"), _text):
            yield Own(part) if isinstance(part, str) else _part(part)
    elif kind in _CALLS:
        yield _asked(item)
    elif str(kind).endswith("_output") and str(kind).removesuffix("_output") in _CALLS:
        yield Came(str(item.get("call_id", "")), _result(item.get("output")))
    elif kind != "reasoning":
        yield Part(f"an item of a conversation: {kind}", item)


def _text(part: Mapping[str, Any]) -> str | None:
    return part.get(_TEXTS.get(str(part.get("type")), ""))


def _part(part: Any) -> Part:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return Part(f"a part of a message: {kind}" if isinstance(kind, str) else "a part of a message", part)


def _result(content: Any) -> Any:
    if isinstance(content, dict):
        return content
    parts = list(texts_of(content, _text))
    return "\n".join(str(each) for each in parts) if all(isinstance(each, str) for each in parts) else content


def _asked(item: Json) -> Asked:
    call, kind = str(item.get("call_id") or item.get("id", "")), item["type"]
    if kind == "function_call":
        text = item.get("arguments") or "{}"
        read = arguments_in(text) if isinstance(text, str) else text
        return Asked(call, str(item.get("name", "")), text if read is None else read)
    if kind == "custom_tool_call":
        return Asked(call, str(item.get("name", "")), {"input": item.get("input", "")})
    given = {key: value for key, value in item.items() if key not in _NOT_GIVEN}
    return Asked(call, kind.removesuffix("_call"), given)


def _with(item: Json, asked: Asked, arguments: Any) -> Json:
    """The item of a call, with other arguments."""
    if arguments == asked.arguments:
        return item
    if item["type"] == "function_call":
        return item | {"arguments": arguments if isinstance(arguments, str) else dumped(arguments)}
    return item | (arguments if isinstance(arguments, dict) else {})


async def _edited(item: Json, turn: Turn) -> Json:
    """An item of an answer, as the client gets it."""
    kind = item.get("type")
    if kind in _CALLS:
        asked = _asked(item)
        if item.get("status") == "incomplete" and turn.decides:
            return _in_place(item, asked, turn.cut(asked.tool), turn)
        became = await turn.call(asked.call, asked.tool, asked.arguments)
        if isinstance(became, Passed):
            return _with(item, asked, became.arguments)
        return _in_place(item, asked, became, turn)
    _check(item, turn)
    if kind == "message":
        return item | {"content": [_shown(part, turn) for part in item.get("content") or []]}
    if kind != "reasoning":
        turn.read(f"an item of a conversation: {kind}", item)
    return item


def _check(value: Any, turn: Turn) -> None:
    """Raises `ValueError` for what could be a call of a kind that is not known."""
    kind = value.get("type") if isinstance(value, dict) else None
    if turn.decides and kind not in _AT_PROVIDER and asks(value):
        raise ValueError("a call of a kind that is not known")


def _of_call(kind: str) -> bool:
    """The event tells of a call that the client makes."""
    return ("_call" in kind or "arguments" in kind) and not kind.startswith(_EVENTS_AT_PROVIDER)


def _in_place(item: Json, asked: Asked, became: Withheld, turn: Turn) -> Json:
    turn.wrote(became.told)
    # Where the provider goes on from this answer, it waits for what came of the call.
    turn.owed.append({"type": f"{item['type']}_output", "call_id": asked.call, "output": became.told})
    part = {"type": "output_text", "text": became.told, "annotations": [], "logprobs": []}
    return {
        "type": "message", "id": f"{_MADE}{item.get('id', asked.call)}", "role": "assistant", "status": "completed",
        "content": [part],
    }  # fmt: skip


def _shown(part: Any, turn: Turn) -> Any:
    shown = _restored(part, turn)
    if shown is not part:
        turn.wrote(shown[_TEXTS[shown["type"]]])
    return shown


def _restored(part: Any, turn: Turn) -> Any:
    """A part of a message, as the client gets it."""
    key = _TEXTS.get(str(part.get("type"))) if isinstance(part, dict) else None
    if key is None or not isinstance(part.get(key), str):
        return part
    return part | {key: turn.text(part[key])}


class ResponsesEdit:
    """See `fiducial.gateway.model.api.Edit`."""

    def __init__(self, turn: Turn) -> None:
        self._turn, self._ended = turn, False
        self._next: int | None = None
        self._held: dict[Any, Json] = {}
        """Output index → the event that began a call."""
        self._items: dict[Any, Json] = {}
        """Output index → the item as the client got it."""
        self._streams: dict[tuple[Any, Any, str], RestoreStream | None] = {}

    async def feed(self, event: Event) -> bytes:
        """See `Edit.feed`."""
        if not event.data or event.data == b"[DONE]":
            return event.raw
        said = msgspec.json.decode(event.data)
        if not isinstance(said, dict):
            return event.raw
        kind, index = said.get("type"), said.get("output_index")
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
            if self._turn.whole and _kind(said) in _CALLS:
                self._held[index] = said
                return b""
            _check(said.get("item"), self._turn)
            return self._out(event, said)
        if index is not None and index in self._held:
            return b""
        if self._turn.whole and _of_call(str(kind)):
            return b""  # what is to be known of a call, its end tells
        _check({name: each for name, each in said.items() if name != "type"}, self._turn)
        if kind in _DELTAS:
            return self._delta(event, said, _DELTAS[kind])
        if kind in _DONE:
            return self._over(event, said, _DONE[kind])
        if kind == "response.content_part.done" and isinstance(said.get("part"), dict):
            return self._out(event, said | {"part": _restored(said["part"], self._turn)})
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

    def _delta(self, event: Event, said: Json, key: str) -> bytes:
        place = said.get("output_index"), said.get("content_index"), key
        if place not in self._streams:
            self._streams[place] = self._turn.stream()
        stream, text = self._streams[place], said.get("delta")
        if stream is None or not isinstance(text, str):
            return self._out(event, said, same=True)
        shown = stream.feed(text)
        return self._out(event, said | {"delta": shown}) if shown else b""

    def _over(self, event: Event, said: Json, key: str) -> bytes:
        stream = self._streams.get((said.get("output_index"), said.get("content_index"), key))
        if stream is None:
            return self._out(event, said, same=True)
        before, tail = b"", stream.close()
        if tail:
            delta = {name: said[name] for name in ("item_id", "output_index", "content_index") if name in said}
            before = self._made(_event_of(key), **delta, delta=tail, **({"logprobs": []} if key == "text" else {}))
        return before + self._out(event, said | {key: self._turn.text(str(said.get(key, "")))})

    async def _done(self, event: Event, said: Json) -> bytes:
        """An item is whole."""
        index, item = said.get("output_index"), said.get("item")
        if not isinstance(item, dict):
            raise ValueError("an item of an answer cannot be read")
        shown = self._items[index] = await _edited(item, self._turn)
        begun = self._held.pop(index, None)
        if begun is None:
            if self._turn.whole and item.get("type") in _CALLS:
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
        if said.get("type") not in _BEGUN:
            self._turn.answer = str(response.get("id", ""))
        output = response.get("output") or []
        if not output:
            return self._out(event, said, same=True)
        items = [
            self._items[index] if index in self._items else await _edited(item, self._turn)
            for index, item in enumerate(_items(response))
        ]
        return self._out(event, said | {"response": response | {"output": items}}, same=items == output)


def _kind(said: Json) -> Any:
    item = said.get("item")
    return item.get("type") if isinstance(item, dict) else None


def _event_of(key: str) -> str:
    """The event that brings a piece of a text."""
    return next(kind for kind, each in _DELTAS.items() if each == key)


def _empty(item: Json) -> Json:
    """An item that has only begun."""
    given = {"function_call": "arguments", "custom_tool_call": "input"}.get(item["type"])
    return item | {"status": "in_progress"} | ({given: ""} if given else {})


__all__ = ["CONVERSATION", "Responses", "ResponsesEdit"]
