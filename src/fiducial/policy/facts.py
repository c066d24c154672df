"""Facts: what a policy can know about a call besides who makes it and the typed arguments.

This file is the one definition. The Cedar schema, the lint's list of paths, the pruned context and the documentation
are generated from these structs; the guard fills them. Sets hold names (of parameters, data classes, kinds), never
argument values: a value that a third party chose must not reach a policy as anything but `context.input`.
Facts at their defaults are left out when they are recorded.
Types: bool → Bool, int → Long, str → String, frozenset[str] → Set<String>.
"""

from __future__ import annotations

import msgspec

_NONE: frozenset[str] = frozenset()


class FlowFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.flow`: where this call's arguments came from. Sets name parameters."""

    untrusted_targets: frozenset[str] = _NONE
    """Targets whose value was found in untrusted text and in no trusted source as one whole entity."""
    unknown_targets: frozenset[str] = _NONE
    """Targets whose value was found nowhere: the model made it up, or it was disguised."""
    contested_targets: frozenset[str] = _NONE
    """Targets whose value stands in a tool's trusted records, was not named by the user, and is also named by
    untrusted text."""
    pointed_targets: frozenset[str] = _NONE
    """Untrusted targets that stand word for word in a source that the user pointed to by name."""
    instructed_targets: frozenset[str] = _NONE
    """Untrusted or contested targets that stand beside a sentence of untrusted text which orders this very act."""
    composed_targets: frozenset[str] = _NONE
    """Targets put together from several sources, or altered: a secret could be hidden in them."""
    untrusted_magnitudes: frozenset[str] = _NONE
    """Magnitudes found in untrusted text only."""
    unknown_magnitudes: frozenset[str] = _NONE
    """Magnitudes found nowhere."""
    untrusted_content: frozenset[str] = _NONE
    """Content parameters that carry text from an untrusted source."""
    untrusted_options: frozenset[str] = _NONE
    """Options found in untrusted text only."""
    links: frozenset[str] = _NONE
    """Content parameters that carry an address (URL, e-mail, account) which no trusted source names."""
    ungrounded: frozenset[str] = _NONE
    """Content parameters, of those that contracts call `grounded`, that claim what no observed source says, or whose
    citations name no source or one that does not say it; `text` of `respond` is one."""
    classes: frozenset[str] = _NONE
    """Data classes that provably flow out in the arguments."""
    audience: str = "self"
    """Who would see them: `self`, `organization`, `third_party`, `public`."""
    novel_targets: frozenset[str] = _NONE
    """Targets this session has not acted on before."""


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.session`: what this session has read, done and used up, before this call."""

    tainted: bool = False
    """Untrusted text has been observed: from here on the model may be following someone else's instructions."""
    read: frozenset[str] = _NONE
    """Data classes read so far: the bound on what could flow."""
    done: frozenset[str] = _NONE
    """Kinds of act performed so far."""
    calls: int = 0
    """Calls allowed so far."""
    writes: int = 0
    """Calls with a side effect so far."""
    records: int = 0
    """Records read so far."""
    spent: int = 0
    """Minor units, in the call's currency."""
    strays: bool = False
    """A memory of this user's alone has brought back what they are not known to have stored, or what has expired."""
    exceeds: frozenset[str] = _NONE
    """Names of the budgets and rate windows that this call would exceed; `session-calls`, `session-writes`,
    `session-records`, `session-spend`, or a window's name."""


class IntentFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.intent`: what was asked for, in words. Words can add a hold; they never allow by themselves."""

    known: bool = False
    """The user's task is known from a channel that the agent does not control."""
    asked: bool = False
    """The words of the user (or of someone above) ask for this tool's effect."""
    delegated: bool = False
    """The user told the agent to do what some document or message says."""
    bound_elsewhere: frozenset[str] = _NONE
    """Parameters for which the user named another value of the same type than the call has."""
    forbidden: bool = False
    """A higher authority's words forbid this effect, and only a lower one's ask for it."""
    requested_by: str = "none"
    """Highest authority whose words ask for it: `system`, `operator`, `user`, `agent`, `tool`, `none`."""
    forbidden_by: str = "none"
    """Highest authority whose words forbid it."""
    sensitive_asked: bool = False
    """The user's words ask for the sensitive data classes that flow."""


class PlanFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.plan`: the plan declared before acting, if any; only one that was accepted counts."""

    declared: bool = False
    """There is a plan."""
    includes: bool = False
    """The plan has a step for this call, its bounds are met, and a use of it is left."""
    in_order: bool = False
    """The plan includes this call, and has no order or it is the call's turn: for every earlier step a call that fits
    it has succeeded, and no later one was used."""
    approved: bool = False
    """The plan includes this call, and people approved the plan; it was not for the policies alone to accept."""


class ProposalFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.proposal`: for the built-in tool `declare_plan`: the plan. `context.flow` tells of the values in it."""

    tools: frozenset[str] = _NONE
    """Tools of its steps."""
    effects: frozenset[str] = _NONE
    """Their effects: `read`, `reversible`, `compensable`, `irreversible`."""
    kinds: frozenset[str] = _NONE
    """Their kinds of act."""
    uses: int = 0
    """Calls that it would let be made at most."""
    ordered: bool = False
    """Its steps come one after another."""
    unbounded: frozenset[str] = _NONE
    """Tools with a side effect of which it leaves a target or magnitude open."""
    impossible: frozenset[str] = _NONE
    """Tools of steps that could never be allowed to this user, whatever a call looks like."""
    widens: bool = False
    """It allows what is not left of the plan that counts now: another tool, more uses, a looser bound, less order.
    Where no plan counts, every step is more."""
    tainted: bool = False
    """This session, or one with which it shares the plan, has read untrusted text."""


class RiskFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.risk`: how much could go wrong."""

    level: int = 0
    """0 none, 1 low, 2 medium, 3 high, 4 critical."""
    factors: frozenset[str] = _NONE
    """What raised it, such as `irreversible`: an effect that nothing takes back; see `fiducial.guard.risk`."""


class AgentFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.agent`: the agent that calls."""

    id: str = ""
    """The agent's id, from the charter."""
    tier: str = "write"
    """`chat`, `read`, `write` or `autonomous`, from the charter."""
    confidence: int = -1
    """Percent, as the agent gave it; -1 when it gave none."""
    unsure: bool = False
    """It gave a confidence below the charter's minimum."""


class PreviewFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.preview`: what the contract's preview found; -1 where there is none or it failed."""

    ran: bool = False
    """The preview ran and came back in time."""
    failed: bool = False
    """The contract has a preview, and it did not say all that it is asked."""
    rows: int = -1
    """Rows that would be touched."""
    recipients: int = -1
    """People who would be reached."""
    cost: int = -1
    """Minor units it would cost."""


class AnswerFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.answer`: for the built-in tool `respond`."""

    domain: str = "general"
    """`general`, `legal`, `health`, `finance`, `security`, `hiring` or `official`."""


class GroundingFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context.grounding`: what content that a contract calls `grounded` claims, and what of that has a source."""

    claims: int = 0
    """Numbers, dates, names, identifiers, addresses and quotations in it, and statements that have none of these."""
    ungrounded: int = 0
    """Of them, those that no observed source says."""
    kinds: frozenset[str] = _NONE
    """What those are: `number`, `date`, `name`, `identifier`, `address`, `quotation`, `statement`."""
    uncited: int = 0
    """Sentences that claim something and cite no source."""
    citations: int = 0
    """Sources that it names, each as often as it is named."""
    unknown_citations: int = 0
    """Of them, those that name no source which was observed."""
    misplaced_citations: int = 0
    """Of them, those in sentences of which the named sources do not say all."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`context`, without `input` and `approvals`."""

    flow: FlowFacts = FlowFacts()
    session: SessionFacts = SessionFacts()
    intent: IntentFacts = IntentFacts()
    plan: PlanFacts = PlanFacts()
    proposal: ProposalFacts = ProposalFacts()
    risk: RiskFacts = RiskFacts()
    agent: AgentFacts = AgentFacts()
    preview: PreviewFacts = PreviewFacts()
    answer: AnswerFacts = AnswerFacts()
    grounding: GroundingFacts = GroundingFacts()
