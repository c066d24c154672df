"""Erasing: the bytes are gone from every file that Fiducial wrote, exports too, and the log still verifies."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from fiducial.core.clock import ManualClock, instant
from fiducial.core.event import Entry
from fiducial.core.ids import SessionId
from fiducial.core.store import Commit
from fiducial.errors import StoreBusy, StoreError
from fiducial.store import erase, export, owed
from fiducial.store.backup import back_up, bring_back
from fiducial.store.bundle import Bundle, Record, records
from fiducial.store.ledger import Ledger
from fiducial.store.merkle import Tree, leaf_hash
from fiducial.store.postgres import backup as in_postgres
from fiducial.store.postgres.link import Target
from fiducial.store.postgres.store import PostgresStore
from fiducial.store.postgres.tables import PostgresTables
from fiducial.store.sqlite import SqliteStore

Make = Callable[..., Entry]
SECRET = b"IBAN DE89370400440532013000 of Erika Mustermann"


KILLED = """
import os, signal, sys
from pathlib import Path
from fiducial.store import erase, export, owed
from fiducial.store.backup import back_up, bring_back
from fiducial.store.bundle import Bundle, Record, records
from fiducial.store.ledger import Ledger

def killed(*args, **settings):
    yield from written(*args, **settings)
    yield b" " * 100_000
    os.kill(os.getpid(), signal.SIGKILL)

