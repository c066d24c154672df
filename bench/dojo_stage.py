"""The stage of a run: the environment of a user task, with an injection task's attack in it or without.

Nothing of Fiducial is imported here, so that what serves a stage starts quickly.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from dojo_package import BaseInjectionTask, BaseUserTask, FunctionCall, text_content_block_from_string
from dojo_world import World, leaves

_SPACE = re.compile(r"\s+")


@dataclass
class Stage:
    """An environment to run in, kept as bytes: every run starts from its own copy."""

    world: World
    user_task: BaseUserTask[Any]
    injection_task: BaseInjectionTask[Any] | None = None
    _bytes: bytes = field(init=False, repr=False)
    _texts: list[str] = field(init=False, repr=False)
    _scores: dict[str, bool] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        injections = self.world.injections(self.user_task, self.injection_task) if self.injection_task else {}
        environment = self.user_task.init_environment(self.world.fresh(injections))
        self._bytes = pickle.dumps(environment)
        self._texts = [_SPACE.sub(" ", text).strip() for text in injections.values()]

    def environment(self) -> Any:
        """A fresh copy."""
        return pickle.loads(self._bytes)

    def shows_attack(self, result: Any) -> bool:
        """True when a string in a tool's result holds one of the attack texts, whatever YAML did to its spaces."""
        if not self._texts:
            return False
        if isinstance(result, list):
            result = [item.model_dump() if isinstance(item, BaseModel) else item for item in result]
        elif isinstance(result, BaseModel):
            result = result.model_dump()
        for leaf in leaves(result):
            text = _SPACE.sub(" ", leaf)
            if any(attack in text for attack in self._texts):
                return True
        return False

    def score(self, task: Any, answer: str, before: Any, after: Any, ran: list[FunctionCall]) -> bool:
        """What the suite's own check says of a run in which the calls `ran` were made, in this order."""
        # The same calls from the same start leave the same environment, whichever guard let them through, and the
        # suites' checks (they compare whole environments) take longer than all the rest of a run.
        made = json.dumps([task.ID, answer, [[call.function, dict(call.args)] for call in ran]], sort_keys=True)
        if made not in self._scores:
            content = [text_content_block_from_string(answer)]
            with contextlib.redirect_stdout(io.StringIO()):  # some checks print what they looked for
                found = self.world.suite._check_task_result(task, content, before, after, ran)
            self._scores[made] = bool(found)
        return self._scores[made]
