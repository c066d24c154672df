"""From our events to spans, by the GenAI conventions.

| entry of the log | span |
|---|---|
| `call.finished` | `execute_tool`, from the decision to its end |
| `call.decided`, when the verdict stops the call | `execute_tool` of no duration, with the verdict as its error |
| `result.observed` | `execute_tool` of no duration |
| `hold.settled`, when it is not escalated | `fiducial.ask`, from the request to its end, with votes as events |
| `halt.ordered`, `halt.lifted` | `fiducial.halt`, `fiducial.resume`, of no duration, in traces of their own |
| `session.closed` | `execute_tool` for each call of which nothing was heard, and `invoke_agent`, the parent of all |

The verdict, and that of shadow policies, is an event `gen_ai.evaluation.result` on the span. A tool's name is sent
where a contract describes it; any other is whatever the agent wrote, and `unknown` stands for it. What the conventions
have no name for begins with `fiducial.`. A call that came over MCP has the attributes of MCP's conventions beside those
of a tool's. Sessions that were delegated are in the trace of the first of them. Ids follow
from those of the log, so what is sent twice is the same span twice. Other entries are not sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Final, TypeAlias

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from fiducial.core.event import (
    CallDecided,
    CallFinished,
    Firing,
    HaltLifted,
    HaltOrdered,
    HoldRequested,
    HoldSettled,
    HoldVoted,
    MessageObserved,
    ModelAnswered,
    ResultObserved,
    SessionClosed,
    SessionOpened,
    ShadowDecided,
)
from fiducial.core.ids import DecisionId, SessionId
from fiducial.flow.masking.detect import BUILT_IN, Detection
from fiducial.gateway.otlp import contents
from fiducial.gateway.otlp import conventions as names
from fiducial.gateway.otlp.spans import id_of, put, put_event
from fiducial.store.bundle import Record
from fiducial.store.ledger import Ledger

_KEPT: Final = 10_000
"""Calls under way and sessions remembered; others are looked up."""
_NEAR: Final = 16
"""Entries among which those of one commit are looked for."""
_UNKNOWN: Final = "unknown"


Judged: TypeAlias = CallDecided | ShadowDecided


class Mapping:
    """Over one log; `content` says whether arguments, results, messages and users are told, without what `detection`
    tells of data classes."""

    def __init__(self, ledger: Ledger, *, content: bool, detection: Detection = BUILT_IN) -> None:
        self._ledger, self._content, self._detection = ledger, content, detection
        self._decided: OrderedDict[DecisionId, list[Judged]] = OrderedDict()
        self._opened: OrderedDict[SessionId, SessionOpened | None] = OrderedDict()

    def spans(self, record: Record) -> Iterator[Span]:
        """The spans that an entry brings, entries being given in order. Raises `StoreError`."""
        event = record.event
        match event:
            case SessionOpened():
                assert event.session is not None
                _remember(self._opened, event.session, event)
            case CallDecided():
                if _stops(event):
                    yield self._call([event, *self._shadow(record, event.decision)], None, "")
                else:
                    _remember(self._decided, event.decision, [event])
            case ShadowDecided():
                # Of a call that was stopped, its span has told it.
                self._decided.get(event.decision, []).append(event)
            case CallFinished():
                judged = self._decided.pop(event.decision, None) or self._of(event.decision)
                if any(isinstance(each, CallDecided) for each in judged):
                    yield self._call(judged, record, "breach" if event.breach else "")
            case ResultObserved():
                yield self._obtained(event)
            case ModelAnswered():
                yield self._answered(event)
            case SessionClosed():
                yield from self._closed(event)
            case HoldSettled() if event.outcome != "escalated":
                yield from self._asked(event)
            case HaltOrdered() | HaltLifted():
                yield self._halted(event)

    # --- spans

    def _call(self, judged: list[Judged], finished: Record | None, part: str) -> Span:
        event = next(each for each in judged if isinstance(each, CallDecided))
        tool = event.tool if event.contract is not None else _UNKNOWN
        end = finished.event if finished is not None else None
        span = self._span(event.session, f"{event.decision}{part}", event.at_us, (end or event).at_us)
        span.name = f"{names.EXECUTE_TOOL} {tool}"
        span.kind = Span.SPAN_KIND_INTERNAL
        found: dict[str, Any] = {
            names.OPERATION: names.EXECUTE_TOOL, names.TOOL_NAME: tool, names.TOOL_TYPE: "function",
            names.TOOL_CALL_ID: event.decision, names.CONVERSATION: event.session, "fiducial.verdict": event.verdict,
            "fiducial.mode": event.mode, "fiducial.risk": event.risk, "fiducial.side_effect": event.side_effect,
            **_mcp(event, tool),
        }  # fmt: skip
        why = ""
        if isinstance(end, CallFinished):
            why = "" if end.outcome == "ok" else end.outcome
            found |= {
                "fiducial.outcome": end.outcome, "fiducial.result.integrity": end.integrity.value,
                "fiducial.result.classes": list(end.classes), "fiducial.breach": end.breach,
            }  # fmt: skip
        elif _stops(event):
            why = event.fault or event.verdict
        else:
            why = found["fiducial.outcome"] = "unknown"
        if self._content:
            decided = self._ledger.find(event.id)
            told = self._detection
            found[names.TOOL_ARGUMENTS] = contents.arguments_of(decided, told) if decided is not None else None
            found[names.TOOL_RESULT] = contents.result_of(event, finished, told) if finished is not None else None
        put(span, found, why)
        _judged(span, event.at_us, "fiducial.verdict", event.verdict, event.fired, event.fault)
        for each in judged:
            if isinstance(each, ShadowDecided):
                _judged(span, each.at_us, "fiducial.shadow", each.verdict, each.fired, None)
        return span

    def _obtained(self, event: ResultObserved) -> Span:
        span = self._span(event.session, event.source, event.at_us, event.at_us)
        span.name = f"{names.EXECUTE_TOOL} {_UNKNOWN}"  # the log does not say whether a contract describes it
        found: dict[str, Any] = {
            names.OPERATION: names.EXECUTE_TOOL, names.TOOL_NAME: _UNKNOWN, names.CONVERSATION: event.session,
            "fiducial.result.integrity": event.integrity.value, "fiducial.result.classes": list(event.classes),
        }  # fmt: skip
        put(span, found, "")
        return span

    def _answered(self, event: ModelAnswered) -> Span:
        """What a model says may hold anything that it has read, and is never sent. The model's name is the agent's to
        write: it is content."""
        model = event.model if self._content else ""
        span = self._span(event.session, event.id, event.at_us, event.at_us)
        span.name = f"chat {model}".rstrip()
        span.kind = Span.SPAN_KIND_INTERNAL
        found = {names.OPERATION: "chat", names.REQUEST_MODEL: model or None, names.CONVERSATION: event.session}
        put(span, found, "")
        return span

    def _asked(self, settled: HoldSettled) -> Iterator[Span]:
        """What people, or the user, were asked, once they are no longer. Who they are is content."""
        assert settled.session is not None
        about = [
            each.event for each in self._ledger.session(settled.session)
            if isinstance(each.event, (HoldRequested, HoldVoted, HoldSettled)) and each.event.hold == settled.hold
        ]  # fmt: skip
        asked = next((each for each in about if isinstance(each, HoldRequested)), None)
        if asked is None:
            return
        decided = next((each for each in self._of(asked.decision) if isinstance(each, CallDecided)), None)
        span = self._span(settled.session, settled.hold, asked.at_us, settled.at_us)
        span.name = f"fiducial.ask {asked.role}"
        span.kind = Span.SPAN_KIND_INTERNAL
        found: dict[str, Any] = {
            names.CONVERSATION: settled.session, names.TOOL_CALL_ID: asked.decision,
            names.TOOL_NAME: decided.tool if decided is not None and decided.contract is not None else _UNKNOWN,
            "fiducial.hold": asked.hold, "fiducial.asks": asked.asks, "fiducial.role": asked.role,
            "fiducial.quorum": asked.quorum, "fiducial.policies": list(asked.policies),
            "fiducial.outcome": settled.outcome,
        }  # fmt: skip
        put(span, found, "" if settled.outcome == "approved" else settled.outcome)
        for each in about:
            if isinstance(each, HoldVoted):
                vote: dict[str, Any] = {"fiducial.answer": each.answer, "fiducial.role": each.role}
                vote["fiducial.dwell_us"] = each.dwell_us if each.dwell_us >= 0 else None
                vote["fiducial.by"] = each.by if self._content else None
                put_event(span, "fiducial.vote", each.at_us, vote)
            elif isinstance(each, HoldSettled) and each.outcome == "escalated":
                put_event(span, "fiducial.escalation", each.at_us, {})
        yield span

    def _halted(self, event: HaltOrdered | HaltLifted) -> Span:
        name = "fiducial.halt" if isinstance(event, HaltOrdered) else "fiducial.resume"
        span = Span(trace_id=id_of(event.halt, 16), span_id=id_of(f"{name} {event.halt}", 8), name=name)
        span.kind = Span.SPAN_KIND_INTERNAL
        span.start_time_unix_nano = span.end_time_unix_nano = event.at_us * 1000
        found: dict[str, Any] = {"fiducial.halt": event.halt}
        if isinstance(event, HaltOrdered):
            found |= {names.AGENT_NAME: event.agent, names.TOOL_NAME: event.tool, "fiducial.release": event.release}
        if self._content:
            found |= {"fiducial.by": event.by, "fiducial.why": event.why}
            found[names.USER_IDS[0]] = event.user if isinstance(event, HaltOrdered) else None
        put(span, found, "")
        return span

    def _closed(self, event: SessionClosed) -> Iterator[Span]:
        """What of a session was not sent yet."""
        assert event.session is not None
        opened: SessionOpened | None = None
        waiting: dict[DecisionId, list[Judged]] = {}
        said: list[tuple[str, str]] = []
        for record in self._ledger.session(event.session):
            each = record.event
            if isinstance(each, SessionOpened):
                opened = each
            elif isinstance(each, CallDecided) and not _stops(each):
                waiting[each.decision] = [each]
            elif isinstance(each, ShadowDecided) and each.decision in waiting:
                waiting[each.decision].append(each)
            elif isinstance(each, CallFinished):
                waiting.pop(each.decision, None)
            elif isinstance(each, MessageObserved) and self._content:
                said.append((each.authority, contents.text_of(record, self._detection) or ""))
        for judged in waiting.values():
            yield self._call(judged, None, "")
        if opened is not None:
            yield self._session(opened, event, said)

    def _session(self, opened: SessionOpened, closed: SessionClosed, said: list[tuple[str, str]]) -> Span:
        assert opened.session is not None
        span = self._span(opened.session, opened.session, opened.at_us, closed.at_us)
        span.parent_span_id = id_of(opened.parent, 8) if opened.parent is not None else b""
        span.name = f"invoke_agent {opened.agent}"
        span.kind = Span.SPAN_KIND_INTERNAL
        found: dict[str, Any] = {
            names.OPERATION: "invoke_agent", names.AGENT_NAME: opened.agent, names.CONVERSATION: opened.session,
            "fiducial.mode": opened.mode, "fiducial.tier": opened.tier, "fiducial.charter": opened.charter,
            "fiducial.calls": closed.calls,
        }  # fmt: skip
        if self._content:
            found[names.USER_IDS[0]] = opened.user
            found[names.SYSTEM_INSTRUCTIONS] = _parts([text for who, text in said if who in ("system", "operator")])
            messages = [
                {"role": who, "parts": [{"type": "text", "content": text}]}
                for who, text in said if who not in ("system", "operator")
            ]  # fmt: skip
            found[names.INPUT_MESSAGES] = msgspec.json.encode(messages).decode() if messages else None
        put(span, found, "" if closed.reason == "done" else closed.reason)
        return span

    def _span(self, session: SessionId | None, id: str, start_us: int, end_us: int) -> Span:
        return Span(
            trace_id=id_of(self._top(session), 16),
            span_id=id_of(id, 8),
            parent_span_id=id_of(session or "", 8),
            start_time_unix_nano=start_us * 1000,
            end_time_unix_nano=max(start_us, end_us) * 1000,
        )

    # --- looking up

    def _of(self, decision: DecisionId) -> list[Judged]:
        """The verdicts on a call: its own, and that of shadow policies."""
        events = (each.event for each in self._ledger.decision(decision))
        return [each for each in events if isinstance(each, (CallDecided, ShadowDecided))]

    def _shadow(self, decided: Record, decision: DecisionId) -> list[ShadowDecided]:
        """The verdict of shadow policies on a call: where there is one, it is kept in the commit of the call's own,
        and before any other call is decided."""
        after = self._ledger.entries(decided.index + 1, decided.index + 1 + _NEAR, payloads=False)
        events = takewhile(lambda event: not isinstance(event, CallDecided), (each.event for each in after))
        return [each for each in events if isinstance(each, ShadowDecided) and each.decision == decision][:1]

    def _top(self, session: SessionId | None) -> str:
        """The first of the sessions that delegated one to the next."""
        seen: set[SessionId | None] = set()
        while session is not None and session not in seen:
            seen.add(session)
            if session not in self._opened:
                events = (each.event for each in self._ledger.session(session))
                _remember(
                    self._opened, session, next((each for each in events if isinstance(each, SessionOpened)), None)
                )
            opened = self._opened[session]
            if opened is None or opened.parent is None:
                break
            session = opened.parent
        return session or ""


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    if len(kept) > _KEPT:
        kept.popitem(last=False)


def _stops(event: CallDecided) -> bool:
    """Whether the verdict kept the call from running."""
    enforced = event.mode == "enforce" or (event.mode == "shadow" and event.fault is not None)
    return event.verdict != "allowed" and enforced


def _mcp(event: CallDecided, tool: str) -> dict[str, Any]:
    """What the conventions say of a call that came over MCP; nothing of any other."""
    protocol, _, rest = (event.via or "").partition("/")
    if protocol != "mcp":
        return {}
    version, _, transport = rest.partition("/")
    return {
        names.MCP_METHOD: tool if tool in names.MCP_NAMED else names.MCP_CALL, names.MCP_VERSION: version or None,
        names.TRANSPORT: transport, names.PROTOCOL: "http" if transport == "tcp" else None,
    }  # fmt: skip


def _parts(texts: list[str]) -> str | None:
    return msgspec.json.encode([{"type": "text", "content": text} for text in texts]).decode() if texts else None


def _judged(span: Span, at_us: int, name: str, verdict: str, fired: tuple[Firing, ...], fault: str | None) -> None:
    found = {
        names.EVALUATION_NAME: name, names.EVALUATION_LABEL: verdict, names.ERROR_TYPE: fault,
        "fiducial.policies": [each.policy for each in fired],
        "fiducial.clauses": [each.clause for each in fired if each.clause is not None],
    }  # fmt: skip
    put_event(span, names.EVALUATION_EVENT, at_us, found)


__all__ = ["Mapping"]
