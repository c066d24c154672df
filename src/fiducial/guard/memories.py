"""Memories: what an agent's tools store, kept track of so that it comes back with the label it was stored with.

A call of a tool whose contract stores into a memory makes an *item*: its content as keyed hashes (`flow.kept`), its
label, whether some source said it, whose it is, and until when it counts. It is committed with the decision, before
the tool runs. Two cells hold it, and neither its text: `memory/…` what it is, and the one that goes with the payload of
the decision (`fiducial.core.store.text_key`) its hashes, so that whoever erases that payload erases them too.

What a tool recalls is looked up among the items of its user (of all users, in a memory for the organization) that have
not expired. Each text has

1. the label of every item that it is known from, joined;
2. no trust, unless it is surely from one;
3. no trust and every class that was ever stored in the memory, where it is known from none.

In a memory of the user's alone the third kind is a *stray*: it may be somebody else's, and is not handed on.

Other processes store and erase while this one runs. Items are spread over shelves, each with a counter that grows in
the same transaction, as in `fiducial.guard.laundry`; what a text is found in is read again, in case it was erased.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from fiducial.charter.model import Memories as Declared
from fiducial.core.clock import Clock
from fiducial.core.event import CallDecided, CallFinished, Event, ResultObserved
from fiducial.core.ids import DecisionId, Digest, SessionId, SourceId
from fiducial.core.label import UNTRUSTED, Integrity, Label, join
from fiducial.core.path import Path, PathPattern
from fiducial.core.store import Add, Commit, Put, Store, text_key
from fiducial.errors import StoreError
from fiducial.flow.kept import Kept, Probe, hash_of
from fiducial.flow.memory import Told
from fiducial.flow.structure import Root, leaves, scalar_text
from fiducial.guard.record import decode_result
from fiducial.store.ledger import Ledger

_ITEMS, _COUNTS, _CLASSES = "memory/", "memory-count/", "memory-class/"
_EVERYBODY = "all"
_SWEPT = 64
"""Expired items that one call drops at most."""


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call stored."""

    id: DecisionId
    """Of the decision on the call."""
    memory: str
    session: SessionId
    user: str
    """Digest of the user's name, keyed: whose it is."""
    payload: Digest
    """Of the decision: holds the text, until it is erased."""
    integrity: Integrity
    classes: tuple[str, ...]
    sources: tuple[SourceId, ...]
    """What it came from, in that session."""
    origin: str
    """The most worrying origin of its content: `user`, `record`, `derived`, `unknown`, `untrusted`."""
    grounded: bool
    """All that it claimed was said by a source then."""
    stored_us: int
    expires_us: int

    @property
    def label(self) -> Label:
        """What whatever comes back of it is at best."""
        return Label(self.integrity, frozenset(self.classes), (SourceId(self.id), *self.sources))


@runtime_checkable
class Erases(Protocol):
    """A store whose log can be read back and erased from."""

    def erase(self, payload: Digest, *, by: str, why: str) -> bool:
        """False when it was erased already."""
        ...

    def flush(self) -> None:
        """Wait until everything committed so far is in the log."""
        ...

    def ledger(self) -> Ledger:
        """The log."""
        ...


