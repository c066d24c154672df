"""How an argument is traced, by what its parameter means. Matching may lower trust easily and raise it hardly.

Target: where or on whom the tool acts.
  1. One whole entity (`lexer`), code point for code point, in the user's text: *user*; in a tool's record: *record*,
     contested when untrusted text names the same entity, whole, in whatever case or look-alike letters.
  2. Otherwise *untrusted* when untrusted text has it: word for word, or folded, or with other punctuation, or spelled
     out, reversed or encoded on either side, or when it has a telling part of it that no trusted source has. Only
     word for word is it *verbatim*: whoever undoes a disguise composes.
  3. Otherwise *unknown*.
Magnitude: how much or when. Numbers compare by value, dates by the day they mean, times where the sources have times.
  Found among the user's words or the records: so it is. Following from those in a simple way: *derived*. Otherwise
  untrusted when untrusted text has it, or it follows with an untrusted number; otherwise unknown.
Option: how. Trusted when all its words are words of trusted texts, in any case: an option acts on nobody.
Content: what is written. Composing is normal, so the question is what it carries: five words in a row, a name, an
  address or a longer number of an untrusted source that no trusted source has; of a single word, whether it is one.

When the untrusted lane is full, what is not found there may still have been said: records count as contested and
content as carrying untrusted text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any

from fiducial.core.ids import SourceId
from fiducial.core.label import TRUSTED, Integrity, Label
from fiducial.flow import dates, lexer, numbers, occurrences
from fiducial.flow.disguise import may_disguise, undisguised
from fiducial.flow.index import COPIED, Hit, Lane, located_run
from fiducial.flow.lexer import counted, fold, whole, words
from fiducial.flow.memory import Memory, Recovered
from fiducial.flow.structure import root_of, show_place
from fiducial.flow.trace import CONSTANT, MAX_WHERE, Origin, Trace, Where

_MAX_CONTESTED_CHUNKS = 8
"""Chunks searched for a whole entity; one named in more is contested without looking further."""
_BARE = 3
"""Digits up to which a number stands in any text by chance (a day, an hour, a count): it names a record only where the
text says that it is an identifier."""
_IDENTIFIED = re.compile(r"(?:\b(?:ids?|identifier|no|nr|num|number|key|ref|reference|code)\b\W{0,6}|[#'\"`“‘])$")
_MAX_AGAINST = 32
"""Places in untrusted text that are kept for a contested record."""
_MAX_WINDOWS = 64
"""Copied stretches checked against trusted text; a content that copies more is untrusted without looking further."""
_MAX_NUMBERS = 32
"""Untrusted numbers tried in sums, the latest."""
_SMALL = 1000
"""Whole numbers below it are options anyone would give: page sizes, counts, flags."""
_FEW = 8
"""Words up to which a content is looked for as one whole in trusted text."""
_TELLING_DIGITS = 4
"""Digits that make a number one that says something: shorter ones recur by chance."""
_MAX_SEARCHED = 8
"""Chunks searched for a copied run; one that may stand in more counts as copied."""
_MAX_SAID = 2
"""Trusted chunks folded, at a third of a millisecond each, to see whether they say the same in other letters."""
_LONG = 2000
"""Characters past which a content is not looked for as one whole."""
_NO_CLASSES: frozenset[str] = frozenset()
# Looking a member up in its enum costs as much as a small function call.
_USER, _TRUSTED = Origin.USER, Integrity.TRUSTED


def named(where: Where, classes: frozenset[str] = _NO_CLASSES) -> Trace:
    """A value that the user named: the frequent case, kept short."""
    return Trace(_USER, Label(_TRUSTED, classes, (where.source,)), verbatim=True, classes=classes, where=(where,))


def target(memory: Memory, text: str) -> Trace:
    """A value that says where or on whom."""
    tokens = words(text)
    where, lane = _trusted(memory, text, tokens)
    if where is None:
        return _untrusted_or_unknown(memory, text, tokens)
    folded = words(fold(text))
    classes = _classes(memory, folded)
    of_user = lane is memory.user
    contested, against = (False, []) if of_user else _contested(memory, text, folded)
    return Trace(
        Origin.USER if of_user else Origin.RECORD,
        Label(Integrity.TRUSTED, classes, (where.source,)),
        contested=contested,
        verbatim=True,
        classes=classes,
        where=(where,),
        against=_where(against),
    )


def _trusted(memory: Memory, text: str, tokens: Sequence[str]) -> tuple[Where | None, Lane | None]:
    """Where the value stands as one whole entity in the user's words, or else in a record."""
    canonical = lexer.canonical_address(text)
    where = memory.named.get(text)
    if where is None and canonical is not None:
        where = memory.named.get(canonical)
    if where is not None:
        return where, memory.user
    for lane in (memory.user, memory.record):
        hit = lane.leaf(text)
        if hit is None and tokens:
            hit = next(iter(lane.find(text, tokens, whole)), None)
        if hit is None and canonical is not None and canonical != text:
            hit = lane.leaf(canonical) or next(iter(lane.find(canonical, words(canonical), whole)), None)
        if hit is not None:
            return _where([hit])[0], lane
    return None, None


