"""What only the store in PostgreSQL has: several processes on one log, a network in between, an inbox, a server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from fiducial.core.event import Entry, RollbackAccepted
from fiducial.core.ids import SessionId
from fiducial.core.store import Add, AtMost, Commit, Put, Receipt, Unchanged
from fiducial.errors import Conflict, Corrupt, RolledBack, StoreBusy, StoreClosed, StoreError, TooNew, WrongKey
from fiducial.store.bundle import NOTHING
from fiducial.store.checkpoint import Signer
from fiducial.store.ledger import Ledger
from fiducial.store.postgres import inbox, migrate
from fiducial.store.postgres.link import Link, Target, translate
from fiducial.store.postgres.store import PostgresStore, open_reader
from fiducial.store.postgres.tables import SEQUENCE

Make = Callable[..., Entry]
SECOND = timedelta(seconds=1)


def spend(store: PostgresStore, key: str, version: int) -> Future[Receipt]:
    return store.commit(Commit(preconditions=(Unchanged(key, version),), changes=(Put(key, b"spent"),)))


def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def held_back(postgres: Any) -> Iterator[psycopg.Connection[Any]]:
    """Somebody has the sequencer's lock, so nothing leaves the inbox."""
    with psycopg.connect(postgres.server, options=f"-c search_path={postgres.schema}") as connection:
        connection.execute(f"SELECT pg_advisory_xact_lock({SEQUENCE}, 'meta'::regclass::oid::int)")
        yield connection
        with suppress(psycopg.Error):
            connection.rollback()


# Many processes, one log


def test_two_stores_append_to_one_log(postgres: Any, make: Make) -> None:
    with postgres.open() as one, postgres.open() as two:

        def work(number: int) -> list[str]:
            store, session = (one, two)[number % 2], f"ses_{number}"
            made = [make(f"{number} {each}", session=session) for each in range(20)]
            for entry in made:
                assert store.commit(Commit(entries=(entry,))).result(30).count == 1
            return [entry.event.id for entry in made]

        with ThreadPoolExecutor(6) as pool:
            made = list(pool.map(work, range(6)))
        with one.ledger() as ledger:
            assert ledger.verify().size == 121
            for number, ids in enumerate(made):
                assert [record.event.id for record in ledger.session(SessionId(f"ses_{number}"))] == ids
        assert two.lag().parcels == 0


def test_a_budget_is_not_spent_twice_by_two_processes(postgres: Any) -> None:
    with postgres.open() as one, postgres.open() as two:

        def buy(number: int) -> bool:
            commit = Commit(preconditions=(AtMost(("a", "b"), 40),), changes=(Add("ab"[number % 2], 1),))
            return (one, two)[number % 3 == 0].commit(commit).exception(30) is None

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(buy, range(90))) == 40
        cells = one.read(["a", "b"])
        assert int(cells["a"].value) + int(cells["b"].value) == 40


def test_an_approval_is_spent_once_among_processes(postgres: Any) -> None:
    with postgres.open() as one, postgres.open() as two:
        for number in range(15):
            key = f"approval/{number}"
            one.commit(Commit(changes=(Put(key, b"open"),))).result(30)
            results = [spend(store, key, 1).exception(30) for store in (one, two, one, two)]
            both = [spend(one, f"new/{number}", 0), spend(two, f"new/{number}", 0)]
            assert sum(result is None for result in results) == 1
            assert sum(future.exception(30) is None for future in both) == 1
            assert all(isinstance(each.exception(), Conflict) for each in both if each.exception() is not None)


def test_a_transaction_without_events_may_be_taken_up_by_anybody(postgres: Any) -> None:
    def put(number: int) -> None:
        one.commit(Commit(changes=(Put(f"cell/{number}", b""),))).result(30)

    with postgres.open() as one:
        put(1)
        one.flush()
        with one._sequencer.lock, postgres.open() as two:
            put(2)
            two.flush()
            assert two.lag().parcels == 0
        put(3)
        one.flush()
        assert one.lag().parcels == 0


