"""Data classes in free text, and masking them.

A linear-time matcher (RE2) runs once over the text and says which kinds of value can be in it; only those are then
looked for one by one, and each is checked exactly: card numbers by the Luhn digit (ISO/IEC 7812), IBANs by length and
check digits (ISO 13616), social security numbers by the ranges that are issued. What has no check digit needs its
prefix (`AKIA…`, `ghp_…`, `-----BEGIN … PRIVATE KEY-----`) or a word that says what it is (`password: …`).

Classes are those of `fiducial.charter.classes`: `payment`, `contact`, `credentials`, `secrets` and `identity` can be
told from text alone; the others are declared by contracts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import re2
from stdnum import iban, luhn
from stdnum.us import ssn

from fiducial.flow.entities import EMAIL, trim

_WINDOW = 64 * 1024
_OVERLAP = 4096
"""Stretches of a long text overlap by the longest value looked for, a private key."""


class Found(NamedTuple):
    """One value of a class."""

    start: int
    end: int
    data_class: str


class _Detector(NamedTuple):
    data_class: str
    screen: str
    """RE2 pattern: wherever `find` matches, this does."""
    find: re.Pattern[str]
    """The value is group 1, or the whole match when there is none."""
    check: Callable[[str], bool]


def _any(value: str) -> bool:
    return bool(value)


def _card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _iban(value: str) -> bool:
    return bool(iban.is_valid(value, check_country=False))


def _ssn(value: str) -> bool:
    return bool(ssn.is_valid(value))


def _phone(value: str) -> bool:
    return 8 <= sum(map(str.isdigit, value)) <= 15


_SAYS_SIGN_IN = r"(?:password|passwort|passwd|passphrase|passcode|pwd)"
_SAYS_CODE = r"(?:one[- ]time (?:password|passcode|code)|otp|verification code|security code|2fa code|access code|pin)"
_SAYS_KEY = r"(?:api[_ -]?key|secret[_ -]?key|access[_ -]?key|client[_ -]?secret|auth[_ -]?token|secret key|bearer)"
_IS = r"(?:\s{0,3}(?:is\s?:?|[:=])\s{0,3}|\s)"

_PREDICATE_WORDS = "not the a an is required reset needed expired incorrect wrong invalid your changed correct"
_PREDICATES = frozenset(_PREDICATE_WORDS.split())
"""What follows `password is` without being one."""

_DETECTORS = (
    _Detector(
        "payment",
        r"\d(?:[ -]?\d){12}",
        re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)"),
        _card,
    ),
    _Detector(
        "payment",
        r"[A-Za-z]{2}\d{2}[ ]?[0-9A-Za-z]{4}",
        re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:[ ]?[0-9A-Za-z]{4}){2,7}(?:[ ]?[0-9A-Za-z]{1,4})?(?!\w)"),
        _iban,
    ),
    _Detector("contact", r"@", EMAIL, lambda value: trim(value) == value or bool(trim(value))),
    _Detector(
        "contact",
        r"\+\d|\(\d{3}\)|\d{3}[ .-]\d{3}[ .-]\d{4}",
        re.compile(
            r"(?<![\w+])(?:\+\d{1,3}(?:[ .()/-]{0,2}\d){6,13}|\(\d{3}\) ?\d{3}[ .-]\d{4}"
            r"|\d{3}[.-]\d{3}[.-]\d{4})(?![\w-])"
        ),
        _phone,
    ),
    _Detector("identity", r"\d{3}-\d{2}-\d{4}", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), _ssn),
    _Detector(
        "secrets",
        r"-----BEGIN [A-Z ]*PRIVATE KEY",
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,4000}+"
            r"(?:-----END [A-Z ]{0,30}KEY[A-Z ]{0,10}-----)?",
        ),
        _any,
    ),
    _Detector(
        "secrets",
        r"AKIA|ASIA|gh[pousr]_|github_pat_|xox[abeoprs]-|AIza|sk-|sk_live_|rk_live_|glpat-|npm_|pypi-|SG\.|hf_",
        re.compile(
            r"(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{30,255}|github_pat_\w{22,255}"
            r"|xox[abeoprs]-[0-9A-Za-z-]{10,255}|AIza[\w-]{35}|(?:sk|rk)_live_[0-9A-Za-z]{16,255}|sk-[\w-]{20,255}"
            r"|glpat-[\w-]{20,255}|npm_[0-9A-Za-z]{36}|pypi-[\w-]{50,255}|SG\.[\w-]{20,24}\.[\w-]{40,50}|hf_[0-9A-Za-z]{30,64})"
        ),
        _any,
    ),
    _Detector(
        "secrets",
        r"[a-z+]://[^/\s:@]+:[^/\s@]+@",
        re.compile(r"(?<!\w)[a-z][a-z0-9+.-]{1,30}://[^/\s:@]{1,256}:[^/\s@]{1,256}@[^\s\"'<>]{1,512}"),
        _any,
    ),
    _Detector(
        "secrets",
        rf"(?i){_SAYS_KEY}",
        re.compile(rf"(?i)(?<!\w){_SAYS_KEY}{_IS}[\"']?([^\s\"',;]{{6,512}})"),
        lambda value: any(map(str.isdigit, value)) or len(value) >= 20,
    ),
    _Detector(
        "credentials",
        r"eyJ[\w-]{8}",
        re.compile(r"(?<![\w-])eyJ[\w-]{8,4096}\.[\w-]{8,4096}(?:\.[\w-]{0,1024})?"),
        _any,
    ),
    _Detector(
        "credentials",
        rf"(?i){_SAYS_SIGN_IN}",
        re.compile(rf"(?i)(?<!\w){_SAYS_SIGN_IN}\s{{0,3}}(?:is\s?:?|[:=])\s{{0,3}}[\"'`]?([^\s\"'`,;]{{3,256}})"),
        lambda value: value.lower() not in _PREDICATES,
    ),
    _Detector(
        "credentials",
        rf"(?i){_SAYS_CODE}",
        re.compile(rf"(?i)(?<!\w){_SAYS_CODE}{_IS}[\"'`]?(\d{{3,10}}|[0-9A-Z]{{3}}-?[0-9A-Z]{{3,6}})(?!\w)"),
        lambda value: any(map(str.isdigit, value)),
    ),
)

_SCREEN = re2.Set.SearchSet()
for _detector in _DETECTORS:
    _SCREEN.Add(_detector.screen)
_SCREEN.Compile()


def classify(text: str) -> frozenset[str]:
    """Data classes of the values in `text`."""
    return frozenset(found.data_class for found in find(text))


def find(text: str) -> Iterator[Found]:
    """Every value of a data class in `text`, by detector and position; values may overlap."""
    start = 0
    while True:
        stretch = text[start : start + _WINDOW + _OVERLAP]
        last = start + _WINDOW + _OVERLAP >= len(text)
        for index in sorted(_SCREEN.Match(stretch.encode("utf-8", "replace")) or ()):
            detector = _DETECTORS[index]
            for match in detector.find.finditer(stretch):
                group = 1 if detector.find.groups else 0
                if detector.check(match[group]) and (last or match.start() < _WINDOW):
                    yield Found(start + match.start(group), start + match.end(group), detector.data_class)
        if last:
            return
        start += _WINDOW


def masked(text: str, found: list[Found]) -> str:
    """`text` with every found value replaced by its class in brackets; the longer of overlapping ones wins."""
    pieces: list[str] = []
    at = 0
    for start, end, data_class in sorted(found, key=lambda one: (one.start, -one.end)):
        if start < at:
            if end <= at:
                continue
            start = at
        pieces += [text[at:start], f"[{data_class}]"]
        at = end
    return "".join(pieces) + text[at:]


def mask(value: Any, classes: frozenset[str]) -> Any:
    """`value` (JSON) with every detected value of `classes` replaced by its class in brackets, keys included."""
    return mask_with(value, lambda text: [found for found in find(text) if found.data_class in classes])


def mask_with(value: Any, finder: Callable[[str], list[Found]], depth: int = 0) -> Any:
    """`value` masked where `finder` finds something; a number that must be masked becomes text.

    What is nested deeper than any real argument is replaced as a whole.
    """
    if isinstance(value, str):
        found = finder(value)
        return masked(value, found) if found else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        found = finder(str(value))
        return f"[{found[0].data_class}]" if found else value
    if depth > _DEPTH:
        return "[masked]"
    if isinstance(value, dict):
        return {
            mask_with(key, finder, depth + 1): mask_with(member, finder, depth + 1) for key, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_with(member, finder, depth + 1) for member in value]
    return "[masked]"


_DEPTH = 100
