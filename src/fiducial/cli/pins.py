"""`fiducial pins`: tools and skills that are not what they were when somebody came to rely on them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database, opened, who
from fiducial.cli.reporting import console, plain, print_json, reporting
from fiducial.core.clock import SystemClock, instant
from fiducial.core.ids import PersonId
from fiducial.oversight.pins import Pin, Pins, wholes

app = typer.Typer(no_args_is_help=True, help="Tools and skills that are not what they were when they were pinned.")
_STYLES = {"+": "green", "-": "red", "@": "dim"}


@app.command("list")
def list_pins(db: Database = DEFAULT_DATABASE, json: AsJson = False) -> None:
    """List what is quarantined, with the difference to what was pinned. Exit status: 0; 2 could not run."""
    with reporting(), opened(db) as store:
        found = Pins(store, SystemClock()).waiting()
    if json:
        together = {whole.server: whole.digest for whole in wholes(found)}
        waiting = [{**msgspec.to_builtins(change), "diff": change.diff()} for change in found]
        print_json({"waiting": waiting, "together": together})
        return
    out = console()
    if not found:
        out.print("nothing is quarantined")
    for number, change in enumerate(found):
        pin = change.offered
        if number:
            out.print()
        tool = "the server itself" if pin.tool is None else plain(pin.tool)
        out.print(Text(f"{plain(pin.server)}  {tool}  {pin.digest}", "bold"), soft_wrap=True)
        out.print(Text(f"  {plain(pin.why)}, found {instant(pin.at_us).strftime('%Y-%m-%d %H:%M:%S')} UTC"))
        if pin.kept_out is not None:
            out.print(Text(f"  {plain(pin.kept_out)} keeps it out"))
        for line in change.diff():
            out.print(Text("  " + plain(line), _STYLES.get(line[:1], "")), soft_wrap=True)
    for whole in wholes(found):
        out.print()
        out.print(
            Text(f"{plain(whole.server)}  all {len(whole.pins)} that wait  {whole.digest}", "bold"), soft_wrap=True
        )


Named = Annotated[
    str, typer.Argument(help="The server, as the host calls it (`fiducial mcp --name`); the folder of skills likewise.")
]
LookedAt = Annotated[str, typer.Argument(metavar="DIGEST", help="Of what you have looked at, as the list prints it.")]


@app.command()
def approve(
    server: Named,
    seen: LookedAt,
    together: Annotated[
        bool,
        typer.Option("--all", help="The digest is of all that waits of the server, as the list prints it at its end."),
    ] = False,
    by: By = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Rely on a tool as it is described now, on what a server says of itself, or on a skill. It takes an operator of
    the console. With `--all`, rely on all of a server that waits, as it was looked at: what came since is not among it.

    Sessions that are open take it when they next look at the server's tools; new ones at once. Exit status: 0 done; 2
    could not be done.
    """
    with reporting(), opened(db) as store:
        pins, person = Pins(store, SystemClock()), PersonId(who(by))
        relied = pins.approve_all(server, seen, person) if together else [pins.approve(server, seen, person)]
    for pin in relied:
        console().print(Text(f"{plain(server)}: {_what(pin)} is relied upon as it is now"))


@app.command("keep-out")
def keep_out(
    server: Named,
    seen: LookedAt,
    by: By = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Have a tool or a skill stay quarantined, and wait for nobody any more; what it becomes later waits again. It
    takes an operator of the console. Exit status: 0 done; 2 could not be done.
    """
    with reporting(), opened(db) as store:
        pin = Pins(store, SystemClock()).keep_out(server, seen, PersonId(who(by)))
    console().print(Text(f"{plain(server)}: {_what(pin)} is kept out"))


def _what(pin: Pin) -> str:
    return "what it says of itself" if pin.tool is None else plain(pin.tool)
