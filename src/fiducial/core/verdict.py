"""Verdicts: what was decided about a call, why, and how to go on.

allowed   the tool may run, with the named masks applied to its arguments or its answer
held      a person decides; `role` and `quorum` say who and how many
unclear   the user is asked `question`; their answer settles it
denied    the tool does not run; asking again with the same call changes nothing

A verdict is never a bool. Reasons are what the auditor sees; `remedies.agent` is coarser, so that the agent (and
whoever writes to it) does not learn the rules by probing them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

import msgspec

from fiducial.core.ids import ClauseId, DecisionId, HoldId, PolicyId

VerdictKind: TypeAlias = Literal["allowed", "held", "unclear", "denied"]


class Fault(StrEnum):
    """Why a call was denied before, or instead of, the policies: each fails closed."""

    UNKNOWN_TOOL = "unknown-tool"
    BAD_ARGUMENTS = "bad-arguments"
    WITHDRAWN = "withdrawn"
    """The host does not use the tool as it is now."""
    HALTED = "halted"
    FLOW = "flow-failed"
    FACTS = "facts-failed"
    POLICY = "policy-failed"
    PEOPLE = "people-refused"
    """A person said no, or nobody answered in time."""
    DESK = "desk-failed"
    STORE = "store-failed"
    SESSION = "session-closed"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One rule or fault that led to the verdict."""

    message: str
    """For the auditor: lower-case, names parameters and sources, never repeats an argument's value."""
    policy: PolicyId | None = None
    """The policy that fired; `None` for a fault."""
    clause: ClauseId | None = None
    """The clause the policy serves; `None` when it serves none."""
    fault: Fault | None = None
    """What went wrong, when it was not a policy."""
    parameters: tuple[str, ...] = ()
    """Parameters the reason is about."""


class Remedies(msgspec.Struct, frozen=True, gc=False):
    """How to go on, said to each of the three who can."""

    agent: str = ""
    """What the agent is told: how to proceed, without the rule."""
    user: str = ""
    """What the end user may be shown."""
    operator: str = ""
    """What would change the verdict: rule, contract or charter."""


class _Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    decision: DecisionId
    """Links the verdict to what is recorded and to the outcome that follows."""
    reasons: tuple[Reason, ...] = ()
    """Every rule or fault that led here, hard ones first."""
    remedies: Remedies = Remedies()
    """How to go on."""
    enforced: bool = True
    """False in `observe` and `shadow` mode: the verdict is recorded and the tool may run all the same."""


class Allowed(_Verdict, frozen=True, kw_only=True, tag="allowed", tag_field="verdict"):
    """The tool may run."""

    kind: ClassVar[VerdictKind] = "allowed"
    masks: tuple[str, ...] = ()
    """Data classes to mask in the arguments before the tool sees them, where the verdict is `enforced`."""


class Held(_Verdict, frozen=True, kw_only=True, tag="held", tag_field="verdict"):
    """A person decides."""

    kind: ClassVar[VerdictKind] = "held"
    role: str
    """Role of the people who may decide."""
    quorum: int = 1
    """How many of them must agree."""
    approvals: tuple[PolicyId, ...] = ()
    """Policies that an approval would satisfy."""
    evidence: Mapping[str, str] = {}
    """For the person: parameter → where its value came from, in words."""
    hold: HoldId | None = None
    """The request that people, or the user, now have before them; `None` where nobody keeps requests."""


class Unclear(_Verdict, frozen=True, kw_only=True, tag="unclear", tag_field="verdict"):
    """The user is asked."""

    kind: ClassVar[VerdictKind] = "unclear"
    question: str
    """To put to the user, in plain words."""
    parameter: str | None = None
    """The parameter that the answer settles; `None` when it settles the whole call."""
    approvals: tuple[PolicyId, ...] = ()
    """Policies that the answer would satisfy."""
    evidence: Mapping[str, str] = {}
    """For the person: parameter → where its value came from, in words."""
    hold: HoldId | None = None
    """The request that people, or the user, now have before them; `None` where nobody keeps requests."""


class Denied(_Verdict, frozen=True, kw_only=True, tag="denied", tag_field="verdict"):
    """The tool does not run."""

    kind: ClassVar[VerdictKind] = "denied"


Verdict: TypeAlias = Allowed | Held | Unclear | Denied
