"""`fiducial pins`: tools that a server describes otherwise than when somebody came to rely on them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database, opened, who
from fiducial.cli.reporting import console, plain, print_json, reporting
from fiducial.core.clock import SystemClock, instant
from fiducial.core.ids import PersonId
from fiducial.oversight.pins import Pins

app = typer.Typer(no_args_is_help=True, help="Tools that servers describe otherwise than when they were pinned.")
_STYLES = {"+": "green", "-": "red", "@": "dim"}


@app.command("list")
def list_pins(db: Database = DEFAULT_DATABASE, json: AsJson = False) -> None:
    """List what is quarantined, with the difference to what was pinned. Exit status: 0; 2 could not run."""
    with reporting(), opened(db) as store:
        found = Pins(store, SystemClock()).waiting()
    if json:
        print_json({"waiting": [{**msgspec.to_builtins(change), "diff": change.diff()} for change in found]})
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
        out.print(Text(f"  {pin.why}, found {instant(pin.at_us).strftime('%Y-%m-%d %H:%M:%S')} UTC"))
        for line in change.diff()[2:]:
            out.print(Text("  " + plain(line), _STYLES.get(line[:1], "")), soft_wrap=True)


@app.command()
def approve(
    server: Annotated[str, typer.Argument(help="The server, as the host calls it (`fiducial mcp --name`).")],
    seen: Annotated[str, typer.Argument(metavar="DIGEST", help="Of what you have looked at, as the list prints it.")],
    by: By = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Rely on a tool as it is described now, or on what a server says of itself. It takes an operator of the console.

    Sessions that are open take it when they next look at the server's tools; new ones at once. Exit status: 0 done; 2
    could not be done.
    """
    with reporting(), opened(db) as store:
        pin = Pins(store, SystemClock()).approve(server, seen, PersonId(who(by)))
    what = "what it says of itself" if pin.tool is None else plain(pin.tool)
    console().print(Text(f"{plain(server)}: {what} is relied upon as it is now"))
