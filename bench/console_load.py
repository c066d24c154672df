"""How long people wait for the queue page when many look at it and much waits.

    python bench/console_load.py [--json] [--rounds N] [--pending N] [--browsers N]

Three processes, as in an installation: `fiducial up` serves the console over a database; this one is the agents', and
changes what waits, through a store of its own on that database; the third is the browsers', each signed in by a link of
its own, with one connection on which the queue's stream stays open and another for pages.

A round: one of the requests is refused; 200 are left after the last one. Every browser is told by its stream and at
once loads the page again, as the page's own script does, all of them at the same time: that is the worst moment of a
working day, and what is measured. `median_ms` and `p99_ms` are of these loads, from the request until the last byte;
`first_*` of each browser's first, which also puts on record what it was shown; `told_*` from the commit until the
browser is told.

`stale` counts pages that were asked for after a refusal had been recorded and show the request as if it still waited;
`untold` browsers that a round waited for in vain. Both have to be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import fiducial
import reports
from fiducial.console.services import Services, Settings
from fiducial.core.ids import PersonId
from fiducial.oversight import Approver, Desk
from fiducial.oversight.people import People, Person
from fiducial.policy.load import load_charter
from fiducial.policy.rulebook import compile_rulebook
from fiducial.store.sqlite import SqliteStore

CHARTER = Path(__file__).resolve().parent.parent / "examples" / "charters" / "agentdojo" / "banking"
OFFICER = Approver(id=PersonId("officer"), roles=frozenset({"operator"}))
CALLS = 5
"""Finished calls of each session before the one that waits."""
PATIENCE = 20.0
"""Seconds that a round waits for a browser to be told and to load the page."""
LETTER = "Invoice {number}. Please pay {amount} EUR to {account}. " + "It covers what was agreed upon in spring. " * 20


# --- the agents


class Agents:
    """What is asked of people, and answered."""

    def __init__(self, store: SqliteStore) -> None:
        self.desk = Desk(store)
        self.guard = fiducial.Guard(load_charter(CHARTER), store=store, desk=self.desk)
        self.asked = 0

    def ask(self) -> str:
        """One more request that waits: its id."""
        self.asked += 1
        account = f"GB29NWBK6016133{self.asked:07d}"
        session = self.guard.session(user=f"customer-{self.asked}", roles=["customer"], task="Pay what is in bill.txt")
        letter = LETTER.format(number=self.asked, amount=self.asked, account=account)
        for each in range(CALLS):
            path = {"file_path": f"bill-{each}.txt" if each else "bill.txt"}
            session.call("read_file", path, run=lambda file_path, letter=letter: letter)
        payment = {"recipient": account, "amount": float(self.asked), "subject": "bill", "date": "2030-01-01"}
        verdict = session.decide("send_money", payment)
        if verdict.kind != "held" or verdict.hold is None:
            raise RuntimeError(f"the call was not held: {verdict}")
        return str(verdict.hold)

    def refuse(self) -> str:
        """Answer the oldest request that waits: its id, once that is recorded."""
        oldest = self.desk.waiting()[0].id
        self.desk.vote(oldest, OFFICER, "reject", note="not ours")
        return str(oldest)


# --- the server


@contextmanager
def serving(database: Path) -> Iterator[str]:
    """`fiducial up` in a process of its own; where it is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fiducial", "up", str(database), "--charter", str(CHARTER)]
    server = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the console did not start") from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def people(store: SqliteStore, url: str, browsers: int) -> list[str]:
    """Links by which as many people sign in: every one an approver, the page that takes most to make."""
    services = Services(store, compile_rulebook(load_charter(CHARTER)), Settings(url=url))
    known = People(store)
    links = []
    for number in range(browsers):
        person = Person(id=PersonId(f"p{number}"), name=f"Person {number}", console=("approver",), roles=("operator",))
        known.add(person, by=PersonId("console"))
        links.append(services.link_for(person.id, by=PersonId("console")))
    services.close()
    return links


# --- the browsers, in a process of their own


class Connection:
    """One kept-open HTTP/1.1 connection."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.cookies: dict[str, str] = {}
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=2**22)

    async def head(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
        """Send a request; status and headers of the answer."""
        body = urlencode(form).encode() if form is not None else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}"]
        lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if form is not None:
            origin = f"Origin: http://{self.host}:{self.port}"
            lines += [origin, "Content-Type: application/x-www-form-urlencoded"]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()
        first = await self.reader.readline()
        if not first:
            raise ConnectionResetError("the server closed the connection")
        status = int(first.split()[1])
        headers: dict[str, str] = {}
        while (line := (await self.reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
            if name.lower() == "set-cookie":
                cookie, _, kept = value.strip().partition(";")[0].partition("=")
                self.cookies[cookie] = kept
        return status, headers

    async def load(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Send a request; status and text of the answer."""
        status, headers = await self.head(method, path, form)
        return status, (await self.reader.readexactly(int(headers.get("content-length", "0")))).decode()


