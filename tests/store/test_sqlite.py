"""The store on disk: opening what is not right, a full queue, a failing disk, other processes, rotation, rollback."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fiducial.core.clock import ManualClock
from fiducial.core.event import Entry, KeyRotated, RollbackAccepted
from fiducial.core.ids import EventId
from fiducial.core.store import Add, Cell, Commit, Put, Receipt, Unchanged
from fiducial.errors import (
    Conflict,
    Corrupt,
    RolledBack,
    StoreBusy,
    StoreClosed,
    StoreError,
    TooNew,
    WrongKey,
)
from fiducial.store import retained, schema, writer
from fiducial.store.bundle import Prepared, joined
from fiducial.store.checkpoint import Checkpoint, Signer, Verifier, note, peek
from fiducial.store.keyfile import read_key, write_key
from fiducial.store.ledger import Ledger
from fiducial.store.reader import LogReader
from fiducial.store.rows import SqliteTables
from fiducial.store.sqlite import SqliteStore

Make = Callable[..., Entry]


def fill(path: Path, make: Make, count: int = 3) -> None:
    with SqliteStore(path) as store:
        for number in range(count):
            store.commit(Commit(entries=(make(f"n{number}"),))).result()


def run(path: Path, sql: str, *parameters: Any) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql, parameters)
    connection.commit()
    connection.close()


# Opening


def test_everything_is_made_at_first_start_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "log.db"
    old = os.umask(0)
    try:
        with SqliteStore(path) as store:
            store.commit(Commit(changes=(Put("k", b"v"),))).result()
            assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob("log.db-*")} == {0o600}
    finally:
        os.umask(old)
    assert sorted(each.name for each in path.parent.iterdir()) == ["log.db", "log.db.checkpoint", "log.db.key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((path.parent / "log.db.key").stat().st_mode) == 0o600


def test_several_that_start_at_once_share_one_log(tmp_path: Path, make: Make) -> None:
    barrier = threading.Barrier(6)

    def start(_: int) -> str:
        barrier.wait()
        with SqliteStore(tmp_path / "log.db") as store:
            store.commit(Commit(entries=(make(),))).result()
            return store.ledger().origin

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(start, range(6)))) == 1
    with Ledger.open(tmp_path / "log.db") as ledger:
        assert ledger.verify().size == 7
    assert [each.name for each in tmp_path.iterdir() if each.suffix in (".new", ".tmp")] == []


def test_what_was_kept_is_there_after_reopening(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    entries = [make(f"n{number}") for number in range(600)]
    with SqliteStore(path) as store:
        futures = [store.commit(Commit(entries=(each,), changes=(Add("count", 1),))) for each in entries[:300]]
        assert [future.result().first for future in futures] == list(range(1, 301))
    with SqliteStore(path) as store:
        for each in entries[300:]:
            store.commit(Commit(entries=(each,), changes=(Add("count", 1),), durable=False))
    with SqliteStore(path) as store:
        assert store.read(["count"]) == {"count": Cell(b"600", 600)}
        assert store.ledger().verify().size == 601
        assert [record.event for record in store.ledger().entries(1)] == [each.event for each in entries]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 513, 700])
def test_the_tree_is_taken_up_again_at_any_size(tmp_path: Path, make: Make, size: int) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        if size > 1:
            store.commit(Commit(entries=tuple(make() for _ in range(size - 1)))).result()
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(make(),))).result()
        assert store.ledger().verify().size == size + 1


def test_nonsense_settings_are_refused(tmp_path: Path) -> None:
    for settings in ({"queue_size": 0}, {"queue_bytes": 0}, {"max_batch": 0}, {"checkpoint_every": 0}):
        with pytest.raises(StoreError, match="at least 1"):
            SqliteStore(tmp_path / "log.db", **settings)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="positive"):
        SqliteStore(tmp_path / "log.db", retention=timedelta(0))


def test_a_newer_version_is_refused_and_not_touched(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    run(path, f"PRAGMA user_version={schema.SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    for opener in (SqliteStore, Ledger.open):
        with pytest.raises(TooNew, match="upgrade Fiducial"):
            opener(path)
    assert path.read_bytes() == before


def test_somebody_elses_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    run(path, "CREATE TABLE precious(x)")
    before = path.read_bytes()
    for opener in (SqliteStore, Ledger.open):
        with pytest.raises(StoreError, match="not Fiducial's"):
            opener(path)
    assert path.read_bytes() == before


def test_what_is_no_database_is_corrupt_where_a_log_was_and_else_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"this is a text file, and not a short one either\n" * 100)
    for opener in (SqliteStore, Ledger.open):
        with pytest.raises(StoreError, match="is not a ledger") as caught:
            opener(path)
        assert not isinstance(caught.value, Corrupt)
    (tmp_path / "log.db.checkpoint").write_text("")
    for opener in (SqliteStore, Ledger.open):
        with pytest.raises(Corrupt, match="restore it from a backup"):
            opener(path)


def test_every_truncation_is_noticed(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make, 30)
    whole = path.read_bytes()
    for size in (*range(1, 600, 50), *range(600, len(whole), 1531), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises((Corrupt, StoreError)):
            SqliteStore(path)
        with pytest.raises((Corrupt, StoreError)):
            Ledger.open(path).verify()


def test_an_emptied_database_is_not_taken_for_a_new_one(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    path.write_bytes(b"")
    with pytest.raises(RolledBack, match="is empty"):
        SqliteStore(path)
    with pytest.raises(StoreError, match="is empty"):
        Ledger.open(path)
    path.unlink()
    with pytest.raises(RolledBack, match="is empty"):
        SqliteStore(path)


def test_a_missing_database_or_directory_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        Ledger.open(tmp_path / "none.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "file" / "log.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path)


def test_a_missing_table_is_corrupt(tmp_path: Path, make: Make) -> None:
    for table in ("meta", "bundle", "lookup", "session", "node", "state"):
        path = tmp_path / f"{table}.db"
        fill(path, make)
        run(path, f"DROP TABLE {table}")
        with pytest.raises(Corrupt):  # noqa: PT012
            with SqliteStore(path) as store:
                store.read(["k"])
                store.commit(Commit(entries=(make(),), changes=(Put("k", b"v"),))).result()
            with Ledger.open(path) as ledger:
                ledger.verify()


def test_the_wrong_key_is_refused(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    key = tmp_path / "log.db.key"
    right = key.read_text()
    origin = read_key(key).verifier.name
    for other in (Signer.generate(origin), Signer.generate("another/log")):
        write_key(key, other)
        with pytest.raises(WrongKey, match="restore the key file"):
            SqliteStore(path)
    key.unlink()
    with pytest.raises(WrongKey, match="is missing"):
        SqliteStore(path)
    assert not key.exists(), "a lost key must not be replaced quietly"
    key.write_text(right)
    with pytest.raises(StoreError, match="chmod 600"):
        SqliteStore(path)
    key.chmod(0o600)
    SqliteStore(path).close()
    key.write_text("garbage")
    with pytest.raises(WrongKey, match=r"log\.db\.key` is damaged: .*; restore it from a backup"):
        SqliteStore(path)


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "log"
    SqliteStore(tmp_path / "log.db", key_path=key).close()
    assert key.exists()
    assert not (tmp_path / "log.db.key").exists()
    with pytest.raises(WrongKey):
        SqliteStore(tmp_path / "log.db")


def test_errors_of_sqlite_are_all_translated() -> None:
    codes = {
        name: value for name, value in vars(sqlite3).items() if name.startswith("SQLITE_") and isinstance(value, int)
    }
    for kind in (sqlite3.OperationalError, sqlite3.DatabaseError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
        for code in (*codes, None, 9999):
            error = kind("reason")
            if code is not None:
                error.sqlite_errorcode = code  # type: ignore[attr-defined]
            made = schema.translate(error, "log.db")
            assert isinstance(made, StoreError)
            assert "log.db" in str(made)

    def kind_of(code: int) -> type[StoreError]:
        error = sqlite3.OperationalError("x")
        error.sqlite_errorcode = code  # type: ignore[attr-defined]
        return type(schema.translate(error, "log.db"))

    assert kind_of(sqlite3.SQLITE_CORRUPT) is kind_of(sqlite3.SQLITE_NOTADB) is Corrupt
    assert kind_of(sqlite3.SQLITE_BUSY) is kind_of(sqlite3.SQLITE_LOCKED) is StoreBusy
    assert kind_of(sqlite3.SQLITE_FULL) is kind_of(sqlite3.SQLITE_IOERR) is StoreError
    assert kind_of(sqlite3.SQLITE_CORRUPT | 1 << 8) is Corrupt, "extended codes are told by their primary one"


# The queue


class Gate:
    """Holds the writer's thread between two transactions."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()
        write = store._writer.write

        def slow(batch: Any) -> Any:
            self.entered.set()
            assert self.leave.wait(30)
            return write(batch)

        monkeypatch.setattr(store._writer, "write", slow)


