"""Contracts written as YAML read back the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.contracts import Contract
from fiducial.charter.draft import draft_contracts
from fiducial.charter.load import parse_charter
from fiducial.charter.model import BUILT_IN
from fiducial.errors import CharterError

ABOUT = "agent: a\nowners: {responsible: a, accountable: a}\ndata_classes: [trade]\n"


def back(contracts: dict[str, Contract]) -> dict[str, Contract]:
    files = {"charter.yaml": ABOUT, "contracts.yaml": draft_contracts(contracts), "intent.yaml": "clauses:"}
    charter, problems = parse_charter(files)
    assert charter is not None, [*map(str, problems)]
    return charter.contracts


def test_every_field_survives() -> None:
    full: dict[str, Any] = {
        "effect": "compensable", "kind": "pay", "server": "bank",
        "description": "It's: \"quoted\", # and\nbroken \\d+ é",
        "audience": "third_party", "cost": "amount", "idempotency_key": "key", "timeout": "1500ms", "guessed": True,
        "asked_by": ["pay", "yes", "send money", "0123", "null", "- x", "a: b"] * 9,
        "parameters": {
            "amount": {"role": "magnitude", "unit": "USD", "schema": {"type": "number", "exclusiveMinimum": 0.5}},
            "key": {"role": "option", "required": False, "entity": "id"},
            "on": {"role": "target", "classes": ["trade"], "schema": {"type": "object", "required": ["a"],
                   "properties": {"a": {"enum": [1, "1", None, True, 1.5]}}}},
            "long": {"role": "content", "schema": {"type": "string", "description": "x" * 100, "pattern": "^a{1,9}$"}},
            "free": {"role": "content", "schema": {}},
        },
        "output": {"trusted": ["$.id"], "prose": ["$"], "untrusted": ["$..note"],
                   "classes": {"trade": ["$..['A b']", "$[*].x"]},
                   "records": "$.items"},
        "preview": {"tool": "look", "facts": {"cost": "$.c"}, "timeout": "2s"},
        "postcondition": {"tool": "look", "expect": {"$.a": "$arguments.amount"}},
        "undo": {"tool": "back", "within": "7d", "idempotent": True},
    }  # fmt: skip
    contracts = {
        "pay": Contract.model_validate(full),
        "look": Contract.model_validate({"effect": "read", "kind": "read"}),
        "back": Contract.model_validate(
            {
                "effect": "reversible",
                "kind": "update",
                "capture": {
                    "driver": "rows",
                    "tool": "pay",
                    "optional": True,
                    "timeout": "2s",
                    "arguments": {"amount": 1, "on": {"a": 1}, "long": "a", "free": 1},
                },
            }
        ),
        "yes: no": Contract.model_validate({"effect": "read", "kind": "fetch"}),
    }
    assert back(contracts) == contracts
    assert list(back(contracts)) == list(contracts)


def test_lines_stay_readable() -> None:
    contract = Contract.model_validate(
        {"effect": "read", "kind": "read", "asked_by": [f"look at number {i}" for i in range(60)]}
    )
    assert max(map(len, draft_contracts({"a": contract}).splitlines())) <= 120


_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)
_NAMES = _TEXT.filter(lambda name: 0 < len(name) <= 256 and name not in BUILT_IN)
_PHRASES = st.lists(st.from_regex(r"[ -~]{1,9}", fullmatch=True).filter(lambda text: any(map(str.isalnum, text))))


@given(st.dictionaries(_NAMES, st.tuples(_TEXT, _PHRASES), max_size=3))
def test_any_text_survives(written: dict[str, tuple[str, list[str]]]) -> None:
    contracts = {
        name: Contract.model_validate({"effect": "read", "kind": "read", "description": said, "asked_by": asked})
        for name, (said, asked) in written.items()
    }
    charter, problems = parse_charter({"charter.yaml": ABOUT, "contracts.yaml": draft_contracts(contracts)})
    if charter is None:  # characters that JSON allows in text and YAML nowhere
        assert {problem.code for problem in problems if problem.severity == "error"} == {"yaml-syntax"}
    else:
        assert charter.contracts == contracts


@pytest.mark.parametrize(
    "contracts",
    [
        {"\ud800": {}},
        {"look": {"parameters": {"\ud800": {"role": "option"}}}},
        {"look": {"parameters": {"a": {"role": "option", "schema": {"enum": ["\ud800"]}}}}},
    ],
)
def test_text_that_no_file_can_hold_is_refused(contracts: dict[str, dict[str, Any]]) -> None:
    made = {
        name: Contract.model_validate({"effect": "read", "kind": "read", **parts}) for name, parts in contracts.items()
    }
    with pytest.raises(CharterError, match="holds text that is not valid Unicode"):
        draft_contracts(made)
