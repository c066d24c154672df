"""The queue's rows, rendered once for everybody who sees the same.

What a row says follows from its card and from two ages in words, so that is its key: a request that changes has another
version, and a row whose age reads differently is rendered again. A whole list follows from what waits, from which of it
is for whoever looks, from what was erased, and from the second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jinja2
import msgspec
from markupsafe import Markup

from fiducial.console.queue import Card, Evidence, Waiting
from fiducial.console.render import ago
from fiducial.oversight.hold import Hold

MAX_ROWS = 4_000
"""Rows that are kept; a kilobyte each."""
MAX_LISTS = 50
"""Lists that are kept; up to 50 rows each."""
_Row: TypeAlias = tuple[str, int, str, bool, int, Evidence, str, str]
_List: TypeAlias = tuple[str, int, tuple[bool, ...], int]


class Listed(msgspec.Struct, frozen=True):
    """A list, ready for the page."""

    rows: Markup
    mine: tuple[Hold, ...]
    """Those of the requests shown that whoever looks may answer."""
    shown: int
    """Rows."""
    total: int
    """Rows that there would be without a limit."""


class Rows:
    """Rendered rows. Usable from any thread."""

    def __init__(self, template: jinja2.Template) -> None:
        self._template = template
        self._rows: dict[_Row, Markup] = {}
        self._lists: dict[_List, Listed] = {}

    def listed(
        self, waiting: Waiting, mine: tuple[bool, ...], now_us: int, cards: Callable[[], tuple[list[Card], int]]
    ) -> Listed:
        """The list of what waits; `cards` makes what it shows, and says how many cards there would be."""
        key = waiting.state, waiting.erasures, mine, now_us // 1_000_000
        found = self._lists.get(key)
        if found is None:
            made, total = cards()
            rows = Markup("").join(self._row(card, now_us) for card in made)
            found = Listed(rows, tuple(card.hold for card in made if card.mine), len(made), total)
            if len(self._lists) >= MAX_LISTS:
                self._lists.clear()
            self._lists[key] = found
        return found

    def _row(self, card: Card, now_us: int) -> Markup:
        hold = card.hold
        key = (
            hold.id, card.version, hold.role, card.mine, card.alike, card.evidence,
            ago(now_us - hold.requested_us), ago(now_us - hold.expires_us),
        )  # fmt: skip
        found = self._rows.get(key)
        if found is None:
            found = Markup(self._template.render(card=card, now_us=now_us))  # noqa: S704 - a template has escaped it
            if len(self._rows) >= MAX_ROWS:
                self._rows.clear()
            self._rows[key] = found
        return found


__all__ = ["Listed", "Rows"]
