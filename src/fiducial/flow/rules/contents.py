"""Contents: what is written or sent, and what of others it carries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fiducial.core.label import Integrity, Label
from fiducial.flow import entities, lexer, occurrences
from fiducial.flow.index import COPIED, Hit, located_run
from fiducial.flow.lexer import fold, pieces, stretch, whole
from fiducial.flow.memory import Memory, Recovered
from fiducial.flow.rules.standing import (
    anywhere,
    apart,
    classes_of,
    hidden_classes,
    label_of,
    named,
    part,
    place_of,
    places,
    stands,
    trusted,
    unknown_label,
)
from fiducial.flow.scripts import unspaced
from fiducial.flow.trace import MAX_WHERE, Origin, Trace

_MAX_WINDOWS = 64
"""Copied stretches checked against trusted text; a content that copies more is untrusted without looking further."""
_FEW = 8
"""Words up to which a content is looked for as one whole in trusted text."""
_TELLING_DIGITS = 4
"""Digits that make a number one that says something: shorter ones recur by chance."""
_UNDONE = 6
"""Characters of a word or number that a model wrote plainly and an untrusted source in a disguise, by no chance."""
_MAX_UNDONE = 256
"""Words and numbers of one content that are looked for in disguises; a content that has more counts as carrying one."""
_MAX_SEARCHED = 8
"""Chunks searched for a copied run; one that may stand in more counts as copied."""
_MAX_SAID = 2
"""Trusted chunks folded, at a third of a millisecond each, to see whether they say the same in other letters."""
_SHORT = 24
"""Characters up to which it is too, however many pairs of letters they make."""
_LONG = 2000
"""Characters past which a content is not looked for as one whole."""
_CAPITALISED_PAIR = re.compile(r"([A-Z]\w{0,39})\W{1,3}(?=([A-Z]\w*))")
_ODD_PAIR = re.compile(r"(?<!\w)([^\W\d_a-z]\w*)\W{1,3}(?=([^\W\d_a-z]\w*))")
"""As above with letters of other alphabets, whatever their case."""


def content(memory: Memory, text: str) -> Trace:
    """A value that is written or sent."""
    tokens = pieces(text)
    short = len(tokens) <= _FEW or len(text) <= _SHORT
    if tokens and short:
        # What the user said as it stands carries nothing of anybody else, whoever repeats it.
        said = memory.user.find(text, tokens, apart)
        if said:
            return named(place_of(said[0]), classes_of(memory, text))
    folded = pieces(fold(text))
    classes = classes_of(memory, text) | hidden_classes(memory, text)
    links, hits = _links(memory, text)
    hits = hits or _carried(memory, text, folded)
    if hits or (memory.untrusted.full and not _covered(memory, folded)):
        exact = occurrences.written(memory.untrusted, text, folded, whole) if len(text) <= _LONG else []
        return Trace(
            Origin.UNTRUSTED if hits else Origin.UNKNOWN,
            label_of(hits, classes, Integrity.UNTRUSTED) if hits else unknown_label(memory, classes),
            pointed=any(hit.root.pointed for hit in exact),
            verbatim=bool(exact),
            composed=not exact,
            links=links,
            untrusted_text=True,
            classes=classes,
            where=places(hits),
        )
    if short:
        where, lane = trusted(memory, text, tokens)
        if where is not None:
            origin = Origin.USER if lane is memory.user else Origin.RECORD
            label = Label(Integrity.TRUSTED, classes, (where.source,))
            return Trace(origin, label, verbatim=True, links=links, classes=classes, where=(where,))
    paired = unspaced(text)
    for token in folded:
        if (len(token) >= 4 or (paired and unspaced(token))) and anywhere(memory, token):
            return Trace(Origin.DERIVED, Label(classes=classes), composed=True, links=links, classes=classes)
    return Trace(Origin.UNKNOWN, unknown_label(memory, classes), composed=True, links=links, classes=classes)


def _covered(memory: Memory, folded: Sequence[str]) -> bool:
    """Every word stands in trusted text."""
    return all(stands(memory.user, token) or stands(memory.record, token) for token in folded)


def _links(memory: Memory, text: str) -> tuple[bool, list[Hit]]:
    """Whether the text holds an address that no trusted source names, and where untrusted sources name one."""
    links = False
    for address in entities.addresses(text):
        tokens = pieces(address)
        where, _ = trusted(memory, address, tokens)
        if where is not None:
            continue
        links = True
        plain = fold(address)
        folded = pieces(plain)
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
    if len(folded) == 1:
        if not folded[0].isdecimal() or len(folded[0]) >= _TELLING_DIGITS:
            # One word that tells something: a password, a code, a name.
            return part(memory, folded)
    elif len(folded) < COPIED or (len(folded) < 2 * COPIED and unspaced(text)):
        # Too short for a run: the whole value.
        hits = lane.stream(folded, limit=MAX_WHERE)
        if hits and not _said(memory, folded):
            return hits
    if entities.has_digit(text):
        for match in entities.IDENTIFIER.finditer(text):
            if sum(map(str.isdigit, match[0])) >= _TELLING_DIGITS:
                parts = pieces(fold(match[0]))
                hits = lane.stream(parts, limit=MAX_WHERE)
                if hits and not _said(memory, parts):
                    return hits
    return _names(memory, text) or _undone(memory, text, folded)


def _names(memory: Memory, text: str) -> list[Hit]:
    """Where two capitalised words in a row stand in untrusted text, and in no trusted text."""
    lane = memory.untrusted
    for match in (_CAPITALISED_PAIR if text.isascii() else _ODD_PAIR).finditer(text):
        pair = pieces(fold(f"{match[1]} {match[2]}"))
        if lexer.FUNCTION_WORDS.isdisjoint(pair) and all(map(lane.has, pair)):
            hits = lane.stream(pair)
            if hits and not _said(memory, pair):
                return hits
    return []


def _undone(memory: Memory, text: str, folded: Sequence[str]) -> list[Hit]:
    """Where untrusted text has a word or number of the content in a disguise only, and no trusted text has it."""
    has = memory.untrusted.has
    suspects = []
    for token in dict.fromkeys(folded):
        if len(token) < _UNDONE:
            continue
        if has(token):
            suspect = memory.recovered
        elif token.isalpha():
            # As `may_hide`, in less time: nearly every word ends here.
            suspect = has(token[::-1]) or (has(token[0]) and all(map(has, token)))
        else:
            suspect = occurrences.may_hide(memory.untrusted, token, [token])
        if suspect and token != token[::-1]:
            suspects.append(token)
    if entities.has_digit(text):
        for match in entities.IDENTIFIER.finditer(text):
            plain = fold(match[0])
            if len(plain) >= _UNDONE and not plain.isalnum():
                suspects.append(plain)
    return _disguised(memory, text, suspects) if suspects else []


def _disguised(memory: Memory, text: str, values: Sequence[str]) -> list[Hit]:
    """Where untrusted text has one of the folded values in a disguise only, and no trusted text has it."""
    lane = memory.untrusted
    written = {fold(value): value for value in pieces(text)}
    left = _MAX_UNDONE
    for plain in dict.fromkeys(values):
        parts = pieces(plain)
        value = written.get(plain, plain)
        if len(parts) > 1 and not occurrences.may_hide(lane, plain, parts) and not all(map(lane.has, parts)):
            continue
        if memory.user.has(value) or memory.record.has(value) or _said(memory, parts):
            continue
        left -= 1
        if left < 0:
            return [Hit(lane.chunks[0], lane.chunks[0].starts[0], lane.chunks[0].starts[0])]
        hits = lane.stream(parts, limit=MAX_WHERE)
        if all(isinstance(hit.root, Recovered) for hit in hits):
            hits = hits or occurrences.disguised(lane, value, plain, parts)
            if hits:
                return hits
    return []


def _runs(memory: Memory, folded: Sequence[str]) -> list[Hit]:
    """Where five words in a row stand in untrusted text, and in no trusted text."""
    lane = memory.untrusted
    checked = 0
    done = -1
    for index, chunks in lane.runs(folded):
        for start in range(max(done + 1, index - 1, 0), min(index, len(folded) - COPIED) + 1):
            window = stretch(folded, start, COPIED)
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
            if any(wanted in f" {' '.join(pieces(fold(text)))} " for text in texts[:_MAX_SAID]):
                return True
    return False
