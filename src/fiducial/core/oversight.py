"""Events of oversight: what people were asked, saw, decided, stopped and took back."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fiducial.core.envelope import Envelope
from fiducial.core.ids import DecisionId, Digest, GrantId, HoldId, PersonId, PolicyId, SessionId

Through: TypeAlias = Literal["desk", "form"]
"""How an answer came: by the console or a command of Fiducial's own, or by a form of the client that the agent works
for, of which whoever set the gateway up says that its user answers forms themselves."""


class HoldRequested(Envelope, frozen=True, kw_only=True, tag="hold.requested"):
    """People are asked about a call that was held, or the user about one that was unclear.

    What they are shown is the payload `call` of the decision.
    """

    hold: HoldId
    decision: DecisionId
    asks: Literal["approval", "question"]
    """`question`: put to the user, or to a person in the same role."""
    role: str
    """Who may answer."""
    quorum: int
    """How many of them must agree."""
    policies: tuple[PolicyId, ...]
    """What an approval would satisfy."""
    binding: Digest
    """Of session, tool, contract, arguments, the arguments' labels and the policies: what the answer is for."""
    expires_us: int
    """Microseconds since 1970 UTC; unanswered by then, the call is refused."""
    appeals: HoldId | None = None
    """The refusal that this one appeals against."""


class HoldSeen(Envelope, frozen=True, kw_only=True, tag="hold.seen"):
    """A person was shown a request in a list, opened it with its evidence, or followed a notification's link to it."""

    hold: HoldId
    by: PersonId
    how: Literal["shown", "opened", "followed"]


class HoldVoted(Envelope, frozen=True, kw_only=True, tag="hold.voted"):
    """A person answered a request; payload `note` holds what they said."""

    hold: HoldId
    by: PersonId
    role: str
    """In which role."""
    answer: Literal["approve", "reject", "edit", "answer"]
    """`edit`: approve another call instead, which is decided afresh."""
    dwell_us: int
    """From opening it to answering, -1 when it was never opened."""
    instead_of: PersonId | None = None
    """Whose place they took, by delegation."""
    glass: GrantId | None = None
    """The emergency access that gave them the role."""
    through: Through = "desk"


class HoldSettled(Envelope, frozen=True, kw_only=True, tag="hold.settled"):
    """A request has its answer, or will get none."""

    hold: HoldId
    outcome: Literal["approved", "rejected", "expired", "void", "escalated"]
    """`void`: what it was asked for has changed. `escalated`: another role is asked from here on."""
    why: str
    """Short, by the software; what people said is in their votes."""


class ApprovalSpent(Envelope, frozen=True, kw_only=True, tag="approval.spent"):
    """An approval let one call run; it is used up (a class grant: one use of it)."""

    decision: DecisionId
    """The decision that it let through."""
    hold: HoldId | None = None
    grant: GrantId | None = None


class ClassGranted(Envelope, frozen=True, kw_only=True, tag="grant.given"):
    """A person approved a bounded class of calls; payload `note` holds the Cedar rule."""

    grant: GrantId
    by: PersonId
    tool: str
    policies: tuple[PolicyId, ...]
    uses: int
    """How many calls at most."""
    expires_us: int


class GlassBroken(Envelope, frozen=True, kw_only=True, tag="glass.broken"):
    """A person took a role for a short time in an emergency; payload `note` says why."""

    grant: GrantId
    by: PersonId
    role: str
    until_us: int


class GlassReviewed(Envelope, frozen=True, kw_only=True, tag="glass.reviewed"):
    """Another person looked at an emergency access afterwards; payload `note` says what they found."""

    grant: GrantId
    by: PersonId
    justified: bool


class PlanSettled(Envelope, frozen=True, kw_only=True, tag="plan.settled"):
    """What was decided on a declared plan as a whole, or that another took its place."""

    plan: Digest
    outcome: Literal["accepted", "held", "rejected", "superseded"]
    """`held`: people, or the user, are asked about it."""
    decision: DecisionId
    """The decision; its payload `call` holds the plan that was declared then."""
    approved: bool = False
    """People have approved it: it, or a wider plan that it took the place of."""
    holds: tuple[HoldId, ...] = ()
    """The requests on which they did."""
    steps: int = 0


