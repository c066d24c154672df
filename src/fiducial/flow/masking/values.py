"""Masking and restoring texts and JSON values.

What is masked can be restored: `mask` puts a token of the session's `Vault` in the place of each value. A caller that
has no vault puts the class in brackets there (`bracketed`), which nothing restores; so does `mask` when it is full.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from fiducial.core.path import Path
from fiducial.flow.masking.detect import BUILT_IN, escapes_parted
from fiducial.flow.masking.detector import CONTEXT, Found
from fiducial.flow.masking.documents import documents, rewritten
from fiducial.flow.masking.identity import NAMED_WITHIN
from fiducial.flow.masking.links import Links
from fiducial.flow.masking.tokens import tokens
from fiducial.flow.masking.vault import Held, Scalar, Vault

_DEPTH = 100
"""Levels of nesting; what lies deeper than any real argument is masked as a whole."""

Put: TypeAlias = Callable[[Any, str], str]
"""Value and class → what stands in its place."""
Finder: TypeAlias = Callable[[str], Sequence[Found]]


class Covers(Protocol):
    """Where values stand: a `PathPattern`."""

    def covers(self, path: Path) -> bool:
        """Whether `path` is there."""


class Finds(Protocol):
    """Tells data classes from text: a `Detection`."""

    def find(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """Every value of `classes` in `text`; `None`: of all."""

    def in_key(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """The same in the key of a member."""


class Holds(Protocol):
    """Knows what tokens stand for: a `Vault`."""

    def held(self, token: str) -> Held | None:
        """What `token` stands for."""


Places: TypeAlias = Sequence[tuple[Covers, str]]
"""Where values stand, and of which class they are; the first that covers a value counts."""


def bracketed(_: Any, data_class: str) -> str:
    """The class in brackets."""
    return f"[{data_class}]"


def into(vault: Vault) -> Put:
    """Tokens of `vault`."""

    def put(value: Scalar, data_class: str) -> str:
        return vault.token(value, data_class) or bracketed(value, data_class)

    return put


def masked(text: str, found: Sequence[Found], put: Put = bracketed) -> str:
    """`text` with every found value replaced; of overlapping ones, the first (and there the longest), then the rest."""
    pieces: list[str] = []
    at = 0
    for start, end, data_class in sorted(found, key=lambda one: (one.start, -one.end)):
        if end > at:
            start = max(start, at)
            pieces += [text[at:start], put(text[start:end], data_class)]
            at = end
    return "".join(pieces) + text[at:]


def finder_for(
    vault: Vault, classes: frozenset[str] | None, find: Callable[[str, frozenset[str] | None], list[Found]]
) -> Finder:
    """What `find` finds of `classes` (`None`: of all). A token of `vault` ends one text and begins another: nothing is
    found across it."""

    def finder(text: str) -> Sequence[Found]:
        own = [(start, end) for start, end, token in tokens(text) if vault.held(token) is not None]
        if not own:
            return find(text, classes)
        found: list[Found] = []
        at = 0
        for start, end in [*own, (len(text), len(text))]:
            found += [Found(at + one, at + other, name) for one, other, name in find(text[at:start], classes)]
            at = end
        return found

    return finder


def mask(
    value: Any,
    vault: Vault,
    *,
    classes: frozenset[str] | None = None,
    declared: Places = (),
    detection: Finds = BUILT_IN,
) -> Any:
    """`value` (a text or JSON) with tokens in the place of values, in keys too; a number becomes text. A text that is
    JSON, and has escapes in it, is masked member by member, and stays JSON.

    `classes`: what `detection` looks for in texts; `None`: all that it can tell. `declared`: where a contract says that
    values of a class stand; whatever is there, is masked as a whole.
    """
    finder, of_keys = (finder_for(vault, classes, find) for find in (detection.find, detection.in_key))
    return mask_with(value, finder, into(vault), declared, is_token=_is_token(vault), of_keys=of_keys)


def _is_token(vault: Vault) -> Callable[[str], bool]:
    def is_token(text: str) -> bool:
        return any(end - start == len(text) and vault.held(token) is not None for start, end, token in tokens(text))

    return is_token


def mask_with(
    value: Any,
    finder: Finder,
    put: Put = bracketed,
    declared: Places = (),
    *,
    is_token: Callable[[str], bool] = lambda _: False,
    of_keys: Finder | None = None,
) -> Any:
    """`value` (JSON) masked where `finder` finds something, or `of_keys` in a key (`None`: `finder` too), and where it
    is `declared`. See `mask`."""

    def walk(value: Any, path: Path, key: str | None) -> Any:
        if value is None:
            return None
        if isinstance(value, str | int | float):
            return leaf(value, path, key)
        if len(path) > _DEPTH:
            return "[masked]"
        if isinstance(value, dict):
            return _members(
                (key_of(name), walk(member, (*path, text), text))
                for name, member in value.items()
                for text in [name if isinstance(name, str) else str(name)]
            )
        if isinstance(value, list | tuple):
            return [walk(member, (*path, index), key) for index, member in enumerate(value)]
        return "[masked]"

    def key_of(key: Any) -> Any:
        return leaf(key, None, None, of_keys or finder) if isinstance(key, str | int | float) else key

    def leaf(value: Scalar, path: Path | None, key: str | None, finder: Finder = finder) -> Any:
        here = None if path is None else next((name for each, name in declared if each.covers(path)), None)
        if here is not None and value != "":
            return value if isinstance(value, str) and is_token(value) else put(value, here)
        if isinstance(value, bool):
            return value
        text = value if isinstance(value, str) else str(value)
        found = finder(text) if key is None else _under(key, text, finder)
        if isinstance(value, str) and (inner := documents(value)):
            return _around(text, inner, found, put, lambda member, under: leaf(member, None, under))
        if not found:
            return value
        return masked(text, found, put) if isinstance(value, str) else put(value, found[0].data_class)

    return walk(value, (), None)


def _around(
    text: str,
    inner: Sequence[tuple[int, int]],
    found: Sequence[Found],
    put: Put,
    change: Callable[[Any, str | None], Any],
) -> str:
    """`text` with what was `found` around the JSON in it masked, and that JSON changed."""
    pieces: list[str] = []
    at = 0
    for start, end, data_class in sorted([*_outside(found, inner), *((start, end, "") for start, end in inner)]):
        if end > at:
            start = max(start, at)
            now = text[start:end]
            pieces += [text[at:start], put(now, data_class) if data_class else rewritten(now, change)]
            at = end
    return "".join(pieces) + text[at:]


def _outside(found: Sequence[Found], inner: Sequence[tuple[int, int]]) -> Iterator[Found]:
    """What of the `found` values stands outside of the stretches `inner`."""
    for start, end, data_class in found:
        index = max(0, bisect(inner, (start, end)) - 1)
        while index < len(inner) and inner[index][0] < end:
            before, after = inner[index]
            if start < before:
                yield Found(start, before, data_class)
            start, index = max(start, after), index + 1
        if start < end:
            yield Found(start, end, data_class)


_PARTS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])")
"""Between the words of a key."""
_UNQUOTED = str.maketrans('"\\', ",,")
"""What would end a value in quotes, or hide their end."""


def _under(key: str, text: str, finder: Finder) -> list[Found]:
    """What is found in `text`, the value of the member `key` of a JSON object: as behind its words and a colon."""
    lead = f'{" ".join(_PARTS.split(key[-CONTEXT:]))[-NAMED_WITHIN:]}: "'
    size, last = len(lead), len(text)
    quoted = escapes_parted(text).translate(_UNQUOTED)
    found = [
        Found(max(0, start - size), min(last, end - size), name)
        for start, end, name in finder(f'{lead}{quoted}"')
        if end > size and start < size + last
    ]
    return found if quoted == text else [*found, *finder(text)]


def _members(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A JSON object of all `pairs`: keys that have become equal are numbered, so that no member is lost."""
    members: dict[Any, Any] = {}
    numbers: dict[Any, int] = {}
    for key, member in pairs:
        own = key
        while own in members:
            numbers[key] = numbers.get(key, 1) + 1
            own = f"{key} ({numbers[key]})"
        members[own] = member
    return members


