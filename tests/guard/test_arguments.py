"""One plain copy of the arguments is decided, recorded and run."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial import CallMismatch, Guard, MemoryStore
from fiducial.core.event import CallDecided
from fiducial.core.store import Commit
from fiducial.guard.arguments import NotPlain, described, plain, same
from fiducial.guard.record import decode_decision

PAYEE = "DE89370400440532013000"
EVE = "GB29NWBK60161331926819"
PAY = {"recipient": PAYEE, "amount": 98.7}
TASK = f"Pay 98.70 EUR to {PAYEE} and then email the receipt to ann@example.com"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Two(dict[str, Any]):
    """Says one thing as a dictionary and another when it is gone through."""

    def items(self) -> Any:
        return PAY.items()


class Turning(Mapping[str, Any]):
    """Another recipient each time it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __getitem__(self, name: str) -> Any:
        self.reads += name == "recipient"
        return {"recipient": PAYEE if self.reads == 1 else EVE, "amount": 98.7}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("amount", "recipient"))

    def __len__(self) -> int:
        return 2


class Loud(str):
    def __str__(self) -> str:
        return EVE

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(PAYEE)


class Amount(float):
    def __repr__(self) -> str:
        return "1000000.0"


class Payee(enum.StrEnum):
    LANDLORD = PAYEE


class Broken(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("detached")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("detached")

    def __len__(self) -> int:
        return 1


def decides(commit: Commit) -> bool:
    return any(isinstance(entry.event, CallDecided) for entry in commit.entries)


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = [value]
    return value


def exact(value: Any) -> bool:
    """`value` is made of the very types that JSON has."""
    if type(value) is dict:
        return all(type(name) is str and exact(member) for name, member in value.items())
    if type(value) is list:
        return all(map(exact, value))
    return type(value) in (str, int, float, bool, type(None))


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_plain_json_comes_out_as_it_went_in_and_shares_nothing(arguments: dict[str, Any]) -> None:
    copied = plain(arguments)
    assert json.dumps(copied) == json.dumps(arguments)
    assert same(copied, arguments)
    assert copied is not arguments
    assert not any(copied[name] is value for name, value in arguments.items() if isinstance(value, (list, dict)))


@pytest.mark.parametrize(
    ("given_arguments", "expected"),
    [
        (OrderedDict(PAY), PAY),
        (MappingProxyType(PAY), PAY),
        (Two(recipient=EVE, amount=1.0), PAY),
        ({"recipient": Loud(PAYEE), "amount": Amount(98.7)}, PAY),
        ({"recipient": Payee.LANDLORD, "amount": 98.7}, PAY),
        ({Loud("recipient"): PAYEE, "amount": 98.7}, PAY),
        ({"a": [OrderedDict(b=(1, 2))]}, {"a": [{"b": [1, 2]}]}),
    ],
)
def test_other_mappings_and_subclasses_become_the_plain_types(given_arguments: Any, expected: Any) -> None:
    copied = plain(given_arguments)
    assert exact(copied)
    assert same(copied, expected)


@pytest.mark.parametrize(
    "arguments", [None, [], "text", {1: 2}, {"a": {1: 2}}, {"a": b"x"}, {"a": {1, 2}}, {"a": object()}, Broken()]
)
def test_what_has_no_plain_form_is_refused_and_described(make_charter: Any, arguments: Any) -> None:
    with pytest.raises(NotPlain):
        plain(arguments)
    assert exact(described(arguments))
    guard, ran = Guard(make_charter()), []
    with guard.session(user="ann", task=TASK) as session:
        result = session.call("send_money", arguments, run=lambda **_: ran.append(1))
    assert (result.verdict.kind, ran) == ("denied", [])
    assert result.verdict.reasons[0].fault == "bad-arguments"


def test_nesting_has_a_bound_however_deep_it_goes() -> None:
    plain({"a": nested(60)})
    with pytest.raises(NotPlain, match="deep"):
        plain({"a": nested(100_000)})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotPlain, match="deep"):
        plain({"a": endless})
    assert exact(described({"a": endless}))


@pytest.mark.parametrize(
    "arguments", [OrderedDict(PAY), Two(recipient=EVE, amount=99999.0), Turning(), {**PAY, "recipient": Loud(PAYEE)}]
)
def test_the_decided_the_recorded_and_the_run_call_are_one(make_charter: Any, arguments: Any) -> None:
    ran: list[Any] = []

    class Meddling(MemoryStore):
        """Changes the caller's own arguments once they are decided."""

        def commit(self, commit: Commit) -> Any:
            if type(arguments) is OrderedDict and decides(commit):
                arguments["recipient"] = EVE
            return super().commit(commit)

    guard = Guard(make_charter(), store=Meddling())
    with guard.session(user="ann", task=TASK) as session:
        result = session.call("send_money", arguments, run=lambda **given: ran.append(given))
    assert (result.status, ran) == ("ok", [PAY])
    assert exact(ran[0])
    ledger = guard.store.ledger()  # type: ignore[attr-defined]
    (record,) = [each for each in ledger.decision(result.verdict.decision) if isinstance(each.event, CallDecided)]
    assert same(decode_decision(ledger.payload(record.event.payloads[0].digest)).arguments, PAY)


def test_what_a_list_holds_cannot_be_changed_after_the_decision(make_charter: Any) -> None:
    """The tool gets a copy of what was decided, down to the last member."""
    mail = {"to": ["ann@example.com"], "body": "paid"}
    sent: list[Any] = []

    class Meddling(MemoryStore):
        def commit(self, commit: Commit) -> Any:
            if decides(commit):
                mail["to"][0] = "eve@evil.example"  # type: ignore[index]
            return super().commit(commit)

    guard = Guard(make_charter(), store=Meddling())
    with guard.session(user="ann", task=TASK) as session:
        result = session.call("send_email", mail, run=lambda **given: sent.append(given["to"]))
    assert result.status == "ok", result.verdict
    assert sent == [["ann@example.com"]]


def test_a_name_of_a_tool_is_plain_too(make_charter: Any) -> None:
    class Name(str):
        def __hash__(self) -> int:
            return hash("read_file")

        def __eq__(self, other: object) -> bool:
            return True

    with Guard(make_charter()).session(user="ann", task=TASK) as session:
        assert session.decide(Name("drop_table"), {"path": "a"}).reasons[0].fault == "unknown-tool"
        assert session.decide(None, {"path": "a"}).reasons[0].fault == "unknown-tool"  # type: ignore[arg-type]


def test_observing_true_is_not_observing_one(make_charter: Any) -> None:
    with Guard(make_charter()).session(user="ann", task=f"Pay 1 EUR to {PAYEE}") as session:
        verdict = session.decide("send_money", {"recipient": PAYEE, "amount": 1})
        with pytest.raises(CallMismatch):
            session.observe("send_money", {"recipient": PAYEE, "amount": True}, "ok", decision=verdict)
        session.observe("send_money", OrderedDict(recipient=PAYEE, amount=1.0), "ok", decision=verdict)


def test_where_nothing_is_enforced_the_tool_gets_what_was_given(make_charter: Any) -> None:
    ran: list[Any] = []
    with Guard(make_charter(), mode="observe").session(user="ann", task=TASK) as session:
        result = session.call("read_file", {"path": b"bytes"}, run=lambda path: ran.append(path))
        assert session.call("read_file", ["no mapping"], run=lambda: 1).status == "failed"  # type: ignore[arg-type]
    assert (result.verdict.kind, result.status, ran) == ("denied", "ok", [b"bytes"])
