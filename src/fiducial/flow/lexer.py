"""What counts as one whole entity, and how text is folded for the comparisons that may only lower trust.

A value is trusted only where the same code points stand as one *whole entity* in a trusted text. An occurrence is whole
when nothing that could belong to a longer entity touches it:

1. It is a whole leaf (a structured result's value), whatever it looks like.
2. Otherwise both of its ends meet a boundary. White space and the ends of the leaf are boundaries. Quotes and brackets
   are looked through, on the right so is sentence punctuation (`see www.example.com.`) and a possessive (`Alice's`), on
   the left one `@` or `#` (`#general`) and, before a digit, one currency sign. Everything else joins: letters, digits,
   `-`, `_`, `/`, `:`, `=`, `%`, `.` with something behind it. So `bank.com` is not whole in `evil-bank.com` or in
   `bank.com.evil.io`, nor `12` in `12.5`, `12:30` or `A12`. A comma or semicolon without a space separates list items
   unless digits stand on both sides of it or an item looks like a URL or path (both may hold commas).
3. Four-character groups of an account or card number written with spaces are parts, not entities; so are groups of
   digits in a run that single spaces or hyphens join (a telephone number, a sort code; `groups` says where one ends).
4. A value of several words must also not be a piece of a longer name: it stands in quotes, or on either side meets
   punctuation, the end of a line, a function word, or, when the value is capitalised, a word that is not.
5. A value that itself begins or ends with quotes, brackets or sentence punctuation is whole only as a leaf, as a line,
   or in quotes; unless it begins as a path (`~/`, `./`, `../`, `.name`), a pattern of names (`*.tmp`) or a telephone
   number (`(555) …`), or ends with the full stop of an abbreviation (`Acme Inc.`) or a bracket opened inside. Then what
   it begins or ends with belongs to it: `/x` is a part of `~/x`. So is a value of nothing but ASCII signs: the `/` in
   `and / or` is no path.

A text that was cut (a huge leaf is indexed in pieces that overlap) has no boundary at the cut.

`fold` maps text to what a reader may take for the same: compatibility forms, case, zero-width characters, accents that
stand apart, and the look-alike letters of Greek, Cyrillic and a few neighbours (after the Unicode confusables table,
https://www.unicode.org/Public/security/latest/confusables.txt, restricted to letters that pass for ASCII ones).
Folded text is compared only against trust, never for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from fiducial.flow import groups, scripts

LEAF = "\x00"
"""Stands before and after every leaf in indexed text; in the text itself it is replaced."""

WORD = re.compile(r"\w+")

_SPACED = {code: " " for code in range(128) if not (chr(code).isalnum() or code == ord("_"))}
_SPACED_LEAVES = {code: " " for code in _SPACED if code} | {0: LEAF}
_WORD_OR_LEAF = re.compile(r"\w+|\x00")


def words(text: str) -> list[str]:
    """The words of `text`, in order."""
    # For ASCII this is four times as fast as a regular expression.
    return text.translate(_SPACED).split() if text.isascii() else WORD.findall(text)


def words_and_leaves(text: str) -> list[str]:
    """The words of `text`, in order, with `LEAF` as a word of its own."""
    if text.isascii():
        return text.replace(LEAF, f" {LEAF} ").translate(_SPACED_LEAVES).split()
    return _WORD_OR_LEAF.findall(text)


def pieces(text: str) -> list[str]:
    """The units of the index: the words of `text`, those of scripts without spaces in pairs of letters."""
    found = words(text)
    return scripts.cut(found) if scripts.unspaced(text) else found


def pieces_and_leaves(text: str) -> list[str]:
    """`pieces`, with `LEAF` as one of its own."""
    found = words_and_leaves(text)
    return scripts.cut(found) if scripts.unspaced(text) else found


def piece_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where the pieces in `text[start:end]` are."""
    found = [match.span() for match in WORD.finditer(text, start, end)]
    if scripts.unspaced(text):
        found = [span for low, high in found for span in scripts.pairs(low, text[low:high])]
    return found


def stretch(tokens: Sequence[str], start: int, size: int) -> Sequence[str]:
    """`size` words of `pieces` from `start`, of which a pair of letters is half of one; none when there are fewer."""
    window = tokens[start : start + size]
    size += sum(map(scripts.unspaced, window))
    window = tokens[start : start + size]
    return window if len(window) == size else ()


