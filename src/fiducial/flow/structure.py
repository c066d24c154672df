"""Results as leaves: every scalar of a tool's result, with the path that leads to it.

What comes in is any Python or JSON value. Agents' frameworks also hand over results as text, in three ways: JSON, YAML
(block style), and the `repr` of a dict or list. A text that is one of them, and holds a mapping or a list, is read as
such; anything else is one leaf at `$`. Leaves keep the code points that were written: numbers are not parsed. Keys are
leaves too, at the path of their member: a mapping keyed by product names or file paths names entities. Repeated keys
are all kept, because a model that reads the text sees all of them.

Nothing here recurses or runs long in one C call, so hostile nesting costs linear time and other threads get their
turn: large JSON is decoded element by element, and YAML or `repr` text past `MAX_SLOW` stays text, which is the safe
side (a text at `$` cannot be told to be a record).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, TypeAlias

import msgspec
import yaml

from fiducial.core.path import Path, show

MAX_SLOW = 256 * 1024
"""Characters of YAML or `repr` text read as structure; their parsers run at about a megabyte a second."""
_WINDOW = 256 * 1024
"""Characters of JSON decoded in one C call: about 2 ms on one core."""
_MAX_DESCENT = 32
"""Levels of JSON opened by hand because an element is larger than the window; deeper than that it stays text."""
_MAX_DEPTH = 200
"""Nesting past which a structured text is taken as text, and a value's leaves as anyone's; results stay under 20."""


class Root:
    """Where the paths of one source start."""

    __slots__ = ("classes", "id", "pointed", "structured")

    def __init__(self, id: str, *, pointed: bool = False, classes: frozenset[str] = frozenset()) -> None:
        self.id = id
        self.pointed = pointed
        self.classes = classes
        self.structured = False


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


class _Members(tuple):  # type: ignore[type-arg]
    """A JSON object as its pairs, in order, repeated keys and all."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Members, parse_float=str, parse_int=str, parse_constant=str, strict=False
)


def parse(text: str) -> Any:
    """The mapping or list that `text` is in JSON, YAML or `repr` form; `text` itself when it is none of them."""
    start = re.match(r"\s{0,1000}", text)
    head = text[start.end() : start.end() + 400] if start else ""
    if head[:1] in ("{", "["):
        if len(text) > _WINDOW:
            large = _LargeJson(text).value()
            if large is not None:
                return large
        else:
            try:
                value = _DECODER.decode(text)
            except (ValueError, RecursionError):
                pass
            else:
                return value
        if len(text) <= MAX_SLOW:
            literal = _literal(text)
            if literal is not None:
                return literal
        return text
    if len(text) <= MAX_SLOW and _YAML_HEAD.match(head):
        value = _yaml(text)
        return text if value is None else value
    return text


# Large JSON, one window at a time.

_SPACES = " \t\n\r"
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_PIECE = re.compile(
    r'(?:[^"\\]{1,1024}|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|\\u[0-9a-fA-F]{4}|\\[^u]){0,256}', re.DOTALL
)


class _Cut(Exception):
    """The text is not JSON after all, or nests deeper than is opened by hand."""


