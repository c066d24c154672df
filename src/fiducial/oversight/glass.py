"""Emergency access: a role taken for a short time, loudly, and reviewed afterwards by somebody else."""

from __future__ import annotations

import logging
from datetime import timedelta

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.event import Entry, GlassBroken, GlassReviewed
from fiducial.core.ids import GrantId, PersonId, mint
from fiducial.core.payload import seal
from fiducial.core.store import Put, Store, Unchanged
from fiducial.errors import AlreadySettled, NotPermitted, OversightError
from fiducial.oversight.cells import GLASS, MAX_NOTE, Glass, commit, decode, encode, event_id
from fiducial.oversight.hold import Approver

log = logging.getLogger("fiducial.oversight")
MAX_GLASS = timedelta(hours=4)
"""Longest emergency access."""


class Emergencies:
    """The part of the desk that gives and reviews emergency access."""

    store: Store
    clock: Clock

    def break_glass(self, by: PersonId, role: str, why: str, lasting: timedelta) -> Glass:
        """Take a role for a short time in an emergency. It is loud, and somebody else has to review it."""
        if not timedelta(0) < lasting <= MAX_GLASS:
            raise OversightError(f"emergency access lasts at most {MAX_GLASS}; ask again when it has ended")
        if len(why.strip()) < 10:
            raise OversightError("say why, in a sentence; it is reviewed afterwards")
        now = self.clock.unix_us()
        glass = Glass(
            id=GrantId(mint("gls", now // 1000)), by=by, role=role,
            from_us=now, until_us=now + lasting // timedelta(microseconds=1),
        )  # fmt: skip
        note = seal("note", why[:MAX_NOTE].encode("utf-8", "replace"))
        event = GlassBroken(
            id=event_id(now), session=None, at_us=now, payloads=(note.ref,),
            grant=glass.id, by=by, role=role, until_us=glass.until_us,
        )  # fmt: skip
        commit(
            self.store,
            [Entry(event, (note,))],
            [Unchanged(GLASS + glass.id, 0)],
            [Put(GLASS + glass.id, encode(glass))],
        )
        log.warning("emergency access: `%s` took the role `%s` for %s", by, role, lasting)
        return glass

    def glasses(self, *, unreviewed: bool = False) -> list[Glass]:
        """Emergency accesses in force, or all that nobody has reviewed yet. One found not justified has ended."""
        now = self.clock.unix_us()
        every = [decode(key, cell, Glass) for key, cell in self.store.scan(GLASS).items()]
        if unreviewed:
            return [glass for glass in every if glass.reviewed_by is None]
        return [glass for glass in every if now < glass.until_us and glass.justified is not False]

    def with_glass(self, who: Approver) -> Approver:
        """`who` with the roles of the emergency access they have taken."""
        taken = {glass.role: glass.id for glass in self.glasses() if glass.by == who.id and glass.role not in who.roles}
        return msgspec.structs.replace(who, roles=who.roles | taken.keys(), glass=taken) if taken else who

    def review_glass(self, grant: GrantId, by: PersonId, *, justified: bool, note: str) -> Glass:
        """Look at an emergency access. Not justified, it ends, and approvals under it are worth nothing.

        Raises `NotPermitted` for the person who took it, `AlreadySettled` when it was reviewed.
        """
        key = GLASS + grant
        cell = self.store.read([key]).get(key)
        if cell is None:
            raise OversightError(f"there is no emergency access `{grant}`")
        glass = decode(key, cell, Glass)
        if glass.by == by:
            raise NotPermitted("nobody reviews their own emergency access")
        if glass.reviewed_by is not None:
            raise AlreadySettled(f"`{glass.reviewed_by}` has reviewed it already")
        now = self.clock.unix_us()
        payload = seal("note", note[:MAX_NOTE].encode("utf-8", "replace"))
        event = GlassReviewed(
            id=event_id(now), session=None, at_us=now, payloads=(payload.ref,), grant=grant, by=by, justified=justified
        )
        reviewed = msgspec.structs.replace(glass, reviewed_by=by, justified=justified)
        commit(self.store, [Entry(event, (payload,))], [Unchanged(key, cell.version)], [Put(key, encode(reviewed))])
        return reviewed
