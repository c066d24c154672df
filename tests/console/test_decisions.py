"""How people decide, and appeals against what they decided."""

from __future__ import annotations

from datetime import timedelta

import pytest
from console_world import APPROVER, QUOTED, SCRIPT, Browser, held, pay
from test_injection import check

from fiducial.console.app import Console
from fiducial.console.pages.decisions import WARNINGS
from fiducial.console.render import duration, percent
from fiducial.console.services import Services
from fiducial.core.clock import ManualClock
from fiducial.core.event import HoldRequested
from fiducial.core.ids import PersonId
from fiducial.oversight.considered import ENOUGH
from fiducial.oversight.hold import Approver
from fiducial.oversight.people import Person

WHO = Approver(id=APPROVER, roles=frozenset({"operator", "fraud-desk"}))
BEN = Approver(id=PersonId("ben"), roles=frozenset({"operator", "fraud-desk"}))


def test_nothing_asked_is_no_data_and_not_nought(console: Console, services: Services) -> None:
    page = Browser(console).as_(services, "auditor").get("/decisions")
    assert page.status_code == 200
    check(page.text)
    assert "No data" in page.text
    assert "0 %" not in page.text


def test_shares_stand_with_their_n_and_interval(console: Console, services: Services, clock: ManualClock) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    clock.advance(timedelta(seconds=90))
    services.desk.seen(hold.id, APPROVER, "opened")
    clock.advance(timedelta(seconds=12))
    services.desk.vote(hold.id, WHO, "approve")
    assert pay(session).status == "ok"
    page = Browser(console).as_(services, "viewer").get("/decisions").text
    check(page)
    assert "<b>100 %</b>" in page
    assert "21 % to 100 %, 1 of 1" in page
    assert "12.0 s" in page
    assert "1.5 min" in page
    assert "no data" in page, "nothing is known of calls where the agent was unsure"
    assert f"Fewer than {ENOUGH} decisions" in page
    assert "0 of 1" in page, "of the calls let through none went wrong"


def test_people_who_approve_at_a_glance_are_warned_of(console: Console, services: Services) -> None:
    for number in range(ENOUGH):
        held(services, user=f"emma-{number}")
    for hold in services.desk.waiting():
        services.desk.vote(hold.id, WHO, "approve")
    browser = Browser(console).as_(services, "admin")
    page = browser.get("/decisions").text
    assert WARNINGS["rubber-stamp"][:40] in page
    assert "rubber-stamp" in page
    check(page)


def test_what_happens_later_counts_at_the_next_look(console: Console, services: Services) -> None:
    session, _ = held(services)
    browser = Browser(console).as_(services, "viewer")
    assert "1 of them waiting" in browser.get("/decisions").text
    [hold] = services.desk.waiting()
    services.desk.vote(hold.id, WHO, "approve")
    pay(session)
    assert "0 of them waiting" in browser.get("/decisions").text


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (12, "12.0 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("part", "words"), [(0, "0 %"), (0.001, "<1 %"), (0.5, "50 %"), (0.999, ">99 %"), (1, "100 %")]
)
def test_percents_in_words(part: float, words: str) -> None:
    assert percent(part) == words


# --- appeals


@pytest.fixture
def refused(services: Services) -> str:
    held(services)
    [hold] = services.desk.waiting()
    services.desk.vote(hold.id, BEN, "reject", note="not on the invoice")
    return hold.id


@pytest.fixture
def emma(services: Services) -> str:
    """The user, who may look."""
    services.people.add(Person(id=PersonId("emma"), name="Emma", console=("viewer",)), by=PersonId("console"))
    return "emma"


def test_the_user_appeals_and_somebody_else_decides(
    console: Console, services: Services, refused: str, emma: str
) -> None:
    browser = Browser(console).as_(services, emma)
    path = f"/waiting/{refused}"
    page = browser.get(path).text
    check(page)
    assert f'action="{path}/appeal"' in page
    assert browser.submit(f"{path}/appeal", path).status_code == 422, "no reason"
    answer = browser.submit(f"{path}/appeal", path, why=f"it is the right account {SCRIPT}{QUOTED}")
    assert answer.status_code == 303
    [again] = services.desk.waiting()
    assert answer.headers["location"] == f"/waiting/{again.id}?done=appealed"
    assert again.appeals == refused
    page = browser.get(f"/waiting/{again.id}").text
    check(page)
    assert "This is an appeal" in page
    assert "emma: it is the right account" in page
    assert path in page
    page = browser.get(path).text
    assert "An appeal against it</a> is under way" in page
    assert f'action="{path}/appeal"' not in page
    assert browser.submit(f"{path}/appeal", path, why="once more").status_code == 409
    assert len(services.desk.waiting()) == 1
    events = [each.event for each in services.ledger.entries() if isinstance(each.event, HoldRequested)]
    assert [event.appeals for event in events] == [None, refused]
    approver = Browser(console).as_(services, "approver")
    assert approver.submit(f"/waiting/{again.id}/answer", f"/waiting/{again.id}", answer="approve").status_code == 303
    assert "was successful" in browser.get(path).text


def test_who_refused_it_is_not_asked_again(services: Services, refused: str) -> None:
    again = services.desk.appeal(refused, PersonId("operator"), "a mistake")  # type: ignore[arg-type]
    assert services.desk.answerable(BEN) == []
    assert services.desk.answerable(Approver(id=PersonId("cleo"), roles=BEN.roles)) == [again]


@pytest.mark.parametrize(
    ("person", "may"), [("operator", True), ("viewer", False), ("approver", False), ("auditor", False)]
)
def test_others_than_the_user_and_operators_do_not_appeal(
    console: Console, services: Services, refused: str, person: str, may: bool
) -> None:
    browser, path = Browser(console).as_(services, person), f"/waiting/{refused}"
    assert (f'action="{path}/appeal"' in browser.get(path).text) is may
    assert browser.submit(f"{path}/appeal", path, why="look again").status_code == (303 if may else 403)
    assert len(services.desk.waiting()) == may


def test_what_waits_or_was_approved_is_not_appealed(console: Console, services: Services) -> None:
    held(services)
    [hold] = services.desk.waiting()
    browser, path = Browser(console).as_(services, "operator"), f"/waiting/{hold.id}"
    assert "/appeal" not in browser.get(path).text
    assert browser.submit(f"{path}/appeal", path, why="x").status_code == 409
    services.desk.vote(hold.id, BEN, "approve")
    assert browser.submit(f"{path}/appeal", path, why="x").status_code == 409
