"""Untrusted values that were written out through a tool, remembered so that reading them back does not clean them.

Kept are keyed 64-bit hashes: of the folded entities of the written value that a third party could aim with (addresses,
paths, tokens with digits, names of two words and more) and of its runs of five words, so that whoever reads the store
learns nothing without the key. Ordinary short words and small numbers are not kept: they would stain every record.

Names of written objects are kept too, in a domain of their own: a value written to one object in halves, each of which
says nothing, is whole again when that object is read.

A run of five words is looked for only where its first word is one that starts such a run: that hash is kept too, in its
own domain, and spares a keyed hash for every word of every record.

A call may also launder by itself, when its result says back what it was asked with (`Echo`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from hashlib import blake2b
from itertools import chain
from typing import Any

import re2

from fiducial.flow.entities import IDENTIFIER, NAME, PATH, addresses, grouped
from fiducial.flow.lexer import FUNCTION_WORDS, fold, pieces, stretch, words
from fiducial.flow.structure import Root, leaves, scalar_text

RUN = 5
"""Words: shorter runs recur by chance."""
_MAX_TEXT = 1 << 20
"""Characters of one value that are looked at; a longer value is stained by its beginning."""
_MAX_NEW = 20_000
"""Hashes one value may add."""
_MAX_RUNS = 10_000
"""Different runs of one text that are looked at; so what it costs does not depend on what is known of it."""
MAX_HASHES = 2_000_000
"""Hashes of one store, about 150 MB in memory; once they are reached everything counts as written out."""
_DATE = re.compile(r"(?:19|20)\d\d-?\d\d-?\d\d(?:t\d{2,6}z?)?|\d{1,2}(?:st|nd|rd|th)")


class Laundered:
    """Hashes of untrusted values that were written out; one per store, shared by its sessions."""

    __slots__ = ("_first", "_hashes", "_key", "_unstored")

    def __init__(self, key: bytes) -> None:
        """`key`: 16 to 64 secret bytes, the same for as long as the hashes are kept. Raises `ValueError`."""
        if not 16 <= len(key) <= 64:
            raise ValueError("the key of the laundering hashes must have 16 to 64 bytes")
        self._key = key
        self._hashes: set[int] = set()
        self._unstored: set[int] = set()
        self._first: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def full(self) -> bool:
        """No more can be remembered, so nothing can be told to be clean."""
        return len(self._hashes) >= MAX_HASHES

    def load(self, hashes: Iterable[int]) -> None:
        """Take hashes that were returned here or in another process, and that are kept by now."""
        taken = list(hashes)
        self._hashes.update(taken)
        self._unstored.difference_update(taken)
        self._first.clear()

    def add_value(self, value: Any) -> list[int]:
        """Remember the entities and runs of `value` (text, or a list or object of it).

        Returns the hashes that are not known to be kept: new ones, and those whose keeping may have failed.
        """
        fresh: list[int] = []
        stack = [value]
        while stack and len(fresh) < _MAX_NEW:
            item = stack.pop()
            if isinstance(item, dict):
                stack += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple | set | frozenset):
                stack += item
            elif isinstance(item, str):
                self._add_text(item[:_MAX_TEXT], fresh)
            elif isinstance(item, int | float) and not isinstance(item, bool):
                self._add_text(str(item), fresh)
        return fresh

    def _add_text(self, text: str, fresh: list[int]) -> None:
        half = (len(fresh) + _MAX_NEW) // 2  # or a list of names would leave no room for what is said beside it
        for entity in chain(_entities(text), _telling_words(text)):
            if len(fresh) >= half:
                break
            self._keep(self._hash(b"e", entity), fresh)
        tokens = pieces(fold(text))
        seen: set[str] = set()
        for index in range(len(tokens) - RUN + 1):
            run = " ".join(stretch(tokens, index, RUN))
            if not run or run in seen:
                continue
            if len(seen) >= _MAX_RUNS or len(fresh) >= _MAX_NEW:
                break
            seen.add(run)
            self._keep(self._hash(b"r", run), fresh)
            self._keep(self._hash(b"w", tokens[index]), fresh)
        self._first.clear()

    def _keep(self, hashed: int, fresh: list[int]) -> None:
        if self.full:
            return
        if hashed not in self._hashes or hashed in self._unstored:
            self._hashes.add(hashed)
            self._unstored.add(hashed)
            fresh.append(hashed)

    def add_object(self, system: str, name: Any, keys: frozenset[str] = frozenset()) -> list[int]:
        """Remember that something of a third party's was written into the object `name`, or each of several.

        Each part of a name that is an object counts, because a read may name it by another; not its `keys`, which the
        schema declares.
        """
        fresh: list[int] = []
        for text in _named(name, keys):
            self._keep(self._hash(b"o", f"{system}\0{text}"), fresh)
        return fresh

    def holds_object(self, system: str, value: Any, keys: frozenset[str] = frozenset()) -> bool:
        """Whether `value`, as `add_object` takes it, names an object into which something of a third party's was
        written."""
        hashes = self._hashes
        if self.full:
            return True
        return bool(hashes) and any(self._hash(b"o", f"{system}\0{text}") in hashes for text in _named(value, keys))

    def holds(self, text: str) -> bool:
        """Whether `text` carries anything that was written out."""
        if not self._hashes or not text:
            return False
        if self.full:
            return True
        hashes = self._hashes
        text = text[:_MAX_TEXT] if len(text) > _MAX_TEXT else text
        if any(self._hash(b"e", entity) in hashes for entity in _entities(text)):
            return True
        tokens = pieces(fold(text))
        first = self._first
        for index in range(len(tokens) - RUN + 1):
            token = tokens[index]
            starts = first.get(token)
            if starts is None:
                if len(first) > 50_000:
                    first.clear()
                starts = first[token] = self._hash(b"w", token) in hashes
            if starts and self._hash(b"r", " ".join(stretch(tokens, index, RUN))) in hashes:
                return True
        return False

    def _hash(self, domain: bytes, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(data, digest_size=8, key=self._key, person=domain).digest(), "big")


class Echo:
    """What some arguments of one call say: where its result says the same, no tool vouches for it.

    Their values count whole, as they stand or inside what the result says, and the entities in them that a third party
    could aim with; case, punctuation and the writing of numbers change nothing. A short word that only says how (`all`,
    `de`) is in many a record by chance, and counts where it is all that is said.
    """

    __slots__ = ("_entities", "_full", "_inside", "_wholes")

    def __init__(self, arguments: Iterable[tuple[Any, frozenset[str], bool]]) -> None:
        """`arguments`: values, each with the object keys that its schema declares, which nobody chose, and whether it
        only says how the look-up is done."""
        self._wholes: set[str] = set()
        self._entities: set[str] = set()
        self._full = False
        """They say too much to be looked for."""
        inside: set[str] = set()
        characters = 0
        for value, keys, how in arguments:
            for _, _, raw, key in leaves(value, Root("argument"), exact_indices=False):
                if raw is None or isinstance(raw, bool) or (key and raw in keys):
                    continue
                text = scalar_text(raw)
                characters += len(text)
                if characters > _MAX_ECHO or len(self._wholes) >= _MAX_ECHOES:
                    self._full = True
                    return
                tokens = words(fold(text))
                if tokens:
                    found = set(_entities(text))
                    squashed = ["".join(tokens), *("".join(words(entity)) for entity in found)]
                    self._entities |= found
                    self._wholes |= {squashed[0], _number(text)}
                    if how and len(squashed[0]) < _TELLING_OPTION and squashed[0].isalpha():
                        continue
                    inside.add(f" {' '.join(tokens)} ")
                    inside.update(each for each in squashed if len(each) >= _SQUASHED)
        self._inside = re2.compile("|".join(map(re2.escape, sorted(inside)))) if inside else None

    def holds(self, text: str) -> bool:
        """Whether `text` says back any of it."""
        if self._full:
            return True
        if not self._wholes:
            return False
        tokens = words(fold(text))
        squashed = "".join(tokens)
        return (
            squashed in self._wholes
            or _number(text) in self._wholes
            or (self._inside is not None and self._inside.search(f" {' '.join(tokens)} \0{squashed}") is not None)
            or any(entity in self._entities for entity in _entities(text))
        )


_MAX_ECHO = 64 * 1024
"""Characters of one call's arguments that are looked for in its result; of more, all of it counts as their echo."""
_MAX_ECHOES = 512
_SQUASHED = 6
"""Characters of a value that stands in another without its punctuation by no chance."""
_TELLING_OPTION = 8
"""Letters of a word that only says how and stands in a record by no chance."""


