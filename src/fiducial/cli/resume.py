"""`fiducial resume`: lift a halt."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database, opened, who
from fiducial.cli.reporting import console, print_json, reporting
from fiducial.core.clock import SystemClock
from fiducial.core.ids import GrantId, PersonId
from fiducial.guard.switches import Switches


def resume(
    halt: Annotated[str, typer.Argument(metavar="HALT", help="Id of a halt: hlt_…")],
    why: Annotated[str, typer.Option(help="Why; goes into the log, so it must name nobody.")],
    by: By = None,
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Lift a halt: calls that it stopped are decided again. A halt of everything takes another person to lift.

    Exit status: 0 done; 2 could not be done.
    """
    with reporting(), opened(db) as store:
        lifted = Switches(store, SystemClock()).lift(GrantId(halt), by=PersonId(who(by)), why=why)
    if json:
        print_json(msgspec.structs.asdict(lifted))
    else:
        console().print(f"{lifted.id} is lifted")
