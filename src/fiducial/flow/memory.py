"""What one session has observed: its texts in lanes, one for each kind of source, and the tables beside them.

The user's words, the tools' records and untrusted text have a lane each (`index`); a result's leaves go into one or the
other as `labelling` says. Beside the lanes lie the entities that the user named, the session's `figures`, and the
values of `declared` data classes. All of it has a budget: past it values become unknown, never trusted.

Disguised values in untrusted text (`disguise`) are undone once, when the text is observed, and indexed beside it as
`Recovered`: nobody wrote them like that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, TypeAlias

from fiducial.core.ids import SourceId
from fiducial.core.label import MAX_SOURCES, TRUSTED, Integrity, Label
from fiducial.core.path import Path
from fiducial.flow import entities, lexer
from fiducial.flow.declared import Classed
from fiducial.flow.disguise import may_disguise, undisguised
from fiducial.flow.figures import NUMBERED, SHORT_NUMBER, Figures
from fiducial.flow.formats.parse import parse
from fiducial.flow.index import Chunk, Hit, Lane
from fiducial.flow.labelling import DISTRUST, PROSE, TRUST, OutputPaths, looks_like_record, said
from fiducial.flow.laundry import Echo, Laundered
from fiducial.flow.lexer import LEAF
from fiducial.flow.masking.tokens import stand_in
from fiducial.flow.structure import DEEP, Place, Root, leaves, path_of, root_of, scalar_text, untold
from fiducial.flow.trace import Where

_TAINTING_WORDS = 3
"""Words in one untrusted leaf that can carry an instruction."""
_TAINTING_TOTAL = 6
"""Words over all untrusted leaves of the session that can, put together."""
_NAMED_TEXT = 64 * 1024
"""Characters of the user's texts whose entities are laid ready for the fast path; the rest is found by search."""
_NAMED_MAX = 20_000
_PER_NAMED = 1024
_PER_SOURCE = 8 * 1024
"""Bytes of budget for each character whose entities are laid ready and each source that can be shown: so that the small
tables stay within the twentieth that the lanes leave them."""

MAX_DOCUMENT_NAME = 200
"""Characters of a document's id that count."""


class Recovered(Root):
    """The source of what a disguise says plainly. Never `pointed`: the plain form does not stand in the source."""

    __slots__ = ()


class Hearsay(Root):
    """The source of what the agent stored with no source that says it: it grounds nothing."""

    __slots__ = ()


def _moved(place: Place, root: Root) -> Place:
    """`place`, in another source."""
    keys: list[tuple[Any, ...]] = []
    while type(place) is tuple:
        keys.append(place[1:])
        place = place[0]
    twin: Place = root
    for key in reversed(keys):
        twin = (twin, *key)
    return twin


class Told(NamedTuple):
    """What is known of a text that a memory has brought back."""

    label: Label
    """At best what it was stored with."""
    grounded: bool
    """Some source said it when it was stored."""


class Recalls(Protocol):
    """Tells what is known of the texts of one result that a memory has brought back."""

    def covers(self, path: Path, *, key: bool) -> bool:
        """Such a text stands at `path`, or is the key there."""
        ...

    def told(self, text: str) -> Told:
        """What is known of it."""
        ...


Outside: TypeAlias = Callable[[Any], Any]
"""A text or JSON, masked → what stands there outside: values in the place of the tokens whose values are known."""


def as_it_is(value: Any) -> Any:
    """What is observed unmasked."""
    return value


