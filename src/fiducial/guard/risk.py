"""Risk: how much could go wrong, as a level with the factors that raised it.

The level starts at what the effect alone deserves and rises by one for each factor, up to critical. It is a fact for
policies and for the order in which people look at questions; it decides nothing by itself.

    effect      read 0 · reversible 1 · compensable 2 · irreversible 2
    factors     untrusted-target, unknown-target, composed-target, sensitive-data, wide-audience, novel-target,
                not-asked, unsure, guessed-contract, credential-act, irreversible
"""

from __future__ import annotations

from fiducial.charter.contracts import Contract, Effect, Kind
from fiducial.policy.facts import FlowFacts, IntentFacts, RiskFacts

CRITICAL = 4
SENSITIVE = frozenset({"identity", "payment", "health", "credentials", "secrets", "children"})
"""Classes whose disclosure harms by itself; contact and location do so only in context."""
_START = {Effect.READ: 0, Effect.REVERSIBLE: 1, Effect.COMPENSABLE: 2, Effect.IRREVERSIBLE: 2}
_CREDENTIAL = frozenset({Kind.CREDENTIAL, Kind.GRANT, Kind.DEPLOY, Kind.EXECUTE})
_MEMO: dict[tuple[int, frozenset[str]], RiskFacts] = {}


def risk_of(contract: Contract, flow: FlowFacts, intent: IntentFacts, *, unsure: bool) -> RiskFacts:
    """The risk of one call."""
    factors = []
    if flow.untrusted_targets:
        factors.append("untrusted-target")
    if flow.unknown_targets:
        factors.append("unknown-target")
    if flow.composed_targets:
        factors.append("composed-target")
    if flow.classes and flow.audience != "self" and not SENSITIVE.isdisjoint(flow.classes):
        factors.append("sensitive-data")
    start = _START[contract.effect]
    if start:
        if flow.audience in ("third_party", "public"):
            factors.append("wide-audience")
        if flow.novel_targets:
            factors.append("novel-target")
        if intent.known and not intent.asked:
            factors.append("not-asked")
        if contract.kind in _CREDENTIAL:
            factors.append("credential-act")
        if contract.effect is Effect.IRREVERSIBLE:
            factors.append("irreversible")
        if unsure:
            factors.append("unsure")
    if contract.guessed:
        factors.append("guessed-contract")
    raised = frozenset(factors)
    memo = _MEMO.get((start, raised))
    if memo is None:  # at most 4 × 2^11 combinations
        memo = _MEMO[start, raised] = RiskFacts(level=min(CRITICAL, start + len(raised)), factors=raised)
    return memo
