"""The charter's own nouns: who, what for, and the sentences of intent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, ValidationError, field_validator, model_validator

from fiducial.charter.contracts import DURATION, Contract, _Written
from fiducial.charter.digest import charter_digest
from fiducial.charter.findings import quote
from fiducial.charter.forms import Form
from fiducial.charter.infer import infer_contracts
from fiducial.charter.recognition import Recognition
from fiducial.core.ids import Digest
from fiducial.errors import CharterError, Problem


class Tier(StrEnum):
    """What a release may do."""

    CHAT = "chat"
    READ = "read"
    WRITE = "write"
    AUTONOMOUS = "autonomous"


class Severity(StrEnum):
    """How bad it is when a clause is broken."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")


def _domain(value: str) -> str:
    """A domain that an address can have. Any other stands for nobody, or, when it is empty, for everybody."""
    if _DOMAIN.fullmatch(value) is None:
        raise ValueError(f"must be a domain such as `corp.example`: {quote(value)} is none")
    return value


def _some(forms: tuple[Form, ...]) -> tuple[Form, ...]:
    if not forms:
        raise ValueError("is empty: give a form, or drop it")
    return forms


class Clause(_Written):
    """One sentence of intent with one formal condition."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    """By which policies, verdicts and reports name it."""
    statement: str = Field(min_length=1)
    """The sentence, as people agreed to it."""
    source: str = ""
    """Where it comes from: law, contract, policy, postmortem."""
    harmed: tuple[str, ...] = ()
    """Who is harmed when it is broken."""
    severity: Annotated[Severity, Field(strict=False)] = Severity.HIGH
    """How bad it is when it is broken."""
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
    """Evals that try to make an agent break it."""
    monitors: tuple[str, ...] = ()
    """What watches for it in production."""

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
    """Who does the work."""
    accountable: str = Field(min_length=1)
    """Who answers for it."""
    consulted: tuple[str, ...] = ()
    """Who is asked before a change."""
    informed: tuple[str, ...] = ()
    """Who is told after one."""

    _tuples = field_validator("consulted", "informed", mode="before")(_as_tuple)


class SessionBudget(_Written):
    """What one session may use up; `None`: no limit."""

    calls: int | None = Field(default=None, gt=0)
    """Calls decided as allowed."""
    writes: int | None = Field(default=None, gt=0)
    """Calls with a side effect."""
    records: int | None = Field(default=None, gt=0)
    """Records read."""
    spend: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """ISO 4217 code → minor units."""


class RateWindow(_Written):
    """What may be used up in a sliding stretch of time, across sessions."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """By which `context.session.exceeds` names it."""
    per: Literal["user", "agent", "all"] = "user"
    """Whose use is counted together."""
    of: Literal["calls", "writes", "records", "spend"] = "calls"
    """What is counted."""
    currency: str | None = None
    """ISO 4217 code, with `of: spend`."""
    tools: tuple[str, ...] = ()
    """Tools, effects or kinds that count; empty: all."""
    window: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=timedelta(days=366), strict=False), DURATION]
    """How far back it counts."""
    limit: int = Field(gt=0)
    """Calls, records or minor units."""

    _tuples = field_validator("tools", mode="before")(_as_tuple)


class Budgets(_Written):
    """What may be used up, in a session and across sessions."""

    session: SessionBudget = SessionBudget()
    """Limits of one session."""
    windows: tuple[RateWindow, ...] = ()
    """Limits across sessions."""

    _tuples = field_validator("windows", mode="before")(_as_tuple)


class Oversight(_Written):
    """How long people have, and who is asked when they do not answer."""

    expires: Annotated[timedelta, Field(gt=timedelta(0), strict=False), DURATION] = timedelta(hours=24)
    """Unanswered by then, a request is refused."""
    valid: Annotated[timedelta, Field(gt=timedelta(0), strict=False), DURATION] = timedelta(hours=1)
    """How long an approval may be used."""
    escalate_after: Annotated[timedelta, Field(gt=timedelta(0), strict=False), DURATION] | None = None
    """Unanswered by then, the role `escalate_to` is asked instead."""
    escalate_to: str | None = None
    """A role of the charter."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.escalate_after is None) != (self.escalate_to is None):
            raise ValueError("`escalate_after` and `escalate_to` go together")
        if self.escalate_after is not None and self.escalate_after >= self.expires:
            raise ValueError("`escalate_after` must be shorter than `expires`")
        return self


