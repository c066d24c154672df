"""Pins: what of servers' tools and of skills is relied upon, what is quarantined, and a person's decision on that."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Final

import msgspec
from starlette.responses import Response

from fiducial.console.gate import Handler
from fiducial.console.sure import pins_of
from fiducial.console.visit import Visit
from fiducial.errors import NotPermitted, OversightError
from fiducial.oversight.pins import Change, Pin, Pins, wholes

MOST: Final = 200_000
"""Characters of a difference that a page shows; what has more is decided where all of it can be read."""
_NAME: Final = 4_000
"""Characters of a name."""
SIGNS: Final = {"+": "added", "-": "gone", "@": "where"}
"""What a line of a difference begins with → what it is."""


class Shown(msgspec.Struct, frozen=True):
    """Something that is quarantined, as the page shows it."""

    change: Change
    lines: tuple[tuple[str, str], ...] = ()
    """What each line of the difference is, and the line."""
    too_long: bool = False
    """The difference is, to be shown."""


def page(visit: Visit) -> Response:
    """All of them."""
    return _page(visit, 200)


def decide(visit: Visit) -> Response:
    """Rely on what is quarantined, or keep it out."""
    form, me = visit.form, visit.me.person.id
    server, seen, decision = form.text("server", _NAME) or "", form.get("seen", 80), form.get("decision", 20)
    if decision not in ("approve", "approve-all", "keep-out"):
        return _page(visit, 422, "say whether you rely on it, or keep it out")
    try:
        if decision == "approve-all":
            if any(each.too_long and each.change.offered.server == server for each in _quarantined(visit)):
                raise OversightError("some of it is too long to be shown here; look at it by `fiducial pins list`")
            pins_of(visit).approve_all(server, seen, me)
        elif decision == "approve":
            if any(each.too_long and _is(each.change.offered, server, seen) for each in _quarantined(visit)):
                raise OversightError("it is too long to be shown here; look at it by `fiducial pins list`")
            pins_of(visit).approve(server, seen, me)
        else:
            pins_of(visit).keep_out(server, seen, me)
    except NotPermitted:
        raise
    except OversightError as error:
        return _page(visit, 409, str(error))
    return visit.go("/pins", "kept-out" if decision == "keep-out" else "relied-upon")


def _is(offered: Pin, server: str, seen: str) -> bool:
    return (offered.server, offered.digest) == (server, seen)


def _quarantined(visit: Visit) -> list[Shown]:
    """What waits for somebody before what was kept out."""
    found = [_shown(each) for each in _pins(visit).waiting()]
    return sorted(found, key=lambda each: each.change.offered.kept_out is not None)


def _shown(change: Change) -> Shown:
    lines = change.diff()
    if sum(map(len, lines)) > MOST:
        return Shown(change, too_long=True)
    return Shown(change, tuple((SIGNS.get(line[:1], "same"), line) for line in lines))


def _pins(visit: Visit) -> Pins:
    return Pins(visit.services.store, visit.services.clock)


def _page(visit: Visit, status: int, message: str = "") -> Response:
    quarantined = _quarantined(visit)
    unshown = {each.change.offered.server for each in quarantined if each.too_long}
    together = [each for each in wholes(each.change for each in quarantined) if each.server not in unshown]
    relied = groupby(_pins(visit).relied_upon(), key=lambda each: (each.of, each.server))
    return visit.page(
        "pins.html", status, message=message, quarantined=quarantined, together=together, most=MOST,
        relied=[(of, server, list(each)) for (of, server), each in relied],
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {"GET /pins": page, "POST /pins": decide}

__all__ = ["MOST", "PAGES"]
