"""Halts: durable, heard by every process on the store, and in force when in doubt."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard, MemoryStore, SqliteStore, StoreError
from fiducial.core.store import Commit, Put
from fiducial.errors import OversightError, StoreBusy
from fiducial.guard.switches import UNREADABLE
from fiducial.store.open import open_store

TASK = "email ann@example.com"
EMAIL = {"to": ["ann@example.com"], "body": "hello"}


def _agent(charter: Any, where: str, key_path: Path, effects: Path, number: int) -> None:
    """Acts as fast as it can until it is denied; each effect writes down when it started."""
    with (
        open_store(where, key_path=key_path) as store,
        Guard(charter, store=store).session(user="ann", task=TASK) as session,
    ):
        with effects.open("a", buffering=1) as out:
            while session.call("send_email", EMAIL, run=lambda **_: out.write(f"{time.time()}\n")).status == "ok":
                pass
        (effects.parent / f"stopped-{number}").touch()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Where a store is that several processes can open, and its key."""
    if request.param == "sqlite":
        return str(tmp_path / "log.db"), tmp_path / "log.db.key"
    postgres = request.getfixturevalue("postgres")
    return postgres.url, postgres.key_path


class Stalls:
    """Measures for how long the machine, which may be shared, let nobody run, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _tick(self) -> None:
        before = time.monotonic()
        while not self._done.wait(0.01):
            now = time.monotonic()
            self.longest = max(self.longest, now - before - 0.01)
            before = now


def test_a_halt_reaches_four_processes_within_a_second(
    make_charter: Any, place: tuple[str, Path], tmp_path: Path
) -> None:
    charter, (where, key_path), directory = make_charter(), place, tmp_path
    open_store(where, key_path=key_path).close()
    # Not forked from here: the threads of other tests would be missing there, with the locks that they hold.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fiducial.guard.guard", "fiducial.store.postgres.store", "fiducial.store.open"])
    effects = [directory / f"effects-{number}" for number in range(4)]
    agents = [context.Process(target=_agent, args=(charter, *place, out, n)) for n, out in enumerate(effects)]
    for agent in agents:
        agent.start()
    try:
        deadline = time.monotonic() + 60
        while not all(out.exists() and out.stat().st_size for out in effects):
            assert time.monotonic() < deadline, "the agents did not begin"
            time.sleep(0.05)
        with open_store(where, key_path=key_path) as store:
            guard = Guard(charter, store=store)
            with Stalls() as stalls:
                commanded = time.time()
                halt = guard.halt("drill", by="ops", tool="send_email")
                for agent in agents:
                    agent.join(30)
            assert all((directory / f"stopped-{number}").exists() for number in range(4))
            with guard.session(user="ann", task=TASK) as session:
                assert session.decide("send_email", EMAIL).reasons[0].fault == "halted"
            guard.resume(halt, by="ops")
        last = max(float(line) for out in effects for line in out.read_text().splitlines())
        print(f"{last - commanded:.3f} s; the machine stalled for {stalls.longest:.3f} s")
        assert last - commanded < 1.0 + stalls.longest
    finally:
        for agent in agents:
            agent.kill()


def test_side_effects_stop_when_the_store_is_silent(make_charter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    with Guard(make_charter(), store=store).session(user="ann", task=TASK) as session:
        monkeypatch.setattr(store, "silence", lambda: timedelta(seconds=6))
        verdict = session.decide("send_email", EMAIL)
        assert (verdict.kind, verdict.reasons[0].fault) == ("denied", "halted")
        assert "could not be heard" in verdict.reasons[0].message
        assert session.decide("read_file", {"path": "a"}).kind == "allowed"


def test_halts_that_cannot_be_read_stop_everything(make_charter: Any) -> None:
    store = MemoryStore()
    guard = Guard(make_charter(), store=store)
    session = guard.session(user="ann", task=TASK)
    store.commit(Commit(changes=(Put("halt/hlt_1", b"{}"),))).result()
    assert session.decide("read_file", {"path": "a"}).reasons[0].fault == "halted"
    with pytest.raises(StoreError, match="cannot be read"):
        Guard(make_charter(), store=store)


def test_halts_that_could_not_be_read_for_a_while_are_read_again(
    make_charter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def fail(prefix: str) -> Any:
        tries.append(prefix)
        raise StoreBusy("not now")

    def wait(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with SqliteStore(tmp_path / "log.db") as store, SqliteStore(tmp_path / "log.db") as elsewhere:
        guard, other = Guard(make_charter(), store=store), Guard(make_charter(), store=elsewhere)
        session = guard.session(user="ann", task=TASK)
        with monkeypatch.context() as patched:
            patched.setattr(store, "scan", fail)
            halt = other.halt("drill", by="ops", tool="send_money")
            wait(lambda: len(tries) > 2)
            assert guard.switches.halts == (UNREADABLE,)
        wait(lambda: guard.switches.halts == (halt,))
        assert session.decide("send_email", EMAIL).kind == "allowed"
    assert len([each for each in caplog.records if "watches" in each.message]) == 1


def test_a_halt_that_could_not_be_kept_holds_here_all_the_same(
    make_charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    guard = Guard(make_charter(), store=store)
    session = guard.session(user="ann", task=TASK)

    def full(wanted: Commit) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "commit", full)
        with pytest.raises(StoreError):
            guard.halt("incident")
    assert session.decide("send_email", EMAIL).reasons[0].fault == "halted"
    other = Guard(make_charter(), store=store)
    other.resume(other.halt("another tool", by="bob", tool="send_money"), by="bob")
    assert session.decide("send_email", EMAIL).reasons[0].fault == "halted"
    assert other.session(user="ann", task=TASK).decide("send_email", EMAIL).kind == "allowed", "here alone"


def test_a_halt_holds_while_it_is_being_kept_and_until_it_is_lifted(
    make_charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    guard = Guard(make_charter(), store=store)
    session = guard.session(user="ann", task=TASK)
    commit, seen = store.commit, []

    def meanwhile(wanted: Commit) -> Any:
        if wanted.changes:
            guard.switches.refresh()
            seen.append(guard.switches.stops(["bot"], "send_email", "ann"))
        return commit(wanted)

    monkeypatch.setattr(store, "commit", meanwhile)
    halt = guard.halt("incident")
    assert seen == [halt]
    Guard(make_charter(), store=store).resume(halt, by="bob")
    assert guard.switches.halts == ()
    assert session.decide("send_email", EMAIL).kind == "allowed"


def test_a_halt_stops_what_matches_every_part_of_it(make_charter: Any) -> None:
    guard = Guard(make_charter(), release="r2")
    session = guard.session(user="ann", task=TASK)
    for parts, stopped in (
        ({"user": "bob"}, False),
        ({"user": "ann", "tool": "send_money"}, False),
        ({"release": "r1"}, False),
        ({"agent": "other"}, False),
        ({"release": "r2", "user": "ann", "tool": "send_email", "agent": "bot"}, True),
        ({}, True),
    ):
        halt = guard.halt("drill", by="ann", **parts)  # type: ignore[arg-type]
        assert (session.decide("send_email", EMAIL).kind == "denied") == stopped, parts
        guard.resume(halt, by="bob")
    with pytest.raises(OversightError):
        guard.resume(halt, by="bob")


def test_a_halt_names_what_it_stops_without_spaces_around_it(make_charter: Any) -> None:
    guard = Guard(make_charter())
    session = guard.session(user="ann", task=TASK)
    with pytest.raises(OversightError, match="`tool`"):
        guard.halt("drill", tool=" ")
    assert session.decide("send_email", EMAIL).kind == "allowed"
    assert guard.halt("drill", tool=" send_email\n").tool == "send_email"
    assert session.decide("send_email", EMAIL).kind == "denied"


@pytest.mark.parametrize(
    ("opened", "halted"),
    [
        ({"agent": "bot "}, {"agent": "bot "}),
        ({"user": " ann"}, {"user": " ann"}),
        ({"user": "jose\u0301"}, {"user": "jos\u00e9"}),
        ({"user": "jos\u00e9"}, {"user": "jose\u0301"}),
        ({"release": "r1\n"}, {"release": "r1"}),
    ],
)
def test_a_halt_stops_a_name_however_it_is_spaced_and_composed(
    make_charter: Any, opened: dict[str, str], halted: dict[str, str]
) -> None:
    guard = Guard(make_charter(), release=opened.get("release"))
    session = guard.session(user=opened.get("user", "ann"), agent=opened.get("agent"), task=TASK)
    other = guard.session(user="bob", agent="helper", task=TASK)
    guard.halt("drill", by="ops", **halted)
    assert session.decide("send_email", EMAIL).kind == "denied"
    assert (other.decide("send_email", EMAIL).kind == "denied") == ("release" in halted)


def test_a_halt_of_an_agent_stops_those_that_it_delegated_to(make_charter: Any) -> None:
    guard = Guard(make_charter())
    session = guard.session(user="ann", task=TASK)
    child = session.delegate(TASK, agent="helper")
    grandchild = child.delegate(TASK, agent="typist")
    for agent, stopped in (("bot", [1, 1, 1]), ("helper", [0, 1, 1]), ("typist", [0, 0, 1])):
        halt = guard.halt("drill", by="ops", agent=agent)
        verdicts = [each.decide("read_file", {"path": "a"}) for each in (session, child, grandchild)]
        assert [verdict.kind == "denied" for verdict in verdicts] == stopped, agent
        guard.resume(halt, by="ops")
