"""Negation: which words of a sentence an English prohibition governs.

A sentence is read in *pieces*, cut at commas, brackets and dashes and before words that turn it (`but`, `so`). In its
own piece a negating word governs what follows it, wherever it stands; beyond the piece only when it commands (`do not
…`, `nobody may …`, `it is not allowed to …`) and nothing turns the sentence in between. A verb of refusing (`stop`,
`decline`) governs the verb that depends on it: one in the infinitive or in -ing. What stands before a negation is
governed by a predicate (`deleting it is not allowed`), by an object that is none (`delete nothing`), and by a piece or
a sentence that only refuses (`delete it? Never!`).

Not governed is what a subordinate clause denies of something else (`if nobody answered, send …`, `mail those who have
not paid`), a contrast (`to Bob, not to Carol`), and what only sounds negative (`don't forget to send`). Up to six words
after a plain `not` everything is governed, whatever is in between. Words can only add a hold: where English leaves it
open, the sentence forbids.
"""

from __future__ import annotations

import re

import msgspec

from fiducial.charter.words import WORD, Phrase, stem


def _set(words: str) -> frozenset[str]:
    return frozenset(map(stem, words.split()))


_REACH = 6
"""Words that a plain negation always reaches forward."""
_MOST_WORDS, _MOST_NEGATIONS = 120, 10
"""Of a sentence. Whoever negates in a longer one is not followed any further: all of it counts as denied."""
_VERBS = (
    "is are was were be been do does did has have had must may might can could shall should will would ought need get "
    "gets remain remains stay stays"
)
_AUXILIARIES = _set(_VERBS)
_CONTRACTED = frozenset(stem(f"{verb}nt") for verb in [*_VERBS.split(), "ca", "wo", "sha", "ai"]) | _set("cannot")
_PLAIN = _set("not never without avoid refrain prohibited forbidden don't doesn't mustn't can't cannot shouldn't won't")
_NONE = _set("no nobody none noone nothing nowhere neither nor")
_FORBIDDING = _set("forbid prohibit disallow abstain desist")
_REFUSING = _set("stop cease quit refuse decline prevent skip deny ban bar resist halt reject omit")
"""Verbs that are acts of their own as well: `stop the server and delete the log`."""
_FOLLOWED = {"instead": ("of",), "rather": ("than",), "out": ("of", "the", "question")}
"""Words that negate only with others behind them."""
_CHOOSING = frozenset({"instead", "rather"})
_NEGATIVE = _PLAIN | _CONTRACTED | _NONE | _FORBIDDING | _REFUSING | frozenset(_FOLLOWED)

_SOFTENERS = _set("forget hesitate only just worry mind") | {"worri"}
"""`do not forget to send` asks; `not only`, `not just` do not forbid."""
_ALTERNATIVES = _set("if whether or why")
"""`if not, send it`, `whether or not`, `why not send it`: the negation is of something else."""
_ASKING = _set("couldn't wouldn't")
"""`couldn't you send it?`"""
_NO_MATTER = _set("later less fewer earlier sooner doubt problem matter worry rush hurry") | {"worri"}
"""`no later than Friday`, `no doubt`: nothing is denied."""
_SUBORDINATE = _set("if when whenever because since as although though while where that which who whom whose whether "
                    "whatever whoever whichever what until unless saying")  # fmt: skip
_SUBJECTS = _set("i we he she it they there you") | {"im", "ive", "theyre", "youre"}
_TURNING = _set("but so because otherwise therefore hence")
_TURNS = _TURNING | _set("just instead rather only simply please now")
"""What begins a piece that no longer depends on the command before it."""
_ADDED = _set("and then") | _TURNING
_COMMANDING = _set("please do does also you must may might should shall can could will would ought are be is it was "
                   "i we and under in at on by kindly absolutely definitely strictly the agent ai")  # fmt: skip
"""What stands before a negation that commands: `you must not`, `please do not`, `under no circumstances`."""
_SPEAKER = _set("i we it")
_PERMISSION = _set("allow allowed permit permitted permission okay ok fine acceptable accepted authorized alright "
                   "right appropriate supposed welcome option question")  # fmt: skip
_WANTED = _set("want wanted wish wished like desire desired accept tolerate tolerated")
_PROHIBITED = _set("forbidden forbid prohibited disallowed banned verboten taboo unacceptable illegal impermissible "
                   "unwanted off-limits undesired unwelcome")  # fmt: skip
