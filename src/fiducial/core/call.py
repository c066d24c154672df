"""A call: what an agent wants to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fiducial.core.ids import DecisionId, SessionId


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call, as the agent asked for it."""

    decision: DecisionId
    """Id of the decision to be made on it."""
    session: SessionId
    """The session it belongs to."""
    tool: str
    """Name of the tool."""
    arguments: Mapping[str, Any]
    """Arguments, JSON values; checked strictly against the contract before anything else sees them."""
    confidence: float | None = None
    """The agent's own confidence, 0 to 1; `None` when it gave none."""
