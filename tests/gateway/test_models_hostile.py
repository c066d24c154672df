"""The door for models before a provider that breaks its API: no call reaches the client that was not decided."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from gateway_world import House
from model_world import Gate

from fiducial.core.event import CallDecided, MessageObserved
from fiducial.errors import StoreError
from fiducial.gateway.model.sse import Events
from fiducial.gateway.model.turn import Conversation
from fiducial.gateway.trusted import trusted

SSE, JSON = "text/event-stream", "application/json"
PATHS = {"chat": "gpt/chat/completions", "responses": "gpt/responses", "messages": "claude/v1/messages"}
ARGUMENTS = json.dumps({"name": "all"})
CHAT_CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "wipe", "arguments": ARGUMENTS}}
BLOCK = {"type": "tool_use", "id": "c", "name": "wipe", "input": {"name": "all"}}
ITEM = {
    "type": "function_call",
    "id": "f",
    "call_id": "c",
    "name": "wipe",
    "arguments": ARGUMENTS,
    "status": "completed",
}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "in_progress"}


def chunks(*choices: dict[str, Any], **more: Any) -> bytes:
    about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"} | more
    said = [about | {"choices": [{"index": 0, "finish_reason": None} | each]} for each in choices]
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in said) + b"data: [DONE]\n\n"


def events(*said: dict[str, Any], name: str = "") -> bytes:
    numbered = [each | {"sequence_number": number} for number, each in enumerate(said)]
    return b"".join(
        f"event: {name or each['type']}\n".encode() + b"data: " + json.dumps(each).encode() + b"\n\n"
        for each in numbered
    )


def completion(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None} | message}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def ask(gate: Gate, api: str, *, stream: bool, **headers: str) -> httpx2.Response:
    said = [{"role": "user", "content": "x"}]
    body = {"model": "m", "max_tokens": 9, "stream": stream, "input" if api == "responses" else "messages": said}
    wanted = {"Authorization": "Bearer key-of-one"} | headers
    return httpx2.post(f"{gate.site.url}/models/{PATHS[api]}", json=body, headers=wanted, timeout=20, verify=trusted())


def decided(house: House) -> list[str]:
    house.store.flush()
    return [each.event.tool for each in house.store.ledger().entries(0) if isinstance(each.event, CallDecided)]


ADDED = {"type": "response.output_item.added", "output_index": 0}
DONE = {"type": "response.output_item.done", "output_index": 0}
SAID = {"type": "message", "id": "m", "role": "assistant", "status": "in_progress", "content": []}
CREATED = {"type": "response.created", "response": RESPONSE}
START = {"type": "message_start", "message": MESSAGE}
TOLD = {"type": "response.function_call_arguments.done", "name": "wipe", "arguments": ARGUMENTS}
DELTA = {"type": "response.output_text.delta", "delta": "a"}
PART = {"output_index": 0, "part": ITEM}
BEGUN = {"type": "content_block_start", "index": 0, "content_block": BLOCK}
CALLS = {"delta": {"tool_calls": [CHAT_CALL]}}


@pytest.mark.parametrize(
    ("api", "stream", "kind", "body"),
    [
        ("chat", True, SSE, json.dumps(completion(tool_calls=[CHAT_CALL]), indent=1).encode()),
        ("chat", False, SSE, json.dumps(completion(tool_calls=[CHAT_CALL]), indent=1).encode()),
        ("chat", False, SSE, chunks(CALLS, {"delta": {}, "finish_reason": "tool_calls"})),
        ("chat", True, "Text/Event-Stream", b"\xef\xbb\xbf" + chunks({"delta": {"tool_calls": [CHAT_CALL]}})),
        ("chat", True, SSE, chunks({"delta": {"content": "a"}, "message": {"tool_calls": [CHAT_CALL]}})),
        ("chat", True, SSE, chunks({"delta": {"content": "a", "more": {"tool_calls": [CHAT_CALL]}}})),
        ("chat", True, SSE, chunks({"delta": {"content": "a"}}, message={"tool_calls": [CHAT_CALL]})),
        ("chat", True, SSE, b'data: {"tool_calls": [{"function": {"name": "wipe", "arguments": "{}"}}]}\n\n'),
        ("chat", True, SSE, chunks({"delta": {"tool_calls": CHAT_CALL}})),
        ("chat", False, JSON, json.dumps(completion(content="a") | {"message": {"tool_calls": [CHAT_CALL]}}).encode()),
        ("chat", False, JSON, json.dumps(completion(tool_calls=CHAT_CALL)).encode()),
        ("messages", True, SSE, json.dumps(MESSAGE | {"content": [BLOCK]}, indent=1).encode()),
        ("messages", True, SSE, events({"type": "message_start", "message": MESSAGE | {"content": [BLOCK]}})),
        ("messages", True, SSE, events(START, BEGUN, name="x")),
        ("messages", True, SSE, events(START, {"type": "new_block", "index": 0, "content_block": BLOCK})),
        ("messages", True, SSE, events(START, BEGUN | {"content_block": BLOCK | {"type": "new_tool_use"}})),
        ("messages", False, JSON, json.dumps(MESSAGE | {"content": [BLOCK | {"type": "new_tool_use"}]}).encode()),
        ("responses", True, SSE, json.dumps(RESPONSE | {"output": [ITEM]}, indent=1).encode()),
        ("responses", True, SSE, events(CREATED, TOLD)),
        ("responses", True, SSE, events(CREATED, ADDED | {"item": SAID}, TOLD | {"output_index": 0})),
        ("responses", True, SSE, events(CREATED, DELTA | {"response": RESPONSE | {"output": [ITEM]}})),
        ("responses", True, SSE, events(CREATED, {"type": "response.content_part.done"} | PART)),
        ("responses", True, SSE, events(CREATED, {"type": "response.content_part.added"} | PART)),
        ("responses", True, SSE, events(CREATED, ADDED | {"item": ITEM | {"type": "shell_call"}})),
        ("responses", True, SSE, events(CREATED, DONE | {"item": ITEM | {"type": "shell_call"}})),
        ("responses", True, SSE, events(CREATED, {"type": "response.new", "item": ITEM})),
        ("responses", True, SSE, events({"type": "response.completed", "response": RESPONSE | {"output": [ITEM]}})),
        ("responses", False, JSON, json.dumps(RESPONSE | {"output": [ITEM | {"type": "tool_search_call"}]}).encode()),
        ("responses", False, JSON, json.dumps(RESPONSE | {"output": [SAID | {"content": [ITEM]}]}).encode()),
    ],
)  # fmt: skip
def test_no_call_goes_where_nobody_decides_it(house: House, api: str, stream: bool, kind: str, body: bytes) -> None:
    gate = Gate(house)
    gate.provider.raw = kind, body
    answer = ask(gate, api, stream=stream)
    got = answer.text.replace("`wipe` was not called", "")
    assert "wipe" not in got
    assert "`wipe` was not called" in answer.text or answer.status_code == 502 or '"api_error"' in got


def cut(reason: str) -> list[tuple[str, bool, str, bytes]]:
    call = CHAT_CALL | {"function": {"name": "stop_all", "arguments": ""}}
    whole = completion(tool_calls=[call])
    whole["choices"][0]["finish_reason"] = reason
    block = {"type": "tool_use", "id": "c", "name": "stop_all", "input": {}}
    ended = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 1}}
    item = ITEM | {"name": "stop_all", "arguments": "", "status": "incomplete"}
    return [
        ("chat", False, JSON, json.dumps(whole).encode()),
        ("chat", True, SSE, chunks({"delta": {"tool_calls": [call]}}, {"delta": {}, "finish_reason": reason})),
        ("messages", False, JSON, json.dumps(MESSAGE | {"content": [block], "stop_reason": "max_tokens"}).encode()),
        ("messages", True, SSE, events(START, {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_stop", "index": 0}, ended, {"type": "message_stop"})),
        ("responses", False, JSON, json.dumps(RESPONSE | {"output": [item], "status": "incomplete"}).encode()),
        ("responses", True, SSE, events(CREATED, ADDED | {"item": item}, DONE | {"item": item})),
    ]  # fmt: skip


@pytest.mark.parametrize(("api", "stream", "kind", "body"), cut("length") + cut("content_filter")[:2])
def test_a_call_that_an_answer_breaks_off_in_goes_nowhere(
    house: House, api: str, stream: bool, kind: str, body: bytes
) -> None:
    gate = Gate(house)
    gate.provider.raw = kind, body
    answer = ask(gate, api, stream=stream)
    assert "stop_all` was not called. The answer broke off" in answer.text
    assert answer.text.count("stop_all") == answer.text.count("`stop_all`")
    assert not decided(house)


@pytest.mark.parametrize(("stream", "kind", "body"), [
    (False, JSON, json.dumps(completion()).encode()),
    (True, SSE, chunks({"delta": {"content": None}, "finish_reason": "stop"})),
])  # fmt: skip
def test_an_answer_that_says_nothing_waits_for_its_prompt_too(
    house: House, monkeypatch: pytest.MonkeyPatch, stream: bool, kind: str, body: bytes
) -> None:
    def fail(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Conversation, "take_in", fail)
    gate = Gate(house)
    gate.provider.raw = kind, body
    assert "could not be kept" in ask(gate, "chat", stream=stream).text


def test_of_two_statements_none_counts_and_nothing_is_asked(house: House) -> None:
    gate = Gate(house)
    headers = [("Authorization", "Bearer key-of-one"), ("Fiducial-Task", "x"), ("Fiducial-Task", "x")]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    answer = httpx2.post(f"{gate.site.url}/models/gpt/chat/completions", json=body, headers=headers, verify=trusted())
    assert answer.status_code == 400
    assert not gate.provider.asked
    house.store.flush()
    assert not [each for each in house.store.ledger().entries(0) if isinstance(each.event, MessageObserved)]


def test_events_that_come_in_small_pieces_take_no_longer() -> None:
    events = Events()
    event = b"data: " + b"x" * 2_000_000 + b"\n\n"
    found = [each for at in range(0, len(event), 100) for each in events.feed(event[at : at + 100])]
    assert [each.data for each in found] == [b"x" * 2_000_000]
