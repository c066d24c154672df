"""By what words users ask for what a tool does.

A phrase is a few words that must all stand in one sentence, whatever their form and order (`fiducial.guard.words`): a
verb that people use for the act, with a noun by which they name its object. Users ask for ends, not for means: whoever
asks to buy something asks for a filled cart, a sign-in and a proof of identity too. Words can only ever add a hold, so
these lists are generous.
"""

from __future__ import annotations

from fiducial.charter import lexicon
from fiducial.charter.acts import Act
from fiducial.charter.contracts import Effect, Kind

MAX_PHRASES = 60
"""Most phrases a contract is given; past that people no longer read them."""

_KIND_VERBS: dict[Kind, str] = {
    Kind.CREATE: "create",
    Kind.UPDATE: "update",
    Kind.DELETE: "delete",
    Kind.SEND: "send",
    Kind.PUBLISH: "publish",
    Kind.PAY: "pay",
    Kind.BOOK: "book",
    Kind.GRANT: "grant",
    Kind.REVOKE: "revoke",
    Kind.CREDENTIAL: "change",
    Kind.DEPLOY: "deploy",
    Kind.EXECUTE: "run",
}
_QUALIFIERS = frozenset(
    {"all", "new", "my", "unread", "received", "sent", "current", "available", "recent", "active", "linked", "selected"}
    | {"most", "day", "direct", "multiple", "bulk", "api", "user", "id", "name", "web", "online", "local", "public"}
)


def phrases_for(act: Act) -> tuple[str, ...]:
    """Phrases that ask for `act`, most telling first."""
    found: dict[str, None] = {}
    nouns = _nouns(act)
    if act.kind is Kind.AUTHENTICATE:
        words = lexicon.PROVING if act.verb in ("verify", "confirm") else lexicon.SIGNING_IN
        found.update(dict.fromkeys((*words, *lexicon.ACCOUNT_ACTS.split())))
    elif act.kind is Kind.FETCH:
        found.update(
            dict.fromkeys((*lexicon.FETCH_WORDS.split(), *(["download", "save"] if act.verb == "download" else [])))
        )
    elif act.effect is Effect.READ:
        found.update(dict.fromkeys(thing for noun in nouns for thing in _things(noun)))
    else:
        _act_phrases(act, nouns, found)
    return tuple(found)[:MAX_PHRASES]


def _act_phrases(act: Act, nouns: list[str], found: dict[str, None]) -> None:
    verbs = list(dict.fromkeys([*_says(act.verb), *_says(_KIND_VERBS.get(act.kind, ""))]))
    things = list(dict.fromkeys(thing for noun in nouns for thing in _things(noun)))
    found.update(dict.fromkeys(verb for verb in verbs if verb in lexicon.ALONE))
    if set(nouns) & lexicon.CARTS:
        found.update(dict.fromkeys(lexicon.SHOPPING.split()))
    if act.kind is Kind.PAY and (
        act.verb in ("buy", "purchase", "checkout", "order") or set(nouns) & {"order", "cart"}
    ):
        found.update(
            dict.fromkeys(lexicon.SHOPPING.split() if act.verb != "refund" else ("refund", "return", "money back"))
        )
    if act.kind is Kind.SEND and set(nouns) & lexicon.MESSAGES:
        found.update(dict.fromkeys(("let know", "reach out", "get in touch", "inform", "notify", "email", "remind")))
    if act.kind is Kind.GRANT and set(nouns) & {"participant", "attendee", "guest"}:
        found.update(dict.fromkeys(("invite", "include")))
    found.update(dict.fromkeys(f"{verb} {thing}" for thing in things for verb in verbs if verb != thing))
    if not things:
        found.update(dict.fromkeys(verbs))


def _nouns(act: Act) -> list[str]:
    """The nouns of the act, the thing itself first, mere qualifiers left out unless nothing else remains."""
    nouns = [noun for noun in reversed(act.nouns) if noun not in _QUALIFIERS and not noun.isdigit()]
    return nouns[:3] or list(reversed(act.nouns))[:2]


def _says(verb: str) -> list[str]:
    return lexicon.SAY.get(verb, verb).split()


def _things(noun: str) -> list[str]:
    return lexicon.THINGS.get(noun, noun).split()
