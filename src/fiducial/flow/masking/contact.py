"""Addresses of electronic mail. Telephone numbers are `phones`."""

from __future__ import annotations

import re

from fiducial.flow.entities import trim
from fiducial.flow.masking.detector import Detector, Found

_LETTERS = "A-Za-z0-9_\u00c0-\u167f\u1681-\u1fff\uac00-\ud7a3"
_LOCAL = rf"{_LETTERS}.!#$%&'*+/=?^`{{|}}~-"


_LOCAL_BACKWARDS = re.compile(rf"[{_LOCAL}]{{1,64}}")


def _address(match: re.Match[str]) -> Found | None:
    at = match.start()
    local = _LOCAL_BACKWARDS.match(match.string[max(0, at - 64) : at][::-1])
    if local is None:
        return None
    return Found(at - local.end(), at + len(trim(match[0])), "contact")


EMAIL = Detector(
    screen=r"[^\s@]@[^\s@]",
    find=re.compile(rf"@[{_LETTERS}-]{{1,63}}(?:\.[{_LETTERS}-]{{1,63}}){{1,8}}"),
    judge=_address,
    before=1,
    after=640,
    classes=frozenset({"contact"}),
)
"""RFC 5321 section 4.5.3.1 bounds; unquoted local parts only. Of a longer local part, the last 64 characters."""
