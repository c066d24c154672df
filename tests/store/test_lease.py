"""Leases: one owner at a time, whatever happens in between, on every store."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fiducial.core.clock import ManualClock
from fiducial.core.event import SessionTaken
from fiducial.core.ids import SessionId
from fiducial.core.store import Commit, Put
from fiducial.errors import Conflict, StoreError
from fiducial.store.lease import DURATION, SKEW, Elsewhere, Lease, first, release, renew, take
from fiducial.store.memory import MemoryStore
from fiducial.store.postgres.store import PostgresStore
from fiducial.store.sqlite import SqliteStore

AnyStore = MemoryStore | SqliteStore | PostgresStore
SESSION = SessionId("ses_1")


def test_taking_renewing_releasing(store: AnyStore, clock: ManualClock) -> None:
    first = take(store, SESSION, "a", clock=clock)
    assert isinstance(first, Lease)
    assert take(store, SESSION, "b", clock=clock) == Elsewhere("a", first.until_us)
    clock.advance(DURATION / 2)
    second = renew(store, first, clock=clock)
    assert isinstance(second, Lease)
    assert second.until_us == first.until_us + DURATION // timedelta(microseconds=1) // 2
    third = take(store, SESSION, "a", clock=clock)
    assert isinstance(third, Lease)
    assert isinstance(renew(store, second, clock=clock), Elsewhere), "taken anew, under the same name"
    assert not release(store, second)
    assert release(store, third)
    second = third
    assert renew(store, second, clock=clock) == Elsewhere("", 0)
    assert isinstance(take(store, SESSION, "b", clock=clock), Lease)


def test_stealing_after_the_end(store: AnyStore, clock: ManualClock) -> None:
    lost = take(store, SESSION, "a", clock=clock)
    assert isinstance(lost, Lease)
    clock.advance(DURATION + SKEW - timedelta(microseconds=1))
    assert isinstance(take(store, SESSION, "b", clock=clock), Elsewhere)
    clock.advance(timedelta(microseconds=1))
    found = take(store, SESSION, "b", clock=clock)
    assert isinstance(found, Lease)
    late = store.commit(Commit(preconditions=(lost.held(),), changes=(Put("effect", b"late"),)))
    assert isinstance(late.exception(), Conflict)
    store.commit(Commit(preconditions=(found.held(),), changes=(Put("effect", b"b"),))).result()


def test_of_many_at_once_one_takes_it(store: AnyStore, clock: ManualClock) -> None:
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda name: take(store, SESSION, f"owner {name}", clock=clock), range(6)))
    (winner,) = [each for each in taken if isinstance(each, Lease)]
    assert {each.owner for each in taken} == {winner.owner}


def test_what_cannot_be_a_lease(store: AnyStore, clock: ManualClock) -> None:
    with pytest.raises(StoreError, match="name"):
        take(store, SESSION, "", clock=clock)
    store.commit(Commit(changes=(Put("lease/ses_1", b"garbage"),))).result()
    with pytest.raises(StoreError, match="damaged"):
        take(store, SESSION, "a", clock=clock)


def test_a_claim_takes_it_at_once_and_is_recorded(store: AnyStore, clock: ManualClock) -> None:
    lost = take(store, SESSION, "a", clock=clock)
    assert isinstance(lost, Lease)
    found = take(store, SESSION, "b", clock=clock, claim="its machine burnt down")
    assert isinstance(found, Lease)
    assert isinstance(renew(store, lost, clock=clock), Elsewhere)
    clock.advance(DURATION + SKEW)
    assert isinstance(take(store, SESSION, "c", clock=clock, claim=None), Lease)
    if not isinstance(store, MemoryStore):
        store.flush()
    taken = [each.event for each in store.ledger().session(SESSION) if isinstance(each.event, SessionTaken)]
    assert [(each.before, each.owner, each.ended, each.why) for each in taken] == [
        ("a", "b", False, "its machine burnt down"),
        ("b", "c", True, ""),
    ]


def test_a_new_session_has_its_lease_from_its_first_commit_on(store: AnyStore, clock: ManualClock) -> None:
    lease, commit = first(SESSION, "a", clock.unix_us() + 1)
    store.commit(msgspec.structs.replace(commit, durable=True)).result()
    assert take(store, SESSION, "b", clock=clock) == Elsewhere("a", lease.until_us)
    store.commit(Commit(preconditions=(lease.held(),), changes=(Put("effect", b"a"),))).result()
    assert release(store, lease)


class Owners(RuleBasedStateMachine):
    """Three processes on two connections to one database, with clocks that differ, hold one lease at most."""

    stores: tuple[AnyStore, AnyStore]
    NAMES = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        self.session = SessionId(f"ses_{os.urandom(6).hex()}")
        self.clocks = {name: ManualClock() for name in self.NAMES}
        self.clocks["b"].jump(SKEW / 2)
        self.clocks["c"].jump(-SKEW / 2)
        self.leases: dict[str, Lease] = {}
        self.valid: Lease | None = None

    def store(self, name: str) -> AnyStore:
        return self.stores[self.NAMES.index(name) % 2]

    @rule(name=st.sampled_from(NAMES))
    def take(self, name: str) -> None:
        clock = self.clocks[name]
        found = take(self.store(name), self.session, name, clock=clock)
        if isinstance(found, Lease):
            if self.valid is not None and self.valid.owner != name:
                # Not before it ended by the clock of the one who had it.
                assert self.clocks[self.valid.owner].unix_us() >= self.valid.until_us
            self.valid = self.leases[name] = found
        else:
            assert self.valid is not None
            assert found == Elsewhere(self.valid.owner, self.valid.until_us), "the latest renewal counts"
            assert self.valid.owner != name
            assert clock.unix_us() < self.valid.until_us + SKEW // timedelta(microseconds=1)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def renew(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.leases[name]
        found = renew(self.store(name), lease, clock=self.clocks[name])
        assert isinstance(found, Lease) == (lease == self.valid)
        if isinstance(found, Lease):
            self.valid = self.leases[name] = found

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.leases.pop(name)
        assert release(self.store(name), lease) == (lease == self.valid)
        if lease == self.valid:
            self.valid = None

    @rule(seconds=st.sampled_from([1, 10, 31, 36]))
    def wait(self, seconds: int) -> None:
        for clock in self.clocks.values():
            clock.advance(timedelta(seconds=seconds))

    @invariant()
    def only_the_owner_acts(self) -> None:
        for name, lease in self.leases.items():
            acted = self.store(name).commit(Commit(preconditions=(lease.held(),), changes=(Put("effect", b"x"),)))
            assert (acted.exception() is None) == (lease == self.valid)


def drive(stores: tuple[AnyStore, AnyStore], examples: int) -> None:
    machine = type("Machine", (Owners,), {"stores": stores})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=15))


def test_no_interleaving_gives_it_to_two_in_sqlite() -> None:
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        path = Path(directory) / "log.db"
        with SqliteStore(path) as one, SqliteStore(path) as two:
            drive((one, two), 25)


def test_no_interleaving_gives_it_to_two_in_postgres(postgres: Any) -> None:
    with postgres.open() as one, postgres.open() as two:
        drive((one, two), 12)
