"""Requests in the store: the cells and events of one, and what is ordered over the heads of all.

A request is made, settled or escalated by one commit of an event and the cells that it changes; what waits, and what
was asked about one call, is found by the keys of those cells (`cells`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fiducial.core.event import HoldRequested, HoldSettled
from fiducial.core.payload import PayloadRef
from fiducial.core.store import Put, Store
from fiducial.guard.switches import read_halts
from fiducial.oversight.cells import WAITING, Text, asked_prefix, encode, event_id, hold_key, refused_prefix, texts
from fiducial.oversight.hold import Hold, Stop


def stops_of(store: Store) -> list[Stop]:
    """Every halt there ever was, as what voids requests. Raises `StoreError`."""
    return [
        Stop(halt.at_us, f"halted: {halt.why}", halt.agent, halt.tool, halt.user, halt.release)
        for halt in read_halts(store)
    ]


def worded(store: Store, hold: Hold) -> Hold:
    """`hold` with what whoever settled it wrote, unless that was erased. To be looked at, and not to be kept."""
    if hold.payload is None:
        return hold
    text = texts(store, [hold.payload]).get(hold.payload, Text())
    return msgspec.structs.replace(hold, instead=text.instead, reply=text.reply, why=hold.why or text.why)


def new_cells(hold: Hold) -> list[Put]:
    """The cells of a new request."""
    return [
        Put(hold_key(hold.id), encode(hold)),
        Put(WAITING + hold.id, b""),
        Put(asked_prefix(hold.session, hold.binding) + hold.id, b""),
    ]


def refusal_cells(hold: Hold) -> list[Put]:
    """The cell by which a request that was refused is found again, with whatever labels the call comes back."""
    return [] if hold.call is None else [Put(refused_prefix(hold.session, hold.call) + hold.id, b"")]


def requested_event(hold: Hold, now: int) -> HoldRequested:
    """The event of a new request; `now` in microseconds."""
    return HoldRequested(
        id=event_id(now), session=hold.session, at_us=now, hold=hold.id, decision=hold.decision, asks=hold.asks,
        role=hold.role, quorum=hold.quorum, policies=hold.policies, binding=hold.binding, expires_us=hold.expires_us,
        appeals=hold.appeals,
    )  # fmt: skip


def settled_event(
    hold: Hold,
    outcome: Literal["approved", "rejected", "expired", "void", "escalated"],
    why: str,
    now: int,
    *said: PayloadRef,
) -> HoldSettled:
    """The event of what became of a request; `now` in microseconds. `why` is never what a person wrote: that is `said`,
    where no vote has it."""
    return HoldSettled(
        id=event_id(now), session=hold.session, at_us=now, payloads=said, hold=hold.id, outcome=outcome, why=why[:500]
    )  # fmt: skip
