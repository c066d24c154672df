"""The desk: requests to people, and their answers, in the store.

The guard's side is `asking`, emergency access is `glass`. Here is what people do: every act is one commit of an event
with the cells it changes, under the precondition that they are what was read, tried again when somebody else was
faster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec

from fiducial.charter.model import DECLARE_PLAN
from fiducial.core.canonical import digest
from fiducial.core.event import ClassGranted, Entry, Event, HoldSeen, HoldSettled, HoldVoted
from fiducial.core.ids import GrantId, HoldId, PersonId, mint
from fiducial.core.oversight import Through
from fiducial.core.payload import Payload, seal
from fiducial.core.store import Add, Put, Unchanged, text_key
from fiducial.errors import AlreadySettled, Conflict, NotPermitted, OversightError
from fiducial.oversight.asking import Asking
from fiducial.oversight.cells import (
    GRANTS,
    HOLDS,
    MAX_NOTE,
    REPLIES,
    SEEN,
    UNSPENT,
    WAITING,
    ClassGrant,
    ReplyCell,
    Seen,
    Text,
    asked_prefix,
    call_digest,
    commit,
    decode,
    encode,
    event_id,
    hold_key,
)
from fiducial.oversight.glass import Emergencies
from fiducial.oversight.hold import Answer, Approver, Hold, concerning, effective, may_answer, seat, voted
from fiducial.oversight.naming import without
from fiducial.oversight.requests import new_cells, refusal_cells, requested_event, settled_event, stops_of, worded
from fiducial.policy.bounds import Bound, class_rule
from fiducial.policy.schema import ToolType

log = logging.getLogger("fiducial.oversight")
_TRIES = 8
"""How often an act is tried again when somebody else changed the same cell."""
_POLL = 0.1
"""Seconds between two looks while waiting."""


class Desk(Asking, Emergencies):
    """Asks people and keeps what they say. Usable from any thread, by any number of processes on one store.

    roles_of   a person's own roles, away or not, `None` for one who is gone; when given, an approval that rests on a
               role which somebody has lost since is worth nothing
    """

    # --- looking

    def hold(self, hold: HoldId) -> Hold:
        """The request, as it stands now. Raises `OversightError` when there is none."""
        return worded(self.store, self._read(hold)[0])

    def waiting(self) -> list[Hold]:
        """The requests that people can answer now, oldest first."""
        ids = [HoldId(key.removeprefix(WAITING)) for key in self.store.scan(WAITING)]
        keys = [hold_key(one) for one in ids]
        cells = self.store.read(keys)
        stops, now = stops_of(self.store), self.clock.unix_us()
        holds = [effective(decode(key, cells[key], Hold), now, stops) for key in keys if key in cells]
        return sorted((hold for hold in holds if hold.open), key=lambda hold: (hold.requested_us, hold.id))

    def answerable(self, who: Approver) -> list[Hold]:
        """Those that `who` may answer."""
        return [hold for hold in self.waiting() if may_answer(hold, who)]

    def seen(self, hold: HoldId, by: PersonId, how: Literal["shown", "opened"]) -> None:
        """Somebody had the request before them; the first time is kept."""
        key = f"{SEEN}{hold}/{by}"
        now = self.clock.unix_us()
        cell = self.store.read([key]).get(key)
        before = decode(key, cell, Seen) if cell is not None else Seen()
        if (how == "shown" and before.shown_us) or before.opened_us:
            return
        after = Seen(shown_us=before.shown_us or now, opened_us=now if how == "opened" else 0)
        event = HoldSeen(id=event_id(now), session=self.hold(hold).session, at_us=now, hold=hold, by=by, how=how)
        unchanged = Unchanged(key, cell.version if cell is not None else 0)
        try:
            commit(self.store, [Entry(event)], [unchanged], [Put(key, encode(after))])
        except Conflict:
            return  # the same person, twice at once: the first time is kept

    # --- deciding

    def vote(
        self,
        hold: HoldId,
        who: Approver,
        answer: Literal["approve", "reject"],
        *,
        note: str = "",
        through: Through = "desk",
    ) -> Hold:
        """Approve or reject. Returns the request as it stands then.

        Raises `NotPermitted` when it is not theirs to decide, `AlreadySettled` when nothing is left to decide.
        """
        if answer not in ("approve", "reject"):
            raise OversightError(f"`{answer}` is neither approve nor reject")
        return self._decide(hold, who, answer, note=note, through=through)

    def vote_alike(
        self,
        hold: HoldId,
        who: Approver,
        answer: Literal["approve", "reject"],
        *,
        note: str = "",
        among: Collection[HoldId] | None = None,
    ) -> list[Hold]:
        """Decide all waiting requests that differ from this one in nothing but the session.

        They ask the same role the same, under the same policies, about a call whose every value stands in the same
        place; an appeal is alike to none. `among`: no others than these, which whoever decides has been told of.
        """
        shown = self.hold(hold)
        alike = [
            each.id
            for each in self.waiting()
            if (each.group, each.role) == (shown.group, shown.role)
            and each.id != hold
            and (among is None or each.id in among)
        ]
        decided = [self.vote(hold, who, answer, note=note)]
        for each in alike:
            try:
                decided.append(self.vote(each, who, answer, note=note))
            except OversightError as error:
                log.info("`%s` was left as it is: %s", each, error)
        return decided

    def edit(
        self, hold: HoldId, who: Approver, tool: ToolType, arguments: Mapping[str, Any], *, note: str = ""
    ) -> Hold:
        """Refuse this call and approve another in its place, once: the same tool with `arguments`.

        The agent is told to make that call, which is decided afresh. Raises as `vote` does, `NotPermitted` for a
        question, a tool with a preview, a call that is no other or was refused itself, or under emergency access too,
        and `ValueError` when the arguments cannot be written as a rule.
        """
        now = self.clock.unix_us()
        before = self.hold(hold)
        if before.asks == "question":
            raise NotPermitted("a question is answered in words, and not with another call")
        if before.quorum > 1:
            raise NotPermitted("one person cannot change what several have to agree on; reject it")
        _not_previewed(before)
        rule = class_rule(tool, before.user, {name: Bound(equals=value) for name, value in arguments.items()})
        call = call_digest(before.tool, arguments, None)
        if call == before.call:
            raise NotPermitted("nothing was changed; approve the call or reject it, as it is")
        if refused := self._standing(before.session, call, now):
            raise NotPermitted(
                f"that call was refused in `{refused[0].id}`, which stands; an appeal against that asks somebody else"
            )
        given = self._grant(before, who, rule, uses=1, until_us=now + before.valid_us)
        return self._decide(hold, who, "edit", note=note, instead=dict(arguments), given=given)

    def grant(
        self,
        hold: HoldId,
        who: Approver,
        tool: ToolType,
        bounds: Mapping[str, Bound],
        *,
        uses: int,
        lasting: timedelta,
        note: str = "",
    ) -> tuple[Hold, ClassGrant]:
        """Approve this call and a bounded class of calls like it, for its session.

        Raises as `vote` does, `NotPermitted` for a question, a plan, a tool with a preview or under emergency access
        too, and `ValueError` when the bounds do not fit the tool.
        """
        before = self.hold(hold)
        if before.quorum > 1 or before.asks != "approval":
            raise NotPermitted("a class of calls cannot be approved where several have to agree on each")
        if before.tool == DECLARE_PLAN:
            raise NotPermitted("an approval of a plan is for that very plan; approve it or reject it")
        _not_previewed(before)
        if not 1 <= uses <= 1000 or not timedelta(0) < lasting <= timedelta(days=1):
            raise ValueError("a class is approved for 1 to 1000 calls and at most a day")
        rule = class_rule(tool, before.user, bounds)
        until = self.clock.unix_us() + lasting // timedelta(microseconds=1)
        given = self._grant(before, who, rule, uses=uses, until_us=until)
        return self._decide(hold, who, "approve", note=note, given=given), given[0]

    def answer(
        self, hold: HoldId, who: Approver, text: str, *, confirms: bool = False, through: Through = "desk"
    ) -> Hold:
        """Answer a question in words. `confirms`: the call may go on as it is; else it is to follow the answer.

        What the answer names counts as trusted for the parameter that the question is about, in that session; the value
        that was asked about counts only where the answer confirms it or is nothing else ("No, not Mallory!"). Raises as
        `vote` does, and `NotPermitted` under emergency access.
        """
        if self.hold(hold).asks != "question":
            raise OversightError("that is a request for approval: approve or reject it")
        answer: Answer = "approve" if confirms else "answer"
        return self._decide(hold, who, answer, note=text, replies=True, through=through)

    def appeal(self, hold: HoldId, by: PersonId, why: str) -> Hold:
        """Ask again about a refused call, people who have not decided it. For the requester, or an operator.

        Raises `AlreadySettled` when it was not refused, or was appealed already; an appeal that is void does not count.
        """
        key = hold_key(hold)
        cell = self.store.read([key]).get(key)
        refused = self.hold(hold)
        if cell is None or refused.state not in ("rejected", "expired"):
            raise AlreadySettled(f"the request is {refused.state}; only a refusal can be appealed")
        prefix = asked_prefix(refused.session, refused.binding)
        asked = [self.hold(HoldId(key.removeprefix(prefix))) for key in self.store.scan(prefix)]
        if any(each.appeals == hold and each.state != "void" for each in asked):
            raise AlreadySettled("there is an appeal against this refusal already")
        now = self.clock.unix_us()
        id = HoldId(mint("hld", now // 1000))
        again = msgspec.structs.replace(
            refused,
            id=id,
            group=digest([refused.group, id]),
            requested_us=now,
            expires_us=now + (refused.expires_us - refused.requested_us),
            escalate_us=0,
            state="waiting",
            settled_us=0,
            halts=len(concerning(stops_of(self.store), refused, refused.release)),
            votes=(),
            excluded=tuple(sorted({*refused.excluded, *(one for vote in refused.votes for one in vote.seats)})),
            appeals=hold,
            payload=None,
            instead=None,
            reply=None,
            why="",
        )
        event = requested_event(again, now)
        note = seal("note", f"{by}: {why}"[:MAX_NOTE].encode("utf-8", "replace"))
        event = msgspec.structs.replace(event, payloads=(note.ref,))
        # Written again as it is, so that of two appeals at once one is too late.
        once = [Unchanged(key, cell.version), Unchanged(hold_key(again.id), 0)]
        try:
            commit(self.store, [Entry(event, (note,))], once, [Put(key, cell.value), *new_cells(again)])
        except Conflict:
            return self.appeal(hold, by, why)
        return again

    # --- time

    def wait(self, hold: HoldId, timeout: timedelta) -> Hold:
        """The request when it is no longer open, or as it is when the time is over. Blocks this thread."""
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            found = self.hold(hold)
            left = deadline - time.monotonic()
            if not found.open or left <= 0:
                return found
            time.sleep(min(_POLL, left))

    def sweep(self) -> int:
        """Write down what time and halts have settled or escalated; returns how many requests changed.

        Nothing depends on it but the record: what a request means follows from the time alone. See `clockwork`.
        """
        keys = [HOLDS + key.removeprefix(kept) for kept in (WAITING, UNSPENT) for key in self.store.scan(kept)]
        if not keys:
            return 0
        cells, stops, changed = self.store.read(keys), stops_of(self.store), 0
        for key, cell in cells.items():
            before, now = decode(key, cell, Hold), self.clock.unix_us()
            after = effective(before, now, stops)
            if after == before:
                continue
            if after.open:
                event = _escalated(after, before.role, now)
            elif after.state == "void":
                event = settled_event(after, "void", after.why, now)
            else:
                why = "nobody answered in time" if before.open else "the approval was not used in time"
                event = settled_event(after, "expired", why, now)
            left = [] if after.open else [Put(WAITING + after.id, None), Put(UNSPENT + after.id, None)]
            try:
                commit(self.store, [Entry(event)], [Unchanged(key, cell.version)], [Put(key, encode(after)), *left])
                changed += 1
            except Conflict:
                continue  # somebody has just answered it, or used the answer
        return changed

    # --- inside

    def _read(self, hold: HoldId) -> tuple[Hold, int, str]:
        """The request as it stands now, the version of its cell, and the role that is written there."""
        key = hold_key(hold)
        cell = self.store.read([key]).get(key)
        if cell is None:
            raise OversightError(f"there is no request `{hold}`")
        written = decode(key, cell, Hold)
        return effective(written, self.clock.unix_us(), stops_of(self.store)), cell.version, written.role

    def _grant(self, hold: Hold, who: Approver, rule: str, *, uses: int, until_us: int) -> tuple[ClassGrant, Payload]:
        now, role = self.clock.unix_us(), seat(hold, who)
        if role in who.glass:
            raise NotPermitted("emergency access is for what is asked: approve the call or reject it, as it is")
        payload = seal("note", rule.encode())
        grant = ClassGrant(
            id=GrantId(mint("gra", now // 1000)), session=hold.session, tool=hold.tool, policies=hold.policies,
            payload=payload.ref.digest, rule=rule, by=who.id, role=role, instead_of=who.stands_in.get(role),
            hold=hold.id, given_us=now, expires_us=until_us, uses=uses, release=hold.release, halts=hold.halts,
        )  # fmt: skip
        return grant, payload

    def _decide(
        self,
        hold_id: HoldId,
        who: Approver,
        answer: Answer,
        *,
        note: str,
        through: Through = "desk",
        instead: dict[str, Any] | None = None,
        replies: bool = False,
        given: tuple[ClassGrant, Payload] | None = None,
    ) -> Hold:
        data = note[:MAX_NOTE].encode("utf-8", "replace")
        note, said = data.decode(), (seal("note", data),) if data else ()
        written = Text(why=note if answer == "reject" else "", reply=note if replies else None, instead=instead)
        payload = given[1].ref.digest if given is not None and instead is not None else None
        if said and (replies or answer == "reject"):
            payload = said[0].ref.digest
        for left in reversed(range(_TRIES)):
            hold, version, asked = self._read(hold_id)
            now = self.clock.unix_us()
            after = voted(hold, who, answer, now)
            if replies and after.votes[-1].glass is not None and who.id != hold.user:
                raise NotPermitted("emergency access is for approving or rejecting; it does not speak for the user")
            after = msgspec.structs.replace(after, payload=payload)
            entries = [Entry(_escalated(hold, asked, now))] if hold.role != asked else []
            entries += self._vote_entries(hold, after, said, through, now)
            changes: list[Put | Add] = [Put(hold_key(hold_id), encode(after))]
            if not after.open:
                changes.append(Put(WAITING + hold_id, None))
            if after.state == "rejected":
                changes += refusal_cells(after)
            if after.state == "approved":
                changes.append(Put(UNSPENT + hold_id, b""))
            text = written
            if replies and hold.parameter is not None and not after.open:
                vote = after.votes[-1]
                text = msgspec.structs.replace(text, names=note if answer == "approve" else without(note, hold.asked))
                cell = ReplyCell(
                    hold=hold_id, tool=hold.tool, parameter=hold.parameter, payload=payload, at_us=now,
                    by=vote.by, role="" if vote.by == hold.user else vote.role, instead_of=vote.instead_of,
                )  # fmt: skip
                changes.append(Put(f"{REPLIES}{hold.session}/{hold_id}", encode(cell)))
            if given is not None:
                grant, rule = given
                entries.append(_granted(grant, rule, now))
                bare = msgspec.structs.replace(grant, rule="")
                changes.append(Put(f"{GRANTS}{grant.session}/{grant.id}", encode(bare)))
                kept = msgspec.structs.replace(text, rule=grant.rule)
                changes.append(Put(text_key(rule.ref.digest), encode(kept)))
            elif payload is not None:
                changes.append(Put(text_key(payload), encode(text)))
            try:
                commit(self.store, entries, [Unchanged(hold_key(hold_id), version)], changes)
            except Conflict:
                if left:
                    continue
                raise
            return msgspec.structs.replace(after, instead=text.instead, reply=text.reply, why=text.why)
        raise AssertionError("unreachable")

    def _vote_entries(
        self, before: Hold, after: Hold, said: tuple[Payload, ...], through: Through, now: int
    ) -> list[Entry]:
        vote = after.votes[-1]
        key = f"{SEEN}{before.id}/{vote.by}"
        cell = self.store.read([key]).get(key)
        opened = decode(key, cell, Seen).opened_us if cell is not None else 0
        event = HoldVoted(
            id=event_id(now), session=before.session, at_us=now, payloads=tuple(one.ref for one in said),
            hold=before.id, by=vote.by, role=vote.role, answer=vote.answer, dwell_us=now - opened if opened else -1,
            instead_of=vote.instead_of, glass=vote.glass, through=through,
        )  # fmt: skip
        entries = [Entry(event, said)]
        if not after.open:
            outcome: Literal["approved", "rejected"] = "rejected" if after.state == "rejected" else "approved"
            why = {"approve": "enough people approved", "reject": "a person refused", "edit": "a person changed it",
                   "answer": "the user answered"}[vote.answer]  # fmt: skip
            entries.append(Entry(settled_event(after, outcome, why, now)))
        return entries


def _not_previewed(hold: Hold) -> None:
    """The rule of a class says nothing of what a preview finds, so one approved for such a tool would cover nothing."""
    if hold.previewed:
        raise NotPermitted(
            f"`{hold.tool}` is approved for what its preview found, which no other call has; approve it or reject it"
        )


def _escalated(hold: Hold, asked: str, now: int) -> HoldSettled:
    """Another role is asked than `asked`."""
    return settled_event(hold, "escalated", f"nobody in the role `{asked}` answered", now)


def _granted(grant: ClassGrant, rule: Payload, now: int) -> Entry:
    event: Event = ClassGranted(
        id=event_id(now), session=grant.session, at_us=now, payloads=(rule.ref,), grant=grant.id, by=grant.by,
        tool=grant.tool, policies=grant.policies, uses=grant.uses, expires_us=grant.expires_us,
    )  # fmt: skip
    return Entry(event, (rule,))


__all__ = ["Desk"]
