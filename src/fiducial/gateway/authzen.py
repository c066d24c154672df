"""Decisions by the OpenID AuthZEN Authorization API 1.0: https://openid.net/specs/authorization-api-1_0.html.

| AuthZEN | here |
|---|---|
| `subject` | the user: `type` is `user`; `properties.roles` are their roles, in a session those that it has |
| `action` | the tool: `name`; `properties` are its arguments |
| `resource` | the tool's server: `type` is `server`, `id` as the contract names it (`local` where it names none) |
| `context.session` | the session the call is made in |
| `context.agent`, `.task`, `.confidence` | as of sessions; the first two only without `session` |

Without a session, what the agent has read, done and used up is taken at its worst (`Guard.single`), and people are not
asked about a call that is held: nobody could come back with what they say. A member that is `null` counts as left out.

`decision` is true when the tool may be called with what was asked for, and with nothing else: a call that is allowed
with masks is none, and `context.arguments` says which one is. `context` holds the verdict and the decision's id. What
the caller got wrong about a subject or a resource, or a session that is not theirs, is a decision of false, like
everything that cannot be decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from fiducial.core.ids import DecisionId, HoldId
from fiducial.core.verdict import Allowed, Held, Unclear, Verdict, VerdictKind
from fiducial.errors import SessionError
from fiducial.gateway.bodies import object_of
from fiducial.gateway.decisions import Name, decided
from fiducial.gateway.door import Asked, Operation, Refused
from fiducial.gateway.sessions import Seat, Sessions

EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
METADATA = "/.well-known/authzen-configuration"
MOST = 100
"""Evaluations in one request."""
_LANGUAGE = "en"
_UNKNOWN = " (without `context.session`, what the agent has read, done and used up is taken at its worst)"


class SubjectProperties(msgspec.Struct, frozen=True):
    """What is known of a subject."""

    roles: list[Name] | None = None


class Subject(msgspec.Struct, frozen=True):
    """On whose behalf."""

    type: str
    id: Name
    properties: SubjectProperties | None = None

    @property
    def roles(self) -> list[Name] | None:
        """As far as they were sent."""
        return self.properties.roles if self.properties is not None else None


class Action(msgspec.Struct, frozen=True):
    """Which tool, with which arguments."""

    name: str
    properties: Raw | UnsetType = UNSET


class Resource(msgspec.Struct, frozen=True):
    """The server that the tool is of."""

    type: str
    id: str


class Context(msgspec.Struct, frozen=True):
    """In which session, or what is known without one."""

    session: str | None = None
    agent: Name | None = None
    task: str | None = None
    confidence: float | None = None


class Evaluation(msgspec.Struct, frozen=True):
    """An access evaluation request. Fields that are not known are passed over, as the standard has it."""

    subject: Subject
    action: Action
    resource: Resource
    context: Context | None = None


class Part(msgspec.Struct, frozen=True):
    """One of several evaluations: what it leaves out is that of the whole request."""

    subject: Subject | None = None
    action: Action | None = None
    resource: Resource | None = None
    context: Context | None = None


Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class Options(msgspec.Struct, frozen=True):
    """How several are evaluated."""

    evaluations_semantic: Semantic = "execute_all"


class Evaluations(Part, frozen=True):
    """An access evaluations request."""

    evaluations: list[Raw] | None = None
    """Each is a `Part`, and read by itself: what is wrong with one is no fault of the others."""
    options: Options | None = None


_PART: Final = msgspec.json.Decoder(Part)


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The context of a decision."""

    id: DecisionId | None = None
    """Of the decision: goes with the result that is reported. It says nothing once the session has ended."""
    verdict: VerdictKind | None = None
    enforced: bool = True
    reason_admin: dict[str, str] = {}
    """For the auditor, by language."""
    reason_user: dict[str, str] = {}
    agent: str = ""
    """How the agent is to go on."""
    arguments: dict[str, Any] | None = None
    """What the call is allowed with, instead of what was asked for: data classes are masked."""
    request: HoldId | None = None
    """What people, or the user, now have before them."""
    question: str = ""
    error: dict[str, Any] = {}
    """Of one of several that could not be evaluated: `status` and `message`."""


class Decision(msgspec.Struct, frozen=True):
    """An access evaluation response."""

    decision: bool
    context: Told = Told()


class Decisions(msgspec.Struct, frozen=True):
    """An access evaluations response; that of a single one when none were sent."""

    evaluations: list[Decision] | UnsetType = UNSET
    decision: bool | UnsetType = UNSET
    context: Told | UnsetType = UNSET