def _contested(memory: Memory, text: str, folded: Sequence[str]) -> tuple[bool, list[Hit]]:
    """Whether untrusted text names a record too, and some of the places where it does."""
    lane = memory.untrusted
    if lane.full:
        return True, []
    hits = lane.stream(folded, limit=_MAX_CONTESTED_CHUNKS + 1) if folded else []
    if len(hits) > _MAX_CONTESTED_CHUNKS:
        return True, hits[:MAX_WHERE]
    plain = fold(text)
    bare = plain.isdecimal() and len(plain) <= _BARE
    found = []
    for hit in hits:
        haystack = fold(hit.chunk.text)
        at = haystack.find(plain)
        while at >= 0:
            if _apart(haystack, at, at + len(plain)) and (
                not bare or _IDENTIFIED.search(haystack, max(0, at - 24), at)
            ):
                found.append(Hit(hit.chunk, at, at + len(plain)))
                if len(found) >= _MAX_AGAINST:
                    return True, found
            at = haystack.find(plain, at + 1)
    spelled = occurrences.spelled(lane, plain)
    if len(spelled) >= occurrences.MAX_SPELLED:
        return True, spelled[:MAX_WHERE]
    for hit in spelled:
        if not bare or _IDENTIFIED.search(hit.chunk.text.lower(), max(0, hit.start - 24), hit.start):
            found.append(hit)
    if not bare and len(plain) >= occurrences.REVERSED and plain != plain[::-1]:
        found += lane.stream(words(plain[::-1]))
    return bool(found), found[:_MAX_AGAINST]


_JOINS = frozenset("-_/@")


def _apart(text: str, start: int, end: int) -> bool:
    """Looser than `whole`: nothing that is surely part of a longer entity touches it."""
    left, right = text[start - 1 : start], text[end : end + 1]
    if left.isalnum() or left in _JOINS or right.isalnum() or right in _JOINS:
        return False
    beyond = text[end + 1 : end + 2]
    before = text[start - 2 : start - 1] if start > 1 else ""
    return not (right in (".", ":") and beyond.isalnum()) and not (left in (".", ":") and before.isalnum())


