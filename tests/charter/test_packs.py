"""Packs as charters take them: what is added, what is refused, where, and that a pack never has the last word."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from fiducial.charter.contracts import Contract
from fiducial.charter.load import parse_charter
from fiducial.charter.model import BUILT_IN, Charter
from fiducial.charter.packs import shipped
from fiducial.charter.packs.shipped import load_pack, pack_names
from fiducial.errors import CharterError, Problem

ABOUT = "agent: support\nowners: {responsible: a, accountable: b}\n"
INTENT = "clauses: [{id: one, statement: s, owner: o, measures: [m]}]\n"
POLICY = '@id("charter/p") permit (principal, action, resource);\n'
ONE = """\
area: files
about: Things.
servers: [{package: "npm:things", version: 1.2.3, held: called}]
tools:
  find: {effect: read, kind: read, parameters: {id: {role: option}}}
  drop: {effect: irreversible, kind: delete, parameters: {id: {role: target}}}
  keep: {effect: reversible, kind: create, undo: {tool: drop, arguments: {id: $result.id}}}
"""
TWO = """\
area: files
about: Other things.
servers: [{package: "pypi:others", version: "7", held: listed}]
tools:
  find: {effect: read, kind: read, parameters: {id: {role: option}}}
  drop: {effect: compensable, kind: delete, parameters: {id: {role: target}}}
  turn: {effect: reversible, kind: update}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packs, and no others."""
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(TWO)
    monkeypatch.setattr(shipped.resources, "files", lambda _: tmp_path)
    load_pack.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def afresh() -> object:
    yield
    load_pack.cache_clear()


def read(contracts: str, about: str = "", **more: str) -> tuple[Charter | None, list[Problem]]:
    files = {
        "charter.yaml": ABOUT + about,
        "contracts.yaml": contracts,
        "intent.yaml": INTENT,
        "policies/p.cedar": POLICY,
    }
    return parse_charter({**files, **more})


def charter(contracts: str) -> Charter:
    found, problems = read(contracts)
    assert found is not None, problems
    assert problems == []
    return found


def only(problems: list[Problem], code: str, where: str, *says: str) -> None:
    (problem,) = problems
    assert (problem.code, f"{problem.file}:{problem.line}") == (code, where), problem
    for text in says:
        assert text in str(problem), problem


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("written", ["on", "{pack: on}"])
def test_a_pack_that_is_not_there(written: str) -> None:
    found, problems = read(f"packs:\n  - two\n  - {written.replace('on', 'onne')}\n")
    assert found is None
    only(problems, "unknown-pack", "contracts.yaml:3", "`onne`", "did you mean `one`?")


def test_a_pack_that_resembles_none_is_not_there_either() -> None:
    only(read("packs: [zzz]\n")[1], "unknown-pack", "contracts.yaml:1", "fiducial packs list")


@pytest.mark.parametrize("name", ["../one", "one.yaml", "/etc/passwd", "", "ONE"])
def test_a_pack_is_a_name_and_no_path(name: str) -> None:
    found, problems = read(f'packs: ["{name}"]\n')
    assert found is None
    assert problems


def test_with_a_pack_that_is_not_there_no_tool_is_called_unknown() -> None:
    case = "cases: [{name: n, call: {tool: anything}, expect: {verdict: denied}}]\n"
    _, problems = read("packs: [onne]\n", **{"cases/c.yaml": case})
    assert [problem.code for problem in problems] == ["unknown-pack"]
    _, problems = read("packs: [one]\n", **{"cases/c.yaml": case})
    assert [problem.code for problem in problems] == ["unknown-tool"]


@pytest.mark.parametrize(
    ("written", "code", "says"),
    [
        ("packs: one\n", "invalid-value", "`packs` must be a list"),
        ("packs: [3]\n", "invalid-value", "mapping"),
        ("packs: [{server: s}]\n", "missing-key", "`pack` is missing"),
        ("packs: [{pack: one, onyl: [find]}]\n", "unknown-key", "did you mean `only`?"),
        ("packs: [{pack: one, only: []}]\n", "invalid-value", "it is empty"),
        ("packs: [{pack: one, only: find}]\n", "invalid-value", "a list"),
        ("packs: [{pack: one, server: ''}]\n", "invalid-value", "it is empty"),
        ("packs: [{pack: one, only: [fnid]}]\n", "unknown-tool", "did you mean `find`?"),
        ("pakcs: [one]\n", "unknown-key", "did you mean `packs`?"),
        ("packs: [one]\ntoosl: {}\n", "unknown-key", "did you mean `tools`?"),
    ],
)
def test_what_is_written_wrong(written: str, code: str, says: str) -> None:
    found, problems = read(written)
    assert found is None
    assert code in {problem.code for problem in problems}
    assert says in " ".join(map(str, problems))


def test_neither_tools_nor_packs_is_still_a_missing_key() -> None:
    only(read("")[1], "missing-key", "contracts.yaml:1", "`tools` is missing")


def test_two_packs_that_describe_a_tool_differently() -> None:
    found, problems = read("packs:\n  - {pack: one, server: s}\n  - {pack: two, server: s}\n")
    assert found is None
    only(problems, "contradiction", "contracts.yaml:3", "`drop`: described by the packs `one` and `two`", "`only`")


def test_two_servers_with_tools_of_one_name_differ_too() -> None:
    found, problems = read("packs: [{pack: one, server: s}, {pack: one, server: t}]\n")
    assert found is None
    only(problems, "contradiction", "contracts.yaml:1", "`find`, `drop`, `keep`: described by")


def test_what_many_tools_contradict_in_is_told_in_a_line(folder: Path) -> None:
    tools = "".join(f"  tool{n}: {{effect: read, kind: read}}\n" for n in range(9))
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(ONE.partition("tools:")[0] + "tools:\n" + tools)
    only(read("packs: [a, b]\n")[1], "contradiction", "contracts.yaml:1", "`tool0`, `tool1`, `tool2` and 6 more: ")


# ── what is taken ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pack_adds_its_contracts() -> None:
    assert set(charter("packs: [one]\n").contracts) == {"find", "drop", "keep"}
    assert set(charter("packs: [one]\ntools:\n").contracts) == {"find", "drop", "keep"}
    assert charter("packs: []\ntools: {}\n").contracts == {}


def test_its_server_is_called_as_the_charter_says() -> None:
    assert {one.server for one in charter("packs: [one]\n").contracts.values()} == {"one"}
    assert {one.server for one in charter("packs: [{pack: one, server: s}]\n").contracts.values()} == {"s"}


def test_less_of_it_can_be_taken() -> None:
    assert set(charter("packs: [{pack: one, only: [find, drop]}]\n").contracts) == {"find", "drop"}
    assert set(charter("packs: [{pack: one, only: [find]}, {pack: two, only: [drop, turn]}]\n").contracts) == {
        "find",
        "drop",
        "turn",
    }


MILD = "tools:\n  drop: {effect: reversible, kind: delete, parameters: {id: {role: content}}}\n"


def test_the_charter_has_the_last_word_and_it_is_told_where_that_is_milder() -> None:
    found, problems = read(MILD + "packs: [one]\n")
    expected = {"effect": "reversible", "kind": "delete", "parameters": {"id": {"role": "content"}}}
    assert found is not None
    assert found.contracts["drop"] == Contract.model_validate(expected), "whole, and nothing of the pack's in it"
    only(problems, "milder-than-pack", "contracts.yaml:2", "`drop`", "pack `one`", "reversible, not irreversible")
    only(problems, "milder-than-pack", "contracts.yaml:2", "`id` is content, not target")
    assert problems[0].severity == "warning"


def test_what_is_milder_than_each_of_two_packs_is_told_of_both() -> None:
    _, problems = read(MILD + "packs: [{pack: one, server: s}, {pack: two, server: s, only: [drop]}]\n")
    assert [each.code for each in problems] == ["milder-than-pack"] * 2
    assert "compensable" in str(problems[1])


@pytest.mark.parametrize("taken", ["packs: [two]", "packs: [{pack: one, only: [find]}]"])
def test_what_is_no_milder_or_not_of_a_pack_that_is_taken_is_not_told(taken: str) -> None:
    own = "tools: {drop: {effect: compensable, kind: delete, parameters: {id: {role: target}}}}\n"
    assert read(own + taken + "\n")[1] == []


def test_its_word_settles_what_packs_disagree_about() -> None:
    own = "tools: {drop: {effect: irreversible, kind: delete, parameters: {id: {role: target}}}}\n"
    found = charter(own + "packs: [{pack: one, server: s}, {pack: two, server: s}]\n")
    assert found.contracts["drop"].server == "local"
    assert set(found.contracts) == {"find", "drop", "keep", "turn"}


def test_a_contract_of_its_own_with_an_error_is_not_made_up_for_by_a_pack() -> None:
    found, problems = read("tools: {drop: {effect: irreversible}}\npacks: [one]\n")
    assert found is None
    assert [problem.code for problem in problems] == ["missing-key"]


def test_packs_that_describe_a_tool_alike_do_not_disagree() -> None:
    both = "packs: [{pack: one, server: s, only: [find]}, {pack: two, server: s, only: [find]}]\n"
    assert set(charter(both).contracts) == {"find"}


# ── the digest, and where problems are ────────────────────────────────────────────────────────────────────────────


def test_a_changed_pack_is_a_changed_charter(folder: Path) -> None:
    before = charter("packs: [one]\n").digest
    (folder / "one.yaml").write_text("# more is said of it\n" + ONE)
    load_pack.cache_clear()
    assert charter("packs: [one]\n").digest == before, "comments do not count"
    (folder / "one.yaml").write_text(ONE.replace("effect: irreversible", "effect: compensable"))
    load_pack.cache_clear()
    assert charter("packs: [one]\n").digest != before


def test_a_charter_that_says_itself_what_a_pack_says_is_the_same_charter() -> None:
    spelled = ONE.partition("tools:\n")[2].replace("{effect", "{server: one, effect")
    assert charter("tools:\n" + spelled).digest == charter("packs: [one]\n").digest


def test_a_problem_in_a_pack_says_where_in_the_pack() -> None:
    _, problems = read("packs: [one]\n", about="tier: read\n")
    assert [(problem.file, problem.line, problem.code) for problem in problems] == [
        ("fiducial/charter/packs/one.yaml", 6, "contradiction"),
        ("fiducial/charter/packs/one.yaml", 7, "contradiction"),
    ]
    assert "the tier is `read`" in problems[0].message


def test_a_tool_that_another_one_is_undone_by_cannot_be_left_out() -> None:
    found, problems = read("packs: [{pack: one, only: [keep]}]\n")
    assert found is None
    only(problems, "unknown-tool", "fiducial/charter/packs/one.yaml:7", "there is no tool `drop`")


def test_problems_of_one_charter_do_not_stay_for_the_next() -> None:
    assert read("packs: [one]\n", about="tier: read\n")[1]
    charter("packs: [one]\n")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("tools: {", "this is not YAML"),
        (ONE.replace("effect: read", "effect: raed"), "`raed` is not a value of `effect`"),
        (ONE.replace("about: Things.\n", ""), "`about` is missing"),
        (ONE.replace("held: called", "held: perhaps"), "`perhaps`"),
        (ONE.partition("tools:")[0] + "tools: {}\n", "empty"),
        (ONE.replace("{effect: read,", "{server: s, effect: read,"), "`find` has a `server`"),
        (ONE + "reasons: {fnid: it is mild}\n", "there is no tool `fnid`"),
        (ONE + "left_out: {fnid: {file: it would be written}}\n", "there is no tool `fnid`"),
        (ONE + "tools: {}\n", "a second time"),
    ],
)
def test_a_pack_that_is_not_sound_is_refused_whole(folder: Path, broken: str, says: str) -> None:
    (folder / "one.yaml").write_text(broken)
    with pytest.raises(CharterError, match=r"one\.yaml") as raised:
        load_pack("one")
    assert says in str(raised.value)
    found, problems = read("packs: [one, two]\n")
    assert found is None
    assert says in " ".join(map(str, problems))


# ── those that ship ───────────────────────────────────────────────────────────────────────────────────────────────

SHIPPED = Path(str(resources.files("fiducial.charter.packs")))
NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))


@pytest.fixture
def really(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped.resources, "files", lambda _: SHIPPED)
    load_pack.cache_clear()


@pytest.mark.usefixtures("really")
def test_every_area_that_agents_meet_most_has_a_pack() -> None:
    areas = {load_pack(name).area for name in pack_names()}
    assert {
        "files",
        "sql",
        "email",
        "calendar",
        "repositories",
        "ci",
        "payments",
        "crm",
        "erp",
        "support",
        "web",
    } <= areas


@pytest.mark.usefixtures("really")
@pytest.mark.parametrize("name", NAMES)
def test_a_pack_that_ships_is_sound_by_itself(name: str) -> None:
    pack = load_pack(name)
    found = charter(f"packs: [{name}]\n")
    assert set(found.contracts) == set(pack.contracts)
    for tool, contract in found.contracts.items():
        assert tool not in BUILT_IN
        assert not contract.guessed, f"{tool}: a pack does not guess"
        assert not any(parameter.guessed for parameter in contract.parameters.values())
        assert contract.description.endswith("."), f"{tool} is described in a sentence"
        assert len(contract.asked_by) == len(set(contract.asked_by))
        assert contract.asked_by, f"{tool}: no words ask for it"
