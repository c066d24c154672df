"""`fiducial log publish`, `witness`, `verify --tiles` and `export --format parquet`, as they are typed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from fiducial.cli.log import app
from fiducial.core.event import Entry, MessageObserved
from fiducial.core.ids import EventId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import seal
from fiducial.core.store import Commit
from fiducial.store.checkpoint import Signer
from fiducial.store.ledger import Ledger
from fiducial.store.published.cosign import Cosigner
from fiducial.store.sqlite import SqliteStore

FIDUCIAL = [sys.executable, "-c", "from fiducial.cli import main; main()", "log"]


def grow(database: Path, count: int) -> str:
    """Record `count` entries; the log's public key."""
    with SqliteStore(database) as store:
        for _ in range(count):
            payload = seal("text", b"the secret text")
            event = MessageObserved(
                id=EventId(mint("evt", 0)),
                session=SessionId("ses_1"),
                at_us=0,
                payloads=(payload.ref,),
                source=SourceId("src_1"),
                authority="user",
                integrity=Integrity.TRUSTED,
            )
            store.commit(Commit(entries=(Entry(event, (payload,)),)))
        store.flush()
        return store.ledger().keys()[-1].text


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == status, (result.output, result.exception)
    return result


class Service(NamedTuple):
    """A witness that listens."""

    key: str
    url: str


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def service(db: Path, tmp_path: Path) -> Iterator[Service]:
    """`fiducial log witness` as a process, for the log in `db`."""
    command = [*FIDUCIAL, "witness", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "witness.db")]
    command += ["--log-key", grow(db, 5), "--name", "witness.example/w1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        key = process.stdout.readline().removeprefix("witness key ").strip()
        url = process.stdout.readline().removeprefix("listening on ").strip()
        yield Service(key, url)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_publish_and_verify(db: Path, tmp_path: Path) -> None:
    key = grow(db, 5)
    out = tmp_path / "published"
    assert run("publish", db, out).stdout == "6 entries published, 6 of them new\n"
    assert run("publish", db, out).stdout == "6 entries published, 0 of them new\n"
    grow(db, 300)
    assert run("publish", db, out).stdout == "306 entries published, 300 of them new\n"
    kept = tmp_path / "kept"
    kept.write_bytes((out / "checkpoint").read_bytes())
    # Whoever verifies has nothing but the files.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(out, elsewhere)
    for path in tmp_path.glob("log.db*"):
        path.unlink()
    said = run("verify", "--tiles", elsewhere, "--key", key, "--checkpoint", kept).stdout
    assert "verifies" in said
    assert "1 kept checkpoint and a key" in said
    assert "no key" in run("verify", "--tiles", elsewhere).stdout
    shown = json.loads(run("verify", "--tiles", elsewhere, "--key", key, "--json").stdout)
    assert (shown["verified"], shown["size"], shown["key"], shown["pinned"]) == (True, 306, key, True)
    assert shown["cosignatures"] == []


def test_what_is_wrong_is_said(db: Path, tmp_path: Path) -> None:
    key = grow(db, 5)
    out = tmp_path / "published"
    run("publish", db, out)
    bundle = out / "tile/entries/000.p/6"
    bundle.write_bytes(bundle.read_bytes().replace(b'"trusted"', b'"Trusted"', 1))
    assert "entry 1: what `tile/entries/000.p/6` holds" in run("verify", "--tiles", out, status=1).stderr
    shown = json.loads(run("verify", "--tiles", out, "--json", status=1).stdout)
    assert (shown["verified"], shown["error"], shown["index"]) == (False, "Corrupt", 1)
    stranger = Signer.generate("example.org/log").verifier.text
    assert "no signature by" in run("verify", "--tiles", out, "--key", stranger, status=1).stderr
    assert run("verify", "--tiles", out, "--key", "nonsense", status=2).stderr
    assert "there is no directory" in run("verify", "--tiles", tmp_path / "missing", "--key", key, status=2).stderr
    assert "nothing is published here" in run("verify", "--tiles", tmp_path, "--key", key, status=1).stderr


def test_options_that_make_no_sense_together_are_refused(db: Path, tmp_path: Path) -> None:
    grow(db, 1)
    witness = Cosigner(Signer.generate("witness.example/w1")).key.text
    out = tmp_path / "out"
    for arguments in (
        ("verify", db, "--tiles", tmp_path),
        ("verify", db, "--witness-key", witness),
        ("verify", db, "--quorum", 1),
        ("verify", "--tiles", tmp_path, "--quorum", 1),
        ("verify", "--tiles", tmp_path, "--witness-key", witness, "--quorum", 2),
        ("verify", "--tiles", tmp_path, "--witness-key", witness, "--quorum", 0),
        ("verify", "--tiles", tmp_path, "--checkpoint", tmp_path / "missing"),
        ("publish", db, out, "--witness", "http://127.0.0.1:1"),
        ("publish", db, out, "--witness-key", witness),
        ("publish", db, out, "--witness", "http://127.0.0.1:1", "--witness-key", witness, "--quorum", 2),
        ("publish", tmp_path / "missing.db", out),
        ("witness", "--listen", "8000", "--state", tmp_path / "w", "--log-key", witness),
        ("witness", "--listen", "127.0.0.1:99999", "--state", tmp_path / "w", "--log-key", witness),
        ("witness", "--listen", "127.0.0.1:0", "--state", tmp_path / "w", "--log-key", witness),
        ("export", "--db", db, "--format", "parquet"),
        ("export", "--db", db, "--format", "parquet", "--out", out, "--payloads"),
        ("export", "--db", db, "--format", "parquet", "--out", out, "--session", "ses_1"),
        ("export", "--db", db, "--tenant", "acme"),
    ):
        assert run(*arguments, status=2).stderr, arguments
    assert not out.exists()
    assert not (tmp_path / "w").exists()


def test_a_witnessed_log(db: Path, tmp_path: Path, service: Service) -> None:
    out = tmp_path / "published"
    asked = ["--witness", service.url, "--witness-key", service.key]
    shutil.copy(db, tmp_path / "fork.db")
    shutil.copy(f"{db}.key", tmp_path / "fork.db.key")
    shutil.copy(f"{db}.checkpoint", tmp_path / "fork.db.checkpoint")
    assert "cosigned by witness.example/w1 at 2" in run("publish", db, out, *asked).stdout
    key = grow(db, 300)
    said = run("publish", db, out, *asked).stdout
    assert said.startswith("306 entries published, 300 of them new; cosigned by witness.example/w1 at 2")
    verified = run("verify", "--tiles", out, "--key", key, "--witness-key", service.key, "--json").stdout
    assert [each["witness"] for each in json.loads(verified)["cosignatures"]] == [service.key]
    # A fork, published elsewhere, does not get past the witness; nor does a copy put back.
    for more in (0, 400):
        grow(tmp_path / "fork.db", more)
        failed = run("publish", tmp_path / "fork.db", tmp_path / "fork", *asked, status=1)
        assert "the witness at" in failed.stderr
        assert not (tmp_path / "fork" / "checkpoint").exists()
    run("publish", tmp_path / "fork.db", tmp_path / "fork")
    unwitnessed = run("verify", "--tiles", tmp_path / "fork", "--key", key, "--witness-key", service.key, status=1)
    assert "cosigned by 0 of 1 witnesses" in unwitnessed.stderr


def test_too_few_witnesses_publish_nothing(db: Path, tmp_path: Path, service: Service) -> None:
    out = tmp_path / "published"
    absent = Cosigner(Signer.generate("witness.example/absent")).key.text
    asked = ["--witness", service.url, "--witness-key", service.key]
    asked += ["--witness", "http://127.0.0.1:1", "--witness-key", absent]
    failed = run("publish", db, out, *asked, status=2)
    assert "missing: `witness.example/absent`" in failed.stderr
    assert "does not answer" in failed.stderr
    assert not (out / "checkpoint").exists()
    done = run("publish", db, out, *asked, "--quorum", 1)
    assert "cosigned by witness.example/w1" in done.stdout
    assert "does not answer" in done.stderr
    keys = ["--witness-key", service.key, "--witness-key", absent]
    run("verify", "--tiles", out, *keys, "--quorum", 1)
    assert "and 2 are asked for" in run("verify", "--tiles", out, *keys, status=1).stderr


def test_following_publishes_what_comes(db: Path, tmp_path: Path) -> None:
    grow(db, 5)
    out = tmp_path / "published"
    command = [*FIDUCIAL, "publish", str(db), str(out), "--follow", "--interval", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "6 entries published, 6 of them new\n"
        grow(db, 10)
        added = 6
        while added < 16:
            words = process.stdout.readline().split()
            assert int(words[0]) == added + int(words[3])
            added = int(words[0])
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
    run("verify", "--tiles", out)


@pytest.mark.long
def test_a_publisher_that_is_killed_leaves_a_log_that_verifies(db: Path, tmp_path: Path) -> None:
    out = tmp_path / "published"
    grow(db, 2000)
    command = [*FIDUCIAL, "publish", str(db), str(out)]
    for after in (1, 5, 20):
        shutil.rmtree(out, ignore_errors=True)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            # Killed when so many files are there: between the first tile and the checkpoint.
            while process.poll() is None and sum(len(files) for _, _, files in os.walk(out)) < after:
                time.sleep(0.0005)
            process.kill()
        if (out / "checkpoint").exists():
            run("verify", "--tiles", out)
        assert run("publish", db, out).stdout.startswith("2001 entries published")
        run("verify", "--tiles", out)


def test_export_to_parquet(db: Path, tmp_path: Path) -> None:
    grow(db, 5)
    arguments = ("export", "--db", db, "--format", "parquet", "--out", tmp_path / "out", "--tenant", "acme")
    (line,) = run(*arguments).stdout.splitlines()
    assert line.startswith(f"entries 0 to 5 in {tmp_path / 'out' / 'acme'}")
    assert Path(line.partition(" in ")[2]).is_file()
    assert "holds all of the log already" in run(*arguments).stderr
    with Ledger.open(db) as ledger:
        assert run("export", "--db", db).stdout.count("\n") == ledger.size + 1
