"""National numbers with letters in them: tax codes, identity cards, health insurance."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from fiducial.flow.masking.detector import Detector, Found
from fiducial.flow.masking.identity import NAMED_WITHIN, stdnum

_NRIC_WEIGHTS = (2, 7, 6, 5, 4, 3, 2)
_NRIC_LETTERS = {"S": (0, "JZIHGFEDCBA"), "T": (4, "JZIHGFEDCBA"), "F": (0, "XWUTRQPNMLK"), "G": (4, "XWUTRQPNMLK")}


def nric(value: str) -> bool:
    """Whether the letter at the end of a Singaporean identity number is right (en.wikipedia.org/wiki/
    National_Registration_Identity_Card)."""
    offset, letters = _NRIC_LETTERS[value[0].upper()]
    total = offset + sum(int(digit) * weight for digit, weight in zip(value[1:8], _NRIC_WEIGHTS, strict=True))
    return letters[total % 11] == value[8].upper()


def insured(value: str) -> bool:
    """Whether the last digit of a German health insurance number is right (§ 290 SGB V, Anlage 1)."""
    digits = f"{ord(value[0].upper()) - 64:02d}{value[1:9]}"
    total = 0
    for index, digit in enumerate(digits):
        product = int(digit) * (1 + index % 2)
        total += product // 10 + product % 10
    return total % 10 == int(value[9])


class _Code(NamedTuple):
    shape: str
    check: Callable[[str], bool] | None
    """`None`: the shape says enough."""
    words: re.Pattern[str] | None = None
    data_class: str = "identity"


def _words(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{text})(?![^\W_])", re.IGNORECASE)


_MBI_LETTER, _MBI_ANY = "[AC-HJKMNP-RT-Y]", "[0-9AC-HJKMNP-RT-Y]"
_MBI = (
    rf"[1-9]{_MBI_LETTER}{_MBI_ANY}[0-9]-?{_MBI_LETTER}{_MBI_ANY}[0-9]-?"
    rf"{_MBI_LETTER}{_MBI_LETTER}[0-9][0-9]"
)
"""By cms.gov/medicare/new-medicare-card/understanding-the-mbi."""

_CODES = (
    _Code(r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]", stdnum("it.codicefiscale")),
    _Code(r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", stdnum("mx.curp")),
    _Code(r"[0-9]{8}-?[A-HJ-NP-TV-Z]", stdnum("es.dni")),
    _Code(r"[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]", stdnum("es.nie")),
    _Code(r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", stdnum("in_.pan")),
    _Code(r"[STFG][0-9]{7}[A-Z]", nric),
    _Code(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", stdnum("fi.hetu")),
    _Code(r"[0-9]{17}X", stdnum("cn.ric")),
    _Code(r"[0-9] [0-9]{2} [0-9]{2} 2[AB] [0-9]{3} [0-9]{3} [0-9]{2}|[0-9]{5}2[AB][0-9]{8}", stdnum("fr.nir")),
    _Code(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", None),
    _Code(_MBI, None, None, "health"),
    _Code(r"[A-Z][0-9]{9}", insured, _words(r"kvnr|versicherten\w*|krankenversich\w*|insurance"), "health"),
)  # fmt: skip
_LOOK_AHEAD = re.compile(r"\(\?!.*?\)")
"""What RE2 does not have; without it a screen hits more."""
_NAMES = {f"c{index}": code for index, code in enumerate(_CODES)}


def _code(match: re.Match[str]) -> Found | None:
    code = _NAMES[str(match.lastgroup)]
    if code.words is not None:
        start = match.start()
        if code.words.search(match.string, max(0, start - NAMED_WITHIN), start) is None:
            return None
    value = match[0]
    if code.check is None:
        # Two words and a year make such a shape in small letters.
        if not value.isupper() and (" " in value or not value.islower()):
            return None
    elif not code.check(value.upper()):
        return None
    return Found(match.start(), match.end(), code.data_class)


CODE = Detector(
    screen="(?i)" + "|".join(_LOOK_AHEAD.sub("", code.shape) for code in _CODES),
    find=re.compile(
        r"(?<![\w-])(?:" + "|".join(f"(?P<{name}>{code.shape})" for name, code in _NAMES.items()) + r")(?!\w|-\w)",
        re.IGNORECASE | re.ASCII,
    ),
    judge=_code,
    before=2,
    after=28,
    classes=frozenset({"identity", "health"}),
)