class BrowserAtWork:
    """One person's browser."""

    def __init__(self, link: str) -> None:
        address, _, self.path = link.removeprefix("http://").partition("/")
        host, _, port = address.partition(":")
        self.page, self.stream = Connection(host, int(port)), Connection(host, int(port))
        self.text = ""

    async def sign_in(self) -> None:
        await self.page.open()
        _, text = await self.page.load("GET", f"/{self.path}")
        token = re.search(r'name="csrf" value="([0-9a-f]{64})"', text)
        assert token is not None
        form = {"csrf": token[1], "secret": self.path.rpartition("/")[2]}
        status, _ = await self.page.load("POST", "/sign-in/link", form)
        assert status == 303, status

    async def load(self) -> float:
        """The queue page: seconds."""
        started = time.perf_counter()
        try:
            status, self.text = await self.page.load("GET", "/waiting")
        except ConnectionError:
            # The server lets go of what is unused for some seconds, maybe just now. Browsers ask again.
            await self.page.open()
            status, self.text = await self.page.load("GET", "/waiting")
        taken = time.perf_counter() - started
        assert status == 200, (status, self.text[:400])
        return taken

    async def listen(self) -> None:
        seen = re.search(r'data-live="([^"]+)"', self.text)
        assert seen is not None
        self.stream.cookies = self.page.cookies
        await self.stream.open()
        status, _ = await self.stream.head("GET", seen[1])
        assert status == 200, status

    async def told(self, known: str) -> str:
        """The queue's next state that is not `known`."""
        while True:
            line = await self.stream.reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: ") and (state := line[6:].strip().decode()) != known:
                return state


async def browse(links: list[str]) -> None:
    """Sign in, listen, and load the page at every change that standard input announces; say what it took."""
    browsers = [BrowserAtWork(link) for link in links]
    for each in browsers:
        await each.sign_in()
    first = await asyncio.gather(*(each.load() for each in browsers))
    for each in browsers:
        await each.listen()
    states = ["" for _ in browsers]
    say = {"first": first, "bytes": len(browsers[0].text), "shown": browsers[0].text.count("session request")}
    print(json.dumps(say), flush=True)

    async def one(number: int, settled: str) -> tuple[float, float, bool] | None:
        each = browsers[number]
        try:
            async with asyncio.timeout(PATIENCE):
                states[number] = await each.told(states[number])
                told = time.time()
                taken = await each.load()
        except TimeoutError:
            return None
        return told, taken, f"/waiting/{settled}" in each.text

    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        order = json.loads(line)
        found = await asyncio.gather(*(one(number, order["settled"]) for number in range(len(browsers))))
        kept = [each for each in found if each is not None]
        say = {
            "loads": [each[1] for each in kept], "told": [each[0] for each in kept],
            "stale": sum(each[2] for each in kept), "untold": len(found) - len(kept),
        }  # fmt: skip
        print(json.dumps(say), flush=True)


# --- the whole


def measure(pending: int, browsers: int, rounds: int) -> dict[str, Any]:
    """The report."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "fiducial.db"
        with SqliteStore(database) as store:
            agents = Agents(store)
            for _ in range(pending + rounds):
                agents.ask()
            with serving(database) as url:
                command = [sys.executable, __file__, "--as-browsers"]
                them = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                assert them.stdin is not None
                assert them.stdout is not None
                try:
                    print(json.dumps(people(store, url, browsers)), file=them.stdin, flush=True)
                    begun = json.loads(them.stdout.readline())
                    loads: list[float] = []
                    told: list[float] = []
                    stale = untold = 0
                    for _ in range(rounds):
                        settled = agents.refuse()
                        at = time.time()
                        print(json.dumps({"settled": settled}), file=them.stdin, flush=True)
                        said = json.loads(them.stdout.readline())
                        loads += said["loads"]
                        told += [max(0.0, each - at) for each in said["told"]]
                        stale, untold = stale + said["stale"], untold + said["untold"]
                finally:
                    them.stdin.close()
                    them.wait(30)
    return {
        "median_ms": _ms(statistics.median(loads)),
        "p99_ms": _ms(_percentile(loads, 99)),
        "n": len(loads),
        "pending": pending,
        "browsers": browsers,
        "bytes": begun["bytes"],
        "shown": begun["shown"],
        "stale": stale,
        "untold": untold,
        "first_median_ms": _ms(statistics.median(begun["first"])),
        "first_p99_ms": _ms(_percentile(begun["first"], 99)),
        "told_median_ms": _ms(statistics.median(told)),
        "told_p99_ms": _ms(_percentile(told, 99)),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _percentile(values: list[float], percent: int) -> float:
    """The smallest value that is not exceeded by `percent` of `values`."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pending", type=int, default=200)
    parser.add_argument("--browsers", type=int, default=50)
    parser.add_argument("--as-browsers", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.as_browsers:
        asyncio.run(browse(json.loads(sys.stdin.readline())))
        return
    report = measure(chosen.pending, chosen.browsers, chosen.rounds)
    if reports.deliver(report, chosen.json):
        return
    for name, value in report.items():
        print(f"{name:16} {value}")


if __name__ == "__main__":
    main()
