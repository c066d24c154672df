"""Events: one frozen, tagged record per kind of thing that happens, and one union of them.

An event is the envelope that the log keeps: ids, enums, digests, counts. Text that people or models wrote is not in
it but in payloads beside it (`fiducial.core.payload`), each salted and erasable. Keys are ASCII, integers safe, there
are no floats, and no envelope is larger than `MAX_ENVELOPE` bytes; so its canonical bytes equal RFC 8785.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec

from fiducial.core.canonical import canonical_bytes
from fiducial.core.envelope import Authority, Envelope, Mode, Outcome
from fiducial.core.ids import ClauseId, DecisionId, Digest, PolicyId, SessionId, SourceId
from fiducial.core.label import Integrity
from fiducial.core.oversight import (
    ApprovalSpent,
    CaptureTaken,
    ClassGranted,
    GlassBroken,
    GlassReviewed,
    HaltLifted,
    HaltOrdered,
    HoldRequested,
    HoldSeen,
    HoldSettled,
    HoldVoted,
    NoticeSettled,
    PersonChanged,
    PlanSettled,
    ToolPinned,
    UndoFinished,
    UndoStarted,
)
from fiducial.core.payload import Payload
from fiducial.core.shape import shape_of
from fiducial.core.verdict import VerdictKind

if TYPE_CHECKING:
    from fiducial.core._shape import Shape

MAX_ENVELOPE = 64 * 1024 - 1
"""Bytes: what the two-byte length of a published entry can say (C2SP tlog-tiles section "Log entries"). The largest, a
decision on which hundreds of rules fired, stays under a tenth of it."""


class SessionOpened(Envelope, frozen=True, kw_only=True, tag="session.opened"):
    """A run of an agent began."""

    agent: str
    """Id of the agent, from the charter."""
    user: str
    """On whose behalf."""
    roles: tuple[str, ...]
    """The user's roles, sorted."""
    tier: str
    """`chat`, `read`, `write` or `autonomous`."""
    charter: Digest
    """The charter that holds for the whole session."""
    mode: Mode
    """How verdicts are acted on."""
    parent: SessionId | None = None
    """The session that delegated to this one."""
    planned: bool = False
    """A plan was given at opening: until it is accepted, nothing is on the plan."""


class MessageObserved(Envelope, frozen=True, kw_only=True, tag="message.observed"):
    """Text entered the session; the payload `text` holds it."""

    source: SourceId
    """Id by which values are traced to it."""
    authority: Authority
    """Who said it."""
    integrity: Integrity
    """Whether values found in it are trusted."""


class ModelAnswered(Envelope, frozen=True, kw_only=True, tag="model.answered"):
    """The agent got a text of its model's; the payload `text` holds it. It is no source: a value that a model says is
    traced to what the model had read."""

    model: str
    """By the name that it was asked by; at most 256 characters."""


class PlanDeclared(Envelope, frozen=True, kw_only=True, tag="plan.declared"):
    """The agent, or its host, said what it will do; the payload `call` of the decision on it holds the plan."""

    tools: tuple[str, ...]
    """Of its steps, in order."""
    plan: Digest | None = None
    """Of the plan; `None` where it was not decided on and simply counted."""


class Firing(msgspec.Struct, frozen=True):
    """One policy that fired, as recorded."""

    policy: PolicyId
    clause: ClauseId | None = None


