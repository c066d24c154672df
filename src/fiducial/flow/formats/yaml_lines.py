"""The YAML that programs write, line by line: about twice as fast as by libyaml's events.

It is a small part of the language: block mappings and lists, plain keys of ASCII letters, scalars that are plain or
quoted, in one line or folded, and empty collections. Whatever goes beyond that, or might, is left to
`fiducial.flow.formats.yaml_events`, which reads the same out of what is read here; the tests hold the two to each
other.
"""

from __future__ import annotations

import re
from typing import Any

from fiducial.flow.formats.members import MAX_DEPTH, Members

_START = re.compile(r"\n*(?:---\n)?")
_REST = r"[^\n:#]*+(?:(?::(?=\S)|(?<=\S)#)[^\n:#]*+)*+(?=\n)"
"""The rest of a line of a plain scalar: no `: `, no ` #`."""
_LINE = re.compile(
    r"(?P<prefix> *+(?:- ++)*+)"
    r"(?:(?P<key>[A-Za-z0-9_][\w.@/+()&-]*+(?: ++[\w.@/+()&-]++)*+):(?: ++|(?=\n)))?+"
    rf"(?:(?P<plain>(?:[^\s?:,\[\]{{}}#&*!|>'\"%@`-]|-(?=\S)){_REST}(?:\n ++(?=\S)(?!- ){_REST})*+)"
    r"|'(?P<single>[^']*+(?:''[^']*+)*+)'|\"(?P<double>[^\"]*+(?:(?<=\\)\"[^\"]*+)*+)\"|(?P<empty>\[\]|\{\}))?+ *+\n",
    re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<one>[nrt \"/\\])|x(?P<two>[0-9a-fA-F]{2})|u(?P<four>(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
    r"|U000(?P<five>1[0-9a-fA-F]{4})|(?P<unknown>))"
)
_WHOLE = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)
_ONE = {"n": "\n", "r": "\r", "t": "\t"}
_NO_VALUE = frozenset({"prefix", "key"})
_MAX_KEY = 120
_ASCII = bytes(range(32, 127)) + b"\n"


def read(text: str) -> Any:
    """The block mapping or list that `text` is; `None` when it is not, or not in this part of the language."""
    if not _printable(text):
        return None
    start = _START.match(text)
    at = start.end() if start else 0
    text = text.rstrip(" \n") + "\n"
    size, match = len(text), _LINE.match
    open_ = _Open()
    while at < size:
        found = match(text, at)
        if found is None:
            return None
        at = found.end()
        prefix, key, kind = found[1], found[2], found.lastgroup
        if key and prefix == open_.margin and not open_.awaits and len(key) <= _MAX_KEY:
            # The next member of the innermost mapping, as most lines are.
            open_.items.append(key)
            open_.awaits = True
        elif not (key or "-" in prefix) or not open_.line(prefix, key):
            return None
        if kind is None or kind in _NO_VALUE:
            continue
        written = found[kind]
        if kind == "plain" and "\n" not in written:
            value = written.rstrip(" ")
        elif (value := _value(kind, written, open_.column)) is None:
            return None
        open_.items.append(value)
        open_.awaits = False
    return open_.closed()


def _printable(text: str) -> bool:
    if text.isascii():
        return not text.encode().translate(None, _ASCII)
    return text.replace("\n", "").isprintable()


