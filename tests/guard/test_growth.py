"""The time that anyone's text takes grows with its length: four times the text takes about four times as long. What a
decision leaves behind is little."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from fiducial import Guard, MemoryStore
from fiducial.charter.contracts import Role
from fiducial.core.ids import SourceId
from fiducial.core.label import UNTRUSTED, Integrity
from fiducial.flow.provenance import Provenance

NASTY = [
    "a", "-a", "a.", "a/", "/a", "9", "9,", "9 ", "1.", " ", "\n", "A", "Aa ", "A.", "'a", "'a' ", "“", "`", "@",
    "a@b.", "://", "a://", "www.", "%41", "a dot ", "a at ", "[", "{", "{'a':", "- ", "x: ", "x: y\n", "é", "AB12 ",
    "1234 ", "+1 ", "eyJ.", "sk-", "password ", "-----BEGIN PRIVATE KEY-----", "a b ", "a_", "12 may to ", "in ", ":",
    "~/", "\\u", "#", "a's", "a\n", "A9", "half a ", "12:30:", "don't pay ", "a@b.co ", "http://a.co/ ", "Ann Bee ",
    "5.10 ", "and ",
]  # fmt: skip
BASE = 2_000
TIMES = 4
MOST = 8.0
"""Linear work takes 4 times as long and quadratic work 16 times."""
TRIES = 8
"""The least of so many counts: what others do on the machine, and collecting garbage, only ever adds to it."""
FLOOR = 0.004
"""Seconds below which time is not told from noise."""
LEFT = 6
"""Objects of a decision that the garbage collector looks through again and again until its outcome is reported."""


def say(guard: Guard, text: str) -> None:
    with guard.session(user="ann") as session:
        session.say(text)
        session.decide("send_money", {"recipient": "x", "amount": 1.5})


def observe(guard: Guard, text: str) -> None:
    with guard.session(user="ann", task="Pay the bill to a@b.com") as session:
        session.observe("get_page", {"url": "http://a.example"}, text)
        session.observe("list_payees", {}, [{"account": text, "note": text}])
        session.decide("send_money", {"recipient": "x", "amount": 1.5})


def decide(guard: Guard, text: str) -> None:
    with guard.session(user="ann", task="Pay the bill to a@b.com") as session:
        session.observe("get_page", {"url": "http://a.example"}, "some words " + text)
        session.decide("send_email", {"to": [text], "body": text})


def respond(guard: Guard, text: str) -> None:
    with guard.session(user="ann", task="Pay the bill to a@b.com") as session:
        session.observe("list_payees", {}, [{"account": "DE02120300000000202051", "note": text}])
        session.respond(text, audience="public")


def ground(guard: Guard, text: str) -> None:
    with guard.session(user="ann", task="Pay the bill to a@b.com") as session:
        session.observe("get_page", {"url": "http://a.example"}, text)
        session.grounding(text)


def trace(guard: Guard, text: str) -> None:
    provenance = Provenance(budget=2**24)
    provenance.observe_text(SourceId("user"), "pay " + text, authority="user", integrity=Integrity.TRUSTED)
    provenance.observe_result(
        SourceId("page"), "see " + text, label=UNTRUSTED, untrusted=(), prose=(), classes={}, pointed=False
    )
    for role in Role:
        provenance.trace("value", text, role)
        provenance.trace("value", text + "b", role)


def took(run: Callable[[], Any]) -> float:
    started = time.thread_time()
    run()
    return time.thread_time() - started


@pytest.mark.parametrize("entry", [observe, decide, say, respond, trace, ground])
@pytest.mark.long
def test_the_time_grows_with_the_text(entry: Callable[[Guard, str], None], make_charter: Any) -> None:
    guard = Guard(make_charter())
    entry(guard, "warm up")
    slow = {}
    for piece in NASTY:
        once = (piece * BASE)[:BASE]
        more = (piece * BASE * TIMES)[: BASE * TIMES]
        short = long = math.inf
        for _ in range(TRIES):
            short = min(short, took(lambda text=once: entry(guard, text)))  # type: ignore[misc]
            long = min(long, took(lambda text=more: entry(guard, text)))  # type: ignore[misc]
            if long <= MOST * max(FLOOR, short):
                break
        else:
            slow[piece] = round(long / max(FLOOR, short), 1)
    assert not slow


def test_a_decision_leaves_the_garbage_collector_little_to_look_through(make_charter: Callable[..., Any]) -> None:
    guard = Guard(make_charter(), store=MemoryStore())
    with guard.session(user="ann", task="Pay 1.50 to DE02120300000000202051") as session:

        def left(calls: int) -> int:
            gc.collect()
            before = len(gc.get_objects())
            for _ in range(calls):
                session.decide("send_money", {"recipient": "DE02120300000000202051", "amount": 1.5})
            gc.collect()
            return len(gc.get_objects()) - before

        left(10)
        assert 200 <= left(200) < 200 * LEFT
