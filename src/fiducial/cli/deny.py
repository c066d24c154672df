"""`fiducial deny`: say no to a request, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from fiducial.cli.holds import decided
from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database


def deny(
    hold: Annotated[str, typer.Argument(metavar="ID", help="Id of a request: hld_…")],
    why: Annotated[str, typer.Option(help="Why; the agent and the user are told.")],
    by: By = None,
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Reject the call that waits. The agent is told not to ask again, and the user can appeal.

    Who does it has to be a person of the console, in the role that is asked.

    Exit status: 0 recorded; 2 could not be done.
    """
    decided(hold, by, "reject", why, db, json)
