"""The agent is killed at every point of hold → approve → run, and goes on.

The effect happens at most once, and what was interrupted is reported unknown.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard
from fiducial.charter.model import Charter
from fiducial.core.event import ApprovalSpent, CallDecided, CallFinished
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit, Receipt
from fiducial.errors import SessionError
from fiducial.oversight import Approver, Desk
from fiducial.store.ledger import Ledger
from fiducial.store.sqlite import SqliteStore

BOB = {"recipient": "bob", "amount": 500}
CLERK = Approver(id=PersonId("cleo"), roles=frozenset({"clerk"}))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(SqliteStore):
    """Its process is killed before, or after, its n-th commit is on the disk."""

    left = 0
    before = False

    def commit(self, commit: Commit) -> Future[Receipt]:
        self.left -= 1
        if self.left == 0 and self.before:
            die()
        future = super().commit(commit)
        if self.left == 0:
            # A commit that nobody waits for is on the disk when a later one is.
            super().commit(Commit(durable=True)).result()
            die()
        return future


def agent(charter: Charter, path: Path, die_at: int | str, before: bool) -> None:
    """Pays bob if it may; goes on with the session that an earlier life has left."""
    store = Dying(path / "log.db")
    if isinstance(die_at, int):
        store.left, store.before = die_at, before
    guard = Guard(charter, store=store, desk=Desk(store))
    kept = path / "session"
    try:
        session = guard.reopen(kept.read_text())
    except (FileNotFoundError, SessionError):
        # Nothing of it got to the disk: nothing was asked, nothing ran.
        session = guard.session(user="emma", task="Pay 500 EUR to bob")
        kept.write_text(session.id)

    def pay(**_: Any) -> str:
        if die_at == "tool" and before:
            die()
        with (path / "effects").open("a") as out:
            out.write("paid\n")
        if die_at == "tool":
            die()
        return "paid"

    session.call("send_money", BOB, run=pay)
    store.close()


def live(charter: Charter, path: Path, die_at: int | str, before: bool) -> int | None:
    """One life, in a process of its own; returns its status, negative for the signal that ended it."""
    # Not forked from here: the threads of other tests would be missing there, with the locks that they hold.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fiducial.guard.guard", "fiducial.oversight.desk", "fiducial.store.sqlite"])
    process = context.Process(target=agent, args=(charter, path, die_at, before))
    process.start()
    process.join(60)
    process.kill()
    return process.exitcode


POINTS = [
    pytest.param(number, before, marks=[] if (number, before) == (5, True) else [pytest.mark.long])
    for number in range(1, 7)
    for before in (True, False)
]


@pytest.mark.parametrize("when", ["asking", "running"])
@pytest.mark.parametrize(("die_at", "before"), [*POINTS, ("tool", True), ("tool", False)])
def test_killed_at_every_point(
    when: str, die_at: int | str, before: bool, charter: Callable[..., Charter], tmp_path: Path
) -> None:
    made = charter()
    fatal, well = (made, tmp_path, die_at, before), (made, tmp_path, 0, False)
    lives = [fatal, well, well] if when == "asking" else [well, fatal, well, well]
    approved = False
    for index, life in enumerate(lives):
        status = live(*life)
        assert status in (0, -signal.SIGKILL), index
        if not approved and (tmp_path / "log.db").exists():
            with SqliteStore(tmp_path / "log.db") as store:
                desk = Desk(store)
                for hold in desk.waiting()[:1]:
                    desk.vote(hold.id, CLERK, "approve")
                    approved = True
    effects = (tmp_path / "effects").read_text().count("paid") if (tmp_path / "effects").exists() else 0
    assert effects <= 1
    with Ledger.open(tmp_path / "log.db") as ledger:
        events = [each.event for each in ledger.entries()]
        assert ledger.verify().size == len(events)
    allowed = [event.decision for event in events if isinstance(event, CallDecided) and event.verdict == "allowed"]
    spent = [event.decision for event in events if isinstance(event, ApprovalSpent)]
    outcomes = {event.decision: event.outcome for event in events if isinstance(event, CallFinished)}
    assert allowed == spent, "every call that ran spent an approval, in the commit that let it run"
    assert len(spent) <= 1
    assert effects <= len(spent)
    assert set(outcomes) == set(spent), "never silence: each has an outcome, if only that it is unknown"
    if effects != len(spent):
        assert outcomes[spent[0]] == "unknown"
    if approved and status == 0:
        assert spent, "what was approved was done, or is reported unknown"
