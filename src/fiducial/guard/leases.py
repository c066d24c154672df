"""Whose a session is: on a store that other processes have open too, each session has one owner at a time.

The lease (`fiducial.store.lease`) is made by the commit that opens the session, and renewed while its process lives: by
a thread, all sessions of a guard three times within a lease, and by every call with a side effect. It is given up when
the session or the store is closed. Without that, after a crash, another process takes it over once it has run out.

Two things keep an owner that was stopped meanwhile, and wakes up, from doing anything: every decision on a side effect
or a plan, and every message, is kept only if the lease still is its own, and a call begins only before the lease that
it was decided under can have been taken. A store of one process has no leases, and costs nothing; who reopens a session
there takes the place of the object that it was (`Session.supersede`).
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Final

from fiducial.core.clock import Clock
from fiducial.core.faults import wordless
from fiducial.core.ids import SessionId
from fiducial.core.store import Commit, Put, Receipt, Shared, Store, Unchanged
from fiducial.errors import Conflict, SessionError, StoreClosed, StoreError
from fiducial.store import lease as leasing

log = logging.getLogger("fiducial.guard")
LOST: Final = "the session goes on in another process, which took it over"
LATE: Final = "the process was stopped for so long that another may have taken the session over; make the call again"
_DURATION_US: Final = leasing.DURATION // timedelta(microseconds=1)
_BEAT_SECONDS: Final = leasing.DURATION.total_seconds() / 3


class Held:
    """One session's lease, as its owner knows it."""

    __slots__ = ("__weakref__", "fence", "lease", "lost", "orphaned", "until_us")

    def __init__(self, lease: leasing.Lease) -> None:
        self.lease = lease
        self.fence: Unchanged = lease.held()
        """The precondition that it still is ours."""
        self.until_us = lease.until_us
        """Nobody takes it before."""
        self.lost = False
        """Another process took it."""
        self.orphaned: weakref.finalize[..., Held] | None = None
        """What is done when its session is gone without having been closed."""

    def renewal(self, now_us: int) -> Put:
        """The change that renews it, to be committed with `fence`; it never shortens it."""
        return self.lease.renewal(max(self.until_us, now_us + _DURATION_US))

    def renewed(self, now_us: int) -> None:
        """A renewal of `now_us` was kept."""
        self.until_us = max(self.until_us, now_us + _DURATION_US)

    def hear(self, future: Future[Receipt], renewed_us: int | None = None) -> None:
        """Learn what becomes of a commit whose only precondition is `fence`; `renewed_us`: it renews the lease then."""
        # A store may hold on to its latest commit for long: that keeps no lease alive.
        future.add_done_callback(partial(_told, weakref.ref(self), renewed_us))


class Leases:
    """The leases of one guard's sessions."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._owner = store.owner if isinstance(store, Shared) else ""
        self._held: weakref.WeakSet[Held] = weakref.WeakSet()
        self._orphans: deque[tuple[leasing.Lease, Unchanged]] = deque()
        """The leases of sessions that are gone without having been closed."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        if isinstance(store, Shared):
            store.before_close(partial(_give_up, weakref.ref(self), store, self._orphans))

    def first(self, session: SessionId) -> tuple[Held | None, Commit]:
        """The lease of a new session, and what of the commit that opens it makes it: `keep` the lease from then on."""
        if not self._owner:
            return None, Commit(durable=False)
        lease, commit = leasing.first(session, self._owner, self._clock.unix_us() + _DURATION_US)
        return Held(lease), commit

    def take(self, session: SessionId, claim: str | None) -> Held | None:
        """The lease of a session that is gone on with. `claim`: why it is taken although it has not run out.

        Raises `SessionError` when another process has it, `StoreError` when that cannot be told.
        """
        if not self._owner:
            return None
        found = leasing.take(self._store, session, self._owner, clock=self._clock, claim=claim)
        if isinstance(found, leasing.Lease):
            held = Held(found)
            self.keep(held)
            return held
        left = max(0, found.until_us - self._clock.unix_us()) / 1e6 + leasing.SKEW.total_seconds()
        raise SessionError(
            f"the session belongs to another process (`{found.owner}`); it can be gone on with when that closes it, "
            f"{left:.0f} s after it ended, or at once with `takeover`, which says why that process is gone"
        )

    def release(self, held: Held) -> Commit:
        """What of the commit that closes a session gives its lease up: nothing is kept when it is another's by now."""
        with self._lock:
            self._held.discard(held)
        if held.orphaned is not None:
            held.orphaned.detach()
        return _given_up(held.lease, held.fence)

    def beat(self) -> None:
        """Renew all of them, and give up those of which nobody has the session any more. Raises `StoreClosed` when
        there is nothing more to renew.
        """
        now = self._clock.unix_us()
        try:
            _release_orphans(self._store, self._orphans)
        except StoreClosed:
            raise
        except StoreError:
            log.info("the leases of sessions that are gone will be given up later")
        for held in self.mine():
            try:
                future = self._store.commit(Commit(preconditions=(held.fence,), changes=(held.renewal(now),)))
            except StoreClosed:
                raise
            except StoreError:
                continue  # the next beat tries again; meanwhile the lease runs, or nobody can take it
            held.hear(future, now)

    def mine(self) -> list[Held]:
        """Those that nobody took."""
        with self._lock:
            return [held for held in self._held if not held.lost]

    def keep(self, held: Held) -> None:
        """Renew it from now on. Whoever renews a lease before it is made takes it for another's."""
        # The garbage collector calls this wherever it happens to be: no lock may be taken there.
        held.orphaned = weakref.finalize(held, self._orphans.append, (held.lease, held.fence))
        held.orphaned.atexit = False
        with self._lock:
            self._held.add(held)
            if self._thread is None or not self._thread.is_alive():
                run: Callable[[], None] = partial(_run, weakref.ref(self))
                self._thread = threading.Thread(target=run, name="fiducial-leases", daemon=True)
                self._thread.start()


def _given_up(lease: leasing.Lease, fence: Unchanged) -> Commit:
    """Nothing is kept of it when the lease is another's by now."""
    return Commit(preconditions=(fence,), changes=lease.release(), durable=False)


def _give_up(
    leases: Callable[[], Leases | None], store: Store, orphans: deque[tuple[leasing.Lease, Unchanged]]
) -> None:
    """Before the store is closed, whether or not the guard is still there."""
    mine = leases()
    if mine is not None:
        for held in mine.mine():
            store.commit(mine.release(held))
    _release_orphans(store, orphans)


def _release_orphans(store: Store, orphans: deque[tuple[leasing.Lease, Unchanged]]) -> None:
    while orphans:
        orphan = orphans.popleft()
        try:
            store.commit(_given_up(*orphan))
        except StoreError:
            orphans.append(orphan)
            raise


def _told(lease: Callable[[], Held | None], renewed_us: int | None, future: Future[Receipt]) -> None:
    held, error = lease(), future.exception()
    if held is None:
        return
    if isinstance(error, Conflict):
        held.lost = True
    elif error is None and renewed_us is not None:
        held.renewed(renewed_us)


def _run(leases: Callable[[], Leases | None]) -> None:
    """Until nobody needs it any more, or the store is closed."""
    pause = threading.Event()
    while not pause.wait(_BEAT_SECONDS):
        mine = leases()
        if mine is None:
            return
        try:
            mine.beat()
        except StoreClosed:
            return
        except Exception as error:
            log.error("the leases of sessions could not be renewed, which is tried again", exc_info=wordless(error))
        del mine
