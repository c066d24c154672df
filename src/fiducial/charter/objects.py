"""How the object of an act refines it: to send money is to pay, to add a participant is to grant.

The rules are tried in order and the first that fits decides. They speak of acts that change something; `act_of` in
`fiducial.charter.acts` applies them to the verb of a tool's name and to that of its description.
"""

from __future__ import annotations

import msgspec

from fiducial.charter import lexicon
from fiducial.charter.contracts import Effect, Kind
from fiducial.charter.lexicon import words_of

ADDRESSES = words_of("url uri link href website webpage weburl")
"""Words of parameters that take an address of the web."""
_ANY: frozenset[str] = frozenset()
_REV, _COMP, _IRR = Effect.REVERSIBLE, Effect.COMPENSABLE, Effect.IRREVERSIBLE


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When the act is of these kinds and verbs and its object of these words, it is `act`. What is empty fits all."""

    act: tuple[Kind, Effect] | None
    """What the act is; `None`: what it seemed."""
    kinds: frozenset[Kind] = frozenset()
    verbs: frozenset[str] = _ANY
    head: frozenset[str] = _ANY
    """Words, of which the object itself is one."""
    things: frozenset[str] = _ANY
    """Words, of which the object or a qualifier is one."""
    also: frozenset[str] = _ANY
    """Words, of which another is one."""
    parameters: frozenset[str] = _ANY
    """Words, of which one stands in a parameter's name."""
    bodies: frozenset[str] = _ANY
    """Words, of which another does."""
    without: frozenset[str] = _ANY
    """Words, of which none is the object or a qualifier."""

    def fits(self, kind: Kind, verb: str, head: str, things: frozenset[str], parameters: frozenset[str]) -> bool:
        """Whether the rule speaks of this act."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.verbs or verb in self.verbs)
            and (not self.head or head in self.head)
            and (not self.things or not self.things.isdisjoint(things))
            and (not self.also or not self.also.isdisjoint(things))
            and (not self.parameters or not self.parameters.isdisjoint(parameters))
            and (not self.bodies or not self.bodies.isdisjoint(parameters))
            and self.without.isdisjoint(things)
        )


_CREATE, _UPDATE = frozenset({Kind.CREATE}), frozenset({Kind.UPDATE})
_SEND, _BOOK = frozenset({Kind.SEND}), frozenset({Kind.BOOK})
_OWN_CHANGES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.DELETE, Kind.PAY})
_RIGHTS = words_of("permission access role sharing visibility acl privilege")
_GROUPS = words_of("group channel team workspace organization")

RULES: tuple[Rule, ...] = (
    # what a verb says only with its object
    Rule(verbs=words_of("checkout"), things=words_of("git branch repo repository commit"), act=(Kind.UPDATE, _REV)),
    Rule(verbs=words_of("checkout"), act=(Kind.PAY, _IRR)),
    Rule(verbs=words_of("complete finish finalize process confirm submit"), things=lexicon.MONEY, act=(Kind.PAY, _IRR)),
    Rule(verbs=words_of("submit"), things=words_of("order"), act=(Kind.PAY, _IRR)),
    Rule(verbs=words_of("click open follow press join"), parameters=ADDRESSES, act=(Kind.FETCH, _IRR)),
    Rule(verbs=words_of("fill submit type input send enter"), parameters=ADDRESSES, act=(Kind.SEND, _IRR)),
    Rule(kinds=_CREATE, parameters=ADDRESSES, bodies=words_of("method body data payload"), act=(Kind.SEND, _IRR)),
    Rule(verbs=words_of("request"), things=lexicon.BOOKINGS, act=(Kind.BOOK, _IRR)),
    Rule(verbs=words_of("request"), act=(Kind.SEND, _IRR)),
    Rule(things=words_of("public visible anyone"), also=words_of("link sharing file document"), act=(Kind.GRANT, _IRR)),
    # carts and wish lists: nothing is bought yet
    Rule(
        kinds=_OWN_CHANGES,
        verbs=words_of("clear empty delete reset"),
        things=lexicon.CARTS,
        act=(Kind.UPDATE, _COMP),
    ),
    Rule(kinds=_OWN_CHANGES, things=lexicon.CARTS, act=(Kind.UPDATE, _REV)),
    # what opens accounts
    Rule(kinds=_CREATE | _UPDATE, things=lexicon.SECRETS, act=(Kind.CREDENTIAL, _IRR)),
    Rule(kinds=frozenset({Kind.DELETE}), things=lexicon.SECRETS, act=(Kind.REVOKE, _IRR)),
    # drafts are not sent
    Rule(verbs=words_of("draft"), act=(Kind.CREATE, _REV)),
    Rule(kinds=_SEND, things=words_of("draft"), act=None),
    Rule(kinds=_CREATE | _UPDATE | _BOOK, things=words_of("draft"), act=(Kind.CREATE, _REV)),
    # money
    Rule(kinds=_CREATE, verbs=words_of("log record note"), head=lexicon.MONEY, act=(Kind.CREATE, _REV)),
    Rule(
        kinds=_CREATE,
        head=lexicon.MONEY - words_of("token tip bill wire"),
        act=(Kind.PAY, _IRR),
    ),
    Rule(kinds=_SEND | _BOOK, things=lexicon.MONEY, act=(Kind.PAY, _IRR)),
    Rule(
        kinds=_UPDATE,
        head=words_of("transaction payment transfer payout payee beneficiary"),
        act=(Kind.PAY, _IRR),
    ),
    # making something that others see, or that lets them in
    Rule(kinds=_CREATE, verbs=words_of("write"), head=lexicon.CODE, act=(Kind.EXECUTE, _IRR)),
    Rule(kinds=_CREATE, verbs=words_of("add"), head=lexicon.PEOPLE, act=(Kind.GRANT, _IRR)),
    Rule(
        kinds=_CREATE,
        verbs=words_of("create register"),
        head=lexicon.PEOPLE - words_of("user"),
        act=(Kind.GRANT, _IRR),
    ),
    Rule(kinds=_CREATE, verbs=words_of("add"), things=lexicon.PEOPLE, also=_GROUPS, act=(Kind.GRANT, _IRR)),
    Rule(
        kinds=_CREATE,
        head=words_of("permission access role share invite invitation acl"),
        act=(Kind.GRANT, _IRR),
    ),
    Rule(
        kinds=_CREATE,
        head=lexicon.MESSAGES - words_of("reminder chat alert text notification"),
        act=(Kind.SEND, _IRR),
    ),
    Rule(kinds=_CREATE, head=words_of("booking reservation order"), act=(Kind.BOOK, _COMP)),
    Rule(
        kinds=_CREATE,
        head=lexicon.PUBLIC - words_of("page thread status site forum feed web website"),
        act=(Kind.PUBLISH, _IRR),
    ),
    Rule(kinds=_CREATE, head=words_of("release"), act=(Kind.DEPLOY, _IRR)),
    Rule(kinds=_CREATE, things=lexicon.SEEN_BY_OTHERS, act=(Kind.CREATE, _IRR)),
    # making something of one's own
    Rule(kinds=_CREATE, things=words_of("overwrite"), act=(Kind.CREATE, _IRR)),
    Rule(kinds=_CREATE, verbs=words_of("write"), things=words_of("file"), act=(Kind.CREATE, _IRR)),
    Rule(kinds=_CREATE, things=lexicon.OWN, act=(Kind.CREATE, _REV)),
    # changing who may do what, and what runs
    Rule(kinds=_UPDATE, things=_RIGHTS, act=(Kind.GRANT, _IRR)),
    Rule(
        kinds=_UPDATE,
        verbs=words_of("apply"),
        things=words_of("manifest terraform kubectl deployment helm"),
        act=(Kind.DEPLOY, _IRR),
    ),
    Rule(
        kinds=_SEND,
        verbs=words_of("call"),
        things=words_of("function api tool method endpoint"),
        act=(Kind.EXECUTE, _IRR),
    ),
    # planning
    Rule(kinds=_BOOK, verbs=words_of("schedule"), things=lexicon.MESSAGES, act=(Kind.SEND, _IRR)),
    Rule(
        kinds=_BOOK,
        verbs=words_of("schedule"),
        things=lexicon.EVENTS | words_of("task job reminder"),
        act=(Kind.CREATE, _COMP),
    ),
    # taking people and their rights away; handing things over
    Rule(
        kinds=frozenset({Kind.DELETE}),
        verbs=words_of("remove delete"),
        things=lexicon.PEOPLE | words_of("permission access role collaborator privilege share"),
        act=(Kind.REVOKE, _COMP),
    ),
    Rule(
        verbs=words_of("transfer"),
        things=words_of("ownership owner domain repository repo project"),
        without=lexicon.MONEY,
        act=(Kind.GRANT, _IRR),
    ),
    Rule(
        verbs=words_of("transfer"),
        parameters=words_of("owner ownership"),
        without=lexicon.MONEY,
        act=(Kind.GRANT, _IRR),
    ),
    Rule(
        verbs=words_of("transfer"),
        things=words_of("file folder data call"),
        without=lexicon.MONEY,
        act=(Kind.UPDATE, _REV),
    ),
    Rule(verbs=words_of("post"), things=lexicon.MESSAGES, act=(Kind.SEND, _IRR)),
    Rule(verbs=words_of("share"), things=words_of("location screen"), act=(Kind.SEND, _IRR)),
)
"""In order; the first that fits decides."""

READ_RULES: tuple[tuple[frozenset[str], frozenset[str], tuple[Kind, Effect]], ...] = (
    (words_of("evaluate"), lexicon.CODE, (Kind.EXECUTE, _IRR)),
    (words_of("format"), words_of("disk drive volume partition"), (Kind.DELETE, _IRR)),
    (words_of("capture collect load access match"), lexicon.MONEY, (Kind.PAY, _IRR)),
    (words_of("ping"), lexicon.PEOPLE | words_of("assignee client customer group owner team"), (Kind.SEND, _IRR)),
    (words_of("recall"), lexicon.MESSAGES, (Kind.DELETE, _IRR)),
    (words_of("select"), words_of("option dropdown"), (Kind.EXECUTE, _IRR)),
    (words_of("watch track"), words_of("repo repository topic"), (Kind.UPDATE, _REV)),
    (words_of("snapshot"), words_of("volume database vm disk instance server"), (Kind.CREATE, _COMP)),
    (words_of("load"), words_of("table database warehouse"), (Kind.UPDATE, _IRR)),
)
"""Verbs that read, the objects with which they do not (none: always), and what they are then."""
