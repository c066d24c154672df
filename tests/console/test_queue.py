"""The queue for many at once: read together, never late, and forgetting what was erased."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from console_world import ACCOUNT, URL, Browser, held

from fiducial.console.app import Console
from fiducial.console.queue import Queue
from fiducial.console.services import Services, Settings
from fiducial.core.clock import ManualClock
from fiducial.core.event import HoldSeen
from fiducial.core.ids import EventId, PersonId
from fiducial.core.store import Cell
from fiducial.errors import StoreError
from fiducial.guard.switches import Switches
from fiducial.oversight.cells import WAITING
from fiducial.oversight.hold import Approver
from fiducial.oversight.seeing import Shown
from fiducial.policy.rulebook import Rulebook
from fiducial.store.sqlite import SqliteStore

BEN = Approver(id=PersonId("approver"), roles=frozenset({"fraud-desk", "operator"}))


class Slow:
    """A store whose scans of what waits can be held up, or fail."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.scans = 0
        self.let_go = threading.Event()
        self.let_go.set()
        self.fails = False

    def scan(self, prefix: str) -> Mapping[str, Cell]:
        found = self.store.scan(prefix)
        if prefix == WAITING:
            self.scans += 1
            self.let_go.wait(20)
            if self.fails:
                raise StoreError("gone")
        return found

    def read(self, keys: Sequence[str]) -> Mapping[str, Cell]:
        return self.store.read(keys)


@pytest.fixture
def slow(store: SqliteStore) -> Slow:
    return Slow(store)


@pytest.fixture
def queue(slow: Slow, services: Services) -> Queue:
    return Queue(slow, services.ledger, services.charter, services.clock)  # type: ignore[arg-type]


def _ask(queue: Queue, found: list[Any]) -> threading.Thread:
    def ask() -> None:
        try:
            found.append([hold.id for hold in queue.now().holds])
        except StoreError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def _until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_who_asks_after_an_answer_never_sees_it_as_open(slow: Slow, queue: Queue, services: Services) -> None:
    """One read is under way and has seen the request; it is answered; whoever asks now gets a read of their own."""
    held(services)
    [hold] = services.desk.waiting()
    early: list[Any] = []
    late: list[Any] = []
    slow.let_go.clear()
    first = _ask(queue, early)
    _until(lambda: slow.scans == 1)
    services.desk.vote(hold.id, BEN, "reject", note="no")
    others = [_ask(queue, late) for _ in range(10)]
    slow.let_go.set()
    for thread in [first, *others]:
        thread.join(20)
    assert early == [[]] or early == [[hold.id]], "it asked before"
    assert late == [[]] * 10
    assert slow.scans <= 3, "ten who wait together are served by one read, or two"


def test_a_read_that_fails_fails_for_those_who_waited_and_for_nobody_later(slow: Slow, queue: Queue) -> None:
    found: list[Any] = []
    slow.fails = True
    slow.let_go.clear()
    threads = [_ask(queue, found) for _ in range(5)]
    _until(lambda: slow.scans == 1)
    slow.let_go.set()
    for thread in threads:
        thread.join(20)
    assert len(found) == 5
    assert all(isinstance(each, StoreError) for each in found), "nobody is shown what is old instead"
    slow.fails = False
    assert queue.now().holds == []


def test_time_alone_takes_a_request_out_of_the_queue(services: Services, clock: ManualClock) -> None:
    held(services)
    before = services.queue.now()
    assert len(before.holds) == 1
    clock.advance(timedelta(microseconds=before.holds[0].expires_us - clock.unix_us()))
    after = services.queue.now()
    assert after.holds == []
    assert after.state != before.state, "open pages are told"


def test_a_halt_takes_requests_out_of_the_queue(services: Services) -> None:
    held(services)
    before = services.queue.now().state
    Switches(services.store, services.clock).order("an alarm", by=PersonId("operator"))
    assert services.queue.now().holds == []
    assert services.queue.now().state != before


def test_what_is_erased_is_gone_from_the_next_page(console: Console, services: Services, store: SqliteStore) -> None:
    held(services)
    browser = Browser(console).as_(services, "approver")
    assert ACCOUNT in browser.get("/waiting").text
    [hold] = services.desk.waiting()
    record = services.ledger.decision(hold.decision)[0]
    for payload in record.payloads:
        store.erase(payload.ref.digest, by="ana", why="asked for")
    page = browser.get("/waiting").text
    assert ACCOUNT not in page
    assert hold.id in page, "the request still waits"


def test_rows_tell_apart_what_only_one_person_may_answer(console: Console, services: Services) -> None:
    """Rows are shared between people: not those that differ."""
    held(services)
    [hold] = services.desk.waiting()
    assert "request mine" in Browser(console).as_(services, "approver").get("/waiting").text
    theirs = Browser(console).as_(services, "viewer").get("/waiting").text
    assert "request mine" not in theirs
    assert f"for {hold.role}" in theirs


def test_an_age_is_told_anew(console: Console, services: Services, clock: ManualClock) -> None:
    held(services)
    browser = Browser(console).as_(services, "approver")
    assert "minutes ago" not in browser.get("/waiting").text
    clock.advance(timedelta(minutes=3))
    assert "3 minutes ago" in browser.get("/waiting").text


def test_a_list_is_put_on_record_once_for_each_request_and_person(console: Console, services: Services) -> None:
    for user in ("emma", "noah", "mia"):
        held(services, user=user)
    for person in ("approver", "approver", "viewer"):
        assert Browser(console).as_(services, person).get("/waiting").status_code == 200
    seen = [each.event for each in services.ledger.entries() if isinstance(each.event, HoldSeen)]
    assert Counter(event.hold for event in seen) == {hold.id: 1 for hold in services.desk.waiting()}
    assert {event.by for event in seen} == {"approver"}, "who may not answer is not asked"


def test_two_windows_at_once_put_each_request_on_record_once(services: Services) -> None:
    held(services)
    held(services, user="noah")
    first, second = services.desk.waiting()
    both = [
        threading.Thread(target=Shown(services.store, services.clock).keep, args=(holds, PersonId("approver")))
        for holds in ([first, second], [second], [first, second])
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(20)
    seen = [each.event.hold for each in services.ledger.entries() if isinstance(each.event, HoldSeen)]
    assert sorted(seen) == sorted([first.id, second.id])


def test_what_is_on_its_way_into_the_log_is_waited_for(postgres: Any, rulebook: Rulebook) -> None:
    """Nobody may decide on a page that lacks what the log will hold in a moment."""
    with postgres.open() as agents, postgres.open() as ours:
        theirs = Console(Services(agents, rulebook, Settings(url=URL)))
        services = Console(Services(ours, rulebook, Settings(url=URL))).services
        with agents._sequencer.lock, ours._sequencer.lock:  # nothing moves by itself
            held(theirs.services)
            (hold,) = services.desk.waiting()
            assert services.ledger.find(EventId("evt" + hold.decision[3:])) is None
            assert services.queue.evidence(hold).targets
        theirs.services.close()
        services.close()
