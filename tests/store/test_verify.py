"""Tampering: whatever is changed in the database, by whoever has no key, verifying fails and says where."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fiducial.core.event import Entry
from fiducial.core.store import Commit
from fiducial.errors import Corrupt, LedgerError, RolledBack, StoreError, WrongKey
from fiducial.store import schema
from fiducial.store.checkpoint import Checkpoint, Signer
from fiducial.store.keyfile import read_key
from fiducial.store.ledger import Ledger
from fiducial.store.merkle import Tree, leaf_hash
from fiducial.store.sqlite import SqliteStore

Make = Callable[..., Entry]
BATCHES = (1, 3, 1, 5, 2)


@pytest.fixture
def log(tmp_path: Path, make: Make) -> Path:
    """Thirteen entries in six transactions, of which the first opened the log: bundles begin at 0, 1, 2, 5, 6, 11."""
    return write(tmp_path / "log.db", make, BATCHES)


def write(path: Path, make: Make, batches: Sequence[int]) -> Path:
    with SqliteStore(path) as store:
        for number, batch in enumerate(batches):
            entries = tuple(make(f"payload {number} {each}", session=f"ses_{number % 2}") for each in range(batch))
            store.commit(Commit(entries=entries)).result()
        assert store.ledger().verify().size == 1 + sum(batches)
    return path


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    yield connection
    connection.commit()
    connection.close()


def change(path: Path, sql: str, *parameters: Any) -> None:
    with database(path) as connection:
        assert connection.execute(sql, parameters).rowcount > 0


def verify(path: Path, **held: Any) -> None:
    with Ledger.open(path) as ledger:
        ledger.verify(**held)


def where(path: Path) -> int | None:
    """The index that verifying blames."""
    with pytest.raises(Corrupt) as caught:
        verify(path)
    return caught.value.index


def bits(length: int, *, sample: int | None) -> Iterator[tuple[int, int]]:
    """Byte and bit: all of them, or a sample that is the same every time."""
    every = [(byte, bit) for byte in range(length) for bit in range(8)]
    yield from every if sample is None else random.Random(7).sample(every, min(sample, len(every)))


def flip_every_stored_bit(path: Path, sample: int | None) -> None:
    columns = ("events", "leaves", "root", "signature", "payloads")
    with sqlite3.connect(path, isolation_level=None) as connection:
        rows = connection.execute(f"SELECT first, count, {', '.join(columns)} FROM bundle").fetchall()
        with Ledger.open(path) as ledger:
            for first, count, *values in rows:
                for column, value in zip(columns, values, strict=True):
                    for byte, bit in bits(len(value), sample=sample):
                        changed = value[:byte] + bytes([value[byte] ^ 1 << bit]) + value[byte + 1 :]
                        connection.execute(f"UPDATE bundle SET {column}=? WHERE first=?", (changed, first))
                        with pytest.raises(Corrupt) as caught:
                            ledger.verify()
                        expected: Any = range(first, first + count)
                        if column == "events":
                            expected = {first + value[:byte].count(b"\n")}
                        elif column == "leaves":
                            expected = {first + byte // 32}
                        assert caught.value.index in expected, (first, column, byte, bit)
                    connection.execute(f"UPDATE bundle SET {column}=? WHERE first=?", (value, first))
            ledger.verify()
    connection.close()


def test_a_flipped_bit_is_caught_and_located(log: Path) -> None:
    flip_every_stored_bit(log, sample=12)


@pytest.mark.long
def test_every_flipped_bit_is_caught_and_located(tmp_path: Path, make: Make) -> None:
    flip_every_stored_bit(write(tmp_path / "small.db", make, (2, 1)), sample=None)


def flip_bits_of_the_file(path: Path, sample: int | None) -> None:
    """Bits of the file as it lies on disk: an error, or nothing of the log was changed."""
    whole = path.read_bytes()

    def content() -> list[Any]:
        with Ledger.open(path) as ledger:
            ledger.verify()
            return [(each.data, each.payloads) for each in ledger.entries()]

    untouched = content()
    caught = 0
    for byte, bit in bits(len(whole), sample=sample):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << bit]) + whole[byte + 1 :])
        try:
            assert content() == untouched, f"byte {byte}, bit {bit} of the file"
        except StoreError:
            caught += 1
    assert caught > 0
    path.write_bytes(whole)


def test_flipped_bits_of_the_file(log: Path) -> None:
    flip_bits_of_the_file(log, sample=300)


@pytest.mark.long
def test_many_flipped_bits_of_the_file(log: Path) -> None:
    flip_bits_of_the_file(log, sample=5_000)


def lines(path: Path, first: int) -> list[bytes]:
    with database(path) as connection:
        (events,) = connection.execute("SELECT events FROM bundle WHERE first=?", (first,)).fetchone()
        return events.split(b"\n")


@pytest.mark.parametrize("at", range(5))
def test_an_event_removed_from_its_bundle(log: Path, at: int) -> None:
    rest = lines(log, 6)
    del rest[at]
    change(log, "UPDATE bundle SET events=? WHERE first=6", b"\n".join(rest))
    assert where(log) == 6 + at


@pytest.mark.parametrize("at", range(5))
def test_an_event_replayed_within_its_bundle(log: Path, at: int) -> None:
    rest = lines(log, 6)
    rest.insert(at + 1, rest[at])
    change(log, "UPDATE bundle SET events=? WHERE first=6", b"\n".join(rest))
    assert where(log) == 6 + at + 1


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 4), (2, 3)])
def test_events_swapped_within_their_bundle(log: Path, one: int, other: int) -> None:
    rest = lines(log, 6)
    rest[one], rest[other] = rest[other], rest[one]
    change(log, "UPDATE bundle SET events=? WHERE first=6", b"\n".join(rest))
    assert where(log) == 6 + one


@pytest.mark.parametrize("first", [0, 1, 2, 5, 6])
def test_a_transaction_removed(log: Path, first: int) -> None:
    change(log, "DELETE FROM bundle WHERE first=?", first)
    assert where(log) == first


def test_the_last_transaction_removed(log: Path) -> None:
    note = (log.parent / "log.db.checkpoint").read_text()
    change(log, "DELETE FROM bundle WHERE first=11")
    assert where(log) == 11
    # However thorough the attacker, the checkpoint that somebody kept tells.
    change(log, "DELETE FROM lookup WHERE first=11")
    change(log, "DELETE FROM session WHERE first=11")
    verify(log)
    with pytest.raises(RolledBack):
        verify(log, checkpoints=[("kept", note)])
    with pytest.raises(RolledBack):
        SqliteStore(log)


def test_a_transaction_replayed_at_the_end(log: Path) -> None:
    with database(log) as connection:
        for table in ("bundle", "lookup"):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "first"]
            listed = ", ".join(names)
            connection.execute(f"INSERT INTO {table}(first, {listed}) SELECT 13, {listed} FROM {table} WHERE first=6")
        connection.execute("INSERT INTO session SELECT session, 13 FROM session WHERE first=6")
    assert where(log) == 13
    with pytest.raises(Corrupt):
        SqliteStore(log)


def test_transactions_swapped(log: Path) -> None:
    with database(log) as connection:
        for old, new in ((1, 99), (5, 1), (99, 5)):
            for table in ("bundle", "lookup", "session"):
                connection.execute(f"UPDATE {table} SET first=? WHERE first=?", (new, old))
    assert where(log) == 1


@pytest.mark.parametrize("at", range(13))
def test_an_event_changed_together_with_its_hash(log: Path, at: int) -> None:
    """Somebody who knows the format recomputes leaf, root and stored hashes, but has no key to sign with."""
    with database(log) as connection:
        rows = connection.execute("SELECT first, count, events FROM bundle ORDER BY first").fetchall()
        tree = Tree()
        for first, count, events in rows:
            found = events.split(b"\n")
            if first <= at < first + count:
                found[at - first] = found[at - first].replace(b'"at_us":', b'"at_us":1')
            leaves = [leaf_hash(each) for each in found]
            tree.extend(leaves)
            connection.execute(
                "UPDATE bundle SET events=?, leaves=?, root=? WHERE first=?",
                (b"\n".join(found), b"".join(leaves), tree.root(), first),
            )
    first = max(row[0] for row in rows if row[0] <= at)
    assert where(log) == first
    with pytest.raises(LedgerError):
        SqliteStore(log)


def test_a_log_rewritten_under_another_key(log: Path, make: Make) -> None:
    """It verifies by itself, as any log does; whoever knows the key, or kept a checkpoint, is not taken in."""
    key = read_key(log.parent / "log.db.key").verifier
    note = (log.parent / "log.db.checkpoint").read_text()
    for each in log.parent.iterdir():
        each.unlink()
    with SqliteStore(log) as store:
        for _ in range(20):
            store.commit(Commit(entries=(make(),))).result()
    verify(log)
    with pytest.raises(WrongKey, match="nothing in this log is signed"):
        verify(log, key=key)
    with pytest.raises(WrongKey, match="not signed by any key of this log"):
        verify(log, checkpoints=[("kept", note)])


def test_heads_signed_by_a_stranger(log: Path) -> None:
    with database(log) as connection:
        (origin,) = connection.execute("SELECT value FROM meta WHERE name='origin'").fetchone()
        stranger = Signer.generate(origin)
        for first, count, root in connection.execute("SELECT first, count, root FROM bundle").fetchall():
            signature = stranger.sign(Checkpoint(origin, first + count, root).body())
            connection.execute("UPDATE bundle SET signature=? WHERE first=?", (signature, first))
    assert where(log) == 0


def test_a_store_does_not_go_on_from_a_head_that_nobody_signed(log: Path) -> None:
    change(log, "UPDATE bundle SET signature=zeroblob(64) WHERE first=11")
    with pytest.raises(Corrupt, match="the signature does not fit"):
        SqliteStore(log)


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("UPDATE lookup SET first_id='evt_0' WHERE first=2", 2),
        ("UPDATE lookup SET digests=x'00000000' WHERE first=6", 6),
        ("UPDATE session SET session='ses_x' WHERE first=5", 5),
        ("DELETE FROM session WHERE first=5", 5),
        ("DELETE FROM lookup WHERE first=11", 11),
        ("INSERT INTO session VALUES('ses_0', 12)", 13),
        ("INSERT INTO lookup VALUES(40, 'a', 'b', x'')", 13),
        ("INSERT INTO node VALUES(8, 0, x'00')", 13),
        ("UPDATE bundle SET count=4 WHERE first=6", 10),
        ("UPDATE bundle SET count=6 WHERE first=6", 11),
        ("UPDATE bundle SET count=-1 WHERE first=6", 6),
        ("UPDATE bundle SET count='x' WHERE first=6", 6),
        ("UPDATE bundle SET events='text' WHERE first=6", 6),
        ("UPDATE bundle SET payloads=payloads||x'00' WHERE first=6", 6),
        ("UPDATE bundle SET payloads=CAST(payloads||x'00' AS BLOB) WHERE first=6", 10),
        ("UPDATE bundle SET payloads=x'' WHERE first=6", 6),
        ("UPDATE bundle SET payloads=NULL WHERE first=6", 6),
        ("UPDATE bundle SET payloads=zeroblob(length(payloads)) WHERE first=6", 6),
        ("UPDATE bundle SET root=x'00' WHERE first=6", 6),
        ("UPDATE bundle SET signature=x'00' WHERE first=6", 6),
        ("UPDATE bundle SET leaves=x'00' WHERE first=6", 6),
        ("UPDATE meta SET value='other/log' WHERE name='origin'", 0),
        ("DELETE FROM bundle", 0),
    ],
)
def test_anything_else_that_is_changed(log: Path, sql: str, index: int) -> None:
    change(log, sql)
    assert where(log) == index


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t BEFORE INSERT ON state BEGIN SELECT raise(ignore); END",
        "CREATE TRIGGER t AFTER INSERT ON bundle BEGIN DELETE FROM session WHERE first=new.first; END",
        "CREATE TABLE other(a)",
        "CREATE VIEW other AS SELECT 1",
        "CREATE INDEX other ON bundle(count)",
        "DROP TRIGGER append_bundle",
        "DROP TABLE export",
        "ALTER TABLE state ADD COLUMN other",
    ],
)
def test_a_table_view_or_trigger_that_is_not_its_own(log: Path, sql: str) -> None:
    with database(log) as connection:
        connection.execute(sql)
    with pytest.raises(Corrupt, match="is missing, is not what this version makes"):
        verify(log)
    with pytest.raises(Corrupt, match="is missing, is not what this version makes"):
        SqliteStore(log)


@pytest.mark.parametrize("position", ["999999", "5", "-1", "nonsense", "1e3"])
def test_retention_that_never_was(log: Path, position: str) -> None:
    change(log, "INSERT INTO meta VALUES('retained', ?)", position)
    with pytest.raises(Corrupt):
        verify(log)


def test_retention_that_was(log: Path) -> None:
    with SqliteStore(log) as store:
        assert store.retain(datetime.now(UTC)) > 0
        assert store.ledger().verify().payloads == 0
    change(log, "UPDATE meta SET value='0' WHERE name='retained'")
    verify(log)


def test_the_database_states_another_key(log: Path) -> None:
    change(log, "UPDATE meta SET value=? WHERE name='key'", Signer.generate("x/y").verifier.text)
    assert where(log) == 12


def test_stored_hashes_of_the_tree(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        store.commit(Commit(entries=tuple(make() for _ in range(700)))).result()
    verify(path)
    change(path, "UPDATE node SET hashes=CAST(substr(hashes, 1, 40)||zeroblob(24) AS BLOB) WHERE start=0")
    assert where(path) == 256
    change(path, "DELETE FROM node WHERE start=0")
    assert where(path) == 0


def test_an_erasure_that_nobody_recorded(log: Path) -> None:
    with database(log) as connection:
        (payloads,) = connection.execute("SELECT payloads FROM bundle WHERE first=6").fetchone()
        size = 16 + len(b"payload 3 0")
        erased = bytes(size) + payloads[size:]
        connection.execute("UPDATE bundle SET payloads=? WHERE first=6", (erased,))
    assert where(log) == 6


def test_an_erased_payload_put_back(log: Path) -> None:
    with database(log) as connection:
        (before,) = connection.execute("SELECT payloads FROM bundle WHERE first=6").fetchone()
    with SqliteStore(log) as store:
        digest = next(iter(store.ledger().entries(7))).payloads[0].ref.digest
        store.erase(digest, by="me", why="test")
        store.ledger().verify()
    change(log, "UPDATE bundle SET payloads=? WHERE first=6", before)
    assert where(log) == 7


def test_an_event_recorded_twice_is_a_replay(tmp_path: Path, make: Make) -> None:
    """Through the front door, signed and all: the same event twice is still not two events."""
    path = tmp_path / "log.db"
    entry = make("once")
    with SqliteStore(path) as store:
        for _ in range(2):
            store.commit(Commit(entries=(make(), entry, make()))).result()
    assert where(path) == 5


def test_a_damaged_page_is_located(log: Path, make: Make) -> None:
    with SqliteStore(log) as store:
        for _ in range(40):
            store.commit(Commit(entries=(make(b"x" * 3000),))).result()
    whole = bytearray(log.read_bytes())
    with sqlite3.connect(log) as connection:
        (page,) = connection.execute(
            "SELECT pageno FROM dbstat WHERE name='bundle' AND pagetype='leaf' ORDER BY pageno DESC LIMIT 1"
        ).fetchone()
    connection.close()
    size = schema.PAGE_BYTES
    whole[(page - 1) * size : page * size] = bytes(size)
    log.write_bytes(whole)
    with pytest.raises(Corrupt) as caught:
        verify(log)
    assert caught.value.index is not None
    assert caught.value.index > 13


def test_verifying_says_how_far_it_is(log: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify(log, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 13), (2, 13), (5, 13), (6, 13), (11, 13), (13, 13)]


def test_every_statement_of_the_schema_is_used_somewhere() -> None:
    """A statement nobody runs is one that nobody tested."""
    sources = "".join(path.read_text() for path in Path(schema.__file__).parent.glob("*.py"))
    for name in vars(schema):
        if name.isupper():
            assert sources.count(name) > 1, name
