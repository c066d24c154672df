"""Disguised values in untrusted text, said plainly, so that they are recognised when a model has undone the disguise.

Letters spelled out one by one (`e v i l`, `e-v-i-l`), `name at host dot org`, percent, base64 and hex encodings, and
account or card numbers printed in groups. What comes of it is indexed as untrusted beside the text itself; it can never
raise trust. Text that is reversed is recognised from the value's side, when the value is traced; so are short values of
a declared class in base64 and hex (`encodings`), whose codes cannot be told from words, or stand inside others.

One pass of a linear-time matcher over each stretch says which kinds can be in it at all; nearly always none.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote

import re2

from fiducial.flow.lexer import GROUPED

WINDOW = 16 * 1024
"""Characters looked at in one go; stretches overlap by `_OVERLAP`."""
_OVERLAP = 256
_AROUND = 96
"""Characters before and after a spelled-out dot that its address may take."""

_SCREEN = re2.Set.SearchSet()
_SCREEN.Add(r"(?:^|\W)\w(?:[ _.\-*|,/@:]{1,3}\w\b){5}")
_SCREEN.Add(r"(?i)\bdot\b")
_SCREEN.Add(r"(?:[A-Z]{2}\d{2}|\d{4})[ \x{a0}][0-9A-Z]{4}[ \x{a0}][0-9A-Z]{4}")
_SCREEN.Add(r"%[0-9A-Fa-f]{2}[^%]{0,64}%[0-9A-Fa-f]{2}")
_SCREEN.Add(r"[A-Za-z0-9+/_-]{16}|[A-Za-z0-9+/_-]{11}=")
_SCREEN.Compile()
_LETTERS, _DOT, _GROUPS, _PERCENTS, _CODE = range(5)

_SPELLED = re.compile(r"(?<!\w)\w(?:[ _.\-*|,/@:]{1,3}\w(?!\w)){5,400}")
"""Six characters and more, one by one."""
_AT = re.compile(r" ?[\[({]? ?\bat\b ?[\])}]? ?", re.IGNORECASE)
_POINT = re.compile(r" ?[\[({]? ?\bdot\b ?[\])}]? ?", re.IGNORECASE)
_AT_DOT = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?: ?[\[({]? ?(?:\bat\b|@) ?[\])}]? ?[\w-]{1,63})?"
    r"(?: ?[\[({]? ?\bdot\b ?[\])}]? ?[\w-]{1,63}){1,6}",
    re.IGNORECASE,
)
_WORD_DOT = re.compile(r"\bdot\b", re.IGNORECASE)
_PERCENT = re.compile(r"[\w.@:/?=&+-]{0,64}%[0-9A-Fa-f]{2}[\w.@:/?=&+%-]{0,1024}")
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{16,8192}={0,2}|[A-Za-z0-9+/_-]{11,15}={1,2}")
_HEX = re.compile(r"[0-9a-fA-F]+")

_LONGEST = 128
"""Characters of a value that anyone would spell out."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIGNS = {".": "dot", "@": "at", "-": "dash", "_": "underscore", "/": "slash", ":": "colon", " ": "space"}

SHORTEST_CODE = 4
"""Characters of a value's code; a shorter one stands anywhere by chance."""


def may_disguise(text: str) -> bool:
    """Whether a text should be given to `undisguised`; spares short ones the way there."""
    return len(text) > WINDOW or bool(_SCREEN.Match(text.encode("utf-8", "replace")))


def undisguised(text: str) -> Iterator[str]:
    """What disguised values in `text` say plainly."""
    return (plain for _, _, plain in disguises(text))


def disguises(text: str) -> Iterator[tuple[int, int, str]]:
    """Disguised values in `text`: where each starts and ends, and what it says plainly."""
    for start in range(0, len(text), WINDOW):
        stretch = text[start : start + WINDOW + _OVERLAP] if len(text) > WINDOW else text
        kinds = _SCREEN.Match(stretch.encode("utf-8", "replace"))
        if kinds:
            for low, high, plain in _plain(stretch, kinds):
                yield start + low, start + high, plain


def _plain(text: str, kinds: list[int]) -> Iterator[tuple[int, int, str]]:
    if _LETTERS in kinds:
        for match in _SPELLED.finditer(text):
            letters = re.sub(r"[\s_*|,]+", "", match[0])
            yield *match.span(), letters
            squashed = re.sub(r"\W|_", "", letters)
            if squashed != letters:
                yield *match.span(), squashed
    if _DOT in kinds:
        yield from _spoken(text)
    if _GROUPS in kinds:
        for match in GROUPED.finditer(text):
            yield *match.span(), match[0].replace(" ", "").replace("\u00a0", "")
    if _PERCENTS in kinds:
        for match in _PERCENT.finditer(text):
            yield *match.span(), unquote(match[0], errors="replace")
    if _CODE in kinds:
        for match in _ENCODED.finditer(text):
            opened = decoded(match[0])
            if opened is not None:
                yield *match.span(), opened


def _spoken(text: str) -> Iterator[tuple[int, int, str]]:
    """Addresses with their dots, and their at sign, spoken."""
    done = 0
    for dot in _WORD_DOT.finditer(text):
        if dot.start() < done:
            continue
        done = dot.end() + _AROUND
        for match in _AT_DOT.finditer(text, max(0, dot.start() - _AROUND), done + _AROUND):
            yield *match.span(), _POINT.sub(".", _AT.sub("@", match[0])).replace(" ", "")


def spellings(value: str) -> Iterator[list[str]]:
    """The words of the folded `value` when it is spelled out character by character: signs left out or said, digits as
    digits or in words.

    Nothing for a value that stands in any text by chance when it is spelled: of fewer than four characters, or of one
    digit.
    """
    characters = [character for character in value if character.isalnum()]
    if len(value) > _LONGEST or len(characters) < (2 if value.isdecimal() else 4):
        return
    yield characters
    digits = any(map(value.__contains__, "0123456789"))
    signs = any(map(value.__contains__, _SIGNS))
    if digits:
        yield [spoken(character) for character in characters]
    if signs:
        said = [_SIGNS.get(character, character) for character in value]
        said = [word for word in said if word.isalnum()]
        yield said
        if digits:
            yield list(map(spoken, said))


def spoken(character: str) -> str:
    """A digit as a word; any other character as it is."""
    return _DIGITS[int(character)] if character in "0123456789" else character


def encodings(value: str) -> Iterator[str]:
    """What stands in every base64 and hex code of a text that holds `value`: one form for each of the three places in a
    group of three bytes at which it may begin, and its hex, in lower case.

    A form of fewer than `SHORTEST_CODE` characters is left out.
    """
    raw = value.encode("utf-8", "replace")
    for before in range(3):
        # Six bits a character: those that hold bits of the neighbours too are left out.
        code = base64.b64encode(bytes(before) + raw + bytes(2)).decode()
        form = code[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        if len(form) >= SHORTEST_CODE:
            yield form
    yield raw.hex()


def decoded(token: str) -> str | None:
    """The text that `token` encodes in base64 or hex; `None` when it encodes no readable text."""
    if len(token) >= 16 and len(token) % 2 == 0 and _HEX.fullmatch(token):
        plain = _readable(bytes.fromhex(token))
        if plain is not None:
            return plain
    body = token.rstrip("=")
    if len(body) % 4 == 1:
        return None
    try:
        raw = base64.b64decode(body.replace("-", "+").replace("_", "/") + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return _readable(raw)


def _readable(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if len(text) >= 4 and text.isprintable() else None
