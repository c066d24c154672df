"""Weaving: clauses become policies of their own.

    never: CONDITION                      forbid(principal, action in […], resource) when { CONDITION };
    never_without_approval: CONDITION     the same, with `@hold` for the clause's approval

with the id `clause/ID` and the actions that the clause's `tools` name (tools, effects, kinds; none: every action).
The forbid is a second pair of eyes beside the authored policies; proofs of the clause never see it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fiducial.charter.model import BUILT_IN, Charter, Clause
from fiducial.core.ids import ClauseId
from fiducial.errors import Problem
from fiducial.policy.est import Policy
from fiducial.policy.rules import Rule, read_statement
from fiducial.policy.schema import GROUPS, action_id
from fiducial.policy.source import Statement, split

INTENT_FILE = "intent.yaml"


def clause_rules(charter: Charter, lines: Mapping[str, int], problems: list[Problem]) -> list[Rule]:
    """A rule for each clause that has a condition. `lines`: clause id → line in `intent.yaml`."""
    rules = []
    for clause in charter.clauses:
        condition = clause.never or clause.never_without_approval
        if condition is not None:
            rule = _clause_rule(charter, clause, condition, lines.get(clause.id, 0), problems)
            if rule is not None:
                rules.append(rule)
    return rules


def _clause_rule(charter: Charter, clause: Clause, condition: str, line: int, problems: list[Problem]) -> Rule | None:
    unknown = [name for name in clause.tools if not actions_named(charter, name)]
    for name in unknown:
        message = f"the clause `{clause.id}` is about `{name}`, which is no tool, effect or kind"
        problems.append(Problem(INTENT_FILE, line, "unknown-tool", message, "name one of `contracts.yaml`"))
    if unknown:
        return None
    actions = [action for name in clause.tools for action in actions_named(charter, name)]
    scope = f" in [{', '.join('Action::' + json.dumps(one, ensure_ascii=False) for one in actions)}]" if actions else ""
    notes = f'@id("clause/{clause.id}")'
    if clause.approval:
        notes += f' @hold("{clause.approval}")'
    text = f"{notes} forbid(principal, action{scope}, resource) when {{ ({condition}\n) }};"
    found: list[Problem] = []
    rule = None
    statements = split(INTENT_FILE, text)
    if len(statements) == 1:
        rule = read_statement(Statement(INTENT_FILE, text, line), "clause", found)
    if rule is None or not _is_one_condition(rule.policy):
        why = found[0].message.partition(": ")[2] if found else "it is not one expression"
        message = f"the condition of the clause `{clause.id}` cannot be read: {why}"
        problems.append(Problem(INTENT_FILE, line, "clause-condition", message, "write one Cedar expression"))
        return None
    return Rule(
        id=rule.id,
        policy=rule.policy,
        statement=Statement(INTENT_FILE, text, line),
        remedy=rule.remedy,
        clause=ClauseId(clause.id),
        message=f"the clause `{clause.id}`: {clause.statement}",
    )


def _is_one_condition(policy: Policy) -> bool:
    """A condition with braces of its own would close ours and add conditions of its own."""
    return policy["effect"] == "forbid" and [one["kind"] for one in policy["conditions"]] == ["when"]


def actions_named(charter: Charter, name: str) -> list[str]:
    """Ids of the actions that people mean by `name`: a tool, a group, or, where a tool has a group's name, both."""
    named = [name] if name in GROUPS or name in BUILT_IN else []
    if name in charter.contracts and name not in BUILT_IN:
        named.append(action_id(name))
    return named
