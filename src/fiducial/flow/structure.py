"""Results as leaves: every scalar of a tool's result, with the path that leads to it.

What comes in is any Python or JSON value; text is read beforehand (`fiducial.flow.formats`). Keys are leaves too, at
the path of their member: a mapping keyed by product names or file paths names entities. Nothing here recurses, so
hostile nesting costs linear time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from fiducial.core.path import Path, show
from fiducial.flow.formats.members import MAX_DEPTH, LazyList, LazyMembers, Members


class Root:
    """Where the paths of one source start."""

    __slots__ = ("classes", "depth", "documents", "id", "pointed", "structured")

    def __init__(self, id: str, *, pointed: bool = False, classes: frozenset[str] = frozenset()) -> None:
        self.id = id
        self.pointed = pointed
        self.classes = classes
        self.structured = False
        self.documents: dict[Path, str] = {}
        """Path of a document in it → the id by which answers cite it."""
        self.depth = 0
        """Steps of those paths."""


Place: TypeAlias = Root | tuple[Any, ...]
"""Where a leaf is: `(parent, key or index)`, whose parent is a place; a key as a leaf has `True` as a third part.

Plain tuples, because one is made for every leaf observed and a named one costs eight times as much.
"""


def root_of(place: Place) -> Root:
    """The source that `place` is in."""
    while type(place) is tuple:
        place = place[0]
    assert isinstance(place, Root)
    return place


def is_key(place: Place) -> bool:
    """`place` is a member's key, not its value."""
    return type(place) is tuple and len(place) == 3


def path_of(place: Place) -> Path:
    """The whole path of `place`."""
    steps: list[str | int] = []
    while type(place) is tuple:
        steps.append(place[1])
        place = place[0]
    return tuple(reversed(steps))


def show_place(place: Place) -> str:
    """JSONPath text of `place`; that of a key ends with `~`."""
    return show(path_of(place)) + ("~" if is_key(place) else "")


def scalar_text(value: Any) -> str:
    """A scalar as the text a reader of the result sees: plain text, whatever kind of text it comes as."""
    if isinstance(value, Enum):
        return scalar_text(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    try:
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001 - whatever an odd object raises, its text is unknown: see `untold`
        return ""


def untold(value: Any) -> bool:
    """A scalar without text is not an empty one, so that nobody knows what a reader of the result sees of it."""
    while isinstance(value, Enum):
        value = value.value
    return value is not None and not isinstance(value, str | bytes | bytearray | memoryview)


_AS_IS = frozenset({str, bytes, bytearray, int, float, bool, type(None), dict, list, tuple, set, frozenset, Members})


def plain(value: Any) -> Any:
    """`value` with models, structs and dataclasses opened up one level; mappings, lists and scalars as they are."""
    kind = type(value)
    if kind in _AS_IS or isinstance(value, str | bytes | int | float | Mapping | list | tuple | set | Enum | date):
        return value
    try:
        if hasattr(kind, "model_dump"):
            return value.model_dump()
        if isinstance(value, msgspec.Struct):
            return {name: getattr(value, name) for name in value.__struct_fields__}
        fields = getattr(kind, "__dataclass_fields__", None)
        if fields is not None:
            return {name: getattr(value, name) for name in fields}
    except Exception:  # noqa: BLE001 - a model that cannot be opened is read as its text
        return value
    return value


_SCALARS = frozenset({str, int, float, bool, type(None)})

Item: TypeAlias = tuple[Place, int, Any, bool]
"""Place, shape, value, and whether it is a key. Leaves whose paths differ in indices alone have the same shape."""

DEEP = -1
"""Shape of everything nested deeper than `MAX_DEPTH`."""


class Shapes:
    """Numbers for the shapes of paths, each step found by its parent's number and its own key."""

    __slots__ = ("_below", "_depths", "exact")

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        """Indices count, because a pattern names one."""
        self._depths = [0]
        self._below: list[dict[str | int, int]] = [{}]

    def known(self, shape: int) -> dict[str | int, int]:
        """Of the keys that have come at `shape`, the shapes of their members; to be read only."""
        return {} if shape == DEEP else self._below[shape]

    def below(self, shape: int, key: str | int) -> int:
        """The shape of a member."""
        if shape == DEEP:
            return DEEP
        number = self._below[shape].get(key)
        if number is None:
            depth = self._depths[shape] + 1
            if depth > MAX_DEPTH:
                return DEEP
            number = self._below[shape][key] = len(self._depths)
            self._depths.append(depth)
            self._below.append({})
        return number


def leaves(value: Any, root: Root, *, exact_indices: bool) -> Iterator[Item]:
    """Every scalar and key of `value`, depth first; never recurses.

    A key that repeats at the same shape, as in a list of records, comes once. A value that contains itself is entered
    once.
    """
    stack: list[Iterator[Item]] = [iter([(root, 0, value, False)])]
    shapes = Shapes(exact_indices)
    inside: set[int] = set()
    opened_ids: list[int] = []
    while stack:
        for item in stack[-1]:
            place, shape, raw, _ = item
            if type(raw) in _SCALARS:
                yield item
                continue
            opened = plain(raw)
            members = _members(opened, place, shape, shapes)
            if members is None:
                yield (place, shape, opened, False)
            elif id(raw) not in inside:
                inside.add(id(raw))
                opened_ids.append(id(raw))
                stack.append(members)
                break
        else:
            stack.pop()
            if opened_ids:
                inside.discard(opened_ids.pop())


def _members(value: Any, place: Place, shape: int, shapes: Shapes) -> Iterator[Item] | None:
    kind = type(value)
    if kind is Members:
        return _of_pairs(value, place, shape, shapes)
    if kind is LazyMembers:
        return _of_pairs(value.members, place, shape, shapes)
    if kind is LazyList:
        value, kind = value.members, list
    if kind is dict or (kind not in _AS_IS and isinstance(value, Mapping)):
        return _of_pairs(value.items(), place, shape, shapes)
    if kind is list or isinstance(value, list | tuple | set | frozenset):
        if shapes.exact:
            return (((place, index), shapes.below(shape, index), member, False) for index, member in enumerate(value))
        below = shapes.below(shape, 0)
        return (((place, index), below, member, False) for index, member in enumerate(value))
    return None


def _of_pairs(pairs: Any, place: Place, shape: int, shapes: Shapes) -> Iterator[Item]:
    known = shapes.known(shape)
    for key, member in pairs:
        name = key if type(key) is str else scalar_text(key)
        below = known.get(name)
        if below is None:
            below = shapes.below(shape, name)
            yield (place, name, True), below, name, True
        yield (place, name), below, member, False


def texts_in(value: Any) -> Iterator[str]:
    """Every text and number in `value`, and its keys, in order."""
    for _, _, raw, _ in leaves(value, Root("value"), exact_indices=False):
        if text := scalar_text(raw):
            yield text
