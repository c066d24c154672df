"""`fiducial packs`, and what other commands do with packs and with what servers list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiducial.charter.load import parse_charter
from fiducial.charter.packs.shipped import load_pack, pack_names
from fiducial.cli import app
from fiducial.errors import CharterError
from fiducial.policy.load import check_charter

SERVER = '''
from mcp.server.mcpserver import MCPServer

server = MCPServer("shed")

@server.tool()
def look_up(name: str) -> str:
    """Looks something up."""
    return name

server.run()
'''


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})


def test_packs_are_listed_with_what_they_were_held_against() -> None:
    listed = run("packs", "list")
    assert listed.exit_code == 0
    for name in pack_names():
        assert f"\n{name} " in listed.output
    found = json.loads(run("packs", "list", "--json").output)["packs"]
    assert [pack["name"] for pack in found] == pack_names()
    assert all(pack["servers"] and pack["tools"] and pack["digest"].startswith("sha256:") for pack in found)


@pytest.mark.parametrize("name", pack_names())
def test_what_is_shown_of_a_pack_is_a_contracts_file_that_says_the_same(name: str) -> None:
    text = run("packs", "show", name).output
    about = "agent: a\nowners: {responsible: r, accountable: a}\n"
    charter, _ = parse_charter({"charter.yaml": about, "contracts.yaml": text})
    assert charter is not None
    assert charter.contracts == load_pack(name).contracts
    for tool, reason in load_pack(name).reasons.items():
        assert f"# {tool}: {reason}" in text


def test_one_tool_of_a_pack_is_shown() -> None:
    shown = run("packs", "show", "filesystem", "--tool", "move_file").output
    assert "move_file:" in shown
    assert "write_file" not in shown


def test_what_is_not_there_cannot_be_shown() -> None:
    wrong = run("packs", "show", "filesistem").exception
    assert isinstance(wrong, CharterError)
    assert "did you mean `filesystem`?" in str(wrong)
    wrong = run("packs", "show", "filesystem", "--tool", "mov_file").exception
    assert isinstance(wrong, CharterError)
    assert "did you mean `move_file`?" in str(wrong)


@pytest.mark.parametrize("name", pack_names())
def test_a_charter_begins_with_a_pack(name: str, tmp_path: Path) -> None:
    assert run("init", tmp_path / "a", "--pack", name).exit_code == 0
    charter, problems = check_charter(tmp_path / "a")
    assert charter is not None
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert set(charter.contracts) == set(load_pack(name).contracts)
    assert run("check", tmp_path / "a").exit_code == 0


def test_a_charter_cannot_begin_with_a_pack_that_is_not_there(tmp_path: Path) -> None:
    assert isinstance(run("init", tmp_path / "a", "--pack", "filesistem").exception, CharterError)
    assert not (tmp_path / "a").exists()


def test_of_a_server_only_what_the_packs_leave_out_is_drafted(tmp_path: Path) -> None:
    listed = [{"name": name, "description": "Deletes it.", "inputSchema": {}} for name in ("read_file", "wipe_disk")]
    (tmp_path / "tools.json").write_text(json.dumps({"tools": listed}))
    run("init", tmp_path / "a", "--pack", "filesystem", "--from-tools", tmp_path / "tools.json")
    charter, _ = check_charter(tmp_path / "a")
    assert charter is not None
    assert charter.contracts["read_file"].effect == "read"
    assert charter.contracts["wipe_disk"].guessed


def test_check_warns_of_what_does_not_fit_and_refuses_nothing(tmp_path: Path) -> None:
    run("init", tmp_path / "a", "--pack", "time")
    listed = [
        {"name": "get_current_time", "inputSchema": {"properties": {"zone": {"type": "string"}}}},
        {"name": "set_time"},
    ]
    (tmp_path / "tools.json").write_text(json.dumps({"tools": listed}))
    found = run("check", tmp_path / "a", "--tools", tmp_path / "tools.json", "--json")
    assert found.exit_code == 0
    assert [problem["code"] for problem in json.loads(found.output)["problems"]] == [
        "unlisted-tool", "undeclared-parameter", "unlisted-parameter", "undescribed-tool",
    ]  # fmt: skip
    assert json.loads(run("check", tmp_path / "a", "--json").output)["problems"] == []


LISTS = Path(__file__).parents[1] / "charter" / "packs"


@pytest.mark.parametrize("name", ["kubernetes", "playwright", "time"])
def test_a_pack_fits_its_server_without_a_warning(name: str, tmp_path: Path) -> None:
    run("init", tmp_path / "a", "--pack", name)
    found = json.loads(run("check", tmp_path / "a", "--tools", LISTS / f"{name}.json", "--json").output)
    assert found["problems"] == []


def test_a_contract_of_ones_own_that_is_milder_than_the_server_says_is_warned_of(tmp_path: Path) -> None:
    run("init", tmp_path / "a", "--pack", "playwright")
    own = "tools:\n  browser_hover:\n    {effect: read, kind: read, parameters: {element: {role: option}}}\n"
    with (tmp_path / "a" / "contracts.yaml").open("a") as contracts:
        contracts.write(own)
    found = json.loads(run("check", tmp_path / "a", "--tools", LISTS / "playwright.json", "--json").output)
    assert {"browser_hover"} == {
        each["message"].split("`")[1] for each in found["problems"] if each["code"] == "milder"
    }


def test_several_servers_are_checked_together(tmp_path: Path) -> None:
    run("init", tmp_path / "a", "--pack", "time")
    for name, schema in (("get_current_time", {"timezone": {}}), ("convert_time", {})):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"name": name, "inputSchema": {"properties": schema}}]))
    lists = [word for path in sorted(tmp_path.glob("*.json")) for word in ("--tools", str(path))]
    problems = json.loads(run("check", tmp_path / "a", *lists, "--json").output)["problems"]
    assert "unlisted-tool" not in {problem["code"] for problem in problems}


def test_a_list_that_cannot_be_read_ends_the_check(tmp_path: Path) -> None:
    run("init", tmp_path / "a", "--pack", "time")
    (tmp_path / "tools.json").write_text("{")
    assert isinstance(run("check", tmp_path / "a", "--tools", tmp_path / "tools.json").exception, CharterError)


def started(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """As a process of its own: the server writes into its standard error."""
    command = [sys.executable, "-m", "fiducial", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.long
def test_what_a_server_lists_can_be_had_for_other_commands(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    command = ["--", sys.executable, tmp_path / "server.py"]
    tools = tmp_path / "tools.json"
    tools.write_text(started("contracts", "list", *command).stdout)
    assert [tool["name"] for tool in json.loads(tools.read_text())["tools"]] == ["look_up"]
    assert "look_up:" in run("contracts", "infer", tools).output


@pytest.mark.parametrize("command", [["no-such-command-at-all"], pytest.param(["false"], marks=pytest.mark.long)])
def test_a_server_that_cannot_be_talked_to(command: list[str]) -> None:
    found = started("contracts", "list", "--", *command)
    assert found.returncode == 2
    assert f"the server `{command[0]}` cannot be talked to" in found.stderr
    assert "Traceback" not in found.stderr
