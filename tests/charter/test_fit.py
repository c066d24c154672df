"""Contracts held against what servers list: whatever the two do not agree on is told, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.contracts import Contract
from fiducial.charter.fit import differences, misfits
from fiducial.charter.infer import Tool, infer_contract
from fiducial.charter.schema import shape

READ = {"effect": "read", "kind": "read"}


def contract(**parameters: dict[str, Any]) -> Contract:
    written = {name: {"role": "option", **one} for name, one in parameters.items()}
    return Contract.model_validate({**READ, "parameters": written})


def tool(*required: str, hints: dict[str, bool] | None = None, **properties: dict[str, Any]) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name="find", input=schema, hints=hints or {})


def codes(one: Contract, other: Tool) -> list[str]:
    return [each.code for each in misfits({"find": one}, [other])]


def test_nothing_fits_nothing() -> None:
    assert misfits({}, []) == []


def test_a_tool_on_one_side_only() -> None:
    (unlisted,) = misfits({"find": contract()}, [])
    assert (unlisted.tool, unlisted.code) == ("find", "unlisted-tool")
    (undescribed,) = misfits({}, [tool()])
    assert (undescribed.tool, undescribed.code) == ("find", "undescribed-tool")


def test_a_parameter_on_one_side_only() -> None:
    assert codes(contract(), tool(id={"type": "string"})) == ["undeclared-parameter"]
    assert codes(contract(id={}), tool()) == ["unlisted-parameter"]
    assert codes(contract(id={}), tool(id={"type": "string"})) == []


def test_a_parameter_that_the_server_needs() -> None:
    assert codes(contract(id={"required": False}), tool("id", id={"type": "string"})) == ["missing-parameter"]
    assert codes(contract(id={}), tool(id={"type": "string"})) == [], "a contract may ask for more"


@pytest.mark.parametrize("hints", [{"readOnlyHint": False}, {"destructiveHint": True}])
def test_a_server_that_says_that_it_changes_something(hints: dict[str, bool]) -> None:
    assert codes(contract(), tool(hints=hints)) == ["milder"]
    changing = Contract.model_validate({"effect": "reversible", "kind": "update"})
    assert codes(changing, tool(hints=hints)) == []
    assert codes(contract(), tool(hints={"readOnlyHint": True, "destructiveHint": False})) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ({"type": "string"}, {"type": "integer"}, ["the contract takes text", "the server takes integers"]),
        ({"type": "integer"}, {"type": "number"}, ["the server takes numbers"]),
        ({"type": "number"}, {"type": "integer"}, ["the contract takes numbers"]),
        ({"type": "string", "nullable": True}, {"type": "string"}, ["the contract takes `null`"]),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, ["the server takes `null`"]),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, ["the server does not take `b`"]),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, ["the contract does not take `b`"]),
        ({"type": "string"}, {"type": "string", "enum": ["a"]}, ["the server takes listed values only"]),
        ({"enum": ["a"]}, {"type": "string"}, ["the contract takes listed values only"]),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}},
         ["[*]: the contract takes text", "[*]: the server takes integers"]),
        ({"type": "object", "properties": {"a": {"type": "string"}}},
         {"type": "object", "properties": {"a": {"type": "boolean"}}},
         [".a: the contract takes text", ".a: the server takes `true` and `false`"]),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False},
         {"type": "object", "properties": {"a": {}, "b": {}}}, [".b: the contract does not declare it"]),
        ({"type": "object", "properties": {"a": {}, "b": {}}},
         {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
         [".b: the server does not know it"]),
        ({"type": "object"}, {"type": "object", "properties": {"a": {}}}, []),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "maxLength": 3}, []),
        ({}, {}, []),
        ({"enum": [1, "a"]}, {"type": "string"}, ["the contract takes integers", "the contract takes listed values"]),
    ],
)  # fmt: skip
def test_schemas_that_differ(ours: dict[str, Any], theirs: dict[str, Any], says: list[str]) -> None:
    found = [f"{at}: {what}" if at else what for at, what in differences(shape(ours), shape(theirs))]
    assert len(found) == len(says), found
    for one, start in zip(found, says, strict=True):
        assert one.startswith(start), found
    if found:
        assert set(codes(contract(id={"schema": ours}), tool(id=theirs))) == {"schema-differs"}


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "number", "boolean")] + [{"enum": ["a", "b"]}, {}]
    ),
    lambda inner: st.one_of(
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(lambda a, b: {"type": "object", "properties": {"a": a, "b": b}}, inner, inner),
        st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
    ),
    max_leaves=6,
)


@given(SCHEMAS)
def test_what_is_guessed_of_a_tool_fits_it(schema: dict[str, Any]) -> None:
    found = tool("a", a=schema, b=schema)
    assert misfits({"find": infer_contract(found)}, [found]) == []


@given(SCHEMAS, SCHEMAS)
def test_either_side_is_told_of_the_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert bool(list(differences(shape(one), shape(other)))) == bool(list(differences(shape(other), shape(one))))
