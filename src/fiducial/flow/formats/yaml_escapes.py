"""What YAML between double quotes says."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\\(?:(?P<one>[nrt \"/\\])|x(?P<two>[0-9a-fA-F]{2})|u(?P<four>(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
    r"|U000(?P<five>1[0-9a-fA-F]{4})|(?P<unknown>))"
)
_WHOLE = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)
_ONE = {"n": "\n", "r": "\r", "t": "\t"}


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
