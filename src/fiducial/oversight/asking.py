"""Asking: what the guard wants to know of people, and what it asks them.

It only reads, and hands back what is to be written in the commit that records the decision: the approvals that this
spends, or the request that it makes. What is written here stands or falls with the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.clock import Clock, SystemClock
from fiducial.core.event import ApprovalSpent, Entry
from fiducial.core.ids import Digest, GrantId, HoldId, PersonId, PolicyId, SessionId, mint
from fiducial.core.payload import seal
from fiducial.core.store import Add, Put, Store, Unchanged, text_key
from fiducial.guard.desk import Asked, Case, Refusal, Reply, Said, Writes
from fiducial.guard.switches import ORDERED
from fiducial.oversight.cells import (
    GLASS,
    GRANTS,
    MAX_NOTE,
    REPLIES,
    UNSPENT,
    WAITING,
    ClassGrant,
    Glass,
    ReplyCell,
    Text,
    asked_prefix,
    call_digest,
    decode,
    encode,
    event_id,
    hold_key,
    refused_prefix,
    texts,
)
from fiducial.oversight.hold import Hold, Vote, concerning, effective
from fiducial.oversight.naming import asked_about
from fiducial.oversight.people import PREFIX
from fiducial.oversight.refusals import refusal_of
from fiducial.oversight.requests import new_cells, refusal_cells, requested_event, settled_event, stops_of, worded
from fiducial.policy.ruling import Ruling, parameter_of


class Asking:
    """The part of the desk that the guard asks; see `fiducial.guard.desk.Desk`."""

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

    def said(self, case: Case, ruling: Ruling) -> Said:
        """What people have said of exactly this call."""
        # The cells that approvals rest on, as they are before they are looked at: the commit that spends the approvals
        # is kept only if they still are.
        basis = {self._as_it_is(ORDERED)}
        holds = self._asked(case)
        # A no stands until an appeal against it is approved, whoever else says yes and whatever is read meanwhile.
        refused = self._refused(case, [hold for hold, _ in holds if hold.state == "rejected"])
        if refused:
            appealed = any(hold.open and hold.appeals is not None for hold, _ in holds)
            return Said() if appealed else Said(refusal=self._refusal(refused))
        approved = [each for each in holds if each[0].state == "approved" and self._stands(each[0], basis)]
        satisfied = frozenset(one for hold, _ in approved for one in hold.policies)
        # Silence stands until people are asked again, or somebody says yes to a class.
        appeals = {hold.appeals for hold, _ in holds}
        live = max((hold.requested_us for hold, _ in holds if hold.state in ("waiting", "approved")), default=0)
        settled = [hold for hold, _ in holds if hold.state in ("answered", "expired") and hold.id not in appeals]
        silent = [hold for hold in settled if hold.state == "expired" and hold.requested_us > live]
        since = max((hold.requested_us for hold in silent), default=0)
        grants = self._covering(case, set(ruling.approvals), basis, since=since)
        if silent and not grants:
            return Said(refusal=self._refusal(silent))
        if approved or grants:
            approvals = satisfied.union(*(grant.policies for grant, _ in grants))
            overtaken = [each for each in holds if each[0].open and approvals.issuperset(each[0].policies)]
            unanswered = [hold for hold, _ in holds if hold.state == "expired" and hold.appeals is None]
            return Said(
                approvals=approvals,
                spend=self._spending(case, approved, grants, overtaken, unanswered, basis),
                holds=tuple(hold.id for hold, _ in approved),
            )
        if any(hold.open for hold, _ in holds):
            return Said()
        return Said(refusal=self._refusal(settled)) if settled else Said()

    def ask(self, case: Case, ruling: Ruling) -> Asked:
        """Ask people about it: a new request, or the one that waits already."""
        for hold, _ in self._asked(case):
            if hold.open and hold.policies == ruling.approvals:
                return Asked(hold=hold.id)
        return self._requested(case, ruling)

    def withdrawn(self, hold: HoldId, why: str, *, refused_by: PersonId | None = None) -> Writes:
        """Ends the request, unless it is spent or was refused: it was answered elsewhere, with a no by `refused_by`."""
        key, now = hold_key(hold), self.clock.unix_us()
        cell = self.store.read([key]).get(key)
        before = decode(key, cell, Hold) if cell is not None else None
        if cell is None or before is None or before.state not in ("waiting", "approved"):
            return Writes()
        changes: list[Put | Add] = [Put(WAITING + hold, None), Put(UNSPENT + hold, None)]
        if refused_by is not None:
            # What was said with the no is a person's: it goes with its payload.
            text = why[:MAX_NOTE].encode("utf-8", "replace")
            said = (seal("note", text),) if text else ()
            changes += [Put(text_key(one.ref.digest), encode(Text(why=text.decode()))) for one in said]
            payload = said[0].ref.digest if said else None
            excluded = tuple(sorted({*before.excluded, refused_by}))
            after = msgspec.structs.replace(
                before, state="rejected", payload=payload, settled_us=now, excluded=excluded
            )
            changes += refusal_cells(after)
            refs = [one.ref for one in said]
            entry = Entry(settled_event(after, "rejected", "refused where the agent runs", now, *refs), said)
        else:
            after = msgspec.structs.replace(before, state="void", why=why, settled_us=now)
            entry = Entry(settled_event(after, "void", why, now))
        return Writes(
            entries=(entry,),
            preconditions=(Unchanged(key, cell.version),),
            changes=(Put(key, encode(after)), *changes),
        )

    def stand(self, holds: Collection[HoldId]) -> Collection[Unchanged] | None:
        """What approvals that were given on those requests, and used, rest on while they still stand behind what they
        allowed: nothing was halted since, and everybody who gave them still has that by which they did."""
        basis = {self._as_it_is(ORDERED)}
        cells = self.store.read([hold_key(one) for one in holds])
        stops = stops_of(self.store)
        for key, cell in cells.items():
            hold = decode(key, cell, Hold)
            if len(concerning(stops, hold, hold.release)) > hold.halts or not self._stands(hold, basis):
                return None
            basis.add(Unchanged(key, cell.version))
        return basis if len(cells) == len(set(holds)) else None

    def replies(self, session: SessionId, tool: str) -> Mapping[str, Reply]:
        """Parameter → what the user answered about it, the latest; what somebody answered in their place counts for as
        long as they are there and have the role. One that was erased counts for nothing, nor does one before it."""
        found: dict[str, ReplyCell] = {}
        for key, cell in self.store.scan(f"{REPLIES}{session}/").items():
            reply = decode(key, cell, ReplyCell)
            if reply.role and not self._has(reply.by, reply.role, reply.instead_of):
                continue
            if reply.tool == tool and (reply.parameter not in found or found[reply.parameter].at_us <= reply.at_us):
                found[reply.parameter] = reply
        kept = texts(self.store, [reply.payload for reply in found.values()])
        named = {
            name: Reply(reply.hold, kept[reply.payload].names if reply.payload in kept else reply.text)
            for name, reply in found.items()
        }
        return {name: reply for name, reply in named.items() if reply.text}

    def _refused(self, case: Case, rejected: Iterable[Hold]) -> list[Hold]:
        """Of `rejected`, and of other refusals of the same tool with the same arguments, whatever was known of those
        then, the ones that no appeal has overcome. A no to taking back one effect is none to taking back another.
        """
        call = call_digest(case.tool, case.arguments, case.undoes)
        return self._standing(case.session, call, case.now_us, rejected)

    def _standing(self, session: SessionId, call: Digest, now_us: int, rejected: Iterable[Hold] = ()) -> list[Hold]:
        """The refusals of that call, and those `rejected`, that no appeal has overcome."""
        found = {hold.id: hold for hold in rejected}
        prefix = refused_prefix(session, call)
        keys = [hold_key(HoldId(key.removeprefix(prefix))) for key in self.store.scan(prefix)]
        if keys:
            cells = self.store.read(keys).items()
            found |= {hold.id: hold for hold in (decode(key, cell, Hold) for key, cell in cells)}
        return [hold for hold in found.values() if not self._overcome(hold, now_us)]

    def _overcome(self, refused: Hold, now_us: int) -> bool:
        """An appeal against it, or against what became of one, was approved in time."""
        prefix = asked_prefix(refused.session, refused.binding)
        keys = [hold_key(HoldId(key.removeprefix(prefix))) for key in self.store.scan(prefix)]
        asked = [decode(key, cell, Hold) for key, cell in self.store.read(keys).items()] if keys else []
        stops, against = stops_of(self.store), [refused.id]
        for each in against:
            for hold in asked:
                if hold.appeals == each:
                    if effective(hold, now_us, stops).state in ("approved", "spent"):
                        return True
                    against.append(hold.id)
        return False

    def _refusal(self, settled: Iterable[Hold]) -> Refusal | None:
        return refusal_of(worded(self.store, _latest(settled)))

    def _asked(self, case: Case) -> list[tuple[Hold, int]]:
        """The requests about exactly this call, as they stand now, but for void ones. Of spent ones only appeals: the
        refusal that one overcame does not come back."""
        prefix = asked_prefix(case.session, case.binding)
        found = []
        ids = [HoldId(key.removeprefix(prefix)) for key in self.store.scan(prefix)]
        if not ids:
            return []
        stops = stops_of(self.store)
        cells = self.store.read([hold_key(one) for one in ids])
        for key, cell in cells.items():
            hold = effective(decode(key, cell, Hold), case.now_us, stops)
            if hold.binding == case.binding and hold.session == case.session and hold.state != "void":
                found.append((hold, cell.version))
        return found

    def _stands(self, hold: Hold, basis: set[Unchanged] | None = None) -> bool:
        """Everybody who approved it still has that by which they did; the requester needs no role for a question."""
        return all(
            self._has(vote.by, vote.role, vote.instead_of, basis)
            if vote.glass is None
            else self._justified(vote, basis)
            for vote in hold.votes
            if vote.answer == "approve" and vote.by != hold.user
        )

    def _has(
        self, person: PersonId, role: str, instead_of: PersonId | None, basis: set[Unchanged] | None = None
    ) -> bool:
        """They are there, and the role is still theirs, or of the one in whose place they answered."""
        if self._roles_of is None:
            return True
        if basis is not None:
            basis.update(self._as_it_is(PREFIX + one) for one in (person, instead_of) if one is not None)
        return self._roles_of(person) is not None and role in (self._roles_of(instead_of or person) or ())

    def _justified(self, vote: Vote, basis: set[Unchanged] | None = None) -> bool:
        """They are there, and nobody has found that the emergency access by which they approved was not justified."""
        key = f"{GLASS}{vote.glass}"
        if basis is not None:
            basis.update((self._as_it_is(key), self._as_it_is(PREFIX + vote.by)))
        cell = self.store.read([key]).get(key)
        here = self._roles_of is None or self._roles_of(vote.by) is not None
        return here and cell is not None and decode(key, cell, Glass).justified is not False

    def _as_it_is(self, key: str) -> Unchanged:
        """The precondition that the cell stays as it is now."""
        cell = self.store.read([key]).get(key)
        return Unchanged(key, cell.version if cell is not None else 0)

    def _covering(
        self, case: Case, wanted: set[PolicyId], basis: set[Unchanged], *, since: int
    ) -> list[tuple[ClassGrant, int]]:
        """A grant of the session, given at `since` or later, that covers the call, for each policy that is `wanted`."""
        found: list[tuple[ClassGrant, int]] = []
        stops = stops_of(self.store) if wanted else []
        given = [
            (decode(key, cell, ClassGrant), cell.version)
            for key, cell in self.store.scan(f"{GRANTS}{case.session}/").items()
        ]
        kept = texts(self.store, [grant.payload for grant, _ in given])
        # What ends first is used first.
        for grant, version in sorted(given, key=lambda one: (one[0].expires_us, one[0].given_us, one[0].id)):
            rule = kept[grant.payload].rule if grant.payload in kept else grant.rule
            stopped = len(concerning(stops, case, grant.release)) > grant.halts
            if (
                wanted.intersection(grant.policies)
                and grant.tool == case.tool
                and grant.given_us >= since
                and grant.used < grant.uses
                and case.now_us < grant.expires_us
                and not stopped
                and self._has(grant.by, grant.role, grant.instead_of, basis)
                and rule
                and case.covered(rule)
            ):
                found.append((grant, version))
                wanted.difference_update(grant.policies)
        return found

    def _spending(
        self,
        case: Case,
        approved: Iterable[tuple[Hold, int]],
        grants: Iterable[tuple[ClassGrant, int]],
        overtaken: Iterable[tuple[Hold, int]],
        unanswered: Iterable[Hold],
        basis: set[Unchanged],
    ) -> Writes:
        entries: list[Entry] = []
        preconditions = [*basis]
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
            changes += [Put(hold_key(hold.id), encode(used)), Put(UNSPENT + hold.id, None)]
            if hold.appeals is None:
                changes.append(Put(prefix + hold.id, None))
        # What nobody answered at first does not come back as a no once others have said yes.
        changes += [Put(prefix + hold.id, None) for hold in unanswered]
        for hold, version in overtaken:
            # Nothing is left to ask, and an answer would let the same call through once more.
            why = "the call was let through by another approval"
            void = msgspec.structs.replace(hold, state="void", why=why, settled_us=case.now_us)
            entries.append(Entry(settled_event(void, "void", why, case.now_us)))
            preconditions.append(Unchanged(hold_key(hold.id), version))
            changes += [Put(hold_key(hold.id), encode(void)), Put(WAITING + hold.id, None)]
        for grant, version in grants:
            key = f"{GRANTS}{case.session}/{grant.id}"
            entries.append(spent(None, grant.id))
            preconditions.append(Unchanged(key, version))
            changes.append(Put(key, encode(msgspec.structs.replace(grant, used=grant.used + 1))))
        return Writes(entries=tuple(entries), preconditions=tuple(preconditions), changes=tuple(changes))

    def _requested(self, case: Case, ruling: Ruling) -> Asked:
        now, rules = case.now_us, case.rules
        question = ruling.kind == "unclear"
        parameter = parameter_of(ruling) if question else None
        micro = timedelta(microseconds=1)
        hold = Hold(
            id=HoldId(mint("hld", now // 1000)),
            decision=case.decision,
            asks="question" if question else "approval",
            session=case.session,
            agent=case.agent,
            above=case.above,
            release=case.release,
            previewed=case.previewed,
            user=case.user,
            tool=case.tool,
            binding=case.binding,
            group=_group(case, ruling),
            call=call_digest(case.tool, case.arguments, case.undoes),
            policies=ruling.approvals,
            role="user" if question else ruling.role or "operator",
            quorum=1 if question else ruling.quorum,
            requested_us=now,
            expires_us=now + rules.expires // micro,
            valid_us=rules.valid // micro,
            escalate_us=now + rules.escalate_after // micro if rules.escalate_after and not question else 0,
            escalate_to=rules.escalate_to or "",
            parameter=parameter,
            asked=asked_about(case.arguments.get(parameter)) if parameter else (),
            halts=len(concerning(stops_of(self.store), case, case.release)),
        )
        writes = Writes(
            entries=(Entry(requested_event(hold, now)),),
            preconditions=(Unchanged(hold_key(hold.id), 0),),
            changes=tuple(new_cells(hold)),
        )
        return Asked(hold=hold.id, writes=writes)


def _latest(settled: Iterable[Hold]) -> Hold:
    return max(settled, key=lambda hold: (hold.settled_us, hold.id))


def _group(case: Case, ruling: Ruling) -> Digest:
    """Equal for requests that ask the same people the same about calls that look the same."""
    reasons = [(reason.policy, reason.message) for reason in ruling.reasons]
    asked = (ruling.kind, ruling.approvals, ruling.role, ruling.quorum, ruling.question, reasons)
    return digest([case.group, asked, case.above, case.release])