def _untrusted_or_unknown(memory: Memory, text: str, tokens: Sequence[str]) -> Trace:
    lane = memory.untrusted
    plain = fold(text)
    folded = words(plain)
    classes = _classes(memory, folded) | _hidden_classes(memory, text)
    if folded:
        hits = occurrences.written(lane, text, folded, whole)
        if hits:
            if memory.pointed_any and not any(hit.root.pointed for hit in hits):
                hits = [*hits[:-1], *occurrences.pointed(lane, text, folded), hits[-1]]
            return Trace(
                Origin.UNTRUSTED,
                _label(hits, classes, Integrity.UNTRUSTED),
                pointed=any(hit.root.pointed for hit in hits),
                verbatim=True,
                classes=classes,
                where=_where(hits),
                untrusted_text=True,
            )
        hits = lane.stream(folded, limit=MAX_WHERE)
        if any(isinstance(hit.root, Recovered) for hit in hits):
            # Where it stands as somebody wrote it says more.
            hits = [*occurrences.spelled(lane, plain), *hits]
        hits = hits or occurrences.disguised(lane, text, plain, folded) or _part(memory, folded)
        if hits:
            return Trace(
                Origin.UNTRUSTED,
                _label(hits, classes, Integrity.UNTRUSTED),
                composed=True,
                classes=classes,
                where=_where(hits),
                untrusted_text=True,
            )
    elif lane.leaf(text) is not None:
        return Trace(Origin.UNTRUSTED, _label([], classes, Integrity.UNTRUSTED), verbatim=True, classes=classes)
    return Trace(
        Origin.UNKNOWN,
        _unknown(memory, classes),
        composed=True,
        classes=classes,
    )


def _part(memory: Memory, folded: Sequence[str]) -> list[Hit]:
    """A telling word of the value stands in untrusted text and in no trusted text."""
    lane = memory.untrusted
    for token in folded:
        telling = len(token) >= 4 or (len(token) >= 3 and token.isdecimal())
        if telling and token not in _COMMON and lane.has(token) and not _anywhere(memory, token):
            hits = lane.stream([token])
            if hits:
                return hits
    return []


_COMMON_PARTS = (
    "http https html index home page file files data user users docs mail test info www com org net name main"
)
_COMMON = lexer.FUNCTION_WORDS | frozenset(_COMMON_PARTS.split())


def _anywhere(memory: Memory, token: str) -> bool:
    """The folded word stands in trusted text, in one of its usual cases."""
    return _stands(memory.user, token) or _stands(memory.record, token)


# Magnitudes


def magnitude(memory: Memory, value: Any, text: str, unit: str | None) -> Trace:
    """A value that says how much, perhaps with its unit, or when."""
    amount = numbers.number(value)
    if amount is None and unit is not None and unit in text:
        amount = numbers.number(text.replace(unit, "", 1).strip())
    if amount is not None:
        return _number(memory, amount)
    when = dates.moment(text)
    if when is not None:
        return _moment(memory, text, when)
    return target(memory, text)


def _number(memory: Memory, amount: Decimal) -> Trace:
    known = memory.amounts.get(amount)
    if known is not None:
        return named(known[0], _classes(memory, words(known[1])) if memory.classed else _NO_CLASSES)
    spelled = [(form, words(form)) for form in numbers.spellings(amount)]
    for lane, origin in ((memory.user, Origin.USER), (memory.record, Origin.RECORD)):
        for form, tokens in spelled:
            hits = lane.find(form, tokens, counted)
            if hits:
                classes = _classes(memory, tokens)
                return Trace(
                    origin, _label(hits, classes, Integrity.TRUSTED), verbatim=True, classes=classes, where=_where(hits)
                )
    if amount in (0, 1):
        return CONSTANT
    how = numbers.derivation(amount, memory.user_numbers, memory.record_numbers, memory.totals)
    if how is not None:
        return Trace(Origin.DERIVED, TRUSTED, derivation=how)
    for form, tokens in spelled:
        hits = memory.untrusted.find(form, tokens, counted, limit=MAX_WHERE)
        if hits:
            written = occurrences.written(memory.untrusted, form, tokens, counted)
            return Trace(
                Origin.UNTRUSTED,
                _label(hits, _NO_CLASSES, Integrity.UNTRUSTED),
                verbatim=bool(written),
                composed=not written,
                pointed=any(hit.root.pointed for hit in written),
                where=_where(hits),
                untrusted_text=True,
            )
    if memory.untrusted_numbers or memory.untrusted_texts:
        heard = [seen for text in memory.untrusted_texts for seen in numbers.numbers_in(text, limit=8)]
        heard = [*memory.untrusted_numbers, *heard][-_MAX_NUMBERS:]
        how = numbers.derivation(amount, [*memory.user_numbers, *heard], memory.record_numbers, ())
        if how is not None:
            return Trace(
                Origin.UNTRUSTED,
                _label([], _NO_CLASSES, Integrity.UNTRUSTED) | memory.seen,
                composed=True,
                derivation=how,
                untrusted_text=True,
            )
    return Trace(Origin.UNKNOWN, _unknown(memory, _NO_CLASSES), composed=True)


