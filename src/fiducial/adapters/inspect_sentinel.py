"""The same as `fiducial.adapters.inspect_ai`, as a Sentinel of Inspect.

    guarded = Guarded(guard, user="emma", roles=["user"])
    eval(task, sentinel=sentinel(guarded))

In place of the approver and the reviewer, which an agent's own `approval=` and `review=` take the place of. A sentinel
holds for the whole sample, decides after all approvers, hears what the model reads before it reads it, and sees at once
when the model's provider has run a tool. A sentinel that breaks fails the sample. Needs the package `inspect-sentinel`,
which its authors call experimental.
"""

from __future__ import annotations

from typing import Any, Final

from inspect_ai.approval import Approval
from inspect_sentinel import (
    AfterGenerate,
    AfterToolCall,
    BeforeGenerate,
    BeforeToolCall,
    Context,
    Decision,
    Escalations,
    Step,
    protocol,
)

from fiducial.adapters.inspect_ai import Guarded
from fiducial.errors import CallError

_ACTIONS: Final[dict[str, Any]] = {
    "approve": "proceed",
    "modify": "modify",
    "reject": "reject",
    "terminate": "terminate",
}


def sentinel(guarded: Guarded) -> Any:
    """A protocol for `sentinel=` of `eval`, or of a task. It stands there alone: beside others, a call could be changed
    after it was decided, which ends the sample."""
    return protocol(name="fiducial", portable=False)(lambda: _of(guarded))()


def _of(guarded: Guarded) -> Any:
    async def fiducial(context: Context, step: Step, escalations: Escalations) -> Decision | None:
        try:
            decided: Decision | None = await _decision(guarded, step)
        except CallError as error:
            return Decision.terminate(str(error))
        return decided

    return fiducial


async def _decision(guarded: Guarded, step: Any) -> Any:
    if isinstance(step, BeforeToolCall):
        read = [*(step.history or ()), *(step.agent_messages or ()), *(step.input or ())]
        return _in_its_words(await guarded.decide(step.call, read, turn=step.message_id))
    if isinstance(step, AfterToolCall):
        review = await guarded.reviewed(step.message, step.call, step.result, step.output, step.view, [])
        return Decision.proceed() if review.decision == "continue" else Decision.terminate(review.explanation)
    if isinstance(step, BeforeGenerate):
        await guarded.heard(step.input)
    elif isinstance(step, AfterGenerate) and step.output.choices:
        await guarded.heard([step.output.message], turn=step.output.message.id)
    return None


def _in_its_words(approval: Approval) -> Any:
    return Decision(
        action=_ACTIONS[approval.decision],
        modified=approval.modified,
        explanation=approval.explanation,
        message=approval.explanation,
        metadata=approval.metadata,
    )


__all__ = ["sentinel"]
