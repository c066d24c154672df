"""Plans: what an agent says it is going to do, before it does it.

A plan is a list of steps: a tool, how often at most, and bounds on its parameters. A parameter without a bound is left
open. A call is *on the plan* when a step of its tool has a use left and the call meets its bounds. An ordered plan goes
from step to step: a step's turn comes once, for every earlier one, a call that fits it has succeeded, and is over once
a later one was used; a call counts for the earliest step that it fits. Without an order, calls are shared out among
the steps that they fit, whichever came first.

A plan is a limit, never a permission: what is on it is still decided call by call. It is declared by calling the
built-in tool `declare_plan`, so that it is decided, held, approved, recorded and reopened as every call is; see
`fiducial.guard.course` for what then counts, and `fiducial.guard.widening` for what is more than another plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from fiducial.charter.arguments import arguments_checker
from fiducial.charter.model import DECLARE_PLAN, GivenPlan
from fiducial.core.canonical import digest
from fiducial.core.ids import Digest
from fiducial.errors import SessionError
from fiducial.guard.arguments import NotPlain, plain
from fiducial.guard.tool import Tool
from fiducial.policy.bounds import Bound, CallClass, Limit, class_rule, limit_of, written_rule
from fiducial.policy.schema import DECLARE_PLAN_CONTRACT
from fiducial.policy.slice import Principal

_ANYTHING = Bound(anything=True)


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a plan."""

    tool: str
    """What is called."""
    bounds: Mapping[str, Bound] = {}
    """Parameter → what it may be; parameters without a bound are left open."""
    uses: int = 1
    """How often at most."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent says it is going to do."""

    steps: tuple[Step, ...] = ()
    """What may be done; nothing, when there are none."""
    ordered: bool = False
    """Whether the steps come one after another."""

    def arguments(self) -> dict[str, Any]:
        """The plan as arguments of the tool `declare_plan`. Raises `TypeError` when it holds no JSON values."""
        return {"steps": [msgspec.to_builtins(step) for step in self.steps], "ordered": self.ordered}


AnyPlan: TypeAlias = Plan | GivenPlan | Mapping[str, Any] | Sequence[str]
"""A plan, its arguments as JSON, or names of tools: each may be used as often as it is named, in any order."""


def arguments_of(plan: AnyPlan) -> dict[str, Any]:
    """`plan` as arguments of the tool `declare_plan`, in plain types. Raises `SessionError` when it is no plan."""
    try:
        if isinstance(plan, GivenPlan):
            return plain(plan.model_dump(mode="json"))
        if isinstance(plan, Plan):
            return plain(plan.arguments())
        if isinstance(plan, Mapping):
            return plain(plan)
        if not isinstance(plan, (str, bytes)) and all(isinstance(name, str) for name in plan):
            return Plan(tuple(Step(name, uses=uses) for name, uses in Counter(plan).items())).arguments()
    except (NotPlain, TypeError, AttributeError) as error:
        raise SessionError(f"the plan cannot be read: {error}") from None
    raise SessionError("the plan must be a `Plan`, its JSON form, or a list of names of tools")


_shape = arguments_checker(DECLARE_PLAN_CONTRACT)


def problems(arguments: Mapping[str, Any], tools: Mapping[str, Tool]) -> list[str]:
    """Everything that is wrong with a plan given as arguments, in words; empty when nothing is."""
    if wrong := _shape(arguments):
        return wrong
    found: list[str] = []
    for number, step in enumerate(read(arguments).steps, 1):
        tool = tools.get(step.tool)
        if tool is None:
            found.append(f"step {number} names the unknown tool `{step.tool}`; name only tools of the charter")
            continue
        if step.tool == DECLARE_PLAN:
            found.append(f"step {number} declares a plan, which is no step of one")
            continue
        before = len(found)
        for name, bound in step.bounds.items():
            try:
                limit_of(tool.slice.type, name, bound)
            except ValueError as error:
                found.append(f"step {number}: {error}")
        if step.bounds and len(found) == before:
            try:
                class_rule(tool.slice.type, "", _every_bound(tool, step))
            except ValueError as error:
                found.append(f"step {number}: {error}")
    return found