class _LargeJson:
    """Decodes a long text element by element, each within a window, so that no C call runs long."""

    __slots__ = ("_base", "_text", "_window")

    def __init__(self, text: str) -> None:
        self._text = text
        self._base = 0
        self._window = text[:_WINDOW]

    def value(self) -> Any:
        """The text's value, its outermost list or object one to be walked once; `None` when the text is not JSON.

        All of it is decoded twice: once to know that it is JSON, and once member by member as the walk goes on. Kept
        whole, its hundreds of thousands of objects would make the garbage collector stop every thread for longer than
        decoding takes.
        """
        start = self._skip(0)
        try:
            for _ in self._members(start):
                pass
        except (_Cut, ValueError, RecursionError, IndexError):
            return None
        kind = _LazyList if self._text[start] == "[" else _LazyMembers
        return kind(self._members(start))

    def _members(self, index: int) -> Iterator[Any]:
        """Members of the outermost list (values) or object (pairs), and then the check that nothing follows."""
        listed = self._text[index] == "["
        for member, end in (self._items if listed else self._pairs)(index + 1, 1):
            index = end
            if member is not _NOTHING:
                yield member
        if self._skip(index) != len(self._text):
            raise _Cut

    def _skip(self, index: int) -> int:
        text = self._text
        if index >= len(text) or text[index] not in _SPACES:
            return index
        match = _SPACE.match(text, index)
        return match.end() if match else index

    def _element(self, index: int, depth: int) -> tuple[Any, int]:
        for fresh in (False, True):
            if fresh:
                self._base = index
                self._window = self._text[index : index + _WINDOW]
            elif not self._base <= index < self._base + len(self._window):
                continue
            try:
                value, end = _DECODER.raw_decode(self._window, index - self._base)
            except (ValueError, RecursionError):
                continue
            end += self._base
            # A number at the very end of the window may go on behind it.
            if end < self._base + len(self._window) or end == len(self._text):
                return value, end
        opener = self._text[index]
        if opener == '"':
            return self._string(index)
        if opener not in "[{" or depth >= _MAX_DESCENT or index + _WINDOW >= len(self._text):
            raise _Cut
        return self._list(index + 1, depth + 1) if opener == "[" else self._object(index + 1, depth + 1)

    def _string(self, index: int) -> tuple[str, int]:
        text, pieces, at = self._text, [], index + 1
        while True:
            match = _STRING_PIECE.match(text, at)
            if match is None or (not match[0] and text[at] != '"'):
                raise _Cut
            pieces.append(json.loads(f'"{match[0]}"', strict=False))
            at = match.end()
            if text[at] == '"':
                return "".join(pieces), at + 1

    def _list(self, index: int, depth: int) -> tuple[Any, int]:
        items = [(end, member) for member, end in self._items(index, depth)]
        return [member for _, member in items if member is not _NOTHING], items[-1][0]

    def _object(self, index: int, depth: int) -> tuple[Any, int]:
        items = [(end, member) for member, end in self._pairs(index, depth)]
        return _Members(member for _, member in items if member is not _NOTHING), items[-1][0]

    def _items(self, index: int, depth: int) -> Iterator[tuple[Any, int]]:
        """Members of a list and where each ends; at last `_NOTHING` and where the list ends."""
        text = self._text
        index = self._skip(index)
        if text[index] != "]":
            while True:
                value, index = self._element(self._skip(index), depth)
                yield value, index
                index = self._skip(index)
                if text[index] == "]":
                    break
                if text[index] != ",":
                    raise _Cut
                index += 1
        yield _NOTHING, index + 1

    def _pairs(self, index: int, depth: int) -> Iterator[tuple[Any, int]]:
        """Members of an object, as `_items`."""
        text = self._text
        index = self._skip(index)
        if text[index] != "}":
            while True:
                index = self._skip(index)
                if text[index] != '"':
                    raise _Cut
                key, index = self._string(index)
                index = self._skip(index)
                if text[index] != ":":
                    raise _Cut
                value, index = self._element(self._skip(index + 1), depth)
                yield (key, value), index
                index = self._skip(index)
                if text[index] == "}":
                    break
                if text[index] != ",":
                    raise _Cut
                index += 1
        yield _NOTHING, index + 1


_NOTHING = object()


class _Lazy:
    """A list or object of a long text, decoded while it is walked, once."""

    __slots__ = ("members",)

    def __init__(self, members: Iterator[Any]) -> None:
        self.members = members


class _LazyList(_Lazy):
    __slots__ = ()


class _LazyMembers(_Lazy):
    __slots__ = ()


# YAML, by events: no tags are resolved, no objects built, no aliases followed.

_YAML_HEAD = re.compile(r"(?:---\s*\n)?(?:- |-\n|[\w.@/ +&()'\"-]{1,120}:(?: |\n|$)|\? )")


