"""Signing in and out: links, passwords, sessions, tokens, and what guessing costs."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import argon2
import pytest
from console_world import URL, Browser

from fiducial.console.accounts import Accounts, digest_of
from fiducial.console.app import Console
from fiducial.console.services import Services
from fiducial.console.throttle import FREE
from fiducial.core.clock import ManualClock, SystemClock
from fiducial.core.event import PersonChanged
from fiducial.core.ids import PersonId
from fiducial.errors import Conflict, OversightError
from fiducial.oversight.people import People
from fiducial.store.memory import MemoryStore
from fiducial.store.sqlite import SqliteStore

VIEWER, ADMIN = PersonId("viewer"), PersonId("admin")
GOOD = "quartz umbrella tango ninety"


def _acts(services: Services) -> Counter[tuple[str, str]]:
    found = (record.event for record in services.ledger.entries())
    return Counter((event.person, event.act) for event in found if isinstance(event, PersonChanged))


def _follow(browser: Browser, link: str) -> int:
    path = link.removeprefix(URL)
    secret = path.rpartition("/")[2]
    return int(browser.submit("/sign-in/link", path, secret=secret).status_code)


# --- the first link


def test_the_first_start_gives_a_link_and_no_password(store: SqliteStore, console: Console) -> None:
    services = console.services
    link = services.first_link()
    assert link is not None
    assert services.first_link() is not None, "nobody has a way in yet: another start gives another link"
    browser = Browser(console)
    assert browser.get(link.removeprefix(URL)).status_code == 200
    assert _follow(browser, link) == 303
    assert browser.get("/people").status_code == 200
    services.accounts.set_password(ADMIN, GOOD, by=ADMIN)
    assert services.first_link() is None


def test_the_first_administrator_of_an_empty_console_can_do_everything(services: Services) -> None:
    fresh = Services(MemoryStore(), services.rulebook)
    link = fresh.first_link("root")
    assert link is not None
    known = fresh.people.find(PersonId("root"))
    assert known is not None
    assert set(known.person.console) == {"viewer", "approver", "operator", "auditor", "admin"}
    assert {"operator", "fraud-desk"} <= set(known.person.roles)


def test_a_link_works_once(console: Console, services: Services) -> None:
    link = services.link_for(VIEWER, by=ADMIN)
    assert _follow(Browser(console), link) == 303
    second = Browser(console, "198.51.100.9")
    assert second.get(link.removeprefix(URL)).status_code == 404
    secret = link.rpartition("/")[2]
    assert second.submit("/sign-in/link", "/sign-in", secret=secret).status_code == 404


def test_looking_at_a_link_does_not_spend_it(console: Console, services: Services) -> None:
    link = services.link_for(VIEWER, by=ADMIN)
    for _ in range(3):
        assert Browser(console).get(link.removeprefix(URL)).status_code == 200
    assert _follow(Browser(console), link) == 303


def test_of_many_who_follow_a_link_at_once_one_gets_in(services: Services) -> None:
    secret = services.link_for(VIEWER, by=ADMIN).rpartition("/")[2]
    with ThreadPoolExecutor(8) as pool:
        opened = [each for each in pool.map(lambda _: services.accounts.follow(secret), range(16)) if each]
    assert len(opened) == 1


@pytest.mark.parametrize("end", ["expired", "inactive", "revoked"])
def test_a_link_is_worth_nothing_any_more(console: Console, services: Services, clock: ManualClock, end: str) -> None:
    import msgspec

    link = services.link_for(VIEWER, by=ADMIN)
    if end == "expired":
        clock.advance(services.settings.link)
    elif end == "revoked":
        services.accounts.end_all(VIEWER, by=ADMIN)
    else:
        known = services.people.find(VIEWER)
        assert known is not None
        services.people.change(msgspec.structs.replace(known.person, active=False), version=1, by=ADMIN, act="revoked")
    browser = Browser(console)
    assert browser.get(link.removeprefix(URL)).status_code == 404
    assert browser.submit("/sign-in/link", "/sign-in", secret=link.rpartition("/")[2]).status_code == 404


# --- passwords


def test_a_password_signs_in_and_both_ends_are_on_record(services: Services, browser: Browser) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    answer = browser.submit("/sign-in", "/sign-in", name="viewer", password=GOOD, next="/ledger")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ledger")
    assert browser.get("/ledger").status_code == 200
    assert browser.submit("/sign-out").status_code == 303
    assert browser.get("/ledger").headers["location"].startswith("/sign-in")
    acts = _acts(services)
    assert acts["viewer", "password"] == acts["viewer", "signed-in-by-password"] == acts["viewer", "signed-out"] == 1


def test_signing_in_again_takes_a_new_session_and_ends_the_old(services: Services, browser: Browser) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    browser.as_(services, "viewer")
    old = browser.cookies[services.cookie]
    # The form of somebody who is signed in already carries their session's token.
    assert browser.submit("/sign-in", "/sign-in", name="viewer", password=GOOD).status_code == 303
    assert services.accounts.session(old) is None
    assert len(services.accounts.sessions(VIEWER)) == 1


def test_sign_ins_and_tokens_are_listed_latest_first(services: Services, clock: ManualClock) -> None:
    accounts, known = services.accounts, services.people.find(VIEWER)
    assert known is not None
    for number in range(8):
        accounts.sign_in(known.person, "password")
        accounts.make_token(known.person, f"token {number}", frozenset({"viewer"}), timedelta(days=1))
        clock.advance(timedelta(minutes=1))
    opened = [each.created_us for each in accounts.sessions(VIEWER).values()]
    assert opened == sorted(set(opened), reverse=True)
    assert [each.name for each in accounts.tokens(VIEWER).values()] == [
        f"token {number}" for number in range(7, -1, -1)
    ]


def test_a_session_that_somebody_else_chose_is_not_taken_over(services: Services, browser: Browser) -> None:
    """Session fixation: a cookie planted before signing in is worth nothing afterwards."""
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    planted = "a" * 43
    browser.cookies.set(services.cookie, planted, domain="127.0.0.1")
    assert browser.submit("/sign-in", "/sign-in", name="viewer", password=GOOD).status_code == 303
    assert services.accounts.session(planted) is None


def test_unknown_names_and_wrong_passwords_look_alike(services: Services, browser: Browser) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    answers = []
    for name in ("viewer", "nobody-here", "auditor"):
        answer = browser.submit("/sign-in", "/sign-in", name=name, password="wrong wrong wrong")
        answers.append((answer.status_code, re.sub(r'value="[^"]*"', "", answer.text)))
        assert "set-cookie" not in answer.headers
    assert len(set(answers)) == 1
    assert answers[0][0] == 401
    acts = _acts(services)
    assert acts["viewer", "sign-in-failed"] == 1
    assert acts["unknown", "sign-in-failed"] == 1, "a name that nobody has may be a password: it is not recorded"
    assert not any("nobody-here" in record.data.decode() for record in services.ledger.entries())


def test_guessing_costs_twice_as_long_each_time(services: Services, browser: Browser, clock: ManualClock) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)

    def attempt(password: str) -> int:
        return int(browser.submit("/sign-in", "/sign-in", name="viewer", password=password).status_code)

    assert [attempt("wrong") for _ in range(FREE)] == [401] * FREE
    assert attempt(GOOD) == 429, "not even the right one, before the wait is over"
    waited = []
    for _ in range(4):
        seconds = 0
        while attempt("wrong") == 429:
            clock.advance(timedelta(seconds=1))
            seconds += 1
        waited.append(seconds)
    assert waited == [1, 2, 4, 8]
    clock.advance(timedelta(seconds=16))
    assert attempt(GOOD) == 303


def test_a_guesser_from_elsewhere_cannot_lock_the_owner_out_for_long(
    console: Console, services: Services, clock: ManualClock
) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    for number in range(40):
        services.throttle.begin(f"192.0.2.{number}", "viewer")
    clock.advance(timedelta(seconds=30))
    assert Browser(console).submit("/sign-in", "/sign-in", name="viewer", password=GOOD).status_code == 303


def test_one_address_cannot_try_many_names(console: Console, services: Services) -> None:
    browser = Browser(console, "2001:db8::1")
    for number in range(FREE):
        assert browser.submit("/sign-in", "/sign-in", name=f"name{number}", password="x").status_code == 401
    neighbour = Browser(console, "2001:db8::ffff")
    assert neighbour.submit("/sign-in", "/sign-in", name="another", password="x").status_code == 429
    assert Browser(console, "2001:db8:1::1").submit("/sign-in", "/sign-in", name="z", password="x").status_code == 401


def test_asking_at_once_is_asking_too_often(console: Console, services: Services) -> None:
    """A try counts from its beginning: those that begin before the first has failed are not free."""
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    tried, all_in = [], threading.Barrier(FREE)
    fits = services.accounts.password_fits

    def slowly(person: PersonId, password: str) -> bool:
        tried.append(password)
        all_in.wait(20)
        return fits(person, password)

    services.accounts.password_fits = slowly  # type: ignore[method-assign]
    browsers = [Browser(console) for _ in range(FREE)]
    csrf = [browser.csrf("/sign-in") for browser in browsers]
    form = {"name": "viewer", "password": "wrong wrong"}

    def post(number: int) -> int:
        data = {"csrf": csrf[number], **form}
        return int(browsers[number].post("/sign-in", data=data, headers={"Origin": URL}).status_code)

    with ThreadPoolExecutor(FREE) as pool:
        answers = [pool.submit(post, number) for number in range(FREE)]
        while len(tried) < FREE:
            time.sleep(0.01)
        assert Browser(console).submit("/sign-in", "/sign-in", **form).status_code == 429
        assert [answer.result() for answer in answers] == [401] * FREE
    assert len(tried) == FREE


def test_a_try_that_succeeds_costs_its_address_nothing(services: Services, clock: ManualClock) -> None:
    throttle, address = services.throttle, "192.0.2.1"
    for _ in range(FREE):
        assert not throttle.begin(address, "other")
    assert throttle.begin(address, "viewer"), "has to wait"
    clock.advance(timedelta(seconds=1))
    for _ in range(9):
        assert not throttle.begin(address, "viewer")
        throttle.succeeded(address, "viewer")


def test_who_tries_links_or_names_blocks_nobody_elses_link(console: Console, services: Services) -> None:
    path = services.link_for(VIEWER, by=ADMIN).removeprefix(URL)
    guesser = Browser(console, "203.0.113.66")
    assert [guesser.get("/sign-in/link/x").status_code for _ in range(FREE + 1)] == [404] * FREE + [429]
    for number in range(FREE):
        Browser(console, f"203.0.113.{number}").submit("/sign-in", "/sign-in", name="a link", password="x")
    assert Browser(console, "198.51.100.1").get(path).status_code == 200


def test_a_password_costs_what_it_should() -> None:
    """OWASP asks of Argon2id at least 19 MiB with two passes, or 46 MiB with one."""
    store = MemoryStore()
    people = People(store)
    hasher = Accounts(store, people, SystemClock(), idle=timedelta(1), lifetime=timedelta(1))._hasher
    assert (hasher.type, hasher.memory_cost >= 47_104, hasher.time_cost >= 2) == (argon2.Type.ID, True, True)


@pytest.mark.parametrize(
    "weak", ["short", "x" * 129, "password1234", "viewerviewer12", "qwertyuiop12", "aaaaaaaaaaaaaaaa", "fiducial2026!"]
)
def test_passwords_that_are_easily_guessed_are_refused(services: Services, weak: str) -> None:
    with pytest.raises(OversightError):
        services.accounts.set_password(VIEWER, weak, by=VIEWER)
    assert services.accounts.account(VIEWER).password == ""


def test_changing_a_password_takes_the_old_one_and_ends_everything_else(
    console: Console, services: Services, browser: Browser
) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    other = Browser(console).as_(services, "viewer")
    person = services.people.find(VIEWER)
    assert person is not None
    token = services.accounts.make_token(person.person, "script", frozenset({"viewer"}), timedelta(days=1))
    browser.as_(services, "viewer")
    new = "velvet cactus orbit fifteen"
    wrong = browser.submit("/account/password", current="wrong", password=new, again=new)
    assert wrong.status_code == 403
    differ = browser.submit("/account/password", current=GOOD, password=new, again=new + "x")
    assert differ.status_code == 422
    assert browser.submit("/account/password", current=GOOD, password=new, again=new).status_code == 303
    assert browser.get("/account").status_code == 200
    assert other.get("/account").status_code == 303
    assert services.accounts.token(token) is None
    assert services.accounts.password_fits(VIEWER, new)
    assert not services.accounts.password_fits(VIEWER, GOOD)


def test_whoever_lost_the_password_sets_another_by_a_link_and_then_needs_that_one(
    console: Console, services: Services
) -> None:
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    browser, new, third = Browser(console), "velvet cactus orbit fifteen", "marble lantern fjord eleven"
    assert _follow(browser, services.link_for(VIEWER, by=ADMIN)) == 303
    other = Browser(console).as_(services, "viewer")
    assert browser.submit("/account/password", password=new, again=new).status_code == 303
    assert other.get("/account").status_code == 303
    assert services.accounts.password_fits(VIEWER, new)
    assert browser.submit("/account/password", password=third, again=third).status_code == 403


@pytest.mark.parametrize("made", ["token", "session", "link", "another's link", "password"])
def test_nothing_that_was_on_its_way_outlives_a_revocation(console: Console, services: Services, made: str) -> None:
    """The gate had let it in, or the password was right; then everything was revoked; then it was to be kept."""
    accounts, known = services.accounts, services.people.find(VIEWER)
    assert known is not None
    secret, link = accounts.sign_in(known.person, "password"), services.link_for(VIEWER, by=ADMIN)
    signed = accounts.session(secret)
    assert signed is not None
    accounts.end_all(VIEWER, by=ADMIN)
    if made == "link":
        assert accounts.follow(link.rpartition("/")[2]) is None
        return
    person, roles, day = known.person, frozenset(known.person.console), timedelta(days=1)
    ways: dict[str, Callable[[], object]] = {
        "token": lambda: accounts.make_token(person, "x", roles, day, epoch=signed.epoch),
        "session": lambda: accounts.sign_in(person, "password", epoch=signed.epoch),
        "another's link": lambda: services.link_for(ADMIN, by=VIEWER, asked=signed),
        "password": lambda: accounts.set_password(VIEWER, GOOD, by=VIEWER, keep=signed),
    }
    with pytest.raises(Conflict):
        ways[made]()
    assert not accounts.account(VIEWER).password
    assert not accounts.tokens(VIEWER)
    assert not accounts.sessions(VIEWER)


@pytest.mark.parametrize("kept", [True, False])
def test_a_password_is_not_set_by_what_was_revoked_while_it_was_hashed(
    services: Services, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The revocation comes last of all: after the session was looked at, and before the commit."""
    accounts, known = services.accounts, services.people.find(VIEWER)
    assert known is not None
    signed = accounts.session(accounts.sign_in(known.person, "password"))
    look = accounts._everything

    def looked(person: PersonId) -> list[str]:
        monkeypatch.undo()
        keys = look(person)
        # It did not see the session, which somebody is using: only the count of revocations tells of it.
        monkeypatch.setattr(accounts, "_everything", lambda _: [])
        accounts.end_all(VIEWER, by=ADMIN)
        return keys

    monkeypatch.setattr(accounts, "_everything", looked)
    with pytest.raises(Conflict):
        accounts.set_password(VIEWER, GOOD, by=VIEWER, keep=signed if kept else None)
    assert not accounts.account(VIEWER).password