class Configuration(msgspec.Struct, frozen=True):
    """Metadata of the policy decision point."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str


class AuthZen:
    """The two endpoints, and where they are."""

    def __init__(self, sessions: Sessions, url: str) -> None:
        self._sessions = sessions
        self.configuration = Configuration(url, url + EVALUATION, url + EVALUATIONS)
        self.operations: Mapping[str, Operation] = {
            f"POST {EVALUATION}": Operation(
                run=self.evaluate, summary="AuthZEN: evaluate access", takes=Evaluation, gives=Decision
            ),
            f"POST {EVALUATIONS}": Operation(
                run=self.evaluate_all,
                summary="AuthZEN: evaluate several",
                takes=Evaluations,
                gives=Decisions,
            ),
        }

    async def evaluate(self, asked: Asked) -> Decision:
        """One decision."""
        return await self._decide(asked.host, asked.body, asked.size)

    async def evaluate_all(self, asked: Asked) -> Decisions:
        """Several, one after another; without any, it is one."""
        body: Evaluations = asked.body
        if not body.evaluations:
            one = await self._decide(asked.host, _whole(body, body), asked.size)
            return Decisions(decision=one.decision, context=one.context)
        if len(body.evaluations) > MOST:
            raise Refused(422, f"at most {MOST} evaluations at once")
        semantic, found = (body.options or Options()).evaluations_semantic, []
        for part in body.evaluations:
            try:
                one = await self._decide(asked.host, _whole(_read(part), body), asked.size)
            except Refused as error:
                one = Decision(False, Told(error={"status": error.status, "message": error.detail}))
            found.append(one)
            if semantic == ("permit_on_first_permit" if one.decision else "deny_on_first_deny"):
                break
        return Decisions(found)

    async def _decide(self, host: str, asked: Evaluation, size: int) -> Decision:
        given = asked.action.properties
        arguments: dict[str, Any] = {}
        if given is not UNSET and memoryview(given) != memoryview(b"null"):
            arguments = await self._sessions.threads.sized(host, size, lambda: object_of(given, "action.properties"))
        subject, context = asked.subject, asked.context or Context()
        if subject.type != "user":
            return _no(f"the subject is of the type `{subject.type}`; agents work on behalf of a `user`")
        if context.session is not None:
            try:
                seat = await self._sessions.find(host, context.session)
            except Refused as error:
                return _no(error.detail)
            if seat.session.user != subject.id:
                return _no("the session is another user's")
            if subject.roles is not None and set(subject.roles) != set(seat.session.roles):
                return _no("the session was opened for a user with other roles")
            return await self._in(seat, asked, arguments, size)
        try:
            seat = await self._sessions.single(
                host, user=subject.id, roles=subject.roles or (), agent=context.agent, task=context.task
            )
        except SessionError as error:
            return _no(str(error))
        try:
            found = await self._in(seat, asked, arguments, size)
        finally:
            await seat.apart(seat.session.close)
        if found.decision:
            return found
        why = {language: words + _UNKNOWN for language, words in found.context.reason_admin.items()}
        return Decision(False, msgspec.structs.replace(found.context, reason_admin=why))

    async def _in(self, seat: Seat, asked: Evaluation, arguments: dict[str, Any], size: int) -> Decision:
        tool = seat.session.tools.get(asked.action.name)
        if tool is not None and (asked.resource.type != "server" or asked.resource.id != tool.contract.server):
            return _no("the resource is not the `server` that the tool is of")
        confidence = asked.context.confidence if asked.context is not None else None
        return _told(*await decided(seat, asked.action.name, arguments, confidence, size))


def _read(part: Raw) -> Part:
    try:
        return _PART.decode(part)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, str(error)) from error


def _whole(part: Part, rest: Part) -> Evaluation:
    """`part` with what it leaves out. Raises `Refused` when the rest does not say it either."""
    subject, action = part.subject or rest.subject, part.action or rest.action
    resource, context = part.resource or rest.resource, part.context or rest.context
    if subject is None or action is None or resource is None:
        lacking = [
            name for name in ("subject", "action", "resource") if not (getattr(part, name) or getattr(rest, name))
        ]
        raise Refused(400, f"it has no {' and no '.join(lacking)}")
    return Evaluation(subject, action, resource, context)


def _told(verdict: Verdict, arguments: dict[str, Any] | None) -> Decision:
    if isinstance(verdict, Allowed) and arguments is None:
        return Decision(True, Told(id=verdict.decision, verdict="allowed", enforced=verdict.enforced))
    asks: dict[str, Any] = {}
    if isinstance(verdict, Held):
        asks = {"request": verdict.hold}
    elif isinstance(verdict, Unclear):
        asks = {"request": verdict.hold, "question": verdict.question}
    return Decision(
        arguments is None and not verdict.enforced,
        Told(
            id=verdict.decision,
            verdict=verdict.kind,
            enforced=verdict.enforced,
            reason_admin=_in_words("; ".join(reason.message for reason in verdict.reasons)),
            reason_user=_in_words(verdict.remedies.user),
            agent=verdict.remedies.agent,
            arguments=arguments,
            **asks,
        ),
    )


def _no(why: str) -> Decision:
    return Decision(False, Told(reason_admin=_in_words(why)))


def _in_words(text: str) -> dict[str, str]:
    return {_LANGUAGE: text} if text else {}


__all__ = ["EVALUATION", "EVALUATIONS", "METADATA", "AuthZen", "Configuration"]
