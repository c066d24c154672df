"""Rules: single policies with what their annotations say.

annotation                     on        meaning
@id("charter/name")            all       required, unique; `baseline/…` ships with Fiducial, `clause/…` is woven
@clause("id")                  all       the clause it serves
@reason("text")                all       what the auditor reads when it fires
@hold("role") @hold("role:2")  forbid    satisfied by the approval of that many people of the role
@unclear("question?")          forbid    satisfied by the user's answer to the question
@mask("class")                 forbid    satisfied by masking that data class in the arguments
@mode("shadow")                all       asked apart and logged, never enforced

A forbid with `@hold`, `@unclear` or `@mask` is *soft*: it gets the condition
`unless { context.approvals.contains("its id") }`. It has one such annotation at most. Anything else is hard.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, TypeAlias

import cedarpy
import msgspec

from fiducial.core.ids import ClauseId, PolicyId
from fiducial.errors import Problem
from fiducial.policy.est import Policy, contains_approval
from fiducial.policy.source import Statement, is_too_deep

_ID = re.compile(r"(?P<namespace>[a-z]+)/[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_HOLD = re.compile(r"(?P<role>[A-Za-z][\w.-]*)(?::(?P<quorum>[1-9]\d{0,2}))?")
ANNOTATIONS = ("id", "clause", "reason", "hold", "unclear", "mask", "mode")
_KNOWN = ", ".join(f"`@{name}`" for name in ANNOTATIONS)


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """People of `role` decide."""

    role: str
    quorum: int = 1


class Unclear(msgspec.Struct, frozen=True, tag="unclear"):
    """The user answers."""

    question: str


class Mask(msgspec.Struct, frozen=True, tag="mask"):
    """The data class is masked."""

    data_class: str


Remedy: TypeAlias = Hold | Unclear | Mask


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One policy."""

    id: PolicyId
    policy: Policy
    """As written, in Cedar's JSON form, without annotations."""
    statement: Statement
    """Its text and place."""
    remedy: Remedy | None = None
    """What satisfies a forbid that fires; `None`: nothing does."""
    clause: ClauseId | None = None
    message: str
    """For the auditor."""
    shadow: bool = False

    @property
    def permits(self) -> bool:
        """True for a permit."""
        return bool(self.policy["effect"] == "permit")

    def substance(self) -> list[Any]:
        """All that bears on decisions, for digests."""
        return [self.id, self.woven(), self.remedy, self.shadow]

    def woven(self) -> Policy:
        """The policy as it is enforced: a soft one does not fire once it is satisfied."""
        if self.remedy is None:
            return self.policy
        satisfied = {"kind": "unless", "body": contains_approval(self.id)}
        return {**self.policy, "conditions": [*self.policy["conditions"], satisfied]}


def read_statement(statement: Statement, namespace: str, problems: list[Problem]) -> Rule | None:
    """The rule that `statement` is; `None`, with the problems added, when it is none."""

    def problem(code: str, message: str, fix: str = "", *needles: str) -> None:
        problems.append(Problem(statement.file, statement.line_of(*needles), code, message, fix))

    if is_too_deep(statement.text):
        problem("policy-too-deep", "the policy is nested too deeply, or has too many operators", "split it")
        return None
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(statement.text))
    except Exception as error:  # noqa: BLE001 - whatever the parser says, the statement is refused
        problem("policy-syntax", f"the policy cannot be read: {_said(error)}", "see docs/policies.md for the language")
        return None
    if parsed["templates"]:
        problem("policy-template", "a policy cannot have slots (`?principal`)", "name the entity")
        return None
    policies = list(parsed["staticPolicies"].values())
    if len(policies) != 1:
        problem("policy-syntax", "the policy cannot be read: a statement without a policy", "remove the `;`")
        return None
    policy = policies[0]
    notes: dict[str, str | None] = policy.pop("annotations", {})
    before = len(problems)
    for name, value in notes.items():
        if name not in ANNOTATIONS:
            close = difflib.get_close_matches(name, ANNOTATIONS, n=1)
            fix = f"did you mean `@{close[0]}`?" if close else f"known are {_KNOWN}"
            problem("unknown-annotation", f"the annotation `@{name}` means nothing", fix, f"@{name}")
        elif not (value or "").strip():
            problem("bare-annotation", f"`@{name}` says nothing", f'give it a value: `@{name}("…")`', f"@{name}")
    identifier = notes.get("id") or ""
    match = _ID.fullmatch(identifier)
    if "id" not in notes:
        problem("policy-without-id", "the policy has no `@id`", f'add `@id("{namespace}/what-it-does")`')
    elif identifier and (match is None or match["namespace"] != namespace):
        fix = f"start it with `{namespace}/`, then letters, digits, `.`, `_`, `-` or `/`"
        problem("policy-namespace", f"the policy id `{identifier}` is not one of `{namespace}/…`", fix, "@id")
    remedy = _remedy(notes, policy["effect"], problem)
    mode = notes.get("mode")
    if mode and mode != "shadow":
        problem("unknown-mode", f"`@mode` cannot be `{mode}`", 'the only mode is `@mode("shadow")`', "@mode")
    if len(problems) > before:
        return None
    clause = notes.get("clause")
    said = (notes.get("reason") or "").strip()
    return Rule(
        id=PolicyId(identifier),
        policy=policy,
        statement=statement,
        remedy=remedy,
        clause=ClauseId(clause) if clause else None,
        message=said or f"the policy `{identifier}` {policy['effect']}s it",
        shadow=mode == "shadow",
    )


def _remedy(notes: dict[str, str | None], effect: str, problem: object) -> Remedy | None:
    assert callable(problem)
    given = [name for name in ("hold", "unclear", "mask") if (notes.get(name) or "").strip()]
    if not given:
        return None
    name = given[0]
    value = (notes[name] or "").strip()
    if effect != "forbid":
        fix = "write a `forbid` for what needs it, beside a `permit` without it"
        problem("remedy-on-permit", f"`@{name}` is for `forbid`: a `permit` has nothing to satisfy", fix, f"@{name}")
        return None
    if len(given) > 1:
        both = " and ".join(f"`@{one}`" for one in given)
        problem("two-remedies", f"the policy has {both}", "keep one, or write two policies", f"@{given[1]}")
        return None
    if name == "hold":
        match = _HOLD.fullmatch(value)
        if match is None:
            fix = 'write `@hold("role")` or `@hold("role:2")`'
            problem("bad-hold", f"`@hold` cannot read `{value}`", fix, "@hold")
            return None
        return Hold(match["role"], int(match["quorum"] or 1))
    return Unclear(value) if name == "unclear" else Mask(value)


def _said(error: Exception) -> str:
    """The parser's message, on one line."""
    return " ".join(str(error).split())
