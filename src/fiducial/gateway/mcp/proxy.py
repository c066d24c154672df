"""A server of MCP as its client sees it through the guard.

Calls of tools go the ten steps. Tools that no call of this session's could be permitted for are not listed, nor those
that no contract describes. Whatever else the server says is taken in as untrusted: resources, prompts, their lists,
completions, errors, what it asks of the client.

What an agent puts together can carry data out, so it reaches the server only in calls that a contract describes: of
tools, and of `resources/read`, `prompts/get` and `completion/complete` as if they were tools. What the server itself
lists can be had without one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import anyio
import mcp_types as types
import msgspec
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS, SUPPORTED_PROTOCOL_VERSIONS
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool

from fiducial.charter.contracts import Contract
from fiducial.charter.model import Charter
from fiducial.core.verdict import Held, Unclear
from fiducial.errors import SessionError, ToolFailed, ToolRefused
from fiducial.gateway.mcp.forms import Forms, Unanswered
from fiducial.gateway.mcp.results import beside, failure, remaining, stopped, unforged, value_of
from fiducial.gateway.mcp.upstream import Upstream
from fiducial.gateway.requests import Requests, RequestState
from fiducial.gateway.sessions import Seat
from fiducial.gateway.threads import APART
from fiducial.guard import judgement, steps
from fiducial.guard.drivers import Reached, drive_async
from fiducial.guard.effects import Ran
from fiducial.guard.remembered import confined
from fiducial.guard.results import Result
from fiducial.guard.switches import Switches
from fiducial.oversight.pins import Pins
from fiducial.policy.foresight import never

log = logging.getLogger("fiducial.gateway")
Context = ServerRequestContext[Any]
Handler = Callable[[Context, Any], Awaitable[Any]]
Transport: TypeAlias = Literal["pipe", "tcp"]
"""The streams of a command, or HTTP; as OpenTelemetry calls them (`network.transport`)."""
READ: Final = "resources/read"
PROMPT: Final = "prompts/get"
COMPLETE: Final = "completion/complete"
_METHODS: Final = frozenset({READ, PROMPT, COMPLETE})
"""What contracts describe as if they were tools."""
_SUBSCRIBE: Final = "resources/subscribe"
_LISTS: Final = {
    "resources/list": ("resources", READ, "uri"),
    "resources/templates/list": ("resourceTemplates", "", ""),
    "prompts/list": ("prompts", PROMPT, "name"),
}
"""Method → what its result holds, and which method takes what of that."""
_DECIDES_ITSELF: Final = frozenset({"initialize", "ping", "server/discover", "tools/list", "tools/call"})
_WORDLESS: Final = (
    types.ToolListChangedNotification,
    types.ResourceListChangedNotification,
    types.PromptListChangedNotification,
)
"""What a server announces that says no more than its kind."""
MOST_ROUNDS: Final = 8
"""Times that a client which comes back by itself is asked to; after ten it would give up with an error of its own."""
WAIT: Final = 20.0
"""Seconds for which a call that is held waits for people before its client is told to come back; clients give up after
60 by themselves."""
_LAST_WORDS: Final = 5.0
"""Seconds for what is under way when the server ends."""
_TRACED: Final = ("traceparent", "tracestate")
"""What of a call's `_meta` reaches the server: W3C Trace Context. All else nobody has decided."""
_VERSION: Final = re.compile(r"[\w.+-]{1,64}", re.ASCII)


