"""What the ten steps ask their driver to do, so that they themselves do no I/O and know no event loop."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import msgspec

from fiducial.core.store import Receipt


class Kept(msgspec.Struct, frozen=True):
    """Wait until the store has kept a commit; the driver sends `None`, or throws what the store raised."""

    future: Future[Receipt]


class Run(msgspec.Struct, frozen=True):
    """Run a tool, at most for `timeout`; the driver sends a `Ran`."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    timeout: timedelta


class Ask(msgspec.Struct, frozen=True):
    """Ask a person through an in-process hook; the driver sends what the hook returned."""

    hook: Callable[..., Any]
    question: Any


class Ran(msgspec.Struct, frozen=True):
    """What came of a run."""

    outcome: str
    """`ok`, `failed` (the tool raised) or `unknown` (it was cut off)."""
    value: Any = None
    error: str | None = None
    """What the tool raised, in words."""
    duration_us: int = 0
    nothing_done: bool = False
    """It is certain that there was no effect: it did not begin, or the tool raised `ToolRefused`."""
    withheld: bool = False
    """Something of what came was left out here, as it may not be handed on."""


Effect: TypeAlias = Kept | Run | Ask
T = TypeVar("T")
Steps: TypeAlias = Generator[Effect, Any, T]
"""A computation that yields effects and returns `T`."""
