"""Literals: which strings mean something at which place of the context.

Cedar's validator knows that `context.flow.untrusted_targets` is a set of strings, not which strings. A misspelt one
makes a rule that never fires, so each is looked up here. The table is the documentation's too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.contracts import Audience, Effect, Kind, Role
from fiducial.charter.model import RESPOND, Charter, Tier
from fiducial.policy.schema import DOMAINS, RESERVED, ContextPath, ToolType

BUILT_IN_ROLES = ("operator", "user")
"""Roles that every charter has: who runs the agent, and on whose behalf it acts."""
AUTHORITIES = ("system", "operator", "user", "agent", "tool", "none")
"""Who speaks, highest authority first; `none`: nobody."""
RISK_FACTORS = (
    "untrusted-target",
    "unknown-target",
    "composed-target",
    "sensitive-data",
    "wide-audience",
    "novel-target",
    "not-asked",
    "unsure",
    "guessed-contract",
    "credential-act",
    "irreversible",
)
"""What can raise a risk level."""
SESSION_BUDGETS = ("session-calls", "session-writes", "session-records", "session-spend")
"""Budgets of a session; rate windows have names of their own."""

_Names = Callable[[Charter, Iterable[ToolType]], Iterable[str]]


class Family(msgspec.Struct, frozen=True):
    """Strings of one meaning."""

    what: str
    """In words, for problems: `a target parameter`."""
    names: _Names
    """The strings, given the charter and the tools to which a policy applies."""


def _parameters(*roles: Role) -> _Names:
    def names(_: Charter, tools: Iterable[ToolType]) -> Iterable[str]:
        for tool in tools:
            for name, parameter in tool.contract.parameters.items():
                if not roles or parameter.role in roles:
                    yield name

    return names


def _fixed(*values: str) -> _Names:
    return lambda _charter, _tools: values


_PARAMETER = Family("a parameter of a tool that it applies to", _parameters())
_TARGET = Family("a target parameter of a tool that it applies to", _parameters(Role.TARGET))
_MAGNITUDE = Family("a magnitude parameter of a tool that it applies to", _parameters(Role.MAGNITUDE))
_CONTENT = Family("a content parameter of a tool that it applies to", _parameters(Role.CONTENT))
_OPTION = Family("an option parameter of a tool that it applies to", _parameters(Role.OPTION))
_CLASS = Family("a data class", lambda charter, _: (*BUILT_IN_CLASSES, *charter.about.data_classes))
_TOOL = Family("a tool of the charter", lambda charter, _: (*charter.contracts, RESPOND))
_KIND = Family("a kind of act", _fixed(*Kind))
_AUTHORITY = Family("an authority", _fixed(*AUTHORITIES))
_BUDGET = Family(
    "a budget or rate window",
    lambda charter, _: (*SESSION_BUDGETS, *(window.name for window in charter.about.budgets.windows)),
)

_BY_PATH: Mapping[ContextPath, Family] = {
    ("flow", "links"): _CONTENT,
    ("flow", "untrusted_content"): _CONTENT,
    ("flow", "untrusted_options"): _OPTION,
    ("flow", "classes"): _CLASS,
    ("flow", "audience"): Family("an audience", _fixed(*Audience)),
    ("session", "read"): _CLASS,
    ("session", "done"): _KIND,
    ("session", "exceeds"): _BUDGET,
    ("intent", "bound_elsewhere"): _PARAMETER,
    ("intent", "requested_by"): _AUTHORITY,
    ("intent", "forbidden_by"): _AUTHORITY,
    ("proposal", "tools"): _TOOL,
    ("proposal", "effects"): Family("an effect", _fixed(*Effect)),
    ("proposal", "kinds"): _KIND,
    ("proposal", "unbounded"): _TOOL,
    ("proposal", "impossible"): _TOOL,
    ("risk", "factors"): Family("a risk factor", _fixed(*RISK_FACTORS)),
    ("agent", "id"): Family("the agent of this charter", lambda charter, _: (charter.about.agent,)),
    ("agent", "tier"): Family("a tier", _fixed(*Tier)),
    ("answer", "domain"): Family("a domain of answers", _fixed(*DOMAINS)),
}


def family(path: ContextPath) -> Family | None:
    """What strings mean at `path` of the facts; `None` where any string is as good."""
    found = _BY_PATH.get(path)
    if found is None and len(path) == 2 and path[0] == "flow":
        if path[1].endswith("_targets"):
            return _TARGET
        if path[1].endswith("_magnitudes"):
            return _MAGNITUDE
    return found


def roles(charter: Charter) -> tuple[str, ...]:
    """Every role that a policy may name."""
    return (*BUILT_IN_ROLES, *charter.about.roles)


def input_strings(path: ContextPath, tools: Iterable[ToolType]) -> frozenset[str] | None:
    """The strings that `context.input…` can be at `path` for `tools`; `None`: any, or no string, for one of them."""
    found: set[str] = set()
    for tool in tools:
        at = tool.context.at(path)
        at = at.element if at is not None and at.element is not None else at
        if at is not None:
            if at.enum is None:
                return None
            found |= at.enum
    return frozenset(found)


def left_out(path: ContextPath, tools: Iterable[ToolType]) -> str | None:
    """Why a declared parameter has no place in `context.input`; `None` when no tool has it."""
    if len(path) < 2 or path[0] != "input" or not any(path[1] in tool.contract.parameters for tool in tools):
        return None
    if path[1] in RESERVED:
        return "Cedar reserves that name; rename the parameter"
    return "its type has no form in Cedar: only facts about it reach policies"