class CallDecided(Envelope, frozen=True, kw_only=True, tag="call.decided"):
    """A verdict. Payload `call` holds tool and arguments, `facts` every fact and trace, `evidence` the reasons."""

    decision: DecisionId
    tool: str
    """Name of the tool; at most 256 characters, longer ones are kept by digest."""
    contract: Digest | None
    """The contract it was judged by; `None` for an unknown tool."""
    policies: Digest | None
    """The slice of policies that was asked; `None` when none was reached."""
    verdict: VerdictKind
    mode: Mode
    fired: tuple[Firing, ...] = ()
    """Policies that fired, hard ones first; the first 64."""
    fault: str | None = None
    """A `Fault`, when it was not a policy."""
    masks: tuple[str, ...] = ()
    """Data classes masked."""
    side_effect: bool = False
    """True when running the tool would change something."""
    runs: bool = False
    """True when Fiducial itself goes on to run the tool: with no outcome after it, the outcome is unknown."""
    risk: int = 0
    """0 (none) to 4 (critical)."""
    via: str | None = None
    """By what the call came, where its door says so: MCP's version and what carried it, `mcp/2025-11-25/pipe` (the
    streams of a command) or `mcp/2025-11-25/tcp` (HTTP)."""


class ShadowDecided(Envelope, frozen=True, kw_only=True, tag="call.shadow"):
    """What the shadow policies would have decided, when that differs."""

    decision: DecisionId
    verdict: VerdictKind
    fired: tuple[Firing, ...] = ()


class HoldAnswered(Envelope, frozen=True, kw_only=True, tag="hold.answered"):
    """A person, through the in-process hook, answered a held or unclear call; payload `note` holds what they said."""

    decision: DecisionId
    answer: Literal["approved", "rejected", "answered"]
    by: str
    """Who answered; `hook` when the hook did not say."""


class CallFinished(Envelope, frozen=True, kw_only=True, tag="call.finished"):
    """What came of a decided call; payload `result` holds it."""

    decision: DecisionId
    outcome: Outcome
    source: SourceId | None
    """Id by which values of the result are traced; `None` when there is no result."""
    integrity: Integrity
    """The whole result's label: the contract's joined with the arguments'."""
    classes: tuple[str, ...] = ()
    """Data classes in the result, sorted."""
    duration_us: int = 0
    """By the monotonic clock."""
    confirmed: Literal["yes", "no", "unknown", "not-checked"] = "not-checked"
    """What the contract's post-condition found."""
    breach: bool = False
    """The call had not been allowed and ran all the same: whoever ran it went around the guard."""


class ResultObserved(Envelope, frozen=True, kw_only=True, tag="result.observed"):
    """A tool result that was obtained elsewhere, with no decision; payload `call` and `result`."""

    tool: str
    source: SourceId
    integrity: Integrity
    classes: tuple[str, ...] = ()


class SessionClosed(Envelope, frozen=True, kw_only=True, tag="session.closed"):
    """The run ended."""

    calls: int
    """Calls decided."""
    reason: Literal["done", "error", "lost"] = "done"


class SessionTaken(Envelope, frozen=True, kw_only=True, tag="session.taken"):
    """Another process took the session over from the one that had it."""

    owner: str
    """The process that has it now: host, number, and a part of its own."""
    before: str
    """The one that had it, and did not give it up."""
    ended: bool
    """Its lease had run out."""
    why: str = ""
    """Why it was taken: given where the lease had not run out."""


class LogOpened(Envelope, frozen=True, kw_only=True, tag="log.opened"):
    """First entry of every log."""

    origin: str
    """The log's name in its checkpoints."""
    key: str
    """Public key, C2SP `signed-note` verifier key."""


class KeyRotated(Envelope, frozen=True, kw_only=True, tag="log.key-rotated"):
    """Checkpoints from here on are signed by another key."""

    key: str
    """The new public key, C2SP `signed-note` verifier key."""
    by: str
    """Who did it."""


class PayloadErased(Envelope, frozen=True, kw_only=True, tag="payload.erased"):
    """A payload and its salt were deleted; the log still verifies."""

    payload: Digest
    by: str
    why: str
    """Short and without the erased data; at most 500 characters."""


class RetentionApplied(Envelope, frozen=True, kw_only=True, tag="log.retention"):
    """Payloads older than the setting were erased."""

    before_us: int
    """Microseconds since 1970 UTC."""
    erased: int
    """How many payloads."""