def test_what_a_killed_process_had_committed_is_put_into_the_log_by_another(postgres: Any, make: Make) -> None:
    program = """
import os, signal, sys
from datetime import timedelta
from fiducial.core.event import Entry, SessionClosed
from fiducial.core.store import Commit
from fiducial.store.postgres.store import PostgresStore
store = PostgresStore(sys.argv[1], key_path=sys.argv[2])
print("open", flush=True)
sys.stdin.readline()
for number in range(5):
    event = SessionClosed(id=f"evt_{number}", session="ses_killed", at_us=0, calls=number)
    store.commit(Commit(entries=(Entry(event),))).result()
    print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, postgres.url, str(postgres.key_path)]
    with (
        postgres.open() as store,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with held_back(postgres):
            said, _ = process.communicate("go on\n", timeout=60)
            assert process.returncode == -signal.SIGKILL
            assert said.split() == list("01234")
            assert store.lag().parcels == 5
            assert store.lag().age > timedelta(0)
        until(lambda: store.lag().parcels == 0)
        ledger = store.ledger()
        assert [record.event.calls for record in ledger.session(SessionId("ses_killed"))] == [0, 1, 2, 3, 4]
        ledger.verify()


def test_a_sequencer_that_hangs_loses_its_turn(postgres: Any, make: Make) -> None:
    with postgres.open() as store, held_back(postgres) as hanging:
        hanging.execute("SET idle_in_transaction_session_timeout = 300")
        store.commit(Commit(entries=(make("waits"),))).result()
        until(lambda: store.lag().parcels == 0)
        assert store.ledger().size == 2


# The network and the server


class Proxy:
    """TCP in front of the server, which can be cut, frozen and mended."""

    def __init__(self, server: str) -> None:
        given = conninfo_to_dict(server)
        self._socket = f"{given['host']}/.s.PGSQL.{given.get('port', 5432)}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self._refusing = False
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def freeze(self) -> None:
        """Connections stay, and nothing passes."""
        self._passing.clear()

    def refuse(self) -> None:
        """Connections end, and new ones end at once."""
        self._refusing = True
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """All is well."""
        self._refusing = False
        self._passing.set()

    def close(self) -> None:
        # Closing alone wakes nobody who waits for the next connection.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.refuse()
        self._passing.set()
        for thread in self._threads[1:]:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
                server.connect(self._socket)
                for source, sink in ((client, server), (server, client)):
                    self._threads.append(threading.Thread(target=self._pump, args=(source, sink), daemon=True))
                    self._threads[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres: Any) -> Iterator[Proxy]:
    made = Proxy(postgres.server)
    yield made
    made.close()


def through(proxy: Proxy, postgres: Any, **settings: Any) -> PostgresStore:
    given = conninfo_to_dict(postgres.server)
    url = f"postgresql://{given['user']}@127.0.0.1:{proxy.port}/{given['dbname']}?schema={postgres.schema}&sslmode=disable"
    return postgres.open(url=url, **settings)


def test_a_cut_connection_costs_nothing(postgres: Any, make: Make) -> None:
    with postgres.open() as store:
        for number in range(3):
            postgres.cut()
            store.commit(Commit(entries=(make(f"{number}"),), changes=(Add("n", 1),))).result(30)
        assert store.read(["n"])["n"].value == b"3"
        assert store.ledger().verify().size == 4


def test_connections_that_were_cut_while_idle_cost_nothing(postgres: Any, make: Make) -> None:
    with postgres.open() as store, postgres.open() as other:
        store.commit(Commit(entries=(make("1"),), changes=(Add("n", 1),))).result(30)
        assert store.scan("n").keys() == {"n"}
        ledger = store.ledger()
        ledger.verify()
        for use in (
            lambda: store.read(["n"]),
            lambda: store.scan("n"),
            store.ledger,
            store.flush,
            store.lag,
            store.checkpoint,
            ledger.verify,
            lambda: list(ledger.entries()),
            lambda: other.rotate_key(by="ann"),
        ):
            postgres.cut()
            use()


def test_what_holds_the_gate_does_not_go_on_over_another_connection(postgres: Any, make: Make) -> None:
    with postgres.open() as store:
        before = store.ledger().verify().size

        def cut() -> None:
            postgres.cut()
            store._sequencer.drain()

        with pytest.raises(StoreBusy):
            store._sequencer.alone(cut)
        # The gate is open again.
        store.commit(Commit(entries=(make("1"),))).result(30)
        assert store.ledger().verify().size == before + 1


@pytest.mark.parametrize("fault", ["freeze", "refuse"])
def test_a_server_that_does_not_answer_is_told_in_time(postgres: Any, proxy: Proxy, make: Make, fault: str) -> None:
    with through(proxy, postgres, patience=SECOND) as store:
        getattr(proxy, fault)()
        quiet = store.commit(Commit(entries=(make("quiet"),), durable=False))
        assert quiet.result().count == 1
        start = time.monotonic()
        error = store.commit(Commit(entries=(make("waits"),))).exception(30)
        assert isinstance(error, StoreBusy)
        assert time.monotonic() - start < 15
        until(lambda: store.silence() > 2 * SECOND)
        with pytest.raises(StoreError):
            through(proxy, postgres, patience=SECOND)
        proxy.mend()
        store.commit(Commit(entries=(make("after"),))).result(30)
        kept = [stored.data for record in store.ledger().entries() for stored in record.payloads]
        # What nobody waited for was not lost; what was refused was refused, or said to be unknown.
        assert kept.count(b"quiet") == 1
        assert kept.count(b"after") == 1
        assert kept.count(b"waits") <= ("not known" in str(error))
        assert store.silence() < 2 * SECOND


def test_what_is_lost_is_told_at_close(postgres: Any, proxy: Proxy, make: Make) -> None:
    store = through(proxy, postgres, patience=SECOND)
    proxy.refuse()
    store.commit(Commit(entries=(make("a"), make("b")), durable=False))
    with pytest.raises(StoreError, match="2 entries that nobody waited for"):
        store.close()
    store.close()


class Breaking:
    """The connection breaks at the next COMMIT: before the server gets it, or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, when: str, store: PostgresStore) -> None:
        execute = Link.execute
        self.broken = 0

        def breaking(link: Link, sql: Any, *rest: Any, **more: Any) -> Any:
            if sql == "COMMIT" and link is store._committer._link and not self.broken:
                self.broken += 1
                if when == "after":
                    execute(link, sql, *rest, **more)
                link.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            return execute(link, sql, *rest, **more)

        monkeypatch.setattr(Link, "execute", breaking)


