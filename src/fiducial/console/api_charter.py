"""The HTTP interface about the charter that the console shows: intent, tools and policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fiducial.console.operation import Operation
from fiducial.console.pages.charter import Written, written
from fiducial.console.visit import Visit


class Described(msgspec.Struct, frozen=True):
    """What is intended."""

    agent: str
    purpose: str
    tier: str
    """What the agent may do at most."""
    baseline: str
    """The profile of rules that ship with Fiducial."""
    roles: list[str]
    digest: str
    """Of the whole charter; a session names the one it began with."""
    owners: dict[str, Any]
    clauses: list[dict[str, Any]]
    """As they were written, what is left at its default left out."""


class Contracts(msgspec.Struct, frozen=True):
    """What the tools can do."""

    contracts: dict[str, dict[str, Any]]
    """Tool → contract, as it was written."""


class Policies(msgspec.Struct, frozen=True):
    """The rules in force, the charter's and the baseline's."""

    policies: list[Written]


def charter(visit: Visit) -> Described:
    shown = visit.services.charter
    about = shown.about
    return Described(
        agent=about.agent,
        purpose=about.purpose,
        tier=str(about.tier.value),
        baseline=about.baseline,
        roles=sorted(about.roles),
        digest=shown.digest,
        owners=about.owners.model_dump(mode="json"),
        clauses=[clause.model_dump(mode="json", exclude_defaults=True) for clause in shown.clauses],
    )


def contracts(visit: Visit) -> Contracts:
    shown = visit.services.charter.contracts
    return Contracts({name: each.model_dump(mode="json", exclude_defaults=True) for name, each in shown.items()})


def policies(visit: Visit) -> Policies:
    return Policies([written(rule) for rule in visit.services.rulebook.rules])


OPERATIONS: Mapping[str, Operation] = {
    "GET /api/v1/charter": Operation(run=charter, summary="What is intended", gives=Described),
    "GET /api/v1/contracts": Operation(run=contracts, summary="What the tools can do", gives=Contracts),
    "GET /api/v1/policies": Operation(run=policies, summary="The rules in force", gives=Policies),
}
"""Method and path → what it does."""

__all__ = ["OPERATIONS"]