_HARD = frozenset(" \n\t\r\f\v\x00\u2028\u2029\u3000")
_THIN = frozenset("\u00a0\u202f\u2009\u2007")
"""Spaces that group digits in numbers: a boundary except between digits."""
_OPEN = frozenset("\"'“‘«‹„([{<*`~「『（【《¡¿")
_CLOSE = frozenset("\"'”’»›)]}>*`~」』）】》")
_STOP = frozenset(".,;:!?…。，、！？：；")
_LIST = frozenset(",;，、；")
_BREAK = frozenset("—|。，、！？：；「」『』（）【】《》")
"""Separate without a space: dashes between clauses, table bars, CJK punctuation."""
_CURRENCY = frozenset("$€£¥₹₩₽₿¢")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "‹": "›", "„": "“", "「": "」", "『": "』"}
_REACH = 24
"""Quotes, brackets and punctuation looked through at either end; more than that is not how people write entities."""

# Rule 5: what a value may begin with; what belongs to it before; abbreviations that end names.
_BEGINNING = re.compile(r"~/|\.{1,2}/|\*?\.[^\W\d]|\(\d{1,5}\)[ -]?\d")
_ROOTED = frozenset("~*./")
_WILD = frozenset("~*")
_ABBREVIATED = re.compile(r"(?<=\s)(?:Inc|Ltd|Co|Corp|Bros|Jr|Sr)\.$")
_NEXT_SENTENCE = re.compile(r"([A-Z][a-z]*)[ \n]")
"""A sentence that begins right after a full stop, its space forgotten: `see www.example.com.They wrote`. Only behind a
host, and only with a word that sentences begin with: `John` is not whole in `John.Smith`."""
_COMPOUND = re.compile(r"[/?=&%#:\\]")
GROUPED = re.compile(
    r"(?<![0-9A-Za-z])(?:[A-Z]{2}\d{2}(?:[ \u00a0][0-9A-Z]{4}){2,8}(?:[ \u00a0][0-9A-Z]{1,3})?"
    r"|\d{4}(?:[ \u00a0]\d{4}){2,4}(?:[ \u00a0]\d{1,3})?)(?![0-9A-Za-z])"
)
"""ISO 13616 print format of an IBAN, and the usual print format of a payment card number (ISO/IEC 7812)."""

_SIGNS = re.compile(r"[!-/:-@\[-`{-~]+")

_FUNCTION_WORDS = """
a about after again all also an and any are as at be because been before between both but by can could did do
does for from had has have he her here him his how i if in into is it its just let me my no not of off on one
only or other our out over own per please she so some such than thanks that the their them then there these
they this those through to too under until up us via was we were what when where which while who whom whose
why will with within without would you your hi hello hey dear called named titled add ask book buy call cancel
change check close contact copy create delete email fetch file find forward get give invite list look mail
make message move notify open order pay ping post put read refund remind remove rename reply reserve schedule
search see send set share show summarize tell text transfer update use visit write
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Function words, and verbs with which requests begin: what bounds a name in a sentence, whatever its case."""
_PARTICLE_WORDS = "of de del della der den di da do dos du la le van von zu al el bin ibn"
_PARTICLES = frozenset(_PARTICLE_WORDS.split())
"""Words inside names: `Bank of America` is not `America` bounded by `of`."""


def whole(text: str, start: int, end: int) -> bool:
    """True when `text[start:end]` stands as one whole entity; `text` has `LEAF` at the ends of every leaf."""
    left = text[start - 1] if start else ""
    right = text[end : end + 1]
    if left == LEAF and right == LEAF:
        return True
    first, last = text[start], text[end - 1]
    if first in _HARD or last in _HARD:
        return False
    if last == "." and _ABBREVIATED.search(text, max(start, end - 8), end) is not None:
        return whole(text, start, end - 1)
    if (left in _WILD and first in _ROOTED) or (last == "/" and right == "*"):
        return False
    unclosed = (last in _CLOSE or right == ")") and text.count("(", start, end) - text.count(")", start, end)
    if right == ")" and unclosed:
        return False
    begins = first in _OPEN or first in _STOP
    ends = last in _CLOSE or last in _STOP
    if not (first.isalnum() or last.isalnum()) and _SIGNS.fullmatch(text, start, end) is not None:
        begins = ends = True
    if (begins and _BEGINNING.match(text, start, end) is None) or (ends and (last != ")" or unclosed)):
        return _quoted(text, start, end) or (left in ("\n", LEAF) and right in ("\n", LEAF))
    if (left not in _HARD or not left) and not _opens(text, start, end):
        return False
    if (right not in _HARD or not right) and not _closes(text, start, end):
        return False
    value = text[start:end]
    if (last.isdigit() or first.isdigit()) and groups.in_run(text, start, end):
        return False
    if len(value) <= 4 and value.isalnum() and value.upper() == value and _in_group(text, start, end):
        return False
    if any(space in value for space in " \n\t\u00a0"):
        return _quoted(text, start, end) or _stands_alone(text, start, end)
    return True