class Memories(_Written):
    """One memory that the agent's tools keep."""

    expires: Annotated[timedelta, Field(gt=timedelta(0), strict=False), DURATION]
    """How long what was stored counts; after that it is as if it had never been stored."""
    audience: Literal["self", "organization"] = "self"
    """`self`: what a user's sessions store comes back to that user alone. `organization`: to every user."""
    trust: Literal["self", "organization"] = "self"
    """Whose words keep their trust: `self`: to each user, his own. `organization`: to all, those of all users."""

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.trust == "organization" and self.audience == "self":
            raise ValueError("`trust: organization` is for a memory whose `audience` is `organization`")
        return self


class About(_Written):
    """`charter.yaml`."""

    agent: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    """The agent's id."""
    purpose: str = ""
    """One sentence: what the agent is for."""
    owners: Owners
    """Who answers for the agent."""
    tier: Annotated[Tier, Field(strict=False)] = Tier.WRITE
    """What the agent may do at most."""
    baseline: Literal["balanced", "strict", "none"] = "balanced"
    """The profile of rules that ship with Fiducial."""
    roles: tuple[str, ...] = ()
    """Roles that users and approvers may have; a policy that names another is refused."""
    data_classes: tuple[str, ...] = ()
    """Data classes beyond the built-in ones."""
    detect: dict[str, Annotated[tuple[Form, ...], AfterValidator(_some)]] = Field(default_factory=dict)
    """Data class → the forms by which its values are told from text, beside those that are known without."""
    recognize: Recognition | None = Field(default=None, exclude_if=lambda given: given is None)
    """Names are told from text too, by a model; `None`: what has no form is not."""
    organization: tuple[Annotated[str, AfterValidator(_domain)], ...] = ()
    """Mail domains and hosts that count as inside."""
    oversight: Oversight = Oversight()
    """How people are asked."""
    minimum_confidence: float = Field(default=0.5, ge=0, le=1, strict=False)
    """An agent that says it is less sure than this, and is about to change something, is stopped to ask."""
    budgets: Budgets = Budgets()
    """What may be used up."""
    session_memory: int = Field(default=64 * 2**20, ge=2**20)
    """Bytes of provenance index a session may use; past it values become unknown, never trusted."""
    memories: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")], Memories] = Field(default_factory=dict)
    """Name → a memory that contracts store into and recall from."""
    retention: Annotated[timedelta, Field(gt=timedelta(0), strict=False), DURATION] | None = None
    """How long payloads are kept; `None`: until erased."""
    models: tuple[dict[str, Any], ...] = ()
    """Models the agent runs on, as the operator describes them."""
    skills: tuple[dict[str, Any], ...] = ()
    """Skills the agent has, as the operator describes them."""
    mcp_servers: tuple[dict[str, Any], ...] = ()
    """MCP servers the agent reaches, as the operator describes them."""

    _tuples = field_validator(
        "roles", "data_classes", "organization", "models", "skills", "mcp_servers", mode="before"
    )(_as_tuple)

    @field_validator("detect", mode="before")
    @classmethod
    def _forms(cls, value: object) -> object:
        return {name: _as_tuple(forms) for name, forms in value.items()} if isinstance(value, dict) else value


class GivenStep(_Written):
    """One step of a plan."""

    tool: str
    """What is called."""
    bounds: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Parameter → its one bound: `equals`, `one_of`, `at_most` or `anything`; others are left open."""
    uses: int = 1
    """How often at most."""


class GivenPlan(_Written):
    """A plan with bounds, as `fiducial.guard.plans` takes it."""

    steps: tuple[GivenStep, ...] = ()
    """What may be done."""
    ordered: bool = False
    """Whether the steps come one after another."""

    _tuples = field_validator("steps", mode="before")(_as_tuple)

    @model_validator(mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """A list of names of tools: each may be used as often as it is named, in any order."""
        return {"steps": [{"tool": name} for name in value]} if isinstance(value, list) else value


class Given(_Written):
    """What a case's session has seen before the call."""

    user: str = "someone"
    """On whose behalf."""
    roles: tuple[str, ...] = ()
    """The user's roles."""
    task: str | None = None
    """What the user said first."""
    system: str | None = None
    """The system prompt."""
    plan: GivenPlan | None = None
    """The plan declared beforehand; a list of names of tools is one, too."""
    observed: tuple[Observed, ...] = ()
    """Tool results seen before the call, in order."""
    approvals: tuple[str, ...] = ()
    """Ids of policies that count as approved."""
    preview: dict[Literal["rows", "recipients", "cost"], NonNegativeInt] | None = None
    """What the contract's preview finds; without it, a preview fails."""

    _tuples = field_validator("roles", "observed", "approvals", mode="before")(_as_tuple)


