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
from typing import get_args

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
    check_event,
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
_SALTED = frozenset({SALT_BYTES})
_sha256 = hashlib.sha256


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Events on their way into a bundle, laid out as they will stand there."""

    count: int
    """How many."""
    events: bytes
    """Canonical bytes, joined by newlines."""
    leaves: bytes
    """Leaf hashes."""
    payloads: bytes
    """Salts and data by turns."""
    digests: bytes
    """Four bytes of each payload's digest."""
    first_id: str
    """The smallest of their ids."""
    last_id: str
    """The largest."""
    sessions: list[str]
    """That they belong to, sorted; the empty one is the log's own."""


NOTHING = Part(0, b"", b"", b"", b"", "", "", [])
"""No event."""


def joined(parts: Sequence[Part]) -> Part:
    """Those `parts`, in order, as one."""
    parts = [part for part in parts if part.count]
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    return Part(
        count=sum([part.count for part in parts]),
        events=b"\n".join([part.events for part in parts]),
        leaves=b"".join([part.leaves for part in parts]),
        payloads=b"".join([part.payloads for part in parts]),
        digests=b"".join([part.digests for part in parts]),
        first_id=min([part.first_id for part in parts]),
        last_id=max([part.last_id for part in parts]),
        sessions=sorted(set().union(*[part.sessions for part in parts])),
    )


class Prepared:
    """A commit made ready by the thread that asked for it: checked, encoded and hashed; the writer only joins."""

    __slots__ = ("_digests", "_events", "_ids", "_part", "_payloads", "_sessions", "changes", "cost", "count", "future",
                 "patient", "preconditions", "waits")  # fmt: skip

    def __init__(self, entries: Sequence[Entry | LateEntry], *, own: bool = False) -> None:
        """Raises `StoreError` when an entry cannot be kept. `own`: the store itself speaks."""
        kinds = _OWN if own else _KINDS
        self.preconditions: tuple[Unchanged | AtMost, ...] = ()
        self.changes: tuple[Put | Add, ...] = ()
        self.count = len(entries)
        """How many events."""
        self.cost = 0
        """Bytes it occupies in the queue."""
        self.waits = True
        """Whether somebody waits for it to be on disk."""
        self.patient = False
        """See `fiducial.core.store.Commit`."""
        self.future: Future[Receipt] | None = None
        """Who waits."""
        events = [entry.event for entry in entries]
        if not kinds.issuperset(map(type, events)):
            raise StoreError("only the store itself records what the log did; record another kind of event")
        self._events = [_encoded(event) for event in events]
        payloads = [payload for entry in entries for payload in entry.payloads]
        refs = [ref for event in events for ref in event.payloads]
        self._ids = [event.id for event in events]
        self._sessions = {event.session or "" for event in events}
        self._digests = [ref.digest[DIGEST_PREFIX] for ref in refs]
        self._payloads = [piece for payload in payloads for piece in (payload.salt, payload.data)]
        self._part: Part | None = None
        sizes = [ref.size for ref in refs]
        # A bundle tells its payloads apart by their order and by the sizes that the events state.
        if (
            [payload.ref for payload in payloads] != refs
            or [*map(len, self._payloads[1::2])] != sizes
            or not _SALTED.issuperset(map(len, self._payloads[::2]))
        ):
            raise StoreError(f"the payloads of {_named(events)} are not those that it names")
        self.cost = sum(sizes) + sum(map(len, self._events))
        if self.cost > MAX_COMMIT:
            raise StoreError(f"a commit of {self.cost} bytes is larger than {MAX_COMMIT}; record results by reference")

    def part(self) -> Part:
        """Its events as a bundle has them; hashed once, by whichever thread asks first."""
        events, payloads = self._events, self._payloads
        if self._part is None and self.count:
            self._part = Part(
                count=self.count,
                events=b"\n".join(events),
                leaves=b"".join([_sha256(b"\x00" + data).digest() for data in events]),
                payloads=b"".join(payloads),
                digests=bytes.fromhex("".join(self._digests)),
                first_id=min(self._ids),
                last_id=max(self._ids),
                sessions=sorted(self._sessions),
            )
            # Only now: whoever finds them gone finds the part.
            self._events, self._payloads = [], []
        return self._part or NOTHING


def _encoded(event: Event) -> bytes:
    try:
        data = encode_event(event)
        check_event(event, data)  # what could be written and not read would make the whole log unreadable
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise StoreError(f"event `{event.id}` cannot be encoded; nothing of its commit was kept") from error
    return data


def _named(events: Sequence[Event]) -> str:
    return f"event `{events[0].id}`" if len(events) == 1 else f"the {len(events)} events from `{events[0].id}` on"


def digest_prefixes(refs: Sequence[PayloadRef]) -> bytes:
    """What the index keeps of the payloads' digests: the first four bytes of each."""
    return bytes.fromhex("".join([ref.digest[DIGEST_PREFIX] for ref in refs]))


def prepare(commit: Commit) -> Prepared:
    """`commit`, ready for a writer. Raises `StoreError` when it cannot be kept."""
    prepared = Prepared(commit.entries)
    prepared.preconditions = commit.preconditions
    prepared.changes, prepared.patient = commit.changes, commit.patient
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
