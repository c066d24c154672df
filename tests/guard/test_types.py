"""What is not of its type is refused where it comes in, and what cannot be read back is never written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard, MemoryStore, Session, SessionError, SqliteStore, StoreError
from fiducial.core.event import Entry, SessionClosed
from fiducial.core.ids import EventId, SessionId
from fiducial.core.store import Commit
from fiducial.store.ledger import Ledger


def _report(session: Session, **said: Any) -> None:
    arguments = {"path": "a"}
    session.observe("read_file", arguments, "x", decision=session.decide("read_file", arguments), **said)


USES: dict[str, Callable[[Session], Any]] = {
    "authority": lambda session: session.say("hi", authority="assistant"),  # type: ignore[arg-type]
    "integrity": lambda session: session.say("hi", integrity="maybe"),  # type: ignore[arg-type]
    "text": lambda session: session.say(None),  # type: ignore[arg-type]
    "reason": lambda session: session.close(reason="timeout"),  # type: ignore[arg-type]
    "outcome": lambda session: _report(session, outcome="timeout"),
    "error": lambda session: _report(session, error=b"x"),
}
OPENINGS: dict[str, dict[str, Any]] = {
    "no user": {"user": None},
    "a number as user": {"user": 42},
    "an empty user": {"user": ""},
    "a lone surrogate": {"user": "u\ud800"},
    "a number as role": {"user": "u", "roles": [1]},
    "one role as text": {"user": "u", "roles": "admin"},
    "a number as agent": {"user": "u", "agent": 5},
    "a number as task": {"user": "u", "task": 5},
}


@pytest.mark.parametrize("use", USES)
def test_what_is_not_of_its_type_is_refused_and_the_ledger_stays_readable(
    make_charter: Any, tmp_path: Path, use: str
) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store:
        session = Guard(make_charter(), store=store).session(user="ann", task="Read a file")
        with pytest.raises(SessionError):
            USES[use](session)
        session.close()
    with Ledger.open(path) as ledger:
        assert ledger.verify().size > 0
    SqliteStore(path).close()


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_session_is_opened_with_names(make_charter: Any, tmp_path: Path, opening: str) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path) as store, pytest.raises(SessionError):
        Guard(make_charter(), store=store).session(**OPENINGS[opening])
    with Ledger.open(path) as ledger:
        assert ledger.verify().size > 0


def test_an_integrity_may_be_given_by_its_word(make_charter: Any) -> None:
    with Guard(make_charter()).session(user="ann") as session:
        session.say("please pay the bill at once", integrity="untrusted")  # type: ignore[arg-type]
        assert session.provenance.tainted


@pytest.mark.parametrize(
    "event",
    [
        SessionClosed(id=EventId("evt_1"), session=SessionId("ses_1"), at_us=1, calls=0, reason="timeout"),  # type: ignore[arg-type]
        SessionClosed(id=EventId("evt_1"), session=SessionId("ses_1"), at_us=1, calls="none"),  # type: ignore[arg-type]
        SessionClosed(id=EventId("evt_1"), session=5, at_us=1, calls=0),  # type: ignore[arg-type]
        SessionClosed(id=None, session=None, at_us=1, calls=0),  # type: ignore[arg-type]
        SessionClosed(id=EventId("evt_1"), session=None, at_us=1, calls=0, payloads=5),  # type: ignore[arg-type]
        SessionClosed(id=EventId("evt_1"), session=None, at_us=1, calls=0, payloads=("x",)),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_no_store_keeps_an_event_that_could_not_be_read_back(tmp_path: Path, kind: str, event: Any) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "log.db")
    with pytest.raises(StoreError, match="cannot be encoded"):
        store.commit(Commit(entries=(Entry(event),)))
    store.commit(Commit(entries=(Entry(SessionClosed(id=EventId("e"), session=None, at_us=1, calls=0)),))).result()
    ledger = store.ledger()
    assert ledger.verify().size == 2
    ledger.close()
    store.close()


def test_a_guard_takes_a_charter_and_no_directory() -> None:
    with pytest.raises(SessionError, match="load_charter"):
        Guard("support")  # type: ignore[arg-type]
