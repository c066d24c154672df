"""`fiducial init`: what it scaffolds loads, passes its own cases and is never written over anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fiducial.charter.infer import infer_contracts
from fiducial.charter.load import parse_charter, read_charter
from fiducial.cli.init import init, scaffold
from fiducial.errors import CharterError
from fiducial.guard.cases import run_cases
from fiducial.policy.load import check_charter

app = typer.Typer()
app.command()(init)
TOOLS = [
    {"name": "get_order", "description": "Gets an order", "inputSchema": {"properties": {"id": {"type": "string"}}}},
    {"name": "pay: no 'quotes'", "description": "Pays", "inputSchema": {"properties": {"to": {"type": "string"}}}},
]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def assert_clean(directory: Path) -> None:
    charter, problems = check_charter(directory)
    assert charter is not None
    assert problems == [] or not charter.contracts, "with no tools, rules that apply to none are warned about"
    assert all(problem.severity == "warning" for problem in problems)
    results = run_cases(charter)
    assert len(results) >= 1
    assert all(result.passed for result in results), results


def test_the_scaffold_passes_check_and_explains_itself(tmp_path: Path) -> None:
    assert "fiducial check" in run(str(tmp_path / "My Agent 2"))
    assert_clean(tmp_path / "My Agent 2")
    charter, _ = read_charter(tmp_path / "My Agent 2")
    assert charter is not None
    assert charter.about.agent == "my-agent-2"
    conditions = [(clause.never, clause.never_without_approval, clause.measures) for clause in charter.clauses]
    assert [sum(map(bool, kinds)) for kinds in conditions] == [1, 1, 1]
    assert len({tuple(map(bool, kinds)) for kinds in conditions}) == 3
    for file, text in scaffold("a").items():
        comments = [line for line in text.splitlines() if line.lstrip().startswith(("#", "//"))]
        assert len(comments) >= 2, file


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_scaffold_from_tools_passes_check(tmp_path: Path, count: int) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps({"tools": TOOLS[:count]}))
    run(str(tmp_path / "c"), "--from-tools", str(tools), "--agent", "shop")
    assert_clean(tmp_path / "c")
    charter, _ = read_charter(tmp_path / "c")
    assert charter is not None
    assert charter.about.agent == "shop"
    assert charter.contracts == infer_contracts(TOOLS[:count])


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "main.cedar").write_text("mine")
    (tmp_path / "README.md").write_text("also mine")
    with pytest.raises(CharterError, match="never written over"):
        CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "policies"]
    assert (tmp_path / "policies" / "main.cedar").read_text() == "mine"


def test_what_cannot_be_done_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.json").write_text("{")
    for arguments, says in (
        ([str(tmp_path / "c"), "--agent", "Not An Id"], "not usable"),
        ([str(tmp_path / "file" / "c")], "cannot be written"),
        ([str(tmp_path / "c"), "--from-tools", str(tmp_path / "none.json")], "cannot be read"),
        ([str(tmp_path / "c"), "--from-tools", str(tmp_path / "bad.json")], "is not JSON"),
    ):
        with pytest.raises(CharterError, match=says) as caught:
            CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert ":0:" not in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["", "1", "--", "été", "x" * 100, "9-lives"])
def test_any_directory_name_gives_an_agent(tmp_path: Path, name: str) -> None:
    directory = tmp_path / ("d" + name) if name in ("", "--") else tmp_path / name
    run(str(directory))
    assert read_charter(directory)[0] is not None


def test_the_scaffold_is_a_charter_without_a_disk() -> None:
    charter, problems = parse_charter(scaffold("agent"))
    assert charter is not None
    assert problems == []
