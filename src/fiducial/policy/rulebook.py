"""The rulebook: a charter's policies, compiled.

1. Read every policy: the profile's, the authored ones, the clauses (woven).
2. Check them all against the schema of the charter's tools; any error refuses the whole charter.
3. Cut a slice for each tool.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import cedarpy

from fiducial.charter.model import Charter, PolicySource
from fiducial.core.canonical import digest
from fiducial.core.ids import Digest
from fiducial.errors import CharterError, PolicyError, Problem
from fiducial.policy import engine
from fiducial.policy.lint import check
from fiducial.policy.profile import baseline_rules
from fiducial.policy.rules import Rule, read_statement
from fiducial.policy.ruling import Ruling
from fiducial.policy.schema import ToolType, schema, tool_types
from fiducial.policy.slice import Cut, Principal, Slice, policy_set
from fiducial.policy.source import split
from fiducial.policy.weave import clause_rules


class Rulebook:
    """A charter's policies, ready to be asked. Immutable; safe to share between threads."""

    def __init__(
        self, charter: Charter, rules: tuple[Rule, ...], tools: Mapping[str, ToolType], types: cedarpy.Schema
    ) -> None:
        self.charter = charter
        """The charter it was compiled from."""
        self.rules = rules
        """Every rule: the profile's, the authored ones, the clauses'."""
        self.schema = types
        """The Cedar schema of every tool, with whole contexts."""
        self.digest: Digest = digest([charter.digest, [rule.substance() for rule in rules]])
        """Of the charter and every woven policy."""
        self._base = engine.Handle.from_json_str("[]", self.schema)
        cut = Cut(rules)
        self._slices = {name: Slice(tool, cut) for name, tool in tools.items()}

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools it can judge, the built-in one included, sorted."""
        return tuple(sorted(self._slices))

    def slice(self, tool: str) -> Slice:
        """What decides the calls of `tool`. Raises `PolicyError` when the charter does not declare it."""
        found = self._slices.get(tool)
        if found is None:
            raise PolicyError("the charter declares no tool of this name: add it to `contracts.yaml`")
        return found

    def policy_set(self) -> cedarpy.PolicySet:
        """Every enforced policy, woven and unsliced; parsed anew each time."""
        return policy_set([rule for rule in self.rules if not rule.shadow])

    def principal(self, user: str, roles: Iterable[str], *, autonomous_agent: str | None = None) -> Principal:
        """The principal of a session: `user` in `roles`, or the agent of that id when it acts for nobody.

        Roles that the charter does not declare are kept: no policy can name them. Raises `PolicyError` when a name
        is not valid Unicode.
        """
        uid = {"type": "User", "id": user} if autonomous_agent is None else {"type": "Agent", "id": autonomous_agent}
        parents = [{"type": "Role", "id": role} for role in sorted(set(roles))]
        try:
            document = json.dumps([{"uid": uid, "attrs": {}, "parents": parents}])
            handle = engine.entities(self._base, document)
        except ValueError:
            raise PolicyError("the user or one of the roles has a name that is not valid text") from None
        return Principal(uid, cedarpy.Entities(handle), handle, document)


def compile_rulebook(charter: Charter, *, lines: Mapping[str, int] | None = None) -> Rulebook:
    """The rulebook of `charter`. `lines`: clause id → line in `intent.yaml`, for problems.

    Raises `CharterError` with every problem found in policies and conditions.
    """
    rules, tools, types, problems = _read(charter, lines or {})
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise CharterError(errors)
    return Rulebook(charter, rules, tools, types)


def lint(charter: Charter, *, lines: Mapping[str, int] | None = None) -> list[Problem]:
    """Every problem in the policies and conditions of `charter`, warnings included, in file and line order."""
    return sorted(_read(charter, lines or {})[-1])


def read_policies(sources: Iterable[PolicySource], problems: list[Problem]) -> list[Rule]:
    """The rules in `sources`; what cannot be read is added to `problems`."""
    rules = []
    for source in sources:
        for statement in split(source.file, source.text):
            rule = read_statement(statement, "charter", problems)
            if rule is not None:
                rules.append(rule)
    return rules


def _read(
    charter: Charter, lines: Mapping[str, int]
) -> tuple[tuple[Rule, ...], dict[str, ToolType], cedarpy.Schema, list[Problem]]:
    problems: list[Problem] = []
    authored = read_policies(charter.policies, problems)
    woven = clause_rules(charter, lines, problems)
    baseline = baseline_rules(charter.about.baseline)
    tools = tool_types(charter)
    types = schema(tools.values())
    problems += check(charter, tools, types, baseline, [*authored, *woven], lines)
    return (*baseline, *authored, *woven), tools, types, problems


__all__ = ["Principal", "Rulebook", "Ruling", "Slice", "compile_rulebook", "lint", "read_policies"]
