"""Each trap in policies, found with its file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fiducial.charter.model import Charter
from fiducial.errors import CharterError, Problem
from fiducial.policy.literals import RANGES, family
from fiducial.policy.rulebook import compile_rulebook, lint
from fiducial.policy.schema import FACTS, Type

Build = Callable[..., Charter]
PAY = 'action == Action::"send_money"'


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(one) for one in problems]
    return problems[0]


def forbid(condition: str, *, scope: str = PAY, notes: str = "") -> str:
    return f'@id("charter/x") {notes}\nforbid (principal, {scope}, resource)\nwhen {{ {condition} }};'


def test_no_policies_have_no_problems(build: Build) -> None:
    assert lint(build()) == []
    assert lint(build("// nothing here\n")) == []
    assert lint(build(baseline="balanced")) == []
    assert lint(build(baseline="strict")) == []


def test_every_problem_is_reported_at_once(build: Build) -> None:
    text = "permit (principal, action, resource);\n\nforbid (principal\n;\n" + forbid("context.input.amuont > 5")
    problems = lint(build(text))
    assert [(one.line, one.code) for one in problems] == [
        (1, "policy-without-id"),
        (3, "policy-syntax"),
        (7, "unknown-attribute"),
    ]
    assert {one.file for one in problems} == {"policies/rules.cedar"}
    with pytest.raises(CharterError) as caught:
        compile_rulebook(build(text))
    assert caught.value.problems == problems


MISREAD = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\r", "\x00", "\x1b", "\u202e", "\u2066", "\u200f"]


@pytest.mark.parametrize("character", MISREAD)
def test_what_shows_people_other_text_than_cedar_reads_is_refused(character: str, build: Build) -> None:
    """After it an editor may show a condition, or hide one, that to Cedar is part of the comment."""
    permit = f'@id("charter/x")\npermit (principal, action, resource) // leads{character}when {{ false }};\n;'
    found = only([one for one in lint(build(permit)) if one.code != "policy-syntax"])
    assert (found.file, found.line, found.code) == ("policies/rules.cedar", 2, "misread-character")
    assert f"U+{ord(character):04X}" in found.message
    clause = {"id": "c", "statement": "s", "owner": "o", "never": f"true // often{character}&& false"}
    found = only(lint(build(clauses=[clause])))
    assert (found.file, found.code) == ("intent.yaml", "misread-character")


def test_line_ends_and_other_scripts_are_not_misread(build: Build) -> None:
    text = '// مرحبا\r\n// 你好\r\n@id("charter/x")\r\n\tpermit (principal, action, resource);\r\n'
    assert lint(build(text)) == []


ANNOTATIONS = [
    ("permit (principal, action, resource);", "policy-without-id"),
    ("@id permit (principal, action, resource);", "bare-annotation"),
    ('@id("") permit (principal, action, resource);', "bare-annotation"),
    ('@id("mine") permit (principal, action, resource);', "policy-namespace"),
    ('@id("baseline/x") permit (principal, action, resource);', "policy-namespace"),
    ('@id("clause/x") permit (principal, action, resource);', "policy-namespace"),
    ('@id("charter/") permit (principal, action, resource);', "policy-namespace"),
    ('@id("charter/a`b") permit (principal, action, resource);', "policy-namespace"),
    ('@id("charter/x") @hodl("operator") forbid (principal, action, resource);', "unknown-annotation"),
    ('@id("charter/x") @hold forbid (principal, action, resource);', "bare-annotation"),
    ('@id("charter/x") @hold(" ") forbid (principal, action, resource);', "bare-annotation"),
    ('@id("charter/x") @hold("operator") permit (principal, action, resource);', "remedy-on-permit"),
    ('@id("charter/x") @unclear("eh?") permit (principal, action, resource);', "remedy-on-permit"),
    ('@id("charter/x") @mask("identity") permit (principal, action, resource);', "remedy-on-permit"),
    ('@id("charter/x") @hold("operator:0") forbid (principal, action, resource);', "bad-hold"),
    ('@id("charter/x") @hold("operator:two") forbid (principal, action, resource);', "bad-hold"),
    ('@id("charter/x") @hold("a b") forbid (principal, action, resource);', "bad-hold"),
    ('@id("charter/x") @hold("boss") forbid (principal, action, resource);', "unknown-role"),
    ('@id("charter/x") @mask("nonsense") forbid (principal, action, resource);', "unknown-data-class"),
    ('@id("charter/x") @clause("nowhere") forbid (principal, action, resource);', "unknown-clause"),
    ('@id("charter/x") @mode("observe") forbid (principal, action, resource);', "unknown-mode"),
    ('@id("charter/x") @mode("Shadow") forbid (principal, action, resource);', "unknown-mode"),
    ('@id("charter/x") @hold("operator") @unclear("eh?") forbid (principal, action, resource);', "two-remedies"),
    ('@id("charter/x") @id("charter/y") permit (principal, action, resource);', "policy-syntax"),
    ('@id("charter/x") permit (principal == ?principal, action, resource);', "policy-template"),
    ('@id("charter/x") permit (principal, action, resource)', "policy-syntax"),
    (";", "policy-syntax"),
    ("garbage", "policy-syntax"),
]


@pytest.mark.parametrize(("text", "code"), ANNOTATIONS)
def test_annotations(text: str, code: str, build: Build) -> None:
    problem = only(lint(build("\n\n" + text)))
    assert problem.code == code
    assert problem.line == 3
    assert problem.file == "policies/rules.cedar"


def test_ids_are_unique_over_files(build: Build) -> None:
    one = '@id("charter/x") permit (principal, action, resource);\n'
    problem = only(lint(build(one + one)))
    assert (problem.code, problem.line) == ("repeated-id", 2)
    assert "policies/rules.cedar:1" in problem.message


NAMES = [
    ('forbid (principal in Role::"boss", action, resource);', "unknown-role"),
    ('forbid (principal, action, resource) when { principal in Role::"boss" };', "unknown-role"),
    ('forbid (principal, action, resource) when { principal is User in Role::"boss" };', "unknown-role"),
    ('forbid (principal, action == Action::"send_mony", resource);', "unknown-tool"),
    ('forbid (principal, action in Action::"irreversibel", resource);', "unknown-tool"),
    ('forbid (principal, action in [Action::"pay", Action::"paid"], resource);', "unknown-tool"),
    ('forbid (principal, action, resource) when { action in Action::"paid" };', "unknown-tool"),
    ('forbid (principal, action, resource == Server::"bnak");', "unknown-server"),
    ('forbid (principal, action, resource in Server::"bnak");', "unknown-server"),
    ('forbid (principal == Agent::"someone-else", action, resource);', "unknown-agent"),
    ('forbid (principal, action == Action::"pay", resource);', "group-as-tool"),
    ('forbid (principal, action, resource) when { action == Action::"pay" };', "group-as-tool"),
    ('forbid (principal, action, resource) when { action != Action::"read" };', "group-as-tool"),
    ('forbid (principal == Rolle::"x", action, resource);', "policy-type"),
]


@pytest.mark.parametrize(("text", "code"), NAMES)
def test_names(text: str, code: str, build: Build) -> None:
    assert only(lint(build(f'@id("charter/x")\n{text}'))).code == code


CONDITIONS = [
    # what the validator lets pass
    ("context.input has amuont && context.input.amuont > 5", "unknown-attribute"),
    ("context.input has amuont", "unknown-attribute"),
    ("context has inptu", "unknown-attribute"),
    ("context.flow has untrusted_target", "unknown-attribute"),
    ('context.flow.untrusted_targets.contains("recipeint")', "unknown-literal"),
    ('context.flow.untrusted_targets.contains("amount")', "unknown-literal"),
    ('context.flow.untrusted_targets.containsAny(["recipient", "recipeint"])', "unknown-literal"),
    ('["recipeint"].containsAll(context.flow.untrusted_targets)', "unknown-literal"),
    ('context.flow.untrusted_targets == ["recipeint"]', "unknown-literal"),
    ('context.flow.untrusted_magnitudes.contains("recipient")', "unknown-literal"),
    ('context.flow.links.contains("recipient")', "unknown-literal"),
    ('context.flow.classes.contains("identitty")', "unknown-literal"),
    ('context.session.read.containsAll(["identitty"])', "unknown-literal"),
    ('context.session.done.contains("paid")', "unknown-literal"),
    ('context.session.exceeds.contains("session-cals")', "unknown-literal"),
    ('context.flow.audience == "thirdparty"', "unknown-literal"),
    ('"thirdparty" != context.flow.audience', "unknown-literal"),
    ('["public", "thirdparty"].contains(context.flow.audience)', "unknown-literal"),
    ('context.intent.requested_by == "root"', "unknown-literal"),
    ('context.intent.bound_elsewhere.contains("recipeint")', "unknown-literal"),
    ('context.risk.factors.contains("bad-luck")', "unknown-literal"),
    ('context.agent.tier == "writer"', "unknown-literal"),
    ('context.agent.id == "teler"', "unknown-literal"),
    ('context.answer.domain == "law"', "unknown-literal"),
    ('context.approvals.contains("charter/y")', "unknown-literal"),
    ('context.input has speed && context.input.speed == "fsat"', "unknown-literal"),
    ('if context.agent.tier == "writer" then true else false', "unknown-literal"),
    ('context.flow.audience like "third-part"', "unknown-literal"),
    ('!(context.flow.audience like "*-party")', "unknown-literal"),
    (r'context.agent.tier like "\*"', "unknown-literal"),
    ('context.input has speed && context.input.speed like "fsat*"', "unknown-literal"),
    ("context.risk.level > 7", "constant-comparison"),
    ("context.risk.level > 4", "constant-comparison"),
    ("context.risk.level == 5", "constant-comparison"),
    ("5 != context.risk.level", "constant-comparison"),
    ("-1 >= context.session.calls", "constant-comparison"),
    ("context.session.spent >= 0", "constant-comparison"),
    ("context.agent.confidence > 100", "constant-comparison"),
    ("context.agent.confidence < -(1)", "constant-comparison"),
    # what has no form in Cedar
    ("context.input has details", "unmapped-parameter"),
    # what the validator finds
    ("context.input.amount == 5.0", "policy-syntax"),
    ('context.input.amount == decimal("5.0")', "policy-type"),
    ("context.input has rate && context.input.rate == 5", "policy-type"),
    ('context.input.subject == "x"', "policy-type"),
    ('context.input.amount == "5"', "policy-type"),
    ('principal.name == "emma"', "policy-type"),
    ("context.flow.audience > 5", "policy-type"),
]


@pytest.mark.parametrize(("condition", "code"), CONDITIONS)
def test_conditions(condition: str, code: str, build: Build) -> None:
    problem = only(lint(build(forbid(condition))))
    assert problem.code == code
    assert problem.severity == "error"
    if code in ("unknown-attribute", "unknown-literal", "constant-comparison"):
        assert problem.line == 3, "the line of what is wrong, not of the policy"


FINE = [
    "context.input.amount > 5000",
    'context.input has speed && context.input.speed == "fast"',
    'context.input has subject && context.input.subject == "anything"',
    'context.input has rate && context.input.rate.greaterThan(decimal("5.0"))',
    'context.flow.untrusted_targets.contains("recipient")',
    'context.flow.classes.containsAny(["identity", "own-class"])',
    'context.session.exceeds.containsAny(["session-calls", "per-day"])',
    'context.approvals.contains("charter/x")',
    'context.agent.id == "teller" && principal == User::"whoever"',
    'principal in Role::"clerk" || principal in Role::"operator" || principal in Role::"user"',
    'context.input["recipient"] like "*@bank.example"',
    'context.flow.audience like "third*" && context.input has speed && context.input.speed like "*a*t"',
    "context.risk.level >= 4 && 0 < context.risk.level && context.risk.level != 2",
    "context.session.calls == 0 && context.session.spent > 9999999999 && 0 == context.session.writes",
    "context.agent.confidence == -1 || context.agent.confidence < 100",
    'resource == Server::"bank"',
    "context has input && context.input has amount",
]


@pytest.mark.parametrize("condition", FINE)
def test_what_is_declared_is_fine(condition: str, build: Build) -> None:
    budgets = {"windows": [{"name": "per-day", "window": "P1D", "limit": 3}]}
    charter = build(forbid(condition), roles=["clerk"], data_classes=["own-class"], budgets=budgets)
    assert lint(charter) == []
    compile_rulebook(charter)


def test_an_attribute_must_be_there_for_every_tool_in_scope(build: Build) -> None:
    problem = only(lint(build(forbid("context.input.amount > 5", scope="action"))))
    assert (problem.code, problem.line) == ("policy-type", 3)
    assert lint(build(forbid("context.input has amount && context.input.amount > 5", scope="action"))) == []


def test_misspelt_names_get_a_suggestion(build: Build) -> None:
    assert "`amount`" in only(lint(build(forbid("context.input has amuont")))).fix
    assert "`recipient`" in only(lint(build(forbid('context.flow.unknown_targets.contains("recipeint")')))).fix
    assert "tool:delete" in str(
        only(
            lint(
                build(
                    '@id("charter/x") forbid (principal, action == Action::"delete", resource);',
                    contracts={"delete": {"effect": "irreversible", "kind": "delete"}},
                )
            )
        )
    )


@pytest.mark.parametrize(
    "scope", ['action in Action::"deploy"', 'action in [Action::"deploy", Action::"execute"]']
)  # fmt: skip
def test_what_never_applies_is_a_warning(scope: str, build: Build) -> None:
    charter = build(forbid("true", scope=scope))
    problem = only(lint(charter))
    assert (problem.code, problem.severity) == ("never-applies", "warning")
    compile_rulebook(charter)


def test_a_reserved_parameter_name_says_why(build: Build) -> None:
    contracts = {"t": {"effect": "read", "kind": "read", "parameters": {"__entity": {"role": "option"}}}}
    problem = only(lint(build(forbid("context.input has __entity", scope="action"), contracts=contracts)))
    assert problem.code in ("unmapped-parameter", "policy-syntax")


def test_tools_cannot_take_anothers_place(build: Build) -> None:
    for name in ("respond", "tool:delete"):
        contracts = {name: {"effect": "read", "kind": "read"}, "delete": {"effect": "read", "kind": "read"}}
        assert only(lint(build(contracts=contracts))).code == "reserved-name"


def clause(**said: Any) -> dict[str, Any]:
    return {"id": "c", "statement": "never do that", "owner": "me", **said}


CLAUSES = [
    (clause(never="context.input.amuont > 5", tools=["send_money"]), "unknown-attribute"),
    (clause(never="context.input.amount >", tools=["send_money"]), "clause-condition"),
    (clause(never="true } unless { false"), "clause-condition"),
    (clause(never="true }; permit (principal, action, resource) when { true"), "clause-condition"),
    (clause(never="true) }; // "), "clause-condition"),
    (clause(never="true) } unless { (false"), "clause-condition"),
    (clause(never="true) } when { (true"), "clause-condition"),
    (clause(never=";"), "clause-condition"),
    (clause(never=""), "clause-condition"),
    (clause(never="context.flow.audience", tools=["send_money"]), "policy-type"),
    (clause(never="true", tools=["send_mony"]), "unknown-tool"),
    (clause(never_without_approval="true", approval="boss"), "unknown-role"),
    (clause(never="true", policies=["charter/gone"]), "unknown-policy"),
]


@pytest.mark.parametrize(("said", "code"), CLAUSES)
def test_clauses(said: dict[str, Any], code: str, build: Build) -> None:
    if said.get("never") == "":
        said = {**said, "never": " "}
    problem = only(lint(build(clauses=[said]), lines={"c": 7}))
    assert problem.code == code
    assert problem.file == "intent.yaml"
    assert problem.line in (7, 0)


def test_a_comment_cannot_swallow_the_end_of_a_condition(build: Build) -> None:
    assert lint(build(clauses=[clause(never="true // because")])) == []


def test_every_fact_with_strings_knows_which(build: Build) -> None:
    strings = Type("String"), Type("Set", element=Type("String"))
    for part, attribute in FACTS.items():
        for name, fact in (attribute.type.attributes or {}).items():
            if fact.type in strings:
                assert family((part, name)) is not None, f"literals.py says nothing about {part}.{name}"


def test_every_range_is_of_a_number() -> None:
    for part, name in RANGES:
        attributes = FACTS[part].type.attributes or {}
        assert attributes[name].type == Type("Long"), f"literals.py has a range for {part}.{name}"


def test_messages_do_not_run_over_lines(build: Build) -> None:
    for text, _ in ANNOTATIONS:
        for problem in lint(build(text)):
            assert "\n" not in problem.message
            assert problem.message[0].islower() or problem.message[0] in "`@"
            json.dumps(problem.message)
