"""Whether a plan widens another: a partial order, that never calls a plan narrower than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fiducial import Guard
from fiducial.core.ids import DecisionId, mint
from fiducial.guard.course import Course
from fiducial.guard.plans import Bound, Plan, Step, fitted
from fiducial.guard.widening import within

WHOM = ["DE89370400440532013000", "GB29NWBK60161331926819", "CH9300762011623852957"]
RECIPIENTS = st.one_of(
    st.just(Bound(anything=True)),
    st.sampled_from(WHOM).map(lambda one: Bound(equals=one)),
    st.lists(st.sampled_from(WHOM), min_size=1, max_size=3).map(lambda some: Bound(one_of=tuple(some))),
)
AMOUNTS = st.one_of(
    st.sampled_from([0, 10, 10.0, 20]).map(lambda most: Bound(at_most=most)),
    st.sampled_from([5, 10, 15.5]).map(lambda value: Bound(equals=value)),
)
MAILS = st.one_of(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=2).map(lambda some: Bound(equals=some)),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda some: Bound(one_of=tuple(some))),
)
USES = st.integers(1, 2)


def some(bounds: dict[str, Any]) -> Any:
    return st.fixed_dictionaries({}, optional=bounds)


STEPS = st.one_of(
    st.builds(Step, st.just("send_money"), some({"recipient": RECIPIENTS, "amount": AMOUNTS}), USES),
    st.builds(Step, st.just("send_email"), some({"to": MAILS}), USES),
    st.builds(Step, st.just("read_file"), st.just({}), USES),
)
PLANS = st.builds(Plan, st.lists(STEPS, max_size=3).map(tuple), st.booleans())
CALLS = st.one_of(
    st.builds(
        lambda whom, amount: ("send_money", {"recipient": whom, "amount": amount}),
        st.sampled_from(WHOM),
        st.sampled_from([0, 5, 10.0, 15.5, 20, 30, -1]),
    ),
    st.lists(st.sampled_from("abc"), max_size=2).map(lambda to: ("send_email", {"to": to, "body": "b"})),
    st.just(("read_file", {"path": "p"})),
)


@pytest.fixture(scope="module")
def session(make_charter: Any) -> Iterator[Any]:
    with Guard(make_charter()).session(user="ann") as opened:
        yield opened


READ = Step("read_file")
WIDE, NARROW = (Step("send_money", {"amount": Bound(at_most=most)}) for most in (20, 10))
TWICE = Step("send_money", {"amount": Bound(at_most=20)}, 2)
WIDE_FIRST, WIDE_LAST = Plan((WIDE, NARROW)), Plan((NARROW, WIDE))
SMALL, LARGE = (("send_money", {"recipient": WHOM[0], "amount": amount}) for amount in (5, 20))
FILE = ("read_file", {"path": "p"})


FITTED: dict[str, Any] = {}


def course(session: Any, plan: Plan) -> Course:
    for step in plan.steps:
        if repr(step) not in FITTED:
            FITTED[repr(step)] = fitted(Plan((step,)), session.tools, "ann")[0]
    return Course(plan, tuple(FITTED[repr(step)] for step in plan.steps))


@given(plan=PLANS)
def test_a_plan_is_within_itself(session: Any, plan: Plan) -> None:
    assert within(course(session, plan), course(session, plan))


@given(plans=st.tuples(PLANS, PLANS, PLANS))
def test_what_is_within_a_plan_within_a_third_is_within_the_third(session: Any, plans: tuple[Plan, Plan, Plan]) -> None:
    one, two, three = (course(session, plan) for plan in plans)
    assert not (within(one, two) and within(two, three)) or within(one, three)


@given(plan=PLANS, cut=st.integers(0, 2), tighter=st.sampled_from([10, 5]))
def test_a_cut_a_tighter_bound_and_order_are_no_widening(session: Any, plan: Plan, cut: int, tighter: int) -> None:
    whole = course(session, plan)
    assert within(course(session, Plan(plan.steps[:cut], plan.ordered)), whole)
    if not plan.ordered:
        assert within(course(session, Plan(plan.steps, ordered=True)), whole)
    tight = tuple(
        step if step.tool != "send_money" or "amount" in step.bounds
        else Step(step.tool, {**step.bounds, "amount": Bound(at_most=tighter)}, step.uses)
        for step in plan.steps
    )  # fmt: skip
    assert within(course(session, Plan(tight, plan.ordered)), whole)


def use(session: Any, of: Course, tool: str, arguments: dict[str, Any]) -> None:
    decision = DecisionId(mint("dec", 0))
    of.use(decision, session.principal, tool, arguments)
    of.succeeded(decision)


def meanings(session: Any, of: Course, calls: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether some way of counting calls for steps lets all of them through: an oracle that tries every one."""
    starts = {tuple(one.step.uses for one in of.steps)}
    for tool, arguments in calls:
        starts = {
            (*left[:index], left[index] - 1, *left[index + 1 :])
            for left in starts
            for index, each in enumerate(of.steps)
            if each.step.tool == tool and left[index] and each.meets(session.principal, arguments)
        }
    return bool(starts)


