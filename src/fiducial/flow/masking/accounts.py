"""Numbers that money moves by: cards and IBANs."""

from __future__ import annotations

import re
from functools import cache

from stdnum import bitcoin, numdb

from fiducial.flow.masking.detector import Detector, Found, always

_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_ISSUED = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|3[689]\d{12,17}|35(?:2[89]|[3-8]\d)\d{12,15}|220[0-4]\d{12,15}|(?:50|5[6-9]|6\d)\d{11,17}"
    r"|8[12]\d{14}"
)
"""Leading digits and lengths in use, by network (ISO/IEC 7812-1; en.wikipedia.org/wiki/Payment_card_number)."""


def luhn(digits: str) -> bool:
    """Whether the last of the ASCII `digits` is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    raw = digits.encode("ascii")
    return (sum(raw[-1::-2]) + sum(raw[-2::-2].translate(_DOUBLED)) - 48 * len(raw)) % 10 == 0


def card(digits: str, *, named: bool = False) -> bool:
    """Whether `digits` are a card's number. `named`: the text says that they are, so that any issuer will do."""
    if not 13 <= len(digits) <= 19 or digits.count(digits[0]) == len(digits) or not luhn(digits):
        return False
    return named or _ISSUED.fullmatch(digits) is not None


_UNGROUPED = str.maketrans("", "", " -")
_PART = re.compile(r"(\d+)!([nac])")
_KINDS = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}


@cache
def _structure(country: str) -> tuple[int, re.Pattern[str]] | None:
    """Length and shape of the IBANs of a country, by the registry that python-stdnum ships (ISO 13616)."""
    bban = numdb.get("iban").info(country)[0][1].get("bban")
    if bban is None:
        return None
    parts = _PART.findall(bban)
    shape = "".join(f"{_KINDS[kind]}{{{size}}}" for size, kind in parts)
    return 4 + sum(int(size) for size, _ in parts), re.compile(shape)


def iban(text: str) -> int:
    """Characters of the IBAN that `text` begins with, compact or in groups (spaces, hyphens); 0 when there is none."""
    structure = _structure(text[:2].upper())
    if structure is None:
        return 0
    size, shape = structure
    end = seen = 0
    for character in text:
        if seen == size:
            break
        seen += character not in " -"
        end += 1
    if seen < size or (end < len(text) and text[end] not in " -"):
        return 0
    number = text[:end].translate(_UNGROUPED).upper()
    if shape.fullmatch(number, 4) is None:
        return 0
    moved = number[4:] + number[:4]
    return end if int("".join([str(int(each, 36)) for each in moved])) % 97 == 1 else 0


def _iban(match: re.Match[str]) -> Found | None:
    size = iban(match[0])
    return Found(match.start(), match.start() + size, "payment") if size else None


IBAN = Detector(
    screen=r"[A-Za-z]{2}[0-9]{2}[ -]?[0-9A-Za-z]{4}",
    find=re.compile(
        r"(?<!\w)[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]{4}){2,7}(?:[ -]?[0-9A-Za-z]{1,4}(?![0-9A-Za-z]))?(?!\w)"
    ),
    judge=_iban,
    before=2,
    after=48,
    classes=frozenset({"payment"}),
)

WALLET = Detector(
    screen=r"(?:bc1|[13])[0-9A-Za-z]{25}",
    find=re.compile(r"(?<![\w-])(?:bc1[0-9a-z]{25,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34})(?!\w)", re.ASCII),
    judge=always("payment", bitcoin.is_valid),
    before=2,
    after=68,
    classes=frozenset({"payment"}),
)
