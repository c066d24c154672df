"""What a person approves is what they saw: forms as browsers send them, and what was shown but is so no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import argon2
import pytest
from console_world import ACCOUNT, ATTACK, TOOLS, URL, Browser, bank, guard_of, held, pay

from fiducial.charter.contracts import Contract
from fiducial.charter.model import Charter
from fiducial.console.app import Console
from fiducial.console.services import Services, Settings
from fiducial.core.clock import ManualClock
from fiducial.core.ids import EventId, PersonId
from fiducial.oversight.cells import GRANTS
from fiducial.oversight.hold import Hold
from fiducial.oversight.people import Person
from fiducial.policy.rulebook import compile_rulebook
from fiducial.store.sqlite import SqliteStore


class Forms(HTMLParser):
    """The forms of a page, and what a browser would send: a text area loses a leading line break, and others change."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] | None = None
        self._area = self._text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kind = given.get("type", "text")
        if tag == "form":
            self._form = self.forms.setdefault(given["action"].partition("#")[0], {})
        elif self._form is not None and tag == "textarea":
            self._area, self._text = given["name"], ""
        elif self._form is not None and tag == "input" and (kind not in ("checkbox", "radio") or "checked" in given):
            self._form[given["name"]] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag == "textarea" and self._form is not None:
            text = self._text.removeprefix("\n").replace("\0", "\ufffd")
            self._form[self._area] = re.sub(r"\r\n?|\n", "\r\n", text)


@pytest.fixture
def approver(console: Console, services: Services) -> Browser:
    return Browser(console).as_(services, "approver")


def _asked(services: Services, **arguments: Any) -> tuple[Any, Hold]:
    """A payment of 120 that waits, and its session."""
    session = guard_of(services).session(user="emma", roles=["customer"], task="Please pay the bill in bill.txt.")
    session.call("read_file", {"file_path": "bill.txt"}, run=lambda file_path: ATTACK)
    session.call("send_money", {"recipient": ACCOUNT, "amount": 120, **arguments}, run=lambda **given: given)
    [hold] = services.desk.waiting()
    return session, hold


def _fields(page: str, action: str) -> dict[str, str]:
    return dict(Forms(page).forms[action])


def _send(browser: Browser, path: str, fields: Mapping[str, str]) -> Any:
    kind = "application/x-www-form-urlencoded"
    return browser.post(path, content=urlencode(fields), headers={"Origin": URL, "Content-Type": kind})


def _console(store: SqliteStore, charter: Charter, clock: ManualClock) -> tuple[Services, Browser]:
    """Another console, with an approver, under `charter`."""
    console = Console(Services(store, compile_rulebook(charter), Settings(url=URL), clock))
    services = console.services
    services.accounts._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    if services.people.find(PersonId("approver")) is None:
        roles = ("fraud-desk", "operator")
        person = Person(id=PersonId("approver"), name="A", console=("approver",), roles=roles)
        services.people.add(person, by=PersonId("console"))
    return services, Browser(console).as_(services, "approver")


def _bank_with(**changes: Any) -> Charter:
    """The bank, with something else about payments."""
    send = {**TOOLS["send_money"], **changes}
    tools = {**TOOLS, "send_money": {name: value for name, value in send.items() if value is not None}}
    contracts = {name: Contract.model_validate(tool) for name, tool in tools.items()}
    like = bank()
    return Charter.build(like.about, contracts, like.clauses, like.policies)


# --- another call instead

