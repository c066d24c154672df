"""Requests in the browser: shown with their evidence, answered by whom they are for, and by nobody else."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta

import msgspec
import pytest
from console_world import ACCOUNT, APPROVER, Browser, held, pay
from test_injection import check

from fiducial.charter.contracts import Effect, Kind
from fiducial.console.app import Console
from fiducial.console.request import AFTERWARDS, VERBS
from fiducial.console.services import Services
from fiducial.core.clock import ManualClock
from fiducial.core.event import HoldSeen, HoldVoted
from fiducial.core.ids import PersonId
from fiducial.guard.switches import read_halts
from fiducial.oversight.people import Person


@pytest.fixture
def approver(console: Console, services: Services) -> Browser:
    return Browser(console).as_(services, "approver")


def _only(services: Services) -> str:
    [hold] = services.desk.waiting()
    return f"/waiting/{hold.id}"


def test_a_held_call_is_decided_and_the_agent_goes_on(services: Services, approver: Browser) -> None:
    session, asked = held(services)
    assert asked.verdict.kind == "held"
    queue = approver.get("/waiting").text
    check(queue)
    assert ACCOUNT in queue
    path = _only(services)
    page = approver.get(path).text
    check(page)
    for words in (
        "What emma asked for",
        "Please pay the bill",
        "untrusted",
        "baseline/untrusted-target",
        "It cannot be",
    ):
        assert words in page, words
    assert re.search(r'<mark id="\S+" class="from untrusted" tabindex="0">' + ACCOUNT, page)
    assert approver.submit(f"{path}/answer", path, answer="approve").status_code == 303
    done = pay(session)
    assert (done.verdict.kind, done.status) == ("allowed", "ok")
    assert pay(session).status == "not-run", "an approval is for one call"
    assert "Approved" in approver.get(path).text


def test_what_was_shown_and_opened_is_on_record(services: Services, approver: Browser, clock: ManualClock) -> None:
    session, _ = held(services)
    path = _only(services)
    approver.get("/waiting")
    clock.advance(timedelta(seconds=2))
    approver.get(path)
    clock.advance(timedelta(seconds=30))
    approver.submit(f"{path}/answer", path, answer="reject", note="not to that account")
    services.store.flush()  # type: ignore[attr-defined]
    events = [record.event for record in services.ledger.session(session.id)]
    seen = [(event.by, event.how) for event in events if isinstance(event, HoldSeen)]
    assert seen == [("approver", "shown"), ("approver", "opened")]
    [vote] = [event for event in events if isinstance(event, HoldVoted)]
    assert vote.dwell_us == 30_000_000
    assert pay(session).status == "not-run"


def test_a_rejection_needs_its_reason(services: Services, approver: Browser) -> None:
    held(services)
    path = _only(services)
    assert approver.submit(f"{path}/answer", path, answer="reject", note="  ").status_code == 422
    assert approver.submit(f"{path}/answer", path, answer="maybe").status_code == 422
    assert len(services.desk.waiting()) == 1


def _make(services: Services, id: str, **fields: object) -> None:
    services.people.add(
        msgspec.structs.replace(Person(id=PersonId(id), name=id, console=("approver",)), **fields), by=PersonId("admin")
    )


@pytest.mark.parametrize(
    ("who", "fields"),
    [("emma", {"roles": ("operator",)}), ("zoe", {}), ("yan", {"roles": ("operator",), "absent_until_us": 2**51})],
)
def test_nobody_answers_what_is_not_theirs(
    console: Console, services: Services, who: str, fields: dict[str, object]
) -> None:
    """The person on whose behalf the agent acts, one without the role, one who is away."""
    session, _ = held(services)
    _make(services, who, **fields)
    browser, path = Browser(console).as_(services, who), _only(services)
    assert 'id="answer"' not in browser.get(path).text
    for answer in ("approve", "reject"):
        refused = browser.submit(f"{path}/answer", answer=answer, note="x")
        assert refused.status_code == 403, answer
    assert pay(session).verdict.kind == "held"


def test_a_role_that_is_lost_takes_the_approval_with_it(services: Services, approver: Browser) -> None:
    session, _ = held(services)
    path = _only(services)
    approver.submit(f"{path}/answer", path, answer="approve")
    known = services.people.find(PersonId("approver"))
    assert known is not None
    services.people.change(
        msgspec.structs.replace(known.person, roles=()), version=1, by=PersonId("admin"), act="roles"
    )
    assert pay(session).status == "not-run"


def test_an_answer_counts_once(console: Console, services: Services, approver: Browser) -> None:
    held(services)
    path = _only(services)
    _make(services, "second", roles=("operator",))
    second = Browser(console).as_(services, "second")
    assert approver.submit(f"{path}/answer", path, answer="approve").status_code == 303
    assert second.submit(f"{path}/answer", answer="reject", note="no").status_code == 409
    assert approver.submit(f"{path}/answer", answer="approve").status_code == 409


def test_another_call_is_approved_in_its_place(services: Services, approver: Browser) -> None:
    session, _ = held(services)
    path = _only(services)
    edited = {"argument-recipient": ACCOUNT, "argument-amount": "100", "argument-subject": "", "note": "only this"}
    assert approver.submit(f"{path}/edit", path, **{**edited, "argument-amount": "120"}).status_code == 422, "unchanged"
    assert approver.submit(f"{path}/edit", path, **{**edited, "argument-amount": "much"}).status_code == 422
    assert approver.submit(f"{path}/edit", path, **{**edited, "argument-amount": "[" * 15_000}).status_code == 422
    assert approver.submit(f"{path}/edit", path, **edited).status_code == 303
    assert pay(session).status == "not-run"
    assert pay(session, 100).status == "ok"
    assert pay(session, 100).status == "not-run"


def test_a_class_is_shown_as_its_rule_before_it_is_given(services: Services, approver: Browser) -> None:
    session, _ = held(services)
    path = _only(services)
    wanted = {"bound-recipient": "same", "bound-amount": "most", "most-amount": "150", "bound-subject": "none"}
    wanted |= {"uses": "2", "minutes": "30"}
    page = approver.submit(f"{path}/class", path, **wanted)
    assert page.status_code == 200
    check(page.text)
    read = re.search(r'name="read" value="([^"]*)"', page.text)
    assert read is not None
    assert ACCOUNT in page.text
    assert "&lt;= 15000" in page.text
    assert len(services.desk.waiting()) == 1, "showing it gives nothing"
    other = {**wanted, "most-amount": "9999", "confirm": "yes", "read": read[1]}
    assert approver.submit(f"{path}/class", path, **other).status_code == 200, (
        "another rule than was read is shown again"
    )
    assert len(services.desk.waiting()) == 1
    given = approver.submit(f"{path}/class", path, **wanted, confirm="yes", read=read[1])
    assert given.status_code == 303
    assert [pay(session, amount).status for amount in (160, 120, 150)] == ["not-run", "ok", "ok"]
    assert pay(session, 130).status == "not-run", "used up: the call that was asked about is one of the two"


def test_identical_requests_are_one_in_the_queue_and_decided_together(services: Services, approver: Browser) -> None:
    sessions = [held(services)[0] for _ in range(3)]
    queue = approver.get("/waiting").text
    assert queue.count("card session request") == 1
    assert "3 alike" in queue
    path = f"/waiting/{services.desk.waiting()[0].id}"
    assert "2</b> more wait" in approver.get(path).text
    others = [hold.id for hold in services.desk.waiting()[1:]]
    approver.submit(f"{path}/answer", path, answer="approve", alike="yes", **{"with": " ".join(others)})
    assert [pay(session).status for session in sessions] == ["ok"] * 3


def test_requests_like_it_tell_how_they_turned_out(services: Services, approver: Browser) -> None:
    first, _ = held(services, user="noah")
    path = _only(services)
    approver.submit(f"{path}/answer", path, answer="approve")
    pay(first)
    held(services, user="mia")
    services.store.flush()  # type: ignore[attr-defined]
    page = approver.get(_only(services)).text
    assert "1 approved" in page
    assert "1 went well" in page


def test_what_was_erased_cannot_be_approved_unseen(services: Services, approver: Browser) -> None:
    session, _ = held(services)
    path = _only(services)
    services.store.flush()  # type: ignore[attr-defined]
    for record in list(services.ledger.session(session.id)):
        for payload in record.payloads:
            services.store.erase(payload.ref.digest, by="x", why="asked to")  # type: ignore[attr-defined]
    for page in (approver.get("/waiting"), approver.get(path), approver.get(f"/sessions/{session.id}")):
        assert page.status_code == 200
        assert ACCOUNT not in page.text
    assert "nobody can tell any more what would be done" in approver.get(path).text


def test_every_kind_and_effect_has_words() -> None:
    assert set(VERBS) == set(Kind)
    assert set(AFTERWARDS) == set(Effect)


# --- live


def test_the_stream_tells_of_changes_and_ends_with_the_session(
    services: Services, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiducial.console.live._LOOK", 0.02)
    monkeypatch.setattr("fiducial.console.live._CHECK", 0.5)
    browser = Browser(console).as_(services, "approver")
    secret = browser.cookies[services.cookie]

    async def listened() -> list[bytes]:
        told = []
        state = services.queue.now().state
        async for part in services.live.stream(APPROVER, lambda: services.accounts.peek(secret), state):
            told.append(part)
            if part.startswith(b": still") and not any(each.startswith(b"event") for each in told):
                threading.Thread(target=held, args=(services,)).start()
            if part.startswith(b"event"):
                services.accounts.end_all(PersonId("approver"), by=PersonId("admin"))
        return told

    started = time.monotonic()
    told = asyncio.run(asyncio.wait_for(listened(), 20))
    assert any(part.startswith(b"event: changed\n") for part in told)
    assert time.monotonic() - started < 20


def test_a_stream_ends_when_the_role_is_gone(
    services: Services, approver: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream that the page asked for, as the gate lets it through."""
    monkeypatch.setattr("fiducial.console.live._CHECK", 0.05)
    known = services.people.find(APPROVER)
    assert known is not None
    asked: list[Callable[[], bool]] = []

    def stream(person: PersonId, still: Callable[[], bool], seen: str) -> AsyncGenerator[bytes, None]:
        asked.append(still)
        return services.live._told(person, lambda: False, seen)

    monkeypatch.setattr(services.live, "stream", stream)
    assert approver.get("/waiting/stream").status_code == 200
    [still] = asked
    assert still()
    changed = msgspec.structs.replace(known.person, console=())
    services.people.change(changed, version=known.version, by=PersonId("admin"), act="roles")
    assert not still()


