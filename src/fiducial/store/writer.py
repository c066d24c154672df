"""Writing a log: one call a transaction, no threads. `SqliteStore` and `MemoryStore` say when.

A transaction is written in these steps:

    1  begin; if another process wrote since the last one, take up its tree and its key
    2  check each commit's preconditions, in order; one that fails keeps nothing and does not stop the others
    3  append the events of the rest to the tree, sign its new head
    4  insert the bundle, its index rows, the completed hashes of the tree, the changed state
    5  commit: on disk from here on; if it fails, the tree is what it was before
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from fiducial.core.canonical import canonical_bytes
from fiducial.core.event import Entry, KeyRotated, LogOpened
from fiducial.core.ids import Digest, EventId, mint
from fiducial.core.store import Receipt, text_key
from fiducial.errors import Corrupt, RolledBack, StoreError, WrongKey
from fiducial.store import schema
from fiducial.store.bundle import Part, Prepared, Record, joined, records
from fiducial.store.checkpoint import Checkpoint, Signer, Verifier, note
from fiducial.store.merkle import HASH_BYTES, Run, Tree, inclusion_proof, leaf_hash, verify_inclusion
from fiducial.store.reader import LogReader, no_nonsense
from fiducial.store.rows import SqliteTables, Tables
from fiducial.store.state import MISSING, Slot, outcomes

Answer: TypeAlias = Receipt | StoreError
"""What became of one commit."""


class _Row(NamedTuple):
    """What is inserted into the view `append`: a bundle, its index, and the first of the tree's completed hashes."""

    first: int
    entries: int
    root: bytes
    signature: bytes
    leaves: bytes
    events: bytes
    payloads: bytes
    first_id: str
    last_id: str
    digests: bytes
    sessions: str
    level: int | None
    start: int | None
    hashes: bytes | None


