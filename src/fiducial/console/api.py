"""The HTTP interface: what the pages can do, for programs, as JSON; `/api/v1/openapi.json` describes it.

A request carries a personal access token (`Authorization: Bearer …`), which can do what its owner can, less what it was
not given; a cookie is worth nothing here. Bodies are read strictly: an unknown field is refused. What goes wrong is a
problem document (RFC 9457). Texts are as they were recorded: whoever shows them has to see to it that they stay text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec

from fiducial.console import api_charter, api_people, api_undo
from fiducial.console.found import Decisions, Query
from fiducial.console.gate import Handler
from fiducial.console.operation import Note, Operation, Why, body_of, served
from fiducial.console.pages.halt import doubt
from fiducial.console.pages.sessions import PER_PAGE, page_number
from fiducial.console.pages.waiting import MAX_ALIKE, alike, approver, known_of, may_appeal, still_known, tool_of
from fiducial.console.request import shown
from fiducial.console.sure import desk_of, switches_of
from fiducial.console.visit import Refused, Visit
from fiducial.core.ids import EventId, GrantId, HoldId, SessionId
from fiducial.errors import NotPermitted, OversightError
from fiducial.guard.switches import Halt, read_halts
from fiducial.oversight.hold import Approver, Hold
from fiducial.policy.bounds import Bound
from fiducial.store.proof import InclusionProof


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to a request."""

    answer: Literal["approve", "reject", "answer"]
    note: Note = ""
    confirms: bool = False
    """With `answer`: the call may go on as it is."""
    alike: Annotated[list[HoldId], msgspec.Meta(max_length=MAX_ALIKE)] = []
    """With `approve` and `reject`: those that differ only in the session and that it is for too."""


class EditBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another call in place of the one that waits."""

    arguments: dict[str, Any]
    note: Note = ""


class ClassBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bounded class of calls, for the session of the request."""

    bounds: dict[str, Bound]
    uses: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)]
    note: Note = ""


class AppealBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why somebody else should look at it."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=4_000, pattern=r"\S")]


class HaltBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to stop: calls that match every part given; everything only when `everything` says so."""

    why: Why
    agent: str | None = None
    tool: str | None = None
    user: str | None = None
    release: str | None = None
    everything: bool = False


class Ordered(Halt, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A halt that was just ordered."""

    note: str = ""
    """What makes one wonder whether it stops what was meant."""


class LiftBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it may go on."""

    why: Why


class Requests(msgspec.Struct, frozen=True):
    """What waits, oldest first."""

    requests: list[Hold]
    answerable: list[HoldId]
    """Those that the owner of the token may answer."""


class Evidence(msgspec.Struct, frozen=True):
    """One request, with what somebody needs to decide it."""

    request: Hold
    words: str
    """What the agent wants, in plain words."""
    asked: list[str]
    """What the user said."""
    arguments: dict[str, Any] | None
    """`null` when they were erased."""
    origins: dict[str, str]
    """Parameter → where its value came from, in words."""
    reasons: list[str]
    risk: int
    """0 to 4."""
    factors: list[str]
    ours: bool
    """The agent runs under this console's charter; else `words` says nothing of what the tool does."""
    alike: list[HoldId]
    """Waiting requests that differ only in the session."""


class Listed(msgspec.Struct, frozen=True):
    """One session in a list."""

    id: SessionId
    agent: str
    user: str
    opened_us: int
    last_us: int
    verdicts: dict[str, int]
    tools: list[str]
    risk: int
    closed: bool


class Sessions(msgspec.Struct, frozen=True):
    """The sessions that were looked for, the latest first."""

    sessions: list[Listed]
    total: int


class Events(msgspec.Struct, frozen=True):
    """A session's events, as the log keeps them."""

    session: SessionId
    events: list[dict[str, Any]]


class Halts(msgspec.Struct, frozen=True):
    """What is stopped, and was."""

    halts: list[Halt]


