"""Contracts: what one tool can do, stated without reference to any task.

A contract says what effect the tool has, what kind of act that is, what each parameter means, which parts of its
output third parties can write, and by what words users ask for it. It never says when the tool may be used: that is
for policies. What a contract leaves out is taken at its worst: what it does not call the tool's own in an output could
have been written by a third party, an undeclared parameter is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fiducial.charter.schema import ANNOTATIONS, KEYWORDS, shape
from fiducial.core.path import PathPattern

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    """`30s`, `5m`, `2h`, `7d` as a duration. ISO 8601 (`PT30S`) passes; a bare number has no unit and is refused."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)", value)):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if isinstance(value, timedelta) or (isinstance(value, str) and value.startswith("P")):
        return value
    raise ValueError("must be a duration with its unit, such as `30s`, `5m`, `2h`, `7d` or `PT30S`")


DURATION = BeforeValidator(_duration)
"""Reads durations as people write them; goes last in the annotation of a `timedelta`."""


class _Written(BaseModel):
    """What people write: unknown keys are refused, values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Effect(StrEnum):
    """What remains after the tool has run, mildest first."""

    READ = "read"
    """Nothing changes, for anyone."""
    REVERSIBLE = "reversible"
    """Something changes and can be put back exactly."""
    COMPENSABLE = "compensable"
    """Something changes and can be made good, such as cancelling a booking."""
    IRREVERSIBLE = "irreversible"
    """Something changes that cannot be undone, such as a message that was read."""


class Kind(StrEnum):
    """What kind of act a tool performs; the baseline has a rule for each that changes something."""

    READ = "read"
    """Look up records of one's own."""
    FETCH = "fetch"
    """Read from an address that the caller chooses, such as a web page: the request itself can carry data out."""
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SEND = "send"
    """A message to particular people."""
    PUBLISH = "publish"
    """To an audience nobody can list."""
    PAY = "pay"
    """Moves money, or commits to."""
    BOOK = "book"
    """Reserves or orders something that may cost."""
    GRANT = "grant"
    """Gives access: invitations, permissions, memberships, shares."""
    REVOKE = "revoke"
    """Takes access away."""
    AUTHENTICATE = "authenticate"
    """Signs in, or proves who the user is."""
    CREDENTIAL = "credential"
    """Changes a password, key or recovery address."""
    DEPLOY = "deploy"
    EXECUTE = "execute"
    """Runs code or commands."""
    RESPOND = "respond"
    """Answers the user; the built-in tool."""


class Role(StrEnum):
    """What a parameter means for the effect."""

    TARGET = "target"
    """Where or on whom the tool acts."""
    MAGNITUDE = "magnitude"
    """How much, how many, or when."""
    CONTENT = "content"
    """What is written or sent."""
    OPTION = "option"
    """How; also what a read filters by."""


class Audience(StrEnum):
    """Who gets to see what the call carries, narrowest first."""

    SELF = "self"
    ORGANIZATION = "organization"
    THIRD_PARTY = "third_party"
    PUBLIC = "public"