class LogWriter:
    """Appends to the log behind `tables`, from one thread at a time."""

    def __init__(self, tables: Tables, signer: Callable[[str], Signer]) -> None:
        """`signer` gives the private key for a public one, or raises `WrongKey`.

        Raises `Corrupt` when the end of the log does not verify, `WrongKey` when its key is not at hand.
        """
        self.tables = tables
        self.reader = LogReader(tables)
        self._where = tables.where
        self._find_signer = signer
        self._stale = True
        self._tree = Tree()
        self._signer: Signer
        self._signature: bytes | None = None  # of the newest head by that key, when it was just made
        with self.transaction():
            pass

    @property
    def size(self) -> int:
        """Entries in the log."""
        return self._tree.size

    @property
    def signer(self) -> Signer:
        """The key that holds now."""
        return self._signer

    def checkpoint(self) -> Checkpoint:
        """The newest tree head."""
        return Checkpoint(self._signer.verifier.name, self._tree.size, self._tree.root())

    def note(self) -> str:
        """The newest checkpoint, signed by the key that holds now."""
        checkpoint = self.checkpoint()
        signature = self._signature or self._signer.sign(checkpoint.body())
        return note(checkpoint, self._signer.verifier, signature)

    def keys(self) -> list[Verifier]:
        """Every public key the log has had, oldest first, each shown to stand in the tree that the key at hand signs.

        Raises `Corrupt` when one does not: somebody without a key changed what the database holds.
        """
        found = []
        for _, record, key in self.reader.stated_keys():
            _shown(self.reader, record, self._tree.size, self._tree.root())
            found.append(key)
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Steps 1 and 5 around what is done within. Raises `StoreError`, and keeps nothing, when any of it fails."""
        try:
            self.tables.begin_write()
            self._stale = self.tables.changed(self._tree) or self._stale
            if self._stale:
                with no_nonsense(self._where):
                    self._tree, self._signer = self._load()
                self._stale, self._signature = False, None
            before = self._tree, self._signer, self._signature
            try:
                yield
                self.tables.commit()
            except BaseException:
                self._tree, self._signer, self._signature = before
                raise
        except BaseException:
            self.tables.roll_back()
            raise

    def append(self, *entries: Entry) -> Receipt:
        """Steps 3 and 4 for what the store itself has to say, within the caller's transaction."""
        answer = self.put([Prepared(entries, own=True)])[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def adopt_key(self, signer: Signer) -> None:
        """Sign every later head by `signer`, within the caller's transaction, after the event that says so."""
        self.tables.run(schema.SET_META, "key", signer.verifier.text)
        self._signer, self._signature = signer, None

    def forget(self, payloads: Iterable[Digest]) -> None:
        """Delete what control state has of those `payloads`, within the caller's transaction."""
        for payload in payloads:
            self.tables.run(schema.DROP_STATE, text_key(payload))

    def extend(self, parts: Sequence[Part]) -> None:
        """Steps 3 and 4 for events that were accepted before, within the caller's transaction."""
        part = joined(parts)
        if part.count:
            self._tree, self._signature = _insert(self.tables, self._signer, self._tree, part)

    def put(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Steps 2 to 4, within the caller's transaction."""
        # 2 preconditions and changes
        faults, changed = outcomes(batch, self._slot)
        answers: list[Answer] = []
        kept: list[Prepared] = []
        size = self._tree.size
        for prepared, fault in zip(batch, faults, strict=True):
            if fault is not None:
                answers.append(fault)
                continue
            answers.append(Receipt(size, prepared.count))
            size += prepared.count
            kept.append(prepared)
        # 3 and 4
        self.extend([prepared.part() for prepared in kept])
        for key, each in changed.items():
            self.tables.run(schema.SET_STATE, key, each.value, each.version)
        return answers

    def _slot(self, key: str) -> Slot:
        row = self.reader.one(schema.GET_STATE, key)
        return MISSING if row is None else Slot(*row)

    def _load(self) -> tuple[Tree, Signer]:
        """The tree and the key as the database has them, once they are seen to belong together."""
        text = self.reader.meta("key")
        signer = self._find_signer(text)
        if signer.verifier.text != text or signer.verifier.name != self.reader.meta("origin"):
            raise WrongKey(
                f"the log `{self._where}` is signed by `{text}`, the key at hand is `{signer.verifier.text}`; "
                "restore the key file that belongs to this log"
            )
        head = self.reader.head()
        subtrees = self.reader.subtrees(head.size)
        if head.size < self._tree.size or subtrees.span(0, self._tree.size) != self._tree.root():
            raise RolledBack(
                f"the log `{self._where}` was cut off or rewritten while it was open; run `fiducial log verify`"
            )
        tree = subtrees.tree()
        if tree.root() != head.root:
            raise Corrupt(
                f"the end of the log `{self._where}` does not lead to its tree head; run `fiducial log verify`",
                index=head.size - 1,
            )
        # The head that records a rotation is signed by the key before it.
        newest = [*records(self.reader.bundle(self.reader.first_before(head.size), payloads=False))][-1].event
        signed_by = self._before(signer.verifier) if isinstance(newest, KeyRotated) else signer.verifier
        signed_by.verify(Checkpoint(signer.verifier.name, head.size, head.root).body(), head.signature)
        return tree, signer

    def _before(self, newest: Verifier) -> Verifier:
        """The key that held before `newest`, which the key at hand has signed nothing with yet.

        Each rotation has to be signed by the key before it, from the key that this process knew, or from the first
        one: otherwise whoever can write the database would state a key of their own, and sign the end of the log by it.
        """
        keys = [self._signer.verifier] if self._tree.size else []
        for bundle, record, key in self.reader.stated_keys():
            size = bundle.first + bundle.count
            if size <= self._tree.size:
                continue
            keys = keys or [key]
            keys[-1].verify(Checkpoint(newest.name, size, bundle.root).body(), bundle.signature)
            _shown(self.reader, record, size, bundle.root)
            if record.index:
                keys.append(key)
        if len(keys) < 2 or keys[-1].text != newest.text:
            raise Corrupt(f"the log `{self._where}` does not say how it came to its key; run `fiducial log verify`")
        return keys[-2]


def _shown(reader: LogReader, record: Record, size: int, root: bytes) -> None:
    """Raises `Corrupt` unless the bytes of `record` stand at its place in the tree of `size` with that `root`."""
    try:
        proof = inclusion_proof(reader.subtrees(size), record.index, size)
        verify_inclusion(leaf_hash(record.data), record.index, size, proof, root)
    except (Corrupt, ValueError) as error:
        raise Corrupt(
            f"entry {record.index} states a key and is not what was recorded; run `fiducial log verify`",
            index=record.index,
        ) from error


class SqliteWriter(LogWriter):
    """Appends to a log in SQLite, and judges the preconditions of what it appends."""

    tables: SqliteTables

    def write(self, batch: Sequence[Prepared]) -> list[Answer]:
        """All five steps; an answer for each commit. Raises `StoreError` when the database fails."""
        if not any(prepared.preconditions or prepared.changes for prepared in batch):
            answers = self._append_alone(batch)
            if answers is not None:
                return answers
        with self.transaction():
            return self.put(batch)

    def _append_alone(self, batch: Sequence[Prepared]) -> list[Answer] | None:
        """Steps 3 to 5 when there is nothing but events: one statement is a transaction by itself.

        `None`, and nothing is kept, when another process has appended since: its bundle stands where this one would.
        """
        answers: list[Answer] = []
        size = self._tree.size
        for prepared in batch:
            answers.append(Receipt(size, prepared.count))
            size += prepared.count
        part = joined([prepared.part() for prepared in batch])
        if part.count:
            tree, row, more = _extend(self._signer, self._tree, part)
            if more or not self.tables.append_alone(row):
                return None
            self._tree, self._signature = tree, row.signature
        return answers


def _insert(tables: Tables, signer: Signer, tree: Tree, part: Part) -> tuple[Tree, bytes]:
    """Add the events of `part`, at least one, as a bundle; returns the tree after it and the signature of its head."""
    tree, row, more = _extend(signer, tree, part)
    for run in more:
        tables.run(schema.ADD_NODE, *_node(run))
    tables.append(row)
    return tree, row.signature


def _extend(signer: Signer, tree: Tree, part: Part) -> tuple[Tree, _Row, list[Run]]:
    """Step 3: the tree with the events of `part`, what to append, and completed hashes beyond those in it."""
    first = tree.size
    tree = tree.copy()
    runs = tree.extend([part.leaves[at : at + HASH_BYTES] for at in range(0, len(part.leaves), HASH_BYTES)])
    root = tree.root()
    row = _Row(
        first,
        part.count,
        root,
        signer.sign(Checkpoint(signer.verifier.name, tree.size, root).body()),
        part.leaves,
        part.events,
        part.payloads,
        part.first_id,
        part.last_id,
        part.digests,
        canonical_bytes(part.sessions).decode(),
        *(_node(runs.pop(0)) if runs else (None, None, None)),
    )
    return tree, row, runs


def _node(run: Run) -> tuple[int, int, bytes]:
    return run.level, run.start, b"".join(run.hashes)


def begin_log(tables: Tables, signer: Signer, at_us: int) -> None:
    """Make the tables of a new log and its first entry, in one transaction; nothing when another process just did."""
    verifier = signer.verifier
    event = LogOpened(
        id=EventId(mint("evt", at_us // 1000)), session=None, at_us=at_us, origin=verifier.name, key=verifier.text
    )
    try:
        tables.begin_write()
        if tables.create():
            tables.run(schema.SET_META, "origin", verifier.name)
            tables.run(schema.SET_META, "key", verifier.text)
            _insert(tables, signer, Tree(), Prepared([Entry(event)], own=True).part())
        tables.commit()
    except BaseException:
        tables.roll_back()
        raise
