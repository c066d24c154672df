"""The connection with a server of MCP: what it is asked, what it asks its client, and that it has ended.

What the server answers stays as it is on the wire, so that what this version of the protocol does not know passes
unharmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, Self

import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter

SECONDS: Final = 30.0
"""For a handshake, a list, and whatever else is no call of a tool."""
MOST_PAGES: Final = 100
"""Pages of a list that are read; a server that has more is not read to its end."""
MOST_ROUNDS: Final = 10
"""Times that a server of 2026-07-28 may ask for input before it answers; the SDKs' clients have the same bound."""
AGAIN: Final = 0.25
"""Seconds until it is asked again when it needs time and no input."""
_UNHEARD: Final = frozenset({types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT, types.PARSE_ERROR})
"""Codes of errors that the SDK's transport over HTTP says in a server's place."""
_STAND_INS: Final = frozenset(
    {(types.INVALID_REQUEST, "Session terminated"), (types.INTERNAL_ERROR, "Server returned an error response")}
)
"""Others of them, whose codes servers say too."""
_AS_IT_IS: Final = TypeAdapter[dict[str, Any]](dict[str, Any])


class Listener(Protocol):
    """Whoever speaks for the client, in one session."""

    @property
    def under_way(self) -> int:
        """Requests that it has made for the client, and that have no answer yet."""

    async def ask(self, request: types.ServerRequest, kind: type[Any]) -> Any:
        """The client's answer, or `ErrorData`."""

    async def told(self, notification: Any) -> None:
        """The server has announced something."""


class Tapped:
    """A stream of messages that gives `first` before all others, and says when it has ended."""

    def __init__(self, stream: ReadStream[Any], first: Any = None, ended: asyncio.Event | None = None) -> None:
        self._stream, self._first = stream, first
        self.ended = ended or asyncio.Event()

    async def receive(self) -> Any:
        """The next message."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise EOFError from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        first, self._first = self._first, None
        if first is not None:
            return first
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self.ended.set()
            raise

    async def aclose(self) -> None:
        """Read no more."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._stream.__aexit__(*error)


