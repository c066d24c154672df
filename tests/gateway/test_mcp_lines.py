"""MCP over HTTP: lines and connections end when they should, and no others; what is no request begins nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import gateway_world
import httpx2
import mcp_http_world
import mcp_types as types
import mcp_world
import pytest
from gateway_world import House
from mcp.shared.exceptions import MCPError
from mcp_http_world import Gate, until
from mcp_world import upstream
from starlette.types import Receive, Scope, Send

from fiducial.charter.model import Charter
from fiducial.flow import disguise
from fiducial.flow.masking.detect import Detection
from fiducial.gateway.mcp import http, lines, pool
from fiducial.gateway.mcp.lines import Line

MODERN = "2026-07-28"
EMMA = {
    "Authorization": "Bearer key-of-one",
    "Fiducial-User": "emma",
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
}
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}


@pytest.fixture
def gate(house: House) -> Gate:
    return Gate(house)


def on(gate: Gate, work: Coroutine[Any, Any, Any], seconds: float = 20) -> Any:
    """Await something on the gateway's loop."""
    return asyncio.run_coroutine_threadsafe(work, next(iter(gate.lines)).task.get_loop()).result(seconds)


def opened(client: httpx2.Client, **headers: str) -> dict[str, str]:
    """A session of the protocol's."""
    answer = client.post("/mcp/shed", json=INITIALIZE, headers=headers)
    assert answer.status_code == 200
    return {"mcp-session-id": answer.headers["mcp-session-id"]}


def alive(client: httpx2.Client, session: dict[str, str]) -> bool:
    return client.post("/mcp/shed", json=PING, headers=session).status_code == 200


# --- ends


def test_a_server_that_does_not_let_go_holds_up_nobody(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = mcp_http_world.Upstream.__call__

    async def silent(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "DELETE":
            await asyncio.sleep(60)
        await answer(self, scope, receive, send)

    monkeypatch.setattr(mcp_http_world.Upstream, "__call__", silent)
    monkeypatch.setattr(pool, "_END", 0.5)
    for user in ("emma", "eve", "ada"):
        gate.client(user, era=MODERN).call("look_up", name="p")
    monkeypatch.setattr(lines, "IDLE", -1.0)
    begun = time.monotonic()
    on(gate, gate.gateway._lines.let_go(time.time()))
    assert 0.5 <= time.monotonic() - begun < 1.4, "they end together"
    assert not gate.lines


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Whoever looks through a text with `LONG` in it has begun, and may go on."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(look: Callable[..., Any], *given: Any) -> Any:
        if any(isinstance(each, str) and LONG in each for each in given):
            begun.set()
            assert go_on.wait(20)
        return look(*given)

    monkeypatch.setattr(Detection, "by_form", lambda *given, find=Detection.by_form: slowly(find, *given))
    monkeypatch.setattr(disguise, "disguises", partial(slowly, disguise.disguises))
    yield begun, go_on
    go_on.set()


LONG = "milk, " * 10_000


@pytest.mark.parametrize("what", ["arguments", "result", "page"])
def test_looking_through_what_is_long_holds_nobody_else_up(
    house: House, looking: tuple[threading.Event, threading.Event], what: str
) -> None:
    async def list_resources(*_: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(name=LONG, uri="memo://a")])

    gate = Gate(house, upstream(house, on_list_resources=list_resources))
    (begun, go_on), emma, eve = looking, gate.client("emma", era=MODERN), gate.client("eve", era=MODERN)
    if what == "result":
        house.tools.result = LONG
    with ThreadPoolExecutor(2) as threads:
        try:
            if what == "page":
                slow = threads.submit(emma.do, emma.client.session.list_resources)
            else:
                slow = threads.submit(emma.call, "write_note", name="a", text=LONG if what == "arguments" else "x")
            assert begun.wait(20)
            house.tools.result = "done"
            beside = threads.submit(emma.call, "look_up", name="p")
            assert not eve.call("look_up", name="q").is_error
            assert not beside.done(), "what is decided next in the session knows of this"
        finally:
            go_on.set()
        slow.result(20)
        assert not beside.result(20).is_error


def test_a_call_that_is_given_up_while_what_it_has_is_looked_through_does_not_run(
    gate: Gate, house: House, looking: tuple[threading.Event, threading.Event]
) -> None:
    (begun, go_on), emma = looking, gate.client("emma", era="legacy")

    async def give_up() -> None:
        with anyio.move_on_after(60) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(emma.client.session.call_tool, "write_note", {"name": "a", "text": LONG}))
                await asyncio.to_thread(begun.wait, 20)
                scope.cancel()

    emma.do(give_up)
    assert gate.under_way
    go_on.set()
    until(lambda: not gate.under_way)
    assert not house.tools.ran
    assert not emma.call("look_up", name="p").is_error


