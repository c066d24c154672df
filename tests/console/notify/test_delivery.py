"""Delivery: nothing is lost, nothing is sent by two, nothing that fails stops anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from console_world import Browser, held, pay

from fiducial.console.app import Console
from fiducial.console.notify import outbox
from fiducial.console.notify.health import failing, retire
from fiducial.console.notify.notifier import Notifier
from fiducial.console.notify.outbox import FIRST, LEASE, LONGEST, NOTICES, Outbox
from fiducial.console.notify.settings import NotifySettings
from fiducial.console.services import Services
from fiducial.core.clock import ManualClock, SystemClock
from fiducial.core.event import NoticeSettled
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit, Put
from fiducial.errors import StoreError
from fiducial.guard.switches import Switches
from fiducial.oversight.cells import hold_key
from fiducial.oversight.hold import Hold
from fiducial.store.sqlite import SqliteStore

HERE = Path(__file__).resolve().parent
Round = Callable[[NotifySettings], float]


def _settled(services: Services) -> list[NoticeSettled]:
    services.store.flush()  # type: ignore[attr-defined]
    found = [record.event for record in services.ledger.entries()]
    return [event for event in found if isinstance(event, NoticeSettled)]


def test_each_is_told_once_however_often_it_is_looked_for(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, webhook_key: bytes
) -> None:
    round_(hook)
    assert receiver.got == [], "nothing waits"
    session, _ = held(services)
    [hold] = services.desk.waiting()
    for _ in range(3):
        round_(hook)
    [got] = receiver.got
    assert got.signed_with(webhook_key)
    assert got.id == f"request_{hold.id}"
    assert (got.json["type"], got.json["data"]["id"]) == ("request.waiting", hold.id)
    [event] = _settled(services)
    assert (event.session, event.channel, event.outcome, event.attempts) == (session.id, "siem", "sent", 1)


def test_what_was_stopped_and_taken_is_told_and_what_was_before_is_not(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    early = Switches(services.store, services.clock).order(
        "before there were notifications", by=PersonId("olga"), tool="send_money"
    )
    clock.advance(timedelta(seconds=1))
    round_(hook)
    clock.advance(timedelta(seconds=1))
    Switches(services.store, services.clock).lift(early.id, by=PersonId("omar"), why="over")
    late = Switches(services.store, services.clock).order("now", by=PersonId("olga"), tool="send_money")
    glass = services.desk.break_glass(PersonId("olga"), "operator", "nobody else is here", timedelta(hours=1))
    round_(hook)
    round_(hook)
    assert sorted(got.id for got in receiver.got) == [f"emergency_{glass.id}", f"halt_{late.id}", f"resume_{early.id}"]


def test_requests_alike_ring_once(services: Services, receiver: Any, hook: NotifySettings, round_: Round) -> None:
    for _ in range(3):
        held(services)
    round_(hook)
    assert [got.json["data"]["alike"] for got in receiver.got] == [2]
    first = services.desk.waiting()[0]
    who = services.people.approver(PersonId("approver"))
    assert who is not None
    services.desk.vote(first.id, who, "reject", note="no")
    round_(hook)
    assert [got.json["data"]["id"] for got in receiver.got] == [each.id for each in (first, services.desk.waiting()[0])]


def test_an_escalation_is_told_to_the_next_role(
    services: Services, receiver: Any, write: Callable[..., NotifySettings], round_: Round, clock: ManualClock
) -> None:
    settings = write(
        "channels:\n"
        f"  first: {{kind: webhook, url: '{receiver.url}/first', secrets: [HOOK_SECRET]}}\n"
        f"  next: {{kind: webhook, url: '{receiver.url}/next', secrets: [HOOK_SECRET]}}\n"
        "routes: [{to: [first], roles: [operator]}, {to: [next], roles: [fraud-desk]}]\n"
    )
    held(services)
    [hold] = services.desk.waiting()
    cell = services.store.read([hold_key(hold.id)])[hold_key(hold.id)]
    soon = msgspec.structs.replace(
        msgspec.json.decode(cell.value, type=Hold), escalate_us=clock.unix_us() + 60_000_000, escalate_to="fraud-desk"
    )
    services.store.commit(Commit(changes=(Put(hold_key(hold.id), msgspec.json.encode(soon)),))).result()
    round_(settings)
    clock.advance(timedelta(minutes=1))
    for _ in range(2):
        round_(settings)
        services.desk.sweep()
    assert [(got.path, got.json["type"]) for got in receiver.got] == [
        ("/first", "request.waiting"), ("/next", "request.escalated")
    ]  # fmt: skip


def test_what_fails_for_now_is_tried_again_ever_later_until_it_works(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers += [(503, {})] * 3
    held(services)
    began = clock.unix_us()
    round_(hook)
    assert failing(services.store)["siem"].failing_us == began
    waits = []
    for _ in range(3):
        wait = timedelta(0)
        count = len(receiver.got)
        while len(receiver.got) == count:
            assert 0 < round_(hook) <= 5
            clock.advance(timedelta(milliseconds=500))
            wait += timedelta(milliseconds=500)
        waits.append(wait)
    for number, wait in enumerate(waits):
        assert FIRST * 2**number * 0.5 <= wait <= FIRST * 2**number + timedelta(seconds=1.5), waits
    assert len({got.id for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1, "the same bytes at every attempt"
    assert failing(services.store) == {}
    assert [(event.outcome, event.attempts) for event in _settled(services)] == [("sent", 4)]


def test_the_wait_is_bounded_and_no_two_are_the_same() -> None:
    waits = [outbox._backoff(attempt) for attempt in (1, 5, 50, 10_000) for _ in range(20)]
    assert all(FIRST * 0.5 <= wait <= LONGEST for wait in waits)
    assert len(set(waits)) > 70


def test_how_long_the_other_side_wants_to_be_left_alone_is_kept(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers.append((429, {"retry-after": "600"}))
    held(services)
    round_(hook)
    clock.advance(timedelta(seconds=599))
    round_(hook)
    assert len(receiver.got) == 1
    clock.advance(timedelta(seconds=1))
    round_(hook)
    assert len(receiver.got) == 2


def test_what_is_refused_is_said_and_stops_nothing(
    console: Console, services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers.append((404, {}))
    session, _ = held(services)
    round_(hook)
    clock.advance(timedelta(hours=1))
    round_(hook)
    assert len(receiver.got) == 1, "the same would be refused again"
    [event] = _settled(services)
    assert (event.outcome, event.why) == ("failed", "it answered 404")
    for person, page in (("approver", "/waiting"), ("admin", "/people")):
        text = Browser(console).as_(services, person).get(page).text
        assert "Notifications through <code>siem</code> fail" in text
        assert "it answered 404" in text
    [hold] = services.desk.waiting()
    who = services.people.approver(PersonId("approver"))
    assert who is not None
    services.desk.vote(hold.id, who, "approve")
    assert pay(session).status == "ok"
    Switches(services.store, services.clock).order(
        "something else goes through", by=PersonId("olga"), tool="send_money"
    )
    round_(hook)
    assert "fail" not in Browser(console).as_(services, "approver").get("/waiting").text


def test_a_channel_that_is_not_used_any_more_fails_no_more(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round
) -> None:
    receiver.answers.append((404, {}))
    held(services)
    round_(hook)
    retire(services.store, frozenset({"siem"}))
    assert set(failing(services.store)) == {"siem"}
    retire(services.store, frozenset({"another"}))
    assert failing(services.store) == {}


def test_nothing_is_sent_of_what_is_over(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    receiver.answers += [(503, {})] * 9
    held(services)
    [hold] = services.desk.waiting()
    round_(hook)
    clock.advance(timedelta(microseconds=hold.expires_us - clock.unix_us()))
    round_(hook)
    assert len(receiver.got) == 1
    assert [(event.outcome, event.attempts) for event in _settled(services)] == [("lapsed", 1)]
    assert services.store.scan(NOTICES) == {}, "and nothing is kept of it"


def test_what_was_sent_is_forgotten_when_nobody_would_send_it_again(
    services: Services, receiver: Any, hook: NotifySettings, round_: Round, clock: ManualClock
) -> None:
    held(services)
    [hold] = services.desk.waiting()
    round_(hook)
    clock.advance(timedelta(microseconds=hold.expires_us - clock.unix_us()))
    round_(hook)
    assert len(services.store.scan(NOTICES)) == 1
    clock.advance(timedelta(hours=1))
    round_(hook)
    assert services.store.scan(NOTICES) == {}
    assert len(receiver.got) == 1


def test_of_two_one_gets_it(services: Services, receiver: Any, hook: NotifySettings, clock: ManualClock) -> None:
    from fiducial.console.notify.channels import Outcome
    from fiducial.console.notify.notices import notices

    held(services)
    [notice] = notices(services.store, services.desk, clock.unix_us())
    mine, yours = (Outbox(services.store, clock, "siem") for _ in range(2))
    claim = mine.claim(notice, None)
    assert claim is not None
    assert yours.claim(notice, None) is None, "it was read before it was claimed"
    assert yours.claim(notice, yours.deliveries()[notice.id]) is None, "it is being sent"
    clock.advance(LEASE)
    again = yours.claim(notice, yours.deliveries()[notice.id])
    assert again is not None, "whoever had it is gone"
    assert again.delivery.attempts == 2
    mine.settle(claim, Outcome("failed", "too late to say so"))
    assert yours.deliveries()[notice.id] == again, "what is late changes nothing"
    yours.settle(again, Outcome("sent", "it answered 204"))
    assert [event.outcome for event in _settled(services)] == ["sent"]


@pytest.mark.long
def test_on_postgresql_too_each_is_sent_once_by_several_machines(
    postgres: Any, receiver: Any, hook: NotifySettings, rulebook: Any
) -> None:
    with postgres.open() as first, postgres.open() as second:
        consoles = [Services(store, rulebook) for store in (first, second)]
        notifiers = [Notifier(services, hook) for services in consoles]
        for notifier in notifiers:
            notifier.start()
        try:
            for number in range(10):
                held(consoles[0], user=f"user-{number}")
            receiver.wait(10)
            Switches(consoles[1].store, consoles[1].clock).order("enough", by=PersonId("olga"))
            receiver.wait(11)
            time.sleep(1)
        finally:
            for notifier in notifiers:
                notifier.stop()
        ids = [got.id for got in receiver.got]
        assert len(ids) == len(set(ids)) == 11
        links = [got.json["data"]["link"] for got in receiver.got if "request" in got.id]
        assert {consoles[1].links.read(each.rpartition("/")[2]).hold for each in links} == {
            each.id.removeprefix("request_") for each in receiver.got if "request" in each.id
        }
        for services in consoles:
            services.close()


def test_a_cell_that_cannot_be_read_stops_the_channel_and_is_said(
    services: Services, hook: NotifySettings, round_: Round
) -> None:
    services.store.commit(Commit(changes=(Put(f"{NOTICES}siem/x", b"{"),))).result()
    with pytest.raises(StoreError, match="notice/siem/x"):
        round_(hook)


def test_threads_tell_at_once_and_end_when_told(
    tmp_path: Path, receiver: Any, hook: NotifySettings, rulebook: Any
) -> None:
    with SqliteStore(tmp_path / "real.db") as store:
        services = Services(store, rulebook)
        notifier = Notifier(services, hook)
        notifier.start()
        try:
            began = time.monotonic()
            held(services)
            receiver.wait(1)
            assert time.monotonic() - began < 15
            receiver.hang.clear()  # the receiver takes its time; nobody waits for it
            Switches(services.store, services.clock).order("again", by=PersonId("olga"), tool="send_money")
            receiver.wait(2)
            assert pay(held(services, user="noah")[0]).status == "not-run"
            receiver.hang.set()
        finally:
            notifier.stop()
            notifier.stop()
        assert not any(post.is_alive() for post in notifier._posts)
        services.close()


SENDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import console_world
from fiducial.console.notify.notifier import Notifier
from fiducial.console.notify.settings import read_settings
from fiducial.console.services import Services
from fiducial.policy.rulebook import compile_rulebook
from fiducial.store.sqlite import SqliteStore
import os

store = SqliteStore(Path(sys.argv[2]))
services = Services(store, compile_rulebook(console_world.bank()))
notifier = Notifier(services, read_settings(Path(sys.argv[3]), os.environ))
print("ready", flush=True)
sys.stdin.readline()
notifier.start()
print("started", flush=True)
sys.stdin.readline()
notifier.stop()
services.close()
store.close()
"""


