"""Control state: what a commit's preconditions and changes mean, whatever keeps the cells.

    1  every precondition is checked against the cells as they are; the first that fails is a `Conflict`
    2  every change is made, in order; each raises its key's version by one

`Unchanged(key, 0)` holds when the key does not exist. A deleted key keeps its version, so that one made again under
the same name is never mistaken for the one that was read. `AtMost` counts each of its keys once, with all that this
commit adds to them. A counter is decimal digits; a cell that holds something else cannot be added to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from fiducial.core.store import Add, AtMost, Cell, Put, Unchanged
from fiducial.errors import Conflict, StoreError

COUNTER_LIMIT = 2**63
"""Counters stay below this in magnitude, as a 64-bit column does."""


class Slot(msgspec.Struct, frozen=True):
    """A key's value and version; the value is `None` when the key was deleted or never existed."""

    value: bytes | None
    version: int


MISSING = Slot(None, 0)
"""A key that never existed."""


def cell(slot: Slot) -> Cell | None:
    """What a reader sees of `slot`."""
    return None if slot.value is None else Cell(slot.value, slot.version)


def outcome(
    preconditions: Sequence[Unchanged | AtMost], changes: Sequence[Put | Add], slot: Callable[[str], Slot]
) -> dict[str, Slot]:
    """The slots that a commit leaves changed, given how to look up the present ones.

    Raises `Conflict` when a precondition does not hold, `StoreError` when a cell is not a counter or would overflow.
    """
    for precondition in preconditions:
        if isinstance(precondition, Unchanged):
            now = slot(precondition.key)
            if (now.version if now.value is not None else 0) != precondition.version:
                raise Conflict(
                    f"`{precondition.key}` has changed since it was read; read it again and decide afresh",
                    key=precondition.key,
                )
        else:
            keys = set(precondition.keys)
            total = sum(_count(key, slot(key)) for key in sorted(keys))
            total += sum(change.amount for change in changes if isinstance(change, Add) and change.key in keys)
            if total > precondition.ceiling:
                raise Conflict(
                    f"`{'` + `'.join(precondition.keys)}` would be {total}, past its ceiling of {precondition.ceiling}",
                    key=precondition.keys[0] if precondition.keys else "",
                )
    changed: dict[str, Slot] = {}
    for change in changes:
        before = changed.get(change.key) or slot(change.key)
        if isinstance(change, Add):
            count = _count(change.key, before) + change.amount
            if abs(count) >= COUNTER_LIMIT:
                raise StoreError(f"the counter `{change.key}` would leave the range of 64 bits")
            changed[change.key] = Slot(b"%d" % count, before.version + 1)
        else:
            changed[change.key] = Slot(change.value, before.version + 1)
    return changed


class Change(Protocol):
    """A commit, as far as state is concerned."""

    preconditions: tuple[Unchanged | AtMost, ...]
    changes: tuple[Put | Add, ...]


def outcomes(batch: Sequence[Change], slot: Callable[[str], Slot]) -> tuple[list[StoreError | None], dict[str, Slot]]:
    """What becomes of commits made one after the other: for each what is wrong with it, and the slots left changed.

    One that fails changes nothing and does not stop the others. `slot` is asked at most once for a key by a commit.
    """
    faults: list[StoreError | None] = []
    changed: dict[str, Slot] = {}
    for each in batch:
        fault: StoreError | None = None
        if each.preconditions or each.changes:
            seen: dict[str, Slot] = {}

            def look_up(key: str, seen: dict[str, Slot] = seen) -> Slot:
                return changed.get(key) or seen.get(key) or seen.setdefault(key, slot(key))

            try:
                changed.update(outcome(each.preconditions, each.changes, look_up))
            except StoreError as error:
                fault = error
        faults.append(fault)
    return faults, changed


def _count(key: str, slot: Slot) -> int:
    if slot.value is None:
        return 0
    try:
        count = int(slot.value)
    except ValueError:
        count = COUNTER_LIMIT
    if len(slot.value) > 20 or abs(count) >= COUNTER_LIMIT:
        raise StoreError(f"`{key}` does not hold a counter; use another key for it")
    return count