def test_what_does_not_end_is_left() -> None:
    async def main() -> None:
        async def stubborn() -> None:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    if done:
                        raise

        done = list[bool]()
        task = asyncio.create_task(stubborn())
        await asyncio.wait_for(pool.over(task, 0.05), 5)
        done.append(True)
        task.cancel()

    asyncio.run(main())


def test_a_fault_in_one_look_does_not_end_the_looking(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[float]()

    async def fail(unix: float) -> None:
        looks.append(unix)
        raise RuntimeError("one of them cannot be ended")

    monkeypatch.setattr(http, "_LOOK", 0.0)
    monkeypatch.setattr(gate.gateway._lines, "let_go", fail)

    async def main() -> None:
        looking = asyncio.create_task(gate.gateway._look())
        while len(looks) < 3 and not looking.done():
            await asyncio.sleep(0.01)
        looking.cancel()

    asyncio.run(main())
    assert len(looks) >= 3


def test_a_line_that_is_used_again_while_another_ends_goes_on(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("emma", "eve"):
        gate.client(user, era=MODERN).call("look_up", name="p")
    ended = list[str]()
    end = Line.end

    async def slow(self: Line) -> None:
        ended.append(self.principal.user)
        for other in gate.lines - {self}:
            other.used = time.monotonic() + 100  # somebody came meanwhile
        await end(self)

    monkeypatch.setattr(Line, "end", slow)
    monkeypatch.setattr(lines, "IDLE", -1.0)
    on(gate, gate.gateway._lines.let_go(time.time()))
    assert len(ended) == 1


def test_who_has_found_a_line_keeps_it(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.client("emma")
    held, line = gate.gateway._lines, gate.line("emma")
    [session] = held._sessions
    line.used = time.monotonic() - 10_000
    assert held.named(session, line.served, line.principal, None) is line
    on(gate, held.let_go(time.time()))
    assert gate.lines == {line}


@pytest.mark.parametrize("who", ["eve", "emma"])
def test_only_in_its_own_line_is_a_session_ended(gate: Gate, who: str) -> None:
    with gate.http(**EMMA) as client:
        session = opened(client)
        other = {"mcp-protocol-version": MODERN, "mcp-method": "no/such", "Fiducial-User": who, **session}
        asked = {"jsonrpc": "2.0", "id": 3, "method": "no/such", "params": {}}
        meta: dict[str, Any] = {f"io.modelcontextprotocol/{name}": {} for name in ("clientInfo", "clientCapabilities")}
        meta["io.modelcontextprotocol/protocolVersion"] = MODERN
        told = client.post("/mcp/shed", json={**asked, "params": {"_meta": meta}}, headers=other)
        assert told.status_code == 404
        assert alive(client, session)


def test_a_line_in_which_no_session_was_opened_ends(gate: Gate) -> None:
    with gate.http(**EMMA) as client:
        assert client.post("/mcp/shed", json=INITIALIZE, headers={"Accept": "text/plain"}).status_code == 406
    for _ in range(200):
        if not gate.lines:
            break
        time.sleep(0.02)
    assert not gate.lines


@pytest.mark.parametrize("era", ["legacy", MODERN])
def test_a_server_that_has_forgotten_its_session_is_shaken_hands_with_anew(gate: Gate, era: str) -> None:
    first = gate.client("emma", "Look it up", era)
    assert not first.call("look_up", name="p").is_error
    before = gate.line("emma")
    gate.up._manager._server_instances.clear()  # it has been started anew
    if era == "legacy":
        assert first.call("look_up", name="p").is_error
        with pytest.raises(MCPError):  # it is told to begin anew
            first.call("look_up", name="p")
    else:
        assert first.call("look_up", name="p").is_error
    again = gate.client("emma", "Look it up", era)
    assert not again.call("look_up", name="p").is_error
    until(lambda: before not in gate.lines)
    assert gate.line("emma")._doubted


# --- what is no request


@pytest.mark.parametrize("name", ["mcp-session-id", "mcp-protocol-version"])
def test_what_could_be_read_in_two_ways_is_not_read(gate: Gate, name: str) -> None:
    with gate.http(**EMMA) as client:
        session = opened(client)
        headers = [*session.items(), ("mcp-protocol-version", "2025-11-25")]
        assert client.post("/mcp/shed", json=PING, headers=headers).status_code == 200
        for other in (dict(headers)[name], "2025-06-18"):
            assert client.post("/mcp/shed", json=PING, headers=[*headers, (name, other)]).status_code == 400


def test_neither_another_method_nor_another_version_begins_anything(gate: Gate) -> None:
    with gate.http(**EMMA) as client:
        for method in ("PUT", "PATCH", "OPTIONS", "HEAD"):
            told = client.request(method, "/mcp/shed")
            assert (told.status_code, told.headers["allow"]) == (405, "GET, POST, DELETE")
        for method in ("GET", "DELETE"):
            told = client.request(method, "/mcp/shed", headers={"mcp-protocol-version": MODERN})
            assert (told.status_code, told.headers["allow"]) == (405, "POST")
        told = client.post("/mcp/shed", json=PING, headers={"mcp-protocol-version": "2031-01-01"})
        assert told.status_code == 400
        error = told.json()["error"]
        assert error["code"] == types.UNSUPPORTED_PROTOCOL_VERSION
        assert (error["data"]["requested"], MODERN in error["data"]["supported"]) == ("2031-01-01", True)
    assert not gate.lines


def test_a_request_is_of_a_size(gate: Gate) -> None:
    with gate.http(**EMMA) as client:
        large = INITIALIZE | {"id": "x" * (64 * 1024)}
        assert client.post("/mcp/shed", json=large).status_code == 413
        assert not gate.lines
        session = opened(client)
        assert client.post("/mcp/shed", json=PING | {"id": "x" * 100_000}, headers=session).status_code == 200
        assert client.post("/mcp/shed", json=PING | {"id": "x" * lines.MAX_BODY}, headers=session).status_code == 413


# --- contracts of another server's


def test_a_contract_of_another_server_describes_nothing_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method, parameter in (("resources/read", "uri"), ("prompts/get", "name"), ("completion/complete", "value")):
        contract = {"effect": "read", "kind": "read", "server": "barn", "parameters": {parameter: {"role": "option"}}}
        monkeypatch.setitem(gateway_world.CONTRACTS, method, contract)
    reached = list[str]()

    async def no_resources(*_: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])

    async def no_prompts(*_: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[])

    async def read(_: Any, params: Any) -> types.ReadResourceResult:
        reached.append(str(params.uri))
        return types.ReadResourceResult(contents=[])

    async def prompt(_: Any, params: Any) -> types.GetPromptResult:
        reached.append(params.name)
        return types.GetPromptResult(messages=[])

    async def complete(_: Any, params: Any) -> types.CompleteResult:
        reached.append(params.argument.value)
        return types.CompleteResult(completion=types.Completion(values=[]))

    with House(tmp_path / "fiducial.db") as house:
        server = upstream(
            house,
            on_list_resources=no_resources, on_read_resource=read,
            on_list_prompts=no_prompts, on_get_prompt=prompt, on_completion=complete,
        )  # fmt: skip
        gate = Gate(house, server, beside={"barn": {"url": "http://127.0.0.1:9/mcp"}})
        client = gate.client("emma")
        session = client.client.session
        with pytest.raises(MCPError, match="no contract describes `resources/read`"):
            client.do(lambda: session.read_resource("file:///secret?as=the-agent-put-it-together"))
        with pytest.raises(MCPError, match="no contract describes `prompts/get`"):
            client.do(lambda: session.get_prompt("made-up", {"a": "b"}))
        about = types.PromptReference(name="made-up")
        with pytest.raises(MCPError, match="Method not found"):
            client.do(lambda: session.complete(about, {"name": "a", "value": "b"}))
    assert not reached


@pytest.mark.parametrize(
    ("servers", "had"),
    [
        ({"write_note": "shed", "look_up": "desk"}, ["write_note"]),
        ({"look_up": "desk"}, ["look_up", "write_note"]),  # it may be called otherwise there
    ],
)
@pytest.mark.parametrize("over_http", [False, True])
def test_contracts_of_a_server_that_nobody_set_up_are_not_for_one_that_has_its_own(
    house: House, over_http: bool, servers: dict[str, str], had: list[str]
) -> None:
    gate = Gate(house) if over_http else None
    old = house.charter
    tools = {
        tool: each.model_copy(update={"server": servers.get(tool, "local")}) for tool, each in old.contracts.items()
    }
    house.guard.use(Charter.build(old.about, tools, (), old.policies))
    client = mcp_world.Line(house) if gate is None else gate.client("emma")
    session = client.client.session
    assert [tool.name for tool in client.do(session.list_tools).tools if tool.name not in ("pay_bill", "wipe")] == had
    for tool, given in (("look_up", {"name": "list"}), ("write_note", {"name": "list", "text": "milk"})):
        assert client.do(partial(session.call_tool, tool, given)).is_error is (tool not in had)
    assert sorted(house.tools.ran) == had
