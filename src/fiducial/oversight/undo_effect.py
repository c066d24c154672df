"""One effect of a session: whether it can be taken back, and how, from what the log and the cells hold of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from fiducial.charter.contracts import Contract
from fiducial.charter.contracts import Effect as Remains
from fiducial.core.canonical import canonical_bytes
from fiducial.core.event import CallDecided, CallFinished, CaptureTaken
from fiducial.core.ids import DecisionId, Digest, EventId, SessionId, SourceId
from fiducial.core.label import TRUSTED, UNTRUSTED
from fiducial.core.path import PathPattern
from fiducial.core.payload import PayloadRole
from fiducial.flow.provenance import Provenance
from fiducial.flow.trace import Trace
from fiducial.guard.captures import After, Before
from fiducial.guard.compensation import LOST, Claimed, Snapshot
from fiducial.guard.drivers import STORE_TIMEOUT
from fiducial.guard.facts import arguments_label
from fiducial.guard.probes import fill_exactly, templates
from fiducial.guard.record import DecisionRecord, ResultRecord
from fiducial.guard.steps import DEFAULT_TIMEOUT
from fiducial.guard.tool import Tool
from fiducial.store.ledger import Record

State: TypeAlias = Literal["undone", "undoable", "unknown", "too-late", "impossible"]
_MEMORY = 64 * 1024 * 1024
"""Bytes for tracing one compensation; past it values count as untrusted."""


class Compensation(msgspec.Struct, frozen=True, kw_only=True):
    """The call that takes an effect back."""

    tool: str
    arguments: dict[str, Any]
    untrusted: tuple[str, ...] = ()
    """Arguments that a third party could have chosen when they were first used."""
    classes: dict[str, tuple[str, ...]] = {}
    """Data class → the arguments that hold it."""
    driver: str | None = None
    """The capture that puts the state back; `None`: the tool does what has to be done."""
    before: Snapshot | None = None
    """What to put back."""
    after: Digest | None = None
    """The state as the call left it; `None`: not known."""
    idempotent: bool = False


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One call whose effect is to be taken back."""

    decision: DecisionId
    event: EventId
    index: int
    """Its place in the log."""
    session: SessionId
    tool: str
    at_us: int
    until_us: int = 0
    """Microseconds since 1970 UTC until which the call itself may still be running; 0: it has ended."""
    settled_us: int = 0
    """Microseconds since 1970 UTC until which the other side may still act after a call that broke off; else 0."""
    late: str = ""
    """Why a call that takes it back can no longer be made; empty: it can."""
    state: State
    why: str = ""
    """What the state rests on; without anything that people or models wrote."""
    arguments: dict[str, Any] | None = None
    """What the tool was called with; `None` when that was erased."""
    result: Any = None
    compensation: Compensation | None = None
    claim: Claimed | None = None
    """Who has begun to take it back."""
    version: int = 0
    """Of its cell."""


class Kept(msgspec.Struct, kw_only=True):
    """What the log has on one decision."""

    decided: CallDecided
    entry: Record
    finished: Record | None = None
    before: Record | None = None
    after: Record | None = None


def _may_run(decided: CallDecided) -> bool:
    """Nothing stopped the call: it was allowed, or the verdict was not enforced."""
    if decided.verdict == "allowed":
        return True
    return decided.mode == "observe" or (decided.mode == "shadow" and decided.fault is None)


def happened(kept: Kept) -> bool:
    """The call had an effect, or may have had one."""
    if kept.finished is None:
        return _may_run(kept.decided)
    # What was there is better evidence than what the tool said. That it had not changed yet when the call ended proves
    # nothing, because the other side may act later: what is there now is looked at before anything is put back.
    return changed(kept) is True or not refused(kept.finished)


def refused(finished: Record | None) -> bool:
    """This record says that a call ended, and that it is certain to have done nothing."""
    result: ResultRecord | None = _decoded(finished, "result", ResultRecord)
    return result is not None and result.nothing_done


def changed(kept: Kept) -> bool | None:
    """Whether what was captured became another; `None`: it was not captured both times."""
    before, after = _decoded(kept.before, "capture", Before), _decoded(kept.after, "capture", After)
    return None if before is None or after is None else bool(before.taken.digest != after.digest)


def captured(kept: Kept) -> tuple[str, bytes] | None:
    """What was captured: by which driver, and with which arguments."""
    before: Before | None = _decoded(kept.before, "capture", Before)
    event = kept.before.event if kept.before is not None else None
    if before is None or not isinstance(event, CaptureTaken):
        return None
    return event.driver, canonical_bytes(before.arguments)


