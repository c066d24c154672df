"""Sealed Parquet: read back by DuckDB, sealed once, in order, and only from the log that was exported before."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fiducial.core.clock import ManualClock
from fiducial.core.event import CallDecided, CallFinished, Entry, Firing, MessageObserved, SessionOpened
from fiducial.core.ids import DecisionId, Digest, EventId, PolicyId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import seal as sealed_payload
from fiducial.core.store import Commit
from fiducial.errors import Corrupt, RolledBack, StoreError, WrongKey
from fiducial.store import parquet
from fiducial.store.ledger import Ledger
from fiducial.store.parquet import SCHEMA, seal
from fiducial.store.sqlite import SqliteStore

START = datetime(2026, 1, 1, tzinfo=UTC)
SESSION = SessionId("ses_1")


def us(**after: float) -> int:
    return int((START + timedelta(**after)).timestamp() * 1_000_000)


def message(at_us: int, text: str = "the secret text") -> Entry:
    payload = sealed_payload("text", text.encode())
    event = MessageObserved(
        id=EventId(mint("evt", at_us // 1000)),
        session=SESSION,
        at_us=at_us,
        payloads=(payload.ref,),
        source=SourceId("src_1"),
        authority="user",
        integrity=Integrity.TRUSTED,
    )
    return Entry(event, (payload,))


def decided(at_us: int) -> list[Entry]:
    decision = DecisionId(mint("dec", 0))
    return [
        Entry(
            SessionOpened(
                id=EventId(mint("evt", at_us // 1000)),
                session=SESSION,
                at_us=at_us,
                agent="support",
                user="emma",
                roles=("user",),
                tier="write",
                charter=Digest("sha256:" + "0" * 64),
                mode="enforce",
            )
        ),
        Entry(
            CallDecided(
                id=EventId(mint("evt", at_us // 1000)),
                session=SESSION,
                at_us=at_us + 1,
                decision=decision,
                tool="send_money",
                contract=None,
                policies=None,
                verdict="denied",
                mode="enforce",
                fired=(Firing(PolicyId("baseline/no-exfiltration")), Firing(PolicyId("charter/limit"))),
                side_effect=True,
                risk=3,
            )
        ),
        Entry(
            CallFinished(
                id=EventId(mint("evt", at_us // 1000)),
                session=SESSION,
                at_us=at_us + 2,
                decision=decision,
                outcome="ok",
                source=SourceId("src_2"),
                integrity=Integrity.UNTRUSTED,
                classes=("iban",),
                duration_us=1500,
            )
        ),
    ]


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "log.db", clock=clock) as made:
        yield made


def record(store: SqliteStore, *entries: Entry) -> None:
    for each in entries:
        store.commit(Commit(entries=(each,))).result()


def query(directory: Path, sql: str) -> list[Any]:
    import duckdb  # it complains at the end of a process that has kept it, as `pytest_collection_finish` does

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # By way of Arrow: DuckDB itself needs one more package to give Python a time with its zone.
        table = connection.sql(sql.replace("LOG", f"read_parquet('{directory}/**/*.parquet')")).to_arrow_table()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def facts(path: Path) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}


def test_duckdb_reads_what_was_recorded(store: SqliteStore, tmp_path: Path) -> None:
    record(store, message(us(hours=1)), *decided(us(hours=2)))
    (written,) = seal(store.ledger(), tmp_path / "out", tenant="acme")
    assert written.path == tmp_path / "out/acme/2026-01-01/000000000000-000000000005.parquet"
    rows = query(tmp_path / "out", "SELECT tenant, entry, kind, verdict, tool, fired, risk, side_effect FROM LOG")
    assert rows == [
        ("acme", 0, "log.opened", None, None, None, None, None),
        ("acme", 1, "message.observed", None, None, None, None, None),
        ("acme", 2, "session.opened", None, None, None, None, None),
        ("acme", 3, "call.decided", "denied", "send_money", ["baseline/no-exfiltration", "charter/limit"], 3, True),
        ("acme", 4, "call.finished", None, None, None, None, None),
    ]
    (found,) = query(tmp_path / "out", "SELECT person, agent, session, mode FROM LOG WHERE kind = 'session.opened'")
    assert found == ("emma", "support", "ses_1", "enforce")
    (found,) = query(
        tmp_path / "out",
        "SELECT f.outcome, f.source, f.integrity, f.classes, f.duration_us, d.tool FROM LOG f JOIN LOG d"
        " USING (decision) WHERE f.kind = 'call.finished' AND d.kind = 'call.decided'",
    )
    assert found == ("ok", "src_2", "untrusted", ["iban"], 1500, "send_money")
    (found,) = query(tmp_path / "out", "SELECT time, payloads FROM LOG WHERE kind = 'message.observed'")
    assert found[0] == START + timedelta(hours=1)
    ref = message(0).payloads[0].ref
    assert found[1][0].keys() == {"role", "digest", "size"}
    assert (found[1][0]["role"], found[1][0]["size"]) == ("text", ref.size)


def test_every_column_can_be_named_without_quotes(store: SqliteStore, tmp_path: Path) -> None:
    record(store, message(us(hours=1)), *decided(us(hours=2)))
    (written,) = seal(store.ledger(), tmp_path / "out")
    table = pq.read_table(written.path)
    assert table.schema.names == SCHEMA.names
    for name in SCHEMA.names:
        quoted = query(tmp_path / "out", f'SELECT "{name}" FROM LOG ORDER BY entry')
        assert query(tmp_path / "out", f"SELECT {name} FROM LOG ORDER BY entry") == quoted
        assert any(value is not None for (value,) in quoted) or name in {"fault"}


def test_the_event_is_the_entry_that_the_tree_hashes(store: SqliteStore, tmp_path: Path) -> None:
    record(store, *decided(us(hours=2)), message(us(hours=1)))
    seal(store.ledger(), tmp_path / "out")
    events = dict(query(tmp_path / "out", "SELECT entry, event FROM LOG"))
    leaves = [hashlib.sha256(b"\x00" + events[index].encode()).digest() for index in range(5)]
    assert leaves == [hashlib.sha256(b"\x00" + each.data).digest() for each in store.ledger().entries()]
    (row,) = query(tmp_path / "out", "SELECT event->>'$.fired[1].policy' FROM LOG WHERE verdict = 'denied'")
    assert row == ("charter/limit",)


def test_payloads_stay_out(store: SqliteStore, tmp_path: Path) -> None:
    record(store, message(us(hours=1)))
    (written,) = seal(store.ledger(), tmp_path / "out")
    assert b"secret" not in written.path.read_bytes()
    assert all("secret" not in str(row) for row in query(tmp_path / "out", "SELECT * FROM LOG"))


def test_the_file_says_what_it_holds(store: SqliteStore, tmp_path: Path) -> None:
    record(store, message(us(hours=1)))
    ledger = store.ledger()
    (written,) = seal(ledger, tmp_path / "out", tenant="acme")
    stated = facts(written.path)
    assert {name: stated[f"fiducial.{name}"] for name in ("origin", "tenant", "first", "stop", "format")} == {
        "origin": ledger.origin,
        "tenant": "acme",
        "first": "0",
        "stop": "2",
        "format": "1",
    }
    assert ledger.keys()[0].open(stated["fiducial.checkpoint"]) == ledger.head()


def test_rows_are_sorted_and_the_file_says_so(store: SqliteStore, tmp_path: Path) -> None:
    record(store, *(message(us(hours=hour)) for hour in (5, 3, 4, 3, 9)))
    (written,) = seal(store.ledger(), tmp_path / "out")
    table = pq.read_table(written.path)
    order = list(zip(table["tenant"].to_pylist(), table["time"].to_pylist(), table["entry"].to_pylist(), strict=True))
    assert order == sorted(order)
    assert [entry for _, _, entry in order] == [0, 2, 4, 3, 1, 5]
    sorting = pq.read_metadata(written.path).row_group(0).sorting_columns
    assert [SCHEMA.names[each.column_index] for each in sorting] == ["tenant", "time", "entry"]


def test_a_day_is_a_file_and_a_file_is_never_touched_again(store: SqliteStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    record(store, message(us(hours=1)), message(us(days=1)), message(us(hours=23)), message(us(days=2)))
    written = seal(store.ledger(), out)
    # The late one stays in its place in the tree.
    assert [(each.path.parent.name, each.first, each.stop) for each in written] == [
        ("2026-01-01", 0, 2),
        ("2026-01-02", 2, 4),
        ("2026-01-03", 4, 5),
    ]
    before = {each.path: each.path.read_bytes() for each in written}
    assert seal(store.ledger(), out) == []
    record(store, message(us(days=2, hours=1)), message(us(days=3)))
    again = seal(store.ledger(), out)
    assert [(each.path.parent.name, each.first, each.stop) for each in again] == [
        ("2026-01-03", 5, 6),
        ("2026-01-04", 6, 7),
    ]
    assert {path: path.read_bytes() for path in before} == before
    assert query(out, "SELECT entry FROM LOG ORDER BY entry") == [(n,) for n in range(7)]
    assert all(path.suffix == ".parquet" for path in out.rglob("*.*") if path.is_file() and path.name != ".lock")


def test_a_file_has_a_limit(store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, *(message(us(minutes=n)) for n in range(9)))
    monkeypatch.setattr(parquet, "MAX_ROWS", 4)
    assert [(each.first, each.stop) for each in seal(store.ledger(), tmp_path / "rows")] == [(0, 4), (4, 8), (8, 10)]
    monkeypatch.setattr(parquet, "MAX_BYTES", 900)
    by_bytes = seal(store.ledger(), tmp_path / "bytes")
    assert by_bytes[0].first == 0
    assert [each.stop for each in by_bytes[:-1]] == [each.first for each in by_bytes[1:]]
    assert len(by_bytes) > 3


def test_tenants_do_not_leave_their_directory(store: SqliteStore, tmp_path: Path) -> None:
    for tenant in ("", ".", ".."):
        with pytest.raises(StoreError, match="cannot name a tenant"):
            seal(store.ledger(), tmp_path / "out", tenant=tenant)
    (written,) = seal(store.ledger(), tmp_path / "out", tenant="../../acme/é'")
    assert written.path.parent.parent.parent == tmp_path / "out"
    assert query(tmp_path / "out", "SELECT tenant FROM LOG") == [("../../acme/é'",)]


def test_only_the_log_that_was_exported_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with SqliteStore(tmp_path / "a.db") as store:
        record(store, message(us(hours=1)))
    for name in (".db", ".db.key", ".db.checkpoint"):
        shutil.copy(tmp_path / f"a{name}", tmp_path / f"b{name}")
    with SqliteStore(tmp_path / "a.db") as store:
        record(store, message(us(hours=2)))
        seal(store.ledger(), out, tenant="acme")
    with SqliteStore(tmp_path / "b.db") as store:
        with pytest.raises(RolledBack):
            seal(store.ledger(), out, tenant="acme")
        record(store, message(us(hours=2)), message(us(hours=3)))
        with pytest.raises(RolledBack):
            seal(store.ledger(), out, tenant="acme")
    with SqliteStore(tmp_path / "c.db") as store, pytest.raises(WrongKey):
        seal(store.ledger(), out, tenant="acme")


def test_what_does_not_lead_to_the_head_is_not_sealed(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "a.db") as store:
        record(store, message(us(hours=1)), message(us(days=4)))
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("UPDATE bundle SET events = CAST(replace(events, 'src_1', 'src_2') AS BLOB)")
    connection.close()
    with Ledger.open(tmp_path / "a.db") as ledger, pytest.raises(Corrupt, match="do not lead to its head"):
        seal(ledger, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".lock"]


def test_a_file_of_another_kind_is_not_built_upon(store: SqliteStore, tmp_path: Path) -> None:
    (written,) = seal(store.ledger(), tmp_path / "out", tenant="acme")
    pq.write_table(pq.read_table(written.path).replace_schema_metadata({}), written.path)
    with pytest.raises(StoreError, match="was not written by this version"):
        seal(store.ledger(), tmp_path / "out", tenant="acme")
    written.path.write_bytes(b"no Parquet")
    with pytest.raises(StoreError, match="cannot be read"):
        seal(store.ledger(), tmp_path / "out", tenant="acme")
