"""The course of a plan: what is left of it, and what a call or another plan is held against.

A plan that is being decided does not count yet, and the earlier one does not count alone any more: from the decision
until its record is kept, a call must be on both. Then the new one takes the place of all before it; when its record
cannot be kept, it is dropped. So nothing is ever let through by a plan of which no record is kept, and uses of the
earlier plan cannot be spent beside those of the new one. A first plan that is not kept yet includes nothing.

Sessions that delegate share all of this (`fiducial.guard.state.Past`), and change it with their common lock held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from fiducial.charter.contracts import Role
from fiducial.core.event import Entry, PlanDeclared, PlanSettled
from fiducial.core.ids import DecisionId, Digest, EventId, HoldId, SessionId, mint
from fiducial.core.verdict import Allowed, Denied
from fiducial.guard.judgement import Judgement
from fiducial.guard.plans import Fitted, Plan, bound_values, fitted, plan_digest, read
from fiducial.guard.tool import Tool, ToolParameter
from fiducial.guard.widening import within
from fiducial.policy.facts import PlanFacts, ProposalFacts
from fiducial.policy.foresight import never
from fiducial.policy.slice import Principal

_OPEN = (Role.TARGET, Role.MAGNITUDE)


class _Use:
    """A call that was let through, and used a step."""

    __slots__ = ("fits", "in_turn", "index", "ok", "opens")

    def __init__(self, index: int, fits: tuple[int, ...], *, in_turn: bool, opens: tuple[int, ...]) -> None:
        self.index = index
        """The step that it counts for."""
        self.fits = fits
        """The steps whose bounds it meets."""
        self.in_turn = in_turn
        """Whether it was that step's turn."""
        self.opens = opens
        """The steps that it could have counted for: it is the call that what comes after them waits for."""
        self.ok = False
        """Its outcome is known, and it did what the step is for; until then no later step's turn has come."""


