"""OpenAI's Chat Completions (https://platform.openai.com/docs/api-reference/chat), which most providers speak."""

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
from fiducial.gateway.model.turn import Passed, Turn
from fiducial.gateway.refusals import Refused

_AUTHORITIES: Final[Mapping[str, Authority]] = {"system": "system", "developer": "operator", "user": "user"}
_SETTINGS: Final = frozenset(
    [
        "functions",
        "include",
        "logit_bias",
        "modalities",
        "model",
        "reasoning",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
    ]
)
"""Members of a request that no text of the conversation is in."""
_CUT: Final = ("length", "content_filter")
"""Why an answer ends that is not whole."""
_PIECES: Final = ("arguments", "input")
"""Members of a call that come in pieces."""
_CLIENTS: Final = ("function", "custom")
"""Kinds of tools that the client runs."""


class Chat:
    """See `fiducial.gateway.model.api.Api`."""

    path, counts = "chat/completions", ""

    def check(self, body: Json, provider_tools: frozenset[str] | None) -> None:
        """See `Api.check`."""
        if body.get("functions"):
            raise Refused(400, "`functions` are not passed on: their calls have no ids; use `tools`")
        listed(body.get("messages"), "messages")
        wanted = {str(tool.get("type")) for tool in listed(body.get("tools") or [], "tools")} - {*_CLIENTS}
        if body.get("web_search_options") is not None:
            wanted.add("web_search")
        check_tools(wanted, provider_tools)

    def history(self, body: Json) -> tuple[list[Any], str]:
        """See `Api.history`."""
        return [each for each in body["messages"] if each.get("role") not in ("system", "developer")], ""

    def steps(self, body: Json) -> Iterator[Step]:
        """See `Api.steps`."""
        for message in body["messages"]:
            role = message.get("role")
            if role in _AUTHORITIES:
                for part in texts_of(message.get("content"), _text):
                    yield Said(_AUTHORITIES[role], part) if isinstance(part, str) else _part(part)
            elif role == "assistant":
                yield from _own(message)
            elif role == "tool":
                yield Came(str(message.get("tool_call_id", "")), _result(message.get("content")))
            else:
                yield Part("a message of a role that is not known", message)

    def prompted(self, body: Json, prompt: str) -> Json:
        """See `Api.prompted`."""
        return body | {"messages": [{"role": "system", "content": prompt}, *body["messages"]]}

    def masked(self, body: Json, mask: Mask) -> Json:
        """See `Api.masked`."""
        return {key: each if key in _SETTINGS else masked_in(each, mask, given=key) for key, each in body.items()}

    def settled(self, body: Json, owed: list[Json]) -> Json:
        """See `Api.settled`: the provider keeps nothing."""
        return body

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """See `Api.edited`."""
        _check_rest({}, answer, "choices", turn)
        return answer | {"choices": [await _edited(choice, turn) for choice in _choices(answer)]}

    def editing(self, turn: Turn) -> ChatEdit:
        """See `Api.editing`."""
        return ChatEdit(turn)


async def _edited(choice: Json, turn: Turn) -> Json:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("a choice has no message")
    if message.get("function_call"):
        raise ValueError("a call has no id")
    _check_rest(choice, message, "message", turn)
    content = message.get("content")
    text = turn.text(content) if isinstance(content, str) else ""
    asked = message.get("tool_calls") or []
    kept, told = await _called(_calls(asked), turn, choice.get("finish_reason"))
    shown = "\n\n".join(each for each in (text, *told) if each)
    turn.wrote(shown)
    message = message | {"content": shown if told or isinstance(content, str) else content}
    if asked:
        del message["tool_calls"]
        if kept:
            message["tool_calls"] = kept
    if isinstance(message.get("refusal"), str):
        message["refusal"] = turn.text(message["refusal"])
        turn.wrote(message["refusal"])
    return choice | {"message": message, "finish_reason": _reason(choice.get("finish_reason"), kept, told)}


def _reason(reason: Any, kept: list[Json], told: list[str]) -> Any:
    return "stop" if told and not kept and reason == "tool_calls" else reason


def _check_rest(choice: Json, said: Json, key: str, turn: Turn) -> None:
    """Raises `ValueError` where a call could be in what nobody looks at."""
    rest = [{name: value for name, value in each.items() if name not in ("tool_calls", key)} for each in (choice, said)]
    if turn.decides and asks(rest):
        raise ValueError("something that could be a call stands where none is")


