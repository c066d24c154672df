"""What time does to requests, written down while it happens.

A request expires, is escalated or is void by itself: what it means follows from its cell and the time. That there is an
event of it, and that what is over is no longer looked through, is the work of this thread. Every console has one, on
whatever store; of several the first to write is the one that counts.
"""

from __future__ import annotations

import logging
import threading

from fiducial.errors import FiducialError
from fiducial.oversight.desk import Desk

log = logging.getLogger("fiducial.oversight")
EVERY = 2.0
"""Seconds between two looks."""


class Clockwork:
    """Sweeps a desk from its making until it is stopped."""

    def __init__(self, desk: Desk, every: float | None = None) -> None:
        """`every`: seconds between two looks, `EVERY` unless given."""
        self._desk, self._every = desk, EVERY if every is None else every
        self._stopped = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="fiducial-clockwork", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it has."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self._desk.sweep()
            except FiducialError as error:
                if not self._failing:
                    log.warning("what time has settled cannot be written down, and is tried again: %s", error)
                self._failing = True
            else:
                self._failing = False


__all__ = ["EVERY", "Clockwork"]
