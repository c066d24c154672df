"""What is kept of a decision: its event, and beside it everything needed to explain it, in one erasable payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fiducial.core.event import CallDecided, Firing, Mode, Outcome
from fiducial.core.ids import DecisionId, EventId, SessionId
from fiducial.core.payload import Payload, seal
from fiducial.core.verdict import Allowed, Reason, Remedies, Verdict
from fiducial.flow.trace import Trace
from fiducial.guard.budgets import Counted
from fiducial.guard.judgement import Judgement
from fiducial.policy.facts import Facts

MAX_FIRINGS = 64
"""Policies listed in an event; all of them are in its payload."""
MAX_TOOL_NAME = 256
"""Characters of a tool's name in an event."""


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision in full."""

    tool: str
    arguments: Any
    """As the tool gets them, with what the verdict masks in its place; a description in words where they are not
    JSON."""
    facts: Facts | None = None
    """`None` when a fault came first."""
    traces: Mapping[str, Trace] = {}
    """Parameter → where its value came from: places, and nothing of what stands there, so that it can be erased."""
    reasons: tuple[Reason, ...] = ()
    remedies: Remedies = Remedies()
    permits: tuple[str, ...] = ()
    """Ids of the policies that would permit the call."""
    confidence: float | None = None
    counted: tuple[Counted, ...] = ()
    """What it was counted for in rate windows."""
    spend: int | None = None
    """What it spends, in minor units, where the arguments are masked and need not say it."""


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result in full."""

    tool: str
    arguments: Any = None
    """Only for results obtained with no decision."""
    outcome: Outcome | None = None
    """Only for results obtained with no decision; of others, the event says it."""
    result: Any = None
    error: str | None = None
    """What the tool said when it failed."""
    nothing_done: bool = False
    """It is certain that there was no effect."""
    withheld: bool = False
    """Something was left out of it, as it is not known to be what this user has stored in the memory it came from."""
    documents: str | None = None
    """Where the ids of documents stand in it, by the contract."""
    recalled: tuple[DecisionId, ...] = ()
    """Items of a memory of which something came back in it."""

    @property
    def seen(self) -> tuple[Any, ...]:
        """What the agent has read of it."""
        return tuple(each for each in (self.result, self.error) if each is not None)


class DecisionEntry:
    """The record of a judgement, a `fiducial.core.store.LateEntry`: made from what never changes, when it is needed."""

    __slots__ = ("_event", "_judgement", "_mode", "_now", "_payload", "_session")

    def __init__(self, session: SessionId, mode: Mode, judgement: Judgement, now_us: int) -> None:
        self._session, self._mode, self._judgement, self._now = session, mode, judgement, now_us
        self._event: CallDecided | None = None

    @property
    def event(self) -> CallDecided:
        """The event."""
        if self._event is None:
            self._payload = _sealed(self._judgement)
            self._event = _decided(self._session, self._mode, self._judgement, self._now, self._payload)
        return self._event

    @property
    def payloads(self) -> tuple[Payload]:
        """The one payload, `call`."""
        self.event  # noqa: B018 - makes both
        return (self._payload,)


def _sealed(judgement: Judgement) -> Payload:
    verdict, request = judgement.verdict, judgement.request
    return sealed_decision(
        DecisionRecord(
            tool=request.tool,
            arguments=judgement.passed,
            facts=judgement.facts,
            traces=judgement.traces,
            reasons=verdict.reasons,
            remedies=verdict.remedies,
            confidence=request.confidence,
            counted=judgement.counted if judgement.may_run else (),
            spend=judgement.use.spend if judgement.masked is not None else None,
        )
    )


def _decided(session: SessionId, mode: Mode, judgement: Judgement, now: int, payload: Payload) -> CallDecided:
    verdict, request, tool, facts = judgement.verdict, judgement.request, judgement.tool, judgement.facts
    fault = next((reason.fault for reason in verdict.reasons if reason.fault is not None), None)
    return CallDecided(
        id=EventId("evt" + verdict.decision[3:]),
        session=session,
        at_us=now,
        payloads=(payload.ref,),
        decision=verdict.decision,
        tool=(tool.name if tool is not None else printable(request.tool))[:MAX_TOOL_NAME],
        contract=tool.digest if tool is not None else None,
        policies=tool.slice.digest if tool is not None and facts is not None else None,
        verdict=verdict.kind,
        mode=mode,
        fired=firings(verdict.reasons),
        fault=fault.value if fault is not None else None,
        masks=verdict.masks if isinstance(verdict, Allowed) else (),
        side_effect=tool is None or tool.side_effect,
        runs=request.runs and judgement.may_run,
        risk=facts.risk.level if facts is not None else 0,
        via=request.via,
    )


def firings(reasons: Iterable[Reason]) -> tuple[Firing, ...]:
    """The policies among `reasons`, as an event lists them."""
    fired = [Firing(reason.policy, reason.clause) for reason in reasons if reason.policy is not None]
    return tuple(fired[:MAX_FIRINGS])


_ENCODER = msgspec.json.Encoder(enc_hook=lambda value: describe(value), uuid_format="canonical")


def describe(value: object) -> str:
    """A stand-in for what JSON cannot hold: its type and size, never its content."""
    size = f" of {len(value)}" if isinstance(value, (bytes, set, frozenset)) else ""
    return f"<{type(value).__name__}{size}>"


def sealed_decision(record: DecisionRecord) -> Payload:
    """`record` as a payload; arguments that cannot be encoded are replaced by a description."""
    try:
        data = _ENCODER.encode(record)
    except (TypeError, ValueError, RecursionError, OverflowError):
        plain = msgspec.structs.replace(record, tool=printable(record.tool), arguments=describe(record.arguments))
        data = _ENCODER.encode(plain)
    return seal("call", data)


def sealed_result(record: ResultRecord) -> Payload:
    """`record` as a payload; a result that cannot be encoded is kept by its text form."""
    try:
        data = _ENCODER.encode(record)
    except (TypeError, ValueError, RecursionError, OverflowError):
        plain = msgspec.structs.replace(
            record,
            tool=printable(record.tool),
            result=printable(record.result),
            arguments=printable(record.arguments),
            error=printable(record.error) if record.error is not None else None,
        )
        data = _ENCODER.encode(plain)
    return seal("result", data)


def printable(value: object) -> str:
    """`value` as text that has a UTF-8 form."""
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception as fault:  # noqa: BLE001 - whatever a tool returned may raise anything when printed
        return f"<{type(value).__name__} that cannot be printed: {type(fault).__name__}>"


def decode_result(data: bytes) -> ResultRecord:
    """The record in `data`. Raises `msgspec.ValidationError` when it is none."""
    return msgspec.json.decode(data, type=ResultRecord)


def decode_decision(data: bytes) -> DecisionRecord:
    """The record in `data`. Raises `msgspec.ValidationError` when it is none."""
    return msgspec.json.decode(data, type=DecisionRecord)


def fired(verdict: Verdict) -> tuple[Reason, ...]:
    """The reasons of `verdict` that are policies."""
    return tuple(reason for reason in verdict.reasons if reason.policy is not None)
