"""The form of a token: `masked-payment-7k2m9x4ht3v8n5r0q6wd`.

Models copy it as one word: letters, digits and hyphens need no quoting in JSON, URLs, Markdown or a shell, and case
does not count. The class is there for the model; what counts is the last part, 100 bits that nobody can guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that looks like a digit (crockford.com/base32.html)."""
_PREFIX = "masked-"
_NAME = 19
"""Characters of a class's name that are shown: fewer than `_ID`, so that they are never taken for the last part."""
_ID = 20
LONGEST = len(_PREFIX) + _NAME + 1 + _ID
"""Characters of the longest token."""
_TOKEN = re.compile(
    rf"masked-(?:(?!masked-)[0-9a-z-]){{1,{_NAME}}}?-(?:(?!masked-)[{_ALPHABET}]){{{_ID}}}",
    re.IGNORECASE | re.ASCII,
)
"""Wherever it stands: values that overlap leave tokens without anything between them. None has the beginning of another
in it, so that one that was cut short takes nothing of the next."""
_BEGUN = re.compile(
    rf"(?:m|ma|mas|mask|maske|masked|masked-[0-9a-z-]{{0,{LONGEST - len(_PREFIX)}}})\Z",
    re.IGNORECASE | re.ASCII,
)
_NOT_SHOWN = re.compile(r"[^a-z0-9]+")


def written(data_class: str, digest: bytes) -> str:
    """The token for a value of `data_class` whose keyed digest has at least 13 bytes."""
    number = int.from_bytes(digest[:13], "big")
    body = "".join(_ALPHABET[number >> shift & 31] for shift in range(0, 5 * _ID, 5))
    return f"{_PREFIX}{shown(data_class)}-{body}"


def shown(data_class: str) -> str:
    """The name of a class as its tokens show it; others may look the same."""
    return _NOT_SHOWN.sub("-", data_class.lower())[:_NAME].strip("-") or "value"


def tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """What has the form of a token in `text`: start, end, and the token in small letters."""
    if _PREFIX in text.lower():
        for match in _TOKEN.finditer(text):
            yield match.start(), match.end(), match[0].lower()


def stand_in(text: str) -> bool:
    """Whether anything in `text` has the form of a token."""
    return next(tokens(text), None) is not None


def classes(text: str) -> frozenset[str]:
    """The classes that tokens in `text` show, whoever made them."""
    return frozenset(token[len(_PREFIX) : -_ID - 1] for _, _, token in tokens(text))


def begun(text: str) -> int:
    """Where a token that `text` ends in may begin; the length of `text` if there is none."""
    match = _BEGUN.search(text, max(0, len(text) - LONGEST - 1))
    return len(text) if match is None else match.start()


def settled(text: str) -> int:
    """How much of `text` no token is in, whatever comes next, that ends behind it."""
    end = begun(text)
    # What looks like the last letters of a token may be the first ones of the next.
    return next((start for start, stop, _ in tokens(text) if start < end < stop), end)
