"""Budgets cannot be spent twice, and rate windows never count too little."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.contracts import Contract
from fiducial.charter.model import Budgets, RateWindow, SessionBudget
from fiducial.core.store import Commit
from fiducial.errors import Conflict
from fiducial.guard.budgets import Account, Use, Windows
from fiducial.store.memory import MemoryStore

PAY = Contract(effect="irreversible", kind="pay")  # type: ignore[arg-type]


def test_no_budget_limits_nothing() -> None:
    account = Account(SessionBudget())
    assert account.reserve(Use(writes=1, spend=10**9, currency="EUR")) == frozenset()


def test_each_budget_is_named_when_it_would_be_exceeded() -> None:
    account = Account(SessionBudget(calls=2, writes=1, spend={"EUR": 100}))
    assert account.reserve(Use(writes=1, spend=60, currency="EUR")) == frozenset()
    assert account.exceeds(Use(writes=1, spend=60, currency="EUR")) == {"session-writes", "session-spend"}
    assert account.reserve(Use()) == frozenset()
    assert account.exceeds(Use()) == {"session-calls"}


def test_a_currency_without_a_budget_may_not_be_spent_where_others_are_limited() -> None:
    assert Account(SessionBudget(spend={"EUR": 100})).exceeds(Use(spend=1, currency="USD")) == {"session-spend"}


def test_a_failed_call_gives_back_and_an_unknown_one_does_not() -> None:
    account = Account(SessionBudget(spend={"EUR": 100}))
    use = Use(writes=1, spend=80, currency="EUR")
    account.reserve(use)
    account.settle(use, kept=False)
    assert account.reserve(use) == frozenset()
    account.settle(use, kept=True)
    assert account.reserve(use) == {"session-spend"}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_reservations_never_sum_past_the_budget(amounts: list[int]) -> None:
    account = Account(SessionBudget(spend={"EUR": 100}))
    for amount in amounts:
        account.reserve(Use(spend=amount, currency="EUR"))
    assert account.spent.get("EUR", 0) <= 100


def test_two_threads_cannot_spend_one_budget_twice() -> None:
    account = Account(SessionBudget(writes=100))
    granted: list[bool] = []

    def spend() -> None:
        granted.extend(not account.reserve(Use(writes=1)) for _ in range(100))

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 100


HOUR = 3_600_000_000


@pytest.fixture
def windows() -> Windows:
    window = RateWindow(name="hourly", window=timedelta(hours=1), limit=2, tools=("pay",))
    return Windows(Budgets(windows=(window,)), "bot", MemoryStore())


def spent(windows: Windows, now: int) -> bool:
    touched = windows.touched("send_money", PAY, Use(writes=1), "ann", now)
    changes = tuple(add for _, _, add in touched)
    commit = Commit(preconditions=windows.preconditions(touched), changes=changes)
    if windows.exceeded(touched):
        with pytest.raises(Conflict):
            windows._store.commit(commit).result()
        return False
    windows._store.commit(commit).result()
    return True


@pytest.mark.parametrize("behind", [1, 10 * 60, 59 * 60])
def test_a_clock_that_is_behind_makes_no_room(windows: Windows, behind: int) -> None:
    """It was set back, or is another host's: what was spent by the one ahead still counts."""
    start = 1_000 * HOUR
    assert [spent(windows, start), spent(windows, start - behind * 1_000_000)] == [True, True]
    assert not spent(windows, start - behind * 1_000_000)
    assert not spent(windows, start)


def test_a_window_holds_across_sessions_and_slides(windows: Windows) -> None:
    start = 1_000 * HOUR
    assert [spent(windows, start), spent(windows, start + HOUR // 2), spent(windows, start + HOUR // 2)] == [
        True,
        True,
        False,
    ]
    assert not spent(windows, start + HOUR)
    assert spent(windows, start + HOUR + HOUR // 10)
    assert windows.touched("read", Contract(effect="read", kind="read"), Use(), "ann", start) == []  # type: ignore[arg-type]