def restore(value: Any, vault: Holds, classes: Collection[str]) -> Any:
    """`value` (a text or JSON) with the values of `classes` back in their places; other tokens stay.

    `classes`: those that may flow to whoever gets it; that is decided elsewhere. A text that is one token becomes what
    was masked, a number again if it was one. What only looks like a token stays text.
    """
    return _restored(value, vault, classes, 0)


def restore_text(
    text: str, vault: Holds, classes: Collection[str], *, in_json: bool = False, links: Links | None = None
) -> str:
    """`restore` for a text that goes on as text. `in_json`: `text` is JSON, and values are written as within a string
    there, so that no value can end it. `links`: has read what comes before `text`; tokens in links stay."""
    pieces: list[str] = []
    at = 0
    for start, end, token in tokens(text):
        held = vault.held(token)
        if links is not None:
            links.read(text[at:start])
        plain = text[start:end]
        if held is not None and held.data_class in classes and not (links is not None and links.inside):
            plain = held.value if isinstance(held.value, str) else json.dumps(held.value)
            plain = json.dumps(plain)[1:-1] if in_json else plain
        if links is not None:
            links.read(plain)
        pieces += [text[at:start], plain]
        at = end
    if links is not None:
        links.read(text[at:])
    return "".join(pieces) + text[at:] if pieces else text


def held_in(value: Any, vault: Vault) -> frozenset[str]:
    """Classes of the tokens in `value` (a text or JSON): what restoring all of it would have to be allowed for."""
    found: set[str] = set()
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            found |= {held.data_class for _, _, token in tokens(item) if (held := vault.held(token)) is not None}
        elif isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            todo += item
    return frozenset(found)


def _restored(value: Any, vault: Holds, classes: Collection[str], depth: int) -> Any:
    if isinstance(value, str):
        for start, end, token in tokens(value):
            held = vault.held(token)
            if end - start == len(value) and held is not None and held.data_class in classes:
                return held.value
        return restore_text(value, vault, classes)
    if depth > _DEPTH:
        return value
    if isinstance(value, dict):
        return _members(
            (
                restore_text(key, vault, classes) if isinstance(key, str) else key,
                _restored(member, vault, classes, depth + 1),
            )
            for key, member in value.items()
        )
    if isinstance(value, list | tuple):
        return [_restored(member, vault, classes, depth + 1) for member in value]
    return value
