"""Probes: other tools that are read around a call, before it as a preview and after it as a post-condition.

An agent's own word confirms nothing: a post-condition reads the outcome independently. Probes are bounded in time; one
that fails, is cut off or finds something else than a number leaves its fact unknown, which policies see as -1, and as
`context.preview.failed`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from fiducial.charter.contracts import Probe
from fiducial.core.path import PathPattern
from fiducial.flow.formats.members import MAX_DEPTH, LazyList, LazyMembers
from fiducial.flow.formats.parse import structured
from fiducial.flow.structure import DEEP, Place, Root, Shapes, path_of, plain
from fiducial.guard.effects import Ran, Run, Steps
from fiducial.guard.state import State
from fiducial.guard.tool import Tool
from fiducial.policy.facts import PreviewFacts

_ROOTS = ("$arguments", "$result")
_INDEX = re.compile(r"\[\d")
_Part: TypeAlias = tuple[Place, int, Any]
"""Place, shape and value."""
_FAILED = PreviewFacts(failed=True)
_MOST = 2**53 - 1
"""What a larger number counts as: the largest that every reader of JSON knows."""
MAX_WALK = 100_000
"""Leaves and branches of a probe's result that are looked at; past it the fact is unknown."""


class TooLarge(LookupError):
    """A value has too many parts, or too deep ones, so what a pattern names in it is not known."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        """Parts that the pattern names, or that may be such: at least one for each that was come across."""
        super().__init__(f"a value of more than {MAX_WALK} parts, or {MAX_DEPTH} levels")


def preview(session: State, tool: Tool, arguments: Mapping[str, Any]) -> Steps[PreviewFacts]:
    """What the contract's preview finds; `failed` when it could not be run, failed or did not say all."""
    probe = tool.contract.preview
    if probe is None:
        return PreviewFacts()
    if not _may_run(session, probe):
        return _FAILED
    try:
        asked = fill(probe.arguments, arguments, None)
    except TooLarge:
        return _FAILED
    ran = yield Run(session.ground.runners[probe.tool], asked, probe.timeout)
    if not isinstance(ran, Ran) or ran.outcome != "ok":
        return _FAILED
    found = {fact: (_cost if fact == "cost" else _count)(ran.value, path) for fact, path in probe.facts.items()}
    return PreviewFacts(ran=True, failed=-1 in found.values(), **found)


def confirm(
    session: State, tool: Tool, arguments: Mapping[str, Any], result: Any
) -> Steps[Literal["yes", "no", "unknown", "not-checked"]]:
    """Whether the contract's post-condition holds."""
    probe: Probe | None = tool.contract.postcondition
    if probe is None:
        return "not-checked"
    if not _may_run(session, probe) or not probe.expect:
        return "unknown"
    try:
        asked, expected = (fill_exactly(each, arguments, result) for each in (probe.arguments, probe.expect))
    except LookupError:
        return "unknown"  # a call that was cut off has no result to compare with
    ran = yield Run(session.ground.runners[probe.tool], asked, probe.timeout)
    if not isinstance(ran, Ran) or ran.outcome != "ok":
        return "unknown"
    try:
        met = all(
            any(_same(value, part) for part in find(ran.value, path)) or (path == "$" and _same(value, ran.value))
            for path, value in expected.items()
        )
        return "yes" if met else "no"
    except TooLarge:
        return "unknown"


def _may_run(session: State, probe: Probe) -> bool:
    """The host gave the tool, and nobody has halted it by name."""
    halt = session.switches.stops(session.agents, probe.tool, session.user) if session.switches.halts else None
    return probe.tool in session.ground.runners and (halt is None or halt.tool is None)


