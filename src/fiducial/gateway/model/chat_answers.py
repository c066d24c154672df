"""Answers of OpenAI's Chat Completions, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from fiducial.gateway.model.api import NO_END, asks
from fiducial.gateway.model.sse import Event, written
from fiducial.gateway.model.steps import Asked, Json, arguments_in, beside, dumped
from fiducial.gateway.model.thoughts import together
from fiducial.gateway.model.turn import Passed, Restoring, Turn

TEXTS: Final = {"text": "text", "refusal": "refusal"}
"""Kinds of parts that are texts, and the member that holds it."""
CALL: Final = frozenset(["custom", "function", "id", "index", "type"])
"""Members of a call."""
MESSAGE: Final = frozenset(["content", "refusal", "role", "tool_calls"])
"""Members of a message of the model's; what is beside them, it gave along."""
_FOUND: Final = ("annotations", "citations", "grounding_metadata", "search_results", "web_search")
"""Members that hold what was found for an answer: OpenAI's, Perplexity's, Google's, Zhipu's."""
_CUT: Final = ("length", "content_filter")
"""Why an answer ends that is not whole."""
_PIECES: Final = ("arguments", "input")
"""Members of a call that come in pieces."""
_SAID: Final = ("content", "refusal")
"""Members of a message that are texts."""


async def edited(answer: Json, turn: Turn) -> Json:
    """A whole answer; see `Api.edited`."""
    _check_rest({}, answer, "choices", turn)
    _look({}, answer, turn)
    return answer | {"choices": [await _edited(choice, turn) for choice in _choices(answer)]}


async def _edited(choice: Json, turn: Turn) -> Json:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("a choice has no message")
    if message.get("function_call"):
        raise ValueError("a call has no id")
    _check_rest(choice, message, "message", turn)
    _look(choice, message, turn)
    _keep(message, turn)
    content = message.get("content")
    text = await turn.text(content) if isinstance(content, str) else ""
    asked = message.get("tool_calls") or []
    kept, told = await _called(_calls(asked), turn, choice.get("finish_reason"))
    if isinstance(content, list):
        parts = [await _part(each, turn) for each in content]
        message = message | {"content": [*parts, *({"type": "text", "text": each} for each in told)]}
        for each in told:
            turn.wrote(each)
    else:
        shown = "\n\n".join(each for each in (text, *told) if each)
        turn.wrote(shown)
        message = message | {"content": shown if told or isinstance(content, str) else content}
    if asked:
        del message["tool_calls"]
        if kept:
            message["tool_calls"] = kept
    if isinstance(message.get("refusal"), str):
        message["refusal"] = await turn.plain(message["refusal"])
        turn.wrote(message["refusal"])
    return choice | {"message": message, "finish_reason": _reason(choice.get("finish_reason"), kept, told)}


async def _part(part: Any, turn: Turn) -> Any:
    """A part of a message, as the client gets it."""
    key = TEXTS.get(str(part.get("type"))) if isinstance(part, dict) else None
    if key is None or not isinstance(part.get(key), str):
        turn.own(part)
        return part
    text = await turn.text(part[key])
    turn.wrote(text)
    for each in beside(part, {"type", key}):
        turn.own(each.value)
    return part | {key: text}


def _reason(reason: Any, kept: list[Json], told: list[str]) -> Any:
    return "stop" if told and not kept and reason == "tool_calls" else reason


def _check_rest(choice: Json, said: Json, key: str, turn: Turn) -> None:
    """Raises `ValueError` where a call could be in what nobody looks at."""
    rest = [{name: value for name, value in each.items() if name not in ("tool_calls", key)} for each in (choice, said)]
    if turn.decides and asks(rest):
        raise ValueError("something that could be a call stands where none is")


def _look(choice: Json, said: Json, turn: Turn) -> None:
    """Something may have been found for the answer."""
    if any(each.get(key) for each in (choice, said) for key in _FOUND):
        turn.looked_up()


