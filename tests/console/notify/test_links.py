"""Signed links: to one request, for a while, and no way in."""

from __future__ import annotations

import base64
import re
from datetime import timedelta

import pytest
from console_world import URL, Browser, held
from hypothesis import given
from hypothesis import strategies as st

from fiducial.console.app import Console
from fiducial.console.links import KEYS, PATH, ROTATION, Links
from fiducial.console.services import Services
from fiducial.core.clock import ManualClock
from fiducial.core.event import HoldSeen
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit, Put
from fiducial.errors import OversightError, StoreError
from fiducial.oversight.hold import Hold
from fiducial.store.memory import MemoryStore


@pytest.fixture
def hold(services: Services) -> Hold:
    held(services)
    [found] = services.desk.waiting()
    return found


@pytest.fixture
def link(services: Services, hold: Hold) -> str:
    return services.links.address("", hold.id, hold.role, hold.expires_us)


def test_a_link_opens_its_request_and_that_it_was_followed_is_on_record(
    console: Console, services: Services, hold: Hold, link: str
) -> None:
    approver = Browser(console).as_(services, "approver")
    for _ in range(2):
        answer = approver.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/waiting/{hold.id}")
    services.store.flush()  # type: ignore[attr-defined]
    events = [record.event for record in services.ledger.session(hold.session)]
    seen = [(event.by, event.how) for event in events if isinstance(event, HoldSeen)]
    assert seen == [("approver", "followed")], "once, however often"
    assert "followed a notification&#39;s link to the request" in approver.get(f"/sessions/{hold.session}").text


def test_a_link_lets_nobody_in_and_decides_nothing(console: Console, services: Services, hold: Hold, link: str) -> None:
    stranger = Browser(console)
    before = stranger.get(link)
    assert before.status_code == 303
    assert before.headers["location"].startswith("/sign-in?next=%2Fnotice%2F")
    assert services.cookie not in stranger.cookies
    assert stranger.post(link, headers={"Origin": URL}).status_code == 405
    administrator = Browser(console).as_(services, "admin")
    assert administrator.get(link).status_code == 403, "a link gives no role"
    assert services.desk.hold(hold.id).open
    assert services.store.scan("console/followed/") == {}


def test_signing_in_on_the_way_leads_to_the_request(
    console: Console, services: Services, hold: Hold, link: str
) -> None:
    who = PersonId("approver")
    services.accounts.set_password(who, "a lake under three green hills", by=who)
    browser = Browser(console)
    page = browser.get(link).headers["location"]
    form = browser.get(page).text
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', form)
    way = re.search(r'name="next" value="([^"]+)"', form)
    assert csrf is not None
    assert way is not None
    fields = {"csrf": csrf[1], "name": "approver", "password": "a lake under three green hills", "next": way[1]}
    signed_in = browser.post("/sign-in", data=fields, headers={"Origin": URL})
    assert signed_in.headers["location"] == link
    assert browser.get(link).headers["location"] == f"/waiting/{hold.id}"


def test_a_changed_link_leads_nowhere(console: Console, services: Services, hold: Hold, link: str) -> None:
    approver = Browser(console).as_(services, "approver")
    what, _, mac = link.removeprefix(PATH).partition(".")
    said = base64.urlsafe_b64decode(what + "=" * (-len(what) % 4))
    other = said.replace(hold.id.encode(), b"hld_" + b"0" * 26)
    longer = said.replace(str(hold.expires_us).encode(), str(hold.expires_us * 9).encode())
    assert other != said != longer
    for bad in (other, longer):
        answer = approver.get(f"{PATH}{base64.urlsafe_b64encode(bad).rstrip(b'=').decode()}.{mac}")
        assert answer.status_code == 404
        assert "link is not one of ours" in answer.text.lower()
    for bad_link in (
        f"{PATH}{what}",
        f"{PATH}{what}.",
        f"{PATH}{what}.{mac}A",
        f"{PATH}.{mac}",
        f"{PATH}x.y",
        f"{PATH}%ff.%ff",
    ):
        assert approver.get(bad_link).status_code == 404, bad_link
    assert services.store.scan("console/followed/") == {}


@given(at=st.integers(0, 10_000), to=st.characters(max_codepoint=0x2FF), text=st.text(max_size=40))
def test_any_one_character_changed_is_found_out(at: int, to: str, text: str) -> None:
    links = Links(MemoryStore(), ManualClock())
    link = links.address("", "hld_x", "operator", 2**62).removeprefix(PATH)  # type: ignore[arg-type]
    at %= len(link)
    changed = link[:at] + to + link[at + 1 :]
    for bad in {changed, text, link + text} - {link}:
        with pytest.raises(OversightError):
            links.read(bad)
    assert links.read(link).hold == "hld_x"


def test_a_link_is_written_in_one_way_only() -> None:
    """The last character of base64 has bits that count for nothing: two links must not mean the same."""
    links = Links(MemoryStore(), ManualClock())
    what, _, mac = links.address("", "hld_xy", "operator", 2**62).removeprefix(PATH).partition(".")  # type: ignore[arg-type]
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        for changed in {f"{what[:-1]}{last}.{mac}", f"{what}.{mac[:-1]}{last}"} - {f"{what}.{mac}"}:
            with pytest.raises(OversightError):
                links.read(changed)


def test_a_link_is_over_at_the_deadline(
    console: Console, services: Services, hold: Hold, link: str, clock: ManualClock
) -> None:
    approver = Browser(console).as_(services, "approver")
    name = link.removeprefix(PATH)
    clock.advance(timedelta(microseconds=hold.expires_us - clock.unix_us() - 1))
    assert services.links.read(name).hold == hold.id
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(OversightError, match="is over"):
        services.links.read(name)
    approver.as_(services, "approver")
    assert approver.get(link).status_code == 404


def test_keys_change_by_themselves_and_the_one_before_still_counts() -> None:
    clock, store = ManualClock(), MemoryStore()
    links, elsewhere = Links(store, clock), Links(store, clock)
    made = [links.address("", "hld_1", "operator", 2**62).removeprefix(PATH)]  # type: ignore[arg-type]
    for _ in range(2):
        clock.advance(ROTATION)
        made.append(elsewhere.address("", "hld_1", "operator", 2**62).removeprefix(PATH))  # type: ignore[arg-type]
    assert [elsewhere.read(each).hold for each in made[1:]] == ["hld_1", "hld_1"]
    with pytest.raises(OversightError):
        links.read(made[0])
    links.void_all()
    for each in made:
        with pytest.raises(OversightError, match="void"):
            elsewhere.read(each)


def test_keys_that_cannot_be_read_sign_nothing() -> None:
    store = MemoryStore()
    links = Links(store, ManualClock())
    store.commit(Commit(changes=(Put(KEYS, b"{"),))).result()
    with pytest.raises(StoreError, match="notify void"):
        links.address("", "hld_1", "operator", 2**62)  # type: ignore[arg-type]
    links.void_all()
    assert links.read(links.address("", "hld_1", "operator", 2**62).removeprefix(PATH)).role == "operator"  # type: ignore[arg-type]
