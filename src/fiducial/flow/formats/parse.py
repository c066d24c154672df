"""Which of the formats a text is in, and a tool's result as the structure that it has or says."""

from __future__ import annotations

import re
from typing import Any, Final

from fiducial.flow.formats import literal, long_json, yaml_events
from fiducial.flow.formats.members import Members
from fiducial.flow.structure import plain, scalar_text

try:
    from fiducial.flow.formats import _yaml_lines as yaml_lines
except ImportError:  # not compiled: the slower reader reads the same, and more
    yaml_lines = yaml_events  # type: ignore[misc]

MAX_SLOW: Final = 256 * 1024
"""Characters of YAML or `repr` text read as structure; their slower readers run at about a megabyte a second. And of a
string of JSON: only lists and objects are decoded piece by piece."""

_YAML_HEAD = re.compile(r"(?:---\s*\n)?(?:- |-\n|[\w.@/ +&()'\"-]{1,120}:(?: |\n|$)|\? )")


def parse(text: str, *, exact: bool = False) -> Any:
    """The mapping or list that `text` is in JSON, YAML or `repr` form; `text` itself when it is none of them.

    A text that is one string of JSON is what the string says: between its escapes, nothing would be found again.

    `exact`: as dicts and lists, the numbers of JSON as numbers, and none where a key is said twice; else as it is
    written.
    """
    start = re.match(r"\s{0,1000}", text)
    head = text[start.end() : start.end() + 400] if start else ""
    value = None
    if head[:1] == '"' and len(text) <= MAX_SLOW:
        said = long_json.read(text, exact=exact)
        if isinstance(said, str):
            return parse(said, exact=exact)  # each time it is shorter, and quoted again it doubles its escapes
    if head[:1] in ("{", "["):
        value = long_json.read(text, exact=exact)
        if value is not None:
            return value
        if len(text) <= MAX_SLOW:
            value = literal.read(text)
    elif len(text) <= MAX_SLOW and _YAML_HEAD.match(head):
        value = yaml_lines.read(text)
        if value is None:
            value = yaml_events.read(text)
    if value is None:
        return text
    try:
        return _plainly(value) if exact else value
    except ValueError:
        return text


def structured(value: Any) -> Any:
    """A tool's result as the structure that it has, or that it says where it is text: where its parts are looked for.

    The outermost list or object of a long text is to be walked once.
    """
    if isinstance(value, str | bytes | bytearray | memoryview):
        return parse(scalar_text(value), exact=True)
    return plain(value)


def _plainly(value: Any) -> Any:
    """`value` with dicts; it nests to `MAX_DEPTH` at most. Raises `ValueError` where a key is said twice."""
    if isinstance(value, Members):
        return long_json.unrepeated([(key, _plainly(member)) for key, member in value])
    return [_plainly(member) for member in value] if isinstance(value, list) else value
