"""Of what a policy masks, the record holds what the tool gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard
from fiducial.flow.masking.vault import Vault
from fiducial.store.sqlite import SqliteStore

KEY = "AKIAIOSFODNN7EXAMPLE"
PERMIT = '@id("charter/permit") permit (principal, action in Action::"declared", resource);'


def masking(tool: str, data_class: str) -> str:
    """A policy that masks values of a class in the arguments of a tool."""
    return f"""
@id("charter/mask") @mask("{data_class}") forbid (principal, action == Action::"{tool}", resource)
when {{ context.flow.classes.contains("{data_class}") }};"""


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with SqliteStore(tmp_path / "log.db") as made:
        yield made


@pytest.fixture
def shared(make_charter: Any, tools: Any) -> Any:
    """A charter in which notes are for the whole organization, and keys in them are masked."""
    note = {**tools["write_note"], "audience": "organization"}
    return make_charter(PERMIT + masking("write_note", "secrets"), tools={**tools, "write_note": note})


def written(store: Any, tmp_path: Path) -> bytes:
    store.flush()
    return b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())


@pytest.mark.parametrize("runs", [True, False])
def test_what_is_masked_is_not_in_the_log(shared: Any, store: Any, tmp_path: Path, runs: bool) -> None:
    guard = Guard(shared, store=store)
    got: list[Any] = []
    with guard.session(user="ann", task="Write a note") as session:
        arguments = {"name": "n", "text": f"the key is {KEY}, soon"}
        if runs:
            assert session.call("write_note", arguments, run=lambda **given: got.append(given)).status == "ok"
            assert got == [{"name": "n", "text": "the key is [secrets], soon"}]
        else:
            assert session.decide("write_note", arguments).masks == ("secrets",)
        assert arguments["text"] == f"the key is {KEY}, soon"
    log = written(store, tmp_path)
    assert b"the key is [secrets], soon" in log
    assert KEY.encode() not in log


def test_what_is_only_watched_is_recorded_as_it_ran(shared: Any, store: Any, tmp_path: Path) -> None:
    guard = Guard(shared, store=store, mode="shadow")
    with guard.session(user="ann", task="Write a note") as session:
        session.call("write_note", {"name": "n", "text": KEY}, run=lambda **_: None)
    assert KEY.encode() in written(store, tmp_path)


def test_a_masked_amount_still_counts_when_the_session_is_opened_again(
    make_charter: Any, tools: Any, store: Any
) -> None:
    payees = {**tools["list_payees"], "output": {"trusted": ["$[*]"], "classes": {"payment": ["$[*].due"]}}}
    about = {"baseline": "none", "budgets": {"session": {"spend": {"EUR": 5_000_000}}}}
    made = make_charter(PERMIT + masking("send_money", "payment"), tools={**tools, "list_payees": payees}, **about)
    guard = Guard(made, store=store)
    session = guard.session(user="ann", task="pay bob")
    session.observe("list_payees", {}, [{"name": "bob", "due": 40_127}])
    pay = {"recipient": "bob", "amount": 40_127}
    got: list[Any] = []
    assert session.call("send_money", pay, run=lambda **given: got.append(given)).status == "ok"
    assert got[0]["amount"] == "[payment]"
    again = guard.reopen(session.id)
    assert again.account.spent == {"EUR": 4_012_700}
    denied = again.decide("send_money", pay)
    assert denied.kind == "denied"
    assert "session-spend" in denied.reasons[0].message


@pytest.mark.parametrize("value", ["EMP-123456", "token"])
def test_a_charters_own_class_is_told_and_masked(
    make_charter: Any, tools: Any, store: Any, tmp_path: Path, value: str
) -> None:
    about = {"data_classes": ("staff_badge",), "detect": {"staff_badge": [{"pattern": r"\bEMP-[0-9]{6}\b"}]}}
    note = {**tools["write_note"], "audience": "organization"}
    policies = PERMIT + masking("write_note", "staff_badge")
    made = make_charter(policies, tools={**tools, "write_note": note}, baseline="none", **about)
    if value == "token":
        value = str(Vault(b"0" * 32, "one").token("EMP-123456", "staff_badge"))
    with Guard(made, store=store).session(user="ann", task="Write a note") as session:
        decided = session.decide("write_note", {"name": "n", "text": f"badge {value}, soon"})
        assert decided.masks == ("staff_badge",)
        assert session.decide("write_note", {"name": "n", "text": "badge EMP-12345, soon"}).masks == ()
    if value == "EMP-123456":
        log = written(store, tmp_path)
        assert b"badge [staff_badge], soon" in log
        assert b"EMP-123456" not in log
