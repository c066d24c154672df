"""Memories: what an agent's tools store, kept track of so that it comes back with the label it was stored with.

A call of a tool whose contract stores into a memory makes an *item*: its content as keyed hashes (`flow.kept`), its
label, whether some source said it, whose it is, and until when it counts. It is committed with the decision, before
the tool runs. Two cells hold it, and neither its text: `memory/…` what it is, and the one that goes with the payload of
the decision (`fiducial.core.store.text_key`) its hashes, so that whoever erases that payload erases them too.

What comes back of it is told in `fiducial.guard.recall`.

Other processes store and erase while this one runs. Items are spread over shelves, each with a counter that grows in
the same transaction, as in `fiducial.guard.laundry`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from fiducial.charter.model import Memories as Declared
from fiducial.core.clock import Clock
from fiducial.core.event import CallDecided, CallFinished, Event, ResultObserved
from fiducial.core.ids import DecisionId, Digest
from fiducial.core.oversight import CaptureTaken
from fiducial.core.path import PathPattern
from fiducial.core.store import Add, Commit, Put, Store, text_key
from fiducial.errors import StoreError
from fiducial.flow.kept import Kept, hash_of
from fiducial.flow.memory import Outside, as_it_is
from fiducial.guard.recall import Item, Reader, Recall
from fiducial.guard.record import DecisionRecord, decode_decision, decode_result
from fiducial.store.bundle import Record
from fiducial.store.ledger import Ledger

_ITEMS, _COUNTS, _CLASSES = "memory/", "memory-count/", "memory-class/"
_EVERYBODY = "all"
_SWEPT = 64
"""Expired items that one call drops at most."""
MAX_HELD = 256 * 2**20
"""Bytes of hashes that are held ready, of the users whose turn was last."""


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


class _Shelf(NamedTuple):
    """Items whose ids end alike; never changed."""

    version: int
    """Of its counter."""
    items: dict[str, tuple[Item, Kept]]
    """By the keys of their cells."""

    @property
    def size(self) -> int:
        """Bytes of its hashes."""
        return sum(kept.size for _, kept in self.items.values())

    def without(self, keys: Collection[str]) -> _Shelf:
        """The same, with fewer items."""
        return self._replace(items={key: one for key, one in self.items.items() if key not in keys}) if keys else self


_EMPTY = _Shelf(0, {})


class Memories:
    """The memories of one store."""

    def __init__(self, store: Store, clock: Clock, key: bytes) -> None:
        self._store, self._clock, self._key = store, clock, key
        self._lock = threading.Lock()
        self._places: OrderedDict[str, dict[str, _Shelf]] = OrderedDict()
        """User's place in a memory → its shelves, the place that was looked at last at the end. What is in it never
        changes, and is exchanged under the lock."""
        self._held = 0
        """Bytes of all."""

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
            *(Put(f"{_CLASSES}{item.memory}/{each}", b"1") for each in (*item.classes, *item.read)),
            Add(f"{_COUNTS}{shelf}", 1),
            *self._swept(place),
        )

    def _swept(self, place: str) -> Iterator[Put | Add]:
        """The end of items that have expired, among those that are known here."""
        now = self._clock.unix_us()
        over: list[tuple[str, Item]] = []
        with self._lock:
            shelves = dict(self._places.get(place, {}))
            for name, shelf in shelves.items():
                gone = {key: item for key, (item, _) in shelf.items.items() if item.expires_us <= now}
                gone = dict([*gone.items()][: _SWEPT - len(over)])
                over += gone.items()
                shelves[name] = shelf.without(gone)
            if over:
                self._hold(place, shelves)
        for key, item in over:
            yield Put(key, None)
            yield Put(text_key(item.payload), None)

    def recall(
        self,
        memory: str,
        declared: Declared,
        user: str,
        at: tuple[PathPattern, ...],
        *,
        at_us: int | None = None,
        outside: Outside = as_it_is,
    ) -> Recall:
        """For a result of a tool that recalls from `memory`. `at_us`: as of then, and not of now. `outside`: what is
        read masked, with its values.

        Raises `StoreError` when the store cannot be read.
        """
        prefix = f"{_CLASSES}{memory}/"
        ever = frozenset(key.removeprefix(prefix) for key in self._store.scan(prefix))
        owner = self.owner(user)
        found = self._found(f"{memory}/{_shelf_owner(declared, owner)}")
        # What another process has stored just now may lie in the future of this one's clock.
        now, since = (self._clock.unix_us(), None) if at_us is None else (at_us, at_us)
        alive = [one for one in found if now < one[0].expires_us and (since is None or one[0].stored_us <= since)]
        reader = Reader(owner, declared.trust == "organization")
        return Recall(alive, reader, at, self._key, ever, self._store, outside)

    def _found(self, place: str) -> list[tuple[Item, Kept]]:
        """Every item at `place` that was not erased."""
        counters = self._store.scan(f"{_COUNTS}{place}/")
        with self._lock:
            before = self._places.get(place, {})
        shelves: dict[str, _Shelf] = {}
        for key, cell in counters.items():
            name = key.removeprefix(_COUNTS)
            known = before.get(name, _EMPTY)
            shelves[name] = known if known.version == cell.version else self._load(name, cell.version, known)
        with self._lock:
            self._hold(place, shelves)
        return [one for shelf in shelves.values() for one in shelf.items.values()]

    def _hold(self, place: str, shelves: dict[str, _Shelf]) -> None:
        """Hold `shelves` ready; those of others give way. With the lock held."""
        self._held -= sum(shelf.size for shelf in self._places.pop(place, {}).values())
        self._places[place] = shelves
        self._held += sum(shelf.size for shelf in shelves.values())
        while self._held > MAX_HELD and len(self._places) > 1:
            _, dropped = self._places.popitem(last=False)
            self._held -= sum(shelf.size for shelf in dropped.values())

    def _load(self, name: str, version: int, known: _Shelf) -> _Shelf:
        cells = self._store.scan(f"{_ITEMS}{name}/")
        items = {key: decoded(key, cell.value) for key, cell in cells.items()}
        new = {text_key(item.payload): key for key, item in items.items() if key not in known.items}
        found = {key: one for key, one in known.items.items() if key in items}
        for cell_key, cell in self._store.read([*new]).items():
            try:
                found[new[cell_key]] = items[new[cell_key]], Kept.decode(cell.value)
            except ValueError as error:
                message = f"the cell `{cell_key}` cannot be read ({error}); run `fiducial store check`"
                raise StoreError(message) from None
        return _Shelf(version, found)

    def nothing(self, at: tuple[PathPattern, ...], classes: frozenset[str]) -> Recall:
        """For a result of which nothing can be known, as the store cannot be read: it may have any of `classes`."""
        return Recall((), Reader("", trusts_all=False), at, self._key, classes)

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
        """Erase an item and what the log holds of it, expired or not: the call that stored it, each time it was asked
        for in that session; the states that were kept before that tool's calls since then; and every result in which
        something of it came back. What a tool itself has stored is its own to delete. False when nothing was left.

        Calls whose state is erased cannot be undone any more. Goes through the log twice. Raises `StoreError` when the
        store cannot erase; it can be tried again.
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
        """The payloads that hold the text of an item, or some of it, and were not erased; last, that of the call that
        stored it, by which the others are found."""
        assert isinstance(self._store, Erases)
        self._store.flush()
        with self._store.ledger() as ledger:
            stored = next((each for each in ledger.entries() if _stores(each.event, item)), None)
            others = {key.rpartition("/")[2] for key in self._store.scan(_ITEMS)} - {item}
            holds = _Holds(item, stored, others)
            found = [
                payload.ref.digest
                for record in ledger.entries()
                for payload in record.payloads
                if payload.data is not None and holds(record, payload.data)
            ]
        own = {payload.ref.digest for payload in stored.payloads} if stored is not None else set[Digest]()
        return sorted(found, key=own.__contains__)


