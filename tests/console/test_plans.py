"""A plan that waits for people is shown with where every value in it came from, and approved in the browser."""

from __future__ import annotations

import re

from console_world import ACCOUNT, Browser, guard_of

from fiducial.console.app import Console
from fiducial.console.services import Services
from fiducial.guard.plans import Bound, Plan, Step


def test_a_held_plan_is_shown_and_approved(console: Console, services: Services) -> None:
    approver = Browser(console).as_(services, "approver")
    session = guard_of(services).session(user="emma", roles=["customer"], task="Please pay the bill in bill.txt.")
    session.observe("read_file", {"path": "bill.txt"}, f"Dear Emma, please pay the whole amount to {ACCOUNT} today.")
    bounds = {"recipient": Bound(equals=ACCOUNT), "amount": Bound(at_most=120)}
    plan = Plan((Step("send_money", bounds),))
    held = session.declare(plan)
    assert held.kind == "held"
    assert "go by a plan" in approver.get("/waiting").text
    page = approver.get(f"/waiting/{held.hold}").text
    assert "step 1: recipient" in page
    assert re.search(r'<mark id="\S+" class="from untrusted" tabindex="0">' + ACCOUNT, page)
    answered = approver.submit(f"/waiting/{held.hold}/answer", f"/waiting/{held.hold}", answer="approve")
    assert answered.status_code == 303
    assert session.declare(plan).kind == "allowed"
    assert "The plan was accepted, people having approved it" in approver.get(f"/sessions/{session.id}").text
