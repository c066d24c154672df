"""`fiducial token`: let a program come in that runs agents."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from fiducial.cli.log import DEFAULT_DATABASE, By, Database, opened, who
from fiducial.cli.reporting import reporting
from fiducial.console.accounts import MAX_TOKEN, Accounts
from fiducial.core.clock import SystemClock
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError
from fiducial.oversight.people import People, Person


def token(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Id of the program, such as support-bot.")],
    days: Annotated[int, typer.Option(min=1, max=MAX_TOKEN.days, help="How long the token is good.")] = 90,
    by: By = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Print a token with which a program that runs agents comes in.

    It opens the doors of `fiducial up`. It is shown once, and only its hash is kept. The console lists such programs
    with the people, and can revoke what they have. Exit status: 0 printed; 2 could not be done.
    """
    with reporting(), opened(db) as store:
        clock = SystemClock()
        people = People(store, clock)
        known = people.find(PersonId(host))
        if known is None:
            program = Person(id=PersonId(host), name=host, console=("host",))
            known = people.add(program, by=PersonId(who(by)))
        if "host" not in known.person.console or not known.person.active:
            raise OversightError(
                f"`{host}` is somebody who may not come in as a host; an administrator can change that"
            )
        accounts = Accounts(store, people, clock, idle=timedelta(minutes=30), lifetime=timedelta(hours=12))
        secret = accounts.make_token(known.person, "made in a terminal", frozenset({"host"}), timedelta(days=days))
    typer.echo(secret)
