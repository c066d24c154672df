"""Where the values of a recorded decision came from, in words, put together when somebody asks.

A decision's record keeps places: source, path and offsets. What stands there is in the payload of the source alone, so
erasing that payload erases it, and whoever asks afterwards is told that it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fiducial.core.event import CallDecided, CallFinished, MessageObserved, ResultObserved
from fiducial.core.ids import SourceId
from fiducial.core.path import PathPattern, show
from fiducial.core.payload import PayloadRole
from fiducial.flow.formats.parse import parse
from fiducial.flow.memory import MAX_DOCUMENT_NAME
from fiducial.flow.structure import Root, leaves, path_of, scalar_text, show_place
from fiducial.flow.trace import Trace, Where
from fiducial.guard.knowledge import first_short
from fiducial.guard.record import ResultRecord, decode_decision, decode_result
from fiducial.guard.remedies import in_words
from fiducial.store.bundle import Record

_AROUND = 80
"""Characters shown of a line, half of them before the value and half after."""


def evidence(traces: Mapping[str, Trace], session: Sequence[Record]) -> dict[str, str]:
    """Parameter → where its value came from, given the entries of the session it was decided in."""
    return in_words(traces, {name: _place(trace.where[0], session) for name, trace in traces.items() if trace.where})


def _place(where: Where, session: Sequence[Record]) -> str:
    for record in session:
        if getattr(record.event, "source", None) == where.source:
            break
    else:
        return "a source that is not in this session"
    event = record.event
    if isinstance(event, MessageObserved):
        about = {"user": "the user's message", "agent": "another agent's message"}
        return _line(where, about.get(event.authority, f"the {event.authority}'s text"), _payload(record, "text"), True)
    if isinstance(event, ResultObserved):
        result = _payload(record, "result")
        arguments = decode_result(result).arguments if result is not None else None
        return _line(where, _called(event.tool, arguments), result, False)
    if isinstance(event, CallFinished):
        return _line(where, _of_call(event, session), _payload(record, "result"), False)
    return "a source"


def _of_call(event: CallFinished, session: Sequence[Record]) -> str:
    for record in session:
        decided = record.event
        if isinstance(decided, CallDecided) and decided.decision == event.decision:
            call = _payload(record, "call")
            return _called(decided.tool, decode_decision(call).arguments if call is not None else None)
    return "the result of a tool"


def _called(tool: str, arguments: Any) -> str:
    return f"the result of `{tool}`" + (first_short(arguments) if isinstance(arguments, Mapping) else "")


def _line(where: Where, about: str, data: bytes | None, is_text: bool) -> str:
    """Such as `line 4 of the result of `read_file`: “… to IBAN: GB29 …”`."""
    if data is None:
        return f"{about}, which was erased since"
    record = None if is_text else decode_result(data)
    text = data.decode("utf-8", "replace") if record is None else _leaf(record, where.path)
    if record is not None and (document := _document(record, where.path)):
        about = f"the document `{document}` in {about}"
    if text is None or not 0 <= where.start <= where.end <= len(text):
        return about
    line = f"line {1 + text.count(chr(10), 0, where.start)}"
    if where.path != "$":
        line = f"`{where.path}`" if line == "line 1" else f"{line} of `{where.path}`"
    first = text.rfind("\n", 0, where.start) + 1
    last = text.find("\n", where.start)
    last = len(text) if last < 0 else last
    low, high = max(first, where.start - _AROUND // 2), min(last, where.end + _AROUND // 2)
    shown = ("…" if low > first else "") + text[low:high].strip() + ("…" if high < last else "")
    return f"{line} of {about}: “{shown}”"


def _leaf(record: ResultRecord, path: str) -> str | None:
    """The text at `path` of a result, read as the tracer read it."""
    for value in record.seen:
        known = parse(value) if isinstance(value, str) else value
        for place, _, raw, is_key in leaves(known, Root(SourceId("source")), exact_indices=True):
            if not is_key and show_place(place) == path:
                return raw if isinstance(raw, str) else scalar_text(raw)
    return None


def _document(record: ResultRecord, path: str) -> str:
    """The id of the document in which `path` lies; empty when it lies in none."""
    if record.documents is None:
        return ""
    pattern = PathPattern(record.documents)
    for value in record.seen:
        known = parse(value) if isinstance(value, str) else value
        for place, _, raw, is_key in leaves(known, Root(SourceId("source")), exact_indices=True):
            at = path_of(place)
            shown = show(at[: pattern.depth])
            if not is_key and pattern.covers(at) and (path == shown or path.startswith((f"{shown}.", f"{shown}["))):
                return (raw if isinstance(raw, str) else scalar_text(raw))[:MAX_DOCUMENT_NAME]
    return ""


def _payload(record: Record, role: PayloadRole) -> bytes | None:
    return next((each.data for each in record.payloads if each.ref.role == role), None)


__all__ = ["evidence"]
