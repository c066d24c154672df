"""A plan that waits for people: nothing counts before they approve exactly it, and it is approved once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fiducial import Answer, Guard, MemoryStore, SqliteStore
from fiducial.core.clock import ManualClock
from fiducial.core.event import PlanSettled
from fiducial.errors import NotPermitted, StoreError
from fiducial.guard.plans import Bound, Plan, Step
from fiducial.oversight import Approver, Desk
from fiducial.oversight.people import People, Person

CARL = Approver(id="carl", roles=frozenset({"clerk"}))
POLICIES = """
@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);
@id("charter/plans") @hold("clerk") forbid (principal, action == Action::"declare_plan", resource)
when { context.proposal.widens && context.proposal.kinds.contains("pay") };
@id("charter/pay") @hold("clerk") forbid (principal, action == Action::"send_money", resource)
unless { context.plan.approved };
"""
PAY = {"recipient": "bob", "amount": 10}
PLAN = Plan((Step("send_money", {"amount": Bound(at_most=50)}, uses=2), Step("read")))

KNOWN = Plan((Step("send_money", {"recipient": Bound(equals="bob"), "amount": Bound(at_most=10)}),))
"""The user named all that is in it, so that nothing about it changes when the session is reopened."""


def opened(charter: Callable[..., Any], store: Any, clock: ManualClock, **more: Any) -> Any:
    made = charter(POLICIES, baseline="balanced")
    guard = Guard(made, store=store, desk=Desk(store, clock=clock), clock=clock, **more)
    return guard.session(user="ann", task="pay bob 10 EUR, then read")


def waiting(session: Any) -> Any:
    return [hold.tool for hold in session.ground.desk.waiting()]


def fired(verdict: Any) -> list[str]:
    return [reason.policy for reason in verdict.reasons]


def test_an_approved_plan_counts_once_it_is_declared_again(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    session = opened(charter, store, clock)
    held = session.declare(PLAN)
    assert (held.kind, waiting(session)) == ("held", ["declare_plan"])
    assert session.declare(PLAN).hold == held.hold, "asked once"
    session.ground.desk.vote(held.hold, CARL, "approve")
    assert not session._past.courses, "it has not been declared again"
    assert session.declare(PLAN).kind == "allowed"
    # The policy says that an approved plan is enough; without that it approves no call.
    assert session.decide("send_money", PAY).kind == "allowed"
    assert session.decide("send_money", {**PAY, "amount": 51}).kind == "held"
    events = [each.event for each in store.ledger().session(session.id)]
    outcomes = [(event.outcome, event.approved) for event in events if isinstance(event, PlanSettled)]
    assert outcomes == [("held", False), ("held", False), ("accepted", True)]


def test_an_approval_is_for_one_plan_and_one_time(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    session = opened(charter, store, clock)
    held = session.declare(PLAN)
    session.ground.desk.vote(held.hold, CARL, "approve")
    assert session.declare(Plan((*PLAN.steps, Step("greet")))).kind == "held", "another plan"
    assert session.declare(PLAN).kind == "allowed"
    session.decide("send_money", PAY)
    again = session.declare(PLAN)
    assert again.kind == "held", "one payment more than is left"
    assert again.hold != held.hold


def test_what_was_done_meanwhile_makes_it_another_request(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    session = opened(charter, store, clock)
    session.ground.desk.vote(session.declare(PLAN).hold, CARL, "approve")
    assert session.declare(PLAN).kind == "allowed"
    wider = Plan((Step("send_money", {"amount": Bound(at_most=60)}, uses=2),))
    held = session.declare(wider)
    session.ground.desk.vote(held.hold, CARL, "approve")
    assert session.decide("read", {}).kind == "allowed"
    assert session.decide("send_money", PAY).kind == "allowed"
    assert session.declare(wider).hold != held.hold, "two more payments are not what carl saw"


def test_a_refused_plan_and_one_that_nobody_answers_leave_the_earlier_one(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    session = opened(charter, store, clock)
    assert session.declare(["read"]).kind == "allowed"
    held = session.declare(PLAN)
    session.ground.desk.vote(held.hold, CARL, "reject", note="pay by hand")
    refused = session.declare(PLAN)
    assert (refused.kind, refused.reasons[0].fault) == ("denied", "people-refused")
    other = Plan(PLAN.steps[:1])
    assert session.declare(other).kind == "held"
    clock.advance(timedelta(hours=25))
    assert session.declare(other).kind == "denied", "it has expired"
    assert "baseline/off-plan" in fired(session.decide("send_money", PAY))
    assert session.decide("read", {}).kind == "allowed"
    outcomes = [
        event.outcome for each in store.ledger().session(session.id) if isinstance(event := each.event, PlanSettled)
    ]
    assert outcomes == ["accepted", "held", "rejected", "held", "rejected"]


def test_a_halt_voids_what_was_approved(charter: Callable[..., Any], store: MemoryStore, clock: ManualClock) -> None:
    made = charter(POLICIES, baseline="balanced")
    guard = Guard(made, store=store, desk=Desk(store, clock=clock), clock=clock)
    session = guard.session(user="ann", task="pay bob 10 EUR, then read")
    held = session.declare(PLAN)
    session.ground.desk.vote(held.hold, CARL, "approve")
    clock.advance(timedelta(seconds=1))
    guard.resume(guard.halt("stop", by="olga", user="ann"), by="omar", why="a drill")
    assert session.declare(PLAN).hold not in (None, held.hold)


@pytest.mark.parametrize("what", ["nothing", "halt", "gone", "unjustified", "gone-then-back"])
def test_an_approved_plan_is_approved_while_its_approval_stands(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock, what: str
) -> None:
    roles = {"carl": frozenset({"clerk"}), "bob": frozenset[str]()}
    desk = Desk(store, clock=clock, roles_of=roles.get)
    guard = Guard(charter(POLICIES, baseline="balanced"), store=store, desk=desk, clock=clock)
    session = guard.session(user="ann", task="pay bob 10 EUR, then read")
    held = session.declare(PLAN)
    if what == "unjustified":
        glass = desk.break_glass("bob", "clerk", "the clerk cannot be reached", timedelta(hours=1))
        desk.vote(held.hold, desk.with_glass(Approver(id="bob", roles=frozenset())), "approve")
    else:
        desk.vote(held.hold, CARL, "approve")
    assert session.declare(PLAN).kind == "allowed"
    narrower = Plan((Step("send_money", {"amount": Bound(at_most=20)}, uses=2),))
    assert session.declare(narrower).kind == "allowed"
    assert "charter/pay" not in fired(session.decide("send_money", PAY))
    if what == "halt":
        clock.advance(timedelta(seconds=5))
        guard.resume(guard.halt("fraud", by="olga"), by="pete", why="it was none")
    elif what == "unjustified":
        desk.review_glass(glass.id, "olga", justified=False, note="she could be reached")
    elif what != "nothing":
        del roles["carl"]
    if what == "gone-then-back":
        assert "charter/pay" in fired(session.decide("send_money", PAY))
        roles["carl"] = frozenset({"clerk"})
    assert ("charter/pay" in fired(session.decide("send_money", PAY))) is (what != "nothing")


@pytest.mark.parametrize("ends", ["before it is asked for", "while it waits", "by a halt"])
def test_a_wider_plan_that_is_approved_afresh_is_approved_whatever_ended_the_first(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock, ends: str
) -> None:
    roles = {"carl": frozenset({"clerk"}), "cleo": frozenset({"clerk"})}
    guard = Guard(
        charter(POLICIES, baseline="balanced"), store=store, desk=Desk(store, clock=clock, roles_of=roles.get),
        clock=clock,
    )  # fmt: skip
    session = guard.session(user="ann", task="pay bob 10 EUR, then read")
    session.ground.desk.vote(session.declare(PLAN).hold, CARL, "approve")
    assert session.declare(PLAN).kind == "allowed"
    if ends == "by a halt":
        guard.resume(guard.halt("drill", by="olga"), by="pete", why="over")
    elif ends == "before it is asked for":
        del roles["carl"]
    wider = Plan((Step("send_money", {"amount": Bound(at_most=90)}, uses=5),))
    held = session.declare(wider)
    roles.pop("carl", None)
    session.ground.desk.vote(held.hold, Approver(id="cleo", roles=roles["cleo"]), "approve")
    assert session.declare(wider).kind == "allowed"
    assert "charter/pay" not in fired(session.decide("send_money", PAY))
    del roles["cleo"]
    assert "charter/pay" in fired(session.decide("send_money", PAY))


@pytest.mark.parametrize("act", ["leave", "halt"])
@pytest.mark.parametrize("call", ["pay", "narrow"])
def test_an_approval_that_ends_before_the_decision_is_kept_lets_nothing_through(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock, monkeypatch: Any, act: str, call: str
) -> None:
    people = People(store, clock)
    carl = people.add(Person(id="carl", name="Carl", roles=("clerk",)), by="root")
    desk = Desk(store, clock=clock, roles_of=people.roles_of)
    guard = Guard(charter(POLICIES, baseline="balanced"), store=store, desk=desk, clock=clock)
    session = guard.session(user="ann", task="pay bob 10 EUR, then read")
    desk.vote(session.declare(PLAN).hold, CARL, "approve")
    assert session.declare(PLAN).kind == "allowed"
    commit = store.commit

    def late(wanted: Any) -> Any:
        monkeypatch.undo()
        if act == "leave":
            gone = msgspec.structs.replace(carl.person, active=False)
            people.change(gone, version=carl.version, by="root", act="revoked")
        else:
            guard.resume(guard.halt("drill", by="olga"), by="pete", why="over")
        return commit(wanted)

    monkeypatch.setattr(store, "commit", late)
    if call == "pay":
        assert session.call("send_money", PAY, run=lambda **_: "sent").status == "not-run"
    else:
        assert session.declare(Plan(PLAN.steps[:1])).kind == "denied"
    assert "charter/pay" in fired(session.decide("send_money", PAY))


@pytest.mark.parametrize("lost", [False, True])
def test_an_approval_that_has_ended_is_not_back_when_the_session_is_reopened(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock, monkeypatch: Any, lost: bool
) -> None:
    """`lost`: the first decision after it ended is not kept."""
    roles = {"carl": frozenset({"clerk"})}
    desk = Desk(store, clock=clock, roles_of=roles.get)
    guard = Guard(charter(POLICIES, baseline="balanced"), store=store, desk=desk, clock=clock)
    session = guard.session(user="ann", task="pay bob 10 EUR, then read")
    desk.vote(session.declare(PLAN).hold, CARL, "approve")
    assert session.declare(PLAN).kind == "allowed"
    session = guard.reopen(session.id)
    assert "charter/pay" not in fired(session.decide("send_money", PAY))
    del roles["carl"]
    if lost:
        full: Future[Any] = Future()
        full.set_exception(StoreError("the disk is full"))
        with monkeypatch.context() as patch:
            patch.setattr(store, "commit", lambda commit: full)
            assert session.decide("read", {}).kind == "denied"
    assert session.decide("read", {}).kind == "allowed"
    roles["carl"] = frozenset({"clerk"})
    again = guard.reopen(session.id)
    assert "charter/pay" in fired(again.decide("send_money", PAY))
    settled = [each.event for each in store.ledger().session(session.id) if isinstance(each.event, PlanSettled)]
    assert [(each.outcome, each.approved) for each in settled] == [
        ("held", False), ("accepted", True), ("accepted", False),
    ]  # fmt: skip


def test_a_narrower_plan_stays_approved_and_a_wider_one_does_not(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    session = opened(charter, store, clock)
    session.ground.desk.vote(session.declare(PLAN).hold, CARL, "approve")
    session.declare(PLAN)
    assert session.declare(Plan(PLAN.steps[:1])).kind == "allowed"
    assert session.decide("send_money", PAY).kind == "allowed"
    assert session.declare(["read", "greet"]).kind == "allowed", "no payment in it: nobody is asked"
    assert not session._past.courses[0].approved


@pytest.mark.parametrize("approved", [False, True])
def test_a_plan_is_approved_while_nobody_runs(
    charter: Callable[..., Any], tmp_path: Path, clock: ManualClock, approved: bool
) -> None:
    path = tmp_path / "log.db"
    with SqliteStore(path, clock=clock) as store:
        session = opened(charter, store, clock)
        held = session.declare(KNOWN)
    with SqliteStore(path, clock=clock) as store:
        Desk(store, clock=clock).vote(held.hold, CARL, "approve" if approved else "reject")
    with SqliteStore(path, clock=clock) as store:
        made = charter(POLICIES, baseline="balanced")
        guard = Guard(made, store=store, desk=Desk(store, clock=clock), clock=clock)
        again = guard.reopen(session.id)
        assert again.declare(KNOWN).kind == ("allowed" if approved else "denied")
        assert ("charter/pay" in fired(again.decide("send_money", PAY))) is not approved
        last = guard.reopen(session.id)
        assert [each.approved for each in last._past.courses] == [True] * approved


@pytest.mark.parametrize("approves", [False, True])
def test_the_in_process_hook_decides_on_plans_too(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock, approves: bool
) -> None:
    guard = Guard(
        charter(POLICIES, baseline="balanced"), store=store, clock=clock,
        on_held=lambda question: Answer(approved=approves, by="carl"),
    )  # fmt: skip
    session = guard.session(user="ann", task="pay bob 10 EUR, then read", plan=PLAN)
    assert session.planned.kind == ("allowed" if approves else "denied")
    assert session.decide("send_money", PAY).kind == ("allowed" if approves else "held")


def test_what_the_requester_confirms_nobody_has_approved(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    sure = POLICIES.replace('@id("charter/plans") @hold("clerk")', '@id("charter/plans") @unclear("Sure?")')
    desk = Desk(store, clock=clock)
    guard = Guard(charter(sure, baseline="balanced"), store=store, desk=desk, clock=clock)
    session = guard.session(user="ann", task="pay bob 10 EUR, then read")
    asked = session.declare(PLAN)
    assert asked.kind == "unclear"
    desk.answer(asked.hold, Approver(id="ann", roles=frozenset()), "yes", confirms=True)
    assert session.declare(PLAN).kind == "allowed"
    assert session.decide("send_money", PAY).kind == "held", "unless { context.plan.approved }"


def test_what_a_hook_approves_of_a_plan_is_for_what_had_been_done(
    charter: Callable[..., Any], store: MemoryStore, clock: ManualClock
) -> None:
    paid: list[Any] = []

    def meanwhile(question: Any) -> Answer:
        if len(paid) == 0:
            assert session.call("send_money", PAY, run=lambda **given: paid.append(given)).status == "ok"
        return Answer(approved=True, by="carl")

    policies = POLICIES.replace('@id("charter/pay") @hold("clerk")', '@id("charter/pay")').replace(
        "unless { context.plan.approved }", "unless { context.plan.includes }"
    ).replace("context.proposal.widens &&", "context.proposal.widens && context.proposal.uses > 1 &&")  # fmt: skip
    policies += '@id("charter/may-plan") permit (principal, action == Action::"declare_plan", resource);'
    guard = Guard(charter(policies, baseline="none"), store=store, clock=clock, on_held=meanwhile)
    session = guard.session(user="ann", task="pay bob 10 EUR", plan=["send_money"])
    assert session.planned.kind == "allowed"
    session.declare(["send_money", "send_money"])
    for _ in range(3):
        session.call("send_money", PAY, run=lambda **given: paid.append(given))
    assert len(paid) <= 2


def test_no_class_of_plans_is_approved(charter: Callable[..., Any], store: MemoryStore, clock: ManualClock) -> None:
    session = opened(charter, store, clock)
    asked, desk = session.declare(PLAN), session.ground.desk
    tool = session.rulebook.slice("declare_plan").type
    bounds = {"steps": Bound(anything=True), "ordered": Bound(anything=True)}
    with pytest.raises(NotPermitted, match="that very plan"):
        desk.grant(asked.hold, CARL, tool, bounds, uses=5, lasting=timedelta(hours=1))
    assert desk.hold(asked.hold).open
