"""Telephone numbers, by the metadata of the phonenumbers package (Google's libphonenumber).

A number is one when `phonenumbers.is_valid_number` says so of it, read internationally when it begins with `+` or `00`,
and otherwise as somebody in one of `REGIONS` would dial it. The package takes 35 µs to read and judge a number; here
its patterns are asked directly, which takes 2.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

REGIONS = ("US", "GB", "DE", "FR", "IN", "BR", "IL", "CH", "AT", "IT", "ES", "NL", "BE", "AU", "JP")
"""Where numbers without a country's code may be from."""
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1(?:\d{2}|\d{4})(?!\d)|\d{4}([./-])\d{1,2}\2\d{1,2}(?!\d)")
_NORTH_AMERICAN = re.compile(r"(?:1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[ .-]\d{4}")
_TRUNK = "(0)"


def _shapes(code: int, region: str) -> str:
    """A pattern that the national numbers of a region match in whole."""
    from phonenumbers import PhoneMetadata

    data: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    described = [getattr(data, kind) for kind in _KINDS] if data is not None else []
    kinds = [each.national_number_pattern for each in described if each is not None]
    shapes = "|".join(each for each in kinds if each)
    return rf"(?=(?:{data.general_desc.national_number_pattern})\Z)(?:{shapes})\Z" if shapes else r"(?!)"


@cache
def _abroad(code: int) -> re.Pattern[str]:
    """What the national numbers of a country's code match; codes that no country has match nothing."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    regions = COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    return re.compile("|".join(_shapes(code, region) for region in regions) or r"(?!)", re.ASCII)


@cache
def _at_home() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What numbers dialled within `REGIONS` match: behind the prefix 0, and without any."""
    from phonenumbers import PhoneMetadata

    behind, plain = [], []
    for region in REGIONS:
        data: Any = PhoneMetadata.metadata_for_region(region)
        shapes = _shapes(data.country_code, region)
        if data.national_prefix == "0":
            behind.append(shapes)
        if data.national_prefix != "0" or region == "BR":  # where a long distance call takes a carrier's code too
            plain.append(shapes)
    return re.compile("|".join(behind), re.ASCII), re.compile("|".join(plain), re.ASCII)


def international(digits: str) -> bool:
    """Whether `digits`, without `+` or `00`, are a country's code and a number that is valid there."""
    if not 7 <= len(digits) <= 15 or digits[0] == "0":
        return False
    return any(_abroad(int(digits[:size])).match(digits, size) is not None for size in (1, 2, 3))


def phone(value: str, digits: str, *, continues: bool) -> bool:
    """Whether `value`, in groups or with its country's code, is a telephone number by itself; its `digits`.

    `continues`: other digits stand before it, so that it is none of its own unless it has a country's code.
    """
    if value[0] == "+":
        return international(digits.removeprefix("+") if _TRUNK not in value else _without_trunk(value))
    if value.startswith("00"):
        return international(digits[2:] if _TRUNK not in value else _without_trunk(value)[2:])
    return not continues and 9 <= len(digits) <= 12 and _written_as_one(value) and dialled(value, digits)


def dialled(value: str, digits: str) -> bool:
    """Whether `value` is a number that somebody in one of `REGIONS` could dial, and no date."""
    behind, plain = _at_home()
    if _DATE.match(value) is not None:
        return False
    home = digits[0] == "0" and behind.match(digits, 1) is not None
    return home or plain.match(digits, int(digits[0] == "1" and len(digits) == 11)) is not None


def _written_as_one(value: str) -> bool:
    if value[0] == "0":
        return value[1].isdecimal() and not value.isdecimal()
    return value[0] == "(" or _NORTH_AMERICAN.fullmatch(value) is not None


def _without_trunk(value: str) -> str:
    return "".join(filter(str.isdecimal, value.replace(_TRUNK, "", 1)))
