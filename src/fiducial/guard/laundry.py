"""Laundry: untrusted values that calls wrote somewhere, kept so that they stay untrusted when read back later.

Only keyed hashes are kept (`fiducial.flow.laundry`), under a random key that never leaves the store, one cell a call.

Other processes write to the same store while this one runs. Cells are spread over a few shelves by the last character
of their decision's id, which is random, and each shelf has a counter that grows with it in the same transaction: so a
session that begins sees by one small read that nothing is new, or on which shelves to look.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Mapping, Sequence

from fiducial.core.ids import DecisionId
from fiducial.core.store import Add, Commit, Put, Store, Unchanged
from fiducial.errors import Conflict
from fiducial.flow.laundry import Laundered

_KEY = "laundry-key"
_CELLS = "laundry/"
_COUNTS = "laundry-count/"
KEY_BYTES = 32


class Laundry:
    """What is known to have been written, for every session of a guard."""

    def __init__(self, store: Store) -> None:
        """Load what earlier sessions wrote. Raises `StoreError` when the store cannot be read."""
        if _KEY not in store.read([_KEY]):
            key = Put(_KEY, os.urandom(KEY_BYTES))
            with contextlib.suppress(Conflict):  # another process made it in the meantime
                store.commit(Commit(preconditions=(Unchanged(_KEY, 0),), changes=(key,))).result()
        self._store = store
        self._lock = threading.Lock()
        self.known = Laundered(store.read([_KEY])[_KEY].value)
        """The hashes, to be asked by sessions."""
        # Counters first: what is written in between is then loaded twice, and never missed.
        self._counts = _versions(store)
        self._load(_CELLS)

    def refresh(self) -> None:
        """Load what other processes wrote since. Raises `StoreError` when the store cannot be read."""
        with self._lock:
            counts = _versions(self._store)
            for counter, version in counts.items():
                if self._counts.get(counter) != version:
                    self._load(f"{_CELLS}{counter.removeprefix(_COUNTS)}/")
            self._counts = counts

    def _load(self, prefix: str) -> None:
        for cell in self._store.scan(prefix).values():
            self.known.load(hash_ for (hash_,) in struct.iter_unpack("<Q", cell.value))

    def changes(self, decision: DecisionId, hashes: Sequence[int]) -> tuple[Put | Add, ...]:
        """What keeps `hashes`, to be committed with the call that writes the values."""
        if not hashes:
            return ()
        shelf = decision[-1]
        return (
            Put(f"{_CELLS}{shelf}/{decision}", struct.pack(f"<{len(hashes)}Q", *hashes)),
            Add(f"{_COUNTS}{shelf}", 1),
        )


def _versions(store: Store) -> Mapping[str, int]:
    return {counter: cell.version for counter, cell in store.scan(_COUNTS).items()}