class Head(msgspec.Struct, frozen=True):
    """The log's newest tree head."""

    origin: str
    size: int
    checkpoint: str
    """C2SP tlog-checkpoint, a signed note."""


def requests(visit: Visit) -> Requests:
    services = visit.services
    who = _who(visit)
    mine = services.desk.answerable(who) if who is not None else []
    return Requests(services.desk.waiting(), [hold.id for hold in mine])


def request(visit: Visit) -> Evidence:
    services, hold = visit.services, _hold(visit)
    found = shown(services, hold, False, 0)
    record = found.record
    return Evidence(
        request=hold,
        words=f"{hold.agent} {found.card.words}",
        asked=[leaf.text for source in found.asked for leaf in source.leaves],
        arguments=record.arguments if record is not None and isinstance(record.arguments, dict) else None,
        origins={argument.name: argument.words for argument in found.arguments},
        reasons=[reason.message for reason in record.reasons] if record is not None else [],
        risk=found.card.risk,
        factors=sorted(record.facts.risk.factors) if record is not None and record.facts is not None else [],
        ours=found.ours,
        alike=alike(visit, hold),
    )


def answer(visit: Visit) -> Hold:
    body, hold, who, desk = body_of(visit, AnswerBody), _hold(visit), _needed(visit), desk_of(visit)
    if body.answer != "approve" and not body.note.strip():
        raise Refused(422, "say why: the agent and the user are told")
    if body.answer != "reject":
        still_known(visit, hold)
    if body.answer == "answer":
        return desk.answer(hold.id, who, body.note, confirms=body.confirms)
    if body.alike:
        among = known_of(visit, body.alike) if body.answer == "approve" else body.alike
        return desk.vote_alike(hold.id, who, body.answer, note=body.note, among=among)[0]
    return desk.vote(hold.id, who, body.answer, note=body.note)


def edit(visit: Visit) -> Hold:
    body, hold = body_of(visit, EditBody), _hold(visit)
    tool = tool_of(visit, hold)
    still_known(visit, hold)
    return desk_of(visit).edit(hold.id, _needed(visit), tool, body.arguments, note=body.note)


def class_(visit: Visit) -> Hold:
    body, hold = body_of(visit, ClassBody), _hold(visit)
    tool = tool_of(visit, hold)
    still_known(visit, hold)
    who, lasting = _needed(visit), timedelta(minutes=body.minutes)
    given = desk_of(visit).grant(hold.id, who, tool, body.bounds, uses=body.uses, lasting=lasting, note=body.note)
    return given[0]


def appeal(visit: Visit) -> Hold:
    body, hold = body_of(visit, AppealBody), _hold(visit)
    may_appeal(visit, hold)
    return desk_of(visit).appeal(hold.id, visit.me.person.id, body.why)


def decisions(visit: Visit) -> Decisions:
    return visit.services.index.decisions()


def sessions(visit: Visit) -> Sessions:
    asked = visit.query
    query = Query(text=asked.get("q", 200), verdict=asked.get("verdict", 20), state=asked.get("state", 20))
    start = (page_number(visit) - 1) * PER_PAGE
    found, total = visit.services.index.search(query, start=start, count=PER_PAGE)
    listed = [
        Listed(
            each.id, each.agent, each.user, each.opened_us, each.last_us, dict[str, int](each.verdicts.items()),
            sorted(each.tools), each.risk, each.closed,
        )
        for each in found
    ]  # fmt: skip
    return Sessions(listed, total)


def session(visit: Visit) -> Events:
    id = SessionId(visit.params["session"])
    events = [msgspec.json.decode(record.data) for record in visit.services.ledger.session(id)]
    if not events:
        raise Refused(404, "no session of that id is in this log")
    return Events(id, events)


def proof(visit: Visit) -> InclusionProof:
    ledger, id = visit.services.ledger, EventId(visit.params["event"])
    if ledger.find(id) is None:
        raise Refused(404, "no event of that id is in this log")
    return ledger.prove(id)


def halts(visit: Visit) -> Halts:
    return Halts(list(read_halts(visit.services.store)))


