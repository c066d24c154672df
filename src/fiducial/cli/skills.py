"""`fiducial skills`: whether the skills in a folder are what somebody came to rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from fiducial.cli.log import DEFAULT_DATABASE, AsJson, Database, made
from fiducial.cli.reporting import console, fail, plain, print_json, reporting
from fiducial.core.clock import SystemClock
from fiducial.oversight.pins import Pins
from fiducial.oversight.shelf import shelve
from fiducial.oversight.skills import Skill, read_skills


def skills(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that the skills are in.")],
    name: Annotated[str | None, typer.Option(help="What the folder is pinned as; without it, by its path.")] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Have this folder hold the skills that may be loaded, and nothing else."),
    ] = None,
    db: Database = DEFAULT_DATABASE,
    json: AsJson = False,
) -> None:
    """Look whether skills (folders with a SKILL.md) are as they were pinned; the first time, pin them.

    What was changed, added or renamed since is quarantined until an operator has looked at it (`fiducial pins`), and
    so is, from the first time on, what speaks to the model against its user. Exit status: 0 all may be loaded; 1 some
    may not; 2 could not run.
    """
    if into is not None and _within(into, folder):
        fail("--into has to be outside of the folder that the skills are in, and the other way round", 2)
    with reporting(), made(db) as store:
        found = read_skills(folder)
        pins = Pins(store, SystemClock())
        said = {skill.name: skill.found() for skill in found}
        wrong = pins.check_skills(name or str(folder.resolve()), said)
        if into is not None:
            try:
                shelve([skill for skill in found if skill.name not in wrong], into)
            except OSError as error:
                fail(f"`{into}` cannot be written: {error.strerror or error}", 2)
    if json:
        print_json({"may_load": [each.name for each in found if each.name not in wrong], "quarantined": wrong})
    else:
        _show(found, wrong)
    raise typer.Exit(1 if wrong else 0)


def _show(found: list[Skill], wrong: dict[str, str]) -> None:
    out = console()
    for each, why in wrong.items():
        out.print(Text(f"{plain(each)}: {plain(why)}"), soft_wrap=True)
    may = len(found) - len(wrong)
    out.print(Text(f"{may} of {len(found)} skills may be loaded" + ("; see `fiducial pins list`" if wrong else "")))


def _within(one: Path, other: Path) -> bool:
    """One of them is the other, or in it."""
    a, b = one.resolve(), other.resolve()
    return a.is_relative_to(b) or b.is_relative_to(a)
