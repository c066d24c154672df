"""The pages, by what they are about. Each module has a table of its routes; here they are one."""

from __future__ import annotations

from collections.abc import Mapping

from fiducial.console.gate import Handler
from fiducial.console.pages import (
    account,
    charter,
    decisions,
    door,
    halt,
    ledger,
    notice,
    people,
    pins,
    sessions,
    undo,
    waiting,
)

PAGES: Mapping[str, Handler] = {
    route: handler
    for module in (door, account, waiting, notice, sessions, undo, decisions, halt, charter, pins, ledger, people)
    for route, handler in module.PAGES.items()
}
"""Method and path → who answers."""

__all__ = ["PAGES"]
