"""`fiducial undo`, run as a user would, on a store that another process wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from fiducial.cli import app
from fiducial.core.clock import SystemClock
from fiducial.core.ids import PersonId
from fiducial.guard.guard import Guard
from fiducial.oversight.captures import Files
from fiducial.oversight.people import People, Person
from fiducial.policy.load import load_charter
from fiducial.store.sqlite import SqliteStore

FILES = {
    "charter.yaml": "agent: bot\nowners: {responsible: a, accountable: b}\nbaseline: none\nroles: [clerk]\n",
    "contracts.yaml": """tools:
  write:
    effect: reversible
    kind: update
    parameters: {path: {role: target}, text: {role: content}}
    capture: {driver: files, tool: restore, arguments: {path: $arguments.path}}
  restore:
    effect: reversible
    kind: update
    parameters: {path: {role: target}}
  tag:
    effect: reversible
    kind: update
    parameters: {name: {role: target}}
    undo: {tool: untag, arguments: {name: $arguments.name}}
  untag: {effect: reversible, kind: update, parameters: {name: {role: target}}}
""",
    "policies/main.cedar": '@id("charter/all") permit (principal, action in Action::"declared", resource);\n'
    '@id("charter/ask") @hold("clerk") forbid (principal, action == Action::"untag", resource)\n'
    'when { context.input.name == "held" };\n',
    "wiring_for_undo.py": """
from pathlib import Path
from fiducial.oversight.captures import Files

def untag(name):
    with open("untagged", "a") as file:
        file.write(name + "\\n")

TOOLS = {"untag": untag}
CAPTURES = {"files": Files("notes")}
NUMBER = 5
""",
}
WIRED = ("--tools", "wiring_for_undo:TOOLS", "--captures", "wiring_for_undo:CAPTURES")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "wiring_for_undo", raising=False)
    return tmp_path


def began(home: Path, *tags: str) -> str:
    with SqliteStore(home / "log.db") as store:
        guard = Guard(load_charter(home), store=store, captures={"files": Files(home / "notes")})
        with guard.session(user="ann") as session:
            for tag in tags:
                assert session.call("tag", {"name": tag}, run=lambda name: None).status == "ok"
            arguments = {"path": "a\x1b[31m", "text": "x"}
            wrote = session.call("write", arguments, run=lambda path, text: (home / "notes" / path).write_text(text))
            assert wrote.status == "ok"
    return session.id


def run(session: str, *more: str) -> tuple[int, str]:
    arguments = ["undo", session, "--by", "olga", "--why", "a test", "--db", "log.db", *more]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "60"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def as_json(session: str, *more: str) -> tuple[int, dict[str, Any]]:
    code, output = run(session, *more, "--json")
    return code, json.loads(output)


def test_a_dry_run_and_then_the_undo_and_then_nothing_more(home: Path) -> None:
    session = began(home, "one", "two")
    code, output = run(session, "--dry-run", *WIRED)
    assert code == 0
    assert "undoable" in output
    assert "\x1b[31m" not in output, "what agents wrote is shown as text"
    assert 'untag {"name":"two"}' in output
    assert not (home / "untagged").exists()
    code, report = as_json(session, *WIRED)
    assert (code, report["complete"]) == (0, True)
    assert [each["outcome"] for each in report["effects"]] == ["undone"] * 3
    assert (home / "untagged").read_text().split() == ["two", "one"]
    assert list((home / "notes").iterdir()) == []
    code, report = as_json(session, *WIRED)
    assert (code, [each["outcome"] for each in report["effects"]]) == (0, ["already"] * 3)
    assert (home / "untagged").read_text().split() == ["two", "one"]


def test_a_dry_run_says_what_is_lacking(home: Path) -> None:
    session = began(home, "one")
    code, output = run(session, "--dry-run")
    assert code == 1
    assert "needs the tool `untag`" in output
    assert "needs the capture `files`" in output
    code, report = as_json(session, "--dry-run")
    assert (code, [each["lacks"] for each in report["effects"]]) == (1, ["the capture `files`", "the tool `untag`"])


def test_what_is_left_is_a_finding(home: Path) -> None:
    session = began(home, "held", "free")
    code, report = as_json(session, *WIRED)
    assert code == 1
    assert [each["outcome"] for each in report["effects"]] == ["undone", "undone", "held"]
    hold = report["effects"][2]["hold"]
    assert hold.startswith("hld_")
    code, output = run(session, *WIRED)
    assert code == 1
    assert f"\n  {hold}\n" in output, "what `approve` takes stands whole on a line of its own"
    assert "run the same command again when people have answered" in output
    code, report = as_json(session)
    assert [each["outcome"] for each in report["effects"]] == ["already", "already", "impossible"]


@pytest.mark.parametrize("gone", [False, True])
def test_the_same_command_goes_on_while_whoever_approved_still_may(home: Path, gone: bool) -> None:
    session = began(home, "held")
    with SqliteStore(home / "log.db") as store:
        people = People(store, SystemClock())
        added = people.add(Person(id=PersonId("cleo"), name="Cleo", roles=("clerk",)), by=PersonId("olga"))
    hold = as_json(session, *WIRED)[1]["effects"][1]["hold"]
    approved = CliRunner().invoke(app, ["approve", hold, "--by", "cleo", "--db", "log.db"])
    assert approved.exit_code == 0, approved.output
    if gone:
        with SqliteStore(home / "log.db") as store:
            dismissed = msgspec.structs.replace(added.person, active=False)
            People(store, SystemClock()).change(dismissed, version=added.version, by=PersonId("olga"), act="changed")
    code, report = as_json(session, *WIRED)
    assert (code, report["effects"][1]["outcome"]) == ((1, "held") if gone else (0, "undone"))
    assert (home / "untagged").exists() is not gone


def test_older_effects_wait_or_go_on_without_a_newer_one(home: Path) -> None:
    session = began(home, "free", "held")
    code, report = as_json(session, *WIRED)
    assert (code, [each["outcome"] for each in report["effects"]]) == (1, ["undone", "held", "waits"])
    assert not (home / "untagged").exists()
    code, output = run(session, *WIRED[:2], "--force")
    assert code == 1
    assert "waits for a newer one, `tag`" in " ".join(output.split())
    newer = report["effects"][1]["decision"]
    code, report = as_json(session, *WIRED, "--leave", newer)
    assert (code, [each["outcome"] for each in report["effects"]]) == (0, ["already", "undone"])
    assert (home / "untagged").read_text().split() == ["free"]
    assert run(session, *WIRED, "--leave", "dec_nowhere")[0] == 2


def test_only_from_an_event_on(home: Path) -> None:
    session = began(home, "one", "two")
    _, report = as_json(session, "--dry-run")
    middle = report["effects"][1]["event"]
    code, report = as_json(session, "--from", middle, *WIRED)
    assert (code, len(report["effects"])) == (0, 2)
    assert (home / "untagged").read_text().split() == ["two"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ses_nowhere",),
        ("SESSION", "--db", "none.db"),
        ("SESSION", "--charter", "none"),
        ("SESSION", "--tools", "no_such_module:TOOLS"),
        ("SESSION", "--tools", "wiring_for_undo"),
        ("SESSION", "--captures", "wiring_for_undo:NUMBER"),
        ("SESSION", "--from", "evt_nowhere"),
    ],
)
def test_what_cannot_run_says_so(home: Path, arguments: tuple[str, ...]) -> None:
    session = began(home)
    code, output = run(*(session if each == "SESSION" else each for each in arguments))
    assert code == 2
    assert output.startswith("fiducial: ")
    assert not (home / "none.db").exists()