class Recall:
    """What is known of the texts of one result."""

    def __init__(
        self,
        found: Iterable[tuple[Item, Kept]],
        at: tuple[PathPattern, ...],
        key: bytes,
        ever: frozenset[str],
        store: Store | None = None,
    ) -> None:
        """`ever`: every class that was stored in the memory. `store`: where it is looked whether an item is left."""
        self._found = list(found)
        self._at = at
        self._key = key
        self._store = store
        self._left: dict[DecisionId, bool] = {}
        self._unknown = Told(UNTRUSTED | Label(classes=ever), grounded=False)
        self._told: dict[str, Told] = {}
        self.strays = False
        """Some text is known from no item."""
        self.back: dict[DecisionId, None] = {}
        """Items of which something has come back."""

    def covers(self, path: Path, *, key: bool) -> bool:
        """A text of the memory stands at `path`. A `key` is one unless the contract spells it out."""
        return any(pattern.covers(path) and not (key and pattern.names(path)) for pattern in self._at)

    def member(self, path: Path) -> Path:
        """What is left out of a result when what stands at `path` is: the member that the contract's wildcards go
        through; the whole result, where that is not deep enough."""
        depth = max((pattern.depth for pattern in self._at), default=0)
        return path[:depth] if len(path) >= depth else ()

    def told(self, text: str) -> Told:
        """What is known of a text."""
        told = self._told.get(text)
        if told is None:
            told = self._told[text] = self._tell(Probe(text, self._key))
        self.strays = self.strays or told is self._unknown
        return told

    def strange(self, text: str) -> bool:
        """It is known from no item."""
        return self.told(text) is self._unknown

    def _tell(self, probe: Probe) -> Told:
        if not probe.words:
            return Told(Label(), grounded=True)
        known: list[Item] = []
        possible: list[Item] = []
        sure = False
        for item, kept in self._found:
            surely = kept.surely(probe)
            if (surely or kept.known(probe)) and self._is_left(item):
                known.append(item)
                sure = sure or surely
            elif kept.cut:
                possible.append(item)
        if not known:
            return self._unknown
        self.back.update(dict.fromkeys(item.id for item in known))
        label = join(item.label for item in (*known, *possible))
        return Told(label if sure else label | UNTRUSTED, grounded=any(item.grounded for item in known))

    def _is_left(self, item: Item) -> bool:
        """It was not erased since it was loaded."""
        left = self._left.get(item.id)
        if left is None:
            try:
                left = self._store is not None and bool(self._store.read([text_key(item.payload)]))
            except StoreError:
                left = False
            self._left[item.id] = left
        return left


