"""Wrapping an MCP server that is a command: what starts it talks to this process instead, on the same streams."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server.stdio import stdio_server

from fiducial.charter.model import Charter
from fiducial.gateway.mcp.proxy import WAIT, Proxy
from fiducial.gateway.requests import Requests
from fiducial.guard.guard import Guard
from fiducial.guard.reopen import classes_of
from fiducial.oversight.desk import Desk
from fiducial.oversight.pins import Pins

_OWN = "FIDUCIAL_"
"""Variables that begin so are this process's own, and may hold secrets."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """For whom the agent at the other end works, as whoever starts the wrapper says."""

    user: str
    roles: tuple[str, ...] = ()
    task: str | None = None
    """What the user asked for; `None`: not known. It holds for the whole session."""
    agent: str | None = None
    alone: bool = False
    """The agent reads nothing but what this server gives it; otherwise it counts as having read anything."""


async def wrap(
    command: Sequence[str],
    host: Host,
    charter: Charter | None,
    guarded: Callable[[Charter], Guard],
    *,
    wait: float = WAIT,
) -> None:
    """Serve on standard input and output until they end.

    command   what starts the server
    charter   `None`: one that is made of what the server says of its tools, guessed to the safe side
    guarded   makes the guard of a charter, with a desk

    Raises `CharterError` for a charter that does not compile, `StoreError` when the session cannot be recorded.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    started = StdioServerParameters(command=command[0], args=list(command[1:]), env=environment)
    async with stdio_client(started) as (read, write), Proxy.connected(read, write) as proxy:
        if charter is None:
            charter = Charter.from_tools(await proxy.described(), server=proxy.name)
        guard = guarded(charter)
        assert isinstance(guard.desk, Desk)
        requests = Requests(guard.desk)
        await proxy.look(Pins(guard.store, guard.clock), guard.switches)
        requests.begin()
        try:
            with guard.session(user=host.user, roles=host.roles, task=host.task, agent=host.agent) as session:
                if not host.alone:
                    with session.lock:
                        session.doubt(classes_of(*session.tools.values()))
                server = proxy.server(session, requests, wait)
                async with stdio_server() as (incoming, outgoing):
                    await server.run(incoming, outgoing, server.create_initialization_options(proxy.changes()))
        finally:
            requests.close()


__all__ = ["Host", "wrap"]
