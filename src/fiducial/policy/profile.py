"""Profiles: the rules that ship with Fiducial.

`balanced` and `strict` are each `baseline/common.cedar` with a file of their own; `none` is no rule at all, under which
nothing is permitted until the charter's own policies permit it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from fiducial.errors import PolicyError, Problem
from fiducial.policy.rules import Rule, read_statement
from fiducial.policy.source import split

_FILES = {"balanced": ("common.cedar", "balanced.cedar"), "strict": ("common.cedar", "strict.cedar"), "none": ()}


@cache
def baseline_rules(profile: str) -> tuple[Rule, ...]:
    """The rules of `profile`. Raises `PolicyError` when there is no such profile or the installation is damaged."""
    if profile not in _FILES:
        raise PolicyError(f"there is no profile `{profile}`: use one of {', '.join(f'`{one}`' for one in _FILES)}")
    rules: list[Rule] = []
    problems: list[Problem] = []
    for name in _FILES[profile]:
        text = resources.files("fiducial.policy").joinpath("baseline", name).read_text(encoding="utf-8")
        for statement in split(f"baseline/{name}", text):
            rule = read_statement(statement, "baseline", problems)
            if rule is not None:
                rules.append(rule)
    if problems:
        raise PolicyError(f"the rules that ship with this version cannot be read: {problems[0]}")
    return tuple(rules)
