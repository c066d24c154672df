"""What a description says a tool does besides what it says first: `Gets the report. Then deletes it.`

A verb is said of the tool where a clause begins with it (`..., deletes it`, `and emails the owner`, `: sends money`),
where `it`, `this` or `which` does it, where it will or can, and where the sentence is an order and this is a further
one (`List users, then email them`). Nouns, participles, what others do and what is denied are no acts of the tool:
`emails sent to the user`, `deleted files`, `when a user deletes one`, `does not delete anything`, `use delete_file to
remove it`. Where the grammar leaves it open, words that are verbs only count, and words that are nouns as well need an
object that shows them to be verbs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from fiducial.charter import lexicon
from fiducial.charter.contracts import Effect, Kind
from fiducial.charter.lexicon import words_of
from fiducial.charter.words import singular, stem

_TOKEN = re.compile(r"`[^`\n]*`|\w+(?:[.'’-]\w+)*|\S|\n")
_WORD = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?(?:-[a-z]+)*")
_CAMEL = re.compile(r"[a-z][A-Z]")
_WRAPPED = re.compile(r"(?<=[^\n]{50}[\w,])[ \t]*\n[ \t]*(?=[a-z])")
"""The end of a line in the middle of a sentence."""
_BREAKS = frozenset('.!?;:()[]{}\n•*|–—-→>="')
_JOINS = frozenset({"and", "or", "then", "but", "plus", ",", "/", "&", "+"})
_MARKS = words_of("also then afterward afterwards subsequently thereafter finally next additionally auto re")
"""Adverbs after which a clause goes on with what is done."""
_MODALS = words_of("will can may could would might does shall")
_ITSELF = frozenset({"it", "this"})
_TOOLS = words_of("tool function method operation command endpoint action helper utility assistant agent call api")
_OPEN = words_of("when if whether after before because once until while unless how what where why that which who as")
"""Words that begin clauses about something else."""
_RELATIVE = frozenset({"that", "which", "who", "whom", "whose"})
_OBJECTS = words_of(
    "the a an it them its their this that these those all any every each both some your my our his her him one "
    "everything anything whatever money"
)
"""Words with which an object begins."""
_NOT_OBJECTS = words_of(
    "is are was were be been being will can may must should could would have has had do does not and or but to of by "
    "per for from in on at with within which that who if when are as than"
)
_DENIALS = words_of("not cannot never neither nor without don't doesn't won't can't no nothing none")
_DENYING_LISTS = words_of("never neither nor without")
_CASUAL = words_of("drop discard flush abort")
"""Verbs that are as often about the result as about the world: they need an object that shows."""
_PURPOSE = re.compile(
    r"(?:^|\b(?:it|this|(?:this|the) (?:tool|function|endpoint|method|api)) (?:can be |is |may be )?)used to$"
    r"|\buse (?:this|it)(?: (?:tool|function|endpoint|method|api))? to$"
    r"|^(?:(?:this|it|also|the|tool|function|endpoint|method|api) )*(?:allow|enable|help|permit)s?(?: \w+){0,3} to$"
    r"|^(?:\w+ ){0,3}(?:tool|function|helper|utility|command|endpoint|method|api) to$"
)
_LETS = re.compile(r"^(?:(?:this|it|also|the|tool|function|endpoint|method|api) )*lets? (?:\w+ ){1,3}$")
_NO_ADVERBS = words_of("apply multiply only reply supply")
_LONGEST = 120
"""Most words that are read as one sentence."""
_BY_STEM = {stem(verb): verb for verb, (_, effect) in lexicon.VERBS.items() if effect is not Effect.READ}
_MILD = frozenset({Kind.CREATE, Kind.UPDATE, Kind.AUTHENTICATE})
_ACTED_ON = words_of(
    "access action button count date event history key link log operation option order permission request right status "
    "time"
)
"""Nouns that acts stand before: `deploy logs`."""
_ORDERED = words_of("send")
"""Acts that a sentence by itself may as well ask of who uses the tool: `Send the cursor to continue`."""


def further_acts(description: str, parameters: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each verb with an effect that `description` says of its tool, and the words of its clause that follow."""
    own = {name.lower() for name in parameters}
    ordered = False
    for number, sentence in enumerate(_sentences(description)):
        reader = _Sentence(sentence, number, own)
        if number == 0:
            ordered = reader.ordered
        for index in range(len(sentence)):
            if (verb := reader.act(index, follows=ordered)) is not None:
                yield verb, reader.rest(index)


