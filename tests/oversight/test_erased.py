"""What people wrote is erased with its payload, wherever the desk kept it, and counts for nothing from then on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fiducial import Answer, Guard, MemoryStore, SqliteStore
from fiducial.charter.model import Charter
from fiducial.core.clock import ManualClock, instant
from fiducial.core.ids import HoldId, PersonId
from fiducial.core.store import Commit, Put
from fiducial.core.verdict import Held, Unclear, Verdict
from fiducial.guard.judgement import Question
from fiducial.guard.session import Session
from fiducial.oversight import Approver, Desk
from fiducial.oversight.cells import GRANTS, REPLIES, hold_key
from fiducial.policy.bounds import Bound
from fiducial.store.postgres.store import PostgresStore

AnyStore = MemoryStore | SqliteStore | PostgresStore
CLERK = Approver(id=PersonId("cleo"), roles=frozenset({"clerk"}))
EMMA = Approver(id=PersonId("emma"), roles=frozenset())
BOB = {"recipient": "bob", "amount": 500}
DORA = {"person": "dora"}
MARK = "XQZMARK"


@pytest.fixture
def store(each_store: AnyStore) -> AnyStore:
    return each_store


def opened(guard: Guard) -> Session:
    return guard.session(user="emma", task="Pay 500 EUR to bob and greet my friend")


def hold_of(verdict: Verdict) -> HoldId:
    assert isinstance(verdict, (Held, Unclear)), verdict
    assert verdict.hold is not None
    return verdict.hold


def erase(store: AnyStore, clock: ManualClock, how: str) -> None:
    """Erase every payload there is."""
    store.flush()
    if how == "retention":
        clock.advance(timedelta(seconds=1))
        assert store.retain(instant(clock.unix_us()))
    else:
        alive = [one.ref.digest for each in store.ledger().entries() for one in each.payloads if one.data is not None]
        assert alive
        for payload in alive:
            assert store.erase(payload, by="dpo", why="request 17")


def found(store: AnyStore, request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Where the mark stands."""
    places = [key for key, cell in store.scan("").items() if MARK.encode() in cell.value]
    if isinstance(store, PostgresStore):
        rows = request.getfixturevalue("postgres").run("SELECT key, value FROM state WHERE value IS NOT NULL")
        assert rows
        places += [key for key, value in rows if MARK.encode() in value]
    return places + [each.name for each in tmp_path.rglob("*") if each.is_file() and MARK.encode() in each.read_bytes()]


@pytest.mark.parametrize("how", ["erasure", "retention"])
def test_what_people_wrote_goes_with_its_payload(
    store: AnyStore, guard: Guard, desk: Desk, clock: ManualClock, tmp_path: Path, request: Any, how: str
) -> None:
    changed, refused, granted, answered = (opened(guard) for _ in range(4))
    tool = changed.rulebook.slice("send_money").type
    edit, reject, class_ = (hold_of(each.decide("send_money", BOB)) for each in (changed, refused, granted))
    question = hold_of(answered.decide("greet", DORA))
    arguments = {**BOB, "subject": MARK}
    assert desk.edit(edit, CLERK, tool, arguments, note=f"{MARK} note").instead == arguments
    assert desk.vote(reject, CLERK, "reject", note=f"{MARK} no").why == f"{MARK} no"
    bounds = {"recipient": Bound(equals="bob"), "amount": Bound(at_most=600), "subject": Bound(equals=MARK)}
    _, grant = desk.grant(class_, CLERK, tool, bounds, uses=5, lasting=timedelta(hours=1))
    assert MARK in grant.rule
    assert desk.answer(question, EMMA, f"I mean erin, {MARK}").reply == f"I mean erin, {MARK}"
    assert MARK in changed.decide("send_money", BOB).remedies.agent
    assert MARK in refused.decide("send_money", BOB).remedies.agent
    assert granted.decide("send_money", arguments).kind == "allowed"
    assert answered.decide("greet", {"person": "erin"}).kind == "allowed"
    assert found(store, request, tmp_path), "it is looked for in the right places"

    erase(store, clock, how)

    assert found(store, request, tmp_path) == []
    for id in (edit, reject, question):
        hold = desk.hold(id)
        assert (hold.erased, hold.instead, hold.reply, hold.why) == (True, None, None, "")
    verdict = changed.decide("send_money", BOB)
    assert (verdict.kind, "erased" in verdict.remedies.agent) == ("denied", True)
    verdict = refused.decide("send_money", BOB)
    assert (verdict.kind, "They said" in verdict.remedies.agent) == ("denied", False)
    assert granted.decide("send_money", arguments).kind == "held", "a class that nobody can read"
    assert answered.decide("greet", {"person": "erin"}).kind == "unclear"
    verdict = answered.decide("greet", DORA)
    assert (verdict.kind, "erased" in verdict.remedies.agent) == ("denied", True)
    assert store.ledger().verify().size


