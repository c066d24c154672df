"""Reading and rewriting policies in Cedar's JSON form.

https://docs.cedarpolicy.com/policies/json-format.html: an expression is an object with one key, its operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from fiducial.policy.schema import ContextPath

Expression: TypeAlias = dict[str, Any]
Policy: TypeAlias = dict[str, Any]


def context_path(node: Any) -> ContextPath | None:
    """`context.flow.audience` as `("flow", "audience")`; `None` when `node` is no such path."""
    keys: list[str] = []
    while isinstance(node, dict):
        if node.get("Var") == "context" and len(node) == 1:
            return tuple(reversed(keys))
        access = node.get(".")
        if not isinstance(access, dict):
            return None
        keys.append(access["attr"])
        node = access["left"]
    return None


def children(node: Expression) -> Iterator[Expression]:
    """The expressions directly inside one."""
    (operator, body), *_ = node.items()
    if operator in ("Value", "Var", "Slot", "Unknown"):
        return
    if operator == "Record":
        yield from body.values()
    elif isinstance(body, list):  # a set, or the arguments of an extension function
        yield from body
    else:
        for key, value in body.items():
            if key in ("left", "right", "arg", "if", "then", "else", "in") and isinstance(value, dict):
                yield value


def walk(node: Expression) -> Iterator[Expression]:
    """`node` and every expression inside it, outermost first."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(children(one))


def bodies(policy: Policy) -> Iterator[Expression]:
    """The expressions of a policy's conditions."""
    for condition in policy["conditions"]:
        yield condition["body"]


class Access(msgspec.Struct, frozen=True):
    """One place where a policy touches the context."""

    path: ContextPath
    has: bool
    """True for `has`: whether `path` is there; false when its value is read."""


def accesses(policy: Policy) -> list[Access]:
    """Every longest context path that is read or tested, in no particular order."""
    found = []
    stack = list(bodies(policy))
    while stack:
        node = stack.pop()
        tested = node.get("has")
        if isinstance(tested, dict):
            path = context_path(tested["left"])
            if path is not None:
                found.append(Access((*path, tested["attr"]), has=True))
                continue
        path = context_path(node)
        if path is not None:
            found.append(Access(path, has=False))
            continue
        stack.extend(children(node))
    return found


def literal(node: Any) -> str | None:
    """The string that `node` is; `None` when it is no string literal."""
    value = node.get("Value") if isinstance(node, dict) else None
    return value if isinstance(value, str) else None


def literals(node: Any) -> list[str]:
    """The string literals that `node`, a literal or a set of them, holds."""
    if isinstance(node, dict) and isinstance(node.get("Set"), list):
        return [text for member in node["Set"] if (text := literal(member)) is not None]
    one = literal(node)
    return [] if one is None else [one]


def compared(policy: Policy) -> list[tuple[ContextPath, str]]:
    """Every string literal that is compared with, or looked up in, the value at a context path."""
    found: list[tuple[ContextPath, str]] = []
    for body in bodies(policy):
        for node in walk(body):
            for operator in ("==", "!=", "contains", "containsAll", "containsAny"):
                sides = node.get(operator)
                if not isinstance(sides, dict):
                    continue
                for one, other in ((sides["left"], sides["right"]), (sides["right"], sides["left"])):
                    path = context_path(one)
                    if path is not None:
                        found.extend((path, text) for text in literals(other))
    return found


def entity_literals(policy: Policy) -> list[tuple[str, str]]:
    """Every entity named in a policy, as type and id: in its scope first, then in its conditions."""
    found: list[tuple[str, str]] = []
    for part in ("principal", "action", "resource"):
        scope = policy[part]
        inner = scope.get("in")
        listed = [scope.get("entity"), *scope.get("entities", ()), inner.get("entity") if inner else None]
        found.extend((one["type"], one["id"]) for one in listed if one is not None)
    for body in bodies(policy):
        for node in walk(body):
            value = node.get("Value")
            if isinstance(value, dict) and "__entity" in value:
                found.append((value["__entity"]["type"], value["__entity"]["id"]))
    return found


def scope_actions(policy: Policy) -> list[str] | None:
    """Ids of the actions and groups in a policy's scope; `None`: every action."""
    scope = policy["action"]
    if scope["op"] == "All":
        return None
    return [one["id"] for one in [scope.get("entity"), *scope.get("entities", ())] if one is not None]


def equal_actions(policy: Policy) -> list[str]:
    """Ids of the actions that a policy compares the action with by `==` or `!=`."""
    found = [policy["action"]["entity"]["id"]] if policy["action"]["op"] == "==" else []
    for body in bodies(policy):
        for node in walk(body):
            sides = node.get("==") or node.get("!=")
            if isinstance(sides, dict):
                for side in (sides["left"], sides["right"]):
                    value = side.get("Value")
                    if isinstance(value, dict) and value.get("__entity", {}).get("type") == "Action":
                        found.append(value["__entity"]["id"])
    return found


def contains_approval(policy: str) -> Expression:
    """`context.approvals.contains("POLICY")`."""
    approvals = {".": {"left": {"Var": "context"}, "attr": "approvals"}}
    return {"contains": {"left": approvals, "right": {"Value": policy}}}


def asserted(policy: Policy) -> set[ContextPath]:
    """Paths that a policy reads where a larger value makes it fire, not where one excuses the call."""
    found: set[ContextPath] = set()
    stack = [(condition["body"], condition["kind"] == "when") for condition in policy["conditions"]]
    while stack:
        node, positive = stack.pop()
        path = context_path(node)
        if path is not None:
            if positive:
                found.add(path)
            continue
        inner = not positive if "!" in node or "isEmpty" in node else positive
        stack.extend((child, inner) for child in children(node))
    return found
