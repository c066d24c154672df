"""What a settled request means for the call that it was about, said to the agent, the user and the operator."""

from __future__ import annotations

import json

from fiducial.core.verdict import Fault, Reason, Remedies
from fiducial.guard.desk import Refusal
from fiducial.oversight.hold import Hold


def refusal_of(hold: Hold) -> Refusal | None:
    """What a settled request means for the call that it was about; `None` while it waits."""
    if hold.state == "rejected" and hold.votes and hold.votes[-1].answer == "edit":
        wants = f"this instead: call `{hold.tool}` with {json.dumps(hold.instead)}."
        if hold.instead is None:
            wants = f"another call of `{hold.tool}` instead, and which one was erased; ask the user."
        return Refusal(
            reason=Reason("a person changed the call", fault=Fault.PEOPLE),
            remedies=Remedies(
                agent=f"A person wants {wants} Do not repeat the first call.",
                user="A person changed what the assistant was about to do. You can appeal, and somebody else will look "
                "at it.",
                operator=f"decided in `{hold.id}`; an appeal on its page in the console asks somebody else",
            ),
        )
    if hold.state == "rejected":
        said = f" They said: “{hold.why}”." if hold.why else ""
        return Refusal(
            reason=Reason("a person refused the call", fault=Fault.PEOPLE),
            remedies=Remedies(
                agent=f"A person refused this.{said} Do not ask again; go on without it, and tell the user.",
                user=f"A person refused this.{said} You can appeal, and somebody else will look at it.",
                operator=f"decided in `{hold.id}`; an appeal on its page in the console asks somebody else",
            ),
        )
    if hold.state == "expired":
        return Refusal(
            reason=Reason("nobody answered in time", fault=Fault.PEOPLE),
            remedies=Remedies(
                agent="Nobody answered in time, so this is refused. Do not ask again; tell the user.",
                user="Nobody answered in time, so nothing was done. You can ask for it to be looked at again.",
                operator=f"`{hold.id}` expired; an appeal on its page in the console asks again",
            ),
        )
    if hold.state == "answered":
        answered = f"The user answered: “{hold.reply or ''}”. Call again with what follows from that."
        if hold.erased:
            answered = "The user answered something else than a confirmation, and what was erased; ask the user again."
        return Refusal(
            reason=Reason("the user answered with something else than a confirmation", fault=Fault.PEOPLE),
            remedies=Remedies(
                agent=answered,
                user="You have answered the assistant's question.",
                operator=f"answered in `{hold.id}`",
            ),
        )
    return None
