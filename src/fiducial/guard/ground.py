"""What a session stands on, and what it shares with those that it delegates to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from fiducial.charter.model import Charter
from fiducial.core.clock import Clock
from fiducial.core.event import Mode
from fiducial.core.ids import Digest
from fiducial.core.store import Receipt, Store
from fiducial.flow.masking.detect import Detection
from fiducial.guard.compensation import Capture
from fiducial.guard.course import Course
from fiducial.guard.desk import Desk
from fiducial.guard.laundry import Laundry
from fiducial.guard.leases import Leases
from fiducial.guard.memories import Memories
from fiducial.guard.switches import Switches
from fiducial.guard.tool import Tool
from fiducial.policy.rulebook import Rulebook


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a session stands on: the charter it started with, made ready, and the guard's own parts."""

    charter: Charter
    rulebook: Rulebook
    tools: Mapping[str, Tool]
    detection: Detection
    """What tells data classes from text."""
    clock: Clock
    store: Store
    mode: Mode
    switches: Switches
    laundry: Laundry
    memories: Memories
    leases: Leases
    runners: Mapping[str, Callable[..., Any]]
    """Functions that previews and post-conditions may run, by tool name."""
    captures: Mapping[str, Capture]
    """What takes states and puts them back, by name."""
    on_held: Callable[..., Any] | None
    on_unclear: Callable[..., Any] | None
    desk: Desk | None = None


class Past:
    """What a session and those that it delegates to have done so far: theirs together, like their budget."""

    __slots__ = (
        "acted", "counting", "courses", "declared", "done", "read", "strays", "tainted", "withdrawing", "withdrawn"
    )  # fmt: skip

    def __init__(self) -> None:
        self.courses: tuple[Course, ...] = ()
        """The plan that counts, and after it those whose record is not kept yet; empty when there is no plan."""
        self.declared: set[Digest] = set()
        """Plans whose declaration is recorded."""
        self.tainted = False
        """One of them has read untrusted text."""
        self.strays = False
        """A memory of the user's alone has brought back to one of them what is not known to be from it."""
        self.acted: set[str] = set()
        """Targets acted on."""
        self.read: frozenset[str] = frozenset()
        """Data classes read."""
        self.done: frozenset[str] = frozenset()
        """Kinds of side effects done."""
        self.withdrawn: Mapping[str, str] = {}
        """Tools that are not to be used, and why."""
        self.withdrawing: dict[object, Mapping[str, str]] = {}
        """The same, by who says so."""
        self.counting: Future[Receipt] | None = None
        """Of the latest read that a window of records counts: when it is kept, what the read held is given back."""
