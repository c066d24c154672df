"""A decision as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fiducial.core.verdict import Held, Unclear, Verdict
from fiducial.flow.trace import Trace
from fiducial.guard.remedies import in_words
from fiducial.policy.facts import Facts

COLOURS = {"allowed": "green", "held": "yellow", "unclear": "yellow", "denied": "red"}


def show_decision(
    console: Console,
    tool: str,
    verdict: Verdict,
    facts: Facts | None,
    traces: Mapping[str, Trace],
    places: Mapping[str, str],
    changes: Sequence[str],
) -> None:
    """Print the verdict, its reasons, where each value came from, and what would change it."""
    colour = COLOURS[verdict.kind]
    console.print(f"[bold {colour}]{verdict.kind}[/]  {escape(tool)}  [dim]{verdict.decision}[/]", highlight=False)
    for reason in verdict.reasons:
        name = reason.policy or (f"fault {reason.fault.value}" if reason.fault else "")
        clause = f" (clause {reason.clause})" if reason.clause else ""
        console.print(f"  [bold]{escape(name)}[/]{escape(clause)}: {escape(reason.message)}", highlight=False)
    if isinstance(verdict, Held):
        people = f"{verdict.quorum} of " if verdict.quorum > 1 else ""
        console.print(f"  decided by: {people}{escape(verdict.role)}", highlight=False)
    if isinstance(verdict, Unclear):
        console.print(f"  question: {escape(verdict.question)}", highlight=False)
    if traces:
        table = Table("argument", "where its value came from", box=None, pad_edge=False, padding=(0, 2))
        for name, words in in_words(traces, places).items():
            table.add_row(escape(name), escape(words))
        console.print(table)
    if facts is not None and facts.risk.level:
        factors = ", ".join(sorted(facts.risk.factors)) or "the effect itself"
        console.print(f"  risk {facts.risk.level} of 4: {escape(factors)}", highlight=False)
    if changes:
        console.print("  what would change it:")
        for change in changes:
            console.print(f"   · {escape(change)}", highlight=False)
    if verdict.remedies.agent:
        console.print(f"  the agent is told: {escape(verdict.remedies.agent)}", highlight=False)