def _moment(memory: Memory, text: str, when: dates.Moment) -> Trace:
    if when.day is None:
        return _time(memory, text, when)
    hit, origin, how = _day(memory, when.day)
    if hit is None and origin is None:
        hits = _untrusted_day(memory, when.day)
        if hits:
            return Trace(
                Origin.UNTRUSTED,
                _label(hits, _NO_CLASSES, Integrity.UNTRUSTED),
                pointed=any(one.root.pointed for one in hits),
                where=_where(hits),
                untrusted_text=True,
            )
        return Trace(Origin.UNKNOWN, _unknown(memory, _NO_CLASSES), composed=True)
    found = [hit] if hit is not None else []
    if when.minute is not None and not _known_minute(memory, when.minute) and _untrusted_minute(memory, when.minute):
        return Trace(Origin.UNTRUSTED, memory.seen | Label(Integrity.UNTRUSTED), composed=True, untrusted_text=True)
    return Trace(
        origin or Origin.DERIVED,
        _label(found, _NO_CLASSES, Integrity.TRUSTED),
        verbatim=how is None,
        where=_where(found),
        derivation=how,
    )


def _day(memory: Memory, day: date) -> tuple[Hit | None, Origin | None, str | None]:
    """Where a trusted source names the day, with the origin and, for a phrase, how."""
    relative = None
    for found, hit in memory.user_dates:
        if isinstance(found, dates.Found):
            if found.matches(day):
                if hit.chunk.text[hit.start : hit.end].startswith(day.isoformat()):
                    return hit, Origin.USER, None
                relative = relative or (hit, Origin.DERIVED, "date from a phrase")
        elif any(found.matches(day, today) for today in memory.todays or memory.record_dates):
            relative = relative or (hit, Origin.DERIVED, "date from a phrase")
    if relative is not None:
        return relative
    if day in memory.record_dates:
        return memory.record.leaf(memory.record_dates[day]), Origin.RECORD, None
    for lane, origin in ((memory.user, Origin.USER), (memory.record, Origin.RECORD)):
        iso = day.isoformat()
        for hit in lane.find(iso, words(iso), _dated):
            return hit, origin, None
    for form in dates.spellings(day)[1:]:
        shown = form.title().replace("Of", "of").replace("Th", "th").replace("St", "st").replace("Nd", "nd")
        for lane in (memory.user, memory.record):
            for hit in lane.find(shown, words(shown), _apart, limit=MAX_WHERE):
                year = _YEAR.match(hit.chunk.text, hit.end)
                if year is None or int(year[1]) == day.year:
                    return hit, Origin.DERIVED, "date from a phrase"
    return None, None, None


_YEAR = re.compile(r",?\s{1,3}(\d{4})(?!\w)")


def _dated(text: str, start: int, end: int) -> bool:
    """An ISO date, alone or before its time."""
    before = text[start - 1 : start]
    return (
        not (before.isalnum() or before in "-./:_")
        and re.match(r"(?:[T ]\d|[^\w-]|$)", text[end : end + 2]) is not None
    )


