"""Intent: whether the words that were said ask for an effect, and who said them.

For each tool the contract lists phrases by which users ask for it. A sentence asks for the tool when all stems of one
of its phrases stand in it and no `negation` governs them. Authority runs system > operator > user > agent > tool: the
highest one that asks and the highest one that forbids are facts. When nobody above a tool's output asked, and
untrusted text has been read, the highest authority that can have asked is that text.

A request may hand the choice of what to do to a document ("do the tasks on my list"): that is delegation, told apart
from the list of steps that the request itself contains. And a request may name the object of an act ("send it to
a@example.com"): then another object of the same sort, one that the user did not name, is bound elsewhere. A request
with a sentence that asks for the act and names no object leaves it open.

What was said takes up to a budget. Past it nothing more is taken in, and every act counts as forbidden by the system:
what was said last may have forbidden it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from fiducial.charter.contracts import Contract
from fiducial.charter.words import Phrase, phrase, plain, sentences, stem
from fiducial.core.event import Authority
from fiducial.guard import negation
from fiducial.guard.kinds import days_in
from fiducial.guard.negation import Words

RANK: dict[str, int] = {"system": 0, "operator": 1, "user": 2, "agent": 3, "tool": 4, "none": 5}
"""Authority, highest first."""

_CONDITIONS = frozenset({"unless", "without", "until", "except"})
"""`do not send unless asked`: a condition that words alone cannot settle forbids nothing by itself."""
_ITEM = re.compile(r"[-*•+]\s|\(?\w{1,2}[.)]\s")
"""How an item of a list begins."""

_DO = frozenset(map(stem, ("do", "follow", "complete", "execute", "perform", "fulfil", "fulfill", "handle", "carry",
                           "implement", "act", "obey", "finish", "accomplish")))  # fmt: skip
_WORK = frozenset(map(stem, ("action", "task", "instruction", "step", "todo", "todos", "request", "chore",
                             "wish", "demand", "direction", "assignment")))  # fmt: skip
_OWN = frozenset(map(stem, ("following", "below", "these")))
_DELEGATION_REACH = 6

_SENSITIVE: dict[str, frozenset[str]] = {
    name: frozenset(map(stem, words.split()))
    for name, words in {
        "identity": "identity passport id ssn social license licence birth birthday national name identification",
        "payment": "payment card credit debit iban bank account cvv balance billing salary price cost",
        "contact": "contact phone telephone number address email mobile",
        "health": "health medical diagnosis prescription allergy treatment insurance",
        "credentials": "password passcode credential login token pin otp code key secret username",
        "secrets": "secret key token password code",
        "location": "location address where place",
        "children": "child children kid son daughter",
    }.items()
}


_PER_SENTENCE, _PER_WORD = 400, 100
"""Bytes of a sentence and of each of its words, at most about; the words themselves are shared."""


class Sentence(msgspec.Struct, frozen=True):
    """One sentence of what was said."""

    authority: Authority
    words: Words
    """The speaker's own wording: addresses and quoted text left out."""
    present: frozenset[str]
    kinds: frozenset[str]
    """Kinds of entity it names, where it is the user's: `email`, `url`, `date` …"""
    delegates: bool


class Asked(msgspec.Struct):
    """What was said about one tool, so far."""

    asked: bool = False
    """The user asks for its effect."""
    requested_by: str = "none"
    """Highest authority whose words ask for it, `none` if nobody's."""
    forbidden_by: str = "none"
    """Highest authority whose words forbid it, `none` if nobody's."""
    named: frozenset[str] = frozenset()
    """Kinds of which every sentence of the user's that asks names an object."""
    heard: int = 0
    """Sentences gone through."""

    def leaves_open(self, kind: str) -> bool:
        """Some sentence of the user's asks for the act without naming an object of this `kind`."""
        return self.asked and kind not in self.named

    def hear(self, sentence: Sentence, phrases: Sequence[Phrase]) -> None:
        """Take in one more sentence."""
        found = [candidate for candidate in phrases if candidate <= sentence.present]
        if not found:
            return
        if all(map(sentence.words.denies, found)):
            if not _CONDITIONS & sentence.present and RANK[sentence.authority] < RANK[self.forbidden_by]:
                self.forbidden_by = sentence.authority
            return
        if RANK[sentence.authority] < RANK[self.requested_by]:
            self.requested_by = sentence.authority
        if sentence.authority == "user":
            self.named = self.named & sentence.kinds if self.asked else sentence.kinds
            self.asked = True


