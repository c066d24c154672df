"""Decisions: whether people really decide what they are asked, by role."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from fiducial.console.gate import Handler
from fiducial.console.visit import Visit
from fiducial.oversight.considered import ENOUGH, QUICK_US

WARNINGS = {
    "rubber-stamp": "Most approvals took a few seconds, or were given without opening the request. Ask less, or show "
    "less at once: nobody is reading.",
    "too-strict": "Nearly everything is approved, by people who look. The rule asks where nobody objects: narrow it, "
    "or approve classes of calls.",
    "too-trusting": "Where the agent itself was unsure, people hardly ever object. They seem to trust it too much.",
    "too-lax": "Most of what is asked is refused. A rule should deny it without asking anybody.",
}
"""Pattern → what it means and what can be done."""


def page(visit: Visit) -> Response:
    """How each role decides."""
    return visit.page(
        "decisions.html", found=visit.services.index.decisions(), warnings=WARNINGS, enough=ENOUGH,
        quick=QUICK_US // 1_000_000,
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {"GET /decisions": page}

__all__ = ["PAGES", "WARNINGS"]
