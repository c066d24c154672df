"""The desk: where the guard asks people, and learns what they have said.

The guard comes here only after the policies said `held` or `unclear`. Whatever the desk answers is about exactly one
call, told from all others by its binding; and it is worth something only together with the preconditions that it
brings, which are checked in the transaction that records the decision. `fiducial.oversight.desk` is the one that
keeps all this in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec

from fiducial.charter.model import Oversight
from fiducial.core.canonical import digest
from fiducial.core.event import Entry
from fiducial.core.ids import DecisionId, Digest, HoldId, PersonId, PolicyId, SessionId
from fiducial.core.store import Add, AtMost, Put, Unchanged
from fiducial.core.verdict import Reason, Remedies
from fiducial.flow.trace import Trace
from fiducial.policy.ruling import Ruling

_NONE: frozenset[PolicyId] = frozenset()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One call that people are, or were, asked about."""

    session: SessionId
    agent: str
    above: tuple[str, ...]
    """The agents that delegated to it."""
    release: str | None
    """Of the guard that decides."""
    user: str
    """On whose behalf: the requester, who cannot approve it."""
    tool: str
    arguments: Mapping[str, Any]
    decision: DecisionId
    """The decision that is being made on it now."""
    binding: Digest
    """Of everything that an answer is for; see `binding_of`."""
    group: Digest
    """The same without the session: equal for calls that differ in nothing a person would look at."""
    now_us: int
    rules: Oversight
    """The charter's."""
    previewed: bool
    """The tool's contract has a preview, so an approval is for what it found."""
    undoes: DecisionId | None
    """The call whose effect it takes back."""
    covered: Callable[[str], bool]
    """Whether a Cedar rule for a class of calls covers this one; see `fiducial.policy.bounds`."""


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into the commit that records the decision."""

    entries: tuple[Entry, ...] = ()
    preconditions: tuple[Unchanged | AtMost, ...] = ()
    changes: tuple[Put | Add, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """People, or the deadline, said no."""

    reason: Reason
    remedies: Remedies


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What people have said of a call so far."""

    approvals: frozenset[PolicyId] = _NONE
    """Policies that they satisfied for it."""
    spend: Writes = Writes()
    """Uses up those approvals."""
    holds: tuple[HoldId, ...] = ()
    """The requests whose approvals those are."""
    refusal: Refusal | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """People are asked, or were already."""

    hold: HoldId
    writes: Writes = Writes()
    """Makes the request; empty when it exists."""


class Reply(msgspec.Struct, frozen=True):
    """What the user answered to a question about one parameter."""

    hold: HoldId
    text: str


class Desk(Protocol):
    """Asks people. Every method may raise `StoreError`, and the call is then denied."""

    def said(self, case: Case, ruling: Ruling) -> Said:
        """What people have said of exactly this call, which `ruling` wants them to decide."""
        ...

    def ask(self, case: Case, ruling: Ruling) -> Asked:
        """Ask people about it, as `ruling` (held or unclear) demands."""
        ...

    def withdrawn(self, hold: HoldId, why: str, *, refused_by: PersonId | None = None) -> Writes:
        """Ends the request, unless it is spent or was refused: it was answered elsewhere, with a no by `refused_by`."""
        ...

    def stand(self, holds: Collection[HoldId]) -> Collection[Unchanged] | None:
        """What approvals that were given on those requests, and used, rest on while they still stand behind what they
        allowed, as preconditions of what is decided by it; `None` when they do not."""
        ...

    def replies(self, session: SessionId, tool: str) -> Mapping[str, Reply]:
        """Parameter → what the user answered to a question about it, the latest."""
        ...


class Consulted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of going to the desk."""

    ruling: Ruling
    hold: HoldId | None = None
    """The request that waits."""
    remedies: Remedies | None = None
    """Of a refusal by people."""
    approvals: frozenset[PolicyId] = _NONE
    """Policies that people satisfied."""
    holds: tuple[HoldId, ...] = ()
    """The requests on which they did."""
    writes: Writes = Writes()


def binding_of(
    parts: tuple[Any, ...],
    session: SessionId,
    arguments: Mapping[str, Any],
    traces: Mapping[str, Trace],
    shown: tuple[Any, ...],
) -> tuple[Digest, Digest]:
    """Binding and group of a call. `parts`: who asks for what under which contract and policies. `shown`: what people
    are shown besides; a session may learn more of that while it waits, so it tells groups apart and no bindings.

    Of a label it is integrity and classes that count, and where the value came from; not the list of all sources,
    which grows with everything that a session reads.
    """
    labels = {
        name: [
            trace.origin.value, trace.label.integrity.value, sorted(trace.label.classes | trace.classes),
            trace.contested, trace.pointed, trace.composed, trace.links, trace.untrusted_text,
        ]
        for name, trace in traces.items()
    }  # fmt: skip
    same = digest([parts, arguments, labels])
    return digest([session, same]), digest([same, shown])
