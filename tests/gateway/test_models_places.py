"""Masking at the models' door, place by place: what a provider gets of requests that hold values anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateway_world import House
from model_world import Gate
from test_models_hostile import JSON, PATHS, RESPONSE, completion

from fiducial.gateway.trusted import trusted

CARD, MAIL, KEY = "4111 1111 1111 1111", "ann.fox@example.org", "ghp_Zq8vB2nM4kL7xC1wE5rT9yU3iO6pA0sDfGhJ"
PASSWORD = "tr0ub4dor-3"
MASK = ["payment", "contact", "secrets", "credentials"]
USER = {"role": "user", "content": "x"}
CHAT: dict[str, Any] = {"model": "m", "messages": [USER]}
RESP: dict[str, Any] = {"model": "m", "input": "x"}
MSGS: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": [USER]}
ANSWERS = {
    "chat": completion(content="ok"),
    "responses": RESPONSE | {"status": "completed"},
    "messages": {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []},
}


def packed(text: str, codec: str = "utf-8") -> str:
    return base64.b64encode(text.encode(codec)).decode()


def of_user(content: Any, **more: Any) -> dict[str, Any]:
    return CHAT | {"messages": [{"role": "user", "content": content} | more]}


def of_blocks(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return MSGS | {"messages": [{"role": role, "content": list(blocks)}, USER]}


def of_call(arguments: str, id: str = "c") -> dict[str, Any]:
    made = {"id": id, "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": id, "content": "x"}
    return CHAT | {"messages": [USER, {"role": "assistant", "tool_calls": [made]}, result]}


def tool(**function: Any) -> dict[str, Any]:
    return CHAT | {"tools": [{"type": "function", "function": {"name": "mail"} | function}]}


def formed(**schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "name": "x", "schema": schema}


def ask(gate: Gate, api: str, body: dict[str, Any], query: str = "", **headers: str) -> httpx2.Response:
    gate.provider.raw = JSON, json.dumps(ANSWERS[api]).encode()
    wanted = {"Authorization": "Bearer key-of-one"} | headers
    return httpx2.post(
        f"{gate.site.url}/models/{PATHS[api]}{query}", json=body, headers=wanted, timeout=20, verify=trusted()
    )


PICTURE = base64.b64encode(bytes(range(256)) * 20).decode()
DEEP = {"type": "object", "properties": {"to": {"type": "string", "enum": [MAIL], "description": f"Not {CARD}"}}}
PLACES: list[tuple[str, str, dict[str, Any]]] = [
    ("text", "chat", of_user(f"{MAIL} {CARD} {KEY}")),
    ("part", "chat", of_user([{"type": "text", "text": CARD}])),
    ("system", "chat", CHAT | {"messages": [{"role": "system", "content": MAIL}]}),
    ("developer", "chat", CHAT | {"messages": [{"role": "developer", "content": MAIL}]}),
    ("name of a speaker", "chat", of_user("x", name=MAIL)),
    ("message of type thinking", "chat", of_user(CARD, type="thinking")),
    ("part of type thinking", "chat", of_user([{"type": "thinking", "text": CARD}])),
    ("reasoning", "chat", CHAT | {"messages": [{"role": "assistant", "content": "x", "reasoning_content": CARD}]}),
    ("reasoning in parts", "chat", CHAT | {"messages": [{"role": "assistant", "reasoning_details": [{"text": CARD}]}]}),
    ("member that nobody knows", "chat", of_user("x", new_member={"deep": [MAIL]})),
    ("member of the request", "chat", CHAT | {"documents": [{"text": MAIL, CARD: 1}]}),
    ("number", "chat", CHAT | {"new": {"number": 4111111111111111}}),
    ("key", "chat", CHAT | {MAIL: {"x": 1}}),
    ("description of a tool", "chat", tool(description=f"Mails {MAIL}")),
    ("schema of a tool", "chat", tool(parameters=DEEP)),
    ("chosen tool", "chat", CHAT | {"tool_choice": {"type": "function", "function": {"name": MAIL}}}),
    ("response_format", "chat", CHAT | {"response_format": {"json_schema": formed(enum=[MAIL])}}),
    ("stop", "chat", CHAT | {"stop": [CARD, "x"]}),
    ("stop as text", "chat", CHAT | {"stop": CARD}),
    ("prediction", "chat", CHAT | {"prediction": {"type": "content", "content": CARD}}),
    ("metadata", "chat", CHAT | {"metadata": {"mail": MAIL, MAIL: "x", "id": CARD, "name": MAIL, "type": MAIL}}),
    ("password", "chat", CHAT | {"metadata": {"password": PASSWORD}}),
    ("password of a request", "chat", CHAT | {"password": PASSWORD}),
    ("password in a message", "chat", of_user("x", new_member={"password": PASSWORD, "pin": 4711})),
    ("user", "chat", CHAT | {"user": MAIL}),
    ("safety_identifier", "chat", CHAT | {"safety_identifier": MAIL}),
    ("prompt_cache_key", "chat", CHAT | {"prompt_cache_key": MAIL}),
    ("model", "chat", CHAT | {"model": MAIL}),
    ("text URL", "chat", of_user([{"type": "image_url", "image_url": {"url": f"data:text/plain,my card is {CARD}"}}])),
    ("quoted URL", "chat", of_user([{"type": "image_url", "image_url": {"url": "data:,ann.fox%40example.org"}}])),
    ("packed URL", "chat", of_user([{"type": "file", "file": {"file_data": f"data:text/csv;base64,{packed(CARD)}"}}])),
    ("URL", "chat", of_user([{"type": "image_url", "image_url": {"url": f"https://x.example/?q={MAIL}"}}])),
    ("file", "chat", of_user([{"type": "file", "file": {"filename": MAIL, "file_id": MAIL, "file_data": CARD}}])),
    ("detail", "chat", of_user([{"type": "image_url", "image_url": {"url": "https://x", "detail": MAIL}}])),
    ("id of a call", "chat", of_call("{}", MAIL)),
    ("arguments", "chat", of_call(json.dumps({"a": CARD, MAIL: 1, "id": CARD, "n": 4111111111111111}))),
    ("broken arguments", "chat", of_call(json.dumps({"a": CARD})[:-1])),
    ("custom tool", "chat", CHAT | {"messages": [{"role": "assistant", "tool_calls": [
        {"id": "c", "type": "custom", "custom": {"name": "x", "input": CARD}}]}]}),
    ("refusal", "chat", CHAT | {"messages": [{"role": "assistant", "content": None, "refusal": CARD}]}),
    ("instructions", "responses", RESP | {"instructions": f"Write to {MAIL}"}),
    ("instructions as a list", "responses", RESP | {"instructions": [{"role": "user", "content": MAIL}]}),
    ("input", "responses", RESP | {"input": CARD}),
    ("reasoning item", "responses", RESP | {"input": [{"type": "reasoning", "id": "rs", "summary": [
        {"type": "summary_text", "text": CARD}], "content": [{"type": "reasoning_text", "text": MAIL}]}]}),
    ("output", "responses", RESP | {"input": [{"type": "function_call_output", "call_id": "c", "output": CARD}]}),
    ("output in parts", "responses", RESP | {"input": [
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": CARD}]}]}),
    ("output with names", "responses", RESP | {"input": [
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "x", "name": CARD, "detail": MAIL}}]}),
    ("status", "responses", RESP | {"input": [
        {"type": "web_search_call", "id": "w", "status": CARD, "action": {"type": "search", "query": MAIL}}]}),
    ("text.format", "responses", RESP | {"text": {"format": formed(enum=[MAIL])}}),
    ("variables", "responses", RESP | {"prompt": {"id": "p", "variables": {"name": MAIL, "id": CARD}}}),
    ("user of Responses", "responses", RESP | {"user": MAIL, "metadata": {"m": MAIL}}),
    ("system of Messages", "messages", MSGS | {"system": [{"type": "text", "text": MAIL}]}),
    ("thinking", "messages", of_blocks({"type": "thinking", "thinking": CARD, "signature": "x"}, role="assistant")),
    ("thinking of a user", "messages", of_blocks({"type": "thinking", "thinking": CARD, "signature": "x"})),
    ("redacted", "messages", of_blocks({"type": "redacted_thinking", "data": MAIL}, role="assistant")),
    ("thinking in a result", "messages", of_blocks(
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "thinking", "text": CARD}]})),
    ("call", "messages", of_blocks({"type": "tool_use", "id": "t", "name": "x", "input": {"a": CARD}})),
    ("tool of Messages", "messages", MSGS | {"tools": [
        {"name": "mail", "description": f"Mails {MAIL}", "input_schema": DEEP}]}),
    ("stop_sequences", "messages", MSGS | {"stop_sequences": [MAIL]}),
    ("metadata.user_id", "messages", MSGS | {"metadata": {"user_id": MAIL}}),
    ("output_format", "messages", MSGS | {"output_format": formed(description=MAIL)}),
    ("output_config", "messages", MSGS | {"output_config": {"format": formed(description=MAIL)}}),
    ("document", "messages", of_blocks(
        {"type": "document", "title": MAIL, "source": {"type": "text", "media_type": "text/plain", "data": KEY}})),
    ("document of words", "messages", of_blocks({"type": "document", "source": {
        "type": "text", "media_type": "text/plain", "data": f"{'it is as it was ' * 100}{CARD} and so on"}})),
    ("packed document", "messages", of_blocks(
        {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": packed(f"x {CARD}")}})),
    ("MCP servers", "messages", MSGS | {"mcp_servers": [{"type": "url", "url": "https://x", "name": MAIL}]}),
]  # fmt: skip


@pytest.mark.parametrize(("place", "api", "body"), PLACES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_value_is_masked_wherever_it_stands(masking: Gate, place: str, api: str, body: dict[str, Any]) -> None:
    answer = ask(masking, api, body)
    assert answer.status_code == 200, answer.text
    [asked] = masking.provider.asked
    told = json.dumps(asked, ensure_ascii=False)
    held = told + _unpacked(asked)
    for value in (CARD, MAIL, KEY, PASSWORD, "4711", "4111111111111111", "ann.fox%40example.org"):
        assert value not in held
    assert "masked-" in held
    masking.house.store.flush()
    kept = b"".join(path.read_bytes() for path in masking.house.path.parent.glob("fiducial*") if path.is_file())
    for value in (CARD, MAIL, KEY, PASSWORD):
        assert value.encode() not in kept


def _unpacked(value: Any) -> str:
    """The texts that stand in base64 anywhere in `value`."""
    if isinstance(value, dict):
        return "".join(map(_unpacked, value.values()))
    if isinstance(value, list):
        return "".join(map(_unpacked, value))
    try:
        return base64.b64decode(str(value).rpartition(",")[2], validate=True).decode("latin-1")
    except ValueError:
        return ""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with House(tmp_path_factory.mktemp("models") / "fiducial.db") as house:
        yield Gate(house, mask=MASK, provider_tools=["web_search", "mcp_servers", "prompt"])


@pytest.fixture
def masking(gate: Gate) -> Gate:
    for kept in (gate.provider.asked, gate.provider.headers, gate.provider.queries):
        kept.clear()
    return gate


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", CHAT | {
            "model": "claude-sonnet-4-5-20250929", "temperature": 0.7, "seed": 4111111111111111, "stream": False,
            "stop": ["\n\n", "END"], "tool_choice": "auto", "logit_bias": {"50256": -100}, "user": "emma",
            "reasoning_effort": "high", "service_tier": "flex", "response_format": {"type": "json_object"},
            "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {
                "type": "object", "properties": {"n": {"type": "integer", "maximum": 9007199254740991}}}}}],
        }),
        ("chat", CHAT | {"model": "ft:gpt-4o-mini-2024-07-18:acme::9aBcDeFg"}),
        ("chat", of_user([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}])),
        ("chat", of_call('{"a": 1}', "call_Zq8vB2nM4kL7xC1wE5rT9yU3")),
        ("responses", {"model": "m", "input": [
            {"type": "reasoning", "summary": [], "encrypted_content": PICTURE}, {"role": "user", "content": "x"}]}),
        ("messages", of_blocks(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}})),
        ("messages", MSGS | {"thinking": {"type": "enabled", "budget_tokens": 2048}, "metadata": {"user_id": "u-1"}}),
    ],
)  # fmt: skip
def test_settings_names_and_pictures_pass_as_they_are(masking: Gate, api: str, body: dict[str, Any]) -> None:
    assert ask(masking, api, body).status_code == 200
    assert masking.provider.asked == [body]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (f"?user={MAIL}", {}), ("?beta=4111-1111-1111-1111", {}), ("", {"anthropic-beta": MAIL}),
        ("", {"openai-beta": "4111-1111-1111-1111"}), ("", {"anthropic-version": "2023-06-01 and more"}),
    ],
)  # fmt: skip
def test_an_address_and_headers_name_versions_only(masking: Gate, query: str, headers: dict[str, str]) -> None:
    answer = ask(masking, "messages", MSGS, query, **headers)
    assert answer.status_code == 400
    assert MAIL not in answer.text
    assert not masking.provider.asked


def test_what_a_client_says_of_itself_and_its_account_stays_here(masking: Gate) -> None:
    mine = {
        "openai-organization": "org-of-others", "openai-project": "p", "idempotency-key": "same-for-all",
        "x-stainless-note": MAIL, "user-agent": MAIL, "anthropic-version": "2023-06-01", "cookie": MAIL,
        "anthropic-beta": "files-api-2025-04-14,context-1m-2025-08-07", "openai-beta": "assistants=v2",
    }  # fmt: skip
    assert ask(masking, "messages", MSGS, "?beta=true&api-version=2024-10-21", **mine).status_code == 200
    [headers], [query] = masking.provider.headers, masking.provider.queries
    assert query == "beta=true&api-version=2024-10-21"
    assert {name: value for name, value in headers.items() if name in mine} == {
        "anthropic-version": "2023-06-01", "anthropic-beta": mine["anthropic-beta"], "openai-beta": "assistants=v2",
        "user-agent": "fiducial",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "messages": [], "temperature": NaN}', b'{"model": "m", "messages": [], "x": [-Infinity]}',
        b'{"model": "m", "messages": [], "temperature": 1e999}',
        b'{"model": "m", "messages": [], "tools": [{"type": "function", "type": "custom"}]}',
    ],
)  # fmt: skip
def test_what_readers_differ_in_goes_nowhere(masking: Gate, body: bytes) -> None:
    headers = {"Authorization": "Bearer key-of-one", "Content-Type": "application/json"}
    answer = httpx2.post(f"{masking.site.url}/models/{PATHS['chat']}", content=body, headers=headers, verify=trusted())
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert not masking.provider.asked


def test_long_numbers_pass_as_they_are(masking: Gate) -> None:
    body = CHAT | {"seed": 10**40, "new": [-(10**40), 0.1]}
    assert ask(masking, "chat", body).status_code == 200
    assert masking.provider.asked == [body]
