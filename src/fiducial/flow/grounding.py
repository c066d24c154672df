"""Grounding: which claims of a text trace to what was observed, and whether the sources it cites say them.

1. The text is taken apart into sentences, claims and citations (`fiducial.flow.claims`).
2. A claim is grounded when some observed source says it (`fiducial.flow.corpus`): the same number, with no other unit
   beside it; the same day; the same name, identifier, address or quotation, word for word in any case; two thirds of
   the telling words of a statement, within `PASSAGE` tokens of one source.
3. A citation names the document that has this id; but a number of up to three digits, the one at that place of the list
   that the answer gave. When it gave none, and none has that id, a number names the one at that place of any result
   with documents. One that names none is *unknown*.
4. Where a sentence cites documents that are known, each of its claims must be said by one of them. Where one is not,
   its citations are *misplaced*.

What the agent itself said before, and what it stored without grounds, is no source (`Hearsay`); neither is what the
session's budget had no room for. Trust plays no part: whoever wrote a source, the answer is from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal

import msgspec

from fiducial.flow.claims import Citation, Kind, Sentence, folded_name, sentences
from fiducial.flow.corpus import Corpus, Unit

MAX_CHARACTERS = 256 * 1024
"""Characters of a text that are taken apart; the rest counts as one claim that nothing grounds."""

_PLACE = 3
"""Digits of a number that is a document's place."""
_LATEST = 64
"""Documents of one name that a citation may mean."""


class Finding(msgspec.Struct, frozen=True):
    """What is not as it must be at one place of a text."""

    what: Kind | Literal["unknown-citation", "misplaced-citation"]
    """The kind of claim that no source says, or what is wrong with a citation."""
    start: int
    end: int
    """Characters of the text."""


class Grounding(msgspec.Struct, frozen=True, kw_only=True):
    """What a text claims, and what of it traces to observed sources."""

    claims: int = 0
    citations: int = 0
    uncited: int = 0
    """Sentences that claim something and cite nothing."""
    findings: tuple[Finding, ...] = ()
    """In the order of the text."""

    @property
    def ungrounded(self) -> tuple[Finding, ...]:
        """Claims that no observed source says."""
        return tuple(each for each in self.findings if not each.what.endswith("-citation"))

    def __or__(self, other: Grounding) -> Grounding:
        """Of both texts; the places of the findings are each in its own."""
        return Grounding(
            claims=self.claims + other.claims,
            citations=self.citations + other.citations,
            uncited=self.uncited + other.uncited,
            findings=self.findings + other.findings,
        )


def ground(text: str, units: Iterable[Unit], listed: Sequence[str] = ()) -> Grounding:
    """What of `text` traces to `units`. `listed`: names that `[1]`, `[2]`, … stand for."""
    sources = list(units)
    named = _Named(sources, listed)
    said = sentences(text[:MAX_CHARACTERS], named.names)
    claims = [claim for sentence in said for claim in sentence.claims]
    corpus = Corpus(sources, claims)
    found = list(chain.from_iterable(_findings(corpus, sentence, named) for sentence in said))
    if len(text) > MAX_CHARACTERS:
        found.append(Finding("statement", MAX_CHARACTERS, len(text)))
    return Grounding(
        claims=len(claims) + (len(text) > MAX_CHARACTERS),
        citations=sum(len(each.citations) for each in said),
        uncited=sum(bool(each.claims) and not each.citations for each in said),
        findings=tuple(sorted(found, key=lambda each: each.start)),
    )


class _Named:
    """Rule 3: which units a citation may mean, by their numbers."""

    def __init__(self, sources: Sequence[Unit], listed: Sequence[str]) -> None:
        self.names: dict[str, list[int]] = {}
        self._places: dict[int, list[int]] = {}
        self._listed = listed
        for number, unit in enumerate(sources):
            if unit.name:
                self.names.setdefault(folded_name(unit.name), []).append(number)
                self._places.setdefault(unit.number, []).append(number)

    def by(self, citation: Citation) -> Sequence[int]:
        """The latest of them; none for one that names nothing."""
        name = folded_name(citation.name)
        if name.isdecimal() and len(name) <= _PLACE:
            return self._at(int(name), name)[-_LATEST:]
        return self.names.get(name, [])[-_LATEST:]

    def _at(self, place: int, name: str) -> Sequence[int]:
        if not self._listed:
            return self.names.get(name) or self._places.get(place, [])
        return self.names.get(folded_name(self._listed[place - 1]), []) if 0 < place <= len(self._listed) else []


def _findings(corpus: Corpus, sentence: Sentence, named: _Named) -> Iterator[Finding]:
    """Rules 2 and 4, for one sentence."""
    within: set[int] = set()
    known: list[Citation] = []
    for citation in sentence.citations:
        cited = named.by(citation)
        within.update(cited)
        if cited:
            known.append(citation)
        else:
            yield Finding("unknown-citation", citation.start, citation.end)
    misplaced = False
    for claim in sentence.claims:
        if not corpus.holding(claim):
            yield Finding(claim.kind, claim.start, claim.end)
            misplaced = True
        elif known and not misplaced:
            misplaced = not corpus.holding(claim, within)
    if misplaced:
        yield from (Finding("misplaced-citation", each.start, each.end) for each in known)


__all__ = ["Finding", "Grounding", "ground"]
