"""Sessions over HTTP: the ten steps for agents in any language.

The host opens a session for a user, says what that user said, asks before each call, runs the tool itself, and reports
what came of it. Bodies are read strictly: an unknown field is refused, and so is a key that an object has twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from fiducial.core.event import Authority, Outcome
from fiducial.core.ids import DecisionId, HoldId, SourceId
from fiducial.core.label import Integrity, Label
from fiducial.core.verdict import Allowed, Held, Reason, Remedies, Unclear, Verdict, VerdictKind
from fiducial.errors import ToolRefused
from fiducial.gateway.bodies import check, object_of, value_of
from fiducial.gateway.door import Asked, Operation, Unread
from fiducial.gateway.refusals import Refused
from fiducial.gateway.requests import Requests, RequestState
from fiducial.gateway.sessions import Reason as Ending
from fiducial.gateway.sessions import Seat, Sessions
from fiducial.gateway.threads import APART
from fiducial.gateway.unread import doubt, mended, result_in
from fiducial.guard.drivers import drive_async
from fiducial.guard.judgement import request
from fiducial.guard.session import Session
from fiducial.guard.steps import judge
from fiducial.policy.rulebook import Rulebook
from fiducial.policy.rules import Hold
from fiducial.policy.rules import Unclear as Asks
from fiducial.store.memory import MemoryStore
from fiducial.store.sqlite import SqliteStore

T = TypeVar("T")
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]


class OpenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session to open. All of it is the host's word, from its own authentication and channels."""

    user: Name
    roles: list[Name] = []
    agent: Name | None = None
    task: str | None = None
    """What the user asked for; without it, the task is not known."""
    system: str | None = None
    operator: str | None = None
    plan: list[str] | dict[str, Any] | None = None
    """Names of tools, or a plan with steps and bounds."""


class SayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody said in the session."""

    text: str
    authority: Authority = "user"
    integrity: Integrity | None = None


class DecideBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the agent wants to make."""

    tool: str
    arguments: msgspec.Raw
    confidence: float | None = None


class ObserveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A result, of a call that was decided or obtained elsewhere."""

    tool: str
    arguments: msgspec.Raw
    result: msgspec.Raw
    decision: DecisionId | None = None
    """The call that it is of; without it, it was obtained elsewhere."""
    outcome: Outcome = "ok"
    error: str | None = None
    refused: bool = False
    """With the outcome `failed`: the tool says that it has done nothing."""


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer that the agent wants to give."""

    text: str
    audience: Literal["self", "organization", "third_party", "public"] = "self"
    domain: str = "general"
    confidence: float | None = None


class PlanBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent is going to do."""

    plan: list[str] | dict[str, Any]
    confidence: float | None = None


class DelegateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Work for another agent, for the same user."""

    instructions: str
    agent: Name


class CloseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the session ended."""

    reason: Ending = "done"


class Decided(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may become of a call."""

    decision: DecisionId
    """Goes with the result that is reported."""
    verdict: VerdictKind
    runs: bool
    """The host may run the tool: it is allowed, or verdicts are not enforced."""
    enforced: bool = True
    arguments: dict[str, Any] | None = None
    """What the tool is to be called with, where that is not what was asked for: data classes are masked."""
    reasons: tuple[Reason, ...] = ()
    """For the auditor, not for the agent."""
    remedies: Remedies = Remedies()
    role: str = ""
    """Held: of the people who may decide."""
    quorum: int = 0
    question: str = ""
    """Unclear: to put to the user."""
    parameter: str | None = None
    request: HoldId | None = None
    """What people, or the user, now have before them."""