_UNIT = re.compile(r"(?:[A-Z]{3}|k(?:g|m)|cm|mm|ml)(?!\w)")
"""A currency code or a unit right behind a number."""


def counted(text: str, start: int, end: int) -> bool:
    """The digits are one whole number: `whole`, with a currency code or sign allowed beside them, and no percent."""
    if text[end : end + 1] == "%" or text[end : end + 2] == " %":
        return False
    code = _UNIT.match(text, end)
    return whole(text, start, end) or (code is not None and whole(text, start, code.end()))


def _opens(text: str, start: int, end: int) -> bool:
    """The left end meets a boundary."""
    index = start - 1
    stop = max(-1, index - _REACH)
    first = text[start]
    if index >= 0 and ((text[index] in "@#" and first.isalnum()) or (text[index] in _CURRENCY and first.isdigit())):
        index -= 1
    while index > stop and text[index] in _OPEN:
        index -= 1
    if index <= stop:
        return False
    character = text[index]
    if character in _HARD or character in _BREAK or text[index + 1] in _BREAK:
        return True
    if character in _THIN:
        return not (first.isdigit() and index > 0 and text[index - 1].isdigit())
    if character == "]" and text[index + 1] == "(":
        return True
    return character in _LIST and _separates(text, index, text[start:end])


def _closes(text: str, start: int, end: int) -> bool:
    """The right end meets a boundary."""
    size = len(text)
    index = end
    last = text[end - 1]
    if index < size and text[index] in "'’" and last.isalpha() and text[index + 1 : index + 2] == "s":
        index += 2
    elif index < size and text[index] in _CURRENCY and last.isdigit():
        index += 1
    stop = min(size, index + _REACH)
    while index < stop and (text[index] in _CLOSE or text[index] in _STOP):
        if text[index] in _LIST and text[index + 1 : index + 2] not in _HARD:
            return _separates(text, index, text[start:end])
        index += 1
    if index >= stop:
        return False
    character = text[index]
    if index == end + 1 and text[end] == "." and last.islower() and "." in text[start:end]:
        following = _NEXT_SENTENCE.match(text, index)
        if following is not None and following[1].lower() in FUNCTION_WORDS:
            return True
    if character in _THIN:
        return not (last.isdigit() and text[index + 1 : index + 2].isdigit())
    return character in _HARD or character in _BREAK or (index > end and text[index - 1] in _BREAK)


def _separates(text: str, comma: int, value: str) -> bool:
    """The comma or semicolon at `comma` lies between two items of a list."""
    if _COMPOUND.search(value):
        return False
    before, after = text[comma - 1 : comma], text[comma + 1 : comma + 2]
    if before.isdigit() and after.isdigit():
        return False
    left = comma
    while left > 0 and comma - left < 256 and text[left - 1] not in _HARD:
        left -= 1
    right = comma + 1
    while right < len(text) and right - comma < 256 and text[right] not in _HARD:
        right += 1
    return right - left < 400 and not _COMPOUND.search(text[left:right])


def _in_group(text: str, start: int, end: int) -> bool:
    """The value is one group of a number that is written in groups."""
    low = max(0, start - 48)
    return any(
        low + match.start() <= start and end <= low + match.end() and match.end() - match.start() > end - start
        for match in GROUPED.finditer(text[low : end + 48])
    )


def _quoted(text: str, start: int, end: int) -> bool:
    """The value fills a pair of quotes."""
    if not start or end >= len(text):
        return False
    opener = text[start - 1]
    closer = _QUOTES.get(opener)
    if closer is None or text[end] != closer or start < 2:
        return False
    value = text[start:end]
    before, after = text[start - 2], text[end + 1 : end + 2]
    if before.isalnum() or not after or after.isalnum():
        return False
    if opener in "'‘":
        return re.search(r"(?<!\w)['’]|['’](?!\w)", value) is None
    return opener not in value and closer not in value


