"""The command starts fast: nothing is imported that the subcommand does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import fiducial
from fiducial.cli import COMMANDS, app
from fiducial.store.sqlite import SqliteStore

HEAVY = ("cedarpy", "rich.markdown", "rich.traceback", "fiducial.guard.guard", "fiducial.charter.model")
"""Modules that take a tenth of a second and more."""


def imported(*words: str) -> set[str]:
    """Which of the heavy modules a command has imported when it ends."""
    script = (
        f"import sys\nsys.argv = {['fiducial', *words]!r}\nfrom fiducial.cli import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        f"print('\\n@', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rpartition("@")[2].split())


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["log", "--help"], ["log", "tail", "--help"]])
def test_help_and_version_import_nothing_heavy(words: list[str]) -> None:
    assert imported(*words) == set()


def test_reading_a_log_needs_no_policy_engine(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    SqliteStore(path).close()
    for words in (["tail"], ["verify"]):
        assert imported("log", *words, "--db", str(path)) & {"cedarpy", "fiducial.guard.guard"} == set()


def test_the_list_says_what_each_command_says_of_itself() -> None:
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    assert list(commands) == list(COMMANDS)
    for name, line in COMMANDS.items():
        assert commands[name].help.replace("\n", " ").startswith(line.rstrip(".")), name
        assert line in " ".join(CliRunner().invoke(app, ["--help"]).output.split())


def test_every_command_has_its_module_and_every_module_its_command() -> None:
    folder = Path(str(fiducial.__file__)).parent / "cli"
    made = {path.stem for path in folder.glob("*.py") if "typer." in path.read_text() and path.stem != "__init__"}
    helpers = {path.stem for path in folder.glob("*.py")} - made
    assert made >= COMMANDS.keys()
    assert not helpers & COMMANDS.keys()


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"fiducial {fiducial.__version__}\n"


def test_an_unknown_command_is_refused_with_the_likeliest() -> None:
    result = CliRunner().invoke(app, ["chekc"])
    assert result.exit_code == 2
    assert "'check'" in result.output


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fiducial", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"fiducial {fiducial.__version__}\n"
