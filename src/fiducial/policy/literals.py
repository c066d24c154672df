"""Literals: which strings and numbers mean something at which place of the context.

Cedar's validator knows that `context.flow.untrusted_targets` is a set of strings, not which strings. A misspelt one
makes a rule that never fires, so each is looked up here. So does a pattern that none of them fits, and a number that
a fact never reaches. The table is the documentation's too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import re2

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.contracts import Audience, Effect, Kind, Role
from fiducial.charter.model import RESPOND, Charter, Tier
from fiducial.policy import est
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
CLAIM_KINDS = ("number", "date", "name", "identifier", "address", "quotation", "statement")
"""What a text can claim."""
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


def _grounded(_: Charter, tools: Iterable[ToolType]) -> Iterable[str]:
    for tool in tools:
        for name, parameter in tool.contract.parameters.items():
            if parameter.grounded:
                yield name


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
    ("flow", "ungrounded"): Family("a grounded parameter of a tool that it applies to", _grounded),
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
    ("grounding", "kinds"): Family("a kind of claim", _fixed(*CLAIM_KINDS)),
}


class Range(msgspec.Struct, frozen=True):
    """The whole numbers that a fact can be."""

    low: int
    high: int | None = None

    def __str__(self) -> str:
        return f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"


_COUNT = Range(0)
RANGES: Mapping[ContextPath, Range] = {
    ("session", "calls"): _COUNT,
    ("session", "writes"): _COUNT,
    ("session", "records"): _COUNT,
    ("session", "spent"): _COUNT,
    ("proposal", "uses"): _COUNT,
    ("risk", "level"): Range(0, 4),
    ("grounding", "claims"): _COUNT,
    ("grounding", "ungrounded"): _COUNT,
    ("grounding", "uncited"): _COUNT,
    ("grounding", "citations"): _COUNT,
    ("grounding", "unknown_citations"): _COUNT,
    ("grounding", "misplaced_citations"): _COUNT,
    ("agent", "confidence"): Range(-1, 100),
}
_COMPARED: Mapping[str, tuple[Callable[[int, int], bool], str]] = {
    "==": (operator.eq, "=="),
    "!=": (operator.ne, "!="),
    "<": (operator.lt, ">"),
    "<=": (operator.le, ">="),
    ">": (operator.gt, "<"),
    ">=": (operator.ge, "<="),
}
"""Operator → what it does, and how it is written with its sides exchanged."""


class Pattern(msgspec.Struct, frozen=True):
    """What stands behind a `like`."""

    text: str
    """As it is written."""
    regex: str

    def fits(self, texts: Iterable[str]) -> bool:
        """Whether it fits one of `texts`."""
        return any(re2.fullmatch(self.regex, text) for text in texts)


def patterns(policy: est.Policy) -> Iterator[tuple[ContextPath, Pattern]]:
    """Every pattern that the value at a context path is compared with."""
    for body in est.bodies(policy):
        for node in est.walk(body):
            like = node.get("like")
            path = est.context_path(like["left"]) if like is not None else None
            if like is not None and path is not None:
                parts = [None if part == "Wildcard" else part["Literal"] for part in like["pattern"]]
                text = "".join("*" if part is None else part.replace("*", r"\*") for part in parts)
                regex = "".join(".*" if part is None else re2.escape(part) for part in parts)
                yield path, Pattern(text, f"(?s){regex}")


def constants(policy: est.Policy) -> Iterator[tuple[ContextPath, str, int, bool]]:
    """Every comparison of a fact with a number that says nothing: path, operator, number, and how it always ends."""
    for body in est.bodies(policy):
        for node in est.walk(body):
            for written, (_, mirrored) in _COMPARED.items():
                sides = node.get(written)
                if not isinstance(sides, dict):
                    continue
                for one, other, sign in (
                    (sides["left"], sides["right"], written),
                    (sides["right"], sides["left"], mirrored),
                ):
                    path, number = est.context_path(one), _number(other)
                    known = RANGES.get(path) if path is not None else None
                    if path is not None and known is not None and number is not None:
                        ends = {_COMPARED[sign][0](value, number) for value in _telling(known, number)}
                        if len(ends) == 1:
                            yield path, sign, number, ends.pop()


def _number(node: Any) -> int | None:
    """The number that `node` is; `None` when it is no literal."""
    if isinstance(node, dict) and isinstance(node.get("neg"), dict):
        inner = _number(node["neg"]["arg"])
        return None if inner is None else -inner
    value = node.get("Value") if isinstance(node, dict) else None
    return value if type(value) is int else None


def _telling(known: Range, number: int) -> Iterator[int]:
    """Values in the range that tell whether a comparison with `number` can end both ways."""
    high = max(known.low, number) + 1 if known.high is None else known.high
    yield from (min(max(value, known.low), high) for value in (known.low, number - 1, number, number + 1, high))


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