class Upstream:
    """A server, after the handshake."""

    def __init__(self, read: Tapped, write: Any, can: types.ClientCapabilities, *, over_http: bool = False) -> None:
        """`read` and `write` are the streams of the server; `can` is what the client says that it can be asked."""
        self._over_http = over_http
        self.ended = read.ended
        self._listeners: list[Listener] = []
        self._there = asyncio.Event()
        self._session = ClientSession(
            read,
            write,
            sampling_callback=self._sample if can.sampling is not None else None,
            sampling_capabilities=can.sampling,
            elicitation_callback=self._elicit if can.elicitation is not None else None,
            list_roots_callback=self._roots if can.roots is not None else None,
            logging_callback=self._logged,
            message_handler=self._told,
        )

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        read: ReadStream[Any],
        write: Any,
        can: types.ClientCapabilities | None = None,
        *,
        over_http: bool = False,
        ended: asyncio.Event | None = None,
    ) -> AsyncIterator[Self]:
        """A server that was shaken hands with, or that knows of no handshake and was asked what it is (2026-07-28);
        `ended` is set by others too.

        Raises `MCPError` or `RuntimeError` when that fails.
        """
        made = cls(Tapped(read, ended=ended), write, can or types.ClientCapabilities(), over_http=over_http)
        async with made._session:
            async with asyncio.timeout(SECONDS):
                try:
                    await made._session.initialize()
                except MCPError as error:
                    # The handshake is tried first: with it, a server can ask and announce whenever it wants to.
                    if made.lost(error):
                        raise
                    await made._session.discover()
            yield made

    @property
    def capabilities(self) -> types.ServerCapabilities:
        """What it says that it can do."""
        return self._session.server_capabilities or types.ServerCapabilities()

    @property
    def info(self) -> types.Implementation:
        """What it says that it is."""
        return self._session.server_info or types.Implementation(name="", version="")

    @property
    def instructions(self) -> str | None:
        """What it says to the model at once."""
        return self._session.instructions

    def join(self, listener: Listener) -> None:
        """From here on the server is heard by this one too; what it has asked until now waits for the first."""
        self._listeners.append(listener)
        self._there.set()

    def leave(self, listener: Listener) -> None:
        """It hears nothing more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def lost(self, error: MCPError) -> bool:
        """`error` is not what the server said of a request, but that its answer was not heard: it may have done what it
        was asked."""
        said = error.code in _UNHEARD or (error.code, error.message) in _STAND_INS
        return self.ended.is_set() or (self._over_http and said)

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        seconds: float | None = SECONDS,
        progress: ProgressFnT | None = None,
    ) -> dict[str, Any]:
        """What the server answers; `seconds`: `None` to wait for as long as it takes.

        Raises `MCPError` with what the server says, or when it does not answer; `ValueError` when its answer is not
        what the protocol says.
        """
        sent = dict(params or {})
        for _ in range(MOST_ROUNDS):
            asked = types.Request[dict[str, Any] | None, str](method=method, params=sent or None)
            answer: dict[str, Any] = await self._session.send_request(  # type: ignore[type-var]
                asked, _AS_IT_IS, request_read_timeout_seconds=seconds, progress_callback=progress
            )
            if answer.get("resultType") != "input_required":
                return answer
            sent = {**(params or {}), **(await self._input(answer))}
        raise MCPError(code=types.INVALID_REQUEST, message="the server asks for input again and again")

    async def _input(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """What the server of 2026-07-28 gets when it needs something from the client before it can answer."""
        needed = types.InputRequiredResult.model_validate(answer, by_name=False)
        given: dict[str, Any] = {}
        for key, request in (needed.input_requests or {}).items():
            context = ClientRequestContext(session=self._session, request_id=key)
            said = await self._session.dispatch_input_request(context, request)
            if isinstance(said, types.ErrorData):
                raise MCPError.from_error_data(said)
            given[key] = said.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not given:
            await asyncio.sleep(AGAIN)
        state = {} if needed.request_state is None else {"requestState": needed.request_state}
        return {**({"inputResponses": given} if given else {}), **state}

    async def notify(self, notification: types.ClientNotification) -> None:
        """Tell the server something."""
        await self._session.send_notification(notification)

    async def tools(self) -> list[dict[str, Any]]:
        """All that it says of its tools. Raises as `request`."""
        found: list[dict[str, Any]] = []
        if self.capabilities.tools is not None:
            cursor = None
            for _ in range(MOST_PAGES):
                page = await self.request("tools/list", {"cursor": cursor} if cursor is not None else None)
                found += page["tools"]
                cursor = page.get("nextCursor")
                if cursor is None:
                    break
        return found

    async def _sample(self, context: ClientRequestContext, params: types.CreateMessageRequestParams) -> Any:
        kind = types.CreateMessageResultWithTools if params.tools else types.CreateMessageResult
        return await self._ask(types.CreateMessageRequest(params=params), kind)

    async def _elicit(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> Any:
        return await self._ask(types.ElicitRequest(params=params), types.ElicitResult)

    async def _roots(self, context: ClientRequestContext) -> Any:
        return await self._ask(types.ListRootsRequest(), types.ListRootsResult)

    async def _ask(self, request: types.ServerRequest, kind: type[Any]) -> Any:
        await self._there.wait()
        heard = self._only()
        if heard is None:
            return types.ErrorData(code=types.INVALID_REQUEST, message="several sessions are at work, or none is left")
        try:
            return await heard.ask(request, kind)
        except MCPError as error:
            return error.error

    def _only(self) -> Listener | None:
        """Whom that is about which the server says without saying about whom; `None` when there are several, or none.

        In one of the other sessions it would be somebody else's, and what it says would be read there."""
        at_work = [each for each in self._listeners if each.under_way] or self._listeners
        return at_work[0] if len(at_work) == 1 else None

    async def _logged(self, params: types.LoggingMessageNotificationParams) -> None:
        heard = self._only()
        if heard is not None:
            await heard.told(types.LoggingMessageNotification(params=params))

    async def _told(self, message: Any) -> None:
        # Progress goes to whoever called, and log messages are told of above.
        if not isinstance(message, (types.LoggingMessageNotification, types.ProgressNotification)):
            await self._tell(message)

    async def _tell(self, message: Any) -> None:
        for each in list(self._listeners):
            await each.told(message)


__all__ = ["SECONDS", "Listener", "Tapped", "Upstream"]