class Course:
    """One plan on its way."""

    __slots__ = (
        "_used", "approved", "decision", "digest", "ended", "holds", "kept", "left", "ordered", "plan", "steps",
    )  # fmt: skip

    def __init__(self, plan: Plan, steps: tuple[Fitted, ...], *, kept: bool = False, approved: bool = False) -> None:
        self.plan = plan
        self.steps = steps
        self.ordered = plan.ordered
        self.digest: Digest = plan_digest(plan)
        self.left = [each.step.uses for each in steps]
        """Uses left of each step."""
        self._used: dict[DecisionId, _Use] = {}
        """What each call used, in order; without calls that failed and changed nothing."""
        self.kept = kept
        """The record of its acceptance is kept."""
        self.approved = approved
        """People approved it, or a wider plan whose place it took."""
        self.holds: frozenset[HoldId] = frozenset()
        """The requests on which they did."""
        self.decision: DecisionId | None = None
        """The decision that accepted it."""
        self.ended = False
        """Its approval has ended, of which no record is kept yet."""

    @property
    def latest(self) -> int:
        """The latest step that was used in its turn."""
        return max((each.index for each in self._used.values() if each.in_turn), default=0)

    def turns(self) -> tuple[int, ...]:
        """The steps whose turn it is, in order: the latest, and on to the first of which no call has succeeded yet."""
        if not self.ordered:
            return tuple(range(len(self.steps)))
        used = {index for each in self._used.values() if each.ok for index in each.opens}
        found = []
        for index in range(self.latest, len(self.steps)):
            found.append(index)
            if index not in used:
                break
        return tuple(found)

    def step(self, principal: Principal, tool: str, arguments: Mapping[str, Any]) -> tuple[int | None, bool]:
        """The step that a call would count for, and whether it is that step's turn; `None` when there is none."""
        for index in self.turns():
            each = self.steps[index]
            if each.step.tool == tool and self.left[index] and each.meets(principal, arguments):
                return index, True
        moves, in_turn = self._placed(self._fits(principal, tool, arguments))
        return (moves[-1][1] if moves else None), in_turn

    def _fits(self, principal: Principal, tool: str, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """The steps whose bounds a call meets."""
        return tuple(
            index
            for index, each in enumerate(self.steps)
            if each.step.tool == tool and each.meets(principal, arguments)
        )

    def _placed(self, fits: tuple[int, ...]) -> tuple[list[tuple[DecisionId | None, int]], bool]:
        """The steps that calls would count for with one more that fits these; and whether it would be its turn.

        The new call (`None`) comes last, after those that make room for it; nothing, where there is no room for it.
        """
        if not self.ordered:
            moves = self._shared_out(fits)
            return moves, bool(moves)
        free, turns = [index for index in fits if self.left[index]], self.turns()
        in_turn = [index for index in free if index in turns]
        return [(None, index) for index in (in_turn or free)[:1]], bool(in_turn)

    def _shared_out(self, fits: tuple[int, ...]) -> list[tuple[DecisionId | None, int]]:
        """The same where there is no order: all calls are shared out anew if need be, so that it makes no difference
        which one came first. A shortest augmenting path, as in `fiducial.guard.widening`."""
        for index in fits:
            if self.left[index]:
                return [(None, index)]
        alike: dict[int, dict[tuple[int, ...], DecisionId]] = {}
        for decision, each in self._used.items():
            alike.setdefault(each.index, {})[each.fits] = decision
        came: dict[int, DecisionId | None] = dict.fromkeys(fits)  # step → the call that would be put there
        queue = list(fits)
        for index in queue:
            if self.left[index]:
                moves = [(came[index], index)]
                while (moved := moves[-1][0]) is not None:
                    left = self._used[moved].index
                    moves.append((came[left], left))
                return moves
            for others, decision in alike.get(index, {}).items():
                found = [other for other in others if other not in came]
                came |= dict.fromkeys(found, decision)
                queue += found
        return []

    def use(self, decision: DecisionId, principal: Principal, tool: str, arguments: Mapping[str, Any]) -> None:
        """A call was let through: it uses up its step, if it has one, and is under way."""
        fits = self._fits(principal, tool, arguments)
        moves, in_turn = self._placed(fits)
        if not moves:
            return
        index, turns = moves[-1][1], self.turns()
        opens = tuple(each for each in fits if self.left[each] and each in turns) if in_turn else (index,)
        self.left[moves[0][1]] -= 1
        for moved, to in moves:
            if moved is not None:
                self._used[moved].index = to
        self._used[decision] = _Use(index, fits, in_turn=in_turn, opens=opens)

    def succeeded(self, decision: DecisionId) -> None:
        """The call did what its step is for: the next one's turn has come."""
        if decision in self._used:
            self._used[decision].ok = True

    def failed(self, decision: DecisionId, *, undone: bool) -> None:
        """The call did not do what its step is for, so what comes after has to wait. `undone`: it changed nothing, and
        the step can be used again."""
        used = self._used.get(decision)
        if used is None:
            return
        used.in_turn, used.opens = False, ()
        if undone:
            del self._used[decision]
            self.left[used.index] += 1


NOTHING = Plan()


def nothing() -> Course:
    """What counts while a plan that was given at opening is not accepted: no call is on it."""
    return Course(NOTHING, (), kept=True)


class Proposal(Tool, frozen=True, kw_only=True):
    """`declare_plan` as it is called with one plan: every value in a bound counts as a parameter of its own, with the
    role, unit and entity that the step's tool gives it, so that it is traced as in a call of that tool."""

    course: Course
    values: Mapping[str, Any]
    """Name of such a parameter → the value."""
    impossible: frozenset[str]
    widens: bool


def proposal(
    tool: Tool,
    arguments: Mapping[str, Any],
    tools: Mapping[str, Tool],
    principal: Principal,
    tier: str,
    courses: tuple[Course, ...],
) -> Proposal:
    """`tool`, the built-in one, called with a plan that has no problems."""
    plan = read(arguments)
    course = Course(plan, fitted(plan, tools, principal.uid["id"]))
    parameters, values = {}, {}
    for name, of, parameter, value in bound_values(plan):
        given = tools[of].parameters[parameter]
        parameters[name] = ToolParameter(name, given.role, given.unit, given.entity, given.classes, given.keys)
        values[name] = value
    impossible = frozenset(
        step.tool
        for step in plan.steps
        if never(
            tools[step.tool].slice,
            principal,
            tier,
            {name: one.equals for name, one in step.bounds.items() if one.equals is not msgspec.UNSET},
        )
    )
    course.approved = bool(courses) and all(each.approved and within(course, each) for each in courses)
    course.holds = frozenset().union(*[each.holds for each in courses if each.approved])
    fields = {name: getattr(tool, name) for name in tool.__struct_fields__}
    return Proposal(
        **{**fields, "parameters": parameters, "binds": _base(courses, tools)},
        course=course,
        values=values,
        impossible=impossible,
        widens=not all(within(course, each) for each in courses) if courses else bool(plan.steps),
    )


def _base(courses: tuple[Course, ...], tools: Mapping[str, Tool]) -> tuple[Any, ...]:
    """What an approval of another plan is for, beside that plan: what counted before, and what of it was done."""
    return tuple(
        [each.digest, [left for left, one in zip(each.left, each.steps, strict=True) if _acts(one, tools)]]
        for each in courses
    )


def _acts(one: Fitted, tools: Mapping[str, Tool]) -> bool:
    return tools[one.step.tool].side_effect


def proposal_facts(proposed: Proposal, tools: Mapping[str, Tool], *, tainted: bool) -> ProposalFacts:
    """What policies see of it."""
    steps = proposed.course.plan.steps
    contracts = [tools[step.tool].contract for step in steps]
    return ProposalFacts(
        tools=frozenset(step.tool for step in steps),
        effects=frozenset(contract.effect.value for contract in contracts),
        kinds=frozenset(contract.kind.value for contract in contracts),
        uses=sum(step.uses for step in steps),
        ordered=proposed.course.ordered,
        unbounded=frozenset(
            each.step.tool
            for each in proposed.course.steps
            if (of := tools[each.step.tool]).side_effect
            and any(one.role in _OPEN and name not in each.limits for name, one in of.parameters.items())
        ),
        impossible=proposed.impossible,
        widens=proposed.widens,
        tainted=tainted,
    )


def plan_facts(
    courses: tuple[Course, ...], principal: Principal, tool: Tool, arguments: Mapping[str, Any]
) -> PlanFacts:
    """What policies see of the plan that a call is held against. Answers and plans are on every plan."""
    if tool.speaks or tool.declares:
        return PlanFacts(declared=True, includes=True, in_order=True, approved=all(each.approved for each in courses))
    found = [each.step(principal, tool.name, arguments) for each in courses]
    includes = courses[0].kept and all(index is not None for index, _ in found)
    return PlanFacts(
        declared=True,
        includes=includes,
        in_order=includes and all(in_turn for _, in_turn in found),
        approved=includes and all(each.approved for each in courses),
    )


def accepted(judgement: Judgement) -> Course | None:
    """The plan that a judgement accepts; `None` when it accepts none. Where nothing is enforced, one that would have
    been refused is not accepted either: what is observed then is what enforcing would have done."""
    tool = judgement.tool
    return tool.course if isinstance(tool, Proposal) and isinstance(judgement.verdict, Allowed) else None


def settled_entries(
    session: SessionId, judgement: Judgement, courses: Iterable[Course], known: set[Digest], now: int
) -> tuple[Entry, ...]:
    """The record of what a judgement means for its plan. `known`: plans whose declaration is recorded already."""
    tool = judgement.tool
    if not isinstance(tool, Proposal):
        return ()
    course, decision = tool.course, judgement.verdict.decision
    events: list[PlanDeclared | PlanSettled] = []
    if course.digest not in known:
        known.add(course.digest)
        tools = tuple(step.tool for step in course.plan.steps)
        events.append(PlanDeclared(id=_event_id(now), session=session, at_us=now, tools=tools, plan=course.digest))
    outcomes: list[tuple[Course, Literal["accepted", "held", "rejected", "superseded"]]]
    if accepted(judgement) is not None:
        outcomes = [(each, "superseded") for each in courses if each.plan is not NOTHING] + [(course, "accepted")]
    else:
        outcomes = [(course, "rejected" if isinstance(judgement.verdict, Denied) else "held")]
    events += [_settled(session, each, outcome, decision, now) for each, outcome in outcomes]
    return tuple(map(Entry, events))


def ended_entries(session: SessionId, ended: Iterable[Course], now: int) -> tuple[Entry, ...]:
    """The record that these plans, which were accepted, are approved no more."""
    return tuple(
        Entry(_settled(session, each, "accepted", each.decision, now)) for each in ended if each.decision is not None
    )


def _settled(
    session: SessionId,
    course: Course,
    outcome: Literal["accepted", "held", "rejected", "superseded"],
    decision: DecisionId,
    now: int,
) -> PlanSettled:
    return PlanSettled(
        id=_event_id(now), session=session, at_us=now, plan=course.digest, outcome=outcome, decision=decision,
        approved=course.approved, holds=tuple(sorted(course.holds)), steps=len(course.steps),
    )  # fmt: skip


def _event_id(now: int) -> EventId:
    return EventId(mint("evt", now // 1000))


def after(courses: tuple[Course, ...], course: Course) -> tuple[Course, ...]:
    """What counts once the record of the acceptance of `course` is kept: it, and what was decided since."""
    if not any(each is course for each in courses):
        return courses
    course.kept = True
    at = next(index for index, each in enumerate(courses) if each is course)
    return courses[at:]


def without(courses: tuple[Course, ...], course: Course) -> tuple[Course, ...]:
    """What counts when that record could not be kept."""
    return tuple(each for each in courses if each is not course)
