"""Events in a sentence each, for people who read a session or a log."""

from __future__ import annotations

from fiducial.core.event import (
    ApprovalSpent,
    CallFinished,
    CaptureTaken,
    CharterActivated,
    ClassGranted,
    Event,
    GlassBroken,
    GlassReviewed,
    HaltLifted,
    HaltOrdered,
    HoldAnswered,
    HoldRequested,
    HoldSeen,
    HoldSettled,
    HoldVoted,
    NoticeSettled,
    PayloadErased,
    PersonChanged,
    PlanDeclared,
    PlanSettled,
    SessionClosed,
    SessionOpened,
    SessionTaken,
    ShadowDecided,
    ToolPinned,
    UndoFinished,
    UndoStarted,
)


def told_as(event: Event) -> str:
    """`event` as a sentence; its kind when there is nothing to add."""
    sentence = _flow(event) or _people(event)
    return sentence or str(type(event).__struct_config__.tag)


def _flow(event: Event) -> str:
    match event:
        case SessionOpened():
            return f"The session began: {event.agent} for {event.user}"
        case SessionClosed():
            ended = {"done": "The session ended", "error": "The session ended with an error", "lost": "It was lost"}
            return f"{ended[event.reason]} after {event.calls} call{'' if event.calls == 1 else 's'}"
        case CallFinished():
            return {"ok": "The call came back", "failed": "The call failed", "unknown": "The call was cut off"}[
                event.outcome
            ]
        case ShadowDecided():
            return f"Shadow policies would have {event.verdict} it"
        case PlanDeclared():
            return f"The agent declared a plan: {', '.join(event.tools) or 'no tools'}"
        case PlanSettled():
            return f"The plan was {event.outcome}" + (", people having approved it" if event.approved else "")
        case SessionTaken():
            why = "whose time had run out" if event.ended else event.why
            return f"The process {event.owner} took the session over from {event.before}: {why}"
        case CaptureTaken():
            what = "What the call would change" if event.moment == "before" else "What the call left"
            return f"{what} was {'' if event.taken else 'not '}kept, by {event.driver}"
        case CharterActivated():
            return f"A charter came into force: {event.charter}"
        case PayloadErased():
            return "A payload was erased"
        case UndoStarted():
            return f"{event.by} began {'to try out ' if event.dry_run else ''}taking it back: {event.why}"
        case UndoFinished():
            return f"Taking back one effect: {event.outcome}"
        case _:
            return ""


def _people(event: Event) -> str:
    match event:
        case HoldRequested():
            number = f"{event.quorum} of " if event.quorum > 1 else ""
            what = "asked for an approval" if event.asks == "approval" else "asked a question"
            return f"People were {what}: {number}{event.role}"
        case HoldSeen():
            how = {"opened": "opened", "shown": "was shown", "followed": "followed a notification's link to"}[event.how]
            return f"{event.by} {how} the request"
        case HoldVoted():
            answer = {"approve": "approved", "reject": "rejected", "edit": "changed", "answer": "answered"}[
                event.answer
            ]
            place = f" in the place of {event.instead_of}" if event.instead_of else ""
            where = ", in a form of the client that they use" if event.through == "form" else ""
            return f"{event.by} {answer} it as {event.role}{place}{where}"
        case HoldSettled():
            return f"The request is {event.outcome}: {event.why}"
        case HoldAnswered():
            return f"{event.answer} by {event.by}"
        case ApprovalSpent():
            return "An approval was used for the next call"
        case ClassGranted():
            return f"{event.by} approved a class of calls of {event.tool}, at most {event.uses}"
        case GlassBroken():
            return f"{event.by} took the role {event.role} in an emergency"
        case GlassReviewed():
            return f"{event.by} found the emergency access {'justified' if event.justified else 'not justified'}"
        case HaltOrdered():
            return f"{event.by} halted: {event.why}"
        case HaltLifted():
            return f"{event.by} resumed: {event.why}"
        case NoticeSettled():
            became = {"sent": "was sent", "failed": "was refused", "lapsed": "did not go through"}[event.outcome]
            return f"The notification of the {event.notice} through {event.channel} {became}: {event.why}"
        case ToolPinned():
            did = {
                "pinned": "is relied upon as it is",
                "quarantined": "is not used",
                "approved": "was looked at",
                "kept-out": "is kept out",
            }[event.act]
            if event.tool is None:
                return f"What {event.server} says of itself {did}, by {event.by}"
            what = "tool" if event.of == "server" else "skill"
            return f"The {what} {event.tool} of {event.server} {did}, by {event.by}"
        case PersonChanged():
            return f"{event.person}: {event.act}, by {event.by}"
        case _:
            return ""


__all__ = ["told_as"]
