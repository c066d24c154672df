"""What one session masks is known again in another, where its tokens are others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from gateway_world import CONTRACTS, House, charter
from model_world import TALKS, Call, Gate, Talk

import fiducial
from fiducial.flow.masking.tokens import tokens

READS: dict[str, Any] = {"effect": "read", "kind": "read", "parameters": {"name": {"role": "option"}}}
TOOLS: dict[str, dict[str, Any]] = {
    "mail": READS,
    "accounts": READS | {"output": {"trusted": ["$[*].iban", "$[*].of"]}},
    "save": {
        "effect": "reversible",
        "kind": "create",
        "parameters": {"of": {"role": "target"}, "iban": {"role": "content"}},
    },
    "recall": READS
    | {"memory": {"of": "notes", "at": ["$[*].text"]}, "output": {"trusted": ["$[*].text", "$[*].id"]}},
    "jot": {
        "effect": "reversible", "kind": "create", "memory": {"of": "notes"},
        "parameters": {"text": {"role": "content"}},
    },
}  # fmt: skip
THEIRS, OURS = "DE89370400440532013000", "GB82WEST12345698765432"
MAIL, OTHER = "ann.fox@example.org", "bob.ray@example.org"


@pytest.fixture
def start(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Talk]:
    """Begins a conversation, with a session of its own."""
    for name, contract in TOOLS.items():
        monkeypatch.setitem(CONTRACTS, name, contract)
    house.guard.use(charter(memories={"notes": {"expires": "30d"}}))
    gates: list[Gate] = []

    def talk(made: type[Talk], said: str, **settings: Any) -> Talk:
        if not gates:
            gates.append(Gate(house, mask=["payment", "contact"], **settings))
        begun = made(gates[0], stream=False, **{"Fiducial-Session": gates[0].opened()})
        begun.user(said)
        return begun

    return talk


def call(talk: Talk, tool: str, **arguments: Any) -> bool:
    """Whether a call that the model asks for goes on."""
    _, calls = talk.send(Call(tool, arguments))
    if not calls:
        talk.user("Go on.")
        return False
    talk.came(calls[0][0], "done")
    return True


def read(talk: Talk, tool: str, result: Any) -> str:
    """The result of a call, as the model reads it."""
    _, [(id, _, _)] = talk.send(Call(tool, {"name": "all"}))
    talk.came(id, json.dumps(result))
    talk.send("I see.")
    talk.user("Go on.")
    return json.dumps(talk.gate.provider.asked[-1])


def token(told: str, shown: str, number: int = -1) -> str:
    """The last that the model was told of a class."""
    return [each for _, _, each in tokens(told) if each.startswith(f"masked-{shown}-")][number]


@pytest.mark.parametrize("made", TALKS)
def test_what_a_stranger_chose_is_theirs_wherever_it_is_read_again(
    start: Callable[..., Talk], made: type[Talk]
) -> None:
    first = start(made, "Save what the mail says.")
    told = token(read(first, "mail", f"Bob's account is {THEIRS}."), "payment")
    assert call(first, "save", of="bob", iban=told)
    second = start(made, "Note the accounts.")
    again = token(read(second, "accounts", [{"of": "bob", "iban": THEIRS}]), "payment")
    assert again != told
    assert not call(second, "write_note", name=again, text="bob")


@pytest.mark.parametrize("wrote", [True, False])
def test_an_object_that_a_stranger_wrote_into_is_known_by_its_name(start: Callable[..., Talk], wrote: bool) -> None:
    first = start(TALKS[0], f"Save what the mail says for {MAIL}.")
    read(first, "mail", "Twenty new chairs.")
    name = token(json.dumps(first.gate.provider.asked), "contact", 0)
    assert not wrote or call(first, "save", of=name, iban="twenty chairs")
    second = start(TALKS[0], f"Note the account of {MAIL}.")
    second.send("Well.")
    name = token(json.dumps(second.gate.provider.asked[-1]), "contact")
    _, [(id, _, given)] = second.send(Call("accounts", {"name": name}))
    assert given == {"name": MAIL}
    second.came(id, json.dumps([{"of": "ann", "iban": OURS}]))
    second.send("I see.")
    second.user("Go on.")
    iban = token(json.dumps(second.gate.provider.asked[-1]), "payment")
    assert call(second, "write_note", name=iban, text="ann") is not wrote


@pytest.mark.parametrize("made", TALKS)
def test_what_nobody_wrote_there_is_the_tool_s_own(start: Callable[..., Talk], made: type[Talk]) -> None:
    first = start(made, "Save what the mail says.")
    assert call(first, "save", of="bob", iban=token(read(first, "mail", f"It is {THEIRS}."), "payment"))
    second = start(made, "Note the accounts.")
    assert call(second, "write_note", name=token(read(second, "accounts", [{"iban": OURS}]), "payment"), text="us")


def test_what_nobody_can_tell_any_more_is_a_stranger_s(start: Callable[..., Talk], house: House) -> None:
    made = TALKS[0]
    first = start(made, "Save what the mail says.")
    assert call(first, "save", of="bob", iban=token(read(first, "mail", f"It is {THEIRS}."), "payment"))
    second = start(made, "Note the accounts.")
    again = token(read(second, "accounts", [{"of": "bob", "iban": THEIRS}]), "payment")
    house.store.flush()
    opened = second.headers["Fiducial-Session"]
    session = fiducial.Guard(house.guard.current.charter, store=house.store, desk=house.desk).reopen(opened)
    assert session.decide("write_note", {"name": again, "text": "bob"}).kind == "denied"


@pytest.mark.parametrize("made", TALKS)
@pytest.mark.parametrize("restores", [None, ["payment"]])
def test_a_memory_is_known_again(
    start: Callable[..., Talk], house: House, made: type[Talk], restores: list[str] | None
) -> None:
    first = start(made, f"Remember to write to {MAIL} and {OTHER} at noon.", restore=restores)
    first.send("Well.")
    mail = token(json.dumps(first.gate.provider.asked[-1]), "contact", 0)
    _, [(id, _, given)] = first.send(Call("jot", {"text": f"write to {mail} at noon"}))
    assert (MAIL in given["text"]) is (restores is None)
    first.came(id, "done")
    first.send("Done.")
    second = start(made, "What was it?")
    told = token(read(second, "recall", [{"id": "a", "text": given["text"]}]), "contact")
    assert (told != mail) is (restores is None)
    assert call(second, "write_note", name=told, text="noon")
    third = start(made, "What was it?")
    told = token(read(third, "recall", [{"id": "a", "text": f"write to {OTHER} at noon"}]), "contact")
    assert not call(third, "write_note", name=told, text="noon")
    assert MAIL.encode() not in house.written()


def test_a_memory_has_no_more_of_what_a_policy_masked(
    start: Callable[..., Talk], house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTRACTS, "jot", TOOLS["jot"] | {"audience": "organization"})
    mask = """@id("charter/masked") @mask("payment") forbid (principal, action == Action::"jot", resource)
        when { context.flow.classes.contains("payment") };"""
    house.guard.use(charter(mask, memories={"notes": {"expires": "30d"}}))
    first = start(TALKS[0], f"Remember {OURS} for noon.")
    first.send("Well.")
    told = token(json.dumps(first.gate.provider.asked[-1]), "payment")
    _, [(id, _, given)] = first.send(Call("jot", {"text": f"pay {told} at noon"}))
    assert OURS not in given["text"]
    first.came(id, "done")
    first.send("Done.")
    second = start(TALKS[0], "What was it?")
    again = token(read(second, "recall", [{"id": "a", "text": f"pay {OURS} at noon"}]), "payment")
    assert not call(second, "write_note", name=again, text="noon"), "that is not what was stored"
