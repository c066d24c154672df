"""Step 10: a result gets its label, and what came of the call is recorded.

Results may be any JSON value, text, bytes, or a stream (an iterator or an asynchronous one), which takes its label when
it ends; see `fiducial.guard.streams`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal

import msgspec

from fiducial.core.event import CallFinished, Entry, Outcome
from fiducial.core.faults import told
from fiducial.core.ids import EventId, SourceId, mint
from fiducial.core.label import TRUSTED, UNTRUSTED, Integrity, Label
from fiducial.core.store import Add, Commit, Put, Receipt, Store
from fiducial.core.verdict import Verdict
from fiducial.errors import Conflict, NotAllowed, StoreError, ToolFailed
from fiducial.flow.formats.parse import structured
from fiducial.guard import captures, probes, remembered
from fiducial.guard.drivers import on_thread
from fiducial.guard.effects import Ran, Steps
from fiducial.guard.judgement import Judgement
from fiducial.guard.record import ResultRecord, sealed_result
from fiducial.guard.state import State
from fiducial.guard.streams import AsyncStream, Confirmed, Feed, Stream
from fiducial.guard.tool import Tool

log = logging.getLogger("fiducial.guard")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of `session.call`."""

    verdict: Verdict
    status: Literal["ok", "failed", "unknown", "not-run"]
    """`not-run`: the verdict stopped it. `failed`: the tool said so. `unknown`: it was cut off."""
    value: Any = None
    """What the tool returned."""
    error: str | None = None
    """What the tool raised, in words."""
    nothing_done: bool = False
    """It `failed`, and it is certain that there was no effect."""
    label: Label = TRUSTED
    """Of the whole result."""
    confirmed: Confirmed = "not-checked"
    """What the contract's post-condition found; of a stream, it is recorded when it has ended."""
    recorded: bool = True
    """False when the decision or the outcome could not be kept. Where verdicts are enforced, a call whose decision
    cannot be kept does not run; in `observe` mode it does, and this says so."""
    withheld: bool = False
    """Something was left out of `value` that is not known to be this user's to read, or all of it was, or what the tool
    said when it failed. What it gave must not be handed on in any other form."""

    def unwrap(self) -> Any:
        """The value. Raises `NotAllowed` when the call did not run, `ToolFailed` when it failed or was cut off."""
        if self.status == "not-run":
            raise NotAllowed(self.verdict)
        if self.status != "ok":
            raise ToolFailed(self.error or "the tool failed", outcome=self.status)
        return self.value


def settle(session: State, judgement: Judgement, ran: Ran, timeout: float) -> Steps[Result]:
    """Step 10, for a call that Fiducial ran. `timeout`: seconds that a stream may still take."""
    ran = remembered.released(session, judgement, ran)
    if ran.outcome == "ok" and isinstance(ran.value, (Iterator, AsyncIterator)):
        feed = Feed(
            session,
            judgement,
            timeout,
            lambda value: _confirm(session, judgement, value),
            lambda ended, confirmed: _ended(session, judgement, ran, ended, confirmed),
        )
        stream = Stream(feed, ran.value) if isinstance(ran.value, Iterator) else AsyncStream(feed, ran.value)
        return Result(
            verdict=judgement.verdict, status="ok", value=stream, label=UNTRUSTED, recorded=judgement.recorded
        )  # fmt: skip
    confirmed: Confirmed = "not-checked"
    if ran.outcome != "failed":
        try:
            confirmed = yield from _confirm(session, judgement, ran.value)
        except BaseException:
            record(session, judgement, ran, "unknown")
            raise
    done = record(session, judgement, ran, confirmed)
    return Result(
        verdict=judgement.verdict,
        status=done.ran.outcome,  # type: ignore[arg-type]
        value=done.ran.value,
        error=remembered.WITHHELD if done.ran.withheld and done.ran.outcome != "ok" else done.ran.error,
        nothing_done=done.ran.nothing_done,
        label=done.label,
        confirmed=confirmed,
        recorded=done.recorded and judgement.recorded,
        withheld=done.ran.withheld,
    )


