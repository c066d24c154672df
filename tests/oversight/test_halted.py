"""Halts and requests: what was asked or approved before a halt is void, whatever the clocks of the two hosts say."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fiducial import Guard, MemoryStore
from fiducial.core.clock import ManualClock
from fiducial.core.ids import PersonId
from fiducial.oversight import Approver, Desk
from fiducial.policy.bounds import Bound

CLERK = Approver(id=PersonId("cleo"), roles=frozenset({"clerk"}))
BOB = {"recipient": "bob", "amount": 500}


def other_host(charter: Callable[..., Any], store: MemoryStore, apart: timedelta) -> tuple[Guard, ManualClock]:
    """A guard on the same store whose clock is `apart` from the others'."""
    clock = ManualClock()
    clock.jump(apart)
    return Guard(charter(), store=store, desk=Desk(store, clock=clock), clock=clock), clock


def settle(guard: Guard, desk: Desk, by: str) -> Any:
    """A session and the request on which cleo has approved its call, by itself or as a class."""
    session = guard.session(user="emma", task="Pay 500 EUR to bob")
    verdict: Any = session.decide("send_money", BOB)
    if by == "class":
        bounds = {name: Bound(equals=value) for name, value in BOB.items()}
        tool = session.rulebook.slice("send_money").type
        desk.grant(verdict.hold, CLERK, tool, bounds, uses=9, lasting=timedelta(hours=1))
        assert session.decide("send_money", BOB).kind == "allowed", "the call itself"
    else:
        desk.vote(verdict.hold, CLERK, "approve")
    return session


@pytest.mark.parametrize("by", ["call", "class"])
@pytest.mark.parametrize("seconds", [-3600, -3, 0, 3, 3600])
def test_a_halt_voids_what_was_approved_before_it_whatever_the_clocks_say(
    charter: Callable[..., Any], store: MemoryStore, guard: Guard, desk: Desk, seconds: int, by: str
) -> None:
    other, _ = other_host(charter, store, timedelta(seconds=seconds))
    session = settle(guard, desk, by)
    other.resume(other.halt("fraud alarm", by="olga"), by="omar", why="checked")
    assert session.decide("send_money", BOB).kind == "held"


@pytest.mark.parametrize("by", ["call", "class"])
@pytest.mark.parametrize("seconds", [-3600, 0, 3600])
def test_a_halt_voids_nothing_that_was_asked_after_it(
    charter: Callable[..., Any], store: MemoryStore, guard: Guard, desk: Desk, seconds: int, by: str
) -> None:
    other, _ = other_host(charter, store, timedelta(seconds=seconds))
    other.resume(other.halt("fraud alarm", by="olga"), by="omar", why="checked")
    assert settle(guard, desk, by).decide("send_money", BOB).kind == "allowed"


def test_an_appeal_after_a_halt_is_not_void_by_it(guard: Guard, desk: Desk) -> None:
    session = guard.session(user="emma", task="Pay 500 EUR to bob")
    verdict: Any = session.decide("send_money", BOB)
    desk.vote(verdict.hold, CLERK, "reject")
    guard.resume(guard.halt("drill", by="olga"), by="omar", why="over")
    appeal = desk.appeal(verdict.hold, PersonId("emma"), "it was a drill")
    assert desk.hold(appeal.id).open
    guard.resume(guard.halt("drill", by="olga"), by="omar", why="over")
    assert desk.hold(appeal.id).state == "void"


@pytest.mark.parametrize("user", ["emma ", "e\u0301mma"])
def test_a_halt_voids_what_was_asked_under_another_spelling(guard: Guard, desk: Desk, user: str) -> None:
    verdict: Any = guard.session(user=user, task="Pay 500 EUR to bob").decide("send_money", BOB)
    named = unicodedata.normalize("NFC", user).strip()
    guard.resume(guard.halt("drill", by="olga", user=named), by="omar", why="over")
    assert desk.hold(verdict.hold).state == "void"