written, export.lines = export.lines, killed
export.write(Ledger.open(Path(sys.argv[1])), Path(sys.argv[2]), payloads=True)
"""


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def owing(store: SqliteStore | PostgresStore) -> bool:
    with store.ledger() as ledger:
        return owed.owed(ledger.reader) is not None


def scrubbed(store: SqliteStore, clock: ManualClock) -> bool:
    """Whether nothing is owed, after another minute."""
    clock.advance(timedelta(minutes=1))
    store.flush()
    return not owing(store)


def export_to(database: Path, target: Path, *, payloads: bool = False, session: SessionId | None = None) -> int:
    if payloads:
        export.remember(database, target, 0)
    with Ledger.open(database) as ledger:
        return export.write(ledger, target, payloads=payloads, session=session)


def holding(directory: Path, data: bytes) -> list[str]:
    """Names of the files in which `data` stands."""
    found = []
    for path in directory.rglob("*"):
        # A checkpoint on its way into its place is there for a moment only.
        with suppress(FileNotFoundError):
            if path.is_file() and data in path.read_bytes():
                found.append(path.name)
    return sorted(found)


@pytest.mark.parametrize("size", [1, 40, 3_000, 200_000])
@pytest.mark.parametrize("reopened", [False, True])
def test_an_erased_payload_is_gone_from_every_file(tmp_path: Path, make: Make, size: int, reopened: bool) -> None:
    """Small ones that share a page with others, large ones that fill their own; on disk or still in the WAL."""
    path = tmp_path / "log.db"
    secrets = [SECRET + os.urandom(max(0, size - len(SECRET)) + 16) for _ in range(3)]
    store = SqliteStore(path)
    entries = [make(secret, f"other {number}") for number, secret in enumerate(secrets)]
    store.commit(Commit(entries=(entries[0], make("between"), entries[1]))).result()
    store.commit(Commit(entries=(entries[2],))).result()
    if reopened:
        store.close()
        store = SqliteStore(path)
    assert holding(tmp_path, SECRET)
    for number, entry in enumerate(entries):
        payload = entry.payloads[0]
        assert store.erase(payload.ref.digest, by="dpo", why="request 17")
        assert holding(tmp_path, secrets[number]) == []
        assert holding(tmp_path, payload.salt) == [], "without its salt the digest says nothing"
    assert holding(tmp_path, SECRET) == []
    assert holding(tmp_path, b"other 2") != []
    verified = store.ledger().verify()
    assert (verified.erased, verified.payloads) == (3, 4)
    store.close()
    assert holding(tmp_path, SECRET) == []
    with Ledger.open(path) as ledger:
        assert ledger.verify().erased == 3


def test_pages_that_were_rewritten_hold_nothing_either(tmp_path: Path, make: Make) -> None:
    """A database that has grown, been erased from and grown again: no page keeps what stood in it before."""
    with SqliteStore(tmp_path / "log.db", max_batch=3) as store:
        entries = [make(SECRET + b"%06d" % number * (1 + number % 50)) for number in range(300)]
        for entry in entries:
            store.commit(Commit(entries=(entry,)))
        store.flush()
        for entry in entries[::7]:
            store.erase(entry.payloads[0].ref.digest, by="dpo", why="x")
            store.commit(Commit(entries=(make("more" * 300),))).result()
        store.checkpoint()
        erased = [SECRET + b"%06d" % number for number in range(0, 300, 7)]
        for each in erased:
            assert holding(tmp_path, each) == []
        assert holding(tmp_path, SECRET + b"000001") == ["log.db"]
        assert store.ledger().verify().erased == len(erased)


def test_the_database_is_told_to_overwrite_and_to_sync(tmp_path: Path) -> None:
    """Said aloud, because a build of SQLite may have other defaults."""
    with SqliteStore(tmp_path / "log.db") as store:
        for pragma, value in (("secure_delete", 1), ("synchronous", 2), ("journal_mode", "wal"), ("temp_store", 2)):
            assert store._writer.tables.connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_what_retention_erases_is_gone_too(tmp_path: Path, make: Make) -> None:
    clock = ManualClock()
    with SqliteStore(tmp_path / "log.db", clock=clock) as store:
        for number in range(50):
            store.commit(Commit(entries=(make(SECRET + b"%03d" % number * 40, at_us=clock.unix_us()),))).result()
            clock.advance(timedelta(days=1))
        kept_from = 30
        before = store.ledger().event(next(iter(store.ledger().entries(1 + kept_from))).event.id).event.at_us
        assert store.retain(instant(before)) == kept_from
        for number in range(50):
            assert bool(holding(tmp_path, SECRET + b"%03d" % number)) == (number >= kept_from)


def test_retention_does_not_go_through_the_whole_log_each_hour(
    tmp_path: Path, make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Yet what stands behind an entry whose clock was ahead goes too, a thirtieth of the age later at most."""
    path, month = tmp_path / "log.db", timedelta(days=30)
    looked: list[int] = []

    def counted(bundle: Bundle) -> Iterator[Record]:
        looked.append(bundle.first)
        return records(bundle)

    monkeypatch.setattr(erase, "records", counted)
    ahead = clock.unix_us() + 365 * 86_400_000_000
    with SqliteStore(path, clock=clock, max_batch=1) as store:
        for number in range(600):
            at_us = ahead if number == 10 else clock.unix_us()
            store.commit(Commit(entries=(make(f"n{number}", at_us=at_us),)))
        store.flush()

    def hourly(hours: int) -> int:
        """Bundles that are looked at."""
        looked.clear()
        for _ in range(hours):
            with SqliteStore(path, clock=clock, retention=month) as store:
                until(lambda: store._upkeep._retain_at > clock.monotonic())
            clock.advance(timedelta(hours=1))
        return len(looked)

    assert hourly(1) >= 600, "the first round"
    assert hourly(20) <= 40
    assert hourly(4) >= 600, "the next round, in three steps"
    clock.advance(month)
    hourly(24)
    with Ledger.open(path) as ledger:
        verified = ledger.verify()
        assert (verified.payloads, verified.erased) == (1, 599)
    assert hourly(24) <= 50, "nothing is left to look at"


