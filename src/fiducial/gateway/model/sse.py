"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), as bytes that come in pieces."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import Final

import msgspec

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n")
_LINE: Final = re.compile(rb"\r\n|\n|\r")
MOST: Final = 16 * 1024 * 1024
"""Bytes of one event."""


class Event(msgspec.Struct, frozen=True):
    """One event."""

    raw: bytes
    """As it came, with the empty line behind it."""
    name: str
    data: bytes
    """Empty for one that has none, such as a comment."""
    typed: bool = True
    """All of its lines are what the format knows. Of another, nobody can say what it will be taken for."""


class Events:
    """Cuts a stream into events."""

    __slots__ = ("_begun", "_kept", "_looked")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._looked = 0
        self._begun = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that are whole by now. Raises `ValueError` for one that has more than `MOST` bytes."""
        text = self._kept
        text += piece
        if not self._begun and len(text) >= len(BOM_UTF8):
            self._begun = True
            if text.startswith(BOM_UTF8):
                del text[: len(BOM_UTF8)]
        found: list[Event] = []
        at, look = 0, max(0, self._looked - 3)
        while (end := _END.search(text, look)) is not None:
            if end[0][-1:] == b"\r" and end.end() == len(text):
                break  # a line feed may follow
            found.append(_read(bytes(text[at : end.end()])))
            at = look = end.end()
        del text[:at]
        self._looked = len(text)
        if self._looked > MOST:
            raise ValueError("an event is too long")
        return found

    def close(self) -> list[Event]:
        """What the stream ended in the middle of counts as no event, unless only the empty line is missing."""
        text, self._kept, self._looked = bytes(self._kept), bytearray(), 0
        return [_read(text.rstrip(b"\r\n") + b"\n\n")] if text.endswith((b"\n", b"\r")) and text.strip() else []


def _read(raw: bytes) -> Event:
    # The way in which nearly all come.
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Event(raw, "", raw[6:-2])
    name, data, typed = "", [], True
    for line in _LINE.split(raw):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field not in (b"", b"id", b"retry"):
            typed = False
    return Event(raw, name, b"\n".join(data), typed)


def written(data: object, name: str = "") -> bytes:
    """An event with `data` as JSON."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


__all__ = ["MOST", "Event", "Events", "written"]