def test_a_session_that_a_revocation_did_not_see_is_worth_nothing(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was kept after the revocation had looked for what to end, and before its commit."""
    accounts, known = services.accounts, services.people.find(VIEWER)
    assert known is not None
    look, opened = accounts._everything, []

    def looked(person: PersonId) -> list[str]:
        keys = look(person)
        opened.append(accounts.sign_in(known.person, "password"))
        opened.append(accounts.make_token(known.person, "x", frozenset({"viewer"}), timedelta(days=1)))
        return keys

    monkeypatch.setattr(accounts, "_everything", looked)
    accounts.end_all(VIEWER, by=ADMIN)
    session, token = opened
    assert accounts.session(session) is None
    assert not accounts.peek(session)
    assert accounts.token(token) is None
    assert not accounts.sessions(VIEWER)
    assert not accounts.tokens(VIEWER)


def test_judging_a_password_is_quick_whatever_it_is(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []

    def judge(password: str, user_inputs: list[str]) -> dict[str, int]:
        judged.append(password)
        return {"score": 4}

    monkeypatch.setattr("fiducial.console.accounts.zxcvbn", judge)
    services.accounts.set_password(VIEWER, "4@8({[<369!1|7$0+%25zZ" * 4, by=VIEWER)
    assert [len(each) for each in judged] == [32]


# --- sessions


def test_sessions_end_when_unused_and_after_their_lifetime(
    services: Services, browser: Browser, clock: ManualClock
) -> None:
    browser.as_(services, "viewer")
    for _ in range(24):
        clock.advance(timedelta(minutes=29))
        assert browser.get("/ledger").status_code == 200
    clock.advance(timedelta(minutes=29))
    assert browser.get("/ledger").status_code == 303, "past twelve hours"
    browser.as_(services, "viewer")
    clock.advance(services.settings.idle)
    assert browser.get("/ledger").status_code == 303, "unused for half an hour"


def test_a_person_ends_their_own_sessions_and_nobody_elses(console: Console, services: Services) -> None:
    mine, other = Browser(console).as_(services, "viewer"), Browser(console).as_(services, "viewer")
    stranger = Browser(console).as_(services, "auditor")
    key = digest_of(other.cookies[services.cookie])
    assert stranger.submit("/account/sessions/end", key=key).status_code == 404
    assert other.get("/ledger").status_code == 200
    assert mine.submit("/account/sessions/end", key=key).status_code == 303
    assert other.get("/ledger").status_code == 303
    assert mine.get("/ledger").status_code == 200


def test_an_administrator_signs_somebody_out_everywhere(console: Console, services: Services) -> None:
    admin = Browser(console).as_(services, "admin")
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    viewer = Browser(console).as_(services, "viewer")
    assert admin.submit("/people/viewer/revoke").status_code == 303
    assert viewer.get("/ledger").status_code == 303
    acts = _acts(services)
    assert acts["viewer", "revoked"] == acts["viewer", "password-voided"] == 1
    assert Browser(console).submit("/sign-in", "/sign-in", name="viewer", password=GOOD).status_code == 401


def test_what_is_stored_signs_nobody_in(services: Services, browser: Browser, store: SqliteStore) -> None:
    browser.as_(services, "viewer")
    person = services.people.find(VIEWER)
    assert person is not None
    link = services.link_for(VIEWER, by=ADMIN).rpartition("/")[2]
    services.accounts.set_password(VIEWER, GOOD, by=VIEWER)
    token = services.accounts.make_token(person.person, "script", frozenset({"viewer"}), timedelta(days=1))
    store.flush()
    kept = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    for secret in (browser.cookies[services.cookie], link, token, token.removeprefix("fiducial_"), GOOD):
        assert secret.encode() not in kept
    assert b"$argon2id$" in kept


# --- tokens


def test_tokens_are_shown_once_and_bounded_by_their_owner(services: Services, browser: Browser) -> None:
    browser.as_(services, "viewer")
    refused = browser.submit("/account/tokens", name="script", days="30", roles="admin")
    assert refused.status_code == 422
    assert browser.submit("/account/tokens", name="script", days="367", roles="viewer").status_code == 422
    assert browser.submit("/account/tokens", name="script", days="-1", roles="viewer").status_code == 422
    page = browser.submit("/account/tokens", name="script", days="30", roles="viewer")
    found = re.search(r"fiducial_[\w-]{43}", page.text)
    assert found is not None
    assert found[0] not in browser.get("/account").text
    signed = services.accounts.token(found[0])
    assert signed is not None
    assert signed.roles == {"viewer"}
    key = digest_of(found[0])
    assert browser.submit("/account/tokens/end", key=key).status_code == 303
    assert services.accounts.token(found[0]) is None


def test_a_token_is_no_session_and_a_session_no_token(services: Services, browser: Browser) -> None:
    person = services.people.find(VIEWER)
    assert person is not None
    token = services.accounts.make_token(person.person, "script", frozenset({"viewer"}), timedelta(days=1))
    assert services.accounts.session(token) is None
    assert services.accounts.token(services.accounts.sign_in(person.person, "password")) is None
    assert browser.get("/ledger", headers={"Authorization": f"Bearer {token}"}).status_code == 303
