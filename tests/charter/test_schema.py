"""The JSON Schema subset and the strict check of arguments."""

from __future__ import annotations

import string
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiducial.charter.arguments import MAX_DEPTH, MAX_INTEGER, MAX_SIZE, arguments_checker
from fiducial.charter.contracts import Contract, Parameter, Role
from fiducial.charter.schema import Shape, shape


def checker(**schemas: dict[str, Any]) -> Any:
    parameters = {name: {"role": "option", "schema": schema} for name, schema in schemas.items()}
    return arguments_checker(Contract.model_validate({"effect": "read", "kind": "read", "parameters": parameters}))


def accepts(schema: dict[str, Any], value: Any) -> bool:
    return checker(p=schema)({"p": value}) == []


# ── what is refused in a schema ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string", "minLenght": 2}, "`minLenght` is not understood: did you mean `minLength`"),
        ({"not": {"type": "string"}}, "`not` is not understood"),
        ({"type": "array", "prefixItems": []}, "`prefixItems`"),
        ({"if": {}}, "`if`"),
        ({"type": "strin"}, "did you mean `string`"),
        ({"type": []}, "`type` must be"),
        ({"type": 5}, "`type` must be"),
        ({"type": [{}]}, "is not known"),
        ({"type": "null"}, "nothing but null"),
        ({"const": None}, "nothing but null"),
        ({"enum": [None]}, "nothing but null"),
        ({"anyOf": [{"type": "null"}]}, "nothing but null"),
        ({"enum": []}, "`enum` must be a list"),
        ({"enum": "ab"}, "`enum` must be a list"),
        ({"enum": [1], "const": 1}, "`const` cannot be combined with `enum`"),
        ({"type": "string", "enum": [1]}, "holds a value that is not a string"),
        ({"type": "integer", "minimum": 3, "enum": [1]}, "holds a value that is not"),
        ({"type": "string", "minimum": 1}, "`minimum` does not bind"),
        ({"minimum": 1, "minLength": 2}, "belong to both"),
        ({"type": "string", "pattern": "(?=x)"}, "not an RE2 expression"),
        ({"type": "string", "pattern": "["}, "not an RE2 expression"),
        ({"type": "string", "pattern": "\ud800"}, "not an RE2 expression"),
        ({"type": "string", "pattern": 5}, "`pattern` must be a string"),
        ({"type": "string", "maxLength": -1}, "`maxLength` must be a whole number"),
        ({"type": "string", "maxLength": float("inf")}, "`maxLength` must be a whole number"),
        ({"type": "string", "maxLength": True}, "`maxLength` must be a whole number"),
        ({"type": "number", "minimum": "1"}, "`minimum` must be a number"),
        ({"type": "number", "minimum": float("nan")}, "`minimum` must be a number"),
        ({"type": "number", "minimum": 10**400}, "`minimum` must be a number"),
        ({"type": "number", "multipleOf": 0}, "`multipleOf` must be greater"),
        ({"type": "array", "uniqueItems": 1}, "`uniqueItems` must be true or false"),
        ({"type": "array", "items": [{}]}, "must be a mapping"),
        ({"type": "object", "properties": []}, "`properties` must be"),
        ({"type": "object", "required": "a"}, "`required` must be"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "`required` names `a`"),
        ({"anyOf": []}, "`anyOf` must be"),
        ({"anyOf": [{"type": "string"}], "type": "string"}, "`anyOf` cannot be combined with `type`"),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, "`allOf` of several"),
        ({"$ref": "https://example.com/x"}, "`$ref` must point"),
        ({"$ref": "#/$defs/a"}, "points to `a`"),
        ({"$ref": "#/$defs/a", "$defs": []}, "`$defs` must be"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}, "cyclic"),
        ({"type": "array", "items": False}, "accepts nothing"),
        ({1: 2}, "`1` is not understood"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        shape(schema)
    assert says in str(caught.value)


def test_a_deep_schema_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ValueError, match="nested deeper"):
        shape(schema)


