"""Switches: what has been stopped by command.

A halt names what it stops: an agent, a tool, a user, or everything. A call that matches every part that a halt names
is denied. These switches live in the guard's own process.
"""

from __future__ import annotations

import threading

import msgspec


class Halt(msgspec.Struct, frozen=True):
    """One halt; a part that is `None` matches everything."""

    why: str
    agent: str | None = None
    tool: str | None = None
    user: str | None = None


class Switches:
    """The halts in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.halts: tuple[Halt, ...] = ()
        """Replaced as a whole at each change, so that readers need no lock."""

    def halt(self, halt: Halt) -> None:
        """Put `halt` in force."""
        with self._lock:
            self.halts = (*self.halts, halt)

    def resume(self, halt: Halt) -> None:
        """Lift `halt`. Raises `ValueError` when it is not in force."""
        with self._lock:
            if halt not in self.halts:
                raise ValueError("that halt is not in force")
            self.halts = tuple(each for each in self.halts if each != halt)

    def stops(self, agent: str, tool: str, user: str) -> Halt | None:
        """The first halt that matches; `None` when nothing stops the call."""
        for halt in self.halts:
            if halt.agent in (None, agent) and halt.tool in (None, tool) and halt.user in (None, user):
                return halt
        return None
