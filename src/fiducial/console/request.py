"""One request to people, with everything that somebody needs to decide it.

What the agent wants and why it was stopped is the record of the decision; what the user said is the session up to it.
Both are payloads: where they were erased, the page says so, and the request is better rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from fiducial.charter.contracts import Contract, Effect, Kind
from fiducial.charter.model import DECLARE_PLAN, RESPOND
from fiducial.console.found import Similar
from fiducial.console.queue import Card, Waiting
from fiducial.console.services import Services
from fiducial.console.trajectory import Argument, Source, Told, told
from fiducial.core.event import CallDecided, HoldRequested, MessageObserved, UndoFinished, UndoStarted
from fiducial.core.ids import Digest, EventId, HoldId
from fiducial.guard.record import DecisionRecord
from fiducial.oversight.cells import asked_prefix
from fiducial.oversight.hold import Hold
from fiducial.oversight.undo import AGENT
from fiducial.store.bundle import Record

VERBS = {
    Kind.READ: "look something up", Kind.FETCH: "visit an address", Kind.CREATE: "make something",
    Kind.UPDATE: "change something", Kind.DELETE: "delete something", Kind.SEND: "send a message",
    Kind.PUBLISH: "publish something", Kind.PAY: "move money", Kind.BOOK: "book something",
    Kind.GRANT: "give somebody access", Kind.REVOKE: "take access away", Kind.AUTHENTICATE: "sign in somewhere",
    Kind.CREDENTIAL: "change how somebody signs in", Kind.DEPLOY: "put something into service",
    Kind.EXECUTE: "run code", Kind.RESPOND: "answer the user",
}  # fmt: skip
"""Kind of act → what the agent wants, in plain words."""
BUILT_IN_VERBS = {RESPOND: "answer", DECLARE_PLAN: "go by a plan"}
"""The same of the tools that every agent has."""
AFTERWARDS = {
    Effect.READ: "Nothing changes by it.",
    Effect.REVERSIBLE: "It can be put back exactly.",
    Effect.COMPENSABLE: "It can be made good, and not undone.",
    Effect.IRREVERSIBLE: "It cannot be undone.",
}
"""Effect → what can be done about it afterwards."""


class Shown(msgspec.Struct, kw_only=True):
    """A request on its own page."""

    card: Card
    record: DecisionRecord | None = None
    """`None` when it was erased."""
    decided: CallDecided | None = None
    arguments: list[Argument] = []
    asked: list[Source] = []
    """What the user said, up to the request."""
    sources: list[Source] = []
    """What else the values came from."""
    contract: Contract | None = None
    similar: Similar
    question: str = ""
    """Of an unclear call."""
    afterwards: str = ""
    """What can be done about it once it has happened."""
    ours: bool = True
    """The agent runs under this console's charter; else nothing is said of what the tool does."""
    appealed: Hold | None = None
    """The appeal against it."""
    said: str = ""
    """Of an appeal: by whom, and why."""
    takes_back: Record | None = None
    """The decision on the call whose effect this one takes back, and no other's: an approval is for that."""
    undoing: UndoStarted | None = None
    """What it is a part of: who takes back what, and why."""


def cards(services: Services, waiting: Waiting, mine: Sequence[bool], limit: int) -> tuple[list[Card], int]:
    """The first `limit` cards of the queue, what whoever looks may answer first, and how many there are.

    `mine` says of each request whether they may. Requests that differ in nothing but the session have one card, the
    oldest's.
    """
    found: dict[tuple[Digest, bool], Card] = {}
    for hold, theirs in zip(waiting.holds, mine, strict=True):
        same = found.get((hold.group, theirs))
        if same is not None:
            same.alike += 1
        else:
            found[hold.group, theirs] = Card(hold=hold, mine=theirs, version=waiting.versions[hold.id])
    every = sorted(found.values(), key=lambda card: not card.mine)
    for card in every[:limit]:
        _fill(services, card)
    return every[:limit], len(every)


