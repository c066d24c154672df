"""What is said of a notice: as little as possible, and harmless wherever it is shown.

By default a message has the agent, the tool and what it does in plain words, the role, the deadline and the link; no
argument, no name of a person, nothing that a person wrote. With `details: masked` it also has

- the arguments that say where and how much: amounts as they are, of others the last four characters at most;
- on whose behalf the agent acts, who stopped or resumed or took a role, and why.

What comes from elsewhere cannot act: what cannot be seen is shown as its code point, so that no line ends early; names
are reduced to letters, digits and `_.-`; in details, addresses and mentions are broken up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from fiducial.console.render import ago
from fiducial.console.request import VERBS
from fiducial.console.trajectory import arguments_of, decision_in
from fiducial.core.clock import instant
from fiducial.core.event import CallDecided
from fiducial.core.plain import plain

if TYPE_CHECKING:
    from fiducial.console.notify.notices import Notice
    from fiducial.console.services import Services
    from fiducial.guard.switches import Halt
    from fiducial.oversight.hold import Hold

Details: TypeAlias = Literal["none", "masked"]

TYPES = {
    "request": "request.waiting", "question": "question.waiting", "escalation": "request.escalated",
    "halt": "halt.ordered", "resume": "halt.lifted", "emergency": "emergency.begun", "test": "test",
}  # fmt: skip
"""Kind of notice → `type` in webhooks."""
_VALUE, _NAME, _WHY = 60, 80, 300
"""Characters that are shown of each."""
_SHORTEST = 12
"""Of a text with fewer characters nothing is shown: four would be too large a part of it."""
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_NOT_IN_NAMES = re.compile(r"[^\w.-]")
_DOT = re.compile(r"(?<=\w)[.\u3002\uff0e\uff61](?=[^\W\d])")
"""As in the name of a host, of which mail programs and chats make a link by themselves (RFC 3490 section 3.1)."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message, before a channel gives it its form."""

    id: str
    """The same at every attempt."""
    type: str
    """One of `TYPES`."""
    at_us: int
    """When what it tells happened."""
    title: str
    """One line."""
    lines: tuple[str, ...]
    """Sentences of ours, with names of the charter."""
    link: str
    link_words: str
    details: tuple[tuple[str, str], ...] = ()
    """Name and value of what is told only when the settings say so."""
    data: dict[str, Any] = {}
    """The same for programs."""

    def json(self) -> bytes:
        """As webhooks carry it: the same bytes at every attempt."""
        data = {**self.data, "link": self.link}
        if self.details:
            data["details"] = dict(self.details)
        at = instant(self.at_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return msgspec.json.encode({"type": self.type, "timestamp": at, "data": data})


def compose(services: Services, notice: Notice, details: Details) -> Message:
    """What is said of `notice`. Raises `StoreError` when the log cannot be read."""
    if notice.hold is not None:
        return _of_request(services, notice, notice.hold, masked=details == "masked")
    if notice.halt is not None:
        return _of_halt(services, notice, notice.halt, masked=details == "masked")
    return _of_emergency(services, notice, masked=details == "masked")


def test_message(services_origin: str, id: str, at_us: int) -> Message:
    """What `fiducial notify test` sends."""
    return Message(
        id=id, type=TYPES["test"], at_us=at_us, title="Fiducial: a test",
        lines=("Somebody tries out whether notifications arrive. Nobody is asked anything.",),
        link=f"{services_origin}/", link_words="Open the console", data={"id": id},
    )  # fmt: skip


def named(text: str) -> str:
    """A name, of which nothing is left that any reader of markup would act on."""
    return _NOT_IN_NAMES.sub("·", text[:_NAME])


def harmless(text: str, limit: int) -> str:
    """A text of somebody's, on one line, in which no address and no mention is left."""
    shown = plain(text[:limit]) + ("…" if len(text) > limit else "")
    return _DOT.sub("·", shown).replace("://", ":⫽").replace("@", "＠").replace("`", "'")


def masked_value(value: str, *, amount: bool) -> str:
    """An `amount` that is a number as it is; of anything else the last four characters, if it is long enough.

    A number that says on whom the call acts is an account, a card or a telephone: masked like a text.
    """
    if amount and _NUMBER.fullmatch(value):
        return value
    return f"…{harmless(value[-4:], _VALUE)}" if len(value) >= _SHORTEST else "…"


def _of_request(services: Services, notice: Notice, hold: Hold, *, masked: bool) -> Message:
    contract = services.charter.contracts.get(hold.tool)
    act = VERBS[contract.kind] if contract is not None else "use a tool that the console's charter does not have"
    agent, tool, role = named(hold.agent), named(hold.tool), named(hold.role)
    until = _until(hold.expires_us, services.clock.unix_us())
    alike = (f"{notice.alike} more like it wait.",) if notice.alike else ()
    if notice.kind == "question":
        title, asks = f"A question from {agent}", f"It asks its user, or somebody in the role {role}, a question first."
    elif notice.kind == "escalation":
        title, asks = f"Still unanswered: {agent}", f"Nobody answered in time; now the role {role} is asked."
    else:
        title, asks = f"Approval needed: {agent}", f"The role {role} is asked to approve or reject it."
    if hold.quorum > 1:
        asks += f" {hold.quorum} people have to agree."
    details: list[tuple[str, str]] = []
    if masked:
        details.append(("for", harmless(hold.user, _VALUE)))
        details += _arguments(services, hold)
    return Message(
        id=notice.id, type=TYPES[notice.kind], at_us=notice.at_us, title=title,
        lines=(f"{agent} wants to {act} ({tool}).", asks, f"Unanswered, it is refused {until}.", *alike),
        details=tuple(details),
        link=services.links.address(services.origin, hold.id, hold.role, hold.expires_us),
        link_words="Open the request",
        data={
            "id": hold.id, "agent": agent, "tool": tool, "act": act, "role": role,
            "quorum": hold.quorum, "alike": notice.alike, "deadline": _iso(hold.expires_us),
        },
    )  # fmt: skip


def _arguments(services: Services, hold: Hold) -> list[tuple[str, str]]:
    """Name, masked value and origin of each argument that says on whom, where or how much; said if it was erased."""
    found = services.queue.decided(hold)
    record = decision_in(found) if found is not None and isinstance(found.event, CallDecided) else None
    if record is None:
        return [("arguments", "see the request")]
    return [
        (
            named(each.name),
            f"{masked_value(each.value, amount=each.role == 'magnitude')} ({each.origin or 'not traced'})",
        )
        for each in arguments_of(record, {}, services.charter, "")
        if each.role in ("target", "magnitude")
    ]


def _of_halt(services: Services, notice: Notice, halt: Halt, *, masked: bool) -> Message:
    resumed = notice.kind == "resume"
    parts = {"agent": halt.agent, "tool": halt.tool, "release": halt.release}
    scope = {name: named(value) for name, value in parts.items() if value is not None}
    said = ", ".join(f"{name} {value}" for name, value in scope.items())
    if halt.user is not None:
        said = f"{said}, one user" if said else "one user"
    details = []
    if masked:
        if halt.user is not None:
            details.append(("user", harmless(halt.user, _VALUE)))
        if not resumed:
            details += [("by", harmless(halt.by, _VALUE)), ("why", harmless(halt.why, _WHY))]
    if resumed:
        lines: tuple[str, ...] = (f"What was halted may go on: {said or 'everything'}.",)
    else:
        lines = (f"Stopped from here on: {said or 'everything'}.", "What was approved before is void.")
    return Message(
        id=notice.id, type=TYPES[notice.kind], at_us=notice.at_us, title="Resumed" if resumed else "Halted",
        lines=lines, details=tuple(details), link=f"{services.origin}/halt", link_words="Open what is halted",
        data={"id": halt.id, "everything": halt.total, "one_user": halt.user is not None, **scope},
    )  # fmt: skip


def _of_emergency(services: Services, notice: Notice, *, masked: bool) -> Message:
    glass = notice.glass
    assert glass is not None
    role = named(glass.role)
    return Message(
        id=notice.id, type=TYPES[notice.kind], at_us=notice.at_us, title=f"Emergency access: {role}",
        lines=(f"Somebody took the role {role} in an emergency, until {_utc(glass.until_us)}.",
               "Somebody else has to review it."),
        details=(("by", harmless(glass.by, _VALUE)),) if masked else (),
        link=f"{services.origin}/halt", link_words="Open emergency access",
        data={"id": glass.id, "role": role, "until": _iso(glass.until_us)},
    )  # fmt: skip


def _until(at_us: int, now_us: int) -> str:
    return f"{ago(now_us - at_us)} ({_utc(at_us)})"


def _utc(at_us: int) -> str:
    return instant(at_us).strftime("%Y-%m-%d %H:%M UTC")


def _iso(at_us: int) -> str:
    return instant(at_us).isoformat(timespec="seconds").replace("+00:00", "Z")


__all__ = ["TYPES", "Details", "Message", "compose", "harmless", "masked_value", "named", "test_message"]
