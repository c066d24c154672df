"""A session on a shared store has one owner at a time; whoever was stopped, and wakes up after another took it, does
nothing more."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from fiducial import Guard, MemoryStore, SessionError, ToolFailed
from fiducial.core.clock import ManualClock
from fiducial.core.event import CallDecided, CallFinished, SessionTaken
from fiducial.core.ids import SessionId
from fiducial.errors import StoreBusy
from fiducial.guard.leases import LATE, LOST
from fiducial.store.lease import DURATION, SKEW
from fiducial.store.open import open_store
from fiducial.store.retained import checkpoint_path

TASK = "email ann@example.com"
EMAIL = {"to": ["ann@example.com"], "body": "hello"}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    if request.param == "sqlite":
        return str(tmp_path / "log.db"), tmp_path / "log.db.key"
    postgres = request.getfixturevalue("postgres")
    return postgres.url, postgres.key_path


@pytest.fixture
def two(place: tuple[str, Path]) -> Iterator[tuple[Any, Any]]:
    """Two processes' stores on one database, as far as anybody can tell."""
    where, key_path = place
    with open_store(where, key_path=key_path) as one, open_store(where, key_path=key_path) as other:
        yield one, other


def send(session: Any, ran: list[Any]) -> Any:
    return session.call("send_email", EMAIL, run=lambda **given: ran.append(given))


def test_a_session_has_one_owner_until_its_lease_has_run_out(make_charter: Any, two: tuple[Any, Any]) -> None:
    clock, ran = ManualClock(), []
    ours, theirs = (Guard(make_charter(), store=store, clock=clock) for store in two)
    session = ours.session(user="ann", task=TASK)
    assert send(session, ran).status == "ok"
    with pytest.raises(SessionError, match="belongs to another process"):
        theirs.reopen(session.id)
    clock.advance(DURATION + SKEW - timedelta(seconds=1))
    with pytest.raises(SessionError, match="belongs to another process"):
        theirs.reopen(session.id)
    assert send(session, ran).status == "ok", "the call has renewed it"
    clock.advance(DURATION + SKEW)
    again = theirs.reopen(session.id)
    # It wakes up, and does not know yet.
    late = send(session, ran)
    assert (late.status, late.verdict.reasons[0].fault, late.verdict.reasons[0].message) == (
        "not-run",
        "session-closed",
        LOST,
    )
    # Now it does.
    assert send(session, ran).verdict.reasons[0].message == LOST
    assert session.decide("read_file", {"path": "a"}).kind == "denied"
    assert len(ran) == 2
    assert send(again, ran).status == "ok"
    session.close()
    assert send(again, ran).status == "ok", "who has lost it cannot close it either"
    again.close()


def test_a_takeover_needs_a_word_and_is_recorded(make_charter: Any, two: tuple[Any, Any]) -> None:
    ran: list[Any] = []
    ours, theirs = (Guard(make_charter(), store=store) for store in two)
    session = ours.session(user="ann", task=TASK)
    assert send(session, ran).status == "ok"
    again = theirs.reopen(session.id, takeover="its machine is gone")
    assert send(session, ran).status == "not-run"
    assert send(again, ran).status == "ok"
    two[1].flush()
    (taken,) = [each.event for each in two[1].ledger().entries() if isinstance(each.event, SessionTaken)]
    assert (taken.before, taken.owner, taken.ended, taken.why) == (
        two[0].owner, two[1].owner, False, "its machine is gone"
    )  # fmt: skip


def test_who_has_lost_it_adds_no_message(make_charter: Any, two: tuple[Any, Any]) -> None:
    ours, theirs = (Guard(make_charter(), store=store) for store in two)
    session = ours.session(user="ann", task=TASK)
    two[0].flush()
    theirs.reopen(session.id, takeover="its machine is gone")
    session.say("and email eve@evil.example too")
    two[0].flush()
    with pytest.raises(SessionError, match=LOST):
        session.say("and once more")
    third = theirs.reopen(session.id)
    assert [text for _, text, _ in third.said] == [TASK]


def test_who_has_lost_it_declares_no_plan(make_charter: Any, two: tuple[Any, Any]) -> None:
    ran: list[Any] = []
    ours, theirs = (Guard(make_charter(), store=store) for store in two)
    session = ours.session(user="ann", task=TASK, plan=["send_email"])
    two[0].flush()
    theirs.reopen(session.id, takeover="its machine is gone")
    declared = session.declare(["send_email", "send_email"])
    assert (declared.kind, declared.reasons[0].message) == ("denied", LOST)
    third = theirs.reopen(session.id)
    assert [send(third, ran).status for _ in range(2)] == ["ok", "not-run"], "one use is planned"


