"""A real MCP server and the official client, with the gateway between them, all over HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from gateway_world import Came, Door, House, Moment, Program, Server, Visit, until
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel.server import Server as McpServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_world import _OverMcp, upstream
from starlette.types import ASGIApp, Receive, Scope, Send

from fiducial.gateway.app import Doors
from fiducial.gateway.mcp.http import McpGateway
from fiducial.gateway.mcp.lines import Line
from fiducial.gateway.mcp.results import TICKET
from fiducial.gateway.mcp.settings import read_settings
from fiducial.gateway.statements import TYPE
from fiducial.gateway.trusted import trusted

KEY = OKPKey.generate_key("Ed25519", {"kid": "one", "alg": "Ed25519"})


def signed(claims: dict[str, Any], key: OKPKey = KEY, typ: str = TYPE) -> str:
    """A JWT."""
    return jwt.encode({"alg": "Ed25519", "typ": typ, "kid": key.kid}, claims, key, algorithms=["Ed25519"])


class Site:
    """An ASGI application on a free port, served until it is stopped."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self, app: ASGIApp) -> None:
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        self._server = Server(config)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._socket]), daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def end(self) -> None:
        """Begin to stop."""
        self._server.should_exit = True

    def stop(self) -> None:
        self.end()
        self._thread.join(20)
        assert not self._thread.is_alive()


class Upstream:
    """A server of MCP over streamable HTTP; what its requests said in their headers is kept."""

    def __init__(self, server: McpServer[Any]) -> None:
        self.seen: list[dict[str, str]] = []
        self._manager = StreamableHTTPSessionManager(server, max_request_body_size=2**26)
        self.site = Site()
        self.site.start(self)

    @property
    def sessions(self) -> int:
        """Clients that have shaken hands and not left."""
        return len(self._manager._server_instances)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with self._manager.run():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await self._manager.handle_request(scope, receive, send)


