"""Waiting: the requests to people, each with its evidence, and their answers.

What a person may answer is decided by the desk, from their roles in the charter; the console's role `approver` is what
lets them come to it. That a request was shown and opened is recorded, with when, so that one can tell later whether
people considered what they decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from fiducial.console.access import may
from fiducial.console.accounts import digest_of
from fiducial.console.gate import Handler
from fiducial.console.render import field
from fiducial.console.request import cards, shown
from fiducial.console.sure import desk_of
from fiducial.console.visit import Refused, Visit, quoted
from fiducial.core.ids import HoldId
from fiducial.errors import NotPermitted, OversightError
from fiducial.guard.record import DecisionRecord
from fiducial.oversight.hold import Approver, Hold, may_answer
from fiducial.policy.bounds import Bound, class_rule
from fiducial.policy.schema import ToolType

PER_PAGE = 50
MAX_ALIKE = 1_000
"""Requests that one answer decides with the one it is about; more are for another answer."""
GONE = "the call was erased: nobody can tell any more what would be done; it can only be rejected"


def queue(visit: Visit) -> Response:
    """What waits: what the person may answer first, each oldest first."""
    services = visit.services
    waiting, who = services.queue.now(), approver(visit)
    answers = who if "approver" in visit.me.roles else None
    mine = tuple(answers is not None and may_answer(hold, answers) for hold in waiting.holds)
    listed = services.rows.listed(
        waiting, mine, services.clock.unix_us(), lambda: cards(services, waiting, mine, PER_PAGE)
    )
    if visit.incoming.method == "GET":
        services.shown.keep(listed.mine, visit.me.person.id)
    return visit.page("waiting.html", listed=listed, may_answer=who is not None, seen=waiting.state)


def stream(visit: Visit) -> Response:
    """Tells the open page when the queue has changed."""
    services, secret, me = visit.services, visit.session_secret, visit.me.person.id

    def still() -> bool:
        known = services.people.find(me)
        return (
            services.accounts.peek(secret) and known is not None and may(frozenset(known.person.console), visit.route)
        )

    events = services.live.stream(me, still, visit.query.get("seen", 20))
    return StreamingResponse(events, media_type="text/event-stream")


def page(visit: Visit) -> Response:
    """One request."""
    return _page(visit, 200)


def answer(visit: Visit) -> Response:
    """Approve, reject, or answer a question."""
    form, desk = visit.form, desk_of(visit)
    hold, who = _hold(visit), _needed(visit)
    note, said = form.get("note"), form.get("answer", 20)
    if said in ("reject", "answer") and not note:
        return _page(visit, 422, "say why: the agent and the user are told" if said == "reject" else "write an answer")
    if said in ("approve", "answer"):
        still_known(visit, hold)
    if said == "answer":
        desk.answer(hold.id, who, note, confirms=form.get("confirms", 10) == "yes")
    elif said == "approve" or said == "reject":
        if form.get("alike", 10) == "yes":
            others = [HoldId(each) for each in form.get("with", 40 * MAX_ALIKE).split()]
            if not others:
                raise Refused(422, "nothing says which requests are meant; look at the page again")
            if said == "approve":
                desk.vote_alike(hold.id, who, "approve", note=note, among=known_of(visit, others))
            else:
                desk.vote_alike(hold.id, who, "reject", note=note, among=others)
        else:
            desk.vote(hold.id, who, "approve" if said == "approve" else "reject", note=note)
    else:
        return _page(visit, 422, "say whether you approve or reject it")
    return visit.go(f"/waiting/{quoted(hold.id)}", "answered")


def edit(visit: Visit) -> Response:
    """Approve another call in place of this one."""
    hold, who = _hold(visit), _needed(visit)
    tool, record = tool_of(visit, hold), still_known(visit, hold)
    if not isinstance(record.arguments, dict):
        raise Refused(422, "what the agent gave is no arguments by name; reject it")
    arguments: dict[str, Any] = {}
    try:
        for name, parameter in tool.contract.parameters.items():
            text = visit.form.text(f"argument-{name}", 20_000) or ""
            asked = record.arguments.get(name, msgspec.UNSET)
            if asked is not msgspec.UNSET and text == _as_sent(asked):
                arguments[name] = asked
            elif text or parameter.required:
                arguments[name] = _typed(text, asked, parameter.schema_)
        if arguments == record.arguments:
            return _page(visit, 422, "nothing was changed; approve it as it is")
        desk_of(visit).edit(hold.id, who, tool, arguments, note=visit.form.get("note"))
    except ValueError as error:
        return _page(visit, 422, str(error))
    return visit.go(f"/waiting/{quoted(hold.id)}", "answered")


def class_(visit: Visit) -> Response:
    """Approve a bounded class of calls: first shown as the rule it is, then given."""
    hold, who, form = _hold(visit), _needed(visit), visit.form
    tool, record = tool_of(visit, hold), still_known(visit, hold)
    if not isinstance(record.arguments, dict):
        raise Refused(422, "what the agent gave is no arguments by name; reject it")
    try:
        bounds = {
            name: bound
            for name in tool.contract.parameters
            if (bound := _bound(visit, name, record.arguments.get(name, msgspec.UNSET))) is not None
        }
        uses, minutes = whole(form.get("uses", 6)), whole(form.get("minutes", 6))
        rule = class_rule(tool, hold.user, bounds)
        read = digest_of(f"{hold.id}\0{uses}\0{minutes}\0{rule}")
        if form.get("confirm", 10) != "yes" or form.get("read", 80) != read:
            return _page(visit, 200, rule=rule, read=read)
        lasting = timedelta(minutes=minutes)
        desk_of(visit).grant(hold.id, who, tool, bounds, uses=uses, lasting=lasting, note=form.get("note"))
    except ValueError as error:
        return _page(visit, 422, str(error))
    return visit.go(f"/waiting/{quoted(hold.id)}", "answered")


def appeal(visit: Visit) -> Response:
    """Ask somebody else about a refused call."""
    hold, why = _hold(visit), visit.form.get("why")
    may_appeal(visit, hold)
    if not why:
        return _page(visit, 422, "say why somebody else should look at it")
    again = desk_of(visit).appeal(hold.id, visit.me.person.id, why)
    return visit.go(f"/waiting/{quoted(again.id)}", "appealed")


def may_appeal(visit: Visit, hold: Hold) -> None:
    """Raises `NotPermitted` for others than the person on whose behalf the call was, and operators."""
    if visit.me.person.id != hold.user and "operator" not in visit.me.roles:
        raise NotPermitted("whoever the agent acts for may appeal, and an operator")


def approver(visit: Visit) -> Approver | None:
    """What the person may decide now; `None`: nothing."""
    who = visit.services.people.approver(visit.me.person.id)
    return None if who is None else visit.services.desk.with_glass(who)


def _typed(text: str, asked: Any, schema: Mapping[str, Any]) -> Any:
    """A field as the value of a parameter: text where the agent gave text in `asked`, JSON where it gave anything else.

    Where it gave nothing (`UNSET`), text if that is what the parameter takes. Raises `ValueError`.
    """
    if isinstance(asked, str) or (asked is msgspec.UNSET and schema.get("type", "string") == "string"):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"`{text[:60]}` is not a value of this kind; write it as JSON") from error


def _as_sent(value: Any) -> str:
    """A value as `Fields.text` has it when nobody touched it: browsers change line breaks, and cannot send a null."""
    return field(value).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def whole(text: str) -> int:
    """A field as a whole number. Raises `ValueError`."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("give whole numbers")
    return int(text)