@pytest.mark.parametrize("sequenced", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_in_doubt_is_kept_once(
    postgres: Any, make: Make, monkeypatch: pytest.MonkeyPatch, when: str, sequenced: bool
) -> None:
    with postgres.open() as store:
        store.commit(Commit(changes=(Put("k", b"first"),))).result()
        breaking = Breaking(monkeypatch, when, store)
        once = Commit(entries=(make("once"),), preconditions=(Unchanged("k", 1),), changes=(Put("k", b"second"),))
        if sequenced and when == "after":
            # By the time somebody asks, its parcel has left the inbox.
            settle = store._committer._settle_doubt
            monkeypatch.setattr(store._committer, "_settle_doubt", lambda: (store._sequencer.drain(), settle())[1])
        assert store.commit(once).exception(30) is None
        assert breaking.broken == 1
        assert store.commit(Commit(entries=(make("next"),), changes=(Add("n", 1),))).exception(30) is None
        assert store.read(["k"])["k"].version == 2
        assert store.ledger().verify().size == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_doubt_that_outlasts_patience_is_said_and_settled_later(
    postgres: Any, make: Make, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    with postgres.open(patience=SECOND, linger=timedelta(seconds=0.3)) as store:
        settle, asked = store._committer._settle_doubt, []

        def silent() -> Any:
            if store._committer._doubt is not None and not asked:
                raise psycopg.OperationalError("no answer")
            return settle()

        monkeypatch.setattr(store._committer, "_settle_doubt", silent)
        Breaking(monkeypatch, when, store)
        store.commit(Commit(entries=(make("quiet"),), durable=False))
        told = store.commit(Commit(entries=(make("waits"),))).exception(30)
        assert isinstance(told, StoreBusy)
        assert "not known" in str(told)
        asked.append(True)
        store.commit(Commit(entries=(make("after"),))).result(30)
        kept = [stored.data for record in store.ledger().entries() for stored in record.payloads]
        expected = [b"quiet", b"waits", b"after"] if when == "after" else [b"quiet", b"after"]
        assert kept == expected


def test_a_late_copy_of_a_transaction_finds_the_fence(postgres: Any) -> None:
    """The server goes on with a transaction whose client is gone: asking waits for it, and sees what became of it."""
    with postgres.open() as store:
        committer = store._committer
        with psycopg.connect(postgres.server, options=f"-c search_path={postgres.schema}") as late:
            late.execute("INSERT INTO inbox(writer, number, body, signature) VALUES(%s, 1, '', '')", (committer._name,))
            committer._doubt = ([], [], False)
            from fiducial.store.postgres.committer import _Doubt

            committer._doubt = _Doubt([], [])
            found: list[Any] = []
            asking = threading.Thread(target=lambda: found.append(committer._settle_doubt()))
            asking.start()
            asking.join(0.5)
            assert asking.is_alive()
            late.rollback()
            asking.join(10)
        assert found == [None]
        assert committer._number == 1
        store.flush()


def test_a_standby_is_refused(postgres: Any) -> None:
    with pytest.raises(StoreError, match="only reads"):
        postgres.open(url=postgres.url + "&options=-c%20default_transaction_read_only%3Don")


@pytest.fixture
def alone(postgres: Any) -> Iterator[Any]:
    """A place in a database of its own: whatever is set there is no other test's."""
    postgres.run(f"CREATE DATABASE {postgres.schema}")
    yield postgres._replace(url=postgres.url.replace("/postgres?", f"/{postgres.schema}?"))
    postgres.run(f"DROP DATABASE {postgres.schema} WITH (FORCE)")


def test_a_log_becomes_readonly_while_it_is_open(alone: Any, make: Make) -> None:
    with alone.open(patience=SECOND) as store:
        alone.run(f"ALTER DATABASE {alone.schema} SET default_transaction_read_only = on")
        alone.cut()
        error = store.commit(Commit(entries=(make("no"),))).exception(30)
        assert type(error) is StoreError
        assert "only reads" in str(error)
        alone.run(f"ALTER DATABASE {alone.schema} RESET default_transaction_read_only")
        store.commit(Commit(entries=(make("yes"),))).result(30)
        # The connection for reading may only now find out that it was cut.
        with contextlib.suppress(StoreBusy):
            store.ledger()
        assert store.ledger().size == 2


def test_every_error_of_the_server_has_a_meaning() -> None:
    every = [kind for kind in vars(psycopg.errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in every if issubclass(kind, psycopg.Error)]
    assert len(kinds) > 200
    for kind in kinds:
        made = translate(kind("said"), "host/db")
        assert isinstance(made, StoreError)
        assert "host/db" in str(made)
    for kind, expected in (
        (psycopg.errors.DiskFull, StoreError),
        (psycopg.errors.ReadOnlySqlTransaction, StoreError),
        (psycopg.errors.SerializationFailure, StoreBusy),
        (psycopg.errors.DeadlockDetected, StoreBusy),
        (psycopg.errors.LockNotAvailable, StoreBusy),
        (psycopg.errors.AdminShutdown, StoreBusy),
        (psycopg.errors.UndefinedTable, Corrupt),
        (psycopg.OperationalError, StoreBusy),
    ):
        assert type(translate(kind("said"), "host/db")) is expected


def test_a_password_is_never_shown() -> None:
    url = "postgresql://ann:hunter2@127.0.0.1:1/db?schema=s&connect_timeout=1"
    target = Target.parse(url)
    assert (target.where, target.slug) == ("127.0.0.1:1/db (s)", "127.0.0.1-1-db-s")
    for broken in (url, "postgresql://ann:hunter2@[::1/db", "postgresql://ann:hunter2@h:x:y/db?nonsense=1"):
        with pytest.raises(StoreError) as caught:
            PostgresStore(broken, key_path="/nonexistent/key")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Upper", "a b", 'x"; DROP TABLE bundle; --', "1st"])
def test_names_that_no_schema_has(name: str) -> None:
    with pytest.raises(StoreError, match="schema"):
        Target.parse(f"postgresql://h/db?schema={name}")


# Versions and other people's tables


def test_a_newer_format_is_refused_and_an_older_one_says_what_to_do(postgres: Any) -> None:
    postgres.open().close()
    postgres.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(TooNew, match="upgrade Fiducial"):
        postgres.open()
    with pytest.raises(TooNew):
        migrate.migrate(Target.parse(postgres.url))
    postgres.run("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(StoreError, match="fiducial store migrate"):
        postgres.open()


def test_the_newest_migration_is_the_version_that_is_worked_with() -> None:
    from alembic.script import ScriptDirectory

    folder = Path(migrate.__file__).with_name("migrations")
    assert ScriptDirectory(str(folder)).get_heads() == [migrate.VERSION]


def test_tables_of_somebody_else_are_left_alone(postgres: Any) -> None:
    postgres.run(f"CREATE SCHEMA {postgres.schema}")
    postgres.run("CREATE TABLE meta(theirs int)")
    with pytest.raises(StoreError, match="not Fiducial's"):
        postgres.open()
    assert postgres.run("SELECT count(*) FROM information_schema.tables WHERE table_schema = %s", postgres.schema) == [
        (1,)
    ]


COPY_AWAY = """
CREATE TABLE {0}_shadow.bundle(payloads bytea);
CREATE FUNCTION {0}_shadow.spy() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO {0}_shadow.bundle VALUES(OLD.payloads); RETURN NEW; END';
CREATE TRIGGER spy BEFORE UPDATE ON bundle FOR EACH ROW EXECUTE FUNCTION {0}_shadow.spy()"""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (COPY_AWAY, "trigger `bundle.spy`"),
        ("CREATE RULE gone AS ON INSERT TO state DO INSTEAD NOTHING", "rule `state.gone`"),
        ("CREATE VIEW other AS SELECT 1", "view `other`"),
        ("CREATE TABLE other(a int)", "table `other`"),
        ("CREATE TABLE {0}_shadow.more() INHERITS (bundle)", "table `bundle`"),
        ("ALTER TABLE state ENABLE ROW LEVEL SECURITY", "table `state`"),
        ("ALTER TABLE state SET UNLOGGED", "table `state`"),
        ("ALTER TABLE state ADD CHECK (key <> 'halt/')", "constraint `state.state_key_check`"),
        ("ALTER TABLE state DROP CONSTRAINT state_pkey", "state_pkey"),
        ("ALTER TABLE state ALTER version SET DEFAULT 7", "column `state.version`"),
        ("CREATE OR REPLACE FUNCTION instr(haystack bytea, needle bytea) RETURNS integer LANGUAGE sql IMMUTABLE STRICT "
         "RETURN 0", "function `instr"),
    ],
)  # fmt: skip
def test_what_somebody_adds_to_the_tables_is_found(postgres: Any, make: Make, change: str, named: str) -> None:
    postgres.run(f"CREATE SCHEMA {postgres.schema}_shadow")
    try:
        with postgres.open() as store:
            store.commit(Commit(entries=(make("a"),), changes=(Put("k", b"v"),))).result()
            postgres.run(change.format(postgres.schema))
            with pytest.raises(Corrupt, match=named):
                store.ledger().verify()
        for look in (postgres.open, lambda: open_reader(Target.parse(postgres.url))):
            with pytest.raises(Corrupt, match=named):
                look()
    finally:
        postgres.run(f"DROP SCHEMA {postgres.schema}_shadow CASCADE")


def test_processes_that_make_the_same_log_at_once_make_one(postgres: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: postgres.open(patience=timedelta(seconds=20)), range(4)))
    assert len({store.ledger().origin for store in stores}) == 1
    for store in stores:
        store.close()


# Somebody who may write to the database, and has no key


def waiting(postgres: Any, store: PostgresStore, make: Make, change: str, *parameters: Any) -> StoreError | None:
    """What the store says of an inbox that was changed while three parcels were in it."""
    with held_back(postgres):
        for number in range(3):
            store.commit(Commit(entries=(make(f"{number}"),))).result()
        assert store.lag().parcels == 3
        postgres.run(change, *parameters)
    try:
        store.flush()
        store.commit(Commit(entries=(make("later"),))).result()
        store.flush()
    except StoreError as error:
        return error
    return None


def test_whoever_comes_while_the_store_stops_is_told_why(postgres: Any, make: Make) -> None:
    """Between a fault and the end of its thread the connections are closed, and nobody may hear only of that."""
    store = postgres.open()
    told: list[str] = []
    stop = threading.Event()

    def ask(one: Callable[[], Any]) -> None:
        while not stop.is_set():
            try:
                one()
            except StoreError as error:
                told.append(str(error))

    asks: list[Callable[[], Any]] = [
        lambda: store.read(["k"]),
        store.lag,
        lambda: store.ledger().size,
        lambda: store.commit(Commit(entries=(make("more"),))).result(),
    ]
    threads = [threading.Thread(target=ask, args=(one,)) for one in asks]
    with held_back(postgres):
        store.commit(Commit(entries=(make("first"),))).result()
        postgres.run("UPDATE inbox SET body = set_byte(body, 40, get_byte(body, 40) # 1)")
        for thread in threads:
            thread.start()
    until(lambda: store._fault is not None)
    until(lambda: not any(thread.is_alive() for thread in store._threads))
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    with suppress(StoreError):
        store.close()
    assert told
    assert [each for each in told if "not what was committed" not in each] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE inbox SET body = set_byte(body, 40, get_byte(body, 40) # 1) WHERE number = 2", "not what was"),
        ("UPDATE inbox SET signature = set_byte(signature, 5, get_byte(signature, 5) # 1)", "not what was committed"),
        ("UPDATE inbox SET body = (SELECT body FROM inbox WHERE number = 1)", "not what was committed"),
        ("DELETE FROM inbox WHERE number = 2", "missing from the inbox"),
        ("DELETE FROM inbox WHERE number = 3", "missing from the inbox"),
        ("INSERT INTO inbox(writer, number, body, signature) SELECT 'forged', 1, body, signature FROM inbox LIMIT 1",
         "not what was committed"),
    ],
)  # fmt: skip
def test_an_inbox_that_was_changed_stops_the_store(postgres: Any, make: Make, change: str, said: str) -> None:
    store = postgres.open()
    error = waiting(postgres, store, make, change)
    assert said in str(error)
    with suppress(StoreError):
        store.close()
    with Ledger(store._reader.__class__(type(store._tables)(store.target, SECOND, store._pulse))) as ledger:
        ledger.verify()
        assert ledger.size <= 3