def _stands_alone(text: str, start: int, end: int) -> bool:
    """A value of several words is not a piece of a longer name."""
    value = text[start:end]
    pieces = value.split()
    if not pieces:
        return False
    titled = _capital(pieces[0]) and _capital(pieces[-1])
    return _ends_left(text, start, titled) and _ends_right(text, end, titled)


def _capital(word: str) -> bool:
    letter = next((character for character in word if character.isalnum()), "")
    return letter.isupper() or letter.isdigit()


def _ends_left(text: str, start: int, titled: bool) -> bool:
    index = start - 1
    while index >= 0 and (text[index] in _OPEN or text[index] in " \t\u00a0"):
        index -= 1
    if index < 0:
        return False
    character = text[index]
    if character in "\n\r" or character == LEAF:
        return True
    if not (character.isalnum() or character == "_"):
        if character in "&+":
            return False
        # `Dr. Jane Miller`, `St. Mary`: the abbreviation belongs to the name.
        abbreviated = re.search(r"(?<!\w)[A-Z][a-z]{0,2}\.$", text[max(0, index - 4) : index + 1])
        return character != "." or abbreviated is None
    low = max(0, index - 64)
    before = re.search(r"(\w+)\W{1,3}(\w+)$|(?:^|\W)(\w+)$", text[low : index + 1])
    if before is None:
        return False
    word = before[2] or before[3]
    earlier = before[1] or ""
    folded = word.lower()
    if titled and folded in _PARTICLES and _capital(earlier) and earlier.lower() not in FUNCTION_WORDS:
        return False
    return folded in FUNCTION_WORDS or (titled and word.islower())


def _ends_right(text: str, end: int, titled: bool) -> bool:
    index, size = end, len(text)
    if text[index : index + 2] in ("'s", "’s"):
        return True
    while index < size and text[index] in " \t\u00a0":
        index += 1
    if index >= size:
        return False
    character = text[index]
    if character in "\n\r" or character == LEAF:
        return True
    if not (character.isalnum() or character == "_"):
        return character not in "&+"
    match = WORD.match(text, index, index + 64)
    word = match[0] if match else ""
    following = WORD.search(text, index + len(word), index + 96)
    if titled and word in _PARTICLES and following is not None and _capital(following[0]):
        return False
    return word.lower() in FUNCTION_WORDS or (titled and word.islower())


# Folding

_LOOKALIKES = {
    "a": "аαɑАΑ", "b": "ЬьвΒВβ", "c": "сϲСϹ", "d": "ԁժ", "e": "еєҽεЕΕ", "f": "ϝſ", "g": "ɡց", "h": "һհнНΗҺ",
    "i": "іιɩıӏІΙӀ", "j": "јϳЈ", "k": "кκКΚ", "l": "ⅼ", "m": "мМΜ", "n": "ոηпΝ", "o": "оοօσОΟՕ", "p": "рρРΡ",
    "q": "ԛզ", "r": "гᴦ", "s": "ѕꜱЅ", "t": "тτТΤ", "u": "υսц", "v": "ѵᴠν", "w": "ԝшω", "x": "хχХΧ", "y": "уүγУΥҮ",
    "z": "ᴢζΖ", "3": "з", "-": "‐‑‒–—−", "/": "⁄∕", ":": "։꞉", "'": "’‘ʼ", '"': "“”",
}  # fmt: skip
_TABLE: dict[int, str | None] = {ord(odd): plain for plain, odds in _LOOKALIKES.items() for odd in odds}
_TABLE |= dict.fromkeys([0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0])
_TABLE |= dict.fromkeys(range(0x200B, 0x2010))
_TABLE |= dict.fromkeys(range(0x202A, 0x202F))
_TABLE |= dict.fromkeys(range(0x2060, 0x2070))
_TABLE |= dict.fromkeys(range(0x0300, 0x0370))
_TABLE |= dict.fromkeys(range(0xFE00, 0xFE10))
_TABLE |= dict.fromkeys(range(0xE0000, 0xE0080))


def fold(text: str) -> str:
    """`text` as a hurried reader sees it; equal for a value and its case, width, zero-width and look-alike variants."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).translate(_TABLE).casefold()
    # Put together again: the letters of Korean and the voicing marks of kana are none by themselves.
    return unicodedata.normalize("NFC", plain)
