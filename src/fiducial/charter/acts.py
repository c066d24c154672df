"""What a tool does: its kind of act and its effect, read from its name, its description and its server's hints.

1. The name. Verbs that are nothing else (`delete`, `send`) count wherever they stand; words that are nouns as well
   (`order`, `post`) only where an act stands: first, or last with no other verb. A read verb that comes first governs
   what follows (`get_update_status`), unless `and`, `or` or `then` adds an act (`fetch_and_delete`).
2. The object refines the verb: to send money is to pay, to add a participant is to grant, to change a password is to
   change who controls the account.
3. The description's first verb decides when the name has none, and overrules it when it says that more happens. Before
   a tool is taken to read only, the whole description is looked through for what else it does
   (`fiducial.charter.further`).
4. Hints are claims by the server. `readOnlyHint` is believed only where no word contradicts it; `readOnlyHint: false`,
   and `destructiveHint: true` where the tool is not said to be read-only, are believed, since they only raise caution.
5. What remains unknown changes something, irreversibly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from fiducial.charter import lexicon
from fiducial.charter.contracts import Effect, Kind
from fiducial.charter.further import further_acts
from fiducial.charter.objects import ADDRESSES, READ_RULES, RULES
from fiducial.charter.words import first_sentence, name_words, text_words

_SEVERITY = [
    Kind.READ, Kind.FETCH, Kind.UPDATE, Kind.CREATE, Kind.AUTHENTICATE, Kind.REVOKE, Kind.BOOK, Kind.DELETE, Kind.SEND,
    Kind.PUBLISH, Kind.GRANT, Kind.DEPLOY, Kind.EXECUTE, Kind.CREDENTIAL, Kind.PAY,
]  # fmt: skip
"""Kinds, least severe first: what a description adds to a name counts only upwards."""
_EFFECTS = list(Effect)
_ADDING = frozenset({"and", "or", "then"})
_ABLE = frozenset({"to", "can", "may", "if", "whether"})
"""Words after which a verb in a name is not what the tool does: `check_can_delete`."""
_FILLERS = lexicon.words_of(
    "this the an tool function method endpoint api that to which will can be of used you it let for simply please "
    "utility when want need agent its their assistant ability able operation is are your our any all new mcp "
    "specific existing given single multiple provided current specified one some has was no"
)
_SUBJECTS = _FILLERS | {"user", "client", "action", "command", "allow", "enable", "help", "use", "a"}
"""Words that may stand before the first verb of a description."""
_FETCHING = lexicon.words_of(
    "get fetch read browse visit open navigate crawl scrape download extract view access retrieve load curl goto "
    "search summarize screenshot click follow import snapshot capture check preview render convert parse inspect "
    "analyze scan map"
)
_PROOFS = lexicon.words_of(
    "otp code passcode pin token password totp mfa identity signin login account user domain phone"
)
_DOING = frozenset({"trigger", "submit", "click", "confirm", "execute", "perform", "activate"})
_LOCAL = frozenset({"local", "disk", "folder", "directory", "save"})
_CASH = lexicon.words_of("btc cash crypto eth fund money")
_PHONES = lexicon.words_of("phone telephone mobile sms whatsapp")
_SHOWN_BY = lexicon.words_of("fax sms telegram whatsapp")
_OUTSIDE = lexicon.words_of("bucket cloud email endpoint external ftp host recipient s3 server sftp url webhook")
"""Places out of one's own hands to which things are exported."""
_PROBES = lexicon.words_of("packet ping probe query")
"""What a tool sends to find something out."""
_SAVED_TO = lexicon.words_of("path dir directory folder destination output filename save dest target")


