"""Checking the whole log on demand: one check at a time, beside the requests, with its progress.

The log is held to the store's own key and checkpoint, so that an older copy of the database does not pass.
"""

from __future__ import annotations

import threading

import msgspec

from fiducial.core.clock import Clock
from fiducial.errors import StoreError
from fiducial.store.health import verify_open
from fiducial.store.ledger import LedgerStore, Verified


class Progress(msgspec.Struct, frozen=True):
    """How a check stands."""

    running: bool = False
    done: int = 0
    """Entries checked so far."""
    total: int = 0
    verified: Verified | None = None
    """What the last check found in order."""
    fault: str = ""
    """What the last check found wrong; empty when nothing."""
    finished_us: int = 0


class Verification:
    """The check of one log. Usable from any thread."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._progress = Progress()

    @property
    def progress(self) -> Progress:
        """How it stands now."""
        return self._progress

    def start(self) -> None:
        """Begin, unless a check is running."""
        with self._lock:
            if self._progress.running:
                return
            self._progress = Progress(running=True)
        threading.Thread(target=self._run, name="fiducial-verify", daemon=True).start()

    def _run(self) -> None:
        try:
            verified = verify_open(self._store, progress=self._told)
            self._progress = Progress(verified=verified, finished_us=self._clock.unix_us())
        except StoreError as error:
            self._progress = Progress(fault=str(error), finished_us=self._clock.unix_us())
        except BaseException as error:
            fault = f"the check itself failed ({type(error).__name__})"
            self._progress = Progress(fault=fault, finished_us=self._clock.unix_us())
            raise

    def _told(self, done: int, total: int) -> None:
        self._progress = Progress(running=True, done=done, total=total)


__all__ = ["Progress", "Verification"]
