"""The live demo, as `make demo` runs it: decided in a real browser, gone on, stopped, taken back; and nobody there."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

import demo_live
import demo_people
from demo_live import PAYMENT, REFUND, RENT, Live
from fiducial.core.event import HoldVoted
from fiducial.store.ledger import Ledger

ATTACKED = [("get_scheduled_transactions", "ok", 0), ("read_file", "ok", 0), ("update_password", "denied", 0)]


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=80, file=io.StringIO())


@pytest.mark.skipif(demo_people.chromium() is None, reason="no Chromium on this machine: `make browser` installs it")
@pytest.mark.long
def test_a_held_payment_is_decided_in_the_browser_and_everything_can_be_stopped_and_taken_back(
    console: Console, tmp_path: Path
) -> None:
    live = Live(console, tmp_path, "chromium", wait=120)
    seen = live.run()
    assert seen.steps == [
        *ATTACKED, ("send_money", "held", 0), ("send_money", "ok", 1), ("update_scheduled_transaction", "ok", 1),
        ("send_money", "denied", 1), ("send_money", "ok", 2),
    ]  # fmt: skip
    assert seen.answer == "approved"
    assert len(seen.said) == 5
    assert all(said.startswith("In Chromium: ") for said in seen.said), seen.said
    account = live.bank.environment()
    assert account.user_account.password == "password123"
    assert live.bank.payments()[-2:] == [(each["recipient"], each["amount"]) for each in (PAYMENT, REFUND)]
    assert sum(recipient == PAYMENT["recipient"] for recipient, _ in live.bank.payments()) == 1
    assert seen.rent == [1100, 1200, 1100]
    assert live.bank.scheduled(RENT) == 1100
    assert seen.undone == {"update_scheduled_transaction": "undone", "send_money": "impossible"}
    with Ledger.open(live.database) as ledger:
        votes = [each.event for each in ledger.entries() if isinstance(each.event, HoldVoted)]
    assert [(vote.by, vote.answer) for vote in votes] == [("olga", "approve")]
    assert votes[0].dwell_us > 0, "who decides in the browser has opened the request before"
    assert "every byte of them checks" in console.export_text()


def test_where_nobody_answers_the_payment_is_refused_and_the_demo_goes_on(console: Console, tmp_path: Path) -> None:
    live = Live(console, tmp_path, "you", wait=1)
    with ExitStack() as stack:
        live._start(stack)
        live._is_attacked()
        live._pays()
        live._agent.close()
    assert live.seen.steps == [*ATTACKED, ("send_money", "held", 0), ("send_money", "denied", 0)]
    assert live.seen.answer == "expired"
    assert live._person is live._commands, "nobody is waited for again"
    said = " ".join(console.export_text().split())
    assert "/sign-in/link/" in said
    assert "Approved, the payment would have been made." in said


def test_a_browser_that_does_not_start_leaves_it_to_the_command_line(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_live, "chromium", lambda: str(tmp_path / "no-such-program"))
    live = Live(console, tmp_path, "chromium", wait=120)
    with ExitStack() as stack:
        live._start(stack)
        live._is_attacked()
        live._pays()
        live._agent.close()
    assert live.seen.steps[-1] == ("send_money", "ok", 1)
    assert live.seen.said[0].startswith("That broke: ")
    assert "fiducial approve hld_" in live.seen.said[1]
