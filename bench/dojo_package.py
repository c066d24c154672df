"""What the replay uses of agentdojo, imported without the model clients that nothing here uses.

agentdojo's pipeline imports the clients of five providers, which is most of the six seconds that importing it takes, in
every process of a replay, of the demo and of the tests. The replay calls no model, so it gets empty ones.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_LLMS = "agentdojo.agent_pipeline.llms."
_OURS = ("anthropic_llm", "cohere_llm", "google_llm", "local_llm", "openai_llm", "prompting_llm")
_CLIENTS = ("anthropic", "cohere", "google.genai", "openai")


class _Empty(ModuleType):
    """A module of which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {})
        setattr(self, name, made)
        return made


@contextmanager
def _no_clients() -> Iterator[None]:
    """Whoever else wants the clients gets the real ones."""
    before = {name: sys.modules.get(name) for name in _CLIENTS}
    ours = {_LLMS + name: _Empty(_LLMS + name) for name in _OURS if _LLMS + name not in sys.modules}
    sys.modules.update(ours)
    sys.modules.update({name: _Empty(name) for name, module in before.items() if module is None})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]


with _no_clients():
    from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement
    from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline
    from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
    from agentdojo.attacks.attack_registry import ATTACKS, load_attack
    from agentdojo.attacks.base_attacks import BaseAttack
    from agentdojo.base_tasks import BaseInjectionTask, BaseUserTask
    from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
    from agentdojo.task_suite.load_suites import get_suites
    from agentdojo.task_suite.task_suite import TaskSuite, read_suite_file
    from agentdojo.types import text_content_block_from_string

__all__ = [
    "ATTACKS",
    "BaseAttack",
    "BaseInjectionTask",
    "BasePipelineElement",
    "BaseUserTask",
    "FunctionCall",
    "FunctionsRuntime",
    "GroundTruthPipeline",
    "TaskSuite",
    "get_suites",
    "load_attack",
    "read_suite_file",
    "text_content_block_from_string",
    "tool_result_to_str",
]
