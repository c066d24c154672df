"""Bounded classes of calls: "this recipient, up to 50 EUR" as the Cedar rule it is.

A person who approves one call may approve a class of calls like it. The class is a `permit` on one tool whose
condition says something about every parameter: its very value, a most, or expressly anything. What the rule does not
mention cannot be left open by mistake: a parameter without a bound must be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cedarpy
import msgspec

from fiducial.charter.money import scaled
from fiducial.policy import engine
from fiducial.policy.encode import Unfit, encoder
from fiducial.policy.facts import Facts
from fiducial.policy.schema import DECIMAL_PLACES, ToolType, Type, schema_json
from fiducial.policy.slice import Principal


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a class allows one parameter to be. Exactly one of the three is set."""

    equals: Any = msgspec.UNSET
    """The very value."""
    at_most: float | int | None = None
    """A number and everything below it down to zero, in the parameter's own unit."""
    anything: bool = False


def class_rule(tool: ToolType, user: str, bounds: Mapping[str, Bound]) -> str:
    """The rule for calls of `tool` for `user` within `bounds`.

    Raises `ValueError` when a bound does not fit its parameter, or a required parameter has none.
    """
    given = tool.context.at(("input",)) or Type("Record", attributes={})
    typed = given.attributes or {}
    conditions: list[str] = []
    for name in bounds.keys() - tool.contract.parameters.keys():
        raise ValueError(f"the tool has no parameter `{name}`")
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
        elif bound.equals is not msgspec.UNSET:
            conditions.append(f"{present}{path} == {_literal(name, attribute.type, bound.equals)}")
        else:
            raise ValueError(f"the bound of `{name}` says nothing")
    when = " && ".join(f"({condition})" for condition in conditions) or "true"
    rule = (
        f"permit (principal == User::{_string(user)}, action == Action::{_string(tool.action)}, resource)\n"
        f"when {{ {when} }};"
    )
    _validated(tool, rule)
    return rule


def covers(tool: ToolType, principal: Principal, rule: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a call lies within the class; whatever goes wrong, it does not."""
    try:
        context = encoder(tool.context.pruned([("input",)]))(arguments, Facts(), frozenset())
        policies = cedarpy.PolicySet.from_str(rule)
    except (Unfit, ValueError):
        return False
    request = {
        "principal": principal.uid,
        "action": {"type": "Action", "id": tool.action},
        "resource": {"type": "Server", "id": tool.server},
        "context": context,
    }
    answer = engine.ask(request, policies, principal.handle)
    return answer.decision == "Allow" and not answer.diagnostics.errors


def _validated(tool: ToolType, rule: str) -> None:
    result = cedarpy.validate_policies(rule, schema_json([tool]))
    if not result.validation_passed:
        raise ValueError("the class does not fit the tool's parameters: " + "; ".join(map(str, result.errors)))


def _at_most(name: str, path: str, of: Type, most: float) -> str:
    if of.name == "Long":
        ceiling = scaled(most, of.exponent or 0)
        return f"{path} >= 0 && {path} <= {ceiling}"
    if of.name == "decimal":
        zero = 'decimal("0.0")'
        return f"{path}.greaterThanOrEqual({zero}) && {path}.lessThanOrEqual({_decimal(most)})"
    raise ValueError(f"`{name}` is no number: bound it by its value")


def _literal(name: str, of: Type, value: Any) -> str:
    if of.element is not None:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` must be a list")
        return "[" + ", ".join(_literal(name, of.element, one) for one in value) + "]"
    if of.name == "Long":
        return str(scaled(value, of.exponent or 0))
    if of.name == "decimal":
        return _decimal(value)
    if of.name == "Bool" and isinstance(value, bool):
        return "true" if value else "false"
    if of.name == "String" and isinstance(value, str):
        return _string(value)
    raise ValueError(f"`{name}` cannot be bounded by that value; allow expressly anything, or approve single calls")


def _decimal(value: float) -> str:
    number = scaled(value, DECIMAL_PLACES)
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


__all__ = ["Bound", "class_rule", "covers"]
