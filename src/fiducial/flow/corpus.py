"""What a session has observed, laid out for the claims of one text: one pass over the sources, and a look-up a claim.

A *unit* is one source: a message, a result, or one document of a result. What is laid out of the units is only what the
claims ask about, so that it stays small beside them; a look-up looks at so many places at most, wherever a word that
everything is full of stands. Past that, what is claimed counts as not found.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import NamedTuple

from fiducial.core.path import Path
from fiducial.flow import dates, entities, scripts
from fiducial.flow.claims import Claim, telling
from fiducial.flow.lexer import LEAF
from fiducial.flow.memory import Hearsay, Memory, Recovered
from fiducial.flow.structure import path_of
from fiducial.flow.tokens import Token, tokens

PASSAGE = 80
"""Tokens within which a source says what a statement says; about four sentences."""
_STEP = PASSAGE // 2
_MOST = 1024
"""Places that are looked at for one claim."""
_CANDIDATES = 64
"""Passages that are looked at for each word of a statement."""
_ENDINGS = ("ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "e", "y")
_STEM = 4
"""Letters that an ending leaves at least."""


class Unit(NamedTuple):
    """One source."""

    source: str
    """Its id, of the message or the result."""
    name: str
    """By which answers cite it; empty when it is no document."""
    number: int
    """Of a document: its place among those of its result, from 1."""
    texts: list[str]
    """Its leaves."""


class Corpus:
    """The units, laid out for `claims`."""

    def __init__(self, units: Iterable[Unit], claims: Sequence[Claim]) -> None:
        wanted = {token.key for claim in claims for token in claim.tokens}
        wanted |= {_joined(claim.tokens) for claim in claims if claim.kind == "identifier"}
        stems = {stem(token.key) for claim in claims if claim.kind == "statement" for token in claim.tokens}
        numbers = {value for claim in claims for token in claim.tokens for value in token.values}
        days = {(day.month, day.day) for claim in claims for day in claim.dates}
        self.units: list[Unit] = []
        self._starts: list[int] = []
        self._keys: list[str] = []
        """Of all units, one after the other; empty between leaves."""
        self._at: dict[str, list[int]] = {key: [] for key in wanted}
        self._numbers: dict[Decimal, dict[int, set[str]]] = {value: {} for value in numbers}
        """Number → unit → the units of measure that it stands with there."""
        self._days: dict[tuple[int, int], dict[int, set[int | None]]] = {day: {} for day in days}
        """Month and day → unit → the years that stand with it there."""
        self._years: dict[int, set[int]] = {}
        self._passages: dict[str, list[int]] = {each: [] for each in stems}
        self._held: dict[tuple[object, ...], bool] = {}
        for unit in units:
            self._add(unit)
        self._sets = {each: frozenset(at) for each, at in self._passages.items()}

    def _add(self, unit: Unit) -> None:
        number = len(self.units)
        self.units.append(unit)
        # Passages of two units never meet.
        self._keys.extend([""] * (-len(self._keys) % _STEP + _STEP))
        self._starts.append(len(self._keys))
        for text in unit.texts:
            for token in tokens(text):
                self._put(number, token)
            self._keys.append("")
            for group in entities.grouped(text):
                self._put(number, Token(_joined(tokens(group)), 0, 0))
                self._keys.append("")
            if self._days:
                self._note_days(number, text)

    def _put(self, number: int, token: Token) -> None:
        index = len(self._keys)
        self._keys.append(token.key)
        at = self._at.get(token.key)
        if at is not None:
            at.append(index)
        for value in token.values:
            known = self._numbers.get(value)
            if known is not None:
                known.setdefault(number, set()).add(token.unit)
        if self._passages and telling(token):
            passages = self._passages.get(stem(token.key))
            if passages is not None:
                for passage in (index // _STEP - 1, index // _STEP):
                    if not passages or passages[-1] < passage:
                        passages.append(passage)

    def _note_days(self, number: int, text: str) -> None:
        for day in dates.dates_in(text):
            if isinstance(day, dates.Found):
                known = self._days.get((day.month, day.day))
                if known is not None:
                    known.setdefault(number, set()).add(day.year)
                if day.year is not None:
                    self._years.setdefault(number, set()).add(day.year)

    def holding(self, claim: Claim, within: Collection[int] | None = None) -> bool:
        """Whether a unit says what `claim` does; of those numbered `within`, where it is given."""
        key = (
            claim.kind,
            tuple((token.key, token.unit) for token in claim.tokens),
            tuple(day[:3] for day in claim.dates),
        )
        if within is None and key in self._held:
            return self._held[key]
        found: Iterator[int]
        if claim.kind == "number":
            found = self._with_number(claim.tokens[0])
        elif claim.kind == "date":
            found = self._with_day(claim.dates)
        elif claim.kind == "statement":
            found = self._with_statement(claim.tokens)
        else:
            found = self._with_row([token.key for token in claim.tokens])
            if claim.kind == "identifier":
                found = chain(found, self._with_row([_joined(claim.tokens)]))
        held = any(within is None or unit in within for unit in islice(found, _MOST))
        if within is None:
            self._held[key] = held
        return held

    def _unit(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1

    def _with_number(self, token: Token) -> Iterator[int]:
        """Units that have the number, with the same unit of measure or with none beside it."""
        for value in token.values:
            for unit, beside in self._numbers[value].items():
                if not token.unit or token.unit in beside or "" in beside:
                    yield unit

    def _with_day(self, meant: Iterable[dates.Found]) -> Iterator[int]:
        """Units that have the day; a year that the claim has must stand with it, or elsewhere in the unit."""
        for day in meant:
            for unit, years in self._days[(day.month, day.day)].items():
                elsewhere = None in years and day.year in self._years.get(unit, ())
                if day.year is None or day.year in years or elsewhere:
                    yield unit

    def _with_row(self, keys: Sequence[str]) -> Iterator[int]:
        """Units in which the tokens stand one after the other."""
        rarest = min(range(len(keys)), key=lambda index: len(self._at[keys[index]]))
        for at in self._at[keys[rarest]][:_MOST]:
            low = at - rarest
            if low >= 0 and self._keys[low : low + len(keys)] == keys:
                yield self._unit(at)

    def _with_statement(self, said: Sequence[Token]) -> Iterator[int]:
        """Units in one passage of which two thirds of the statement's words stand, in some inflection."""
        stems = list({stem(token.key): None for token in said})
        needed = -(-2 * len(stems) // 3)
        # Whatever passage has enough of them has one of any so many.
        rare = sorted(stems, key=lambda one: len(self._passages[one]))[: len(stems) - needed + 1]
        sets = [self._sets[one] for one in stems]
        for passage in dict.fromkeys(at for one in rare for at in self._passages[one][:_CANDIDATES]):
            if sum(passage in each for each in sets) >= needed:
                yield self._unit((passage + 1) * _STEP)


def units_of(memory: Memory) -> list[Unit]:
    """What was observed, source by source and document by document; not what a disguise says plainly, nor hearsay."""
    found: dict[tuple[str, Path | None], Unit] = {}
    places: dict[str, dict[Path, int]] = {}
    for lane in memory.lanes:
        for chunk in lane.chunks:
            for number, start in enumerate(chunk.starts):
                root = chunk.root(number)
                if isinstance(root, (Recovered, Hearsay)):
                    continue
                at = path_of(chunk.place(number))[: root.depth] if root.documents else ()
                name = root.documents.get(at, "")
                unit = found.get(key := (root.id, at if name else None))
                if unit is None:
                    if root.id not in places:
                        places[root.id] = {each: number for number, each in enumerate(root.documents, 1)}
                    unit = found[key] = Unit(root.id, name, _place(at, places[root.id]) if name else 0, [])
                end = chunk.text.find(LEAF, start)
                unit.texts.append(chunk.text[start : end if end >= 0 else len(chunk.text)])
    return list(found.values())


def _place(document: Path, places: dict[Path, int]) -> int:
    """The place of a document among those of its result, from 1: its index, where it is in a list."""
    last = document[-1] if document else None
    return last + 1 if isinstance(last, int) else places[document]


def _joined(row: Iterable[Token]) -> str:
    """The groups of an account or card number as one word."""
    return "".join(token.key for token in row)


def stem(key: str) -> str:
    """A folded word without the ending by which its forms differ, in English and a little beyond."""
    if scripts.unspaced(key):
        return key
    for ending in _ENDINGS:
        if key.endswith(ending) and len(key) - len(ending) >= _STEM:
            return key[: -len(ending)]
    return key


__all__ = ["PASSAGE", "Corpus", "Unit", "stem", "units_of"]