def _bound(visit: Visit, name: str, value: Any) -> Bound | None:
    """What a field says about a parameter; `None`: it is to be absent. Raises `ValueError`."""
    match visit.form.get(f"bound-{name}", 20):
        case "same" if value is not msgspec.UNSET:
            return Bound(equals=value)
        case "most":
            try:
                return Bound(at_most=float(visit.form.get(f"most-{name}", 40)))
            except ValueError as error:
                raise ValueError(f"say up to how much `{name}` may be") from error
        case "any":
            return Bound(anything=True)
        case _:
            return None


def _hold(visit: Visit) -> Hold:
    try:
        return visit.services.desk.hold(HoldId(visit.params["hold"]))
    except OversightError as error:
        raise Refused(404, "there is no such request") from error


def _needed(visit: Visit) -> Approver:
    who = approver(visit)
    if who is None:
        raise NotPermitted("you are away; say that you are back first")
    return who


def alike(visit: Visit, hold: Hold) -> list[HoldId]:
    """The waiting requests that differ from `hold` in nothing but the session; the oldest `MAX_ALIKE`."""
    same = [each.id for each in visit.services.queue.now().holds if (each.group, each.role) == (hold.group, hold.role)]
    return [each for each in same if each != hold.id][:MAX_ALIKE]


def known_of(visit: Visit, holds: Iterable[HoldId]) -> set[HoldId]:
    """Those that still wait, and of which it is still known what would be done."""
    queue, meant = visit.services.queue, set(holds)
    return {hold.id for hold in queue.now().holds if hold.id in meant and queue.record(hold) is not None}


def still_known(visit: Visit, hold: Hold) -> DecisionRecord:
    """What would be done. Raises `Refused` when it was erased: nobody approves what they cannot see."""
    record = visit.services.queue.record(hold)
    if record is None:
        raise Refused(422, GONE)
    return record


def tool_of(visit: Visit, hold: Hold) -> ToolType:
    """The tool, when the charter it stands in is the agent's. Raises `Refused`."""
    if not visit.services.queue.evidence(hold).ours:
        raise Refused(422, "the agent runs under another charter than this console's; answer it as it is")
    tool = visit.services.tools.get(hold.tool)
    if tool is None:
        raise Refused(422, "the charter that is loaded here has no such tool; answer it as it is")
    return tool


def _page(visit: Visit, status: int, message: str = "", rule: str = "", read: str = "") -> Response:
    services, hold = visit.services, _hold(visit)
    who = approver(visit)
    mine = hold.open and who is not None and "approver" in visit.me.roles and may_answer(hold, who)
    if mine and visit.incoming.method == "GET":
        services.desk.seen(hold.id, visit.me.person.id, "opened")
    form, others = visit.form, alike(visit, hold)
    return visit.page(
        "request.html", status, message=message, rule=rule, read=read, hold=hold, form=form,
        alike=others, shown=shown(services, hold, mine, len(others)),
        may_appeal=visit.me.person.id == hold.user or "operator" in visit.me.roles,
        emergency=who is not None and hold.role in who.glass,
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {
    "GET /waiting": queue,
    "GET /waiting/stream": stream,
    "GET /waiting/{hold}": page,
    "POST /waiting/{hold}/answer": answer,
    "POST /waiting/{hold}/edit": edit,
    "POST /waiting/{hold}/class": class_,
    "POST /waiting/{hold}/appeal": appeal,
}

__all__ = ["PAGES", "alike", "approver", "known_of", "may_appeal", "still_known", "tool_of", "whole"]