def _confirm(session: State, judgement: Judgement, value: Any) -> Steps[Confirmed]:
    """What the post-condition says of a call that returned `value`."""
    if judgement.tool is None:
        return "not-checked"
    try:
        return (yield from probes.confirm(session, judgement.tool, judgement.request.arguments, value))
    except Exception as error:  # noqa: BLE001 - what the probe and the result raise leaves it unknown
        log.error("the post-condition of `%s` broke (%s)", judgement.tool.name, told(error))
        return "unknown"


class Done(msgspec.Struct, frozen=True):
    """A call whose outcome is recorded."""

    ran: Ran
    """What came of it; what it returned is left out where it could not be read."""
    label: Label
    recorded: bool
    """False when the outcome could not be kept."""


def record(session: State, judgement: Judgement, ran: Ran, confirmed: Confirmed = "not-checked") -> Done:
    """Label the result, settle the budgets, and record the outcome.

    A call that had not been allowed and ran all the same is a breach: it is spent and counted like any other, recorded
    as what it is, and nothing in its result is trusted. A result that raises while it is read is not handed on, and the
    outcome is unknown: nobody can say what was in it.
    """
    request = judgement.request
    if not judgement.may_run:
        log.error(
            "`%s` ran although the call was %s (%s)", request.tool, judgement.verdict.kind, judgement.verdict.decision
        )
    with session.lock:
        try:
            source, label, records = _taken_in(session, judgement, ran)
        except BaseException as fault:
            log.error("the result of `%s` cannot be read (%s)", request.tool, told(fault))
            session.provenance.doubt()
            unread = Ran("unknown", error=f"the result cannot be read ({told(fault)})", duration_us=ran.duration_us)
            done = _finish(session, judgement, unread, confirmed, None, UNTRUSTED, _records(judgement, unread))
            if not isinstance(fault, Exception):
                raise
            return done
        return _finish(session, judgement, ran, confirmed, source, label, records)


