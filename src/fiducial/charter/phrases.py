"""By what words users ask for what a tool does.

A phrase is a few words that must all stand in one sentence, whatever their form and order (`fiducial.charter.words`): a
verb that people use for the act, with a noun by which they name its object. Users ask for ends, not for means: whoever
asks to buy something asks for a filled cart, a sign-in and a proof of identity too. Words can only ever add a hold, so
these lists are generous.
"""

from __future__ import annotations

from fiducial.charter import lexicon, sayings
from fiducial.charter.acts import Act
from fiducial.charter.contracts import Effect, Kind

MAX_PHRASES = 80
"""Most phrases a contract is given; past that people no longer read them."""

_QUALIFIERS = frozenset(
    {"all", "new", "my", "unread", "received", "sent", "current", "available", "recent", "active", "linked", "selected"}
    | {"most", "day", "direct", "multiple", "bulk", "api", "user", "id", "name", "web", "online", "local", "public"}
)


def phrases_for(act: Act) -> tuple[str, ...]:
    """Phrases that ask for `act`, most telling first."""
    nouns = _nouns(act)
    if act.kind is Kind.AUTHENTICATE:
        first = sayings.PROVING if act.verb in ("verify", "confirm") else sayings.SIGNING_IN
        found = [*first, *sayings.ACCOUNT_ACTS.split()]
    elif act.kind is Kind.FETCH:
        found = [*(["download", "save"] if act.verb == "download" else []), *sayings.FETCH_WORDS.split()]
    elif act.effect is Effect.READ:
        kept = sayings.SAY["download"].split() if act.verb == "download" else []
        found = [*kept, *_things(nouns), *(["inbox"] if lexicon.MESSAGES & set(nouns) else [])]
    else:
        found = _act_phrases(act, nouns)
    return tuple(dict.fromkeys(found))[:MAX_PHRASES]


def _act_phrases(act: Act, nouns: list[str]) -> list[str]:
    verbs, things = _verbs(act), _things(nouns)
    found = [verb for verb in (act.verb, *verbs) if verb in sayings.ALONE]
    found += [verb for noun in nouns if noun in sayings.ALONE for verb in sayings.SAY.get(noun, noun).split()]
    bought = act.verb in ("buy", "purchase", "checkout", "order") or bool({"order", "cart"} & set(nouns))
    if lexicon.CARTS & set(nouns) or (act.kind is Kind.PAY and bought and act.verb != "refund"):
        found += sayings.SHOPPING.split()
    if act.verb == "refund":
        found += ["refund", "return", "money back"]
    if act.kind is Kind.PAY and not bought and act.verb != "refund":
        found += ["refund", "reimburse", "repay", "pay back", "send back"]
    if act.kind is Kind.SEND and lexicon.MESSAGES & set(nouns):
        found += ["let know", "reach out", "get in touch", "inform", "notify", "email", "message", "remind"]
        things += sayings.SENT.split()
    elif act.kind is Kind.CREATE and {"file", "document", "doc", "note", "page"} & set(nouns):
        things += sayings.WRITTEN_DOWN.split()
    elif lexicon.EVENTS & set(nouns):
        things += sayings.PLANNED.split()
    if act.kind is Kind.CREATE and (act.verb == "download" or lexicon.STORED & set(nouns)):
        found += ["save", "store", "attachment"] if act.verb == "download" else ["save", "store"]
    if act.kind is Kind.GRANT and lexicon.PEOPLE & set(nouns):
        found += ["invite", "include"]
    found += [f"{verb} {thing}" for thing in things for verb in verbs if verb != thing]
    return found if things else [*found, *verbs]


def _verbs(act: Act) -> list[str]:
    """The verbs by which people ask for the act: the tool's own, unless all its meaning is in its object."""
    base = lexicon.VERBS.get(act.verb)
    own = sayings.SAY.get(act.verb, act.verb).split()
    refined = act.verb in sayings.GENERIC and not lexicon.CARTS & set(act.nouns)
    if act.kind is Kind.CREDENTIAL:
        return list(dict.fromkeys([*own, *sayings.SAY_KIND[act.kind].split()]))
    if not act.verb or (refined and base is not None and base[0] is not act.kind):
        own = [act.verb or next(iter(act.nouns), ""), *sayings.SAY_KIND.get(act.kind, "").split()]
    return [verb for verb in dict.fromkeys(own) if verb]


def _nouns(act: Act) -> list[str]:
    """The nouns of the act, the thing itself first; mere qualifiers are left out unless nothing else remains."""
    nouns = [noun for noun in reversed(act.nouns) if noun not in _QUALIFIERS and not noun.isdigit()]
    known = [noun for noun in nouns if noun in sayings.THINGS or noun in lexicon.RECORDS or noun in lexicon.WRITTEN]
    return (known or nouns or list(reversed(act.nouns)))[:3]


def _things(nouns: list[str]) -> list[str]:
    return list(dict.fromkeys(thing for noun in nouns for thing in sayings.THINGS.get(noun, noun).split()))