def _calls(said: Any) -> list[Json]:
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise ValueError("calls are no list of objects")
    return said


async def _called(calls: list[Json], turn: Turn, reason: Any) -> tuple[list[Json], list[str]]:
    """The calls that go to the client, and what is said in the place of the others; `reason`: why the answer ends."""
    kept: list[Json] = []
    told: list[str] = []
    for number, call in enumerate(calls, 1):
        asked = _asked(call)
        if asked is None:
            raise ValueError("a call of a kind that is not known")
        if reason in _CUT and number == len(calls) and turn.decides:
            told.append(turn.cut(asked.tool).told)
            continue
        became = await turn.call(asked.call, asked.tool, asked.arguments)
        if isinstance(became, Passed):
            kept.append(_with(call, became.arguments))
        else:
            told.append(became.told)
    return kept, told


def _asked(call: Json) -> Asked | None:
    """The call; `None` for one of a kind that is not known."""
    made, kind = call.get("function"), call.get("type", "function")
    if kind == "function" and isinstance(made, dict):
        text = made.get("arguments") or "{}"
        return Asked(str(call.get("id", "")), str(made.get("name", "")), _read(text))
    made = call.get("custom")
    if kind == "custom" and isinstance(made, dict):
        return Asked(str(call.get("id", "")), str(made.get("name", "")), {"input": made.get("input", "")})
    return None


def _read(text: Any) -> Any:
    found = arguments_in(text) if isinstance(text, str) else text
    return text if found is None else found


def _with(call: Json, arguments: Any) -> Json:
    """The call, with other arguments."""
    if call.get("type", "function") == "custom":
        return call | {"custom": call["custom"] | {"input": arguments.get("input", "")}}
    text = arguments if isinstance(arguments, str) else dumped(arguments)
    before = call["function"].get("arguments")
    same = isinstance(before, str) and _read(before or "{}") == arguments
    return call | {"function": call["function"] | {"arguments": before if same else text}}


def _own(message: Json) -> Iterator[Step]:
    for part in texts_of(message.get("content"), _text):
        yield Own(part) if isinstance(part, str) else _part(part)
    if isinstance(message.get("refusal"), str):
        yield Own(message["refusal"])
    if message.get("audio"):
        yield Part("an answer that is heard", message["audio"])
    if message.get("function_call"):
        yield Part("a call without an id", message["function_call"])
    for call in message.get("tool_calls") or []:
        asked = _asked(call) if isinstance(call, dict) else None
        yield asked if asked is not None else Part("a call of a kind that is not known", call)


def _text(part: Mapping[str, Any]) -> str | None:
    return {"text": part.get("text"), "refusal": part.get("refusal")}.get(str(part.get("type")))


def _part(part: Any) -> Part:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return Part(f"a part of a message: {kind}" if isinstance(kind, str) else "a part of a message", part)


def _result(content: Any) -> Any:
    parts = list(texts_of(content, _text))
    return "\n".join(str(each) for each in parts) if all(isinstance(each, str) for each in parts) else content


def _choices(answer: Json) -> list[Json]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
        raise ValueError("an answer has no choices")
    return choices


class _Choice:
    """One of the answers that a stream holds."""

    def __init__(self, stream: RestoreStream | None) -> None:
        self.stream = stream
        self.wrote: list[str] = []
        self.calls: dict[int, Json] = {}
        self._pieces: dict[tuple[int, str, str], list[str]] = {}
        """Call, member, member of that → its text, as far as it has come."""

    def whole(self) -> list[Json]:
        """The calls that have come; from here on, none has."""
        for (index, key, name), pieces in self._pieces.items():
            self.calls[index][key][name] = "".join(pieces)
        calls, self.calls, self._pieces = [self.calls[index] for index in sorted(self.calls)], {}, {}
        return calls

    def add(self, part: Json) -> None:
        """A part of a call."""
        index = part.get("index", 0)
        call = self.calls.setdefault(index, {"index": index})
        for key, value in part.items():
            if isinstance(value, dict):
                made = call.setdefault(key, {})
                for name, text in value.items():
                    if name in _PIECES and isinstance(text, str):
                        self._pieces.setdefault((index, key, name), []).append(text)
                    else:
                        made[name] = text
            elif value is not None:
                call[key] = value


