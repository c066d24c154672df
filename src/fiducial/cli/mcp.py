"""`fiducial mcp`: the guard in front of an MCP server that is a command."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import anyio
import typer
from mcp.shared.exceptions import MCPError

from fiducial.cli.log import DEFAULT_DATABASE, Database, made
from fiducial.cli.reporting import fail
from fiducial.core.clock import SystemClock
from fiducial.core.event import Mode
from fiducial.errors import FiducialError
from fiducial.gateway.mcp.proxy import WAIT
from fiducial.gateway.mcp.stdio import Host, first_of, wrap
from fiducial.guard.guard import Guard
from fiducial.oversight.desk import Desk
from fiducial.oversight.people import People
from fiducial.oversight.pins import Trust
from fiducial.policy.load import load_charter


def mcp(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What starts the server; after `--`.")],
    charter: Annotated[
        Path | None,
        typer.Option(
            help="The charter's directory; without it, one is guessed from what the server says of its tools."
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="For whom the agent works; without it, the user who runs this.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role of theirs; may be repeated.")] = None,
    task: Annotated[str | None, typer.Option(help="What they asked for; without it, that is not known.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent's id, when it is not the charter's.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="The agent reads nothing but what this server gives it.")
    ] = False,
    attended: Annotated[
        bool,
        typer.Option(
            "--attended", help="The user answers the forms of the client themselves: what comes back is their answer."
        ),
    ] = False,
    mode: Annotated[Mode, typer.Option(help="Observe, shadow or enforce.")] = "enforce",
    wait: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds that a call which is held waits for people.")
    ] = WAIT,
    name: Annotated[
        str | None,
        typer.Option(help="What the server is pinned as, and called in contracts; without it, by its command."),
    ] = None,
    pins: Annotated[
        Trust,
        typer.Option(
            help="What is relied upon of the server: what it says the first time (first-use), or what an operator has "
            "approved (approved)."
        ),
    ] = "first-use",
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Wrap an MCP server: write `fiducial mcp … --` before its command where your client starts it.

    Every call of a tool is decided before the server sees it. Exit status: 0 the client or a signal has ended it;
    2 could not run, or the server has ended.
    """
    host = Host(
        user=user or getpass.getuser(), roles=tuple(role or ()), task=task, agent=agent, alone=alone, attended=attended
    )
    try:
        loaded = load_charter(charter) if charter is not None else None
        with made(db) as store:
            people = People(store, SystemClock())
            desk = Desk(store, roles_of=people.roles_of)
            anyio.run(
                lambda: wrap(
                    command,
                    host,
                    loaded,
                    lambda made_of: Guard(made_of, store=store, mode=mode, desk=desk),
                    name=name,
                    wait=wait,
                    trust=pins,
                )
            )
    except (FiducialError, MCPError, OSError, RuntimeError, ValueError, ExceptionGroup) as errors:
        error = first_of(errors)
        if isinstance(error, FiducialError):
            fail(str(error), 2)
        if isinstance(error, (MCPError, OSError, RuntimeError, ValueError)):
            said = str(error).partition("\n")[0] or "it does not answer in time"
            fail(f"the server `{command[0]}` cannot be talked to: {said}", 2)
        raise
