"""Captures: what a call is about to change is kept before it runs, so that it can be put back.

    9  just before the run    the state is taken and kept, durably; without it the call does not run, unless the
                              contract calls it optional
       just after the run     the state is looked at again, and its digest kept: by it later changes are noticed; for
                              a stream when it ends, because its tool works while it is read

The state is a payload of its own event and can be erased. Drivers (`fiducial.guard.compensation.Capture`) are
registered by the host on the guard; ready-made ones are in `fiducial.oversight`. A call that somebody else runs
(`Session.decide`) is not captured.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from fiducial.charter.contracts import Capture
from fiducial.core.event import Entry
from fiducial.core.faults import told
from fiducial.core.ids import DecisionId, Digest
from fiducial.core.oversight import CaptureTaken
from fiducial.core.payload import seal
from fiducial.core.store import Commit
from fiducial.errors import CaptureError
from fiducial.guard.compensation import Snapshot
from fiducial.guard.drivers import drive, drive_async
from fiducial.guard.effects import Kept, Ran, Run, Steps
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


def after(session: State, judgement: Judgement, arguments: Mapping[str, Any], ran: Ran) -> Steps[Ran]:
    """Look at what the call left. A call that was cut off may go on, so what it leaves is not known yet.

    Returns `ran`, of which a stream is looked at when it ends: its outcome is recorded with `kept`.
    """
    capture = judgement.tool.contract.capture if judgement.tool is not None else None
    if capture is None or ran.outcome == "unknown":
        return ran

    def look() -> Steps[Entry | None]:
        return _left(session, judgement, capture, arguments)

    if isinstance(ran.value, Iterator):
        return msgspec.structs.replace(ran, value=_Watched(ran.value, look))
    if isinstance(ran.value, AsyncIterator):
        return msgspec.structs.replace(ran, value=_AsyncWatched(ran.value, look))
    _keep(session, (yield from look()))
    return ran


def stream_ended(session: State, value: Any, outcome: str) -> None:
    """The stream `value` is over: keep what was found when it came to its end. One that was cut off may go on."""
    if isinstance(value, (_Watched, _AsyncWatched)) and outcome != "unknown":
        _keep(session, value.left)


class _Watched(Iterator[Any]):
    """A tool's stream that looks at what was captured when it ends: before its reader knows, and on its own thread."""

    def __init__(self, source: Iterator[Any], look: Callable[[], Steps[Entry | None]]) -> None:
        self._source, self._look = source, look
        self.left: Entry | None = None
        """What was found at its end."""

    def __next__(self) -> Any:
        try:
            return next(self._source)
        except Exception:  # its end too
            self.left = drive(self._look())
            raise

    def close(self) -> None:
        """Close the tool's own stream."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class _AsyncWatched(AsyncIterator[Any]):
    """The same for an asynchronous stream, in its own task."""

    def __init__(self, source: AsyncIterator[Any], look: Callable[[], Steps[Entry | None]]) -> None:
        self._source, self._look = source, look
        self.left: Entry | None = None
        """What was found at its end."""

    async def __anext__(self) -> Any:
        try:
            return await self._source.__anext__()
        except Exception:  # its end too
            self.left = await drive_async(self._look())
            raise

    async def aclose(self) -> None:
        """Close the tool's own stream."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


def _left(session: State, judgement: Judgement, capture: Capture, arguments: Mapping[str, Any]) -> Steps[Entry | None]:
    try:
        taken = yield from _take(session, judgement, fill_exactly(capture.arguments, arguments, None))
        return _entry(session, judgement.verdict.decision, capture.driver, "after", After(taken.digest))
    except Exception as error:  # noqa: BLE001 - the call has run; without this, undo asks before it puts anything back
        _note(session, judgement, capture, "left could not be looked at", error)
        return None


def _keep(session: State, entry: Entry | None) -> None:
    if entry is None:
        return
    try:
        session.store.commit(Commit(entries=(entry,), durable=False))
    except Exception as error:  # noqa: BLE001 - as if it had not been looked at
        log.warning("what a call left could not be recorded: %s", told(error))


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


__all__ = ["After", "Before", "after", "before", "stream_ended"]
