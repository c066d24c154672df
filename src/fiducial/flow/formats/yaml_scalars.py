"""What the characters of YAML's scalars say."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\\(?:(?P<one>[nrt \"/\\])|x(?P<two>[0-9a-fA-F]{2})|u(?P<four>(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
    r"|U000(?P<five>1[0-9a-fA-F]{4})|(?P<unknown>))"
)
_WHOLE = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)
_ONE = {"n": "\n", "r": "\r", "t": "\t"}
_ASCII = bytes(range(32, 127)) + b"\n"


def printable(text: str) -> bool:
    """No character of `text` but the line end is a control, a separator other than the space, or unassigned."""
    if text.isascii():
        return not text.encode().translate(None, _ASCII)
    return text.replace("\n", "").isprintable()


def unescaped(written: str) -> str | None:
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
