"""Whether a text is within a link. What stands there does not stay with who reads it: it goes to whoever serves the
link, as soon as something shows a picture from it or a preview of it."""

from __future__ import annotations

import re
from typing import Final

_BEGINS: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}:)?//|www\.|[a-z0-9-]\.[a-z]{2,24}[/?#:]", re.IGNORECASE)
"""How a link begins: with a scheme, as one relative to it (RFC 3986 section 4.2), or as programs make one of a name."""
_LONGEST: Final = 48
"""Characters of the longest beginning."""
_ENDS: Final = (" ", "\n", "\t", '"', "<", ">", "`")


class Links:
    """Reads a text, piece by piece."""

    __slots__ = ("_last", "inside")

    def __init__(self) -> None:
        self.inside = False
        """What comes next would stand in a link."""
        self._last = ""

    def read(self, piece: str) -> None:
        """The next piece."""
        end = max(map(piece.rfind, _ENDS))
        if end >= 0:
            self.inside, self._last = False, ""
        run = self._last + piece[end + 1 :]
        self.inside = self.inside or _BEGINS.search(run) is not None
        self._last = run[-_LONGEST:]
