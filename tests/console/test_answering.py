"""What a person approves is what they saw: forms as browsers send them, and what was shown but is so no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import argon2
import pytest
from console_world import ACCOUNT, ATTACK, TOOLS, URL, Browser, bank, guard_of

from fiducial.charter.contracts import Contract
from fiducial.charter.model import Charter
from fiducial.console.app import Console
from fiducial.console.services import Services, Settings
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId
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
