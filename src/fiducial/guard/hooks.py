"""Asking through the in-process hooks, `on_held` and `on_unclear`, and judging afresh with what they answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from fiducial.core.call import Call
from fiducial.core.event import Entry
from fiducial.core.faults import told
from fiducial.core.ids import Digest, PersonId
from fiducial.core.store import Commit
from fiducial.core.verdict import Denied, Held, Reason, Remedies, Unclear, Verdict
from fiducial.errors import SessionError, StoreError
from fiducial.guard import messages
from fiducial.guard.arguments import plain
from fiducial.guard.desk import Writes
from fiducial.guard.effects import Ask, Kept, Steps
from fiducial.guard.judgement import Answer, Judgement, Question, Request, answer_entry, sound
from fiducial.guard.state import State

log = logging.getLogger("fiducial.guard")
MAX_ANSWERS: Final = 8
"""Answers one call may need, where several roles must approve; past it the call stays as it is."""
Judge: TypeAlias = Callable[[State, Request], Steps[Judgement]]
"""Steps 1 to 8 (`fiducial.guard.steps.judge`)."""


def answered(session: State, judgement: Judgement, judge: Judge) -> Steps[Judgement]:
    """What becomes of a call once those who are asked through the hooks have answered; itself when nobody is asked."""
    for _ in range(MAX_ANSWERS):
        waiting = judgement.verdict
        if not isinstance(waiting, (Held, Unclear)) or not waiting.enforced:
            break
        judgement = yield from _answer(session, judgement, judge)
        if _asks_the_same(waiting, judgement.verdict):
            break
    return judgement


def _answer(session: State, judgement: Judgement, judge: Judge) -> Steps[Judgement]:
    """Ask through the in-process hook, and judge afresh with the answer."""
    verdict = judgement.verdict
    hook = session.ground.on_held if isinstance(verdict, Held) else session.ground.on_unclear
    if hook is None or not isinstance(verdict, (Held, Unclear)):
        return judgement
    request = judgement.request
    asked = Call(
        decision=verdict.decision,
        session=session.id,
        tool=request.tool,
        arguments=plain(request.arguments),
        confidence=request.confidence,
    )
    question = Question(verdict=verdict, call=asked)
    try:
        answer = yield Ask(hook, question)
    except Exception as error:  # noqa: BLE001 - whatever a hook raises answers nothing
        log.error("the hook failed; the call stays %s (%s)", verdict.kind, told(error))
        return judgement
    try:
        if isinstance(answer, str) and isinstance(verdict, Unclear):
            # Words approve nothing, whatever they say: they are heard like everything the user says, and may name what
            # was not named before.
            messages.take_in(session, answer)
            if (ended := _withdrawn(session, verdict)).changes:
                yield Kept(session.store.commit(_commit(ended)))
            return (yield from _afresh(session, judgement, judge, request))
        if not sound(answer):
            if answer is not None:
                log.warning("the hook returned no answer: the call stays %s", verdict.kind)
            return judgement
        if answer.approved and isinstance(verdict, Held) and len(answer.people) < verdict.quorum:
            log.warning("%d of %d approvals: the call stays held", len(answer.people), verdict.quorum)
            return judgement
        # Kept, durably, before it is acted on.
        entry = answer_entry(session.id, session.clock.unix_us(), verdict, answer)
        ended = _withdrawn(session, verdict, None if answer.approved else answer)
        yield Kept(session.store.commit(_commit(ended, entry)))
    except (SessionError, StoreError) as error:
        log.error("the answer could not be kept: the call stays %s (%s)", verdict.kind, error)
        return judgement
    if not answer.approved:
        refused = Denied(
            decision=verdict.decision,
            reasons=(Reason(message=f"refused by {answer.by}"), *verdict.reasons),
            remedies=Remedies(
                agent="A person refused this."
                + (f" They said: “{answer.note}”." if answer.note else "")
                + " Do not ask again; go on without it.",
                user="A person refused this.",
                operator="decided by a person",
            ),
        )
        return msgspec.structs.replace(judgement, verdict=refused)
    approvals = request.approvals | frozenset(verdict.approvals)
    again = msgspec.structs.replace(request, approvals=approvals, bound=_binding(session, judgement))
    return (yield from _afresh(session, judgement, judge, again))


def _afresh(session: State, judgement: Judgement, judge: Judge, request: Request) -> Steps[Judgement]:
    """Judge `request` in the place of `judgement`, on what is known now."""
    session.forget(judgement)
    return (yield from judge(session, request))


def _binding(session: State, judgement: Judgement) -> Digest:
    """Of everything that the answer is for. When it has changed by the time of the judgement, the answer is worth
    nothing."""
    assert judgement.tool is not None
    assert judgement.facts is not None
    return session.binding(judgement.tool, judgement.request.arguments, judgement.traces, judgement.facts)[0]


def _withdrawn(session: State, verdict: Held | Unclear, refusal: Answer | None = None) -> Writes:
    """Ends the request at the desk about the same call, so that it is not answered a second time, whatever was answered
    there meanwhile. `refusal`: a no, which then stands there too."""
    desk = session.ground.desk
    if desk is None or verdict.hold is None:
        return Writes()
    if refusal is not None:
        return desk.withdrawn(verdict.hold, refusal.note, refused_by=PersonId(refusal.by))
    return desk.withdrawn(verdict.hold, "answered where the agent runs")


def _commit(ended: Writes, *entries: Entry) -> Commit:
    return Commit(entries=(*entries, *ended.entries), preconditions=ended.preconditions, changes=ended.changes)


def _asks_the_same(before: Verdict, now: Verdict) -> bool:
    """Nothing that would be asked now has not been asked before."""
    return (
        isinstance(before, (Held, Unclear))
        and isinstance(now, type(before))
        and (before.reasons, before.approvals) == (now.reasons, now.approvals)
    )
