"""Considered decisions: whether people really decide, told from the log.

Per role that was asked: how long requests waited until somebody saw, opened and settled them, how long people looked
(dwell), how often they refused or changed a call, and what came of the calls they let through. Shares carry their n and
a Wilson interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927, p. 209); a share of nothing is `None`, never 0.

Patterns that are warned of:

rubber-stamp    nearly all approvals took a few seconds, or were given without opening the request
too-strict      nearly everything is approved, by people who look: the rule asks where nobody objects
too-trusting    where the agent itself was unsure, people hardly ever object
too-lax         most of what is asked is refused: a rule should deny it without asking
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from math import sqrt

import msgspec

from fiducial.core.event import (
    ApprovalSpent,
    CallDecided,
    CallFinished,
    Event,
    HoldRequested,
    HoldSeen,
    HoldSettled,
    HoldVoted,
    UndoFinished,
)
from fiducial.core.ids import DecisionId, HoldId, PolicyId

QUICK_US = 5_000_000
"""Dwell below which nobody has read a request: 5 s is some twenty words (Brysbaert, J. Mem. Lang. 109, 2019: 238 words
a minute)."""
ENOUGH = 20
"""Decisions below which no pattern is told from chance."""
MOSTLY = 0.9
UNSURE = PolicyId("baseline/unsure")
_Z = 1.959963984540054
"""Of a two-sided 95 % interval."""


class Share(msgspec.Struct, frozen=True):
    """A share of `n`, with its 95 % Wilson interval; all `None` when `n` is 0."""

    count: int
    n: int
    share: float | None
    low: float | None
    high: float | None


def share(count: int, n: int) -> Share:
    """`count` of `n`. Raises `ValueError` when that is no share."""
    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is no share")
    if n == 0:
        return Share(0, 0, None, None, None)
    p, z = count / n, _Z * _Z
    middle = (p + z / (2 * n)) / (1 + z / n)
    half = _Z / (1 + z / n) * sqrt(p * (1 - p) / n + z / (4 * n * n))
    return Share(count, n, p, max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half)))


class Asked(msgspec.Struct, kw_only=True):
    """One request and what became of it."""

    hold: HoldId
    decision: DecisionId
    role: str
    policies: tuple[PolicyId, ...]
    requested_us: int
    shown_us: int | None = None
    opened_us: int | None = None
    settled_us: int | None = None
    outcome: str | None = None
    dwells: list[int] = []
    """Of each approval, in microseconds; -1 when it was given without opening the request."""
    edited: bool = False
    ran: DecisionId | None = None
    """The call that it let through."""
    result: str | None = None
    """What came of that: `ok`, `failed`, `unknown`, or `undone`."""


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """How one role decides."""

    role: str
    requests: int
    waiting: int
    """Not settled yet."""
    expired: Share
    approved: Share
    """Of those that people settled; so are the next two."""
    refused: Share
    edited: Share
    overridden: Share
    """Refused or edited."""
    overridden_unsure: Share
    """The same where the agent was unsure."""
    unread: Share
    """Of approvals: given in less than `QUICK_US`, or without opening the request."""
    until_shown_s: float | None
    """Median, in seconds; `None` when nothing was shown. So are the next three."""
    until_opened_s: float | None
    until_settled_s: float | None
    dwell_s: float | None
    went_wrong: Share
    """Of the calls let through whose outcome is known: failed, unknown or taken back."""
    warnings: tuple[str, ...]


def requests(events: Iterable[Event]) -> list[Asked]:
    """Every request in `events` (in the order of the log), with what became of it."""
    found: dict[HoldId, Asked] = {}
    ran: dict[DecisionId, list[Asked]] = {}
    for event in events:
        if isinstance(event, HoldRequested):
            found[event.hold] = Asked(
                hold=event.hold, decision=event.decision, role=event.role, policies=event.policies,
                requested_us=event.at_us, dwells=[],
            )  # fmt: skip
        elif isinstance(event, HoldSeen) and (asked := found.get(event.hold)) is not None:
            if asked.shown_us is None:
                asked.shown_us = event.at_us
            if event.how == "opened" and asked.opened_us is None:
                asked.opened_us = event.at_us
        elif isinstance(event, HoldVoted) and (asked := found.get(event.hold)) is not None:
            asked.role = event.role if event.role != "user" else asked.role
            if event.answer == "approve":
                asked.dwells.append(event.dwell_us)
            asked.edited |= event.answer == "edit"
        elif isinstance(event, HoldSettled) and (asked := found.get(event.hold)) is not None:
            if event.outcome != "escalated":
                asked.settled_us, asked.outcome = event.at_us, event.outcome
        elif isinstance(event, ApprovalSpent) and event.hold is not None:
            if (asked := found.get(event.hold)) is not None:
                asked.ran = event.decision
                ran.setdefault(event.decision, []).append(asked)
        elif isinstance(event, CallFinished):
            for asked in ran.get(event.decision, ()):
                asked.result = event.outcome
        elif isinstance(event, UndoFinished) and event.outcome in ("undone", "already"):
            for asked in ran.get(event.decision, ()):
                asked.result = "undone"
    return list(found.values())


def considered(events: Iterable[Event]) -> list[Considered]:
    """How each role that was asked decides, by role."""
    kept = list(events)
    unsure = {
        event.decision
        for event in kept
        if isinstance(event, CallDecided) and any(fired.policy == UNSURE for fired in event.fired)
    }
    by_role: dict[str, list[Asked]] = {}
    for asked in requests(kept):
        by_role.setdefault(asked.role, []).append(asked)
    return [_of_role(role, by_role[role], unsure) for role in sorted(by_role)]


def _of_role(role: str, every: list[Asked], unsure: set[DecisionId]) -> Considered:
    settled = [asked for asked in every if asked.outcome in ("approved", "rejected")]
    approved = [asked for asked in settled if asked.outcome == "approved"]
    doubtful = [asked for asked in settled if asked.decision in unsure]
    dwells = [dwell for asked in approved for dwell in asked.dwells]
    known = [asked for asked in every if asked.result is not None]
    overridden = share(len(settled) - len(approved), len(settled))
    overridden_unsure = share(sum(asked.outcome == "rejected" for asked in doubtful), len(doubtful))
    unread = share(sum(dwell < QUICK_US for dwell in dwells), len(dwells))
    return Considered(
        role=role,
        requests=len(every),
        waiting=sum(asked.outcome is None for asked in every),
        expired=share(sum(asked.outcome == "expired" for asked in every), len(every)),
        approved=share(len(approved), len(settled)),
        refused=share(sum(asked.outcome == "rejected" and not asked.edited for asked in settled), len(settled)),
        edited=share(sum(asked.edited for asked in settled), len(settled)),
        overridden=overridden,
        overridden_unsure=overridden_unsure,
        unread=unread,
        until_shown_s=_median(asked.shown_us - asked.requested_us for asked in every if asked.shown_us is not None),
        until_opened_s=_median(asked.opened_us - asked.requested_us for asked in every if asked.opened_us is not None),
        until_settled_s=_median(
            asked.settled_us - asked.requested_us for asked in settled if asked.settled_us is not None
        ),
        dwell_s=_median(dwell for dwell in dwells if dwell >= 0),
        went_wrong=share(sum(asked.result != "ok" for asked in known), len(known)),
        warnings=_warnings(overridden, overridden_unsure, unread),
    )


def _warnings(overridden: Share, overridden_unsure: Share, unread: Share) -> tuple[str, ...]:
    """What the intervals tell for certain, and nothing that chance could."""
    found = []
    if unread.n >= ENOUGH and unread.low is not None and unread.low > 0.5:
        found.append("rubber-stamp")
    elif overridden.n >= ENOUGH and overridden.high is not None and overridden.high < 1 - MOSTLY:
        found.append("too-strict")
    if overridden.n >= ENOUGH and overridden.low is not None and overridden.low > 0.5:
        found.append("too-lax")
    if overridden_unsure.n >= ENOUGH and overridden_unsure.high is not None and overridden_unsure.high < 1 - MOSTLY:
        found.append("too-trusting")
    return tuple(found)


def _median(microseconds: Iterable[int]) -> float | None:
    values = list(microseconds)
    return statistics.median(values) / 1_000_000 if values else None


__all__ = ["Asked", "Considered", "Share", "considered", "requests", "share"]
