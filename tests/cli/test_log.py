"""`fiducial log`: what it prints, how it ends, and that nothing a third party wrote can act on a terminal."""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fiducial.cli.log import app
from fiducial.core.event import CallDecided, Entry, Firing, MessageObserved
from fiducial.core.ids import DecisionId, EventId, PolicyId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import seal
from fiducial.core.store import Commit
from fiducial.store.checkpoint import Signer
from fiducial.store.keyfile import read_key
from fiducial.store.ledger import Ledger
from fiducial.store.sqlite import SqliteStore

SESSION = SessionId("ses_1")


def message(text: str, session: SessionId = SESSION) -> Entry:
    payload = seal("text", text.encode())
    return Entry(
        MessageObserved(
            id=EventId(mint("evt", 0)),
            session=session,
            at_us=1_767_225_600_000_000,
            payloads=(payload.ref,),
            source=SourceId("src_1"),
            authority="user",
            integrity=Integrity.TRUSTED,
        ),
        (payload,),
    )


def decision(tool: str) -> Entry:
    return Entry(
        CallDecided(
            id=EventId(mint("evt", 0)),
            session=SESSION,
            at_us=1_767_225_600_000_000,
            decision=DecisionId(mint("dec", 0)),
            tool=tool,
            contract=None,
            policies=None,
            verdict="denied",
            mode="enforce",
            fired=(Firing(PolicyId("baseline/no-exfiltration")),),
        )
    )


@pytest.fixture
def entries() -> list[Entry]:
    return [message("pay the rent, please"), decision("send_money"), message("hello", SessionId("ses_2"))]