class Act(msgspec.Struct, frozen=True):
    """What a tool does."""

    kind: Kind
    effect: Effect
    verb: str
    """The verb it was read from; empty when none was found."""
    nouns: tuple[str, ...]
    """What it acts on, most telling last."""
    notifies: bool = False
    """The description says that people are told."""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its server describes it."""

    name: str
    description: str = ""
    parameters: tuple[str, ...] = ()
    """Names of its parameters."""
    hints: Mapping[str, bool] = {}
    """MCP annotations that are given: `readOnlyHint`, `destructiveHint`, `idempotentHint`, `openWorldHint`."""


class _Verb(msgspec.Struct, frozen=True):
    word: str
    kind: Kind
    effect: Effect


def act_of(tool: Described) -> Act:
    """What `tool` does, as far as its words tell, erring towards more."""
    words = name_words(tool.name)
    said = text_words(first_sentence(tool.description))
    opened, rest = _opening(said)  # 3
    named = _named(words, said, opened)  # 1
    if (
        named is not None and named.word == "return"
    ):  # `return_item` hands something back; only descriptions `return` data
        named = _Verb("return", Kind.UPDATE, Effect.IRREVERSIBLE)
    objects = _nouns(_first_object(rest), opened.word if opened else "")[:4]
    nouns = _nouns(words, named.word if named else "") or objects
    if named is not None:
        named = _refined(named, nouns, tool)  # 2
    if opened is not None:
        opened = _refined(opened, objects or nouns, tool)
    found = _weighed(named, opened, said)
    if found is None or found.effect is Effect.READ:
        found = _further(found, tool)
    found = _hinted(found, tool.hints)  # 4
    if found is None:
        found = _Verb("", Kind.UPDATE, Effect.IRREVERSIBLE)  # 5
    notifies = _notifies(tool.description) and found.effect is not Effect.READ
    effect = Effect.IRREVERSIBLE if notifies else found.effect
    return Act(found.kind, effect, found.word, tuple(nouns), notifies)


# ── 1. the name ───────────────────────────────────────────────────────────────────────────────────────────────────


def _named(words: Sequence[str], said: Sequence[str], opened: _Verb | None) -> _Verb | None:
    """The act that the name's words tell; `None` when they tell none."""
    verbs = [(i, word) for i, word in enumerate(words) if word in lexicon.VERBS and word not in lexicon.NOUN_VERBS]
    if not verbs:
        return _ambiguous(words, opened)
    if words[0] in lexicon.NOUN_VERBS and verbs[0][0] > 0 and said[:1] == [words[0]]:
        verbs.insert(0, (0, words[0]))
    index, word = verbs[0]
    found = _verb(word)
    for later, other in verbs[1:]:
        joined = bool(_ADDING & set(words[index + 1 : later]))
        governs = later == len(words) - 1
        if found.effect is Effect.READ:  # `explore_delete_files`, unless it is said to be about something to read
            aside = opened is not None or words[-1] in lexicon.READ_NOUNS | lexicon.ACCESS
            governs = words[later - 1] not in _ABLE and (governs or not aside)
        if (joined or governs) and _more(_verb(other), found):
            found = _verb(other)
    return _added(found, words, ())


def _ambiguous(words: Sequence[str], opened: _Verb | None) -> _Verb | None:
    """The act of a name whose only verbs are nouns as well: `order_food` is one, `order_status` is none.

    The description tells: its first verb, when the name has it too; any other clear one overrules the name.
    """
    acts = [word for i, word in enumerate(words) if word in lexicon.VERBS and (i == 0 or word != "request")]
    if opened is not None:
        if opened.word in acts:
            return opened
        if opened.word not in lexicon.NOUN_VERBS or opened.effect is not Effect.READ:
            first = words[0] if words and words[0] in acts else None
            if opened.effect is Effect.READ or first is None:
                return None
            own = _verb(first)
            return own if opened.word in lexicon.LIGHT or _more(own, opened) else None
    if words and words[-1] in lexicon.READ_NOUNS and (len(words) > 1 or words[0] not in lexicon.VERBS):
        return _Verb("get", Kind.READ, Effect.READ)
    if words and words[0] in acts and _verb(words[0]).effect is Effect.READ:
        return _added(_verb(words[0]), words, acts)
    places = [word for word in (words[0], words[-1]) if word in acts] if words else []
    found: _Verb | None = None
    for word in places or acts:
        if found is None or _more(_verb(word), found):
            found = _verb(word)
    return found


def _added(found: _Verb, words: Sequence[str], nouns_too: Sequence[str]) -> _Verb:
    """The gravest of `found` and the acts that `and`, `or`, `then` add; those of `nouns_too` may be nouns as well."""
    for position, word in enumerate(words[:-1]):
        after = words[position + 1]
        if word in _ADDING and after in lexicon.VERBS and (after not in lexicon.NOUN_VERBS or after in nouns_too):
            other = _verb(after)
            if found.effect is Effect.READ and _more(other, found):
                found = other
    return found


def _verb(word: str) -> _Verb:
    kind, effect = lexicon.VERBS[word]
    return _Verb(word, kind, effect)


def _more(one: _Verb, other: _Verb) -> bool:
    """Whether `one` is the graver act."""
    return (_SEVERITY.index(one.kind), _EFFECTS.index(one.effect)) > (
        _SEVERITY.index(other.kind),
        _EFFECTS.index(other.effect),
    )


def _nouns(words: Sequence[str], verb: str) -> list[str]:
    """What the words name besides the act; what stands behind a preposition qualifies and comes first."""
    qualified: list[str] = []
    for index, word in enumerate(words):
        if word in lexicon.PREPOSITIONS and index > 0:
            head = [one for one in words[:index] if _is_noun(one, verb)]
            qualified = [one for one in words[index + 1 :] if _is_noun(one, verb)]
            if head:
                return [*qualified, *head]
    return [one for one in words if _is_noun(one, verb)]


