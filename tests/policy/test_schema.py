"""How contracts look to Cedar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cedarpy
import msgspec
import pytest

from fiducial.charter.contracts import Contract, Effect, Kind
from fiducial.charter.model import Charter
from fiducial.policy.facts import Facts
from fiducial.policy.schema import (
    GROUPS,
    MAX_RECORDS,
    RESERVED,
    RESPOND,
    Type,
    action_id,
    groups_of,
    input_type,
    schema,
    tool_types,
)

Build = Callable[..., Charter]


def typed(schema: dict[str, Any], **parameter: Any) -> Type | None:
    said = {"effect": "read", "kind": "read", "parameters": {"p": {"role": "option", "schema": schema, **parameter}}}
    attribute = (input_type(Contract.model_validate(said)).attributes or {}).get("p")
    return attribute.type if attribute else None


def record_of(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        inner = {"type": "object", "properties": {"in": inner}, "required": ["in"], "additionalProperties": False}
    return inner


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "integer"}, "Long"),
        ({"type": "number"}, "decimal"),
        ({"type": ["integer", "number"]}, "decimal"),
        ({"type": "string"}, "String"),
        ({"enum": ["a", "b"]}, "String"),
        ({"type": ["string", "null"]}, "String"),
        ({"type": "boolean"}, "Bool"),
        ({"type": "array", "items": {"type": "string"}}, "Set"),
        (record_of(1), "Record"),
    ],
)
def test_mapped(schema: dict[str, Any], name: str) -> None:
    found = typed(schema)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "array"},
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        {"type": "array", "items": {"type": "object"}},
        {"type": "array", "items": record_of(1)},
        {"type": "array", "items": {"type": ["string", "null"]}},
        {"type": ["string", "integer"]},
        {"enum": ["a", 1]},
        {},
    ],
)
def test_left_out(schema: dict[str, Any]) -> None:
    assert typed(schema) is None


def test_money_is_a_long_in_minor_units() -> None:
    for kind in ("number", "integer"):
        found = typed({"type": kind}, role="magnitude", unit="KWD")
        assert found == Type("Long", exponent=3)
    assert typed({"type": "number"}, role="magnitude", unit="items") == Type("decimal")


def test_optional_and_nullable_are_optional() -> None:
    said = {
        "effect": "read",
        "kind": "read",
        "parameters": {
            "needed": {"role": "option"},
            "optional": {"role": "option", "required": False},
            "nullable": {"role": "option", "schema": {"type": ["string", "null"]}},
        },
    }
    attributes = input_type(Contract.model_validate(said)).attributes or {}
    assert {name: one.required for name, one in attributes.items()} == {
        "needed": True,
        "optional": False,
        "nullable": False,
    }


def test_records_are_mapped_to_a_depth() -> None:
    found = typed(record_of(MAX_RECORDS + 3))
    assert found is not None
    assert found.at(("in",) * (MAX_RECORDS - 1)) is not None
    assert found.at(("in",) * MAX_RECORDS) is None


def test_reserved_names_are_left_out(build: Build) -> None:
    parameters = {name: {"role": "option"} for name in (*RESERVED, "fine")}
    said = {"effect": "read", "kind": "read", "parameters": parameters}
    assert set(input_type(Contract.model_validate(said)).attributes or ()) == {"fine"}


def test_every_fact_is_in_the_context(build: Build) -> None:
    context = tool_types(build())[RESPOND].context
    for part in msgspec.structs.fields(Facts):
        for fact in msgspec.structs.fields(part.type):
            assert context.at((part.name, fact.name)) is not None


def test_groups_say_effect_and_kind() -> None:
    for effect in Effect:
        for kind in Kind:
            groups = groups_of(Contract(effect=effect, kind=kind))
            assert ("side_effect" in groups) == (effect is not Effect.READ)
            assert "declared" in groups
            assert effect.value in groups
            assert ("read" in groups) == (effect is Effect.READ), "the group `read` is the effect"
            assert set(groups) <= {*GROUPS, RESPOND}


def test_a_tool_with_a_groups_name_is_not_the_group(build: Build) -> None:
    said = {name: {"effect": "irreversible", "kind": "send"} for name in (*GROUPS, "plain")}
    tools = tool_types(build(contracts=said))
    assert action_id("plain") == "plain"
    assert len({tool.action for tool in tools.values()}) == len(tools)
    assert not {tool.action for tool in tools.values()} & set(GROUPS)
    schema(tools.values())


def test_names_that_are_no_identifiers_work(build: Build) -> None:
    names = ["a b", "a-b", "ünï", '"', "a.b", "if", "in", "", "\n", "principal", "\\", "$x", "😀", "like"]
    parameters = {name: {"role": "option"} for name in names}
    said = {
        name or "empty": {"effect": "read", "kind": "read", "server": name, "parameters": parameters} for name in names
    }
    tools = tool_types(build(contracts=said))
    assert isinstance(schema(tools.values()), cedarpy.Schema)
