"""What a text claims, sentence by sentence, and which sources it cites. No model is asked: the rules are these.

1. A sentence ends at `.`, `!`, `?` or `…` before white space and anything but a small letter, at the signs of scripts
   that have others, and at the end of a line.
2. A sentence cites what stands in square brackets (`[1]`, `[kb-12]`, `[1, 3]`, `[^2]`; not the text of a link), in
   `【…】`, or in `(source: …)`: numbers of up to three digits, names of documents that were observed, and whatever
   looks like an id. What holds nothing but citations belongs to the sentence before it.
3. It claims each quotation in it (two words or more between quotation marks, a quoted line); each date with a day and a
   month; each number, less those that number a list; each address and identifier (letters with digits, e-mail, URL,
   host, path, account); and each name: capitalized words in a row, or one that does not begin the sentence. Days,
   months and function words are no names; of a heading, no words are.
4. A sentence with none of these is a *statement* when it says three telling words or more (of four letters and more,
   and no function words) and does not end in a question mark. Otherwise it claims nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

from fiducial.charter.money import EXPONENTS
from fiducial.flow import dates, entities, scripts
from fiducial.flow.lexer import FUNCTION_WORDS, GROUPED, fold
from fiducial.flow.tokens import Token, tokens

Kind: TypeAlias = Literal["number", "date", "name", "identifier", "address", "quotation", "statement"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TELLING = 4
"""Letters of a telling word."""
_STATEMENT = 3
"""Telling words of a statement."""
_LONGEST = 40
"""Telling words after which another statement begins, so that each is compared with passages of its size."""
_END = re.compile(r"[.!?…]{1,3}[\"'”’)\]*_]{0,4}(?=\s+(?![\sa-z]))|[。！？]|\n")
_UNENDED = re.compile(
    r"(?:(?:^|\n)[ \t]{0,3}(?:[-*•][ \t]{1,3})?\(?\d{1,3}"
    r"|(?<!\w)(?:Mr|Mrs|Ms|Dr|Prof|St|No|Nr|Art|Sec|Inc|Ltd|Co|vs|ca|cf|approx|e\.g|i\.e|z\.B|[A-Z]))\.$"
)
"""Full stops that end no sentence: of numbered lines, abbreviations and initials."""
_BRACKETS = re.compile(
    r"\[(?P<square>[^\[\]\n]{1,300})\](?![(:])|【(?P<lens>[^【】\n]{1,300})】"
    r"|\((?i:sources?)\s?:(?P<named>[^()\n]{1,300})\)"
)
_NAMED = re.compile(r"(?i:sources?)\s?:")
_ID = re.compile(r"(?=[\w./:#@-]*[\d./:#_-])[\w./:#@-]{2,200}")
_ORDINAL = re.compile(r"\s*(?:[-*•]\s+)?(?:\(?\d{1,3}[.)]\s+)?")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_QUOTED_LINE = re.compile(r"\s{0,3}>\s?(.*)")
_QUOTES = re.compile(
    r"\"([^\"\n]{2,2000})\"|“([^“”\n]{2,2000})”|„([^„“”\n]{2,2000})[“”]|«([^«»\n]{2,2000})»"
    r"|(?<!\w)'([^'\n]{2,400}(?:'\w[^'\n]{0,400}){0,4})'(?!\w)"
)
_ALNUM = re.compile(r"[^\W_]")
_NAMELESS = """
i i'm i've i'll i'd monday tuesday wednesday thursday friday saturday sunday january february march april may june july
august september october november december ok yes no sure sorry sincerely regards note dr mr mrs ms prof st
"""
_NO_NAMES = frozenset(_NAMELESS.split())
_PARTICLES = frozenset(["of", "de", "del", "la", "le", "van", "von", "the", "and", "for"])
_NOT_FIRST = FUNCTION_WORDS | _NO_NAMES | _PARTICLES
"""With these begins no name."""


class Claim(NamedTuple):
    """One thing that a text says."""

    kind: Kind
    start: int
    end: int
    """Where it stands in the text."""
    tokens: tuple[Token, ...]
    dates: tuple[dates.Found, ...] = ()
    """Of a date: what it may mean."""


class Citation(NamedTuple):
    """One source that a text names."""

    name: str
    start: int
    end: int


class Sentence(NamedTuple):
    """One sentence with what it claims and cites."""

    start: int
    end: int
    claims: tuple[Claim, ...]
    citations: tuple[Citation, ...]


def sentences(text: str, names: Collection[str] = ()) -> list[Sentence]:
    """The sentences of `text`. `names`: folded names of the documents that were observed."""
    cited, blank = _cited(text, names)
    found: list[Sentence] = []
    waiting = 0
    for start, end in _parts(blank):
        mine = []
        while waiting < len(cited) and cited[waiting].start < end:
            mine.append(cited[waiting])
            waiting += 1
        claims = tuple(_claims(blank, start, end))
        if mine and found and not any(character.isalnum() for character in blank[start:end]):
            before = found[-1]
            found[-1] = before._replace(citations=(*before.citations, *mine))
        elif mine or claims:
            found.append(Sentence(start, end, claims, tuple(mine)))
    return found


def _cited(text: str, names: Collection[str]) -> tuple[list[Citation], str]:
    """Rule 2: the citations, and the text with blanks where they stand."""
    found: list[Citation] = []
    pieces: list[str] = []
    done = 0
    for match in _BRACKETS.finditer(text):
        inner = match[match.lastgroup or 0]
        head = _NAMED.match(inner.lstrip())
        explicit = match["named"] is not None or match["lens"] is not None or head is not None
        parts = [inner.strip()] if folded_name(inner) in names else re.split(r"[,;]", inner)
        cited = [part.strip().removeprefix("^") for part in parts if part.strip()]
        if head is not None and cited:
            cited[0] = cited[0][head.end() :].strip()
        if cited and (explicit or all(_cites(part, names) for part in cited)):
            found += [Citation(part, match.start(), match.end()) for part in cited]
            pieces += [text[done : match.start()], " " * (match.end() - match.start())]
            done = match.end()
    return found, "".join(pieces) + text[done:]


def _cites(part: str, names: Collection[str]) -> bool:
    if part.isdecimal():
        return len(part) <= 3
    return folded_name(part) in names or _ID.fullmatch(part) is not None


def folded_name(name: str) -> str:
    """A document's name as citations are compared with it."""
    return fold(name).strip()


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Rule 1."""
    start = 0
    for match in _END.finditer(text):
        if match[0] != "." or _UNENDED.search(text, max(start, match.end() - 12), match.end()) is None:
            yield start, match.end()
            start = match.end()
    if start < len(text):
        yield start, len(text)


def _claims(text: str, start: int, end: int) -> Iterator[Claim]:
    """Rules 3 and 4, for one sentence; positions are those of `text`."""
    sentence = text[start:end]
    begins = _ORDINAL.match(sentence)
    first = begins.end() if begins is not None else 0
    found = [_moved(token, start) for token in tokens(sentence) if token.start >= first]
    if not found:
        return
    starts, ends = [token.start for token in found], [token.end for token in found]
    claimed = 0
    taken: list[tuple[int, int]] = []
    for kind, low, high in (*_quotations(sentence), *_accounts(sentence)):
        inside = tuple(found[bisect_left(starts, start + low) : bisect_right(ends, start + high)])
        if inside and (kind != "quotation" or len(inside) > 1):
            taken.append((start + low, start + high))
            claimed += 1
            yield Claim(kind, start + low, start + high, inside)
    days: dict[tuple[int, int], list[dates.Found]] = {}
    for day in dates.dates_in(sentence):
        if isinstance(day, dates.Found) and day.start >= first:
            days.setdefault((start + day.start, start + day.end), []).append(day)
    for span, meant in days.items():
        taken.append(span)
        claimed += 1
        yield Claim("date", *span, (), tuple(meant))
    left = _outside(found, taken)
    for token in left:
        telling_kind = _kind(text, token)
        if telling_kind is not None:
            claimed += 1
            yield Claim(telling_kind, token.start, token.end, (token,))
    if _HEADING.match(sentence) is not None:
        return
    for name in _names(text, left, start + first):
        claimed += 1
        yield Claim("name", name[0].start, name[-1].end, name)
    if not claimed and not sentence.rstrip().rstrip("\"'”’)]*_ ").endswith(("?", "？")):
        yield from _statements(found)


def _moved(token: Token, by: int) -> Token:
    return token._replace(start=token.start + by, end=token.end + by)


def _quotations(sentence: str) -> Iterator[tuple[Kind, int, int]]:
    quoted = _QUOTED_LINE.match(sentence)
    if quoted is not None and quoted[1].strip():
        yield "quotation", *quoted.span(1)
        return
    for match in _QUOTES.finditer(sentence):
        yield "quotation", *match.span(match.lastindex or 0)


def _accounts(sentence: str) -> Iterator[tuple[Kind, int, int]]:
    """Account and card numbers in groups, which are one identifier."""
    if entities.has_digit(sentence):
        for match in GROUPED.finditer(sentence):
            yield "identifier", *match.span()


def _outside(found: list[Token], taken: list[tuple[int, int]]) -> list[Token]:
    """The tokens that lie in none of the stretches `taken`."""
    taken.sort()
    left: list[Token] = []
    at = reach = 0
    for token in found:
        while at < len(taken) and taken[at][0] < token.end:
            reach = max(reach, taken[at][1])
            at += 1
        if token.start >= reach:
            left.append(token)
    return left


def _kind(text: str, token: Token) -> Kind | None:
    """What a token claims by itself; `None`: it is a word like others."""
    if token.values:
        return None if token.spelled else "number"
    written = text[token.start : token.end]
    if "@" in written or "://" in written or written.startswith("www.") or entities.DOMAIN.fullmatch(written):
        return "address"
    if entities.has_digit(written) or entities.PATH.fullmatch(written):
        return "identifier"
    return None


def _names(text: str, left: list[Token], first: int) -> Iterator[tuple[Token, ...]]:
    """Capitalized words in a row; `first`: where the sentence's words begin."""
    row: list[Token] = []
    for token in left:
        written = text[token.start : token.end]
        apart = bool(row) and text[row[-1].end : token.start] not in (" ", "'s ", "’s ")
        capital = written[:1].isupper() and not token.values and written not in EXPONENTS and _kind(text, token) is None
        if row and (apart or not (capital or token.key in _PARTICLES)):
            yield from _name(text, row, first)
            row = []
        if capital or row:
            row.append(token)
    yield from _name(text, row, first)


