"""The console's commands: what waits, yes and no in a terminal, and starting the server."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest
from console_world import ACCOUNT, SCRIPT, Browser, held, pay
from typer.testing import CliRunner

from fiducial.cli import app
from fiducial.console.app import Console
from fiducial.console.services import Services
from fiducial.core.clock import SystemClock
from fiducial.core.event import HoldSettled
from fiducial.core.ids import PersonId
from fiducial.oversight.people import Person
from fiducial.store.sqlite import SqliteStore

runner = CliRunner()


def _run(store: SqliteStore, *words: str, columns: int = 400) -> tuple[int, str]:
    store.flush()
    done = runner.invoke(app, [*words, "--db", str(store.path)], env={"COLUMNS": f"{columns}", "NO_COLOR": "1"})
    return done.exit_code, done.output


@pytest.fixture
def clock() -> SystemClock:
    """The real one, which is what the commands look at."""
    return SystemClock()


@pytest.fixture
def ada(services: Services) -> str:
    services.people.add(Person(id=PersonId("ada"), name="Ada", roles=("operator",)), by=PersonId("console"))
    return "ada"


def test_what_waits_is_listed_with_where_it_came_from(services: Services, store: SqliteStore, ada: str) -> None:
    held(services, user=f"emma{SCRIPT}\x1b[31m")
    status, said = _run(store, "holds")
    assert status == 0
    assert re.search(rf"recipient +{ACCOUNT} +untrusted", said)
    assert "\x1b[31m" not in said
    status, said = _run(store, "holds", "--json", "--by", ada)
    assert [each["tool"] for each in json.loads(said)["holds"]] == ["send_money"]
    assert json.loads(_run(store, "holds", "--json", "--by", "viewer")[1]) == {"holds": []}


def test_what_nobody_answered_in_time_is_recorded_when_somebody_looks(
    services: Services, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(services)
    monkeypatch.setattr("fiducial.core.clock.SystemClock.unix_us", lambda _: time.time_ns() // 1000 + 86_400_000_001)
    assert _run(store, "holds") == (0, "nothing waits\n")
    with store.ledger() as ledger:
        assert [each.event.outcome for each in ledger.entries() if isinstance(each.event, HoldSettled)] == ["expired"]


def test_ids_are_whole_in_a_narrow_terminal(services: Services, store: SqliteStore) -> None:
    held(services)
    [hold] = services.desk.waiting()
    said = _run(store, "holds", columns=50)[1]
    assert said.splitlines()[0] == hold.id
    assert ACCOUNT in said


def test_who_runs_it_answers(services: Services, store: SqliteStore, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    status, said = _run(store, "approve", hold.id)
    assert status == 2
    assert "`root` is nobody who may decide" in said
    monkeypatch.setattr("getpass.getuser", lambda: ada)
    assert _run(store, "approve", hold.id) == (0, f"{hold.id} is approved\n")
    assert pay(session).status == "ok"


def test_a_decision_is_explained_with_what_people_said(services: Services, store: SqliteStore, ada: str) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    assert f"request {hold.id} to operator: waiting" in _run(store, "explain", hold.decision)[1]
    assert _run(store, "approve", hold.id, "--by", ada, "--why", f"I called {SCRIPT}")[0] == 0
    paid = pay(session)
    assert paid.status == "ok"
    store.flush()
    asked, used = (_run(store, "explain", each)[1] for each in (hold.decision, paid.verdict.decision))
    for said in (asked, used):
        assert f"request {hold.id} to operator: approved" in said
        assert f"approve by ada as operator: I called {SCRIPT}" in said
        assert ACCOUNT in said
    assert f"let {paid.verdict.decision} through" in asked
    assert f"asked for {hold.decision}" in used


def test_yes_and_no_by_who_may(services: Services, store: SqliteStore, ada: str) -> None:
    session, _ = held(services)
    [hold] = services.desk.waiting()
    assert _run(store, "approve", hold.id, "--by", "viewer")[0] == 2
    assert _run(store, "approve", hold.id, "--by", "nobody")[0] == 2
    assert _run(store, "deny", hold.id, "--by", ada)[0] == 2, "without a reason"
    assert services.desk.hold(hold.id).open
    status, said = _run(store, "approve", hold.id, "--by", ada)
    assert (status, said) == (0, f"{hold.id} is approved\n")
    assert pay(session).status == "ok"
    assert _run(store, "deny", hold.id, "--by", ada, "--why", "late")[0] == 2
    other, _ = held(services, user="noah")
    [hold] = services.desk.waiting()
    status, said = _run(store, "deny", hold.id, "--by", ada, "--why", "not that account", "--json")
    assert json.loads(said)["state"] == "rejected"
    assert pay(other).status == "not-run"


def test_no_link_is_made_before_everything_that_the_server_needs_is_there(tmp_path: Path) -> None:
    charter, missing = tmp_path / "agent", str(tmp_path / "none.pem")
    assert runner.invoke(app, ["init", str(charter)]).exit_code == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        for words, said in (
            (["--listen", here], "cannot be listened at"),
            (["--listen", "no-such-host.invalid:8440", "--url", "https://a.example"], "nothing can listen"),
            (["--listen", "127.0.0.1:0"], "is no HOST:PORT"),
            (["--listen", here, "--certificate", missing, "--key", missing], "No such file"),
            (["--listen", here, "--proxy", "not an address"], "no address of a proxy"),
            (["--listen", "0.0.0.0:8440", "--url", "http://127.0.0.1:8440"], "others can reach"),
        ):
            done = runner.invoke(app, ["up", str(tmp_path / "f.db"), "--charter", str(charter), *words])
            assert (done.exit_code, done.stdout) == (2, ""), words
            assert said in done.stderr, words
    words = ["--listen", "127.0.0.1:18442", "--url", "http://127.0.0.1:99999"]
    done = runner.invoke(app, ["up", str(tmp_path / "f.db"), "--charter", str(charter), *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not the address of a site" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "0.0.0.0:8440"], ["--listen", "nowhere"], ["--url", "http://console.example.org"],
        ["--certificate", "x.pem"], ["--oidc-issuer", "https://id.example.org"], ["--charter", "nothing-here"],
    ],
)  # fmt: skip
def test_a_console_that_would_not_be_safe_does_not_start(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "charter").mkdir()
    given = ["up", str(tmp_path / "f.db"), "--charter", str(tmp_path / "charter"), *words]
    assert runner.invoke(app, given).exit_code == 2


def test_the_server_prints_a_link_that_signs_in_and_ends_on_a_signal(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    charter = tmp_path / "agent"
    done = runner.invoke(app, ["init", str(charter)])
    assert done.exit_code == 0, done.output
    command = [sys.executable, "-c", "from fiducial.cli import main; main()", "up", str(tmp_path / "f.db")]
    server = subprocess.Popen(
        [*command, "--charter", str(charter), "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        said = "".join(server.stdout.readline() for _ in range(2))
        link = re.search(rf"http://127\.0\.0\.1:{port}/sign-in/link/[\w-]{{43}}", said)
        assert link is not None, said
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=8), timeout=20) as client:
            page = client.get(link[0])
            assert "Welcome, admin" in page.text
            assert "server" not in page.headers
            assert client.get(f"http://127.0.0.1:{port}/health").text.startswith("ok ")
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        server.stdout.close()  # type: ignore[union-attr]


def test_a_served_console_writes_down_what_time_settles_until_it_ends(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiducial.oversight.clockwork.EVERY", 0.01)
    swept = threading.Event()
    monkeypatch.setattr(services.desk, "sweep", swept.set)
    with Browser(Console(services)):
        assert swept.wait(10)
    assert "fiducial-clockwork" not in [each.name for each in threading.enumerate()]
