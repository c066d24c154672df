"""A future that is settled from the start: what a commit that nobody has to wait for returns.

`concurrent.futures.Future` makes a lock and a condition for each instance, several times the price of the commit
itself. Nobody ever waits on this one, so all instances share theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition
from typing import Any

from fiducial.core.store import Receipt

_NOBODY: list[Any] = []


class Settled(Future[Receipt]):
    """Done, with a receipt or an error."""

    # What `concurrent.futures.wait` and `as_completed` look at.
    _condition = Condition()
    _state = "FINISHED"
    _waiters = _NOBODY

    def __init__(self, receipt: Receipt | None, error: BaseException | None = None) -> None:
        # Future.__init__ is left out on purpose: it makes the lock.
        self._result = receipt
        self._exception = error

    def result(self, timeout: float | None = None) -> Receipt:
        """The receipt; raises the error."""
        if self._exception is not None:
            raise self._exception
        assert self._result is not None
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error, if there is one."""
        return self._exception

    def done(self) -> bool:
        """True."""
        return True

    def running(self) -> bool:
        """False: it has finished."""
        return False

    def cancelled(self) -> bool:
        """False."""
        return False

    def cancel(self) -> bool:
        """False: it has finished."""
        return False

    def add_done_callback(self, fn: Callable[[Future[Receipt]], Any]) -> None:
        """Calls `fn` right away."""
        fn(self)
