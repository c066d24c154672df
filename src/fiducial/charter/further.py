"""What a description says a tool does besides what it says first: `Gets the report. Then deletes it.`

A verb is said of the tool where a clause begins with it (`..., deletes it`, `and emails the owner`, `: sends money`),
where `it`, `this` or `which` does it, where it will or can, and where the sentence is an order and this is a further
one (`List users, then email them`). Nouns, what others do and what is denied are no acts of the tool:
`emails sent to the user`, `deleted files`, `when a user deletes one`, `does not delete anything`, `use delete_file to
remove it`. Where the grammar leaves it open, words that are verbs only count, and words that are nouns as well need an
object that shows them to be verbs.

A participle counts where it tells of what the tool does besides or by what means (`by charging the card`, `before
unpublishing it`, `..., deleting the original`). A verb that no list of reading verbs holds counts as well, where its
place and object show that it is a verb of the tool's own: nobody knows what it does (`inspects and repairs`).
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
_CASUAL = words_of("drop discard flush abort truncate")
"""Verbs that are as often about the result as about the world: they need an object that shows."""
_PURPOSE = re.compile(
    r"(?:^|\b(?:it|this|(?:this|the) (?:tool|function|endpoint|method|api)) (?:can be |is |may be )?)used to$"
    r"|\buse (?:this|it)(?: (?:tool|function|endpoint|method|api))? to$"
    r"|^(?:(?:this|it|also|the|tool|function|endpoint|method|api) )*(?:allow|enable|help|permit)s?(?: \w+){0,3} to$"
    r"|^(?:\w+ ){0,3}(?:tool|function|helper|utility|command|endpoint|method|api) to$"
)
_LETS = re.compile(r"^(?:(?:this|it|also|the|tool|function|endpoint|method|api) )*lets? (?:\w+ ){1,3}$")
_IN_CASE = re.compile(
    r"\b(?:if|when|where|unless)\s+(?:not\s+)?(?:it\s+is\s+|they\s+are\s+)?(?:absent|appropriate|available|due|empty|expired|"
    r"found|inactive|low|missing|necessary|needed|possible|present|required|so|stale|there|unknown)\b(?!\s+(?:or|and|to)\b)",
    re.IGNORECASE,
)
"""A condition that stands between a conjunction and its verb: `and if missing creates it`."""
_MEANS = words_of("by while with through via upon thereby thus hence")
_BESIDE = words_of("before after")
_ADVICE = words_of("use call run invoke useful helpful recommended best ideal intended must should always you")
"""Words of sentences about when to use the tool: `Call this before paying`."""
_ASKED = words_of("how why what")
_EXPLAINING = words_of("describe document explain recommend suggest")
_PRONOUNS = words_of("it them him her everything")
_PARTICLES = words_of("up down out off over back")
_GERUND_NOUNS = words_of(
    "banking billing booking building closing filing holding landing listing mailing mapping marketing meeting "
    "messaging opening ordering posting pricing rating recording reporting scheduling setting sharing shipping staging "
    "trading training"
)
_NO_VERBS = words_of(
    "above according across against along alongside amid among anything around back based because being below beneath "
    "besides beyond both bring despite doing done down during either else even evening ever everything except false "
    "given going having here however instead just king lastly like meanwhile more morning most much no nothing null "
    "off once only onto otherwise out outside over own past rather regardless ring same since so some something "
    "spring still string such than there thereby thing though thus together too toward towards true twice under "
    "unlike up upon using versus very via well were what whereas whereby yes yet you"
)
"""Words that are no verbs, whatever follows."""
_TOLD = lexicon.TELLING | lexicon.LIGHT | lexicon.VERBS.keys()
_KNOWN = _TOLD | frozenset(map(stem, _TOLD))
_OUT = frozenset({Kind.SEND, Kind.PUBLISH, Kind.PAY, Kind.GRANT, Kind.REVOKE, Kind.DEPLOY})
_HAVE = words_of(
    "can could may might must should will would has have had is are was were did does do uses owns needs sees"
)
"""Verbs that end a clause about what stands before: `folders the user has`."""
_FAILURE = words_of("error errors exception exceptions need risk")
"""What nothing is done to: `raises an error`, `removing the need`."""
_NO_ADVERBS = words_of("apply multiply only reply supply")
_LONGEST = 120
"""Most words that are read as one sentence."""
_ACTING = frozenset(verb for verb, (_, effect) in lexicon.VERBS.items() if effect is not Effect.READ)
_BY_STEM = {stem(verb): verb for verb in lexicon.VERBS if verb in _ACTING}
_MILD = frozenset({Kind.CREATE, Kind.UPDATE, Kind.AUTHENTICATE})
_ACTED_ON = words_of(
    "access action button count date event history key link log operation option order permission request right status "
    "time"
)
"""Nouns that acts stand before: `deploy logs`."""
_ORDERED = words_of("send")
"""Acts that a sentence by itself may as well ask of who uses the tool: `Send the cursor to continue`."""


def further_acts(description: str, parameters: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each verb that `description` says of its tool and that does more than read, with the words that follow.

    They are verbs of the lexicon that have an effect, and verbs that it does not know.
    """
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
    for token in _TOKEN.findall(_IN_CASE.sub(" ", _WRAPPED.sub(" ", description))):
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
        if word.endswith("ing"):
            return self._doing(index)
        verb = _BY_STEM.get(stem(word), "")
        if verb and word != verb and self._done(index, verb):
            return verb
        return word if self._unknown(index, follows=follows) else None

    def rest(self, index: int) -> list[str]:
        """The words after `index` up to the next comma."""
        end = next((i for i in range(index + 1, len(self.words)) if self.words[i] == ","), len(self.words))
        return [singular(word.strip("`").removesuffix("'s")) for word in self.words[index + 1 : end]]

    def _verb(self, index: int) -> str:
        base = singular(self.words[index])
        return self._phrasal(index, base) or base

    def _phrasal(self, index: int, base: str) -> str | None:
        """The verb that `base` makes with a particle, also behind its object: `sign them up`, `shut it down`."""
        following = self._word(index + 1)
        joined = lexicon.PHRASAL.get((base, following))
        if joined is None and following in _OBJECTS:
            for at in range(index + 2, min(index + 5, len(self.words))):
                particle = self.words[at]
                if particle in _PARTICLES or (particle in ("in", "on") and following in _PRONOUNS and at == index + 2):
                    joined = joined or lexicon.PHRASAL.get((base, particle))
        return joined

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
        if word in _TOOLS and {"this", "the", "each", "every"} & set(self.words[max(0, at - 2) : at]):
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

    def _doing(self, index: int) -> str | None:
        """The verb of a participle that says what happens besides, or by what means it does."""
        word, following = self.words[index], self._word(index + 1)
        bare = (word[:-3], f"{word[:-3]}e", word[:-4])
        phrasal = next(filter(None, (self._phrasal(index, base) for base in bare)), None)
        verb = phrasal or next((base for base in bare if base in _ACTING), _BY_STEM.get(stem(word), ""))
        kind, effect = lexicon.VERBS.get(verb, (None, Effect.IRREVERSIBLE))
        if effect is Effect.READ or (not verb and (word in _NO_VERBS or {stem(word), *bare} & _KNOWN)):
            return None
        before = self._before(index)
        if self._denied(index) or _FAILURE & set(self.words[index + 1 : index + 3]):
            return None
        previous, shown = self._word(before), following in _OBJECTS or following.isdigit()
        explained = previous in _BESIDE or singular(self.words[self.first]) in _EXPLAINING
        if explained and _ASKED & set(self.words[:index]):
            return None  # `explains how to save money by ...`
        plain = bool(verb) and word not in _GERUND_NOUNS and following not in _NOT_OBJECTS
        if previous == ",":
            outward = plain and kind in _OUT and following not in _JOINS and following != ""
            counts = (shown or outward) and not self._word(before - 1).endswith("ing")
        elif previous in _MEANS:
            counts = shown or plain
        elif previous in _BESIDE:
            counts = shown and not _ADVICE & set(self.words[:before])
        else:
            counts = shown and previous in ("and", "then") and self._beside(before)
        return (verb or word) if counts else None

    def _beside(self, before: int) -> bool:
        """Whether a conjunction at `before` follows a participle with its object: `by reading it and deleting it`."""
        led = (at for at in range(1, before - 1) if self.words[at].endswith("ing"))
        return any(self.words[at - 1] in _MEANS | {","} for at in led)

    def _denied(self, index: int) -> bool:
        """Whether what the tool does is denied before `index`; `files that are not used` denies nothing of it."""
        return any(
            word in _DENIALS - {"no", "none", "nothing"} and (word != "not" or self._word(at - 1) in _MODALS | {"do"})
            for at, word in enumerate(self.words[:index])
        )

    def _unknown(self, index: int, *, follows: bool) -> bool:
        """Whether a word that is no known verb stands where only a verb of the tool's own does."""
        word, following = self.words[index], self._word(index + 1)
        if stem(word) in _KNOWN or word in _NO_VERBS | _OBJECTS | _NOT_OBJECTS | _OPEN | _MODALS | _JOINS | _DENIALS:
            return False
        if len(word) < 3 or word.endswith("ed") or _adverb(word) or _FAILURE & set(self.words[index + 1 : index + 4]):
            return False
        before = self._before(index)
        shown = self._acted_on(index)
        if singular(word) == word:
            return self._unknown_order(index, before, shown=shown, follows=follows)
        if not self._told(index) or self._denied(index) or (self._aside(index) and following not in _PRONOUNS):
            return False
        joined = self._joined(before)
        begun = self._before(joined) if joined >= 0 and self._third(joined) else joined
        if joined != begun and (begun < 0 or self._subject(begun)) and self._words_join(joined, before):
            return shown or (not _ambiguous(self._verb(joined)) and following not in _NOT_OBJECTS - {"and", "or"})
        if self._word(before) in _JOINS and not self._marked(index):
            return following in _PRONOUNS and shown if singular(word) in lexicon.NAMED else shown
        content = following not in _NOT_OBJECTS | _JOINS | {""}
        return shown or (content and (self._subject(before) or self._marked(index)))

    def _unknown_order(self, index: int, before: int, *, shown: bool, follows: bool) -> bool:
        """The same of a verb as orders and infinitives have it: `Inspect and repair the volume`."""
        if self._will(before):
            return shown
        if before < 0:
            marked = self.number > 0 and follows and index > 0 and not self.names and "you" not in self.words
            return shown and (marked or self.number == 0) and self.words[index] not in lexicon.NAMED
        if not self.ordered or self.number or before < self.first or self._denied(index):
            return False
        if self._word(before) not in _JOINS and not self._marked(index):
            return False
        following = self._word(index + 1)
        if self._joined(before) == self.first and self._words_join(self.first, before):
            return following not in _NOT_OBJECTS | {""}
        if (_MODALS | _OPEN) & set(self.words[self.first + 1 : index]) and following not in _PRONOUNS:
            return False
        return shown and (self.words[index] not in lexicon.NAMED or following in _PRONOUNS)

    def _words_join(self, first: int, before: int) -> bool:
        """Only conjunctions and adverbs stand between a verb at `first` and what follows `before`."""
        return all(one in _JOINS or _adverb(one) for one in self.words[first + 1 : before + 1])

    def _acted_on(self, index: int) -> bool:
        """An object follows, and not the subject of a clause about what stands there: `folders the user has`."""
        following = self._word(index + 1)
        if following in _PRONOUNS:
            after = self._word(index + 2)
            return after not in _HAVE and (singular(after) == after or after in ("as", "is"))
        return following in _OBJECTS and not _HAVE & set(self.words[index + 2 : index + 6])

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
