"""A session as people read it: what was said, what was called, what came of it, and where each value came from.

1. The session's entries are read once, in order, with their payloads.
2. Each source (a message, a result) becomes leaves: the texts at its paths, read as the tracer read them
   (`fiducial.flow.structure`), so that the places in traces can be found again.
3. Each place that a decision's traces name is marked in the leaf it lies in. A place that is not there any more (its
   payload was erased, or what was kept differs from what was seen) is told in words and marks nothing.
4. Each decision gets what followed it: outcome, people's answers, what would have been said by shadow policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fiducial.charter.model import DECLARE_PLAN, Charter
from fiducial.console.text import Mark
from fiducial.core.event import (
    CallDecided,
    CallFinished,
    Event,
    HoldAnswered,
    MessageObserved,
    ModelAnswered,
    ResultObserved,
    SessionOpened,
    ShadowDecided,
)
from fiducial.core.ids import DecisionId, SourceId
from fiducial.core.label import Integrity
from fiducial.flow.formats.parse import parse
from fiducial.flow.structure import Root, leaves, scalar_text, show_place
from fiducial.flow.trace import Origin, Trace, Where
from fiducial.guard.plans import bound_values, read
from fiducial.guard.record import DecisionRecord, ResultRecord, decode_decision
from fiducial.guard.remedies import in_words
from fiducial.store.bundle import Record

MAX_LEAVES = 400
"""Leaves of one source that a page shows; marked ones are shown beyond it."""
MAX_COLLECTED = 20_000
"""Leaves of one source in which places are looked for."""
MAX_PARSED = 2 * 1024 * 1024
"""Characters of a result that are read as structure for a page; a longer one is shown as text."""
IN_A_WORD = {
    Origin.CONSTANT: "constant",
    Origin.USER: "user",
    Origin.RECORD: "record",
    Origin.DERIVED: "derived",
    Origin.UNKNOWN: "unknown",
    Origin.UNTRUSTED: "untrusted",
}
"""What stands beside the colour, which not everybody sees."""


class Leaf(msgspec.Struct):
    """One text of a source."""

    path: str
    text: str
    marks: list[Mark] = msgspec.field(default_factory=list)


class Source(msgspec.Struct):
    """Something that the session observed."""

    id: SourceId
    anchor: str
    """In the page."""
    title: str
    """Such as `the user's message` or `the result of …`."""
    trusted: bool
    step: int
    """Which step of the session brought it, from 0 on."""
    classes: tuple[str, ...] = ()
    leaves: list[Leaf] = msgspec.field(default_factory=list)
    more: int = 0
    """Leaves that are not shown."""
    erased: bool = False


class Place(msgspec.Struct, frozen=True):
    """Where a value was found."""

    title: str
    """The source, in words."""
    path: str
    """Empty for a whole text."""
    anchor: str
    """Of the mark, or of the source; empty when the source is not in this session."""
    step: int = 0
    """The step that brought the source."""
    against: bool = False
    """Untrusted text names it too."""


class Argument(msgspec.Struct):
    """One argument of a call."""

    name: str
    value: str
    """As text; JSON unless it was a text."""
    origin: str
    """An `Origin`, or empty when it was not traced."""
    words: str = ""
    """Where it came from, in words."""
    role: str = ""
    """What the contract says it is: `target`, `magnitude`, …"""
    classes: tuple[str, ...] = ()
    places: list[Place] = msgspec.field(default_factory=list)


class Step(msgspec.Struct, kw_only=True):
    """One thing that happened."""

    event: Event
    index: int
    """In the log."""
    kind: str
    """`said`, `call`, `result`, or `note`."""
    source: Source | None = None
    decided: CallDecided | None = None
    record: DecisionRecord | None = None
    """`None` for other kinds, and when it was erased."""
    arguments: list[Argument] = msgspec.field(default_factory=list)
    finished: CallFinished | None = None
    error: str = ""
    """What the tool said when it failed."""
    answers: list[HoldAnswered] = msgspec.field(default_factory=list)
    shadow: ShadowDecided | None = None
    erased: bool = False


class Told(msgspec.Struct, kw_only=True):
    """A session, ready to be shown."""

    opened: SessionOpened | None = None
    steps: list[Step] = msgspec.field(default_factory=list)
    sources: dict[SourceId, Source] = msgspec.field(default_factory=dict)
    last_us: int = 0


def told(records: Iterable[Record], charter: Charter) -> Told:
    """The session of which `records` are the entries; numbered as above."""
    session = Told()
    calls: dict[DecisionId, Step] = {}
    # 1
    for record in records:
        event = record.event
        session.last_us = max(session.last_us, event.at_us)
        step = Step(event=event, index=record.index, kind="note")
        at = len(session.steps)
        match event:
            case SessionOpened():
                session.opened = event
            case MessageObserved():
                step.kind = "said"
                step.source = _message(event, record, at)
                session.sources[event.source] = step.source
            case ModelAnswered():
                step.kind, step.source = "said", _answer(event, record, at)
            case CallDecided():
                step.kind = "call"
                step.decided, step.record = event, decision_in(record)
                step.erased = step.record is None
                calls[event.decision] = step
            case CallFinished() if event.decision in calls:
                call = calls[event.decision]
                call.finished = event
                step.source, step.error = _result(event, record, at, call.decided)
                if step.source is not None:
                    step.kind = "result"
                    session.sources[step.source.id] = step.source
                call.error = step.error
            case ResultObserved():
                step.kind = "result"
                step.source = _observed(event, record, at)
                session.sources[event.source] = step.source
            case HoldAnswered() if event.decision in calls:
                calls[event.decision].answers.append(event)
            case ShadowDecided() if event.decision in calls:
                calls[event.decision].shadow = event
            case _:
                pass
        session.steps.append(step)
    # 3 and 4
    for step in calls.values():
        if step.record is not None and step.decided is not None:
            step.arguments = list(_arguments(step, session.sources, charter))
    for source in session.sources.values():
        _trim(source)
    return session


def arguments_of(
    record: DecisionRecord, sources: Mapping[SourceId, Source], charter: Charter, tag: str
) -> list[Argument]:
    """The arguments of one decision, with the places they were found marked in `sources`."""
    if not isinstance(record.arguments, Mapping):
        return [Argument(name="", value=as_text(record.arguments), origin="")]
    contract = charter.contracts.get(record.tool)
    words = in_words(record.traces, {})
    found = []
    rows = [(name, value, contract, name) for name, value in record.arguments.items()]
    if record.tool == DECLARE_PLAN and record.facts is not None:
        # The values in the bounds of a plan are traced each by itself, as arguments of the tools of its steps.
        bounds = bound_values(read(record.arguments))
        rows += [(name, value, charter.contracts.get(tool), of) for name, tool, of, value in bounds]
    for number, (name, value, contract, of) in enumerate(rows):
        trace = record.traces.get(name)
        parameter = contract.parameters.get(of) if contract is not None else None
        argument = Argument(
            name=name,
            value=as_text(value),
            origin=trace.origin.value if trace is not None else "",
            words=words.get(name, ""),
            role=parameter.role.value if parameter is not None else "",
            classes=tuple(sorted(trace.classes | trace.label.classes)) if trace is not None else (),
        )
        if trace is not None:
            argument.places = list(_places(trace, argument, sources, f"{tag}-{number}"))
        found.append(argument)
    return found


def _arguments(step: Step, sources: Mapping[SourceId, Source], charter: Charter) -> Iterator[Argument]:
    assert step.record is not None
    yield from arguments_of(step.record, sources, charter, f"w{step.index}")


def _places(trace: Trace, argument: Argument, sources: Mapping[SourceId, Source], tag: str) -> Iterator[Place]:
    places = [(where, False) for where in trace.where] + [(where, True) for where in trace.against]
    for number, (where, against) in enumerate(places):
        source = sources.get(where.source)
        if source is None:
            yield Place("a source outside this session", where.path, "", against=against)
            continue
        anchor = f"{tag}-{number}"
        origin = "untrusted" if against else argument.origin
        anchor = _mark(source, where, Mark(where.start, where.end, origin, anchor, argument.name)) or source.anchor
        yield Place(source.title, "" if where.path == "$" else where.path, anchor, source.step, against)


def _mark(source: Source, where: Where, mark: Mark) -> str:
    """Mark the place, if the source still has it; the id of the mark that stands there, empty when none does."""
    for leaf in source.leaves:
        if leaf.path == where.path:
            if not 0 <= mark.start < mark.end <= len(leaf.text):
                return ""
            for other in leaf.marks:
                if mark.start < other.end and other.start < mark.end:
                    return other.anchor
            leaf.marks.append(mark)
            return mark.anchor
    return ""


def _trim(source: Source) -> None:
    """Keep the first leaves, and all that are marked."""
    kept = [leaf for number, leaf in enumerate(source.leaves) if number < MAX_LEAVES or leaf.marks]
    source.more = len(source.leaves) - len(kept)
    source.leaves = kept


# Sources


def _message(event: MessageObserved, record: Record, at: int) -> Source:
    data = _payload(record, "text")
    titles = {"user": "the user's message", "agent": "another agent's message"}
    source = Source(
        event.source, f"s{record.index}", titles.get(event.authority, f"the {event.authority}'s text"),
        event.integrity is Integrity.TRUSTED, at, erased=data is None,
    )  # fmt: skip
    if data is not None:
        source.leaves.append(Leaf("$", data.decode("utf-8", "replace")))
    return source


def _answer(event: ModelAnswered, record: Record, at: int) -> Source:
    """What the model said, as a source that nothing is traced to."""
    data = _payload(record, "text")
    leaves = [] if data is None else [Leaf("$", data.decode("utf-8", "replace"))]
    return Source(
        SourceId(event.id), f"s{record.index}", f"the answer of the model `{event.model}`", False, at,
        leaves=leaves, erased=data is None,
    )  # fmt: skip


def _result(event: CallFinished, record: Record, at: int, decided: CallDecided | None) -> tuple[Source | None, str]:
    kept = _kept_result(record)
    error = (kept.error or "") if kept is not None else ""
    if event.source is None:
        return None, error
    tool = decided.tool if decided is not None else "a tool"
    source = Source(
        event.source, f"s{record.index}", f"the result of `{tool}`", event.integrity is Integrity.TRUSTED, at,
        event.classes, erased=kept is None,
    )  # fmt: skip
    if kept is not None:
        source.leaves = _read(kept)
    return source, error


def _observed(event: ResultObserved, record: Record, at: int) -> Source:
    kept = _kept_result(record)
    return Source(
        event.source, f"s{record.index}", f"the result of `{event.tool}`", event.integrity is Integrity.TRUSTED, at,
        event.classes, leaves=_read(kept) if kept is not None else [], erased=kept is None,
    )  # fmt: skip


def _read(kept: ResultRecord) -> list[Leaf]:
    """What the agent has read of a result."""
    return [leaf for each in kept.seen for leaf in leaves_of(each)]


def leaves_of(value: Any) -> list[Leaf]:
    """2: the texts of a result, by their paths; the first `MAX_COLLECTED`."""
    if isinstance(value, str):
        value = parse(value) if len(value) <= MAX_PARSED else value
    found: list[Leaf] = []
    for place, _, raw, is_key in leaves(value, Root("page"), exact_indices=True):
        if len(found) >= MAX_COLLECTED:
            break
        if not is_key:
            found.append(Leaf(show_place(place), raw if isinstance(raw, str) else scalar_text(raw)))
    return found


def as_text(value: Any) -> str:
    """An argument as people read it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def decision_in(record: Record) -> DecisionRecord | None:
    """The decision in an entry; `None` when it was erased, or is none."""
    data = _payload(record, "call")
    try:
        return decode_decision(data) if data is not None else None
    except msgspec.DecodeError:
        return None


def _kept_result(record: Record) -> ResultRecord | None:
    data = _payload(record, "result")
    try:
        return msgspec.json.decode(data, type=ResultRecord) if data is not None else None
    except msgspec.DecodeError:
        return None


def _payload(record: Record, role: str) -> bytes | None:
    return next((each.data for each in record.payloads if each.ref.role == role), None)


__all__ = [
    "IN_A_WORD",
    "Argument",
    "Leaf",
    "Place",
    "Source",
    "Step",
    "Told",
    "arguments_of",
    "decision_in",
    "leaves_of",
    "told",
]
