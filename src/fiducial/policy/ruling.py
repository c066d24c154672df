"""Rulings: what the policies say about one call."""

from __future__ import annotations

import msgspec

from fiducial.core.ids import PolicyId
from fiducial.core.verdict import Fault, Reason, VerdictKind


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies say about one call. The guard makes the verdict of it."""

    kind: VerdictKind
    reasons: tuple[Reason, ...] = ()
    """Every policy that fired or could not be evaluated, hard ones first; empty when nothing objects."""
    role: str | None = None
    """For `held`: the role of the people who may decide."""
    quorum: int = 1
    """For `held`: how many of them must agree."""
    question: str | None = None
    """For `unclear`: to put to the user."""
    approvals: tuple[PolicyId, ...] = ()
    """For `held` and `unclear`: policies that this approval or answer satisfies. Others, of another role, may be left
    to ask for afterwards."""
    masks: tuple[str, ...] = ()
    """Data classes to mask, sorted."""
    fault: Fault | None = None
    """Why it was denied, when it was not by a policy that fired."""
    permits: tuple[PolicyId, ...] = ()
    """For `allowed`: the permits that applied."""


def parameter_of(ruling: Ruling) -> str | None:
    """The one parameter that the ruling is about; `None` when it is about several, or about the call as a whole."""
    named = {name for reason in ruling.reasons for name in reason.parameters}
    return named.pop() if len(named) == 1 else None