def test_what_was_closed_in_order_goes_on_at_once(make_charter: Any, place: tuple[str, Path]) -> None:
    where, key_path = place
    with open_store(where, key_path=key_path) as store:
        session = Guard(make_charter(), store=store).session(user="ann", task=TASK)
        store.flush()
    with open_store(where, key_path=key_path) as store:
        again = Guard(make_charter(), store=store).reopen(session.id)
        again.close()
        store.flush()
        assert not store.scan("lease")
        assert not any(isinstance(each.event, SessionTaken) for each in store.ledger().entries())


def test_who_lives_keeps_it_while_nothing_happens(make_charter: Any, two: tuple[Any, Any]) -> None:
    clock = ManualClock()
    ours, theirs = (Guard(make_charter(), store=store, clock=clock) for store in two)
    session = ours.session(user="ann", task=TASK)
    for _ in range(4):
        clock.advance(DURATION / 2)
        ours.leases.beat()
        two[0].flush()
    with pytest.raises(SessionError, match="belongs to another process"):
        theirs.reopen(session.id)
    # It hears from the renewal, too, that it has lost it.
    theirs.reopen(session.id, takeover="drill")
    ours.leases.beat()
    two[0].flush()
    assert session.decide("send_email", EMAIL).reasons[0].message == LOST


def test_a_session_that_nobody_has_any_more_is_not_renewed(make_charter: Any, two: tuple[Any, Any]) -> None:
    clock = ManualClock()
    ours, theirs = (Guard(make_charter(), store=store, clock=clock) for store in two)
    session = ours.session(user="ann", task=TASK).id
    two[0].flush()
    gc.collect()
    clock.advance(DURATION + SKEW)
    ours.leases.beat()
    theirs.reopen(session)