class Gate:
    """The gateway before one server, and clients of it on an event loop of their own."""

    def __init__(
        self,
        house: House,
        server: McpServer[Any] | None = None,
        *,
        beside: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        wait: float = 0.0,
        environment: dict[str, str] | None = None,
        **shed: Any,
    ) -> None:
        self.house, self.up, self.site = house, Upstream(server or upstream(house)), Site()
        folder = house.path.parent
        (folder / "keys.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
        servers = {"shed": {"url": self.up.site.url + "/mcp", "alone": True} | shed, **(beside or {})}
        written = {"servers": servers, "hosts": {"one": "keys.json"}, **(settings or {})}
        (folder / "mcp.yaml").write_text(json.dumps(written))
        self.doors = Doors(house.guard, house.tokens.get, url=self.site.url)
        self.gateway = McpGateway(
            read_settings(folder / "mcp.yaml", environment or {}), lambda _: house.guard, self.doors.sessions,
            self.doors.requests, house.tokens.get, url=self.site.url, wait=wait,
        )  # fmt: skip
        self.doors.add(self.gateway)
        for add in house.adds:
            add(self.doors)
        self.site.start(self.doors)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._clients: list[Connected] = []
        house.on_stop(self.stop)

    @property
    def lines(self) -> set[Line]:
        """Sessions that are open."""
        return self.gateway._lines._all

    @property
    def under_way(self) -> int:
        """Requests of clients that have no answer yet."""
        kept = self.gateway._servers["shed"].pool._kept.values()
        return sum(each.under_way for one in kept for each in one.up.result()._listeners)

    def line(self, user: str) -> Line:
        """The one session of a user's."""
        [line] = [line for line in self.lines if line.principal.user == user]
        return line

    def stated(self, task: str, user: str = "emma", **claims: Any) -> str:
        """What the host says that a user asked for."""
        now = int(time.time())
        known = {"iss": "one", "aud": f"{self.site.url}/mcp/shed", "sub": user, "sid": f"talk-{user}"}
        return signed(known | {"task": task, "iat": now, "exp": now + 600} | claims)

    def connect(self, headers: dict[str, str], era: str = "legacy", server: str = "shed", **client: Any) -> Connected:
        """A client, with the headers that its host has set."""
        made = Connected(self, f"{self.site.url}/mcp/{server}", headers, era, client)
        self._clients.append(made)
        return made

    def opened(self, user: str = "emma", task: str | None = None, **more: Any) -> str:
        """A session that the host `one` has opened; its id."""
        with self.http(Authorization="Bearer key-of-one") as client:
            answer = client.post("/v1/sessions", json={"user": user, "task": task, **more})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["session"])

    def within(self, session: str, era: str = "legacy", user: str = "emma", **more: Any) -> Connected:
        """A client of the host `one`, in a session that it names."""
        headers = {"Authorization": "Bearer key-of-one", "Fiducial-User": user, "Fiducial-Session": session}
        return self.connect(headers, era, **more)

    def client(self, user: str = "emma", task: str | None = None, era: str = "legacy", **client: Any) -> Connected:
        """A client of the host `one`, which works for `user`."""
        return self.connect(self.headers(user, task), era, **client)

    def headers(self, user: str, task: str | None) -> dict[str, str]:
        """What the host `one` says in every request of a client that works for `user`."""
        stated = {"Fiducial-Task": self.stated(task, user)} if task is not None else {}
        return {"Authorization": "Bearer key-of-one", "Fiducial-User": user, **stated}

    def http(self, **headers: str) -> httpx2.Client:
        """A plain HTTP client of the gateway."""
        return httpx2.Client(base_url=self.site.url, headers=headers, timeout=20, verify=trusted())

    def do(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Await something on the clients' loop."""

        async def done() -> Any:
            return await action()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(60)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.site.stop()
        self.up.site.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


class Connected:
    """One client, connected."""

    def __init__(self, gate: Gate, url: str, headers: dict[str, str], era: str, options: dict[str, Any]) -> None:
        self.gate = gate
        self._ready, self._end = asyncio.Event(), asyncio.Event()
        self._failed: BaseException | None = None
        self._open = True

        @asynccontextmanager
        async def transport() -> Any:
            http = httpx2.AsyncClient(headers=headers, timeout=30, verify=trusted())
            async with http, streamable_http_client(url, http_client=http) as streams:
                yield streams

        async def main() -> None:
            try:
                async with AsyncExitStack() as stack:
                    self.client = await stack.enter_async_context(Client(transport(), mode=era, **options))
                    self._ready.set()
                    await self._end.wait()
            except BaseException as error:
                self._failed = error
            finally:
                self._ready.set()

        async def begin() -> None:
            self._task = asyncio.create_task(main())
            await self._ready.wait()

        gate.do(begin)
        if self._failed is not None:
            raise next(_leaves(self._failed))

    def do(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Await something of the client's."""
        return self.gate.do(action)

    def call(self, tool: str, **arguments: Any) -> Any:
        """The result of a call."""
        return self.do(lambda: self.client.session.call_tool(tool, arguments, allow_input_required=True))

    def close(self) -> None:
        """Leave."""
        if self._open:
            self._open = False

            async def end() -> None:
                self._end.set()
                await self._task

            self.gate.do(end)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


class OverMcpHttp(Door):
    """MCP over HTTP, by the handshake of the versions up to 2025-11-25."""

    era = "legacy"

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._gate: Gate | None = None

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        self._gate = self._gate or Gate(self.house, wait=self.wait.total_seconds())
        return self.visit(self._gate, user, task)

    def visit(self, gate: Gate, user: str, task: str | None) -> Visit:
        """A session over `gate`."""
        return _OverMcpHttp(gate, gate.client(user, task, self.era), user)


class OverModernMcpHttp(OverMcpHttp):
    """MCP of 2026-07-28 over HTTP, where each request stands by itself."""

    era = "2026-07-28"


class OverMcpInSession(OverMcpHttp):
    """MCP over HTTP, in a session that the host has opened over HTTP."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        self._gate = self._gate or Gate(self.house)
        session = self._gate.opened(user, task)
        return _OverMcpInSession(self._gate, self._gate.within(session, self.era, user), session)


class OverModernMcpInSession(OverMcpInSession):
    """The same by MCP of 2026-07-28."""

    era = "2026-07-28"


class _OverMcpHttp(_OverMcp):
    def __init__(self, gate: Gate, client: Connected, user: str) -> None:
        self.line: Any = client
        self._gate, self._user = gate, user

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        try:
            return super().call(tool, arguments)
        except MCPError as error:
            return Came("denied", False, told=error.error.message)  # no session could be opened for it

    def given_up(self) -> None:
        until(lambda: not self._gate.under_way)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.line.call("no_such_tool")  # of the version without sessions, the first request opens one
        session = self._gate.line(self._user)._inside.session
        session.observe(tool, arguments, result)


class _OverMcpInSession(_OverMcpHttp):
    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        with self._gate.http(Authorization="Bearer key-of-one") as client:
            said = {"tool": tool, "arguments": arguments, "result": result}
            assert client.post(f"/v1/sessions/{self._user}/results", json=said).status_code == 200


EARLIER = Path(sys.prefix) / "mcp1"
"""Where `make test` puts the MCP SDK of the major version before."""


@cache
def earlier() -> Program:
    """Its clients, one process for all tests."""
    if not EARLIER.exists():
        pytest.skip("the MCP SDK of the major version before is not there: `make test`")
    return Program([sys.executable, str(Path(__file__).with_name("mcp1_client.py"))], PYTHONPATH=str(EARLIER))


class OverEarlierMcpHttp(OverMcpHttp):
    """The same, by a client of the MCP SDK of the major version before."""

    def visit(self, gate: Gate, user: str, task: str | None) -> Visit:
        return _OverEarlierMcpHttp(gate, user, task)


class _OverEarlierMcpHttp(_OverMcpHttp):
    def __init__(self, gate: Gate, user: str, task: str | None) -> None:
        self._gate, self._user = gate, user
        self._number, opened = earlier().begin(url=f"{gate.site.url}/mcp/shed", headers=gate.headers(user, task))
        if "error" in opened.result(60):
            raise ConnectionError(opened.result()["error"])
        gate.house.on_stop(lambda: earlier().begin(**{"in": self._number})[1].result(60))

    def _begun(self, tool: str, arguments: dict[str, Any]) -> tuple[int, Future[dict[str, Any]]]:
        return earlier().begin(**{"in": self._number, "tool": tool, "arguments": arguments})

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        came = self._begun(tool, arguments)[1].result(60)
        if "error" in came:
            return Came("denied", False, told=came["error"])
        if not came["failed"]:
            return Came("allowed", True, came["text"])
        request = came["meta"].get(TICKET)
        return Came("denied" if request is None else "held", False, None, came["text"], request)

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        number, _ = self._begun(tool, arguments)
        when()
        earlier().begin(up=number)[1].result(60)
        self.given_up()

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        session = self._gate.line(self._user)._inside.session
        session.observe(tool, arguments, result)


__all__ = [
    "KEY", "Connected", "Gate", "OverEarlierMcpHttp", "OverMcpHttp", "OverMcpInSession", "OverModernMcpHttp",
    "OverModernMcpInSession", "Site", "Upstream", "signed", "until",
]  # fmt: skip
