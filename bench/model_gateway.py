"""Models through Fiducial's door beside a bare pass-through and the provider itself, in one run.

    python bench/model_gateway.py [--json] [--rounds N] [--streams N] [--chunks N]

Three processes. The provider streams Chat Completions of so many chunks, as fast as they are taken. The server is
uvicorn with the door on a SQLite store, and beside it an application that passes everything on through the same HTTP
client and does nothing else. The client asks each in turn.

`first` is the time from a request to the first piece of text, one at a time: milliseconds over the provider's own, the
median of all rounds with their quartiles. `streams` is how long so many take that are asked at once, over the bare
pass-through in the same round. `masked` is the door with every class of data masked and a value in each request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

import fiducial
import reports
from fiducial.gateway.app import Doors
from fiducial.gateway.model.http import ModelGateway
from fiducial.gateway.model.settings import read_settings
from fiducial.oversight.desk import Desk

CHARTER = Path(__file__).resolve().parent.parent / "examples" / "charters" / "agentdojo" / "banking"
KINDS = ("direct", "bare", "door", "masked")
CLASSES = ["payment", "contact", "identity", "health", "credentials", "secrets"]
_HEAD = [(b"content-type", b"text/event-stream")]


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    """One event of a stream."""
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return b"data: " + json.dumps(about | {"choices": [choice]}).encode() + b"\n\n"


async def body_of(receive: Receive) -> bytes:
    """The body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def provide(scope: Scope, receive: Receive, send: Send) -> None:
    """The provider: as many chunks as the request's `n_chunks` says."""
    if scope["type"] != "http":
        return
    chunks = json.loads(await body_of(receive))["n_chunks"]
    await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
    await send({"type": "http.response.body", "body": chunk({"role": "assistant", "content": ""}), "more_body": True})
    for number in range(chunks):
        await send({"type": "http.response.body", "body": chunk({"content": f"word{number} "}), "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": chunk({}, "stop"), "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


class Bare:
    """Passes everything on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=1000))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        headers = [each for each in scope["headers"] if each[0] in (b"content-type", b"authorization")]
        request = self._client.build_request("POST", self._url, content=await body_of(receive), headers=headers)
        response = await self._client.send(request, stream=True)
        await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
        async for piece in response.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await response.aclose()


async def served(app: Any) -> tuple[uvicorn.Server, asyncio.Task[None], int]:
    """`app` on a free port."""
    # A connection that is kept for the next round is not let go of while that one begins.
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=600)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    return server, serving, server.servers[0].sockets[0].getsockname()[1]


async def serve(folder: str, provider: int) -> None:
    """A server; prints its port, and ends with its standard input."""
    if not provider:
        server, serving, port = await served(provide)
        print(port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        server.should_exit = True
        await serving
        return
    url = f"http://127.0.0.1:{provider}/v1"
    store = fiducial.SqliteStore(Path(folder) / "fiducial.db")
    guard = fiducial.Guard(fiducial.load_charter(CHARTER), store=store, desk=Desk(store))
    models = {"door": {"speaks": "openai", "url": url}, "masked": {"speaks": "openai", "url": url, "mask": CLASSES}}
    (Path(folder) / "models.yaml").write_text(json.dumps({"models": models}))

    def admit(token: str) -> str | None:
        return "bench" if token == "bench" else None

    doors = Doors(guard, admit)
    settings = read_settings(Path(folder) / "models.yaml", {}, lambda _: guard.charter)
    doors.add(ModelGateway(settings, lambda _: doors.sessions, doors.requests, admit, url="http://127.0.0.1"))
    bare = Bare(f"{url}/chat/completions")

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await (bare if scope.get("path") == "/bare/chat/completions" else doors)(scope, receive, send)

    async with doors.lifespan():
        server, serving, port = await served(either)
        print(port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        server.should_exit = True
        await serving
    store.close()


class Stream(asyncio.Protocol):
    """Asks once, and reads the answer to its end."""

    def __init__(self, request: bytes) -> None:
        self._request, self._read = request, b""
        self.first: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.last: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.sent = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._read = self._read[-40:] + data
        if not self.first.done() and b'"content":"word' in self._read.replace(b": ", b":"):
            self.first.set_result(time.perf_counter() - self.sent)
        if b"[DONE]" in self._read:
            self.last.set_result(time.perf_counter() - self.sent)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        for each in (self.first, self.last):
            if not each.done():
                each.set_exception(RuntimeError(self._read[-500:].decode(errors="replace")))


def request_of(kind: str, port: int, number: int, chunks: int) -> bytes:
    """One HTTP request."""
    path = {"direct": "/v1", "bare": "/bare"}.get(kind, f"/models/{kind}") + "/chat/completions"
    said = f"Conversation {number}: write to person{number}@example.org about the words. " * 5
    messages = [{"role": "system", "content": "Be kind. " * 50}, {"role": "user", "content": said}]
    body = json.dumps({"model": "m", "stream": True, "n_chunks": chunks, "messages": messages}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(ports: dict[str, int], rounds: int, streams: int, chunks: int) -> dict[str, Any]:
    """The report."""
    loop, numbers = asyncio.get_running_loop(), iter(range(10**9))

    async def begun(kind: str, chunks: int) -> Stream:
        request = request_of(kind, ports[kind], next(numbers), chunks)
        return (await loop.create_connection(lambda: Stream(request), "127.0.0.1", ports[kind]))[1]

    firsts: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(-5, rounds * 20):
        for kind in KINDS:
            stream = await begun(kind, 3)
            first = await stream.first
            await stream.last
            if number >= 0:
                firsts[kind].append(1000 * first)
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(-1, rounds):
        for kind in KINDS:
            started = time.perf_counter()
            asked = await asyncio.gather(*(begun(kind, chunks) for _ in range(streams)))
            await asyncio.gather(*(each.last for each in asked))
            if number >= 0:
                took[kind].append(time.perf_counter() - started)

    def spread(found: list[float]) -> dict[str, float]:
        low, middle, high = statistics.quantiles(found, n=4)
        return {"median": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}

    over = {
        kind: spread([each - base for each, base in zip(firsts[kind], firsts["direct"], strict=True)])
        for kind in KINDS[1:]
    }
    behind = {
        kind: spread([each / base for each, base in zip(took[kind], took["bare"], strict=True)]) for kind in KINDS[2:]
    }
    return {
        "first_ms_over_direct": over,
        "streams_over_bare": behind,
        "first_ms": {kind: round(statistics.median(firsts[kind]), 2) for kind in KINDS},
        "streams_seconds": {kind: round(statistics.median(took[kind]), 3) for kind in KINDS},
        "rounds": rounds, "streams": streams, "chunks": chunks,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--as-server", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.as_server:
        uvloop.run(serve(chosen.as_server[0], int(chosen.as_server[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        processes: list[subprocess.Popen[str]] = []

        def start(provider: int) -> int:
            process = subprocess.Popen(
                [sys.executable, __file__, "--as-server", folder, str(provider)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            processes.append(process)
            assert process.stdout is not None
            return int(process.stdout.readline())

        try:
            provider = start(0)
            server = start(provider)
            ports = {"direct": provider, "bare": server, "door": server, "masked": server}
            found = uvloop.run(ask(ports, chosen.rounds, chosen.streams, chosen.chunks))
        finally:
            for process in reversed(processes):
                assert process.stdin is not None
                process.stdin.close()
                process.wait(30)
    if reports.deliver(found, chosen.json):
        return
    for name, value in found.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
