"""A server of MCP as its client sees it through the guard.

Calls of tools go the ten steps. Tools that no call of this session's could be permitted for are not listed, nor those
that no contract describes. Resources and prompts are content by the server, and taken in as untrusted; a resource can
be read when the server itself listed it, because an address that an agent composes could carry data out. Whatever else
the protocol has (sampling, elicitation, roots, progress, cancellation, changed lists, completion, logging) is passed on
as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.concurrency import run_in_threadpool

from fiducial.core.verdict import Held, Unclear
from fiducial.errors import ToolFailed
from fiducial.gateway.mcp.results import beside, stopped, value_of
from fiducial.gateway.requests import Requests, RequestState
from fiducial.guard.results import Result
from fiducial.guard.session import Session
from fiducial.guard.switches import Switches
from fiducial.oversight.pins import SERVER, Pins
from fiducial.policy.foresight import never

log = logging.getLogger("fiducial.gateway")
T = TypeVar("T")
Context = ServerRequestContext[Any]
READ: Final = "resources/read"
"""As which tool reading a resource that the server did not list is decided, where a contract describes it."""
PROMPT: Final = "prompts/get"
MOST_ROUNDS: Final = 8
"""Times that a client which comes back by itself is asked to; after ten it would give up with an error of its own."""
MOST_PAGES: Final = 100
"""Pages of a list that are read; a server that has more is not read to its end."""
_CUT_OFF = frozenset({types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT})
_RESERVED = "io.modelcontextprotocol/"
WAIT: Final = 20.0
"""Seconds for which a call that is held waits for people before its client is told to come back; clients give up after
60 by themselves."""


class Proxy:
    """Between one client and one server, in one session of the guard."""

    session: Session
    _pins: Pins
    _switches: Switches
    _requests: Requests
    _wait: float

    def __init__(self, read: Any, write: Any) -> None:
        """`read` and `write` are the streams of the server."""
        self._down: ServerSession | None = None
        self._listed: set[str] = set()
        """Addresses of resources that the server listed."""
        self._looked: dict[str, Any] = {}
        """What the server says of its tools, as it was looked at last."""
        self._wrong: dict[str, str] = {}
        """Those that are not to be used, and why."""
        self._changed = False
        """The server says that its tools have changed, and nobody has looked since."""
        self._looking = asyncio.Lock()
        self._up = ClientSession(
            read,
            write,
            sampling_callback=self._sample,
            elicitation_callback=self._elicit,
            list_roots_callback=self._roots,
            logging_callback=self._logged,
            message_handler=self._told,
        )

    @classmethod
    @asynccontextmanager
    async def connected(cls, read: Any, write: Any) -> AsyncIterator[Self]:
        """A proxy that has shaken hands with the server. Raises `MCPError` when that fails."""
        made = cls(read, write)
        async with made._up:
            await made._up.initialize()
            yield made

    @property
    def name(self) -> str:
        """What the server calls itself."""
        info = self._up.server_info
        return info.name if info is not None and info.name else "server"

    async def described(self) -> dict[str, Any]:
        """What the server says of its tools, as `tools/list` gives it."""
        found: list[types.Tool] = []
        if (self._up.server_capabilities or types.ServerCapabilities()).tools is not None:
            cursor: str | None = None
            for _ in range(MOST_PAGES):
                page = await self._up.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
                found += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        return {"tools": [_said(tool) for tool in found]}

    # --- towards the server

    async def _sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.CreateMessageResultWithTools | types.ErrorData:
        asked = types.CreateMessageRequest(params=params)
        kind = types.CreateMessageResultWithTools if params.tools else types.CreateMessageResult
        return await self._ask(asked, kind)

    async def _elicit(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        return await self._ask(types.ElicitRequest(params=params), types.ElicitResult)

    async def _roots(self, context: ClientRequestContext) -> types.ListRootsResult | types.ErrorData:
        return await self._ask(types.ListRootsRequest(), types.ListRootsResult)

    async def _ask(self, asked: Any, kind: type[T]) -> T | types.ErrorData:
        if self._down is None or not self._down.can_send_request:
            return types.ErrorData(code=types.INVALID_REQUEST, message="the client cannot be asked")
        try:
            found: T = await self._down.send_request(asked, kind)  # type: ignore[type-var]
        except MCPError as error:
            return error.error
        return found

    async def _logged(self, params: types.LoggingMessageNotificationParams) -> None:
        await self._pass_on(types.LoggingMessageNotification(params=params))

    async def _told(self, message: Any) -> None:
        if isinstance(message, Exception):
            log.warning("the MCP server sent what cannot be read: %s", type(message).__name__)
        elif isinstance(message, types.ToolListChangedNotification):
            self._changed = True
            await self._pass_on(message)
        elif not isinstance(message, (types.LoggingMessageNotification, types.ProgressNotification)):
            await self._pass_on(message)

    async def _pass_on(self, notification: Any) -> None:
        if self._down is not None:
            await self._down.send_notification(notification)

    # --- towards the client

    async def look(self, pins: Pins, switches: Switches) -> None:
        """See whether what the server says of its tools, and to the model, is what was pinned. What is not is not used.

        Raises `StoreError` when that cannot be told, `MCPError` when the server does not say it.
        """
        self._pins, self._switches = pins, switches
        said = (await self.described())["tools"]
        info = self._up.server_info
        of_itself = {"instructions": self._up.instructions, "title": info.title if info is not None else None}
        await self._look([{"name": SERVER, **of_itself}, *said])

    async def _look(self, said: list[dict[str, Any]]) -> None:
        new = {each["name"]: each for each in said if self._looked.get(each["name"]) != each}
        if new:
            wrong = await run_in_threadpool(self._pins.check, self.name, new)
            self._looked |= new
            self._wrong = {name: why for name, why in self._wrong.items() if name not in new} | wrong
            self._switches.withdraw({name: f"{why}; see `fiducial pins`" for name, why in self._wrong.items()})

    async def _look_again(self) -> None:
        async with self._looking:  # whoever calls meanwhile waits for what is found
            if self._changed:
                self._changed = False
                try:
                    await self._look((await self.described())["tools"])
                except BaseException:
                    self._changed = True
                    raise

    def server(self, session: Session, requests: Requests, wait: float = WAIT) -> Server[Any]:
        """The server that the client sees, which has what the other one has. Its calls are those of `session`; one that
        is held waits `wait` seconds for people. `look` comes first."""
        self.session, self._requests, self._wait = session, requests, wait
        can = self._up.server_capabilities or types.ServerCapabilities()
        handlers: dict[str, Any] = {}
        if can.tools is not None:
            handlers |= {"on_list_tools": self._list_tools, "on_call_tool": self._call_tool}
        if can.resources is not None:
            handlers |= {
                "on_list_resources": self._list_resources,
                "on_list_resource_templates": self._list_templates,
                "on_read_resource": self._read_resource,
            }
            if can.resources.subscribe:
                handlers |= {"on_subscribe_resource": self._subscribe, "on_unsubscribe_resource": self._unsubscribe}
        if can.prompts is not None:
            handlers |= {"on_list_prompts": self._list_prompts, "on_get_prompt": self._get_prompt}
        if can.completions is not None:
            handlers["on_completion"] = self._complete
        info = self._up.server_info
        return Server(
            self.name,
            version=info.version if info is not None else "",
            title=info.title if info is not None else None,
            instructions=self._up.instructions if SERVER not in self._wrong else None,
            **handlers,
        )

    def changes(self) -> NotificationOptions:
        """Which lists the server says that it announces changes of."""
        can = self._up.server_capabilities or types.ServerCapabilities()
        return NotificationOptions(
            prompts_changed=bool(can.prompts and can.prompts.list_changed),
            resources_changed=bool(can.resources and can.resources.list_changed),
            tools_changed=bool(can.tools and can.tools.list_changed),
        )

    async def _list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        self._down = context.session
        found = await self._up.list_tools(params=_page(params))
        await self._look([_said(tool) for tool in found.tools])
        return found.model_copy(update={"tools": [tool for tool in found.tools if self._permits(tool.name)]})

    def _permits(self, name: str) -> bool:
        if name in self._wrong:
            return False
        tool = self.session.tools.get(name)
        if tool is None or tool.contract.server == "fiducial":
            return self.session.mode == "observe"
        session = self.session
        return session.mode != "enforce" or not never(
            tool.slice, session.principal, session.charter.about.tier.value, {}
        )

    async def _call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        self._down = context.session
        await self._look_again()
        came: list[types.CallToolResult] = []
        refused: list[MCPError] = []

        async def run(**given: Any) -> Any:
            try:
                result = await self._up.call_tool(
                    params.name, given, progress_callback=_progress(context), meta=_meta(params)
                )
            except MCPError as error:
                if error.error.code in _CUT_OFF:
                    raise ToolFailed(
                        "the server is gone, and the call may have been made", outcome="unknown"
                    ) from error
                refused.append(error)
                raise
            came.append(result)
            return value_of(result)

        given = params.arguments or {}
        done = await self.session.acall(params.name, given, run=run)
        waiting = await self._answered(done)
        if waiting is not None and not waiting.open:
            done = await self.session.acall(params.name, given, run=run)  # afresh, with what people said
            waiting = None
        if came:
            if more := beside(came[-1]):
                self.session.observe(params.name, given, more)
            if done.status != "unknown":
                return came[-1]
        if refused and done.status == "failed":
            raise refused[-1]
        if done.status != "not-run":
            # It ran, and nobody can say what came of it; or it raised what is no result.
            told = done.error or "the tool failed"
            return types.CallToolResult(content=[types.TextContent(text=told)], is_error=True)
        if waiting is not None and context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # The client makes the same call again by itself, and it is decided afresh. What it sends back says how
            # often it did, and nothing more is taken from it.
            rounds = _rounds(params.request_state)
            if rounds < MOST_ROUNDS:
                return types.InputRequiredResult(request_state=f"{rounds + 1} {waiting.request}")
        return stopped(done.verdict, waiting)

    async def _answered(self, done: Result) -> RequestState | None:
        """Of a call that waits for people: what they have said within the time that its client can wait."""
        verdict = done.verdict
        if done.status != "not-run" or not isinstance(verdict, (Held, Unclear)) or verdict.hold is None:
            return None
        return await self._requests.state(self.session.id, verdict.hold, self._wait)

    # --- content of the server's

    async def _list_resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        self._down = context.session
        found = await self._up.list_resources(params=_page(params))
        self._listed.update(str(resource.uri) for resource in found.resources)
        return found

    async def _list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        self._down = context.session
        return await self._up.list_resource_templates(params=_page(params))

    async def _read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        self._down = context.session
        uri = str(params.uri)
        found: list[types.ReadResourceResult] = []

        async def run(uri: str) -> Any:
            found.append(await self._up.read_resource(uri))
            return _contents(found[-1])

        if uri not in self._listed and READ in self.session.tools:
            done = await self.session.acall(READ, {"uri": uri}, run=run)
            if not found or done.status != "ok":
                raise MCPError(code=types.INVALID_REQUEST, message=done.error or done.verdict.remedies.agent)
        elif uri not in self._listed and self.session.mode == "enforce":
            raise MCPError(
                code=types.INVALID_PARAMS,
                message="The server did not list this resource, and no contract says what reading another one does.",
            )
        else:
            self.session.observe(READ, {"uri": uri}, await run(uri))
        return found[-1]

    async def _subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        self._down = context.session
        return await self._up.subscribe_resource(params.uri)

    async def _unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        return await self._up.unsubscribe_resource(params.uri)

    async def _list_prompts(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        self._down = context.session
        return await self._up.list_prompts(params=_page(params))

    async def _get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        self._down = context.session
        result = await self._up.get_prompt(params.name, params.arguments)
        messages = [message.model_dump(mode="json", by_alias=True, exclude_none=True) for message in result.messages]
        self.session.observe(PROMPT, {"name": params.name}, messages)
        return result

    async def _complete(self, context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        self._down = context.session
        argument = {"name": params.argument.name, "value": params.argument.value}
        return await self._up.complete(
            params.ref, argument, params.context.arguments if params.context is not None else None
        )


def _progress(context: Context) -> ProgressFnT | None:
    """What passes progress on, where the client asked to hear of it."""
    if not (context.meta or {}).get("progress_token"):
        return None

    async def passed_on(progress: float, total: float | None, message: str | None) -> None:
        await context.session.report_progress(progress, total, message)

    return passed_on


def _contents(result: types.ReadResourceResult) -> list[Any]:
    return [part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in result.contents]


def _said(tool: types.Tool) -> dict[str, Any]:
    said: dict[str, Any] = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return said


def _rounds(state: str | None) -> int:
    """How often a client has come back, as it says itself."""
    count = (state or "0").partition(" ")[0]
    return int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0


def _page(params: types.PaginatedRequestParams | None) -> types.PaginatedRequestParams | None:
    """Which page, and nothing of what belongs to the connection with the client."""
    return types.PaginatedRequestParams(cursor=params.cursor) if params is not None else None


def _meta(params: types.CallToolRequestParams) -> Any:
    """What the client sends along for the server: neither what the protocol says of the connection with the client, nor
    its token of progress, as towards the server this proxy has one of its own."""
    kept = {
        name: value
        for name, value in (params.meta or {}).items()
        if not name.startswith(_RESERVED) and name not in ("progress_token", "progressToken")
    }
    return kept or None


__all__ = ["PROMPT", "READ", "WAIT", "Proxy"]