def fill(template: Mapping[str, Any], arguments: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """`template` with `$arguments.x` and `$result.y` replaced by what they name; `None` where that is nothing.

    Raises `TooLarge` when that cannot be looked for.
    """
    return {name: _fill(value, arguments, result, exactly=False) for name, value in template.items()}


def fill_exactly(template: Mapping[str, Any], arguments: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """`fill`. Raises `LookupError` when a part of the template names nothing."""
    return {name: _fill(value, arguments, result, exactly=True) for name, value in template.items()}


def templates(value: Any) -> list[str]:
    """The templates in `value`; what is left out is constant."""
    if isinstance(value, Mapping):
        return [found for member in value.values() for found in templates(member)]
    if isinstance(value, (list, tuple)):
        return [found for member in value for found in templates(member)]
    return [value] if isinstance(value, str) and value.startswith(_ROOTS) else []


def _fill(value: Any, arguments: Mapping[str, Any], result: Any, *, exactly: bool) -> Any:
    if isinstance(value, Mapping):
        return {name: _fill(member, arguments, result, exactly=exactly) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fill(member, arguments, result, exactly=exactly) for member in value]
    if not isinstance(value, str):
        return value
    for prefix, root in (("$arguments", arguments), ("$result", result)):
        if value.startswith((prefix + ".", prefix + "[")) or value == prefix:
            found = [root] if value == prefix else find(root, "$" + value[len(prefix) :])
            if exactly and (not found or (root is None and prefix == "$result")):
                raise LookupError(f"`{value}` names nothing")
            return found[0] if found else None
    return value


def find(value: Any, path: str) -> list[Any]:
    """Every part of `value` that the pattern `path` names, in order; not what lies beneath them.

    Text in JSON, YAML or `repr` form is looked through like what it says. Raises `TooLarge`.
    """
    pattern = PathPattern(path)
    found: list[Any] = []
    shapes = Shapes(exact=_INDEX.search(path) is not None)
    named: dict[int, bool] = {}
    todo: list[Iterator[_Part]] = [iter([(Root(""), 0, structured(value))])]
    steps = 0
    while todo:
        for place, shape, part in todo[-1]:
            steps += 1
            if steps > MAX_WALK or shape == DEEP:
                raise TooLarge(len(found) + 1 + sum(1 for each in todo for _ in each))
            if shape not in named:
                named[shape] = pattern.covers(path_of(place))
            if named[shape]:
                found.append(part)
            elif (inside := _inside(place, shape, plain(part), shapes)) is not None:
                todo.append(inside)
                break
        else:
            todo.pop()
    return found


def _inside(place: Place, shape: int, value: Any, shapes: Shapes) -> Iterator[_Part] | None:
    """The members of `value`, which is at `place`; `None`: it has none."""
    if isinstance(value, (Mapping, LazyMembers)):
        pairs = value.items() if isinstance(value, Mapping) else value.members
        return (((place, key), shapes.below(shape, key), member) for key, member in ((str(k), m) for k, m in pairs))
    if isinstance(value, (list, tuple, LazyList)):
        members = enumerate(value.members if isinstance(value, LazyList) else value)
        return (((place, at), shapes.below(shape, at if shapes.exact else 0), member) for at, member in members)
    return None


def length(value: Any) -> int | None:
    """How many members a list has; `None`: it is none."""
    if isinstance(value, LazyList):
        return sum(1 for _ in value.members)
    return len(value) if isinstance(value, (list, tuple, set, frozenset)) else None


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON is: `1` and `1.0`, but not `true`, which Python takes for 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(member, other[name]) for name, member in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _count(value: Any, path: str) -> int:
    """One number at `path`, or the length of one list; how many parts it names if several; -1 for anything else."""
    try:
        found = find(value, path)
    except TooLarge:
        return -1
    if len(found) != 1:
        return len(found) if found else -1
    value = found[0]
    members = length(value)
    if members is not None:
        return members
    if isinstance(value, bool):
        return -1
    if isinstance(value, (int, float)) and value >= 0:
        return _MOST if value > _MOST else math.ceil(value)
    return -1


def _cost(value: Any, path: str) -> int:
    """One amount of minor units at `path`; -1 for anything else.

    98.70 is an amount of another unit, and 98.00 cannot be told from one.
    """
    try:
        found = find(value, path)
    except TooLarge:
        return -1
    if len(found) != 1 or isinstance(found[0], bool) or not isinstance(found[0], int) or found[0] < 0:
        return -1
    return min(found[0], _MOST)