class Memory:
    """The lanes and tables of one session."""

    def __init__(self, budget: int, laundered: Laundered | None, outside: Outside) -> None:
        # Fixed shares, so that no kind of source can use up another's room. A twentieth is for the small tables.
        self.user = Lane(budget * 25 // 100, number=0, folded=False)
        self.record = Lane(budget * 30 // 100, number=1, folded=False)
        self.untrusted = Lane(budget * 30 // 100, number=2, folded=True)
        self.classed = Classed(budget * 10 // 100)
        self.lanes = (self.user, self.record, self.untrusted)
        self.laundered, self._outside = laundered, outside
        self.roots: dict[str, Root] = {}
        self.seen: Label = TRUSTED
        self.tainted = False
        self._told: set[str] = set()
        self._words = 0
        """Of untrusted leaves, and how many words they say; each counted once, until the session is tainted."""
        self.recovered = False
        """Some disguise was undone in untrusted text."""
        self.pointed_any = False
        self.named: dict[str, Where] = {}
        self.figures = Figures(budget)
        self._named_left = min(_NAMED_TEXT, budget // _PER_NAMED)
        self._most_roots = budget // _PER_SOURCE

    # Texts

    def text(self, source: SourceId, text: str, lane: Lane, classes: frozenset[str]) -> Root:
        """Keep a message."""
        root = self._root(source, classes, pointed=False)
        if lane is self.untrusted:
            self._distrust(root, text)
            if text.strip():
                self.tainted = True
        else:
            lane.push(root, text)
        lane.flush()
        if lane is self.user:
            self._lay_out(source, text)
        if classes:
            self.classed.add(text, classes)
        return root

    def _written_out(self, laundered: Laundered, text: str) -> bool:
        """Whether `text` carries anything that was written out, as it is here or outside. What a token stands for that
        nobody can tell may be anything."""
        if laundered.holds(text):
            return True
        if not stand_in(text):
            return False
        plain = scalar_text(self._outside(text))
        return stand_in(plain) or laundered.holds(plain)

    def _root(self, source: SourceId, classes: frozenset[str], *, pointed: bool) -> Root:
        root = Root(source, pointed=pointed, classes=classes)
        if len(self.roots) < self._most_roots:
            self.roots[source] = root
        self.pointed_any |= pointed
        return root

    def _lay_out(self, root_id: SourceId, text: str) -> None:
        """Lay out the entities, numbers and dates of a user's text, so that looking them up costs one step."""
        if self.user.full or len(text) > self._named_left:
            return
        self._named_left -= len(text)
        # A text over a chunk lies in several; its entities are found by search.
        chunk = self.user.chunks[-1] if self.user.chunks else None
        start = chunk.text.rfind(LEAF + text.replace(LEAF, "\ufffd") + LEAF) if chunk is not None else -1
        if chunk is None or start < 0:
            return
        start += 1
        for low, high in _spans(text):
            value = text[low:high]
            if value not in self.named and len(self.named) < _NAMED_MAX:
                at = start + low
                if lexer.whole(chunk.text, at, start + high):
                    where = self.named[value] = Where(root_id, "$", low, high, Hit(chunk, at, start + high).handle)
                    canonical = entities.canonical_address(value)
                    if canonical is not None:
                        self.named.setdefault(canonical, where)
        self.figures.user(root_id, text, chunk, start)

    # Results

    def result(
        self,
        source: SourceId,
        value: Any,
        label: Label,
        paths: OutputPaths,
        *,
        pointed: bool,
        echo: Echo | None = None,
        recalls: Recalls | None = None,
    ) -> Label:
        """Keep a tool's result; returns its label."""
        root = self._root(source, label.classes, pointed=pointed)
        documents = paths.documents
        root.depth = documents.depth if documents is not None else 0
        if isinstance(value, bytes | bytearray | memoryview):
            value = scalar_text(value)
        parsed = parse(value) if isinstance(value, str) else value
        root.structured = not isinstance(parsed, str)
        everything = not label.trusted
        # Rule 4.
        vague = isinstance(value, str) and not root.structured and paths.doubtful
        rules: dict[int, tuple[int, frozenset[str]]] = {DEEP: (DISTRUST, frozenset(paths.classes))}
        ways: dict[int, bool] = {}
        laundered = self.laundered if self.laundered is not None and len(self.laundered) else None
        distrusted = False
        found_classes: set[str] = set(label.classes)
        trusted_push = self.record.push
        numerals: list[tuple[int, str]] = []
        told = False
        sources = dict.fromkeys((source, *label.sources))
        for place, shape, raw, key in leaves(parsed, root, exact_indices=paths.exact):
            rule = rules.get(shape)
            if rule is None:
                rule = rules[shape] = paths.rule(place, everything=everything, vague=vague)
            kind, leaf_classes = rule
            if key and kind == DISTRUST and not everything and shape != DEEP:
                known = ways.get(shape)
                if known is None:
                    known = ways[shape] = paths.knows(place)
                if known:
                    kind = TRUST
            text = raw if type(raw) is str else scalar_text(raw)
            if not text:
                if untold(raw):  # it may say anything to who reads it, an instruction too
                    distrusted = self.tainted = True
                continue
            if documents is not None and not key and documents.covers(path := path_of(place)):
                root.documents.setdefault(path[: root.depth], text[:MAX_DOCUMENT_NAME])
            if recalls is not None and recalls.covers(path_of(place), key=key):
                told_of = recalls.told(text)
                leaf_classes |= told_of.label.classes
                if len(sources) < MAX_SOURCES:
                    sources |= dict.fromkeys(told_of.label.sources)
                if not told_of.label.trusted:
                    kind = DISTRUST
                if not told_of.grounded:
                    place = _moved(place, Hearsay(root.id, pointed=root.pointed, classes=root.classes))
            if leaf_classes and (not key or entities.has_digit(text)):
                found_classes |= leaf_classes
                self.classed.add(text, leaf_classes)
            # Rule 3.
            if kind == PROSE:
                kind = TRUST if looks_like_record(text) else DISTRUST
            # Rule 5.
            if kind == TRUST and (
                (laundered is not None and self._written_out(laundered, text))
                or (echo is not None and echo.holds(text))
            ):
                kind = DISTRUST
            if kind == DISTRUST:
                self._distrust(place, text)
                distrusted = True
                if not self.tainted:
                    self.tainted = self._instructs(text) or not root.structured
                continue
            trusted_push(place, text)
            if key:
                continue
            if len(text) <= SHORT_NUMBER and (text[0].isdigit() or text[0] in "-+$€£¥"):
                numerals.append((shape, text))
                told = place is root
        self.record.flush()
        self.untrusted.flush()
        self.figures.records(numerals, told=told)
        integrity = Integrity.UNTRUSTED if distrusted or everything else Integrity.TRUSTED
        # Whoever can write into a list may have chosen how long it is.
        if isinstance(parsed, list) and integrity is Integrity.TRUSTED:
            self.figures.totals.append(Decimal(len(parsed)))
        return Label(integrity, frozenset(found_classes), tuple(sources)[:MAX_SOURCES])

    def _instructs(self, text: str) -> bool:
        """With the untrusted leaf `text`, a key or a value, the session has read what could be an instruction."""
        count = said(text, _TAINTING_WORDS)
        if not count or text in self._told:
            return False
        self._told.add(text)
        self._words += count
        return count >= _TAINTING_WORDS or self._words >= _TAINTING_TOTAL

    def _distrust(self, place: Place, text: str) -> None:
        self.untrusted.push(place, text)
        if len(text) < 6:
            if text.isdecimal():
                self.figures.untrusted(text)
            return
        if len(text) <= SHORT_NUMBER and text[0].isdigit():
            self.figures.untrusted(text)
        if may_disguise(text):
            origin = root_of(place)
            twin = _moved(place, Recovered(origin.id, classes=origin.classes))
            for plain in undisguised(text):
                self.untrusted.push(twin, plain)
                self.recovered = True
        if len(text) > SHORT_NUMBER:
            self.figures.untrusted_texts.append(text[:NUMBERED])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where entities of a user's text may stand; `whole` decides on each."""
    for match in _RUN.finditer(text):
        low, high = match.span()
        yield low, high
        start, end = low, high
        while start < end and text[start] in _EDGES:
            start += 1
        while end > start and text[end - 1] in _EDGES:
            end -= 1
        yield start, end
        if end - start > 2 and text[end - 2 : end] in ("'s", "’s"):
            yield start, end - 2
        if start < end and not text[start:end].isalnum():
            for word in lexer.WORD.finditer(text, start, end):
                yield word.span()
            for part in _LISTED.finditer(text, start, end):
                yield part.span()
    for match in entities.QUOTED.finditer(text):
        for group in range(1, 5):
            if match[group]:
                yield match.span(group)
    for match in entities.NAME.finditer(text):
        yield match.span()


_RUN = re.compile(r"\S{1,2048}")
_LISTED = re.compile(r"[^,;\s]+")
_EDGES = frozenset("\"'“”‘’«»‹›([{<>)]}*`~.,;:!?…#@$€£¥|—")


def texts_of(lane: Lane, root: Root) -> Iterable[tuple[Place, Chunk, int]]:
    """Every leaf of `root` in `lane`, in order."""
    for chunk in lane.chunks:
        for number in range(len(chunk.starts)):
            found = chunk.root(number)
            if found is root or (type(found) is Hearsay and found.id == root.id):
                yield chunk.place(number), chunk, number