def test_a_full_queue_holds_its_callers_and_then_refuses(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "log.db", queue_size=3, max_batch=1, queue_deadline=timedelta(milliseconds=50))
    gate = Gate(store, monkeypatch)
    futures = [store.commit(Commit(entries=(make(),)))]
    gate.entered.wait(30)
    futures += [store.commit(Commit(entries=(make(),))) for _ in range(3)]
    for durable in (True, False):
        with pytest.raises(StoreBusy, match="try again"):
            store.commit(Commit(entries=(make("late"),), durable=durable))
    gate.leave.set()
    assert [future.result().first for future in futures] == [1, 2, 3, 4]
    assert store.commit(Commit(entries=(make(),))).result().first == 5, "nothing was dropped, and nothing came in late"
    store.close()


def test_a_caller_goes_on_as_soon_as_there_is_room(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "log.db", queue_size=2, max_batch=2)
    gate = Gate(store, monkeypatch)
    store.commit(Commit(entries=(make(), make())))
    gate.entered.wait(30)
    store.commit(Commit(entries=(make(), make())))
    done: list[Receipt] = []
    waiter = threading.Thread(target=lambda: done.append(store.commit(Commit(entries=(make(),))).result()))
    waiter.start()
    waiter.join(0.05)
    assert waiter.is_alive()
    gate.leave.set()
    waiter.join(30)
    assert done == [Receipt(5, 1)]
    store.close()


