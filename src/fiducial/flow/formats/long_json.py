"""JSON text of any length, decoded so that no C call runs long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fiducial.flow.formats.members import LazyList, LazyMembers, Members

_WINDOW = 256 * 1024
"""Characters of JSON decoded in one C call: about 2 ms on one core."""
_STRETCH = 32 * 1024
"""Characters of a list of which the members are decoded together, where they are alike."""
_MAX_DESCENT = 32
"""Levels of JSON opened by hand because an element is larger than the window; deeper than that it stays text."""


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says no key twice. Raises `ValueError` for one that does: which of them is meant is not known."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is said twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=Members, parse_float=str, parse_int=str, parse_constant=str, strict=False)
_EXACT = json.JSONDecoder(object_pairs_hook=unrepeated, strict=False)

_SPACES = " \t\n\r"
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_PIECE = re.compile(
    r'(?:[^"\\]{1,1024}|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|\\u[0-9a-fA-F]{4}|\\[^u]){0,256}', re.DOTALL
)


def read(text: str, *, exact: bool = False) -> Any:
    """The value of `text`; the outermost list or object of a long one is to be walked once. `None`: it is no JSON.

    `exact`: with numbers and dicts, and none where a key is said twice; else as it is written.
    """
    if len(text) > _WINDOW:
        return _Long(text, exact=exact).value()
    try:
        return (_EXACT if exact else _DECODER).decode(text)
    except (ValueError, RecursionError):
        return None


class _Cut(Exception):
    """The text is not JSON after all, or nests deeper than is opened by hand."""


class _Long:
    """Decodes a long text element by element, each within a window, so that no C call runs long."""

    __slots__ = ("_base", "_decoder", "_exact", "_text", "_window")

    def __init__(self, text: str, *, exact: bool) -> None:
        self._text = text
        self._exact = exact
        self._decoder = _EXACT if exact else _DECODER
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
            if self._exact and self._text[start] == "{":
                unrepeated([(key, None) for key, _ in self._members(start)])
            else:
                for _ in self._members(start):
                    pass
        except (_Cut, ValueError, RecursionError, IndexError):
            return None
        kind = LazyList if self._text[start] == "[" else LazyMembers
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
                value, end = self._decoder.raw_decode(self._window, index - self._base)
            except (ValueError, RecursionError):
                continue
            end += self._base
            # A number at the end of the window may go on behind it, also where its last sign tells nothing yet.
            if end == len(self._text) or (end < self._base + len(self._window) and self._text[end] not in ".eE"):
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
        pairs = [member for _, member in items if member is not _NOTHING]
        return (unrepeated(pairs) if self._exact else Members(pairs)), items[-1][0]

    def _items(self, index: int, depth: int) -> Iterator[tuple[Any, int]]:
        """Members of a list and where each ends; at last `_NOTHING` and where the list ends."""
        text = self._text
        index = self._skip(index)
        if text[index] != "]":
            alike = True
            while True:
                value, end = self._element(self._skip(index), depth)
                yield value, end
                index = self._skip(end)
                if text[index] == "]":
                    break
                if text[index] != ",":
                    raise _Cut
                index = self._skip(index + 1)
                between = text[end - 1 : index + 1]
                while alike:
                    members, index = self._several(index, between)
                    alike = bool(members)
                    for member in members:
                        yield member, index
        yield _NOTHING, index + 1

    def _several(self, index: int, between: str) -> tuple[list[Any], int]:
        """Members of a list from `index` on, and where the next one starts; none when they are not plain to see.

        `between`: what stood between two members before, from the last character of one to the first of the next.
        """
        stretch = self._text[index : index + _STRETCH]
        size = stretch.rfind(between) + 1
        if not size:
            return [], index
        # Where it stands inside a member or a string, something is open before it, so that this is no list.
        listed = f"[{stretch[:size]}]"
        try:
            members, end = self._decoder.raw_decode(listed)
        except (ValueError, RecursionError):
            return [], index
        return (members, index + size + len(between) - 2) if end == len(listed) else ([], index)

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