def with_plans(tools: Mapping[str, Tool]) -> dict[str, Tool]:
    """`tools`, of which the built-in one by which plans are declared checks them against all."""
    declare = msgspec.structs.replace(tools[DECLARE_PLAN], check=lambda arguments: problems(arguments, tools))
    return {**tools, DECLARE_PLAN: declare}


def checked(plan: AnyPlan, tools: Mapping[str, Tool]) -> dict[str, Any]:
    """`plan` as arguments of `declare_plan`. Raises `SessionError` that names everything wrong with it."""
    arguments = arguments_of(plan)
    if wrong := problems(arguments, tools):
        raise SessionError("the plan cannot be declared: " + "; ".join(wrong))
    return arguments


def read(arguments: Mapping[str, Any]) -> Plan:
    """The plan in arguments whose shape was checked."""
    return msgspec.convert(arguments, Plan)


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """One step, made ready for one user."""

    step: Step
    limits: Mapping[str, Limit]
    """Parameter → its limit; those that are left open are not in it."""
    allows: CallClass | None = None
    """The calls that meet the bounds; `None`: all of the tool's."""

    def meets(self, principal: Principal, arguments: Mapping[str, Any]) -> bool:
        """Whether a call of the step's tool meets the bounds."""
        return self.allows is None or self.allows.covers(principal, arguments)

    def within(self, other: Fitted) -> bool:
        """Every call that this step allows, `other` allows, however often."""
        if self.step.tool != other.step.tool:
            return False
        return all(
            (limit := self.limits.get(name)) is not None and limit.within(most) for name, most in other.limits.items()
        )


def fitted(plan: Plan, tools: Mapping[str, Tool], user: str) -> tuple[Fitted, ...]:
    """The steps of a plan that has no problems, made ready for `user`."""
    return tuple(_fitted(step, tools[step.tool], user) for step in plan.steps)


def _fitted(step: Step, tool: Tool, user: str) -> Fitted:
    limits = {name: limit_of(tool.slice.type, name, bound) for name, bound in step.bounds.items() if not bound.anything}
    if not limits:
        return Fitted(step=step, limits={})
    return Fitted(step=step, limits=limits, allows=CallClass(tool.slice.type, _rule(tool, user, step)))


def _rule(tool: Tool, user: str, step: Step) -> str:
    """The Cedar rule that the bounds of a step are."""
    return written_rule(tool.slice.type, user, _every_bound(tool, step))


def _every_bound(tool: Tool, step: Step) -> dict[str, Bound]:
    return {name: step.bounds.get(name, _ANYTHING) for name in tool.parameters}


def rules(plan: Plan, tools: Mapping[str, Tool], user: str) -> tuple[str, ...]:
    """What each step allows `user`, as the Cedar rule that it is. Raises `ValueError` when a bound does not fit."""
    return tuple(_rule(tools[step.tool], user, step) for step in plan.steps)


def bound_values(plan: Plan) -> Iterator[tuple[str, str, str, Any]]:
    """Every value in a bound: a name for it, the step's tool, its parameter, the value."""
    for number, step in enumerate(plan.steps, 1):
        for parameter, bound in step.bounds.items():
            name = f"step {number}: {parameter}"
            if bound.at_most is not None:
                yield name, step.tool, parameter, bound.at_most
            elif bound.one_of is not None:
                yield name, step.tool, parameter, list(bound.one_of)
            elif bound.equals is not msgspec.UNSET:
                yield name, step.tool, parameter, bound.equals


def plan_digest(plan: Plan) -> Digest:
    """Equal for plans that say the same, however they are written down."""
    return digest(plan.arguments())


__all__ = [
    "AnyPlan",
    "Bound",
    "Fitted",
    "Plan",
    "Step",
    "arguments_of",
    "bound_values",
    "checked",
    "fitted",
    "plan_digest",
    "problems",
    "read",
    "rules",
    "with_plans",
]
