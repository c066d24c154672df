"""Laundry: untrusted values that calls wrote somewhere, kept so that they stay untrusted when read back later.

Only keyed hashes are kept (`fiducial.flow.laundry`), under a random key that never leaves the store, one cell a call.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence

from fiducial.core.ids import DecisionId
from fiducial.core.store import Commit, Put, Store, Unchanged
from fiducial.errors import Conflict
from fiducial.flow.laundry import Laundered

_KEY = "laundry-key"
_PREFIX = "laundry/"
KEY_BYTES = 32


class Laundry:
    """What is known to have been written, for every session of a guard."""

    def __init__(self, store: Store) -> None:
        """Load what earlier sessions wrote. Raises `StoreError` when the store cannot be read."""
        if _KEY not in store.read([_KEY]):
            key = Put(_KEY, os.urandom(KEY_BYTES))
            with contextlib.suppress(Conflict):  # another process made it in the meantime
                store.commit(Commit(preconditions=(Unchanged(_KEY, 0),), changes=(key,))).result()
        self.known = Laundered(store.read([_KEY])[_KEY].value)
        """The hashes, to be asked by sessions."""
        for cell in store.scan(_PREFIX).values():
            self.known.load(hash_ for (hash_,) in struct.iter_unpack("<Q", cell.value))

    def changes(self, decision: DecisionId, hashes: Sequence[int]) -> tuple[Put, ...]:
        """What keeps `hashes`, to be committed with the call that writes the values."""
        if not hashes:
            return ()
        return (Put(f"{_PREFIX}{decision}", struct.pack(f"<{len(hashes)}Q", *hashes)),)
