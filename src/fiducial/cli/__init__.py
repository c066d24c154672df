"""The `fiducial` command, one file per subcommand."""

from __future__ import annotations

import sys

import typer

from fiducial.cli import check, contracts, decide, explain, init, log
from fiducial.errors import FiducialError

app = typer.Typer(
    name="fiducial",
    help="The alignment control plane for AI agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("decide")(decide.decide)
app.command("explain")(explain.explain)
app.add_typer(contracts.app, name="contracts")
app.add_typer(log.app, name="log")


def main() -> None:
    """Run the command line. Exit status 0: clean; 1: findings; 2: could not run."""
    try:
        app()
    except FiducialError as error:
        sys.stderr.write(f"fiducial: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)


__all__ = ["app", "main"]
