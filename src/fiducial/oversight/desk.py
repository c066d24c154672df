"""The desk: requests to people, and their answers, in the store.

The guard's side (`said`, `ask`, `replies`) only reads, and hands back what is to be written in the commit that records
the decision. The people's side writes: every act is one commit of an event with the cells it changes, under the
precondition that they are what was read, tried again when somebody else was faster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec

from fiducial.core.clock import Clock, SystemClock
from fiducial.core.event import (
    ApprovalSpent,
    ClassGranted,
    Entry,
    Event,
    HoldRequested,
    HoldSeen,
    HoldSettled,
    HoldVoted,
)
from fiducial.core.ids import GrantId, HoldId, PersonId, SessionId, mint
from fiducial.core.payload import Payload, seal
from fiducial.core.store import Add, Put, Store, Unchanged
from fiducial.errors import AlreadySettled, Conflict, NotPermitted, OversightError
from fiducial.guard.desk import Asked, Case, Reply, Said, Writes
from fiducial.guard.switches import read_halts
from fiducial.oversight.cells import (
    GRANTS,
    MAX_NOTE,
    REPLIES,
    SEEN,
    WAITING,
    ClassGrant,
    ReplyCell,
    Seen,
    asked_prefix,
    commit,
    decode,
    encode,
    event_id,
    hold_key,
)
from fiducial.oversight.glass import Emergencies
from fiducial.oversight.hold import Answer, Approver, Hold, Stop, effective, seat, voted
from fiducial.oversight.refusals import refusal_of
from fiducial.policy.bounds import Bound, class_rule
from fiducial.policy.ruling import Ruling, parameter_of
from fiducial.policy.schema import ToolType

log = logging.getLogger("fiducial.oversight")
_TRIES = 8
"""How often an act is tried again when somebody else changed the same cell."""
_POLL = 0.1
"""Seconds between two looks while waiting."""


class Desk(Emergencies):
    """Asks people and keeps what they say. Usable from any thread, by any number of processes on one store.

    roles_of   the roles a person has now, `None` for one who is gone; when given, an approval by somebody who has lost
               the role since is worth nothing
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        roles_of: Callable[[PersonId], frozenset[str] | None] | None = None,
    ) -> None:
        self.store = store
        self.clock: Clock = clock or SystemClock()
        self._roles_of = roles_of

    # --- the guard's side

    def said(self, case: Case, ruling: Ruling) -> Said:
        """What people have said of exactly this call; see `fiducial.guard.desk.Desk`."""
        holds = self._asked(case)
        approved = [(hold, version) for hold, version in holds if hold.state == "approved" and self._stands(hold)]
        grants = self._covering(case, ruling)
        if approved or grants:
            return Said(
                approvals=frozenset(
                    [one for hold, _ in approved for one in hold.policies]
                    + [one for grant, _ in grants for one in grant.policies]
                ),
                spend=self._spending(case, approved, grants),
            )
        if any(hold.open for hold, _ in holds):
            return Said()
        appealed = {hold.appeals for hold, _ in holds}
        settled = [hold for hold, _ in holds if hold.state != "approved" and hold.id not in appealed]
        latest = max(settled, key=lambda hold: (hold.settled_us, hold.id), default=None)
        return Said(refusal=refusal_of(latest)) if latest is not None else Said()

    def ask(self, case: Case, ruling: Ruling) -> Asked:
        """Ask people about it: a new request, or the one that waits already."""
        for hold, _ in self._asked(case):
            if hold.open and hold.policies == ruling.approvals:
                return Asked(hold=hold.id)
        return self._requested(case, ruling)

    def replies(self, session: SessionId, tool: str) -> Mapping[str, Reply]:
        """Parameter → what the user answered about it, the latest."""
        found: dict[str, ReplyCell] = {}
        for key, cell in self.store.scan(f"{REPLIES}{session}/").items():
            reply = decode(key, cell, ReplyCell)
            if reply.tool == tool and (reply.parameter not in found or found[reply.parameter].at_us <= reply.at_us):
                found[reply.parameter] = reply
        return {name: Reply(reply.hold, reply.text) for name, reply in found.items()}

    # --- the people's side: looking

    def hold(self, hold: HoldId) -> Hold:
        """The request, as it stands now. Raises `OversightError` when there is none."""
        return self._read(hold)[0]

    def waiting(self) -> list[Hold]:
        """The requests that people can answer now, oldest first."""
        ids = [HoldId(key.removeprefix(WAITING)) for key in self.store.scan(WAITING)]
        keys = [hold_key(one) for one in ids]
        cells = self.store.read(keys)
        stops, now = self._stops(), self.clock.unix_us()
        holds = [effective(decode(key, cells[key], Hold), now, stops) for key in keys if key in cells]
        return sorted((hold for hold in holds if hold.open), key=lambda hold: (hold.requested_us, hold.id))

    def answerable(self, who: Approver) -> list[Hold]:
        """Those that `who` may answer."""
        found = []
        for hold in self.waiting():
            try:
                seat(hold, who)
            except NotPermitted:
                continue
            if not any(vote.seats & {who.id, *who.stands_in.values()} for vote in hold.votes):
                found.append(hold)
        return found

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

    # --- the people's side: deciding

    def vote(self, hold: HoldId, who: Approver, answer: Literal["approve", "reject"], *, note: str = "") -> Hold:
        """Approve or reject. Returns the request as it stands then.

        Raises `NotPermitted` when it is not theirs to decide, `AlreadySettled` when nothing is left to decide.
        """
        if answer not in ("approve", "reject"):
            raise OversightError(f"`{answer}` is neither approve nor reject")
        return self._decide(hold, who, answer, note=note)

    def vote_alike(
        self, hold: HoldId, who: Approver, answer: Literal["approve", "reject"], *, note: str = ""
    ) -> list[Hold]:
        """Decide all waiting requests that differ from this one in nothing but the session."""
        group = self.hold(hold).group
        alike = [each.id for each in self.waiting() if each.group == group and each.id != hold]
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

        The agent is told to make that call, which is decided afresh. Raises as `vote` does, and `ValueError` when
        the arguments cannot be written as a rule.
        """
        now = self.clock.unix_us()
        before = self.hold(hold)
        if before.quorum > 1:
            raise NotPermitted("one person cannot change what several have to agree on; reject it")
        rule = class_rule(tool, before.user, {name: Bound(equals=value) for name, value in arguments.items()})
        grant = self._grant(before, who, rule, uses=1, until_us=now + before.valid_us)
        return self._decide(hold, who, "edit", note=note, instead=dict(arguments), grant=grant)

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

        Raises as `vote` does, and `ValueError` when the bounds do not fit the tool.
        """
        before = self.hold(hold)
        if before.quorum > 1 or before.asks != "approval":
            raise NotPermitted("a class of calls cannot be approved where several have to agree on each")
        if not 1 <= uses <= 1000 or not timedelta(0) < lasting <= timedelta(days=1):
            raise ValueError("a class is approved for 1 to 1000 calls and at most a day")
        rule = class_rule(tool, before.user, bounds)
        until = self.clock.unix_us() + lasting // timedelta(microseconds=1)
        grant = self._grant(before, who, rule, uses=uses, until_us=until)
        return self._decide(hold, who, "approve", note=note, grant=grant), grant

    def answer(self, hold: HoldId, who: Approver, text: str, *, confirms: bool = False) -> Hold:
        """Answer a question in words. `confirms`: the call may go on as it is; else it is to follow the answer.

        What the answer names counts as trusted for the parameter that the question is about, in that session.
        """
        if self.hold(hold).asks != "question":
            raise OversightError("that is a request for approval: approve or reject it")
        return self._decide(hold, who, "approve" if confirms else "answer", note=text, reply=text)

    def appeal(self, hold: HoldId, by: PersonId, why: str) -> Hold:
        """Ask again about a refused call, people who have not decided it. For the requester, or an operator.

        Raises `AlreadySettled` when it was not refused, or an appeal is under way.
        """
        refused = self.hold(hold)
        if refused.state not in ("rejected", "expired"):
            raise AlreadySettled(f"the request is {refused.state}; only a refusal can be appealed")
        prefix = asked_prefix(refused.session, refused.binding)
        if any(self.hold(HoldId(key.removeprefix(prefix))).appeals == hold for key in self.store.scan(prefix)):
            raise AlreadySettled("there is an appeal against this refusal already")
        now = self.clock.unix_us()
        again = msgspec.structs.replace(
            refused,
            id=HoldId(mint("hld", now // 1000)),
            requested_us=now,
            expires_us=now + (refused.expires_us - refused.requested_us),
            escalate_us=0,
            state="waiting",
            settled_us=0,
            votes=(),
            excluded=tuple({*refused.excluded, *(vote.by for vote in refused.votes)}),
            appeals=hold,
            instead=None,
            reply=None,
            why="",
        )
        event = _requested_event(again, now)
        note = seal("note", f"{by}: {why}"[:MAX_NOTE].encode("utf-8", "replace"))
        event = msgspec.structs.replace(event, payloads=(note.ref,))
        commit(self.store, [Entry(event, (note,))], [Unchanged(hold_key(again.id), 0)], _making(again))
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

        Nothing depends on it: what a request means follows from the time alone.
        """
        stops, now, changed = self._stops(), self.clock.unix_us(), 0
        for key in self.store.scan(WAITING):
            hold_id = HoldId(key.removeprefix(WAITING))
            cell = self.store.read([hold_key(hold_id)]).get(hold_key(hold_id))
            if cell is None:
                continue
            before = decode(hold_key(hold_id), cell, Hold)
            after = effective(before, now, stops)
            if after == before:
                continue
            if after.open:
                outcome: Literal["escalated", "expired", "void"] = "escalated"
                why = f"nobody in the role `{before.role}` answered"
            else:
                outcome = "void" if after.state == "void" else "expired"
                why = after.why or "nobody answered in time"
            try:
                commit(
                    self.store,
                    [Entry(_settled_event(after, outcome, why, now))],
                    [Unchanged(hold_key(hold_id), cell.version)],
                    [Put(hold_key(hold_id), encode(after)), *([] if after.open else [Put(key, None)])],
                )
                changed += 1
            except Conflict:
                continue  # somebody has just answered it
        return changed

    # --- inside

    def _read(self, hold: HoldId) -> tuple[Hold, int]:
        key = hold_key(hold)
        cell = self.store.read([key]).get(key)
        if cell is None:
            raise OversightError(f"there is no request `{hold}`")
        return effective(decode(key, cell, Hold), self.clock.unix_us(), self._stops()), cell.version

    def _stops(self) -> list[Stop]:
        return [
            Stop(halt.at_us, f"halted: {halt.why}", halt.agent, halt.tool, halt.user) for halt in read_halts(self.store)
        ]

    def _asked(self, case: Case) -> list[tuple[Hold, int]]:
        """The requests about exactly this call, as they stand now, spent and void ones left out."""
        prefix = asked_prefix(case.session, case.binding)
        found = []
        ids = [HoldId(key.removeprefix(prefix)) for key in self.store.scan(prefix)]
        if not ids:
            return []
        stops = self._stops()
        cells = self.store.read([hold_key(one) for one in ids])
        for key, cell in cells.items():
            hold = effective(decode(key, cell, Hold), case.now_us, stops)
            if hold.binding == case.binding and hold.session == case.session and hold.state not in ("spent", "void"):
                found.append((hold, cell.version))
        return found

    def _stands(self, hold: Hold) -> bool:
        """Everybody who approved it still has the role in which they did."""
        if self._roles_of is None:
            return True
        for vote in hold.votes:
            if vote.answer != "approve" or vote.role == "user" or vote.glass is not None:
                continue
            roles = self._roles_of(vote.instead_of or vote.by)
            if roles is None or vote.role not in roles or self._roles_of(vote.by) is None:
                return False
        return True

    def _covering(self, case: Case, ruling: Ruling) -> list[tuple[ClassGrant, int]]:
        """A grant of the session that covers the call, for each policy that asks."""
        found: list[tuple[ClassGrant, int]] = []
        wanted = set(ruling.approvals)
        stops = self._stops() if wanted else []
        given = [
            (decode(key, cell, ClassGrant), cell.version)
            for key, cell in self.store.scan(f"{GRANTS}{case.session}/").items()
        ]
        # What ends first is used first.
        for grant, version in sorted(given, key=lambda one: (one[0].expires_us, one[0].given_us, one[0].id)):
            stopped = any(
                stop.at_us >= grant.given_us
                and stop.tool in (None, grant.tool)
                and stop.agent in (None, case.agent)
                and stop.user in (None, case.user)
                for stop in stops
            )
            lost = self._roles_of is not None and grant.role not in (self._roles_of(grant.by) or ())
            if (
                wanted.intersection(grant.policies)
                and grant.tool == case.tool
                and grant.used < grant.uses
                and case.now_us < grant.expires_us
                and not stopped
                and not lost
                and case.covered(grant.rule)
            ):
                found.append((grant, version))
                wanted.difference_update(grant.policies)
        return found

    def _spending(
        self, case: Case, approved: Iterable[tuple[Hold, int]], grants: Iterable[tuple[ClassGrant, int]]
    ) -> Writes:
        entries: list[Entry] = []
        preconditions: list[Unchanged] = []
        changes: list[Put | Add] = []
        prefix = asked_prefix(case.session, case.binding)

        def spent(hold: HoldId | None, grant: GrantId | None) -> Entry:
            return Entry(
                ApprovalSpent(
                    id=event_id(case.now_us), session=case.session, at_us=case.now_us,
                    decision=case.decision, hold=hold, grant=grant,
                )
            )  # fmt: skip

        for hold, version in approved:
            used = msgspec.structs.replace(hold, state="spent", settled_us=case.now_us)
            entries.append(spent(hold.id, None))
            preconditions.append(Unchanged(hold_key(hold.id), version))
            changes += [Put(hold_key(hold.id), encode(used)), Put(prefix + hold.id, None)]
        for grant, version in grants:
            key = f"{GRANTS}{case.session}/{grant.id}"
            entries.append(spent(None, grant.id))
            preconditions.append(Unchanged(key, version))
            changes.append(Put(key, encode(msgspec.structs.replace(grant, used=grant.used + 1))))
        return Writes(entries=tuple(entries), preconditions=tuple(preconditions), changes=tuple(changes))

    def _requested(self, case: Case, ruling: Ruling) -> Asked:
        now, rules = case.now_us, case.rules
        question = ruling.kind == "unclear"
        micro = timedelta(microseconds=1)
        hold = Hold(
            id=HoldId(mint("hld", now // 1000)),
            decision=case.decision,
            asks="question" if question else "approval",
            session=case.session,
            agent=case.agent,
            user=case.user,
            tool=case.tool,
            binding=case.binding,
            group=case.group,
            policies=ruling.approvals,
            role="user" if question else ruling.role or "operator",
            quorum=1 if question else ruling.quorum,
            requested_us=now,
            expires_us=now + rules.expires // micro,
            valid_us=rules.valid // micro,
            escalate_us=now + rules.escalate_after // micro if rules.escalate_after and not question else 0,
            escalate_to=rules.escalate_to or "",
            parameter=parameter_of(ruling) if question else None,
        )
        writes = Writes(
            entries=(Entry(_requested_event(hold, now)),),
            preconditions=(Unchanged(hold_key(hold.id), 0),),
            changes=tuple(_making(hold)),
        )
        return Asked(hold=hold.id, writes=writes)

    def _grant(self, hold: Hold, who: Approver, rule: str, *, uses: int, until_us: int) -> ClassGrant:
        now = self.clock.unix_us()
        return ClassGrant(
            id=GrantId(mint("gra", now // 1000)), session=hold.session, tool=hold.tool, policies=hold.policies,
            rule=rule, by=who.id, role=seat(hold, who), hold=hold.id, given_us=now, expires_us=until_us, uses=uses,
        )  # fmt: skip

    def _decide(
        self,
        hold_id: HoldId,
        who: Approver,
        answer: Answer,
        *,
        note: str,
        instead: dict[str, Any] | None = None,
        reply: str | None = None,
        grant: ClassGrant | None = None,
    ) -> Hold:
        note = note[:MAX_NOTE]
        for left in reversed(range(_TRIES)):
            hold, version = self._read(hold_id)
            now = self.clock.unix_us()
            after = voted(hold, who, answer, now)
            after = msgspec.structs.replace(after, instead=instead, reply=reply, why=note if answer == "reject" else "")
            entries = self._vote_entries(hold, after, note, now)
            changes: list[Put | Add] = [Put(hold_key(hold_id), encode(after))]
            if not after.open:
                changes.append(Put(WAITING + hold_id, None))
            if reply is not None and hold.parameter is not None and not after.open:
                key = f"{REPLIES}{hold.session}/{hold_id}"
                changes.append(Put(key, encode(ReplyCell(
                    hold=hold_id, tool=hold.tool, parameter=hold.parameter, text=reply, at_us=now
                ))))  # fmt: skip
            if grant is not None:
                entries.append(_granted(grant, now))
                changes.append(Put(f"{GRANTS}{grant.session}/{grant.id}", encode(grant)))
            try:
                commit(self.store, entries, [Unchanged(hold_key(hold_id), version)], changes)
            except Conflict:
                if left:
                    continue
                raise
            return after
        raise AssertionError("unreachable")

    def _vote_entries(self, before: Hold, after: Hold, note: str, now: int) -> list[Entry]:
        vote = after.votes[-1]
        key = f"{SEEN}{before.id}/{vote.by}"
        cell = self.store.read([key]).get(key)
        opened = decode(key, cell, Seen).opened_us if cell is not None else 0
        payloads: tuple[Payload, ...] = (seal("note", note.encode("utf-8", "replace")),) if note else ()
        event = HoldVoted(
            id=event_id(now), session=before.session, at_us=now, payloads=tuple(one.ref for one in payloads),
            hold=before.id, by=vote.by, role=vote.role, answer=vote.answer, dwell_us=now - opened if opened else -1,
            instead_of=vote.instead_of, glass=vote.glass,
        )  # fmt: skip
        entries = [Entry(event, payloads)]
        if not after.open:
            outcome: Literal["approved", "rejected"] = "rejected" if after.state == "rejected" else "approved"
            why = {"approve": "enough people approved", "reject": "a person refused", "edit": "a person changed it",
                   "answer": "the user answered"}[vote.answer]  # fmt: skip
            entries.append(Entry(_settled_event(after, outcome, why, now)))
        return entries


def _making(hold: Hold) -> list[Put | Add]:
    return [
        Put(hold_key(hold.id), encode(hold)),
        Put(WAITING + hold.id, b""),
        Put(asked_prefix(hold.session, hold.binding) + hold.id, b""),
    ]


def _requested_event(hold: Hold, now: int) -> HoldRequested:
    return HoldRequested(
        id=event_id(now), session=hold.session, at_us=now, hold=hold.id, decision=hold.decision, asks=hold.asks,
        role=hold.role, quorum=hold.quorum, policies=hold.policies, binding=hold.binding, expires_us=hold.expires_us,
        appeals=hold.appeals,
    )  # fmt: skip


def _settled_event(
    hold: Hold, outcome: Literal["approved", "rejected", "expired", "void", "escalated"], why: str, now: int
) -> HoldSettled:
    return HoldSettled(id=event_id(now), session=hold.session, at_us=now, hold=hold.id, outcome=outcome, why=why[:500])


def _granted(grant: ClassGrant, now: int) -> Entry:
    rule = seal("note", grant.rule.encode())
    event: Event = ClassGranted(
        id=event_id(now), session=grant.session, at_us=now, payloads=(rule.ref,), grant=grant.id, by=grant.by,
        tool=grant.tool, policies=grant.policies, uses=grant.uses, expires_us=grant.expires_us,
    )  # fmt: skip
    return Entry(event, (rule,))


__all__ = ["Desk"]
