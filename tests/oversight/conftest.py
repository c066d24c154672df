"""A bank that asks people, on any store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fiducial import Guard, MemoryStore
from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, PolicySource
from fiducial.core.clock import ManualClock
from fiducial.oversight import Desk

POLICIES = """
@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);
@id("charter/large") @hold("lead:2") @reason("large payments take two leads")
forbid (principal, action == Action::"send_money", resource) when { context.input.amount > 100000 };
@id("charter/odd") @hold("clerk")
forbid (principal, action == Action::"send_money", resource) when { context.input.amount > 10000 };
@id("charter/whom") @unclear("Whom do you mean?")
forbid (principal, action == Action::"greet", resource)
when { context.flow.unknown_targets.contains("person") };
"""
TOOLS: dict[str, dict[str, Any]] = {
    "send_money": {
        "effect": "irreversible",
        "kind": "pay",
        "parameters": {
            "recipient": {"role": "target"},
            "amount": {"role": "magnitude", "unit": "EUR", "schema": {"type": "number"}},
            "subject": {"role": "content", "required": False},
        },
    },
    "greet": {"effect": "reversible", "kind": "create", "parameters": {"person": {"role": "target"}}},
    "read": {"effect": "read", "kind": "read"},
}


def build_charter(policies: str = POLICIES, **about: Any) -> Charter:
    said = {
        "agent": "teller", "owners": {"responsible": "ops", "accountable": "cfo"}, "baseline": "none",
        "roles": ["clerk", "lead", "boss"], **about,
    }  # fmt: skip
    return Charter.build(
        About.model_validate(said),
        {name: Contract.model_validate(one) for name, one in TOOLS.items()},
        (),
        [PolicySource(file="policies/rules.cedar", text=policies)],
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def desk(store: MemoryStore, clock: ManualClock) -> Desk:
    return Desk(store, clock=clock)


@pytest.fixture
def guard(store: MemoryStore, desk: Desk, clock: ManualClock) -> Guard:
    return Guard(build_charter(), store=store, desk=desk, clock=clock)


@pytest.fixture(scope="session")
def charter() -> Callable[..., Charter]:
    return build_charter
