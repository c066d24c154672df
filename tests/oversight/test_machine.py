"""Thousands of interleavings of agents, approvers, halts, clocks and restarts against a model in plain words:

no side effect without a valid, unspent, matching approval; and none held back that has one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from fiducial import Guard, MemoryStore
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit, Put
from fiducial.core.verdict import Fault, Held
from fiducial.errors import AlreadySettled, NotPermitted
from fiducial.guard.session import Session
from fiducial.oversight import Approver, Desk
from fiducial.policy.bounds import Bound
from fiducial.store.sqlite import SqliteStore

TASK = "Pay 500 EUR to bob, later 300 or 5 EUR, then 2000 EUR to carol"
CALLS: list[dict[str, Any]] = [
    {"recipient": "bob", "amount": 500},
    {"recipient": "bob", "amount": 300},
    {"recipient": "mallory", "amount": 500},
    {"recipient": "carol", "amount": 2000},
    {"recipient": "bob", "amount": 5},
]
PEOPLE = [
    Approver(id=PersonId(name), roles=frozenset(roles))
    for name, roles in (("cleo", ["clerk"]), ("lea", ["lead"]), ("leo", ["lead"]), ("emma", ["clerk", "lead"]))
]
HOUR = 3_600_000_000


class Request:
    """What the model knows of one request."""

    def __init__(self, now: int, role: str, quorum: int) -> None:
        self.at, self.role, self.quorum = now, role, quorum
        self.voters: set[str] = set()
        self.state = "waiting"
        self.until = now + 24 * HOUR


class Place(NamedTuple):
    """Where an example happens."""

    agents: Any
    """The store as agents have it."""
    people: Any
    """The same, as those have it who decide; another process's, where that can be."""
    leave: Callable[[], None]