def test_a_replayed_parcel_is_refused(postgres: Any, make: Make) -> None:
    store = postgres.open()
    with held_back(postgres):
        store.commit(Commit(entries=(make("once"),))).result()
        ((writer, body, signature),) = postgres.run("SELECT writer, body, signature FROM inbox")
    store.flush()
    postgres.run("INSERT INTO inbox(writer, number, body, signature) VALUES(%s, 1, %s, %s)", writer, body, signature)
    with pytest.raises(StoreError, match="second time"):
        store.flush()
    with suppress(StoreError):
        store.close()
    # Nor does it help to say that it was never there.
    postgres.run("UPDATE writer SET number = 0")
    with pytest.raises(Corrupt, match="was changed in the database"):
        postgres.open()


def test_nobody_without_a_key_says_that_a_transaction_was_taken_up(postgres: Any, make: Make) -> None:
    """Not even by stating a key of their own in an old entry, for as long as it takes."""
    store = postgres.open()
    store.flush()
    (true,) = store.ledger().keys()
    mine = Signer.generate(true.name)
    with held_back(postgres):
        for number in range(2):
            store.commit(Commit(entries=(make(f"{number}"),))).result()
        ((before,),) = postgres.run("SELECT events FROM bundle WHERE first = 0")
        ((writer,),) = postgres.run("SELECT DISTINCT writer FROM inbox")
        forged = before.replace(true.text.encode(), mine.verifier.text.encode())
        assert forged != before
        postgres.run("UPDATE bundle SET events = %s WHERE first = 0", forged)
        postgres.run("DELETE FROM inbox WHERE number = 1")
        postgres.run("INSERT INTO writer VALUES(%s, 1, %s)", writer, mine.sign(inbox.progress(true.name, writer, 1)))
    with pytest.raises(StoreError, match="states a key and is not what was recorded"):
        store.flush()
    with suppress(StoreError):
        store.close()


