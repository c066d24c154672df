"""A restore: nothing goes on from a backup as if what came after it had not happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard
from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, PolicySource
from fiducial.console.restored import settle
from fiducial.core.clock import ManualClock
from fiducial.core.event import HaltOrdered, HoldSettled
from fiducial.core.ids import HoldId, PersonId, SessionId
from fiducial.core.store import Commit, Put
from fiducial.errors import NotPermitted
from fiducial.oversight import Approver, Desk
from fiducial.oversight.undo import undo
from fiducial.policy.bounds import Bound
from fiducial.store.backup import back_up, bring_back
from fiducial.store.sqlite import SqliteStore

CLERK = Approver(id=PersonId("cleo"), roles=frozenset({"clerk"}))
BOB = {"recipient": "bob", "amount": 500}
UNDOABLE: dict[str, dict[str, Any]] = {
    "deposit": {
        "effect": "compensable", "kind": "pay", "parameters": {"to": {"role": "target"}},
        "undo": {"tool": "withdraw", "arguments": {"to": "$arguments.to"}},
    },
    "withdraw": {"effect": "irreversible", "kind": "pay", "timeout": "1s", "parameters": {"to": {"role": "target"}}},
    "look": {"effect": "read", "kind": "read", "parameters": {"to": {"role": "option"}}},
}  # fmt: skip


class Place:
    """A store that is brought back from its backup while the clock goes on."""

    def __init__(self, at: Path, charter: Charter, tools: dict[str, Callable[..., Any]]) -> None:
        self.at, self.charter, self.tools, self.clock = at, charter, tools, ManualClock()
        self.open()

    def open(self) -> None:
        self.store = SqliteStore(self.at / "log.db", clock=self.clock)
        self.desk = Desk(self.store, clock=self.clock)
        self.guard = Guard(self.charter, store=self.store, desk=self.desk, clock=self.clock, tools=self.tools)

    def back_up(self) -> None:
        self.store.flush()
        back_up(self.at / "log.db", self.at / "saved", at_us=self.clock.unix_us())

    def bring_back(self, *, lift: bool = True) -> None:
        self.store.close()
        at_us = self.clock.unix_us()
        bring_back(self.at / "saved", self.at / "log.db", settle=settle, by="ann", why="disk", at_us=at_us)
        self.open()
        if lift:
            (halt,) = self.guard.switches.halts
            self.guard.resume(halt, by="omar", why="looked through")

    def events(self, kind: type) -> list[Any]:
        return [each.event for each in self.store.ledger().entries() if isinstance(each.event, kind)]


@pytest.fixture
def bank(tmp_path: Path, charter: Callable[..., Charter]) -> Iterator[Place]:
    place = Place(tmp_path, charter(), {})
    yield place
    place.store.close()


def ask(place: Place) -> tuple[Any, HoldId]:
    session = place.guard.session(user="emma", task="Pay 500 EUR to bob")
    verdict: Any = session.decide("send_money", BOB)
    return session, verdict.hold


def test_everything_is_stopped_until_somebody_else_lifts_it(bank: Place) -> None:
    bank.back_up()
    bank.guard.halt("fraud", by="olga", tool="send_money")
    bank.bring_back(lift=False)
    (halt,) = bank.guard.switches.halts
    assert (halt.total, halt.by, halt.why) == (True, "ann", "restored from a backup: disk")
    assert [each.halt for each in bank.events(HaltOrdered)] == [halt.id]
    session = bank.guard.session(user="emma", task="greet")
    assert session.decide("read", {}).kind == "denied"
    with pytest.raises(NotPermitted):
        bank.guard.resume(halt, by="ann", why="I know")
    bank.guard.resume(halt, by="omar", why="looked through")
    assert session.decide("read", {}).kind == "allowed"


@pytest.mark.parametrize("answered", [False, True])
def test_what_waits_and_what_was_approved_is_void(bank: Place, answered: bool) -> None:
    session, hold = ask(bank)
    if answered:
        bank.desk.vote(hold, CLERK, "approve")
    bank.back_up()
    if not answered:
        bank.desk.vote(hold, CLERK, "approve")
    assert session.decide("send_money", BOB).kind == "allowed", "the approval is used after the backup"
    bank.bring_back()
    assert (bank.desk.hold(hold).state, bank.desk.hold(hold).why) == ("void", "restored from a backup")
    assert [(each.hold, each.outcome) for each in bank.events(HoldSettled)][-1] == (hold, "void")
    assert bank.desk.waiting() == []
    again: Any = bank.guard.reopen(session.id).decide("send_money", BOB)
    assert (again.kind, again.hold == hold) == ("held", False)


def test_a_no_stays_one(bank: Place) -> None:
    session, hold = ask(bank)
    bank.desk.vote(hold, CLERK, "reject")
    silent, _ = ask(bank)
    bank.clock.advance(timedelta(days=30))
    bank.back_up()
    bank.bring_back()
    for each in (session, silent):
        assert bank.guard.reopen(each.id).decide("send_money", BOB).kind == "denied"


def test_a_class_of_calls_is_approved_no_more(bank: Place) -> None:
    session, hold = ask(bank)
    bounds = {name: Bound(equals=value) for name, value in BOB.items()}
    tool = session.rulebook.slice("send_money").type
    bank.desk.grant(hold, CLERK, tool, bounds, uses=9, lasting=timedelta(hours=1))
    bank.back_up()
    bank.bring_back()
    assert bank.guard.reopen(session.id).decide("send_money", BOB).kind == "held"
    assert list(bank.store.scan("grant/")) == []


def test_emergency_access_ends(bank: Place) -> None:
    glass = bank.desk.break_glass(PersonId("dan"), "clerk", "the house is on fire", timedelta(hours=1))
    bank.back_up()
    bank.desk.review_glass(glass.id, PersonId("max"), justified=False, note="there was no fire")
    bank.bring_back()
    assert bank.desk.glasses() == []
    assert [each.id for each in bank.desk.glasses(unreviewed=True)] == [glass.id], "it is still to be reviewed"


def test_whose_sessions_were_open_is_nobodys_now(bank: Place) -> None:
    session, _ = ask(bank)
    bank.back_up()
    assert list(bank.store.scan("lease/"))
    bank.bring_back()
    assert list(bank.store.scan("lease")) == []
    assert bank.guard.reopen(session.id).id == session.id, "at once, without a takeover"


def test_a_request_that_cannot_be_read_does_not_prevent_it(bank: Place) -> None:
    _, hold = ask(bank)
    bank.store.commit(Commit(changes=(Put("hold/" + hold, b"{"),))).result()
    bank.back_up()
    bank.bring_back(lift=False)
    assert [each.total for each in bank.guard.switches.halts] == [True]


# --- undo


class Account:
    """Who was paid, and who paid it back."""

    def __init__(self) -> None:
        self.paid: dict[str, str] = {}
        self.withdrawn: list[str] = []

    def deposit(self, to: str) -> str:
        self.paid[to] = "paid"
        return "ok"

    def withdraw(self, to: str) -> str:
        self.withdrawn.append(to)
        self.paid[to] = "withdrawn"
        return "ok"

    def look(self, to: str) -> Any:
        return {"state": self.paid.get(to, "none")}


def till(at: Path, account: Account, **withdraw: Any) -> Place:
    about = About.model_validate(
        {"agent": "teller", "owners": {"responsible": "ops", "accountable": "cfo"}, "baseline": "none"}
    )
    written = {**UNDOABLE, "withdraw": {**UNDOABLE["withdraw"], **withdraw}}
    text = '@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);'
    made = Charter.build(
        about,
        {name: Contract.model_validate(one) for name, one in written.items()},
        (),
        [PolicySource(file="policies/rules.cedar", text=text)],
    )
    return Place(at, made, {"withdraw": account.withdraw, "look": account.look})


def outcomes(place: Place, session: SessionId) -> list[Any]:
    return [each.outcome for each in undo(place.guard, session, by="olga", why="wrong account").effects]


LOOKS = {"postcondition": {"tool": "look", "arguments": {"to": "$arguments.to"}, "expect": {"$.state": "withdrawn"}}}


@pytest.mark.parametrize(
    ("looks", "first", "outcome", "times"),
    [
        ({}, True, "unknown", 1),  # whether it was taken back cannot be found out: never twice
        ({}, False, "unknown", 0),
        (LOOKS, True, "undone", 1),  # it was: an independent read says so
        (LOOKS, False, "undone", 1),  # it was not
    ],
)
def test_an_effect_from_before_the_backup_is_looked_at_and_not_taken_back_twice(
    tmp_path: Path, looks: dict[str, Any], first: bool, outcome: str, times: int
) -> None:
    account = Account()
    place = till(tmp_path, account, **looks)
    session = place.guard.session(user="emma", task="pay")
    assert session.call("deposit", {"to": "A1"}, run=account.deposit).status == "ok"
    session.close()
    place.back_up()
    if first:
        assert outcomes(place, session.id) == ["undone"]
    place.bring_back()
    if looks and not first:
        assert outcomes(place, session.id) == ["unknown"], "somebody may be taking it back still"
    place.clock.advance(timedelta(hours=1))
    assert outcomes(place, session.id) == [outcome]
    assert account.withdrawn == ["A1"] * times
    later = place.guard.session(user="emma", task="pay")
    assert later.call("deposit", {"to": "B2"}, run=account.deposit).status == "ok"
    later.close()
    assert outcomes(place, later.id) == ["undone"], "what came after it is as ever"
    place.store.close()


def test_what_was_taken_back_before_the_backup_stays_so(tmp_path: Path) -> None:
    account = Account()
    place = till(tmp_path, account)
    session = place.guard.session(user="emma", task="pay")
    session.call("deposit", {"to": "A1"}, run=account.deposit)
    session.close()
    assert outcomes(place, session.id) == ["undone"]
    place.back_up()
    place.bring_back()
    assert outcomes(place, session.id) == ["already"]
    assert account.withdrawn == ["A1"]
    place.store.close()
