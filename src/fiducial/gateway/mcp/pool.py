"""Connections with one server: one for each principal, whichever of its sessions use it, and none that two share.

A server that is a command runs once for each of them, as the same user of this machine. What it or a server elsewhere
may keep of a connection is thus of one principal. What a client can be asked is said when a connection is made, so
clients that can be asked for different things have different ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import httpx2
import mcp_types as types
from mcp.client.stdio import StdioServerParameters, get_default_environment, stdio_client
from mcp.client.streamable_http import streamable_http_client

from fiducial.core.faults import told
from fiducial.gateway.mcp.settings import ServerSettings
from fiducial.gateway.mcp.upstream import SECONDS, Upstream
from fiducial.gateway.refusals import Refused
from fiducial.gateway.trusted import trusted

log = logging.getLogger("fiducial.gateway")
MAX_EVENT: Final = 64 * 1024 * 1024
"""Bytes of one message that a server sends over HTTP."""
_SESSION: Final = "mcp-session-id"


_END: Final = 5.0
"""Seconds for a connection to close in, its server's answer to that included."""


class _Kept:
    """A connection, and how many use it."""

    def __init__(self) -> None:
        self.up: asyncio.Future[Upstream] = asyncio.get_running_loop().create_future()
        self.users = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """It is over, and may not be closed yet."""
        return self.up.done() and (self.up.exception() is not None or self.up.result().ended.is_set())


class Pool:
    """Used on one event loop."""

    def __init__(self, name: str, settings: ServerSettings, token: str | None) -> None:
        """`token`: with which this gateway comes in there."""
        self._name, self._settings, self._token = name, settings, token
        self._kept: dict[Hashable, _Kept] = {}

    @asynccontextmanager
    async def borrowed(self, principal: Hashable, can: types.ClientCapabilities) -> AsyncIterator[Upstream]:
        """The connection of `principal`'s whose client can be asked for what `can` says; made if there is none, and
        closed when nobody uses it. Raises `Refused` when the server cannot be talked to."""
        key = principal, can.model_dump_json(exclude_none=True)
        kept = self._kept.get(key)
        if kept is None or kept.ended:
            kept = self._kept[key] = _Kept()
            kept.task = asyncio.create_task(self._connect(key, kept, can))
        kept.users += 1
        try:
            yield await asyncio.shield(kept.up)
        finally:
            kept.users -= 1
            if not kept.users:
                self._forget(key, kept)
                assert kept.task is not None
                if kept.up.done() and not kept.up.exception():
                    kept.up.result().ended.set()
                else:
                    kept.task.cancel()
                await over(kept.task, _END)

    async def _connect(self, key: Hashable, kept: _Kept, can: types.ClientCapabilities) -> None:
        try:
            async with AsyncExitStack() as stack:
                ended = asyncio.Event()
                read, write = await self._streams(stack, ended)
                over_http = self._settings.url is not None
                up = await stack.enter_async_context(
                    Upstream.connected(read, write, can, over_http=over_http, ended=ended)
                )
                kept.up.set_result(up)
                try:
                    await up.ended.wait()
                finally:
                    up.ended.set()
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and nothing else depends on it
            log.warning("the MCP server `%s` cannot be talked to: %s", self._name, told(_first(error)))
        finally:
            self._forget(key, kept)
            if not kept.up.done():
                kept.up.set_exception(Refused(502, f"the server `{self._name}` cannot be talked to"))
                kept.up.exception()  # nobody may be left who waits

    def _forget(self, key: Hashable, kept: _Kept) -> None:
        if self._kept.get(key) is kept:
            del self._kept[key]

    async def _streams(self, stack: AsyncExitStack, ended: asyncio.Event) -> Any:
        """Streams to the server and from it; `ended` is set when a server elsewhere says that the session is over."""
        settings = self._settings
        if settings.url is None:
            passed = {name: os.environ[name] for name in settings.variables if name in os.environ}
            started = StdioServerParameters(
                command=settings.command[0],
                args=list(settings.command[1:]),
                env={**get_default_environment(), **passed},
                encoding_error_handler="replace",
            )
            return await stack.enter_async_context(stdio_client(started))
        headers = {"Authorization": f"Bearer {self._token}"} if self._token is not None else None

        async def look(response: httpx2.Response) -> None:
            # MCP 2025-11-25, basic/transports, session management: the client has to begin a new one.
            if response.status_code == 404 and _SESSION in response.request.headers:
                ended.set()

        client = await stack.enter_async_context(
            httpx2.AsyncClient(
                headers=headers,
                timeout=httpx2.Timeout(SECONDS, read=None),  # how long a call may take, its contract says
                event_hooks={"response": [look]},
                verify=trusted(),
            )
        )
        return await stack.enter_async_context(
            streamable_http_client(settings.url, http_client=client, max_sse_event_size=MAX_EVENT)
        )


async def over(task: asyncio.Task[None], seconds: float) -> None:
    """Wait until it has ended; after `seconds` it is cancelled, and after as many again it is left."""
    for _ in range(2):
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            return
        task.cancel()
    log.warning("what is to end in front of an MCP server does not")


def _first(error: BaseException) -> BaseException:
    """One of several that came at once."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


__all__ = ["MAX_EVENT", "Pool", "over"]
