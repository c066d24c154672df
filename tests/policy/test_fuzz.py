"""Whatever a charter's policies hold: problems with lines, or a rulebook that answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.model import Charter
from fiducial.errors import CharterError
from fiducial.policy.facts import Facts
from fiducial.policy.rulebook import compile_rulebook, lint

Build = Callable[..., Charter]

WORDS = """
@id ( ) { } [ ] ; , . :: == != < && || ! + - * // " permit forbid when unless principal action resource context .input
.flow .amount .untrusted_targets has in is like if then else true false 5 "x" "recipient" .contains( .isEmpty()
decimal("1.0") User::"e" Role::"r" Action::"send_money" Action::"pay" __entity é 😀 @id("charter/a") @id("charter/b")
@hold("operator") @unclear("q") @mask("identity") @mode("shadow") permit(principal,action,resource);
forbid(principal,action,resource)when{ };
"""
TOKENS = st.sampled_from([*WORDS.split(), "\\", "\n", "\t"])
CONDITIONS = st.recursive(
    st.sampled_from(
        [
            "true",
            "false",
            "context.session.tainted",
            "context.input.amount > 5",
            "context.input has amount",
            'context.flow.untrusted_targets.contains("recipient")',
            'context.input.recipient like "*x*"',
            "context.input.amount * 9223372036854775807 > 1",
            'principal in Role::"operator"',
            'action in Action::"pay"',
            'context.flow.classes.containsAny(["identity", "health"])',
        ]
    ),
    lambda inner: st.one_of(
        st.builds("({}) && ({})".format, inner, inner),
        st.builds("({}) || ({})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("if {} then {} else {}".format, inner, inner, inner),
    ),
    max_leaves=12,
)


@given(st.lists(TOKENS, max_size=40))
def test_any_text_is_a_problem_or_a_rulebook(build: Build, tokens: list[str]) -> None:
    charter = build(" ".join(tokens))
    problems = lint(charter)
    lines = " ".join(tokens).count("\n") + 1
    assert all(1 <= problem.line <= lines for problem in problems)
    if any(problem.severity == "error" for problem in problems):
        with pytest.raises(CharterError):
            compile_rulebook(charter)
    else:
        compile_rulebook(charter)


@given(st.text(max_size=60))
def test_any_condition_of_a_clause_is_a_problem_or_one_forbid(build: Build, text: str) -> None:
    charter = build(clauses=[{"id": "c", "statement": "s", "owner": "o", "never": text or " "}])
    if not lint(charter):
        assert [rule.policy["effect"] for rule in compile_rulebook(charter).rules] == ["forbid"]


@given(CONDITIONS, CONDITIONS, st.booleans(), st.integers(0, 100))
def test_sound_policies_always_answer(build: Build, one: str, other: str, soft: bool, amount: int) -> None:
    """Any composition of sound conditions compiles, and answers without an exception."""
    scope = 'principal, action == Action::"send_money", resource'
    hold = '@hold("operator")' if soft else ""
    text = (
        f'@id("charter/p") permit ({scope}) when {{ {one} }};'
        f'@id("charter/f") {hold} forbid ({scope}) when {{ {other} }};'
    )
    rulebook = compile_rulebook(build(text))
    part, principal = rulebook.slice("send_money"), rulebook.principal("emma", ["operator"])
    ruling = part.ask(principal, {"recipient": "bob", "amount": amount}, Facts())
    assert ruling.kind in ("allowed", "held", "denied")
    if ruling.kind == "held":
        again = part.ask(principal, {"recipient": "bob", "amount": amount}, Facts(), frozenset(ruling.approvals))
        assert again.kind == "allowed", "nobody is asked in vain"


DEEP = {
    "brackets": lambda n: "(" * n + "true" + ")" * n,
    "and": lambda n: " && ".join(["true"] * n),
    "or": lambda n: " || ".join(["true"] * n),
    "members": lambda n: "context" + ".a" * n,
    "has": lambda n: "context has " + ".".join(["a"] * n),
    "keys": lambda n: "context" + '["a"]' * n,
    "sum": lambda n: "1" + " + 1" * n + " > 1",
    "if": lambda n: "if true then " * n + "true" + " else false" * n,
    "sets": lambda n: "[" * n + "1" + "]" * n,
    "records": lambda n: "{a: " * n + "1" + "}" * n,
    "calls": lambda n: "context" + ".contains(1)" * n,
    "not": lambda n: "!" * n + "true",
    "minus": lambda n: "-" * n + "1 > 0",
}


@pytest.mark.parametrize("shape", sorted(DEEP))
@pytest.mark.parametrize("size", [500, 4_000])
def test_deep_policies_are_refused_before_the_engine_reads_them(shape: str, size: int, build: Build) -> None:
    """The engine recurses without a bound; the process would die."""
    condition = DEEP[shape](size)
    (problem,) = lint(build(f'@id("charter/x") forbid (principal, action, resource) when {{ {condition} }};'))
    assert problem.code in ("policy-too-deep", "policy-syntax")
    (problem,) = lint(build(clauses=[{"id": "c", "statement": "s", "owner": "o", "never": condition}]))
    assert problem.code == "clause-condition"


def test_long_lists_of_values_are_not_deep(build: Build) -> None:
    listed = ", ".join(f'"{number}"' for number in range(5_000))
    scope = 'principal, action == Action::"send_money", resource'
    condition = f"[{listed}].contains(context.input.recipient)"
    assert lint(build(f'@id("charter/x") forbid ({scope}) when {{ {condition} }};')) == []
