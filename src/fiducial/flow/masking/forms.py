"""Values in the forms that a charter gives: by RE2, in linear time, and judged as other values are.

A match is tried at every character, so that whether a value stands somewhere depends on what is near it alone (see
`detector`): on `NAMED_WITHIN` characters before it, on itself, and on one character behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from re2 import _re2

from fiducial.charter.forms import Form, width
from fiducial.flow.masking.detector import Found
from fiducial.flow.masking.identity import NAMED_WITHIN, stdnum

_ANYWHERE = _re2.RE2.Anchor.UNANCHORED
_SPACE = re.compile(r"[\s_-]+")
_SIGNS = re.compile(r"[\W_]+")


class Matcher:
    """Finds the values of one form."""

    __slots__ = ("_check", "_match", "_words", "data_class", "longest")

    def __init__(self, data_class: str, form: Form) -> None:
        options = _re2.RE2.Options()
        options.never_capture, options.log_errors = True, False
        self.data_class = data_class
        self.longest = int(width(form.pattern).most)
        """Characters of the longest value."""
        self._match: Callable[..., list[tuple[int, int]]] = _re2.RE2(form.pattern.encode(), options).Match
        words = "|".join(r"[\s_-]+".join(map(re.escape, _SPACE.split(word.strip()))) for word in form.after)
        self._words = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE) if words else None
        self._check = _checks(form.check) if form.check is not None else None

    def find(self, text: str) -> Iterator[Found]:
        """Every value in `text`, but those within others."""
        plain, at, covered = text.encode("utf-8", "replace"), 0, 0
        places = _Places(plain)
        while True:
            start, end = self._match(_ANYWHERE, plain, at, len(plain))[0]
            if start < 0:
                return
            at = start + 1
            if end > covered:
                begins, ends = places.of(start, end)
                if self._is_value(text, begins, ends):
                    covered = end
                    yield Found(begins, ends, self.data_class)

    def _is_value(self, text: str, start: int, end: int) -> bool:
        if self._words is not None and self._words.search(text[max(0, start - NAMED_WITHIN) : start]) is None:
            return False
        return self._check is None or self._check(text[start:end])


class _Places:
    """Characters that bytes of a text are; asked in their order."""

    __slots__ = ("_ascii", "_bytes", "_characters", "_plain")

    def __init__(self, plain: bytes) -> None:
        self._plain, self._ascii = plain, plain.isascii()
        self._bytes = self._characters = 0

    def of(self, start: int, end: int) -> tuple[int, int]:
        if self._ascii:
            return start, end
        self._characters += len(self._plain[self._bytes : start].decode())
        self._bytes = start
        return self._characters, self._characters + len(self._plain[start:end].decode())


def _checks(name: str) -> Callable[[str], bool]:
    valid = stdnum(f"iso7064.{name.replace('-', '_')}" if name.startswith("mod-") else name)
    return lambda value: valid(_SIGNS.sub("", value).upper())


__all__ = ["Matcher"]
