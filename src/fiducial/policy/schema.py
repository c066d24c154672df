"""How a charter's tools look to Cedar.

Entities    `User`, `Agent`, `Role`, `Server`. The principal is the person on whose behalf the agent acts (a `User` in
            `Role`s) or an autonomous `Agent`; the resource is the tool's server.
Actions     One a tool, in groups: `declared` (every tool of the charter), one an effect, one a kind of act, and
            `side_effect` (every effect but `read`). The group `read` is the effect: a tool that fetches is in it too.
            A tool that has a group's name is written `Action::"tool:NAME"`, so that a tool called `delete` does not
            make every deleting tool its member. The built-in tool `respond` is an action in no group.
Context     `input` (the typed arguments), `approvals` (ids of the policies that people approved), and the facts of
            `fiducial.policy.facts`, field by field.

Arguments   what the contract's schema says                 what a policy sees in `context.input`
            number or integer whose unit is a currency      Long, in minor units (98.70 USD is 9870)
            integer                                         Long
            number                                          decimal, four places
            string, or an enum of strings                   String
            boolean                                         Bool
            list of any of these                            Set of it
            object with declared members and no others      record of it, up to `MAX_RECORDS` deep
            optional, or nullable                           optional: test it with `has`; null is absence
            other objects, lists of lists, of objects or    nothing: only facts about them reach a policy
            with nulls, mixed types, names Cedar reserves

What does not fit its type (an integer past 2⁶³, a fraction finer than the type keeps, a number that is not finite)
denies the call when a policy of the slice reads it: never rounded, because rounding could step over a limit.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import cedarpy
import msgspec

from fiducial.charter.contracts import Audience, Contract, Effect, Kind, Output, Parameter, Role
from fiducial.charter.model import BUILT_IN, DECLARE_PLAN, RESPOND, Charter
from fiducial.charter.money import EXPONENTS
from fiducial.charter.schema import shape
from fiducial.charter.shape import Shape
from fiducial.policy.facts import Facts

MAX_RECORDS = 4
"""Records inside records that are mapped; deeper ones are left out. Recorded tool calls nest at most three."""
DECIMAL_PLACES = 4
"""Of Cedar's decimal: https://docs.cedarpolicy.com/policies/syntax-datatypes.html#decimal."""
RESERVED = frozenset({"__entity", "__extn", "__expr"})
"""Keys by which Cedar's JSON writes entities and extension values; no parameter of such a name reaches a policy."""

