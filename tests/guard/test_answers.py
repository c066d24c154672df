"""What people say to the in-process hooks, and what it is worth."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial import Guard, MemoryStore
from fiducial.core.event import HoldAnswered, HoldSettled, MessageObserved
from fiducial.guard.guard import Answer
from fiducial.oversight import Desk

PERMIT = '@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);'
ASK = (
    '@id("charter/whom") @unclear("To whom?") forbid (principal, action == Action::"send_email", resource)'
    ' when { context.flow.unknown_targets.contains("to") };'
)
MAIL = {"to": ["bob@example.com"], "body": "hello"}
OTHER = "GB29NWBK60161331926819"


class Mailer:
    """Counts what it sends."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __call__(self, **arguments: Any) -> str:
        self.sent.append(arguments)
        return "sent"


def unclear(guard: Guard) -> tuple[Any, Mailer]:
    """A mail to somebody whom the user has not named yet."""
    mailer = Mailer()
    with guard.session(user="ann", task="Write to my colleague that I say hello") as session:
        return session.call("send_email", MAIL, run=mailer), mailer


def held(guard: Guard) -> tuple[Any, Mailer]:
    """A payment to an account that a file names."""
    bank = Mailer()
    with guard.session(user="ann", task="Pay the bill in bill.txt") as session:
        session.observe("read_file", {"path": "bill.txt"}, f"IBAN: {OTHER}")
        return session.call("send_money", {"recipient": OTHER, "amount": 98.7}, run=bank), bank


def kinds(guard: Guard, kind: type) -> list[Any]:
    return [each.event for each in guard.store.ledger().entries() if isinstance(each.event, kind)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", ["No! Do not do that, stop.", "yes", "approved", "", "\ud800"])
def test_words_never_approve_and_are_asked_for_once(make_charter: Any, words: str) -> None:
    asked = []

    def answer(question: Any) -> str:
        asked.append(question)
        return words

    guard = Guard(make_charter(PERMIT + ASK), on_unclear=answer)
    result, mailer = unclear(guard)
    assert (result.status, result.verdict.kind, mailer.sent, len(asked)) == ("not-run", "unclear", [], 1)
    assert not kinds(guard, HoldAnswered)


def test_words_that_name_what_was_missing_settle_it(make_charter: Any) -> None:
    guard = Guard(make_charter(PERMIT + ASK), on_unclear=lambda _: "To bob@example.com, please.")
    result, mailer = unclear(guard)
    assert (result.status, mailer.sent) == ("ok", [MAIL])
    assert [event.authority for event in kinds(guard, MessageObserved)] == ["user", "user"]


def test_words_do_not_make_an_unsure_agent_sure(make_charter: Any) -> None:
    mailer = Mailer()
    guard = Guard(make_charter(), on_unclear=lambda _: "No, do not do that.")
    with guard.session(user="ann", task="Send bob@example.com an email that I say hello") as session:
        result = session.call("send_email", MAIL, run=mailer, confidence=0.1)
    assert (result.verdict.kind, mailer.sent) == ("unclear", [])


def test_an_explicit_answer_confirms(make_charter: Any) -> None:
    guard = Guard(make_charter(PERMIT + ASK), on_unclear=lambda _: Answer(approved=True, by="ann"))
    result, mailer = unclear(guard)
    assert (result.status, mailer.sent) == ("ok", [MAIL])


@pytest.mark.parametrize(
    "fields",
    [
        {"approved": "rejected"},
        {"approved": 1},
        {"approved": None},
        {"approved": True, "by": None},
        {"approved": True, "by": 7},
        {"approved": True, "by": " "},
        {"approved": True, "by": "\ud800"},
        {"approved": True, "note": None},
        {"approved": True, "note": "\ud800"},
        {"approved": True, "others": ["bob"]},
        {"approved": True, "others": (None,)},
        {"approved": False, "by": "\ud800"},
    ],
)
def test_an_answer_whose_fields_are_not_what_they_should_be_decides_nothing(make_charter: Any, fields: Any) -> None:
    guard = Guard(make_charter(), on_held=lambda _: Answer(**fields))
    result, bank = held(guard)
    assert (result.status, result.verdict.kind, bank.sent) == ("not-run", "held", [])
    assert not kinds(guard, HoldAnswered)


def test_an_answer_that_cannot_be_recorded_decides_nothing(make_charter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fiducial import StoreError

    guard = Guard(make_charter(), on_held=lambda _: Answer(approved=True, by="olga"))
    keep = guard.store.commit

    def fail(commit: Any) -> Any:
        if commit.entries and type(commit.entries[0].event) is HoldAnswered:
            raise StoreError("the disk is full")
        return keep(commit)

    monkeypatch.setattr(guard.store, "commit", fail)
    result, bank = held(guard)
    assert (result.verdict.kind, bank.sent) == ("held", [])


@pytest.mark.parametrize(
    ("people", "runs"),
    [
        (("olga",), 0),
        (("olga", "olga"), 0),
        (("olga", " Olga "), 0),
        (("jos\u00e9", "jose\u0301"), 0),
        (("olga", "pete"), 1),
    ],
)
def test_a_quorum_takes_that_many_people(make_charter: Any, people: tuple[str, ...], runs: int) -> None:
    two = '@id("charter/two") @hold("operator:2") forbid (principal, action == Action::"send_money", resource);'
    answer = Answer(approved=True, by=people[0], others=people[1:])
    guard = Guard(make_charter(PERMIT + two), on_held=lambda _: answer)
    _, bank = held(guard)
    assert len(bank.sent) == runs


@pytest.mark.parametrize("approved", [True, False])
def test_what_a_hook_answered_nobody_is_asked_again(make_charter: Any, approved: bool) -> None:
    store = MemoryStore()
    desk = Desk(store)
    answers = [Answer(approved=approved, by="olga", note="no such bill")]
    guard = Guard(make_charter(), store=store, desk=desk, on_held=lambda _: answers.pop() if answers else None)
    result, bank = held(guard)
    assert (result.status, len(bank.sent)) == (("ok", 1) if approved else ("not-run", 0))
    assert desk.waiting() == []
    (settled,) = kinds(guard, HoldSettled)
    ended = ("void", "answered where the agent runs") if approved else ("rejected", "refused where the agent runs")
    assert (settled.outcome, settled.why) == ended


def test_words_end_the_question_at_the_desk_too(make_charter: Any) -> None:
    store = MemoryStore()
    desk = Desk(store)
    guard = Guard(
        make_charter(PERMIT + ASK), store=store, desk=desk, on_unclear=lambda _: "To bob@example.com, please."
    )
    result, mailer = unclear(guard)
    assert (result.status, mailer.sent, desk.waiting()) == ("ok", [MAIL], [])