def test_a_round_that_was_cut_short_goes_on(tmp_path: Path, make: Make, clock: ManualClock) -> None:
    path, month = tmp_path / "log.db", timedelta(days=30)
    with SqliteStore(path, clock=clock, max_batch=1) as store:
        for _ in range(600):
            store.commit(Commit(entries=(make("n", at_us=clock.unix_us()),)))

    def step() -> int | None:
        with SqliteStore(path, clock=clock) as store:
            return store._queue.do(lambda: erase.keep_to(store._writer, month, at_us=clock.unix_us())).place

    assert [step(), step(), step(), step()] == [256, 512, None, None]
    clock.advance(timedelta(days=1))
    assert step() == 257, "from the first entry that has a payload"


def test_a_reader_that_will_not_let_go_is_named(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fiducial.store.erase.PATIENCE_SECONDS", 0.1)
    entry = make(SECRET)
    with SqliteStore(tmp_path / "log.db") as store:
        store.commit(Commit(entries=(entry,))).result()
        holding_on = store.ledger()
        with holding_on.reader.snapshot():
            _ = holding_on.size
            with pytest.raises(StoreBusy, match="end that reader"):
                store.erase(entry.payloads[0].ref.digest, by="me", why="x")
        assert not store.erase(entry.payloads[0].ref.digest, by="me", why="x"), "erased already, now from the -wal too"
        assert holding(tmp_path, SECRET) == []
        assert store.ledger().verify().erased == 1


def test_erasing_while_others_write(tmp_path: Path, make: Make) -> None:
    """As `fiducial log erase` does beside a live guard."""
    path = tmp_path / "log.db"
    entries = [make(SECRET + b"%d" % number) for number in range(20)]
    with SqliteStore(path) as live:
        live.commit(Commit(entries=tuple(entries))).result()
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                live.commit(Commit(entries=(make("meanwhile"),))).result()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            with SqliteStore(path) as other:
                for entry in entries:
                    assert other.erase(entry.payloads[0].ref.digest, by="me", why="x")
        finally:
            stop.set()
            writer.join()
        assert holding(tmp_path, SECRET) == []
        assert live.ledger().verify().erased == 20


# What erasing owes


@pytest.mark.parametrize("age", [timedelta(days=30), None])
def test_a_reader_that_will_not_let_go_stops_nothing(
    tmp_path: Path, make: Make, clock: ManualClock, caplog: pytest.LogCaptureFixture, age: timedelta | None
) -> None:
    """Nor does anything forget what is still to be removed: neither time, nor another start, nor a crash."""
    path = tmp_path / "log.db"
    with SqliteStore(path, clock=clock) as store:
        entry = make(SECRET, at_us=clock.unix_us())
        store.commit(Commit(entries=(entry,))).result()
    export_to(path, tmp_path / "out.jsonl", payloads=True)
    clock.advance(timedelta(days=40))
    reader = Ledger.open(path)
    with reader.reader.snapshot():
        _ = reader.size
        with SqliteStore(path, clock=clock, retention=age) as store:
            if age is None:
                erase.erase(store._writer, entry.payloads[0].ref.digest, by="me", why="x", at_us=0)
            for _ in range(3):
                store.commit(Commit(entries=(make("goes on"),), durable=True)).result()
            clock.advance(timedelta(minutes=1))
            store.flush()
            until(lambda: "may not be gone yet" in caplog.text)
            assert holding(tmp_path, SECRET)
            store.commit(Commit(entries=(make("goes on"),), durable=True)).result()
    reader.close()
    with SqliteStore(path, clock=clock) as store:
        until(lambda: scrubbed(store, clock))
        assert holding(tmp_path, SECRET) == []
        assert store.ledger().verify().erased == 1


def test_an_export_that_cannot_be_rewritten_stops_nothing(
    tmp_path: Path, make: Make, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    path, target = tmp_path / "log.db", tmp_path / "out.jsonl"
    with SqliteStore(path, clock=clock) as store:
        store.commit(Commit(entries=(make(SECRET, at_us=clock.unix_us()),))).result()
    export_to(path, target, payloads=True)
    blocked = tmp_path / "out.jsonl.fiducial-draft"
    blocked.mkdir()
    clock.advance(timedelta(days=40))
    with SqliteStore(path, clock=clock, retention=timedelta(days=30)) as store:
        until(lambda: "out.jsonl` could not be rewritten" in caplog.text)
        store.commit(Commit(entries=(make("goes on"),), durable=True)).result()
        assert holding(tmp_path, SECRET) == ["out.jsonl"]
        blocked.rmdir()
        until(lambda: scrubbed(store, clock))
        assert holding(tmp_path, SECRET) == []


@pytest.mark.parametrize("bundles", [255, 256, 257])
def test_retention_scrubs_however_many_bundles_expire(
    tmp_path: Path, make: Make, clock: ManualClock, bundles: int
) -> None:
    path, target = tmp_path / "log.db", tmp_path / "out.jsonl"
    with SqliteStore(path, clock=clock, max_batch=1) as store:
        for _ in range(bundles - 1):  # the log's own first entry is one
            store.commit(Commit(entries=(make(SECRET, at_us=clock.unix_us()),)))
        clock.advance(timedelta(days=40))
        store.commit(Commit(entries=(make("young", at_us=clock.unix_us()),))).result()
    export_to(path, target, payloads=True)
    with SqliteStore(path, clock=clock, retention=timedelta(days=30)) as store:
        until(lambda: store.ledger().verify().erased == bundles - 1)
        until(lambda: scrubbed(store, clock))
        assert holding(tmp_path, SECRET) == []


def test_postgresql_owes_an_erasure_too(postgres: Any, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make(SECRET)
    vacuum = PostgresTables.vacuum
    broken = threading.Event()
    done = threading.Event()

    def vacuumed(tables: PostgresTables) -> None:
        if broken.is_set():
            raise StoreError("no")
        vacuum(tables)
        done.set()

    monkeypatch.setattr(PostgresTables, "vacuum", vacuumed)
    with postgres.open() as store:
        broken.set()
        store.commit(Commit(entries=(entry,))).result()
        with pytest.raises(StoreError, match="no"):
            store.erase(entry.payloads[0].ref.digest, by="dpo", why="x")
        assert owing(store)
    broken.clear()
    with postgres.open() as store:
        until(done.is_set)
        until(lambda: not owing(store))
        assert store.ledger().verify().erased == 1


# Exports


def test_an_export_can_be_checked_by_somebody_with_the_key(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        store.commit(Commit(entries=tuple(make(f"n{number}", b"\xff") for number in range(5)))).result()
        ledger = store.ledger()
        lines = list(export.lines(ledger, payloads=True))
        tree = Tree()
        for line in lines[:-1]:
            tree.extend([leaf_hash(line.split(b'"event":', 1)[1].rsplit(b',"payloads":[', 1)[0])])
        last = json.loads(lines[-1])
        opened = ledger.keys()[0].open(last["checkpoint"])
        assert (opened.size, opened.root) == (6, tree.root())
        second = json.loads(lines[1])
        assert second["index"] == 1
        assert second["payloads"][0]["text"] == "n0"
        assert second["payloads"][1]["base64"] == "/w=="
        for line in export.lines(ledger):
            assert b"salt" not in line
            assert b'"text":' not in line
        assert len(list(export.lines(ledger, session=SessionId("ses_1")))) == 5
        assert list(export.lines(ledger, session=SessionId("none"))) == []


def test_erasing_reaches_exports(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    entries = [make(SECRET, "kept"), make(SECRET + b"2")]
    with SqliteStore(path) as store:
        for entry in entries:
            store.commit(Commit(entries=(entry,))).result()
        whole, part, envelope = tmp_path / "whole.jsonl", tmp_path / "part.jsonl", tmp_path / "envelope.jsonl"
        assert export_to(path, whole, payloads=True) == 4
        assert export_to(path, part, payloads=True, session=SessionId("ses_1")) == 2
        assert export_to(path, envelope) == 4
        gone = tmp_path / "gone.jsonl"
        export_to(path, gone, payloads=True)
        gone.unlink()
        assert stat.S_IMODE(whole.stat().st_mode) == 0o600
        assert holding(tmp_path, SECRET)[-2:] == ["part.jsonl", "whole.jsonl"]
        assert envelope.name not in holding(tmp_path, SECRET)
        untouched = envelope.read_bytes()
        store.erase(entries[0].payloads[0].ref.digest, by="dpo", why="x")
        first = json.loads(whole.read_bytes().splitlines()[1])
        assert first["payloads"][0]["erased"] is True
        assert first["payloads"][1]["text"] == "kept"
        assert b"Mustermann2" in whole.read_bytes()
        store.erase(entries[1].payloads[0].ref.digest, by="dpo", why="x")
        assert holding(tmp_path, SECRET) == []
        assert envelope.read_bytes() == untouched
        assert len(whole.read_bytes().splitlines()) == 4
        assert not list(tmp_path.glob("*draft*")), "nothing is left behind"


def test_a_file_that_is_no_longer_an_export_is_left_alone(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    entry = make(SECRET)
    target = tmp_path / "out.jsonl"
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(entry,))).result()
        export_to(path, target, payloads=True)
        other = b'not json\n{"index":1}\n{"index":"x","payloads":[1]}\n{"index":999,"payloads":[{}]}\n[]\n'
        target.write_bytes(other)
        store.erase(entry.payloads[0].ref.digest, by="dpo", why="x")
    assert target.read_bytes() == other


def test_erasing_leaves_alone_what_another_log_exported_to_the_same_file(tmp_path: Path, make: Make) -> None:
    target = tmp_path / "out.jsonl"
    entries = {name: make(SECRET, name) for name in ("a", "b")}
    for name, entry in entries.items():
        with SqliteStore(tmp_path / f"{name}.db") as store:
            store.commit(Commit(entries=(entry, make(f"more of {name}")))).result()
            export_to(store.path, target, payloads=True)
    before = target.read_bytes()
    for name, entry in entries.items():
        with SqliteStore(tmp_path / f"{name}.db") as store:
            store.erase(entry.payloads[0].ref.digest, by="dpo", why="x")
        assert (target.read_bytes() == before) == (name == "a")
    assert b"more of a" not in target.read_bytes()
    assert SECRET not in target.read_bytes()


def test_an_export_that_cannot_be_written_or_purged_says_so(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    entry = make(SECRET)
    with pytest.raises(StoreError, match="there is no database"):
        export_to(path, tmp_path / "out", payloads=True)
    with pytest.raises(StoreError, match="there is no database"):
        export_to(path, tmp_path / "out")
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(entry,))).result()
        with pytest.raises(StoreError, match="cannot be written"):
            export_to(path, tmp_path / "none" / "out")
        assert not (tmp_path / "out").exists()


def test_erasing_does_not_end_well_while_an_export_is_written(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiducial.store.erase.PATIENCE_SECONDS", 0.1)
    path, target = tmp_path / "log.db", tmp_path / "out.jsonl"
    entry = make(SECRET)
    digest = entry.payloads[0].ref.digest
    written = export.lines

    def meanwhile(*args: object, **settings: object) -> Iterator[bytes]:
        for line in written(*args, **settings):  # type: ignore[arg-type]
            yield line
            if SECRET in line:
                with pytest.raises(StoreError, match="it is being written"):
                    store.erase(digest, by="dpo", why="x")

    with SqliteStore(path) as store:
        store.commit(Commit(entries=(entry, make("kept")))).result()
        monkeypatch.setattr(export, "lines", meanwhile)
        export_to(path, target, payloads=True)
        assert holding(tmp_path, SECRET) == [], "the export takes out what was erased while it was written"
        assert b"kept" in target.read_bytes()
        assert not store.erase(digest, by="dpo", why="x"), "now it ends well"


def test_erasing_removes_what_a_killed_export_left(tmp_path: Path, make: Make) -> None:
    path, target = tmp_path / "log.db", tmp_path / "out.jsonl"
    entry = make(SECRET)
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(entry,))).result()
        export.remember(path, target, 0)
        killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(target)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert len(holding(tmp_path, SECRET)) > 1
        store.erase(entry.payloads[0].ref.digest, by="dpo", why="x")
        assert holding(tmp_path, SECRET) == []


def test_an_export_that_cannot_be_rewritten_does_not_keep_erasing_from_the_others(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    entry = make(SECRET)
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(entry,))).result()
        for name in ("a", "b"):
            export_to(path, tmp_path / name, payloads=True)
        (tmp_path / "a.fiducial-draft").mkdir()
        with pytest.raises(StoreError, match=r"export `.*/a` could not be rewritten"):
            store.erase(entry.payloads[0].ref.digest, by="dpo", why="x")
        assert holding(tmp_path, SECRET) == ["a"]


# Backups


def restored(path: Path, backup: Path) -> None:
    bring_back(backup, path, settle=lambda scan, **_: Commit(), by="ann", why="disk", at_us=0)


def test_a_restore_forgets_no_export_and_says_what_is_back(
    tmp_path: Path, make: Make, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, backup, target = tmp_path / "log.db", tmp_path / "saved" / "backup", tmp_path / "out.jsonl"
    backup.parent.mkdir()
    entries = [make(SECRET), make("erased"), make("erased too"), make("later")]
    digests = [entry.payloads[0].ref.digest for entry in entries]
    with SqliteStore(path) as store:
        store.commit(Commit(entries=tuple(entries[:3]))).result()
        store.erase(digests[2], by="dpo", why="x")
        back_up(path, backup, at_us=0)
        store.commit(Commit(entries=tuple(entries[3:]))).result()
        for digest in (digests[1], digests[3]):
            store.erase(digest, by="dpo", why="x")
    export_to(path, target, payloads=True)
    with monkeypatch.context() as patch:
        patch.setattr("fiducial.store.backup.restore.record", Mock(side_effect=StoreError("cut off")))
        with pytest.raises(StoreError, match="cut off"):
            restored(path, backup)
    restored(path, backup)
    assert f"(1): {digests[1]}" in caplog.text
    assert not [*tmp_path.glob("*.restoring")]
    backup.unlink()
    with SqliteStore(path, clock=clock) as store:
        until(lambda: scrubbed(store, clock))
        assert store.erase(digests[0], by="dpo", why="x")
        assert holding(tmp_path, SECRET) == []
        store.ledger().verify()


def test_a_restore_in_postgresql_says_what_is_back(
    postgres: Any, tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    target, saved = Target.parse(postgres.url), tmp_path / "saved"
    entries = [make("erased"), make("later")]
    digests = [entry.payloads[0].ref.digest for entry in entries]
    with postgres.open() as store:
        store.commit(Commit(entries=(entries[0],))).result()
        store.flush()
        in_postgres.back_up(target, saved, at_us=0)
        store.commit(Commit(entries=(entries[1],))).result()
        for digest in digests:
            store.erase(digest, by="dpo", why="x")
    settle = lambda scan, **_: Commit()  # noqa: E731
    in_postgres.bring_back(saved, target, settle=settle, key_path=postgres.key_path, by="ann", why="x", at_us=0)
    assert f"(1): {digests[0]}" in caplog.text


def test_what_a_damaged_database_remembered_is_told_to_be_lost(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    path, backup = tmp_path / "log.db", tmp_path / "backup"
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(make("n"),))).result()
        back_up(path, backup, at_us=0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE export")
    restored(path, backup)
    assert "remembers cannot be read" in caplog.text
    with Ledger.open(path) as ledger:
        assert ledger.verify().payloads == 1
