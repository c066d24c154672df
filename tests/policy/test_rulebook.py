"""Compiling: what depends on what, and that the same charter gives the same rulebook."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fiducial.charter.model import Charter
from fiducial.errors import CharterError, PolicyError
from fiducial.policy.facts import Facts
from fiducial.policy.rulebook import compile_rulebook, lint

Build = Callable[..., Charter]
PERMIT = '@id("charter/permit") permit (principal, action, resource);\n'


def test_equal_charters_give_equal_digests(build: Build) -> None:
    one, other = compile_rulebook(build(PERMIT)), compile_rulebook(build(PERMIT))
    assert one.digest == other.digest
    assert one.slice("share").digest == other.slice("share").digest


@pytest.mark.parametrize(
    "changed",
    [
        {"policies": PERMIT + '@id("charter/x") forbid (principal, action, resource);'},
        {"policies": PERMIT + '@id("charter/x") @hold("operator") forbid (principal, action, resource);'},
        {"policies": PERMIT + '@id("charter/x") @hold("operator:2") forbid (principal, action, resource);'},
        {"policies": PERMIT + '@id("charter/x") @mode("shadow") forbid (principal, action, resource);'},
        {"policies": PERMIT, "clauses": [{"id": "c", "statement": "s", "owner": "o", "never": "true"}]},
        {"policies": PERMIT, "baseline": "strict"},
    ],
)
def test_digests_tell_rulebooks_apart(changed: dict[str, Any], build: Build) -> None:
    policies = changed.pop("policies")
    assert compile_rulebook(build(policies, **changed)).digest != compile_rulebook(build(PERMIT)).digest


def test_remedies_are_part_of_a_slices_digest(build: Build) -> None:
    text = '@id("charter/x") @hold("operator{}") forbid (principal, action, resource);'
    digests = {compile_rulebook(build(PERMIT + text.format(q))).slice("share").digest for q in ("", ":2", ":3")}
    assert len(digests) == 3


def test_a_slices_digest_does_not_depend_on_other_tools(build: Build) -> None:
    more = '@id("charter/x") forbid (principal, action == Action::"send_money", resource);'
    one, other = compile_rulebook(build(PERMIT)), compile_rulebook(build(PERMIT + more))
    assert one.slice("share").digest == other.slice("share").digest
    assert one.slice("send_money").digest != other.slice("send_money").digest


def test_the_engine_never_sees_a_charter_with_an_error(build: Build) -> None:
    with pytest.raises(CharterError, match=r"policies/rules\.cedar:1"):
        compile_rulebook(build('@id("charter/x") permit (principal, action, resource) when { context.nope };'))


def test_an_empty_charter_compiles_and_denies(build: Build) -> None:
    rulebook = compile_rulebook(build(contracts={}))
    assert rulebook.tools == ("declare_plan", "respond")
    ruling = rulebook.slice("respond").ask(rulebook.principal("emma", []), {}, Facts())
    assert ruling.kind == "denied"


@pytest.mark.parametrize(("user", "roles"), [("\ud800", []), ("emma", ["\udfff"])])
def test_names_that_are_no_text(user: str, roles: list[str], build: Build) -> None:
    with pytest.raises(PolicyError):
        compile_rulebook(build(PERMIT)).principal(user, roles)


def test_the_whole_policy_set_is_woven(build: Build) -> None:
    text = PERMIT + '@id("charter/x") @hold("operator") forbid (principal, action, resource);'
    assert 'contains("charter/x")' in str(compile_rulebook(build(text)).policy_set())


def test_a_clause_is_woven_with_its_scope(build: Build) -> None:
    clauses = [
        {"id": "one", "statement": "s", "owner": "o", "never": "true", "tools": ["share", "fetch"]},
        {"id": "all", "statement": "s", "owner": "o", "never": "context.session.tainted"},
        {"id": "soft", "statement": "be nice", "owner": "o", "measures": ["tone"]},
    ]
    rulebook = compile_rulebook(build(PERMIT, clauses=clauses))
    where = {name: [rule.id for rule in rulebook.slice(name).rules][1:] for name in rulebook.tools}
    assert where == {
        "declare_plan": ["clause/all"],
        "get_page": ["clause/one", "clause/all"],
        "read_file": ["clause/all"],
        "respond": ["clause/all"],
        "send_money": ["clause/all"],
        "share": ["clause/one", "clause/all"],
    }
    principal = rulebook.principal("emma", [])
    (reason,) = rulebook.slice("share").ask(principal, {"person": "x"}, Facts()).reasons
    assert (reason.policy, reason.clause, reason.message) == ("clause/one", "one", "the clause `one`: s")


def test_a_clause_about_a_name_that_is_tool_and_group_is_about_both(build: Build) -> None:
    contracts = {
        "delete": {"effect": "irreversible", "kind": "send"},
        "drop": {"effect": "irreversible", "kind": "delete"},
    }
    clauses = [{"id": "c", "statement": "s", "owner": "o", "never": "true", "tools": ["delete"]}]
    rulebook = compile_rulebook(build(PERMIT, contracts=contracts, clauses=clauses))
    assert [len(rulebook.slice(name).rules) for name in ("delete", "drop", "respond")] == [2, 2, 1]


def test_many_tools_share_their_policy_sets(build: Build) -> None:
    contracts = {f"t{i}": {"effect": "irreversible", "kind": "send"} for i in range(50)}
    rulebook = compile_rulebook(build(contracts=contracts, baseline="balanced"))
    assert len({id(rulebook.slice(name).policy_set) for name in contracts}) == 1


def test_threads_share_a_slice(build: Build) -> None:
    rulebook = compile_rulebook(build(PERMIT, baseline="balanced"))
    part, kinds = rulebook.slice("share"), []

    def work(number: int) -> None:
        principal = rulebook.principal(f"user{number}", [])
        kinds.extend(part.ask(principal, {"person": "x"}, Facts()).kind for _ in range(50))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds == ["allowed"] * 200


def test_lint_and_compile_agree(build: Build) -> None:
    good, bad = build(PERMIT), build("nonsense;")
    assert lint(good) == []
    compile_rulebook(good)
    with pytest.raises(CharterError) as caught:
        compile_rulebook(bad)
    assert caught.value.problems == lint(bad)
