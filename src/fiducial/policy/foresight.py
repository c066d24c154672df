"""Foresight: what can be told of a tool's calls before one is made.

Whom a session acts for and the agent's tier do not change; arguments may be known beforehand. A call *could never be
allowed* when even the kindest reading of its policies denies it: every condition that reads anything else is taken to
come out in its favour, whatever people or the user may be asked is taken as granted. So the answer can miss a call that
will be denied, and never speaks of one that could be allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import cedarpy

from fiducial.policy import engine, est
from fiducial.policy.encode import Unfit, encoder
from fiducial.policy.facts import AgentFacts, Facts
from fiducial.policy.rules import Rule
from fiducial.policy.schema import ContextPath
from fiducial.policy.slice import Principal, Slice

_TIER = ("agent", "tier")
"""What of the agent is the same in all sessions that share a plan: its id is not, when it delegates."""


def never(slice: Slice, principal: Principal, tier: str, arguments: Mapping[str, Any]) -> bool:
    """Whether no call with `arguments`, whatever the others are, could ever be allowed."""
    known: set[ContextPath] = {_TIER, *(("input", name) for name in arguments)}
    policies = {str(rule.id): kind for rule in slice.rules if (kind := _kindly(rule, known)) is not None}
    try:
        context = encoder(slice.type.context.pruned(known))(arguments, Facts(agent=AgentFacts(tier=tier)), frozenset())
        made = cedarpy.PolicySet.from_json_str(
            json.dumps({"templates": {}, "staticPolicies": policies, "templateLinks": []})
        )
    except (Unfit, ValueError):
        return False
    request = {
        "principal": principal.uid,
        "action": {"type": "Action", "id": slice.type.action},
        "resource": {"type": "Server", "id": slice.type.server},
        "context": context,
    }
    answer = engine.ask(request, made, principal.handle)
    return answer.decision == "Deny" and not answer.diagnostics.errors


def _kindly(rule: Rule, known: set[ContextPath]) -> est.Policy | None:
    """The rule with only what is known in it, in the call's favour; `None` when it need not apply at all."""
    if rule.remedy is not None:
        return None
    conditions = []
    for condition in rule.policy["conditions"]:
        joined = "&&" if condition["kind"] == "when" else "||"
        for part in _parts(condition["body"], joined):
            if _is_known(part, known):
                conditions.append({"kind": condition["kind"], "body": part})
            elif not rule.permits:
                return None
    return {**rule.policy, "action": {"op": "All"}, "conditions": conditions}


def _parts(body: est.Expression, operator: str) -> Iterator[est.Expression]:
    """What `operator` joins: each of it is a condition of its own."""
    sides = body.get(operator)
    if isinstance(sides, dict):
        yield from _parts(sides["left"], operator)
        yield from _parts(sides["right"], operator)
    else:
        yield body


def _is_known(body: est.Expression, known: set[ContextPath]) -> bool:
    paths = [access.path for access in est.accesses({"conditions": [{"kind": "when", "body": body}]})]
    return all(any(path[: len(one)] == one for one in known) for path in paths)


__all__ = ["never"]