def _first_object(words: Sequence[str]) -> Sequence[str]:
    """The words up to the first that begins another act or condition."""
    for index, word in enumerate(words):
        if index and word in (*_ADDING, "if", "when", "so", "which", "that"):
            return words[:index]
    return words


def _is_noun(word: str, verb: str) -> bool:
    if word == verb or word in lexicon.PREPOSITIONS or word in _FILLERS or word in _ADDING or len(word) < 2:
        return False
    return word not in lexicon.VERBS or word in lexicon.NOUN_VERBS


# ── 2. the object ─────────────────────────────────────────────────────────────────────────────────────────────────


def _refined(verb: _Verb, nouns: Sequence[str], tool: Described) -> _Verb:
    """`verb` as its object and the tool's parameters refine it."""
    things = frozenset(nouns)
    parameters = _parameter_words(tool.parameters)
    if verb.effect is Effect.READ:
        return _refined_read(verb, things, parameters, tool)
    head = nouns[-1] if nouns else ""
    for rule in RULES:
        if rule.fits(verb.kind, verb.word, head, things, parameters):
            return verb if rule.act is None else _Verb(verb.word, *rule.act)
    return verb


def _parameter_words(names: Sequence[str]) -> frozenset[str]:
    """The words of parameters' names; `url` in `url_format` is not an address."""
    split = [name_words(name) for name in names]
    return frozenset(
        word for words in split for i, word in enumerate(words) if i == len(words) - 1 or word not in ADDRESSES
    )


def _refined_read(verb: _Verb, things: frozenset[str], parameters: frozenset[str], tool: Described) -> _Verb:
    said = set(text_words(tool.description))
    if verb.word in ("verify", "confirm"):
        if (parameters | things) & _PROOFS:
            return _Verb(verb.word, Kind.AUTHENTICATE, Effect.REVERSIBLE)
        return _Verb(verb.word, Kind.UPDATE, Effect.IRREVERSIBLE) if verb.word == "confirm" else verb
    if verb.word == "query" and "sql" in parameters | things and not _claims_read_only(said, tool.hints):
        return _Verb("execute", Kind.EXECUTE, Effect.IRREVERSIBLE)
    for verbs, objects, act in READ_RULES:
        if verb.word in verbs and (not objects or objects & things):
            return _Verb(verb.word, *act)
    addressed = bool(ADDRESSES & parameters)
    if addressed and (verb.word in _FETCHING or verb.kind is Kind.READ):
        effect = Effect.IRREVERSIBLE if _DOING & said else Effect.READ
        if effect is Effect.READ and verb.word == "download" and (_SAVED_TO & parameters or _LOCAL & said):
            effect = Effect.REVERSIBLE
        return _Verb(verb.word, Kind.FETCH, effect)
    if verb.word == "extract" and things & _CASH:
        return _Verb(verb.word, Kind.PAY, Effect.IRREVERSIBLE)
    if verb.word in ("display", "show") and (
        _led(tool, "to") & lexicon.OUTWARD
        or _led(tool, "by", "via") & _SHOWN_BY
        or (parameters & _PHONES and parameters & {"text", "message", "body", "content"})
    ):
        return _Verb(verb.word, Kind.SEND, Effect.IRREVERSIBLE)
    if verb.word == "export" and _led(tool, "to", "via") & _OUTSIDE:
        return _Verb(verb.word, Kind.SEND, Effect.IRREVERSIBLE)
    if verb.word == "curl":
        return _Verb(verb.word, Kind.EXECUTE, Effect.IRREVERSIBLE)
    if verb.word == "export" and parameters & {"email", "recipient", "url", "bucket", "webhook", "host"}:
        return _Verb(verb.word, Kind.SEND, Effect.IRREVERSIBLE)
    if verb.word in ("download", "export") and (_SAVED_TO & parameters or {"local", "disk"} & said):
        return _Verb(verb.word, Kind.CREATE, Effect.REVERSIBLE)
    return verb


def _led(tool: Described, *prepositions: str) -> frozenset[str]:
    """The words that the description's first sentence has soon after one of `prepositions`: where its object goes."""
    said = text_words(first_sentence(tool.description))
    return frozenset(one for i, word in enumerate(said) if word in prepositions for one in said[i + 1 : i + 5])


def _claims_read_only(said: set[str], hints: Mapping[str, bool]) -> bool:
    return bool(hints.get("readOnlyHint")) or bool(said & {"readonly", "select"})


# ── 3. the description ────────────────────────────────────────────────────────────────────────────────────────────


