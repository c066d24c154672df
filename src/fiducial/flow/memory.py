"""What one session has observed, labelled leaf by leaf.

How a result's leaves are labelled:

1. When the label of the call's own arguments is untrusted, every leaf is: what goes in comes out.
2. A leaf under an `untrusted` pattern, or under no pattern at all, is untrusted: a result that is wrapped, or has other
   members than the contract knows, is nobody's record there.
3. A leaf under a `prose` pattern is a trusted record only if it looks like one: one line, at most `PROSE_WORDS` words
   and `PROSE_CHARACTERS` characters, no address unless it is the whole value. Otherwise anyone may have written it.
4. A text that is not structured, although the contract says of parts of it that others could have written them, is
   untrusted unless it looks like a record: which part is whose cannot be told.
5. A trusted leaf that carries something that was written out from an untrusted source (`laundry`) is untrusted.
6. Any other leaf under a `trusted` pattern is the tool's own record; nested deeper than any real one, it is untrusted.

Keys are labelled like their members; one that a pattern names on its way to a member is the contract's own word.

Disguised values in untrusted text (`disguise`) are undone once, when the text is observed, and indexed beside it as
`Recovered`: nobody wrote them like that.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from fiducial.core.ids import SourceId
from fiducial.core.label import TRUSTED, Integrity, Label
from fiducial.core.path import PathPattern
from fiducial.flow import dates, lexer, numbers
from fiducial.flow.disguise import may_disguise, undisguised
from fiducial.flow.index import Chunk, Hit, Lane
from fiducial.flow.laundry import Laundered
from fiducial.flow.lexer import LEAF, fold, words
from fiducial.flow.structure import DEEP, Place, Root, leaves, parse, path_of, scalar_text
from fiducial.flow.trace import Where

PROSE_WORDS = 6
"""Words a short record may have: names, titles and cities have fewer; six words are the shortest useful instruction."""
PROSE_CHARACTERS = 64
_TAINTING_WORDS = 3
"""Words in one untrusted leaf that can carry an instruction."""
_TAINTING_TOTAL = 6
"""Words over all untrusted leaves of a result that can, put together."""
_NAMED_TEXT = 64 * 1024
"""Characters of the user's texts whose entities are laid ready for the fast path; the rest is found by search."""
_NAMED_MAX = 20_000
_SHORT_NUMBER = 24
_USER_NUMBERS = 32
_RECORD_NUMBERS = 32
_TOTALS = 32
_NUMBERED = 512
"""Characters of each of the latest untrusted texts whose numbers are tried in sums."""
_NUMERALS = 4096
"""Numbers and dates of one result that are laid out; the lists of a longer one are not totalled."""
_DATES = 4096
_PER_NAMED = 1024
_PER_DATE = 16 * 1024
_PER_SOURCE = 8 * 1024
"""Bytes of budget for each character whose entities are laid ready, each date and each source that can be shown: so
that the small tables stay within the twentieth that the lanes leave them."""

_NUMERIC = re.compile(r"[-+$€£¥]?\d[\d,]{0,17}(?:\.\d{1,9})?\s?%?")
_DATE_LEAF = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")

TRUST, DISTRUST, PROSE = 0, 1, 2


class Recovered(Root):
    """The source of what a disguise says plainly. Never `pointed`: the plain form does not stand in the source."""

    __slots__ = ()


def _recovered(place: Place) -> Place:
    """`place`, in a source of recovered text."""
    keys: list[tuple[Any, ...]] = []
    while type(place) is tuple:
        keys.append(place[1:])
        place = place[0]
    assert isinstance(place, Root)
    twin: Place = Recovered(place.id, classes=place.classes)
    for key in reversed(keys):
        twin = (twin, *key)
    return twin