@pytest.fixture
def db(tmp_path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        for entry in entries:
            store.commit(Commit(entries=(entry,))).result()
    monkeypatch.setenv("FIDUCIAL_DB", str(path))
    return path


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == status, (result.output, result.exception)
    if status and "Usage" not in result.stderr:
        assert result.stderr.startswith("fiducial: ")
        assert result.stderr.count("\n") == 1, "one clear line"
    return result


def test_tail_prints_the_latest(db: Path) -> None:
    shown = run("tail", "-n", 2).stdout
    assert "call.decided" in shown
    assert "fired=baseline/no-exfiltration" in shown
    assert "2026-01-01 00:00:00" in shown
    assert "log.opened" not in shown
    assert "log.opened" in run("tail").stdout
    lines = [json.loads(line) for line in run("tail", "--json").stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]


def test_tail_follows(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fiducial.cli.log._POLL_SECONDS", 0.01)
    naps = iter(range(3))

    def sleep(_: float) -> None:
        nap = next(naps)
        if nap == 0:
            with SqliteStore(db) as store:
                store.commit(Commit(entries=(decision("late_tool"),))).result()
        elif nap == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    before = threading.active_count()
    assert run("tail", "-n", 1, "--follow").stdout.count("late_tool") == 1
    assert threading.active_count() == before


def test_show_prints_one_session(db: Path) -> None:
    shown = run("show", "ses_1").stdout
    assert "send_money" in shown
    assert "ses_2" not in shown
    assert "pay the rent" not in shown, "what people wrote is shown when asked for"
    assert "pay the rent, please" in run("show", "ses_1", "--payloads").stdout
    lines = [json.loads(line) for line in run("show", "ses_1", "--json", "--payloads").stdout.splitlines()]
    assert lines[0]["payloads"][0]["text"] == "pay the rent, please"
    assert "no session `ses_9`" in run("show", "ses_9", status=1).stderr


def test_nothing_that_was_recorded_acts_on_the_terminal(db: Path) -> None:
    with SqliteStore(db) as store:
        evil = "\x1b]0;owned\x07\x1b[2J[bold]x[/bold]\u202e"
        store.commit(Commit(entries=(message(evil), decision(evil)))).result()
    for shown in (run("tail").stdout, run("show", "ses_1", "--payloads").stdout):
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown
        assert "[bold]x[/bold]" in shown


def test_verify(db: Path, tmp_path: Path) -> None:
    for shown in (run("verify").stdout, run("verify", db).stdout, run("verify", "--db", db).stdout):
        assert "verifies" in shown
        assert "4 in 4 transactions" in shown
        assert "1 kept checkpoint and a key" in shown
    report = json.loads(run("verify", "--json").stdout)
    assert report["verified"] is True
    assert (report["size"], report["pinned"], report["checkpoints"]) == (4, True, 1)
    key = read_key(tmp_path / "log.db.key").verifier.text
    assert json.loads(run("verify", "--json", "--key", key).stdout)["pinned"] is True
    kept = tmp_path / "kept"
    kept.write_text(run("checkpoint").stdout)
    assert run("verify", "--checkpoint", kept, "--checkpoint", tmp_path / "log.db.checkpoint")
    assert run("checkpoint", "--out", tmp_path / "file").stdout == ""
    assert (tmp_path / "file").read_text() == kept.read_text()
    assert "cannot be written" in run("checkpoint", "--out", tmp_path / "none" / "file", status=2).stderr
    (tmp_path / "log.db.key").unlink()
    assert "give one with --key" in run("verify").stdout


def test_a_log_held_to_nothing_outside_itself_is_a_finding(db: Path, tmp_path: Path) -> None:
    kept = (tmp_path / "log.db.checkpoint").rename(tmp_path / "kept")
    result = run("verify", status=1)
    assert "verifies" in result.stdout
    assert "held to no checkpoint" in result.stderr
    assert json.loads(run("verify", "--json", status=1).stdout)["checkpoints"] == 0
    run("verify", "--checkpoint", kept)


def test_verify_names_the_first_bad_entry(db: Path) -> None:
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE bundle SET events=replace(events, 'send_money', 'send_honey') WHERE first=2")
        connection.execute("UPDATE bundle SET events=CAST(events AS BLOB)")
    connection.close()
    assert "entry 2 is not what was recorded" in run("verify", status=1).stderr
    result = run("verify", "--json", status=1)
    report = json.loads(result.stdout)
    assert (report["verified"], report["error"], report["index"]) == (False, "Corrupt", 2)


def test_verify_against_what_was_kept_elsewhere(db: Path, tmp_path: Path) -> None:
    stranger = Signer.generate("x/y").verifier.text
    assert "nothing in this log is signed" in run("verify", "--key", stranger, status=1).stderr
    assert "not a key" in run("verify", "--key", "nonsense", status=2).stderr
    assert "no checkpoint" in run("verify", "--checkpoint", tmp_path / "none", status=2).stderr
    damaged = tmp_path / "damaged"
    damaged.write_text("nonsense")
    assert "cut short" in run("verify", "--checkpoint", damaged, status=1).stderr
    with SqliteStore(db) as store:
        store.commit(Commit(entries=(message("more"),))).result()
    kept = tmp_path / "kept"
    kept.write_text(run("checkpoint").stdout)
    with sqlite3.connect(db) as connection:
        for table in ("bundle", "lookup", "session"):
            connection.execute(f"DELETE FROM {table} WHERE first=4")
    connection.close()
    assert "older copy" in run("verify", "--checkpoint", kept, status=1).stderr


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    for command in (
        ["tail"], ["show", "ses_1"], ["verify"], ["prove", "evt_1"], ["checkpoint"], ["export"],
        ["erase", "sha256:" + "0" * 64, "--why", "x"], ["export", "--out", str(tmp_path / "out")],
    ):  # fmt: skip
        assert "there is no database" in run(*command, "--db", missing, status=2).stderr
    assert not missing.exists()
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 100)
    assert "not a ledger" in run("verify", tmp_path / "text", status=2).stderr
    newer = tmp_path / "newer.db"
    SqliteStore(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    assert "upgrade Fiducial" in run("verify", newer, status=2).stderr


def test_a_proof_for_somebody_with_only_the_key(db: Path, entries: list[Entry], tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    proof.write_text(run("prove", entries[1].event.id).stdout)
    key = read_key(tmp_path / "log.db.key").verifier.text
    assert json.loads(run("check", proof, "--key", key).stdout)["tool"] == "send_money"
    assert "carries no signature" in run("check", proof, "--key", Signer.generate("x/y").verifier.text, status=1).stderr
    document = json.loads(proof.read_text())
    for field, value in (
        ("entry", document["entry"].replace("send_money", "send_honey")),
        ("index", 1),
        ("index", -1),
        ("proof", document["proof"][:-1]),
        ("proof", [*document["proof"], "00" * 32]),
        ("proof", ["zz"]),
        ("checkpoint", document["checkpoint"].replace("\n4\n", "\n5\n")),
        ("format", "other"),
    ):
        proof.write_text(json.dumps({**document, field: value}))
        run("check", proof, "--key", key, status=1)
    proof.write_text("nonsense")
    assert "not a proof" in run("check", proof, "--key", key, status=1).stderr
    run("check", proof, "--key", "nonsense", status=2)
    assert "no event" in run("prove", "evt_none", status=1).stderr


def test_erase(db: Path, entries: list[Entry]) -> None:
    digest = entries[0].payloads[0].ref.digest
    assert "erased, and recorded" in run("erase", digest, "--why", "asked to", "--by", "dpo").stdout
    assert "already" in run("erase", digest, "--why", "asked to").stdout
    assert "1 erased" in run("verify").stdout
    shown = run("show", "ses_1", "--payloads").stdout
    assert "pay the rent" not in shown
    assert "erased" in shown
    assert "why=asked to" in run("tail").stdout
    run("erase", digest, status=2)
    assert "say why" in run("erase", digest, "--why", " ", status=2).stderr
    assert "not a payload's digest" in run("erase", "sha256:zz", "--why", "x", status=2).stderr
    assert "no entry names" in run("erase", "sha256:" + "0" * 64, "--why", "x", status=1).stderr


def test_export(db: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in run("export").stdout.splitlines()]
    assert [line.get("index") for line in lines] == [0, 1, 2, 3, None]
    assert "text" not in lines[1]["payloads"][0]
    assert len(run("export", "--session", "ses_2").stdout.splitlines()) == 1
    out = tmp_path / "out.jsonl"
    assert "5 lines" in run("export", "--payloads", "--out", out).stderr
    assert json.loads(out.read_text().splitlines()[1])["payloads"][0]["text"] == "pay the rent, please"


def test_an_export_replaces_its_like_and_nothing_else(db: Path, tmp_path: Path) -> None:
    out, note = tmp_path / "out.jsonl", tmp_path / "note"
    for _ in range(2):
        run("export", "--out", out)
        run("checkpoint", "--out", note)
    other = tmp_path / "other.txt"
    other.write_text("dear diary")
    for command in ("export", "checkpoint"):
        assert "something else" in run(command, "--out", other, status=2).stderr
    assert "something else" in run("export", "--out", note, status=2).stderr
    assert "something else" in run("checkpoint", "--out", out, status=2).stderr
    assert other.read_text() == "dear diary"
    assert "no session" in run("export", "--session", "ses_9", status=1).stderr
    assert "no session" in run("export", "--session", "ses_9", "--out", out, status=1).stderr


def test_no_file_of_the_store_is_written_over(db: Path, tmp_path: Path) -> None:
    """Whether it is there or not, and even where it looks like what would be written: the checkpoint does."""
    before = {}
    for end in ("", "-wal", "-shm", "-journal", ".key", ".key.next", ".checkpoint", ".laundry"):
        own = db.with_name(db.name + end)
        before[own] = own.read_bytes() if own.exists() else b""
        link = tmp_path / f"link{end}"
        link.symlink_to(own)
        for command, out in itertools.product(("export", "checkpoint"), (own, link)):
            assert "belongs to the store" in run(command, "--out", out, status=2).stderr, out
        assert link.is_symlink()
    for own, held in before.items():
        if not own.name.endswith(("-wal", "-shm")):  # which reading makes
            assert (own.read_bytes() if own.exists() else b"") == held
    run("verify")


def test_beside_a_live_writer(db: Path) -> None:
    with SqliteStore(db) as store:
        assert "verifies" in run("verify").stdout
        store.commit(Commit(entries=(message("secret"),))).result()
        with Ledger.open(db) as ledger:
            (payload,) = next(iter(ledger.entries(4))).payloads
        run("erase", payload.ref.digest, "--why", "x")
        assert store.commit(Commit(entries=(message("more"),))).result().first == 6
        assert "verifies" in run("verify").stdout