def test_every_column_of_the_log_is_covered(postgres: Any, make: Make) -> None:
    with postgres.open() as store:
        for number in range(3):
            store.commit(Commit(entries=(make(f"payload {number}"), make()))).result()
            store.flush()
        ledger = store.ledger()
        ledger.verify()
        for column in ("events", "leaves", "root", "signature", "payloads"):
            flip = f"UPDATE bundle SET {column} = set_byte({column}, 7, get_byte({column}, 7) # 1) WHERE first = 3"
            postgres.run(flip)
            with pytest.raises(Corrupt) as caught:
                ledger.verify()
            assert caught.value.index in (3, 4)
            postgres.run(flip)
        for change, undo in (
            ("UPDATE lookup SET first_id = 'x' WHERE first = 3", None),
            ("DELETE FROM session WHERE first = 3", None),
        ):
            with psycopg.connect(postgres.server, options=f"-c search_path={postgres.schema}") as connection:
                connection.execute(change)
                connection.commit()
            with pytest.raises(Corrupt):
                ledger.verify()
            assert undo is None


def test_an_older_copy_is_a_rollback(postgres: Any, make: Make) -> None:
    with postgres.open() as store:
        for number in range(3):
            store.commit(Commit(entries=(make(f"{number}"),))).result()
            store.flush()
    for table in ("bundle", "lookup", "session"):
        postgres.run(f"DELETE FROM {table} WHERE first = 3")
    with pytest.raises(RolledBack, match="older copy"):
        postgres.open()
    with postgres.open(accept_rollback=True) as store:
        ledger = store.ledger()
        assert isinstance([*ledger.entries()][-1].event, RollbackAccepted)
        ledger.verify()


