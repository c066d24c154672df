"""Cutting tools' names and descriptions into words."""

from __future__ import annotations

import re
from functools import lru_cache

from fiducial.charter.lexicon import PHRASAL, words_of

_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d*[A-Za-z]+|\d+")
_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*|\d+[A-Za-z]+")
_KEEP = words_of(
    "access address alias always analysis as aws bus business canvas class css discuss dismiss dns does gas has "
    "https is its js less ls mms news pass plus press previous process series sms status this us various was "
    "wireless"
)
"""Words that end in s in the singular."""
_IRREGULAR = {"people": "person", "children": "child", "statuses": "status", "addresses": "address", "indices": "index"}


@lru_cache(maxsize=8192)
def singular(word: str) -> str:
    """`word` (lower-case) without its plural or third-person ending: `entries` → `entry`, `sends` → `send`."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _KEEP or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def name_words(name: str) -> list[str]:
    """The words of a name in snake, kebab, camel or dotted case, singular, with phrasal verbs joined."""
    parts = [part.lower() for piece in re.split(r"[^A-Za-z0-9]+", name) for part in _CAMEL.findall(piece)]
    return _joined([singular(part) for part in parts])


def text_words(text: str) -> list[str]:
    """The words of a text, singular and lower-case, with phrasal verbs joined."""
    return _joined([singular(word.lower().replace("’", "'").removesuffix("'s")) for word in _WORD.findall(text)])


def _joined(words: list[str]) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(words):
        pair = PHRASAL.get((words[position], words[position + 1])) if position + 1 < len(words) else None
        joined.append(pair or words[position])
        position += 2 if pair else 1
    return joined


def sentences(text: str) -> list[str]:
    """The sentences of a description."""
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n+|\s*;\s+", re.sub(r"^\s*[\w .-]{1,40}\s+\|\s+", "", text))
    return [part.strip() for part in parts if part.strip()]