def _untrusted_day(memory: Memory, day: date) -> list[Hit]:
    for form in dates.spellings(day):
        hits = memory.untrusted.stream(words(form), limit=MAX_WHERE)
        if hits:
            return hits
    return []


def _known_minute(memory: Memory, minute: int) -> bool:
    """The time is a trusted one, or lies a named duration (or half an hour, or an hour) from one, or bounds a day."""
    times = memory.times
    if minute in times or minute in (0, 1439):
        return True
    return any((minute - length) in times or (minute + length) in times for length in memory.durations)


def _untrusted_minute(memory: Memory, minute: int) -> bool:
    hour, rest = divmod(minute, 60)
    half = "am" if hour < 12 else "pm"
    twelve = hour % 12 or 12
    forms = [[f"{hour:02}", f"{rest:02}"], [f"{twelve}", f"{rest:02}", half], [f"{twelve}", f"{rest:02}{half}"]]
    if not rest:
        forms += [[f"{twelve}{half}"], [f"{twelve}", half]]
    return any(memory.untrusted.stream(form) for form in forms)


def _time(memory: Memory, text: str, when: dates.Moment) -> Trace:
    minute = when.minute or 0
    if minute in memory.times:
        where, lane = _trusted(memory, text, words(text))
        if where is None:
            return Trace(Origin.DERIVED, derivation="time from a phrase")
        origin = Origin.USER if lane is memory.user else Origin.RECORD
        return Trace(origin, Label(sources=(where.source,)), verbatim=True, where=(where,))
    if _known_minute(memory, minute):
        return Trace(Origin.DERIVED, TRUSTED, derivation="time from a phrase")
    if _untrusted_minute(memory, minute):
        return Trace(Origin.UNTRUSTED, memory.seen | Label(Integrity.UNTRUSTED), untrusted_text=True)
    return Trace(Origin.UNKNOWN, _unknown(memory, _NO_CLASSES), composed=True)


# Options


def option(memory: Memory, value: Any, text: str) -> Trace:
    """A value that says how, or what a read filters by."""
    amount = numbers.number(value)
    if amount is not None:
        if abs(amount) < _SMALL and amount == amount.to_integral_value():
            return CONSTANT
        return _number(memory, amount)
    when = dates.moment(text)
    if when is not None:
        return _moment(memory, text, when)
    folded = words(fold(text))
    classes = _classes(memory, folded)
    for lane, origin in ((memory.user, Origin.USER), (memory.record, Origin.RECORD)):
        if folded and all(_stands(lane, token) for token in folded):
            return Trace(origin, Label(classes=classes), verbatim=_exactly(lane, text), classes=classes)
    if folded and all(_stands(memory.user, token) or _stands(memory.record, token) for token in folded):
        return Trace(Origin.DERIVED, Label(classes=classes), composed=True, classes=classes)
    hits = memory.untrusted.stream(folded, limit=MAX_WHERE) if folded else []
    hits = hits or occurrences.disguised(memory.untrusted, text, fold(text), folded) or _part(memory, folded)
    if hits:
        verbatim = bool(occurrences.written(memory.untrusted, text, folded, whole))
        return Trace(
            Origin.UNTRUSTED,
            _label(hits, classes, Integrity.UNTRUSTED),
            pointed=verbatim and any(hit.root.pointed for hit in hits),
            verbatim=verbatim,
            composed=not verbatim,
            classes=classes,
            where=_where(hits),
            untrusted_text=True,
        )
    return Trace(Origin.UNKNOWN, _unknown(memory, classes), composed=True, classes=classes)


def _stands(lane: Lane, token: str) -> bool:
    return lane.has(token) or lane.has(token.capitalize()) or lane.has(token.upper())


def _exactly(lane: Lane, text: str) -> bool:
    return lane.leaf(text) is not None or bool(lane.find(text, words(text), whole))


# Content