def _keep(message: Json, turn: Turn) -> None:
    """What the model gave along with its words."""
    for each in beside(message, MESSAGE):
        turn.own(each.value, found=not each.value.keys().isdisjoint(_FOUND))
    heard = message.get("audio")
    if isinstance(heard, dict) and heard.get("id"):
        turn.gave(str(heard["id"]))


def _calls(said: Any) -> list[Json]:
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise ValueError("calls are no list of objects")
    return said


async def _called(calls: list[Json], turn: Turn, reason: Any) -> tuple[list[Json], list[str]]:
    """The calls that go to the client, and what is said in the place of the others; `reason`: why the answer ends."""
    kept: list[Json] = []
    told: list[str] = []
    for number, call in enumerate(calls, 1):
        asked = asked_in(call)
        if asked is None:
            raise ValueError("a call of a kind that is not known")
        if reason in _CUT and number == len(calls) and turn.decides:
            told.append(turn.cut(asked.tool).told)
            continue
        for each in beside(call, CALL):
            turn.own(each.value)
        became = await turn.call(asked.call, asked.tool, asked.arguments)
        if isinstance(became, Passed):
            kept.append(_with(call, became.arguments))
        else:
            told.append(became.told)
    return kept, told


def asked_in(call: Json) -> Asked | None:
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


def _choices(answer: Json) -> list[Json]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
        raise ValueError("an answer has no choices")
    return choices


class _Choice:
    """One of the answers that a stream holds."""

    def __init__(self, streams: dict[str, Restoring | None]) -> None:
        self.streams = streams
        self.wrote: dict[str, list[str]] = {key: [] for key in _SAID}
        self._along: dict[str, list[Any]] = {}
        """Member → the pieces of what the model gave along with its words."""
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

    def beside(self, delta: Json) -> None:
        """What came with a piece of a text."""
        for key, value in delta.items():
            if key not in MESSAGE and value is not None:
                self._along.setdefault(key, []).append(value)

    def along(self) -> Iterator[Json]:
        """What the model gave along with its words: put together, and as a list of all the parts that came."""
        yield {key: together(pieces) for key, pieces in self._along.items()}
        yield {
            key: list(chain.from_iterable(pieces))
            for key, pieces in self._along.items()
            if all(isinstance(each, list) for each in pieces)
        }

    async def said(self, key: str, text: str) -> str:
        """A piece of a text, as the client gets it."""
        stream = self.streams[key]
        shown = text if stream is None else await stream.feed(text)
        self.wrote[key].append(shown)
        return shown


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
        if isinstance(chunk, dict):
            _look({}, chunk, self._turn)
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
            streams = {"content": self._turn.stream(), "refusal": self._turn.stream(plain=True)}
            state = self._choices[index] = _Choice(streams)
        if not isinstance(delta, dict) or delta.get("function_call"):
            raise ValueError("a part of an answer cannot be read")
        _check_rest(choice, delta, "delta", self._turn)
        _look(choice, delta, self._turn)
        state.beside(delta)
        changed = False
        for key in _SAID:
            text = delta.get(key)
            if isinstance(text, str) and text and (shown := await state.said(key, text)) != text:
                delta[key], changed = shown, True
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
        for key, stream in state.streams.items():
            if stream is not None and (tail := stream.close()):
                deltas.append({key: tail})
                state.wrote[key].append(tail)
        asked = state.whole()
        if asked and calls:
            kept, told = await _called(asked, self._turn, reason)
            if told:
                text = ("\n\n" if any(state.wrote["content"]) else "") + "\n\n".join(told)
                deltas.append({"content": text})
                state.wrote["content"].append(text)
            if kept and self._turn.whole:
                deltas.append({"tool_calls": [each | {"index": index} for index, each in enumerate(kept)]})
            reason = _reason(reason, kept, told)
        for along in state.along():
            _keep(along, self._turn)
        for pieces in state.wrote.values():
            self._turn.wrote("".join(pieces))
            pieces.clear()
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


__all__ = ["CALL", "MESSAGE", "TEXTS", "ChatEdit", "asked_in", "edited"]
