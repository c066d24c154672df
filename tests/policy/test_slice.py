"""Asking: how answers of the engine become rulings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.model import Charter
from fiducial.core.verdict import Fault
from fiducial.errors import PolicyError
from fiducial.policy import engine
from fiducial.policy import slice as slicing
from fiducial.policy.encode import encoder
from fiducial.policy.facts import Facts, FlowFacts, IntentFacts, PlanFacts, SessionFacts
from fiducial.policy.rulebook import Rulebook, Ruling, compile_rulebook
from fiducial.policy.schema import tool_types

Build = Callable[..., Charter]

PERMIT = '@id("charter/permit") permit (principal, action, resource);\n'
NOTHING = Facts()
ARGUMENTS = {"recipient": "bob", "amount": 98.7}


def permit_when(condition: str) -> str:
    return f'@id("charter/x") permit (principal, action == Action::"send_money", resource) when {{ {condition} }};'


def ask(rulebook: Rulebook, arguments: Any = ARGUMENTS, facts: Facts = NOTHING, **more: Any) -> Ruling:
    tool = more.pop("tool", "send_money")
    return rulebook.slice(tool).ask(rulebook.principal("emma", []), arguments, facts, **more)


def test_nothing_permits_anything_by_default(build: Build) -> None:
    ruling = ask(compile_rulebook(build()))
    assert ruling.kind == "denied"
    assert ruling.fault is None
    assert [reason.message for reason in ruling.reasons] == ["no policy permits this call"]


def test_an_allowed_call_names_its_permits(build: Build) -> None:
    ruling = ask(compile_rulebook(build(PERMIT)))
    assert (ruling.kind, ruling.permits, ruling.reasons) == ("allowed", ("charter/permit",), ())


def test_a_reason_names_policy_clause_and_parameters(build: Build) -> None:
    text = PERMIT + (
        '@id("charter/x") @clause("c") @reason("too much") forbid (principal, action, resource) '
        "when { context.input has amount && !context.flow.untrusted_targets.isEmpty() } "
        'unless { context.flow.pointed_targets.contains("recipient") };'
    )
    clause = {"id": "c", "statement": "s", "owner": "o", "measures": ["m"]}
    facts = Facts(flow=FlowFacts(untrusted_targets=frozenset({"recipient"})))
    (reason,) = ask(compile_rulebook(build(text, clauses=[clause])), facts=facts).reasons
    assert (reason.message, reason.policy, reason.clause) == ("too much", "charter/x", "c")
    assert reason.parameters == ("recipient",)


def test_a_fault_never_repeats_an_argument(build: Build) -> None:
    text = PERMIT + (
        '@id("charter/over") forbid (principal, action == Action::"send_money", resource) '
        'when { context.input.amount * 1000000000000 > 1 || context.input.recipient == "x" };'
    )
    rulebook = compile_rulebook(build(text))
    faults = ((123456789.25, Fault.POLICY), (4242.424242, Fault.BAD_ARGUMENTS), ("s3cret", Fault.BAD_ARGUMENTS))
    for amount, fault in faults:
        ruling = ask(rulebook, {"recipient": "hunter2", "amount": amount})
        assert (ruling.kind, ruling.fault) == ("denied", fault)
        said = repr(ruling)
        assert not [secret for secret in ("123456789", "12345678925", "4242", "s3cret", "hunter2") if secret in said]


def test_an_overflow_is_named(build: Build) -> None:
    text = PERMIT + (
        '@id("charter/over") forbid (principal, action == Action::"send_money", resource) '
        "when { context.input.amount * 9223372036854775807 > 1 };"
        '@id("charter/ove") forbid (principal, action == Action::"send_money", resource) when { false };'
    )
    ruling = ask(compile_rulebook(build(text)))
    assert [reason.policy for reason in ruling.reasons] == ["charter/over"]
    assert ruling.reasons[0].fault is Fault.POLICY


def test_an_error_in_a_permit_denies_too(build: Build) -> None:
    text = PERMIT + (
        '@id("charter/over") permit (principal, action == Action::"send_money", resource) '
        "when { context.input.amount * 9223372036854775807 > 1 };"
    )
    ruling = ask(compile_rulebook(build(text)))
    assert (ruling.kind, ruling.fault) == ("denied", Fault.POLICY)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_denies(text: str, build: Build) -> None:
    policy = permit_when('context.input.recipient != "x"')
    ruling = ask(compile_rulebook(build(policy)), {"recipient": text, "amount": 1})
    assert (ruling.kind, ruling.fault) == ("denied", Fault.POLICY)
    assert text not in repr(ruling)


def test_a_failing_engine_denies(build: Build, monkeypatch: Any) -> None:
    rulebook = compile_rulebook(build(PERMIT))

    def fail(*_: Any) -> str:
        raise RuntimeError("secret")

    monkeypatch.setattr(engine, "_ask", fail)
    ruling = ask(rulebook)
    assert (ruling.kind, ruling.fault) == ("denied", Fault.POLICY)
    assert "secret" not in repr(ruling)


def test_an_engine_that_fails_at_the_second_question_denies(build: Build, monkeypatch: Any) -> None:
    held = '@id("charter/x") @hold("operator") forbid (principal, action, resource);'
    rulebook = compile_rulebook(build(PERMIT + held))
    assert ask(rulebook).kind == "held"
    working, calls = engine._ask, []

    def fail(*given: Any) -> str:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError
        return working(*given)

    monkeypatch.setattr(engine, "_ask", fail)
    assert (ask(rulebook).kind, len(calls)) == ("denied", 2)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        Facts(flow=None),  # type: ignore[arg-type]
        Facts(flow=FlowFacts(audience=5)),  # type: ignore[arg-type]
        Facts(flow=FlowFacts(classes=frozenset({1, "a"}))),  # type: ignore[arg-type]
    ],
)
def test_broken_facts_deny(facts: Any, build: Build) -> None:
    text = permit_when('context.flow.audience == "self" && !context.flow.classes.contains("health")')
    ruling = ask(compile_rulebook(build(text)), facts=facts)
    assert (ruling.kind, ruling.fault) == ("denied", Fault.POLICY)


def test_broken_arguments_deny(build: Build) -> None:
    rulebook = compile_rulebook(build(permit_when("context.input.amount > 1")))
    for arguments in (None, [], "x", {1: 2}):
        assert ask(rulebook, arguments).kind == "denied"


def test_only_policies_that_can_apply_are_in_a_slice(build: Build) -> None:
    text = PERMIT + "".join(
        f'@id("charter/{i}") forbid (principal, action {scope}, resource) when {{ context.session.calls > 9 }};'
        for i, scope in enumerate(
            ['== Action::"share"', 'in Action::"pay"', 'in [Action::"grant", Action::"read_file"]', 'in Action::"read"']
        )
    )
    rulebook = compile_rulebook(build(text))
    held = {name: {rule.id.removeprefix("charter/") for rule in rulebook.slice(name).rules} for name in rulebook.tools}
    assert held == {
        "send_money": {"permit", "1"},
        "share": {"permit", "0", "2"},
        "read_file": {"permit", "2", "3"},
        "get_page": {"permit", "3"},
        "respond": {"permit"},
        "declare_plan": {"permit"},
    }
    assert rulebook.slice("respond").reads == frozenset()


@pytest.mark.parametrize(
    "condition", ["context.input has amount && context.input.amount > 1", "context.input has rate"]
)
def test_an_attribute_that_a_tool_lacks_is_not_there(condition: str, build: Build) -> None:
    """The record around it must be, or reading it would be an error."""
    rulebook = compile_rulebook(
        build(PERMIT + f'@id("charter/x") forbid (principal, action, resource) when {{ {condition} }};')
    )
    assert ask(rulebook, {"path": "p"}, tool="read_file").kind == "allowed"
    assert ask(rulebook, {"recipient": "bob", "amount": 9, "rate": 1}).kind == "denied"


def test_unknown_tools(build: Build) -> None:
    with pytest.raises(PolicyError, match="declares no tool"):
        compile_rulebook(build(PERMIT)).slice("rm -rf")


SHADOW = PERMIT + (
    '@id("charter/limit") forbid (principal, action == Action::"send_money", resource) '
    "when { context.input.amount > 100000 };"
    '@id("charter/trial") @mode("shadow") @hold("operator") '
    'forbid (principal, action == Action::"send_money", resource) '
    "when { context.input.amount > 5000 && context.session.tainted };"
)


def test_shadow_policies_are_asked_apart(build: Build) -> None:
    rulebook = compile_rulebook(build(SHADOW))
    part = rulebook.slice("send_money")
    principal = rulebook.principal("emma", [])
    assert part.has_shadow
    assert not rulebook.slice("share").has_shadow
    assert part.reads == {"input.amount"}, "the enforced slice does not pay for them"
    tainted = Facts(session=SessionFacts(tainted=True))
    assert part.ask(principal, ARGUMENTS, tainted).kind == "allowed"
    shadow = part.ask_shadow(principal, ARGUMENTS, tainted)
    assert (shadow.kind, shadow.approvals) == ("held", ("charter/trial",))
    denied = part.ask_shadow(principal, {"recipient": "bob", "amount": 1001}, tainted)
    assert [reason.policy for reason in denied.reasons] == ["charter/limit", "charter/trial"]
    assert rulebook.slice("share").ask_shadow(principal, {"person": "x"}, Facts()).kind == "allowed"


def test_a_shadow_permit_permits_nothing(build: Build) -> None:
    rulebook = compile_rulebook(build('@id("charter/p") @mode("shadow") permit (principal, action, resource);'))
    assert ask(rulebook).kind == "denied"
    part = rulebook.slice("send_money")
    assert part.ask_shadow(rulebook.principal("emma", []), ARGUMENTS, Facts()).kind == "allowed"


def test_the_shadow_of_a_broken_rule_does_not_touch_what_is_enforced(build: Build) -> None:
    text = PERMIT + (
        '@id("charter/over") @mode("shadow") forbid (principal, action == Action::"send_money", resource) '
        "when { context.input.amount * 9223372036854775807 > 1 };"
    )
    rulebook = compile_rulebook(build(text))
    assert ask(rulebook).kind == "allowed"
    assert rulebook.slice("send_money").ask_shadow(rulebook.principal("e", []), ARGUMENTS, Facts()).kind == "denied"


NAMES = st.frozensets(st.sampled_from(["recipient", "amount"]), max_size=2)
FACTS = st.builds(
    Facts,
    flow=st.builds(
        FlowFacts, untrusted_targets=NAMES, unknown_targets=NAMES, unknown_magnitudes=NAMES,
        classes=st.frozensets(st.sampled_from(["identity", "secrets", "health"]), max_size=2),
        audience=st.sampled_from(["self", "third_party", "public"]),
    ),
    session=st.builds(SessionFacts, tainted=st.booleans(), exceeds=st.sampled_from([frozenset(), frozenset({"w"})])),
    intent=st.builds(
        IntentFacts, known=st.booleans(), asked=st.booleans(), forbidden=st.booleans(), bound_elsewhere=NAMES
    ),
    plan=st.builds(PlanFacts, declared=st.booleans(), includes=st.booleans(), in_order=st.booleans()),
)  # fmt: skip


RULEBOOKS: dict[str, Rulebook] = {}
CALLS = {
    "send_money": {"recipient": "bob", "amount": 98.7},
    "share": {"person": "x"},
    "get_page": {"url": "u"},
    "read_file": {"path": "p"},
}


@pytest.mark.parametrize("profile", ["balanced", "strict"])
@given(facts=FACTS, tool=st.sampled_from(sorted(CALLS)))
def test_a_slice_decides_as_the_whole_set_under_the_whole_schema(
    profile: str, build: Build, facts: Facts, tool: str
) -> None:
    """Slicing, pruning and leaving out the request schema change no decision."""
    if profile not in RULEBOOKS:
        RULEBOOKS[profile] = compile_rulebook(build(PERMIT, baseline=profile))
    rulebook = RULEBOOKS[profile]
    part = rulebook.slice(tool)
    principal = rulebook.principal("emma", ["clerk"])
    whole = encoder(tool_types(rulebook.charter)[tool].context)(CALLS[tool], facts, frozenset())
    full = cedarpy.is_authorized(
        part.request(principal, whole), rulebook.policy_set(), principal.entities, rulebook.schema
    )
    pruned = part.encode_context(CALLS[tool], facts)
    bare = cedarpy.is_authorized(part.request(principal, pruned), part.policy_set, principal.entities, part.schema)
    ruling = part.ask(principal, CALLS[tool], facts)
    assert full.decision == bare.decision != cedarpy.Decision.NoDecision
    assert full.allowed == (ruling.kind == "allowed" and not ruling.masks)
    if ruling.kind != "allowed" and ruling.reasons[0].policy is not None:
        assert sorted(full.diagnostics.reasons) == sorted(str(reason.policy) for reason in ruling.reasons)


class TestRemembering:
    """What the policies said to a request that was allowed is not asked again; nothing else is remembered."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        requests: list[Any] = []
        real = engine.ask

        def count(request: Any, *rest: Any) -> engine.Answer:
            requests.append(request)
            return real(request, *rest)

        monkeypatch.setattr(engine, "ask", count)
        return requests

    def test_the_same_request_is_asked_once_a_principal(self, build: Build, asked: list[Any]) -> None:
        charter = build(
            '@id("charter/x") permit (principal in Role::"clerk", action == Action::"send_money", resource)\n'
            "when { context.input.amount < 10000 };",
            roles=["clerk"],
        )
        slice_ = compile_rulebook(charter).slice("send_money")
        rulebook = compile_rulebook(charter)
        clerk, nobody = rulebook.principal("emma", ["clerk"]), rulebook.principal("emma", [])
        first = slice_.ask(clerk, ARGUMENTS, NOTHING)
        assert slice_.ask(clerk, {**ARGUMENTS, "recipient": "not read by any policy"}, NOTHING) is first
        assert len(asked) == 1
        assert slice_.ask(nobody, ARGUMENTS, NOTHING).kind == "denied"
        assert slice_.ask(clerk, {**ARGUMENTS, "amount": 100}, NOTHING).kind == "denied"
        assert slice_.ask(rulebook.principal("bob", ["clerk"]), ARGUMENTS, NOTHING).kind == "allowed"
        assert len(asked) == 4

    def test_a_refusal_is_asked_anew(self, build: Build, asked: list[Any]) -> None:
        slice_ = compile_rulebook(build()).slice("send_money")
        principal = compile_rulebook(build()).principal("emma", [])
        for times in (1, 2):
            assert slice_.ask(principal, ARGUMENTS, NOTHING).kind == "denied"
            assert len(asked) == times

    def test_what_is_remembered_is_bounded(self, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slicing, "_MAX_ANSWERED", 4)
        slice_ = compile_rulebook(build(permit_when('context.input.recipient != ""'))).slice("send_money")
        principal = compile_rulebook(build()).principal("emma", [])
        for number in range(20):
            assert slice_.ask(principal, {**ARGUMENTS, "recipient": f"bob-{number}"}, NOTHING).kind == "allowed"
            assert len(slice_._answered) <= 4
        slice_._answered.clear()
        assert slice_.ask(principal, {**ARGUMENTS, "recipient": "b" * 2000}, NOTHING).kind == "allowed"
        assert not slice_._answered

    @given(
        amounts=st.lists(st.sampled_from([1, 99.99, 100, 100.5]), min_size=2, max_size=6),
        tainted=st.lists(st.booleans(), min_size=6, max_size=6),
    )
    def test_it_never_changes_an_answer(self, build: Build, amounts: list[float], tainted: list[bool]) -> None:
        charter = build(permit_when("context.input.amount < 10050 && !context.session.tainted"))
        lasting = compile_rulebook(charter)
        for amount, taint in zip(amounts, tainted, strict=False):
            arguments, facts = {**ARGUMENTS, "amount": amount}, Facts(session=SessionFacts(tainted=taint))
            assert ask(lasting, arguments, facts) == ask(compile_rulebook(charter), arguments, facts)
