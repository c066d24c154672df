"""How the commands that read a log end, and how they print what others wrote.

An error becomes one line on standard error: exit status 1 when the log is at fault, 2 when it could not be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fiducial.core.plain import plain, plain_json
from fiducial.errors import Corrupt, OversightError, RolledBack, StoreError, WrongKey


@contextmanager
def reporting() -> Iterator[None]:
    """Within it, an error ends the command: 1 when the log is at fault, 2 when it could not be looked at."""
    try:
        yield
    except (Corrupt, RolledBack, WrongKey) as error:
        fail(str(error), 1)
    except (StoreError, OversightError) as error:
        fail(str(error), 2)


@contextmanager
def judging(json: bool) -> Iterator[None]:
    """As `reporting`; with `json`, what is wrong with the log is also printed for other programs."""
    try:
        yield
    except (Corrupt, RolledBack, WrongKey) as error:
        if json:
            index = error.index if isinstance(error, Corrupt) else None
            print_json({"verified": False, "error": type(error).__name__, "index": index, "message": str(error)})
        fail(str(error), 1)
    except StoreError as error:
        fail(str(error), 2)


@contextmanager
def cannot_run() -> Iterator[None]:
    """Within it, a fault is one of what was given to the command."""
    try:
        yield
    except WrongKey as error:
        fail(str(error), 2)


def fail(message: str, status: int) -> NoReturn:
    """Say `message` on standard error and end."""
    warn(message)
    raise typer.Exit(status)


def warn(message: str) -> None:
    """Say `message` on standard error."""
    typer.echo(plain(f"fiducial: {message}", keep="\n"), err=True)


def shown(text: str) -> str:
    """`text`, which anybody may have written, for use in rich's markup: one line, in which nothing acts or hides."""
    return escape(plain(text))


def console(*, wrap: bool = False) -> Console:
    """Standard output, for tables. `wrap`: break lines at the terminal's width also where there is no terminal."""
    return Console(highlight=False, soft_wrap=not wrap and not sys.stdout.isatty())


def print_json(value: dict[str, Any]) -> None:
    """Print an object for other programs."""
    typer.echo(plain_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


@contextmanager
def progress(json: bool) -> Iterator[Any]:
    """Something to tell how far it is; `None` when nobody is looking."""
    if json or not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("verifying"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


__all__ = [
    "cannot_run", "console", "fail", "judging", "plain", "plain_json", "print_json", "progress", "reporting", "shown",
    "warn",
]  # fmt: skip
