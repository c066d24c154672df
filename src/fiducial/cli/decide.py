"""`fiducial decide`: what would become of one call, and why."""

from __future__ import annotations

import json as stdlib_json
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from fiducial.charter.findings import did_you_mean
from fiducial.charter.model import BUILT_IN_ROLES, Charter
from fiducial.cli.reporting import console, fail, plain, print_json
from fiducial.cli.show import show_decision
from fiducial.core.verdict import Verdict
from fiducial.guard.counterfactual import what_would_change
from fiducial.guard.drivers import drive
from fiducial.guard.guard import Guard
from fiducial.guard.judgement import Judgement, Request
from fiducial.guard.plans import AnyPlan
from fiducial.guard.steps import judge
from fiducial.policy.load import load_charter

_SHOWN = 60
"""Characters that are repeated of an argument that cannot be read."""


def decide(
    directory: Annotated[Path, typer.Argument(metavar="CHARTER", help="The charter's directory.")],
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Name of the tool.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="`name=value`, the value JSON or plain text; or one JSON object."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="What the user asked for.")] = None,
    user: Annotated[str, typer.Option(help="On whose behalf.")] = "someone",
    role: Annotated[list[str] | None, typer.Option(help="A role of the user; may be repeated.")] = None,
    seen: Annotated[
        list[str] | None,
        typer.Option(help="A result the session has seen, `tool=text` or `tool=@file`; may be repeated."),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="Declared plan: tool names with commas between, or its JSON form.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="The agent's own confidence, 0 to 1.")] = None,
    profile: Annotated[str | None, typer.Option(help="Another baseline: balanced, strict or none.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Decide one call without running anything: which policy, which clause, which value came from where.

    Exit status: 0 allowed, 1 held, unclear or denied, 2 could not run.
    """
    charter = load_charter(directory)
    if profile is not None:
        if profile not in ("balanced", "strict", "none"):
            fail(f"no profile `{profile}`; it is one of balanced, strict, none", 2)
        charter = charter.with_baseline(cast("Literal['balanced', 'strict', 'none']", profile))
    results = [_seen(item, charter) for item in seen or ()]
    for name in role or ():
        if name not in {*charter.about.roles, *BUILT_IN_ROLES}:
            declared = ", ".join(charter.about.roles) or "none"
            fail(f"the charter declares no role `{plain(name)}`; its roles are: {declared}", 2)
    guard = Guard(charter)
    with guard.session(
        user=user, roles=role or (), task=task, plan=_plan(plan) if plan is not None else None
    ) as session:
        for name, text in results:
            session.observe(name, {}, text)
        request = Request(tool=tool, arguments=_parsed(arguments or []), confidence=confidence)
        judgement = drive(judge(session, request))
        changes = []
        if judgement.tool is not None and judgement.facts is not None:
            slice, given = judgement.tool.slice, request.arguments
            ruling = slice.ask(session.principal, given, judgement.facts)
            changes = what_would_change(slice, session.principal, ruling, judgement.facts, given)
        places = {name: session.place(trace) for name, trace in judgement.traces.items()}
    if json:
        print_json(_report(judgement, places, changes))
    else:
        show_decision(console(wrap=True), tool, judgement.verdict, judgement.facts, judgement.traces, places, changes)
        if judgement.tool is None and (close := did_you_mean(tool, charter.contracts)):
            console().print(f"  {close}")
    raise typer.Exit(0 if judgement.verdict.kind == "allowed" else 1)


def _parsed(arguments: list[str]) -> dict[str, Any]:
    if len(arguments) == 1 and arguments[0].lstrip().startswith("{"):
        try:
            value = _loads(arguments[0])
        except ValueError as error:
            raise typer.BadParameter(f"the arguments are not JSON: {error}") from None
        if isinstance(value, dict):
            return value
    found: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals:
            begins = plain(argument[:_SHOWN]) + "…" * (len(argument) > _SHOWN)
            raise typer.BadParameter(f"`{begins}` is not of the form name=value")
        if name in found:
            raise typer.BadParameter(f"`{name}` is given twice")
        try:
            found[name] = _loads(text)
        except _Refused as error:
            raise typer.BadParameter(f"`{name}`: {error}") from None
        except ValueError:
            found[name] = text
    return found


def _plan(text: str) -> AnyPlan:
    if not text.lstrip().startswith("{"):
        return text.split(",")
    try:
        value: dict[str, Any] = _loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"the plan is not JSON: {error}") from None
    return value


class _Refused(ValueError):
    """JSON that cannot be taken as meant.

    An object names a key twice: readers disagree about which value counts, so none does. Or it is nested too deeply.
    """


def _loads(text: str) -> Any:
    """The JSON in `text`. Raises `ValueError`; `_Refused` for what is JSON all the same."""
    try:
        return stdlib_json.loads(text, object_pairs_hook=_members)
    except RecursionError:
        raise _Refused("it is nested too deeply") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Refused(f"the key `{plain(next(one for one in names if names.count(one) > 1))}` is there twice")
    return found


def _seen(item: str, charter: Charter) -> tuple[str, str]:
    """One `--seen`: the tool and the text of its result."""
    name, equals, text = item.partition("=")
    if not equals:
        fail(f"`--seen {plain(item)}` is not of the form tool=text or tool=@file", 2)
    if name not in charter.contracts:
        fail(f"`--seen`: the charter declares no tool `{plain(name)}`", 2)
    if not text.startswith("@"):
        return name, text
    try:
        return name, Path(text[1:]).read_text("utf-8")
    except OSError as error:
        fail(f"`--seen`: `{plain(text[1:])}` cannot be read: {(error.strerror or 'error').lower()}", 2)
    except UnicodeDecodeError:
        fail(f"`--seen`: `{plain(text[1:])}` is not UTF-8 text", 2)


def _report(judgement: Judgement, places: dict[str, str], changes: list[str]) -> dict[str, Any]:
    verdict: Verdict = judgement.verdict
    return {
        "verdict": verdict.kind,
        "reasons": verdict.reasons,
        "remedies": verdict.remedies,
        "facts": judgement.facts,
        "traces": judgement.traces,
        "places": places,
        "would_change_it": changes,
    }
