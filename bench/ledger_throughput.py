"""How many events a second the ledger makes durable, beside SQLite alone, in one run.

    python bench/ledger_throughput.py [--json [FILE]] [--rounds N] [--million]

Events of about 1 KB, as the guard records them of a call: an envelope that is hashed into the tree and a payload beside
it. For each batch size, in turn and round after round, so that a disk whose speed drifts slows all alike:

waiting   the ledger, where each commit is waited for before the next is made
ledger    `SqliteStore.commit`, one commit a batch, one transaction a batch: checked, encoded, hashed, tree and head
          signed, indexed, on disk
sqlite    `sqlite3` alone: the same bytes (envelope, salt, payload), encoded beforehand, in one table with one row an
          event that is found by its number and its session, in transactions of the same size, WAL and FULL like the
          ledger's and otherwise as SQLite comes
indexed   the same, found as the ledger finds them: events by number, id and session, payloads by digest
bare      the same as `sqlite`, found by its number alone
replayed  the very rows that the ledger wrote, bundles and all, inserted again: the ledger without what it computes

Each round takes fresh databases, and waits for the disk to be idle before each. A round goes through the ways in this
order, the next one in the reverse: the ledger and what it is held against stand side by side, for the speed of a shared
machine changes within seconds. `ledger_over_sqlite` is the median over rounds of the two rates' ratio, and so are
`ledger_over_indexed`, `ledger_over_bare` and `ledger_over_replayed`. Figures are events a second; with `--million`,
also what appending and verifying a million of them takes in time and memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import reports
from fiducial.core.event import CallDecided, CallFinished, Entry, Firing, encode_event
from fiducial.core.ids import DecisionId, Digest, EventId, PolicyId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import seal
from fiducial.core.store import Commit
from fiducial.store import schema
from fiducial.store.sqlite import SqliteStore

BATCHES = (1, 10, 100, 1000)
TRANSACTIONS = {1: 200, 10: 200, 100: 250, 1000: 30}
"""Per round and way: more than the queue holds at the larger sizes, so that what is measured can be sustained; short
enough for rounds to alternate."""
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL")
WAYS = ("waiting", "ledger", "sqlite", "indexed", "bare", "replayed")
MILLION = 1_000_000
ASKED = json.dumps({"text": "x" * 360}).encode()
RESULT = json.dumps({"text": "x" * 580}).encode()
"""Together with their envelopes about 1 KB each."""


def entry(number: int) -> Entry:
    """What the guard records of a call, by turns: the decision with what was asked, the outcome with the result."""
    now = time.time_ns() // 1_000_000
    event_id = EventId(mint("evt", now))
    session = SessionId(f"ses_{number // 20:026d}")
    if number % 2:
        payload = seal("result", RESULT)
        finished = CallFinished(
            id=event_id,
            session=session,
            at_us=now * 1000,
            payloads=(payload.ref,),
            decision=DecisionId(mint("dec", now)),
            outcome="ok",
            source=SourceId(mint("src", now)),
            integrity=Integrity.UNTRUSTED,
            duration_us=1200,
        )
        return Entry(finished, (payload,))
    payload = seal("call", ASKED)
    decided = CallDecided(
        id=event_id,
        session=session,
        at_us=now * 1000,
        payloads=(payload.ref,),
        decision=DecisionId(mint("dec", now)),
        tool="send_message",
        contract=Digest("sha256:" + "0" * 64),
        policies=Digest("sha256:" + "1" * 64),
        verdict="allowed",
        mode="enforce",
        fired=(Firing(PolicyId("charter/customers-may-write")),),
        side_effect=True,
    )
    return Entry(decided, (payload,))


def commits(batch: int) -> list[Commit]:
    """A round's commits, each a transaction."""
    return [
        Commit(entries=tuple(entry(number * batch + each) for each in range(batch)))
        for number in range(TRANSACTIONS[batch])
    ]


def ledger(path: Path, work: list[Commit], batch: int) -> float:
    """Seconds until everything is on disk."""
    with SqliteStore(path, max_batch=batch) as store:
        started = time.perf_counter()
        futures = [store.commit(commit) for commit in work]
        for future in futures:
            future.result()
        return time.perf_counter() - started


