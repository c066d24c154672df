"""Verifying a log: every stored byte of it, and where it goes wrong.

The log is read once, in order, within one snapshot. For each bundle, in this order:

    1  it begins where the one before it ended                              an entry is missing, or there twice
    2  each event's bytes hash to the leaf hash stored beside it            names the very entry
    3  there are as many events and hashes as it says
    4  the tree, with these leaves appended, has the root stored with it    entries changed together with their hashes
    5  the root is signed by the key that holds at this point               changed by somebody without the key
    6  each event decodes, and stands where its kind may stand
    7  each payload has the digest that its event states, or was erased, and then the log says so
    8  the index rows and the stored hashes of the tree are those that follow from the events

And for the whole: no entry occurs twice, no index row is left over, retention has left nothing where it says it has
been, the database is sound and has no table, view or trigger but its own, the log contains every checkpoint it is held
to, and the key it is held to has signed it. Control state and the list of exports are not part of the log.

Keys form a chain: the first entry states the first key, a `KeyRotated` entry, under a head signed by the old key, the
next. Whoever can write the database but has no key can neither change nor add an entry; they can cut the log off at
an older head, which only a checkpoint kept elsewhere gives away.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from fiducial.core.event import KeyRotated, LogOpened, PayloadErased, RetentionApplied
from fiducial.core.ids import Digest
from fiducial.core.payload import payload_digest
from fiducial.errors import Corrupt, WrongKey
from fiducial.store import retained, schema
from fiducial.store.bundle import Bundle, Record, digest_prefixes, records
from fiducial.store.checkpoint import Checkpoint, Verifier
from fiducial.store.erase import POSITION
from fiducial.store.merkle import HASH_BYTES, Run, Tree, leaf_hash
from fiducial.store.reader import LogReader, no_nonsense

_EVER = 2**63
"""Microseconds since 1970: later than any event."""
_PARTS = 16
"""In how many parts duplicates are looked for: a part's working memory is that much less."""


class Verified(msgspec.Struct, frozen=True):
    """A log that verified."""

    origin: str
    """Its name."""
    size: int
    """Entries in it."""
    root: str
    """Its root hash, hexadecimal."""
    keys: tuple[str, ...]
    """Public keys, oldest first."""
    bundles: int
    """Transactions that wrote it."""
    payloads: int
    """Payloads that are still kept."""
    erased: int
    """Payloads that were erased."""
    checkpoints: int
    """Retained checkpoints that it was held to."""
    pinned: bool
    """Whether it was held to a key given from outside; if not, somebody could have replaced all of it."""


