"""Contents for others: what was said, asked and returned, without anything of a data class.

A collector is another system, with readers of its own. So what a charter says to be of a data class, or what was traced
to it, is withheld as a whole; in what is left, every value that a `Detection` tells by itself is masked. Where nobody
knows what a value is, as no policy was asked about it, it is withheld too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fiducial.core.event import CallDecided, CallFinished, MessageObserved
from fiducial.core.payload import PayloadRole
from fiducial.flow.masking.detect import Detection
from fiducial.flow.masking.values import mask_with, masked
from fiducial.guard.record import decode_decision, decode_result
from fiducial.store.bundle import Record

MAX_CONTENT: Final = 32 * 1024
"""Characters of one content; more of it is withheld, not cut: readers take it for whole."""


def arguments_of(decided: Record, detection: Detection) -> str | None:
    """The arguments of a decided call as JSON; `None` where they were erased."""
    event, data = decided.event, _payload(decided, "call")
    if data is None or not isinstance(event, CallDecided):
        return None
    record = decode_decision(data)
    if record.facts is None:
        return _withheld(("not looked at",))
    traced = (each for trace in record.traces.values() for each in (*trace.classes, *trace.label.classes))
    classes = {*event.masks, *record.facts.flow.classes, *traced}
    return _withheld(classes) if classes else _shown(record.arguments, detection)


def result_of(decided: CallDecided, finished: Record, detection: Detection) -> str | None:
    """What came of a call, as JSON; `None` where there is none, or it was erased."""
    event, data = finished.event, _payload(finished, "result")
    if data is None or not isinstance(event, CallFinished):
        return None
    record = decode_result(data)
    if record.result is None:
        return None
    if decided.contract is None:
        return _withheld(("not looked at",))
    return _withheld(event.classes) if event.classes else _shown(record.result, detection)


def text_of(message: Record, detection: Detection) -> str | None:
    """What was said; `None` where it was erased. Agents may say anything that they have read."""
    event, data = message.event, _payload(message, "text")
    if data is None or not isinstance(event, MessageObserved):
        return None
    if event.authority in ("agent", "tool"):
        return _withheld(("said by others",))
    text = data.decode("utf-8", "replace")
    return masked(text, detection.find(text)) if len(text) <= MAX_CONTENT else _withheld(("too long",))


def _shown(value: Any, detection: Detection) -> str:
    text = msgspec.json.encode(mask_with(value, detection.find, of_keys=detection.in_key)).decode()
    return text if len(text) <= MAX_CONTENT else _withheld(("too long",))


def _withheld(why: Iterable[str]) -> str:
    return msgspec.json.encode({"withheld": sorted(set(why))}).decode()


def _payload(record: Record, role: PayloadRole) -> bytes | None:
    return next((stored.data for stored in record.payloads if stored.ref.role == role), None)


__all__ = ["MAX_CONTENT", "arguments_of", "result_of", "text_of"]
