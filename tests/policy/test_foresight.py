"""What can be told before a call is made: `never` is said only of what could never be allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.policy.facts import AgentFacts, Facts, SessionFacts
from fiducial.policy.foresight import never
from fiducial.policy.rulebook import compile_rulebook

Build = Callable[..., Any]
PERMIT = '@id("charter/permit") permit (principal, action in Action::"declared", resource);'
PAY = '(principal, action == Action::"send_money", resource)'

FORBID = f'{PERMIT} @id("charter/a") forbid {PAY}'
ALLOW = f'@id("charter/a") permit {PAY}'
FIVE = {"amount": 5.0}


def told(build: Build, text: str, arguments: dict[str, Any] | None = None, roles: tuple[str, ...] = ()) -> bool:
    rulebook = compile_rulebook(build(text, roles=["clerk", "led"]))
    return never(rulebook.slice("send_money"), rulebook.principal("emma", roles), "write", arguments or {})


@pytest.mark.parametrize(
    ("text", "roles", "arguments", "expected"),
    [
        ("", (), {}, True),
        (PERMIT, (), {}, False),
        (PERMIT.replace("principal,", 'principal in Role::"clerk",'), (), {}, True),
        (PERMIT.replace("principal,", 'principal in Role::"clerk",'), ("clerk",), {}, False),
        # What is not known is taken to come out well; what is known beside it still counts.
        (f'{ALLOW} when {{ context.input.amount < 100 }};', (), {}, False),
        (f'{ALLOW} when {{ context.input.amount < 100 }};', (), FIVE, True),
        (f'{ALLOW} when {{ context.input.amount < 100 }};', (), {"amount": 0.5}, False),
        (f'{ALLOW} when {{ context.intent.asked && context.input.amount < 1 }};', (), FIVE, True),
        (f'{ALLOW} when {{ context.intent.asked || context.input.amount < 1 }};', (), FIVE, False),
        (f'{ALLOW} unless {{ context.agent.tier == "write" || context.session.tainted }};', (), {}, True),
        (f'{FORBID};', (), {}, True),
        (PERMIT + f'@id("charter/a") @hold("led") forbid {PAY};', (), {}, False),
        (PERMIT + f'@id("charter/a") @mode("shadow") forbid {PAY};', (), {}, False),
        (f'{FORBID} when {{ context.session.tainted }};', (), {}, False),
        (f'{FORBID} unless {{ principal in Role::"led" }};', (), {}, True),
        (f'{FORBID} unless {{ principal in Role::"led" }};', ("led",), {}, False),
        (f'{FORBID} unless {{ principal in Role::"led" || context.intent.asked }};', (), {}, False),
        (f'{FORBID} when {{ context.agent.tier == "write" }};', (), {}, True),
        (f'{FORBID} when {{ context.agent.id == "teller" }};', (), {}, False),
    ],
)  # fmt: skip
def test_what_could_never_be_allowed(
    build: Build, text: str, roles: tuple[str, ...], arguments: dict[str, Any], expected: bool
) -> None:
    assert told(build, text, arguments, roles) is expected


PARTS = st.sampled_from(
    ['principal in Role::"clerk"', "context.session.tainted", "context.input.amount < 100", "true", "false",
     'context.agent.tier == "write"', 'context.input.recipient == "bob"']
)  # fmt: skip
BODIES = st.recursive(
    PARTS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=4,
)
RULES = st.lists(
    st.tuples(st.sampled_from(["permit", "forbid"]), st.sampled_from(["when", "unless"]), BODIES),
    min_size=1,
    max_size=3,
)


@given(rules=RULES, amount=st.sampled_from([0.5, 5.0]), whom=st.sampled_from(["bob", "eve"]), data=st.data())
def test_what_is_allowed_was_never_called_impossible(
    build: Build, rules: list[tuple[str, str, str]], amount: float, whom: str, data: Any
) -> None:
    text = " ".join(
        f'@id("charter/{number}") {effect} {PAY} {kind} {{ {body} }};'
        for number, (effect, kind, body) in enumerate(rules)
    )
    rulebook = compile_rulebook(build(text, roles=["clerk", "led"]))
    roles = ["clerk"] if data.draw(st.booleans()) else []
    principal, slice = rulebook.principal("emma", roles), rulebook.slice("send_money")
    arguments = {"recipient": whom, "amount": amount}
    facts = Facts(session=SessionFacts(tainted=data.draw(st.booleans())), agent=AgentFacts(tier="write"))
    known = {name: arguments[name] for name in arguments if data.draw(st.booleans())}
    if slice.ask(principal, arguments, facts).kind == "allowed":
        assert not never(slice, principal, "write", known)