def _taken_in(session: State, judgement: Judgement, ran: Ran) -> tuple[SourceId | None, Label, int]:
    """The result made known to later traces: its source, its label, and how many records it holds.

    May raise anything, as a result runs its own code when it is gone through.
    """
    if ran.outcome != "ok" and ran.value is None and ran.error is None:
        return None, UNTRUSTED, _records(judgement, ran)
    source = SourceId(mint("src", session.clock.unix_us() // 1000))
    label = session.take_in(source, judgement, ran.value, failed=ran.outcome != "ok", error=ran.error)
    return source, label, _records(judgement, ran)


def _finish(
    session: State,
    judgement: Judgement,
    ran: Ran,
    confirmed: Confirmed,
    source: SourceId | None,
    label: Label,
    records: int,
) -> Done:
    tool, request, breach = judgement.tool, judgement.request, not judgement.may_run
    now = session.clock.unix_us()
    kept = not ran.nothing_done
    session.finished(judgement, ok=ran.outcome == "ok" and confirmed != "no", kept=kept, records=records)
    payload = sealed_result(
        ResultRecord(
            tool=request.tool,
            result=ran.value,
            error=ran.error,
            nothing_done=ran.nothing_done,
            withheld=ran.withheld,
            documents=tool.contract.output.documents if tool is not None else None,
            recalled=session.came_back(source),
        )
    )
    event = CallFinished(
        id=EventId(mint("evt", now // 1000)),
        session=session.id,
        at_us=now,
        payloads=(payload.ref,),
        decision=judgement.verdict.decision,
        outcome=_outcome(ran.outcome),
        source=source,
        integrity=Integrity(label.integrity),
        classes=tuple(sorted(label.classes)),
        duration_us=ran.duration_us,
        confirmed=confirmed,
        breach=breach,
    )
    changes: tuple[Put | Add, ...] = session.launder(judgement) if breach and kept else ()
    lease = None
    if not breach:
        # Whoever closed the session, or took it over, has settled this one as unknown.
        changes += session.windows.settled(judgement.counted, records=records, kept=kept, again=session.closed)
        lease = session.lease if changes and not session.closed else None
    elif records and tool is not None and session.windows:
        changes += session.windows.read(tool.name, tool.contract, session.user, now, records)
    fence = (lease.fence,) if lease is not None else ()
    commit = Commit(entries=(Entry(event, (payload,)),), preconditions=fence, changes=changes, durable=False)
    try:
        future = session.store.commit(commit)
        if any(each.of == "records" for each in judgement.counted):
            session.counting(future)
        if lease is not None:
            again = session.windows.settled(judgement.counted, records=records, kept=kept, again=True)
            late = msgspec.structs.replace(commit, preconditions=(), changes=again)
            lease.hear(future)
            future.add_done_callback(partial(_taken_over, session.store, late))
        if changes:
            future.add_done_callback(partial(session.ground.laundry.stored, changes))
    except Exception as error:  # noqa: BLE001 - the effect has happened: say loudly that its outcome was not kept
        log.error("the outcome of `%s` could not be recorded: %s", request.tool, error)
        return Done(ran, label, recorded=False)
    return Done(ran, label, recorded=True)


def _taken_over(store: Store, late: Commit, future: Future[Receipt]) -> None:
    """An outcome is kept, or is not because another process has taken the session over: `late` then says what came of
    the call all the same."""

    def tell() -> None:
        try:
            store.commit(late)
        except StoreError as error:
            log.error("an outcome could not be recorded: %s", error)

    if isinstance(future.exception(), Conflict):
        on_thread(tell)  # the one that this is called by is the store's


def records_of(judgement: Judgement, outcome: str, value: Any, *, nothing_done: bool) -> int:
    """How many records a call has brought: of one that did not end well, those in what came of it before; of a read
    whose outcome is not known, at least one."""
    if judgement.tool is None or nothing_done:
        return 0
    found = count_records(judgement.tool, value) if outcome == "ok" or value is not None else 0
    return max(found, int(judgement.use.reads)) if outcome == "unknown" else found


def _records(judgement: Judgement, ran: Ran) -> int:
    return records_of(judgement, ran.outcome, ran.value, nothing_done=ran.nothing_done)


def count_records(tool: Tool, value: Any) -> int:
    """How many records a result holds: the length of the list at the contract's path or at the top, else 1.

    Text in JSON, YAML or `repr` form counts like what it says. A result that is too large to be looked through counts
    for every part in it that may be a record; one in which the path names nothing counts as one, unless it is empty.
    """
    if tool.records is None:
        part = structured(value)
    else:
        try:
            found = probes.find(value, tool.records)
        except probes.TooLarge as large:
            return large.seen
        if not found:
            opened = structured(value)
            empty = opened is None or (isinstance(opened, (str, Mapping, list, tuple)) and not opened)
            return int(not empty)
        part = found[0] if len(found) == 1 else found
    members = probes.length(part)
    return int(part is not None) if members is None else members


def masked(session: State, arguments: Mapping[str, Any], masks: Collection[str]) -> dict[str, Any]:
    """`arguments` with every value of the classes `masks` replaced."""
    classes = frozenset(masks)
    return {name: session.provenance.mask(value, classes) for name, value in arguments.items()}


def _outcome(text: str) -> Outcome:
    return "ok" if text == "ok" else "failed" if text == "failed" else "unknown"


def _ended(session: State, judgement: Judgement, began: Ran, ended: Ran, confirmed: Confirmed) -> None:
    captures.stream_ended(session, began.value, ended.outcome)
    record(session, judgement, msgspec.structs.replace(ended, duration_us=began.duration_us), confirmed)


__all__ = ["Result", "count_records", "masked", "record", "records_of", "settle"]
