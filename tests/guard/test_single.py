"""One decision of which nothing is known that came before is taken at its worst."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial import Guard

PERMIT = '@id("charter/permit") permit (principal, action in Action::"declared", resource);'
NOTE = ("write_note", {"name": "a", "text": "x"})
READ = ("read_file", {"path": "a"})
PAY = ("send_money", {"recipient": "DE89370400440532013000", "amount": 5})


def forbidden(tool: str, when: str) -> str:
    return f'{PERMIT}\n@id("charter/rule") forbid (principal, action == Action::"{tool}", resource) when {{ {when} }};'


def decided(make_charter: Any, call: tuple[str, dict[str, Any]], policies: str = PERMIT, **about: Any) -> str:
    guard = Guard(make_charter(policies, **({"baseline": "none"} | about)))
    with guard.single(user="ann", task="Do it") as session:
        return session.decide(*call).kind


@pytest.mark.parametrize(
    ("budget", "call", "kind"),
    [
        ({}, NOTE, "allowed"),
        ({"calls": 200}, READ, "denied"),
        ({"writes": 50}, NOTE, "denied"),
        ({"writes": 50}, READ, "allowed"),
        ({"records": 1000}, READ, "denied"),
        ({"spend": {"EUR": 100000}}, PAY, "denied"),
        ({"spend": {"EUR": 100000}}, NOTE, "allowed"),
    ],
)
def test_what_is_limited_in_a_session_counts_as_used_up(
    make_charter: Any, budget: dict[str, Any], call: tuple[str, dict[str, Any]], kind: str
) -> None:
    assert decided(make_charter, call, budgets={"session": budget}) == kind


@pytest.mark.parametrize(
    "when",
    [
        'context.session.done.contains("create")',
        '!context.session.done.contains("create")',
        "context.session.spent > 5000",
        "context.session.calls > 9",
        "context.session.writes < 1",
        "context.session.tainted",
        'context.session.read.contains("payment")',
        '!context.session.read.contains("payment")',
    ],
)
def test_a_rule_about_what_came_before_is_met_either_way(make_charter: Any, when: str) -> None:
    assert decided(make_charter, PAY, forbidden("send_money", when)) == "denied"
    assert decided(make_charter, NOTE, forbidden("send_money", when)) == "allowed", "a rule about another tool"


@pytest.mark.parametrize(
    "when", ['context.session.done.contains("create")', '!context.session.done.contains("create")']
)
def test_a_mask_that_what_came_before_may_want_is_wanted(make_charter: Any, when: str) -> None:
    policies = f"""{PERMIT}
@id("charter/mask") @mask("secrets") forbid (principal, action == Action::"write_note", resource) when {{ {when} }};"""
    guard = Guard(make_charter(policies, baseline="none"))
    with guard.single(user="ann") as session:
        verdict = session.decide(*NOTE)
    assert (verdict.kind, getattr(verdict, "masks", None)) == ("allowed", ("secrets",))
