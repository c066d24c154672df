"""What a session and a store remember has a bound, and past it they fail closed."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from fiducial import Guard
from fiducial.errors import SessionError
from fiducial.flow import laundry
from fiducial.flow.laundry import Laundered

PAYEE = "DE89370400440532013000"
BUDGET = 2**20


def test_what_is_said_takes_no_more_than_its_share_and_then_nothing_is_asked_for(make_charter: Any) -> None:
    guard = Guard(make_charter(session_memory=BUDGET))
    with guard.session(user="ann", task=f"Pay 10 EUR to {PAYEE}") as session:
        assert session.decide("send_money", {"recipient": PAYEE, "amount": 10}).kind == "allowed"
        tracemalloc.start()
        for number in range(20):
            session.say(f"Well {number} then. " * 2500)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert grown < 4 * BUDGET
        assert session.decide("send_money", {"recipient": PAYEE, "amount": 10}).kind != "allowed"
        with pytest.raises(SessionError):
            session.delegate("Pay the bill", agent="payer")


def test_a_full_laundry_calls_nothing_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laundry, "MAX_HASHES", 50)
    laundered = Laundered(b"k" * 32)
    laundered.add_value("order A-1")
    assert not laundered.holds("honest-record-77")
    laundered.add_value(" ".join(f"word-{number}" for number in range(500)))
    assert len(laundered) == 50
    assert laundered.holds("honest-record-77")
    assert laundered.holds_object("shop", "any")
    again = Laundered(b"k" * 32)
    again.load(range(50))
    assert again.holds("honest-record-77")
