"""Those who watch state are told of changes, by whatever process, within a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fiducial.core.clock import ManualClock
from fiducial.core.store import Add, Commit, Put, Unchanged
from fiducial.errors import Conflict, StoreBusy, StoreClosed, StoreError
from fiducial.store.memory import MemoryStore
from fiducial.store.postgres import notices
from fiducial.store.postgres.store import PostgresStore
from fiducial.store.sqlite import SqliteStore
from fiducial.store.watch import SqliteChanges, Watcher

AnyStore = MemoryStore | SqliteStore | PostgresStore


class Heard:
    """What was reported, and when the last of it was."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._some = threading.Condition()

    def __call__(self, keys: frozenset[str]) -> None:
        with self._some:
            self.keys |= keys
            self._some.notify_all()

    def wait(self, *keys: str, seconds: float = 5.0) -> float:
        """Seconds until all of `keys` were reported."""
        start = time.monotonic()
        with self._some:
            assert self._some.wait_for(lambda: self.keys >= set(keys), seconds), self.keys
        return time.monotonic() - start


def put(store: AnyStore, key: str, value: bytes | None = b"x") -> None:
    store.commit(Commit(changes=(Put(key, value),))).result()


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[AnyStore, AnyStore]]:
    """Two stores on one database."""
    made: list[AnyStore] = []
    for _ in range(2):
        if request.param == "sqlite":
            made.append(SqliteStore(tmp_path / "log.db"))
        else:
            made.append(request.getfixturevalue("postgres").open())
    yield made[0], made[1]
    for store in made:
        store.close()


def test_puts_and_deletions_are_reported(store: AnyStore) -> None:
    put(store, "halt/old")
    heard = Heard()
    watch = store.watch("halt/", heard)
    put(store, "halt/all")
    put(store, "other")
    heard.wait("halt/all")
    put(store, "halt/old", None)
    heard.wait("halt/old")
    assert heard.keys == {"halt/all", "halt/old"}
    watch.close()
    watch.close()
    put(store, "halt/late")
    time.sleep(0.5)
    assert "halt/late" not in heard.keys


def test_what_was_refused_is_not_reported(store: AnyStore) -> None:
    heard = Heard()
    store.watch("k", heard)
    lost = store.commit(Commit(preconditions=(Unchanged("k1", 7),), changes=(Put("k1", b"x"),)))
    assert isinstance(lost.exception(), Conflict)
    put(store, "k2")
    heard.wait("k2")
    assert heard.keys == {"k2"}


def test_one_that_fails_does_not_keep_the_news_from_the_others(
    store: AnyStore, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: frozenset[str]) -> None:
        raise RuntimeError("out of order")

    heard = Heard()
    store.watch("a", fail)
    store.watch("", heard)
    with caplog.at_level(logging.ERROR):
        put(store, "a")
        put(store, "b")
        heard.wait("a", "b")
    assert "RuntimeError" in caplog.text


def test_watching_again_after_nobody_did(store: AnyStore) -> None:
    for name in ("a", "b"):
        heard = Heard()
        watch = store.watch("", heard)
        put(store, name)
        heard.wait(name)
        watch.close()
        time.sleep(0.5)


def test_a_closed_store_is_not_watched(store: AnyStore) -> None:
    store.watch("", Heard())
    store.close()
    with pytest.raises(StoreClosed):
        store.watch("", Heard())


def test_another_process_hears_of_it_within_a_second(pair: tuple[AnyStore, AnyStore]) -> None:
    heard = Heard()
    pair[0].watch("halt/", heard)
    longest = 0.0
    for number in range(5):
        put(pair[1], f"halt/{number}")
        longest = max(longest, heard.wait(f"halt/{number}"))
    assert longest < 1.0


def test_more_keys_than_a_notice_holds(pair: tuple[AnyStore, AnyStore]) -> None:
    heard = Heard()
    pair[0].watch("many/", heard)
    keys = [f"many/{number:0200d}" for number in range(60)]
    pair[1].commit(Commit(changes=tuple(Put(key, b"x") for key in keys))).result()
    heard.wait(*keys)


def test_what_was_missed_while_the_connection_was_cut_is_reported(postgres: Any) -> None:
    with postgres.open() as store, postgres.open() as other:
        heard = Heard()
        store.watch("halt/", heard)
        for number in range(3):
            assert postgres.cut() > 0
            put(other, f"halt/{number}")
            heard.wait(f"halt/{number}")


