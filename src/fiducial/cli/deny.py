"""`fiducial deny`: say no to a request, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from fiducial.cli.holds import decided
from fiducial.cli.log import DEFAULT_DATABASE, AsJson, Database


def deny(
    hold: Annotated[str, typer.Argument(metavar="ID", help="Id of a request: hld_…")],
    by: Annotated[str, typer.Option(help="Who rejects it: a person of the console, in the role that is asked.")],
    why: Annotated[str, typer.Option(help="Why; the agent and the user are told.")],
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Reject the call that waits. The agent is told not to ask again, and the user can appeal.

    Exit status: 0 recorded; 2 could not be done.
    """
    decided(hold, by, "reject", why, db, json)
