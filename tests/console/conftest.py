"""A console over a real store, with one person of every role."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest

from fiducial.charter.model import Charter
from fiducial.console.app import Console
from fiducial.console.services import Services, Settings
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId, SessionId
from fiducial.oversight.people import CONSOLE_ROLES, Person
from fiducial.policy.rulebook import Rulebook, compile_rulebook
from fiducial.store.sqlite import SqliteStore

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from console_world import URL, Browser, attacked_session, bank  # noqa: E402 - found by the line above


@pytest.fixture(scope="session")
def rulebook() -> Rulebook:
    return compile_rulebook(bank())


@pytest.fixture
def charter(rulebook: Rulebook) -> Charter:
    return rulebook.charter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "fiducial.db", clock=clock) as made:
        yield made


@pytest.fixture
def console(store: SqliteStore, rulebook: Rulebook, clock: ManualClock) -> Iterator[Console]:
    made = Console(Services(store, rulebook, Settings(url=URL), clock))
    # A hundredth of the time that a real hash takes; `test_a_password_costs_what_it_should` looks at those.
    made.services.accounts._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    people = made.services.people
    for role in CONSOLE_ROLES:
        roles = ("fraud-desk", "operator") if role == "approver" else ()
        people.add(Person(id=PersonId(role), name=role.title(), console=(role,), roles=roles), by=PersonId("console"))
    people.add(Person(id=PersonId("none"), name="Nobody in particular"), by=PersonId("console"))
    yield made
    made.services.close()


@pytest.fixture
def services(console: Console) -> Services:
    return console.services


@pytest.fixture
def browser(console: Console) -> Browser:
    return Browser(console)


@pytest.fixture
def attacked(store: SqliteStore, charter: Charter, clock: ManualClock) -> SessionId:
    """A session in which a third party's text asks for money, and carries markup and invisible characters."""
    return attacked_session(store, charter, clock)
