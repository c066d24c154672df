"""Text that is the `repr` of a dict or list."""

from __future__ import annotations

import ast
import re
from typing import Any

from fiducial.flow.formats.members import MAX_DEPTH, Members

_TOKEN = re.compile(
    r"\s*+(?:(?P<open>[\[{(])|(?P<close>[\]})])|(?P<comma>,)|(?P<colon>:)"
    r"|(?P<string>[bBuUrR]{0,2}(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"))"
    r"|(?P<call>[A-Za-z_][\w.]{0,80}\()|(?P<atom>[^\s\[\](){},:'\"]+))",
    re.DOTALL,
)


def read(text: str) -> Any:
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
            if len(stack) >= MAX_DEPTH:
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
        return Members(pairs)
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