class Memory:
    """The lanes and tables of one session."""

    def __init__(self, budget: int, laundered: Laundered | None) -> None:
        # Fixed shares, so that no kind of source can use up another's room. A twentieth is for the small tables.
        self.user = Lane(budget * 25 // 100, number=0, folded=False)
        self.record = Lane(budget * 30 // 100, number=1, folded=False)
        self.untrusted = Lane(budget * 30 // 100, number=2, folded=True)
        self.classed = Classed(budget * 10 // 100)
        self.lanes = (self.user, self.record, self.untrusted)
        self.laundered = laundered
        self.roots: dict[str, Root] = {}
        self.seen: Label = TRUSTED
        self.tainted = False
        self.pointed_any = False
        self.named: dict[str, Where] = {}
        self.labels: dict[str, Label] = {}
        self._named_left = min(_NAMED_TEXT, budget // _PER_NAMED)
        self._most_dates = min(_DATES, budget // _PER_DATE)
        self._most_roots = budget // _PER_SOURCE
        self.user_texts: list[str] = []
        self.user_numbers: list[numbers.Seen] = []
        self.amounts: dict[Decimal, tuple[Where, str]] = {}
        self.record_numbers: deque[numbers.Seen] = deque(maxlen=_RECORD_NUMBERS)
        self.untrusted_numbers: deque[numbers.Seen] = deque(maxlen=_RECORD_NUMBERS)
        self.untrusted_texts: deque[str] = deque(maxlen=_RECORD_NUMBERS)
        self.totals: deque[Decimal] = deque(maxlen=_TOTALS)
        self.user_dates: list[tuple[dates.Found | dates.Relative, Hit]] = []
        self.times: set[int] = set()
        self.durations: set[int] = {30, 60}
        self.record_dates: dict[date, str] = {}
        self.todays: dict[date, None] = {}

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
            self._ready(source, text)
        if classes:
            self.classed.add(text, classes)
        return root

    def _root(self, source: SourceId, classes: frozenset[str], *, pointed: bool) -> Root:
        root = Root(source, pointed=pointed, classes=classes)
        if len(self.roots) < self._most_roots:
            self.roots[source] = root
        self.pointed_any |= pointed
        return root

    def _ready(self, root_id: SourceId, text: str) -> None:
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
                    canonical = lexer.canonical_address(value)
                    if canonical is not None:
                        self.named.setdefault(canonical, where)
        for match in lexer.AMOUNT.finditer(text):
            low, high = match.span()
            amount = numbers.number(match[0])
            if amount is None or amount in self.amounts or len(self.amounts) >= _NAMED_MAX:
                continue
            if lexer.counted(chunk.text, start + low, start + high):
                handle = Hit(chunk, start + low, start + high).handle
                self.amounts[amount] = Where(root_id, "$", low, high, handle), match[0]
        room = _USER_NUMBERS - len(self.user_numbers)
        if room > 0:
            self.user_numbers += numbers.numbers_in(text, limit=room)
        for found in dates.dates_in(text):
            if len(self.user_dates) < self._most_dates:
                self.user_dates.append((found, Hit(chunk, start + found.start, start + found.end)))
        self.times.update(dates.times_in(text))
        self.durations.update(dates.durations_in(text))

    # Results

    def result(
        self,
        source: SourceId,
        value: Any,
        label: Label,
        untrusted: Sequence[PathPattern],
        prose: Sequence[PathPattern],
        classes: Mapping[str, Sequence[PathPattern]],
        *,
        trusted: Sequence[PathPattern],
        pointed: bool,
    ) -> Label:
        """Keep a tool's result; returns its label."""
        root = self._root(source, label.classes, pointed=pointed)
        if isinstance(value, bytes | bytearray | memoryview):
            value = scalar_text(value)
        parsed = parse(value) if isinstance(value, str) else value
        root.structured = not isinstance(parsed, str)
        everything = not label.trusted
        # Rule 4.
        vague = isinstance(value, str) and not root.structured and bool(untrusted or prose)
        patterns = [*trusted, *untrusted, *prose, *(pattern for many in classes.values() for pattern in many)]
        exact = any(_INDEX.search(pattern.text) for pattern in patterns)
        rules: dict[int, tuple[int, frozenset[str]]] = {DEEP: (DISTRUST, frozenset(classes))}
        ways: dict[int, bool] = {}
        laundered = self.laundered if self.laundered is not None and len(self.laundered) else None
        distrusted = 0
        tainting = False
        found_classes: set[str] = set(label.classes)
        trusted_push = self.record.push
        numerals: list[tuple[int, str]] = []
        told = False
        for place, shape, raw, key in leaves(parsed, root, exact_indices=exact):
            rule = rules.get(shape)
            if rule is None:
                rule = rules[shape] = self._rule(place, everything, vague, trusted, untrusted, prose, classes)
            kind, leaf_classes = rule
            if key and kind == DISTRUST and not everything and shape != DEEP:
                known = ways.get(shape)
                if known is None:
                    known = ways[shape] = _on_the_way(place, trusted, prose)
                if known:
                    kind = TRUST
            text = raw if type(raw) is str else scalar_text(raw)
            if not text:
                continue
            if leaf_classes and (not key or lexer.has_digit(text)):
                found_classes |= leaf_classes
                self.classed.add(text, leaf_classes)
            if kind == PROSE:
                kind = TRUST if looks_like_record(text) else DISTRUST
            if kind == TRUST and laundered is not None and laundered.holds(text):
                kind = DISTRUST
            if kind == DISTRUST:
                self._distrust(place, text)
                if key:
                    distrusted = distrusted or 1
                elif not tainting:
                    count = len(text.split(None, _TAINTING_TOTAL))
                    distrusted += count or 1
                    tainting = count >= _TAINTING_WORDS or distrusted >= _TAINTING_TOTAL or not root.structured
                continue
            trusted_push(place, text)
            if key:
                continue
            if len(text) <= _SHORT_NUMBER and (text[0].isdigit() or text[0] in "-+$€£¥"):
                numerals.append((shape, text))
                told = place is root
        self.record.flush()
        self.untrusted.flush()
        self._lay_out(numerals, told=told)
        if isinstance(parsed, list):
            self.totals.append(Decimal(len(parsed)))
        self.tainted |= tainting
        integrity = Integrity.UNTRUSTED if distrusted or everything else Integrity.TRUSTED
        return Label(integrity, frozenset(found_classes), (source, *label.sources)[:64])

    def _rule(
        self,
        place: Place,
        everything: bool,
        vague: bool,
        trusted: Sequence[PathPattern],
        untrusted: Sequence[PathPattern],
        prose: Sequence[PathPattern],
        classes: Mapping[str, Sequence[PathPattern]],
    ) -> tuple[int, frozenset[str]]:
        path = path_of(place)
        found = frozenset(name for name, many in classes.items() if any(pattern.covers(path) for pattern in many))
        if everything or any(pattern.covers(path) for pattern in untrusted):
            return DISTRUST, found
        if any(pattern.covers(path) for pattern in prose):
            return PROSE, found
        if any(pattern.covers(path) for pattern in trusted):
            return PROSE if vague else TRUST, found
        return DISTRUST, found

    def _distrust(self, place: Place, text: str) -> None:
        self.untrusted.push(place, text)
        if len(text) < 6:
            if text.isdecimal():
                self._untrusted_number(text)
            return
        if len(text) <= _SHORT_NUMBER and text[0].isdigit():
            self._untrusted_number(text)
        if may_disguise(text):
            twin = _recovered(place)
            for plain in undisguised(text):
                self.untrusted.push(twin, plain)
        if len(text) > _SHORT_NUMBER:
            self.untrusted_texts.append(text[:_NUMBERED])

    def _untrusted_number(self, text: str) -> None:
        value = numbers.number(text)
        if value is not None:
            self.untrusted_numbers.append(numbers.Seen(value, False))

    def _lay_out(self, numerals: list[tuple[int, str]], *, told: bool) -> None:
        """Note trusted leaves that are numbers or dates, by shape; `told`: the one leaf is all that the tool says."""
        if len(numerals) <= _NUMERALS:
            columns: dict[int, list[str]] = {}
            for shape, text in numerals:
                columns.setdefault(shape, []).append(text)
            for column in columns.values():
                # Amounts are totalled, ids and counts are not: amounts have a decimal sign somewhere.
                if len(column) > 1 and any("." in text and _seen(text) for text in column):
                    values = [seen.value for seen in map(_seen, column) if seen is not None]
                    if len(values) > 1:
                        self.totals.append(sum(values, Decimal()))
        latest: dict[numbers.Seen, None] = {}
        for _, text in reversed(numerals[:_NUMERALS]):
            number = _seen(text)
            if number is not None:
                latest[number] = None
                if len(latest) >= _RECORD_NUMBERS:
                    break
        for number in reversed(latest):
            if number not in self.record_numbers:
                self.record_numbers.append(number)
        for text in dict.fromkeys(text for _, text in numerals[:_NUMERALS]):
            if text[4:5] == "-" and _DATE_LEAF.fullmatch(text):
                self._date(text, told=told)

    def _date(self, text: str, *, told: bool) -> None:
        found = dates.moment(text)
        if found is None or found.day is None:
            return
        if told:
            self.todays.pop(found.day, None)
            self.todays[found.day] = None
        if len(self.record_dates) < self._most_dates:
            self.record_dates.setdefault(found.day, text)
        if found.minute is not None and len(self.times) < 1440:
            self.times.add(found.minute)


def _seen(text: str) -> numbers.Seen | None:
    """The number that a leaf is."""
    if not _NUMERIC.fullmatch(text):
        return None
    value = numbers.number(text.rstrip("% "))
    return None if value is None else numbers.Seen(value, text.endswith("%"))


def _on_the_way(place: Place, *patterns: Sequence[PathPattern]) -> bool:
    """The key is one that some pattern names: the contract knows it."""
    path = path_of(place)
    return any(pattern.names(path) for several in patterns for pattern in several)


_INDEX = re.compile(r"\[\d")


def looks_like_record(text: str) -> bool:
    """Short enough to be an id, a name, a number, a date, a path or an address, and nothing more."""
    if len(text) > PROSE_CHARACTERS or "\n" in text or "\r" in text or len(text.split()) > PROSE_WORDS:
        return False
    return " " not in text.strip() or next(lexer.addresses(text), None) is None


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
    for match in lexer.QUOTED.finditer(text):
        for group in range(1, 5):
            if match[group]:
                yield match.span(group)
    for match in lexer.NAME.finditer(text):
        yield match.span()


_RUN = re.compile(r"\S{1,2048}")
_LISTED = re.compile(r"[^,;\s]+")
_EDGES = frozenset("\"'“”‘’«»‹›([{<>)]}*`~.,;:!?…#@$€£¥|—")


class Classed:
    """Values that stand where a contract declares a data class, by their words.

    A short value (one or two words) is known whole; a longer one by every run of three words, of which a text must
    carry all when the value has three or four words, and three in a row when it has more. Addresses and codes inside
    longer values count by themselves too. Ordinary short words and small numbers are too common to say anything, and
    are not kept. Past the budget the class is assumed to flow.
    """

    __slots__ = ("_budget", "_size", "assumed", "runs", "values")

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        self.values: dict[tuple[str, ...], frozenset[str]] = {}
        self.runs: dict[int, tuple[frozenset[str], int]] = {}
        """Hash of three words → classes, and how many runs in a row it takes."""
        self.assumed: frozenset[str] = frozenset()
        """Classes of values that found no room."""

    @property
    def size(self) -> int:
        """Bytes used, about."""
        return self._size

    def __bool__(self) -> bool:
        return bool(self.values or self.runs or self.assumed)

    def add(self, text: str, classes: frozenset[str]) -> None:
        """`text` holds `classes`."""
        for start in range(0, len(text), 16 * 1024):
            stretch = text[start : start + 16 * 1024 + 256]
            tokens = words(fold(stretch))
            self._add(tokens, classes)
            if len(tokens) > 2:
                for entity in lexer.addresses(stretch):
                    self._add(words(fold(entity)), classes)
                for token in tokens:
                    if len(token) >= 6 and lexer.has_digit(token):
                        self._add([token], classes)

    def _add(self, tokens: Sequence[str], classes: frozenset[str]) -> None:
        if len(tokens) < 3:
            if sum(map(len, tokens)) < 4 or (len(tokens) == 1 and tokens[0] in lexer.FUNCTION_WORDS):
                return
            if self._room(250, classes):
                key = tuple(tokens)
                self.values[key] = self.values.get(key, frozenset()) | classes
            return
        need = 3 if len(tokens) >= 5 else len(tokens) - 2
        if not self._room(160 * len(tokens), classes):
            return
        runs = self.runs
        for run in zip(tokens, tokens[1:], tokens[2:], strict=False):
            hashed = hash(run)
            known = runs.get(hashed)
            if known is None:
                runs[hashed] = (classes, need)
            elif known[0] != classes or known[1] > need:
                runs[hashed] = (known[0] | classes, min(need, known[1]))

    def _room(self, bytes_needed: int, classes: frozenset[str]) -> bool:
        if self._size + bytes_needed > self._budget:
            self.assumed |= classes
            return False
        self._size += bytes_needed
        return True

    def of(self, tokens: Sequence[str]) -> frozenset[str]:
        """Classes that a text of these folded words carries."""
        found = self.assumed
        values, runs = self.values, self.runs
        if values:
            for token in tokens:
                classes = values.get((token,))
                if classes is not None:
                    found |= classes
            for pair in pairwise(tokens):
                classes = values.get(pair)
                if classes is not None:
                    found |= classes
        if runs:
            row = 0
            for run in zip(tokens, tokens[1:], tokens[2:], strict=False):
                known = runs.get(hash(run))
                row = row + 1 if known is not None else 0
                if known is not None and row >= known[1]:
                    found |= known[0]
        return found


def spans(classed: Classed, text: str, classes: frozenset[str]) -> Iterator[tuple[int, int, str]]:
    """Where `text` carries declared values of `classes`: start, end and class."""
    if classed.assumed & classes:
        yield 0, len(text), min(classed.assumed & classes)
        return
    located = [(fold(match[0]), match.start(), match.end()) for match in lexer.WORD.finditer(text)]
    tokens = [token for token, _, _ in located]
    for size in (1, 2):
        for index in range(len(tokens) - size + 1):
            found = classed.values.get(tuple(tokens[index : index + size]), frozenset()) & classes
            if found:
                yield located[index][1], located[index + size - 1][2], min(found)
    row = 0
    for index, run in enumerate(zip(tokens, tokens[1:], tokens[2:], strict=False)):
        known = classed.runs.get(hash(run))
        row = row + 1 if known is not None else 0
        if known is not None and row >= known[1] and known[0] & classes:
            yield located[index - known[1] + 1][1], located[index + 2][2], min(known[0] & classes)


def texts_of(lane: Lane, root: Root) -> Iterable[tuple[Place, Chunk, int]]:
    """Every leaf of `root` in `lane`, in order."""
    for chunk in lane.chunks:
        for number in range(len(chunk.starts)):
            if chunk.root(number) is root:
                yield chunk.place(number), chunk, number
