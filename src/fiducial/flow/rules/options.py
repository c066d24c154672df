"""Options: how a tool acts, or what a read filters by."""

from __future__ import annotations

from typing import Any

from fiducial.core.label import Integrity, Label
from fiducial.flow import dates, numbers, occurrences
from fiducial.flow.index import Lane
from fiducial.flow.lexer import fold, pieces, whole
from fiducial.flow.memory import Memory
from fiducial.flow.rules.magnitudes import moment, number
from fiducial.flow.rules.standing import (
    classes_of,
    hidden_classes,
    label_of,
    part,
    places,
    stands,
    unknown_label,
)
from fiducial.flow.trace import CONSTANT, MAX_WHERE, Origin, Trace

_SMALL = 1000
"""Whole numbers below it are options anyone would give: page sizes, counts, flags."""


def option(memory: Memory, value: Any, text: str) -> Trace:
    """A value that says how, or what a read filters by."""
    amount = numbers.number(value)
    if amount is not None:
        if abs(amount) < _SMALL and amount == amount.to_integral_value():
            return CONSTANT
        return number(memory, amount)
    when = dates.moment(text)
    if when is not None:
        return moment(memory, text, when)
    folded = pieces(fold(text))
    classes = classes_of(memory, text) | hidden_classes(memory, text)
    for lane, origin in ((memory.user, Origin.USER), (memory.record, Origin.RECORD)):
        if folded and all(stands(lane, token) for token in folded):
            return Trace(origin, Label(classes=classes), verbatim=_exactly(lane, text), classes=classes)
    if folded and all(stands(memory.user, token) or stands(memory.record, token) for token in folded):
        return Trace(Origin.DERIVED, Label(classes=classes), composed=True, classes=classes)
    hits = memory.untrusted.stream(folded, limit=MAX_WHERE) if folded else []
    hits = hits or occurrences.disguised(memory.untrusted, text, fold(text), folded) or part(memory, folded)
    if hits:
        verbatim = bool(occurrences.written(memory.untrusted, text, folded, whole))
        return Trace(
            Origin.UNTRUSTED,
            label_of(hits, classes, Integrity.UNTRUSTED),
            pointed=verbatim and any(hit.root.pointed for hit in hits),
            verbatim=verbatim,
            composed=not verbatim,
            classes=classes,
            where=places(hits),
            untrusted_text=True,
        )
    return Trace(Origin.UNKNOWN, unknown_label(memory, classes), composed=True, classes=classes)


def _exactly(lane: Lane, text: str) -> bool:
    return lane.leaf(text) is not None or bool(lane.find(text, pieces(text), whole))
