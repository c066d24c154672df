"""Claude Code itself, with a model on this machine that says what it is told to say, and the tools of a house."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    SdkMcpTool,
    create_sdk_mcp_server,
    query,
)
from gateway_world import CONTRACTS, Came, Door, House, Moment, Visit

import fiducial
from fiducial.adapters.claude_agent import guarded, refused
from fiducial.adapters.tool import using

for name in [each for each in os.environ if each.startswith(("CLAUDE", "ANTHROPIC"))]:
    del os.environ[name]  # or Claude Code would be set up as somebody's own
T = TypeVar("T")
Turn = Sequence[tuple[str, Any]] | str
"""What a model answers: calls, each a tool and its arguments, or words."""
SERVER = "house"
_IDS = itertools.count(1)


class Scripted:
    """A model that makes these calls, turn by turn, or says these words; at last, it says `done`.

    agents  the same, for a subagent: prompt → turns
    """

    def __init__(self, *turns: Turn, agents: dict[str, Sequence[Turn]] | None = None) -> None:
        self.key = f"key-{next(_IDS)}"
        self.asked: list[dict[str, Any]] = []
        """The bodies of its requests."""
        self.made: list[str] = []
        """The ids of its calls."""
        self._turns = {"": list(turns)} | {prompt: list(each) for prompt, each in (agents or {}).items()}
        self._lock = threading.Lock()

    def then(self, *turns: Turn) -> None:
        """What it answers after that."""
        self._turns[""].extend(turns)

    def forget(self) -> None:
        """It answers nothing more of that."""
        self._turns[""].clear()

    @property
    def got(self) -> dict[str, Any]:
        """Id of a call → what it got for it, in all conversations."""
        found = {}
        for body in self.asked:
            for block in _blocks(body["messages"]):
                if block.get("type") == "tool_result":
                    found[block["tool_use_id"]] = block.get("content")
        return {id: _text(content) for id, content in found.items()}

    @property
    def read(self) -> str:
        """All that it was given to read, in JSON."""
        return json.dumps([each["messages"] for each in self.asked], ensure_ascii=False)

    def answer(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The blocks of its answer."""
        with self._lock:
            if not body.get("tools"):
                return [{"type": "text", "text": "done"}]
            self.asked.append(body)
            first = json.dumps(body["messages"][0], ensure_ascii=False)
            whose = next((each for each in self._turns if each and each in first), "")
            turn = self._turns[whose].pop(0) if self._turns[whose] else "done"
            if isinstance(turn, str):
                return [{"type": "text", "text": turn}]
            calls = []
            for tool, arguments in turn:
                self.made.append(id := f"toolu_{next(_IDS)}")
                offered = f"mcp__{SERVER}__{tool}" in [each["name"] for each in body["tools"]]
                called = f"mcp__{SERVER}__{tool}" if offered else tool
                calls.append({"type": "tool_use", "id": id, "name": called, "input": arguments})
            return calls


def _blocks(messages: Any) -> Iterator[dict[str, Any]]:
    for message in messages:
        if isinstance(message["content"], list):
            yield from message["content"]


def _text(content: Any) -> str:
    text = "".join(str(each.get("text", each)) for each in content) if isinstance(content, list) else str(content)
    return text.partition("\n<system-reminder>")[0].strip()