def shown(services: Services, hold: Hold, mine: bool, alike: int) -> Shown:
    """The request with its evidence. Raises `StoreError` when the log cannot be read."""
    services.queue.decided(hold)  # from here on the log has it
    session = told(_up_to(services.ledger.session(hold.session), hold), services.charter)
    step = next((each for each in session.steps if each.decided and each.decided.decision == hold.decision), None)
    card = Card(hold=hold, mine=mine, alike=alike)
    _fill(services, card)
    ours = card.evidence.ours
    contract = services.charter.contracts.get(hold.tool) if ours else None
    seen = Shown(card=card, contract=contract, similar=services.index.similar(hold), ours=ours)
    seen.appealed, seen.said = appeal_of(services, hold), _said(services, hold)
    seen.takes_back, seen.undoing = _takes_back(services, hold)
    seen.asked = [source for source in _messages(session) if source.trusted]
    if step is not None:
        seen.decided, seen.record, seen.arguments = step.decided, step.record, step.arguments
    if not ours:
        for argument in seen.arguments:
            argument.role = ""
    used = {place.anchor for argument in seen.arguments for place in argument.places}
    for source in session.sources.values():
        marks = {mark.anchor for leaf in source.leaves for mark in leaf.marks}
        if source not in seen.asked and (used & marks or source.anchor in used):
            seen.sources.append(_only_marked(source))
    if seen.contract is not None:
        seen.afterwards = AFTERWARDS[seen.contract.effect]
    if hold.asks == "question" and seen.record is not None:
        seen.question = seen.record.remedies.user
    return seen


def appeal_of(services: Services, hold: Hold) -> Hold | None:
    """The appeal against a refused request; `None`: nobody has appealed, or what they asked for is void."""
    if hold.state not in ("rejected", "expired"):
        return None
    prefix = asked_prefix(hold.session, hold.binding)
    others = [HoldId(key.removeprefix(prefix)) for key in services.store.scan(prefix)]
    appeals = [each for other in others if (each := services.desk.hold(other)).appeals == hold.id]
    return next((each for each in appeals if each.state != "void"), None)


def _said(services: Services, hold: Hold) -> str:
    """What the appeal says: the note of its request."""
    if hold.appeals is None:
        return ""
    for record in services.ledger.session(hold.session):
        if isinstance(record.event, HoldRequested) and record.event.hold == hold.id:
            return next((each.data.decode("utf-8", "replace") for each in record.payloads if each.data), "")
    return ""


def _takes_back(services: Services, hold: Hold) -> tuple[Record | None, UndoStarted | None]:
    begun: UndoStarted | None = None
    for record in services.ledger.session(hold.session) if hold.agent == AGENT else ():
        match record.event:
            case UndoStarted():
                begun = record.event
            case UndoFinished(compensation=compensation, decision=decision) if compensation == hold.decision:
                return services.ledger.find(EventId("evt" + decision[3:])), begun
            case _:
                pass
    return None, None


def _fill(services: Services, card: Card) -> None:
    card.evidence = services.queue.evidence(card.hold)
    contract = services.charter.contracts.get(card.hold.tool)
    if card.hold.tool in BUILT_IN_VERBS:
        verb = BUILT_IN_VERBS[card.hold.tool]
    elif card.hold.agent == AGENT:
        verb = "take back what a call did"
    elif not card.evidence.ours:
        verb = "use a tool of another charter"
    else:
        verb = VERBS[contract.kind] if contract is not None else "use a tool that this charter does not have"
    card.words = f"wants to {verb}"


def _up_to(records: Iterable[Record], hold: Hold) -> Iterable[Record]:
    for record in records:
        yield record
        if isinstance(record.event, CallDecided) and record.event.decision == hold.decision:
            return


def _messages(session: Told) -> list[Source]:
    said = [step for step in session.steps if isinstance(step.event, MessageObserved) and step.source is not None]
    return [step.source for step in said if step.source is not None and step.event.authority == "user"]  # type: ignore[union-attr]


def _only_marked(source: Source) -> Source:
    """What the values came from, without the rest of a long result."""
    kept = [leaf for leaf in source.leaves if leaf.marks]
    if not kept or len(source.leaves) <= 12:
        return source
    source.more += len(source.leaves) - len(kept)
    source.leaves = kept
    return source


__all__ = ["AFTERWARDS", "VERBS", "Shown", "appeal_of", "cards", "shown"]
