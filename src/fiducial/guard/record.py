"""What is kept of a decision beside its event: everything needed to explain it later, in one erasable payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fiducial.core.payload import Payload, seal
from fiducial.core.verdict import Reason, Remedies, Verdict
from fiducial.flow.trace import Trace
from fiducial.policy.facts import Facts


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision in full."""

    tool: str
    arguments: Any
    """As the agent gave them; a description in words where they are not JSON."""
    facts: Facts | None = None
    """`None` when a fault came first."""
    traces: Mapping[str, Trace] = {}
    """Parameter → where its value came from."""
    reasons: tuple[Reason, ...] = ()
    remedies: Remedies = Remedies()
    evidence: Mapping[str, str] = {}
    """Parameter → where its value came from, in words; for verdicts other than allowed."""
    permits: tuple[str, ...] = ()
    """Ids of the policies that would permit the call."""
    confidence: float | None = None


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One result in full."""

    tool: str
    arguments: Any = None
    """Only for results obtained with no decision."""
    result: Any = None
    error: str | None = None
    """What the tool said when it failed."""


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


def decode_decision(data: bytes) -> DecisionRecord:
    """The record in `data`. Raises `msgspec.ValidationError` when it is none."""
    return msgspec.json.decode(data, type=DecisionRecord)


def fired(verdict: Verdict) -> tuple[Reason, ...]:
    """The reasons of `verdict` that are policies."""
    return tuple(reason for reason in verdict.reasons if reason.policy is not None)