def _stores(event: Event, item: str) -> bool:
    return isinstance(event, CallDecided) and event.decision == item


class _Holds:
    """Which payloads hold the text of an item, asked about the entries of a log in their order."""

    def __init__(self, item: str, stored: Record | None, others: Collection[str]) -> None:
        """`others`: items that are to stay, even if they say the same."""
        self._item, self._stored, self._others = item, stored, others
        self._call = _call(stored) if stored is not None else None
        self._kept: set[DecisionId] = set()
        """Calls of the same tool since the item was stored, and that call itself."""

    def __call__(self, record: Record, data: bytes) -> bool:
        event, stored = record.event, self._stored
        if isinstance(event, (CallFinished, ResultObserved)):
            return self._item.encode() in data and self._item in decode_result(data).recalled
        if stored is None or not isinstance(stored.event, CallDecided):
            return False
        if isinstance(event, CallDecided) and event.tool == stored.event.tool:
            if record.index >= stored.index:
                self._kept.add(event.decision)
            return record.index == stored.index or (event.decision not in self._others and self._same(event, data))
        return isinstance(event, CaptureTaken) and event.decision in self._kept

    def _same(self, event: CallDecided, data: bytes) -> bool:
        """The same call was asked for before, or is again. What was masked when it was stored, no longer tells."""
        stored = self._stored
        assert stored is not None
        assert isinstance(stored.event, CallDecided)
        if event.session != stored.event.session:
            return False
        if stored.event.masks:
            return event.verdict != "allowed"
        return self._call is not None and decode_decision(data).arguments == self._call.arguments


def _call(stored: Record) -> DecisionRecord | None:
    """The call in an entry; `None` where it was erased."""
    return next((decode_decision(each.data) for each in stored.payloads if each.data is not None), None)


def _shelf_owner(declared: Declared, user: str) -> str:
    return user if declared.audience == "self" else _EVERYBODY


def decoded(key: str, value: bytes) -> Item:
    """The item in a cell. Raises `StoreError` when it is none, so that whoever relies on it stops."""
    try:
        return msgspec.json.decode(value, type=Item, strict=True)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the cell `{key}` cannot be read ({error}); run `fiducial store check`") from None


__all__ = ["Memories", "decoded"]
