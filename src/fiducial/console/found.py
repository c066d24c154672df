"""Finding sessions: a fold of the log's newest events, kept up as the log grows.

The log is made to be appended to and to give back one session; this is what lists and searches them. It reads the
events without their payloads, the newest `WINDOW` entries at first and then only what is new, and remembers the newest
`MAX_SESSIONS` sessions. Older ones are found by their id.
"""

from __future__ import annotations

from collections import Counter, deque
from threading import Lock

import msgspec

from fiducial.core.event import (
    ApprovalSpent,
    CallDecided,
    CallFinished,
    Event,
    HoldRequested,
    HoldSeen,
    HoldSettled,
    HoldVoted,
    SessionClosed,
    SessionOpened,
    UndoFinished,
    UndoStarted,
)
from fiducial.core.ids import DecisionId, SessionId
from fiducial.core.verdict import VerdictKind
from fiducial.oversight.considered import UNSURE, Considered, considered, requests
from fiducial.oversight.hold import Hold
from fiducial.store.bundle import records
from fiducial.store.ledger import Ledger

WINDOW = 200_000
"""Entries read back at the start: a second or two."""
MAX_SESSIONS = 20_000
MAX_TOOLS = 32
"""Tools named for one session."""


class Summary(msgspec.Struct):
    """One session in a list."""

    id: SessionId
    agent: str = ""
    """Empty when it was opened before what was read."""
    user: str = ""
    opened_us: int = 0
    last_us: int = 0
    parent: SessionId | None = None
    closed: bool = False
    verdicts: dict[VerdictKind, int] = msgspec.field(default_factory=dict)
    """How many calls came to each."""
    tools: set[str] = msgspec.field(default_factory=set)
    risk: int = 0
    """The highest of its calls, 0 to 4."""
    running: int = 0
    """Calls that were about to run and have no outcome."""
    waiting: int = 0
    """Requests to people that have no answer."""
    undone: bool = False
    """Somebody has taken effects of it back."""

    @property
    def calls(self) -> int:
        """Decisions."""
        return sum(self.verdicts.values())


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; empty: everything."""

    text: str = ""
    """Part of an id, agent, user or tool, whatever its case."""
    verdict: str = ""
    """Some call came to it."""
    state: str = ""
    """`open`, `closed`, `waiting`, `unknown` (an outcome) or `undone`."""


class Similar(msgspec.Struct, frozen=True, kw_only=True):
    """How people answered requests like one: the same tool, stopped by the same policies."""

    outcomes: dict[str, int]
    """Outcome → how many requests came to it."""
    results: dict[str, int]
    """What came of the calls that were let through: `ok`, `failed`, `unknown`, `undone`."""


_OF_PEOPLE = (HoldRequested, HoldSeen, HoldVoted, HoldSettled, ApprovalSpent)
MAX_OVERSIGHT = 50_000
"""Events about requests that are remembered."""


class Decisions(msgspec.Struct, frozen=True):
    """How people decide."""

    roles: tuple[Considered, ...]
    """One for each role that was asked."""
    since_us: int
    """When the oldest request that counts was made; 0: there is none."""


class SessionIndex:
    """The newest sessions of a log. Usable from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._sessions: dict[SessionId, Summary] = {}
        self._asked: deque[Event] = deque(maxlen=MAX_OVERSIGHT)
        self._spent: set[DecisionId] = set()
        self._tools: dict[DecisionId, str] = {}
        self._decisions: Decisions | None = None
        """Until something about requests is recorded."""
        self._next = max(0, ledger.size - WINDOW)

    def search(self, query: Query, *, start: int = 0, count: int = 50) -> tuple[list[Summary], int]:
        """The sessions that fit, those that something happened in last first: `count` of them from `start` on, and
        how many there are. Raises `StoreError` when the log cannot be read."""
        with self._lock:
            self._catch_up()
            found = [each for each in self._sessions.values() if _fits(each, query)]
            found.sort(key=lambda each: each.last_us, reverse=True)
            return [msgspec.structs.replace(each) for each in found[start : start + count]], len(found)

    def children(self, session: SessionId) -> list[Summary]:
        """The sessions that it delegated to."""
        with self._lock:
            self._catch_up()
            return [msgspec.structs.replace(each) for each in self._sessions.values() if each.parent == session]

    def similar(self, hold: Hold) -> Similar:
        """How requests like `hold` were answered, as far back as is remembered."""
        with self._lock:
            self._catch_up()
            outcomes: Counter[str] = Counter()
            results: Counter[str] = Counter()
            for asked in requests(self._asked):
                same = self._tools.get(asked.decision) == hold.tool and asked.policies == hold.policies
                if same and asked.hold != hold.id and asked.outcome is not None:
                    outcomes[asked.outcome] += 1
                    if asked.result is not None:
                        results[asked.result] += 1
            return Similar(outcomes=dict(outcomes), results=dict(results))

    def decisions(self) -> Decisions:
        """How people decide, as far back as is remembered."""
        with self._lock:
            self._catch_up()
            if self._decisions is None:
                first = next((event.at_us for event in self._asked if isinstance(event, HoldRequested)), 0)
                self._decisions = Decisions(tuple(considered(self._asked)), first)
            return self._decisions

    def _catch_up(self) -> None:
        for bundle in self._ledger.reader.bundles(self._next, payloads=False):
            for record in records(bundle):
                if record.index >= self._next and record.event.session is not None:
                    self._take(record.event, record.event.session)
            self._next = bundle.first + bundle.count
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))

    def _take(self, event: Event, session: SessionId) -> None:
        self._remember(event)
        # What something happens in moves to the end: the first is the one to forget.
        summary = self._sessions.pop(session, None) or Summary(session)
        self._sessions[session] = summary
        summary.last_us = max(summary.last_us, event.at_us)
        match event:
            case SessionOpened():
                summary.agent, summary.user, summary.parent = event.agent, event.user, event.parent
                summary.opened_us = event.at_us
            case CallDecided():
                summary.verdicts[event.verdict] = summary.verdicts.get(event.verdict, 0) + 1
                summary.risk = max(summary.risk, event.risk)
                summary.running += event.runs
                if len(summary.tools) < MAX_TOOLS:
                    summary.tools.add(event.tool)
            case CallFinished():
                if event.outcome != "unknown":
                    summary.running = max(0, summary.running - 1)
            case HoldRequested():
                summary.waiting += 1
            case HoldSettled() if event.outcome != "escalated":
                summary.waiting = max(0, summary.waiting - 1)
            case SessionClosed():
                summary.closed = True
            case UndoStarted() if not event.dry_run:
                self._undone(event.target)
            case UndoFinished() if event.outcome == "undone":
                self._undone(event.target)
            case _:
                pass

    def _remember(self, event: Event) -> None:
        """Keep what is about requests."""
        if isinstance(event, _OF_PEOPLE):
            self._keep(event)
            if isinstance(event, ApprovalSpent):
                self._spent.add(event.decision)
        elif isinstance(event, CallDecided) and event.verdict in ("held", "unclear"):
            self._tools[event.decision] = event.tool
            if any(fired.policy == UNSURE for fired in event.fired):
                self._keep(event)
            if len(self._tools) > MAX_OVERSIGHT:
                self._tools.pop(next(iter(self._tools)))
        elif isinstance(event, CallFinished | UndoFinished) and event.decision in self._spent:
            self._keep(event)

    def _keep(self, event: Event) -> None:
        self._asked.append(event)
        self._decisions = None

    def _undone(self, target: SessionId) -> None:
        if (summary := self._sessions.get(target)) is not None:
            summary.undone = True


def _fits(summary: Summary, query: Query) -> bool:
    if query.verdict and query.verdict not in summary.verdicts:
        return False
    state = query.state
    if state and not {
        "open": not summary.closed,
        "closed": summary.closed,
        "waiting": summary.waiting > 0,
        "unknown": summary.running > 0 and summary.closed,
        "undone": summary.undone,
    }.get(state, False):
        return False
    text = query.text.lower()
    if not text:
        return True
    return any(text in each.lower() for each in (summary.id, summary.agent, summary.user, *summary.tools))


__all__ = ["Decisions", "Query", "SessionIndex", "Similar", "Summary"]