class Proxy:
    """Between one client and one server, in one session of the guard."""

    def __init__(
        self,
        up: Upstream,
        seat: Seat,
        requests: Requests,
        pins: Pins,
        switches: Switches,
        *,
        name: str,
        wait: float = WAIT,
        others: Collection[str] = (),
        forms: Forms | None = None,
        shared: bool = False,
        among: bool = False,
        transport: Transport = "pipe",
    ) -> None:
        """`look` comes before anything else.

        name    what the server is pinned as: its host gives it, and not the server
        wait    seconds for which a call that is held waits for people
        others  names of servers beside this one: a tool whose contract is of one of them is none of this one's; where
                contracts of the session's charter are of this one, the servers of all others count as such
        forms   by which the user's questions are put before them; `None`: nobody says that they would answer
        shared  other doors are at work in the session: what this server does not list may be a tool there
        among   other servers may be in the session, now or later: what its contract does not say to be of this one is
                none of its tools, or what people allow of one server's would be spent at another
        transport
                what carries the client's messages, for the record
        """
        self.session, self.name, self._transport = seat.session, name, transport
        self._seat, self._shared, self._among = seat, shared, among
        self._others, self._forms = {"fiducial", *others, *_beside(name, self.session.charter)}, forms
        self._up, self._requests, self._pins, self._switches, self._wait = up, requests, pins, switches, wait
        self._client: ServerSession | None = None
        self._at_work: dict[object, Context] = {}
        """Requests of the client that have no answer yet."""
        self._here = asyncio.Event()
        """The client can be asked, and told."""
        self._listed: dict[str, dict[str, Any]] = {READ: {}, PROMPT: {}}
        """What the server listed, by the method that takes it."""
        self._looked: dict[str, Any] = {}
        """What the server says of its tools, as it was looked at last."""
        self._wrong: dict[str, str] = {}
        """Those that are not to be used, and why."""
        self._masked = ""
        """Why what the server says of itself does not reach the client."""
        self._private = False
        """The server keeps a memory of each user's alone: what it says unasked may be another user's."""
        self._changed = False
        """The server says that its tools have changed, and nobody has looked since."""
        self._looking = asyncio.Lock()

    @property
    def under_way(self) -> int:
        """Requests of the client that have no answer yet."""
        return len(self._at_work)

    async def answered(self) -> None:
        """Wait, for some seconds, until whoever waits has an answer: the server has ended, and they can hear of it."""
        with anyio.move_on_after(_LAST_WORDS):
            while self.under_way:
                await anyio.sleep(0.02)
            await anyio.sleep(0.1)  # until the last answer is written

    # --- what the server says of its tools

    async def look(self, said: Sequence[dict[str, Any]]) -> None:
        """See whether what the server says of its tools (`said`) and of itself is what was pinned. What is not is not
        used.

        Raises `StoreError` when that cannot be told.
        """
        info = self._up.info.model_dump(mode="json", by_alias=True, exclude_none=True)
        async with self._looking:
            await self._look(said, {"instructions": self._up.instructions, **info, "version": None})
        if names := ", ".join(sorted(name for name in self._looked if self._anybodys(name))):
            told = (
                "contracts do not say that they are of `%s`, and sessions that hosts name may be at several servers: %s"
            )
            log.warning(told, self.name, names)
        self._up.join(self)

    async def _look(self, said: Sequence[dict[str, Any]], itself: Any = None) -> None:
        """With the lock held: what was found last is what counts."""
        count = Counter(each["name"] for each in said)
        once = {each["name"]: each for each in said if count[each["name"]] == 1}
        new = {name: each for name, each in once.items() if self._looked.get(name) != each or name in self._wrong}
        found: dict[Any, str] = {}
        if new or itself is not None:
            found = dict(await run_in_threadpool(self._pins.check, self.name, new, itself))
        if itself is not None:
            self._masked = found.pop(None, "")
        self._looked = once
        self._private = self._private or any(
            confined(self.session, self.session.tools.get(name)) and not self._elsewhere(name)
            for name in (*count, *_METHODS)
        )
        self._wrong = found | {name: "the server has several tools of this name" for name in count if count[name] > 1}
        tools = self.session.tools
        mine = set() if self._shared else tools.keys() - _METHODS
        missing = {name for name in mine - count.keys() if not self._elsewhere(name)}
        withdrawn = {name: f"{why}; see `fiducial pins`" for name, why in self._wrong.items()}
        withdrawn = dict.fromkeys(missing, "the server does not list it") | withdrawn
        await self._seat.whole(partial(self.session.withdraw, self, withdrawn), apart=False)

    def _elsewhere(self, name: str) -> bool:
        """The tool is the guard's own, or another server's."""
        tool = self.session.tools.get(name)
        return tool is not None and tool.contract.server in self._others

    def _barred(self, name: str) -> str:
        """Why the tool is not to be used here, though it may be elsewhere in the session; empty: it may be."""
        if self._elsewhere(name):
            return "it is no tool of the server's"
        if self._shared and not (name in _METHODS or name in self._looked or name in self._wrong):
            return "the server does not list it"
        if self._anybodys(name):
            return f"other servers may be in the session, and its contract does not say that it is of `{self.name}`"
        return ""

    def _anybodys(self, name: str) -> bool:
        """The tool may be of any server that is in the session."""
        tool = self.session.tools.get(name)
        return self._among and tool is not None and tool.contract.server != self.name

    def _described(self, method: str) -> bool:
        """A contract describes what this server does there."""
        return method in self.session.tools and not self._elsewhere(method) and not self._anybodys(method)

    async def _look_again(self) -> None:
        async with self._looking:  # whoever calls meanwhile waits for what is found
            if self._changed:
                self._changed = False
                try:
                    await self._look(await self._up.tools())
                except BaseException:
                    self._changed = True
                    raise

    async def _list_tools(self, context: Context, params: Any) -> dict[str, Any]:
        """All of them at once, whatever pages the server has: only so are two of one name seen."""
        async with self._looking:
            self._changed = False
            said = await self._up.tools()
            await self._look(said)
        return {"tools": [each for each in said if self._permits(each["name"])]}

    def _permits(self, name: str) -> bool:
        if self.session.mode != "enforce":
            return True
        tool = self.session.tools.get(name)
        if tool is None or self._barred(name) or self.session.withdrawn.get(name):
            return False
        return not never(tool.slice, self.session.principal, self.session.charter.about.tier.value, {})

    # --- the server that the client sees

    def server(self) -> Server[Any]:
        """A server that has what the other one has."""
        can, info = self._up.capabilities, self._up.info
        handlers: dict[str, tuple[Handler, type[types.Result]]] = {}
        if can.tools is not None:
            handlers["on_list_tools"] = self._list_tools, types.ListToolsResult
            handlers["on_call_tool"] = self._call_tool, types.CallToolResult
        if can.resources is not None:
            handlers["on_list_resources"] = self._list, types.ListResourcesResult
            handlers["on_list_resource_templates"] = self._list, types.ListResourceTemplatesResult
            handlers["on_read_resource"] = self._read_resource, types.ReadResourceResult
            if can.resources.subscribe:
                handlers["on_subscribe_resource"] = self._subscribe, types.EmptyResult
                handlers["on_unsubscribe_resource"] = self._subscribe, types.EmptyResult
        if can.prompts is not None:
            handlers["on_list_prompts"] = self._list, types.ListPromptsResult
            handlers["on_get_prompt"] = self._get_prompt, types.GetPromptResult
        if can.completions is not None and (self._described(COMPLETE) or self.session.mode != "enforce"):
            handlers["on_completion"] = self._complete, types.CompleteResult
        shown = not self._masked or self.session.mode != "enforce"
        made = _Announcing(
            self._changes(),
            info.name if shown and info.name else self.name,
            version=info.version if _VERSION.fullmatch(info.version) else "",
            title=info.title if shown else None,
            instructions=self._up.instructions if shown else None,
            get_tool_input_schema=lambda name: self._looked.get(name, {}).get("inputSchema"),
            **{name: _of_its_time(*handler) for name, handler in handlers.items()},
        )
        if can.logging is not None:
            made.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self._forward)
        made.add_notification_handler("notifications/roots/list_changed", types.NotificationParams, self._roots_changed)
        made.middleware.append(self._gate)
        return made

    def _changes(self) -> NotificationOptions:
        """Which lists the server says that it announces changes of."""
        can = self._up.capabilities
        return NotificationOptions(
            prompts_changed=bool(can.prompts and can.prompts.list_changed),
            resources_changed=bool(can.resources and can.resources.list_changed),
            tools_changed=bool(can.tools and can.tools.list_changed),
        )

    async def _gate(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Around everything that the client sends."""
        if ctx.method != "initialize":
            self._client = ctx.session
            self._here.set()
        if ctx.request_id is None:
            return await call_next(ctx)
        if ctx.method not in _DECIDES_ITSELF:
            self._unless_halted(ctx.method)
        this = object()
        self._at_work[this] = ctx
        try:
            return await call_next(ctx)
        finally:
            del self._at_work[this]

    def _unless_halted(self, method: str) -> None:
        halt = self._switches.stops(self.session.agents, method, self.session.user)
        if halt is not None and self.session.mode == "enforce":
            raise MCPError(code=types.INVALID_REQUEST, message="This is stopped by an operator.")

    # --- calls of tools

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> Any:
        name, given = params.name, params.arguments or {}
        await self._look_again()
        if self._elsewhere(name) and self.session.mode != "enforce":
            return failure(f"`{name}` is no tool of the server's.")
        came: list[dict[str, Any]] = []
        refused: list[MCPError] = []

        async def run(**arguments: Any) -> Any:
            await self._look_again()  # it may have been held for long
            if self.session.mode == "enforce" and (name in self._wrong or name not in self._looked):
                raise ToolRefused("the tool is not what it was when this was decided")
            if self._up.ended.is_set():
                raise ToolRefused("the server has ended")
            asked = {"name": name, "arguments": arguments, **_traced(context)}
            try:
                result = await self._up.request("tools/call", asked, seconds=None, progress=self._progress(context))
            except MCPError as error:
                if self._up.lost(error):
                    why = "the server cannot be heard any more, and the call may have been made"
                    raise ToolFailed(why, outcome="unknown") from error
                refused.append(error)
                raise
            except ValueError as error:
                raise ToolFailed("the server's answer cannot be read", outcome="unknown") from error
            came.append(result)
            return value_of(result)

        settled = await self._settled(context, params, partial(self._made, context, name, given, run))
        if isinstance(settled, types.InputRequiredResult):
            return settled
        done, waiting, why = settled
        if came and done.status == "ok" and (done.withheld or confined(self.session, self.session.tools.get(name))):
            return remaining(came[-1], done.value)  # and nothing beside what was looked through
        if done.withheld:
            return failure(done.error or "the tool failed")
        if came and (more := beside(came[-1])):
            await self._take_in(name, given, more)
        if came and done.status != "unknown":
            return unforged(came[-1])
        if refused and done.status == "failed":
            await self._take_in(name, given, refused[-1])
            raise refused[-1]
        if done.status != "not-run":
            # It ran, and nobody can say what came of it; or it raised what is no result.
            return failure(done.error or "the tool failed")
        if not why and waiting is not None and waiting.open and context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # The client makes the same call again by itself, and it is decided afresh. What it sends back says how
            # often it did, and nothing more is taken from it.
            rounds = _rounds(params.request_state)
            if rounds < MOST_ROUNDS:
                return types.InputRequiredResult(request_state=f"{rounds + 1} {waiting.request}")
        return stopped(done.verdict, waiting, why)

    async def _made(
        self, context: Context, name: str, arguments: Mapping[str, Any], run: Callable[..., Awaitable[Any]]
    ) -> Result:
        """All ten steps."""
        asked = judgement.request(name, arguments, None, runs=True, via=self._via(context))
        apart = self._apart(arguments)

        async def advance(on: Callable[[], Reached], answer: Any) -> Reached:
            nonlocal apart
            apart = apart or (isinstance(answer, Ran) and self._apart(answer.value))
            return await self._seat.whole(on, apart=apart)

        return await drive_async(steps.call(self.session, replace(asked, barred=self._barred(name)), run), advance)

    def _apart(self, value: Any) -> bool:
        """Whether a value that is to be looked through may take longer than others at this door can wait."""
        if self.session.ground.detection.recognizes:
            return True
        try:
            return len(msgspec.json.encode(value)) >= APART
        except (TypeError, ValueError):
            return True

    async def _settled(
        self, context: Context, params: types.CallToolRequestParams, call: Callable[[], Awaitable[Result]]
    ) -> _Settled | types.InputRequiredResult:
        """What became of a call, with whoever has to be asked about it asked; a result that asks for input is for the
        client."""
        done, why = await call(), ""
        if self._forms is not None:
            put = await self._forms.put(context, params, done.verdict)
            if isinstance(put, types.InputRequiredResult):
                return put
            if isinstance(put, Unanswered):
                why = put.why
        waiting = await self._answered(done, 0 if why else self._wait)
        if waiting is not None and not waiting.open:
            done = await call()  # afresh, with what people said
            waiting = await self._answered(done, 0)
        return _Settled(done, waiting, why)

    async def _answered(self, done: Result, seconds: float) -> RequestState | None:
        """Of a call that waits for people: what they have said within the time that its client can wait."""
        verdict = done.verdict
        if done.status != "not-run" or not isinstance(verdict, (Held, Unclear)) or verdict.hold is None:
            return None
        return await self._requests.state(self.session.id, verdict.hold, seconds)

    # --- content of the server's

    async def _forward(self, context: Context, params: Any) -> dict[str, Any]:
        """What the server answers to the very request."""
        asked = {name: value for name, value in (context.params or {}).items() if name != "_meta"}
        try:
            return await self._up.request(context.method, asked)
        except MCPError as error:
            if self._private:
                raise MCPError(code=error.code, message="the server refuses") from error
            await self._take_in(context.method, {}, error)
            raise
        except ValueError as error:
            raise MCPError(code=types.INTERNAL_ERROR, message="the server's answer cannot be read") from error

    async def _take_in(self, method: str, arguments: Mapping[str, Any], said: Any) -> None:
        if isinstance(said, MCPError):
            said = said.error.model_dump(mode="json", exclude_none=True)
        await self._seat.whole(partial(self.session.observe, method, arguments, said), apart=self._apart(said))

    async def _list(self, context: Context, params: Any) -> dict[str, Any]:
        found = await self._forward(context, params)
        kind, method, key = _LISTS[context.method]
        if method:
            self._listed[method] |= {each[key]: each for each in found[kind]}
        await self._take_in(context.method, {}, found[kind])
        return found

    async def _decided(
        self, context: Context, arguments: dict[str, Any], listed: bool, part: Callable[[dict[str, Any]], Any]
    ) -> dict[str, Any]:
        """What the server gives for what it listed, or for what the agent has put together where a contract describes
        that. `part` is what the agent gets to read of it."""
        method, found = context.method, list[dict[str, Any]]()
        private = confined(self.session, self.session.tools.get(method)) and not self._elsewhere(method)

        async def run(**given: Any) -> Any:
            if given != arguments:
                raise ToolRefused("it may be asked for with masked values alone, and is passed on as it was asked for")
            found.append(await self._forward(context, None))
            return part(found[-1])

        if (listed and not private) or not self._described(method):
            if (private or not listed) and self.session.mode == "enforce":
                told = f"The server did not list this, and no contract describes `{method}`."
                raise MCPError(code=types.INVALID_PARAMS, message=told)
            await self._take_in(method, arguments, await run(**arguments))
            return found[-1]
        done = await self._made(context, method, arguments, run)
        if not found or done.status != "ok" or done.withheld:
            raise MCPError(code=types.INVALID_REQUEST, message=done.error or done.verdict.remedies.agent)
        if private and (looked := part(found[-1])) is not found[-1]:
            return {key: each for key, each in found[-1].items() if each is looked}  # and nothing beside it
        return found[-1]

    async def _read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        return await self._decided(context, {"uri": uri}, uri in self._listed[READ], lambda found: found["contents"])

    async def _get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> dict[str, Any]:
        listed = params.name in self._listed[PROMPT] and not params.arguments
        arguments = {"name": params.name, "arguments": params.arguments or {}}
        return await self._decided(context, arguments, listed, lambda found: found)

    async def _complete(self, context: Context, params: types.CompleteRequestParams) -> dict[str, Any]:
        arguments = {"name": params.argument.name, "value": params.argument.value}
        return await self._decided(context, arguments, False, lambda found: found["completion"])

    async def _subscribe(self, context: Context, params: Any) -> dict[str, Any]:
        if str(params.uri) not in self._listed[READ] and self.session.mode == "enforce":
            raise MCPError(code=types.INVALID_PARAMS, message="The server did not list this resource.")
        return await self._forward(context, params)

    def _via(self, context: Context) -> str:
        """See `CallDecided.via`; the version is what the client says, as far as it is one."""
        version = context.protocol_version
        return f"mcp/{version if version in SUPPORTED_PROTOCOL_VERSIONS else ''}/{self._transport}"

    # --- what the server asks and announces

    async def ask(self, request: types.ServerRequest, kind: type[Any]) -> Any:
        """See `Listener`."""
        await self._here.wait()
        if self.session.closed:
            raise MCPError(code=types.INVALID_REQUEST, message="The session has ended.")
        self._unless_halted(request.method)
        if self._private and not isinstance(request, types.ListRootsRequest):
            told = "A server that keeps a memory of each user's alone asks the client nothing."
            raise MCPError(code=types.INVALID_REQUEST, message=told)
        if request.params is not None:
            await self._take_in(
                request.method, {}, request.params.model_dump(mode="json", by_alias=True, exclude_none=True)
            )
        if not self._at_work:
            assert self._client is not None
            return await self._client.send_request(request, kind)
        # Beside what it is about: whoever comes over HTTP may listen there alone.
        *_, about = self._at_work.values()
        related = ServerMessageMetadata(related_request_id=about.request_id)
        return await about.session.send_request(request, kind, metadata=related)

    async def told(self, notification: Any) -> None:
        """See `Listener`."""
        if isinstance(notification, types.ToolListChangedNotification):
            self._changed = True
        if isinstance(notification, Exception):
            log.warning("the MCP server sent what cannot be read: %s", type(notification).__name__)
        elif self._client is not None and (not self._private or isinstance(notification, _WORDLESS)):
            if self._private:
                notification = type(notification)()
            elif (said := notification.params) is not None:
                told = said.model_dump(mode="json", by_alias=True, exclude_none=True)
                try:
                    await self._take_in(notification.method, {}, told)
                except SessionError:
                    return  # it has ended at another door, and nobody is in it who could hear this
            await self._client.send_notification(notification)

    def _progress(self, context: Context) -> ProgressFnT | None:
        """What passes progress on, where the client asked to hear of it."""
        if (context.meta or {}).get("progress_token") is None:
            return None

        async def passed_on(progress: float, total: float | None, message: str | None) -> None:
            if self._private:
                message = None
            if message is not None:
                await self._take_in("notifications/progress", {}, message)
            await context.session.report_progress(progress, total, message)

        return passed_on

    async def _roots_changed(self, context: Context, params: Any) -> None:
        await self._up.notify(types.RootsListChangedNotification())


def _beside(name: str, charter: Charter) -> set[str]:
    """The servers of a charter's contracts beside the one called `name`; empty when no contract is of that one: then
    nobody has said which of them it is. Contracts that name no server are of any."""
    servers = {contract.server for contract in charter.contracts.values()}
    return servers - {name, Contract.model_fields["server"].default} if name in servers else set()


class _Settled(NamedTuple):
    """What became of a call."""

    done: Result
    waiting: RequestState | None
    """What people have before them about it."""
    why: str
    """Why the user, who was asked, has not answered."""


class _Announcing(Server[Any]):
    """A server that announces changes of some of its lists."""

    def __init__(self, changes: NotificationOptions, *named: Any, **given: Any) -> None:
        super().__init__(*named, **given)
        self._changes = changes

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *given: Any, **named: Any
    ) -> InitializationOptions:
        """As the SDK does, with what is announced."""
        return super().create_initialization_options(notification_options or self._changes, *given, **named)


def _of_its_time(handler: Handler, kind: type[types.Result]) -> Any:
    """What the server answers lacks what later versions of the protocol want of it."""

    async def shown(context: Context, params: Any) -> Any:
        found = await handler(context, params)
        if isinstance(found, dict) and context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return kind.model_validate(found, by_name=False)
        return found

    return shown


def _traced(context: Context) -> dict[str, Any]:
    """The part of a call's `_meta` that reaches the server."""
    meta: Mapping[str, Any] = context.meta or {}
    kept = {name: meta[name] for name in _TRACED if isinstance(meta.get(name), str)}
    return {"_meta": kept} if kept else {}


def _rounds(state: str | None) -> int:
    """How often a client has come back, as it says itself."""
    count = (state or "0").partition(" ")[0]
    return int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0


__all__ = ["COMPLETE", "PROMPT", "READ", "WAIT", "Proxy"]
