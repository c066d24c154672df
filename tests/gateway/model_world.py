"""A provider that speaks the APIs of models as it is told to, the vendors' own SDKs, and the gateway between them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from abc import abstractmethod
from itertools import count
from typing import Any

import anthropic
import openai
from anthropic.types import Message
from gateway_world import Came, Door, House, Lines, Moment, Visit, abandoned, until
from joserfc.jwk import KeySet
from mcp_http_world import KEY, Site
from openai.types.chat import ChatCompletion
from openai.types.responses import Response as AnyResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fiducial.gateway.app import Doors
from fiducial.gateway.model.http import ModelGateway
from fiducial.gateway.model.settings import read_settings
from fiducial.gateway.sessions import Sessions
from fiducial.gateway.trusted import trusted

SCRIPT = "openai-beta"
"""The header by which a request says what the provider is to answer: it goes along to any."""
OPENAI_KEY, ANTHROPIC_KEY = "sk-of-the-gateway-openai", "sk-ant-of-the-gateway"
_IDS = count(1)


class Call:
    """A call that the model asks for; `arguments` as text where they are to come as they are."""

    def __init__(self, tool: str, arguments: Any, id: str | None = None) -> None:
        self.tool, self.id = tool, id or f"call_{next(_IDS)}"
        self.text = arguments if isinstance(arguments, str) else json.dumps(arguments)


class SdkError(Exception):
    """What an SDK of another language raised."""


Says = str | Call
"""A part of what the model answers."""


def pieces(text: str, size: int) -> list[str]:
    """`text`, in pieces of `size` characters."""
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


class Provider:
    """Answers as it is told to. What it was asked is kept."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Says]] = {}
        self.asked: list[dict[str, Any]] = []
        """Bodies of requests."""
        self.headers: list[dict[str, str]] = []
        self.piece = 7
        """Characters of a text that come at once."""
        self.cut = b""
        """What a stream breaks off before; empty: none does."""
        self.quietly = False
        """It ends there, as if that were all."""
        self.pause, self.go = b"", threading.Event()
        """What a stream waits before, until it may go on."""
        self.wire = 0
        """Bytes of a stream that are sent at once; 0: an event."""
        self.fails: tuple[int, Any] | None = None
        self.raw: tuple[str, bytes] | None = None
        """Content type and body of every answer, as they are."""
        self.status = 200
        self.queries: list[str] = []
        self.site = Site()
        routes = {
            "/v1/chat/completions": self._chat, "/v1/responses": self._responses, "/v1/messages": self._messages
        }  # fmt: skip
        app = Starlette(
            routes=[
                *(Route(path, self._serve(run), methods=["POST"]) for path, run in routes.items()),
                Route("/v1/messages/count_tokens", self._counted("input_tokens"), methods=["POST"]),
                Route("/v1/responses/input_tokens", self._counted("input_tokens"), methods=["POST"]),
                Route("/v1/models", lambda _: JSONResponse({"object": "list", "data": [{"id": "m"}]})),
            ]
        )
        self.site.start(app)

    def told(self, *says: Says) -> str:
        """The name of a script."""
        name = f"script-{next(_IDS)}"
        self.scripts[name] = list(says)
        return name

    def _counted(self, name: str) -> Any:
        async def serve(request: Request) -> Response:
            self.asked.append(await request.json())
            return JSONResponse({name: len(json.dumps(self.asked[-1])), "object": "response.input_tokens"}, self.status)

        return serve

    def _serve(self, run: Any) -> Any:
        async def serve(request: Request) -> Response:
            body = await request.json()
            self.asked.append(body)
            self.headers.append(dict(request.headers))
            self.queries.append(request.url.query)
            if self.fails is not None:
                return JSONResponse(self.fails[1], self.fails[0])
            if self.raw is not None:
                return Response(self.raw[1], media_type=self.raw[0])
            says = self.scripts.get(request.headers.get(SCRIPT, ""), ["done"])
            events, whole = run(body, says)
            if not body.get("stream"):
                return JSONResponse(whole, self.status, {"x-request-id": "req_1", "location": "/elsewhere"})
            return StreamingResponse(self._wired(b"".join(events)), media_type="text/event-stream; charset=utf-8")

        return serve

    async def _wired(self, raw: bytes) -> Any:
        if self.cut:
            yield raw.partition(self.cut)[0]
            if self.quietly:
                return
            raise ConnectionResetError
        if self.pause:
            first, _, _ = raw.partition(self.pause)
            yield first
            assert await asyncio.to_thread(self.go.wait, 20)
            raw = raw[len(first) :]
        size = self.wire or len(raw)
        for at in range(0, len(raw), size):
            yield raw[at : at + size]

    def _chat(self, body: dict[str, Any], says: list[Says]) -> tuple[list[bytes], dict[str, Any]]:
        text = "".join(each for each in says if isinstance(each, str))
        calls = [each for each in says if isinstance(each, Call)]
        about = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if calls:
            message["tool_calls"] = [
                {"id": each.id, "type": "function", "function": {"name": each.tool, "arguments": each.text}}
                for each in calls
            ]
        reason = "tool_calls" if calls else "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        whole = about | {"object": "chat.completion", "choices": [choice], "usage": usage, "new_field": {"x": 1}}
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if text else None}]
        deltas += [{"content": each} for each in pieces(text, self.piece)] if text else []
        for index, call in enumerate(calls):
            made = {"name": call.tool, "arguments": ""}
            deltas.append({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": made}]})
            size = max(self.piece, len(call.text) // 50)
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": each}}]} for each in pieces(call.text, size)
            ]
        chunk = about | {"object": "chat.completion.chunk"}
        chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        chunks.append({"index": 0, "delta": {}, "finish_reason": reason})
        events = [_data(chunk | {"choices": [each]}) for each in chunks]
        return [b": a comment\n\n", *events, _data(chunk | {"choices": [], "usage": usage}), b"data: [DONE]\n\n"], whole

    def _messages(self, body: dict[str, Any], says: list[Says]) -> tuple[list[bytes], dict[str, Any]]:
        about = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        usage = {"input_tokens": 1, "output_tokens": 1}
        reason = "tool_use" if any(isinstance(each, Call) for each in says) else "end_turn"
        content: list[dict[str, Any]] = []
        begun = about | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        events = [_event({"type": "message_start", "message": begun}), _event({"type": "ping"})]
        for index, each in enumerate(says):
            if isinstance(each, str):
                content.append({"type": "text", "text": each})
                first: dict[str, Any] = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces(each, self.piece)]
            else:
                first = {"type": "tool_use", "id": each.id, "name": each.tool, "input": {}}
                read = json.loads(each.text) if each.text.startswith("{") and each.text.endswith("}") else {}
                content.append(first | {"input": read})
                size = max(self.piece, len(each.text) // 50)
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(each.text, size)]
            events.append(_event({"type": "content_block_start", "index": index, "content_block": first}))
            events += [_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
            events.append(_event({"type": "content_block_stop", "index": index}))
        ended = {"stop_reason": reason, "stop_sequence": None}
        events += [
            _event({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 1}}),
            _event({"type": "message_stop"}),
        ]
        return events, begun | {"content": content} | ended

    def _responses(self, body: dict[str, Any], says: list[Says]) -> tuple[list[bytes], dict[str, Any]]:
        response: dict[str, Any] = {
            "id": f"resp_{next(_IDS)}", "object": "response", "created_at": 1, "model": body["model"], "output": [],
            "status": "in_progress", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        said: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
        items: list[dict[str, Any]] = []
        for index, each in enumerate(says):
            item, events = self._item(index, each)
            items.append(item)
            said += events
        whole = response | {"output": items, "status": "completed"}
        said.append({"type": "response.completed", "response": whole})
        return [_event(each | {"sequence_number": number}) for number, each in enumerate(said)], whole

    def _item(self, index: int, says: Says) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if isinstance(says, str):
            part: dict[str, Any] = {"type": "output_text", "text": says, "annotations": [], "logprobs": []}
            item = {"type": "message", "id": f"msg_{next(_IDS)}", "role": "assistant", "status": "completed"}
            where = {"item_id": item["id"], "output_index": index, "content_index": 0}
            events = [{"type": "response.content_part.added", **where, "part": part | {"text": ""}}]
            events += [
                {"type": "response.output_text.delta", **where, "delta": each, "logprobs": []}
                for each in pieces(says, self.piece)
            ]
            events += [
                {"type": "response.output_text.done", **where, "text": says, "logprobs": []},
                {"type": "response.content_part.done", **where, "part": part},
            ]
            begun, done = item | {"content": [], "status": "in_progress"}, item | {"content": [part]}
        else:
            done = {
                "type": "function_call", "id": f"fc_{says.id}", "call_id": says.id, "name": says.tool,
                "arguments": says.text, "status": "completed",
            }  # fmt: skip
            begun = done | {"arguments": "", "status": "in_progress"}
            where = {"item_id": done["id"], "output_index": index}
            size = max(self.piece, len(says.text) // 50)
            events = [
                {"type": "response.function_call_arguments.delta", **where, "delta": each}
                for each in pieces(says.text, size)
            ]
            events.append({
                "type": "response.function_call_arguments.done", **where, "arguments": says.text, "name": says.tool
            })  # fmt: skip
        first = {"type": "response.output_item.added", "output_index": index, "item": begun}
        return done, [first, *events, {"type": "response.output_item.done", "output_index": index, "item": done}]


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + _data(value)


class Counted(ModelGateway):
    """The door itself, and how many are in it."""

    under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.under_way += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.under_way -= 1


class Gate:
    """The gateway before a provider that speaks all of the APIs."""

    def __init__(self, house: House, *, settings: dict[str, Any] | None = None, **model: Any) -> None:
        self.house, self.provider, self.site = house, Provider(), Site()
        folder = house.path.parent
        (folder / "keys.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
        models = {
            "gpt": {"speaks": "openai", "url": self.provider.site.url + "/v1", "key_env": "OPENAI"} | model,
            "claude": {"speaks": "anthropic", "url": self.provider.site.url, "key_env": "ANTHROPIC"} | model,
        }
        written = {"models": models, "hosts": {"one": "keys.json"}} | (settings or {})
        (folder / "models.yaml").write_text(json.dumps(written))
        environment = {"OPENAI": OPENAI_KEY, "ANTHROPIC": ANTHROPIC_KEY, "MASKING": "0" * 32}
        read = read_settings(folder / "models.yaml", environment, lambda _: house.guard.charter)
        self.doors = Doors(house.guard, house.tokens.get, url=self.site.url)
        self.gateway = Counted(
            read, lambda _: self.doors.sessions, self.doors.requests, house.tokens.get, url=self.site.url,
            prompts={name: model["prompt"] for name in models if (model := models[name]).get("prompt")},
        )  # fmt: skip
        self.doors.add(self.gateway)
        self.site.start(self.doors)
        self._sdks: dict[tuple[str, Lines | None], Any] = {}
        self._making = threading.Lock()
        house.on_stop(self.stop)

    @property
    def sessions(self) -> Sessions:
        return self.doors.sessions

    def openai(self, lines: Lines | None = None) -> openai.OpenAI:
        """OpenAI's SDK, as the host `one` uses it; over `lines`, or those of all."""
        return self._sdk(openai.OpenAI, openai.DefaultHttpxClient, "gpt", lines)

    def anthropic(self, lines: Lines | None = None) -> anthropic.Anthropic:
        """Anthropic's SDK, likewise."""
        return self._sdk(anthropic.Anthropic, anthropic.DefaultHttpxClient, "claude", lines)

    def _sdk(self, kind: Any, client: Any, model: str, lines: Lines | None) -> Any:
        with self._making:
            if (model, lines) not in self._sdks:
                self._sdks[model, lines] = kind(**self._options(client, model, lines))
            return self._sdks[model, lines]

    def openai_async(self) -> openai.AsyncOpenAI:
        """The same for programs that are asynchronous; for one event loop, which closes it."""
        return openai.AsyncOpenAI(**self._options(openai.DefaultAsyncHttpxClient, "gpt"))

    def anthropic_async(self) -> anthropic.AsyncAnthropic:
        """Anthropic's, likewise."""
        return anthropic.AsyncAnthropic(**self._options(anthropic.DefaultAsyncHttpxClient, "claude"))

    def _options(self, client: Any, model: str, lines: Lines | None = None) -> dict[str, Any]:
        # Reading the certificates of the world takes longer than a test does.
        http = client(verify=False, event_hooks={"request": [lines.request]} if lines is not None else {})
        url = f"{self.site.url}/models/{model}"
        return {"api_key": "key-of-one", "base_url": url, "max_retries": 0, "timeout": 30, "http_client": http}

    def opened(self, user: str = "emma", task: str | None = None) -> str:
        """A session of the host's; its id."""
        import httpx2

        with httpx2.Client(
            base_url=self.site.url, headers={"Authorization": "Bearer key-of-one"}, verify=trusted()
        ) as client:
            answer = client.post("/v1/sessions", json={"user": user, "task": task})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["session"])

    def stop(self) -> None:
        for each in self._sdks.values():
            each.close()
        self.site.end()
        self.provider.site.stop()
        self.site.stop()


class Talk:
    """A program that talks with a model, by the vendor's SDK; `history` is in the form of the API."""

    def __init__(self, gate: Gate, *, stream: bool, **headers: str) -> None:
        self.gate, self.stream, self.headers = gate, stream, headers
        self.lines: Lines | None = None
        """What it asks over; `None`: over those of all."""
        self.history: list[Any] = []
        self.more: dict[str, Any] = {}
        """Further parameters of each request."""

    @abstractmethod
    def user(self, text: str) -> None:
        """The user says something."""

    @abstractmethod
    def called(self, id: str, tool: str, arguments: Any) -> None:
        """A call that the model is told that it made elsewhere."""

    @abstractmethod
    def came(self, id: str, result: Any) -> None:
        """What came of a call."""

    @abstractmethod
    def send(self, *says: Says) -> tuple[str, list[tuple[str, str, Any]]]:
        """What the model answers, when it is told to say that: text, and calls."""

    def asked(self, *says: Says) -> dict[str, Any]:
        """A request, without its messages."""
        return {"model": "m", "extra_headers": self.headers | {SCRIPT: self.gate.provider.told(*says)}} | self.more


class ChatTalk(Talk):
    def user(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def called(self, id: str, tool: str, arguments: Any) -> None:
        made = {"name": tool, "arguments": json.dumps(arguments)}
        self.history.append(
            {"role": "assistant", "content": None, "tool_calls": [{"id": id, "type": "function", "function": made}]}
        )

    def came(self, id: str, result: Any) -> None:
        text = result if isinstance(result, str) else json.dumps(result)
        self.history.append({"role": "tool", "tool_call_id": id, "content": text})

    def send(self, *says: Says) -> tuple[str, list[tuple[str, str, Any]]]:
        message = self.answer(self.asked(*says) | {"messages": self.history}).choices[0].message
        self.history.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        calls = [
            (each.id, each.function.name, json.loads(each.function.arguments)) for each in message.tool_calls or ()
        ]
        return message.content or "", calls

    def answer(self, asked: dict[str, Any]) -> ChatCompletion:
        """By the SDK."""
        client = self.gate.openai(self.lines).chat.completions
        if not self.stream:
            return client.create(**asked)
        with client.stream(**asked) as stream:
            return stream.get_final_completion()


class ResponsesTalk(Talk):
    def user(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def called(self, id: str, tool: str, arguments: Any) -> None:
        self.history.append({"type": "function_call", "call_id": id, "name": tool, "arguments": json.dumps(arguments)})

    def came(self, id: str, result: Any) -> None:
        text = result if isinstance(result, str) else json.dumps(result)
        self.history.append({"type": "function_call_output", "call_id": id, "output": text})

    def send(self, *says: Says) -> tuple[str, list[tuple[str, str, Any]]]:
        response = self.last = self.answer(self.asked(*says) | {"input": self.history})
        self.history += [each.model_dump(exclude_none=True) for each in response.output]
        calls = [
            (each.call_id, each.name, json.loads(each.arguments))
            for each in response.output
            if each.type == "function_call"
        ]
        parts = [part for each in response.output if each.type == "message" for part in each.content]
        return "\n\n".join(part.text for part in parts if part.type == "output_text"), calls

    def answer(self, asked: dict[str, Any]) -> AnyResponse:
        """By the SDK."""
        client = self.gate.openai(self.lines).responses
        if not self.stream:
            return client.create(**asked)
        with client.stream(**asked) as stream:
            return stream.get_final_response()


class MessagesTalk(Talk):
    def user(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def called(self, id: str, tool: str, arguments: Any) -> None:
        block = {"type": "tool_use", "id": id, "name": tool, "input": arguments}
        self.history.append({"role": "assistant", "content": [block]})

    def came(self, id: str, result: Any) -> None:
        text = result if isinstance(result, str) else json.dumps(result)
        self.history.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text}]})

    def send(self, *says: Says) -> tuple[str, list[tuple[str, str, Any]]]:
        message = self.answer({"max_tokens": 100} | self.asked(*says) | {"messages": self.history})
        self.history.append(
            {"role": "assistant", "content": [each.model_dump(exclude_none=True) for each in message.content]}
        )
        calls = [(each.id, each.name, each.input) for each in message.content if each.type == "tool_use"]
        return "\n\n".join(each.text for each in message.content if each.type == "text"), calls

    def answer(self, asked: dict[str, Any]) -> Message:
        """By the SDK."""
        client = self.gate.anthropic(self.lines).messages
        if not self.stream:
            return client.create(**asked)
        with client.stream(**asked) as stream:
            return stream.get_final_message()


class AsyncChatTalk(ChatTalk):
    def answer(self, asked: dict[str, Any]) -> ChatCompletion:
        return asyncio.run(self._answer(asked))

    async def _answer(self, asked: dict[str, Any]) -> ChatCompletion:
        async with self.gate.openai_async() as client:
            if not self.stream:
                return await client.chat.completions.create(**asked)
            async with client.chat.completions.stream(**asked) as stream:
                return await stream.get_final_completion()


class AsyncResponsesTalk(ResponsesTalk):
    def answer(self, asked: dict[str, Any]) -> AnyResponse:
        return asyncio.run(self._answer(asked))

    async def _answer(self, asked: dict[str, Any]) -> AnyResponse:
        async with self.gate.openai_async() as client:
            if not self.stream:
                return await client.responses.create(**asked)
            async with client.responses.stream(**asked) as stream:
                return await stream.get_final_response()


class AsyncMessagesTalk(MessagesTalk):
    def answer(self, asked: dict[str, Any]) -> Message:
        return asyncio.run(self._answer(asked))

    async def _answer(self, asked: dict[str, Any]) -> Message:
        async with self.gate.anthropic_async() as client:
            if not self.stream:
                return await client.messages.create(**asked)
            async with client.messages.stream(**asked) as stream:
                return await stream.get_final_message()


class OverModel(Door):
    """A model's answers; the session is the host's."""

    talk: type[Talk]
    stream = False
    between = hears_of_runs = False

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._gate: Gate | None = None

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        self._gate = self._gate or Gate(self.house, wait=self.wait.total_seconds())
        return _Talking(self, self._gate, self._gate.opened(user, task))


class _Talking(Visit):
    def __init__(self, door: OverModel, gate: Gate, session: str) -> None:
        self._door, self._gate, self._session = door, gate, session
        self._seen: list[tuple[str, dict[str, Any], Any]] = []

    def _talk(self) -> Talk:
        """As far as it has got; each call goes on from there, so that several can at once."""
        talk = self._door.talk(self._gate, stream=self._door.stream, **{"Fiducial-Session": self._session})
        talk.user("Go on.")
        for number, (tool, arguments, result) in enumerate(self._seen):
            talk.called(f"elsewhere_{number}", tool, arguments)
            talk.came(f"elsewhere_{number}", result)
        return talk

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        return self._call(self._talk(), tool, arguments)

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        talk = self._talk()
        talk.lines = Lines()
        abandoned(self._gate.house, lambda: self._call(talk, tool, arguments), when)
        talk.lines.close()
        until(lambda: not self._gate.gateway.under_way)

    def _call(self, talk: Talk, tool: str, arguments: dict[str, Any]) -> Came:
        try:
            text, calls = talk.send("Let me see.", Call(tool, arguments))
        except (openai.APIError, anthropic.APIError, SdkError) as error:
            return Came("denied", False, told=str(error))
        if not calls:
            kind, request = self._became(text)
            return Came(kind, False, None, text, request)
        [(id, name, given)] = calls
        value = self._gate.house.tools.run(name, given)
        talk.came(id, value)
        talk.send("Done.")
        return Came("allowed", True, value)

    def _became(self, text: str) -> tuple[str, Any]:
        request = re.search(r"hld_\w+", text)
        return ("held" if request else "denied"), request[0] if request else None

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self._seen.append((tool, arguments, result))


class OverChat(OverModel):
    """Chat Completions."""

    talk = ChatTalk


class OverChatStream(OverChat):
    """Chat Completions, streamed."""

    stream = True


class OverResponses(OverModel):
    """Responses."""

    talk = ResponsesTalk


class OverResponsesStream(OverResponses):
    """Responses, streamed."""

    stream = True


class OverMessages(OverModel):
    """Messages."""

    talk = MessagesTalk


class OverMessagesStream(OverMessages):
    """Messages, streamed."""

    stream = True


TALKS = (ChatTalk, ResponsesTalk, MessagesTalk)
ASYNC_TALKS = (AsyncChatTalk, AsyncResponsesTalk, AsyncMessagesTalk)

__all__ = [
    "ANTHROPIC_KEY", "ASYNC_TALKS", "OPENAI_KEY", "SCRIPT", "TALKS", "Call", "ChatTalk", "Gate", "MessagesTalk",
    "OverChat", "OverChatStream", "OverMessages", "OverMessagesStream", "OverModel", "OverResponses",
    "OverResponsesStream", "Provider", "ResponsesTalk", "SdkError", "Talk",
]  # fmt: skip
