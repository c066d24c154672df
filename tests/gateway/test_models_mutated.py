"""The door for models before requests and answers that are not quite what an API has: whatever is changed in them, the
client is told what cannot be read, and gets no call that was not decided."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx2
import pytest
from gateway_world import House
from model_world import Gate
from test_models_hostile import (
    ADDED,
    BLOCK,
    CALLS,
    CHAT_CALL,
    CREATED,
    DELTA,
    DONE,
    ITEM,
    JSON,
    MESSAGE,
    PATHS,
    RESPONSE,
    SAID,
    SSE,
    START,
    completion,
)

from fiducial.gateway.trusted import trusted

VALUES: list[Any] = [
    None, 1, -1, "", [], {}, True, "x", 0.5, [[]], [None], [{}], 10**30, "{}", '{"name":', "审", "tool_use",
    "function_call", "text", "assistant", "tool", {"type": "text", "text": "hi"}, {"a": {"b": 1}},
    "DE89370400440532013000",
]  # fmt: skip
KEYS = [
    "annotations", "arguments", "call_id", "choices", "content", "custom", "delta", "error", "finish_reason",
    "function", "function_call", "id", "index", "input", "item", "logprobs", "message", "n", "name", "output",
    "output_index", "parts", "reasoning", "refusal", "role", "sequence_number", "signature", "status", "stop_reason",
    "summary", "text", "thinking", "tool_calls", "tools", "type", "usage",
]  # fmt: skip
TEXT = "Pay DE89370400440532013000 for ann@example.com"
MADE = {"id": "a", "type": "function", "function": {"name": "read_notes", "arguments": "{}"}}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "stop": ["a"], "tools": [{"type": "function", "function": {"name": "wipe"}}], "messages": [
        {"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": TEXT}]},
        {"role": "assistant", "content": None, "tool_calls": [MADE]},
        {"role": "tool", "tool_call_id": "a", "content": TEXT}]},
    "responses": {"model": "m", "instructions": "s", "tools": [{"type": "function", "name": "wipe"}], "input": [
        {"role": "user", "content": [{"type": "input_text", "text": TEXT}]},
        {"type": "function_call", "call_id": "a", "name": "read_notes", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": TEXT}]},
    "messages": {"model": "m", "max_tokens": 9, "system": [{"type": "text", "text": "s"}], "messages": [
        {"role": "user", "content": [{"type": "text", "text": TEXT}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "read_notes", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": TEXT}]}]},
}  # fmt: skip
ABOUT = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
WROTE = SAID | {"status": "completed", "content": [{"type": "output_text", "text": "a", "annotations": []}]}
WHOLE = RESPONSE | {"status": "completed", "output": [WROTE, ITEM]}
AT = {"output_index": 0, "content_index": 0, "item_id": "m"}
EMPTY = {"type": "output_text", "text": "", "annotations": []}
ANSWERED: dict[str, dict[str, Any]] = {
    "chat": completion(content=TEXT, tool_calls=[CHAT_CALL]),
    "responses": WHOLE,
    "messages": MESSAGE | {"content": [{"type": "text", "text": TEXT}, BLOCK], "stop_reason": "tool_use"},
}
STREAMED: dict[str, list[dict[str, Any]]] = {
    "chat": [ABOUT | {"choices": [{"index": 0, "finish_reason": None} | each]} for each in (
        {"delta": {"role": "assistant", "content": "Pay "}}, CALLS, {"delta": {}, "finish_reason": "tool_calls"})],
    "responses": [CREATED, ADDED | {"item": SAID}, {"type": "response.content_part.added", "part": EMPTY} | AT,
        DELTA | AT, {"type": "response.output_text.done", "text": "a"} | AT, DONE | {"item": WROTE},
        ADDED | {"output_index": 1, "item": ITEM | {"arguments": "", "status": "in_progress"}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "f", "delta": "{}"},
        DONE | {"output_index": 1, "item": ITEM}, {"type": "response.completed", "response": WHOLE}],
    "messages": [START, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Pay "}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": BLOCK | {"input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"}],
}  # fmt: skip


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*above, key))


def mutated(value: Any, random: Random, most: int) -> Any:
    """`value`, changed in up to so many places: without a member, with one more, or with something else there."""
    value = copy.deepcopy(value)
    for _ in range(random.randint(0, most)):
        found = [place for place in places(value) if place]
        if not found:
            return value
        *above, last = random.choice(found)
        inside = value
        for key in above:
            inside = inside[key]
        how, other = random.random(), copy.deepcopy(random.choice(VALUES))
        if how < 0.2 and isinstance(inside, dict):
            del inside[last]
        elif how < 0.4 and isinstance(inside, dict):
            inside[random.choice(KEYS)] = other
        elif how < 0.5 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[last]))
        else:
            inside[last] = other
    return value


def written(api: str, said: list[Any]) -> bytes:
    names = [each.get("type") if api != "chat" and isinstance(each, dict) else None for each in said]
    lines = [f"event: {name}\n" if isinstance(name, str) and name else "" for name in names]
    body = "".join(f"{line}data: {json.dumps(each)}\n\n" for line, each in zip(lines, said, strict=True))
    return (body + ("data: [DONE]\n\n" if api == "chat" else "")).encode()


def calls(got: Any) -> list[Any]:
    """What a client could take for calls of `wipe`."""
    found, todo = [], [got]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if each.get("name") == "wipe" and ("arguments" in each or each.get("type") == "tool_use"):
                found.append(each)
            todo += each.values()
        elif isinstance(each, list):
            todo += each
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("count", [60, pytest.param(1500, marks=pytest.mark.long)])
def test_whatever_is_changed_is_read_or_refused(house: House, api: str, stream: bool, count: int) -> None:
    gate, random = Gate(house), Random(f"{api} {stream}")
    with httpx2.Client(timeout=20, verify=trusted(), headers={"Authorization": "Bearer key-of-one"}) as client:
        for _ in range(count):
            asked = mutated(ASKED[api], random, 2) | {"stream": stream}
            said = mutated(STREAMED[api] if stream else ANSWERED[api], random, 4)
            gate.provider.raw = (SSE, written(api, said)) if stream else (JSON, json.dumps(said).encode())
            answer = client.post(f"{gate.site.url}/models/{PATHS[api]}", json=asked)
            assert answer.status_code in (200, 400, 502), (answer.text, asked, said)
            assert "the server's log says what" not in answer.text, (asked, said)
            lines = answer.text.splitlines() if stream else [answer.text]
            data = [line.removeprefix("data: ") for line in lines if line.startswith(("data: {", "{"))]
            assert not [each for one in data for each in calls(json.loads(one))], (answer.text, asked, said)