def test_one_person_cannot_listen_for_everybody(
    console: Console, services: Services, approver: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiducial.console.live.MAX_EACH", 2)

    async def listened() -> tuple[int, int]:
        streams = [services.live.stream(APPROVER, lambda: True, "") for _ in range(3)]
        began = [await anext(each, b"") for each in streams]
        assert [bool(each) for each in began] == [True, True, False], "a third that came at the same time just ends"
        third = await asyncio.to_thread(approver.get, "/waiting/stream")
        monkeypatch.setattr("fiducial.console.live._LAST", 0)
        viewer = Browser(console).as_(services, "viewer")
        other = await asyncio.to_thread(viewer.get, "/waiting/stream")
        for each in streams:
            await each.aclose()
        again = await asyncio.to_thread(approver.get, "/waiting/stream")
        assert again.status_code == 200
        return third.status_code, other.status_code

    assert asyncio.run(listened()) == (503, 200)


def test_looking_without_seeing_is_not_on_record(services: Services, approver: Browser) -> None:
    session, _ = held(services)
    assert approver.head("/waiting").status_code == 200
    assert approver.head(_only(services)).status_code == 200
    services.store.flush()  # type: ignore[attr-defined]
    assert not [each for each in services.ledger.session(session.id) if isinstance(each.event, HoldSeen)]


# --- halt


def test_the_page_says_when_a_halt_names_a_tool_that_is_not_of_this_charter(
    console: Console, services: Services
) -> None:
    operator = Browser(console).as_(services, "operator")
    assert operator.submit("/halt", "/halt", tool="send_money", why="drill").status_code == 303
    assert "no contract of this charter" not in operator.get("/halt").text
    assert operator.submit("/halt", "/halt", tool="<b>", why="drill").status_code == 303
    page = operator.get("/halt").text
    assert "no contract of this charter has the tool `&lt;b&gt;`" in page
    check(page)


def test_a_halt_stops_what_it_names_and_another_person_lifts_it(console: Console, services: Services) -> None:
    session, _ = held(services)
    operator = Browser(console).as_(services, "operator")
    assert operator.submit("/halt", "/halt", why="a report").status_code == 422, "neither parts nor everything"
    assert operator.submit("/halt", "/halt", tool="send_money", everything="yes", why="both").status_code == 422
    assert operator.submit("/halt", "/halt", tool="send_money").status_code == 422, "no reason"
    assert operator.submit("/halt", "/halt", everything="yes", why="<script>alert(1)</script>").status_code == 303
    page = operator.get("/halt").text
    check(page)
    assert "Everything is stopped" in page
    deadline = time.monotonic() + 5
    while pay(session).verdict.kind != "denied" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pay(session).verdict.kind == "denied"
    [halt] = read_halts(services.store)
    assert operator.submit(f"/halt/{halt.id}/lift", "/halt", why="over").status_code == 403, (
        "whoever stopped everything"
    )
    known = services.people.find(PersonId("viewer"))
    assert known is not None
    changed = msgspec.structs.replace(known.person, console=("operator",))
    services.people.change(changed, version=1, by=PersonId("admin"), act="roles")
    other = Browser(console).as_(services, "viewer")
    assert other.submit(f"/halt/{halt.id}/lift", "/halt", why="").status_code == 422
    assert other.submit(f"/halt/{halt.id}/lift", "/halt", why="over").status_code == 303
    assert read_halts(services.store)[0].lifted_us


def test_emergency_access_is_seen_and_reviewed_by_somebody_else(console: Console, services: Services) -> None:
    _make(services, "kim")
    held(services)
    path = _only(services)
    kim = Browser(console).as_(services, "kim")
    assert kim.submit(f"{path}/answer", answer="approve").status_code == 403
    assert (
        kim.submit("/emergency", "/halt", role="root", minutes="30", why="the desk is empty tonight").status_code == 422
    )
    assert kim.submit("/emergency", "/halt", role="operator", minutes="30", why="short").status_code == 422
    why = "nobody of the desk can be reached"
    assert kim.submit("/emergency", "/halt", role="operator", minutes="30", why=why).status_code == 303
    page = kim.get(path).text
    assert f"{path}/answer" in page
    assert f"{path}/edit" not in page
    assert f"{path}/class" not in page
    assert kim.submit(f"{path}/answer", answer="approve").status_code == 303
    assert "emergency access" in kim.get(path).text
    [glass] = services.desk.glasses()
    review = {"justified": "yes", "note": "they could not"}
    assert kim.submit(f"/emergency/{glass.id}/review", "/halt", **review).status_code == 403
    auditor = Browser(console).as_(services, "auditor")
    assert auditor.submit(f"/emergency/{glass.id}/review", "/halt", **review).status_code == 303
    assert services.desk.glasses(unreviewed=True) == []