def _sender(store: Path, settings: Path, secret: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SENDER, str(HERE.parent), str(store), str(settings)]
    return subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "HOOK_SECRET": secret}
    )


def _go(*senders: subprocess.Popen[str]) -> None:
    for sender in senders:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "ready\n"
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.write("\n")
        sender.stdin.flush()


@pytest.fixture
def waiting(tmp_path: Path, rulebook: Any) -> Path:
    """A store in which twelve different requests wait; the process that asked for them is done."""
    path = tmp_path / "shared.db"
    with SqliteStore(path) as store:
        services = Services(store, rulebook)
        for number in range(12):
            held(services, user=f"user-{number}")
        services.close()
    return path


@pytest.mark.long
def test_several_processes_send_each_once_and_a_killed_one_loses_nothing(
    waiting: Path, receiver: Any, hook: NotifySettings, tmp_path: Path, rulebook: Any, webhook_secret: str
) -> None:
    settings = tmp_path / "notify.yaml"
    # 1. One is killed while it sends: claimed and committed, not answered.
    receiver.hang.clear()
    first = _sender(waiting, settings, webhook_secret)
    others = [_sender(waiting, settings, webhook_secret) for _ in range(2)]
    _go(first)
    [cut] = receiver.wait(1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    receiver.hang.set()
    # 2. Two more send the rest, each once; what the killed one had is not theirs yet.
    _go(*others)
    receiver.wait(12)
    for other in others:
        other.communicate("\n", timeout=60)
        assert other.returncode == 0
    ids = [got.id for got in receiver.got]
    assert len(ids) == len(set(ids)) == 12
    # 3. When its lease is over, what it had is sent again, with the same id; and nothing else is.
    with SqliteStore(waiting) as store:
        clock = _Later(LEASE)
        services = Services(store, rulebook, clock=clock)
        for post in Notifier(services, hook)._posts:
            post.round(Outbox(store, clock, "siem"))
        assert [got.id for got in receiver.got[12:]] == [cut.id]
        states = [json.loads(cell.value)["state"] for cell in store.scan(NOTICES).values()]
        assert states == ["sent"] * 12
        services.close()


class _Later(SystemClock):
    """The real time, and a little."""

    def __init__(self, by: timedelta) -> None:
        self._by = by // timedelta(microseconds=1)

    def unix_us(self) -> int:
        return super().unix_us() + self._by