class Observed(_Written):
    """A tool result that the session has seen."""

    tool: str
    """Where it came from."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What was asked."""
    result: Any = None
    """What came back."""


class Asked(_Written):
    """The call that a case is about."""

    tool: str
    """What is called."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """With what."""
    confidence: float | None = None
    """The agent's own, 0 to 1; `None` when it gave none."""


class Expected(_Written):
    """What the case must come to; what is not given is not checked."""

    verdict: Literal["allowed", "held", "unclear", "denied"]
    """Its kind."""
    policies: tuple[str, ...] | None = None
    """Exactly the policies that fired, in any order."""
    fault: str | None = None
    """The fault that denied it; see the errors page."""

    _tuples = field_validator("policies", mode="before")(_as_tuple)


class Case(_Written):
    """One request and the verdict it must get: the charter's own unit test."""

    name: str = Field(min_length=1)
    """What the case is about."""
    given: Given = Given()
    """What came before."""
    call: Asked
    """The call to decide."""
    expect: Expected
    """What it must come to."""


class PolicySource(_Written):
    """One `policies/*.cedar` file."""

    file: str
    """Path in the charter's directory."""
    text: str
    """What stands in it."""


BUILT_IN_ROLES = ("operator", "user")
"""Roles that every charter has, declared or not: who runs the agent, and on whose behalf it acts."""

RESPOND = "respond"
"""The built-in tool by which an agent answers."""
DECLARE_PLAN = "declare_plan"
"""The built-in tool by which an agent says what it is going to do."""
BUILT_IN = (RESPOND, DECLARE_PLAN)
"""Tools that every agent has; their names are taken."""

PERMIT = """@id("charter/permit-declared")
permit (principal, action in Action::"declared", resource);
"""
"""Whoever uses the agent may use its tools, less what other policies take away."""


class Charter(_Written):
    """One agent's charter, whole and checked.

    Build it with `fiducial.load_charter` or `Charter.from_tools`; the constructor checks types only.
    """

    about: About
    contracts: dict[str, Contract]
    clauses: tuple[Clause, ...] = ()
    policies: tuple[PolicySource, ...] = ()
    cases: tuple[Case, ...] = ()
    companions: dict[str, Digest] = Field(default_factory=dict)
    """Files that other layers read (prompts, constitution, metrics, scenarios) → digest of their content."""
    digest: Digest
    """Of everything in it, so that equal charters have equal digests wherever they were read from."""

    @classmethod
    def build(
        cls,
        about: About,
        contracts: Mapping[str, Contract],
        clauses: Sequence[Clause] = (),
        policies: Sequence[PolicySource] = (),
        cases: Sequence[Case] = (),
        companions: Mapping[str, Digest] | None = None,
    ) -> Self:
        """A charter of parts that were checked elsewhere, with its digest."""
        held = dict(companions or {})
        return cls(
            about=about,
            contracts=dict(contracts),
            clauses=tuple(clauses),
            policies=tuple(policies),
            cases=tuple(cases),
            companions=held,
            digest=charter_digest(about, contracts, clauses, policies, cases, held),
        )

    @classmethod
    def from_tools(cls, tools: object, *, agent: str = "agent", server: str = "local") -> Charter:
        """A whole charter, erring to the safe side, for tools that nobody has described yet.

        `tools`: an MCP `tools/list` result, a list of tools or of objects with `name`, `description` and `inputSchema`,
        or an OpenAPI 3 document. Contracts are inferred and marked as guessed; the baseline is `balanced`, the tier
        `write`; declared tools are permitted to everyone, less what the baseline takes away. Raises `CharterError`.
        """
        try:
            about = About(agent=agent, owners=Owners(responsible="unassigned", accountable="unassigned"))
        except ValidationError:
            message = f"{quote(agent)} is no agent's id"
            fix = "use lower-case letters, digits and hyphens, at most 64"
            raise CharterError([Problem("", 0, "invalid-value", message, fix)]) from None
        contracts = infer_contracts(tools, server=server)
        if taken := [name for name in BUILT_IN if name in contracts]:
            message = f"the name `{taken[0]}` is taken by a built-in tool"
            raise CharterError([Problem("", 0, "reserved-name", message, "rename the tool")])
        return Charter.build(about, contracts, policies=(PolicySource(file="policies/permit.cedar", text=PERMIT),))

    def with_baseline(self, baseline: Literal["balanced", "strict", "none"]) -> Charter:
        """The same charter under another profile of the baseline; its digest differs."""
        about = About.model_validate({**dict(self.about), "baseline": baseline})
        return Charter.build(about, self.contracts, self.clauses, self.policies, self.cases, self.companions)


Given.model_rebuild()
