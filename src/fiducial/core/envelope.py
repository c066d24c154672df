"""What every event has in common, and the words that several kinds use."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from fiducial.core.ids import EventId, SessionId
from fiducial.core.payload import PayloadRef

Mode: TypeAlias = Literal["observe", "shadow", "enforce"]
"""`observe`: record, never ask a policy to stop anything. `shadow`: decide and record. `enforce`: act on it."""
Authority: TypeAlias = Literal["system", "operator", "user", "agent", "tool"]
"""Who speaks, highest authority first; `agent` is another agent, `tool` a tool's output."""
Outcome: TypeAlias = Literal["ok", "failed", "unknown"]
"""`unknown`: it was cut off, and the effect may have happened."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """One thing that happened."""

    id: EventId
    """Sorts by time."""
    session: SessionId | None
    """`None` for events of the log itself."""
    at_us: int
    """Microseconds since 1970-01-01 UTC, by the guard's clock."""
    v: int = 1
    """Version of this kind's fields."""
    payloads: tuple[PayloadRef, ...] = ()
    """What is kept beside the log."""
