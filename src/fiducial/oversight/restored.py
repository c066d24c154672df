"""After a restore: what the backup takes for not having happened yet may have happened since it was made.

A backup knows nothing of what people and agents did after it. So nothing may go on from it as if that were still to
come; in the transaction that ends the restoring:

    everything         is stopped, until somebody else than who restored it lifts that halt
    requests           that wait, or were approved, are void: the approval may have been used
    classes of calls   that were approved are approved no more
    emergency access   ends: it may have been found not justified
    leases             end: whoever had a session has another history
    undo               what was begun, or had failed, is forgotten; `undo_plan` has every effect from before looked at

People, their roles, rate windows, budgets and answers in words are as the backup has them. What cannot be read stays as
it is: whoever relies on it stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from fiducial.core.event import Entry, HaltOrdered
from fiducial.core.ids import GrantId, PersonId, mint
from fiducial.core.store import Add, Commit, Put
from fiducial.errors import StoreError
from fiducial.guard.compensation import CLAIMS, Claimed
from fiducial.guard.switches import HALTS, MAX_WHY, ORDERED, Halt
from fiducial.oversight.cells import GLASS, GRANTS, HOLDS, UNSPENT, WAITING, Glass, decode, encode, event_id
from fiducial.oversight.hold import Hold, effective
from fiducial.oversight.requests import settled_event
from fiducial.store import lease
from fiducial.store.restore import Scan

T = TypeVar("T", bound=msgspec.Struct)
WHY = "restored from a backup"


def settle(scan: Scan, *, by: str, why: str, at_us: int) -> Commit:
    """What is recorded and changed with the restoring of the cells that `scan` finds."""
    halt = Halt(
        id=GrantId(mint("hlt", at_us // 1000)), why=f"{WHY}: {why}"[:MAX_WHY], by=PersonId(by), at_us=at_us
    )  # fmt: skip
    ordered = HaltOrdered(id=event_id(at_us), session=None, at_us=at_us, halt=halt.id, by=halt.by, why=halt.why)
    entries = [Entry(ordered)]
    changes: list[Put | Add] = [Put(HALTS + halt.id, msgspec.json.encode(halt)), Add(ORDERED, 1)]
    for key, hold in _readable(scan, HOLDS, Hold):
        # What nobody answered in time stays refused.
        if effective(hold, at_us).state in ("waiting", "approved"):
            void = msgspec.structs.replace(hold, state="void", settled_us=at_us, why=WHY)
            entries.append(Entry(settled_event(void, "void", WHY, at_us)))
            changes += [Put(key, encode(void)), Put(WAITING + hold.id, None), Put(UNSPENT + hold.id, None)]
    for key, glass in _readable(scan, GLASS, Glass):
        if at_us < glass.until_us:
            changes.append(Put(key, encode(msgspec.structs.replace(glass, until_us=at_us))))
    changes += [Put(key, None) for key, claimed in _readable(scan, CLAIMS, Claimed) if claimed.outcome != "undone"]
    changes += [Put(key, None) for prefix in (GRANTS, lease.PREFIX, lease.UNTIL) for key in scan(prefix)]
    return Commit(entries=tuple(entries), changes=tuple(changes))


def _readable(scan: Scan, prefix: str, of: type[T]) -> Iterator[tuple[str, T]]:
    for key, cell in scan(prefix).items():
        try:
            yield key, decode(key, cell, of)
        except StoreError:
            continue


__all__ = ["settle"]