MAX_STEPS, MAX_USES, MAX_VALUES = 64, 1000, 100
"""Of a plan: steps, uses of one step, values that one bound lists."""
_BOUND = {
    "type": "object",
    "properties": {
        "equals": {},
        "one_of": {"type": "array", "items": {}, "minItems": 1, "maxItems": MAX_VALUES},
        "at_most": {"type": "number"},
        "anything": {"type": "boolean", "enum": [True]},
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
PLAN_STEPS: dict[str, Any] = {
    "type": "array",
    "maxItems": MAX_STEPS,
    "items": {
        "type": "object",
        "properties": {
            "tool": {"type": "string"},
            "bounds": {"type": "object", "additionalProperties": _BOUND},
            "uses": {"type": "integer", "minimum": 1, "maximum": MAX_USES},
        },
        "required": ["tool"],
        "additionalProperties": False,
    },
}
"""JSON Schema of the steps of a plan."""

DOMAINS = ("general", "official", "legal", "health", "finance", "security", "hiring")
"""What an answer may be about."""
CITATIONS: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": 256}
"""JSON Schema of the ids that `[1]`, `[2]`, … in an answer stand for, in that order."""
RESPOND_CONTRACT = Contract(
    effect=Effect.IRREVERSIBLE,
    kind=Kind.RESPOND,
    description="Answer the user, or say something to others in the operator's name.",
    server="fiducial",
    parameters={
        "text": Parameter(role=Role.CONTENT, grounded=True),
        "audience": Parameter(role=Role.OPTION, schema={"type": "string", "enum": [one.value for one in Audience]}),
        "domain": Parameter(role=Role.OPTION, schema={"type": "string", "enum": list(DOMAINS)}),
        "citations": Parameter(role=Role.OPTION, schema=CITATIONS, required=False),
    },
    output=Output(trusted=("$",)),
)
"""What an answer is; its audience is what the call says it is."""

DECLARE_PLAN_CONTRACT = Contract(
    effect=Effect.READ,
    kind=Kind.READ,
    description="Say what you are going to do, before you do it.",
    server="fiducial",
    parameters={
        "steps": Parameter(role=Role.OPTION, schema=PLAN_STEPS),
        "ordered": Parameter(role=Role.OPTION, schema={"type": "boolean"}, required=False),
    },
)
"""What declaring a plan is: a call that changes nothing but what later calls are held against."""
BUILT_IN_CONTRACTS = {RESPOND: RESPOND_CONTRACT, DECLARE_PLAN: DECLARE_PLAN_CONTRACT}
"""The tools that every agent has; they are in no action group."""

DECLARED = "declared"
SIDE_EFFECT = "side_effect"
GROUPS: tuple[str, ...] = (
    DECLARED,
    SIDE_EFFECT,
    *dict.fromkeys([effect.value for effect in Effect] + [kind.value for kind in Kind if kind is not Kind.RESPOND]),
)
"""Names of the action groups. There is none for the kind `respond`: that name is the built-in tool's."""

ContextPath: TypeAlias = tuple[str, ...]
"""Keys from `context` down, such as `("flow", "audience")`."""
CedarName: TypeAlias = Literal["Long", "String", "Bool", "decimal", "Set", "Record"]


class Type(msgspec.Struct, frozen=True):
    """A Cedar type, with what its values may be."""

    name: CedarName
    exponent: int | None = None
    """For money, a Long: digits after the point of the major unit."""
    enum: frozenset[str] | None = None
    """For a String: the only values; `None`: any."""
    element: Type | None = None
    """For a Set."""
    attributes: dict[str, Attribute] | None = None
    """For a Record."""

    def cedar(self) -> dict[str, Any]:
        """The type in Cedar's JSON schema form."""
        if self.name == "decimal":
            return {"type": "Extension", "name": "decimal"}
        if self.element is not None:
            return {"type": "Set", "element": self.element.cedar()}
        if self.attributes is not None:
            attributes = {key: value.cedar() for key, value in self.attributes.items()}
            return {"type": "Record", "attributes": attributes, "additionalAttributes": False}
        return {"type": self.name}

    def at(self, path: ContextPath) -> Type | None:
        """The type at `path` below this one; `None` where nothing is declared."""
        current = self
        for key in path:
            attribute = (current.attributes or {}).get(key)
            if attribute is None:
                return None
            current = attribute.type
        return current

    def pruned(self, paths: Iterable[ContextPath]) -> Type:
        """This record with only `paths` and all that lies beneath them, in this record's order."""
        wanted: dict[str, list[ContextPath]] = {}
        for path in paths:
            if not path:
                return self
            wanted.setdefault(path[0], []).append(path[1:])
        kept = {}
        for key, attribute in (self.attributes or {}).items():
            if key in wanted:
                inner = attribute.type
                if inner.attributes is not None:
                    inner = inner.pruned(wanted[key])
                kept[key] = Attribute(inner, attribute.required)
        return Type("Record", attributes=kept)

    def leaves(self, prefix: ContextPath = ()) -> Iterable[ContextPath]:
        """Paths of all that is not a record; an empty record counts as one leaf."""
        if not self.attributes:
            yield prefix
        else:
            for key, attribute in self.attributes.items():
                yield from attribute.type.leaves((*prefix, key))


class Attribute(msgspec.Struct, frozen=True):
    """One member of a record."""

    type: Type
    required: bool = True
    """False: a policy must test it with `has` before it reads it."""

    def cedar(self) -> dict[str, Any]:
        """The attribute in Cedar's JSON schema form."""
        return {**self.type.cedar(), "required": self.required}


STRINGS = Type("Set", element=Type("String"))

_FACT_TYPES: dict[object, Type] = {
    bool: Type("Bool"),
    int: Type("Long"),
    str: Type("String"),
    frozenset[str]: STRINGS,
}


def _facts_type(struct: type[msgspec.Struct]) -> dict[str, Attribute]:
    attributes = {}
    for name, hint in typing.get_type_hints(struct).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            attributes[name] = Attribute(Type("Record", attributes=_facts_type(hint)))
        else:
            attributes[name] = Attribute(_FACT_TYPES[hint])
    return attributes


FACTS = _facts_type(Facts)
"""`context` without `input` and `approvals`."""


def context_type(contract: Contract) -> Type:
    """What `context` is for a tool."""
    arguments = Attribute(input_type(contract))
    return Type("Record", attributes={"input": arguments, "approvals": Attribute(STRINGS), **FACTS})


def input_type(contract: Contract) -> Type:
    """What `context.input` is for a tool: the parameters that have a Cedar type."""
    attributes = {}
    for name, parameter in contract.parameters.items():
        what = shape(parameter.schema_)
        mapped = None if name in RESERVED else _mapped(what, parameter.unit, MAX_RECORDS)
        if mapped is not None:
            attributes[name] = Attribute(mapped, required=parameter.required and not what.nullable)
    return Type("Record", attributes=attributes)


def _mapped(what: Shape, unit: str | None, records: int) -> Type | None:
    if what.type == "integer" or _is_number(what):
        if unit in EXPONENTS:
            return Type("Long", exponent=EXPONENTS[unit])
        return Type("Long") if what.type == "integer" else Type("decimal")
    if what.type == "boolean":
        return Type("Bool")
    if what.type == "string" or _is_string(what):
        return Type("String", enum=frozenset(map(str, what.enum)) if what.enum is not None else None)
    if what.type == "array" and what.items is not None and not what.items.nullable:
        element = _mapped(what.items, unit, 0)
        return Type("Set", element=element) if element is not None and element.element is None else None
    if what.type == "object" and what.properties and not what.additional and records:
        attributes = {}
        for name, member in what.properties.items():
            mapped = None if name in RESERVED else _mapped(member, None, records - 1)
            if mapped is not None:
                attributes[name] = Attribute(mapped, required=name in what.required and not member.nullable)
        return Type("Record", attributes=attributes)
    return None


def _is_number(what: Shape) -> bool:
    """`integer or number` is a number."""
    return what.type == "number" or (
        bool(what.one_of)
        and all(one.type in ("integer", "number") and not one.nullable for one in what.one_of)
        and what.enum is None
    )


def _is_string(what: Shape) -> bool:
    """An enum of strings that names no type, or a union of strings."""
    if what.type != "any":
        return False
    if what.enum is not None:
        return all(isinstance(value, str) for value in what.enum)
    return bool(what.one_of) and all(one.type == "string" and not one.nullable for one in what.one_of)


def action_id(tool: str) -> str:
    """The id of a tool's action: its name, or `tool:NAME` where that is a group's."""
    return f"tool:{tool}" if tool in GROUPS else tool


def groups_of(contract: Contract) -> tuple[str, ...]:
    """The action groups that a declared tool is in, sorted."""
    groups = {DECLARED, contract.effect.value}
    if contract.effect is not Effect.READ:
        groups.add(SIDE_EFFECT)
    if contract.kind is Kind.RESPOND:
        groups.add(RESPOND)
    elif contract.kind is not Kind.READ:
        groups.add(contract.kind.value)
    return tuple(sorted(groups))


class ToolType(msgspec.Struct, frozen=True):
    """One tool, as policies see it."""

    name: str
    action: str
    """Id of its action."""
    groups: tuple[str, ...]
    """Ids of the actions it is a member of; `respond` is one for tools of that kind."""
    server: str
    context: Type
    contract: Contract

    def matches(self, actions: Iterable[str]) -> bool:
        """True when the tool's action is, or is in, one of `actions`."""
        return any(one == self.action or one in self.groups for one in actions)


def tool_types(charter: Charter) -> dict[str, ToolType]:
    """Every tool of `charter` and the built-in one, by name."""
    tools = {
        name: ToolType(name, action_id(name), groups_of(contract), contract.server, context_type(contract), contract)
        for name, contract in charter.contracts.items()
        if name not in BUILT_IN
    }
    for name, contract in BUILT_IN_CONTRACTS.items():
        tools[name] = ToolType(name, name, (), contract.server, context_type(contract), contract)
    return tools


_ENTITY_TYPES: dict[str, Any] = {
    "User": {"memberOfTypes": ["Role"]},
    "Agent": {"memberOfTypes": ["Role"]},
    "Role": {},
    "Server": {},
}


def schema_json(tools: Iterable[ToolType], contexts: Mapping[str, Type] | None = None) -> str:
    """The Cedar schema of `tools`, as JSON. `contexts`: pruned contexts by tool, instead of the whole ones."""
    actions: dict[str, Any] = {group: {} for group in GROUPS}
    for tool in tools:
        context = (contexts or {}).get(tool.name, tool.context)
        actions[tool.action] = {
            "memberOf": [{"id": group} for group in tool.groups],
            "appliesTo": {
                "principalTypes": ["User", "Agent"],
                "resourceTypes": ["Server"],
                "context": context.cedar() if contexts is not None else _shared(context),
            },
        }
    for name in BUILT_IN:
        actions.setdefault(name, {})
    common = {_common(name): attribute.type.cedar() for name, attribute in FACTS.items()}
    return json.dumps({"": {"entityTypes": _ENTITY_TYPES, "commonTypes": common, "actions": actions}})


def _shared(context: Type) -> dict[str, Any]:
    """A whole context, its facts by name: the schema of a hundred tools stays small."""
    attributes = {
        key: {"type": _common(key)} if key in FACTS else value.cedar()
        for key, value in (context.attributes or {}).items()
    }
    return {"type": "Record", "attributes": attributes}


def _common(facts: str) -> str:
    """The schema's name for a record of facts; apart from the entity types, one of which is `Agent`."""
    return facts.capitalize() + "Facts"


def schema(tools: Iterable[ToolType]) -> cedarpy.Schema:
    """The parsed schema of `tools`."""
    return cedarpy.Schema.from_json_str(schema_json(tools))