def _sentences(description: str) -> list[list[str]]:
    """The tokens of the description, cut where sentences, lines, labels and brackets end."""
    found: list[list[str]] = [[]]
    for token in _TOKEN.findall(_WRAPPED.sub(" ", description)):
        if token in _BREAKS or len(found[-1]) >= _LONGEST:
            found.append([])
        if token not in _BREAKS:
            prefix, _, rest = token.partition("-")
            found[-1] += [prefix, rest] if prefix.lower() in ("auto", "re") and rest else [token]
    return [sentence for sentence in found if sentence]


class _Sentence:
    def __init__(self, tokens: list[str], number: int, own: set[str]) -> None:
        self.number = number
        self.words = [token.lower().replace("’", "'") for token in tokens]
        self.plain = [bool(_WORD.fullmatch(token)) and not _CAMEL.search(token) for token in tokens]
        self.names = any(
            not plain
            and (token[0] == "`" or "_" in token or bool(_CAMEL.search(token)))
            and token.strip("`").lower() not in own
            for token, plain in zip(tokens, self.plain, strict=True)
        )
        """Mentions something that is no parameter: another tool."""
        first = next((i for i, word in enumerate(self.words) if not _adverb(word)), 0)
        self.first = first
        self.ordered = self.words[first] in lexicon.VERBS or self.words[first] in lexicon.LIGHT
        """Begins with an order: `Get the file`."""

    def act(self, index: int, *, follows: bool) -> str | None:
        """The verb at `index`, if it is an act of the tool. `follows`: after a sentence that is an order."""
        if not self.plain[index]:
            return None
        word = self.words[index]
        verb = self._verb(index)
        if verb in lexicon.VERBS and lexicon.VERBS[verb][1] is not Effect.READ:
            before = self._before(index)
            if singular(word) != word:
                return verb if self._does(index, before, verb) else None
            if self._will(before) or self._ordered(index, before, verb, follows=follows):
                return verb
        verb = _BY_STEM.get(stem(word), "")
        if word.endswith("ing") and verb:
            return verb if self._doing(index) else None
        return verb if verb and word != verb and self._done(index, verb) else None

    def rest(self, index: int) -> list[str]:
        """The words after `index` up to the next comma."""
        end = next((i for i in range(index + 1, len(self.words)) if self.words[i] == ","), len(self.words))
        return [singular(word.strip("`").removesuffix("'s")) for word in self.words[index + 1 : end]]

    def _verb(self, index: int) -> str:
        base = singular(self.words[index])
        return lexicon.PHRASAL.get((base, self._word(index + 1)), base)

    def _word(self, index: int) -> str:
        return self.words[index] if 0 <= index < len(self.words) else ""

    def _before(self, index: int) -> int:
        """Where the word before `index` stands, adverbs left out; -1 at the beginning."""
        index -= 1
        while index >= 0 and _adverb(self.words[index]):
            index -= 1
        return index

    def _marked(self, index: int) -> bool:
        """An adverb before `index` says that this is what is done next."""
        return (
            any(word in _MARKS for word in self.words[self._before(index) + 1 : index])
            or self._word(self._before(index)) == "then"
        )

    def _subject(self, at: int) -> bool:
        """Whether the word `at` is the tool as the subject of a clause of its own."""
        word = self._word(at)
        if word == "which":
            return self._word(at - 1) == ","
        if word in _ITSELF:
            return self._word(at - 1) not in _OPEN
        if word in _TOOLS and self._word(at - 1) in ("this", "the"):
            return not _OPEN & set(self.words[max(0, at - 3) : at])
        return False

    def _does(self, index: int, before: int, verb: str) -> bool:
        """A verb in the third person: `deletes`."""
        previous, following = self._word(before), self._word(index + 1)
        if not self._told(index) or following in _DENIALS or (self._aside(index) and following not in ("it", "them")):
            return False
        if _DENYING_LISTS & set(self.words[max(0, index - 8) : index]) and previous != "and":
            return False
        joined = self._joined(before)
        coordinated = previous in _JOINS and self._third(joined) and self._told(joined)
        if not following or following in _JOINS:
            return coordinated and not _ambiguous(verb) and not _OPEN & set(self.words[:index])
        if following in _OBJECTS:
            return True
        if following in _NOT_OBJECTS and not (following == "to" and self._marked(index)):
            return False
        if not _ambiguous(verb) or coordinated or self._marked(index):
            return True
        return not _participle(following) if before < 0 else previous not in _JOINS

    def _told(self, index: int) -> bool:
        """Whether a verb in the third person has the tool for its subject, said or left out."""
        before = self._before(index)
        previous = self._word(before)
        if before < 0 or self._subject(before):
            return True
        if previous == "that":
            verbs = (self._verb(at) in lexicon.VERBS for at in range(before))
            return self._word(before - 1) in _TOOLS or not any(verbs)
        if previous not in _JOINS:
            return False
        joined = self._joined(before)
        if joined >= 0 and self._word(joined - 1) in _RELATIVE:
            return self._word(joined - 2) == ","  # else `rules that forward and delete`
        if not self._third(joined) or _ambiguous(self._verb(joined)):
            return True  # `reads emails and deletes them`: a noun
        return self._told(joined)

    def _third(self, at: int) -> bool:
        """A verb in the third person stands there."""
        return at >= 0 and self._verb(at) in lexicon.VERBS and singular(self.words[at]) != self.words[at]

    def _aside(self, index: int) -> bool:
        """Whether `index` goes on with a clause about something else: `when a user creates a file or deletes it`."""
        for at in range(index - 1, -1, -1):
            if self.words[at] == ",":
                return False
            if self.words[at] in _OPEN:
                verbs = (self._verb(verb) for verb in range(at + 1, index) if self._third(verb))
                return not all(map(_ambiguous, verbs))
        return False

    def _joined(self, before: int) -> int:
        """Where the verb stands to which a conjunction at `before` adds another; -1 when it adds to something else."""
        while before >= 0 and (self.words[before] in _JOINS or _adverb(self.words[before])):
            before -= 1
        return (
            before
            if before >= 0 and (self._verb(before) in lexicon.VERBS or self._verb(before) in lexicon.LIGHT)
            else -1
        )

    def _will(self, before: int) -> bool:
        """A verb after what says that the tool will or can, or is for that: `it will also send`, `use this to send`."""
        if self._word(before) in _MODALS:
            subject = self._before(before)
            return subject < 0 or self._subject(subject) or self._word(subject) == "and"
        return bool(
            (self._word(before) == "to" and _PURPOSE.search(" ".join(self.words[: before + 1])))
            or (before < 9 and _LETS.search(" ".join([*self.words[: before + 1], ""])))
        )

    def _ordered(self, index: int, before: int, verb: str, *, follows: bool) -> bool:
        """A further order in a sentence that is one, or one more such sentence."""
        following = self._word(index + 1)
        if self.number and (not follows or lexicon.VERBS[verb][0] in _MILD or self.names or "you" in self.words):
            return False
        if before < 0:
            told = following in _OBJECTS or not (_ambiguous(verb) or following in _NOT_OBJECTS or not following)
            return self.number > 0 and told and verb not in _ORDERED
        if not self.ordered or before < self.first:
            return False
        if self._word(before) not in _JOINS and not self._marked(index):
            return False
        if _DENIALS & set(self.words[:index]) or following in _NOT_OBJECTS - {"to", "and", "or", "from", "in", "by"}:
            return False
        joined = self._joined(before)
        while joined > self.first and self._word(self._before(joined)) in _JOINS:
            joined = self._joined(self._before(joined))
        if joined == self.first:
            return True  # `find and book flights`
        between = self.words[self.first + 1 : index]
        infinitive = any(word in ("to", "for") and after in lexicon.VERBS for word, after in pairwise(between))
        if (infinitive or (_MODALS | _OPEN) & set(between)) and following not in ("it", "them"):
            return False
        if following in _OBJECTS or self._marked(index):
            return True
        beside = self._joined(before)
        paired = beside >= 0 and not self._third(beside)  # `read and delete permissions`
        noun = singular(following) in _ACTED_ON or not following or following in _JOINS
        return not (noun or paired or _ambiguous(verb))

    def _doing(self, index: int) -> bool:
        """A participle that says what happens besides: `..., deleting the original`."""
        before = self._before(index)
        return (
            self._word(before) == ","
            and self._word(index + 1) in _OBJECTS
            and not self._word(before - 1).endswith("ing")
            and not _DENIALS & set(self.words[:index])
        )

    def _done(self, index: int, verb: str) -> bool:
        """A passive that is said to come next, or to come: `the money is then wired`, `all files will be deleted`."""
        before = self._before(index)
        if self._word(before) == "then":
            before = self._before(before)
        if self._word(before) not in ("is", "are", "be", "gets", "get") or lexicon.VERBS[verb][0] in _MILD:
            return False
        if (_OPEN | _DENIALS) & set(self.words[:index]):
            return False
        coming = self._word(before) == "be" and self._word(self._before(before)) == "will"
        return coming or bool(_MARKS & set(self.words))


def _adverb(word: str) -> bool:
    return word != "then" and (word in _MARKS or (word.endswith("ly") and word not in _NO_ADVERBS))


def _ambiguous(verb: str) -> bool:
    return verb in lexicon.NOUN_VERBS or verb in _CASUAL


def _participle(word: str) -> bool:
    return word.endswith("ed") or (word != stem(word) and stem(word) in _BY_STEM and not word.endswith("s"))
