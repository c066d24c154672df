"""Intervals of clustered shares: the edges first, then known values."""

from __future__ import annotations

import pytest

from intervals import share, wilson


def test_nothing_observed_bounds_nothing() -> None:
    found = share([])
    assert (found.k, found.n, found.low, found.high) == (0, 0, 0.0, 1.0)


def test_none_of_many_is_bounded_by_the_clusters_and_not_by_the_observations() -> None:
    # 609 attacks that share 27 goals: 0 of 609 still allows about 10 %.
    found = share((index % 27, False) for index in range(609))
    assert found.k == 0
    assert found.low == 0.0
    assert found.high == pytest.approx(0.105, abs=0.001)


def test_all_of_many_mirrors_none_of_many() -> None:
    none = share((index % 9, False) for index in range(90))
    every = share((index % 9, True) for index in range(90))
    assert every.low == pytest.approx(1 - none.high)
    assert every.high == 1.0


def test_independent_observations_get_wilsons_interval() -> None:
    # 15 of 50, each its own cluster; Wilson's interval is 19.1 % to 43.8 %.
    found = share((index, index < 15) for index in range(50))
    assert (found.low, found.high) == pytest.approx(wilson(0.3, 50), abs=0.003)
    assert wilson(0.3, 50) == pytest.approx((0.191, 0.438), abs=0.001)


def test_clusters_that_agree_widen_the_interval() -> None:
    spread = share((index % 10, index < 30) for index in range(100))
    together = share((index // 10, index < 30) for index in range(100))
    assert (spread.k, spread.n) == (together.k, together.n)
    assert together.high - together.low > 2 * (spread.high - spread.low)
    assert (together.low, together.high) == pytest.approx(wilson(0.3, 10), abs=0.01)


def test_one_cluster_is_one_observation() -> None:
    found = share([("only", True), ("only", False)])
    assert found.low < 0.1
    assert found.high > 0.9


def test_one_event_is_bounded_no_lower_than_none() -> None:
    none = share((index % 26, False) for index in range(520))
    single = share((index % 26, index == 3) for index in range(520))
    assert single.high >= none.high