class ChatEdit:
    """See `fiducial.gateway.model.api.Edit`."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._choices: dict[int, _Choice] = {}
        self._last: Json = {}
        self._over = False

    async def feed(self, event: Event) -> bytes:
        """See `Edit.feed`."""
        if not event.data:
            return event.raw
        if event.data == b"[DONE]":
            self._over = True
            return await self._rest(calls=True) + event.raw
        chunk = msgspec.json.decode(event.data)
        if not isinstance(chunk, dict) or not chunk.get("choices"):
            if self._turn.decides and asks(chunk):
                raise ValueError("something that could be a call stands where none is")
            self._over = self._over or (isinstance(chunk, dict) and bool(chunk.get("error")))
            return event.raw
        _check_rest({}, chunk, "choices", self._turn)
        self._last = {key: value for key, value in chunk.items() if key not in ("choices", "usage")}
        before, changed, left = b"", False, []
        for choice in _choices(chunk):
            self._over = self._over or choice.get("finish_reason") is not None
            held = await self._edit(choice)
            if held is None:
                left.append(choice)
            else:
                before, changed = before + held, True
                if choice.get("delta") or choice.get("finish_reason") is not None:
                    left.append(choice)
        if not changed:
            return event.raw
        if not left and not chunk.get("usage"):
            return before
        return before + written(chunk | {"choices": left}, event.name)

    async def close(self) -> bytes:
        """See `Edit.close`."""
        # A call that may lack a part does not go on.
        rest = await self._rest(calls=False)
        if not self._over:
            raise ValueError(NO_END)
        return rest

    async def _edit(self, choice: Json) -> bytes | None:
        """Change a part of a choice: what goes before it, or `None` when it is as it was."""
        index, delta = choice.get("index", 0), choice.get("delta") or {}
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _Choice(self._turn.stream())
        if not isinstance(delta, dict) or delta.get("function_call"):
            raise ValueError("a part of an answer cannot be read")
        _check_rest(choice, delta, "delta", self._turn)
        changed = False
        text = delta.get("content")
        if isinstance(text, str) and text:
            if state.stream is not None and (shown := state.stream.feed(text)) != text:
                delta["content"], text, changed = shown, shown, True
            state.wrote.append(text)
        for part in _calls(delta.get("tool_calls") or []):
            state.add(part)
        if "tool_calls" in delta and self._turn.whole:
            del delta["tool_calls"]
            changed = True
            if delta.get("content", 0) is None or delta.get("content") == "":
                del delta["content"]
        if choice.get("finish_reason") is None:
            return b"" if changed else None
        deltas, reason = await self._end(state, choice["finish_reason"], calls=True)
        if not deltas and reason == choice["finish_reason"]:
            return b"" if changed else None
        choice["finish_reason"] = reason
        return b"".join(self._part(index, each) for each in deltas)

    async def _end(self, state: _Choice, reason: Any, *, calls: bool) -> tuple[list[Json], Any]:
        """What is still to come of a choice, and why it ends."""
        deltas: list[Json] = []
        if state.stream is not None and (tail := state.stream.close()):
            deltas.append({"content": tail})
            state.wrote.append(tail)
        asked = state.whole()
        if asked and calls:
            kept, told = await _called(asked, self._turn, reason)
            if told:
                text = ("\n\n" if any(state.wrote) else "") + "\n\n".join(told)
                deltas.append({"content": text})
                state.wrote.append(text)
            if kept and self._turn.whole:
                deltas.append({"tool_calls": [each | {"index": index} for index, each in enumerate(kept)]})
            reason = _reason(reason, kept, told)
        self._turn.wrote("".join(state.wrote))
        return deltas, reason

    async def _rest(self, *, calls: bool) -> bytes:
        out = b""
        for index, state in self._choices.items():
            deltas, _ = await self._end(state, None, calls=calls)
            out += b"".join(self._part(index, each) for each in deltas)
        self._choices = {}
        return out

    def _part(self, index: int, delta: Json) -> bytes:
        return written(self._last | {"choices": [{"index": index, "delta": delta, "finish_reason": None}]})


__all__ = ["Chat", "ChatEdit"]
