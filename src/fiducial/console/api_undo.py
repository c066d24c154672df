"""The HTTP interface about taking back what a session did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from fiducial.console.operation import Operation, Why, body_of
from fiducial.console.undoing import Order, Undoing
from fiducial.console.visit import Refused, Visit
from fiducial.core.ids import DecisionId, EventId, HoldId, SessionId
from fiducial.oversight.undo_report import Report, Taken


class UndoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to take back; without a `plan` it is only said what would be."""

    why: Why
    """Goes into the log itself and stays there: name no one."""
    since: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | None = None
    """Only what came from this event on."""
    force: bool = False
    """Put states back over what others changed since."""
    plan: str | None = None
    """The `plan` of an answer: do that. When it is another by now, nothing is done."""


class ByCalling(msgspec.Struct, frozen=True):
    """The call that takes an effect back."""

    tool: str
    arguments: dict[str, Any]
    capture: str | None
    """What puts a captured state back."""
    untrusted: tuple[str, ...]
    """Arguments that a third party could have chosen."""


class UndoEffect(msgspec.Struct, frozen=True, kw_only=True):
    """One effect, and what became of it."""

    decision: DecisionId
    event: EventId
    session: SessionId
    tool: str
    at_us: int
    state: str
    """`undone`, `undoable`, `unknown`, `too-late` or `impossible`, before anything was done."""
    outcome: str | None
    """What came of it; `null` when nothing was to be done."""
    why: str
    detail: str
    hold: HoldId | None
    """What people are asked."""
    by_calling: ByCalling | None
    missing: str
    """What this console would need to take it back and was not given; empty: nothing."""


class UndoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What can be taken back, or what became of it."""

    target: SessionId
    session: SessionId
    """In which it is on record."""
    dry_run: bool
    complete: bool
    """Nothing is left, or would be, that should be taken back."""
    plan: str
    """Names what was planned: send it to have it done."""
    effects: list[UndoEffect]
    """Newest first."""


def undo(visit: Visit) -> UndoReport:
    body, undoing, me = body_of(visit, UndoBody), visit.services.undoing, visit.me.person
    session = SessionId(visit.params["session"])
    if next(iter(visit.services.ledger.session(session)), None) is None:
        raise Refused(404, "no session of that id is in this log")
    since = EventId(body.since) if body.since is not None else None
    order = Order(session=session, why=body.why, since=since, force=body.force)
    if body.plan is None:
        return _told(undoing.tried(order, me), undoing)
    report = undoing.run(order, me, body.plan)
    if report.dry_run:
        raise Refused(409, "what can be taken back has changed since; ask again what would be")
    return _told(report, undoing)


def _told(report: Report, undoing: Undoing) -> UndoReport:
    return UndoReport(
        target=report.target, session=report.session, dry_run=report.dry_run, complete=report.complete,
        plan=report.plan, effects=[_effect(taken, undoing) for taken in report.effects],
    )  # fmt: skip


def _effect(taken: Taken, undoing: Undoing) -> UndoEffect:
    effect, how = taken.effect, taken.effect.compensation
    return UndoEffect(
        decision=effect.decision, event=effect.event, session=effect.session, tool=effect.tool, at_us=effect.at_us,
        state=effect.state, outcome=taken.outcome, why=taken.why, detail=taken.detail, hold=taken.hold,
        by_calling=None if how is None else ByCalling(how.tool, how.arguments, how.driver, how.untrusted),
        missing=undoing.missing(effect),
    )  # fmt: skip


OPERATIONS: Mapping[str, Operation] = {
    "POST /api/v1/sessions/{session}/undo": Operation(
        run=undo, summary="Take back what a session did, or say what would be", gives=UndoReport, takes=UndoBody
    ),
}
"""Method and path → what it does."""

__all__ = ["OPERATIONS"]
