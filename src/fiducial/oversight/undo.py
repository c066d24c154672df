"""Undo: take back what a session did, newest first, through the guard.

    1  say who takes back what, and why     durable; what was recorded before is then in the log
    2  plan                                 from the ledger alone: `fiducial.oversight.undo_plan`
    3  for each effect, newest first, until one is left that is still to be taken back: older ones wait for it
       a  unknown: find out                 by the contract's post-condition, or the captured state
       b  undoable: take it back            by a call that the guard decides like any other
       c  say what became of it             durable, with the effect's cell

The compensating call runs in a session of the person who undoes, with the agent `undo`: a halt of the agent that did it
does not stop its being taken back; a halt of the tool, or of everything, does. What the call is given comes from the
log and counts as a record, save what a third party could have chosen when it was first used. Where people are asked
first, the session stays open, and the same undo by the same person goes on in it.

Nothing is taken back twice. A call that takes something back claims the effect in the commit that records its decision
(`fiducial.guard.compensation`). When that call was interrupted, its effect is unknown: it is looked for, and the call
made again only where an independent read says that it did not happen, or the contract that repeating it does no harm.
So is every effect from before the log was set back, by a restore: what took it back since may be missing from the log.
The same holds for one that raised, unless its tool refused.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from datetime import timedelta
from typing import Any, Literal

import msgspec

from fiducial.core.clock import instant
from fiducial.core.event import (
    CallDecided,
    CallFinished,
    Entry,
    SessionClosed,
    SessionOpened,
    UndoFinished,
    UndoStarted,
)
from fiducial.core.faults import wordless
from fiducial.core.ids import DecisionId, Digest, EventId, PersonId, SessionId
from fiducial.core.store import Commit, Put, Shared, Unchanged
from fiducial.errors import ChangedSince, Conflict, SessionError, StoreError, ToolFailed
from fiducial.guard import probes
from fiducial.guard.compensation import LOST, Claim, Claimed, claim_key, put_claim, read_claims
from fiducial.guard.drivers import STORE_TIMEOUT, drive
from fiducial.guard.effects import Ran, Run, Steps
from fiducial.guard.guard import Guard
from fiducial.guard.judgement import Request
from fiducial.guard.reopen import Readable
from fiducial.guard.results import Result
from fiducial.guard.session import Session
from fiducial.guard.steps import call
from fiducial.oversight.undo_effect import Compensation, Effect, refused
from fiducial.oversight.undo_plan import digest_of, plan
from fiducial.oversight.undo_report import Report, Taken, told
from fiducial.store.lease import SKEW, UNTIL
from fiducial.store.ledger import Ledger

log = logging.getLogger("fiducial.oversight")
AGENT = "undo"
"""Agent of the sessions in which things are taken back."""
_POLL = 0.05
"""Seconds between two looks at a log that lags."""
MAX_WHY = 500
"""Characters: `UndoStarted.why`."""
_MAY_FOLLOW = "the call has ended, and may still take effect: try again later"
_Found = Literal["yes", "no", "unknown"]


def undo(
    guard: Guard,
    session: SessionId,
    *,
    by: str,
    why: str,
    roles: Iterable[str] = (),
    since: EventId | None = None,
    dry_run: bool = False,
    force: bool = False,
    leave: Collection[DecisionId] = (),
    shown: Digest | None = None,
) -> Report:
    """Take back what `session`, and those it delegated to, did.

    guard      its charter decides, its `tools` are run, its `captures` put states back, its store has a `ledger()`
    by, roles  who undoes, from the host's own authentication, and their roles
    why        1 to 500 characters; goes into the log
    since      only effects from that event on
    dry_run    plan only: the session is opened and recorded, nothing is run or read
    force      put captured states back even where somebody else has changed them since, or may have
    leave      decisions whose effects are left as they are, so that older ones do not wait for them
    shown      `Report.plan` of a plan that somebody agreed to; when it is another by now, or with another `force`,
               nothing is done, and the report is of a dry run

    Raises `SessionError` for a session, event or effect that the log does not know, `StoreError` when it cannot be
    recorded.
    """
    store = guard.store
    if not isinstance(store, Readable):
        raise SessionError("the guard's store has no log to read; undo needs one that does")
    if not why.strip() or len(why) > MAX_WHY or not by.strip():
        raise SessionError(f"say who takes it back, and why, in 1 to {MAX_WHY} characters")
    with store.ledger() as ledger:
        if next(iter(ledger.session(session)), None) is None:
            raise SessionError(f"no session `{session}` in this log; `fiducial log tail` lists the latest")
        roles = tuple(roles)
        mine = guard.session(user=by, roles=roles, agent=AGENT) if dry_run else _session(guard, session, by, roles)
        waited = _waits(guard, session, by) == mine.id
        try:
            now = guard.clock.unix_us()
            started = UndoStarted(
                id=mine.event_id(now), session=mine.id, at_us=now, target=session, by=PersonId(by), why=why,
                dry_run=dry_run,
            )  # fmt: skip
            store.commit(Commit(entries=(Entry(started),))).result(STORE_TIMEOUT)
            _seen(ledger, started.id)
            effects = _without(plan(ledger, store, guard.current.tools, session, now_us=now, since=since), leave)
            planned = digest_of(effects, force=force)
            idle = dry_run or shown not in (None, planned)
            if idle:
                taken = [Taken(effect=each, why=each.why) for each in effects]
            else:
                undoing = _Undoing(guard, ledger, mine, session, force=force)
                taken = [undoing.take_back(each) for each in effects]
        except BaseException:
            if not waited:
                mine.close("error")
            raise
        if not idle:
            # People may have been asked before about what waits now, or is left out. A no of theirs, or an appeal, is
            # for this session.
            part = bool(leave) or since is not None
            asked = any(
                each.refused or each.outcome == "held" or (waited and each.outcome == "waits") for each in taken
            )
            _leave(mine, session, by, open_=asked or (waited and part))
        elif not waited:
            mine.close()
    return Report(target=session, session=mine.id, by=by, dry_run=idle, plan=planned, effects=tuple(taken))


def _without(effects: list[Effect], leave: Collection[DecisionId]) -> list[Effect]:
    """The effects that are not to be left as they are."""
    if unknown := set(leave).difference(each.decision for each in effects):
        raise SessionError(f"no effect `{min(unknown)}` to leave as it is; a dry run lists them")
    return [each for each in effects if each.decision not in leave]


def _session(guard: Guard, target: SessionId, by: str, roles: tuple[str, ...]) -> Session:
    """The session in which the same person waits for answers to the same undo; else a new one."""
    waiting = _waits(guard, target, by)
    if waiting is not None:
        try:
            earlier = guard.reopen(waiting)
        except SessionError as error:
            log.info("the undo starts in a new session: %s", error)
        else:
            if (earlier.user, set(earlier.roles)) == (by, set(roles)):
                return earlier
    return guard.session(user=by, roles=roles, agent=AGENT)


def _leave(mine: Session, target: SessionId, by: str, *, open_: bool) -> None:
    """Close the session, or leave it open for whoever comes back with the answers."""
    key = _waiting(target, by)
    if open_:
        mine.store.commit(Commit(changes=(Put(key, mine.id.encode()),))).result(STORE_TIMEOUT)
        return
    mine.close()
    if mine.store.read([key]):
        mine.store.commit(Commit(changes=(Put(key, None),))).result(STORE_TIMEOUT)


def _waits(guard: Guard, target: SessionId, by: str) -> SessionId | None:
    """The session in which somebody's undo waits for answers."""
    cell = guard.store.read([_waiting(target, by)]).get(_waiting(target, by))
    return SessionId(cell.value.decode()) if cell is not None else None


