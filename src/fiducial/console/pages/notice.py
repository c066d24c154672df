"""Where a signed link leads: to the request, for whoever has signed in and may see it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from fiducial.console.gate import Handler
from fiducial.console.visit import Refused, Visit, quoted
from fiducial.errors import OversightError


def follow(visit: Visit) -> Response:
    """Check the link, record that it was followed, and go on to its request."""
    services = visit.services
    try:
        signed = services.links.read(visit.params["link"])
        hold = services.desk.hold(signed.hold)
    except OversightError as error:
        raise Refused(404, f"{error}; what still waits is in the queue") from error
    if visit.incoming.method == "GET":
        services.links.followed(hold.id, hold.session, visit.me.person.id)
    return visit.go(f"/waiting/{quoted(hold.id)}")


PAGES: Mapping[str, Handler] = {"GET /notice/{link}": follow}

__all__ = ["PAGES"]
