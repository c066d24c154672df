"""`fiducial notify`: try out notifications, and make their links void."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fiducial.cli.log import DEFAULT_DATABASE, By, Database, opened, who
from fiducial.cli.reporting import console, fail, reporting, shown
from fiducial.console.links import Links
from fiducial.console.notify.message import test_message
from fiducial.console.notify.notifier import made
from fiducial.console.notify.settings import read_settings
from fiducial.core.clock import SystemClock
from fiducial.core.ids import PersonId, mint
from fiducial.errors import OversightError
from fiducial.oversight.people import People

app = typer.Typer(
    name="notify",
    help="Notifications: try them out, and make their links void.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("test")
def send_test(
    notify: Annotated[Path, typer.Option(metavar="FILE", help="The settings, as for `fiducial up`.")],
    to: Annotated[str, typer.Option(help="An address for channels that reach people at their own.")] = "",
    url: Annotated[str, typer.Option(help="Where browsers find the console.")] = "http://127.0.0.1:8440",
) -> None:
    """Send one test message through each channel, and say what came back.

    Exit status: 0 all went through; 1 some did not; 2 the settings cannot be used.
    """
    clock = SystemClock()
    try:
        settings = read_settings(notify, os.environ)
    except OversightError as error:
        fail(str(error), 2)
    now, bad = clock.unix_us(), 0
    message = test_message(url.rstrip("/"), mint("test", now // 1000), now)
    for name, written in settings.channels.items():
        channel = made(name, written, settings, clock)
        outcome = channel.send(message, [to] if to and channel.people else [])
        channel.close()
        went = outcome.state == "sent"
        bad += not went
        console().print(f"{'sent  ' if went else 'failed'}  {shown(name)}  {channel.kind}  {shown(outcome.said)}")
    if bad:
        raise typer.Exit(1)


@app.command()
def void(by: By = None, db: Database = DEFAULT_DATABASE) -> None:
    """Make every link in notifications worth nothing, because one came into wrong hands.

    Who is asked finds the request in the console's queue all the same.

    Exit status: 0 done; 2 could not be done.
    """
    with reporting(), opened(db) as store:
        people = People(store)
        person = PersonId(who(by))
        if people.find(person) is None:
            fail(f"there is no `{shown(person)}`; say who does it with --by", 2)
        Links(store, SystemClock()).void_all()
        people.note(person, by=person, act="links-voided")
    typer.echo("every link there was is void")
