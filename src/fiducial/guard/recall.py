"""What is known of what a tool has recalled: to which items its texts belong, and what label that gives them.

What a tool recalls is looked up among the items of its user (of all users, in a memory for the organization) that have
not expired (`fiducial.guard.memories`). Each text has

1. the label of every item that it is known from, joined;
2. no trust, unless it is surely from one, and that one is this user's own or the memory's `trust` is everybody's;
3. no trust and every class that was ever stored in the memory, where it is known from none.

A text that stands in no item is looked up line by line, as a file holds what several calls have stored.

In a memory of the user's alone the third kind is a *stray*: it may be somebody else's, and is not handed on.

What a text is found in is read again, in case it was erased meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from fiducial.core.ids import DecisionId, Digest, SessionId, SourceId
from fiducial.core.label import UNTRUSTED, Integrity, Label, join
from fiducial.core.path import Path, PathPattern
from fiducial.core.store import Store, text_key
from fiducial.errors import StoreError
from fiducial.flow.kept import Kept, Probe
from fiducial.flow.memory import Outside, Told, as_it_is
from fiducial.flow.structure import scalar_text


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
    read: tuple[str, ...]
    """Classes that the session had read beside, which it could hold unseen."""
    sources: tuple[SourceId, ...]
    """What it came from, in that session."""
    origin: str
    """The most worrying origin of its content: `user`, `record`, `derived`, `unknown`, `untrusted`."""
    grounded: bool
    """All that it claimed was said by a source then; never so where no policy of the charter asks for that."""
    stored_us: int
    expires_us: int

    @property
    def label(self) -> Label:
        """What whatever comes back of it is at best, to whoever stored it."""
        return Label(self.integrity, frozenset(self.classes), (SourceId(self.id), *self.sources))


class Reader(NamedTuple):
    """Who recalls."""

    owner: str
    """As `Item.user` names him; empty, where nothing can be known of anybody."""
    trusts_all: bool
    """What others have stored keeps its trust for him."""

    def label(self, item: Item) -> Label:
        """What whatever comes back of `item` to him is at best."""
        return item.label if self.trusts_all or item.user == self.owner else item.label | UNTRUSTED


class Recall:
    """What is known of the texts of one result."""

    def __init__(
        self,
        found: Iterable[tuple[Item, Kept]],
        reader: Reader,
        at: tuple[PathPattern, ...],
        key: bytes,
        ever: frozenset[str],
        store: Store | None = None,
        outside: Outside = as_it_is,
    ) -> None:
        """`ever`: every class that was stored in the memory. `store`: where it is looked whether an item is left.
        `outside`: what is read masked, with its values."""
        self._found = list(found)
        self._reader = reader
        self._at = at
        self._key = key
        self._store, self._outside = store, outside
        self._left: dict[DecisionId, bool] = {}
        self._unknown = Told(UNTRUSTED | Label(classes=ever), grounded=False)
        self._told: dict[str, Told] = {}
        self.strays = False
        """Some text is known from no item."""
        self.back: dict[DecisionId, None] = {}
        """Items of which something has come back, or may have."""
        self.read: set[str] = set()
        """Classes that what came back could hold unseen."""

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
            told = self._tell(text)
            if told is self._unknown and len(lines := [line for line in text.splitlines() if line.strip()]) > 1:
                told = self._tell_lines(lines)
            if told is self._unknown and (plain := scalar_text(self._outside(text))) != text:
                told = self.told(plain)
            self._told[text] = told
        self.strays = self.strays or told is self._unknown
        return told

    def strange(self, text: str) -> bool:
        """It is known from no item."""
        return self.told(text) is self._unknown

    def _tell(self, text: str) -> Told:
        probe = Probe(text, self._key)
        if not probe.words:
            return Told(Label(), grounded=True)
        known: list[Item] = []
        possible: list[Item] = []
        sure = False
        for item, kept in self._found:
            if kept.known(probe) and self._is_left(item):
                known.append(item)
                sure = sure or kept.surely(probe)
            elif kept.cut:
                possible.append(item)
        self.back.update(dict.fromkeys(item.id for item in (*known, *possible)))
        self.read.update(each for item in (*known, *possible) for each in item.read)
        if not known:
            return self._unknown
        label = join(map(self._reader.label, (*known, *possible)))
        return Told(label if sure else label | UNTRUSTED, grounded=any(item.grounded for item in known))

    def _tell_lines(self, lines: Iterable[str]) -> Told:
        told: list[Told] = []
        for line in dict.fromkeys(lines):
            told.append(self._tell(line))
            if told[-1] is self._unknown:
                return self._unknown
        return Told(join(each.label for each in told), grounded=all(each.grounded for each in told))

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


__all__ = ["Item", "Reader", "Recall"]