def _opening(said: Sequence[str]) -> tuple[_Verb | None, Sequence[str]]:
    """The verb with which a description begins, and the words after it; light verbs give way to what they carry."""
    for index, word in enumerate(said[:10]):
        if word in _SUBJECTS or word.endswith("ly"):
            continue
        rest = said[index + 1 :]
        if word in lexicon.LIGHT:
            carried = next((one for one in rest[:5] if one in lexicon.VERBS and one not in lexicon.LIGHT), None)
            if carried is not None:
                return _verb(carried), rest
        return (_verb(word), rest) if word in lexicon.VERBS else (None, said)
    return None, said


def _weighed(named: _Verb | None, opened: _Verb | None, said: Sequence[str]) -> _Verb | None:
    """The name's act, unless the description says that more happens."""
    if named is None or opened is None:
        return named or opened
    if named.effect is Effect.READ and opened.effect is not Effect.READ:
        return named if opened.word in lexicon.LIGHT or opened.word in ("set", "sort") else opened
    if opened.effect is Effect.READ:
        return opened if opened.kind is Kind.FETCH and named.kind is Kind.READ else named
    generic = named.kind in (Kind.CREATE, Kind.UPDATE, Kind.SEND) and opened.kind not in (Kind.CREATE, Kind.UPDATE)
    return opened if generic and _more(opened, named) and opened.word not in lexicon.LIGHT else named


def _further(found: _Verb | None, tool: Described) -> _Verb | None:
    """`found`, which only reads or is not known, or the gravest act that the description adds to it."""
    gravest = found
    for word, rest in further_acts(tool.description, tool.parameters):
        nouns = _nouns(_first_object(rest), word)[:4]
        if word not in lexicon.VERBS and tool.hints.get("readOnlyHint"):
            continue  # nothing contradicts the hint
        act = _said(word, nouns, rest)
        if act is None:
            continue
        act = _refined(act, nouns, tool)
        if found is None:  # nothing is known of the first act
            act = _Verb(act.word, act.kind, Effect.IRREVERSIBLE)
        if act.effect is not Effect.READ and (gravest is None or _more(act, gravest)):
            gravest = act
    return gravest


def _said(word: str, nouns: Sequence[str], rest: Sequence[str]) -> _Verb | None:
    """The act of a verb in the middle of a description; `None` when it tells of the result only."""
    head = nouns[-1] if nouns else ""
    if word not in lexicon.VERBS:
        return _Verb(word, Kind.UPDATE, Effect.IRREVERSIBLE)
    if word in lexicon.SPEAKING or (word in lexicon.SHAPING and head not in lexicon.GRAVE and not _put(word, rest)):
        return None
    if word == "send" and head in _PROBES:
        return None
    if word in ("create", "write", "save", "store") and head in lexicon.RESULTS:
        return None
    if word == "order" and "by" in rest:
        return None
    if word in lexicon.LIGHT:
        carried = next((one for one in rest[:5] if one in lexicon.VERBS and one not in lexicon.LIGHT), word)
        return None if _verb(carried).effect is Effect.READ else _verb(carried)
    return _verb(word)


def _put(word: str, rest: Sequence[str]) -> bool:
    """What is found goes into what is there already (`merges it into the first`), or its state is set (`marks as`)."""
    if word == "mark" and "as" in rest[:6]:
        return True
    return any(
        one in ("into", "onto") and article in ("the", "your", "its") and not set(rest[at + 2 :]) & lexicon.RESULTS
        for at, (one, article) in enumerate(pairwise(rest))
    )


def _notifies(description: str) -> bool:
    """Whether the description says that people are told."""
    words = text_words(description)
    telling = {"email", "mail", "notify", "notifying", "notification", "invite", "alert", "message"}
    return any(
        word in ("also", "and", "participant", "attendee", "they", "which", "them") and set(words[i : i + 6]) & telling
        for i, word in enumerate(words)
    ) and not {"without", "draft"} & set(words)


# ── 4. the hints ──────────────────────────────────────────────────────────────────────────────────────────────────


def _hinted(found: _Verb | None, hints: Mapping[str, bool]) -> _Verb | None:
    read_only = hints.get("readOnlyHint")
    if found is None:
        return _Verb("", Kind.READ, Effect.READ) if read_only else None
    destroys = hints.get("destructiveHint") and not read_only  # MCP: it says nothing beside `readOnlyHint: true`
    if (read_only is False or destroys) and found.effect is Effect.READ:
        return _Verb(found.word, Kind.UPDATE if found.kind is Kind.READ else found.kind, Effect.IRREVERSIBLE)
    if hints.get("destructiveHint") and found.effect is not Effect.READ:
        return _Verb(found.word, found.kind, Effect.IRREVERSIBLE)
    return found
