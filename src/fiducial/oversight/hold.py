"""A hold: one request to people, as a state machine without a clock.

    waiting ── enough approve ──→ approved ── the call is made ──→ spent
       │ one rejects, or edits          │ its time is over, or it was voided
       ├─→ rejected                     └─→ expired, void
       │ the user answers in words
       ├─→ answered
       └─ its time is over, or it was voided ─→ expired, void

What is written down may lag behind; `effective` says what a hold means now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from fiducial.core.ids import DecisionId, Digest, GrantId, HoldId, PersonId, PolicyId, SessionId, folded_name
from fiducial.errors import AlreadySettled, NotPermitted
from fiducial.guard.desk import Case
from fiducial.guard.switches import names

State: TypeAlias = Literal["waiting", "approved", "rejected", "answered", "expired", "void", "spent"]
Answer: TypeAlias = Literal["approve", "reject", "edit", "answer"]


class Approver(msgspec.Struct, frozen=True, kw_only=True):
    """A person who wants to decide, with what they may do at this moment."""

    id: PersonId
    roles: frozenset[str]
    """Their own, and those they hold for somebody else."""
    stands_in: dict[str, PersonId] = {}
    """Role → the person whose place they take in it; that person and they count as one."""
    deputy_of: frozenset[PersonId] = frozenset()
    """Everybody for whom they stand in, in whatever role."""
    glass: dict[str, GrantId] = {}
    """Role → the emergency access that gives it."""

    def seats(self, role: str) -> frozenset[PersonId]:
        """Who answers when they do so in `role`: the person, and whose place they take."""
        return frozenset({self.id} | ({self.stands_in[role]} if role in self.stands_in else set()))


class Vote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person's answer."""

    by: PersonId
    role: str
    answer: Answer
    at_us: int
    instead_of: PersonId | None = None
    glass: GrantId | None = None

    @property
    def seats(self) -> frozenset[PersonId]:
        """Who cannot vote again: the person, and whose place they took."""
        return frozenset({self.by} | ({self.instead_of} if self.instead_of else set()))


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request. Ids, digests, roles and times; what people are shown is the payload of the decision.

    What a person wrote stands in a cell that goes with its payload, and is filled in where a request is looked at
    (`requests.worded`); only requests that were settled before there were such cells have it in their own.
    """

    id: HoldId
    decision: DecisionId
    asks: Literal["approval", "question"]
    session: SessionId
    agent: str
    user: str
    """The requester."""
    tool: str
    binding: Digest
    group: Digest
    call: Digest | None = None
    """Of tool and arguments alone, and of the effect that it takes back, if any; `None` where it was asked before
    refusals were kept by it."""
    policies: tuple[PolicyId, ...]
    """What an approval satisfies."""
    role: str
    quorum: int
    requested_us: int
    expires_us: int
    """Until when it may be answered; of an approved one, until when it may be used."""
    valid_us: int
    """How long an approval may be used."""
    above: tuple[str, ...] = ()
    """The agents that delegated to the one that asks."""
    release: str | None = None
    """Of the guard that asked."""
    previewed: bool = False
    """A preview was run for it, so an answer is for what it found."""
    halts: int = 0
    """How many halts that concern it had been ordered by then, lifted or not; one more voids it."""
    escalate_us: int = 0
    """When `escalate_to` is asked instead; 0: never."""
    escalate_to: str = ""
    parameter: str | None = None
    """Of a question: what the answer is about."""
    asked: tuple[Digest, ...] = ()
    """Of a question: what tells the value that it is about when an answer names it (`naming`)."""
    state: State = "waiting"
    settled_us: int = 0
    votes: tuple[Vote, ...] = ()
    excluded: tuple[PersonId, ...] = ()
    """People who cannot decide it, nor anybody in their place: who decided before an appeal, or in whose place. The
    user may answer a question all the same."""
    appeals: HoldId | None = None
    payload: Digest | None = None
    """Of what whoever settled it wrote; with none of the three that follow, that was erased."""
    instead: Any = None
    """Of an edited request: the arguments to call with."""
    reply: str | None = None
    """Of an answered question: the user's words."""
    why: str = ""
    """Why it was rejected, or is void."""

    @property
    def open(self) -> bool:
        """People can still answer it."""
        return self.state == "waiting"

    @property
    def erased(self) -> bool:
        """What whoever settled it wrote was erased; of a request that was looked at."""
        return self.payload is not None and self.instead is None and self.reply is None and not self.why


