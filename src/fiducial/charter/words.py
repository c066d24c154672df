"""Words: names and descriptions of tools cut into words; what people say cut into sentences, stems and phrases.

Only enough English to draft contracts and to tell whether a sentence asks for an effect. A tool's words are brought to
their *singular*, as the lexicon has them. People inflect more freely, so forms of a word share a *stem*, and a phrase
is found where all its stems stand in one sentence, in any order. Words can add a hold; they never allow by themselves,
so a stem that is too broad or too narrow costs a question, not safety.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from fiducial.charter.lexicon import PHRASAL, words_of

# Tools

_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d*[A-Za-z]+|\d+")
_NAME_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*|(?<!\d)\d++[A-Za-z]+")
_SINGULAR = words_of(
    "access address alias always analysis as aws bus business canvas class css discuss dismiss dns does gas has "
    "https is its js less ls mms news pass plus press previous process series sms status this us various was "
    "wireless"
)
"""Words that end in s in the singular."""
_PLURALS = {"people": "person", "children": "child", "statuses": "status", "addresses": "address", "indices": "index"}


@lru_cache(maxsize=8192)
def singular(word: str) -> str:
    """`word` (lower-case) without its plural or third-person ending: `entries` → `entry`, `sends` → `send`."""
    if word in _PLURALS:
        return _PLURALS[word]
    if word in _SINGULAR or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
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
    return _joined([singular(word.lower().replace("’", "'").removesuffix("'s")) for word in _NAME_WORD.findall(text)])


def _joined(words: list[str]) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(words):
        pair = PHRASAL.get((words[position], words[position + 1])) if position + 1 < len(words) else None
        joined.append(pair or words[position])
        position += 2 if pair else 1
    return joined


def first_sentence(text: str) -> str:
    """The first sentence of a description, without the category that some put before it; empty when there is none."""
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n+|\s*;\s+", re.sub(r"^\s*[\w .-]{1,40}\s+\|\s+", "", text))
    return next(filter(None, map(str.strip, parts)), "")


# People

Phrase: TypeAlias = frozenset[str]
"""Stems that must all occur in one sentence."""

WORD = re.compile(r"[A-Za-z][A-Za-z'’]*|\d+")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+|(?<=[a-z][.!?])(?=[A-Z][a-z]+\s)")
_ADDRESS_MARKS = ("@", "://", "www.")
_DOTTED = re.compile(r"(?<![\w-])[\w-]++(?:\.[\w-]+)+(?:/\S*)?")
"""A host or a file. It starts nowhere inside a run, so that a long run is gone through once."""
_QUOTED = re.compile(r"(?<!\w)'[^'\n]{1,200}'(?!\w)|\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”|‘[^’\n]{1,400}’")
_SIGNS = "[$€£¥₹₩₽₺]"
_CODES = (
    "AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|SAR|"
    "SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
_SUM = re.compile(rf"(?:{_SIGNS}|\b(?:{_CODES}))\s?(?=\d)|(?<=\d)\s?(?:{_SIGNS}|{_CODES})(?!\w)")
"""The sign or ISO 4217 code of a currency at a number: whoever sends 10 EUR sends money."""

_IRREGULAR = {
    "sent": "send", "paid": "pay", "bought": "buy", "wrote": "write", "written": "write", "made": "make",
    "gave": "give", "given": "give", "told": "tell", "took": "take", "taken": "take", "got": "get",
    "forgot": "forget", "forgotten": "forget", "chose": "choose", "chosen": "choose", "ran": "run",
    "found": "find", "held": "hold", "left": "leave", "said": "say", "saw": "see", "seen": "see",
    "spent": "spend", "sold": "sell", "thought": "think", "went": "go", "gone": "go", "did": "do", "done": "do",
    "bookings": "book", "mail": "email", "mails": "email", "emails": "email", "e-mail": "email",
    "dm": "message", "msg": "message", "texted": "text", "people": "person",
}  # fmt: skip
_SUFFIXES = (
    ("ization", "ize"), ("ations", ""), ("ation", ""), ("itions", ""), ("ments", ""), ("ment", ""), ("ings", ""),
    ("ing", ""), ("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"),
    ("etion", "ete"), ("ed", ""), ("es", "e"), ("s", ""),
)  # fmt: skip
_KEEP = frozenset({"this", "his", "its", "us", "was", "is", "as", "has", "does", "address", "access", "business",
                   "process", "thing", "things", "something", "anything", "during", "news", "status", "bus", "gas",
                   "red", "need", "feed", "speed", "wed", "bed", "king", "ring", "bring", "string", "morning",
                   "evening", "spring", "wedding", "building", "ceiling", "comment", "moment", "document",
                   "apartment", "department", "following", "series", "yes", "less", "station", "nation"})  # fmt: skip


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """The stem that inflected forms of `word` share: `booking`, `booked`, `books` → `book`."""
    word = word.lower().replace("’", "'").removesuffix("'s").replace("'", "")
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    elif word not in _KEEP and len(word) > 3:
        for suffix, replacement in _SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= 3 - len(replacement):
                root = word[: len(word) - len(suffix)] + replacement
                if len(root) < 3 or not re.search("[aeiouy]", root) or (suffix == "s" and word.endswith("ss")):
                    break
                word = root
                break
        if (
            len(word) > 3
            and word[-1] == word[-2]
            and (word[-1] not in "aeiouslz" or (word[-1] == "l" and len(word) > 5))
        ):
            word = word[:-1]
        if word in _IRREGULAR:
            word = _IRREGULAR[word]
    return word[:-1] if len(word) > 3 and word.endswith("e") and word != "note" else word


def stems(text: str) -> tuple[str, ...]:
    """Stems of the words of `text`, in order."""
    return tuple(stem(match) for match in WORD.findall(text))


def phrase(text: str) -> Phrase:
    """`text`, such as `send email`, as a phrase."""
    return frozenset(stems(text))


def sentences(text: str) -> list[str]:
    """`text` cut where sentences, lines and list items end."""
    found: list[str] = []
    number = ""
    for piece in _SENTENCE.split(text):
        part = piece.strip()
        if part and part.rstrip(".):").isdigit():
            number = part + " "
        elif part:
            found.append(number + part)
            number = ""
    return found


def plain(sentence: str) -> str:
    """`sentence` without addresses and quoted text: what is left is the speaker's own wording.

    The sign or code of a currency at a number becomes the word that people leave out, `money`.
    """
    tokens = _SUM.sub(" money ", _QUOTED.sub(" ", sentence)).split()
    return _DOTTED.sub(" ", " ".join(token for token in tokens if not any(mark in token for mark in _ADDRESS_MARKS)))
