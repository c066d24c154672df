"""Bounded classes of calls: "this recipient, up to 50 EUR" as the Cedar rule it is.

A person who approves one call may approve a class of calls like it. The class is a `permit` on one tool whose
condition says something about every parameter: its very value, a most, or expressly anything. What the rule does not
mention cannot be left open by mistake: a parameter without a bound must be absent.

Cedar knows sets and no lists. Where a rule says that a parameter equals a list, `CallClass` compares the lists as well:
the same members in the same order, each as often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cedarpy
import msgspec

from fiducial.charter.money import scaled
from fiducial.policy import engine, est
from fiducial.policy.encode import Unfit, encoder
from fiducial.policy.facts import Facts
from fiducial.policy.schema import DECIMAL_PLACES, ToolType, Type, schema_json
from fiducial.policy.slice import Principal


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a class allows one parameter to be. Exactly one of the four is set."""

    equals: Any = msgspec.UNSET
    """The very value."""
    one_of: tuple[Any, ...] | None = None
    """One of these values; where the parameter is a list, every member is one of them."""
    at_most: float | int | None = None
    """A number and everything below it down to zero, in the parameter's own unit."""
    anything: bool = False


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A bound fitted to the type of its parameter, so that two can be compared. The defaults allow anything."""

    values: frozenset[str] | None = None
    """Cedar literals of the only values; of the only members, where `members`."""
    members: bool = False
    parts: frozenset[str] | None = None
    """For the one value of a list: literals of its members."""
    ceiling: int | None = None
    """The most, as `scaled` to the type; nothing below zero."""

    def within(self, other: Limit) -> bool:
        """Every value that this one allows, `other` allows. May be false where that cannot be told."""
        if other.ceiling is not None:
            if self.ceiling is not None:
                return self.ceiling <= other.ceiling
            numbers = [_number(value) for value in self.values] if self.values is not None else [None]
            return all(number is not None and 0 <= number <= other.ceiling for number in numbers)
        if other.values is None:
            return True
        if self.values is None:
            return False
        if self.members == other.members:
            return self.values <= other.values
        return other.members and self.parts is not None and self.parts <= other.values


def limit_of(tool: ToolType, name: str, bound: Bound) -> Limit:
    """`bound` as a limit on the parameter `name` of `tool`. Raises `ValueError` when it does not fit."""
    said = [bound.equals is not msgspec.UNSET, bound.one_of is not None, bound.at_most is not None, bound.anything]
    if sum(said) != 1:
        raise ValueError(f"`{name}` needs one bound: `equals`, `one_of`, `at_most` or `anything`")
    if name not in tool.contract.parameters:
        raise ValueError(f"the tool has no parameter `{name}`")
    if bound.anything:
        return Limit()
    of = tool.context.at(("input", name))
    if of is None:
        raise ValueError(f"`{name}` cannot be seen by a rule; allow expressly anything, or approve single calls")
    if bound.at_most is not None:
        ceiling = _ceiling(name, of, bound.at_most)
        if ceiling < 0:
            raise ValueError(f"`{name}` is below zero, so that it allows nothing")
        return Limit(ceiling=ceiling)
    element = of.element or of
    if bound.one_of is not None:
        if not bound.one_of:
            raise ValueError(f"`{name}` names no value")
        values = frozenset(_literal(name, element, value) for value in bound.one_of)
        return Limit(values=values, members=of.element is not None)
    value = frozenset((_literal(name, of, bound.equals),))
    if of.element is None:
        return Limit(values=value)
    return Limit(values=value, parts=frozenset(_literal(name, element, one) for one in bound.equals))


def class_rule(tool: ToolType, user: str, bounds: Mapping[str, Bound]) -> str:
    """The rule for calls of `tool` for `user` within `bounds`, checked against the schema.

    Raises `ValueError` when a bound does not fit its parameter, or a required parameter has none.
    """
    for name, bound in bounds.items():
        limit_of(tool, name, bound)
    rule = written_rule(tool, user, bounds)
    _validated(tool, rule)
    return rule


def written_rule(tool: ToolType, user: str, bounds: Mapping[str, Bound]) -> str:
    """`class_rule` for bounds that were checked before: most of its time goes into the check."""
    given = tool.context.at(("input",)) or Type("Record", attributes={})
    typed = given.attributes or {}
    conditions: list[str] = []
    for name, parameter in tool.contract.parameters.items():
        bound, attribute = bounds.get(name), typed.get(name)
        path = f"context.input{_member(name)}"
        if bound is None:
            if parameter.required:
                raise ValueError(f"`{name}` needs a bound: its value, a most, or expressly anything")
            if attribute is None:
                raise ValueError(
                    f"`{name}` cannot be seen by a rule; allow expressly anything, or approve single calls"
                )
            conditions.append(f"!(context.input has {_key(name)})")
            continue
        if bound.anything:
            continue
        if attribute is None:
            raise ValueError(f"`{name}` cannot be seen by a rule; allow expressly anything, or approve single calls")
        present = "" if attribute.required else f"context.input has {_key(name)} && "
        if bound.at_most is not None:
            conditions.append(present + _at_most(name, path, attribute.type, bound.at_most))
        elif bound.one_of is not None:
            conditions.append(present + _one_of(name, path, attribute.type, bound.one_of))
        elif bound.equals is not msgspec.UNSET:
            value = _literal(name, attribute.type, bound.equals)
            conditions.append(present + (f"{path} == {value}" if value != "[]" else f"{path}.isEmpty()"))
        else:
            raise ValueError(f"the bound of `{name}` says nothing")
    when = " && ".join(f"({condition})" for condition in conditions) or "true"
    return (
        f"permit (principal == User::{_string(user)}, action == Action::{_string(tool.action)}, resource)\n"
        f"when {{ {when} }};"
    )


def covers(tool: ToolType, principal: Principal, rule: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a call lies within the class; whatever goes wrong, it does not."""
    try:
        return CallClass(tool, rule).covers(principal, arguments)
    except ValueError:
        return False


