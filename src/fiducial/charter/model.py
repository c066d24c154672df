"""The charter's own nouns: who, what for, and the sentences of intent."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from fiducial.charter.contracts import Contract, _Written
from fiducial.core.ids import Digest


class Tier(StrEnum):
    """What a release may do."""

    CHAT = "chat"
    READ = "read"
    WRITE = "write"
    AUTONOMOUS = "autonomous"


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Clause(_Written):
    """One sentence of intent with one formal condition."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    statement: str = Field(min_length=1)
    """The sentence, as people agreed to it."""
    source: str = ""
    """Where it comes from: law, contract, policy, postmortem."""
    harmed: tuple[str, ...] = ()
    """Who is harmed when it is broken."""
    severity: Annotated[Severity, Field(strict=False)] = Severity.HIGH
    owner: str = Field(min_length=1)
    """Who answers for it."""
    contest: str = ""
    """How those affected can contest it."""
    tools: tuple[str, ...] = ()
    """Tools, effects or kinds it is about; empty: all."""
    never: str | None = None
    """Cedar condition that no allowed request may meet."""
    never_without_approval: str | None = None
    """Cedar condition that needs the approval of `approval` to be allowed."""
    approval: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]*(:[1-9]\d*)?$")
    """Role and quorum, such as `finance-lead:2`; goes with `never_without_approval`."""
    measures: tuple[str, ...] = ()
    """Metrics that carry a clause that cannot be formal."""
    policies: tuple[str, ...] = ()
    """Ids of the authored policies that encode it."""
    scenarios: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ()

    _tuples = field_validator("harmed", "tools", "measures", "policies", "scenarios", "monitors", mode="before")(
        _as_tuple
    )

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if self.never and self.never_without_approval:
            raise ValueError("has both `never` and `never_without_approval`: keep one, or make it two clauses")
        if bool(self.never_without_approval) != bool(self.approval):
            raise ValueError("`never_without_approval` and `approval` go together")
        if not (self.never or self.never_without_approval or self.measures):
            raise ValueError("has no condition and no `measures`: nothing could ever show that it is kept or broken")
        return self


class Owners(_Written):
    """RACI."""

    responsible: str = Field(min_length=1)
    accountable: str = Field(min_length=1)
    consulted: tuple[str, ...] = ()
    informed: tuple[str, ...] = ()

    _tuples = field_validator("consulted", "informed", mode="before")(_as_tuple)


class SessionBudget(_Written):
    """What one session may use up; `None`: no limit."""

    calls: int | None = Field(default=None, gt=0)
    writes: int | None = Field(default=None, gt=0)
    records: int | None = Field(default=None, gt=0)
    spend: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """ISO 4217 code → minor units."""


class RateWindow(_Written):
    """What may be used up in a sliding stretch of time, across sessions."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    per: Literal["user", "agent", "all"] = "user"
    of: Literal["calls", "writes", "records", "spend"] = "calls"
    currency: str | None = None
    """ISO 4217 code, with `of: spend`."""
    tools: tuple[str, ...] = ()
    """Tools, effects or kinds that count; empty: all."""
    window: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=timedelta(days=366), strict=False)]
    limit: int = Field(gt=0)
    """Calls, records or minor units."""

    _tuples = field_validator("tools", mode="before")(_as_tuple)


class Budgets(_Written):
    session: SessionBudget = SessionBudget()
    windows: tuple[RateWindow, ...] = ()

    _tuples = field_validator("windows", mode="before")(_as_tuple)


class About(_Written):
    """`charter.yaml`."""

    agent: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    purpose: str = ""
    """One sentence: what the agent is for."""
    owners: Owners
    tier: Annotated[Tier, Field(strict=False)] = Tier.WRITE
    baseline: Literal["balanced", "strict", "none"] = "balanced"
    """The profile of rules that ship with Fiducial."""
    roles: tuple[str, ...] = ()
    """Roles that users and approvers may have; a policy that names another is refused."""
    data_classes: tuple[str, ...] = ()
    """Data classes beyond the built-in ones."""
    organization: tuple[str, ...] = ()
    """Mail domains and hosts that count as inside."""
    minimum_confidence: float = Field(default=0.5, ge=0, le=1, strict=False)
    """An agent that says it is less sure than this, and is about to change something, is stopped to ask."""
    budgets: Budgets = Budgets()
    session_memory: int = Field(default=64 * 2**20, ge=2**20)
    """Bytes of provenance index a session may use; past it values become unknown, never trusted."""
    retention: Annotated[timedelta, Field(gt=timedelta(0), strict=False)] | None = None
    """How long payloads are kept; `None`: until erased."""
    models: tuple[dict[str, Any], ...] = ()
    skills: tuple[dict[str, Any], ...] = ()
    mcp_servers: tuple[dict[str, Any], ...] = ()

    _tuples = field_validator(
        "roles", "data_classes", "organization", "models", "skills", "mcp_servers", mode="before"
    )(_as_tuple)


class Given(_Written):
    """What a case's session has seen before the call."""

    user: str = "someone"
    roles: tuple[str, ...] = ()
    task: str | None = None
    system: str | None = None
    plan: tuple[str, ...] | None = None
    observed: tuple[Observed, ...] = ()
    approvals: tuple[str, ...] = ()
    """Ids of policies that count as approved."""

    _tuples = field_validator("roles", "plan", "observed", "approvals", mode="before")(_as_tuple)


class Observed(_Written):
    """A tool result that the session has seen."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    result: Any = None


class Asked(_Written):
    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    confidence: float | None = None


class Expected(_Written):
    """What the case must come to; what is not given is not checked."""

    verdict: Literal["allowed", "held", "unclear", "denied"]
    policies: tuple[str, ...] | None = None
    """Exactly the policies that fired, in any order."""
    fault: str | None = None

    _tuples = field_validator("policies", mode="before")(_as_tuple)


class Case(_Written):
    """One request and the verdict it must get: the charter's own unit test."""

    name: str = Field(min_length=1)
    given: Given = Given()
    call: Asked
    expect: Expected


class PolicySource(_Written):
    """One `policies/*.cedar` file."""

    file: str
    text: str


class Charter(_Written):
    """One agent's charter, whole and checked.

    Build it with `fiducial.load_charter` or `Charter.from_tools`; the constructor checks types only.
    """

    about: About
    contracts: dict[str, Contract]
    clauses: tuple[Clause, ...] = ()
    policies: tuple[PolicySource, ...] = ()
    cases: tuple[Case, ...] = ()
    digest: Digest
    """Of everything in it, so that equal charters have equal digests wherever they were read from."""


Given.model_rebuild()