def _yaml(text: str) -> Any:
    """The block mapping or list that `text` is; `None` when it is not, or says anything that no leaf or key would hold.

    Comments, tags, anchors, directives and keys that are no scalars say something to whoever reads the text and nothing
    to a parser. So what stands between the scalars must be indicators and white space, and what a scalar spans must be
    its value.
    """
    # Collections that are open, the innermost last; the first is a list of its own, for the root.
    stack: list[list[Any]] = [[]]
    items = roots = stack[0]
    start = _DOCUMENT.match(text)
    done = start.end() if start else 0
    scalar, between = yaml.ScalarEvent, set[str]()
    try:
        event = _LOADER(text).get_event
        while (kind := type(found := event())) is not yaml.StreamEndEvent:
            if kind is scalar:
                start_mark, end_mark = found.start_mark, found.end_mark
                if items is roots or start_mark is None or end_mark is None:
                    return None
                low = start_mark.index
                # Few kinds of gaps come again and again.
                gap = text[done:low]
                if gap not in between:
                    if not _BETWEEN.fullmatch(gap):
                        return None
                    between.add(gap)
                done = end_mark.index
                value, written = found.value, text[low:done]
                if written != value and not _spans_its_value(found, written):
                    return None
                items.append(value)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(stack) > _MAX_DEPTH or (items is roots and roots):
                    return None
                items = []
                stack.append(items)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                closed = _pairs(stack.pop()) if kind is yaml.MappingEndEvent else stack.pop()
                if closed is None:
                    return None
                items = stack[-1]
                items.append(closed)
            elif kind is yaml.AliasEvent:
                return None
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return roots[0] if roots and _BETWEEN.fullmatch(text, done) else None


_DOCUMENT = re.compile(r"\s*---(?=\s)")
_BETWEEN = re.compile(r"[\s\-:?,\[\]{}]*+")
"""What may stand between the scalars of a YAML text: indicators that hold no word, and white space."""
_BLOCK_HEAD = re.compile(r"[|>](?:[+-][1-9]?|[1-9][+-]?)?[ \t]*(?=[\r\n]|\Z)")
_FOLD = re.compile(r"\n +")
_QUOTES = ("'", '"')


def _spans_its_value(event: yaml.ScalarEvent, written: str) -> bool:
    """All of `written`, as it stands in the text, is the scalar's value: no tag, no anchor, no comment."""
    value: str = event.value
    if not event.style and _FOLD.sub(" ", written) == value:
        return True
    if event.style in _QUOTES:
        return written[:1] == event.style == written[-1:]
    if event.style:
        head = _BLOCK_HEAD.match(written)
        if head is None:
            return False
        written = written[head.end() :]
    # Plain and block scalars have no escapes; only their white space is folded.
    return written.split() == value.split()


_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


_STRING = frozenset({str})


def _pairs(items: list[Any]) -> _Members | None:
    """An object of keys and values in turn; `None` when a key is no scalar."""
    if not _STRING.issuperset(map(type, items[::2])):
        return None
    return _Members(zip(items[::2], items[1::2], strict=True))


# `repr` of dicts and lists.

_TOKEN = re.compile(
    r"\s*+(?:(?P<open>[\[{(])|(?P<close>[\]})])|(?P<comma>,)|(?P<colon>:)"
    r"|(?P<string>[bBuUrR]{0,2}(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"))"
    r"|(?P<call>[A-Za-z_][\w.]{0,80}\()|(?P<atom>[^\s\[\](){},:'\"]+))",
    re.DOTALL,
)


def _literal(text: str) -> Any:
    """The dict or list whose `repr` is `text`, calls such as `datetime.date(2024, 5, 1)` kept as text."""
    stack: list[tuple[str, list[Any]]] = []
    index, size = 0, len(text.rstrip())
    while index < size:
        match = _TOKEN.match(text, index)
        if match is None:
            return None
        index = match.end()
        kind = match.lastgroup
        if kind == "open":
            if len(stack) >= _MAX_DEPTH:
                return None
            stack.append((match["open"], []))
            continue
        if not stack:
            return None
        items = stack[-1][1]
        if kind == "close":
            opener, items = stack.pop()
            if "[{(".index(opener) != "]})".index(match["close"]):
                return None
            value = _closed(opener, items)
            if value is None:
                return None
            if not stack:
                return value if index >= size and opener != "(" else None
            stack[-1][1].append(value)
        elif kind in ("comma", "colon"):
            items.append(_MARKS[match[kind]])
        elif kind == "string":
            try:
                piece = ast.literal_eval(match["string"])
            except (ValueError, SyntaxError):
                return None
            items.append(piece.decode("utf-8", "replace") if isinstance(piece, bytes) else piece)
        elif kind == "call":
            end = _call_end(text, match.end())
            if end is None:
                return None
            items.append(_shown_call(text[match.start("call") : end]))
            index = end
        else:
            atom = match["atom"]
            items.append({"True": True, "False": False, "None": None}.get(atom, atom))
    return None


class _Mark:
    __slots__ = ()


