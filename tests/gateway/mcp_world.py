"""A real MCP server and the official client, with the proxy between them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import mcp_types as types
from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit, until
from mcp import Client
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.shared.memory import create_client_server_memory_streams

from fiducial.core.ids import HoldId
from fiducial.gateway.mcp.forms import Forms
from fiducial.gateway.mcp.proxy import Proxy
from fiducial.gateway.mcp.results import TICKET
from fiducial.gateway.mcp.upstream import Upstream
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import Seat
from fiducial.gateway.threads import Threads
from fiducial.oversight.pins import Pins, Trust


def upstream(house: House, **handlers: Any) -> Server[Any]:
    """A server of the house's tools."""

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        tools = [
            types.Tool(name=name, description=f"Does what {name} says.", input_schema={"type": "object"})
            for name in (*CONTRACTS, "not_in_the_charter")
        ]
        return types.ListToolsResult(tools=tools)

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        value = await asyncio.to_thread(house.tools.run, params.name, params.arguments or {})
        if isinstance(value, types.CallToolResult):
            return value
        return types.CallToolResult(content=[types.TextContent(text=str(value))])

    return Server("shed", version="1.2", **({"on_list_tools": list_tools, "on_call_tool": call_tool} | handlers))


ASKED = types.ClientCapabilities(
    sampling=types.SamplingCapability(), elicitation=types.ElicitationCapability(), roots=types.RootsCapability()
)


class Line:
    """A client, the proxy and a server, on an event loop of their own."""

    def __init__(
        self,
        house: House,
        server: Server[Any] | None = None,
        *,
        user: str = "emma",
        task: str | None = None,
        era: str = "legacy",
        wait: float = 0.0,
        name: str = "shed",
        can: types.ClientCapabilities = ASKED,
        attended: bool = False,
        trust: Trust = "first-use",
        **client: Any,
    ) -> None:
        self.house, self.session = house, house.guard.session(user=user, task=task)
        self._server, self._era, self._options = server or upstream(house), era, client
        self._name, self._wait, self._can, self._attended, self._trust = name, wait, can, attended, trust
        self._ready, self._failed = threading.Event(), ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        house.on_stop(self.close)

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        requests = Requests(self.house.desk)
        async with AsyncExitStack() as stack:
            near, far = await stack.enter_async_context(create_client_server_memory_streams())
            serving = asyncio.create_task(
                self._server.run(*far, self._server.create_initialization_options(NotificationOptions()))
            )
            self.up = await stack.enter_async_context(Upstream.connected(*near, self._can))
            guard, pins = self.house.guard, Pins(self.house.store, self.house.guard.clock, self._trust)
            forms = Forms(self.session, requests, self.house.desk) if self._attended else None
            seat = Seat(self.session, "", Threads())
            self.proxy = Proxy(
                self.up, seat, requests, pins, guard.switches, name=self._name, wait=self._wait, forms=forms
            )
            await self.proxy.look(await self.up.tools())
            requests.begin()
            shown = self.proxy.server()
            self.client = await stack.enter_async_context(Client(shown, mode=self._era, **self._options))  # type: ignore[arg-type]
            self._ready.set()
            await self._end.wait()
            requests.close()
            serving.cancel()

    def do(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Await something on the loop."""

        async def done() -> Any:
            return await action()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(60)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(20)


class OverMcp(Door):
    """MCP by the handshake of the versions up to 2025-11-25."""

    era = "legacy"

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        wait = self.wait.total_seconds()
        return _OverMcp(Line(self.house, user=user, task=task, era=self.era, wait=wait))


class OverModernMcp(OverMcp):
    """MCP of 2026-07-28, where a client comes back by itself."""

    era = "2026-07-28"


class _OverMcp(Visit):
    def __init__(self, line: Line) -> None:
        self.line = line

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        found = self.line.do(lambda: self._call(tool, arguments))
        if isinstance(found, types.InputRequiredResult):
            return Came("held", False, None, "", HoldId((found.request_state or "").partition(" ")[2]))
        text = "".join(block.text for block in found.content)
        if not found.is_error:
            return Came("allowed", True, text)
        request = (found.meta or {}).get(TICKET)
        return Came("denied" if request is None else "held", False, None, text, request)

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        async def begin() -> asyncio.Task[Any]:
            return asyncio.create_task(self._call(tool, arguments))

        calling = self.line.do(begin)

        async def end() -> None:
            calling.cancel()
            await asyncio.wait({calling})

        when()
        self.line.do(end)
        self.given_up()

    def given_up(self) -> None:
        """Wait until the proxy has heard of it."""
        until(lambda: not self.line.proxy.under_way)

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        return await self.line.client.session.call_tool(tool, arguments, allow_input_required=True)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.line.session.observe(tool, arguments, result)


__all__ = ["Line", "OverMcp", "OverModernMcp", "upstream"]
