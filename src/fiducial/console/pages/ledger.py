"""The ledger: how large it is, its signed head, and checking all of it now."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import PlainTextResponse, Response

from fiducial.console.gate import Handler
from fiducial.console.visit import Visit
from fiducial.errors import Corrupt

NEWEST = 30
"""Entries listed."""


def page(visit: Visit) -> Response:
    """The ledger."""
    ledger = visit.services.ledger
    size = ledger.size
    try:
        note, fault = ledger.checkpoint(), ""
    except Corrupt as error:
        note, fault = "", str(error)
    newest = [
        (record.index, type(record.event).__struct_config__.tag, record.event)
        for record in ledger.entries(max(0, size - NEWEST), size)
    ]
    return visit.page(
        "ledger.html", size=size, origin=ledger.origin, note=note, fault=fault, keys=ledger.keys(),
        progress=visit.services.verification.progress, newest=newest[::-1],
    )  # fmt: skip


def checkpoint(visit: Visit) -> Response:
    """The signed head, as a file to keep elsewhere."""
    headers = {"Content-Disposition": 'attachment; filename="checkpoint.txt"'}
    return visit.finish(PlainTextResponse(visit.services.ledger.checkpoint(), headers=headers))


def verify(visit: Visit) -> Response:
    """Check every stored byte, beside the requests."""
    visit.services.verification.start()
    return visit.go("/ledger", "verifying")


PAGES: Mapping[str, Handler] = {
    "GET /ledger": page,
    "GET /ledger/checkpoint": checkpoint,
    "POST /ledger/verify": verify,
}

__all__ = ["PAGES"]