def test_references_that_fan_out_are_refused() -> None:
    defs: dict[str, Any] = {
        f"d{i}": {"type": "object", "properties": {side: {"$ref": f"#/$defs/d{i + 1}"} for side in "lr"}}
        for i in range(14)
    }
    defs["d14"] = {"type": "string"}
    started = time.process_time()
    with pytest.raises(ValueError, match="more than"):
        shape({"$ref": "#/$defs/d0"}, defs)
    assert time.process_time() - started < 10


def test_the_checker_names_the_parameter_whose_schema_is_wrong() -> None:
    parameter = Parameter.model_construct(role=Role.OPTION, schema_={"nope": 1}, required=True)
    contract = Contract.model_construct(parameters={"p": parameter})
    with pytest.raises(ValueError, match="parameter `p`: the keyword `nope`"):
        arguments_checker(contract)


# ── what a schema means ───────────────────────────────────────────────────────────────────────────────────────────


def test_annotations_are_passed_over() -> None:
    plain = {"type": "string", "maxLength": 3}
    noted = {**plain, "title": "T", "description": "D", "default": "x", "examples": [1], "format": "email", "x-y": {}}
    assert shape(noted) == shape(plain)


def test_null_in_its_spellings_is_the_same_shape() -> None:
    expected = Shape(type="string", nullable=True)
    assert shape({"type": ["string", "null"]}) == expected
    assert shape({"type": "string", "nullable": True}) == expected
    assert shape({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}) == expected
    assert shape({"oneOf": [{"type": "null"}, {"type": "string"}]}) == expected


def test_references_resolve_locally_and_from_the_document() -> None:
    local = {"allOf": [{"$ref": "#/$defs/a~1b"}], "$defs": {"a/b": {"type": "integer"}}}
    assert shape(local) == shape({"$ref": "#/definitions/n"}, {"n": {"type": "integer"}}) == Shape(type="integer")


def test_the_type_is_implied_by_the_keywords() -> None:
    assert shape({"properties": {"a": {}}}).type == "object"
    assert shape({"items": {"type": "string"}}).type == "array"
    assert shape({"enum": ["a", None]}) == Shape(type="string", nullable=True, enum=("a",))
    assert shape({"enum": ["a", 1]}).type == "any"
    assert shape({}).type == "any"


