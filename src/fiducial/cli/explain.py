"""`fiducial explain`: a recorded decision, value by value."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fiducial.cli.reporting import console, fail, plain, print_json
from fiducial.cli.show import show_recorded
from fiducial.core.ids import DecisionId
from fiducial.errors import StoreError
from fiducial.guard.counterfactual import what_would_change
from fiducial.guard.explained import Explained, explained
from fiducial.policy.load import load_charter
from fiducial.policy.rulebook import compile_rulebook
from fiducial.store.open import open_ledger


def explain(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Id of a decision: dec_…")],
    db: Annotated[
        str, typer.Option("--db", envvar="FIDUCIAL_DB", help="The ledger: a path, or `postgresql://…`.")
    ] = ".fiducial/fiducial.db",
    charter: Annotated[
        Path | None, typer.Option(help="The charter's directory: then also says what would change the verdict.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explain a recorded decision: which policy, which clause, which value came from where, what came of it.

    Exit status: 0 found, 1 not in the ledger, 2 could not run.
    """
    with open_ledger(db) as ledger:
        found = explained(ledger, DecisionId(decision))
    if found is None:
        fail(f"no decision `{plain(decision)}` in `{db}`; `fiducial log tail` lists the latest", 1)
    changes = _changes(found, charter) if charter is not None else None
    if json:
        print_json({**msgspec.to_builtins(found), "would_change_it": changes})
    else:
        show_recorded(console(wrap=True), found, changes)


def _changes(found: Explained, directory: Path) -> list[str]:
    """What would make another verdict of it, under the charter in `directory`."""
    record, opened = found.record, found.opened
    if record is None or record.facts is None or opened is None:
        return []
    charter = load_charter(directory)
    if charter.digest != opened.charter:
        raise StoreError(
            f"the decision was made under the charter {opened.charter}, not the one in `{directory}`; "
            "give the directory as it was then, or leave --charter out"
        )
    rulebook = compile_rulebook(charter)
    principal = rulebook.principal(opened.user, opened.roles)
    slice = rulebook.slice(found.decided.tool)
    ruling = slice.ask(principal, record.arguments, record.facts)
    return what_would_change(slice, principal, ruling, record.facts, record.arguments)
