"""Packs held against what real servers say of their tools, as it was recorded (`packs/*.json`, from `fiducial contracts
list`): every tool and parameter is described, takes what the server takes, and is no milder than what can be guessed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from fiducial.charter.arguments import arguments_checker
from fiducial.charter.contracts import Audience, Contract, Effect, Role
from fiducial.charter.fit import misfits
from fiducial.charter.infer import Tool, infer_contract, read_tools
from fiducial.charter.packs.shipped import load_pack, pack_names

RECORDED = Path(__file__).parent / "packs"
TOOLS = [
    (path.stem, tool.name)
    for path in sorted(RECORDED.glob("*.json"))
    for tool in read_tools(json.loads(path.read_text()))
]
_EFFECTS, _AUDIENCES = list(Effect), list(Audience)
_ROLES = [Role.OPTION, Role.CONTENT, Role.MAGNITUDE, Role.TARGET]
"""Mildest first."""


@cache
def listed(pack: str) -> dict[str, Tool]:
    """The tools that the pack's server listed."""
    return {tool.name: tool for tool in read_tools(json.loads((RECORDED / f"{pack}.json").read_text()))}


def test_every_pack_was_recorded() -> None:
    assert {path.stem for path in RECORDED.glob("*.json")} == set(pack_names())


@pytest.mark.parametrize("pack", pack_names())
def test_a_pack_fits_its_server(pack: str) -> None:
    found = misfits(load_pack(pack).contracts, listed(pack).values())
    assert [each for each in found if each.code != "milder" or each.tool not in load_pack(pack).reasons] == []


def milder(contract: Contract, tool: Tool) -> list[str]:
    """In what the contract is milder than what can be guessed of the tool from its names, words and annotations."""
    guess = infer_contract(tool)
    found = []
    if _EFFECTS.index(contract.effect) < _EFFECTS.index(guess.effect):
        found.append(f"effect {contract.effect.value} < {guess.effect.value}")
    if contract.effect is not Effect.READ and _AUDIENCES.index(contract.audience) < _AUDIENCES.index(guess.audience):
        found.append(f"audience {contract.audience.value} < {guess.audience.value}")
    for name, parameter in contract.parameters.items():
        role = guess.parameters[name].role
        if contract.effect is not Effect.READ and _ROLES.index(parameter.role) < _ROLES.index(role):
            found.append(f"{name} {parameter.role.value} < {role.value}")
        if missing := set(guess.parameters[name].classes) - set(parameter.classes):
            found.append(f"{name} without {sorted(missing)}")
    return found


@pytest.mark.parametrize(("pack", "name"), TOOLS, ids=lambda value: value)
def test_a_contract_is_no_milder_than_a_guess_unless_the_pack_says_why(pack: str, name: str) -> None:
    found = milder(load_pack(pack).contracts[name], listed(pack)[name])
    reason = load_pack(pack).reasons.get(name)
    assert bool(found) == bool(reason), found or f"nothing is milder, and the pack says why: {reason}"


PROGRAMS = {
    "query",
    "sql",
    "code",
    "function",
    "script",
    "command",
    "subCommand",
    "args",
    "flags",
    "manifest",
    "patchData",
}


@pytest.mark.parametrize("pack", pack_names())
def test_what_says_itself_on_what_it_acts_is_a_target(pack: str) -> None:
    found = {
        f"{tool}.{name}": parameter.role
        for tool, contract in load_pack(pack).contracts.items()
        for name, parameter in contract.parameters.items()
        if contract.effect is not Effect.READ and name in PROGRAMS and "enum" not in parameter.schema_
    }
    assert set(found.values()) <= {Role.TARGET}, found


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("  select *\nfrom orders ;\n", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("EXPLAIN SELECT 1", True),
        ("", False),
        (";", False),
        ("COMMIT", False),
        ("COMMIT; DROP TABLE orders", False),
        ("SELECT 1; COMMIT; DROP TABLE orders", False),
        ("SELECT 1;; SELECT 2", False),
        ("COPY orders TO PROGRAM 'sh'", False),
        ("DO $$ BEGIN END $$", False),
        ("selection", False),
        ("/* SELECT */ DROP TABLE orders", False),
        ("DROP TABLE orders\nSELECT 1", False),
    ],
)
def test_the_database_of_the_pack_postgres_is_read_only_by_its_contract(sql: str, reads: bool) -> None:
    assert (arguments_checker(load_pack("postgres").contracts["query"])({"sql": sql}) == []) is reads