def test_openapi_exclusive_flags_move_the_bound() -> None:
    assert shape({"type": "number", "minimum": 1, "exclusiveMinimum": True}) == Shape(
        type="number", exclusive_minimum=1
    )
    assert shape({"type": "number", "maximum": 1, "exclusiveMaximum": False}) == Shape(type="number", maximum=1)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, ["", "a", "é", "\x00"], [5, None, True, ["a"], {"a": 1}, b"a"]),
        ({"type": "integer"}, [0, -5, MAX_INTEGER, -MAX_INTEGER], ["5", True, 5.0, None, MAX_INTEGER + 1, 10**5000]),
        ({"type": "number"}, [0, 1.5, -0.0], ["1", False, float("nan"), float("inf"), -float("inf"), 2**63, None]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "array"}, [[], [1, "a", None]], [(), "a", {}, None]),
        ({"type": "object"}, [{}, {"a": {"b": [1]}}], [[], None, {1: 2}]),
        ({"type": "array", "items": {"type": "string"}}, [["a"]], [["a", 1], [None]]),
        ({"type": "array", "minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
        ({"type": "array", "uniqueItems": True}, [[1, True, "1"], [[1], [2]]], [[1, 1.0], [{"a": 1}, {"a": 1}]]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "日本語"], ["a", "abcd"]),
        ({"type": "string", "pattern": "^a.c$"}, ["abc"], ["abcd", "abc\n", "xabc"]),
        ({"type": "string", "pattern": "b"}, ["abc"], ["ac"]),
        ({"type": "integer", "minimum": 1, "maximum": 3}, [1, 3], [0, 4]),
        ({"type": "number", "exclusiveMinimum": 0}, [0.001], [0, 0.0, -1]),
        ({"type": "number", "multipleOf": 0.1}, [0.3, 1], [0.35]),
        ({"type": "integer", "multipleOf": 3}, [9, -3, 0], [4]),
        ({"enum": ["a", "b"]}, ["a"], ["c", None, 1]),
        ({"enum": [1]}, [1], [True, "1", 1.0]),
        ({"enum": [1, "a", {"k": [1]}, None]}, [1, "a", {"k": [1]}, None], [True, "b", {"k": [2]}]),
        ({"const": "x"}, ["x"], ["y"]),
        ({"type": ["string", "null"], "enum": ["a"]}, ["a"], [None]),
        ({"type": ["string", "integer"], "minimum": 3}, ["a", 3], [2, 3.0, None]),
        ({"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]}, ["a", True, None], [1]),
        ({"anyOf": [{"type": "string"}, {}]}, ["a", 1, None, [1]], [float("nan")]),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, [1.5], [1, "a"]),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, [1.5, 1], ["a"]),
        ({"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}, ["a", ["a"]], [[1], 1]),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            [{"a": "x"}, {"a": "x", "b": 1}],
            [{}, {"a": 1}, {"b": 1}],
        ),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, [{"x": "y"}], [{"x": 1}]),
        ({"type": "object", "minProperties": 1, "maxProperties": 1}, [{"x": 1}], [{}, {"x": 1, "y": 1}]),
        ({}, [1, "a", [1], {"__entity": {"type": "User", "id": "x"}}, {"__extn": 1}], [float("nan"), None, {1: 1}]),
    ],
)
def test_values_fit_or_do_not(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert accepts(schema, value), value
    for value in bad:
        assert not accepts(schema, value), value


# ── the check of arguments ────────────────────────────────────────────────────────────────────────────────────────


def test_no_arguments_for_no_parameters() -> None:
    assert checker()({}) == []


@pytest.mark.parametrize("arguments", [None, [], "a", 5, [("p", 1)]])
def test_arguments_that_are_no_object_are_refused(arguments: Any) -> None:
    assert checker(p={"type": "string"})(arguments) == ["the arguments must be an object"]


def test_unknown_and_missing_arguments_are_refused_with_a_hint() -> None:
    problems = checker(recipient={"type": "string"})({"recipent": "x"})
    assert problems == [
        "there is no parameter `recipent`: did you mean `recipient`?",
        "`recipient` is missing: it must be a string",
    ]


def test_optional_arguments_may_be_left_out_but_not_null() -> None:
    contract = {"effect": "read", "kind": "read", "parameters": {"p": {"role": "option", "required": False}}}
    check = arguments_checker(Contract.model_validate(contract))
    assert check({}) == []
    assert check({"p": None}) == ["`p` must be a string"]


def test_messages_never_repeat_the_value() -> None:
    secret = "hunter2-hunter2"
    check = checker(
        text={"type": "integer"},
        item={"type": "array", "items": {"type": "object", "properties": {"k": {"type": "integer"}}}},
        free={"type": "object", "additionalProperties": {"type": "integer"}},
        none={"type": "object", "properties": {}, "additionalProperties": False},
    )
    problems = check(
        {
            "text": secret,
            "item": [{"k": secret}],
            "free": {secret: secret},
            "none": {"\n" + secret: 1},
            "x\n" + secret: 1,
        }
    )
    assert len(problems) == 5
    assert secret not in "".join(problems)
    assert "`item[0].k` must be an integer" in problems


def test_the_number_of_problems_is_bounded() -> None:
    assert len(checker()({f"a{i}": 1 for i in range(1000)})) == 21


def test_nesting_of_any_depth_is_refused_without_recursion() -> None:
    value: Any = 1
    for _ in range(sys.getrecursionlimit() * 10):
        value = [value]
    assert checker(p={})({"p": value}) == [f"`p` must be nested at most {MAX_DEPTH} levels deep"]
    endless: list[Any] = []
    endless.append(endless)
    assert checker(p={})({"p": endless}) != []
    keyed: dict[str, Any] = {}
    keyed["k"] = keyed
    assert checker(p={"type": "object"})({"p": keyed}) != []


def test_the_deepest_nesting_allowed_is_exact() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert accepts({}, value)
    assert not accepts({}, [value])


def test_shared_substructure_does_not_explode() -> None:
    value: Any = "x"
    for _ in range(60):
        value = [value, value]
    started = time.thread_time()
    assert not accepts({}, value)
    assert time.thread_time() - started < 20


@pytest.mark.parametrize("text", ["\ud800", "ok\udfff", "é\ud83d"])
def test_lone_surrogates_are_refused_wherever_they_stand(text: str) -> None:
    assert not accepts({"type": "string"}, text)
    assert not accepts({}, {"a": [text]})
    assert not accepts({}, {text: 1})
    assert checker(p={})({"p": 1, text: 1}) != []


def test_ten_megabytes_are_checked_in_linear_time() -> None:
    ten = "a" * (10 * 2**20)
    started = time.thread_time()
    assert accepts({"type": "string", "pattern": "^(a+)+$"}, ten)
    assert not accepts({"type": "string", "pattern": "^(a+)+$"}, ten + "!")
    assert time.thread_time() - started < 20


def test_the_total_size_is_bounded() -> None:
    half = "a" * (MAX_SIZE // 2 + 1)
    assert accepts({"type": "string"}, half)
    assert not accepts({"type": "string"}, half * 2)
    assert not accepts({}, ["é" + half, half])
    assert not accepts({}, [1] * (MAX_SIZE // 8))
    assert any("together" in problem for problem in checker(a={}, b={})({"a": half, "b": half}))


_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_LONGS = st.integers(-(2**63) + 1, 2**63 - 1)
_SCALARS = st.none() | st.booleans() | _LONGS | _FINITE | st.text(string.printable)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_letters + "_"), inner, max_size=4),
    max_leaves=12,
)


def describe(value: Any) -> dict[str, Any]:
    """The tightest schema of one value."""
    match value:
        case None:
            return {"type": ["string", "null"], "maxLength": 0}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": value, "maximum": value}
        case float():
            return {"type": "number", "minimum": value, "maximum": value}
        case str():
            return {"type": "string", "minLength": len(value), "maxLength": len(value)}
        case list():
            return {"type": "array", "minItems": len(value), "items": {"anyOf": [describe(v) for v in value] or [{}]}}
        case dict():
            return {
                "type": "object",
                "properties": {key: describe(member) for key, member in value.items()},
                "required": list(value),
                "additionalProperties": False,
            }
        case _:
            raise AssertionError(value)


@given(_JSON)
def test_a_value_fits_the_schema_made_from_it(value: Any) -> None:
    assert accepts(describe(value), value)
    assert accepts({"enum": [value, "another"]}, value)


@given(_JSON, _JSON)
def test_enums_accept_exactly_their_values(one: Any, other: Any) -> None:
    def typed(value: Any) -> Any:
        match value:
            case bool():
                return ("b", value)
            case list():
                return [typed(member) for member in value]
            case dict():
                return {key: typed(member) for key, member in value.items()}
            case _:
                return value

    if typed(one) != typed(other):
        assert not accepts({"enum": [one, [one]]}, other) or typed(other) == typed([one])


_WILD = st.recursive(
    _SCALARS | st.floats() | st.text() | st.integers() | st.binary(max_size=3) | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]) | st.text(), _WILD))
def test_any_arguments_get_an_answer(arguments: dict[str, Any]) -> None:
    check = checker(a={}, b={"type": "string"}, c={"type": "array", "items": {"type": "object"}, "uniqueItems": True})
    problems = check(arguments)
    assert all(isinstance(problem, str) for problem in problems)


_KEYWORDS = st.sampled_from(
    [
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "minimum",
        "maxLength",
        "pattern",
        "uniqueItems",
        "nullable",
        "title",
        "multipleOf",
    ]
)
_SCHEMAS = st.recursive(
    _SCALARS | st.sampled_from(["string", "object", "array", "#/$defs/a", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYWORDS | st.just("a"), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(_KEYWORDS, _SCHEMAS), _JSON)
def test_any_schema_is_understood_or_refused(schema: dict[str, Any], value: Any) -> None:
    try:
        understood = shape(schema)
    except ValueError:
        return
    assert understood.expectation()
    accepts(schema, value)
