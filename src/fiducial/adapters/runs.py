"""What an adapter keeps of a session, for as long as it is open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from fiducial.guard.session import Session

T = TypeVar("T")


class PerSession(Generic[T]):
    """One thing for each session, from any thread; those of sessions that are closed are dropped when one is added."""

    def __init__(self) -> None:
        self._kept: dict[Session, T] = {}
        self._lock = threading.Lock()

    def of(self, session: Session, make: Callable[[], T]) -> T:
        """The one of `session`; `make` is called when there is none."""
        with self._lock:
            if session not in self._kept:
                for each in [each for each in self._kept if each.closed]:
                    del self._kept[each]
                self._kept[session] = make()
            return self._kept[session]


__all__ = ["PerSession"]
