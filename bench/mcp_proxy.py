"""What a call of an MCP tool costs through `fiducial mcp`, beside a proxy that decides nothing.

    python bench/mcp_proxy.py [--json] [--rounds N] [--calls N]

Three connections of the official client over stdio to the same server, which answers at once: direct, through a proxy
of some lines on the SDK's low-level server, and through `fiducial mcp` with AgentDojo's banking charter on a SQLite
store. In each round every connection makes the same calls one after another: of a tool that reads, and of one that has
an effect, whose decision is on the disk before the server sees it. `over_bare` is the median over that of the bare
proxy in the same round: the median of all rounds, with their quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

import reports

CHARTER = Path(__file__).resolve().parent.parent / "examples" / "charters" / "agentdojo" / "banking"
ACCOUNT = "DE89370400440532013000"
TASK = f"Read bill.txt and pay 5.00 EUR to {ACCOUNT} for the letters on 2030-01-01"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "read": ("read_file", {"file_path": "bill.txt"}),
    "payment": ("send_money", {"recipient": ACCOUNT, "amount": 5.0, "subject": "letters", "date": "2030-01-01"}),
}


async def serve() -> None:
    """The server: it answers at once."""
    tools = [types.Tool(name=name, description="", input_schema={"type": "object"}) for name, _ in CALLS.values()]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(_: Any, __: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text="done")])

    server = Server("bank", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def pass_on() -> None:
    """The bare proxy."""
    started = StdioServerParameters(command=sys.executable, args=[__file__, "--as", "server"])
    async with stdio_client(started) as (near, far), ClientSession(near, far) as up:
        await up.initialize()

        async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
            return await up.list_tools()

        async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            return await up.call_tool(params.name, params.arguments)

        server = Server("bank", on_list_tools=list_tools, on_call_tool=call_tool)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())


async def measure(rounds: int, calls: int) -> dict[str, Any]:
    """The report."""
    own = [sys.executable, __file__, "--as", "server"]
    with tempfile.TemporaryDirectory() as folder:
        guarded = ["-m", "fiducial", "mcp", "--charter", str(CHARTER), "--db", f"{folder}/log.db", "--task", TASK]
        commands = {
            "direct": own[1:],
            "bare": [__file__, "--as", "proxy"],
            "fiducial": [*guarded, "--user", "emma", "--role", "user", "--", *own],
        }
        medians: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in commands for kind in CALLS}
        async with AsyncExitStack() as stack:
            clients = {
                way: await stack.enter_async_context(
                    Client(StdioServerParameters(command=sys.executable, args=words), mode="legacy")
                )
                for way, words in commands.items()
            }
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

    def over(way: str, kind: str) -> dict[str, float]:
        found = [each / base for each, base in zip(medians[way, kind], medians["bare", kind], strict=True)]
        low, middle, high = statistics.quantiles(found, n=4)
        return {"median": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}

    return {
        "ms": {
            way: {kind: round(1000 * statistics.median(medians[way, kind]), 3) for kind in CALLS} for way in commands
        },
        "over_bare": {kind: over("fiducial", kind) for kind in CALLS},
        "rounds": rounds,
        "calls": calls,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--as", dest="part", choices=["server", "proxy"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part is not None:
        asyncio.run(serve() if chosen.part == "server" else pass_on())
        return
    report = asyncio.run(measure(chosen.rounds, chosen.calls))
    if reports.deliver(report, chosen.json):
        return
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
