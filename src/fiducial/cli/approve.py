"""`fiducial approve`: say yes to a request, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from fiducial.cli.holds import decided
from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database


def approve(
    hold: Annotated[str, typer.Argument(metavar="ID", help="Id of a request: hld_…")],
    why: Annotated[str, typer.Option(help="A note.")] = "",
    by: By = None,
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Approve exactly the call that waits, once. It is decided afresh when the agent makes it.

    Who does it has to be a person of the console, in the role that is asked.

    Exit status: 0 recorded; 2 could not be done.
    """
    decided(hold, by, "approve", why, db, json)