_COMMA, _COLON = _Mark(), _Mark()
_MARKS = {",": _COMMA, ":": _COLON}


def _closed(opener: str, items: list[Any]) -> Any:
    """The container that a run of values and marks makes; `None` when they do not fit together."""
    if items and items[-1] is _COMMA:
        items.pop()
    if opener == "{" and (len(items) < 2 or items[1] is _COLON):
        pairs = []
        for index in range(0, len(items), 4):
            group = items[index : index + 4]
            if len(group) < 3 or group[1] is not _COLON or (len(group) == 4 and group[3] is not _COMMA):
                return None
            if isinstance(group[0], _Mark) or isinstance(group[2], _Mark):
                return None
            key = group[0]
            pairs.append((key if isinstance(key, str) else str(key), group[2]))
        return _Members(pairs)
    values = items[::2]
    if any(isinstance(value, _Mark) for value in values) or any(mark is not _COMMA for mark in items[1::2]):
        return None
    return values


def _call_end(text: str, index: int) -> int | None:
    """Index just behind the bracket that closes a call; calls that hold strings or are long are not followed."""
    depth = 1
    for position in range(index, min(len(text), index + 400)):
        character = text[position]
        if character in "'\"":
            return None
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            return position + 1
    return None


_DATETIME = re.compile(
    r"datetime\.date(?P<time>time)?\((\d{4}), (\d{1,2}), (\d{1,2})"
    r"(?(time), (\d{1,2}), (\d{1,2})(?:, (\d{1,2})(?:, (\d{1,6}))?)?"
    r"(?P<utc>, tzinfo=(?:datetime\.timezone\.utc|TzInfo\((?:UTC|0)\)))?)\)"
)
"""Nothing else: whatever a call says besides a date and an hour is kept as it is written."""


def _shown_call(text: str) -> str:
    match = _DATETIME.fullmatch(text)
    if match is None:
        return text
    year, month, day, hour, minute, second = (int(part) if part else 0 for part in match.groups()[1:7])
    shown = f"{year:04}-{month:02}-{day:02}"
    if match["time"]:
        shown += f" {hour:02}:{minute:02}:{second:02}"
        shown += f".{int(match[8]):06}" if match[8] else ""
        shown += "+00:00" if match["utc"] else ""
    return shown


# Leaves


def scalar_text(value: Any) -> str:
    """A scalar as the text a reader of the result sees."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Enum):
        return scalar_text(value.value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever an odd object raises, its text is unknown and nothing is trusted by it
        return ""


_AS_IS = frozenset({str, bytes, bytearray, int, float, bool, type(None), dict, list, tuple, set, frozenset, _Members})


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
        return scalar_text(value)
    return value


_SCALARS = frozenset({str, int, float, bool, type(None)})

Item: TypeAlias = tuple[Place, int, Any, bool]
"""Place, shape, value, and whether it is a key. Leaves whose paths differ in indices alone have the same shape."""

DEEP = -1
"""Shape of everything nested deeper than `_MAX_DEPTH`."""


class _Shapes:
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
            if depth > _MAX_DEPTH:
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
    shapes = _Shapes(exact_indices)
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


def _members(value: Any, place: Place, shape: int, shapes: _Shapes) -> Iterator[Item] | None:
    kind = type(value)
    if kind is _Members:
        return _of_pairs(value, place, shape, shapes)
    if kind is _LazyMembers:
        return _of_pairs(value.members, place, shape, shapes)
    if kind is _LazyList:
        value, kind = value.members, list
    if kind is dict or (kind not in _AS_IS and isinstance(value, Mapping)):
        return _of_pairs(value.items(), place, shape, shapes)
    if kind is list or isinstance(value, list | tuple | set | frozenset):
        if shapes.exact:
            return (((place, index), shapes.below(shape, index), member, False) for index, member in enumerate(value))
        below = shapes.below(shape, 0)
        return (((place, index), below, member, False) for index, member in enumerate(value))
    return None


def _of_pairs(pairs: Any, place: Place, shape: int, shapes: _Shapes) -> Iterator[Item]:
    known = shapes.known(shape)
    for key, member in pairs:
        name = key if type(key) is str else scalar_text(key)
        below = known.get(name)
        if below is None:
            below = shapes.below(shape, name)
            yield (place, name, True), below, name, True
        yield (place, name), below, member, False
