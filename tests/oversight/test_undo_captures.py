"""Captures of files and SQL rows: exact, confined, and never over somebody else's change."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiducial.core.canonical import digest
from fiducial.errors import CaptureError, ChangedSince
from fiducial.guard.compensation import Snapshot
from fiducial.oversight.captures import Files
from fiducial.oversight.captures_sql import Rows

# --- files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    (tmp_path / "outside").write_text("secret")
    return made


def through_the_ledger(taken: Snapshot) -> Snapshot:
    """A snapshot as it comes back from its payload."""
    return msgspec.json.decode(msgspec.json.encode(taken), type=Snapshot)


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "a/../../outside", "", ".", "a\0b", "link", "dir-link/outside", 5, None]
)
def test_no_path_leads_out_of_the_root(root: Path, path: Any) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    (root / "dir-link").symlink_to(root.parent)
    files = Files(root)
    before = Snapshot({"is": "file", "content": "", "mode": 0o600, "owner": [os.getuid(), os.getgid()]}, [])
    for act in (lambda: files.take({"path": path}), lambda: files.restore({"path": path}, before, digest("x"))):
        with pytest.raises(CaptureError):
            act()
    assert (root.parent / "outside").read_text() == "secret"


def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(root: Path) -> None:
    files = Files(root)
    before = files.take({"path": "a"})
    (root / "a").symlink_to(root.parent / "outside")
    files.restore({"path": "a"}, before, None)
    assert not (root / "a").is_symlink()
    assert (root.parent / "outside").read_text() == "secret"


def test_paths_may_be_absolute_within_the_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    (root / "a").write_text("x")
    direct = Files(root).take({"path": str(root / "a")})
    assert Files(tmp_path / "alias").take({"path": str(tmp_path / "alias" / "a")}) == direct
    assert direct == Files(root).take({"path": "a"})


def test_what_cannot_be_kept_whole_is_refused(root: Path) -> None:
    (root / "large").write_bytes(b"x" * 11)
    (root / "one").write_text("x")
    (root / "two").hardlink_to(root / "one")
    (root / "dir").mkdir()
    os.mkfifo(root / "pipe")
    files = Files(root, max_bytes=10)
    for path, why in (
        ("large", "larger"),
        ("one", "several names"),
        ("dir", "else than a file"),
        ("pipe", "else than"),
    ):
        with pytest.raises(CaptureError, match=why):
            files.take({"path": path})
    with pytest.raises(CaptureError, match="one argument"):
        files.take({"path": "a", "more": 1})


def test_a_directory_that_is_gone_is_not_made_again(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "a").write_text("x")
    files = Files(root)
    before = files.take({"path": "d/a"})
    (root / "d" / "a").unlink()
    (root / "d").rmdir()
    with pytest.raises(CaptureError, match="gone"):
        files.restore({"path": "d/a"}, before, files.take({"path": "d/a"}).digest)


def test_a_directory_that_others_use_by_now_stays(root: Path) -> None:
    files = Files(root)
    before = files.take({"path": "new/a"})
    (root / "new").mkdir()
    (root / "new" / "a").write_text("x")
    (root / "new" / "theirs").write_text("y")
    files.restore({"path": "new/a"}, through_the_ledger(before), files.take({"path": "new/a"}).digest)
    assert [path.name for path in (root / "new").iterdir()] == ["theirs"]


def test_a_leftover_of_a_crash_is_taken_over(root: Path) -> None:
    (root / "a").write_text("old")
    files = Files(root)
    before = files.take({"path": "a"})
    (root / "a").write_text("new")
    (root / ".a.fiducial-undo").write_text("half")
    files.restore({"path": "a"}, before, files.take({"path": "a"}).digest)
    assert (os.listdir(root), (root / "a").read_text()) == (["a"], "old")


@pytest.mark.parametrize("name", ["n" * 255, "報" * 81 + ".txt", "b" * 241])
def test_a_file_with_a_long_name_is_put_back(root: Path, name: str) -> None:
    (root / name).write_text("old")
    files = Files(root)
    before = files.take({"path": name})
    (root / name).write_text("new")
    files.restore({"path": name}, before, files.take({"path": name}).digest)
    assert (os.listdir(root), (root / name).read_text()) == ([name], "old")


@pytest.mark.parametrize("before", [None, [], {"is": "file"}, {"is": "absent", "more": 1}, {"is": "row"}, {}])
def test_what_is_no_state_of_a_file_is_not_put_back(root: Path, before: Any) -> None:
    (root / "a").write_text("x")
    with pytest.raises(CaptureError, match="no state"):
        Files(root).restore({"path": "a"}, Snapshot(before, []), None)
    assert (root / "a").read_text() == "x"


_FILE = st.none() | st.tuples(st.binary(max_size=50), st.sampled_from([0o600, 0o644, 0o755, 0o400]))


def put(path: Path, state: tuple[bytes, int] | None) -> None:
    path.unlink(missing_ok=True)
    if state is not None:
        path.write_bytes(state[0])
        path.chmod(state[1])


def look(path: Path) -> tuple[bytes, int] | None:
    return (path.read_bytes(), path.stat().st_mode & 0o7777) if path.exists() else None


@given(_FILE, _FILE, _FILE)
@settings(deadline=None)
def test_any_file_comes_back_exactly_and_no_other_is_overwritten(
    tmp_path_factory: pytest.TempPathFactory,
    first: tuple[bytes, int] | None,
    second: tuple[bytes, int] | None,
    third: tuple[bytes, int] | None,
) -> None:
    root = tmp_path_factory.mktemp("files")
    path, files = root / "a", Files(root)
    put(path, first)
    before = files.take({"path": "a"})
    put(path, second)
    after = files.take({"path": "a"}).digest
    put(path, third)
    if third == second:
        files.restore({"path": "a"}, through_the_ledger(before), after)
        assert look(path) == first
    else:
        with pytest.raises(ChangedSince):
            files.restore({"path": "a"}, through_the_ledger(before), after)
        assert look(path) == third
        files.restore({"path": "a"}, through_the_ledger(before), None)
        assert look(path) == first


# --- rows


class Database:
    """A table of orders in a real database."""

    def __init__(self, dialect: Any, connect: Callable[[], Any], schema: str) -> None:
        self.dialect, self.connect = dialect, connect
        self.run(f"CREATE TABLE orders ({schema})")

    def run(self, statement: str, *values: Any) -> list[Any]:
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement if self.dialect == "sqlite" else statement.replace("?", "%s"), values)
            found = cursor.fetchall() if cursor.description else []
            connection.commit()
            return found

    def rows(self, key: tuple[str, ...] = ("id",), **more: Any) -> Rows:
        return Rows(self.connect, "orders", key, dialect=self.dialect, **more)

    def all(self) -> list[Any]:
        return self.run("SELECT * FROM orders ORDER BY id")


def on_postgres(postgres: Any, columns: str) -> Database:
    postgres.run(f"CREATE SCHEMA {postgres.schema}")
    options = f"-c search_path={postgres.schema}"
    return Database("postgresql", lambda: psycopg.connect(postgres.server, options=options), columns)


@pytest.fixture(params=["sqlite", "postgresql"])
def orders(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        path = tmp_path / "shop.db"
        yield Database(
            "sqlite", lambda: sqlite3.connect(path),
            'id INTEGER PRIMARY KEY, customer TEXT, "odd ""name" REAL, photo BLOB,'
            " twice INTEGER GENERATED ALWAYS AS (id * 2)",
        )  # fmt: skip
        return
    yield on_postgres(
        request.getfixturevalue("postgres"),
        'id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer varchar(20), "odd ""name" double precision,'
        " photo bytea, twice integer GENERATED ALWAYS AS (id * 2) STORED",
    )  # fmt: skip


def insert(
    database: Database, id: int, customer: str, number: float | None = 0.1, photo: bytes | None = b"\0\xff"
) -> None:
    overriding = "OVERRIDING SYSTEM VALUE " if database.dialect == "postgresql" else ""
    database.run(
        f'INSERT INTO orders (id, customer, "odd ""name", photo) {overriding}VALUES (?, ?, ?, ?)',
        id, customer, number, photo,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda db: db.run("UPDATE orders SET customer = 'eve' WHERE id = 1"),
        lambda db: db.run("DELETE FROM orders WHERE id = 1"),
        lambda db: db.run("UPDATE orders SET photo = NULL, customer = NULL WHERE id = 1"),
        lambda db: None,
    ],
)
def test_a_row_comes_back_exactly(orders: Database, change: Callable[[Database], Any]) -> None:
    insert(orders, 1, "ann", 1 / 3)
    insert(orders, 2, "bob")
    rows, original = orders.rows(), orders.all()
    before = rows.take({"id": 1})
    change(orders)
    rows.restore({"id": 1}, through_the_ledger(before), rows.take({"id": 1}).digest)
    assert orders.all() == original


def test_a_row_that_was_added_is_deleted(orders: Database) -> None:
    insert(orders, 2, "bob")
    rows, original = orders.rows(), orders.all()
    before = rows.take({"id": 1})
    insert(orders, 1, "eve")
    rows.restore({"id": 1}, through_the_ledger(before), rows.take({"id": 1}).digest)
    assert orders.all() == original


def test_many_rows_of_one_key_come_back(orders: Database) -> None:
    for id, customer in enumerate(["ann", "ann", "bob", "ann"], 1):
        insert(orders, id, customer)
    rows, original = orders.rows(("customer",), identity=("id",)), orders.all()
    before = rows.take({"customer": "ann"})
    orders.run("DELETE FROM orders WHERE id = 1")
    orders.run("UPDATE orders SET photo = NULL WHERE id = 2")
    insert(orders, 9, "ann")
    rows.restore({"customer": "ann"}, through_the_ledger(before), rows.take({"customer": "ann"}).digest)
    assert orders.all() == original


def test_somebody_elses_change_is_not_overwritten_unless_forced(orders: Database) -> None:
    insert(orders, 1, "ann")
    rows = orders.rows()
    before = rows.take({"id": 1})
    orders.run("UPDATE orders SET customer = 'eve' WHERE id = 1")
    after = rows.take({"id": 1}).digest
    orders.run("UPDATE orders SET customer = 'theirs' WHERE id = 1")
    with pytest.raises(ChangedSince):
        rows.restore({"id": 1}, before, after)
    assert orders.all()[0][1] == "theirs"
    rows.restore({"id": 1}, before, None)
    assert orders.all()[0][1] == "ann"


@pytest.mark.parametrize("value", ["1; DROP TABLE orders", "' OR '1'='1", '" OR 1=1 --', "%s", "?"])
def test_values_never_become_part_of_a_statement(orders: Database, value: str) -> None:
    insert(orders, 1, "ann")
    rows = orders.rows(("customer",), identity=("id",))
    before = rows.take({"customer": value})
    assert before.state["rows"] == []
    insert(orders, 2, value)
    rows.restore({"customer": value}, before, rows.take({"customer": value}).digest)
    assert [row[0] for row in orders.all()] == [1]


def test_what_cannot_be_kept_or_put_back_whole_is_refused(orders: Database) -> None:
    for id in (1, 2, 3):
        insert(orders, id, "ann")
    with pytest.raises(CaptureError, match="more than the 2 rows"):
        orders.rows(("customer",), identity=("id",), max_rows=2).take({"customer": "ann"})
    with pytest.raises(CaptureError, match="do not tell the rows apart"):
        orders.rows(("customer",)).take({"customer": "ann"})
    with pytest.raises(CaptureError, match="no column `twice`"):
        orders.rows(("twice",)).take({"twice": 2})
    for arguments in ({}, {"id": None}, {"id": [1]}, {"id": 1, "customer": "ann"}, {"nowhere": 1}):
        with pytest.raises(CaptureError):
            orders.rows().take(arguments)
    with pytest.raises(CaptureError, match=r"cannot be read|no column"):
        Rows(orders.connect, "nowhere", ["id"], dialect=orders.dialect).take({"id": 1})
    with pytest.raises(CaptureError, match="no rows"):
        orders.rows().restore({"id": 1}, Snapshot({"columns": 1}), None)


def test_a_table_with_other_columns_by_now_is_left_alone(orders: Database) -> None:
    insert(orders, 1, "ann")
    before = orders.rows().take({"id": 1})
    orders.run("UPDATE orders SET customer = 'eve'")
    orders.run("ALTER TABLE orders ADD COLUMN extra integer")
    with pytest.raises(CaptureError, match="other columns"):
        orders.rows().restore({"id": 1}, before, None)
    assert orders.all()[0][1] == "eve"


def test_a_trigger_that_makes_the_row_another_undoes_the_restore(tmp_path: Path) -> None:
    database = Database("sqlite", lambda: sqlite3.connect(tmp_path / "a.db"), "id INTEGER PRIMARY KEY, customer TEXT")
    database.run("INSERT INTO orders VALUES (1, 'ann')")
    before = database.rows().take({"id": 1})
    database.run("UPDATE orders SET customer = 'eve'")
    database.run(
        "CREATE TRIGGER loud AFTER UPDATE ON orders BEGIN"
        " UPDATE orders SET customer = upper(customer) WHERE id = new.id; END"
    )
    with pytest.raises(CaptureError, match="as they were"):
        database.rows().restore({"id": 1}, before, None)
    assert database.all() == [(1, "eve")]


def test_every_type_of_postgresql_comes_back(postgres: Any) -> None:
    values = {
        "numeric(20,5)": "12.34500", "timestamptz": "2026-01-02 03:04:05.678+02", "interval": "1 mon 2 days 03:04:05",
        "jsonb": '{"a": [1, null, "x"]}', "integer[]": "{1,NULL,3}", "char(3)": "a", "bit(5)": "10101",
        "double precision": "NaN", "real": "0.1", "inet": "10.0.0.1/8", "uuid": "5b1f7ec4-7a05-4c1d-9a5a-3a4f4f0f8a11",
        "text[]": '{"a,b","c\\"d"}', "boolean": "t", "date": "0044-03-15 BC", "tsrange": '["2026-01-01 00:00:00",)',
    }  # fmt: skip
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(values))
    database = on_postgres(postgres, f"id text PRIMARY KEY, {columns}")
    holders = ", ".join("?" for _ in values)
    database.run(f"INSERT INTO orders VALUES ('k', {holders})", *values.values())
    text = ", ".join(f"c{number}::text" for number in range(len(values)))
    original = database.run(f"SELECT {text} FROM orders")
    rows = database.rows()
    before = rows.take({"id": "k"})
    nulls = ", ".join(f"c{number} = NULL" for number in range(len(values)))
    for change in (f"UPDATE orders SET {nulls}", "DELETE FROM orders"):
        database.run(change)
        rows.restore({"id": "k"}, through_the_ledger(before), rows.take({"id": "k"}).digest)
        assert database.run(f"SELECT {text} FROM orders") == original


def test_two_writers_at_once_do_not_both_win(orders: Database) -> None:
    insert(orders, 1, "ann")
    rows = orders.rows()
    before = rows.take({"id": 1})
    orders.run("UPDATE orders SET customer = 'eve' WHERE id = 1")
    after = rows.take({"id": 1}).digest

    class Meddled(Rows):
        def _change(self, *arguments: Any) -> None:
            if orders.dialect == "postgresql":
                with closing(orders.connect()) as other:
                    other.execute("SET lock_timeout = '200ms'")
                    with pytest.raises(Exception, match="lock"):
                        other.execute("UPDATE orders SET customer = 'theirs' WHERE id = 1")
            super()._change(*arguments)

    Meddled(orders.connect, "orders", ["id"], dialect=orders.dialect).restore({"id": 1}, before, after)
    assert orders.all()[0][1] == "ann"


def test_a_connection_that_commits_by_itself_is_refused(server: str) -> None:
    rows = Rows(lambda: psycopg.connect(server, autocommit=True), "pg_type", ["oid"], dialect="postgresql")
    with pytest.raises(CaptureError, match="autocommit"):
        rows.take({"oid": 16})
