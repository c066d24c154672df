"""Laundry: untrusted values that calls wrote somewhere, kept so that they stay untrusted when read back later.

Only keyed hashes are kept (`fiducial.flow.laundry`), one cell a call. Their random key lies apart from them where the
store can keep it apart (`KeepsSecrets`): with it, whoever has the hashes could try out what was erased.

What a call writes is known from the moment the call is decided, and counts as kept only once its commit has succeeded:
whatever did not get into the store is put there again by the next call that writes it.

Other processes write to the same store while this one runs. Cells are spread over a few shelves by the last character
of their decision's id, which is random, and each shelf has a counter that grows with it in the same transaction: so
whoever is about to believe a record sees by one small read that nothing is new, or on which shelves to look.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from hashlib import blake2b

from fiducial.core.ids import DecisionId
from fiducial.core.store import Add, Commit, KeepsSecrets, Put, Receipt, Store, Unchanged
from fiducial.errors import Conflict, WrongKey
from fiducial.flow.laundry import Laundered

_KEY = "laundry-key"
_CHECK = "laundry-check"
_CELLS = "laundry/"
_COUNTS = "laundry-count/"
KEY_BYTES = 32


class Laundry:
    """What is known to have been written, for every session of a guard."""

    def __init__(self, store: Store) -> None:
        """Load what earlier sessions wrote. Raises `StoreError` when the store cannot be read."""
        self._store = store
        self._lock = threading.Lock()
        self._key = _key_of(store)
        self.known = Laundered(self._key)
        """The hashes, to be asked by sessions."""
        # Counters first: what is written in between is then loaded twice, and never missed.
        self._counts = _versions(store)
        self._load(_CELLS)

    def key_for(self, what: bytes) -> bytes:
        """A key of its own for other hashes of the store, always the same for `what`."""
        return blake2b(what, key=self._key, digest_size=KEY_BYTES, person=b"derived").digest()

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

    def stored(self, changes: Sequence[Put | Add], future: Future[Receipt]) -> None:
        """The commit of `changes` has come to its end."""
        if future.cancelled() or future.exception() is not None:
            return
        for change in changes:
            if isinstance(change, Put) and change.key.startswith(_CELLS) and change.value is not None:
                self.known.load(hash_ for (hash_,) in struct.iter_unpack("<Q", change.value))


def _key_of(store: Store) -> bytes:
    if not isinstance(store, KeepsSecrets):
        return _first(store, _KEY, os.urandom(KEY_BYTES))
    inside = store.read([_KEY]).get(_KEY)
    key = store.secret("laundry", inside.value if inside is not None else None)
    if inside is not None:
        store.commit(Commit(changes=(Put(_KEY, None),))).result()
    check = blake2b(b"laundry", key=key, digest_size=16).digest()
    if _first(store, _CHECK, check) != check:
        raise WrongKey("the key of the laundry is not the one that this store began with; restore it from a backup")
    return key


def _first(store: Store, key: str, value: bytes) -> bytes:
    """What `key` holds: `value`, unless somebody came first."""
    if key not in store.read([key]):
        with contextlib.suppress(Conflict):  # another process made it in the meantime
            store.commit(Commit(preconditions=(Unchanged(key, 0),), changes=(Put(key, value),))).result()
    return store.read([key])[key].value


def _versions(store: Store) -> Mapping[str, int]:
    return {counter: cell.version for counter, cell in store.scan(_COUNTS).items()}
