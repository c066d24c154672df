"""`fiducial approve`: say yes to a request, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from fiducial.cli.holds import decided
from fiducial.cli.log import DEFAULT_DATABASE, AsJson, Database


def approve(
    hold: Annotated[str, typer.Argument(metavar="ID", help="Id of a request: hld_…")],
    by: Annotated[str, typer.Option(help="Who approves: a person of the console, in the role that is asked.")],
    why: Annotated[str, typer.Option(help="A note.")] = "",
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Approve exactly the call that waits, once. It is decided afresh when the agent makes it.

    Exit status: 0 recorded; 2 could not be done.
    """
    decided(hold, by, "approve", why, db, json)