class CallClass:
    """A class of calls of one tool, ready to be asked again and again."""

    __slots__ = ("_encode", "_lists", "_policies", "_tool", "rule")

    def __init__(self, tool: ToolType, rule: str) -> None:
        """Raises `ValueError` when `rule` cannot be read."""
        self.rule = rule
        """The Cedar rule that it is."""
        self._tool = tool
        self._encode = encoder(tool.context.pruned([("input",)]))
        self._policies = cedarpy.PolicySet.from_str(rule)
        self._lists = [(name, of, text) for name, text in _lists(rule) if (of := tool.context.at(("input", name)))]

    def covers(self, principal: Principal, arguments: Mapping[str, Any]) -> bool:
        """Whether a call lies within the class; whatever goes wrong, it does not."""
        try:
            context = self._encode(arguments, Facts(), frozenset())
        except Unfit:
            return False
        request = {
            "principal": principal.uid,
            "action": {"type": "Action", "id": self._tool.action},
            "resource": {"type": "Server", "id": self._tool.server},
            "context": context,
        }
        answer = engine.ask(request, self._policies, principal.handle)
        if answer.decision != "Allow" or answer.diagnostics.errors:
            return False
        return all(_literal(name, of, arguments.get(name)) == text for name, of, text in self._lists)


def _validated(tool: ToolType, rule: str) -> None:
    result = cedarpy.validate_policies(rule, schema_json([tool]))
    if not result.validation_passed:
        raise ValueError("the class does not fit the tool's parameters: " + "; ".join(map(str, result.errors)))


def _lists(rule: str) -> Iterator[tuple[str, str]]:
    """Each parameter that `rule` says equals a list, and the literal of that list."""
    for policy in json.loads(cedarpy.policies_to_json_str(rule))["staticPolicies"].values():
        for node in (one for body in est.bodies(policy) for one in est.walk(body)):
            equal = node.get("==")
            path = est.context_path(equal["left"]) if equal is not None else None
            if equal is not None and path is not None and "Set" in equal["right"]:
                yield path[-1], "[" + ", ".join(map(_reread, equal["right"]["Set"])) + "]"


def _reread(node: est.Expression) -> str:
    """The literal that `node`, of Cedar's JSON form, was written as."""
    if "decimal" in node:
        return f'decimal("{node["decimal"][0]["Value"]}")'
    value = node["Value"]
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _at_most(name: str, path: str, of: Type, most: float) -> str:
    ceiling = _ceiling(name, of, most)
    if of.name == "Long":
        return f"{path} >= 0 && {path} <= {ceiling}"
    zero = 'decimal("0.0")'
    return f"{path}.greaterThanOrEqual({zero}) && {path}.lessThanOrEqual({_decimal(name, most)})"


def _ceiling(name: str, of: Type, most: float) -> int:
    if of.name == "Long":
        return _scaled(name, most, of.exponent or 0)
    if of.name == "decimal":
        return _scaled(name, most, DECIMAL_PLACES)
    raise ValueError(f"`{name}` is no number: bound it by its value")


def _one_of(name: str, path: str, of: Type, values: Sequence[Any]) -> str:
    listed = "[" + ", ".join(_literal(name, of.element or of, value) for value in values) + "]"
    return f"{listed}.containsAll({path})" if of.element is not None else f"{listed}.contains({path})"


def _number(literal: str) -> int | None:
    """What a literal of a number is, `scaled` to its type; `None` for another."""
    text = literal.removeprefix('decimal("').removesuffix('")').replace(".", "", 1)
    try:
        return int(text)
    except ValueError:
        return None


def _literal(name: str, of: Type, value: Any) -> str:
    if of.element is not None:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` must be a list")
        return "[" + ", ".join(_literal(name, of.element, one) for one in value) + "]"
    if of.name == "Long":
        return str(_scaled(name, value, of.exponent or 0))
    if of.name == "decimal":
        return _decimal(name, value)
    if of.name == "Bool" and isinstance(value, bool):
        return "true" if value else "false"
    if of.name == "String" and isinstance(value, str):
        return _string(value)
    raise ValueError(f"`{name}` cannot be bounded by that value; allow expressly anything, or approve single calls")


def _scaled(name: str, value: Any, exponent: int) -> int:
    try:
        return scaled(value, exponent)
    except ValueError as error:
        raise ValueError(f"`{name}` {error}") from None


def _decimal(name: str, value: Any) -> str:
    number = _scaled(name, value, DECIMAL_PLACES)
    whole, rest = divmod(abs(number), 10**DECIMAL_PLACES)
    return f'decimal("{"-" if number < 0 else ""}{whole}.{rest:0{DECIMAL_PLACES}}")'


def _string(value: str) -> str:
    """A Cedar string literal: https://docs.cedarpolicy.com/policies/syntax-grammar.html#grammar-str."""
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
    return (
        '"' + "".join(named.get(one) or (one if one.isprintable() else f"\\u{{{ord(one):x}}}") for one in value) + '"'
    )


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _string(name)


def _member(name: str) -> str:
    return f".{name}" if name.isidentifier() and name.isascii() else f"[{_string(name)}]"


__all__ = ["Bound", "CallClass", "Limit", "class_rule", "covers", "limit_of", "written_rule"]
