"""Sessions: found, read step by step, and each event with its proof."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from fiducial.console.found import Query
from fiducial.console.gate import Handler
from fiducial.console.trajectory import told
from fiducial.console.visit import Refused, Visit
from fiducial.core.ids import EventId, SessionId
from fiducial.errors import StoreError

PER_PAGE = 50
STEPS = 200
"""Steps of a session that one page shows."""
VERDICTS = ("allowed", "held", "unclear", "denied")
STATES = ("open", "closed", "waiting", "unknown", "undone")
_EXCERPT = 20_000
"""Characters of a payload on an event's own page."""


def listing(visit: Visit) -> Response:
    """The newest sessions, or those that are looked for."""
    asked = visit.query
    query = Query(
        text=asked.get("q", 200),
        verdict=_one_of(asked.get("verdict", 20), VERDICTS),
        state=_one_of(asked.get("state", 20), STATES),
    )
    number = page_number(visit)
    found, total = visit.services.index.search(query, start=(number - 1) * PER_PAGE, count=PER_PAGE)
    return visit.page(
        "sessions.html", found=found, total=total, query=query, number=number, last=max(1, -(-total // PER_PAGE)),
        verdicts=VERDICTS, states=STATES,
    )  # fmt: skip


def page(visit: Visit) -> Response:
    """One session."""
    session = SessionId(visit.params["session"])
    services = visit.services
    found = told(services.ledger.session(session), services.charter)
    if not found.steps:
        raise Refused(404, "no session of that id is in this log")
    number = page_number(visit)
    first = (number - 1) * STEPS
    return visit.page(
        "session.html", session=session, told=found, steps=found.steps[first : first + STEPS], number=number,
        last=max(1, -(-len(found.steps) // STEPS)), children=services.index.children(session),
        ours=found.opened is not None and found.opened.charter == services.charter.digest,
    )  # fmt: skip


def event(visit: Visit) -> Response:
    """One event as it is kept, its payloads, and whether it stands in the signed log."""
    ledger, id = visit.services.ledger, EventId(visit.params["event"])
    record = ledger.find(id)
    if record is None:
        raise Refused(404, "no event of that id is in this log")
    raw = msgspec.json.format(record.data, indent=2).decode()
    payloads = [
        (each.ref, None if each.data is None else each.data[: 4 * _EXCERPT].decode("utf-8", "replace"))
        for each in record.payloads
    ]
    try:
        proof, fault = ledger.prove(id), ""
    except StoreError as error:
        proof, fault = None, str(error)
    return visit.page(
        "event.html", event=record.event, kind=type(record.event).__struct_config__.tag, index=record.index, raw=raw,
        payloads=payloads, proof=proof, fault=fault, limit=_EXCERPT,
    )  # fmt: skip


def proof(visit: Visit) -> Response:
    """The proof, as a file for `fiducial log check`."""
    ledger, id = visit.services.ledger, EventId(visit.params["event"])
    if ledger.find(id) is None:
        raise Refused(404, "no event of that id is in this log")
    text = ledger.prove(id).to_json()
    headers = {"Content-Disposition": 'attachment; filename="proof.json"'}
    return visit.finish(Response(text, media_type="application/json", headers=headers))


def page_number(visit: Visit) -> int:
    """The page that is asked for, from 1 on."""
    text = visit.query.get("page", 8) or "1"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise Refused(404, "there is no such page")
    return int(text)


def _one_of(text: str, known: tuple[str, ...]) -> str:
    return text if text in known else ""


PAGES: Mapping[str, Handler] = {
    "GET /sessions": listing,
    "GET /sessions/{session}": page,
    "GET /events/{event}": event,
    "GET /events/{event}/proof": proof,
}

__all__ = ["PAGES", "page_number"]
