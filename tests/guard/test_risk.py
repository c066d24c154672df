"""The risk level starts at the effect and rises with what is known against the call."""

from __future__ import annotations

from fiducial.charter.contracts import Contract
from fiducial.guard.risk import risk_of
from fiducial.policy.facts import FlowFacts, IntentFacts
from fiducial.policy.literals import RISK_FACTORS

NAMES = frozenset({"x"})
WORST = FlowFacts(
    untrusted_targets=NAMES,
    unknown_targets=NAMES,
    composed_targets=NAMES,
    novel_targets=NAMES,
    classes=frozenset({"payment"}),
    audience="public",
)


def contract(effect: str, kind: str, *, guessed: bool = False) -> Contract:
    return Contract.model_validate({"effect": effect, "kind": kind, "guessed": guessed})


def test_a_plain_read_has_no_risk() -> None:
    assert risk_of(contract("read", "read"), FlowFacts(), IntentFacts(), unsure=False).level == 0


def test_what_cannot_be_undone_raises_the_level_by_itself() -> None:
    calm = IntentFacts(known=True, asked=True)
    risk = risk_of(contract("irreversible", "pay"), FlowFacts(), calm, unsure=False)
    assert (risk.level, risk.factors) == (3, {"irreversible"})
    assert risk_of(contract("compensable", "pay"), FlowFacts(), calm, unsure=False).level == 2


def test_the_worst_call_has_every_factor_and_no_more_than_the_highest_level() -> None:
    risk = risk_of(
        contract("irreversible", "grant", guessed=True), WORST, IntentFacts(known=True, asked=False), unsure=True
    )
    assert risk.factors == set(RISK_FACTORS)
    assert risk.level == 4


def test_sensitive_data_for_the_user_alone_is_no_factor() -> None:
    flow = FlowFacts(classes=frozenset({"payment"}), audience="self")
    assert risk_of(contract("read", "read"), flow, IntentFacts(), unsure=False).factors == frozenset()
