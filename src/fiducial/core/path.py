"""Paths into JSON values, and patterns over them.

A path is a tuple of object keys and array indices. A pattern is written as in JSONPath: `$` is the whole value,
`.key` or `['key']` a member, `[*]` any array element, `.*` any member, and `..key` or `..['key']` a member at any
depth. A pattern covers what it names and everything beneath it.

    $[*].subject     the subject of every element, and all inside it
    $..body          every member called body, wherever it is
    $                everything
"""

from __future__ import annotations

import re
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the root."""

_STEP = re.compile(
    r"\.\.(?P<deep>[A-Za-z_][\w-]*)|\.\.\['(?P<deep_quoted>[^']*)'\]|\.(?P<star>\*)|\.(?P<key>[A-Za-z_][\w-]*)"
    r"|\[(?P<any>\*)\]|\[(?P<index>\d+)\]|\['(?P<quoted>[^']*)'\]"
)


class PathPattern:
    """A compiled pattern. Raises `ValueError` when `text` is not one."""

    __slots__ = ("_named", "_regex", "depth", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        """The pattern as written."""
        if not text.startswith("$"):
            raise ValueError(f"the path `{text}` does not start with `$`")
        position = 1
        parts: list[str] = []
        named: list[str] = []
        self.depth = 0
        """Steps up to the last wildcard: how deep the members lie that the pattern goes through one by one."""
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None:
                raise ValueError(f"the path `{text}` cannot be read from character {position + 1} on")
            position = match.end()
            if match["star"] is not None or match["any"] is not None:
                self.depth = len(parts) + 1
            if match["deep"] is not None or match["deep_quoted"] is not None:
                key = match["deep"] if match["deep"] is not None else match["deep_quoted"]
                parts.append(r"(?:\x00[^\x00]*)*\x00k" + re.escape(key))
                named.append("".join(parts))
            elif match["star"] is not None:
                parts.append(r"\x00k[^\x00]*")
            elif match["any"] is not None:
                parts.append(r"\x00i\d+")
            elif match["index"] is not None:
                parts.append(r"\x00i" + match["index"])
            else:
                name = match["key"] if match["key"] is not None else match["quoted"]
                parts.append(r"\x00k" + re.escape(name))
                named.append("".join(parts))
        self._regex = re.compile("".join(parts) + r"(?:\x00|\Z)", re.DOTALL)
        self._named = re.compile("|".join(named)) if named else None

    def covers(self, path: Path) -> bool:
        """True when `path` is what the pattern names, or lies beneath it."""
        return self._regex.match(_flat(path)) is not None

    def names(self, path: Path) -> bool:
        """True when `path` ends in a key that the pattern spells out, there or on its way to a deeper member."""
        return self._named is not None and self._named.fullmatch(_flat(path)) is not None

    def __repr__(self) -> str:
        return f"PathPattern({self.text!r})"


def _flat(path: Path) -> str:
    """One unambiguous string a path; keys that hold a NUL cannot be told apart from deeper ones, so it is escaped."""
    return "".join(
        f"\x00i{step}" if isinstance(step, int) else "\x00k" + step.replace("\x00", "\ufffd") for step in path
    )


def show(path: Path) -> str:
    """`path` as JSONPath text."""
    return "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if step.isidentifier() else f"[{step!r}]" for step in path
    )
