"""In what one contract is milder than another: every way of loosening one is told, and tightening is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.contracts import Audience, Contract, Effect
from fiducial.charter.milder import ROLES, milder
from fiducial.charter.packs.shipped import load_pack, pack_names

PAY: dict[str, Any] = {
    "effect": "irreversible",
    "kind": "pay",
    "audience": "third_party",
    "cost": "amount",
    "parameters": {
        "to": {"role": "target", "pattern": "^[A-Z]{2}", "classes": ["payment"]},
        "amount": {"role": "magnitude", "type": "number", "unit": "EUR"},
        "note": {"role": "content", "required": False},
    },
    "output": {"trusted": ["$.id"], "prose": ["$.state"], "untrusted": ["$.id.x"], "classes": {"payment": ["$.to"]}},
    "preview": {"tool": "look", "facts": {"cost": "$.cost"}},
    "postcondition": {"tool": "look", "expect": {"$.state": "paid"}},
}
PACKED = [one for name in pack_names() for one in load_pack(name).contracts.values()]


def pay(**other: Any) -> Contract:
    return Contract.model_validate(PAY | other)


def to(**other: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = PAY["parameters"]
    return parameters | {"to": parameters["to"] | other}


def output(**other: Any) -> dict[str, Any]:
    given: dict[str, Any] = PAY["output"]
    return given | other


@pytest.mark.parametrize(
    ("loosened", "told"),
    [
        ({"effect": "read"}, "its effect is read, not irreversible"),
        ({"effect": "compensable"}, "its effect is compensable, not irreversible"),
        (
            {"effect": "reversible", "capture": {"driver": "d", "tool": "t", "optional": True}},
            "its effect is reversible",
        ),
        ({"effect": "reversible", "undo": {"tool": "t"}}, "its effect is reversible"),
        ({"effect": "compensable", "capture": {"driver": "d", "tool": "t"}}, "its effect is compensable"),
        ({"kind": "update"}, "its kind is update, not pay"),
        ({"audience": "organization"}, "its audience is organization, not third_party"),
        ({"cost": None}, "its cost is left out"),
        ({"preview": None}, "its preview is left out"),
        ({"preview": {"tool": "other", "facts": {"cost": "$.cost"}}}, "its preview is another one"),
        ({"postcondition": None}, "its postcondition is left out"),
        ({"parameters": to(role="content")}, "`to` is content, not target"),
        ({"parameters": to(role="magnitude")}, "`to` is magnitude, not target"),
        ({"parameters": to(pattern="")}, "`to` takes other values"),
        ({"parameters": to(classes=[])}, "`to` does not hold `payment`"),
        ({"parameters": to() | {"file": {"role": "target"}}}, "it takes `file`"),
        ({"output": output(trusted=["$"])}, "its output is trusted at `$`"),
        ({"output": output(trusted=["$.id", "$.text"])}, "its output is trusted at `$.text`"),
        ({"output": output(prose=["$.state", "$.text"])}, "what is short in its output is trusted at `$.text`"),
        ({"output": output(untrusted=[])}, "its output is not untrusted at `$.id.x`"),
        ({"output": output(classes={})}, "its output does not hold payment at `$.to`"),
    ],
)
def test_what_is_loosened_is_told(loosened: dict[str, Any], told: str) -> None:
    (found,) = milder(pay(**loosened), pay())
    assert found.startswith(told)


@pytest.mark.parametrize(
    "tightened",
    [
        {},
        {"effect": "reversible", "capture": {"driver": "d", "tool": "t"}},
        {"audience": "public"},
        {"server": "elsewhere", "description": "Pays.", "asked_by": ["zahle"], "timeout": "5s"},
        {"parameters": to(classes=["payment", "identity"])},
        {"parameters": {"to": to()["to"]}, "cost": "amount"},
        {"output": output(trusted=[], prose=["$.id"])},
        {"output": output(untrusted=["$.id.x", "$.id.y"], classes={"payment": ["$.to", "$.id"]})},
    ],
)
def test_what_is_tightened_is_not_told(tightened: dict[str, Any]) -> None:
    assert milder(pay(**tightened), pay()) == []


@given(st.sampled_from(PACKED), st.data())
def test_a_contract_that_differs_in_one_thing_is_milder_one_way(one: Contract, data: st.DataObject) -> None:
    assert milder(one, one) == []
    orders: list[tuple[str, list[Any]]] = [("effect", list(Effect)), ("audience", list(Audience))]
    field, order = data.draw(st.sampled_from(orders))
    other = one.model_copy(update={field: data.draw(st.sampled_from(order))})
    above = order.index(getattr(other, field)) > order.index(getattr(one, field))
    assert (milder(one, other) != []) is above
    for name, parameter in one.parameters.items():
        role = data.draw(st.sampled_from(ROLES))
        moved = parameter.model_copy(update={"role": role})
        other = one.model_copy(update={"parameters": one.parameters | {name: moved}})
        assert (milder(one, other) != []) is (ROLES.index(role) > ROLES.index(parameter.role))
