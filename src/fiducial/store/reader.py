"""Reading a log from its database: bundles, stored hashes and the index, each as one call.

Everything here returns what is stored and believes it; `fiducial.store.verify` is what checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple

from fiducial.core.event import KeyRotated, LogOpened, LogRestored, RollbackAccepted
from fiducial.core.ids import SessionId
from fiducial.core.store import Cell
from fiducial.errors import Corrupt, StoreClosed, StoreError
from fiducial.store import schema
from fiducial.store.bundle import DIGEST_PREFIX, Bundle, Record, StoredPayload, records
from fiducial.store.checkpoint import Verifier
from fiducial.store.merkle import HASH_BYTES, Subtrees
from fiducial.store.rows import Rows

_PAGE_BYTES = 1024 * 1024
"""How much is read ahead when going through the log: enough to make queries cheap, little enough for any machine."""
_KEYS = 500
"""State keys that one query asks for; SQLite bounds the parameters of a statement."""
_STATE_KEYS = tuple(str(kind.__struct_config__.tag).encode() for kind in (LogOpened, KeyRotated))
"""How events that state a key of the log are named in it."""
_SET_BACK = tuple(str(kind.__struct_config__.tag).encode() for kind in (LogRestored, RollbackAccepted))


@contextmanager
def no_nonsense(where: str) -> Iterator[None]:
    """Within it, values that are not of the type which the schema gives them are `Corrupt`, not a crash.

    SQLite keeps any value in any column, and a damaged schema gives columns other meanings.
    """
    try:
        yield
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise Corrupt(f"the database `{where}` holds values of the wrong type; restore it from a backup") from error


class Head(NamedTuple):
    """The newest signed tree head."""

    size: int
    root: bytes
    signature: bytes


class LogReader:
    """Reads through one connection, from any thread. Raises `StoreError` for whatever the database raises."""

    def __init__(self, source: Rows, lock: RLock | None = None, *, ended: Callable[[], None] | None = None) -> None:
        """`lock` is taken around every read, for a connection that others use too. `ended` raises why it was closed,
        when that is known."""
        self._source: Rows | None = source
        self._lock = lock or RLock()
        self._ended = ended
        self.where = source.where
        """The database, for messages."""

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._source is not None:
                self._source.close()
                self._source = None

    def rows(self, sql: str, *parameters: Any, budget: int | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query; with a `budget`, only the first whose blobs fit into that many bytes, at least one."""
        with self._lock:
            return self._open().fetch(sql, parameters, budget)

    def _open(self) -> Rows:
        if self._source is None:
            if self._ended is not None:
                self._ended()
            raise StoreClosed(f"the database `{self.where}` is closed; open it again")
        return self._source

    def fault(self) -> str | None:
        """What is wrong with the database itself; `None` when nothing is."""
        with self._lock:
            return self._open().fault()

    def one(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """The first row of a query."""
        found = self.rows(sql, *parameters)
        return found[0] if found else None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within it, everything read is as of one instant, whatever is written meanwhile."""
        with self._lock:
            source = self._open()
            if source.inside:
                yield
                return
            source.begin()
            try:
                yield
            finally:
                if self._source is not None:
                    source.end()

    def cells(self, keys: Sequence[str]) -> Mapping[str, Cell]:
        """The cells of those `keys` that exist, as of one instant."""
        wanted = sorted(set(keys))
        rows: list[tuple[Any, ...]] = []
        with self.snapshot():
            for at in range(0, len(wanted), _KEYS):
                part = wanted[at : at + _KEYS]
                numbered = ",".join(f"?{number}" for number in range(1, len(part) + 1))
                rows += self.rows(schema.GET_STATES.format(numbered), *part)
        return {key: Cell(value, version) for key, value, version in rows}

    def scan(self, prefix: str) -> Mapping[str, Cell]:
        """Every cell whose key starts with `prefix`, as of one instant, in key order."""
        rows = self.rows(schema.SCAN_STATE, *schema.span(prefix))
        return {key: Cell(value, version) for key, value, version in rows}

    def meta(self, name: str) -> str:
        """A fact about the log. Raises `Corrupt` when it is missing."""
        row = self.one(schema.GET_META, name)
        if row is None or not isinstance(row[0], str):
            raise Corrupt(f"the database `{self.where}` does not say its {name}; restore it from a backup")
        return row[0]

    def head(self) -> Head:
        """The newest tree head. Raises `Corrupt` when the log has no entry at all."""
        row = self.one(schema.LAST_HEAD)
        if row is None:
            raise Corrupt(f"the database `{self.where}` holds no entry; restore it from a backup", index=0)
        first, count, root, signature = row
        sound = isinstance(first, int) and isinstance(count, int)
        if not (sound and isinstance(root, bytes) and isinstance(signature, bytes)):
            raise Corrupt(f"entry {first}: its tree head is damaged", index=first)
        return Head(first + count, root, signature)

    def first_before(self, index: int) -> int:
        """First entry of the bundle that entry `index` stands in or comes after; `index` itself in an empty log."""
        row = self.one(schema.FIRST_AT_OR_BEFORE, index)
        return index if row is None or row[0] is None else int(row[0])

    def bundles(self, start: int = 0, *, payloads: bool = True) -> Iterator[Bundle]:
        """Bundles in order, from the one that holds entry `start`."""
        first = self.first_before(start)
        columns = schema.WITH_PAYLOADS if payloads else schema.WITHOUT_PAYLOADS
        while page := self.rows(columns + schema.FROM_FIRST, first, budget=_PAGE_BYTES):
            for fields in page:
                yield _bundle(fields)
            first = page[-1][0] + 1

    def bundle(self, first: int, *, payloads: bool = True) -> Bundle:
        """The bundle whose first entry is `first`. Raises `Corrupt` when the index names one that is not there."""
        row = self.one((schema.WITH_PAYLOADS if payloads else schema.WITHOUT_PAYLOADS) + schema.AT_FIRST, first)
        if row is None:
            raise Corrupt(f"entry {first} is missing; run `fiducial log verify`", index=first)
        return _bundle(row)

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored hashes of the tree: `fiducial.store.merkle.Hashes`."""
        if level:
            begin = None
            rows = self.rows(schema.NODES, level, start, stop)
        else:
            begin = self.first_before(start)
            rows = self.rows(schema.LEAVES, begin, stop)
        found: list[bytes] = []
        for first, hashes in rows:
            begin = first if begin is None else begin
            at = begin + len(found)
            if first != at or not hashes or len(hashes) % HASH_BYTES:
                raise Corrupt(f"entry {at << level}: hashes are missing; run `fiducial log verify`", index=at << level)
            found += [hashes[offset : offset + HASH_BYTES] for offset in range(0, len(hashes), HASH_BYTES)]
        return [] if begin is None else found[start - begin : stop - begin]

    def subtrees(self, size: int) -> Subtrees:
        """Roots within the tree of the first `size` entries."""
        return Subtrees(self.hashes, size)

    def bundles_of(self, session: str) -> list[int]:
        """First entries of the bundles that hold events of `session`; the empty name is the log's own."""
        return [row[0] for row in self.rows(schema.SESSION_BUNDLES, session)]

    def own_records(self) -> Iterator[Record]:
        """What the log says about itself: keys, erasures, retention."""
        for first in self.bundles_of(""):
            for record in records(self.bundle(first, payloads=False)):
                if record.event.session is None:
                    yield record

    def keys(self) -> list[Verifier]:
        """Every public key the log has had, oldest first, as its own entries state. Raises `WrongKey` on garbage."""
        return [key for _, _, key in self.stated_keys()]

    def stated_keys(self) -> Iterator[tuple[Bundle, Record, Verifier]]:
        """Every entry that states a key, in order, with its bundle and the key. Raises `WrongKey` on garbage."""
        # The log's own events are among everything that happens outside sessions, such as people signing in: the
        # database looks for the few bundles that name a kind which states a key, and only those are decoded.
        for (first,) in self.rows(schema.OWN_MENTIONS, *_STATE_KEYS):
            bundle = self.bundle(first, payloads=False)
            for record in records(bundle):
                if isinstance(record.event, LogOpened | KeyRotated):
                    yield bundle, record, Verifier(record.event.key)

    def set_back(self) -> Record | None:
        """The last time that the log went on from an older copy of itself; what came after that copy is not in it."""
        for (first,) in reversed(self.rows(schema.OWN_MENTIONS, *_SET_BACK)):
            for record in reversed([*records(self.bundle(first, payloads=False))]):
                if isinstance(record.event, LogRestored | RollbackAccepted):
                    return record
        return None

    def find_event(self, event: str) -> Record | None:
        """The event with that id."""
        with self.snapshot():
            for (first,) in self.rows(schema.LOOKUP_ID, event, event):
                for record in records(self.bundle(first)):
                    if record.event.id == event:
                        return record
        return None

    def find_payloads(self, digest: str) -> list[tuple[int, StoredPayload]]:
        """Every place where a payload is kept: its bundle's first entry and itself."""
        try:
            prefix = bytes.fromhex(digest[DIGEST_PREFIX])
        except ValueError:
            prefix = b""
        if len(prefix) != 4 or not digest.startswith("sha256:"):
            raise StoreError(f"`{digest}` is not a payload's digest; `fiducial log show` gives them, as `sha256:…`")
        with self.snapshot():
            return [
                (first, payload)
                for (first,) in self.rows(schema.LOOKUP_DIGEST, prefix)
                for record in records(self.bundle(first))
                for payload in record.payloads
                if payload.ref.digest == digest
            ]

    def session_of_decision(self, decision: str) -> SessionId | None:
        """The session in which a decision was made.

        Decisions are not indexed. Their ids hold the time, as event ids do, so the search begins where events of that
        time begin, and at the beginning only when a clock that jumped hides it there.
        """
        since = self.one(schema.LOOKUP_SINCE, "evt" + decision[3:14])
        starts = [0] if since is None or since[0] is None else [int(since[0]), 0]
        for start in starts:
            at = start
            while (row := self.one(schema.MENTIONS, at, decision.encode())) is not None:
                for record in records(self.bundle(row[0], payloads=False)):
                    if getattr(record.event, "decision", None) == decision:
                        return record.event.session
                at = row[0] + 1
        return None


def _bundle(fields: tuple[Any, ...]) -> Bundle:
    first, count, root, signature, leaves, events, payloads = fields
    sound = all(isinstance(each, bytes) for each in (root, signature, leaves, events))
    sound = sound and isinstance(first, int) and isinstance(count, int)
    if not sound or not isinstance(payloads, bytes | None):
        raise Corrupt(f"entry {first}: a stored value has the wrong type", index=first)
    return Bundle(first, count, root, signature, leaves, events, payloads)
