"""Decisions over HTTP beside a route that decides nothing, on one server in one run.

    python bench/authzen.py [--json] [--rounds N] [--seconds N] [--connections N]

Two processes. The server is uvicorn with Fiducial's doors on a SQLite store, and beside them a Starlette application
whose one route answers `{"decision": true}` as Starlette's documentation has it. The client keeps connections open and
sends the next request on each as soon as the last one is answered, in turn to the empty route, and to AuthZEN's
`/access/v1/evaluation` with a read and with a payment that the user asked for. Each decision is made in a session that
has read ten letters, under the baseline and the banking charter of AgentDojo, and is recorded; a payment is answered
once its record is on the disk.

`over_empty` is requests per second over those of the empty route in the same round, the median of all rounds with
their quartiles; `p99_over_empty` the same of the 99th percentile of how long an answer takes.
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

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import fiducial
import reports
from fiducial.gateway.app import Doors
from fiducial.oversight.desk import Desk

CHARTER = Path(__file__).resolve().parent.parent / "examples" / "charters" / "agentdojo" / "banking"
ACCOUNT = "DE89370400440532013000"
LETTER = "Dear customer, invoice {number} is due in spring. Nothing is to be done about it. " * 12
SESSIONS = 8
KINDS = ("empty", "read", "payment")


async def serve(folder: str) -> None:
    """The server; prints its port and its sessions, and ends with its standard input."""
    store = fiducial.SqliteStore(Path(folder) / "fiducial.db")
    guard = fiducial.Guard(fiducial.load_charter(CHARTER), store=store, desk=Desk(store))
    doors = Doors(guard, lambda token: "bench" if token == "bench" else None)

    async def empty(_: Request) -> JSONResponse:
        return JSONResponse({"decision": True})

    beside = Starlette(routes=[Route("/empty", empty, methods=["POST"])])

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await (beside if scope.get("path") == "/empty" else doors)(scope, receive, send)

    ids = []
    for number in range(SESSIONS):
        task = f"Read bill.txt and pay 5.00 EUR to {ACCOUNT} for the letters on 2030-01-01"
        seat = await doors.sessions.open("bench", user=f"user-{number}", roles=["customer"], task=task)
        for each in range(10):
            seat.session.observe("read_file", {"file_path": f"{each}.txt"}, LETTER.format(number=each))
        ids.append(seat.session.id)
    server = uvicorn.Server(uvicorn.Config(either, port=0, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "sessions": ids}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    server.should_exit = True
    await serving
    store.close()


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.taken: list[float] = []
        self.until = 0.0
        self.done: asyncio.Future[None]
        self._rest, self._sent, self._turn = b"", 0.0, 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def begin(self, requests: list[bytes], until: float) -> asyncio.Future[None]:
        self.requests, self.until, self.taken = requests, until, []
        self.done = asyncio.get_running_loop().create_future()
        self._send()
        return self.done

    def _send(self) -> None:
        self._turn += 1
        self._sent = time.perf_counter()
        self._transport.write(self.requests[self._turn % len(self.requests)])

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, found, body = self._rest.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head[head.index(b"content-length: ") + 16 :].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200") or b'"decision":true' not in body:
            self.done.set_exception(RuntimeError(self._rest.decode()))
            return
        self._rest = b""
        now = time.perf_counter()
        self.taken.append(now - self._sent)
        if now < self.until:
            self._send()
        else:
            self.done.set_result(None)


def written(kind: str, session: str, number: int, port: int) -> bytes:
    """One HTTP request."""
    path = "/empty" if kind == "empty" else "/access/v1/evaluation"
    if kind == "payment":
        arguments = {"recipient": ACCOUNT, "amount": 5.0, "subject": "letters", "date": "2030-01-01"}
        action: dict[str, Any] = {"name": "send_money", "properties": arguments}
    else:
        action = {"name": "read_file", "properties": {"file_path": "bill.txt"}}
    asked = {
        "subject": {"type": "user", "id": f"user-{number}"},
        "action": action,
        "resource": {"type": "server", "id": "local"},
        "context": {"session": session},
    }
    body = json.dumps(asked).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(begun: dict[str, Any], rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """The report."""
    port, loop = begun["port"], asyncio.get_running_loop()
    lines = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(connections)]
    requests = {
        kind: [written(kind, id, number, port) for number, id in enumerate(begun["sessions"])] for kind in KINDS
    }
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    p99s: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(-1, rounds):  # one to warm up
        for kind in KINDS:
            started = time.perf_counter()
            await asyncio.gather(*(line.begin(requests[kind], started + seconds) for line in lines))
            took = time.perf_counter() - started
            taken = sorted(each for line in lines for each in line.taken)
            if number >= 0:
                rates[kind].append(len(taken) / took)
                p99s[kind].append(taken[int(len(taken) * 0.99)])

    def over(found: dict[str, list[float]], kind: str) -> dict[str, float]:
        low, middle, high = statistics.quantiles(
            [each / base for each, base in zip(found[kind], found["empty"], strict=True)], n=4
        )
        return {"median": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}

    return {
        "requests_per_second": {kind: round(statistics.median(rates[kind])) for kind in KINDS},
        "p99_ms": {kind: round(1000 * statistics.median(p99s[kind]), 2) for kind in KINDS},
        "over_empty": {kind: over(rates, kind) for kind in KINDS[1:]},
        "p99_over_empty": {kind: over(p99s, kind) for kind in KINDS[1:]},
        "rounds": rounds,
        "connections": connections,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--as-server", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.as_server:
        uvloop.run(serve(chosen.as_server))
        return
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, __file__, "--as-server", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            begun = json.loads(server.stdout.readline())
            report = uvloop.run(ask(begun, chosen.rounds, chosen.seconds, chosen.connections))
        finally:
            server.stdin.close()
            server.wait(30)
    if reports.deliver(report, chosen.json):
        return
    for name, value in report.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
