"""Changes of state as PostgreSQL announces them: LISTEN, on a connection of its own.

A notice holds the keys that one transaction put, or nothing when they are too many to name. A connection that was lost
may have missed some. In both cases every key that is watched counts as changed.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import msgspec
import psycopg

from fiducial.store import schema
from fiducial.store.postgres.link import Link, Target, connect, translate
from fiducial.store.postgres.tables import numbered
from fiducial.store.watch import Pulse

_PATIENCE = timedelta(seconds=1)
"""How long the server may take to answer here, where it has nothing to do."""
_WAIT_SECONDS = 0.2
"""How long to wait for a notice before looking whether anything else is to be done."""
_PROBE_SECONDS = 0.6
"""How often to ask the connection whether it still is one: with the wait, within a second."""
_CHANNEL = "SELECT 'fiducial_' || 'meta'::regclass::oid"


class Notices:
    """`fiducial.store.watch.Changes` by LISTEN."""

    def __init__(self, target: Target, pulse: Pulse) -> None:
        """Raises `StoreError` when the server does not answer."""
        self._target = target
        self._pulse = pulse
        self._lock = threading.Lock()
        self._prefixes: set[str] = set()
        self._link: Link | None = None
        self._probed = time.monotonic()
        self._missed = False
        self._listen()

    def begin(self, prefix: str) -> None:
        """See `Changes.begin`: it listens since it was made, and to everything."""
        with self._lock:
            self._prefixes.add(prefix)

    def end(self, prefix: str) -> None:
        """See `Changes.end`."""
        with self._lock:
            self._prefixes.discard(prefix)

    def next(self, ending: threading.Event) -> frozenset[str]:
        """See `Changes.next`."""
        try:
            link = self._listen()
            keys: set[str] = set()
            for notice in link.notifies(timeout=0 if ending.is_set() else _WAIT_SECONDS, stop_after=1):
                if notice.payload:
                    keys.update(msgspec.json.decode(notice.payload, type=list[str]))
                else:
                    self._missed = True
            if self._missed:
                with self._lock:
                    prefixes = sorted(self._prefixes)
                for prefix in prefixes:
                    rows = link.execute(numbered(schema.SCAN_VERSIONS), schema.span(prefix)).fetchall()
                    keys.update(key for key, _ in rows)
                self._missed = False
            # Last: whoever is deaf, or could not read what it missed, must not seem to hear.
            if time.monotonic() - self._probed > _PROBE_SECONDS:
                link.execute("SELECT 1")
                self._probed = time.monotonic()
                self._pulse.beat()
        except (psycopg.Error, msgspec.MsgspecError) as error:
            self._missed = True
            self.close()
            if isinstance(error, msgspec.MsgspecError):
                # Not one of ours. What it should have said is looked up.
                return frozenset()
            raise translate(error, self._target.where) from error
        return frozenset(keys)

    def close(self) -> None:
        """See `Changes.close`."""
        if self._link is not None:
            self._link.close()

    def _listen(self) -> Link:
        if self._link is not None and not self._link.closed:
            return self._link
        again = self._link is not None
        link = connect(self._target, patience=_PATIENCE, write=True)
        try:
            ((channel,),) = link.execute(_CHANNEL).fetchall()
            link.execute(f'LISTEN "{channel}"')
        except psycopg.Error as error:
            link.close()
            raise translate(error, self._target.where) from error
        self._link = link
        self._missed = self._missed or again
        return link
