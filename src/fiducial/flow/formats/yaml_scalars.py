"""What the scalars of YAML say that are quoted or go over several lines."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\\(?:(?P<one>[nrt \"/\\])|x(?P<two>[0-9a-fA-F]{2})|u(?P<four>(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
    r"|U000(?P<five>1[0-9a-fA-F]{4})|(?P<unknown>))"
)
_WHOLE = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)
_FOLD = re.compile(r"\n *+")
_ONE = {"n": "\n", "r": "\r", "t": "\t"}
_ASCII = bytes(range(32, 127)) + b"\n"


def printable(text: str) -> bool:
    """No character of `text` but the line end is a control, a separator other than the space, or unassigned."""
    if text.isascii():
        return not text.encode().translate(None, _ASCII)
    return text.replace("\n", "").isprintable()


def unfolded(written: str, column: int, *, escapes: bool) -> str | None:
    """A scalar of several lines as one: a line end is a space, each empty line after it a line end.

    `None` when a line is not further in than its collection at `column`. `escapes`: a line end may be escaped, as in
    double quotes.
    """
    margin = " " * (column + 1)
    even = " \n" not in written and "\n\n" not in written and not (escapes and "\\" in written)
    if even and written.count("\n") == written.count("\n" + margin):
        return _FOLD.sub(" ", written)
    continued = _continued(written, margin) if escapes else None
    return continued or _line_by_line(written, margin, escapes)


def _continued(written: str, margin: str) -> str | None:
    """A scalar in double quotes of which every line end is escaped, as PyYAML writes it; `None` for any other."""
    first, *lines = written.split("\\\n")
    done = [first]
    for line in lines:
        # No backslash before the one that escapes the line end: which escapes which is for `_line_by_line` to say.
        if done[-1].endswith("\\") or not line.startswith(margin):
            return None
        text = line.lstrip(" ")
        done.append(text[1:] if text.startswith("\\ ") else text)
    joined = "".join(done)
    return None if "\n" in joined else joined


def _line_by_line(written: str, margin: str, escapes: bool) -> str | None:
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
