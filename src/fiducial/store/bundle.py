"""Bundles: how one transaction's events are laid out in storage.

    events     the canonical bytes of each event, joined by newlines (canonical JSON holds none)
    leaves     the leaf hash of each event, 32 bytes each
    payloads   for each event, for each payload it names, in that order: 16 bytes of salt, then the data
    root       the tree's root after this bundle
    signature  over the checkpoint of that root: every transaction is signed, so no stored event waits for it

One row a transaction is what makes the log as fast as plain inserts. Where a payload lies follows from the sizes that
its events state, so it can be overwritten in place: an erased payload is zeros, salt and all. A bundle of which all
payloads were erased keeps none of them (`payloads` is `None`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, get_args

import msgspec

from fiducial.core.event import (
    Entry,
    Event,
    KeyRotated,
    LogOpened,
    LogRestored,
    PayloadErased,
    RetentionApplied,
    RollbackAccepted,
    decode_event,
    encode_event,
)
from fiducial.core.payload import SALT_BYTES, PayloadRef
from fiducial.core.store import Add, AtMost, Commit, LateEntry, Put, Receipt, Unchanged
from fiducial.errors import Corrupt, StoreError
from fiducial.store.merkle import HASH_BYTES

_OWN = frozenset({LogOpened, KeyRotated, LogRestored, PayloadErased, RetentionApplied, RollbackAccepted})
"""Kinds that only the store may record, because they state what the store did."""
DIGEST_PREFIX = slice(7, 15)
"""The eight hexadecimal digits of a digest that the index keeps, as four bytes."""
MAX_COMMIT = 256 * 1024 * 1024
"""Bytes that one commit may hold. SQLite keeps no value past 10⁹ bytes, and a transaction holds several commits."""
_KINDS = frozenset(get_args(Event)) - _OWN
_sha256 = hashlib.sha256


class Prepared:
    """A commit made ready by the thread that asked for it: checked, encoded and hashed; the writer only joins."""

    __slots__ = ("changes", "cost", "entries", "events", "future", "index", "preconditions", "waits")

    def __init__(self, entries: Sequence[Entry | LateEntry], *, own: bool = False) -> None:
        """Raises `StoreError` when an entry cannot be kept. `own`: the store itself speaks."""
        kinds = _OWN if own else _KINDS
        self.preconditions: tuple[Unchanged | AtMost, ...] = ()
        self.changes: tuple[Put | Add, ...] = ()
        self.entries = entries
        self.events: list[bytes] = []
        """Canonical bytes of each event."""
        self.cost = 0
        """Bytes it occupies in the queue."""
        self.waits = True
        """Whether somebody waits for it to be on disk."""
        self.future: Future[Receipt] | None = None
        """Who waits."""
        self.index: Index | None = None
        events = self.events
        size = 0
        for entry in entries:
            event, payloads = entry.event, entry.payloads
            if type(event) not in kinds:
                raise StoreError("only the store itself records what the log did; record another kind of event")
            try:
                data = encode_event(event)
                decode_event(data)  # what could be written and not read would make the whole log unreadable
                events.append(data)
            except (ValueError, TypeError, msgspec.MsgspecError) as error:
                raise StoreError(f"event `{event.id}` cannot be encoded; nothing of its commit was kept") from error
            refs = event.payloads
            if len(payloads) != len(refs):
                raise StoreError(f"event `{event.id}` names {len(refs)} payloads, {len(payloads)} came with it")
            for payload, ref in zip(payloads, refs, strict=False):
                same = payload.ref is ref or payload.ref == ref
                if not same or len(payload.data) != ref.size or len(payload.salt) != SALT_BYTES:
                    raise StoreError(f"a payload of event `{event.id}` is not the one that the event names")
                size += ref.size
        self.cost = size + sum(map(len, events))
        if self.cost > MAX_COMMIT:
            raise StoreError(f"a commit of {self.cost} bytes is larger than {MAX_COMMIT}; record results by reference")

    def indexed(self) -> Index:
        """Hashes and index of its events; computed once, by whichever thread asks first."""
        if self.index is None:
            self.index = Index.of(self.entries, self.events)
        return self.index


class Index:
    """What the log needs of a commit's events beside their bytes."""

    __slots__ = ("digests", "ids", "leaves", "payloads", "sessions")

    def __init__(
        self, leaves: list[bytes], ids: list[str], sessions: set[str], payloads: list[bytes], digests: bytes
    ) -> None:
        self.leaves = leaves
        """Leaf hash of each event."""
        self.ids = ids
        self.sessions = sessions
        """Sessions that the events belong to; the empty one is the log's own."""
        self.payloads = payloads
        """Salt and data by turns."""
        self.digests = digests
        """Four bytes of each payload's digest."""

    @classmethod
    def of(cls, entries: Sequence[Entry | LateEntry], events: Sequence[bytes]) -> Index:
        """The index of `entries`, whose canonical bytes are `events`."""
        ids: list[str] = []
        sessions: set[str] = set()
        payloads: list[bytes] = []
        digests: list[str] = []
        for entry in entries:
            event = entry.event
            ids.append(event.id)
            sessions.add(event.session or "")
            for payload in entry.payloads:
                payloads += (payload.salt, payload.data)
                digests.append(payload.ref.digest[DIGEST_PREFIX])
        leaves = [_sha256(b"\x00" + data).digest() for data in events]
        return cls(leaves, ids, sessions, payloads, bytes.fromhex("".join(digests)))


