"""Somebody who is dismissed: what they approved is void, and what they were just doing is not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec
import pytest
from console_world import ACCOUNT, Browser, held, pay

from fiducial.console import administration, gate
from fiducial.console.app import Console
from fiducial.console.services import Services
from fiducial.console.visit import Visit
from fiducial.core.event import HoldSettled
from fiducial.core.ids import HoldId, PersonId
from fiducial.core.store import Cell, Commit, Put
from fiducial.guard.switches import read_halts
from fiducial.oversight.cells import REPLIES, UNSPENT, WAITING, ReplyCell, encode, hold_key
from fiducial.oversight.people import Person
from fiducial.oversight.pins import Pins
from fiducial.policy.bounds import Bound

APPROVER, BOSS = PersonId("approver"), PersonId("boss")


@pytest.fixture(autouse=True)
def _another_admin(services: Services) -> None:
    services.people.add(Person(id=BOSS, name="Boss", console=("admin",)), by=PersonId("console"))


def _changed(services: Services, person: PersonId, **fields: object) -> None:
    known = services.people.find(person)
    assert known is not None
    changed = msgspec.structs.replace(known.person, **fields)
    administration.change(services, known.person, changed, version=known.version, by=BOSS)


LOSSES: dict[str, Callable[[Services], object]] = {
    "signed out everywhere": lambda services: services.accounts.revoke(APPROVER, by=BOSS),
    "approver no more": lambda services: _changed(services, APPROVER, console=("viewer",)),
    "inactive for a while": lambda services: (
        _changed(services, APPROVER, active=False), _changed(services, APPROVER, active=True)
    ),
}  # fmt: skip


def _voided(services: Services, hold: HoldId) -> int:
    events = [each.event for each in services.ledger.entries()]
    return sum(isinstance(each, HoldSettled) and each.hold == hold and each.outcome == "void" for each in events)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_somebody_approved_is_void_once_they_would_not_be_let_in(
    console: Console, services: Services, loss: str
) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    assert Browser(console).as_(services, "approver").submit(f"/waiting/{hold.id}/answer", answer="approve").is_redirect
    LOSSES[loss](services)
    assert pay(session).verdict.kind == "held"
    assert services.desk.hold(hold.id).state == "void"
    assert _voided(services, hold.id) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_a_class_goes_with_who_approved_it(services: Services, loss: str) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    who = services.people.approver(APPROVER)
    assert who is not None
    bounds = {"recipient": Bound(equals=ACCOUNT), "amount": Bound(at_most=200.0)}
    services.desk.grant(hold.id, who, services.tools["send_money"], bounds, uses=5, lasting=timedelta(minutes=30))
    assert pay(session).status == "ok"
    LOSSES[loss](services)
    assert pay(session, 110).verdict.kind == "held"
    assert _voided(services, hold.id) == 1


def test_half_an_approval_and_answers_for_the_user_go_too(services: Services) -> None:
    held(services)
    [hold] = services.desk.waiting()
    who = services.people.approver(APPROVER)
    assert who is not None
    two = Put(hold_key(hold.id), encode(msgspec.structs.replace(hold, quorum=2)))
    answers = {
        f"{REPLIES}{hold.session}/{by}": ReplyCell(
            hold=hold.id, tool="send_money", parameter="recipient", at_us=0, by=PersonId(by), text=ACCOUNT
        )
        for by in ("approver", "operator")
    }
    puts = (Put(key, encode(cell)) for key, cell in answers.items())
    services.store.commit(Commit(changes=(two, *puts))).result()
    assert services.desk.vote(hold.id, who, "approve").open
    services.accounts.revoke(APPROVER, by=BOSS)
    assert services.desk.hold(hold.id).state == "void"
    assert services.desk.waiting() == []
    assert [key.rpartition("/")[2] for key in services.store.scan(REPLIES)] == ["operator"]


@pytest.mark.parametrize("looked_at", [WAITING, UNSPENT])
def test_half_an_approval_goes_though_somebody_else_agrees_meanwhile(
    services: Services, monkeypatch: pytest.MonkeyPatch, looked_at: str
) -> None:
    """The second one agrees right after what waits, or what was approved and not used yet, was looked at."""
    services.people.add(Person(id=PersonId("second"), name="Second", roles=("operator",)), by=BOSS)
    session, _ = held(services)
    [hold] = services.desk.waiting()
    first, second = services.people.approver(APPROVER), services.people.approver(PersonId("second"))
    assert first is not None
    assert second is not None
    two = Put(hold_key(hold.id), encode(msgspec.structs.replace(hold, quorum=2)))
    services.store.commit(Commit(changes=(two,))).result()
    assert services.desk.vote(hold.id, first, "approve").open
    scan, agreed = services.store.scan, []

    def scanned(prefix: str) -> Mapping[str, Cell]:
        found = scan(prefix)
        if prefix == looked_at and not agreed:
            agreed.append(services.desk.vote(hold.id, second, "approve").state)
        return found

    monkeypatch.setattr(services.store, "scan", scanned)
    services.accounts.revoke(APPROVER, by=BOSS)
    assert agreed == ["approved"]
    assert services.desk.hold(hold.id).state == "void"
    assert pay(session).verdict.kind == "held"
    assert _voided(services, hold.id) == 1


def test_what_others_approved_stands(console: Console, services: Services) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    assert Browser(console).as_(services, "approver").submit(f"/waiting/{hold.id}/answer", answer="approve").is_redirect
    services.accounts.revoke(PersonId("operator"), by=BOSS)
    _changed(services, APPROVER, name="A new name")
    assert pay(session).status == "ok"


ACTS: dict[str, tuple[str, Callable[[Browser, Services], object]]] = {
    "adds somebody": ("admin", lambda browser, _: browser.submit("/people", id="mallory", name="M", console="admin")),
    "changes somebody": (
        "admin",
        lambda browser, services: browser.submit(
            "/people/none", "/people/none", id="none", name="N", console="admin", active="yes", version="1"
        ),
    ),
    "signs somebody out": ("admin", lambda browser, _: browser.submit("/people/viewer/revoke")),
    "halts": ("operator", lambda browser, _: browser.submit("/halt", everything="yes", why="x")),
    "relies on a tool": (
        "operator",
        lambda browser, services: browser.submit("/pins", server="files", seen=_offered(services), decision="approve"),
    ),
    "keeps a tool out": (
        "operator",
        lambda browser, services: browser.submit("/pins", server="files", seen=_offered(services), decision="keep-out"),
    ),
    "takes a role": (
        "approver",
        lambda browser, _: browser.submit("/emergency", role="fraud-desk", minutes="5", why="there is nobody else"),
    ),
    "approves": (
        "approver",
        lambda browser, services: browser.submit(
            f"/waiting/{services.desk.waiting()[0].id}/answer", answer="approve"
        ),
    ),
}  # fmt: skip


def _offered(services: Services) -> str:
    """The digest of a tool that is described otherwise than it was."""
    pins = Pins(services.store, services.clock)
    pins.check("files", {"read": {"description": "Reads."}})
    pins.check("files", {"read": {"description": "Reads, and mails."}})
    return pins.waiting()[0].offered.digest


def _kept(services: Services) -> object:
    people = {id: known.person.console for id, known in services.people.all().items() if known.person.active}
    holds = [(hold.id, hold.votes) for hold in services.desk.waiting()]
    epochs = [services.accounts.epoch(PersonId(one)) for one in ("viewer", "none")]
    pins = Pins(services.store, services.clock)
    return people, holds, epochs, read_halts(services.store), services.desk.glasses(), pins.waiting()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("how", ["dismissed", "signed out"])
def test_what_somebody_was_just_doing_is_not_kept(
    console: Console, services: Services, monkeypatch: pytest.MonkeyPatch, act: str, how: str
) -> None:
    """The gate had let them in; then they were dismissed; then it was to be kept."""
    held(services)
    who, send = ACTS[act]
    browser, real, before = Browser(console).as_(services, who), gate._admit, []

    def admit(visit: Visit) -> object:
        stopped = real(visit)
        if visit.incoming.method == "POST":
            if how == "dismissed":
                _changed(services, PersonId(who), active=False)
            else:
                services.accounts.revoke(PersonId(who), by=BOSS)
            before.append(_kept(services))
        return stopped

    monkeypatch.setattr(gate, "_admit", admit)
    answer = send(browser, services)
    assert answer.status_code in (403, 409), answer.text  # type: ignore[attr-defined]
    assert [_kept(services)] == before