def _name(text: str, row: list[Token], first: int) -> Iterator[tuple[Token, ...]]:
    """The names in a row of capitalized words and particles between them."""
    low, high = 0, len(row)
    while high and row[high - 1].key in _PARTICLES:
        high -= 1
    while low < high and row[low].key in _NOT_FIRST:
        low += 1
    begins = bool(row) and not low and _ALNUM.search(text, first, row[0].start) is None
    while high > low and row[high - 1].key in _NO_NAMES:
        high -= 1
    row = row[low:high]
    if not row or any(token.key in _NO_NAMES for token in row):
        # `Bob Monday Ann`: no part of it is told from the rest, so each word is looked for by itself.
        yield from ((token,) for token in row if token.key not in _NO_NAMES and token.key not in _PARTICLES)
        return
    written = text[row[0].start : row[0].end]
    if len(row) == 1 and begins and written[1:] == written[1:].lower():
        return  # every sentence begins with a capital
    yield tuple(row)


def telling(token: Token) -> bool:
    """A word that says what a statement is about."""
    if token.values:
        return False
    return (len(token.key) >= TELLING and token.key not in FUNCTION_WORDS) or scripts.unspaced(token.key)


def _statements(found: list[Token]) -> Iterator[Claim]:
    """Rule 4."""
    words = [token for token in found if telling(token)]
    if len(words) < _STATEMENT:
        return
    for low in range(0, len(words), _LONGEST):
        part = tuple(words[low : low + _LONGEST])
        yield Claim("statement", part[0].start, part[-1].end, part)


__all__ = ["KINDS", "Citation", "Claim", "Kind", "Sentence", "folded_name", "sentences", "telling"]