def verify(
    reader: LogReader,
    *,
    key: Verifier | None = None,
    notes: Sequence[tuple[str, str]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check everything. `key` has to have signed the log; `notes` are retained checkpoints, each where it came from
    and its text; `progress` is told entries done and in all.

    Raises `Corrupt`, with the index of the first bad entry, `RolledBack` when a checkpoint is not contained, and
    `WrongKey` when `key` has signed nothing here.
    """
    with reader.snapshot():
        walk = _Walk(reader, key, progress)
        try:
            with no_nonsense(reader.where):
                walk.run()
        except Corrupt as error:
            if error.index is not None:
                raise
            raise Corrupt(f"from entry {walk.tree.size} on: {error}", index=walk.tree.size) from error
        for where, text in notes:
            checkpoint = retained.open_note(text, walk.keys, where)
            retained.check(checkpoint, reader, where)
            if key is not None and not walk.pinned and retained.signed_by(text, key):
                walk.pinned = True
        if key is not None and not walk.pinned:
            raise WrongKey(f"nothing in this log is signed by `{key.text}`; it was made with another key, or replaced")
        return Verified(
            origin=walk.origin,
            size=walk.tree.size,
            root=walk.tree.root().hex(),
            keys=tuple(each.text for each in walk.keys),
            bundles=walk.bundles,
            payloads=walk.payloads,
            erased=walk.erased,
            checkpoints=len(notes),
            pinned=walk.pinned,
        )


class _Walk:
    """One pass over a log."""

    def __init__(self, reader: LogReader, key: Verifier | None, progress: Callable[[int, int], None] | None) -> None:
        self.reader = reader
        self.key = key
        self.progress = progress
        self.tree = Tree()
        self.keys: list[Verifier] = []
        self.pinned = False
        self.origin = ""
        self.bundles = self.payloads = self.erased = 0
        self._sessions = self._nodes = 0
        self._fingerprints = array("Q")
        self._erasures: set[Digest] = set()
        self._retained_us = 0
        self._retained_to = 0

    def run(self) -> None:
        self.origin = self.reader.meta("origin")
        row = self.reader.one(schema.GET_META, POSITION)
        self._retained_to = 0 if row is None else int(row[0])
        fault: Corrupt | None = None
        size = 0
        try:
            size = self.reader.head().size
            self._collect_erasures()
        except Corrupt as error:
            # Something is wrong further on; going through the log tells where it begins.
            fault = error
            self._retained_us = _EVER
        for bundle in self.reader.bundles():
            self._bundle(bundle)
            if self.progress is not None:
                self.progress(self.tree.size, size)
        if fault is not None:
            raise fault
        self._whole()

    def _collect_erasures(self) -> None:
        """What the log says was erased, found by its index: the pass itself then vouches for these very entries."""
        for record in self.reader.own_records():
            if isinstance(record.event, PayloadErased):
                self._erasures.add(record.event.payload)
            elif isinstance(record.event, RetentionApplied):
                self._retained_us = max(self._retained_us, record.event.before_us)

    def _bundle(self, bundle: Bundle) -> None:
        first = bundle.first
        # 1 continuity
        if first != self.tree.size:
            what = "is missing" if first > self.tree.size else "is there twice"
            raise Corrupt(f"entry {min(first, self.tree.size)} {what}", index=min(first, self.tree.size))
        # 2 and 3 events against their hashes
        lines = bundle.events.split(b"\n")
        leaves = [bundle.leaves[at : at + HASH_BYTES] for at in range(0, len(bundle.leaves), HASH_BYTES)]
        for index, (line, leaf) in enumerate(zip(lines, leaves, strict=False), first):
            if leaf_hash(line) != leaf:
                raise Corrupt(f"entry {index} is not what was recorded: its bytes do not fit its hash", index=index)
        if not len(lines) == len(leaves) == bundle.count:
            index = first + min(len(lines), len(leaves), max(bundle.count, 0))
            raise Corrupt(f"entry {index}: entries are missing or left over", index=index)
        # 4 and 5 the tree head
        last = first + bundle.count - 1
        runs = self.tree.extend(leaves)
        root = self.tree.root()
        if root != bundle.root:
            raise Corrupt(
                f"entries {first} to {last} do not lead to the tree head stored with them: one was changed, removed, "
                "moved or added together with its hash",
                index=first,
            )
        found = list(records(bundle))
        if first == 0:
            self._opened(found[0])
        signed_by = self.keys[-1]
        try:
            signed_by.verify(Checkpoint(self.origin, self.tree.size, root).body(), bundle.signature)
        except Corrupt as error:
            raise Corrupt(f"entries {first} to {last}: {error}", index=first) from error
        self.pinned = self.pinned or (self.key is not None and self.key.text == signed_by.text)
        # 6 and 7 the events and their payloads
        for record in found:
            self._event(record, last)
            self._payloads(record)
        # 8 what follows from them
        self._index(bundle, found)
        self._stored_hashes(runs)
        self._fingerprints.extend(array("Q", bundle.leaves)[:: HASH_BYTES // 8])
        self.bundles += 1

    def _opened(self, record: Record) -> None:
        event = record.event
        if not isinstance(event, LogOpened) or event.origin != self.origin:
            raise Corrupt("entry 0 does not open the log of this name", index=0)
        self.keys.append(Verifier(event.key))
        if self.keys[0].name != self.origin:
            raise Corrupt("entry 0 states a key of another log", index=0)

    def _event(self, record: Record, last: int) -> None:
        event = record.event
        if isinstance(event, LogOpened) and record.index:
            raise Corrupt(f"entry {record.index} opens the log a second time", index=record.index)
        if isinstance(event, KeyRotated):
            following = Verifier(event.key)
            if record.index != last or following.name != self.origin:
                raise Corrupt(f"entry {record.index} changes the key where none may change", index=record.index)
            self.keys.append(following)

    def _payloads(self, record: Record) -> None:
        for stored in record.payloads:
            if stored.data is None:
                if stored.ref.digest not in self._erasures and record.event.at_us >= self._retained_us:
                    raise Corrupt(
                        f"entry {record.index}: a payload is gone, and no entry says that it was erased",
                        index=record.index,
                    )
                self.erased += 1
                continue
            if payload_digest(stored.salt, stored.data) != stored.ref.digest:
                raise Corrupt(f"entry {record.index}: a payload is not what was recorded", index=record.index)
            if stored.ref.digest in self._erasures:
                raise Corrupt(f"entry {record.index}: a payload recorded as erased is still there", index=record.index)
            if record.index < self._retained_to:
                raise Corrupt(
                    f"entry {record.index}: a payload is still there that retention has passed by", index=record.index
                )
            self.payloads += 1

    def _index(self, bundle: Bundle, found: list[Record]) -> None:
        ids = [record.event.id for record in found]
        digests = digest_prefixes([stored.ref for record in found for stored in record.payloads])
        sessions = {record.event.session or "" for record in found}
        wrong = self.reader.one(schema.LOOKUP_AT, bundle.first) != (min(ids), max(ids), digests)
        for session in sessions:
            wrong = wrong or self.reader.one(schema.SESSION_HAS, bundle.first, session) != (1,)
        if wrong:
            raise Corrupt(f"entry {bundle.first}: the index does not agree with the log", index=bundle.first)
        self._sessions += len(sessions)

    def _stored_hashes(self, runs: list[Run]) -> None:
        for run in runs:
            row = self.reader.one(schema.NODE_AT, run.level, run.start)
            stored = b"" if row is None else bytes(row[0])
            for at, made in enumerate(run.hashes):
                if stored[at * HASH_BYTES : (at + 1) * HASH_BYTES] != made:
                    index = (run.start + at) << run.level
                    raise Corrupt(f"entry {index}: a stored hash of the tree is wrong", index=index)
            if len(stored) != HASH_BYTES * len(run.hashes):
                raise Corrupt(f"entry {self.tree.size - 1}: stored hashes are left over", index=self.tree.size - 1)
        self._nodes += len(runs)

    def _whole(self) -> None:
        counts = ((schema.COUNT_LOOKUP, self.bundles), (schema.COUNT_SESSION, self._sessions))
        for query, expected in (*counts, (schema.COUNT_NODE, self._nodes)):
            if self.reader.one(query) != (expected,):
                raise Corrupt(
                    f"the index names entries after {self.tree.size - 1} that are missing, or others that never were",
                    index=self.tree.size,
                )
        if not 0 <= self._retained_to <= self.tree.size:
            raise Corrupt("the database states that retention is where no entry is", index=self.tree.size)
        if self.reader.meta("key") != self.keys[-1].text:
            raise Corrupt("the database states another key than the log's newest", index=self.tree.size - 1)
        self._duplicates()
        fault = self.reader.fault()
        if fault is not None:
            raise Corrupt(f"the database itself is damaged: {fault}; restore it from a backup")

    def _duplicates(self) -> None:
        prints = self._fingerprints
        for part in range(_PARTS):
            mine = sorted(each for each in prints if each % _PARTS == part)
            for each in (one for one, other in pairwise(mine) if one == other):
                earlier = prints.index(each)
                index = prints.index(each, earlier + 1)
                # The fingerprint is a part of the hash; the whole of it decides.
                if self.reader.hashes(0, index, index + 1) == self.reader.hashes(0, earlier, earlier + 1):
                    raise Corrupt(f"entry {index} repeats entry {earlier}: it was replayed", index=index)
