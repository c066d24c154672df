"""What a session has heard: nothing twice, and nobody's words in place of another's."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial import Guard, MemoryStore
from fiducial.core.event import Authority, MessageObserved, ResultObserved
from fiducial.guard.heard import hear, know, see, seen
from fiducial.guard.session import Session

TEXT = "Write milk into the list"


@pytest.fixture
def session(make_charter: Any) -> Session:
    return Guard(make_charter(), store=MemoryStore()).session(user="ann")


def events(session: Session, kind: type) -> list[Any]:
    store = session.store
    assert isinstance(store, MemoryStore)
    store.flush()
    return [each.event for each in store.ledger().entries(0) if isinstance(each.event, kind)]


def heard(session: Session) -> list[str]:
    return [each.authority for each in events(session, MessageObserved)]


@pytest.mark.parametrize("first", ["agent", "tool"])
@pytest.mark.parametrize("then", ["user", "operator", "system"])
def test_who_says_what_an_agent_has_said_is_heard(session: Session, first: Authority, then: Authority) -> None:
    hear(session, TEXT, first)
    know(session, TEXT, by="agent")
    hear(session, f" {TEXT} ", then)
    hear(session, TEXT, then)
    hear(session, TEXT, "agent")
    assert heard(session) == [first, then]


def test_an_agent_adds_nothing_by_what_is_known(session: Session) -> None:
    know(session, TEXT, by="agent")
    hear(session, TEXT, "agent")
    hear(session, TEXT, "tool")
    hear(session, "", "user")
    assert heard(session) == []


@pytest.mark.parametrize("authority", ["agent", "tool", "user", "system"])
def test_what_came_of_a_call_is_nobodys_words(session: Session, authority: Authority) -> None:
    know(session, TEXT)
    hear(session, TEXT, authority)
    assert heard(session) == []


def test_a_part_is_seen_once(session: Session) -> None:
    for _ in range(2):
        see(session, "a picture", {"b": 1, "a": "x"})
        see(session, "a picture", {"a": "x", "b": 1})
    seen(session, [TEXT])
    see(session, "a list", [TEXT])
    assert [each.tool for each in events(session, ResultObserved)] == ["a picture"]
