"""The door for models: at `/models/<name>/…` stands what is at the provider's address, as far as it can be guarded.

A request goes this way, and is answered where it can go no further:

1. Its path names a model, and an answer or the list of models          404
2. Its token says which host asks, and its headers for which user       401, 400
3. It is JSON that can be read in one way, and asks for nothing that
   cannot be guarded                                                    400, 413, 415
4. Nothing has stopped this agent or this user, and the store answers  403, 503
5. It belongs to a conversation; one begins where the charter in force
   tells the classes that are masked                                    404, 503
6. What the provider is not to have is masked
7. It goes to the provider, with the gateway's own key                  502, 504
8. What the model reads is taken in, while it thinks                    409, 503
9. The answer comes back: values are restored, calls decided; no call goes on, and no answer ends, before 8 is done
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import httpx2
import msgspec
from starlette.types import Receive, Scope, Send

from fiducial.charter.model import RESPOND
from fiducial.core.event import Authority
from fiducial.core.faults import wordless
from fiducial.errors import MaskingError
from fiducial.flow.masking.values import masked
from fiducial.flow.masking.vault import Vault
from fiducial.gateway.bodies import check, value_of
from fiducial.gateway.door import MAX_BODY, Hosts, body_of
from fiducial.gateway.model import headers as headers_of
from fiducial.gateway.model.answer import Answer, told
from fiducial.gateway.model.api import Api
from fiducial.gateway.model.conversations import Conversations, Named, heads_of, prompt_of
from fiducial.gateway.model.masking import Classes, Masking, maskable
from fiducial.gateway.model.settings import ModelSettings, ModelsSettings
from fiducial.gateway.model.sse import Event, Events
from fiducial.gateway.model.steps import Asked, Json, Said, Step
from fiducial.gateway.model.turn import Conversation, Rules, Taken, Turn
from fiducial.gateway.principals import Principal, Principals
from fiducial.gateway.refusals import Refused
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import Sessions
from fiducial.gateway.sessions import named as session_of
from fiducial.gateway.statements import Statement, Statements, Unfounded, carried
from fiducial.gateway.threads import Threads
from fiducial.gateway.trusted import trusted
from fiducial.guard.guard import Guard, InForce
from fiducial.guard.switches import DEAF

log = logging.getLogger("fiducial.gateway")
PATH: Final = "/models/"
_LOOK: Final = 60.0
_TIMES: Final = httpx2.Timeout(10.0, read=600.0, pool=30.0)
"""Seconds; models think for long before they say anything."""
_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
_MOST: Final = 64 * 2**20
"""Bytes of an answer."""
_LISTS: Final = ("models", "v1/models")


class Served:
    """One model, as it is served."""

    def __init__(
        self, name: str, settings: ModelSettings, sessions: Sessions, *, secret: bytes, key: str | None, prompt: str
    ) -> None:
        from fiducial.gateway.model.apis import APIS

        self.name, self.settings, self.sessions, self.prompt = name, settings, sessions, prompt
        self.apis: Mapping[str, Api] = {api.path: api for api in APIS[settings.speaks]}
        self.counts: Mapping[str, Api] = {api.counts: api for api in APIS[settings.speaks] if api.counts}
        self.mask = frozenset(settings.mask)
        self._lacking: tuple[InForce | None, list[str]] = None, []
        restore = self.mask if settings.restore is None else frozenset(settings.restore)
        self.rules = Rules(
            decides=settings.calls == "decide", restores=restore, wait=settings.wait, audience=settings.audience
        )
        self.conversations = Conversations(sessions, name, secret=secret, classes=lambda: self.classes)
        self.provider_tools = frozenset(settings.provider_tools) if self.rules.decides else None
        self.key: list[tuple[bytes, bytes]] = []
        if key is not None:
            said = b"x-api-key" if settings.speaks == "anthropic" else b"authorization"
            self.key = [(said, (key if settings.speaks == "anthropic" else f"Bearer {key}").encode())]

    @property
    def classes(self) -> Classes | None:
        """What is masked, by the charter that new conversations get; `None`: nothing is. Raises `Refused` where that
        charter no longer tells one of the classes."""
        if not self.mask:
            return None
        current, (known, lacking) = self.sessions.guard.current, self._lacking
        if known is not current:
            lacking = sorted(self.mask - maskable(current.charter))
            self._lacking = current, lacking
            for each in lacking:
                log.error("the charter in force no longer tells `%s`, which the model `%s` masks", each, self.name)
        if lacking:
            raise Refused(
                503, f"the charter in force no longer tells `{lacking[0]}`, so that it could not be masked; no"
                " conversation begins until it does"
            )  # fmt: skip
        return self._classes(current)

    @property
    def cost(self) -> int:
        """How many times as long as it takes to read a text it may take to mask it."""
        return self._classes(self.sessions.guard.current).cost if self.mask else 1

    def _classes(self, charter: InForce) -> Classes:
        return Classes(self.mask, charter, self.rules.restores)

    def holds(self, text: str) -> bool:
        """Whether a value that is masked stands in `text`, which is no prose."""
        return bool(self.sessions.guard.current.detection.by_form(text, self.mask))

    def shown(self, text: str) -> str:
        """`text` with the classes of values that are masked in their places: what is said of a fault goes into logs."""
        try:
            return masked(text, self.sessions.guard.current.detection.find(text, self.mask)) if self.mask else text
        except MaskingError:
            return "the server's log says why"


class ModelGateway:
    """An ASGI application."""

    def __init__(
        self,
        settings: ModelsSettings,
        sessions: Callable[[str], Sessions],
        requests: Requests,
        admit: Callable[[str], str | None],
        *,
        url: str,
        prompts: Mapping[str, str] = {},
    ) -> None:
        """
        sessions  model → the sessions of the guard that decides its calls
        requests  of the desk that they have
        admit     says which host a token is of
        url       where clients find this: scheme, host and port
        prompts   model → the system prompt that is put before its requests' own
        """
        self._url, self._requests, self._threads = url.rstrip("/"), requests, Threads()
        secret = settings.masking or os.urandom(32)
        self._served = {
            name: Served(
                name, model, sessions(name), secret=secret, key=settings.key(name), prompt=prompts.get(name, "")
            )
            for name, model in settings.models.items()
        }
        clock = next(iter(self._served.values())).sessions.guard.clock
        self._principals = Principals(Hosts(admit), None, clock)
        self._statements = Statements(settings.hosts, clock)
        self._client: httpx2.AsyncClient | None = None

    def serves(self, path: str) -> bool:
        """Whether a path is behind this door."""
        return path.startswith(PATH)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Open, until the server stops; conversations are let go of then, and do not end."""
        async with httpx2.AsyncClient(
            timeout=_TIMES, limits=_LIMITS, follow_redirects=False, verify=trusted()
        ) as self._client:
            looking = asyncio.create_task(self._look())
            try:
                yield
            finally:
                looking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await looking
                for sessions in {id(each.sessions): each.sessions for each in self._served.values()}.values():
                    await sessions.close()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            for served in self._served.values():
                try:
                    await served.conversations.let_go()
                    await served.sessions.let_go()
                except Exception as error:
                    log.error(
                        "conversations that nobody uses could not be let go of, which is tried again",
                        exc_info=wordless(error),
                    )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        name, _, path = scope["path"].removeprefix(PATH).partition("/")
        served = self._served.get(name)
        answer = Answer(send, anthropic=served is not None and served.settings.speaks == "anthropic")
        try:
            if served is None:
                raise Refused(404, "there is no such model")
            await self._answer(served, path, scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - every fault is answered, and none lets a call through
            status, words = told(error, scope["path"])
            await answer.fail(status, words if served is None else await self._shown(served, words))

    async def _shown(self, served: Served, words: str) -> str:
        """See `Served.shown`."""
        return await self._threads.sized("", len(words) * served.cost, partial(served.shown, words))

    async def _answer(self, served: Served, path: str, scope: Scope, receive: Receive, answer: Answer) -> None:
        kind = path.removeprefix("v1/")
        counted = served.counts.get(kind)
        api = served.apis.get(kind, counted)
        listing = path in _LISTS and scope["method"] == "GET"
        if (api is None or scope["method"] != "POST") and not listing:
            raise Refused(404, "this is not passed on: what is asked there cannot be guarded")
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        principal = await self._principals.of(_with_token(headers), "")
        at = headers_of.at(served.settings.url, path, scope["query_string"], served.holds)
        along = headers_of.along(headers, served.key, served.holds)
        if api is None:
            await self._plain("GET", at, None, along, answer)
            return
        body = await body_of(receive, MAX_BODY)
        reading = partial(_read, served, api, body, headers)
        asked, earlier, heads, prompt = await self._threads.sized(principal.host or "", len(body), reading)
        guard: Guard = served.sessions.guard
        _check_running(guard, guard.current.charter.about.agent, principal.user)
        if counted is not None:
            counting = partial(_countable, served, api, asked)
            sent = await self._threads.sized(principal.host or "", len(body) * served.cost, counting)
            await self._plain("POST", at, sent, along, answer)
            return
        named = Named(principal, session_of(headers), self._stated(served, principal, headers), earlier, heads, prompt)
        # What has no name is begun, or gone on with, in any case: nobody has to wait for its session.
        found = await served.conversations.of(named) if named.named else None
        if found is not None:
            _begin(served, found)
            _check_running(guard, found.seat.session.agent, found.seat.session.user)
        conversation = found.conversation if found is not None else served.conversations.begun(named)
        conversation.at_work += 1
        try:
            await self._turn(served, at, api, asked, named, conversation, found, len(body), along, receive, answer)
        finally:
            conversation.at_work -= 1

    async def _turn(
        self, served: Served, at: str, api: Api, asked: Json, named: Named, conversation: Conversation,
        found: Taken | None, size: int, along: list[tuple[bytes, bytes]], receive: Receive, answer: Answer,
    ) -> None:  # fmt: skip
        principal, earlier = named.principal, named.earlier
        work = partial(_written, served, api, conversation, asked, named)
        size *= 1 if conversation.masking is None else conversation.masking.cost
        sent, steps = await self._threads.sized(principal.host or "", size, work)
        with _readable():
            in_json, looks_up = api.in_json(asked), api.looks_up(asked)
        taking = asyncio.create_task(_taken_in(served, conversation, found, principal, steps))
        turn = Turn(
            taking, served.rules, self._requests, conversation.masking, model=str(asked.get("model", "")),
            streams=bool(asked.get("stream")), in_json=in_json, looks_up=looks_up,
        )  # fmt: skip

        async def settle() -> None:
            await turn.settle()
            for each in filter(None, (turn.answer, earlier)):
                served.conversations.answered((await turn.taken()).conversation, principal, each)

        answer.settle = settle
        try:
            await _while_there(self._ask(at, api, sent, turn, along, answer), receive)
        finally:
            await turn.taken()
            await settle()

    async def _ask(
        self, at: str, api: Api, sent: bytes, turn: Turn, along: list[tuple[bytes, bytes]], answer: Answer
    ) -> None:
        assert self._client is not None
        request = self._client.build_request("POST", at, content=sent, headers=along)
        response = await self._client.send(request, stream=True)
        try:
            back = headers_of.back(response)
            if response.status_code >= 400:
                await answer.whole(response.status_code, back, await _all(response))
            elif response.status_code != 200:
                raise ValueError(f"the status {response.status_code} is none of an answer")
            elif response.headers.get("content-type", "").lower().startswith("text/event-stream"):
                if not turn.streams:
                    raise ValueError("a stream that nobody asked for")
                with _in_form():
                    await _streamed(response, api, turn, back, answer)
            else:
                got = msgspec.json.decode(await _all(response))
                if not isinstance(got, dict):
                    raise ValueError("an answer is no object")
                with _in_form():
                    edited = await api.edited(got, turn)
                await turn.taken()
                await answer.whole(200, back, msgspec.json.encode(edited))
        finally:
            await response.aclose()

    async def _plain(
        self, method: str, at: str, content: bytes | None, along: list[tuple[bytes, bytes]], answer: Answer
    ) -> None:
        """Ask for what no model says, and no model reads."""
        assert self._client is not None
        async with self._client.stream(method, at, content=content, headers=along) as response:
            if response.status_code != 200 and response.status_code < 400:
                raise ValueError(f"the status {response.status_code} is none of an answer")
            await answer.whole(response.status_code, headers_of.back(response), await _all(response))

    def _stated(self, served: Served, principal: Principal, headers: list[tuple[bytes, bytes]]) -> Statement | None:
        try:
            text = carried(headers)
            if text is None:
                return None
            audience = f"{self._url}{PATH}{served.name}"
            return self._statements.read(text, user=principal.user, audience=audience, host=principal.host)
        except Unfounded as error:
            # Passed over, its messages would count as the user's words.
            raise Refused(400, f"the statement in `Fiducial-Task` does not count: {error}") from error


async def _while_there(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """`work`, until it is done or the client has left."""
    doing, leaving = asyncio.create_task(work), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
    finally:
        for each in (doing, leaving):
            each.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Of the body. Raises `ValueError` past `_MOST`."""
    size = 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > _MOST:
            raise ValueError("the answer is too long")
        yield piece


async def _all(response: httpx2.Response) -> bytes:
    return b"".join([piece async for piece in _pieces(response)])


@contextlib.contextmanager
def _in_form() -> Iterator[None]:
    """Raises `ValueError` for what the API does not have where it stands."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("an answer is not in the form of one") from error


def _checked(event: Event) -> Event:
    if not event.typed:
        raise ValueError("a stream is not in the form of one")
    return event


async def _streamed(
    response: httpx2.Response, api: Api, turn: Turn, back: list[tuple[bytes, bytes]], answer: Answer
) -> None:
    await answer.begin(200, back)
    events, edit = Events(), api.editing(turn)
    async for piece in _pieces(response):
        out = b""
        for event in events.feed(piece):
            out += await edit.feed(_checked(event))
            if out and not turn.ready:
                await answer.part(out)
                out = b""
        if out:
            await answer.part(out)
    rest = [await edit.feed(_checked(event)) for event in events.close()]
    await turn.taken()
    await answer.part(b"".join(rest) + await edit.close(), more=False)


async def _taken_in(
    served: Served, conversation: Conversation, found: Taken | None, principal: Principal, steps: list[Step]
) -> Taken:
    """The conversation, once it has taken in what the model reads."""
    taken = found or await served.conversations.opened(conversation, principal)
    _begin(served, taken)
    await taken.seat.apart(partial(conversation.take_in, taken.seat.session, steps))
    return taken


def _begin(served: Served, taken: Taken) -> None:
    """Raises `Refused` where the calls that are to be decided here are at another door."""
    if served.rules.decides:
        taken.seat.decides("model")


def _written(
    served: Served, api: Api, conversation: Conversation, asked: Json, named: Named
) -> tuple[bytes, list[Step]]:
    """The request as it goes to the provider, and what it tells the model."""
    masking, stated, steps = conversation.masking, named.stated, list[Step]()
    if served.prompt:
        steps.append(Said("system", served.prompt if masking is None else masking.text(served.prompt)))
    if stated is not None:
        steps.append(Said("user", stated.task if masking is None else masking.text(stated.task)))
    # Where a host says what its user asked for, whoever writes the request has no say of their own.
    agents: set[Authority] = {"user"} if served.settings.prompts == "agent" else set()
    if stated is not None:
        agents = {"user", "system", "operator"}
    with _readable():
        asked = asked if masking is None else _masked(api, asked, conversation, masking)
        steps += [
            Said("agent", step.text) if isinstance(step, Said) and step.authority in agents else step
            for step in api.steps(asked)
        ]
        asked = _prompted(served, api, asked, masking)
        owed = conversation.owed.get(named.earlier, [])
        return msgspec.json.encode(api.settled(asked, owed, conversation.given)), steps


def _masked(api: Api, asked: Json, conversation: Conversation | None, masking: Masking) -> Json:
    """A request, masked; `None`: of a conversation that nobody knows."""
    tools: dict[str, set[str]] = {}
    for step in api.steps(asked):
        if isinstance(step, Asked):
            tools.setdefault(step.call, set()).add(step.tool)
    sending = masking.sending(tools, lambda call: conversation.tools_of(call) if conversation is not None else ())
    if sending.learning is not None:
        api.masked(asked, sending.learning)
    return api.masked(asked, sending)


def _prompted(served: Served, api: Api, asked: Json, masking: Masking | None) -> Json:
    """A request that is masked, with the charter's prompt before it."""
    if not served.prompt:
        return asked
    return api.prompted(asked, served.prompt if masking is None else masking.text(served.prompt))


def _countable(served: Served, api: Api, asked: Json) -> bytes:
    """A request that is only counted: tokens of masked values are as long in any conversation."""
    classes = served.classes
    masking = Masking(Vault(os.urandom(32), ""), classes) if classes is not None else None
    with _readable():
        asked = asked if masking is None else _masked(api, asked, None, masking)
        return msgspec.json.encode(api.settled(_prompted(served, api, asked, masking), [], ()))


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Raises `Refused` for what the API does not have where it stands."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(400, f"the request cannot be read: {error}") from error


def _check_running(guard: Guard, agent: str, user: str) -> None:
    """Raises `Refused` where somebody has stopped this, or it cannot be told."""
    if guard.store.silence() > DEAF:
        raise Refused(503, "the store does not answer, so nobody could say that this is stopped")
    halt = guard.switches.stops((agent,), RESPOND, user)
    if halt is not None:
        raise Refused(403, f"this is stopped: {halt.why}")


def _read(
    served: Served, api: Api, body: bytes, headers: list[tuple[bytes, bytes]]
) -> tuple[Json, str, list[bytes], bytes]:
    """The request, the answer that it goes on from, and by what its conversation is found: its messages, and its
    prompts. Raises `Refused`."""
    kinds = [value.partition(b";")[0].strip().lower() for name, value in headers if name == b"content-type"]
    if kinds != [b"application/json"]:
        raise Refused(415, "send JSON, as `application/json`")
    check(body, finite=True)
    found = value_of(body, "the body")
    if not isinstance(found, dict):
        raise Refused(400, "the body is an object")
    with _readable():
        api.check(found, served.provider_tools)
        messages, earlier = api.history(found)
        return found, earlier, heads_of(messages), prompt_of(api.steps(found))


def _with_token(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Anthropic's SDKs send their key in a header of its own."""
    if any(name == b"authorization" for name, _ in headers):
        return headers
    return headers + [(b"authorization", b"Bearer " + value) for name, value in headers if name == b"x-api-key"]


__all__ = ["PATH", "ModelGateway", "Served"]
