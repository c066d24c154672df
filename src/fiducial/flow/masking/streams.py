"""Masking and restoring what comes in pieces: the same as masking, or restoring, all of it at once.

A stream gives out what no longer can become part of a value (or of a token), and holds back the rest: mostly the last
word, and the numbers before it, or as much as the longest form of a charter's, or, where names are told, the passage
that is not over yet; at most a little more than `LONGEST` characters (`tokens.LONGEST` where it restores).
What it gave out it remembers for `CONTEXT` characters, because words before a number say what it is. See `detector` for
why that is enough.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from typing import Protocol

from fiducial.flow.masking import passages, tokens
from fiducial.flow.masking.detect import BUILT_IN, LONGEST_ESCAPE, Detection, by_start, escapes_parted, folded
from fiducial.flow.masking.detector import (
    CONTEXT,
    LONGEST,
    LONGEST_KEY,
    LONGEST_QUOTED,
    LONGEST_ROW,
    UNSPACED,
    Found,
)
from fiducial.flow.masking.links import Links
from fiducial.flow.masking.secrets import MONTH, QUOTE_OPEN
from fiducial.flow.masking.values import Holds, Put, into, restore_text
from fiducial.flow.masking.vault import Vault

_SOLID = re.compile(rf"[^\s{UNSPACED}]*")
_WORD_BEFORE = re.compile(rf"(?:(?<=[\s{UNSPACED}])|\A)([^\s{UNSPACED}]+)[^\S\n]{{1,3}}\Z")
_IN_ROW = re.compile(rf"\S{{1,4}}|{MONTH}[.,]{{0,2}}", re.IGNORECASE)
"""What may stand within a row: a group of an IBAN, what stands between the digits of a telephone number, a month."""
_BEGINS_ROW = re.compile(rf"\d|[A-Z]{{2}}\Z|(?i:{MONTH}[.,]{{0,2}}\Z)")
"""Numbers, months, and the two letters that some codes begin with, whatever stands before these."""
_KEY_HEAD = re.compile(r"-----BEGIN [A-Z ]{0,30}(?:PRIVATE KEY(?: BLOCK)?-----|[A-Z -]{0,30}\Z)")
_LEAD = 48
"""Characters of the longest words before a password, with what stands between."""
_KEY_END = re.compile(r"-----END [A-Z ]{0,30}KEY[A-Z ]{0,10}-----")

_GROWN = 8
"""Part of what is held back by which it grows before it is looked at again."""


class TextStream(Protocol):
    """Takes text in pieces and gives text in pieces."""

    def feed(self, piece: str) -> str:
        """What can be given out after `piece`."""

    def close(self) -> str:
        """The rest."""


class MaskStream:
    """Masks a text that comes in pieces. Each stretch between tokens of the vault is a text of its own, as it is for
    `values.mask`."""

    __slots__ = ("_classes", "_detection", "_stretch", "_text", "_vault")

    def __init__(self, vault: Vault, *, classes: frozenset[str] | None = None, detection: Detection = BUILT_IN) -> None:
        """`classes`, `detection`: see `mask`."""
        self._vault, self._classes, self._detection = vault, classes, detection
        self._stretch = _Stretch(detection, classes, into(vault))
        self._text = ""
        """What may be the beginning of a token."""

    def feed(self, piece: str) -> str:
        """What can be given out after `piece`."""
        text = self._text + piece
        end = tokens.settled(text)
        self._text = text[end:]
        return self._masked(text[:end])

    def close(self) -> str:
        """The rest."""
        text, self._text = self._text, ""
        return self._masked(text) + self._stretch.close()

    def _masked(self, text: str) -> str:
        pieces: list[str] = []
        at = 0
        for start, end, token in tokens.tokens(text):
            if self._vault.held(token) is not None:
                pieces += [self._stretch.feed(text[at:start]), self._stretch.close(), text[start:end]]
                self._stretch = _Stretch(self._detection, self._classes, into(self._vault))
                at = end
        pieces.append(self._stretch.feed(text[at:]))
        return "".join(pieces)


class _Stretch:
    """A stream of text without a token in it."""

    __slots__ = ("_asked", "_at", "_classes", "_detection", "_done", "_named", "_put", "_seen", "_text")

    def __init__(self, detection: Detection, classes: frozenset[str] | None, put: Put) -> None:
        self._detection, self._classes, self._put = detection, classes, put
        self._text = ""
        """What was given out last, and what is held back."""
        self._done = 0
        """Where in it the first value may begin that is not decided about."""
        self._at = 0
        """Where in it what is held back begins."""
        self._seen = 0
        """How long it was when it was looked at."""
        self._asked = 0
        """Where in it the first passage begins whose names are not known."""
        self._named: list[Found] = []
        """Names in it."""

    def feed(self, piece: str) -> str:
        """What can be given out after `piece`. Looks again when what is held back has grown by a part of itself, so
        that the time for a character does not depend on how much is held back."""
        self._text += piece
        if (len(self._text) - self._seen) * _GROWN <= self._seen - self._done:
            return ""
        given = self._given(min(settled(self._text, self._detection.longest), self._recognized(whole=False)))
        self._seen = len(self._text)
        return given

    def close(self) -> str:
        """The rest."""
        return self._given(self._recognized(whole=True))

    def _recognized(self, *, whole: bool) -> int:
        """Up to where all names are known; `whole`: nothing comes behind it."""
        text = self._text
        if not self._detection.recognizes:
            self._asked = len(text)
        while self._asked < len(text) and (end := passages.end(text, self._asked, whole=whole)) is not None:
            self._named += self._detection.names_in(text[self._asked : end], self._classes, self._asked)
            self._asked = end
        return self._asked

    def _given(self, upto: int) -> str:
        if upto <= self._done:
            return ""
        text, done, at = self._text, self._done, self._at
        pieces: list[str] = []
        found = [*self._detection.by_form(text, self._classes), *self._named]
        for start, end, data_class in sorted(found, key=by_start) if self._named else found:
            if done <= start < upto and end > at:
                start = max(start, at)
                pieces += [text[at:start], self._put(text[start:end], data_class)]
                at = end
        pieces.append(text[at:upto])
        forget = max(0, upto - CONTEXT - LONGEST_ESCAPE)
        self._text, self._done, self._at = text[forget:], upto - forget, max(at, upto) - forget
        self._asked -= forget
        self._named = [Found(start - forget, end - forget, name) for start, end, name in self._named if start >= upto]
        return "".join(pieces)


def settled(text: str, longest: int = 0) -> int:
    """How much of `text` no value is in that ends behind it, whatever comes next; `longest`: characters of the longest
    value in a form of the charter's."""
    text = folded(text)
    parted = escapes_parted(text)
    end = _settled(text) if parted is text else min(_settled(text), _settled(parted))
    # One character behind a value decides about it, and may be an escape that is not whole yet.
    return min(end, max(0, len(text) - longest - LONGEST_ESCAPE - 1)) if longest else end