class _Open:
    """The collections that are open, the innermost in the attributes."""

    __slots__ = ("_outer", "awaits", "column", "items", "listed", "margin")

    def __init__(self) -> None:
        self._outer: list[tuple[int, list[Any], bool]] = []
        self.column = -1
        self.items: list[Any] = []
        """Members, or keys and values in turn. At first a list that holds nothing but the whole."""
        self.listed = True
        self.awaits = True
        """A value is still to come."""
        self.margin: str | None = None
        """The indentation of a mapping's keys; `None` in a list."""

    def line(self, prefix: str, key: str | None) -> bool:
        """A line starts: indentation, dashes, perhaps a key. Whether it can stand here."""
        dash = prefix.find("-")
        column = len(prefix) if dash < 0 else dash
        while column < self.column:
            self._close()
        while dash >= 0:
            if dash == self.column and self.listed:
                self._settle()
            elif not self.awaits or not self._enter(dash, listed=True):
                return False
            self.awaits = True
            dash = prefix.find("-", dash + 1)
        if key is None:
            return True
        column = len(prefix)
        if column == self.column and self.listed and self._outer[-1][0] == column:
            # A list may stand where its key does.
            self._close()
        if column == self.column and not self.listed:
            self._settle()
        elif column <= self.column or not self.awaits or not self._enter(column, listed=False):
            return False
        self.items.append(key)
        self.awaits = True
        return len(key) <= _MAX_KEY

    def _enter(self, column: int, *, listed: bool) -> bool:
        self._outer.append((self.column, self.items, self.listed))
        self.column, self.items, self.listed = column, [], listed
        self.margin = None if listed else " " * column
        return len(self._outer) <= MAX_DEPTH

    def _settle(self) -> None:
        """What was awaited does not come: it is empty."""
        if self.awaits:
            self.items.append("")
            self.awaits = False

    def _close(self) -> None:
        self._settle()
        items = self.items
        value = items if self.listed else Members(zip(items[::2], items[1::2], strict=True))
        self.column, self.items, self.listed = self._outer.pop()
        self.margin = None if self.listed else " " * self.column
        self.items.append(value)

    def closed(self) -> Any:
        """The whole; `None` when there is nothing."""
        while self._outer:
            self._close()
        return self.items[0] if len(self.items) == 1 else None


def _value(kind: str, written: str, column: int) -> Any:
    """A value from the group of `_LINE` that it matched, in the collection at `column`; `None` when it is not clear."""
    if kind == "empty":
        return [] if written == "[]" else Members()
    if "\n" in written:
        unfolded = _continued(written, column) if kind == "double" else None
        unfolded = unfolded or _unfolded(written, column, escapes=kind == "double")
        if unfolded is None:
            return None
        written = unfolded
    if kind == "plain":
        return written.rstrip(" ")
    return written.replace("''", "'") if kind == "single" else _unescaped(written)


def _continued(written: str, column: int) -> str | None:
    """A scalar in double quotes of which every line end is escaped, as PyYAML writes it; `None` for any other."""
    first, *lines = written.split("\\\n")
    margin = " " * (column + 1)
    done = [first]
    for line in lines:
        # No backslash before the one that escapes the line end: which of them escapes which is for `_unfolded` to say.
        if done[-1].endswith("\\") or not line.startswith(margin):
            return None
        text = line.lstrip(" ")
        done.append(text[1:] if text.startswith("\\ ") else text)
    joined = "".join(done)
    return None if "\n" in joined else joined


def _unfolded(written: str, column: int, *, escapes: bool) -> str | None:
    """A scalar of several lines as one: a line end is a space, each empty line after it a line end.

    `None` when a line is not further in than its collection at `column`. `escapes`: a line end may be escaped.
    """
    margin = " " * (column + 1)
    first, *lines, last = written.split("\n")
    if not last.startswith(margin):
        return None
    done: list[str] = []
    between = ""
    for line in (first, *lines):
        if done and not line.startswith(margin) and line.strip(" "):
            return None
        text = (line.lstrip(" ") if done else line).rstrip(" ")
        escaped = escapes and (len(text) - len(text.rstrip("\\"))) % 2 == 1
        if escaped and text[-1] != line[-1]:
            return None
        if done and not text:
            if not between:
                return None
            between = "\n" if between == " " else between + "\n"
            continue
        done += (between, text[:-1] if escaped else text)
        between = "" if escaped else " "
    done += (between, last.lstrip(" "))
    return "".join(done)


def _unescaped(written: str) -> str | None:
    """What stands between double quotes; `None` for an escape that is not known here."""
    if '"' in written and not _WHOLE.fullmatch(written):
        return None  # it ended before
    try:
        return _ESCAPE.sub(_meant, written) if "\\" in written else written
    except LookupError:
        return None


def _meant(escape: re.Match[str]) -> str:
    kind = escape.lastgroup
    if kind is None or kind == "unknown":
        raise LookupError
    text = escape[kind]
    return _ONE.get(text, text) if kind == "one" else chr(int(text, 16))