UndoOutcome: TypeAlias = Literal[
    "undone", "already", "nothing", "changed", "impossible", "too-late", "held", "denied", "failed", "unknown"
]
"""What became of an effect that was to be taken back. `nothing`: there was no effect. `changed`: somebody else has
changed since what would be put back."""


class CaptureTaken(Envelope, frozen=True, kw_only=True, tag="capture.taken"):
    """What a call was about to change was kept, or what it left was looked at; payload `capture` holds it."""

    decision: DecisionId
    driver: str
    """What took it, by the name under which the host registered it."""
    moment: Literal["before", "after"]
    taken: bool = True
    """False: it could not be taken, and the contract lets the call run all the same."""


class UndoStarted(Envelope, frozen=True, kw_only=True, tag="undo.started"):
    """Somebody is taking back what `target` did."""

    target: SessionId
    by: PersonId
    why: str
    dry_run: bool = False


class UndoFinished(Envelope, frozen=True, kw_only=True, tag="undo.finished"):
    """What became of one effect that was to be taken back."""

    target: SessionId
    decision: DecisionId
    """The call whose effect it is."""
    outcome: UndoOutcome
    compensation: DecisionId | None = None
    """The call that took it back."""
    why: str = ""
    """Short, by the software."""


class HaltOrdered(Envelope, frozen=True, kw_only=True, tag="halt.ordered"):
    """Calls that match every part given are stopped from here on."""

    halt: GrantId
    by: PersonId
    why: str
    """At most 500 characters."""
    agent: str | None = None
    tool: str | None = None
    user: str | None = None
    release: str | None = None


class HaltLifted(Envelope, frozen=True, kw_only=True, tag="halt.lifted"):
    """A halt no longer holds."""

    halt: GrantId
    by: PersonId
    why: str


NoticeKind: TypeAlias = Literal["request", "question", "escalation", "halt", "resume", "emergency"]
"""What people are told of outside the console."""


class NoticeSettled(Envelope, frozen=True, kw_only=True, tag="notice.settled"):
    """People were told through one channel, or could not be."""

    notice: NoticeKind
    about: str
    """Id of the request, halt or emergency access."""
    channel: str
    """As the operator's settings call it."""
    outcome: Literal["sent", "failed", "lapsed"]
    """`failed`: the other side refused it for good. `lapsed`: it had not gone through when its time was over."""
    attempts: int
    why: str
    """Short, by the software."""


class PersonChanged(Envelope, frozen=True, kw_only=True, tag="person.changed"):
    """An administrative act about a person: roles, absence, delegation, sign-in."""

    person: PersonId
    by: PersonId
    act: str
    """Such as `created`, `roles`, `absent`, `delegated`, `revoked`, `signed-in`, `sign-in-failed`."""
    roles: tuple[str, ...] = ()
    """Their roles from here on, where the act is about roles."""
    until_us: int | None = None


class ToolPinned(Envelope, frozen=True, kw_only=True, tag="tool.pinned"):
    """What a server says of one of its tools or of itself, or what a skill holds, is relied upon, or not until somebody
    has looked at it."""

    of: Literal["server", "skills"] = "server"
    """`skills`: a folder of them."""
    server: str
    """As the host calls it; the folder likewise."""
    tool: str | None
    """The tool, or the skill; `None`: the server itself."""
    digest: Digest
    """Of the tool's name and what is said of it; of a skill, of its name and its files."""
    act: Literal["pinned", "quarantined", "approved", "kept-out"]
    """`pinned`: the first time that it was seen. `quarantined`: when it came to be; not whatever is said meanwhile.
    `kept-out`: a person has looked at it, and it stays quarantined."""
    by: PersonId


__all__ = [
    "ApprovalSpent",
    "CaptureTaken",
    "ClassGranted",
    "GlassBroken",
    "GlassReviewed",
    "HaltLifted",
    "HaltOrdered",
    "HoldRequested",
    "HoldSeen",
    "HoldSettled",
    "HoldVoted",
    "NoticeKind",
    "NoticeSettled",
    "PersonChanged",
    "PlanSettled",
    "Through",
    "ToolPinned",
    "UndoFinished",
    "UndoOutcome",
    "UndoStarted",
]
