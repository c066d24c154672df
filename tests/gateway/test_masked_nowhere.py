"""Values that are masked are in nothing that is written, shown, sent or said, whatever goes wrong with them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from functools import partial

import argon2
import httpx2
import pytest
from gateway_world import OLGA, House
from model_world import Call, ChatTalk, Gate, MessagesTalk, ResponsesTalk, Talk
from otlp_world import Collector
from starlette.testclient import TestClient
from typer.testing import CliRunner

from fiducial.cli.log import app
from fiducial.console.app import Console
from fiducial.console.services import Services, Settings
from fiducial.core.event import HoldRequested, SessionOpened
from fiducial.core.ids import PersonId
from fiducial.gateway.model import turn
from fiducial.gateway.otlp.exporter import Exporter
from fiducial.gateway.trusted import trusted
from fiducial.guard.state import State
from fiducial.oversight.people import Person
from fiducial.policy.rulebook import compile_rulebook

MAIL, CARD, IBAN, OTHER = "ann.fox@example.org", "4111 1111 1111 1111", "DE89370400440532013000", "bob.ray@example.org"
VALUES = (MAIL, CARD, CARD.replace(" ", ""), IBAN, OTHER)
URL = "http://127.0.0.1:8440"
THE_CLIENTS = ("openai", "anthropic", "httpcore", "asyncio")
"""Loggers of the agent's own SDKs, which have the values."""


