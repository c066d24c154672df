"""The `fiducial` command, one file per subcommand.

A subcommand's module is imported when it is run: the policy engine and the charter's models take a second, and reading
a log needs neither. So the list of commands stands here, with what each is for in one line. Help is printed without
rich's frames, whose import takes longer than everything else.
"""

from __future__ import annotations

import sys
from collections import UserDict
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import fiducial
from fiducial.core.plain import plain
from fiducial.errors import FiducialError

COMMANDS = {
    "init": "Scaffold a charter with explanations.",
    "check": "Report every problem of a charter with file, line and the fix, and run its cases.",
    "decide": "Decide one call without running anything.",
    "explain": "Explain a recorded decision.",
    "contracts": "Draft contracts from what tool servers say about their tools.",
    "packs": "Contracts of widely used tools, which charters take by name.",
    "up": "Serve the console, where people see what agents do, decide what they are asked, and stop them; and the "
    "doors, through which programs that run agents come in.",
    "mcp": "Wrap an MCP server: write `fiducial mcp … --` before its command where your client starts it.",
    "skills": "Look whether skills (folders with a SKILL.md) are as they were pinned; the first time, pin them.",
    "pins": "Tools and skills that are not what they were when they were pinned.",
    "token": "Print a token with which a program that runs agents comes in.",
    "holds": "List the requests that wait for people.",
    "approve": "Approve exactly the call that waits, once.",
    "deny": "Reject the call that waits.",
    "notify": "Notifications: try them out, and make their links void.",
    "halt": "Stop every call that matches all parts given; without --why, list the halts in force.",
    "resume": "Lift a halt: calls that it stopped are decided again.",
    "undo": "Take back what a session did, newest first, and say what cannot be taken back and why.",
    "store": "The database around the log: migrate, check, back up, restore.",
    "log": "The ledger: what happened, kept so that an outsider can verify it.",
}
"""Each is a module beside this one, with a function of that name, or an `app` with commands of its own."""


class _Lazy(UserDict[str, Any]):
    """The commands by name, each made when it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.data = dict.fromkeys(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            self.data[name] = _command(name)
        return self.data[name]


def _command(name: str) -> Any:
    try:
        module = import_module(f"fiducial.cli.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "fiducial":
            raise
        extra = "mcp" if name == "mcp" else "console"
        typer.echo(f"fiducial: `{name}` needs more packages: `pip install 'fiducial[{extra}]'`", err=True)
        raise SystemExit(2) from None
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    if hasattr(module, "app"):
        holder.add_typer(module.app, name=name)
        group: Any = typer.main.get_command(holder)
        return group.commands[name]
    holder.command(name)(getattr(module, name))
    return typer.main.get_command(holder)


class _Commands(TyperGroup):
    """The group of all commands, which is listed without importing any."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Lazy()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    name="fiducial",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fiducial {fiducial.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The alignment control plane for AI agents."""


def main() -> None:
    """Run the command line. Exit status 0: clean; 1: findings; 2: could not run."""
    try:
        app()
    except FiducialError as error:
        sys.stderr.write(plain(f"fiducial: {error}\n", keep="\n"))
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)


__all__ = ["COMMANDS", "app", "main"]