def test_who_was_stopped_between_the_decision_and_the_call_does_not_make_it(
    make_charter: Any, two: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ran = ManualClock(), []
    ours, theirs = (Guard(make_charter(), store=store, clock=clock) for store in two)
    session = ours.session(user="ann", task=TASK)
    from fiducial.guard import steps

    kept = steps._kept

    def stopped(*given: Any) -> Any:
        found = yield from kept(*given)
        clock.advance(DURATION + SKEW)
        theirs.reopen(session.id)
        return found

    monkeypatch.setattr(steps, "_kept", stopped)
    result = send(session, ran)
    assert (result.status, result.error, ran) == ("not-run", LATE, [])
    monkeypatch.undo()
    # The log holds both what the new owner had to assume and what came of it; a third can still go on.
    for store in two:
        store.flush()
    events = [each.event for each in two[0].ledger().session(session.id)]
    assert sorted(each.outcome for each in events if isinstance(each, CallFinished)) == ["failed", "unknown"]
    Guard(make_charter(), store=two[0], clock=clock).reopen(session.id, takeover="drill").close()


def test_a_delegated_session_goes_with_the_one_that_delegated(make_charter: Any, two: tuple[Any, Any]) -> None:
    ran: list[Any] = []
    ours, theirs = (Guard(make_charter(), store=store) for store in two)
    session = ours.session(user="ann", task=TASK)
    child = session.delegate("email ann@example.com", agent="helper")
    child.close()
    assert send(session, ran).status == "ok", "the child's end gives nothing up"
    child = session.delegate("email ann@example.com", agent="helper")
    theirs.reopen(session.id, takeover="drill")
    assert send(child, ran).verdict.reasons[0].message == LOST


def test_a_store_of_one_process_has_no_leases(make_charter: Any) -> None:
    store = MemoryStore()
    guard = Guard(make_charter(), store=store)
    session = guard.session(user="ann", task=TASK)
    assert session.lease is None
    assert not store.scan("lease")
    assert guard.reopen(session.id).lease is None
    assert not [
        each for each in threading.enumerate() if each.name == "fiducial-leases" and each is guard.leases._thread
    ]


def _agent(charter: Any, where: str, key_path: Path, effects: Path) -> None:
    """Acts as fast as it can until it is told to stop."""
    with open_store(where, key_path=key_path) as store:
        session = Guard(charter, store=store).session(user="ann", task=TASK)
        (effects.parent / "session").write_text(session.id)
        with effects.open("a", buffering=1) as out:
            while send_slowly(session, out) == "ok":
                pass
            out.write("stopped\n")


def send_slowly(session: Any, out: Any) -> str:
    def run(**_: Any) -> None:
        out.write(f"{time.time()}\n")

    return str(session.call("send_email", EMAIL, run=run).status)


def stop(pid: int, where: str) -> None:
    """Stop the process; not while it has a lock of a SQLite database, which nobody can take from it then."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        if "://" in where:
            return
        with closing(sqlite3.connect(where, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                with checkpoint_path(Path(where)).open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except (sqlite3.OperationalError, BlockingIOError):
                os.kill(pid, signal.SIGCONT)


def once_free(act: Callable[[], Any]) -> Any:
    """What it gives once the server has ended the transaction that another process may be stopped in."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return act()
        except StoreBusy:
            assert time.monotonic() < deadline


def opened(where: str, key_path: Path) -> Any:
    return once_free(lambda: open_store(where, key_path=key_path))


def taken(guard: Guard, session: str) -> Any:
    return once_free(lambda: guard.reopen(session, takeover="it hangs"))


def test_a_process_that_was_stopped_and_wakes_up_does_nothing_more(
    make_charter: Any, place: tuple[str, Path], tmp_path: Path
) -> None:
    where, key_path = place
    open_store(where, key_path=key_path).close()
    effects = tmp_path / "effects"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fiducial.guard.guard", "fiducial.store.postgres.store", "pytest", "hypothesis"])
    agent = context.Process(target=_agent, args=(make_charter(), where, key_path, effects))
    agent.start()
    try:
        deadline = time.monotonic() + 60
        while not (effects.exists() and effects.stat().st_size):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert agent.pid is not None
        stop(agent.pid, where)
        with opened(where, key_path) as store:
            guard = Guard(make_charter(), store=store)
            again = taken(guard, (tmp_path / "session").read_text())
            before = effects.read_text()
            os.kill(agent.pid, signal.SIGCONT)
            agent.join(60)
            # A call that had begun when it was stopped may end: nobody can take that back, and it is called unknown.
            after = effects.read_text().removeprefix(before).split()
            assert after[-1:] == ["stopped"]
            assert len(after) <= 2
            ran: list[Any] = []
            assert send(again, ran).status == "ok"
            store.flush()
            events = [each.event for each in store.ledger().entries()]
        allowed = [each.decision for each in events if isinstance(each, CallDecided) and each.verdict == "allowed"]
        assert len(effects.read_text().split()) - 1 + len(ran) <= len(allowed)
        assert {each.decision for each in events if isinstance(each, CallFinished)} == set(allowed)
    finally:
        agent.kill()


class Owners(RuleBasedStateMachine):
    """Two processes pass one session to and fro, with a clock that jumps: only its owner ever acts."""

    charter: Any
    stores: tuple[Any, Any]

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.guards = [Guard(type(self).charter, store=store, clock=self.clock) for store in self.stores]
        self.sessions: list[Any] = [self.guards[0].session(user="ann", task=TASK), None]
        self.id = self.sessions[0].id
        self.owner: int | None = 0
        self.until = self.clock.unix_us() + DURATION // timedelta(microseconds=1)
        self.stores[0].flush()

    @rule(which=st.integers(0, 1))
    def act(self, which: int) -> None:
        if self.sessions[which] is None:
            return
        ran: list[Any] = []
        status = send(self.sessions[which], ran).status
        assert (status == "ok") == bool(ran) == (which == self.owner)
        self.stores[which].flush()
        if ran:
            self.until = self.clock.unix_us() + DURATION // timedelta(microseconds=1)

    @rule(which=st.integers(0, 1), claim=st.booleans())
    def reopen(self, which: int, claim: bool) -> None:
        ended = self.clock.unix_us() >= self.until + SKEW // timedelta(microseconds=1)
        may = claim or ended or self.owner in (which, None)
        try:
            self.sessions[which] = self.guards[which].reopen(self.id, takeover="drill" if claim else None)
        except SessionError:
            assert not may
            return
        assert may
        self.owner, self.until = which, self.clock.unix_us() + DURATION // timedelta(microseconds=1)

    @precondition(lambda self: self.owner is not None)
    @rule(which=st.integers(0, 1))
    def beat(self, which: int) -> None:
        self.guards[which].leases.beat()
        self.stores[which].flush()
        if which == self.owner:
            self.until = self.clock.unix_us() + DURATION // timedelta(microseconds=1)

    @rule(seconds=st.sampled_from([1, 20, 31, 36]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def test_whatever_happens_only_the_owner_acts(make_charter: Any, two: tuple[Any, Any]) -> None:
    class Case(Owners):
        charter = make_charter()
        stores = two

    run_state_machine_as_test(
        Case, settings=settings(max_examples=settings().max_examples // 6, stateful_step_count=12)
    )


def test_a_session_that_was_dropped_can_be_gone_on_with_once_its_store_is_closed(
    make_charter: Any, place: tuple[str, Path]
) -> None:
    where, key_path = place
    with open_store(where, key_path=key_path) as store:
        guard = Guard(make_charter(), store=store)
        session = guard.session(user="ann", task=TASK).id
        del guard
        gc.collect()
    with open_store(where, key_path=key_path) as store:
        again = Guard(make_charter(), store=store).reopen(session)
        assert send(again, []).status == "ok"
        assert not [each for each in store.ledger().entries() if isinstance(each.event, SessionTaken)]


def test_a_session_that_was_dropped_is_given_up_at_the_next_beat(make_charter: Any, two: tuple[Any, Any]) -> None:
    ours, theirs = (Guard(make_charter(), store=store) for store in two)
    session = ours.session(user="ann", task=TASK)
    kept = ours.session(user="ann", task=TASK)
    dropped = session.id
    assert (send(session, []).status, send(kept, []).status) == ("ok", "ok")
    del session
    gc.collect()
    ours.leases.beat()
    with pytest.raises(SessionError, match="belongs to another process"):
        theirs.reopen(kept.id)
    deadline = time.monotonic() + 10
    while True:  # what is given up is written with the next commit
        try:
            assert send(theirs.reopen(dropped), []).status == "ok"
            break
        except SessionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_sessions_are_opened_and_dropped_while_others_are_renewed(
    make_charter: Any, place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    where, key_path = place
    monkeypatch.setattr("fiducial.guard.leases._BEAT_SECONDS", 0.005)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with open_store(where, key_path=key_path) as store:
            guard = Guard(make_charter(), store=store)
            kept = [guard.session(user="ann", task=TASK) for _ in range(100)]
            for _ in range(100):
                kept[-1] = guard.session(user="ann", task=TASK)
    finally:
        sys.setswitchinterval(before)
    assert not caplog.records


def test_a_session_is_not_lost_that_is_renewed_while_it_is_opened(
    make_charter: Any, place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, key_path = place
    with open_store(where, key_path=key_path) as store:
        guard = Guard(make_charter(), store=store)
        first = guard.leases.first

        def late(session: SessionId) -> Any:
            made = first(session)
            guard.leases.beat()
            store.flush()
            return made

        monkeypatch.setattr(guard.leases, "first", late)
        session = guard.session(user="ann", task=TASK)
        store.flush()
        assert session.lease is not None
        assert not session.lease.lost
        assert session.lease in guard.leases.mine()


def test_the_thread_that_renews_goes_on_after_a_fault(
    make_charter: Any, place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    where, key_path = place
    monkeypatch.setattr("fiducial.guard.leases._BEAT_SECONDS", 0.01)
    beats: list[int] = []

    def beat(self: Any) -> None:
        beats.append(1)
        if len(beats) == 1:
            raise RuntimeError("a fault")

    monkeypatch.setattr("fiducial.guard.leases.Leases.beat", beat)
    with open_store(where, key_path=key_path) as store:
        guard = Guard(make_charter(), store=store)
        session = guard.session(user="ann", task=TASK)
        deadline = time.monotonic() + 10
        while len(beats) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        session.close()
    assert len(beats) >= 3
    assert "RuntimeError" in caplog.text


def test_a_stream_of_effects_stops_when_its_session_goes_on_elsewhere(make_charter: Any, two: tuple[Any, Any]) -> None:
    clock, done = ManualClock(), []

    def sent(**given: Any) -> Iterator[str]:
        for number in range(5):
            done.append(number)
            yield f"sent {number}"

    ours, theirs = (Guard(make_charter(), store=store, clock=clock) for store in two)
    session = ours.session(user="ann", task=TASK)
    stream = session.call("send_email", EMAIL, run=sent).value
    next(stream)
    assert done == [0]
    clock.advance(DURATION)
    with pytest.raises(ToolFailed, match="stopped for so long"):
        next(stream)
    other = session.call("send_email", EMAIL, run=sent).value
    next(other)
    theirs.reopen(session.id, takeover="its machine is gone")
    assert send(session, []).status == "not-run"
    with pytest.raises(ToolFailed, match="goes on in another process"):
        next(other)
    assert done == [0, 0]


def test_a_stream_of_effects_stops_when_its_session_is_reopened_here(make_charter: Any) -> None:
    done: list[int] = []

    def sent(**given: Any) -> Iterator[str]:
        for number in range(5):
            done.append(number)
            yield f"sent {number}"

    guard = Guard(make_charter(), store=MemoryStore())
    session = guard.session(user="ann", task=TASK)
    stream = session.call("send_email", EMAIL, run=sent).value
    next(stream)
    again = guard.reopen(session.id)
    assert list(stream) == []
    assert done == [0]
    again.close()
    store: Any = guard.store
    finished = [each.event.outcome for each in store.ledger().entries() if isinstance(each.event, CallFinished)]
    assert finished == ["unknown"]
