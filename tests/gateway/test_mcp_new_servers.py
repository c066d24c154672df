"""Servers that know of no version of MCP before 2026-07-28: no handshake, and input is asked for in results."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

import anyio
import mcp_types as types
import pytest
from gateway_world import House
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_http_world import Gate, Upstream
from mcp_world import Line, upstream
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from fiducial.core.event import CallDecided, CallFinished
from fiducial.gateway.mcp import upstream as connection

REFUSALS = [types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION, types.INVALID_PARAMS]
ASKS = types.ElicitRequest(
    params=types.ElicitRequestFormParams(message="Which?", requested_schema={"type": "object", "properties": {}})
)


def refusal(id: Any, code: int) -> dict[str, Any]:
    """What such a server answers to a handshake."""
    error: dict[str, Any] = {"code": code, "message": "what is that?"}
    if code == types.UNSUPPORTED_PROTOCOL_VERSION:
        error["data"] = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
    return {"jsonrpc": "2.0", "id": id, "error": error}


class New(Server[Any]):
    """Such a server: the official one, behind what refuses handshakes."""

    code = types.METHOD_NOT_FOUND

    async def run(self, read: Any, write: Any, *more: Any, **options: Any) -> None:
        near, far = anyio.create_memory_object_stream[Any](10)
        async with anyio.create_task_group() as tasks, near:
            tasks.start_soon(super().run, far, write, *more)
            async for message in read:
                if getattr(message.message, "method", "") == "initialize":
                    said = types.JSONRPCError.model_validate(refusal(message.message.id, self.code))
                    await write.send(SessionMessage(said))
                else:
                    await near.send(message)
            tasks.cancel_scope.cancel()


def new(house: House, code: int = types.METHOD_NOT_FOUND, **handlers: Any) -> Server[Any]:
    made = upstream(house, **handlers)
    made.__class__ = type("New", (New,), {"code": code})
    return made


def call(line: Line, tool: str, **arguments: Any) -> types.CallToolResult:
    found: types.CallToolResult = line.do(lambda: line.client.session.call_tool(tool, arguments))
    return found


def text(result: types.CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def accept(_: Any, params: Any) -> types.ElicitResult:
    assert params.message == "Which?"
    return types.ElicitResult(action="accept", content={"which": "the red one"})


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
def test_calls_are_decided_and_made(house: House, era: str, code: int) -> None:
    line = Line(house, new(house, code), era=era)
    listed = line.do(line.client.list_tools)
    assert {tool.name for tool in listed.tools} == {"look_up", "write_note", "pay_bill"}
    assert text(call(line, "look_up", name="page")) == "done"
    assert call(line, "wipe", name="all").is_error
    assert dict(house.tools.ran) == {"look_up": 1}
    house.store.flush()
    events = [each.event for each in house.store.ledger().entries(0)]
    assert [each.verdict for each in events if isinstance(each, CallDecided)] == ["allowed", "denied"]
    assert [each.outcome for each in events if isinstance(each, CallFinished)] == ["ok"]


def test_what_it_needs_from_the_client_is_asked_for_and_comes_back(house: House) -> None:
    seen: list[Any] = []

    async def call_tool(_: Any, params: Any) -> Any:
        if params.input_responses is None:
            return types.InputRequiredResult(input_requests={"a": ASKS}, request_state="opaque")
        seen.append((params.input_responses, params.request_state, params.arguments))
        return types.CallToolResult(content=[types.TextContent(text=params.input_responses["a"].content["which"])])

    line = Line(house, new(house, on_call_tool=call_tool), elicitation_callback=accept)
    assert text(call(line, "look_up", name="x")) == "the red one"
    [(_, state, arguments)] = seen
    assert (state, arguments) == ("opaque", {"name": "x"})
    house.store.flush()
    assert b"Which?" in house.written(), "the agent's side was told it, so it is taken in"


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
def test_a_client_that_cannot_be_asked_gets_an_error_and_the_call_has_failed(house: House, era: str) -> None:
    async def call_tool(_: Any, __: Any) -> Any:
        return types.InputRequiredResult(input_requests={"a": ASKS})

    line = Line(house, new(house, on_call_tool=call_tool), era=era)
    with pytest.raises(MCPError):
        call(line, "look_up", name="x")
    house.store.flush()
    [finished] = [each.event for each in house.store.ledger().entries(0) if isinstance(each.event, CallFinished)]
    assert finished.outcome == "failed"


def test_one_that_needs_time_is_asked_again_and_not_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "AGAIN", 0)
    states: list[str | None] = []

    async def call_tool(_: Any, params: Any) -> Any:
        states.append(params.request_state)
        if params.arguments["name"] == "slow" and len(states) == 3:
            return types.CallToolResult(content=[types.TextContent(text="at last")])
        return types.InputRequiredResult(request_state=f"{len(states)}")

    line = Line(house, new(house, on_call_tool=call_tool))
    assert text(call(line, "look_up", name="slow")) == "at last"
    assert states == [None, "1", "2"]
    with pytest.raises(MCPError, match="again and again"):
        call(line, "look_up", name="never")
    assert len(states) == 3 + connection.MOST_ROUNDS


def behind(gate: Gate, refused: Container[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of `gate` refuses these methods, as one does that does not know them."""
    serve = Upstream.__call__

    async def refusing(self: Upstream, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await serve(self, scope, receive, send)
            return
        first = await receive()
        said = json.loads(first.get("body") or b"{}")
        if said.get("method") in refused:
            await JSONResponse(refusal(said["id"], types.UNSUPPORTED_PROTOCOL_VERSION), 400)(scope, receive, send)
            return
        left: list[Message] = [first]

        async def again() -> Message:
            return left.pop() if left else await receive()

        await serve(self, scope, again, send)

    monkeypatch.setattr(Upstream, "__call__", refusing)


def test_over_http_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(house)
    behind(gate, {"initialize"}, monkeypatch)
    client = gate.client()
    assert client.call("look_up", name="page").content[0].text == "done"
    assert client.call("wipe", name="all").is_error
    assert dict(house.tools.ran) == {"look_up": 1}
    assert gate.up.sessions == 0
    assert {each.get("mcp-protocol-version") for each in gate.up.seen} == {"2026-07-28"}


def test_one_that_speaks_in_neither_way_is_not_talked_to(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(house)
    behind(gate, {"initialize", "server/discover"}, monkeypatch)
    with pytest.raises(MCPError):
        gate.client()
    assert not gate.lines