def halt(visit: Visit) -> Ordered:
    body = body_of(visit, HaltBody)
    parts = {"agent": body.agent, "tool": body.tool, "user": body.user, "release": body.release}
    if any(part is not None and not 0 < len(part) <= 300 for part in parts.values()):
        raise Refused(422, "a part has 1 to 300 characters; leave out what is not meant")
    if body.everything == any(parts.values()):
        raise Refused(422, "name what to stop, or say everything: one of the two")
    ordered = switches_of(visit).order(body.why, by=visit.me.person.id, **parts)
    return Ordered(**msgspec.structs.asdict(ordered), note=doubt(visit.services, ordered))


def lift(visit: Visit) -> Halt:
    body, id = body_of(visit, LiftBody), GrantId(visit.params["halt"])
    if not any(each.id == id for each in read_halts(visit.services.store)):
        raise Refused(404, "there is no such halt")
    return switches_of(visit).lift(id, by=visit.me.person.id, why=body.why)


def ledger(visit: Visit) -> Head:
    note, checkpoint, _ = visit.services.ledger.signed_head()
    return Head(checkpoint.origin, checkpoint.size, note)


OPERATIONS: Mapping[str, Operation] = {
    "GET /api/v1/requests": Operation(run=requests, summary="What waits for people", gives=Requests),
    "GET /api/v1/requests/{hold}": Operation(run=request, summary="One request, with its evidence", gives=Evidence),
    "POST /api/v1/requests/{hold}/answer": Operation(
        run=answer, summary="Approve, reject, or answer a question", gives=Hold, takes=AnswerBody
    ),
    "POST /api/v1/requests/{hold}/edit": Operation(
        run=edit, summary="Approve another call in place of this one", gives=Hold, takes=EditBody
    ),
    "POST /api/v1/requests/{hold}/class": Operation(
        run=class_, summary="Approve a bounded class of calls", gives=Hold, takes=ClassBody
    ),
    "POST /api/v1/requests/{hold}/appeal": Operation(
        run=appeal, summary="Ask somebody else about a refused call", gives=Hold, takes=AppealBody, status=201
    ),
    "GET /api/v1/decisions": Operation(run=decisions, summary="How people decide, by role", gives=Decisions),
    "GET /api/v1/sessions": Operation(
        run=sessions, summary="The newest sessions", gives=Sessions, query=("q", "verdict", "state", "page")
    ),
    "GET /api/v1/sessions/{session}": Operation(run=session, summary="The events of a session", gives=Events),
    "GET /api/v1/events/{event}/proof": Operation(
        run=proof, summary="A proof that an event stands in the log", gives=InclusionProof
    ),
    "GET /api/v1/halts": Operation(run=halts, summary="What is stopped, and was", gives=Halts),
    "POST /api/v1/halts": Operation(run=halt, summary="Stop something", gives=Ordered, takes=HaltBody, status=201),
    "POST /api/v1/halts/{halt}/lift": Operation(
        run=lift, summary="Start again what was stopped", gives=Halt, takes=LiftBody
    ),
    "GET /api/v1/ledger": Operation(run=ledger, summary="The log's newest signed tree head", gives=Head),
    **api_undo.OPERATIONS,
    **api_charter.OPERATIONS,
    **api_people.OPERATIONS,
}
"""Method and path → what it does."""


def _hold(visit: Visit) -> Hold:
    try:
        return visit.services.desk.hold(HoldId(visit.params["hold"]))
    except OversightError as error:
        raise Refused(404, "there is no such request") from error


def _who(visit: Visit) -> Approver | None:
    return approver(visit) if "approver" in visit.me.roles else None


def _needed(visit: Visit) -> Approver:
    who = _who(visit)
    if who is None:
        raise NotPermitted("you are away; say that you are back first")
    return who


PAGES: Mapping[str, Handler] = {route: served(operation) for route, operation in OPERATIONS.items()}

__all__ = ["OPERATIONS", "PAGES"]
