"""Taking back what a session did, from the console: as `fiducial undo` does it, through the guard.

The plan comes from the log alone, and any console can show it. What takes effects back are the host's own functions,
and a console has them only when it was started with them (`fiducial up --tools … --captures …`); otherwise it says by
which command somebody can do it in a terminal. Who takes back and why, each call and what came of each effect are on
record by `fiducial.oversight.undo`; an effect is taken back once, however often it is asked for.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fiducial.charter.model import Charter
from fiducial.core.clock import Clock
from fiducial.core.ids import Digest, EventId, SessionId
from fiducial.errors import OversightError, SessionError
from fiducial.guard.compensation import Capture
from fiducial.guard.guard import Guard
from fiducial.oversight.desk import Desk
from fiducial.oversight.people import Person
from fiducial.oversight.undo import MAX_WHY, undo
from fiducial.oversight.undo_effect import Effect
from fiducial.oversight.undo_report import Report, lacks

if TYPE_CHECKING:
    from fiducial.store.ledger import LedgerStore

MAX_AT_ONCE = 4
"""Undos that run at the same time; each may wait for tools as long as their contracts let them."""


class Hands(msgspec.Struct, frozen=True, kw_only=True):
    """What the host gave the console to take things back with."""

    tools: Mapping[str, Callable[..., Any]] = {}
    """Functions that take effects back, and that post-conditions read, by tool."""
    captures: Mapping[str, Capture] = {}
    """What puts captured states back, by name."""
    command: tuple[str, ...] = ("--tools", "MODULE:NAME", "--captures", "MODULE:NAME")
    """What somebody adds to `fiducial undo` in a terminal to reach the same store, charter and functions."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants taken back."""

    session: SessionId
    why: str
    since: EventId | None = None
    """Only what came from that event on."""
    force: bool = False
    """Put states back over what others changed since."""


class Undoing:
    """Usable from any thread."""

    def __init__(self, store: LedgerStore, charter: Charter, desk: Desk, clock: Clock, hands: Hands) -> None:
        self._store, self._charter, self._desk, self._clock = store, charter, desk, clock
        self._hands = hands
        self._lock = threading.Lock()
        self._guard: Guard | None = None
        self._running = threading.BoundedSemaphore(MAX_AT_ONCE)

    def tried(self, order: Order, by: Person) -> Report:
        """What would be taken back: calls nothing, and is on record as an attempt. Raises `OversightError`."""
        return self._undo(order, by, dry_run=True, shown=None)

    def run(self, order: Order, by: Person, shown: str) -> Report:
        """Take it back, if `shown` names the plan as it is now; otherwise what would be taken back by now.

        Raises `OversightError` when it cannot be, `StoreError` when it cannot be recorded.
        """
        if not self._running.acquire(blocking=False):
            raise OversightError("several undos run already; try again when they have ended")
        try:
            return self._undo(order, by, dry_run=False, shown=Digest(shown))
        finally:
            self._running.release()

    def missing(self, effect: Effect) -> str:
        """What this console would need to take `effect` back and was not given; empty: nothing."""
        return lacks(effect, self._hands.tools, self._hands.captures)

    def command(self, order: Order, by: Person) -> str:
        """How somebody does the same in a terminal."""
        parts = ["fiducial", "undo", order.session, "--by", by.id, "--why", order.why, *self._hands.command]
        for role in by.roles:
            parts += ["--role", role]
        if order.since is not None:
            parts += ["--from", order.since]
        if order.force:
            parts.append("--force")
        return shlex.join(parts)

    def _undo(self, order: Order, by: Person, *, dry_run: bool, shown: Digest | None) -> Report:
        if not order.why.strip() or len(order.why) > MAX_WHY:
            raise OversightError(f"say why, in 1 to {MAX_WHY} characters")
        try:
            return undo(
                self._made(), order.session, by=by.id, why=order.why, roles=by.roles, since=order.since,
                dry_run=dry_run, force=order.force, shown=shown,
            )  # fmt: skip
        except SessionError as error:
            raise OversightError(str(error)) from error

    def _made(self) -> Guard:
        with self._lock:
            if self._guard is None:
                self._guard = Guard(
                    self._charter, store=self._store, clock=self._clock, desk=self._desk,
                    tools=self._hands.tools, captures=self._hands.captures,
                )  # fmt: skip
            return self._guard


__all__ = ["Hands", "Order", "Undoing"]