class Parameter(_Written):
    """One parameter of a tool."""

    role: Annotated[Role, Field(strict=False)]
    """What it means for the effect."""
    schema_: dict[str, Any] = Field(default_factory=lambda: {"type": "string"}, alias="schema")
    """JSON Schema of the value; only the keywords listed in `fiducial.charter.schema` are understood."""
    required: bool = True
    """Whether a call without it is refused."""
    unit: str | None = None
    """For a magnitude: `USD`, `items`, `time` …; money has an ISO 4217 code."""
    entity: str | None = None
    """What the value names: `email`, `url`, `account`, `person`, `file`, `id` …; free text, for explanations."""
    classes: tuple[str, ...] = ()
    """Data classes that the value holds whatever it is."""
    grounded: bool = False
    """For content: what it says must stand in what was observed; policies see it in `context.flow.ungrounded`."""
    guessed: bool = False
    """True when inferred and not confirmed by a person."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        """`type: string` and other keywords of the schema may stand on the parameter itself."""
        if not isinstance(value, Mapping):
            return value
        short = {key: value[key] for key in value if key in _SHORTHAND}
        if not short:
            return value
        if "schema" in value or "schema_" in value:
            raise ValueError(f"has `{min(short)}` beside `schema`: move it into the schema")
        return {**{key: value[key] for key in value if key not in short}, "schema": short}

    @field_validator("classes", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("schema_")
    @classmethod
    def _understood(cls, value: dict[str, Any]) -> dict[str, Any]:
        shape(value)
        return value


_SHORTHAND = (KEYWORDS | ANNOTATIONS) - Parameter.model_fields.keys()
"""Keywords that may stand on a parameter; `required` there says whether the parameter is."""


class Output(_Written):
    """What comes back from a tool."""

    trusted: tuple[str, ...] = ()
    """Paths (`fiducial.core.path`) of the tool's own records; a third party could have written all the rest."""
    prose: tuple[str, ...] = ()
    """Paths whose short values are records (ids, names, numbers) but whose longer text anyone could have written."""
    untrusted: tuple[str, ...] = ()
    """Paths under `trusted` or `prose` that a third party could have written after all."""
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Data class → the paths that hold it."""
    records: str | None = None
    """Path of the list whose length counts as records read; `None`: a top-level list, else 1."""
    documents: str | None = None
    """Path of the ids by which answers cite documents, such as `$[*].id`: what the last wildcard of it goes through are
    the documents, each a source with a name; `None`: the result is one source."""

    @model_validator(mode="before")
    @classmethod
    def _turned_round(cls, value: object) -> object:
        if isinstance(value, Mapping) and "third_party_writable" in value:
            raise ValueError(
                "has `third_party_writable`, which would trust what it does not list: "
                "list the tool's own records under `trusted`, and drop it"
            )
        return value

    @field_validator("trusted", "prose", "untrusted", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _tuples(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: tuple(paths) if isinstance(paths, list) else paths for key, paths in value.items()}
        return value

    @model_validator(mode="after")
    def _paths(self) -> Self:
        listed = [*self.trusted, *self.prose, *self.untrusted, *(p for paths in self.classes.values() for p in paths)]
        for path in listed + [path for path in (self.records, self.documents) if path]:
            PathPattern(path)
        if self.documents is not None and ".." in self.documents:
            raise ValueError("`documents` must not have `..`: which part is the document could not be told")
        return self


class Memory(_Written):
    """That a tool keeps what later calls bring back, or brings it back."""

    of: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    """Name of the memory, from `memories` in charter.yaml; the tools of one memory have the same."""
    at: tuple[str, ...] = ("$",)
    """For a tool that reads: paths of the texts that it brings back. One that changes something keeps its content."""

    @field_validator("at", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _paths(self) -> Self:
        for path in self.at:
            PathPattern(path)
        return self


class Probe(_Written):
    """Another tool that is called around this one: a preview before the decision, or a post-condition after it.

    Argument values are templates: `$arguments.name`, `$result.path` (post-conditions only), or a constant.
    """

    tool: str
    """Name of a tool whose contract has the effect `read`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments, as templates."""
    expect: dict[str, Any] = Field(default_factory=dict)
    """Post-condition: path in the probe's result → the value (a template) that must stand there."""
    facts: dict[Literal["rows", "recipients", "cost"], str] = Field(default_factory=dict)
    """Preview: fact → path in the probe's result that holds it, a number or a list to count."""
    timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(seconds=60), strict=False), DURATION] = timedelta(
        seconds=5
    )
    """Longest it may take; past it the fact is unknown and the call is not allowed by it."""


class Undo(_Written):
    """How the effect is taken back; run by `fiducial undo`."""

    tool: str
    """Name of the tool that takes it back."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Templates over `$arguments` and `$result`."""
    within: Annotated[timedelta, Field(gt=timedelta(0), strict=False), DURATION] | None = None
    """How long after the call it works; `None`: always."""
    idempotent: bool = False
    """Running it does no harm when there is nothing to take back, or when it has run before."""


class Capture(_Written):
    """What the call is about to change, kept before it runs; `fiducial undo` puts it back."""

    driver: str
    """Name under which the host registered what takes it and puts it back; see `fiducial.oversight.captures`."""
    tool: str
    """Name of the tool as which putting it back is decided; its contract says who may."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What is captured, and the arguments of that tool: templates over `$arguments`."""
    optional: bool = False
    """Whether the call runs when it cannot be taken."""
    timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(seconds=60), strict=False), DURATION] = timedelta(
        seconds=5
    )
    """Longest that taking it may last."""


class Contract(_Written):
    """What one tool can do."""

    effect: Annotated[Effect, Field(strict=False)]
    """What remains after it has run."""
    kind: Annotated[Kind, Field(strict=False)]
    """What kind of act it is."""
    description: str = ""
    """What the tool does, in a sentence."""
    server: str = "local"
    """The tool's server or system: Cedar's resource."""
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """Parameter name → what it means; others are refused."""
    output: Output = Output()
    """What comes back."""
    memory: Memory | None = None
    """It stores into a memory of the agent's, or recalls from one."""
    audience: Annotated[Audience, Field(strict=False)] = Audience.SELF
    """Who gets to see the arguments."""
    asked_by: tuple[str, ...] = ()
    """Phrases by which users ask for the effect; see `fiducial.guard.intent`. Empty: cannot be told from words."""
    cost: str | None = None
    """Name of the magnitude parameter that is spent; its unit must be a currency."""
    preview: Probe | None = None
    """A read that is run before the decision, to tell how much is at stake."""
    postcondition: Probe | None = None
    """An independent read that confirms the outcome."""
    undo: Undo | None = None
    """How the effect is taken back."""
    capture: Capture | None = None
    """What is kept of the state before, to be put back; instead of `undo`."""
    timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(hours=24), strict=False), DURATION] = timedelta(
        seconds=60
    )
    """Longest a run may take; past it the outcome is unknown."""
    idempotency_key: str | None = None
    """Parameter that carries a key by which the tool ignores repeats; `None`: never retried."""
    guessed: bool = False
    """True when inferred and not confirmed by a person."""

    @field_validator("asked_by", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value