def waiting(path: Path, work: list[Commit], batch: int) -> float:
    """Seconds, when each commit is waited for."""
    with SqliteStore(path, max_batch=batch) as store:
        started = time.perf_counter()
        for commit in work:
            store.commit(commit).result()
        return time.perf_counter() - started


Statements = list[tuple[str, list[tuple[Any, ...]]]]


def written(path: Path) -> list[Statements]:
    """What the ledger wrote to the database at `path`, transaction by transaction, but for the one that opened it."""
    connection = sqlite3.connect(path)
    found: list[Statements] = []
    for first, count in connection.execute("SELECT first, count FROM bundle WHERE first>0 ORDER BY first").fetchall():
        (bundle,) = connection.execute("SELECT * FROM bundle WHERE first=?", (first,)).fetchall()
        (lookup,) = connection.execute("SELECT first_id, last_id, digests FROM lookup WHERE first=?", (first,))
        sessions = [row[0] for row in connection.execute("SELECT session FROM session WHERE first=?", (first,))]
        nodes = connection.execute(
            "SELECT * FROM node WHERE (start+length(hashes)/32)<<level>? AND (start+length(hashes)/32)<<level<=?",
            (first, first + count),
        ).fetchall()
        run = nodes.pop() if nodes else (None, None, None)
        append = (schema.APPEND, [(*bundle, *lookup, json.dumps(sessions), *run)])
        found.append([*([(schema.ADD_NODE, nodes)] if nodes else []), append])
    connection.close()
    return found


def insert(path: Path, tables: Sequence[str], work: list[Statements], pragmas: Sequence[str] = PRAGMAS) -> float:
    """Seconds to insert those rows, transaction by transaction, through `sqlite3` alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    for table in tables:
        connection.execute(table)
    started = time.perf_counter()
    for statements in work:
        connection.execute("BEGIN IMMEDIATE")
        for sql, rows in statements:
            if len(rows) == 1:
                connection.execute(sql, rows[0])
            else:
                connection.executemany(sql, rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


BARE = ("CREATE TABLE entry(number INTEGER PRIMARY KEY, id TEXT, session TEXT, event BLOB, salt BLOB, payload BLOB)",)
OWN = (*schema.TABLES.split(";"), schema.TRIGGER)
OWN_PRAGMAS = (f"page_size={schema.PAGE_BYTES}", *PRAGMAS)
BY_SESSION = (*BARE, "CREATE INDEX by_session ON entry(session)")
INDEXED = (
    "CREATE TABLE event(number INTEGER PRIMARY KEY, id TEXT UNIQUE, session TEXT, data BLOB)",
    "CREATE INDEX by_session ON event(session)",
    "CREATE TABLE payload(digest TEXT PRIMARY KEY, salt BLOB, data BLOB) WITHOUT ROWID",
)


def one_table(work: list[Commit]) -> list[Statements]:
    """One row an event: its bytes and its payload's."""
    return [
        [
            (
                "INSERT INTO entry VALUES(NULL,?,?,?,?,?)",
                [
                    (each.event.id, each.event.session, encode_event(each.event), payload.salt, payload.data)
                    for each in commit.entries
                    for payload in each.payloads
                ],
            )
        ]
        for commit in work
    ]


def indexed(work: list[Commit]) -> list[Statements]:
    """One row an event and one a payload."""
    return [
        [
            (
                "INSERT INTO event VALUES(NULL,?,?,?)",
                [(each.event.id, each.event.session, encode_event(each.event)) for each in commit.entries],
            ),
            (
                "INSERT INTO payload VALUES(?,?,?)",
                [(each.ref.digest, each.salt, each.data) for entry in commit.entries for each in entry.payloads],
            ),
        ]
        for commit in work
    ]


