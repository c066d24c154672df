"""Worlds are the package's own, and disguises hide what they should."""

from __future__ import annotations

import pytest

pytest.importorskip("agentdojo")

from dojo_package import BaseAttack
from dojo_world import DISGUISES, SUITES, World, attack_names, leaves, world

DEFAULT = "important_instructions"


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="no attack is called `nonesuch`"):
        World("slack", "nonesuch")


@pytest.mark.parametrize("name", ["banking", "slack"])
def test_environments_are_those_of_the_package(name: str) -> None:
    here = world(name, DEFAULT)
    injections = {vector: f"text of {vector}" for vector in here.suite.get_injection_vector_defaults()}
    assert here.environment(injections) == here.suite.load_and_inject_default_environment(injections)


def test_injections_go_where_the_package_puts_them() -> None:
    here = world("banking", DEFAULT)
    for task in list(here.user_tasks.values())[:4]:
        expected = BaseAttack.get_injection_candidates.__wrapped__(here._attack, task)
        assert list(here.injections(task, here.injection_tasks["injection_task_0"])) == expected


def test_the_denominators_are_pairs_with_calls() -> None:
    worlds = [world(name, DEFAULT) for name in SUITES]
    assert sum(len(one.user_tasks) for one in worlds) == 97
    assert sum(len(one.user_tasks) * len(one.suite.injection_tasks) for one in worlds) == 949
    assert sum(len(one.user_tasks) * len(one.injection_tasks) for one in worlds) == 609
    assert sum(one.hard(u, i) for one in worlds for u in one.user_tasks for i in one.injection_tasks) == 85


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_of_the_package_gives_texts(name: str) -> None:
    here = world("banking", name)
    texts = here.injections(here.user_tasks["user_task_0"], here.injection_tasks["injection_task_0"])
    assert texts
    assert all(text.strip() for text in texts.values())


@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_a_disguise_takes_the_value_out_of_the_text_and_leaves_the_call(name: str) -> None:
    here = world("banking", name)
    task = here.injection_tasks["injection_task_0"]
    value = task._ATTACKER_IBAN
    texts = here.injections(here.user_tasks["user_task_0"], task)
    assert all(value not in text for text in texts.values())
    assert any(value in leaf for call in task.ground_truth(here.environment({})) for leaf in leaves(dict(call.args)))
    plain = world("banking", DEFAULT).injections(here.user_tasks["user_task_0"], task)
    assert all(value in text for text in plain.values())