def test_counters_need_no_notice(postgres: Any) -> None:
    with postgres.open() as store:
        heard = Heard()
        store.watch("", heard)
        store.commit(Commit(changes=(Add("spent", 1),))).result()
        put(store, "put")
        heard.wait("put")
        assert heard.keys == {"put"}


def test_a_store_that_answers_is_not_silent(store: AnyStore, clock: ManualClock) -> None:
    for _ in range(3):
        clock.advance(timedelta(seconds=30))
        deadline = time.monotonic() + 5
        while store.silence() > timedelta(seconds=1) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert store.silence() <= timedelta(seconds=1)


def test_a_store_that_stopped_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Any:
        raise RuntimeError("the disk is gone")

    clock = ManualClock()
    store = SqliteStore(tmp_path / "log.db", clock=clock)
    monkeypatch.setattr(store._writer, "write", fail)
    with pytest.raises(StoreError):
        store.commit(Commit(changes=(Put("k", b"v"),))).result()
    clock.advance(timedelta(seconds=9))
    assert store.silence() >= timedelta(seconds=9)
    store.close()


@pytest.mark.parametrize("fault", ["connect", pytest.param("read", marks=pytest.mark.long)])
def test_a_watched_store_that_cannot_hear_is_silent_however_much_it_commits(
    pair: tuple[AnyStore, AnyStore], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise StoreBusy("not now")

    store, other = pair
    heard = Heard()
    store.watch("halt/", heard)
    put(other, "halt/before")
    heard.wait("halt/before")
    with monkeypatch.context() as patched:
        if isinstance(store, PostgresStore):
            # It may connect again, and not read what it missed.
            patched.setattr(notices, "connect" if fault == "connect" else "numbered", fail)
            request.getfixturevalue("postgres").cut()
        else:
            patched.setattr(SqliteChanges, "next" if fault == "connect" else "_look", fail)
        # A look that is under way may still end.
        time.sleep(0.5)
        begun = time.monotonic()
        put(other, "halt/unheard")
        while time.monotonic() - begun < 3:
            put(store, "busy")
            assert "busy" in store.read(["busy"])
        assert timedelta(seconds=1.5) < store.silence() < timedelta(seconds=9)
        assert "halt/unheard" not in heard.keys
    heard.wait("halt/unheard")
    begun = time.monotonic()
    while store.silence() > timedelta(seconds=1):
        assert time.monotonic() - begun < 5
        time.sleep(0.05)


def test_a_watched_store_at_rest_is_not_silent(store: AnyStore) -> None:
    store.watch("halt/", Heard())
    begun = time.monotonic()
    longest = timedelta(0)
    while time.monotonic() - begun < 3:
        longest = max(longest, store.silence())
        time.sleep(0.02)
    assert longest < timedelta(seconds=2)


def test_a_read_that_fails_for_one_prefix_loses_no_change_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, failed = SqliteChanges._look, []

    def fail_once(changes: SqliteChanges, prefix: str) -> dict[str, int]:
        if prefix == "later/" and not failed:
            failed.append(prefix)
            raise StoreBusy("not now")
        return look(changes, prefix)

    with SqliteStore(tmp_path / "log.db") as store, SqliteStore(tmp_path / "log.db") as other:
        heard = Heard()
        store.watch("halt/", heard)
        store.watch("later/", Heard())
        monkeypatch.setattr(SqliteChanges, "_look", fail_once)
        put(other, "halt/all")
        heard.wait("halt/all")
    assert failed


def test_whoever_begins_while_others_are_told_hears_of_what_follows(store: AnyStore) -> None:
    early = store.watch("early/", Heard())
    for number in range(12):
        heard = Heard()
        watch = store.watch(f"late-{number}/", heard)
        put(store, "early/x", b"%d" % number)
        put(store, f"late-{number}/x")
        heard.wait(f"late-{number}/x")
        if number % 2:
            watch.close()
    early.close()


class Slow:
    """Looks once a minute, as far as nobody ends it."""

    def __init__(self, _: object) -> None:
        self.looks = 0

    def begin(self, prefix: str) -> None:
        """Watch nothing."""

    def end(self, prefix: str) -> None:
        """Watch nothing."""

    def next(self, ending: threading.Event) -> frozenset[str]:
        self.looks += 1
        assert not ending.wait(60) or self.looks == 1, "it was ended once"
        return frozenset()

    def close(self) -> None:
        """Nothing is held."""


def test_closing_waits_for_no_further_look() -> None:
    watcher = Watcher(Slow)
    for _ in range(2):
        watcher.watch("halt/", Heard())
        closing = threading.Thread(target=watcher.close)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()
        assert watcher.silence() is None
