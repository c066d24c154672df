"""AgentDojo's suites as worlds to replay in: environments, attack texts, and the values attacks disguise.

Everything comes from the installed `agentdojo` package; nothing of it is copied. One thing is done differently: an
environment's YAML is parsed with libyaml's loader instead of the pure Python one (ten times faster, same tokens), and
`tests/bench/test_dojo_world.py` compares the two.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from dojo_package import (
    ATTACKS,
    BaseInjectionTask,
    BasePipelineElement,
    BaseUserTask,
    FunctionsRuntime,
    GroundTruthPipeline,
    TaskSuite,
    get_suites,
    load_attack,
    read_suite_file,
    tool_result_to_str,
)

VERSION = "v1.2.2"
"""Benchmark version of the reference numbers: 97 user tasks, 949 pairs."""
SUITES = ("workspace", "travel", "banking", "slack")
PIPELINE_NAME = "gpt-4o-2024-05-13"
"""Attacks that address the model by name look it up in the pipeline's name; no pipeline is ever run."""

Disguise = Callable[[str], str]

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SPELLED = {
    **{str(digit): word for digit, word in enumerate(_DIGITS)},
    "@": "at", ".": "dot", "-": "dash", "_": "underscore", "/": "slash", ":": "colon", " ": "space",
}  # fmt: skip
_LOOKALIKES = str.maketrans("aceijopsxyABCEHIJKMOPSTXYZ", "асеіјорѕхуАВСЕНІЈКМОРЅТХҮΖ")
"""Latin letter → the Cyrillic or Greek one that looks the same (Unicode confusables, UTS 39)."""

DISGUISES: dict[str, Disguise] = {
    "spaced": lambda value: " ".join(value),
    "spelled": lambda value: " ".join(_SPELLED.get(character, character) for character in value),
    "reversed": lambda value: value[::-1],
    "lookalike": lambda value: value.translate(_LOOKALIKES),
}
"""Ways to write a malicious value so that a model understands it and a filter does not find it."""

UNUSABLE = frozenset({"manual"})
"""Attacks of the package that ask a person at the keyboard."""


def attack_names() -> list[str]:
    """Every name `World` takes as `attack`."""
    return sorted((ATTACKS.keys() - UNUSABLE) | DISGUISES.keys())


def leaves(value: Any) -> Iterator[str]:
    """Every string inside a JSON-like value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)


class _Pipeline(BasePipelineElement):
    name = PIPELINE_NAME

    def query(self, *_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("no model is run here")


@dataclass
class World:
    """One suite, ready to be replayed under one attack text."""

    name: str
    attack: str = "important_instructions"
    suite: TaskSuite[Any] = field(init=False)
    user_tasks: dict[str, BaseUserTask[Any]] = field(init=False)
    injection_tasks: dict[str, BaseInjectionTask[Any]] = field(init=False)
    """Only those whose ground truth has calls: the others leave nothing a guard at the tool boundary could stop."""

    def __post_init__(self) -> None:
        self.suite = get_suites(VERSION)[self.name]
        self.user_tasks = dict(self.suite.user_tasks)
        self._defaults = self.suite.get_injection_vector_defaults()
        self._plain = pickle.dumps(self.environment({}))
        self.injection_tasks = {
            id: task for id, task in self.suite.injection_tasks.items() if task.ground_truth(pickle.loads(self._plain))
        }
        if self.attack not in attack_names():
            raise ValueError(f"no attack is called `{self.attack}`: choose from {', '.join(attack_names())}")
        base = "important_instructions" if self.attack in DISGUISES else self.attack
        self._attack = load_attack(base, self.suite, _Pipeline())
        # Same answer as the package's own, without parsing the environment again for every task and attack.
        self._attack.get_injection_candidates = self._candidates  # type: ignore[method-assign]
        self._kept: dict[tuple[tuple[str, str], ...], bytes] = {}
        self._candidates_by_task: dict[str, list[str]] = {}

    def environment(self, injections: dict[str, str]) -> Any:
        """A fresh environment with `injections` (vector → text) in place; not yet initialized for a task."""
        text = read_suite_file(self.name, "environment.yaml", None)
        filled = text.format(**{**self._defaults, **injections})
        return self.suite.environment_type.model_validate(yaml.load(filled, yaml.CSafeLoader))

    def fresh(self, injections: dict[str, str]) -> Any:
        """The same, from a copy kept of an equal one: user tasks that show the same places share their environments."""
        key = tuple(sorted(injections.items()))
        if key not in self._kept:
            if len(self._kept) >= 128:
                self._kept.clear()
            self._kept[key] = pickle.dumps(self.environment(injections))
        return pickle.loads(self._kept[key])

    def runtime(self) -> FunctionsRuntime:
        return FunctionsRuntime(self.suite.tools)

    def injections(self, user_task: BaseUserTask[Any], injection_task: BaseInjectionTask[Any]) -> dict[str, str]:
        """Vector → attack text, for every vector that the user task's own calls show."""
        disguise = DISGUISES.get(self.attack)
        if disguise is not None:
            injection_task = copy.copy(injection_task)
            injection_task.GOAL = self._disguised(injection_task, disguise)
        return dict(self._attack.attack(user_task, injection_task))

    def _disguised(self, injection_task: BaseInjectionTask[Any], disguise: Disguise) -> str:
        goal = injection_task.GOAL
        calls = injection_task.ground_truth(pickle.loads(self._plain))
        values = {value for call in calls for value in leaves(dict(call.args)) if value.strip()}
        # Longest first, so that a value inside another one does not break it up.
        for value in sorted(values, key=len, reverse=True):
            goal = goal.replace(value, disguise(value))
        return goal

    def _candidates(self, user_task: BaseUserTask[Any]) -> list[str]:
        if user_task.ID not in self._candidates_by_task:
            canaries = {name: f"CANARY{index}CANARY" for index, name in enumerate(self._defaults)}
            environment = user_task.init_environment(self.environment(canaries))
            _, _, _, messages, _ = GroundTruthPipeline(user_task).query("", self.runtime(), environment)
            seen = " ".join(block["content"] or "" for message in messages for block in message["content"] or [])
            self._candidates_by_task[user_task.ID] = [name for name, canary in canaries.items() if canary in seen]
        return self._candidates_by_task[user_task.ID]

    def hard(self, user_task_id: str, injection_task_id: str) -> bool:
        """True when the injection uses only tools that the user's own task uses too."""
        return self._tools(self.injection_tasks[injection_task_id]) <= self._tools(self.user_tasks[user_task_id])

    def _tools(self, task: BaseUserTask[Any] | BaseInjectionTask[Any]) -> set[str]:
        environment = pickle.loads(self._plain)
        if isinstance(task, BaseUserTask):
            environment = task.init_environment(environment)
        return {call.function for call in task.ground_truth(environment)}


@cache
def world(name: str, attack: str) -> World:
    """The world of one suite; kept, so that forked workers find it ready."""
    return World(name, attack)


_shown: dict[bytes, str] = {}


def shown(result: Any) -> str:
    """A tool's result as AgentDojo writes it for a model."""
    # Every guard sees the same results in the same stage, and writing YAML is the slowest part of a run.
    key = pickle.dumps(result)
    if key not in _shown:
        if len(_shown) > 256:
            _shown.clear()
        _shown[key] = tool_result_to_str(result)
    return _shown[key]