def content(memory: Memory, text: str) -> Trace:
    """A value that is written or sent."""
    tokens = words(text)
    if 0 < len(tokens) <= _FEW:
        # What the user said as it stands carries nothing of anybody else, whoever repeats it.
        said = memory.user.find(text, tokens, _apart)
        if said:
            classes = memory.classed.of(words(fold(text))) if memory.classed else _NO_CLASSES
            return named(_place(said[0]), classes)
    folded = words(fold(text))
    classes = _classes(memory, folded) | _hidden_classes(memory, text)
    links, hits = _links(memory, text)
    hits = hits or _carried(memory, text, folded)
    if hits or (memory.untrusted.full and not _covered(memory, folded)):
        exact = occurrences.written(memory.untrusted, text, folded, whole) if len(text) <= _LONG else []
        return Trace(
            Origin.UNTRUSTED if hits else Origin.UNKNOWN,
            _label(hits, classes, Integrity.UNTRUSTED) if hits else _unknown(memory, classes),
            pointed=any(hit.root.pointed for hit in exact),
            verbatim=bool(exact),
            composed=not exact,
            links=links,
            untrusted_text=True,
            classes=classes,
            where=_where(hits),
        )
    if len(folded) <= _FEW:
        where, lane = _trusted(memory, text, words(text))
        if where is not None:
            origin = Origin.USER if lane is memory.user else Origin.RECORD
            label = Label(Integrity.TRUSTED, classes, (where.source,))
            return Trace(origin, label, verbatim=True, links=links, classes=classes, where=(where,))
    for token in folded:
        if len(token) >= 4 and _anywhere(memory, token):
            return Trace(Origin.DERIVED, Label(classes=classes), composed=True, links=links, classes=classes)
    return Trace(Origin.UNKNOWN, _unknown(memory, classes), composed=True, links=links, classes=classes)


def _covered(memory: Memory, folded: Sequence[str]) -> bool:
    """Every word stands in trusted text."""
    return all(_stands(memory.user, token) or _stands(memory.record, token) for token in folded)


def _links(memory: Memory, text: str) -> tuple[bool, list[Hit]]:
    """Whether the text holds an address that no trusted source names, and where untrusted sources name one."""
    links = False
    for address in lexer.addresses(text):
        tokens = words(address)
        where, _ = _trusted(memory, address, tokens)
        if where is not None:
            continue
        links = True
        plain = fold(address)
        folded = words(plain)
        lane = memory.untrusted
        hits = lane.stream(folded, limit=MAX_WHERE) or occurrences.disguised(lane, address, plain, folded)
        if hits:
            return True, hits
    return links, []


def _carried(memory: Memory, text: str, folded: Sequence[str]) -> list[Hit]:
    """Where the content has words, a name or a number of an untrusted source that no trusted source has."""
    lane = memory.untrusted
    if not lane.chunks or not folded:
        return []
    if len(folded) >= COPIED:
        hits = _runs(memory, folded)
        if hits:
            return hits
    elif len(folded) > 1:
        # Too short for a run: the whole value, if it is more than one word.
        hits = lane.stream(folded, limit=MAX_WHERE)
        if hits and not _said(memory, folded):
            return hits
    elif not folded[0].isdecimal() or len(folded[0]) >= _TELLING_DIGITS:
        # One word that tells something: a password, a code, a name.
        return _part(memory, folded)
    if lexer.has_digit(text):
        for match in lexer.IDENTIFIER.finditer(text):
            if sum(map(str.isdigit, match[0])) >= _TELLING_DIGITS:
                parts = words(fold(match[0]))
                hits = lane.stream(parts, limit=MAX_WHERE)
                if hits and not _said(memory, parts):
                    return hits
    return _names(memory, text)