class Machine(RuleBasedStateMachine):
    """`model` maps (session, arguments, what is known of the recipient) to the request of each role."""

    make: Callable[[ManualClock], Place]
    charter: Callable[..., Any]

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.place = type(self).make(self.clock)
        self.store = self.place.agents
        self.desk = Desk(self.place.people, clock=self.clock)
        self.guards: list[Guard] = []
        self.guard = self._guard()
        self.sessions: list[Session] = [self.guard.session(user="emma", task=TASK) for _ in range(2)]
        self.known: list[bool] = [False, False]
        """Whether the session has read about mallory."""
        self.model: dict[tuple[Any, ...], dict[str, Request]] = {}
        self.before: dict[tuple[Any, ...], list[Request]] = {}
        """Requests whose time was over when the same role was asked again, until the call ran."""
        self.refused: set[tuple[Any, ...]] = set()
        """Sessions and calls, whatever was known of them."""
        self.grants: list[list[int]] = []
        """Session, most, uses left, until, given."""
        self.halted: Any = None
        self.last: tuple[int, dict[str, Any]] = (0, CALLS[0])
        self.runs = 0
        self.bindings: dict[tuple[Any, ...], str] = {}
        """What the desk calls each key of the model, once known."""

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.place.leave()

    def _guard(self) -> Guard:
        guard = Guard(type(self).charter(), store=self.store, desk=Desk(self.store, clock=self.clock), clock=self.clock)
        self.guards.append(guard)
        return guard

    def _now(self) -> int:
        return self.clock.unix_us()

    def _key(self, which: int, call: dict[str, Any]) -> tuple[Any, ...]:
        about = ""
        if call["recipient"] == "mallory":
            # What was read is untrusted, before a restart and after it; nothing was lost, so none adds a doubt.
            about = "read" if self.known[which] else "unknown"
        return (which, json.dumps(call), about)

    def _state(self, request: Request | None) -> str:
        if request is None:
            return "none"
        if request.state in ("waiting", "approved") and self._now() >= request.until:
            return "expired"
        return request.state

    @rule()
    def again(self) -> None:
        self.call(*self.last)

    @rule(which=st.integers(0, 1), call=st.sampled_from(CALLS))
    def call(self, which: int, call: dict[str, Any]) -> None:
        self.last = (which, call)
        # Everything has a time of its own, so that a replay meets it in the same order.
        self.clock.advance(timedelta(seconds=1))
        ran: list[Any] = []
        result = self._made(which, call, ran)
        assert (result.status == "ok") == bool(ran)
        self.runs += len(ran)
        if self.halted is not None:
            assert not ran
            return
        if call["amount"] <= 100:
            assert ran == [call]
            return
        needed = {"clerk": 1} if call["amount"] <= 1000 else {"clerk": 1, "lead": 2}
        requests = self.model.setdefault(self._key(which, call), {})
        before = self.before.setdefault(self._key(which, call), [])
        every = [*requests.values(), *before]
        live = max((one.at for one in every if self._state(one) in ("waiting", "approved")), default=0)
        # Silence refuses until people are asked again.
        silent = [one.at for one in every if self._state(one) == "expired" and one.at > live]
        grant = next(
            (
                grant
                for grant in sorted(self.grants, key=lambda one: one[3])
                if grant[0] == which and call["recipient"] == "bob" and call["amount"] <= grant[1]
                and grant[2] > 0 and max(silent, default=0) <= grant[4] and self._now() < grant[3]
            ),
            None,
        )  # fmt: skip
        # What was refused by name no class lets through, whatever is read since; what nobody answered, one does that
        # was given since they were asked.
        if self._key(which, call)[:2] in self.refused or (silent and grant is None):
            assert not ran
            assert result.verdict.kind == "denied"
            return
        approved = {role for role in needed if self._state(requests.get(role)) == "approved"}
        if grant is not None:
            approved.add("clerk")
        if approved == set(needed):
            assert ran == [call], "approved, and yet held back"
            if grant is not None:
                grant[2] -= 1
            before.clear()
            for role, request in list(requests.items()):
                if self._state(request) == "expired":
                    del requests[role]
                # What still waits has nothing left to ask.
                request.state = {"approved": "spent", "waiting": "void"}.get(self._state(request), request.state)
            return
        assert not ran, "an effect that nobody has approved"
        assert isinstance(result.verdict, Held)
        role = result.verdict.role
        if self._state(requests.get(role)) != "waiting":
            if self._state(requests.get(role)) == "expired":
                before.append(requests[role])
            requests[role] = Request(self._now(), role, needed[role])

    def _made(self, which: int, call: dict[str, Any], ran: list[Any]) -> Any:
        """The call, once the store is heard: what was not run for seconds is stopped until it is."""
        for _ in range(300):
            result = self.sessions[which].call("send_money", call, run=lambda **given: ran.append(given))
            deaf = self.halted is None and any(each.fault is Fault.HALTED for each in result.verdict.reasons)
            if not deaf:
                return result
            time.sleep(0.1)
        raise AssertionError("nothing is heard of the store any more")

    @rule(data=st.data(), who=st.sampled_from(PEOPLE), yes=st.booleans())
    def vote(self, data: Any, who: Approver, yes: bool) -> None:
        waiting = self.desk.waiting()
        assert len(waiting) == sum(
            self._state(request) == "waiting" for requests in self.model.values() for request in requests.values()
        )
        if not waiting:
            return
        self._vote(data.draw(st.sampled_from(waiting)), who, yes)

    @rule()
    def agree(self) -> None:
        for hold in self.desk.waiting():
            for who in PEOPLE[:3]:
                if self._found(hold).state == "waiting":
                    self._vote(hold, who, True)

    def _vote(self, hold: Any, who: Approver, yes: bool) -> None:
        request = self._found(hold)
        may = who.id != "emma" and request.role in who.roles and who.id not in request.voters
        try:
            after = self.desk.vote(hold.id, who, "approve" if yes else "reject")
        except (NotPermitted, AlreadySettled):
            assert not may
            return
        assert may
        request.voters.add(who.id)
        if not yes:
            request.state = "rejected"
            self.refused.add(next(key[:2] for key, each in self.model.items() if request in each.values()))
        elif len(request.voters) >= request.quorum:
            request.state, request.until = "approved", self._now() + HOUR
        assert after.state == request.state

    def _found(self, hold: Any) -> Request:
        which = next(index for index, session in enumerate(self.sessions) if session.id == hold.session)
        for key, requests in self.model.items():
            found = requests.get(hold.role)
            if (
                key[0] == which
                and found is not None
                and found.at == hold.requested_us
                and self.bindings.setdefault(key, hold.binding) == hold.binding
            ):
                return found
        raise AssertionError("a request that nobody made")

    @rule(data=st.data(), most=st.sampled_from([300, 500]), uses=st.integers(1, 2))
    def grant(self, data: Any, most: int, uses: int) -> None:
        waiting = [hold for hold in self.desk.waiting() if hold.role == "clerk"]
        if not waiting:
            return
        hold = data.draw(st.sampled_from(waiting))
        which = next(index for index, session in enumerate(self.sessions) if session.id == hold.session)
        tool = self.sessions[which].rulebook.slice("send_money").type
        bounds = {"recipient": Bound(equals="bob"), "amount": Bound(at_most=most)}
        request = self._found(hold)
        self.clock.advance(timedelta(seconds=1))
        self.desk.grant(hold.id, PEOPLE[0], tool, bounds, uses=uses, lasting=timedelta(minutes=30))
        request.state, request.until = "approved", self._now() + HOUR
        self.grants.append([which, most, uses, self._now() + HOUR // 2, self._now()])

    @rule(minutes=st.sampled_from([1, 20, 61, 60 * 25]))
    def wait(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    @rule()
    def sweep(self) -> None:
        self.desk.sweep()

    @rule(which=st.integers(0, 1))
    def read(self, which: int) -> None:
        self.sessions[which].observe("read", {}, "somebody called mallory wrote")
        self.known[which] = True

    @precondition(lambda self: self.halted is None)
    @rule()
    def halt(self) -> None:
        self.halted = self.guard.halt("drill", tool="send_money")
        self._heard()
        for requests in self.model.values():
            for request in requests.values():
                if self._state(request) in ("waiting", "approved"):
                    request.state = "void"
        self.grants.clear()

    @precondition(lambda self: self.halted is not None)
    @rule()
    def resume(self) -> None:
        self.clock.advance(timedelta(seconds=1))
        self.guard.resume(self.halted, by="ann")
        self.halted = None
        self._heard()

    def _heard(self) -> None:
        """Every process hears of it within a second; here, at once."""
        for guard in self.guards:
            guard.switches.refresh()

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        # What is queued gets to the disk, so that a replay finds the same there.
        self.store.commit(Commit(changes=(Put("restarts", b""),))).result()
        self.desk = Desk(self.place.people, clock=self.clock)
        self.guard = self._guard()
        self.sessions[which] = self.guard.reopen(self.sessions[which].id)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[ManualClock], Place]]:
    """Makes an empty place for each example."""

    def in_memory(clock: ManualClock) -> Place:
        store = MemoryStore(clock=clock)
        return Place(store, store, store.close)

    def in_sqlite(clock: ManualClock) -> Place:
        store = SqliteStore(memory / os.urandom(8).hex() / "log.db", clock=clock)
        return Place(store, store, store.close)

    if request.param == "memory":
        yield in_memory
        return
    if request.param == "sqlite":
        # What is tested is not the disk.
        with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
            memory = Path(directory)
            yield in_sqlite
        return
    postgres = request.getfixturevalue("postgres")
    # Making the tables takes longer than an example, so all of them share one log, and leave no cell behind.
    with postgres.open() as agents, postgres.open() as people:

        def empty() -> None:
            agents.commit(Commit(changes=tuple(Put(key, None) for key in agents.scan("")))).result()

        yield lambda _: Place(agents, people, empty)


def drive(make: Callable[[ManualClock], Place], charter: Callable[..., Any], examples: int) -> None:
    class Case(Machine):
        pass

    ready = charter()
    Case.make = staticmethod(make)  # type: ignore[assignment]
    Case.charter = staticmethod(lambda: ready)  # type: ignore[assignment]
    run_state_machine_as_test(Case, settings=settings(max_examples=examples, stateful_step_count=25))


def test_no_effect_without_an_approval_and_none_held_back_that_has_one(
    make: Callable[[ManualClock], Place], charter: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    on_a_server = "postgres" in request.node.callspec.id
    drive(make, charter, settings().max_examples // (12 if on_a_server else 3))


@pytest.mark.long
@pytest.mark.longest
def test_the_same_in_thousands_of_interleavings(
    make: Callable[[ManualClock], Place], charter: Callable[..., Any]
) -> None:
    drive(make, charter, 2_000)