class Opened(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session that is open."""

    session: str
    charter: str
    mode: str
    planned: Decided | None = None
    """What the plan came to that it was opened with."""


class Heard(msgspec.Struct, frozen=True):
    """Something that was said was taken in."""

    source: SourceId


class Labelled(msgspec.Struct, frozen=True):
    """A result was taken in."""

    integrity: Integrity
    classes: tuple[str, ...]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What may become of an answer."""

    decided: Decided
    text: str | None = None
    """What to show, with data classes masked; `None`: nothing may be shown."""


class Ended(msgspec.Struct, frozen=True):
    """The session has ended."""

    session: str


def told(verdict: Verdict, arguments: dict[str, Any] | None = None) -> Decided:
    """`verdict` for a host; `arguments` where the tool is to be called with others."""
    asks: dict[str, Any] = {}
    if isinstance(verdict, Held):
        asks = {"role": verdict.role, "quorum": verdict.quorum, "request": verdict.hold}
    elif isinstance(verdict, Unclear):
        asks = {"question": verdict.question, "parameter": verdict.parameter, "request": verdict.hold}
    return Decided(
        decision=verdict.decision,
        verdict=verdict.kind,
        runs=isinstance(verdict, Allowed) or not verdict.enforced,
        enforced=verdict.enforced,
        arguments=arguments,
        reasons=verdict.reasons,
        remedies=verdict.remedies,
        **asks,
    )


async def decided(
    seat: Seat,
    tool: str,
    arguments: dict[str, Any],
    confidence: float | None,
    size: int,
    unmasked: Callable[[], Mapping[str, Any]] | None = None,
) -> tuple[Verdict, dict[str, Any] | None]:
    """The verdict on a call, and what the tool is to be called with where that is something else than `arguments`.
    `unmasked`: see `Session.decide`."""
    session, large = seat.session, size >= APART or seat.session.ground.detection.recognizes
    if _waits(session, tool):
        judging = judge(session, request(tool, arguments, confidence, unmasked=unmasked))
        with seat.kept():
            verdict = (await drive_async(judging, lambda on, _: seat.whole(on, apart=large))).verdict
    elif not large and _is_near(session, tool):
        verdict = await seat.here(lambda: session.adecide(tool, arguments, confidence=confidence, unmasked=unmasked))
    else:
        verdict = await seat.apart(lambda: session.decide(tool, arguments, confidence=confidence, unmasked=unmasked))
    if isinstance(verdict, Allowed) and verdict.masks and verdict.enforced:
        return verdict, await seat.apart(lambda: _passed(session, verdict.decision))
    return verdict, None


def _passed(session: Session, decision: DecisionId) -> dict[str, Any]:
    with session.lock:
        return dict(session.awaited(decision).passed)


_NEAR: tuple[type, ...] = (MemoryStore, SqliteStore)
"""Stores in which reading takes less time than handing a decision to a thread and back; others are across a network."""
_ASKING: WeakKeyDictionary[Rulebook, frozenset[str]] = WeakKeyDictionary()
"""The tools whose policies can have people asked."""


def _preview(session: Session, name: str) -> str | None:
    """The tool that previews calls of tool `name`."""
    tool = session.tools.get(name)
    probe = tool.contract.preview if tool is not None else None
    return probe.tool if probe is not None else None


def _waits(session: Session, name: str) -> bool:
    """Whether a call of tool `name` has a preview that waits on the event loop, without holding it up."""
    return inspect.iscoroutinefunction(session.ground.runners.get(_preview(session, name) or ""))


def _is_near(session: Session, name: str) -> bool:
    """Whether nothing slow is read or run when a call of tool `name` is decided."""
    if _preview(session, name) is not None:
        return False
    if isinstance(session.store, _NEAR):
        return True
    if session.windows:
        return False
    return session.ground.desk is None or session.mode != "enforce" or name not in _asking(session.rulebook)


def _asking(rulebook: Rulebook) -> frozenset[str]:
    found = _ASKING.get(rulebook)
    if found is None:
        found = _ASKING[rulebook] = frozenset(
            name
            for name in rulebook.tools
            if any(isinstance(rule.remedy, (Hold, Asks)) for rule in rulebook.slice(name).rules)
        )
    return found


class SessionDoor:
    """The operations on sessions."""

    def __init__(self, sessions: Sessions, requests: Requests) -> None:
        self._sessions, self._requests = sessions, requests
        at = "/v1/sessions/{session}"
        self.operations: Mapping[str, Operation] = {
            "POST /v1/sessions": Operation(
                run=self.open, summary="Open a session for a user", takes=OpenBody, gives=Opened, status=201
            ),
            f"POST {at}/messages": Operation(
                run=self.say, summary="Say what somebody said", takes=SayBody, gives=Heard
            ),
            f"POST {at}/decisions": Operation(
                run=self.decide, summary="Decide a call", takes=DecideBody, gives=Decided
            ),
            f"POST {at}/results": Operation(
                run=self.observe, summary="Report what came of a call", takes=ObserveBody, gives=Labelled,
                unread=self.unread,
            ),
            f"POST {at}/answers": Operation(
                run=self.answer, summary="Decide an answer", takes=AnswerBody, gives=Answered
            ),
            f"POST {at}/plan": Operation(run=self.declare, summary="Declare a plan", takes=PlanBody, gives=Decided),
            f"POST {at}/children": Operation(
                run=self.delegate, summary="Delegate to another agent", takes=DelegateBody, gives=Opened, status=201
            ),
            f"GET {at}/requests/{{request}}": Operation(
                run=self.request, summary="What has become of a request to people", gives=RequestState,
                query=("wait",),
            ),
            f"POST {at}/close": Operation(run=self.close, summary="End a session", takes=CloseBody, gives=Ended),
        }  # fmt: skip

    async def _seat(self, asked: Asked) -> Seat:
        return await self._sessions.find(asked.host, asked.path["session"])

    async def _sized(self, asked: Asked, work: Callable[[], T]) -> T:
        return await self._sessions.threads.sized(asked.host, asked.size, work)

    async def open(self, asked: Asked) -> Opened:
        """Open a session."""
        body: OpenBody = asked.body
        return _opened(await self._sessions.open(asked.host, **msgspec.structs.asdict(body)))

    async def say(self, asked: Asked) -> Heard:
        """Take in a message."""
        body: SayBody = asked.body
        seat = await self._seat(asked)
        source = await seat.apart(
            lambda: seat.session.say(body.text, authority=body.authority, integrity=body.integrity)
        )
        return Heard(source)

    async def decide(self, asked: Asked) -> Decided:
        """Steps 1 to 8."""
        body: DecideBody = asked.body
        arguments = await self._sized(asked, lambda: object_of(body.arguments, "arguments"))
        seat = await self._seat(asked)
        return told(*await decided(seat, body.tool, arguments, body.confidence, asked.size))

    async def observe(self, asked: Asked) -> Labelled:
        """Step 10."""
        body: ObserveBody = asked.body
        arguments, result = await self._sized(
            asked, lambda: (object_of(body.arguments, "arguments"), value_of(body.result, "result"))
        )
        return await self._observed(await self._seat(asked), body, arguments, result)

    async def unread(self, sent: Unread) -> Labelled:
        """Step 10, where the report cannot be read: the agent has read what it is about, so that counts as read."""
        found = await self._sessions.threads.sized(sent.host, len(sent.body), lambda: _salvaged(sent))
        seat = await self._sessions.find(sent.host, sent.path["session"])
        if found is None:
            await seat.apart(lambda: doubt(seat.session, sent.body.decode("utf-8", "replace")))
            raise sent.why
        return await self._observed(seat, *found)

    async def _observed(self, seat: Seat, body: ObserveBody, arguments: dict[str, Any], result: Any) -> Labelled:
        if body.refused and body.outcome != "failed":
            raise Refused(422, "a tool that has done nothing has failed: `refused` goes with the outcome `failed`")
        error = ToolRefused(body.error or "the tool refused") if body.refused else body.error
        label: Label = await seat.apart(
            lambda: seat.session.observe(
                body.tool, arguments, result, decision=body.decision, outcome=body.outcome, error=error
            )
        )
        return Labelled(label.integrity, tuple(sorted(label.classes)))

    async def answer(self, asked: Asked) -> Answered:
        """Decide an answer."""
        body: AnswerBody = asked.body
        seat = await self._seat(asked)
        result = await seat.apart(
            lambda: seat.session.respond(
                body.text, audience=body.audience, domain=body.domain, confidence=body.confidence
            )
        )
        shown = result.value if result.status == "ok" else None
        return Answered(decided=told(result.verdict), text=shown)

    async def declare(self, asked: Asked) -> Decided:
        """Declare a plan."""
        body: PlanBody = asked.body
        seat = await self._seat(asked)
        return told(await seat.apart(lambda: seat.session.declare(body.plan, confidence=body.confidence)))

    async def delegate(self, asked: Asked) -> Opened:
        """Open a child session."""
        body: DelegateBody = asked.body
        return _opened(await self._sessions.delegate(await self._seat(asked), body.instructions, body.agent))

    async def request(self, asked: Asked) -> RequestState:
        """Whether people have answered; waits for it as long as the query says."""
        seat = await self._seat(asked)
        given = asked.asks("wait") or "0"
        try:
            seconds = float(given)
        except ValueError:
            raise Refused(400, "`wait` is a number of seconds") from None
        return await self._requests.state(seat.session.id, HoldId(asked.path["request"]), seconds, asked.host)

    async def close(self, asked: Asked) -> Ended:
        """End the session."""
        body: CloseBody = asked.body
        seat = await self._sessions.find(asked.host, asked.path["session"], to_end=True)
        await self._sessions.end(seat, body.reason)
        return Ended(seat.session.id)


_REPORT: Final = msgspec.json.Decoder(ObserveBody)


def _salvaged(sent: Unread) -> tuple[ObserveBody, dict[str, Any], Any] | None:
    """A report that cannot be read as it is, with its arguments and its result; `None` when it says nothing for sure.
    Where it is the result that cannot be read, that is its text, and the outcome is unknown."""
    if sent.why.status != 400:
        return None
    whole = mended(sent.body)
    try:
        body = _REPORT.decode(whole)
        arguments = object_of(body.arguments, "arguments")
        try:
            check(whole)
            return body, arguments, value_of(body.result, "result")
        except Refused:
            text = result_in(whole, body.result)
    except (Refused, msgspec.MsgspecError, RecursionError):
        return None
    return msgspec.structs.replace(body, outcome="unknown" if body.outcome == "ok" else body.outcome), arguments, text


def _opened(seat: Seat) -> Opened:
    session = seat.session
    planned = session.planned
    return Opened(session.id, session.charter.digest, session.mode, None if planned is None else told(planned))


__all__ = ["Decided", "SessionDoor", "decided", "told"]
