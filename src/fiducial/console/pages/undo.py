"""Undo: what of a session can be taken back, and taking it back.

First a plan, on record as an attempt, which calls nothing; then the same again with what was shown, which does it. When
the plan is another by then, the new one is shown instead and nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from fiducial.console.gate import Handler
from fiducial.console.undoing import Order
from fiducial.console.visit import Refused, Visit
from fiducial.core.ids import EventId, SessionId
from fiducial.errors import OversightError
from fiducial.oversight.undo_report import STANDS, Report

WORDS = {
    "undoable": "would be taken back",
    "undone": "taken back",
    "already": "taken back before",
    "nothing": "nothing to take back",
    "unknown": "unknown",
    "impossible": "cannot be taken back",
    "too-late": "too late",
    "changed": "changed since",
    "held": "people are asked",
    "waits": "waits for a newer one",
    "denied": "denied",
    "failed": "failed",
}
"""State of an effect, or what came of it → in words."""


def page(visit: Visit) -> Response:
    """The form."""
    return _page(visit, 200)


def attempt(visit: Visit) -> Response:
    """What would be taken back."""
    try:
        return _page(visit, 200, report=visit.services.undoing.tried(_order(visit), visit.me.person))
    except OversightError as error:
        return _page(visit, 422, str(error))


def run(visit: Visit) -> Response:
    """Take it back, once what would be was shown and confirmed."""
    form = visit.form
    if form.get("confirm", 10) != "yes":
        return _page(visit, 422, "look at what would be taken back, and confirm it")
    try:
        report = visit.services.undoing.run(_order(visit), visit.me.person, form.get("plan", 80))
    except OversightError as error:
        return _page(visit, 422, str(error))
    message = "what can be taken back has changed since you looked: look again" if report.dry_run else ""
    return _page(visit, 409 if report.dry_run else 200, message, report)


def _order(visit: Visit) -> Order:
    form = visit.form
    since = form.get("since", 80)
    return Order(
        session=_session(visit), why=form.get("why", 500), since=EventId(since) if since else None,
        force=form.get("force", 10) == "yes",
    )  # fmt: skip


def _session(visit: Visit) -> SessionId:
    session = SessionId(visit.params["session"])
    if next(iter(visit.services.ledger.session(session)), None) is None:
        raise Refused(404, "no session of that id is in this log")
    return session


def _page(visit: Visit, status: int, message: str = "", report: Report | None = None) -> Response:
    undoing, order = visit.services.undoing, _order(visit)
    effects = report.effects if report is not None else ()
    return visit.page(
        "undo.html", status, message=message, session=order.session, order=order, report=report, words=WORDS,
        stands=STANDS, plan=report.plan if report is not None else "",
        missing={taken.effect.decision: undoing.missing(taken.effect) for taken in effects},
        command=undoing.command(order, visit.me.person),
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {
    "GET /sessions/{session}/undo": page,
    "POST /sessions/{session}/undo": attempt,
    "POST /sessions/{session}/undo/run": run,
}

__all__ = ["PAGES", "WORDS"]
