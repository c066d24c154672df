"""A small charter to hang policies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Clause, PolicySource

CONTRACTS: dict[str, dict[str, Any]] = {
    "send_money": {
        "effect": "irreversible",
        "kind": "pay",
        "cost": "amount",
        "server": "bank",
        "parameters": {
            "recipient": {"role": "target"},
            "amount": {"role": "magnitude", "unit": "USD", "schema": {"type": "number"}},
            "subject": {"role": "content", "required": False},
            "speed": {"role": "option", "required": False, "schema": {"type": "string", "enum": ["slow", "fast"]}},
            "details": {"role": "content", "required": False, "schema": {"type": "object"}},
            "rate": {"role": "option", "required": False, "schema": {"type": "number"}},
        },
    },
    "read_file": {"effect": "read", "kind": "read", "parameters": {"path": {"role": "option"}}},
    "get_page": {"effect": "read", "kind": "fetch", "parameters": {"url": {"role": "target"}}},
    "share": {"effect": "reversible", "kind": "grant", "parameters": {"person": {"role": "target"}}},
}

Build = Callable[..., Charter]


def build_charter(
    policies: str = "",
    *,
    contracts: dict[str, dict[str, Any]] | None = None,
    clauses: list[dict[str, Any]] | None = None,
    **about: Any,
) -> Charter:
    """A charter with `policies`; `about` overrides what `charter.yaml` would say."""
    said = {"agent": "teller", "owners": {"responsible": "ops", "accountable": "cfo"}, "baseline": "none", **about}
    return Charter.build(
        About.model_validate(said),
        {name: Contract.model_validate(one) for name, one in (CONTRACTS if contracts is None else contracts).items()},
        [Clause.model_validate(one) for one in clauses or ()],
        [PolicySource(file="policies/rules.cedar", text=policies)] if policies else [],
    )


@pytest.fixture(scope="session")
def build() -> Build:
    return build_charter
