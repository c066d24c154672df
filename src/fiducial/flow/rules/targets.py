"""Targets: where or on whom a tool acts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fiducial.core.label import Integrity, Label
from fiducial.flow import occurrences
from fiducial.flow.index import Hit
from fiducial.flow.lexer import fold, pieces, whole
from fiducial.flow.memory import Memory, Recovered
from fiducial.flow.rules.standing import (
    apart,
    classes_of,
    hidden_classes,
    label_of,
    part,
    places,
    trusted,
    unknown_label,
)
from fiducial.flow.scripts import unspaced
from fiducial.flow.trace import MAX_WHERE, Origin, Trace

_MAX_CONTESTED_CHUNKS = 8
"""Chunks searched for a whole entity; one named in more is contested without looking further."""
_BARE = 3
"""Digits up to which a number stands in any text by chance (a day, an hour, a count): it names a record only where the
text says that it is an identifier."""
_IDENTIFIED = re.compile(r"(?:\b(?:ids?|identifier|no|nr|num|number|key|ref|reference|code)\b\W{0,6}|[#'\"`“‘])$")
_MAX_AGAINST = 32
"""Places in untrusted text that are kept for a contested record."""


def target(memory: Memory, text: str) -> Trace:
    """A value that says where or on whom."""
    tokens = pieces(text)
    where, lane = trusted(memory, text, tokens)
    if where is None:
        return _untrusted_or_unknown(memory, text, tokens)
    folded = pieces(fold(text))
    classes = classes_of(memory, text)
    of_user = lane is memory.user
    contested, against = (False, []) if of_user else _contested(memory, text, folded)
    return Trace(
        Origin.USER if of_user else Origin.RECORD,
        Label(Integrity.TRUSTED, classes, (where.source,)),
        contested=contested,
        verbatim=True,
        classes=classes,
        where=(where,),
        against=places(against),
    )


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
            # In a script without spaces the letters beside a name are most often other words.
            loose = unspaced(plain) or apart(haystack, at, at + len(plain))
            if loose and (not bare or _IDENTIFIED.search(haystack, max(0, at - 24), at)):
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
        found += lane.stream(pieces(plain[::-1]))
    return bool(found), found[:_MAX_AGAINST]


def _untrusted_or_unknown(memory: Memory, text: str, tokens: Sequence[str]) -> Trace:
    lane = memory.untrusted
    plain = fold(text)
    folded = pieces(plain)
    classes = classes_of(memory, text) | hidden_classes(memory, text)
    if folded:
        hits = occurrences.written(lane, text, folded, whole)
        if hits:
            if memory.pointed_any and not any(hit.root.pointed for hit in hits):
                hits = [*hits[:-1], *occurrences.pointed(lane, text, folded), hits[-1]]
            return Trace(
                Origin.UNTRUSTED,
                label_of(hits, classes, Integrity.UNTRUSTED),
                pointed=any(hit.root.pointed for hit in hits),
                verbatim=True,
                classes=classes,
                where=places(hits),
                untrusted_text=True,
            )
        hits = lane.stream(folded, limit=MAX_WHERE)
        if any(isinstance(hit.root, Recovered) for hit in hits):
            # Where it stands as somebody wrote it says more.
            hits = [*occurrences.spelled(lane, plain), *hits]
        hits = hits or occurrences.disguised(lane, text, plain, folded) or part(memory, folded)
        if hits:
            return Trace(
                Origin.UNTRUSTED,
                label_of(hits, classes, Integrity.UNTRUSTED),
                composed=True,
                classes=classes,
                where=places(hits),
                untrusted_text=True,
            )
    elif lane.leaf(text) is not None:
        return Trace(Origin.UNTRUSTED, label_of([], classes, Integrity.UNTRUSTED), verbatim=True, classes=classes)
    return Trace(
        Origin.UNKNOWN,
        unknown_label(memory, classes),
        composed=True,
        classes=classes,
    )