def test_of_a_whole_conversation(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    gate = Gate(house, mask=["payment", "contact"])
    told: list[str] = []
    _talked(house, ChatTalk(gate, stream=False), monkeypatch)
    _talked(house, ResponsesTalk(gate, stream=True), monkeypatch)
    _talked(house, MessagesTalk(gate, stream=True), monkeypatch)
    for path in ("gpt/chat/completions", "gpt/responses", "claude/messages"):
        told.extend(_refused(gate, path))
    house.store.flush()
    everything = {
        "the provider": json.dumps(gate.provider.asked).encode(),
        "the log of the process": "".join(
            f"{record.getMessage()}{record.exc_text or ''}"
            for record in caplog.records
            if not record.name.startswith(THE_CLIENTS)
        ).encode(),
        "what is said of errors": "".join(told).encode(),
        "traces": _traces(house),
        **{path.name: path.read_bytes() for path in house.path.parent.iterdir() if path.is_file()},
        **_pages(house),
        **_printed(house),
    }
    found = [(where, value) for where, text in everything.items() for value in VALUES if value.encode() in text]
    assert found == []
    for where in ("fiducial.db", "traces", "fiducial log show", "/sessions/"):
        assert any(b"masked-contact-" in text for name, text in everything.items() if name.startswith(where)), where


def _talked(house: House, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are allowed, fail, are denied, held and approved, and that the guard or the door breaks over."""
    talk.user(f"Put {MAIL} on the list, and pay {IBAN} from card {CARD}.")
    _, [(id, _, given)] = talk.send(f"To {MAIL}.", Call("write_note", {"name": MAIL, "text": f"{MAIL} has {CARD}"}))
    assert given == {"name": MAIL, "text": f"{MAIL} has {CARD}"}
    talk.came(id, {"ok": True, "mail": OTHER, "number": int(CARD.replace(" ", "")), OTHER: [IBAN]})
    talk.send("So.", Call("wipe", {"name": OTHER}))
    talk.user("And now?")
    _, calls = talk.send("I pay.", Call("pay_bill", {"account": IBAN, "amount": 5}))
    assert calls == []
    house.store.flush()
    asked = [each.event for each in house.store.ledger().entries(0) if isinstance(each.event, HoldRequested)]
    house.desk.vote(asked[-1].hold, OLGA, "approve")
    talk.user("It was approved.")
    _, [(id, _, given)] = talk.send("Again.", Call("pay_bill", {"account": IBAN, "amount": 5}))
    assert given == {"account": IBAN, "amount": 5}
    talk.came(id, f"failed: no account {IBAN}, ask {OTHER}")
    talk.user("Once more.")
    talk.send("No.", Call("no_such_tool", {MAIL: CARD}), Call("write_note", {"name": 5, MAIL: IBAN}))
    talk.user("And that?")
    for broken in (partial(monkeypatch.setattr, State, "facts"), partial(monkeypatch.setattr, turn, "decided")):
        broken(_break)
        _, calls = talk.send("Well.", Call("write_note", {"name": "list", "text": CARD}))
        assert calls == []
        monkeypatch.undo()
        talk.user("And now?")
    _, calls = talk.send("I ask.", Call("pay_bill", {"account": IBAN, "amount": 6}))
    assert calls == [], "it waits for somebody"


def _break(*_: object, **__: object) -> None:
    raise ValueError(f"invalid: {MAIL} {CARD} {IBAN}")


def _refused(gate: Gate, path: str) -> Iterator[str]:
    """What is said of requests that cannot be read, and of a provider that repeats what it cannot know."""
    headers = {"Authorization": "Bearer key-of-one", "x-api-key": "key-of-one"}
    with _http(gate, headers) as client:
        for body in (
            f'{{"model": "m", "{MAIL}": 1, "{MAIL}": 2}}',
            f'{{"model": "m", "messages": "{CARD}", "input": 5, "max_tokens": "{IBAN}"}}',
            f'["{IBAN}"',
            json.dumps({"model": "m", "tools": [{"type": CARD}], "messages": [{"role": "user", "content": MAIL}]}),
        ):
            answer = client.post(f"/models/{path}", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code >= 400, (body, answer.text)
            yield answer.text


def _http(gate: Gate, headers: dict[str, str]) -> httpx2.Client:
    """A plain HTTP client of the gateway."""
    return httpx2.Client(base_url=gate.site.url, headers=headers, timeout=20, verify=trusted())


def _traces(house: House) -> bytes:
    collector = Collector()
    exporter = Exporter(house.store, collector.url, content=True)
    try:
        while (done := exporter.send()).more:
            assert not done.failed
    finally:
        exporter.close()
        collector.close()
    return b"".join(request.SerializeToString() for request in collector.requests)


def _pages(house: House) -> dict[str, bytes]:
    """Every page of the console that a link leads to, as an auditor and an operator see it."""
    services = Services(house.store, compile_rulebook(house.charter), Settings(url=URL))
    services.accounts._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    olga = Person(id=PersonId("olga"), name="Olga", console=("auditor", "operator", "admin"), roles=("operator",))
    services.people.add(olga, by=PersonId("console"))
    found: dict[str, bytes] = {}
    with TestClient(Console(services), base_url=URL, follow_redirects=True) as browser:
        browser.cookies.set(services.cookie, services.accounts.sign_in(olga, "password"), domain="127.0.0.1")
        left = ["/", "/api/v1/requests", "/api/v1/sessions", "/decisions"]
        while left:
            at = left.pop()
            answer = browser.get(at)
            found[at] = answer.content
            if "text/html" in answer.headers["content-type"]:
                links = re.findall(r'href="(/[^"#]*)', answer.text)
                left.extend({each for each in links if each not in found and each not in left} - {"/sign-out"})
    services.close()
    assert sum(name.startswith("/sessions/") for name in found) >= 3
    assert any(name.startswith("/events/") for name in found)
    assert any(name.startswith("/waiting/") for name in found)
    return found


def _printed(house: House) -> dict[str, bytes]:
    """What commands print of the log."""
    at = ["--db", str(house.path)]

    def output(*words: str) -> bytes:
        ran = CliRunner().invoke(app, [*words, *at])
        assert ran.exit_code == 0, ran.output
        return ran.output.encode()

    events = [each.event for each in house.store.ledger().entries(0)]
    sessions = [each.session for each in events if isinstance(each, SessionOpened)]
    return {
        "fiducial log tail": output("tail", "-n", "1000"),
        "fiducial log show": b"".join(output("show", each, "--payloads") for each in sessions),
        "fiducial log export": output("export", "--payloads"),
    }
