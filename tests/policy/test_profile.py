"""The rules that ship with Fiducial, linted as strictly as anybody's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fiducial.charter.contracts import Effect, Kind
from fiducial.charter.model import Charter
from fiducial.errors import PolicyError
from fiducial.policy.lint import check
from fiducial.policy.profile import baseline_rules
from fiducial.policy.rulebook import compile_rulebook
from fiducial.policy.rules import Hold
from fiducial.policy.schema import schema, tool_types

Build = Callable[..., Charter]
PROFILES = ["balanced", "strict"]
EVERY_KIND = {
    f"{effect}-{kind}": {"effect": effect.value, "kind": kind.value, "parameters": {"to": {"role": "target"}}}
    for effect in Effect
    for kind in Kind
}


@pytest.mark.parametrize("profile", PROFILES)
def test_rules_are_clean(profile: str, build: Build) -> None:
    charter = build(contracts=EVERY_KIND)
    rules = list(baseline_rules(profile))
    tools = tool_types(charter)
    assert check(charter, tools, schema(tools.values()), [], rules) == []
    assert len({rule.id for rule in rules}) == len(rules)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_rule_says_why_and_asks_only_roles_that_always_exist(profile: str) -> None:
    for rule in baseline_rules(profile):
        assert rule.id.startswith("baseline/")
        if not rule.permits:
            assert not rule.message.startswith("the policy `"), f"{rule.id} has no @reason"
        if isinstance(rule.remedy, Hold):
            assert rule.remedy.role in ("operator", "user")


def test_the_profile_none_is_empty(build: Build) -> None:
    assert baseline_rules("none") == ()
    assert compile_rulebook(build(baseline="none")).rules == ()


def test_an_unknown_profile() -> None:
    with pytest.raises(PolicyError, match="there is no profile"):
        baseline_rules("relaxed")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_kind_that_changes_something_has_a_rule_of_its_effect(profile: str, build: Build) -> None:
    rulebook = compile_rulebook(build(contracts=EVERY_KIND, baseline=profile))
    for name in EVERY_KIND:
        rules = [rule.id for rule in rulebook.slice(name).rules]
        effect, _, kind = name.partition("-")
        assert ("baseline/untrusted-target" in rules) == (effect != "read"), name
        assert ("baseline/untrusted-address" in rules) == (kind == "fetch"), name
