"""`fiducial halt`: stop agents, at once and everywhere."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database, opened, who
from fiducial.cli.reporting import console, fail, print_json, reporting, shown
from fiducial.core.clock import SystemClock, instant
from fiducial.core.ids import PersonId
from fiducial.guard.switches import Halt, Switches


def halt(
    why: Annotated[str | None, typer.Option(help="Why; goes into the log, so it must name nobody.")] = None,
    by: By = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only this tool.")] = None,
    user: Annotated[str | None, typer.Option(help="Only what is done for this user.")] = None,
    release: Annotated[str | None, typer.Option(help="Only this release.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every call of every agent.")] = False,
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Stop every call that matches all parts given; without --why, list the halts in force.

    Every process on the store hears of it within a second. What people approved before it is void, also when it is
    lifted again with `fiducial resume`. Whether there is what it names is not checked, since any agent may come to this
    store: look at the spelling.

    Exit status: 0 done; 2 could not be done.
    """
    parts = {"agent": agent, "tool": tool, "user": user, "release": release}
    named = any(parts.values())
    with reporting(), opened(db) as store:
        switches = Switches(store, SystemClock())
        if why is None:
            if named or everything:
                fail("say why with --why: it is the first thing that everybody asks", 2)
            _list(switches.halts, json=json)
            return
        if named == everything:
            fail("name what to stop with --agent, --tool, --user or --release, or say --all", 2)
        ordered = switches.order(why, by=PersonId(who(by)), **parts)
    if json:
        print_json(msgspec.structs.asdict(ordered))
    else:
        console().print(f"{ordered.id}  {_what(ordered)} is stopped from here on")


def _what(halt: Halt) -> str:
    parts = {"agent": halt.agent, "tool": halt.tool, "user": halt.user, "release": halt.release}
    named = [f"{name} `{shown(value)}`" for name, value in parts.items() if value is not None]
    return ", ".join(named) or "everything"


def _list(halts: tuple[Halt, ...], *, json: bool) -> None:
    if json:
        print_json({"halts": [msgspec.structs.asdict(each) for each in halts]})
        return
    if not halts:
        console().print("nothing is stopped")
        return
    for each in halts:
        since = instant(each.at_us).isoformat(timespec="seconds")
        # The whole id on a line of its own: it is what `resume` takes.
        console().print(each.id, style="bold", soft_wrap=True)
        console().print(f"  {_what(each)}, since {since}, by {shown(each.by)}: {shown(each.why)}")
