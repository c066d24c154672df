"""`fiducial undo`: take back what a session did."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.padding import Padding
from rich.text import Text

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, By, Database, opened, who
from fiducial.cli.reporting import console, fail, plain, print_json, reporting
from fiducial.core.clock import SystemClock, instant
from fiducial.core.ids import DecisionId, EventId, SessionId
from fiducial.errors import CharterError, SessionError
from fiducial.guard.guard import Guard
from fiducial.oversight.desk import Desk
from fiducial.oversight.people import People
from fiducial.oversight.undo import Report, Taken
from fiducial.oversight.undo import undo as take_back
from fiducial.oversight.undo_report import lacks
from fiducial.policy.load import load_charter

_EXCERPT = 200
"""Characters of arguments shown; `--json` has them whole."""
_STYLES = {
    "undone": "green",
    "already": "green",
    "nothing": "green",
    "undoable": "",
    "held": "yellow",
    "waits": "yellow",
}


def undo(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Id of a session: ses_…")],
    by: By = None,
    why: Annotated[str, typer.Option(help="Why; goes into the log.")] = "no reason given",
    charter: Annotated[Path, typer.Option(help="The charter's directory; its policies decide.")] = Path(),
    db: Database = DEFAULT_DATABASE,
    since: Annotated[str | None, typer.Option("--from", metavar="EVENT", help="Only what came from then on.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role of who takes it back; may be repeated.")] = None,
    tools: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="A mapping of tool names to functions, to call or read."),
    ] = None,
    captures: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="A mapping of names to captures, to put states back.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Put states back over what others changed since.")] = False,
    leave: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DECISION", help="An effect to leave as it is, so that none waits for it; may be repeated."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Take back what a session did, newest first, and say what cannot be taken back and why.

    Each call that takes something back is decided like any other. Where people are asked first, run the same command
    again when they have answered; older effects wait for a newer one that is still to be taken back. Nothing is taken
    back twice, however often it is run.

    Exit status: 0 nothing is left that should have been taken back (in a dry run: nothing would be); 1 something is;
    2 could not run.
    """
    functions, takers = mapping_at(tools, "--tools"), mapping_at(captures, "--captures")
    with reporting():
        try:
            with opened(db) as store:
                desk = Desk(store, roles_of=People(store, SystemClock()).roles_of)
                guard = Guard(load_charter(charter), store=store, tools=functions, captures=takers, desk=desk)
                report = take_back(
                    guard, SessionId(session), by=who(by), why=why, roles=role or (),
                    since=EventId(since) if since is not None else None, dry_run=dry_run, force=force,
                    leave=[DecisionId(each) for each in leave or ()],
                )  # fmt: skip
        except (SessionError, CharterError) as error:
            fail(plain(str(error), keep="\n"), 2)
    lacking = {each.effect.decision: lacks(each.effect, functions, takers) for each in report.effects if report.dry_run}
    if json:
        print_json(_told(report, lacking))
    else:
        _print(report, lacking)
    raise typer.Exit(0 if report.complete and not any(lacking.values()) else 1)


def mapping_at(where: str | None, option: str) -> Mapping[str, Any]:
    """The mapping at `module:name`, looked for in the current directory too."""
    if where is None:
        return {}
    module, _, name = where.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        fail(f"{option} `{plain(where)}` cannot be imported: {plain(str(error))}", 2)
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(found, Mapping):
        fail(f"{option} `{plain(where)}` is no mapping of names", 2)
    return found


def _told(report: Report, lacking: Mapping[DecisionId, str]) -> dict[str, Any]:
    return {
        "target": report.target, "session": report.session, "by": report.by, "dry_run": report.dry_run,
        "complete": report.complete, "effects": [
            {**_effect(each), "lacks": lacking.get(each.effect.decision, "")} for each in report.effects
        ],
    }  # fmt: skip


def _effect(taken: Taken) -> dict[str, Any]:
    effect, compensation = taken.effect, taken.effect.compensation
    return {
        "decision": effect.decision, "event": effect.event, "session": effect.session, "tool": effect.tool,
        "at": instant(effect.at_us).isoformat(), "state": effect.state, "outcome": taken.outcome,
        "why": taken.why, "detail": taken.detail, "compensation": taken.compensation, "hold": taken.hold,
        "by_calling": None if compensation is None else {
            "tool": compensation.tool, "arguments": compensation.arguments, "capture": compensation.driver,
            "untrusted": compensation.untrusted,
        },
    }  # fmt: skip


def _print(report: Report, lacking: Mapping[DecisionId, str]) -> None:
    out = console()
    if not report.effects:
        out.print(Text("the session changed nothing"))
        return
    for each in report.effects:
        outcome, at = each.outcome or each.effect.state, instant(each.effect.at_us).strftime("%Y-%m-%d %H:%M:%S UTC")
        lack = lacking.get(each.effect.decision)
        needs = f"needs {lack}: give it with --tools or --captures" if lack else ""
        head = Text(f"{at}  {plain(each.effect.tool)}  ").append(outcome, _STYLES.get(outcome, "red"))
        out.print(head, soft_wrap=True)
        for line in (_called(each), ": ".join(part for part in (plain(each.why), plain(each.detail), needs) if part)):
            if line:
                out.print(Padding(Text(line), (0, 0, 0, 2)))
        if each.hold:
            # On a line of its own: it is what `approve` and `deny` take.
            out.print(f"  {each.hold}", style="bold", soft_wrap=True)
    if report.dry_run:
        out.print(Text("nothing was done: this was a dry run", style="dim"))
    elif any(each.outcome == "held" for each in report.effects):
        out.print(Text("run the same command again when people have answered", style="dim"))
    elif any(each.outcome == "waits" for each in report.effects):
        out.print(Text("run the same command again when the newer one can be taken back", style="dim"))


def _called(taken: Taken) -> str:
    compensation = taken.effect.compensation
    if compensation is None:
        return ""
    arguments = msgspec.json.encode(compensation.arguments).decode()
    shown = arguments if len(arguments) <= _EXCERPT else arguments[:_EXCERPT] + "…"
    return plain(f"by calling {compensation.tool} {shown}")
