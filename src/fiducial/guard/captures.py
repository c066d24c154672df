"""Captures: what a call is about to change is kept before it runs, so that it can be put back.

    9  just before the run    the state is taken and kept, durably; without it the call does not run, unless the
                              contract calls it optional
       just after the run     the state is looked at again, and its digest kept: by it later changes are noticed

The state is a payload of its own event and can be erased. Drivers (`fiducial.guard.compensation.Capture`) are
registered by the host on the guard; ready-made ones are in `fiducial.oversight`. A call that somebody else runs
(`Session.decide`) is not captured.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from fiducial.charter.contracts import Capture
from fiducial.core.event import Entry
from fiducial.core.ids import DecisionId, Digest
from fiducial.core.oversight import CaptureTaken
from fiducial.core.payload import seal
from fiducial.core.store import Commit
from fiducial.errors import CaptureError
from fiducial.guard.compensation import Snapshot
from fiducial.guard.effects import Kept, Ran, Run, Steps
from fiducial.guard.faults import told
from fiducial.guard.judgement import Judgement
from fiducial.guard.probes import fill_exactly
from fiducial.guard.state import State

log = logging.getLogger("fiducial.guard")


class Before(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload of a state taken before a run."""

    arguments: dict[str, Any]
    """What was captured."""
    taken: Snapshot


class After(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload of a state looked at after a run."""

    digest: Digest


def before(session: State, judgement: Judgement, arguments: Mapping[str, Any]) -> Steps[Ran | None]:
    """Keep what the call is about to change. Returns the outcome of the call when it must not run."""
    capture = judgement.tool.contract.capture if judgement.tool is not None else None
    if capture is None:
        return None
    decision = judgement.verdict.decision
    try:
        filled = fill_exactly(capture.arguments, arguments, None)
        taken = yield from _take(session, judgement, filled)
        entry = _entry(session, decision, capture.driver, "before", Before(filled, taken))
        yield Kept(session.store.commit(Commit(entries=(entry,))))
    except Exception as error:  # noqa: BLE001 - whatever stands in the way, there is nothing to put back
        if not capture.optional:
            return Ran("failed", error=f"did not run: what it changes could not be kept: {error}", nothing_done=True)
        _note(session, judgement, capture, "changes could not be kept", error)
        yield Kept(session.store.commit(Commit(entries=(_entry(session, decision, capture.driver, "before", None),))))
    return None


def after(session: State, judgement: Judgement, arguments: Mapping[str, Any], ran: Ran) -> Steps[None]:
    """Look at what the call left. A call that was cut off may go on, so what it leaves is not known yet."""
    capture = judgement.tool.contract.capture if judgement.tool is not None else None
    if capture is None or ran.outcome == "unknown":
        return
    try:
        taken = yield from _take(session, judgement, fill_exactly(capture.arguments, arguments, None))
        entry = _entry(session, judgement.verdict.decision, capture.driver, "after", After(taken.digest))
        session.store.commit(Commit(entries=(entry,), durable=False))
    except Exception as error:  # noqa: BLE001 - the call has run; without this, undo asks before it puts anything back
        _note(session, judgement, capture, "left could not be looked at", error)


def _note(session: State, judgement: Judgement, capture: Capture, what: str, error: Exception) -> None:
    # An optional capture that the host did not register is left out on purpose.
    left_out = capture.optional and capture.driver not in session.ground.captures
    level = logging.INFO if left_out else logging.WARNING
    log.log(level, "what `%s` %s: %s", judgement.request.tool, what, told(error))


def _take(session: State, judgement: Judgement, filled: dict[str, Any]) -> Steps[Snapshot]:
    tool = judgement.tool
    assert tool is not None
    assert tool.contract.capture is not None
    capture = tool.contract.capture
    driver = session.ground.captures.get(capture.driver)
    if driver is None:
        raise CaptureError(f"no capture `{capture.driver}` is registered; give it to the guard")
    ran = yield Run(driver.take, {"arguments": filled}, capture.timeout)
    if ran.outcome != "ok":
        raise CaptureError(ran.error or "it was cut off")
    if not isinstance(ran.value, Snapshot):
        raise CaptureError(f"the capture `{capture.driver}` takes no snapshots")
    return ran.value


def _entry(
    session: State, decision: DecisionId, driver: str, moment: Literal["before", "after"], kept: Before | After | None
) -> Entry:
    now = session.clock.unix_us()
    payloads = () if kept is None else (seal("capture", msgspec.json.encode(kept)),)
    event = CaptureTaken(
        id=session.event_id(now), session=session.id, at_us=now, payloads=tuple(each.ref for each in payloads),
        decision=decision, driver=driver, moment=moment, taken=kept is not None,
    )  # fmt: skip
    return Entry(event, payloads)


__all__ = ["After", "Before", "after", "before"]
