"""Checks of policies beyond their syntax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cedarpy

from fiducial.charter.model import Charter
from fiducial.errors import Problem
from fiducial.policy.rules import Rule
from fiducial.policy.schema import ToolType, schema


def check(
    charter: Charter, tools: Mapping[str, ToolType], baseline: Iterable[Rule], rules: list[Rule]
) -> list[Problem]:
    """Every problem of `rules`, the charter's own."""
    problems: list[Problem] = []
    compiled = schema(tools.values())
    for rule in rules:
        for error in cedarpy.validate_policies(rule.statement.text, compiled).errors:
            problems.append(Problem(rule.statement.file, rule.statement.line, "policy-type", error.error))
    return problems