def _waiting(target: SessionId, by: str) -> str:
    return f"undoing/{target}/{by}"


def _seen(ledger: Ledger, event: EventId) -> None:
    """Wait until the log shows what was just recorded, and so everything before it."""
    deadline = time.monotonic() + STORE_TIMEOUT
    while ledger.find(event) is None:
        if time.monotonic() > deadline:
            raise StoreError("the log lags behind the store; try again when it has caught up")
        time.sleep(_POLL)


class _Undoing:
    """One undo at work."""

    def __init__(self, guard: Guard, ledger: Ledger, session: Session, target: SessionId, *, force: bool) -> None:
        self._guard = guard
        self._ledger = ledger
        self._session = session
        self._target = target
        self._force = force
        self._first: Taken | None = None
        """What older effects wait for."""

    def take_back(self, effect: Effect) -> Taken:
        """Step 3 for one effect."""
        try:
            taken = self._taken(effect)
        except Exception as error:
            log.error("`%s` could not be taken back", effect.decision, exc_info=wordless(error))
            taken = Taken(effect=effect, outcome="failed", why=f"undo broke off ({type(error).__name__})")
        if taken.outcome != "waits":
            self._say(taken)
        if taken.first and self._first is None:
            self._first = taken
        return taken

    def _taken(self, effect: Effect) -> Taken:
        compensation = effect.compensation
        if effect.state == "undone":
            return Taken(effect=effect, outcome="already", why=effect.why)
        if effect.state == "too-late":
            return Taken(effect=effect, outcome="too-late", why=effect.why)
        if effect.state == "impossible" or compensation is None:
            return Taken(effect=effect, outcome="impossible", why=effect.why)
        if self._first is not None:
            newer = self._first.effect
            why = f"waits for a newer one, `{newer.tool}` ({newer.decision}): {self._first.outcome}"
            return Taken(effect=effect, outcome="waits", why=why)
        now = self._guard.clock.unix_us()
        if now < effect.until_us or (effect.until_us and self._open(effect.session)):
            return Taken(effect=effect, outcome="unknown", why="the call itself may still be running")
        if effect.claim is not None and effect.claim.outcome is None:
            interrupted = self._interrupted(effect, effect.claim, compensation)
            if interrupted is not None:
                return interrupted
            if effect.late:
                return Taken(effect=effect, outcome="too-late", why=effect.late)
        elif effect.state == "unknown" and compensation.driver is None:
            found = self._happened(effect)
            if found == "no" and now < effect.settled_us:
                return Taken(effect=effect, outcome="unknown", why=_MAY_FOLLOW)
            if found == "no":
                return Taken(effect=effect, outcome="nothing", why="an independent read finds no effect")
            if found == "unknown" and not compensation.idempotent:
                return Taken(effect=effect, outcome="unknown", why="whether it happened cannot be found out")
        if compensation.driver is not None:
            return self._restore(effect, compensation, compensation.driver)
        function = self._guard.tools.get(compensation.tool)
        if function is None:
            return Taken(effect=effect, outcome="impossible", why=f"`{compensation.tool}` was not given to the guard")
        if inspect.isasyncgenfunction(function):
            why = f"`{compensation.tool}` is an asynchronous stream, which undo cannot read"
            return Taken(effect=effect, outcome="impossible", why=why)
        return self._run(effect, compensation, function)

    # --- a: what is not known

    def _open(self, session: SessionId) -> bool:
        """Whether a call of the session may still be running as a stream, which lasts for as long as it is read."""
        root: SessionId | None = session
        while root is not None:
            last, parent = root, None
            for each in self._ledger.session(root):
                if isinstance(each.event, SessionClosed):
                    return False
                if isinstance(each.event, SessionOpened):
                    parent = each.event.parent
            root = parent
        if not isinstance(self._guard.store, Shared):
            return True
        # Where a process has died, or closed the store, nobody renews the lease, and nobody reads the stream.
        key = UNTIL + last
        cell = self._guard.store.read([key]).get(key)
        return cell is not None and self._guard.clock.unix_us() < int(cell.value) + SKEW // timedelta(microseconds=1)

    def _interrupted(self, effect: Effect, claim: Claimed, compensation: Compensation) -> Taken | None:
        """What came of a call that was to take it back and has not said so; `None`: it is to be made again."""
        lost = claim.compensation == LOST
        records = [] if lost else self._ledger.decision(claim.compensation)
        made = None if lost else claim.compensation
        decided = next((each.event for each in records if isinstance(each.event, CallDecided)), None)
        finished = next((each.event for each in records if isinstance(each.event, CallFinished)), None)
        undone = Taken(effect=effect, outcome="undone", why="it was found undone", compensation=made)
        if finished is not None and finished.outcome == "ok" and finished.confirmed != "no":
            # As of a stream that this undo itself read.
            looked = finished.confirmed != "not-checked"
            if looked or self._confirmed(compensation.tool, compensation.arguments, None) != "no":
                return undone
        if any(refused(each) for each in records):
            return None
        early = self._guard.clock.unix_us() < claim.until_us
        if early and (finished is None or finished.outcome == "unknown"):
            return Taken(effect=effect, outcome="unknown", why="a call that takes it back may still be running")
        if compensation.driver is not None:
            return None  # the state itself tells
        found: _Found = "unknown"
        if lost or (decided is not None and decided.tool == compensation.tool):
            found = self._confirmed(compensation.tool, compensation.arguments, None)
        if found == "unknown" and self._happened(effect) == "no":
            found = "yes"  # the effect is gone
        if found == "yes":
            return undone
        if compensation.idempotent or (found == "no" and not early):
            return None
        why = "what came of the call that takes it back cannot be found out"
        if lost:
            why = "whether it was taken back before the store was set back cannot be found out"
        if found == "no":
            why = "the call that takes it back has ended, and may still take effect: try again later"
        return Taken(effect=effect, outcome="unknown", why=why, compensation=made)

    def _happened(self, effect: Effect) -> _Found:
        """What the post-condition of the undone call finds now."""
        return "unknown" if effect.arguments is None else self._confirmed(effect.tool, effect.arguments, effect.result)

    def _confirmed(self, name: str, arguments: dict[str, Any], result: Any) -> _Found:
        tool = self._guard.current.tools.get(name)
        if tool is None:
            return "unknown"
        found = drive(probes.confirm(self._session, tool, arguments, result))
        return "unknown" if found == "not-checked" else found

    # --- b: what takes it back

    def _restore(self, effect: Effect, compensation: Compensation, name: str) -> Taken:
        """Put a captured state back."""
        driver, tool = self._guard.captures.get(name), self._guard.current.tools.get(effect.tool)
        if driver is None or tool is None or tool.contract.capture is None:
            return Taken(effect=effect, outcome="impossible", why=f"no capture `{name}` is registered")
        ran = drive(_run(driver.take, {"arguments": compensation.arguments}, tool.contract.capture.timeout))
        if ran.outcome != "ok":
            why = "what is there now cannot be looked at"
            return Taken(effect=effect, outcome="failed", why=why, detail=ran.error or "")
        before, present = compensation.before, ran.value.digest
        assert before is not None
        if present == before.digest:
            if effect.claim is not None and effect.claim.outcome is None:
                return Taken(
                    effect=effect, outcome="undone", why="it was found undone",
                    compensation=effect.claim.compensation,
                )  # fmt: skip
            if self._guard.clock.unix_us() < effect.settled_us:
                return Taken(effect=effect, outcome="unknown", why=_MAY_FOLLOW)
            return Taken(effect=effect, outcome="nothing", why="everything is as it was before")
        if compensation.after is None and not self._force:
            why = "it is not known what the call left, so somebody else may have changed it since"
            return Taken(effect=effect, outcome="unknown", why=why)
        if compensation.after != present and not self._force:
            return Taken(effect=effect, outcome="changed", why="somebody else has changed it since")
        changed: list[ChangedSince] = []

        def put_back(**arguments: Any) -> None:
            try:
                driver.restore(arguments, before, None if self._force else compensation.after)
            except ChangedSince as error:
                changed.append(error)
                raise

        taken = self._run(effect, compensation, put_back)
        if changed:
            return msgspec.structs.replace(taken, outcome="changed", why="somebody else has changed it since")
        return taken

    def _run(self, effect: Effect, compensation: Compensation, function: Callable[..., Any]) -> Taken:
        """All ten steps for the compensating call."""
        tool = self._guard.current.tools.get(compensation.tool)
        # A stream may take its tool's time once more.
        longest = STORE_TIMEOUT + (2 * tool.contract.timeout.total_seconds() if tool is not None else 0)
        self._session.recall(
            f"Fiducial's record of `{effect.tool}` ({effect.decision} at {instant(effect.at_us).isoformat()})",
            compensation.arguments,
            compensation.untrusted,
            compensation.classes,
        )
        request = Request(
            tool=compensation.tool,
            arguments=compensation.arguments,
            runs=True,
            claim=Claim(effect.decision, effect.version, int(longest * 1_000_000), self._force),
        )
        # The same call may take back another effect, or put the state back over something else: an answer is for this.
        put_back = compensation.before and [compensation.before.digest, None if self._force else compensation.after]
        self._session.taking_back = (effect.decision, put_back)
        result = drive(call(self._session, request, function))
        if isinstance(result.value, (Iterator, AsyncIterator)):
            result = self._read(result, compensation)
        taken = told(effect, result)
        lost = result.status == "failed" and not result.nothing_done and compensation.driver is None
        if lost and self._confirmed(compensation.tool, compensation.arguments, None) == "yes":
            return msgspec.structs.replace(taken, outcome="undone", why="it was found undone")
        return taken

    def _read(self, result: Result, compensation: Compensation) -> Result:
        """What came of a call whose result is a stream: the tool does its work while that is read."""
        cut_off = msgspec.structs.replace(result, status="unknown", value=None)
        if isinstance(result.value, AsyncIterator):
            why = "the result is an asynchronous stream, which undo cannot read"
            return msgspec.structs.replace(cut_off, error=why)
        try:
            for _ in result.value:
                pass
        except Exception as error:  # noqa: BLE001 - whatever the tool raises is its outcome
            if isinstance(error, ToolFailed) and error.outcome == "unknown":
                return msgspec.structs.replace(cut_off, error=str(error))
            return msgspec.structs.replace(cut_off, status="failed", error=f"{type(error).__name__} in the stream")
        if self._session.closed:
            return cut_off
        found = self._confirmed(compensation.tool, compensation.arguments, None)
        return msgspec.structs.replace(result, value=None, confirmed=found)

    # --- c: what became of it

    def _say(self, taken: Taken) -> None:
        """Record it, and settle the claim of the call that took it back."""
        store, session, effect = self._guard.store, self._session, taken.effect
        assert taken.outcome is not None
        assert taken.outcome != "waits"
        now = self._guard.clock.unix_us()
        event = UndoFinished(
            id=session.event_id(now), session=session.id, at_us=now, target=self._target, decision=effect.decision,
            outcome=taken.outcome, compensation=taken.compensation, why=taken.why[:MAX_WHY],
        )  # fmt: skip
        preconditions: tuple[Unchanged, ...] = ()
        changes: tuple[Put, ...] = ()
        if taken.outcome in ("undone", "failed", "changed") and taken.compensation is not None:
            cells = store.read([claim_key(effect.decision)])
            claimed = read_claims(cells, [effect.decision]).get(effect.decision)
            if claimed is not None and claimed[0].compensation == taken.compensation:
                settled = msgspec.structs.replace(claimed[0], outcome=taken.outcome)
                preconditions = (Unchanged(claim_key(effect.decision), claimed[1]),)
                changes = (put_claim(effect.decision, settled),)
        try:
            commit = Commit(entries=(Entry(event),), preconditions=preconditions, changes=changes)
            store.commit(commit).result(STORE_TIMEOUT)
        except Conflict:
            # Somebody else has settled it, or claimed it anew: what they say of it stands.
            store.commit(Commit(entries=(Entry(event),))).result(STORE_TIMEOUT)


def _run(function: Callable[..., Any], arguments: dict[str, Any], timeout: Any) -> Steps[Ran]:
    ran: Ran = yield Run(function, arguments, timeout)
    return ran


__all__ = ["AGENT", "Report", "Taken", "undo"]