class Provider:
    """Speaks Anthropic's Messages API, streaming, on a port of this machine; who asks is known by the key."""

    def __init__(self) -> None:
        self.models: dict[str, Scripted] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model = provider.models[self.headers["x-api-key"]]
                sent = b"".join(_events(body, model.answer(body)))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def do_GET(self) -> None:
                self.send_error(404)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _events(body: dict[str, Any], blocks: list[dict[str, Any]]) -> Iterator[bytes]:
    begun = {"id": f"msg_{next(_IDS)}", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    begun |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    reason = "tool_use" if any(each["type"] == "tool_use" for each in blocks) else "end_turn"
    yield _event("message_start", message=begun)
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            start, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            written = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
            start, delta = block | {"input": {}}, {"type": "input_json_delta", "partial_json": written}
        yield _event("content_block_start", index=index, content_block=start)
        yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
    yield _event("message_stop")


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def of(house: House, name: str) -> SdkMcpTool[Any]:
    """A tool of the house, of which the SDK is to find nothing wrong."""

    async def run(given: dict[str, Any]) -> dict[str, Any]:
        value = await asyncio.to_thread(house.tools.run, name, given)
        return value if isinstance(value, dict) else {"content": [{"type": "text", "text": str(value)}]}

    named = {each: {} for each in CONTRACTS.get(name, {}).get("parameters", {})}
    return SdkMcpTool(name, f"Does it: {name}.", {"type": "object", "properties": named}, run)


def options(house: House, provider: Provider, model: Scripted, home: Path, **more: Any) -> ClaudeAgentOptions:
    """An agent with every tool of the house, one that no contract describes, and none of Claude Code's."""
    provider.models[model.key] = model
    home.mkdir(exist_ok=True)
    (work := home / "work").mkdir(exist_ok=True)
    env = {
        "ANTHROPIC_BASE_URL": provider.url,
        "ANTHROPIC_API_KEY": model.key,
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    tools = [of(house, name) for name in (*CONTRACTS, "no_such_tool")]
    given: dict[str, Any] = {
        "mcp_servers": {SERVER: create_sdk_mcp_server(SERVER, tools=tools)},
        "tools": [],
        "cwd": work,
        "model": "claude-sonnet-4-5",
        "max_buffer_size": 100_000_000,
    }
    return ClaudeAgentOptions(**given | more | {"env": env | more.get("env", {})})


async def run(
    given: ClaudeAgentOptions, session: fiducial.Session, prompt: str = "Go on.", **more: Any
) -> ResultMessage:
    """A run of a guarded agent in `session`: its last message."""
    with using(session):
        async for message in query(prompt=prompt, options=guarded(given, servers=[SERVER], **more)):
            last = message
    assert isinstance(last, ResultMessage)
    return last


class OverClaudeAgent(Door):
    """A session is one conversation with Claude Code, and each call a turn of it."""

    def __init__(self, house: House, provider: Provider, home: Path) -> None:
        super().__init__(house)
        self._provider, self._home = provider, home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        house.on_stop(self._stop)

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        session = self.house.guard.session(user=user, task=task)
        return self.do(_OverClaudeAgent.begin(self, session, self._provider, self._home / session.id))

    def do(self, act: Coroutine[Any, Any, T]) -> T:
        """What `act` gives, on the loop of this door."""
        return self.begin(act).result(120)

    def begin(self, act: Coroutine[Any, Any, T]) -> Future[T]:
        """`act`, begun on the loop of this door."""
        return asyncio.run_coroutine_threadsafe(act, self._loop)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _OverClaudeAgent(Visit):
    def __init__(self, door: OverClaudeAgent, session: fiducial.Session, client: ClaudeSDKClient) -> None:
        self.door, self.session, self._client = door, session, client
        self._model, self._turns = Scripted(), asyncio.Lock()

    @classmethod
    async def begin(cls, door: OverClaudeAgent, session: fiducial.Session, provider: Provider, home: Path) -> Self:
        """A conversation, with nothing said yet."""
        model = Scripted()
        client = ClaudeSDKClient(guarded(options(door.house, provider, model, home), servers=[SERVER], wait=door.wait))
        with using(session):
            await client.connect()
        made = cls(door, session, client)
        made._model = model
        door.house.on_stop(lambda: door.do(client.disconnect()))
        return made

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        return self.door.do(self._call(tool, arguments))

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        calling = self.door.begin(self._call(tool, arguments))
        when()
        self.door.do(self._client.interrupt())
        calling.result(30)
        self._model.forget()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Came:
        async with self._turns:
            before = len(self._model.made)
            self._model.then([(tool, arguments)], "done")
            await self._client.query("Go on.")
            async for message in self._client.receive_response():
                last = message
        if len(self._model.made) == before:
            return Came("denied", False, told=str(last))
        id = self._model.made[-1]
        if id not in self._model.got:
            return Came("allowed", False, told=str(last))
        got, came = self._model.got[id], refused(self.session).get(id)
        if came is None:
            return Came("allowed", True, got)
        kind = came.result.verdict.kind if came.result is not None else "denied"
        return Came(kind, False, told=got, request=came.waiting)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


__all__ = ["OverClaudeAgent", "Provider", "Scripted", "Turn", "of", "options", "run"]