class RollbackAccepted(Envelope, frozen=True, kw_only=True, tag="log.rollback-accepted"):
    """The log went on from an older copy of itself than was last seen; whoever opened it said that this is meant."""

    seen: int
    """Entries of the checkpoint that the log no longer contains."""
    root: str
    """Its root hash, hexadecimal."""


class LogRestored(Envelope, frozen=True, kw_only=True, tag="log.restored"):
    """The store was brought back from a backup by somebody; what was recorded after the backup was made is gone."""

    size: int
    """Entries of the backup."""
    root: str
    """Their root hash, hexadecimal."""
    seen: int
    """Entries of the largest checkpoint known that the log no longer contains; 0 when none is known to be missing."""
    by: str
    """Who did it."""
    why: str
    """Short; at most 500 characters."""


class CharterActivated(Envelope, frozen=True, kw_only=True, tag="charter.activated"):
    """New sessions use this charter from here on."""

    charter: Digest
    previous: Digest | None


Event: TypeAlias = (
    SessionOpened
    | MessageObserved
    | ModelAnswered
    | PlanDeclared
    | CallDecided
    | ShadowDecided
    | HoldAnswered
    | CallFinished
    | ResultObserved
    | SessionClosed
    | SessionTaken
    | LogOpened
    | KeyRotated
    | PayloadErased
    | RetentionApplied
    | RollbackAccepted
    | LogRestored
    | CharterActivated
    | HoldRequested
    | HoldSeen
    | HoldVoted
    | HoldSettled
    | ApprovalSpent
    | ClassGranted
    | GlassBroken
    | GlassReviewed
    | PlanSettled
    | CaptureTaken
    | UndoStarted
    | UndoFinished
    | HaltOrdered
    | HaltLifted
    | PersonChanged
    | ToolPinned
    | NoticeSettled
)


class Entry(msgspec.Struct, frozen=True):
    """An event with the payloads it refers to: the unit of recording."""

    event: Event
    payloads: tuple[Payload, ...] = ()


def encode_event(event: Event) -> bytes:
    """Canonical bytes of `event`, as the log stores and hashes them. Raises `ValueError` past `MAX_ENVELOPE`."""
    data = canonical_bytes(event)
    if len(data) > MAX_ENVELOPE:
        raise ValueError(f"an event of {len(data)} bytes is larger than {MAX_ENVELOPE}")
    return data


_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event, strict=True)


def decode_event(data: bytes) -> Event:
    """The event that `data` holds. Raises `msgspec.ValidationError` on anything but a known event."""
    return _DECODER.decode(data)


@functools.cache
def _shape(kind: type) -> Shape | None:
    return shape_of(kind) if kind in get_args(Event) else None


def check_event(event: Event, data: bytes) -> None:
    """That `data`, the bytes of `event`, can be read back. Raises `msgspec.ValidationError`."""
    shape = _shape(type(event))
    if shape is None or not shape.fits(event):
        decode_event(data)


__all__ = [
    "MAX_ENVELOPE",
    "ApprovalSpent",
    "Authority",
    "CallDecided",
    "CallFinished",
    "CaptureTaken",
    "CharterActivated",
    "ClassGranted",
    "Entry",
    "Event",
    "Firing",
    "GlassBroken",
    "GlassReviewed",
    "HaltLifted",
    "HaltOrdered",
    "HoldAnswered",
    "HoldRequested",
    "HoldSeen",
    "HoldSettled",
    "HoldVoted",
    "KeyRotated",
    "LogOpened",
    "LogRestored",
    "MessageObserved",
    "Mode",
    "ModelAnswered",
    "NoticeSettled",
    "Outcome",
    "PayloadErased",
    "PersonChanged",
    "PlanDeclared",
    "PlanSettled",
    "ResultObserved",
    "RetentionApplied",
    "RollbackAccepted",
    "SessionClosed",
    "SessionOpened",
    "ShadowDecided",
    "ToolPinned",
    "UndoFinished",
    "UndoStarted",
    "decode_event",
    "encode_event",
]
