"""What somebody approved, taken back when their account is not trusted any more.

When a person is signed out everywhere, or may answer in the console no more, somebody else may have answered in their
name. So what rests on an answer of theirs and was not used yet is void: requests that they approved, the classes of
calls that they approved, and what they answered for the user. People are asked anew.

This comes after the commit by which the person lost it: an answer that is kept only while they have it, as the console
keeps them, is either before that commit, and found here, or not kept.
"""

from __future__ import annotations

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.event import Entry, HoldSettled
from fiducial.core.ids import HoldId, PersonId
from fiducial.core.store import Put, Store, Unchanged
from fiducial.errors import Conflict, StoreError
from fiducial.oversight.cells import (
    GRANTS,
    REPLIES,
    UNSPENT,
    WAITING,
    ClassGrant,
    ReplyCell,
    commit,
    decode,
    encode,
    event_id,
    hold_key,
)
from fiducial.oversight.hold import Hold, effective
from fiducial.oversight.requests import settled_event


def withdraw(store: Store, clock: Clock, person: PersonId, why: str) -> int:
    """Void what rests on the person's answers; how many requests and classes that is. Raises `StoreError`.

    What somebody else changes meanwhile is looked at again. A cell that cannot be read lets nothing through anyway.
    """
    # As requests move, from waiting to approved: one that somebody else approves between the two is found.
    requests = [hold_key(HoldId(key.removeprefix(kept))) for kept in (WAITING, UNSPENT) for key in store.scan(kept)]
    done = sum(_settled(store, clock, person, why, key) for key in requests)
    return done + sum(
        _settled(store, clock, person, why, key) for prefix in (GRANTS, REPLIES) for key in store.scan(prefix)
    )


def _settled(store: Store, clock: Clock, person: PersonId, why: str, key: str) -> bool:
    """Void what is at `key`; False when it is not theirs or nothing was left to use of it."""
    while True:
        cell = store.read([key]).get(key)
        if cell is None:
            return False
        now = clock.unix_us()
        try:
            if key.startswith(REPLIES):
                found = _reply(key, decode(key, cell, ReplyCell), person)
            elif key.startswith(GRANTS):
                found = _class(key, decode(key, cell, ClassGrant), person, why, now)
            else:
                found = _request(key, decode(key, cell, Hold), person, why, now)
        except StoreError:
            return False
        if found is None:
            return False
        try:
            commit(store, found[0], [Unchanged(key, cell.version)], found[1])
        except Conflict:
            continue  # answered, used or settled just now: each of those happens a bounded number of times
        return True


_Writes = tuple[list[Entry], list[Put]]


def _request(key: str, hold: Hold, person: PersonId, why: str, now: int) -> _Writes | None:
    theirs = any(vote.by == person and vote.answer == "approve" for vote in hold.votes)
    if not theirs or effective(hold, now).state not in ("waiting", "approved"):
        return None
    void = msgspec.structs.replace(hold, state="void", settled_us=now, why=why)
    entries = [Entry(settled_event(void, "void", why, now))]
    return entries, [Put(key, encode(void)), Put(WAITING + hold.id, None), Put(UNSPENT + hold.id, None)]


def _class(key: str, grant: ClassGrant, person: PersonId, why: str, now: int) -> _Writes | None:
    if grant.by != person or grant.used >= grant.uses or now >= grant.expires_us:
        return None
    event = HoldSettled(
        id=event_id(now), session=grant.session, at_us=now, hold=grant.hold, outcome="void", why=f"its class: {why}"
    )
    return [Entry(event)], [Put(key, None)]


def _reply(key: str, reply: ReplyCell, person: PersonId) -> _Writes | None:
    return ([], [Put(key, None)]) if reply.by == person else None


__all__ = ["withdraw"]
