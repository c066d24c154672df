"""`fiducial halt` and `fiducial resume`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiducial.cli import app
from fiducial.store.sqlite import SqliteStore


@pytest.fixture
def run(tmp_path: Path) -> Any:
    SqliteStore(tmp_path / "log.db").close()

    def typed(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--db", str(tmp_path / "log.db")])

    return typed


@pytest.mark.parametrize(
    "words",
    [
        ("halt",), ("halt", "--all", "--why", "x"), ("resume", "hlt_1", "--why", "x"), ("holds",), ("approve", "hld_1"),
        ("deny", "hld_1", "--why", "x"),
    ],
)  # fmt: skip
def test_a_path_that_is_misspelt_is_no_new_store(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--db", str(tmp_path / "nosuch.db")])
    assert result.exit_code == 2
    assert "there is no database" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_stop_list_and_start_again(run: Any) -> None:
    assert "nothing is stopped" in run("halt").output
    ordered = run("halt", "--tool", "send_money", "--why", "incident \x1b[2J7", "--by", "ann", "--json")
    assert ordered.exit_code == 0, ordered.output
    halt = json.loads(ordered.output)
    assert (halt["tool"], halt["by"], halt["lifted_us"]) == ("send_money", "ann", 0)
    listed = run("halt").output
    assert "tool `send_money`" in listed
    assert "\x1b" not in listed
    assert run("resume", halt["id"], "--by", "ann", "--why", "over").exit_code == 0
    assert "nothing is stopped" in run("halt").output


@pytest.mark.parametrize(
    "words",
    [
        ("--all",),
        ("--why", "x", "--by", "ann"),
        ("--why", " ", "--all", "--by", "ann"),
        ("--why", "x", "--all", "--tool", "t", "--by", "ann"),
    ],
)
def test_what_is_missing_is_said(run: Any, words: tuple[str, ...]) -> None:
    result = run("halt", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("fiducial: ")
    assert "nothing is stopped" in run("halt").output


def test_who_runs_it_does_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "olga")
    halt = json.loads(run("halt", "--all", "--why", "drill", "--json").output)
    assert halt["by"] == "olga"
    assert halt["id"] in run("halt").output.splitlines(), "whole, to be copied"
    assert "somebody else" in run("resume", halt["id"], "--why", "over").stderr
    monkeypatch.setenv("FIDUCIAL_BY", "omar")
    assert run("resume", halt["id"], "--why", "over").exit_code == 0


def test_a_user_without_a_name_says_who_it_is(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    result = run("halt", "--all", "--why", "drill")
    assert result.exit_code == 2
    assert "--by" in result.stderr
    assert "nothing is stopped" in run("halt").output


def test_everything_takes_two(run: Any) -> None:
    halt = json.loads(run("halt", "--all", "--why", "drill", "--by", "ann", "--json").output)["id"]
    alone = run("resume", halt, "--by", "ann", "--why", "over")
    assert alone.exit_code == 2
    assert "somebody else" in alone.stderr
    assert run("resume", halt, "--by", "bob", "--why", "over").exit_code == 0
    assert run("resume", "hlt_none", "--by", "bob", "--why", "over").exit_code == 2
