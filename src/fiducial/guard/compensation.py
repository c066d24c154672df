"""Compensations: a call that takes back what another did claims that effect in the very commit that records it.

The cell `undo/<decision>` says who is, or was, taking back the effect of that decision. It is written with the decision
on the compensating call, under the precondition that it is as it was when the undo was planned. So two people cannot
take one effect back twice, and after a crash it is known which call was about to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from fiducial.core.canonical import canonical_bytes, digest
from fiducial.core.ids import DecisionId, Digest, SessionId
from fiducial.core.oversight import UndoOutcome
from fiducial.core.store import Cell, Put, Unchanged
from fiducial.errors import StoreError

CLAIMS: Final = "undo/"
"""Prefix of the cells of effects."""
LOST: Final = DecisionId("dec_lost")
"""In place of a call that may have taken an effect back, and that the log does not know: it was set back since."""


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was taken of something."""

    state: Any
    """A JSON value, equal for equal states."""
    aside: Any = None
    """JSON that putting it back needs, and that does not make it another state."""

    @property
    def digest(self) -> Digest:
        """Of the state."""
        return digest(self.state)


class Capture(Protocol):
    """Takes the state of something, and puts it back. Both are called on threads, several at a time."""

    def take(self, arguments: Mapping[str, Any]) -> Snapshot:
        """The state that a call with these arguments would change.

        Raises `CaptureError` when it cannot be taken whole.
        """
        ...

    def restore(self, arguments: Mapping[str, Any], before: Snapshot, after: Digest | None) -> None:
        """Put the state `before` back, all of it or nothing.

        `after`: the digest of the state as the call left it; `None`: put it back over whatever is there. Raises
        `ChangedSince` when the state is another by now, `CaptureError` when it cannot be put back as it was.
        """
        ...


class Claimed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the cell of an effect holds."""

    session: SessionId
    """The session in which it is taken back."""
    compensation: DecisionId
    """The call that takes it back."""
    until_us: int
    """Microseconds since 1970 UTC: by then that call has ended, or whoever ran it has."""
    outcome: UndoOutcome | None = None
    """What became of it; `None`: nobody has said."""


class Claim(msgspec.Struct, frozen=True):
    """What a compensating call is to take back."""

    decision: DecisionId
    """The call whose effect it is."""
    version: int
    """Of the effect's cell, as the undo was planned; 0: there was none."""
    within_us: int
    """Microseconds that the compensating call may take."""
    forced: bool = False
    """It may put a state back over what somebody else changed since: no class of calls was approved for that."""

    @property
    def precondition(self) -> Unchanged:
        """Nobody else has claimed it since."""
        return Unchanged(claim_key(self.decision), self.version)

    def change(self, session: SessionId, compensation: DecisionId, now_us: int) -> Put:
        """The claim by the call that is decided now."""
        return put_claim(
            self.decision, Claimed(session=session, compensation=compensation, until_us=now_us + self.within_us)
        )


def claim_key(decision: DecisionId) -> str:
    """The cell of the effect of `decision`."""
    return CLAIMS + decision


def put_claim(decision: DecisionId, claimed: Claimed) -> Put:
    """The change that writes `claimed` into the cell of `decision`."""
    return Put(claim_key(decision), canonical_bytes(claimed))


def read_claims(cells: Mapping[str, Cell], decisions: Iterable[DecisionId]) -> dict[DecisionId, tuple[Claimed, int]]:
    """Claims with the versions of their cells. Raises `StoreError` for a cell that holds none."""
    found = {}
    for decision in decisions:
        cell = cells.get(claim_key(decision))
        if cell is not None:
            try:
                found[decision] = msgspec.json.decode(cell.value, type=Claimed), cell.version
            except msgspec.DecodeError as error:
                raise StoreError(f"the cell `{claim_key(decision)}` cannot be read; restore the store") from error
    return found


__all__ = ["Capture", "Claim", "Claimed", "Snapshot", "claim_key", "put_claim", "read_claims"]