def measure(rounds: int, told: Callable[[str], None]) -> dict[str, Any]:
    """The report."""
    rates: dict[str, dict[int, list[float]]] = {way: {batch: [] for batch in BATCHES} for way in WAYS}
    for number in range(rounds):
        for batch in BATCHES:
            told(f"round {number + 1} of {rounds}, batch {batch}")
            events = TRANSACTIONS[batch] * batch
            work = commits(batch)
            with tempfile.TemporaryDirectory(prefix="fiducial-bench-") as directory:
                place = Path(directory)
                ledger(place / "rows.db", work, batch)
                rows = written(place / "rows.db")
                ways: list[tuple[str, Callable[[Path], float]]] = [
                    ("waiting", partial(waiting, work=work, batch=batch)),
                    ("ledger", partial(ledger, work=work, batch=batch)),
                    ("sqlite", partial(insert, tables=BY_SESSION, work=one_table(work))),
                    ("indexed", partial(insert, tables=INDEXED, work=indexed(work))),
                    ("bare", partial(insert, tables=BARE, work=one_table(work))),
                    ("replayed", partial(insert, tables=OWN, work=rows, pragmas=OWN_PRAGMAS)),
                ]
                times = {}
                for way, run in ways[:: -1 if number % 2 else 1]:
                    # What the benchmark holds is not for the measured code to collect, nor for its disk to write.
                    gc.collect()
                    gc.freeze()
                    os.sync()
                    times[way] = run(place / f"{way}.db")
            for way, seconds in times.items():
                rates[way][batch].append(events / seconds)

    def ratio(way: str, batch: int) -> float:
        pairs = zip(rates["ledger"][batch], rates[way][batch], strict=True)
        return round(statistics.median(mine / other for mine, other in pairs), 3)

    sizes = [
        {"envelope": len(encode_event(each.event)), "payload": len(each.payloads[0].data)}
        for each in (entry(0), entry(1))
    ]
    return {
        "event_bytes": sizes,
        "rounds": rounds,
        "ledger_over_sqlite": {str(batch): ratio("sqlite", batch) for batch in BATCHES},
        "ledger_over_indexed": {str(batch): ratio("indexed", batch) for batch in BATCHES},
        "ledger_over_bare": {str(batch): ratio("bare", batch) for batch in BATCHES},
        "ledger_over_replayed": {str(batch): ratio("replayed", batch) for batch in BATCHES},
        "events_per_second": {
            way: {str(batch): round(statistics.median(rates[way][batch])) for batch in BATCHES} for way in rates
        },
    }


def million() -> dict[str, Any]:
    """Append a million events, then verify them, each in a process of its own whose peak memory is its own."""
    with tempfile.TemporaryDirectory(prefix="fiducial-bench-") as directory:
        path = str(Path(directory) / "million.db")
        report: dict[str, Any] = {"events": MILLION}
        for step in ("append", "verify"):
            done = subprocess.run(
                [sys.executable, __file__, "--step", step, path], capture_output=True, text=True, check=True
            )
            report[step] = json.loads(done.stdout)
        report["database_mb"] = round(os.path.getsize(path) / 1e6)
    return report


def step(name: str, path: str) -> dict[str, float]:
    """One half of `million`, in this process."""
    started = time.perf_counter()
    with SqliteStore(path) as store:
        if name == "append":
            for number in range(0, MILLION, 100):
                store.commit(Commit(entries=tuple(entry(number + each) for each in range(100))))
        else:
            assert store.ledger().verify().size == MILLION + 1
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 1), "peak_mb": round(peak_mb())}


def peak_mb() -> float:
    """The most memory that this program has had, in megabytes.

    On Linux not by `getrusage`, which also counts what the process had before it became this program: its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reports.add_json(parser)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(step(*arguments.step)))
        return
    console = Console(stderr=True)
    with console.status("measuring") as status:
        report = measure(arguments.rounds, lambda text: status.update(text))
        if arguments.million:
            status.update("a million events")
            report["million"] = million()
    if not reports.deliver(report, arguments.json):
        show(report)


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    table = Table("batch", *WAYS, "ledger / sqlite", title="durable events a second")
    rates = report["events_per_second"]
    for batch in map(str, BATCHES):
        shown = [f"{rates[way][batch]:,}" for way in WAYS]
        table.add_row(batch, *shown, f"{report['ledger_over_sqlite'][batch]:.2f}")
    console = Console()
    console.print(table)
    if "million" in report:
        console.print(report["million"])


if __name__ == "__main__":
    main()
