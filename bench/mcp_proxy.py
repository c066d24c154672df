"""What a call of an MCP tool costs through Fiducial, beside a proxy that decides nothing.

    python bench/mcp_proxy.py [--over stdio | http] [--era legacy | 2026-07-28] [--json] [--rounds N] [--calls N]

Three connections of the official client to the same server, which answers at once: direct, through a proxy of some
lines on the SDK's low-level server, and through Fiducial with AgentDojo's banking charter on a SQLite store. Over HTTP,
each is a process with uvicorn, and the proxies have one connection with the server that stays open. In each round every
connection makes the same calls one after another: of a tool that reads, and of one that has an effect, whose decision
is on the disk before the server sees it. `over_bare` is the median over that of the bare proxy in the same round: the
median of all rounds, with their quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from mcp import Client
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager

import reports

CHARTER = Path(__file__).resolve().parent.parent / "examples" / "charters" / "agentdojo" / "banking"
ACCOUNT = "DE89370400440532013000"
TASK = f"Read bill.txt and pay 5.00 EUR to {ACCOUNT} for the letters on 2030-01-01"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "read": ("read_file", {"file_path": "bill.txt"}),
    "payment": ("send_money", {"recipient": ACCOUNT, "amount": 5.0, "subject": "letters", "date": "2030-01-01"}),
}


def server() -> Server[Any]:
    """The server: it answers at once."""
    tools = [types.Tool(name=name, description="", input_schema={"type": "object"}) for name, _ in CALLS.values()]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(_: Any, __: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text="done")])

    return Server("bank", on_list_tools=list_tools, on_call_tool=call_tool)


@asynccontextmanager
async def bare(streams: Any) -> AsyncIterator[Server[Any]]:
    """A proxy that decides nothing, of the server at the other end of `streams`."""
    async with streams as (near, far), ClientSession(near, far) as up:
        await up.initialize()

        async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
            return await up.list_tools()

        async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            return await up.call_tool(params.name, params.arguments)

        yield Server("bank", on_list_tools=list_tools, on_call_tool=call_tool)


async def on_stdio(made: Server[Any]) -> None:
    """Serve on the standard streams."""
    async with stdio_server() as (read, write):
        await made.run(read, write, made.create_initialization_options())


async def on_http(made: Server[Any], port: int) -> None:
    """Serve at `/mcp/bank`."""
    manager = StreamableHTTPSessionManager(made)
    app = StreamableHTTPASGIApp(manager)
    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False, lifespan="off")
    async with manager.run():
        await uvicorn.Server(config).serve()


async def part(name: str, words: list[str]) -> None:
    """One of the processes that are measured."""
    if name == "server":
        await (on_http(server(), int(words[0])) if words else on_stdio(server()))
    elif words:
        async with bare(streamable_http_client(words[1])) as made:
            await on_http(made, int(words[0]))
    else:
        started = StdioServerParameters(command=sys.executable, args=[__file__, "--as", "server"])
        async with bare(stdio_client(started)) as made:
            await on_stdio(made)


def over_stdio(folder: str) -> dict[str, Any]:
    """Way → what a client connects to."""
    own = [sys.executable, __file__, "--as", "server"]
    guarded = ["-m", "fiducial", "mcp", "--charter", str(CHARTER), "--db", f"{folder}/log.db", "--task", TASK]
    commands = {
        "direct": own[1:],
        "bare": [__file__, "--as", "proxy"],
        "fiducial": [*guarded, "--user", "emma", "--role", "user", "--", *own],
    }
    return {way: StdioServerParameters(command=sys.executable, args=words) for way, words in commands.items()}


@contextmanager
def over_http(folder: str) -> Iterator[dict[str, Any]]:
    """Way → what a client connects to; the processes end with this."""
    ports = [_free_port() for _ in range(3)]
    direct, between, gateway = (f"http://127.0.0.1:{port}/mcp/bank" for port in ports)
    key = OKPKey.generate_key("Ed25519", {"kid": "bench", "alg": "Ed25519"})
    Path(folder, "keys.json").write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    Path(folder, "mcp.yaml").write_text(json.dumps({"servers": {"bank": {"url": direct}}, "hosts": {"b": "keys.json"}}))
    up = ["-m", "fiducial", "up", f"{folder}/log.db", "--charter", str(CHARTER), "--mcp", f"{folder}/mcp.yaml"]
    commands = {
        ports[0]: [__file__, "--as", "server", str(ports[0])],
        ports[1]: [__file__, "--as", "proxy", str(ports[1]), direct],
        ports[2]: [*up, "--listen", f"127.0.0.1:{ports[2]}"],
    }
    now, started = int(time.time()), []
    stated = {"iss": "b", "aud": gateway, "sub": "emma", "sid": "1", "task": TASK, "iat": now, "exp": now + 3600}
    try:
        for port, words in commands.items():
            started.append(subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL))
            _until_open(port)
        made = [sys.executable, "-m", "fiducial", "token", "b", "--db", f"{folder}/log.db", "--by", "bench"]
        token = subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()
        headers = {
            "Authorization": f"Bearer {token}",
            "Fiducial-User": "emma",
            "Fiducial-Roles": "user",
            "Fiducial-Task": jwt.encode(
                {"alg": "Ed25519", "typ": "fiducial-task+jwt", "kid": "bench"}, stated, key, algorithms=["Ed25519"]
            ),
        }
        yield {
            "direct": direct,
            "bare": between,
            "fiducial": streamable_http_client(gateway, http_client=httpx2.AsyncClient(headers=headers, timeout=60)),
        }
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait(20)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _until_open(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens at {port}")


async def measure(over: str, era: str, rounds: int, calls: int) -> dict[str, Any]:
    """The report."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        ways = over_stdio(folder) if over == "stdio" else ending.enter_context(over_http(folder))
        medians: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in ways for kind in CALLS}
        async with AsyncExitStack() as stack:
            clients = {way: await stack.enter_async_context(Client(to, mode=era)) for way, to in ways.items()}
            for number in range(-1, rounds):  # one to warm up
                for kind, (name, arguments) in CALLS.items():
                    for way, client in clients.items():
                        taken = []
                        for _ in range(calls):
                            begun = time.perf_counter()
                            found = await client.call_tool(name, arguments)
                            taken.append(time.perf_counter() - begun)
                            if found.is_error:
                                raise RuntimeError(f"{way}: {found}")
                        if number >= 0:
                            medians[way, kind].append(statistics.median(taken))

    def over_bare(way: str, kind: str) -> dict[str, float]:
        found = [each / base for each, base in zip(medians[way, kind], medians["bare", kind], strict=True)]
        low, middle, high = statistics.quantiles(found, n=4)
        return {"median": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}

    return {
        "over": over,
        "era": era,
        "ms": {way: {kind: round(1000 * statistics.median(medians[way, kind]), 3) for kind in CALLS} for way in ways},
        "over_bare": {kind: over_bare("fiducial", kind) for kind in CALLS},
        "rounds": rounds,
        "calls": calls,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--over", choices=["stdio", "http"], default="stdio", help="how the client is connected")
    parser.add_argument("--era", choices=["legacy", "2026-07-28"], default="legacy", help="version of the protocol")
    parser.add_argument("--as", dest="part", choices=["server", "proxy"], help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part is not None:
        asyncio.run(part(chosen.part, chosen.words))
        return
    report = asyncio.run(measure(chosen.over, chosen.era, chosen.rounds, chosen.calls))
    if reports.deliver(report, chosen.json):
        return
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
