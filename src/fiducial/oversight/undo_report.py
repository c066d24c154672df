"""What an undo reports."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal, TypeAlias

import msgspec

from fiducial.core.ids import DecisionId, Digest, HoldId, SessionId
from fiducial.core.oversight import UndoOutcome
from fiducial.core.verdict import Denied, Fault, Held, Unclear
from fiducial.guard.compensation import claim_key
from fiducial.guard.results import Result
from fiducial.oversight.undo_effect import Effect

Outcome: TypeAlias = UndoOutcome | Literal["waits"]
"""What became of an effect. `waits`: a newer one comes first, so nothing was tried, and the log has no event of it."""
STANDS = frozenset({"changed", "impossible", "too-late", "held", "denied", "failed", "unknown", "waits"})
"""Outcomes after which the effect stands, or may."""

_WHY = {
    Fault.UNKNOWN_TOOL: "no contract describes the call that takes it back",
    Fault.BAD_ARGUMENTS: "the contract refuses the arguments of the call that takes it back",
    Fault.WITHDRAWN: "the tool that takes it back is not in use",
    Fault.HALTED: "the call that takes it back is halted",
    Fault.PEOPLE: "people refuse it, or have not answered in time",
    Fault.STORE: "a budget or rate is used up, or the store could not record the call that takes it back",
    Fault.SESSION: "the session in which it is taken back has ended",
}
"""Why a call was denied that no policy denied; other faults are of steps that broke."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one effect."""

    effect: Effect
    outcome: Outcome | None = None
    """`None` in a dry run: see the effect's state."""
    why: str = ""
    detail: str = ""
    """What the tool or the policies said; may hold what people wrote, and stays out of the log's events."""
    compensation: DecisionId | None = None
    """The call that took it back, or was to."""
    hold: HoldId | None = None
    """What people are asked."""
    refused: bool = False
    """People said no to it, or nothing: that stands until it is appealed."""

    @property
    def first(self) -> bool:
        """Older effects wait for this one: it stands, or may, and can still be taken back, if not by this undo.

        What somebody else has changed since is theirs to settle, and what cannot be taken back at all never will be.
        """
        if self.outcome == "impossible":
            return self.effect.state in ("undoable", "unknown")  # this undo lacks what would take it back
        return self.outcome in ("held", "denied", "failed", "unknown")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an undo."""

    target: SessionId
    """What was taken back."""
    session: SessionId
    """In which session."""
    by: str
    dry_run: bool
    """Nothing was done: this is the plan."""
    plan: Digest
    """Names what was planned, for `undo(shown=…)`."""
    effects: tuple[Taken, ...]
    """Newest first."""

    @property
    def complete(self) -> bool:
        """Nothing stands that was to be taken back; in a dry run: nothing is known that would."""
        return all(
            each.effect.state in ("undone", "undoable") if each.outcome is None else each.outcome not in STANDS
            for each in self.effects
        )


def lacks(effect: Effect, tools: Container[str], captures: Container[str]) -> str:
    """What it would take to take `effect` back that is in neither; empty: nothing."""
    compensation = effect.compensation
    if compensation is None or effect.state not in ("undoable", "unknown"):
        return ""
    if compensation.driver is not None:
        return "" if compensation.driver in captures else f"the capture `{compensation.driver}`"
    return "" if compensation.tool in tools else f"the tool `{compensation.tool}`"


def told(effect: Effect, result: Result) -> Taken:
    """What the result of the compensating call says of the effect."""
    verdict = result.verdict
    decision = verdict.decision
    if result.status == "not-run":
        detail = "; ".join(reason.message for reason in verdict.reasons)
        if isinstance(verdict, (Held, Unclear)):
            why = "people are asked first" if verdict.hold is not None else f"it is {verdict.kind}"
            return Taken(
                effect=effect, outcome="held", why=why, detail=detail, compensation=decision, hold=verdict.hold
            )
        if not isinstance(verdict, Denied):
            why, detail = "stopped before it ran", result.error or ""
        elif _lost(effect, verdict):
            why = "it could not be claimed: somebody else may be taking it back"
            return Taken(effect=effect, outcome="unknown", why=why, detail=detail)
        else:
            fault = next((reason.fault for reason in verdict.reasons if reason.fault is not None), None)
            why = _WHY.get(fault, "a step on the way to it failed") if fault is not None else "policies deny it"
        refused = any(reason.fault is Fault.PEOPLE for reason in verdict.reasons)
        return Taken(effect=effect, outcome="denied", why=why, detail=detail, compensation=decision, refused=refused)
    if result.status == "ok" and result.confirmed != "no":
        return Taken(effect=effect, outcome="undone", compensation=decision)
    if result.nothing_done:
        why = "the call that takes it back failed, and has done nothing"
        return Taken(effect=effect, outcome="failed", why=why, detail=result.error or "", compensation=decision)
    why = {
        "ok": "the call that takes it back says it did, and an independent read does not find it",
        "failed": "the call that takes it back failed, and may have acted before it did",
    }.get(result.status, "the call that takes it back was cut off")
    return Taken(effect=effect, outcome="unknown", why=why, detail=result.error or "", compensation=decision)


def _lost(effect: Effect, verdict: Denied) -> bool:
    """The store said no because of the effect's claim, and not of a budget."""
    key = claim_key(effect.decision)
    return any(reason.fault is Fault.STORE and key in reason.message for reason in verdict.reasons)


__all__ = ["STANDS", "Outcome", "Report", "Taken", "lacks", "told"]
