"""What a memory behind an MCP server brings back reaches its user alone, in whatever form the server writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from gateway_world import CONTRACTS, House, charter
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp_world import Line

import fiducial
from fiducial.adapters import calls

MINE, THEIRS = "the spare key lies under the third flower pot", "the safe opens with the number 4711 and a key"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    charter = fiducial.load_charter(Path(__file__).parents[2] / "examples/charters/memory/helpdesk")
    with House(tmp_path / "memory.db", charter) as made:
        for user, text in (("emma", MINE), ("bob", THEIRS)):
            with made.guard.session(user=user, task=f"Remember that {text}") as session:
                assert session.call("remember", {"text": text}, run=lambda text: "noted").status == "ok"
        yield made


def server(form: str) -> Server[Any]:
    """A memory that does not part its users."""
    found = [{"id": name, "text": text} for name, text in (("a", MINE), ("b", THEIRS))]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="recall", input_schema={"type": "object"})])

    async def call_tool(_: Any, __: types.CallToolRequestParams) -> types.CallToolResult:
        if form == "raised":
            raise MCPError(code=types.INTERNAL_ERROR, message=THEIRS)
        said = {"text": THEIRS, "failed": THEIRS}.get(form, json.dumps(found[:1] if form == "meta" else found))
        structured = {"structured": {"hits": found}, "beside": {}}.get(form)
        texts = [MINE, THEIRS] if form == "blocks" else [said]
        return types.CallToolResult(
            content=[types.TextContent(text=text) for text in texts],
            structured_content=structured,
            is_error=form == "failed",
            _meta={"example/beside": THEIRS} if form == "meta" else None,
        )

    return Server("notes", on_list_tools=list_tools, on_call_tool=call_tool)


@pytest.mark.parametrize("form", ["json", "meta", "text", "structured", "beside", "blocks", "failed", "raised"])
def test_an_mcp_client_gets_what_is_its_user_s(house: House, form: str) -> None:
    line = Line(house, server(form), task="What do my notes say?")
    came = line.do(lambda: line.client.session.call_tool("recall", {"query": "key"}))
    shown = came.model_dump_json()
    assert "the safe opens" not in shown
    assert (MINE in shown) == (form in ("json", "meta"))
    assert came.is_error == (form in ("text", "failed", "raised"))
    house.store.flush()
    assert "the safe opens" not in "".join(str(each) for each in house.store.ledger().session(line.session.id))


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
def test_what_its_server_says_unasked_reaches_nobody(house: House) -> None:
    heard: list[Any] = []

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="recall", input_schema={"type": "object"})])

    async def call_tool(context: Any, _: Any) -> types.CallToolResult:
        session = context.session
        await session.report_progress(1, 2, THEIRS)
        said = types.LoggingMessageNotificationParams(level="warning", data=THEIRS)
        await session.send_notification(types.LoggingMessageNotification(params=said))
        updated = types.ResourceUpdatedNotificationParams(uri=f"note:{THEIRS}".replace(" ", "-"))
        await session.send_notification(types.ResourceUpdatedNotification(params=updated))
        meta = types.NotificationParams(_meta={"example/why": THEIRS})
        await session.send_notification(types.ToolListChangedNotification(params=meta))
        with pytest.raises(MCPError, match="asks the client nothing"):
            await session.elicit_form(THEIRS, {"type": "object", "properties": {}})
        assert (await session.list_roots()).roots == []
        return types.CallToolResult(content=[types.TextContent(text=json.dumps([{"id": "a", "text": MINE}]))])

    async def list_resources(_: Any, __: Any) -> types.ListResourcesResult:
        raise MCPError(code=-32000, message=THEIRS)

    async def hear(*said: Any) -> None:
        heard.append(said)

    async def elicit(_: Any, params: Any) -> types.ElicitResult:
        heard.append(params)
        return types.ElicitResult(action="decline")

    async def roots(_: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[])

    line = Line(
        house, Server("notes", on_list_tools=list_tools, on_call_tool=call_tool, on_list_resources=list_resources),
        task="What do my notes say?",
        logging_callback=hear, message_handler=hear, elicitation_callback=elicit, list_roots_callback=roots,
    )  # fmt: skip
    came = line.do(lambda: line.client.session.call_tool("recall", {"query": "key"}, progress_callback=hear))
    assert MINE in came.model_dump_json()
    with pytest.raises(MCPError) as raised:
        line.do(line.client.list_resources)
    assert (raised.value.code, raised.value.message) == (-32000, "the server refuses")
    assert (1.0, 2.0, None) in heard
    assert any(isinstance(one, types.ToolListChangedNotification) for one, *_ in heard)
    assert "the safe opens" not in repr(heard)
    assert "the-safe-opens" not in repr(heard)
    house.store.flush()
    assert "the safe opens" not in "".join(str(each) for each in house.store.ledger().session(line.session.id))


def test_an_agent_s_framework_gets_words_in_place_of_its_own_copy(house: House) -> None:
    found = [{"id": "a", "text": MINE}, {"id": "b", "text": THEIRS}]
    with house.guard.session(user="emma", task="What do my notes say?") as session:
        came = calls.call(session, "recall", {"query": "key"}, lambda query: found)
        assert (came.ran, json.loads(came.told)) == (False, found[:1])
        came = calls.call(session, "recall", {"query": "key"}, lambda query: found[:1])
        assert (came.ran, came.told) == (True, "")


@pytest.mark.parametrize("whose", ["emma", "bob"])
def test_a_resource_of_a_memory_is_its_user_s_alone_though_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    reads = {
        "effect": "read", "kind": "read", "parameters": {"uri": {"role": "option"}},
        "memory": {"of": "notes", "at": ["$[*].text"]}, "output": {"trusted": ["$[*].uri"]},
    }  # fmt: skip
    stores = {
        "effect": "reversible", "kind": "create", "parameters": {"text": {"role": "content"}}, "memory": {"of": "notes"}
    }  # fmt: skip
    monkeypatch.setitem(CONTRACTS, "resources/read", reads)
    monkeypatch.setitem(CONTRACTS, "remember", stores)
    uri, text = f"note://{whose}/1", MINE if whose == "emma" else THEIRS

    async def listed(_: Any, __: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(name="note", uri=uri)])

    async def read(_: Any, __: Any) -> types.ReadResourceResult:
        contents = [types.TextResourceContents(uri=uri, text=text)]
        return types.ReadResourceResult(contents=contents, _meta={"example/beside": THEIRS})

    with House(tmp_path / "memory.db", charter(memories={"notes": {"expires": "30d"}})) as house:
        with house.guard.session(user=whose, task=f"Remember that {text}") as session:
            assert session.call("remember", {"text": text}, run=lambda text: "noted").status == "ok"
        line = Line(
            house, Server("notes", on_list_resources=listed, on_read_resource=read), task="What do my notes say?"
        )
        line.do(line.client.list_resources)
        if whose == "emma":
            came = line.do(lambda: line.client.read_resource(uri)).model_dump_json()
            assert MINE in came
            assert "the safe opens" not in came
        else:
            with pytest.raises(MCPError):
                line.do(lambda: line.client.read_resource(uri))
        house.store.flush()
        assert "the safe opens" not in "".join(str(each) for each in house.store.ledger().session(line.session.id))