def test_the_queue_is_bounded_in_bytes_too(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "log.db", queue_bytes=10_000, queue_deadline=timedelta(milliseconds=50))
    gate = Gate(store, monkeypatch)
    store.commit(Commit(entries=(make(b"x" * 100),)))
    gate.entered.wait(30)
    large = store.commit(Commit(entries=(make(b"x" * 50_000),)))
    with pytest.raises(StoreBusy):
        store.commit(Commit(entries=(make(b"x" * 50_000),)))
    gate.leave.set()
    assert large.result().count == 1, "what is larger than the whole queue gets through, alone"
    store.close()


def test_what_is_too_large_for_any_transaction_is_refused(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiducial.store.bundle.MAX_COMMIT", 1000)
    with SqliteStore(tmp_path / "log.db") as store, pytest.raises(StoreError, match="record results by reference"):
        store.commit(Commit(entries=(make(b"x" * 1000),)))


def test_a_conflict_fails_its_commit_and_not_its_batch(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(tmp_path / "log.db") as store:
        gate = Gate(store, monkeypatch)
        first = store.commit(Commit(entries=(make(),)))
        gate.entered.wait(30)
        futures = [
            store.commit(Commit(entries=(make("a"),), changes=(Put("k", b"1"),))),
            store.commit(Commit(entries=(make("b"),), preconditions=(Unchanged("k", 0),), changes=(Put("k", b"2"),))),
            store.commit(Commit(entries=(make("c"),), preconditions=(Unchanged("k", 1),), changes=(Put("k", b"3"),))),
            store.commit(Commit(entries=(make("d"),), changes=(Add("k", 1),))),
        ]
        gate.leave.set()
        assert first.result() == Receipt(1, 1)
        assert isinstance(futures[1].exception(), Conflict)
        assert [futures[each].result().first for each in (0, 2, 3)] == [2, 3, 4]
        assert store.read(["k"]) == {"k": Cell(b"4", 3)}
        ledger = store.ledger()
        assert ledger.verify().bundles == 3, "they were written together"
        assert [stored.data for record in ledger.entries(2) for stored in record.payloads] == [b"a", b"c", b"d"]


def transactions(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM bundle").fetchone()[0]
    return found


def patient(make: Make, text: str = "x") -> Commit:
    return Commit(entries=(make(text),), patient=True)


def told(kept: Future[Receipt]) -> threading.Event:
    """Set once it is kept; waiting for it starts nothing."""
    event = threading.Event()
    kept.add_done_callback(lambda _: event.set())
    return event


def test_what_an_event_loop_commits_in_one_round_is_one_transaction(tmp_path: Path, make: Make) -> None:
    with SqliteStore(tmp_path / "log.db", linger=timedelta(seconds=60)) as store:
        store.flush()
        before = transactions(store.path)

        async def several() -> None:
            kept = [asyncio.wrap_future(store.commit(patient(make)))]
            assert not told(store.commit(patient(make))).wait(0.05)
            kept += [asyncio.wrap_future(store.commit(patient(make))) for _ in range(20)]
            await asyncio.wait_for(asyncio.gather(*kept), 10)

        asyncio.run(several())
        assert transactions(store.path) == before + 1


def test_a_loop_that_does_not_come_round_holds_nobody_up(tmp_path: Path, make: Make) -> None:
    path, quiet = tmp_path / "log.db", Commit(entries=(make(),), durable=False)
    with SqliteStore(path, linger=timedelta(seconds=60), queue_bytes=10_000) as store, ThreadPoolExecutor(1) as beside:

        async def elsewhere() -> Receipt:
            return await asyncio.wait_for(asyncio.wrap_future(store.commit(patient(make))), 10)

        async def blocked() -> None:
            store.flush()
            # Whoever waits for it on the loop itself.
            assert store.commit(patient(make)).result(10)
            assert store.commit(patient(make)).exception(10) is None
            # Others who wait.
            mine = store.commit(patient(make))
            assert told(store.commit(Commit(entries=(make(),)))).wait(10)
            assert mine.done()
            mine = store.commit(patient(make))
            assert beside.submit(asyncio.run, elsewhere()).result(20)
            assert mine.done()
            # Whoever wants room.
            for _ in range(5):
                store.commit(patient(make, "x" * 4_000))

        asyncio.run(blocked())
    with SqliteStore(path) as store, ThreadPoolExecutor(1) as beside:

        async def blocked_again() -> None:
            mine = told(store.commit(patient(make)))
            assert beside.submit(store.commit, quiet).result(10)
            assert mine.wait(10)

        asyncio.run(blocked_again())


def test_closing_writes_what_is_queued(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "log.db", linger=timedelta(seconds=60))
    for _ in range(5):
        store.commit(Commit(entries=(make(),), durable=False))
    store.close()
    with Ledger.open(tmp_path / "log.db") as ledger:
        assert ledger.verify().size == 6


def test_closing_leaves_one_file_whoever_watches(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        store.watch("halt/", lambda _: None)
        store.commit(Commit(entries=(make(),))).result()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.db", "log.db.checkpoint", "log.db.key"]


def test_a_program_that_forgets_to_close_loses_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv[1:]\n"
        "from fiducial.core.event import Entry, SessionClosed\n"
        "from fiducial.core.store import Commit\n"
        "from fiducial.store.sqlite import SqliteStore\n"
        "store = SqliteStore(sys.argv[1])\n"
        "for n in range(50):\n"
        "    event = SessionClosed(id=f'evt_{n}', session='ses_1', at_us=n, calls=n)\n"
        "    store.commit(Commit(entries=(Entry(event),), durable=False))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "log.db")], check=True, timeout=60)
    with Ledger.open(tmp_path / "log.db") as ledger:
        assert ledger.verify().size == 51


# Faults


class Failing:
    """A connection whose `execute` fails on statements that begin so."""

    def __init__(self, connection: sqlite3.Connection, beginning: str, code: int) -> None:
        self._connection, self._beginning, self._code = connection, beginning, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def executemany(self, sql: str, *parameters: Any) -> Any:
        if sql.startswith(self._beginning):
            return self.execute(sql)
        return self._connection.executemany(sql, *parameters)

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql.startswith(self._beginning):
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self._code  # type: ignore[attr-defined]
            raise error
        return self._connection.execute(sql, *parameters)


@pytest.mark.parametrize("step", ["BEGIN", "INSERT INTO append", "INSERT INTO state", "COMMIT"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
def test_a_failing_disk_fails_everybody_who_waits_and_stops_the_store(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    path = tmp_path / "log.db"
    store = SqliteStore(path)
    kept = store.commit(Commit(entries=(make("kept"),), changes=(Put("k", b"kept"),)))
    kept.result()
    gate = Gate(store, monkeypatch)
    monkeypatch.setattr(store._writer.tables, "connection", Failing(store._writer.tables.connection, step, code))
    attempted = store.commit(Commit(entries=(make("lost"),), changes=(Put("k", b"lost"),)))
    gate.entered.wait(30)
    queued = store.commit(Commit(entries=(make("lost"),)))
    gate.leave.set()
    assert type(attempted.exception()) is StoreError
    assert isinstance(queued.exception(), StoreClosed)
    with pytest.raises(StoreClosed, match="the store stopped"):
        store.commit(Commit(entries=(make(),)))
    with pytest.raises(StoreClosed):
        store.read(["k"])
    with pytest.raises(StoreClosed):
        store.flush()
    store.close()
    with SqliteStore(path) as again:
        assert again.read(["k"]) == {"k": Cell(b"kept", 1)}
        assert again.ledger().verify().size == 2


def test_a_full_disk_is_said_in_words(tmp_path: Path, make: Make) -> None:
    store = SqliteStore(tmp_path / "log.db")
    (pages,) = store._writer.tables.connection.execute("PRAGMA page_count").fetchone()
    store._writer.tables.connection.execute(f"PRAGMA max_page_count={pages + 4}")
    with pytest.raises(StoreError, match="full; make room"):
        store.commit(Commit(entries=(make(os.urandom(100_000)),))).result()
    store.close()
    with Ledger.open(tmp_path / "log.db") as ledger:
        assert ledger.verify().size == 1


def test_losing_what_nobody_waited_for_is_told_at_close(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "log.db", linger=timedelta(seconds=60))
    monkeypatch.setattr(
        store._writer.tables,
        "connection",
        Failing(store._writer.tables.connection, "INSERT INTO append", sqlite3.SQLITE_IOERR),
    )
    for _ in range(3):
        store.commit(Commit(entries=(make(),), durable=False))
    with pytest.raises(StoreError, match="3 entries that nobody waited for were not kept"):
        store.close()
    store.close()


def test_a_bug_in_the_writer_is_a_fault_too(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "log.db")

    def broken(_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(store._writer, "put", broken)
    with pytest.raises(StoreError, match="the store failed"):
        store.commit(Commit(entries=(make(),), changes=(Put("k", b"v"),))).result()
    with pytest.raises(StoreClosed):
        store.commit(Commit(entries=(make(),)))
    store.close()


def test_a_forked_child_cannot_use_its_parents_store(tmp_path: Path, make: Make) -> None:
    # In a process of its own, because forking one with threads (as pytest's may be) warns.
    program = (
        "import os, sys, warnings; warnings.simplefilter('ignore')\n"
        "from fiducial.core.store import Commit\n"
        "from fiducial.errors import StoreClosed\n"
        "from fiducial.store.sqlite import SqliteStore\n"
        "store = SqliteStore(sys.argv[1])\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        store.commit(Commit())\n"
        "    except StoreClosed:\n"
        "        store.close(); os._exit(7)\n"
        "    os._exit(0)\n"
        "assert os.waitstatus_to_exitcode(os.wait()[1]) == 7\n"
        "store.commit(Commit()).result(); store.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "log.db")], check=True, timeout=60)


# Others


def test_two_stores_append_to_one_log(tmp_path: Path, make: Make) -> None:
    """As two processes would: each takes up the other's tree before it appends."""
    with SqliteStore(tmp_path / "log.db") as one, SqliteStore(tmp_path / "log.db") as two:
        for number in range(20):
            for store in (one, two):
                receipt = store.commit(Commit(entries=(make(),), changes=(Add("n", 1),))).result()
            assert receipt.first == 2 * number + 2
        futures = [store.commit(Commit(entries=(make(),), changes=(Add("n", 1),))) for store in (one, two) * 50]
        assert sorted(future.result().first for future in futures) == list(range(41, 141))
        assert one.read(["n"]) == two.read(["n"]) == {"n": Cell(b"140", 140)}
        assert one.ledger().verify().size == 141
    SqliteStore(tmp_path / "log.db").close()


def test_a_log_that_shrinks_under_a_live_store_is_noticed(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        for _ in range(3):
            store.commit(Commit(entries=(make(),))).result()
        for table in ("bundle", "lookup", "session"):
            run(path, f"DELETE FROM {table} WHERE first=3")
        changed = store.commit(Commit(entries=(make(),), changes=(Put("k", b"v"),)))
        assert isinstance(changed.exception(), RolledBack)
        with pytest.raises(StoreClosed):
            store.commit(Commit())


def test_a_reader_sees_one_instant_while_a_writer_is_live(tmp_path: Path, make: Make) -> None:
    with SqliteStore(tmp_path / "log.db") as store:
        store.commit(Commit(entries=(make(),))).result()
        with Ledger.open(tmp_path / "log.db") as ledger:
            sizes: list[int] = []

            def told(done: int, total: int) -> None:
                store.commit(Commit(entries=(make(),))).result()
                sizes.append(total)

            assert ledger.verify(progress=told).size == 2
            assert sizes == [2, 2]
            assert ledger.size == 4


def test_reading_needs_no_right_to_write(tmp_path: Path, make: Make) -> None:
    fill(tmp_path / "log.db", make)
    with Ledger.open(tmp_path / "log.db") as ledger, pytest.raises(StoreError):
        ledger.reader.rows("DELETE FROM bundle")


def test_a_closed_ledger_says_so(tmp_path: Path, make: Make) -> None:
    fill(tmp_path / "log.db", make)
    ledger = Ledger.open(tmp_path / "log.db")
    ledger.close()
    with pytest.raises(StoreClosed):
        _ = ledger.size


# Keys and checkpoints


def test_rotating_the_key(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store, SqliteStore(path) as other:
        old = read_key(tmp_path / "log.db.key").verifier
        store.commit(Commit(entries=(make(),))).result()
        kept = store.checkpoint()
        new = Verifier(store.rotate_key(by="admin"))
        assert read_key(tmp_path / "log.db.key").verifier.text == new.text != old.text
        assert new.name == old.name
        ledger = store.ledger()
        assert old.open(ledger.checkpoint()).size == 3, "the head that records the rotation is signed by the old key"
        assert ledger.verify(key=old).pinned
        # Only the checkpoint beside the database is signed by the new key yet.
        with pytest.raises(WrongKey):
            ledger.verify(key=new)
        beside = (tmp_path / "log.db.checkpoint").read_text()
        assert ledger.verify(key=new, checkpoints=[("beside", beside)]).pinned
        for each in (other, store):
            each.commit(Commit(entries=(make(),))).result()
        assert new.open(ledger.checkpoint()).size == 5
        verified = ledger.verify(key=new, checkpoints=[("kept", kept)])
        assert verified.keys == (old.text, new.text)
        (rotation,) = [each.event for each in ledger.entries() if isinstance(each.event, KeyRotated)]
        assert (rotation.key, rotation.by) == (new.text, "admin")
        with pytest.raises(WrongKey, match="nothing in this log is signed"):
            ledger.verify(key=Signer.generate(old.name).verifier)
    with SqliteStore(path) as store:
        store.rotate_key(by="admin")
        assert len(store.ledger().verify().keys) == 3


@pytest.mark.parametrize("opened", [False, True])
def test_nobody_without_a_key_ends_the_log_by_a_rotation_of_their_own(tmp_path: Path, make: Make, opened: bool) -> None:
    """They say that the key became theirs, write what they like, and say that it became the right one again."""
    path = tmp_path / "log.db"
    store = SqliteStore(path)
    store.commit(Commit(entries=(make("true"),))).result()
    if not opened:
        store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = SqliteTables(connection, str(path))
        reader = LogReader(tables)
        (true,) = reader.keys()
        mine = Signer.generate(true.name)
        tree = reader.subtrees(2).tree()
        for number, (said, key) in enumerate([(make("false"), mine.verifier), (make("too"), true)]):
            rotated = Entry(KeyRotated(id=EventId(f"evt{number:026}"), session=None, at_us=0, key=key.text, by="ann"))
            tree, _ = writer._insert(
                tables, mine, tree, joined([Prepared([said]).part(), Prepared([rotated], own=True).part()])
            )
        stated = reader.keys()
        assert [key.text for key in stated] == [true.text, mine.verifier.text, true.text]
    more = Commit(entries=(make(),), preconditions=(Unchanged("k", 0),))
    with pytest.raises(Corrupt, match="signature does not fit"):
        (store if opened else SqliteStore(path)).commit(more).result()
    with suppress(StoreError):
        store.close()


def test_a_rotation_cut_off_before_the_file_was_moved(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    store = SqliteStore(path)
    monkeypatch.setattr("fiducial.store.keyfile.signer_for", lambda *_: (_ for _ in ()).throw(OSError("cut off")))
    with pytest.raises(StoreError):
        store.rotate_key(by="admin")
    store.close()
    monkeypatch.undo()
    with SqliteStore(path) as store:
        store.commit(Commit(entries=(make(),))).result()
        assert len(store.ledger().verify().keys) == 2


def test_a_restored_backup_is_noticed(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    shutil.copy(path, tmp_path / "backup")
    fill(path, make)
    shutil.copy(tmp_path / "backup", path)
    with pytest.raises(RolledBack, match="an older copy"):
        SqliteStore(path)
    note = (tmp_path / "log.db.checkpoint").read_text()
    with Ledger.open(path) as ledger, pytest.raises(RolledBack):
        ledger.verify(checkpoints=[("kept", note)])


def test_a_log_that_went_on_from_a_backup_is_noticed(tmp_path: Path, make: Make) -> None:
    path, beside = tmp_path / "log.db", tmp_path / "log.db.checkpoint"
    fill(path, make)
    shutil.copy(path, tmp_path / "backup")
    shutil.copy(beside, tmp_path / "backup.checkpoint")
    fill(path, make)
    seen = beside.read_text()
    shutil.copy(tmp_path / "backup", path)
    shutil.copy(tmp_path / "backup.checkpoint", beside)
    fill(path, make, 9)
    beside.write_text(seen)
    with pytest.raises(RolledBack, match="went on from an older copy"):
        SqliteStore(path)


def test_accepting_a_restored_backup_is_recorded(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    shutil.copy(path, tmp_path / "backup")
    fill(path, make)
    seen = (tmp_path / "log.db.checkpoint").read_text()
    shutil.copy(tmp_path / "backup", path)
    with SqliteStore(path, accept_rollback=True) as store:
        (accepted,) = [each.event for each in store.ledger().entries() if isinstance(each.event, RollbackAccepted)]
        assert accepted.seen == 7
    assert (tmp_path / "log.db.checkpoint.rejected").read_text() == seen
    with SqliteStore(path, accept_rollback=True) as store:
        assert store.ledger().verify().size == 5, "accepting where there is nothing to accept records nothing"


def test_a_checkpoint_of_another_log_or_a_damaged_one_is_refused(tmp_path: Path, make: Make) -> None:
    fill(tmp_path / "log.db", make)
    fill(tmp_path / "other.db", make)
    beside = tmp_path / "log.db.checkpoint"
    right = beside.read_text()
    beside.write_text((tmp_path / "other.db.checkpoint").read_text())
    with pytest.raises(WrongKey, match="another log"):
        SqliteStore(tmp_path / "log.db")
    for damaged in ("", right[:40], right.replace("\n4\n", "\n3\n")):
        beside.write_text(damaged)
        with pytest.raises(Corrupt, match="checkpoint"):
            SqliteStore(tmp_path / "log.db")
    beside.write_text(right)
    SqliteStore(tmp_path / "log.db").close()
    assert Verifier(read_key(tmp_path / "log.db.key").verifier.text).open(beside.read_text()).size == 4


def test_an_older_copy_whose_checkpoint_was_deleted_is_noticed(tmp_path: Path, make: Make) -> None:
    path, beside = tmp_path / "log.db", tmp_path / "log.db.checkpoint"
    fill(path, make)
    shutil.copy(path, tmp_path / "backup")
    fill(path, make)
    shutil.copy(tmp_path / "backup", path)
    beside.unlink()
    for _ in range(2):
        with pytest.raises(RolledBack, match="is missing"):
            SqliteStore(path)
    with SqliteStore(path, accept_rollback=True) as store:
        (accepted,) = [each.event for each in store.ledger().entries() if isinstance(each.event, RollbackAccepted)]
        assert accepted.seen == 0
    SqliteStore(path).close()


def test_a_log_that_was_cut_off_while_it_was_made_begins_again(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is there before the log is."""
    path = tmp_path / "log.db"
    with monkeypatch.context() as patched:
        patched.setattr("fiducial.store.sqlite.begin_log", lambda *_: sys.exit("power"))
        with pytest.raises(SystemExit):
            SqliteStore(path)
    assert peek((tmp_path / "log.db.checkpoint").read_text()).size == 0
    fill(path, make)


KILLED = """
import sys, time
from fiducial.core.event import Entry, MessageObserved
from fiducial.core.ids import EventId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.store import Commit
from fiducial.store.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
for number in range(20):
    event = MessageObserved(
        id=EventId(mint("evt", number)), session=SessionId("ses_1"), at_us=0, source=SourceId("src_1"),
        authority="user", integrity=Integrity.TRUSTED,
    )
    store.commit(Commit(entries=(Entry(event),))).result()
print("acknowledged", flush=True)
time.sleep(60)
"""


def test_what_was_acknowledged_cannot_be_cut_off_unnoticed(tmp_path: Path, make: Make) -> None:
    """The process is killed, and then all that its -wal file held is gone."""
    path = tmp_path / "log.db"
    fill(path, make)
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "acknowledged\n"
        process.kill()
    os.truncate(tmp_path / "log.db-wal", 0)
    note = (tmp_path / "log.db.checkpoint").read_text()
    assert peek(note).size == 24
    with Ledger.open(path) as ledger, pytest.raises(RolledBack):
        ledger.verify(checkpoints=[("beside", note)])
    with pytest.raises(RolledBack):
        SqliteStore(path)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
def test_a_checkpoint_is_read_whole_while_it_is_advanced(
    tmp_path: Path, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(retained, "overwrite", lambda descriptor, old, new: False)
    signer = Signer.generate("x/y")
    beside = tmp_path / "checkpoint"
    retained.begin(beside, signer)
    heads = [Checkpoint("x/y", size, bytes([size % 256]) * 32) for size in range(1, 2001)]
    notes = [note(head, signer.verifier, signer.sign(head.body())) for head in heads]
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(signer.verifier.open(str(retained.load(beside))).size)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [retained.Beside(beside), retained.Beside(beside), retained.Beside(beside)]

    def advance(writer: retained.Beside, mine: list[str]) -> None:
        for text in mine:
            writer.advance(text)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(advance, writers[:2], [notes[::2], notes[1::2]]))
    done.set()
    reader.join()
    assert seen == sorted(seen), "it never goes back"
    assert peek(str(retained.load(beside))).size == 2000
    for late in (writers[0], writers[2]):
        late.advance(notes[5])
        late.keep(notes[5])
    assert peek(str(retained.load(beside))).size == 2000
    assert [opened.close() for opened in writers] == [None] * 3


def test_a_process_that_is_stopped_with_the_checkpoint_locked_stops_nobody_for_ever(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    monkeypatch.setattr(retained, "PATIENCE_SECONDS", 0.2)
    live = SqliteStore(path)
    with retained.checkpoint_path(path).open("rb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy, match="locked for"):
            SqliteStore(path)
        with pytest.raises(StoreBusy, match="may have been kept"):
            live.commit(Commit(entries=(make("late"),))).result()
    live.close()
    fill(path, make)


def test_checkpoints_are_made_durable_every_so_many_entries_and_seconds(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    sizes = [0]
    monkeypatch.setattr("fiducial.store.upkeep.retained.keep", lambda _, text: sizes.append(peek(text).size))

    def kept() -> int:
        return sizes[-1]

    with SqliteStore(tmp_path / "log.db", clock=clock, checkpoint_every=10) as store:
        store.flush()
        for number in range(1, 30):
            store.commit(Commit(entries=(make(),))).result()
            store.flush()
            assert number + 1 - kept() < 10
        clock.advance(timedelta(seconds=11))
        store.commit(Commit(entries=(make(),))).result()
        store.flush()
        assert kept() == 31
    with SqliteStore(tmp_path / "log.db", checkpoint_interval=timedelta(milliseconds=1)) as store:
        store.commit(Commit(entries=(make(),))).result()
        deadline = threading.Event()
        for _ in range(200):
            if kept() == 32:
                break
            deadline.wait(0.02)
        assert kept() == 32, "an idle log is looked after too"


def test_retention_is_a_setting(tmp_path: Path, make: Make) -> None:
    clock = ManualClock()
    path = tmp_path / "log.db"
    with SqliteStore(path, clock=clock) as store:
        for number in range(600):
            store.commit(Commit(entries=(make(f"n{number}", at_us=clock.unix_us()),)))
        clock.advance(timedelta(days=40))
        store.commit(Commit(entries=(make("young", at_us=clock.unix_us()),))).result()
    with SqliteStore(path, clock=clock, retention=timedelta(days=30)) as store:
        for _ in range(5):
            store.flush()
        verified = store.ledger().verify()
        assert (verified.payloads, verified.erased) == (1, 600)
        clock.advance(timedelta(days=31))
        store.flush()
        store.flush()
        assert store.ledger().verify().payloads == 0


def test_a_commit_comes_between_those_of_a_busy_process(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    done = threading.Event()
    turns = 0

    def hold() -> None:
        nonlocal turns
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            while not done.is_set():
                other.execute("BEGIN IMMEDIATE")
                turns += 1
                done.wait(0.08)
                other.execute("ROLLBACK")
                done.wait(0.004)

    with SqliteStore(path) as store, ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        waited = []
        for number in range(8):
            done.wait(0.02)
            before = turns
            store.commit(Commit(entries=(make(f"n{number}"),))).result()
            waited.append(turns - before)
        done.set()
    assert max(waited) <= 5, f"each could come in after one or two of the other's transactions, not {waited}"


def test_a_transaction_that_hangs_is_not_waited_for_without_end(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    fill(path, make)
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.1)
    with SqliteStore(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another process holds"):
            store.commit(Commit(entries=(make("late"),))).result()
        other.execute("ROLLBACK")
    with SqliteStore(path) as store:
        assert store.commit(Commit(entries=(make("later"),))).result().first == 4