TEXTS = {
    "long": "Dear Ms Smith, " + "the contract says so. " * 200,
    "odd": "Rent\u00a0for\u00a0May \u2764\ufe0f \u202e",
    "lines": "one\ntwo\r\nthree\rfour",
    "spaces": "\n  indented  \n",
    "nothing": "",
    "nul": "a\0b",
    "markup": "</textarea>&lt;b&gt;",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_nobody_touched_is_as_the_agent_asked_for_it(services: Services, approver: Browser, text: str) -> None:
    _, hold = _asked(services, subject=text)
    path = f"/waiting/{hold.id}/edit"
    fields = _fields(approver.get(f"/waiting/{hold.id}").text, path)
    unchanged = _send(approver, path, fields)
    assert (unchanged.status_code, "nothing was changed" in unchanged.text) == (422, True)
    again = _fields(unchanged.text, path)
    assert again == fields, "what was refused is given back as it was sent"
    assert _send(approver, path, {**again, "argument-amount": "100"}).status_code == 303
    assert services.desk.hold(hold.id).instead == {"recipient": ACCOUNT, "amount": 100, "subject": text}


def test_what_somebody_typed_counts_as_typed(services: Services, approver: Browser) -> None:
    _, hold = _asked(services, subject="old")
    path = f"/waiting/{hold.id}/edit"
    fields = _fields(approver.get(f"/waiting/{hold.id}").text, path)
    assert _send(approver, path, {**fields, "argument-subject": " new\r\n line "}).status_code == 303
    assert services.desk.hold(hold.id).instead["subject"] == " new\n line "


@pytest.mark.parametrize("schema", [{"enum": [1, 2, 3]}, {"type": ["number", "null"]}])
def test_a_value_keeps_its_kind(store: SqliteStore, clock: ManualClock, schema: dict[str, Any]) -> None:
    priority = {"role": "option", "required": False, "schema": schema}
    charter = _bank_with(parameters={**TOOLS["send_money"]["parameters"], "priority": priority})  # type: ignore[dict-item]
    services, browser = _console(store, charter, clock)
    _, hold = _asked(services, priority=2)
    path = f"/waiting/{hold.id}/edit"
    fields = _fields(browser.get(f"/waiting/{hold.id}").text, path)
    assert _send(browser, path, {**fields, "argument-priority": "3"}).status_code == 303
    assert services.desk.hold(hold.id).instead["priority"] == 3
    services.close()


# --- a class of calls


def _class(approver: Browser, hold: Hold, **fields: str) -> dict[str, str]:
    """The form that confirms the class, once its rule was shown."""
    path = f"/waiting/{hold.id}/class"
    shown = _send(approver, path, {**_fields(approver.get(f"/waiting/{hold.id}").text, path), **fields})
    assert "This is the rule" in shown.text
    return {**_fields(shown.text, path), "confirm": "yes"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_class_that_was_read_is_given(services: Services, approver: Browser, text: str) -> None:
    _, hold = _asked(services, subject=text)
    given = _send(approver, f"/waiting/{hold.id}/class", _class(approver, hold))
    assert (given.status_code, services.desk.hold(hold.id).state) == (303, "approved")


@pytest.mark.parametrize("changed", [{"uses": "1000"}, {"minutes": "1440"}, {"bound-amount": "any"}])
def test_another_class_than_was_read_is_shown_again(
    services: Services, approver: Browser, changed: dict[str, str]
) -> None:
    _, hold = _asked(services)
    again = _send(approver, f"/waiting/{hold.id}/class", {**_class(approver, hold), **changed})
    assert (again.status_code, "This is the rule" in again.text) == (200, True)
    assert list(services.store.scan(GRANTS)) == []


# --- what is shown


def test_all_of_a_long_value_can_be_read_before_it_is_approved(services: Services, approver: Browser) -> None:
    _, hold = _asked(services, subject="Rent. " * 4_000 + "AND-THE-STANDING-ORDER\u202e " + "Thanks. " * 1_000)
    page = approver.get(f"/waiting/{hold.id}").text
    whole = re.search(r'<details class="whole">.*?</details>', page, re.DOTALL)
    assert whole is not None
    assert "AND-THE-STANDING-ORDER" in whole[0]
    assert "left out" not in whole[0]
    assert "\u202e" not in whole[0]


def test_nothing_is_said_of_a_tool_by_another_charter(
    console: Console, services: Services, store: SqliteStore, clock: ManualClock
) -> None:
    """The console shows one that calls a payment a look; the agent runs under the bank's."""
    _, hold = _asked(services)
    tame = _bank_with(effect="read", kind="read", description="Shows a payment.", cost=None)
    theirs, browser = _console(store, tame, clock)
    page = browser.get(f"/waiting/{hold.id}").text
    assert "under another charter" in page
    for words in (
        "Shows a payment",
        "Nothing changes by it",
        "look something up",
        f"{hold.id}/edit",
        f"{hold.id}/class",
    ):
        assert words not in page, words
    assert "another charter" in browser.get("/waiting").text
    for act in ("edit", "class"):
        assert _send(browser, f"/waiting/{hold.id}/{act}", {"csrf": browser.csrf()}).status_code == 422
    assert theirs.desk.hold(hold.id).open
    own = Browser(console).as_(services, "approver")
    assert "another charter" not in own.get(f"/waiting/{hold.id}").text + own.get("/waiting").text
    theirs.close()


def test_what_was_erased_is_only_rejected(services: Services, approver: Browser, store: SqliteStore) -> None:
    session, hold = _asked(services)
    path = f"/waiting/{hold.id}"
    fields = _fields(approver.get(path).text, f"{path}/edit")
    _erase(services, store, hold)
    assert 'value="approve"' not in approver.get(path).text
    for act, sent in (("answer", {"answer": "approve"}), ("edit", {**fields, "argument-amount": "1"}), ("class", {})):
        assert _send(approver, f"{path}/{act}", {"csrf": fields["csrf"], **sent}).status_code == 422, act
    assert services.desk.hold(hold.id).open
    assert approver.submit(f"{path}/answer", path, answer="reject", note="nobody knows").status_code == 303
    assert pay(session).status == "not-run"


def _erase(services: Services, store: SqliteStore, hold: Hold) -> None:
    store.flush()
    record = services.ledger.find(EventId("evt" + hold.decision[3:]))
    assert record is not None
    for payload in record.payloads:
        store.erase(payload.ref.digest, by="x", why="asked to")


# --- several at once


def test_an_answer_for_others_is_for_those_that_were_shown(
    services: Services, approver: Browser, store: SqliteStore
) -> None:
    for _ in range(4):
        held(services)
    shown = {hold.id for hold in services.desk.waiting()}
    first, erased, *_ = services.desk.waiting()
    path = f"/waiting/{first.id}"
    page = approver.get(path).text
    assert "Also for the 3 that differ only in the session" in page
    held(services)
    [last] = [hold for hold in services.desk.waiting() if hold.id not in shown]
    assert last.id not in _fields(page, f"{path}/answer")["with"]
    _erase(services, store, erased)
    sent = {**_fields(page, f"{path}/answer"), "alike": "yes", "answer": "approve"}
    assert _send(approver, f"{path}/answer", {**sent, "with": ""}).status_code == 422
    assert _send(approver, f"{path}/answer", sent).status_code == 303
    assert {hold.id for hold in services.desk.waiting()} == {erased.id, last.id}
