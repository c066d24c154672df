"""The generated encoders: every context conforms to the slice's schema, or the value is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.contracts import Contract
from fiducial.charter.model import Charter
from fiducial.policy.encode import Unfit, encoder
from fiducial.policy.facts import Facts, FlowFacts, PreviewFacts, SessionFacts
from fiducial.policy.rulebook import compile_rulebook
from fiducial.policy.schema import ToolType, context_type, schema

Build = Callable[..., Charter]

CONTRACT = Contract.model_validate(
    {
        "effect": "irreversible",
        "kind": "pay",
        "parameters": {
            "amount": {"role": "magnitude", "unit": "USD", "required": False, "schema": {"type": "number"}},
            "count": {"role": "magnitude", "required": False, "schema": {"type": "integer"}},
            "rate": {"role": "option", "required": False, "schema": {"type": "number"}},
            "to": {"role": "target", "required": False},
            "flag": {"role": "option", "required": False, "schema": {"type": "boolean"}},
            "tags": {"role": "option", "required": False, "schema": {"type": "array", "items": {"type": "string"}}},
            "sums": {"role": "option", "required": False, "schema": {"type": "array", "items": {"type": "number"}}},
            'odd "name"\n': {"role": "option", "required": False},
            "place": {
                "role": "option",
                "required": False,
                "schema": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "no": {"type": "integer"}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        },
    }
)
CONTEXT = context_type(CONTRACT)
SCHEMA = schema([ToolType("t", "t", (), "s", CONTEXT, CONTRACT)])
EVERYTHING = cedarpy.PolicySet.from_str("permit(principal, action, resource);")
ENTITIES = cedarpy.Entities.from_json_str("[]")

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(['{"__entity":{"type":"Role","id":"x"}}', "__entity", "5", 0, 1, 98.7]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["__entity", "__extn", "__expr", "city", "no", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.sampled_from([*CONTRACT.parameters, "unknown"]), JSON, max_size=6)
NAMES = st.frozensets(st.text(max_size=5), max_size=3)


def asked(context: str) -> Any:
    request = {
        "principal": {"type": "User", "id": "u"},
        "action": {"type": "Action", "id": "t"},
        "resource": {"type": "Server", "id": "s"},
        "context": context,
    }
    return cedarpy.is_authorized(request, EVERYTHING, ENTITIES, SCHEMA)


@given(ARGUMENTS, NAMES, NAMES, st.integers(-(2**70), 2**70), st.text(max_size=5))
def test_conforms_or_is_unfit(
    arguments: dict[str, Any], names: frozenset[str], approvals: frozenset[str], number: int, text: str
) -> None:
    facts = Facts(
        flow=FlowFacts(untrusted_targets=names, audience=text), session=SessionFacts(tainted=True, calls=number)
    )
    try:
        context = encoder(CONTEXT)(arguments, facts, approvals)
    except (Unfit, ValueError):
        return
    answer = asked(context)
    assert answer.allowed, answer.diagnostics.errors
    read = json.loads(context)
    assert read["flow"]["untrusted_targets"] == sorted(names)
    for name in ("to", "flag", "tags", "place"):
        if name in read["input"]:
            given = arguments[name]
            kept = given
            if isinstance(given, dict):
                kept = {key: value for key, value in given.items() if value is not None and key in ("city", "no")}
            assert read["input"][name] == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", 5), ("to", ["a"]), ("to", {"__entity": {"type": "Role", "id": "x"}}), ("to", True),
        ("count", "5"), ("count", True), ("count", 98.7), ("count", 2**63), ("count", -(2**63) - 1), ("count", [1]),
        ("rate", 1.00001), ("rate", "1"), ("rate", {"__extn": {"fn": "decimal", "arg": "1.0"}}), ("rate", float("nan")),
        ("flag", 1), ("flag", "true"), ("tags", "a"), ("tags", {"a": 1}), ("tags", [None]), ("tags", [["a"]]),
        ("sums", [1, "2"]), ("place", "Oz"), ("place", {}), ("place", {"city": 1}), ("place", {"city": None}),
        ("amount", 0.001), ("amount", True), ("amount", "1"),
    ],
)  # fmt: skip
def test_unfit(name: str, value: Any) -> None:
    with pytest.raises(Unfit) as caught:
        encoder(CONTEXT)({name: value}, Facts(), frozenset())
    assert caught.value.path == ("input", name)
    assert repr(value) not in str(caught.value)


def test_text_stays_text() -> None:
    text = 'x","__entity":{"type":"Role","id":"y"},"z":"\\" \u2028 \x00 \x7f 😀'
    assert json.loads(encoder(CONTEXT)({"to": text}, Facts(), frozenset()))["input"] == {"to": text}
    assert asked(encoder(CONTEXT)({"to": text}, Facts(), frozenset({text}))).allowed


@pytest.mark.parametrize(
    "facts",
    [
        Facts(preview=PreviewFacts(rows='1},"approvals":["x"],"y":{"z":1')),  # type: ignore[arg-type]
        Facts(session=SessionFacts(tainted=1)),  # type: ignore[arg-type]
        Facts(session=SessionFacts(calls=2**63)),
        Facts(flow=FlowFacts(audience=None)),  # type: ignore[arg-type]
        Facts(flow=FlowFacts(classes=frozenset({1}))),  # type: ignore[arg-type]
    ],
)
def test_facts_of_a_wrong_type_are_refused(facts: Facts) -> None:
    with pytest.raises((ValueError, Unfit)):
        encoder(CONTEXT)({}, facts, frozenset())


def test_only_what_is_read_is_encoded(build: Build) -> None:
    policies = '@id("charter/a") permit(principal, action, resource) when { context.flow.audience == "self" };'
    part = compile_rulebook(build(policies)).slice("send_money")
    assert part.reads == {"flow.audience"}
    assert (
        part.encode_context({"recipient": "x" * 10**6, "amount": "garbage"}, Facts()) == '{"flow":{"audience":"self"}}'
    )


def test_equal_requests_are_equal_text() -> None:
    facts = Facts(flow=FlowFacts(classes=frozenset("zyxwabc")))
    again = Facts(flow=FlowFacts(classes=frozenset("cbawxyz")))
    assert encoder(CONTEXT)({}, facts, frozenset("ab")) == encoder(CONTEXT)({}, again, frozenset("ba"))