_CAPITALISED_PAIR = re.compile(r"([A-Z]\w{0,39})\W{1,3}(?=([A-Z]\w*))")
_ODD_PAIR = re.compile(r"(?<!\w)([^\W\d_a-z]\w*)\W{1,3}(?=([^\W\d_a-z]\w*))")
"""As above with letters of other alphabets, whatever their case."""


def _names(memory: Memory, text: str) -> list[Hit]:
    """Where two capitalised words in a row stand in untrusted text, and in no trusted text."""
    lane = memory.untrusted
    for match in (_CAPITALISED_PAIR if text.isascii() else _ODD_PAIR).finditer(text):
        pair = words(fold(f"{match[1]} {match[2]}"))
        if lexer.FUNCTION_WORDS.isdisjoint(pair) and all(map(lane.has, pair)):
            hits = lane.stream(pair)
            if hits and not _said(memory, pair):
                return hits
    return []


def _runs(memory: Memory, folded: Sequence[str]) -> list[Hit]:
    """Where five words in a row stand in untrusted text, and in no trusted text."""
    lane = memory.untrusted
    checked = 0
    done = -1
    for index, chunks in lane.runs(folded):
        for start in range(max(done + 1, index - 1, 0), min(index, len(folded) - COPIED) + 1):
            window = folded[start : start + COPIED]
            if lexer.FUNCTION_WORDS.issuperset(window):
                continue
            listed = [lane.chunks[number - 1] for number in chunks[:_MAX_SEARCHED]]
            hit = next(filter(None, (located_run(chunk, window) for chunk in listed)), None)
            if hit is None and len(chunks) > len(listed):
                hit = Hit(listed[0], listed[0].starts[0], listed[0].starts[0])
            if hit is None:
                continue
            checked += 1
            if checked > _MAX_WINDOWS or not _said(memory, window):
                return [hit]
            done = start
    return []


def _said(memory: Memory, folded: Sequence[str]) -> bool:
    """Trusted text has these words one after the other: so written, or, in the likeliest chunks, in any case and
    spacing."""
    for lane in (memory.user, memory.record):
        forms = []
        for token in folded:
            form = next((form for form in (token, token.capitalize(), token.upper()) if lane.has(form)), None)
            if form is None:
                break
            forms.append(form)
        else:
            texts = [lane.chunks[number - 1].text for number in lane.candidates(forms)]
            written = " ".join(forms)
            if any(written in text for text in texts):
                return True
            wanted = f" {' '.join(folded)} "
            if any(wanted in f" {' '.join(words(fold(text)))} " for text in texts[:_MAX_SAID]):
                return True
    return False


# Labels and places


def _classes(memory: Memory, folded: Sequence[str]) -> frozenset[str]:
    return memory.classed.of(folded) if memory.classed else _NO_CLASSES


def _hidden_classes(memory: Memory, text: str) -> frozenset[str]:
    """Classes of declared values that the text spells out, encodes or has backwards."""
    if not memory.classed:
        return _NO_CLASSES
    found = memory.classed.of(words(fold(text[::-1])))
    if may_disguise(text):
        for plain in undisguised(text):
            found |= memory.classed.of(words(fold(plain)))
    return found


def _label(hits: Sequence[Hit], classes: frozenset[str], integrity: Integrity) -> Label:
    return Label(integrity, classes, tuple(dict.fromkeys(SourceId(hit.root.id) for hit in hits)))


def _unknown(memory: Memory, classes: frozenset[str]) -> Label:
    return memory.seen | Label(classes=classes)


def _where(hits: Iterable[Hit]) -> tuple[Where, ...]:
    return tuple(map(_place, islice(hits, MAX_WHERE)))


def _place(hit: Hit) -> Where:
    chunk, start = hit.chunk, hit.start
    number = chunk.leaf_at(start)
    place = chunk.place(number)
    offset = start - chunk.starts[number] + (0 if number else chunk.base)
    return Where(SourceId(root_of(place).id), show_place(place), offset, offset + hit.end - start, hit.handle)
