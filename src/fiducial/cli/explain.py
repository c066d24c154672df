"""`fiducial explain`: a recorded decision, value by value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fiducial.cli.show import show_recorded
from fiducial.guard.explained import explained


def explain(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Id of a decision: dec_…")],
    db: Annotated[Path | None, typer.Option("--db", help="The ledger; default .fiducial/fiducial.db.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explain a recorded decision: which policy, which clause, which value came from where, what came of it.

    Exit status: 0 found, 1 not in the ledger, 2 could not run.
    """
    path = db if db is not None else Path(os.environ.get("FIDUCIAL_DB", ".fiducial/fiducial.db"))
    found = explained(path, decision)
    if found is None:
        typer.echo(f"fiducial: no decision `{decision}` in `{path}`; `fiducial log tail` lists the latest", err=True)
        raise typer.Exit(1)
    show_recorded(Console(), found, as_json=json)