class Stop(msgspec.Struct, frozen=True):
    """Something that voids requests made before it: a halt, in force or lifted."""

    at_us: int
    why: str
    agent: str | None = None
    tool: str | None = None
    user: str | None = None
    release: str | None = None

    def concerns(self, call: Hold | Case, release: str | None) -> bool:
        """The call, asked for under `release`, is what is stopped."""
        return (
            names(self.agent, call.agent, *call.above)
            and names(self.tool, call.tool)
            and names(self.user, call.user)
            and names(self.release, release)
        )


def concerning(stops: Iterable[Stop], call: Hold | Case, release: str | None) -> list[Stop]:
    """Those that stop the call, asked for under `release`. None is ever deleted, so that their number tells whether
    one was ordered since: clocks would not, as hosts have different ones.
    """
    return [stop for stop in stops if stop.concerns(call, release)]


def effective(hold: Hold, now_us: int, stops: Iterable[Stop] = ()) -> Hold:
    """What `hold` means at `now_us`."""
    if hold.state not in ("waiting", "approved"):
        return hold
    since = concerning(stops, hold, hold.release)[hold.halts :]
    if since and min(since[0].at_us, now_us) < hold.expires_us:
        at = max(since[0].at_us, hold.requested_us)
        return msgspec.structs.replace(hold, state="void", settled_us=at, why=since[0].why)
    if now_us >= hold.expires_us:
        return msgspec.structs.replace(hold, state="expired", settled_us=hold.expires_us)
    if hold.state == "waiting" and hold.escalate_us and now_us >= hold.escalate_us and hold.role != hold.escalate_to:
        return msgspec.structs.replace(hold, role=hold.escalate_to)
    return hold


def voted(hold: Hold, who: Approver, answer: Answer, now_us: int) -> Hold:
    """`hold` with the person's answer, settled when that settles it.

    Raises `AlreadySettled` when it is no longer open, `NotPermitted` when it is not theirs to decide.
    """
    if not hold.open:
        raise AlreadySettled(f"the request is {hold.state}; nothing is left to decide")
    role = seat(hold, who)
    vote = Vote(
        by=who.id, role=role, answer=answer, at_us=now_us, instead_of=who.stands_in.get(role), glass=who.glass.get(role)
    )
    for earlier in hold.votes:
        if earlier.seats & vote.seats:
            raise NotPermitted("they have answered already; it takes somebody else")
    hold = msgspec.structs.replace(hold, votes=(*hold.votes, vote))
    if answer == "answer":
        return _settled(hold, "answered", now_us)
    if answer in ("reject", "edit"):
        return _settled(hold, "rejected", now_us)
    if sum(1 for each in hold.votes if each.answer == "approve") >= hold.quorum:
        hold = _settled(hold, "approved", now_us)
        return msgspec.structs.replace(hold, expires_us=now_us + hold.valid_us)
    return hold


def seat(hold: Hold, who: Approver) -> str:
    """The role in which the person may answer. Raises `NotPermitted`."""
    if hold.asks == "question":
        if who.id == hold.user:
            return "user"
        if hold.role not in who.roles:
            raise NotPermitted(f"only `{hold.user}` or somebody in the role `{hold.role}` may answer")
        _undecided(hold, who)
        return hold.role
    if folded_name(hold.user) in map(folded_name, (who.id, *who.deputy_of, *who.stands_in.values())):
        raise NotPermitted(
            "the person on whose behalf the agent acts cannot approve it, nor whoever stands in for them; "
            "it takes somebody else"
        )
    _undecided(hold, who)
    if hold.role not in who.roles:
        raise NotPermitted(f"it takes the role `{hold.role}`")
    return hold.role


def may_answer(hold: Hold, who: Approver) -> bool:
    """It is theirs to answer, and they have not."""
    try:
        seats = who.seats(seat(hold, who))
    except NotPermitted:
        return False
    return not any(vote.seats & seats for vote in hold.votes)


def _undecided(hold: Hold, who: Approver) -> None:
    if not who.seats(hold.role).isdisjoint(hold.excluded):
        raise NotPermitted("they, or the one in whose place they answer, decided it before the appeal")


def _settled(hold: Hold, state: State, now_us: int) -> Hold:
    return msgspec.structs.replace(hold, state=state, settled_us=now_us)