@given(steps=st.lists(STEPS, max_size=4), calls=st.lists(CALLS, max_size=6))
@example(steps=[WIDE, NARROW], calls=[SMALL, LARGE, SMALL])
def test_a_call_is_on_a_plan_when_all_can_be_shared_out_among_its_steps(
    session: Any, steps: list[Step], calls: list[Any]
) -> None:
    plan, through = course(session, Plan(tuple(steps))), []
    for tool, arguments in calls:
        on_it = plan.step(session.principal, tool, arguments)[1]
        assert on_it is meanings(session, plan, [*through, (tool, arguments)])
        if on_it:
            use(session, plan, tool, arguments)
            through.append((tool, arguments))
    assert sum(plan.left) == sum(step.uses for step in steps) - len(through)


PAYMENTS = st.lists(
    st.builds(Step, st.just("send_money"), AMOUNTS.map(lambda amount: {"amount": amount}), st.integers(1, 3)),
    max_size=3,
)
PAYING = st.builds(lambda steps, ordered: Plan((*steps, READ), ordered), PAYMENTS, st.booleans())


@given(
    plans=st.tuples(PLANS, PLANS) | st.tuples(PAYING, PAYING),
    used=st.lists(CALLS, max_size=2),
    calls=st.lists(CALLS, min_size=1, max_size=6),
)
@example(plans=(WIDE_LAST, WIDE_FIRST), used=[], calls=[SMALL, LARGE])
@example(
    plans=(Plan((WIDE, NARROW, READ), True), Plan((TWICE, NARROW, READ), True)), used=[], calls=[LARGE, SMALL, FILE]
)
def test_what_is_within_lets_through_nothing_that_was_not_left(
    session: Any, plans: tuple[Plan, Plan], used: list[Any], calls: list[Any]
) -> None:
    new, old = (course(session, plan) for plan in plans)
    for tool, arguments in used:
        use(session, old, tool, arguments)
    if not within(new, old):
        return
    for tool, arguments in calls:
        if new.step(session.principal, tool, arguments)[1]:
            assert old.step(session.principal, tool, arguments)[1]
            use(session, new, tool, arguments)
            use(session, old, tool, arguments)


def pay(most: float | None = None, whom: str | None = None, uses: int = 1) -> Step:
    bounds = {} if most is None else {"amount": Bound(at_most=most)}
    return Step("send_money", bounds | ({"recipient": Bound(equals=whom)} if whom else {}), uses)


@pytest.mark.parametrize(
    ("new", "old", "narrower"),
    [
        (Plan(), Plan(), True),
        (Plan((READ,)), Plan(), False),
        (Plan((pay(5),)), Plan((pay(10),)), True),
        (Plan((pay(10),)), Plan((pay(5),)), False),
        (Plan((pay(),)), Plan((pay(5),)), False),
        (Plan((pay(5, WHOM[0]),)), Plan((pay(5),)), True),
        (Plan((pay(5, WHOM[0]),)), Plan((pay(5, WHOM[1]),)), False),
        (Plan((pay(uses=2),)), Plan((pay(),)), False),
        (Plan((pay(), pay())), Plan((pay(uses=2),)), True),
        (Plan((pay(uses=1000),)), Plan(tuple(pay(uses=500) for _ in range(2))), True),
        # A step that fits two is moved to make room for one that fits only the other.
        (Plan((pay(5), pay(10))), Plan((pay(10), pay(5))), True),
        (Plan((pay(10), pay(10))), Plan((pay(10), pay(5))), False),
        # Order: leaving out what comes first, or the order itself, allows more.
        (Plan((pay(),), ordered=True), Plan((READ, pay()), ordered=True), False),
        (Plan((pay(),)), Plan((READ, pay()), ordered=True), False),
        (Plan((READ, pay())), Plan((READ, pay()), ordered=True), False),
        (Plan((READ,), ordered=True), Plan((READ, pay()), ordered=True), True),
        (Plan((READ,)), Plan((READ, pay()), ordered=True), True),
        (Plan((READ, pay()), ordered=True), Plan((READ, Step("write_note"), pay()), ordered=True), False),
        (Plan((pay(), READ), ordered=True), Plan((READ, pay()), ordered=True), False),
        (Plan((pay(), READ), ordered=True), Plan((READ, pay())), True),
        (Plan((pay(5), pay(3), READ), ordered=True), Plan((pay(5, uses=2), READ), ordered=True), True),
        (Plan((pay(5), pay(3))), Plan((pay(5, uses=2), READ), ordered=True), True),
    ],
)
def test_examples(session: Any, new: Plan, old: Plan, narrower: bool) -> None:
    assert within(course(session, new), course(session, old)) is narrower


def test_the_same_plan_again_is_more_once_it_was_used(session: Any) -> None:
    old = course(session, Plan((pay(),)))
    use(session, old, "send_money", {"recipient": WHOM[0], "amount": 1})
    assert not within(course(session, Plan((pay(),))), old)
    ordered = course(session, Plan((READ, pay()), ordered=True))
    use(session, ordered, "read_file", {"path": "a"})
    assert within(course(session, Plan((pay(),))), ordered), "its turn has come"


def test_the_largest_plans_are_compared_at_once(session: Any) -> None:
    steps = tuple(pay(number % 7 + 1, uses=1000 - number) for number in range(64))
    assert within(course(session, Plan(steps)), course(session, Plan(tuple(reversed(steps)))))
    assert not within(course(session, Plan((*steps[1:], pay(8, uses=1000)))), course(session, Plan(steps)))