def _outcome(kept: Kept) -> str:
    finished = kept.finished.event if kept.finished is not None else None
    if not isinstance(finished, CallFinished):
        return "unknown"
    if finished.outcome == "failed" and not refused(kept.finished) and changed(kept) is None:
        return "unknown"  # it may have acted before it failed
    # The tool said that it did it, and an independent read did not find it.
    return "unknown" if finished.outcome == "ok" and finished.confirmed == "no" else finished.outcome


def _decoded(entry: Record | None, role: PayloadRole, type_: type[Any]) -> Any:
    """The payload with that role; `None` when there is none, it was erased, or it is not what it should be."""
    for stored in entry.payloads if entry is not None else ():
        if stored.ref.role == role and stored.data is not None:
            try:
                return msgspec.json.decode(stored.data, type=type_)
            except msgspec.DecodeError:
                return None
    return None


class _Impossible(Exception):
    """It cannot be taken back; the message says why."""


class Case:
    """One effect under consideration."""

    def __init__(
        self,
        kept: Kept,
        tool: Tool | None,
        tools: Mapping[str, Tool],
        claims: Mapping[DecisionId, tuple[Claimed, int]],
        now_us: int,
    ) -> None:
        self._kept = kept
        self._tool = tool
        self._tools = tools
        self._claims = claims
        self._now_us = now_us
        self._call: DecisionRecord | None = _decoded(kept.entry, "call", DecisionRecord)
        result: ResultRecord | None = _decoded(kept.finished, "result", ResultRecord)
        self._result = result.result if result is not None else None

    def effect(self) -> Effect:
        """What can become of it."""
        decided, call = self._kept.decided, self._call
        claim, version = self._claims.get(decided.decision, (None, 0))
        arguments = call.arguments if call is not None and isinstance(call.arguments, dict) else None
        state, why, compensation = self._found()
        assert decided.session is not None
        return Effect(
            decision=decided.decision,
            event=decided.id,
            index=self._kept.entry.index,
            session=decided.session,
            tool=decided.tool,
            at_us=decided.at_us,
            until_us=self._until(),
            settled_us=self._longest() if self._broke_off() else 0,
            late=self._late(),
            state=state,
            why=why,
            arguments=arguments,
            result=self._result,
            compensation=compensation,
            claim=claim,
            version=version,
        )

    def _until(self) -> int:
        if self._kept.finished is not None or not self._kept.decided.runs:
            return 0
        return self._longest()

    def _longest(self) -> int:
        timeout = self._tool.contract.timeout if self._tool is not None else DEFAULT_TIMEOUT
        return self._kept.decided.at_us + int((timeout.total_seconds() + STORE_TIMEOUT) * 1_000_000)

    def _broke_off(self) -> bool:
        """It raised or was cut off, and its tool did not say that it refused."""
        finished = self._kept.finished
        event = finished.event if finished is not None else None
        return isinstance(event, CallFinished) and event.outcome != "ok" and not refused(finished)

    def _late(self) -> str:
        within = self._tool.contract.undo.within if self._tool is not None and self._tool.contract.undo else None
        if within is None or self._now_us <= self._kept.decided.at_us + within.total_seconds() * 1_000_000:
            return ""
        return f"it could be taken back for {within} after the call"

    def _found(self) -> tuple[State, str, Compensation | None]:
        if self._undone(self._kept.decided.decision):
            return "undone", "it was taken back before", None
        outcome = _outcome(self._kept)
        claim = self._claims.get(self._kept.decided.decision)
        begun = claim is not None and claim[0].outcome is None
        try:
            contract = self._contract()
            if (late := self._late()) and not begun:
                return "too-late", late, None
            compensation = self._compensation(contract)
        except _Impossible as why:
            said = str(why)
            if outcome == "unknown":
                said += "; whether it happened at all is not known"
            return "impossible", said, None
        if claim is not None and claim[0].compensation == LOST:
            return "unknown", "the store was set back since, and it may have been taken back before that", compensation
        if begun:
            return "unknown", "a call that takes it back was begun, and nobody has said what came of it", compensation
        if outcome == "unknown":
            return "unknown", "whether it happened is not known", compensation
        changed = self._tool is not None and self._kept.decided.contract != self._tool.digest
        return "undoable", "the contract has been changed since the call" if changed else "", compensation

    def _undone(self, decision: DecisionId) -> bool:
        """It was taken back, and that was not taken back in turn."""
        claim = self._claims.get(decision)
        return claim is not None and claim[0].outcome == "undone" and not self._undone(claim[0].compensation)

    def _contract(self) -> Contract:
        if self._tool is None:
            raise _Impossible("no contract describes the tool")
        contract = self._tool.contract
        if contract.effect is Remains.IRREVERSIBLE:
            raise _Impossible("its effect is irreversible")
        if contract.undo is None and contract.capture is None:
            raise _Impossible("its contract declares neither undo nor capture")
        return contract

    def _compensation(self, contract: Contract) -> Compensation:
        call = self._call
        if call is None:
            raise _Impossible("the record of the call was erased")
        if not isinstance(call.arguments, dict):
            raise _Impossible("the arguments of the call could not be recorded")
        if contract.capture is not None:
            before: Before | None = _decoded(self._kept.before, "capture", Before)
            if self._kept.before is None or not _taken(self._kept.before):
                raise _Impossible("the state before it was not kept")
            if before is None:
                raise _Impossible("the state before it was erased")
            taker = self._kept.before.event.driver if isinstance(self._kept.before.event, CaptureTaken) else ""
            if taker != contract.capture.driver:
                raise _Impossible(f"the capture `{taker}` took the state before it, and the contract names another now")
            after: After | None = _decoded(self._kept.after, "capture", After)
            return self._traced(
                Compensation(
                    tool=contract.capture.tool,
                    arguments=before.arguments,
                    driver=contract.capture.driver,
                    before=before.taken,
                    after=after.digest if after is not None else None,
                ),
                contract.capture.arguments,
            )
        undo = contract.undo
        assert undo is not None
        if self._kept.decided.masks and any(each.startswith("$arguments") for each in templates(undo.arguments)):
            raise _Impossible("its arguments were masked, and do not tell its effect from others")
        try:
            arguments = fill_exactly(undo.arguments, call.arguments, self._result)
        except LookupError as error:
            raise _Impossible(f"an argument of `{undo.tool}` is missing: {error.args[0]}") from None
        return self._traced(
            Compensation(tool=undo.tool, arguments=arguments, idempotent=undo.idempotent), undo.arguments
        )

    def _traced(self, compensation: Compensation, written: Mapping[str, Any]) -> Compensation:
        """`compensation` with what was known of its arguments when they were first used.

        They are traced in what the undone call was given and returned, labelled as it was then.
        """
        called = self._tools.get(compensation.tool)
        known = self._known()
        untrusted: list[str] = []
        classes: dict[str, tuple[str, ...]] = {}
        for name, value in compensation.arguments.items():
            parameter = called.parameters.get(name) if called is not None else None
            if parameter is None or not templates(written.get(name)):
                continue  # step 2 refuses what is not declared; constants are the charter's own words
            trace = known.trace(name, value, parameter.role, unit=parameter.unit, entity=parameter.entity)
            if trace.doubtful(tainted=True):
                untrusted.append(name)
            for each in sorted(trace.classes):
                classes[each] = (*classes.get(each, ()), name)
        return msgspec.structs.replace(compensation, untrusted=tuple(untrusted), classes=classes)

    def _known(self) -> Provenance:
        tool, call = self._tool, self._call
        assert tool is not None
        assert call is not None
        known = Provenance(budget=_MEMORY)
        traces = {name: trace for name, trace in call.traces.items() if name in tool.parameters}
        tainted = call.facts is None or call.facts.session.tainted
        doubtful = [name for name in call.arguments if name not in traces or traces[name].doubtful(tainted=tainted)]
        known.observe_result(
            SourceId("src_arguments"), call.arguments, label=TRUSTED, untrusted=_members(doubtful), prose=(),
            classes=_classes(traces),
        )  # fmt: skip
        label = arguments_label(tool, traces)
        if not _may_run(self._kept.decided):
            label = label | UNTRUSTED
        known.observe_result(
            SourceId("src_result"), self._result, label=label, trusted=tool.trusted, untrusted=tool.untrusted,
            prose=tool.prose, classes=tool.classes,
        )  # fmt: skip
        return known


def _taken(entry: Record) -> bool:
    return isinstance(entry.event, CaptureTaken) and entry.event.taken


def _classes(traces: Mapping[str, Trace]) -> dict[str, list[PathPattern]]:
    found: dict[str, list[PathPattern]] = {}
    for name, trace in traces.items():
        for each in trace.classes | trace.label.classes:
            found.setdefault(each, []).extend(_members([name]))
    return found


def _members(names: Iterable[str]) -> list[PathPattern]:
    return [PathPattern("$" if "'" in name else f"$['{name}']") for name in names]


__all__ = ["Case", "Compensation", "Effect", "Kept", "captured", "changed", "happened", "refused"]
