"""Commands take a store in PostgreSQL wherever they take a path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fiducial import Guard, load_charter
from fiducial.cli import app
from fiducial.core.clock import SystemClock
from fiducial.core.ids import PersonId
from fiducial.oversight import Desk
from fiducial.oversight.people import People, Person

CHARTER = Path(__file__).parents[2] / "examples/charters/agentdojo/banking"
ACCOUNT = "GB29NWBK60161331926819"
PAYMENT = {"recipient": ACCOUNT, "amount": 10.0, "subject": "rent", "date": "2022-01-01"}


@pytest.fixture(autouse=True)
def _named(postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIDUCIAL_DB", postgres.url)
    monkeypatch.setenv("FIDUCIAL_KEY_FILE", str(postgres.key_path))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


def run(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == status, (words, done.output, done.exception)
    return done.output


def test_what_people_do_in_a_terminal(postgres: Any) -> None:
    with postgres.open() as store:
        People(store, SystemClock()).add(
            Person(id=PersonId("ada"), name="Ada", roles=("operator",)), by=PersonId("console")
        )
        guard = Guard(load_charter(CHARTER), store=store, desk=Desk(store))
        session = guard.session(user="emma", task="Send 10 to my landlord, whose account is in landlord.txt")
        session.observe("read_file", {"file_path": "landlord.txt"}, f"Rent. Account: {ACCOUNT}")
        paid: list[Any] = []

        def pay() -> str:
            return str(session.call("send_money", PAYMENT, run=lambda **given: paid.append(given)).status)

        assert pay() == "not-run"
        store.flush()
        assert ACCOUNT in run("holds")
        (hold,) = json.loads(run("holds", "--by", "ada", "--json"))["holds"]
        assert run("approve", hold["id"], "--by", "ada") == f"{hold['id']} is approved\n"
        assert pay() == "ok"
        assert pay() == "not-run"
        (hold,) = json.loads(run("holds", "--json"))["holds"]
        assert "rejected" in run("deny", hold["id"], "--by", "ada", "--why", "once is enough")
        assert pay() == "not-run"
        halt = json.loads(run("halt", "--all", "--why", "drill", "--by", "ada", "--json"))
        assert "everything" in run("halt")
        run("resume", halt["id"], "--by", "ada", "--why", "over", status=2)
        run("resume", halt["id"], "--by", "omar", "--why", "over")
        assert len(paid) == 1
        session.close()
        store.flush()
        assert "send_money" in run(
            "undo", session.id, "--charter", str(CHARTER), "--by", "ada", "--why", "drill", "--dry-run", status=1
        )


def test_the_log_is_read_verified_published_and_backed_up(postgres: Any, tmp_path: Path) -> None:
    with postgres.open() as store:
        with Guard(load_charter(CHARTER), store=store).session(user="emma", task="What did I spend?") as session:
            verdict = session.decide("get_balance", {})
        store.flush()
    assert session.id in run("log", "tail")
    assert "What did I spend?" in run("log", "show", session.id, "--payloads")
    assert json.loads(run("log", "verify", "--json"))["verified"]
    assert "session.opened" in run("log", "export", "--session", session.id)
    assert verdict.decision in run("explain", verdict.decision)
    files = tmp_path / "public"
    assert "6 entries published, 6 of them new" in run("log", "publish", postgres.url, str(files))
    assert "6 entries published, 0 of them new" in run("log", "publish", postgres.url, str(files))
    key = json.loads(run("log", "verify", "--json"))["keys"][-1]
    assert "verifies" in run("log", "verify", "--tiles", str(files), "--key", key)
    with postgres.open() as store, Guard(load_charter(CHARTER), store=store).session(user="emma"):
        store.flush()
    assert " of them new" in run("log", "publish", postgres.url, str(files))
    assert "verifies" in run("log", "verify", "--tiles", str(files), "--key", key)
    assert "0 transactions wait" in run("store", "check")
    assert "entries of" in run("store", "backup", "--out", "log.backup")
    assert "as before" in run("store", "migrate")