class Memories:
    """The memories of one store."""

    def __init__(self, store: Store, clock: Clock, key: bytes) -> None:
        self._store, self._clock, self._key = store, clock, key
        self._lock = threading.Lock()
        self._shelves: dict[str, tuple[int, dict[str, tuple[Item, Kept]]]] = {}
        """Shelf → the version of its counter, and what lies on it."""

    def owner(self, user: str) -> str:
        """The name under which the store knows a user."""
        return f"{hash_of(b'user', user, self._key):016x}"

    def changes(self, item: Item, declared: Declared, texts: Iterable[str]) -> tuple[Put | Add, ...]:
        """What keeps `item`, which says `texts`, to be committed with the decision to store it."""
        place = f"{item.memory}/{_shelf_owner(declared, item.user)}"
        shelf = f"{place}/{item.id[-1]}"
        return (
            Put(text_key(item.payload), Kept.of(texts, self._key).encode()),
            Put(f"{_ITEMS}{shelf}/{item.id}", msgspec.json.encode(item)),
            *(Put(f"{_CLASSES}{item.memory}/{each}", b"1") for each in item.classes),
            Add(f"{_COUNTS}{shelf}", 1),
            *self._swept(place),
        )

    def _swept(self, place: str) -> Iterator[Put | Add]:
        """The end of items that have expired, among those that are known here."""
        now = self._clock.unix_us()
        with self._lock:
            over = [
                (shelf, key, item)
                for shelf, (_, found) in self._shelves.items()
                if shelf.startswith(f"{place}/")
                for key, (item, _) in found.items()
                if item.expires_us <= now
            ][:_SWEPT]
            for shelf, key, _ in over:
                self._shelves[shelf][1].pop(key)
        for _, key, item in over:
            yield Put(key, None)
            yield Put(text_key(item.payload), None)

    def recall(
        self, memory: str, declared: Declared, user: str, at: tuple[PathPattern, ...], *, at_us: int | None = None
    ) -> Recall:
        """For a result of a tool that recalls from `memory`. `at_us`: as of then, and not of now.

        Raises `StoreError` when the store cannot be read.
        """
        now = self._clock.unix_us() if at_us is None else at_us
        prefix = f"{_CLASSES}{memory}/"
        ever = frozenset(key.removeprefix(prefix) for key in self._store.scan(prefix))
        found = self._found(f"{memory}/{_shelf_owner(declared, self.owner(user))}")
        return Recall(
            [one for one in found if one[0].stored_us <= now < one[0].expires_us], at, self._key, ever, self._store
        )

    def _found(self, place: str) -> list[tuple[Item, Kept]]:
        """Every item at `place` that was not erased."""
        with self._lock:
            counters = self._store.scan(f"{_COUNTS}{place}/")
            for key, cell in counters.items():
                shelf = key.removeprefix(_COUNTS)
                if self._shelves.get(shelf, (0, {}))[0] != cell.version:
                    self._shelves[shelf] = cell.version, self._load(shelf)
            return [one for key in counters for one in self._shelves[key.removeprefix(_COUNTS)][1].values()]

    def _load(self, shelf: str) -> dict[str, tuple[Item, Kept]]:
        before = self._shelves.get(shelf, (0, {}))[1]
        cells = self._store.scan(f"{_ITEMS}{shelf}/")
        items = {key: decoded(key, cell.value) for key, cell in cells.items()}
        new = {text_key(item.payload): key for key, item in items.items() if key not in before}
        found = {key: one for key, one in before.items() if key in items}
        for name, cell in self._store.read([*new]).items():
            try:
                found[new[name]] = items[new[name]], Kept.decode(cell.value)
            except ValueError as error:
                raise StoreError(f"the cell `{name}` cannot be read ({error}); run `fiducial store check`") from None
        return found

    def nothing(self, at: tuple[PathPattern, ...], classes: frozenset[str]) -> Recall:
        """For a result of which nothing can be known, as the store cannot be read: it may have any of `classes`."""
        return Recall((), at, self._key, classes)

    def items(self, memory: str, *, user: str | None = None) -> tuple[Item, ...]:
        """What is stored in `memory` and has not expired, oldest first; of one user, where one is named.

        Raises `StoreError` when the store cannot be read.
        """
        now, owner = self._clock.unix_us(), self.owner(user) if user is not None else None
        found = [decoded(key, cell.value) for key, cell in self._store.scan(f"{_ITEMS}{memory}/").items()]
        alive = self._store.read([text_key(item.payload) for item in found])
        return tuple(
            sorted(
                (
                    item
                    for item in found
                    if item.expires_us > now and text_key(item.payload) in alive and owner in (None, item.user)
                ),
                key=lambda item: (item.stored_us, item.id),
            )
        )

    def erase(self, item: str, *, by: str, why: str) -> bool:
        """Erase an item and what the log holds of it: the call that stored it, and every result in which something of
        it came back, expired or not. What a tool itself has stored is its own to delete. False when nothing was left.

        Goes through the log once. Raises `StoreError` when the store cannot erase; it can be tried again.
        """
        if not isinstance(self._store, Erases):
            raise StoreError("the store keeps nothing that could be erased")
        erased = False
        while held := self._holding(item):  # again: something of it may have come back meanwhile
            for each in held:
                erased |= self._store.erase(each, by=by, why=why)
        found = [key for key in self._store.scan(_ITEMS) if key.rpartition("/")[2] == item]
        counters = [Add(_COUNTS + key.removeprefix(_ITEMS).rpartition("/")[0], 1) for key in found]
        if found:
            self._store.commit(Commit(changes=(*(Put(key, None) for key in found), *counters))).result()
        return erased or bool(found)

    def _holding(self, item: str) -> list[Digest]:
        """The payloads that hold the text of an item, or some of it, and were not erased."""
        assert isinstance(self._store, Erases)
        self._store.flush()
        with self._store.ledger() as ledger:
            return [
                stored.ref.digest
                for record in ledger.entries()
                for stored in record.payloads
                if stored.data is not None and _holds(record.event, stored.data, item)
            ]


def _holds(event: Event, data: bytes, item: str) -> bool:
    """A payload of `event` is that of the call that stored the item, or of a result in which something of it is."""
    if isinstance(event, CallDecided):
        return event.decision == item
    if not isinstance(event, (CallFinished, ResultObserved)):
        return False
    return item.encode() in data and item in decode_result(data).recalled


def _shelf_owner(declared: Declared, user: str) -> str:
    return user if declared.audience == "self" else _EVERYBODY


def decoded(key: str, value: bytes) -> Item:
    """The item in a cell. Raises `StoreError` when it is none, so that whoever relies on it stops."""
    try:
        return msgspec.json.decode(value, type=Item, strict=True)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the cell `{key}` cannot be read ({error}); run `fiducial store check`") from None


def texts_in(values: Mapping[str, Any]) -> Iterator[str]:
    """Every text and number that a call stores."""
    for _, _, raw, _ in leaves(values, Root("stored"), exact_indices=False):
        if text := scalar_text(raw):
            yield text


__all__ = ["Item", "Memories", "Recall", "decoded", "texts_in"]