class Part(Protocol):
    """Events on their way into one bundle."""

    @property
    def events(self) -> list[bytes]:
        """Canonical bytes of each."""
        ...

    def indexed(self) -> Index:
        """Their hashes and index."""
        ...


def digest_prefixes(refs: Sequence[PayloadRef]) -> bytes:
    """What the index keeps of the payloads' digests: the first four bytes of each."""
    return bytes.fromhex("".join([ref.digest[DIGEST_PREFIX] for ref in refs]))


def prepare(commit: Commit) -> Prepared:
    """`commit`, ready for a writer. Raises `StoreError` when it cannot be kept."""
    prepared = Prepared(commit.entries)
    prepared.preconditions = commit.preconditions
    prepared.changes = commit.changes
    # What may fail by itself has to be answered by the writer, durable or not.
    prepared.waits = commit.durable or bool(commit.preconditions or commit.changes)
    return prepared


class Bundle(msgspec.Struct, frozen=True):
    """One transaction's events, as stored."""

    first: int
    """Index of its first event."""
    count: int
    """How many events; at least 1."""
    root: bytes
    signature: bytes
    leaves: bytes
    events: bytes
    payloads: bytes | None
    """`None` when all were erased, or were not asked for."""


class StoredPayload(msgspec.Struct, frozen=True):
    """A payload as it stands now."""

    ref: PayloadRef
    offset: int
    """Where its salt begins among the bundle's payloads."""
    salt: bytes
    """Empty when erased or not asked for."""
    data: bytes | None
    """`None` when erased or not asked for."""


class Record(msgspec.Struct, frozen=True):
    """One entry of the log."""

    index: int
    """Its place; 0 is the first."""
    data: bytes
    """Canonical bytes, as hashed."""
    event: Event
    """What they say."""
    payloads: tuple[StoredPayload, ...]
    """What is kept beside the log for it."""


def shape_fault(bundle: Bundle) -> str:
    """What is wrong with the lengths in `bundle`; empty when nothing is."""
    if bundle.count < 1:
        return "holds no entry"
    if len(bundle.leaves) != HASH_BYTES * bundle.count or len(bundle.root) != HASH_BYTES:
        return "has hashes missing or left over"
    if bundle.events.count(b"\n") != bundle.count - 1:
        return "has events missing or left over"
    return ""


def records(bundle: Bundle) -> Iterator[Record]:
    """The entries of `bundle`. Raises `Corrupt` at the first that cannot be read."""
    offset = 0
    blob = bundle.payloads
    lines = bundle.events.split(b"\n")
    if len(lines) != bundle.count:
        index = bundle.first + min(len(lines), bundle.count)
        raise Corrupt(f"entry {index}: events are missing, or left over; run `fiducial log verify`", index=index)
    for index, data in enumerate(lines, bundle.first):
        try:
            event = decode_event(data)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"entry {index} is not an event; run `fiducial log verify`", index=index) from error
        found = []
        for ref in event.payloads:
            salt, content = b"", None
            if blob is not None:
                start = offset + SALT_BYTES
                salt, content = blob[offset:start], blob[start : start + ref.size]
                if len(content) != ref.size or ref.size < 0:
                    raise Corrupt(f"entry {index}: its payload is cut short; restore a backup", index=index)
                if not any(salt):
                    # 16 random bytes are all zero once in 2¹²⁸; a salt of zeros is the mark of erasure.
                    salt, content = (b"", None) if not any(content) else (salt, content)
            found.append(StoredPayload(ref, offset, salt, content))
            offset += SALT_BYTES + ref.size
        yield Record(index, data, event, tuple(found))
    if blob is not None and offset != len(blob):
        index = bundle.first + bundle.count - 1
        raise Corrupt(f"entry {index}: payloads are left over that no event names", index=index)
