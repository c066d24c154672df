"""The charter: what is intended, what the tools can do, which policies say so, and how the three are linked."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from fiducial.charter.model import Clause
from fiducial.console.gate import Handler
from fiducial.console.visit import Visit
from fiducial.policy.rules import Hold, Mask, Rule, Unclear


class Written(msgspec.Struct, frozen=True):
    """One policy, as the page shows it."""

    id: str
    effect: str
    """`permit` or `forbid`."""
    softened: str
    """What satisfies it, in words; empty: nothing."""
    message: str
    place: str
    """File and line."""
    text: str
    clause: str
    shadow: bool


def page(visit: Visit) -> Response:
    """All of it."""
    services = visit.services
    rules = [written(rule) for rule in services.rulebook.rules]
    by_clause: dict[str, list[Written]] = {}
    for rule in rules:
        if rule.clause:
            by_clause.setdefault(rule.clause, []).append(rule)
    for clause in services.charter.clauses:
        linked = by_clause.setdefault(clause.id, [])
        linked += [rule for rule in rules if rule.id in clause.policies and rule not in linked]
    return visit.page(
        "charter.html", charter=services.charter, rules=rules, by_clause=by_clause,
        conditions={clause.id: _condition(clause) for clause in services.charter.clauses},
    )  # fmt: skip


def written(rule: Rule) -> Written:
    """`rule`, as people and programs are shown it."""
    match rule.remedy:
        case Hold(role=role, quorum=quorum):
            softened = f"an approval by {role}" + (f" ({quorum} people)" if quorum > 1 else "")
        case Unclear(question=question):
            softened = f"the user's answer to “{question}”"
        case Mask(data_class=data_class):
            softened = f"masking {data_class}"
        case _:
            softened = ""
    return Written(
        id=rule.id,
        effect="permit" if rule.permits else "forbid",
        softened=softened,
        message=rule.message,
        place=f"{rule.statement.file}, line {rule.statement.line}",
        text=rule.statement.text,
        clause=rule.clause or "",
        shadow=rule.shadow,
    )


def _condition(clause: Clause) -> tuple[str, str]:
    """What must not be, in words and in Cedar; the latter empty for a clause that only measures carry."""
    if clause.never:
        return "never", clause.never
    if clause.never_without_approval:
        return f"never without the approval of {clause.approval}", clause.never_without_approval
    return "carried by measures", ""


PAGES: Mapping[str, Handler] = {"GET /charter": page}

__all__ = ["PAGES", "Written", "written"]