def test_a_log_rolled_back_under_a_store_stops_it(postgres: Any, make: Make) -> None:
    store = postgres.open()
    for number in range(2):
        store.commit(Commit(entries=(make(f"{number}"),))).result()
        store.flush()
    for table in ("bundle", "lookup", "session"):
        postgres.run(f"DELETE FROM {table} WHERE first = 2")
    store.commit(Commit(entries=(make(),))).exception()
    with pytest.raises(StoreError):
        store.flush()
    until(lambda: store._fault is not None)
    with pytest.raises(StoreClosed, match="cut off or rewritten"):
        store.commit(Commit())
    with suppress(StoreError):
        store.close()


# Keys


def test_the_other_processes_sign_with_a_rotated_key(postgres: Any, make: Make) -> None:
    with postgres.open() as one, postgres.open() as two:
        old = one.ledger().keys()[0]
        two.commit(Commit(entries=(make("before"),))).result()
        public = one.rotate_key(by="ann")
        two.commit(Commit(entries=(make("after"),))).result()
        one.commit(Commit(entries=(make("too"),))).result()
        ledger = two.ledger()
        keys = ledger.keys()
        assert [key.text for key in keys] == [old.text, public]
        assert ledger.verify().size == 5


def test_a_process_without_the_rotated_key_commits_nothing_until_it_has_it(
    postgres: Any, make: Make, tmp_path: Path
) -> None:
    with postgres.open() as one:
        elsewhere = tmp_path / "other" / "copy.key"
        elsewhere.parent.mkdir()
        elsewhere.write_bytes(postgres.key_path.read_bytes())
        elsewhere.chmod(0o600)
        with postgres.open(key_path=elsewhere) as two:
            one.rotate_key(by="ann")
            error = two.commit(Commit(entries=(make("no"),))).exception(30)
            assert isinstance(error, WrongKey)
            elsewhere.write_bytes(postgres.key_path.read_bytes())
            two.commit(Commit(entries=(make("yes"),))).result(30)
            assert one.ledger().verify().size == 3