def _settled(text: str) -> int:
    size = len(text)
    last_word = _SOLID.match(text[: -LONGEST - 1 : -1])
    end = _before_row(text, size - (last_word.end() if last_word is not None else 0))
    quote = QUOTE_OPEN.search(text, max(0, size - 2 * LONGEST_QUOTED - _LEAD))
    if quote is not None:
        end = min(end, quote.start())
    for head in _KEY_HEAD.finditer(text, max(0, size - LONGEST_KEY)):
        if head.start() >= end:
            break
        if _KEY_END.search(text, head.end()) is None:
            return head.start()
    return end


def _before_row(text: str, end: int) -> int:
    """Where the row of numbers begins that the text before `end` ends in."""
    least = max(0, len(text) - LONGEST_ROW)
    start = at = end
    while at > least:
        word = _WORD_BEFORE.search(text, least, at)
        if word is None:
            return start
        at = word.start(1)
        if _BEGINS_ROW.search(word[1]) is not None:
            start = at
        elif _IN_ROW.fullmatch(word[1]) is None:
            return start
    return start


class RestoreStream:
    """Restores a text that comes in pieces."""

    __slots__ = ("_classes", "_in_json", "_links", "_text", "_vault")

    def __init__(
        self, vault: Holds, classes: Collection[str], *, in_json: bool = False, links: Links | None = None
    ) -> None:
        """`classes`, `in_json`, `links`: see `restore_text`."""
        self._vault, self._classes, self._in_json, self._links = vault, classes, in_json, links
        self._text = ""

    def feed(self, piece: str) -> str:
        """What can be given out after `piece`."""
        text = self._text + piece
        end = tokens.settled(text)
        self._text = text[end:]
        return self._restored(text[:end])

    def close(self) -> str:
        """The rest."""
        text, self._text = self._text, ""
        return self._restored(text)

    def _restored(self, text: str) -> str:
        return restore_text(text, self._vault, self._classes, in_json=self._in_json, links=self._links)


class ByteStream:
    """A stream of UTF-8 around a stream of text; pieces may end within a character. Bytes that are no UTF-8 pass as
    they are."""

    __slots__ = ("_decode", "_stream")

    def __init__(self, stream: TextStream) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode

    def feed(self, piece: bytes) -> bytes:
        """What can be given out after `piece`."""
        return self._stream.feed(self._decode(piece)).encode("utf-8", "surrogateescape")

    def close(self) -> bytes:
        """The rest."""
        last = self._stream.feed(self._decode(b"", True))
        return (last + self._stream.close()).encode("utf-8", "surrogateescape")