def _number(text: str) -> str:
    """A number in the one form that all its writings have; any other text as it is."""
    try:
        return str(Decimal(text).normalize()) if len(text) <= 32 else text
    except ArithmeticError:  # no number, or one past every bound
        return text


def _named(value: Any, keys: frozenset[str]) -> Iterator[str]:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += [*(key for key in item if key not in keys), *item.values()]
        elif isinstance(item, list | tuple):
            todo += item
        elif isinstance(item, str | int) and not isinstance(item, bool) and 0 < len(str(item)) <= _LONGEST_NAME:
            yield fold(str(item)).strip()


_LONGEST_NAME = 512
"""Characters of an object's name; longer values name nothing."""
_FEW = 3
"""Words of a written value each of which may be what it is about."""


def _telling_words(text: str) -> Iterator[str]:
    """The words of a very short written value: `mallory`, `pay mallory`."""
    tokens = words(fold(text[:256]))
    if len(text) <= 256 and len(tokens) <= _FEW:
        yield from (token for token in tokens if _telling(token))


def _telling(token: str) -> bool:
    # Short codes with digits (`P001`) are shared by record and text; longer ones are identifiers.
    return len(token) >= 4 and token.isalpha() and token not in FUNCTION_WORDS


def _entities(text: str) -> Iterator[str]:
    """Folded entities that could aim an effect."""
    stripped = text.strip()
    if len(stripped) <= 200 and "\n" not in stripped:
        tokens = words(fold(stripped))
        # A whole short value counts as a name; dates and amounts do not.
        named = sum(not token.isdecimal() for token in tokens) >= 2 and sum(map(len, tokens)) >= 6
        if named or (len(tokens) == 1 and _telling(tokens[0])):
            yield " ".join(tokens)
    for address in addresses(text):
        yield fold(address)
        yield fold(address).split("://", 1)[-1].rstrip("/")
    for group in grouped(text):
        yield fold(group).replace(" ", "").replace("\u00a0", "")
    for match in PATH.finditer(text):
        yield fold(match[0])
    for match in IDENTIFIER.finditer(text):
        folded = fold(match[0])
        letters = any(character.isalpha() for character in folded)
        if len(folded) >= 6 and (letters or folded.isdecimal()) and not _DATE.fullmatch(folded):
            yield folded
    for match in NAME.finditer(text):
        tokens = words(fold(match[0]))
        if sum(map(len, tokens)) >= 6:
            yield " ".join(tokens)