class Intent:
    """All that was said in a session by those above the tools, and what it asks for."""

    def __init__(self, kinds_in: Callable[[str], frozenset[str]], *, budget: int = 8 * 2**20) -> None:
        """`budget`: bytes that the sentences may take, about."""
        self._kinds_in = kinds_in
        self._left = budget
        self._sentences: list[Sentence] = []
        self._asked: dict[str, Asked] = {}
        self.delegated = False
        """The user told the agent to do what some document says."""
        self._spoken: set[str] = set()
        self._kinds: set[str] = set()
        self.days: frozenset[tuple[int, int]] = frozenset()
        """Months and days of the month that the user named."""

    def hear(self, text: str, authority: Authority) -> None:
        """Take in what `authority` said."""
        user = authority == "user"
        for sentence, words in _read(text, _prompted if authority in ("system", "operator") else _words):
            self._left -= _PER_SENTENCE + _PER_WORD * len(words)
            if self._left < 0:
                break
            heard = Sentence(
                authority=authority,
                words=words,
                present=frozenset(words.stems),
                kinds=self._kinds_in(sentence) if user else frozenset(),
                delegates=_delegates(words.stems),
            )
            self._sentences.append(heard)
            if user:
                self.delegated = self.delegated or heard.delegates
                self._spoken |= heard.present
                self._kinds |= heard.kinds
        if user:
            self.days |= days_in(text)

    def about(self, tool: str, phrases: Sequence[Phrase]) -> Asked:
        """What was said about `tool`, which is asked for by any of `phrases`. Each sentence is gone through once."""
        asked = self._asked.get(tool)
        if asked is None:
            asked = self._asked[tool] = Asked()
        if asked.heard < len(self._sentences):
            for sentence in self._sentences[asked.heard :]:
                asked.hear(sentence, phrases)
            asked.heard = len(self._sentences)
        if self._left < 0:
            asked.forbidden_by = "system"
        return asked

    def names(self, kind: str) -> bool:
        """The user's words name an entity of this `kind`."""
        return kind in self._kinds

    def asks_for_classes(self, classes: Iterable[str]) -> bool:
        """The user's words name every one of the data `classes`; a class with no words known is never asked for."""
        return all(not self._spoken.isdisjoint(_SENSITIVE.get(name, frozenset({stem(name)}))) for name in classes)


def phrases_of(contract: Contract) -> tuple[Phrase, ...]:
    """The phrases by which users ask for what `contract` describes."""
    return tuple(dict.fromkeys(found for found in map(phrase, contract.asked_by) if found))


def _words(sentence: str) -> Words:
    return negation.read(plain(sentence))


_remembered = lru_cache(maxsize=1024)(_words)
_LONGEST = 2_000
"""Characters of the longest sentence that is remembered."""


def _prompted(sentence: str) -> Words:
    """`_words`, for prompts of the system and the operator, which are the same in every session."""
    return _remembered(sentence) if len(sentence) <= _LONGEST else _words(sentence)


def _read(text: str, words_of: Callable[[str], Words]) -> Iterator[tuple[str, Words]]:
    """Each sentence of `text` and its words; refused is what the next one refuses, and items under a prohibition."""
    pending: tuple[str, Words] | None = None
    listed = False
    for sentence in sentences(text):
        words = words_of(sentence)
        if pending is not None:
            yield (pending[0], msgspec.structs.replace(pending[1], refused=True)) if words.refuses else pending
        if listed and _ITEM.match(sentence) is not None:
            words = msgspec.structs.replace(words, refused=True)
        else:
            listed = sentence.endswith(":") and words.prohibits
        pending = (sentence, words)
    if pending is not None:
        yield pending


def _delegates(words: tuple[str, ...]) -> bool:
    """A word for doing, followed closely by a word for work that is written down elsewhere."""
    for index, word in enumerate(words):
        if word not in _DO:
            continue
        reach = words[index + 1 : index + 1 + _DELEGATION_REACH]
        for offset, other in enumerate(reach):
            if other in _WORK and not _OWN & set(reach[: offset + 2]):
                return True
    return False
