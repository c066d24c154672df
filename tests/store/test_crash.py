"""A writer killed with SIGKILL at random moments: no acknowledged event is lost, and the tree verifies."""

from __future__ import annotations

import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fiducial.core.ids import EventId
from fiducial.store.ledger import Ledger
from fiducial.store.sqlite import SqliteStore

WRITER = """
import itertools, os, sys, threading, time
from fiducial.core.event import CallDecided, Entry
from fiducial.core.ids import mint
from fiducial.core.payload import seal
from fiducial.core.store import Add, Commit
from fiducial.store.sqlite import SqliteStore

store = SqliteStore(sys.argv[1], checkpoint_every=7)
effects = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def agent(name):
    for number in itertools.count():
        payload = seal("call", os.urandom(number % 3000))
        event = CallDecided(
            id=mint("evt", number), session=name, at_us=number, payloads=(payload.ref,), decision=mint("dec", number),
            tool="pay", contract=None, policies=None, verdict="allowed", mode="enforce", side_effect=True, runs=True,
        )
        durable = number % 4 != 3
        future = store.commit(
            Commit(entries=(Entry(event, (payload,)),), changes=(Add("count", 1),) if durable else (), durable=durable)
        )
        if durable:
            future.result()
            # Here a tool would run: what it did is in the world, whatever becomes of this process.
            os.write(effects, event.id.encode() + b"\\n")
        time.sleep(0.003)

for number in range(4):
    threading.Thread(target=agent, args=(f"ses_{number}",), daemon=True).start()
print("running", flush=True)
threading.Event().wait()
"""


def kill_and_check(path: Path, effects: Path, rng: random.Random) -> int:
    """One life of a writer; how many effects there were at its end."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(effects)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        ready, _, _ = select.select([child.stdout], [], [], 60)
        assert ready
        assert child.stdout.readline() == b"running\n", "it takes the log up again after every kill"
        time.sleep(rng.uniform(0.0, 0.25))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(60)
        child.stdout.close()
    done = effects.read_text().split() if effects.exists() else []
    with Ledger.open(path) as ledger:
        note = path.with_name(path.name + ".checkpoint")
        verified = ledger.verify(checkpoints=[("beside", note.read_text())] if note.exists() else [])
        recorded = {record.event.id for record in ledger.entries()}
    missing = [event for event in done if EventId(event) not in recorded]
    assert missing == [], "a side effect without its record"
    assert verified.size >= len(done) + 1
    return len(done)


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.long)])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path, kills: int) -> None:
    path, effects = tmp_path / "log.db", tmp_path / "effects"
    rng = random.Random()
    done = 0
    for _ in range(kills):
        before, done = done, kill_and_check(path, effects, rng)
        assert done >= before
    assert done > kills
    with SqliteStore(path) as store:
        counted = int(store.read(["count"])["count"].value)
        ledger = store.ledger()
        size = ledger.verify().size
        assert done <= counted < size, "state and events are kept together or not at all"
