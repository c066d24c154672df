"""Wrapping an MCP server that is a command: what starts it talks to this process instead, on the same streams."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import mcp_types as types
import msgspec
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage

from fiducial.charter.model import Charter
from fiducial.core.canonical import digest
from fiducial.gateway.mcp.forms import Forms
from fiducial.gateway.mcp.proxy import WAIT, Proxy
from fiducial.gateway.mcp.upstream import SECONDS, Tapped, Upstream
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import Seat
from fiducial.gateway.threads import Threads
from fiducial.guard.guard import Guard
from fiducial.guard.tool import classes_of
from fiducial.oversight.desk import Desk
from fiducial.oversight.pins import Pins, Trust

_OWN = "FIDUCIAL_"
"""Variables that begin so are this process's own, and may hold secrets."""
_MAX_LINE: Final = 2**26
"""Bytes of a message; a client that sends a longer one is not served any more."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """For whom the agent at the other end works, as whoever starts the wrapper says."""

    user: str
    roles: tuple[str, ...] = ()
    task: str | None = None
    """What the user asked for; `None`: not known. It holds for the whole session."""
    agent: str | None = None
    alone: bool = False
    """The agent reads nothing but what this server gives it; otherwise it counts as having read anything."""
    attended: bool = False
    """The user answers the forms of the agent's client themselves: what comes back is theirs (`forms`)."""


def name_of(command: Sequence[str]) -> str:
    """What a server is pinned as whose host gives it no name: what it says itself would be its own choice."""
    return f"{Path(command[0]).name}-{digest(list(command)).removeprefix('sha256:')[:8]}"


async def wrap(
    command: Sequence[str],
    host: Host,
    charter: Charter | None,
    guarded: Callable[[Charter], Guard],
    *,
    name: str | None = None,
    wait: float = WAIT,
    trust: Trust = "first-use",
) -> None:
    """Serve on standard input and output until they end, or a signal ends this process.

    command   what starts the server
    charter   `None`: one that is made of what the server says of its tools, guessed to the safe side
    guarded   makes the guard of a charter, with a desk
    name      what the server is pinned as; where contracts are of a server of this name, those of others do not count
    trust     what is relied upon of what the server says

    Raises `CharterError` for a charter that does not compile, `StoreError` when the session cannot be recorded,
    `MCPError`, `OSError`, `RuntimeError` or `ValueError` when the server cannot be talked to, or has ended.
    """
    async with anyio.create_task_group() as tasks:
        await tasks.start(_end_on_signal, tasks.cancel_scope)
        async with (
            stdio_client(_started(command)) as (read, write),
            stdio_server(await _standard_input()) as (near, far),
        ):
            first = await anext(aiter(near), None)
            async with Upstream.connected(read, write, _asked_of(first)) as up:
                async with asyncio.timeout(SECONDS):
                    said = await up.tools()
                name = name or name_of(command)
                guard = guarded(charter if charter is not None else Charter.from_tools({"tools": said}, server=name))
                assert isinstance(guard.desk, Desk)
                requests = Requests(guard.desk)
                requests.begin()
                try:
                    with guard.session(user=host.user, roles=host.roles, task=host.task, agent=host.agent) as session:
                        if not host.alone:
                            with session.lock:
                                session.doubt(classes_of(*session.tools.values()))
                        pins = Pins(guard.store, guard.clock, trust)
                        forms = Forms(session, requests, guard.desk) if host.attended else None
                        seat = Seat(session, "", Threads())
                        proxy = Proxy(up, seat, requests, pins, guard.switches, name=name, wait=wait, forms=forms)
                        await proxy.look(said)
                        tasks.start_soon(_end_with, up, proxy)
                        server = proxy.server()
                        options = server.create_initialization_options()
                        await server.run(Tapped(near, first), far, options)
                finally:
                    requests.close()
        tasks.cancel_scope.cancel()


async def listed(command: Sequence[str]) -> list[dict[str, Any]]:
    """What the server that `command` starts says of its tools, page after page, as it is on the wire.

    Raises `MCPError`, `OSError`, `RuntimeError` or `ValueError` when it cannot be talked to.
    """
    async with stdio_client(_started(command)) as (read, write), Upstream.connected(read, write) as up:
        async with asyncio.timeout(SECONDS):
            return await up.tools()


def first_of(error: BaseException) -> BaseException:
    """One of several that came at once, as tasks that run beside each other may."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _started(command: Sequence[str]) -> StdioServerParameters:
    """With the environment of this process, less what is its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_OWN)}
    return StdioServerParameters(
        command=command[0], args=list(command[1:]), env=environment, encoding_error_handler="replace"
    )


async def _end_on_signal(scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
            return


async def _end_with(up: Upstream, proxy: Proxy) -> None:
    """Once the server has ended, and whoever waits for it has heard of that."""
    await up.ended.wait()
    await proxy.answered()
    raise MCPError(code=types.CONNECTION_CLOSED, message="it has ended")


def _asked_of(first: Any) -> types.ClientCapabilities:
    """What a client says that it can be asked, in its first message; one that shakes no hands cannot be."""
    message = first.message if isinstance(first, SessionMessage) else None
    if not isinstance(message, types.JSONRPCRequest) or message.method != "initialize":
        return types.ClientCapabilities()
    return types.ClientCapabilities.model_validate((message.params or {}).get("capabilities", {}), by_name=False)


async def _standard_input() -> Any:
    """Its lines, read so that waiting for one can be given up; `None` where nobody waits: for a file, or nothing."""
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)):
        return None
    reader = asyncio.StreamReader(limit=_MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb")
    )

    async def lines() -> AsyncIterator[str]:
        async for line in reader:
            yield line.decode(errors="replace")

    return lines()


__all__ = ["Host", "first_of", "listed", "name_of", "wrap"]
