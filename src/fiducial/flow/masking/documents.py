"""JSON in texts: what stands in it is changed in its place, as what it is without its escapes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_TOKEN = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*+")(?P<key>\s*:)?|[{}\[\]]|-?[0-9][^\s{}\[\],:"]*')
"""Of JSON that is valid: a string (a key, where a colon comes next), a bracket, or a number."""


_BEGINS = re.compile(r'[{\[](?=\s*["{}\[\]0-9tfn-])')
_PATIENCE = 8
"""How often a text is read, counting what turns out to be no JSON, before the rest of it is read as text alone."""
_DECODER = json.JSONDecoder()


def documents(text: str) -> list[tuple[int, int]]:
    """Where JSON stands in `text`, start and end: all of it, or objects and lists among words. Nowhere when nothing in
    it is escaped: then it is read as text, with the same result."""
    if "\\" not in text:
        return []
    if text.lstrip().startswith('"'):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return []
        return [(0, len(text))]
    found: list[tuple[int, int]] = []
    at, left = 0, _PATIENCE * len(text)
    while left >= 0 and (begins := _BEGINS.search(text, at)) is not None:
        try:
            at = _DECODER.raw_decode(text, begins.start())[1]
            found.append((begins.start(), at))
        except json.JSONDecodeError as error:
            at = begins.end()
            left -= error.pos - begins.start() + error.pos // 64  # which it counts the lines of
        except (ValueError, RecursionError):
            break
    return [(start, end) for start, end in found if "\\" in text[start:end]]


def rewritten(text: str, change: Callable[[Any, str | None], Any]) -> str:
    """`text`, which is JSON, with each key, string and number as `change` makes it of its value and of the key that it
    stands under (keys: under none)."""
    pieces: list[str] = []
    at = 0
    for start, end, value, key in _members(text):
        changed = change(value, key)
        if changed is not value:
            pieces += [text[at:start], json.dumps(changed, ensure_ascii=text.isascii())]
            at = end
    return "".join(pieces) + text[at:]


def _members(text: str) -> Iterator[tuple[int, int, Any, str | None]]:
    under: list[str | None] = [None]
    for token in _TOKEN.finditer(text):
        if token["text"] is None and token[0] in "{[":
            under.append(under[-1])
        elif token["text"] is None and token[0] in "}]":
            under.pop()
        elif token["key"] is None:
            yield *token.span(), json.loads(token[0]), under[-1]
        else:
            under[-1] = json.loads(token["text"])
            yield *token.span("text"), under[-1], None
