"""Classes of calls: a list that is bounded by its value is that very list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.model import Charter
from fiducial.policy.bounds import Bound, CallClass, class_rule, limit_of
from fiducial.policy.rulebook import Rulebook, compile_rulebook

Build = Callable[..., Charter]
ITEMS = {
    "names": {"type": "string"},
    "counts": {"type": "integer"},
    "rates": {"type": "number"},
    "flags": {"type": "boolean"},
}
PAYROLL = {
    "effect": "irreversible",
    "kind": "pay",
    "parameters": {
        name: {"role": "option", "required": False, "schema": {"type": "array", "items": items}}
        for name, items in {**ITEMS, "in euro": {"type": "number"}}.items()
    },
}
PAYROLL["parameters"]["in euro"]["unit"] = "EUR"  # type: ignore[index]


@pytest.fixture(scope="module")
def rulebook(build: Build) -> Rulebook:
    permit = '@id("charter/all") permit (principal, action in Action::"declared", resource);'
    return compile_rulebook(build(permit, contracts={"payroll": PAYROLL}))


def covers(rulebook: Rulebook, bounds: dict[str, Bound], arguments: dict[str, Any]) -> bool:
    tool = rulebook.slice("payroll").type
    return CallClass(tool, class_rule(tool, "emma", bounds)).covers(rulebook.principal("emma", ()), arguments)


LISTS = st.one_of(
    st.tuples(st.just("names"), st.lists(st.text(max_size=2) | st.sampled_from('ab"\\\n'), max_size=3)),
    st.tuples(st.just("counts"), st.lists(st.integers(-2, 2) | st.just(-(2**63)), max_size=3)),
    st.tuples(st.just("rates"), st.lists(st.sampled_from([-1.5, -0.0001, 0, 2, 2.0]), max_size=3)),
    st.tuples(st.just("in euro"), st.lists(st.sampled_from([-1.5, 0, 98.7, 2, 2.0]), max_size=3)),
    st.tuples(st.just("flags"), st.lists(st.booleans(), max_size=3)),
)


@given(approved=LISTS, data=st.data())
def test_a_list_is_its_members_in_their_order_each_as_often(
    rulebook: Rulebook, approved: tuple[str, list[Any]], data: Any
) -> None:
    name, value = approved
    bounds = {name: Bound(equals=value)}
    assert covers(rulebook, bounds, {name: value})
    other = data.draw(st.permutations(value) | st.just(value * 2) | st.just(value[:1]))
    assert covers(rulebook, bounds, {name: other}) == (other == value)
    assert not covers(rulebook, bounds, {})


def test_two_lists_that_belong_together_cannot_be_swapped(rulebook: Rulebook) -> None:
    bounds = {"names": Bound(equals=["ann", "bob"]), "counts": Bound(equals=[10, 9000])}
    assert covers(rulebook, bounds, {"names": ["ann", "bob"], "counts": [10, 9000]})
    assert not covers(rulebook, bounds, {"names": ["bob", "ann"], "counts": [10, 9000]})
    once = {"names": Bound(equals=["ann"]), "counts": Bound(equals=[100])}
    assert not covers(rulebook, once, {"names": ["ann"] * 50, "counts": [100] * 50})


def test_a_list_of_other_order_is_not_within_another(rulebook: Rulebook) -> None:
    tool = rulebook.slice("payroll").type
    there, back, twice = (
        limit_of(tool, "names", Bound(equals=names)) for names in (["ann", "bob"], ["bob", "ann"], ["ann", "ann"])
    )
    assert there.within(there)
    assert not back.within(there)
    assert not twice.within(limit_of(tool, "names", Bound(equals=["ann"])))
    assert twice.within(limit_of(tool, "names", Bound(one_of=("ann", "bob"))))


@pytest.mark.parametrize("most", [-5, -0.01])
def test_a_most_below_zero_allows_nothing_and_is_refused(build: Build, most: float) -> None:
    tool = compile_rulebook(build()).slice("send_money").type
    with pytest.raises(ValueError, match="`amount` is below zero"):
        class_rule(tool, "emma", {"recipient": Bound(anything=True), "amount": Bound(at_most=most)})
