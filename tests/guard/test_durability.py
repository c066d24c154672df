"""Many sessions on one durable store, and killed processes: no budget overspent, no effect without a record."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard, Session, SqliteStore
from fiducial.core.event import CallDecided, CallFinished
from fiducial.guard.record import decode_decision
from fiducial.store.ledger import Ledger

SESSIONS = 200
LIMIT = 37
NOTE = {"name": "memo", "text": "hello"}
TASK = "Write the note memo: hello"


def limited(make_charter: Any, store: SqliteStore) -> Guard:
    """One write a session, and `LIMIT` for all of them together."""
    window = {"name": "notes", "window": "P1D", "of": "writes", "limit": LIMIT, "per": "all"}
    return Guard(make_charter(budgets={"session": {"writes": 1}, "windows": [window]}), store=store)


def check(path: Path, ran: list[str]) -> None:
    """As many notes were written as the window allows, one a session, each with its decision and its outcome."""
    assert (len(ran), len(set(ran))) == (LIMIT, LIMIT)
    with Ledger.open(path) as ledger:
        ledger.verify()
        events = [each.event for each in ledger.entries()]
    allowed = {event.decision for event in events if isinstance(event, CallDecided) and event.verdict == "allowed"}
    finished = {event.decision for event in events if isinstance(event, CallFinished)}
    assert len(allowed) == LIMIT
    assert finished == allowed


def test_two_hundred_sessions_on_threads_keep_to_their_budgets(make_charter: Any, tmp_path: Path) -> None:
    ran: list[str] = []
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        guard = limited(make_charter, store)

        def work(number: int) -> None:
            with guard.session(user=f"user-{number}", task=TASK) as session:
                for _ in range(2):
                    session.call("write_note", NOTE, run=lambda **_: ran.append(session.id))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    check(path, ran)


def test_two_hundred_sessions_on_asyncio_keep_to_their_budgets(make_charter: Any, tmp_path: Path) -> None:
    ran: list[str] = []
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        guard = limited(make_charter, store)

        async def write(session: Session) -> None:
            async def run(**_: Any) -> None:
                await asyncio.sleep(0)
                ran.append(session.id)

            await session.acall("write_note", NOTE, run=run)

        async def work(number: int) -> None:
            async with guard.session(user=f"user-{number}", task=TASK) as session:
                await asyncio.gather(write(session), write(session))

        async def main() -> None:
            await asyncio.gather(*map(work, range(SESSIONS)))

        asyncio.run(main())
    check(path, ran)


WORKER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import conftest
from fiducial import Guard, SqliteStore

log, effects = sys.argv[2:]
file = os.open(effects, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def write(name, text):
    os.write(file, (text + "\\n").encode())
    return "written"

with SqliteStore(log) as store:
    guard = Guard(conftest.charter(), store=store)
    with guard.session(user="ann", task="Write the note memo") as session:
        number = os.getpid() * 1_000_000
        while True:
            number += 1
            session.call("write_note", {"name": "memo", "text": f"entry {number}"}, run=write)
"""


def killed(tmp_path: Path, moment: float) -> tuple[set[str], set[str]]:
    """Effects and decided calls of a process that was killed `moment` seconds after its first effect."""
    log, effects = tmp_path / "log.db", tmp_path / "effects"
    seen = effects.stat().st_size if effects.exists() else 0
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(Path(__file__).parent), str(log), str(effects)])
    try:
        for _ in range(6000):
            if effects.exists() and effects.stat().st_size > seen:
                break
            assert process.poll() is None, "the worker ended by itself"
            time.sleep(0.01)
        time.sleep(moment)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    decided = set()
    with Ledger.open(log) as ledger:
        ledger.verify()
        for each in ledger.entries():
            if isinstance(each.event, CallDecided) and each.event.verdict == "allowed":
                kept = ledger.payload(each.event.payloads[0].digest)
                assert kept is not None
                decided.add(decode_decision(kept).arguments["text"])
    return set(effects.read_text().splitlines()), decided


@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.long)])
def test_no_effect_is_without_its_decision_whenever_the_process_is_killed(tmp_path: Path, kills: int) -> None:
    moments = random.Random(7)
    for _ in range(kills):
        effects, decided = killed(tmp_path, moments.uniform(0, 0.4))
        assert effects
        assert effects <= decided
