"""Packs held against what real servers say of their tools, as it was recorded (`packs/*.json`, from `fiducial contracts
list`): every tool and parameter is described, takes what the server takes, and is no milder than what can be guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.arguments import arguments_checker
from fiducial.charter.contracts import Audience, Contract, Effect, Role
from fiducial.charter.fit import misfits
from fiducial.charter.infer import Tool, infer_contract, read_tools
from fiducial.charter.milder import ROLES
from fiducial.charter.packs.shipped import load_pack, pack_names
from fiducial.charter.schema import shape
from fiducial.charter.shape import Shape

RECORDED = Path(__file__).parent / "packs"
TOOLS = [
    (path.stem, tool.name)
    for path in sorted(RECORDED.glob("*.json"))
    for tool in read_tools(json.loads(path.read_text()))
]
_EFFECTS, _AUDIENCES = list(Effect), list(Audience)


@cache
def listed(pack: str) -> dict[str, Tool]:
    """The tools that the pack's server listed."""
    return {tool.name: tool for tool in read_tools(json.loads((RECORDED / f"{pack}.json").read_text()))}


def test_every_pack_was_recorded() -> None:
    assert {path.stem for path in RECORDED.glob("*.json")} == set(pack_names())


@pytest.mark.parametrize("pack", pack_names())
def test_a_pack_fits_its_server(pack: str) -> None:
    found = load_pack(pack)
    unfit = misfits(found.contracts, listed(pack).values())
    left = {(tool, at) for tool, said in found.left_out.items() for at in said}
    assert {(each.tool, each.at) for each in unfit if each.code != "milder"} == left
    assert {each.tool for each in unfit if each.code == "milder"} <= found.reasons.keys()


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
        if contract.effect is not Effect.READ and ROLES.index(parameter.role) < ROLES.index(role):
            found.append(f"{name} {parameter.role.value} < {role.value}")
        if missing := set(guess.parameters[name].classes) - set(parameter.classes):
            found.append(f"{name} without {sorted(missing)}")
    return found


@pytest.mark.parametrize(("pack", "name"), TOOLS, ids=lambda value: value)
def test_a_contract_is_no_milder_than_a_guess_unless_the_pack_says_why(pack: str, name: str) -> None:
    found = milder(load_pack(pack).contracts[name], listed(pack)[name])
    reason = load_pack(pack).reasons.get(name)
    assert bool(found) == bool(reason), found or f"nothing is milder, and the pack says why: {reason}"


PLACES = re.compile("filename|(output|save|dest|target|download)_?(dir|path|file|folder)", re.IGNORECASE)


def members(what: Shape, at: str) -> Iterator[tuple[str, Shape]]:
    """A shape and all in it, each with its path."""
    yield at, what
    for name, one in (what.properties or {}).items():
        yield from members(one, f"{at}.{name}")
    for one in (*what.one_of, *filter(None, (what.items,))):
        yield from members(one, at)


@pytest.mark.parametrize("pack", pack_names())
def test_what_only_reads_writes_no_file(pack: str) -> None:
    """A server that would write what it has read into a file is not given the file's name."""
    for tool, contract in load_pack(pack).contracts.items():
        for name, parameter in contract.parameters.items():
            for at, _ in members(shape(parameter.schema_), name):
                assert contract.effect is not Effect.READ or not PLACES.search(at), f"{tool}: {at}"


def test_what_is_left_out_is_refused() -> None:
    for pack in map(load_pack, pack_names()):
        for tool, said in pack.left_out.items():
            for at in said:
                name, _, member = at.partition(".")
                given = {name: {member: "x"} if member else "x"}
                wrong = arguments_checker(pack.contracts[tool])(given)
                assert [each for each in wrong if f"`{member or name}`" in each and "missing" not in each], (at, wrong)


@pytest.mark.parametrize("pack", pack_names())
def test_what_a_server_has_come_to_take_is_refused(pack: str) -> None:
    """An argument, or a member of one, that the server of another version may know is not let through unseen."""
    for tool, contract in load_pack(pack).contracts.items():
        assert any("`since_then`" in each for each in arguments_checker(contract)({"since_then": 1})), tool
        for name, parameter in contract.parameters.items():
            for at, what in members(shape(parameter.schema_), name):
                assert what.properties is None or not what.additional, f"{tool}: {at}"


@pytest.mark.parametrize("pack", pack_names())
def test_an_object_of_anything_is_a_target(pack: str) -> None:
    """Members that nobody has declared may say where something goes, or who sees it."""
    for tool, contract in load_pack(pack).contracts.items():
        for name, parameter in contract.parameters.items():
            what = shape(parameter.schema_)
            anything = what.type == "object" and what.properties is None and what.values is None and what.additional
            assert contract.effect is Effect.READ or not anything or parameter.role is Role.TARGET, f"{tool}: {name}"


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
        ("explain (analyze) select 1", True),
        ("TABLE orders", True),
        ("values (1, 2)", True),
        ("select count(*) from t where a in ('x','it''s') and b = (select max ( b ) from u)", True),
        ("select a->>'x', b::numeric(10,2) from \"Order\" o join i on (o.id = i.o) where -(a/b) - 1 > -5", True),
        ("select round(avg(x), 2) over (partition by y), sum(a)/count(*) from t where c = 'Zürich'", True),
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
        ("select pg_read_file('/etc/passwd')", False),
        ("select pg_read_file ('/etc/passwd')", False),
        ("select pg_read_file/**/('/etc/passwd')", False),
        ("select pg_read_file--,\n('/etc/passwd')", False),
        ("select pg_catalog . pg_read_file\n('/etc/passwd')", False),
        ("select \"pg_read_file\"('/etc/passwd')", False),
        ("select U&\"pg\\005fsleep\" uescape '!' (1)", False),
        ("select E'\\' || pg_sleep(1) || '\\''", False),
        ("select $$'$$ || pg_sleep(1) || $$'$$", False),
        ("select * from dblink('host=x', 'select 1') as t (a int)", False),
        ("select count(*), lo_export(1, '/x')", False),
        ("select a-pg_sleep(1)", False),
        ("select x.count(1)", False),
        ("select discount(1)", False),
        ("select mycount (1)", False),
        ("select écount(1)", False),
    ],
)
def test_the_database_of_the_pack_postgres_is_read_only_by_its_contract(sql: str, reads: bool) -> None:
    assert (arguments_checker(load_pack("postgres").contracts["query"])({"sql": sql}) == []) is reads


WORDS = [
    "pg_sleep",
    "count",
    "from",
    "a",
    "1",
    "'x'",
    '"q"',
    ",",
    "=",
    ".",
    "-",
    "/",
    "*",
    " ",
    "\n",
    "(",
    ")",
    "é",
    "$$",
]


@given(st.lists(st.sampled_from(WORDS), max_size=12).map("".join))
def test_no_function_that_is_not_listed_is_called(text: str) -> None:
    """What the pattern lets through calls nothing else, by another way of reading: comments out, spaces out, and what
    stands before each parenthesis."""
    if arguments_checker(load_pack("postgres").contracts["query"])({"sql": f"select {text}"}) == []:
        assert "--" not in text
        assert "/*" not in text
        for before in f"select {text}".split("(")[:-1]:
            name = re.search(r"[^\s,=.*/()-]*(\.[^\s,=.*/()-]*)*$", before.rstrip())
            assert name is not None
            assert name[0] in ("", "select", "count", "from"), name
