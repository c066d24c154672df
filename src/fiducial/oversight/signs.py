"""Signs that a text which is to describe something speaks to a model instead, or hides something from people.

They are no proof, and none of them is needed to mislead a model: what has one waits for a person from the first time
on, and what has none is still pinned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fiducial.core.plain import is_odd
from fiducial.flow.lexer import fold

_SPEAKING = (
    (
        "it has markup that speaks to a model",
        r"</?\s*(?:important|system|secret|hidden|instructions?|assistant)\b",
    ),
    ("it has a comment that people do not see", r"<!--"),
    (
        "it wants other instructions passed over",
        r"\b(?:ignore|disregard|forget|override)\b[^.]{0,40}\b(?:previous|prior|above|earlier|other|all|any)\b[^.]{0,30}"
        r"\b(?:instructions?|rules?|prompts?|guidelines?)\b",
    ),
    (
        "it wants something kept from the user",
        r"\b(?:do\s+not|don't|never|without)\b[^.]{0,15}\b(?:tell|telling|mention|mentioning|inform|informing|"
        r"reveal|show|notify|notifying|ask|asking)\b[^.]{0,30}\b(?:users?|humans?|anyone|them)\b",
    ),
    (
        "it names files or settings that hold credentials",
        r"(?:~|/home/\w+|\$HOME)/\.(?:ssh|aws|config|netrc|gnupg)\b|\bid_(?:rsa|ed25519)\b|(?<![\w.])\.env\b",
    ),
    ("it speaks of the system prompt", r"\bsystem\s+prompt\b"),
)
_SIGNS = tuple((why, re.compile(pattern, re.IGNORECASE)) for why, pattern in _SPEAKING)
_EMOJI = "\U0001f000-\U0001faff"
_SYMBOLS = f"\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299{_EMOJI}"
_JOINED = "\u0600-\u0dff\u1000-\u109f\u1780-\u18af"
"""Scripts with joiners inside their words: the Arabic ones, those of India, Burmese, Khmer, Mongolian."""
_WRITTEN = re.compile(
    "[\t\n\r\u00a0\u2007\u202f\u3000]"
    f"|[{_EMOJI}]"  # those of a newer Unicode than Python's too
    f"|(?<=[{_SYMBOLS}])[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    f"|(?<=[{_SYMBOLS}\ufe0f])\u200d(?=[{_SYMBOLS}])"
    f"|(?<=[{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?=[{_JOINED}])"
)
"""What people write that is odd elsewhere: spaces that break no line, and what gives emoji and letters their shape."""


def signs(said: Any) -> list[str]:
    """Why what is said of a tool speaks to the model, or hides something from people; empty when nothing is found.

    Texts are read as they are, and with disguised letters as a hurried reader takes them.
    """
    texts = _texts(said)
    read = [*texts, *(fold(text) for text in texts if not text.isascii())]
    found = [why for why, pattern in _SIGNS if any(pattern.search(text) for text in read)]
    if any(is_odd(character) for text in texts for character in set(_WRITTEN.sub("", text))):
        found.append("it has characters that nobody can see")
    return found


def _texts(said: Any) -> list[str]:
    """Every text in it, keys too."""
    found, todo = [], [said]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, Mapping):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
    return found


__all__ = ["signs"]