_MODALS = _set("may must should shall allowed permitted ought circumstance account case time mean way condition event")
_STATES = _set("need have required know see find")
"""`you do not have to ask`: what is denied here is no act."""
_TAIL = (
    _set("ever no way under any at all time case in on account by mean circumstance condition thank thanks you please "
         "now yet anymore even think about it that do dare absolutely certainly definitely strictly totally completely "
         "of course the question out is just still and")
    | _PERMISSION
    | _WANTED
    | _PROHIBITED
    | _PLAIN
    | _CONTRACTED
    | _set("nope nay nah no")
)  # fmt: skip
"""Words of which a refusal consists: `never ever`, `absolutely not`, `not allowed`, `don't even think about it`."""
_OBJECTS = _set("him her them me us to it absolutely the at of with any")
_SUBJECT_OPENERS = _set("the any a all this that of to please further every")
_NOMINAL = re.compile(r"(?:ing|ings|ion|ions|als?)$", re.IGNORECASE)
_BOUNDARY = re.compile(r"[,:;()\[\]?!…—–]|\s--?\s|\.\s")


class Words(msgspec.Struct, frozen=True):
    """The words of a sentence, as far as negation depends on them."""

    stems: tuple[str, ...]
    pieces: tuple[int, ...]
    """Number of the piece in which each word stands."""
    nominal: frozenset[int]
    """Words that are nouns made of verbs: `deleting`, `deletion`."""
    negations: tuple[int, ...]
    """Words that negate."""
    governed: dict[int, tuple[int, ...]]
    """By word, the negations that govern it; of those words that were looked at."""
    refused: bool = False
    """What is said next, or a heading above, refuses all of it."""

    def __len__(self) -> int:
        return len(self.stems)

    @property
    def refuses(self) -> bool:
        """Nothing but a refusal: `Never!`."""
        return bool(self.negations) and _TAIL.issuperset(self.stems) and not _ALTERNATIVES & set(self.stems)

    @property
    def prohibits(self) -> bool:
        """A command not to do something: the heading of what must not be done."""
        return any(_counts(self, at) and _commands(self, at) for at in self.negations[:_MOST_NEGATIONS])

    def denies(self, asked: Phrase) -> bool:
        """Some word of `asked` stands in the sentence only where a negation governs it, or first of all does."""
        if self.refused or not self.negations:
            return self.refused
        if len(self) > _MOST_WORDS or len(self.negations) > _MOST_NEGATIONS:
            return True
        found: dict[str, list[int]] = {}
        for index, word in enumerate(self.stems):
            if word in asked:
                found.setdefault(word, []).append(index)
        if not found:
            return False
        first = min(places[0] for places in found.values())
        if self._governed(first, asked):
            return True
        return any(all(self._governed(index, asked) for index in places) for places in found.values())

    def _governed(self, index: int, asked: Phrase) -> bool:
        by = self.governed.get(index)
        if by is None:
            by = self.governed[index] = tuple(
                at
                for at in self.negations
                if _counts(self, at) and (_forward(self, at, index) if at < index else _backward(self, at, index))
            )
        return any(self.stems[at] not in asked for at in by)


def read(text: str) -> Words:
    """The words of a sentence in the speaker's own wording."""
    stems: list[str] = []
    pieces: list[int] = []
    nominal: set[int] = set()
    piece = end = 0
    for match in WORD.finditer(text):
        word = stem(match[0])
        if stems and (_BOUNDARY.search(text, end, match.start()) or word in _TURNING):
            piece += 1
        if _NOMINAL.search(match[0]) and len(match[0]) > len("thing"):
            nominal.add(len(stems))
        stems.append(word)
        pieces.append(piece)
        end = match.end()
    negations = tuple(index for index, word in enumerate(stems) if word in _NEGATIVE)
    return Words(tuple(stems), tuple(pieces), frozenset(nominal), negations, {})


