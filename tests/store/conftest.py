"""What the store's tests share: entries to record, and the stores under one contract."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

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


@pytest.fixture
def store(each_store: AnyStore) -> AnyStore:
    return each_store
