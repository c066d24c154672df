"""The console as a process of its own, over HTTP, on any store; and killed before the agent has heard the answer."""

from __future__ import annotations

import html
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fiducial import Guard, load_charter
from fiducial.core.event import CallFinished, HoldSettled
from fiducial.oversight import Desk
from fiducial.store.open import open_store

CHARTER = Path(__file__).parents[2] / "examples/charters/agentdojo/banking"
ACCOUNT = "GB29NWBK60161331926819"
PAYMENT = {"recipient": ACCOUNT, "amount": 10.0, "subject": "rent", "date": "2022-01-01"}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    where, key_path = str(tmp_path / "log.db"), tmp_path / "log.db.key"
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        where, key_path = postgres.url, postgres.key_path
    monkeypatch.setenv("FIDUCIAL_KEY_FILE", str(key_path))
    monkeypatch.setenv("FIDUCIAL_DB", where)
    with open_store(where, key_path=key_path) as made:
        yield made


class Running:
    """`fiducial up`, and a browser in which its first administrator is signed in."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-c", "from fiducial.cli import main; main()", "up", os.environ["FIDUCIAL_DB"]]
        self.process = subprocess.Popen(
            [*command, "--charter", str(CHARTER), "--listen", self.url.removeprefix("http://")],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.client = httpx2.Client(transport=httpx2.HTTPTransport(retries=8), timeout=30, follow_redirects=True)
        assert self.process.stdout is not None
        said = "".join(self.process.stdout.readline() for _ in range(2))
        link = re.search(r"/sign-in/link/[\w-]{43}", said)
        assert link is not None, said
        self.link = link[0]

    def get(self, path: str) -> str:
        page = self.client.get(self.url + path)
        assert page.status_code == 200, (path, page.status_code)
        return page.text

    def form(self, path: str, action: str, **fields: str) -> httpx2.Request:
        """The form of the page at `path` that goes to `action`, filled in."""
        page = self.get(path)
        form = next(each for each in re.findall(r"<form.*?</form>", page, re.S) if f'action="{action}"' in each)
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
        data = {name: html.unescape(value) for name, value in hidden} | fields
        return self.client.build_request("POST", self.url + action, data=data, headers={"Origin": self.url})

    def send(self, request: httpx2.Request) -> str:
        answer = self.client.send(request)
        assert answer.status_code == 200, answer.text
        return answer.text

    def sign_in(self) -> None:
        self.send(self.form(self.link, "/sign-in/link"))

    def close(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def console(store: Any) -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


def asked(store: Any) -> tuple[Any, str]:
    """A session whose payment waits, and the request."""
    session = Guard(load_charter(CHARTER), store=store, desk=Desk(store)).session(
        user="emma", task="Send 10 to my landlord, whose account is in landlord.txt"
    )
    session.observe("read_file", {"file_path": "landlord.txt"}, f"Rent. Account: {ACCOUNT}")
    return session, session.decide("send_money", PAYMENT).hold


def test_the_console_is_killed_between_the_answer_and_the_agent(store: Any, console: Running) -> None:
    console.sign_in()
    session, hold = asked(store)
    assert ACCOUNT in console.get(f"/waiting/{hold}")
    for path in ("/waiting", "/sessions", f"/sessions/{session.id}", "/ledger", "/halt", "/people", "/charter"):
        assert "Fiducial" in console.get(path)
    answer = f"/waiting/{hold}/answer"
    assert "approved" in console.send(console.form(f"/waiting/{hold}", answer, answer="approve", note="I called him"))
    console.process.send_signal(signal.SIGKILL)
    paid: list[Any] = []
    assert session.call("send_money", PAYMENT, run=lambda **given: paid.append(given)).status == "ok"
    assert session.call("send_money", PAYMENT, run=lambda **given: paid.append(given)).status == "not-run"
    assert len(paid) == 1


@pytest.mark.long
def test_the_console_is_killed_while_it_takes_the_answer(store: Any, console: Running) -> None:
    """Either the answer is kept, with its event, and the call runs; or neither is, and it waits."""
    console.sign_in()
    session, hold = asked(store)
    request = console.form(f"/waiting/{hold}", f"/waiting/{hold}/answer", answer="approve", note="I called him")
    body = request.read()
    head = f"POST {request.url.path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
    with socket.create_connection(("127.0.0.1", request.url.port)) as line:
        line.sendall(head.encode() + b"\r\n" + body)
        console.process.send_signal(signal.SIGKILL)
        console.process.wait(30)
    paid: list[Any] = []
    status = session.call("send_money", PAYMENT, run=lambda **given: paid.append(given)).status
    store.flush()
    events = [record.event for record in store.ledger().entries()]
    approved = any(isinstance(event, HoldSettled) and event.outcome == "approved" for event in events)
    assert (status == "ok") == approved == bool(paid)
    assert sum(isinstance(event, CallFinished) and event.outcome == "ok" for event in events) == len(paid)
    assert approved or [each.id for each in Desk(store).waiting()] == [session.decide("send_money", PAYMENT).hold]