def test_without_the_key_there_is_no_store(postgres: Any, tmp_path: Path) -> None:
    postgres.open().close()
    with pytest.raises(WrongKey, match="missing"):
        postgres.open(key_path=tmp_path / "none.key")


# The rest


def test_erased_bytes_are_in_no_table(postgres: Any, make: Make) -> None:
    with postgres.open() as store:
        entry = make("keep", "the secret bytes")
        store.commit(Commit(entries=(entry,))).result()
        assert store.erase(entry.payloads[1].ref.digest, by="dpo", why="asked to")
        for table in ("bundle", "inbox"):
            assert b"the secret bytes".hex() not in str(postgres.run(f"SELECT t::text FROM {table} t"))
        assert store.ledger().verify().erased == 1


def test_names_with_a_nul_are_refused(postgres: Any, make: Make) -> None:
    with postgres.open() as store:
        for commit in (
            Commit(entries=(make(session="a\0b"),)),
            Commit(changes=(Put("a\0b", b""),)),
            Commit(preconditions=(Unchanged("a\0b", 0),)),
            Commit(preconditions=(AtMost(("a\0b",), 0),)),
        ):
            with pytest.raises(StoreError, match="NUL"):
                store.commit(commit)
        assert store.ledger().size == 1


def test_a_parcel_is_not_mistaken_for_a_checkpoint() -> None:
    from fiducial.store.checkpoint import Signer

    signer = Signer.generate("example.org/log")
    body = inbox.seal(NOTHING)
    text = inbox.statement("example.org/log", "w", 1, body)
    assert inbox.unseal(body, signer.sign(text), signer.verifier, "w", 1) == NOTHING
    from fiducial.store.checkpoint import note, peek

    with pytest.raises(Corrupt):
        peek(text + "\n" + note(peek_of(signer), signer.verifier, signer.sign(text)).rpartition("\n\n")[2])


def peek_of(signer: Any) -> Any:
    from fiducial.store.checkpoint import Checkpoint

    return Checkpoint(signer.verifier.name, 1, bytes(32))


def test_a_closed_store_commits_nothing(postgres: Any) -> None:
    store = postgres.open()
    store.close()
    for ask in (lambda: store.read(["k"]), lambda: store.ledger(), lambda: store.lag(), lambda: store.checkpoint()):
        with pytest.raises(StoreClosed):
            ask()


def test_it_does_not_survive_a_fork(postgres: Any) -> None:
    with postgres.open() as store:
        store._pid = os.getpid() + 1
        with pytest.raises(StoreClosed, match="another process"):
            store.commit(Commit())
        store._pid = os.getpid()
