"""A trajectory: one session's events in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fiducial.core.event import CallDecided, CallFinished, Event, SessionOpened
from fiducial.core.ids import DecisionId, SessionId


class Trajectory:
    """The events of one session, in the order they were recorded.

    Raises `ValueError` when an event belongs to another session.
    """

    __slots__ = ("_events", "session")

    def __init__(self, session: SessionId, events: Iterable[Event]) -> None:
        self.session = session
        """The session all events belong to."""
        self._events = tuple(events)
        for event in self._events:
            if event.session != session:
                raise ValueError(f"event `{event.id}` belongs to another session than `{session}`")

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def opened(self) -> SessionOpened | None:
        """How the session began; `None` when that part is missing."""
        return next((event for event in self._events if isinstance(event, SessionOpened)), None)

    @property
    def decisions(self) -> tuple[CallDecided, ...]:
        """Every verdict, in order."""
        return tuple(event for event in self._events if isinstance(event, CallDecided))

    def outcome(self, decision: DecisionId) -> CallFinished | None:
        """What came of `decision`; `None` when nothing was recorded."""
        return next(
            (event for event in self._events if isinstance(event, CallFinished) and event.decision == decision),
            None,
        )

    @property
    def interrupted(self) -> tuple[CallDecided, ...]:
        """Calls that were about to run and have no outcome: theirs is unknown."""
        finished = {event.decision for event in self._events if isinstance(event, CallFinished)}
        return tuple(event for event in self.decisions if event.runs and event.decision not in finished)
