"""Kinds of entities in text: addresses, accounts, paths, amounts, names, quoted words and codes.

They say where one may stand; whether it stands there as a whole is the `lexer`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fiducial.flow.lexer import GROUPED

EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
"""RFC 5321 section 4.5.3.1 bounds; unquoted local parts only."""
URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]{1,15}://|www\.)[^\s\x00<>\"'`“”‘’«»]{1,2048}")
_NOT_TLD = (
    "bak bin bmp cfg conf css csv dat db dll doc docx env exe gif gz htm html ico ini ipynb jar java jpeg jpg js json "
    "jsonl lock log mp3 mp4 odt parquet pdf png ppt pptx rtf sql sqlite svg tar tmp toml ts tsx txt wav xls xlsx xml "
    "yaml yml md py rs sh pl rb go cpp hpp"
)
DOMAIN = re.compile(
    r"(?<![\w@.-])(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
    rf"(?!(?:{_NOT_TLD.replace(' ', '|')})(?![\w-]))(?:[a-z]{{2,24}}|[A-Z]{{2,24}})(?![\w@-])"
    r"(?:[/:?#][^\s\x00<>\"'`]{0,2048})?"
)
"""A host name without a scheme; endings that are file types far more often than top-level domains are left out."""
ACCOUNT = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?:[ ]?[0-9A-Z]{4}){2,8}(?:[ ]?[0-9A-Z]{1,3})?(?![0-9A-Za-z])")
"""IBAN-like: ISO 13616 shape, compact or in groups; the check digits are not tested."""
PATH = re.compile(
    r"(?<![\w/.:@-])(?:~|\.{1,2})?/[\w.@+~-]+(?:/[\w.@+~-]+)*/?|(?<![\w/.:@-])[\w-]+(?:/[\w.-]+)*\.[a-z][a-z0-9]{0,4}(?![\w/@-])"
)
AMOUNT = re.compile(r"(?<![\w.,:/-])[-+]?\d+(?:[.,'\u00a0\u202f]\d+)*(?![\w/:]|[.,-]\d)")
QUOTED = re.compile(
    r"(?<!\w)'([^'\n]{1,200}(?:'\w[^'\n]{0,200}){0,4})'(?!\w)|\"([^\"\n]{1,400})\"|“([^”\n]{1,400})”|`([^`\n]{1,400})`"
)
_CAPITALISED = r"[^\W\d_a-z][\w'’&-]*"
NAME = re.compile(
    rf"(?<![\w@./-]){_CAPITALISED}(?:[ ](?:of|de|la|le|van|von|the|and|{_CAPITALISED}|\d{{1,6}})){{0,5}}"
    rf"[ ]{_CAPITALISED}(?![\w@/-])"
)
"""Two to seven words, the first and last capitalised."""
IDENTIFIER = re.compile(r"(?<![\w@./-])(?=[\w-]*\d)[\w-]{4,64}(?![\w@/-])")
"""A token with a digit in it: order numbers, codes, accounts."""


def trim(address: str) -> str:
    """An address without the sentence's punctuation behind it; a bracket stays when it was opened inside."""
    while address and (
        address[-1] in ".,;:!?'\"*"
        or (address[-1] in ")]}>" and address.count("([{<"[")]}>".index(address[-1])]) < address.count(address[-1]))
    ):
        address = address[:-1]
    return address


_DOTTED = re.compile(r"\.\w")


def has_digit(text: str) -> bool:
    """Whether an ASCII digit is in `text`; ten searches for a character beat one for a class of them."""
    return (
        "0" in text
        or "1" in text
        or "2" in text
        or "3" in text
        or "4" in text
        or "5" in text
        or "6" in text
        or "7" in text
        or "8" in text
        or "9" in text
    )


def addresses(text: str) -> Iterator[str]:
    """Every URL, host, e-mail address and IBAN-like account in `text`, as written."""
    if "@" in text:
        for match in EMAIL.finditer(text):
            yield trim(match[0])
    if _DOTTED.search(text) or "://" in text:
        for match in URL.finditer(text):
            yield trim(match[0])
        for match in DOMAIN.finditer(text):
            yield trim(match[0])
    if has_digit(text):
        for match in ACCOUNT.finditer(text):
            yield match[0].strip()


def grouped(text: str) -> Iterator[str]:
    """Every account or card number that is printed in groups."""
    for match in GROUPED.finditer(text):
        yield match[0]


_HOSTED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)([A-Za-z0-9.-]+)(:\d+)?((?:[/?#].*)?)", re.DOTALL)


def canonical_address(value: str) -> str | None:
    """`value` with the ASCII letters of its host (and a URL's scheme) in lower case; `None` when it has no host.

    The one folding that may raise trust: hosts are case-insensitive by standard (RFC 4343, RFC 3986 section 6.2.2.1),
    the rest of an address is not. URLs with a user part are left alone.
    """
    at = value.rfind("@")
    if at > 0 and "/" not in value and value[at + 1 :].isascii():
        return value[: at + 1] + value[at + 1 :].lower()
    match = _HOSTED.fullmatch(value)
    if match is None or not match[2].isascii():
        return None
    return match[1].lower() + match[2].lower() + (match[3] or "") + match[4]