@pytest.mark.parametrize("how", ["erasure", "retention"])
def test_what_a_hook_says_with_a_no_goes_too(
    charter: Callable[..., Charter], clock: ManualClock, tmp_path: Path, request: Any, how: str
) -> None:
    with SqliteStore(tmp_path / "log.db", clock=clock) as store:
        asked: list[HoldId] = []

        def hook(question: Question) -> Answer:
            asked.append(hold_of(question.verdict))
            return Answer(approved=False, by="olga", note=f"{MARK} no")

        desk = Desk(store, clock=clock)
        session = opened(Guard(charter(), store=store, desk=desk, clock=clock, on_held=hook))
        assert session.call("send_money", BOB, run=lambda **_: 1).status == "not-run"
        assert MARK in session.decide("send_money", BOB).remedies.agent
        erase(store, clock, how)
        assert found(store, request, tmp_path) == []
        assert desk.hold(asked[0]).erased
        assert session.decide("send_money", BOB).kind == "denied", "a no stands without its words"


def test_an_answer_that_was_erased_does_not_bring_back_the_one_before_it(
    guard: Guard, desk: Desk, store: AnyStore, clock: ManualClock
) -> None:
    session = opened(guard)
    desk.answer(hold_of(session.decide("greet", DORA)), EMMA, "erin")
    clock.advance(timedelta(seconds=1))
    latest = hold_of(session.decide("greet", {"person": "finn"}))
    desk.answer(latest, EMMA, "gus")
    assert session.decide("greet", {"person": "erin"}).kind == "unclear"
    payload = desk.hold(latest).payload
    assert payload is not None
    assert store.erase(payload, by="dpo", why="request 17")
    assert [session.decide("greet", {"person": one}).kind for one in ("erin", "gus")] == ["unclear", "unclear"]


def test_cells_from_before_texts_stood_apart_are_read(guard: Guard, desk: Desk, store: AnyStore) -> None:
    changed, granted, answered = (opened(guard) for _ in range(3))
    tool = changed.rulebook.slice("send_money").type
    edited = desk.edit(hold_of(changed.decide("send_money", BOB)), CLERK, tool, {**BOB, "amount": 400})
    _, grant = desk.grant(
        hold_of(granted.decide("send_money", BOB)), CLERK, tool,
        {"recipient": Bound(equals="bob"), "amount": Bound(at_most=600)}, uses=5, lasting=timedelta(hours=1),
    )  # fmt: skip
    desk.answer(hold_of(answered.decide("greet", DORA)), EMMA, "erin")
    (reply,) = store.scan(REPLIES).items()
    texts = store.scan("text/")
    assert texts
    old = {
        hold_key(edited.id): _with(
            store.read([hold_key(edited.id)])[hold_key(edited.id)].value, instead=edited.instead
        ),
        f"{GRANTS}{grant.session}/{grant.id}": _with(msgspec.json.encode(grant)),
        reply[0]: _with(reply[1].value, text="erin"),
    }
    puts = [Put(key, value) for key, value in old.items()] + [Put(key, None) for key in texts]
    store.commit(Commit(changes=tuple(puts))).result()
    assert '"amount": 400' in changed.decide("send_money", BOB).remedies.agent
    assert granted.decide("send_money", BOB).kind == "allowed"
    assert answered.decide("greet", {"person": "erin"}).kind == "allowed"


def _with(cell: bytes, **fields: Any) -> bytes:
    """A cell as it was written before its texts stood apart."""
    value = {**msgspec.json.decode(cell), **fields}
    del value["payload"]
    return msgspec.json.encode(value)
