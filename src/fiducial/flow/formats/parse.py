"""Which of the formats a text is in."""

from __future__ import annotations

import re
from typing import Any, Final

from fiducial.flow.formats import literal, long_json, yaml_events, yaml_lines

MAX_SLOW: Final = 256 * 1024
"""Characters of YAML or `repr` text read as structure; their slower readers run at about a megabyte a second."""

_YAML_HEAD = re.compile(r"(?:---\s*\n)?(?:- |-\n|[\w.@/ +&()'\"-]{1,120}:(?: |\n|$)|\? )")


def parse(text: str) -> Any:
    """The mapping or list that `text` is in JSON, YAML or `repr` form; `text` itself when it is none of them."""
    start = re.match(r"\s{0,1000}", text)
    head = text[start.end() : start.end() + 400] if start else ""
    value = None
    if head[:1] in ("{", "["):
        value = long_json.read(text)
        if value is None and len(text) <= MAX_SLOW:
            value = literal.read(text)
    elif len(text) <= MAX_SLOW and _YAML_HEAD.match(head):
        value = yaml_lines.read(text)
        if value is None:
            value = yaml_events.read(text)
    return text if value is None else value
