"""Whether people really decide: shares with their n, and warnings only where chance cannot explain them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial import Guard, MemoryStore
from fiducial.core.clock import ManualClock
from fiducial.core.event import ApprovalSpent, Entry, UndoFinished
from fiducial.core.ids import EventId, PersonId, SessionId, mint
from fiducial.core.store import Commit
from fiducial.oversight import Approver, Desk
from fiducial.oversight.considered import Considered, considered, share

CLEO = Approver(id=PersonId("cleo"), roles=frozenset({"clerk"}))
TASK = "Pay 500 EUR to bob"


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    # Computed with the `binom.wilson` function of the R package binom.
    [(0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (10, 10, 0.72247, 1.0), (1, 1, 0.20654, 1.0)],
)
def test_the_interval_is_wilsons(count: int, n: int, low: float, high: float) -> None:
    found = share(count, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_share_lies_in_its_interval_and_the_interval_in_nought_to_one(case: tuple[int, int]) -> None:
    found = share(*case)
    assert found.share is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.share <= found.high <= 1


def test_a_share_of_nothing_is_no_number() -> None:
    assert share(0, 0).share is None
    with pytest.raises(ValueError, match="no share"):
        share(2, 1)


@pytest.fixture
def play(guard: Guard, desk: Desk, store: MemoryStore, clock: ManualClock) -> Callable[..., list[Considered]]:
    def played(times: int, *, dwell: float | None, answer: Any, after: float = 60) -> list[Considered]:
        for _ in range(times):
            session = guard.session(user="emma", task=TASK)
            verdict = session.decide("send_money", {"recipient": "bob", "amount": 500})
            hold = verdict.hold  # type: ignore[union-attr]
            assert hold is not None
            clock.advance(timedelta(seconds=after))
            desk.seen(hold, CLEO.id, "shown")
            if dwell is not None:
                desk.seen(hold, CLEO.id, "opened")
                clock.advance(timedelta(seconds=dwell))
            desk.vote(hold, CLEO, answer)
            if answer == "approve":
                session.call("send_money", {"recipient": "bob", "amount": 500}, run=lambda **_: "paid")
        return considered(each.event for each in store.ledger().entries())

    return played


def test_times_shares_and_outcomes(play: Callable[..., list[Considered]]) -> None:
    (found,) = play(3, dwell=30, answer="approve")
    assert (found.role, found.requests, found.waiting) == ("clerk", 3, 0)
    assert (found.until_shown_s, found.until_opened_s, found.until_settled_s, found.dwell_s) == (60, 60, 90, 30)
    assert (found.approved.count, found.approved.n) == (3, 3)
    assert (found.went_wrong.count, found.went_wrong.n) == (0, 3)
    assert found.warnings == (), "three decisions tell nothing"
    (found,) = play(1, dwell=30, answer="reject")
    assert (found.overridden.count, found.overridden.n) == (1, 4)


@pytest.mark.parametrize(
    ("dwell", "answer", "warnings"),
    [
        (2, "approve", ("rubber-stamp",)),
        (None, "approve", ("rubber-stamp",)),
        (60, "approve", ("too-strict",)),
        (60, "reject", ("too-lax",)),
    ],
)
def test_patterns_are_warned_of(
    play: Callable[..., list[Considered]], dwell: float | None, answer: str, warnings: tuple[str, ...]
) -> None:
    (found,) = play(40, dwell=dwell, answer=answer)
    assert found.warnings == warnings


def test_what_was_taken_back_afterwards_went_wrong(
    play: Callable[..., list[Considered]], store: MemoryStore, clock: ManualClock
) -> None:
    play(1, dwell=30, answer="approve")
    spent = next(each.event for each in store.ledger().entries() if isinstance(each.event, ApprovalSpent))
    undone = UndoFinished(
        id=EventId(mint("evt", 1)), session=None, at_us=clock.unix_us(), target=SessionId(spent.session or ""),
        decision=spent.decision, outcome="undone",
    )  # fmt: skip
    store.commit(Commit(entries=(Entry(undone),)))
    (found,) = considered(each.event for each in store.ledger().entries())
    assert (found.went_wrong.count, found.went_wrong.n) == (1, 1)


def test_nothing_asked_is_no_data() -> None:
    assert considered([]) == []