def _counts(words: Words, at: int) -> bool:
    """The word at `at` does negate."""
    word, following = words.stems[at], words.stems[at + 1 : at + 2]
    if word in _FOLLOWED:
        return words.stems[at + 1 : at + 1 + len(_FOLLOWED[word])] == _FOLLOWED[word]
    if word in _ASKING and following == ("you",):
        return False
    if following and following[0] in _SOFTENERS:
        return False
    if at and words.stems[at - 1] in _ALTERNATIVES:
        return False
    if word == "no" and following:
        return following[0] not in _NO_MATTER and words.stems[at + 2 : at + 3] != ("than",)
    return True


def _before(words: Words, at: int) -> tuple[str, ...]:
    """The words of the same piece before `at`."""
    start = at
    while start and words.pieces[start - 1] == words.pieces[at]:
        start -= 1
    return words.stems[start:at]


def _after(words: Words, at: int) -> tuple[str, ...]:
    """The words of the same piece from `at` on."""
    end = at
    while end < len(words) and words.pieces[end] == words.pieces[at]:
        end += 1
    return words.stems[at:end]


def _forward(words: Words, at: int, index: int) -> bool:
    """The negation at `at` governs the later word at `index`."""
    word, stems = words.stems[at], words.stems
    if word in _PLAIN and index - at <= _REACH:
        return True
    between = stems[at + 1 : index]
    same = words.pieces[at] == words.pieces[index]
    if word in _REFUSING or word in _CHOOSING:
        if _ADDED.intersection(between) and index not in words.nominal:
            return False
        depends = index in words.nominal or not {"to", "from"}.isdisjoint(between) or not between or word in _CHOOSING
        return same and depends
    if not same and _SUBORDINATE.intersection(_before(words, at)):
        return False
    if _commands(words, at):
        return not any(
            words.pieces[place] != words.pieces[place - 1]
            and (stems[place] in _TURNS or (stems[place] == "and" and words.pieces[place] == words.pieces[at] + 1))
            and place + 1 < len(words)
            and words.pieces[place + 1] == words.pieces[place]
            for place in range(at + 1, index + 1)
        )
    return same and (not _ADDED.intersection(between) or index in words.nominal)


def _commands(words: Words, at: int) -> bool:
    """The negation at `at` tells someone what not to do, rather than stating how things are."""
    word, before, rest = words.stems[at], _before(words, at), _after(words, at)[1:]
    near = rest[:3]
    if word in _FORBIDDING or not _PERMISSION.isdisjoint(near):
        return True
    if word in _NONE and word not in ("neither", "nor"):
        return not _MODALS.isdisjoint(rest) or (at + 1 in words.nominal and _COMMANDING.issuperset(before))
    if not _SPEAKER.isdisjoint(before):
        return "you" in near
    return _COMMANDING.issuperset(before) and (not rest or rest[0] not in _STATES)


def _backward(words: Words, at: int, index: int) -> bool:
    """The negation at `at` governs the earlier word at `index`."""
    stems, word = words.stems, words.stems[at]
    same = words.pieces[at] == words.pieces[index]
    before, rest = _before(words, at), _after(words, at)
    between = stems[index + 1 : at] if same else before
    disjoint = (_SUBORDINATE | _SUBJECTS).isdisjoint(between)
    # A piece that only refuses, or the end of this one.
    alone = disjoint if same else _TAIL.issuperset(before)
    refusal = word not in _REFUSING and (word not in _NONE or not _MODALS.isdisjoint(rest))
    if refusal and alone and _TAIL.issuperset(rest) and rest[1:] != ("you",):
        return True
    if word in _NONE and same and at - index <= 3 and _OBJECTS.issuperset(between):
        return True
    if word in _CHOOSING or word in _REFUSING:
        return False
    # A predicate of the act, or of what is said about it.
    if word not in _CONTRACTED and _AUXILIARIES.isdisjoint(stems[max(0, at - 3) : at]):
        return False
    subject = _subject(words, index)
    if not (same or not before or before[0] in _AUXILIARIES or (subject and at - len(before) in words.nominal)):
        return False
    judged = word in _PROHIBITED or not (_PERMISSION | _WANTED).isdisjoint(rest[1:4])
    return (judged or subject) if disjoint else (judged and same and subject)


def _subject(words: Words, index: int) -> bool:
    """The piece around `index` begins with a noun made of a verb: `deleting files`, `any deletion of files`."""
    start = index - len(_before(words, index))
    while start < index and words.stems[start] in _SUBJECT_OPENERS:
        start += 1
    return start in words.nominal or words.stems[max(0, start - 1)] == "to"
