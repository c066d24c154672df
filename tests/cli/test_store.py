"""`fiducial store`: migrate, check, back up and restore, on both databases."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fiducial.cli.store import app
from fiducial.console.accounts import Accounts
from fiducial.core.clock import SystemClock
from fiducial.core.event import Entry, LogRestored, PersonChanged, SessionClosed
from fiducial.core.ids import EventId, PersonId, SessionId, mint
from fiducial.core.store import Cell, Commit, Put
from fiducial.errors import RolledBack, StoreError
from fiducial.guard.switches import ORDERED, Switches
from fiducial.oversight.people import People, Person
from fiducial.store.open import beside, open_ledger, open_store


class Place(NamedTuple):
    """A store, by its name and its key."""

    db: str
    key: Path
    at: Path

    def open(self, **settings: Any) -> Any:
        return open_store(self.db, key_path=self.key, **settings)

    def run(self, *arguments: str | Path) -> Result:
        environment = {"FIDUCIAL_DB": self.db, "FIDUCIAL_KEY_FILE": str(self.key)}
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)

    def record(self, *calls: int) -> None:
        with self.open() as store:
            for number in calls:
                event = SessionClosed(id=EventId(mint("evt", 0)), session=SessionId("ses_1"), at_us=0, calls=number)
                store.commit(Commit(entries=(Entry(event),), changes=(Put("last", b"%d" % number),))).result()

    def calls(self) -> list[int]:
        with open_ledger(self.db) as ledger:
            return [record.event.calls for record in ledger.session(SessionId("ses_1"))]  # type: ignore[union-attr]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(str(tmp_path / "log.db"), tmp_path / "log.db.key", tmp_path)
    made = request.getfixturevalue("postgres")
    return Place(made.url, made.key_path, tmp_path)


def test_a_restored_backup_is_the_store_that_was_and_says_so(place: Place) -> None:
    place.record(1, 2)
    saved = place.at / "saved"
    done = place.run("backup", "--out", saved)
    assert done.exit_code == 0, done.output
    assert saved.stat().st_mode & 0o077 == 0
    place.record(3, 4)
    assert place.calls() == [1, 2, 3, 4]
    restored = place.run("restore", saved, "--by", "ann", "--why", "disk broke")
    assert restored.exit_code == 0, restored.output
    assert place.calls() == [1, 2]
    with place.open() as store:
        assert store.read(["last"]) == {"last": Cell(b"2", 2)}
        ledger = store.ledger()
        event = [*ledger.entries()][-1].event
        assert isinstance(event, LogRestored)
        assert (event.by, event.why, event.size, event.seen) == ("ann", "disk broke", 3, 5)
        ledger.verify()
    place.record(5)
    assert place.calls() == [1, 2, 5]
    kept = beside(place.db, place.key).checkpoint
    assert kept.with_name(f"{kept.name}.rejected").exists()
    assert place.run("check").exit_code == 0


def test_a_restore_stops_everything_and_signs_everybody_out(place: Place) -> None:
    """What it does to each kind of cell is in `tests/oversight/test_restored.py`; here, on both databases."""
    clock, hour = SystemClock(), timedelta(hours=1)

    def offices(store: Any) -> tuple[People, Accounts, Switches]:
        people = People(store, clock)
        return people, Accounts(store, people, clock, idle=hour, lifetime=hour), Switches(store, clock)

    carl = Person(id=PersonId("carl"), name="Carl", console=("approver",))
    with place.open() as store:
        people, accounts, switches = offices(store)
        people.add(carl, by=PersonId("ann"))
        session = accounts.sign_in(carl, "password")
        token = accounts.make_token(carl, "script", frozenset({"approver"}), hour)
        link = accounts.link(carl.id, by=PersonId("ann"), lifetime=hour)
        lifted = switches.order("a drill", by=PersonId("olga"))
        switches.lift(lifted.id, by=PersonId("omar"), why="over")
    saved = place.at / "saved"
    assert place.run("backup", "--out", saved).exit_code == 0
    with place.open() as store:
        assert offices(store)[1].session(session) is not None
        offices(store)[1].revoke(carl.id, by=PersonId("ann"))
    restored = place.run("restore", saved, "--by", "ann", "--why", "disk broke")
    assert restored.exit_code == 0, restored.output
    assert "everything is stopped until somebody else lifts that" in restored.output
    with place.open() as store:
        _, accounts, switches = offices(store)
        assert (accounts.session(session), accounts.token(token), accounts.linked(link)) == (None, None, None)
        assert accounts.epoch(carl.id) == 1
        assert [(each.total, each.by) for each in switches.halts] == [(True, "ann")]
        assert [each.version for each in store.read([ORDERED]).values()] == [2]
        events = [record.event for record in store.ledger().entries()]
        assert [event.act for event in events if isinstance(event, PersonChanged)][-1] == "revoked"
        assert isinstance(events[-1], LogRestored)
        store.ledger().verify()


def test_a_rollback_does_not_pass_for_a_restore(place: Place, tmp_path: Path) -> None:
    """The older log is put in place by hand: from a backup, or by who takes the mark off it."""
    place.record(1)
    saved = place.at / "saved"
    assert place.run("backup", "--out", saved).exit_code == 0
    place.record(2)
    put_in_place(place, saved)
    with pytest.raises(StoreError, match="fiducial store restore"):
        place.open()
    unmark(place)
    with pytest.raises(RolledBack):
        place.open()


def put_in_place(place: Place, saved: Path) -> None:
    if not place.db.startswith("postgresql"):
        shutil.copyfile(saved, place.db)
        return
    import psycopg

    from fiducial.store.postgres.backup import TABLES
    from fiducial.store.postgres.link import Target

    goal = Target.parse(place.db)
    with (
        psycopg.connect(goal.conninfo, options=f"-c search_path={goal.schema}") as connection,
        zipfile.ZipFile(saved) as archive,
    ):
        connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        for table, columns in TABLES.items():
            with connection.cursor().copy(f"COPY {table}({columns}) FROM STDIN (FORMAT binary)") as copy:
                copy.write(archive.read(f"{table}.copy"))
        connection.execute("INSERT INTO meta VALUES('backup', '{}')")


def unmark(place: Place) -> None:
    if place.db.startswith("postgresql"):
        import psycopg

        from fiducial.store.postgres.link import Target

        goal = Target.parse(place.db)
        with psycopg.connect(goal.conninfo, options=f"-c search_path={goal.schema}") as connection:
            connection.execute("DELETE FROM meta WHERE name = 'backup'")
        return
    connection = sqlite3.connect(place.db)
    connection.execute("DELETE FROM meta WHERE name = 'backup'")
    connection.commit()
    connection.close()


def test_a_store_that_is_open_stops_when_a_backup_takes_its_place(place: Place) -> None:
    place.record(1)
    saved = place.at / "saved"
    assert place.run("backup", "--out", saved).exit_code == 0
    store = place.open()
    event = SessionClosed(id=EventId(mint("evt", 0)), session=SessionId("ses_1"), at_us=0, calls=9)
    store.commit(Commit(entries=(Entry(event),))).result()
    store.flush()
    assert place.run("restore", saved, "--why", "w").exit_code == 0
    assert isinstance(store.commit(Commit(changes=(Put("k", b"v"),))).exception(30), StoreError)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            store.commit(Commit(changes=(Put("k", b"v"),)))
        except StoreError:
            break
        time.sleep(0.05)
    with pytest.raises(StoreError):
        store.commit(Commit())
    with suppress(StoreError):
        store.close()
    assert place.calls() == [1]


def test_restoring_where_nothing_is(place: Place, tmp_path: Path) -> None:
    place.record(1)
    saved = place.at / "saved"
    assert place.run("backup", "--out", saved).exit_code == 0
    if place.db.startswith("postgresql"):
        elsewhere = place._replace(db=place.db.replace("schema=test", "schema=rest"))
    else:
        elsewhere = place._replace(db=str(tmp_path / "new" / "log.db"))
    done = elsewhere.run("restore", saved, "--why", "moved")
    assert done.exit_code == 0, done.output
    assert elsewhere.calls() == [1]
    elsewhere.record(2)
    assert elsewhere.calls() == [1, 2]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:5000].replace(b"ses_1", b"ses_2") + data[5000:].replace(b"ses_1", b"ses_2"),
        lambda data: b"no backup at all",
        lambda data: b"",
    ],
)
def test_a_damaged_backup_changes_nothing(place: Place, spoil: Callable[[bytes], bytes]) -> None:
    place.record(1)
    saved = place.at / "saved"
    assert place.run("backup", "--out", saved).exit_code == 0
    place.record(2)
    data = saved.read_bytes()
    spoiled = spoil(data)
    if spoiled == data:
        # Compressed: the sum over the member no longer fits.
        spoiled = data[:-400] + bytes(64) + data[-336:]
    saved.write_bytes(spoiled)
    done = place.run("restore", saved, "--why", "w")
    assert done.exit_code in (1, 2), done.output
    assert "Traceback" not in done.output
    assert place.calls() == [1, 2]
    place.record(3)


def test_what_restore_asks_for(place: Place, tmp_path: Path) -> None:
    place.record(1)
    saved = place.at / "saved"
    assert place.run("backup", "--out", saved).exit_code == 0
    assert "is there already" in place.run("backup", "--out", saved).output
    assert "no directory" in place.run("backup", "--out", tmp_path / "none" / "x").output
    assert "say why" in place.run("restore", saved, "--why", " ").output
    assert "say why" in place.run("restore", saved, "--why", "x" * 501).output
    assert "no backup" in place.run("restore", tmp_path / "none", "--why", "w").output
    other = tmp_path / "other.key"
    from fiducial.store.checkpoint import Signer
    from fiducial.store.keyfile import write_key

    write_key(other, Signer.generate("example.org/other"))
    done = place.run("restore", saved, "--why", "w", "--key-file", other)
    assert done.exit_code == 1
    assert "the key at hand" in done.output
    assert place.calls() == [1]


def test_check_says_what_it_found(place: Place) -> None:
    place.record(1, 2)
    found = place.run("check", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["verified"]["size"] == 3
    key = place.key.read_bytes()
    place.key.unlink()
    without = place.run("check")
    assert without.exit_code == 1
    assert "signing key" in without.output
    place.key.write_bytes(key)
    assert place.run("check", "--key", "nonsense").exit_code == 2


def test_check_finds_that_the_checkpoint_is_missing(place: Place) -> None:
    place.record(1)
    beside(place.db, place.key).checkpoint.unlink()
    done = place.run("check")
    assert done.exit_code == 1
    assert "entries may be missing at the end" in done.output


def test_check_finds_a_parcel_that_was_changed(postgres: Any) -> None:
    place = Place(postgres.url, postgres.key_path, postgres.key_path.parent)
    place.record(1)
    postgres.run(
        "INSERT INTO inbox(writer, number, at, body, signature) VALUES('x', 1, now() - interval '1 hour', '', '')"
    )
    done = place.run("check")
    assert done.exit_code == 1
    assert "not what was committed" in done.output
    assert "waits in the inbox" in done.output


def test_migrate_makes_and_keeps(place: Place) -> None:
    missing = place.run("migrate")
    if place.db.startswith("postgresql"):
        assert "before: no tables" in missing.output
    else:
        assert missing.exit_code == 2
    place.record(1)
    again = place.run("migrate")
    assert again.exit_code == 0
    assert "as before" in again.output
    assert place.calls() == [1]


def test_where_nothing_is(place: Place, tmp_path: Path) -> None:
    for arguments in (("check",), ("backup", "--out", tmp_path / "x")):
        done = place.run(*arguments)
        assert done.exit_code in (1, 2)
        assert "Traceback" not in done.output
        assert not (tmp_path / "x").exists()
