"""Remedies: how to go on after a verdict, said to the agent, the user and the operator.

What the agent is told is coarse on purpose: an attacker who writes to the agent must not learn the rules by probing.
It always says whether asking again helps, so that an agent does not retry for ever.
"""

from __future__ import annotations

from collections.abc import Mapping

from fiducial.core.verdict import Fault, Reason, Remedies
from fiducial.flow.trace import Origin, Trace
from fiducial.policy.rulebook import Ruling

_FAULTS: dict[Fault, Remedies] = {
    Fault.UNKNOWN_TOOL: Remedies(
        agent="This tool is not available. Do not call it again; use the tools you were given.",
        user="The assistant tried to use a tool that it does not have.",
        operator="add a contract for the tool to contracts.yaml, or `fiducial contracts infer` to draft one",
    ),
    Fault.BAD_ARGUMENTS: Remedies(
        agent="The arguments do not fit the tool's schema. Correct them and call again:",
        user="The assistant made a malformed request; it can correct itself.",
        operator="if the tool accepts these arguments, correct its contract",
    ),
    Fault.WITHDRAWN: Remedies(
        agent="This tool is not in use as it is now. Do not call it again; go on without it, or tell the user.",
        user="The assistant tried to use a tool that is not in use.",
        operator="the reason says why; what a server has changed is listed by `fiducial pins list`",
    ),
    Fault.HALTED: Remedies(
        agent="All such actions are stopped by an operator. Stop, and tell the user.",
        user="An operator has stopped this assistant.",
        operator="lift the halt when its reason is gone",
    ),
    Fault.DESK: Remedies(
        agent="A person must approve this, but nobody could be asked. Do not retry at once; tell the user.",
        user="This needs approval, and nobody could be asked.",
        operator="the reason names what failed; nothing ran",
    ),
    Fault.SESSION: Remedies(
        agent="This session is closed. Stop.",
        user="This conversation has ended.",
        operator="open a new session",
    ),
}
CHANGED = Remedies(
    agent="Something that this decision rested on has just changed. Call once more; it is then decided afresh.",
    user="The situation changed while this was being checked, so nothing was done.",
    operator="two decisions were made at once, or an approval was spent or withdrawn; nothing ran",
)
"""After a conflict in the store that is not about a budget."""
_BROKEN = Remedies(
    agent="The action could not be checked, so it was not run. Do not retry at once; tell the user.",
    user="A safety check could not be completed, so nothing was done.",
    operator="the reason names the step that failed; nothing ran",
)


def for_fault(fault: Fault) -> Remedies:
    """How to go on when a step failed before the policies could answer."""
    return _FAULTS.get(fault, _BROKEN)


def for_ruling(ruling: Ruling) -> Remedies:
    """How to go on after the policies have answered with anything but `allowed`."""
    policies = ", ".join(reason.policy for reason in ruling.reasons if reason.policy) or "no policy permits it"
    if ruling.kind == "held":
        people = f"{ruling.quorum} people" if ruling.quorum > 1 else "a person"
        return Remedies(
            agent="A person must approve this action first. Wait, or go on with what does not depend on it; "
            "do not repeat or reword the call.",
            user=f"This needs approval by {people} ({ruling.role}).",
            operator=f"approve it, or change {policies}",
        )
    if ruling.kind == "unclear":
        question = ruling.question or "Please confirm what you want."
        return Remedies(
            agent=f'The user must answer a question first: "{question}" Wait for the answer; do not guess.',
            user=question,
            operator=f"answered by the user; or change {policies}",
        )
    return Remedies(
        agent="This action is not permitted. Asking again does not help; "
        "go on without it, or tell the user what you could not do.",
        user="The assistant is not permitted to do this.",
        operator=f"change {policies}" if ruling.reasons else "permit the tool in a policy",
    )


def in_words(traces: Mapping[str, Trace], wheres: Mapping[str, str]) -> dict[str, str]:
    """For people: parameter → where its value came from. `wheres` holds a place in words for each traced one."""
    words = {
        Origin.USER: "named by the user",
        Origin.RECORD: "from the tool's own records",
        Origin.DERIVED: "derived from trusted values",
        Origin.CONSTANT: "a constant",
        Origin.UNTRUSTED: "from text that third parties can write",
        Origin.UNKNOWN: "found nowhere: the model made it up, or it was disguised",
    }
    found = {}
    for name, trace in traces.items():
        text = words[trace.origin]
        if trace.derivation:
            text += f" ({trace.derivation})"
        if trace.contested:
            text += ", but untrusted text names it too"
        if trace.links:
            text += ", with an address that no trusted source names"
        if wheres.get(name):
            text += f": {wheres[name]}"
        found[name] = text
    return found


def reason_for_fault(fault: Fault, message: str) -> Reason:
    """A fault as a reason."""
    return Reason(message=message, fault=fault)
