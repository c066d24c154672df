"""Widening: whether one plan allows anything that another does not. It is computed, never claimed.

A plan is *within* another when every run of calls that it allows, what is left of the other allows too:

- each of its steps lies within steps of the other: the same tool, bounds at least as tight
- together they use no more than those have left
- where the other is ordered, it is ordered too and goes through the same steps without leaving one out, so that nothing
  comes before what was to come first; or all of it lies within the one step whose turn it is

Among plans of which nothing was used yet, this is a partial order: every plan is within itself, and what is within a
plan that is within a third is within the third. Where it cannot be told, a plan is taken to widen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from fiducial.guard.plans import Fitted


class Left(Protocol):
    """A plan, and what is left of it."""

    @property
    def steps(self) -> Sequence[Fitted]:
        """Its steps."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether they come one after another."""
        ...

    @property
    def left(self) -> Sequence[int]:
        """Uses left of each."""
        ...

    def turns(self) -> Sequence[int]:
        """The steps whose turn it is, in order."""
        ...


def within(new: Left, other: Left) -> bool:
    """Every run of calls that the unused plan `new` allows, what is left of `other` allows."""
    if not new.steps:
        return True
    if not other.ordered or len(other.steps) == 1:
        return _shared_out(new.steps, other)
    if any(_all_in(new.steps, other, index) for index in other.turns()):
        return True
    return (new.ordered or len(new.steps) == 1) and _in_step(new.steps, other)


def _all_in(steps: Sequence[Fitted], other: Left, index: int) -> bool:
    """All of `steps` lie within one step of `other`."""
    uses = sum(one.step.uses for one in steps)
    return uses <= other.left[index] and all(one.within(other.steps[index]) for one in steps)


def _shared_out(steps: Sequence[Fitted], other: Left) -> bool:
    """The uses of `steps` can be shared out among those left of steps that contain them: a flow that fills them all."""
    fits = [[index for index, each in enumerate(other.steps) if one.within(each)] for one in steps]
    given = [[0] * len(other.steps) for _ in steps]
    """Step → step of the other → uses of the one that are put there."""
    free = list(other.left)
    for start, one in enumerate(steps):
        wanted = one.step.uses
        while wanted:
            placed = _placed(start, wanted, fits, given, free)
            if not placed:
                return False
            wanted -= placed
    return True


def _placed(start: int, most: int, fits: list[list[int]], given: list[list[int]], free: list[int]) -> int:
    """Find room for up to `most` more uses of step `start`, moving others where that makes some.

    Returns for how many there was; 0 when there is none at all. This is a shortest augmenting path (Edmonds and Karp,
    https://doi.org/10.1145/321694.321699), so that even the largest plans are compared in a moment.
    """
    came_from: dict[int, int] = {}  # step of the other → the step of the new plan that would be put there
    moved_out: dict[int, int] = {}  # step of the new plan → the step of the other that it would leave
    queue = [start]
    for one in queue:
        for index in fits[one]:
            if index in came_from:
                continue
            came_from[index] = one
            if not free[index]:
                movable = [each for each, row in enumerate(given) if row[index] and each not in moved_out]
                moved_out |= {each: index for each in movable if each != start}
                queue += [each for each in movable if each != start]
                continue
            path = [index]
            while came_from[path[-1]] != start:
                path.append(moved_out[came_from[path[-1]]])
            amount = min([most, free[index], *(given[came_from[to]][left] for to, left in pairwise(path))])
            free[index] -= amount
            for to, left in pairwise(path):
                given[came_from[to]][to] += amount
                given[came_from[to]][left] -= amount
            given[start][path[-1]] += amount
            return amount
    return 0


def _in_step(steps: Sequence[Fitted], other: Left) -> bool:
    """`steps` go through `other` one after another: each within the step that the one before it is in, or the next."""
    # Where the steps so far can end: step of the other → most uses of it that can still be left.
    ends: dict[int, int] = {}
    for number, one in enumerate(steps):
        starts = {index: other.left[index] for index in other.turns()} if number == 0 else dict(ends)
        if number:
            for index in ends:
                if index + 1 < len(other.steps):
                    starts[index + 1] = max(starts.get(index + 1, 0), other.left[index + 1])
        ends = {
            index: left - one.step.uses
            for index, left in starts.items()
            if left >= one.step.uses and one.within(other.steps[index])
        }
        if not ends:
            return False
    return True


__all__ = ["Left", "within"]
