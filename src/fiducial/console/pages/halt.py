"""Halt: stop agents, see what is stopped and was, and start it again; and access taken in an emergency."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from starlette.responses import Response

from fiducial.charter.model import BUILT_IN_ROLES
from fiducial.console.gate import Handler
from fiducial.console.pages.waiting import whole
from fiducial.console.services import Services
from fiducial.console.sure import desk_of, switches_of
from fiducial.console.visit import Visit
from fiducial.core.ids import GrantId
from fiducial.errors import OversightError
from fiducial.guard.switches import Halt, read_halts

PARTS = ("agent", "tool", "user", "release")
NEWEST = 50
"""Lifted halts that are listed."""


def page(visit: Visit) -> Response:
    """What is stopped."""
    return _page(visit, 200)


def order(visit: Visit) -> Response:
    """Stop what matches every part given; everything only when that is ticked."""
    form, parts = visit.form, {name: visit.form.get(name, 300) or None for name in PARTS}
    everything = form.get("everything", 10) == "yes"
    if everything == any(parts.values()):
        return _page(visit, 422, "name what to stop, or tick everything: one of the two")
    try:
        switches_of(visit).order(form.get("why", 500), by=visit.me.person.id, **parts)
    except OversightError as error:
        return _page(visit, 422, str(error))
    return visit.go("/halt", "halted")


def lift(visit: Visit) -> Response:
    """Start it again."""
    why = visit.form.get("why", 500)
    if not why:
        return _page(visit, 422, "say why it may go on")
    switches_of(visit).lift(GrantId(visit.params["halt"]), by=visit.me.person.id, why=why)
    return visit.go("/halt", "resumed")


def break_glass(visit: Visit) -> Response:
    """Take a role for a short time."""
    form = visit.form
    role = form.get("role", 80)
    if role not in _roles(visit):
        return _page(visit, 422, "that is not a role of the charter")
    try:
        minutes = timedelta(minutes=whole(form.get("minutes", 6)))
        desk_of(visit).break_glass(visit.me.person.id, role, form.get("why"), minutes)
    except (OversightError, ValueError) as error:
        return _page(visit, 422, str(error))
    return visit.go("/halt", "glass")


def review(visit: Visit) -> Response:
    """Look at an emergency access afterwards."""
    found = visit.form.get("justified", 10)
    if found not in ("yes", "no") or not visit.form.get("note"):
        return _page(visit, 422, "say whether it was justified, and what you found")
    desk_of(visit).review_glass(
        GrantId(visit.params["grant"]), visit.me.person.id, justified=found == "yes", note=visit.form.get("note")
    )
    return visit.go("/halt", "reviewed")


def doubt(services: Services, halt: Halt) -> str:
    """What makes one wonder whether the halt stops what was meant; mostly nothing."""
    if halt.tool is None or halt.tool in services.tools:
        return ""
    return f"no contract of this charter has the tool `{halt.tool}`; it stops none of this charter's calls"


def _roles(visit: Visit) -> list[str]:
    return sorted({*BUILT_IN_ROLES, *visit.services.charter.about.roles} - {"user"})


def _page(visit: Visit, status: int, message: str = "") -> Response:
    services = visit.services
    halts = read_halts(services.store)[::-1]
    desk = services.desk
    return visit.page(
        "halt.html", status, message=message, roles=_roles(visit), tools=sorted(services.charter.contracts),
        doubts={each.id: doubt(services, each) for each in halts},
        agent=services.charter.about.agent, halts=[each for each in halts if not each.lifted_us],
        lifted=[each for each in halts if each.lifted_us][:NEWEST],
        glasses={each.id: each for each in [*desk.glasses(unreviewed=True), *desk.glasses()]}.values(),
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {
    "GET /halt": page,
    "POST /halt": order,
    "POST /halt/{halt}/lift": lift,
    "POST /emergency": break_glass,
    "POST /emergency/{grant}/review": review,
}

__all__ = ["PAGES"]
