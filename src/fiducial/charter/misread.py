"""Characters that show people other text than the software reads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_MISREAD = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]"  # controls, and line ends to some readers alone
    r"|\r(?!\n)"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # bidirectional controls (Unicode, property Bidi_Control)
)


def misread(text: str) -> Iterator[tuple[int, str]]:
    """The line of each such character in a policy or a YAML file, and what it is.

    Editors begin a new line at U+2028 or a form feed where Cedar's comment goes on, and none where YAML's has ended;
    and they show what stands around a bidirectional control in another order. A condition may seem to be there that is
    not, or the other way round.
    """
    for match in _MISREAD.finditer(text):
        name = unicodedata.name(match[0], "a control character").lower()
        yield text.count("\n", 0, match.start()) + 1, f"U+{ord(match[0]):04X} ({name})"
