"""A decision as people read it in a terminal.

Tools, arguments, evidence and people's names are what others wrote: nothing of it may act on the terminal of who
decides, or look like another line of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import json
from rich.console import Console
from rich.table import Table

from fiducial.cli.reporting import shown
from fiducial.core.clock import instant
from fiducial.core.ids import DecisionId
from fiducial.core.verdict import Held, Reason, Unclear, Verdict
from fiducial.flow.trace import Trace
from fiducial.guard.explained import Asked, Explained
from fiducial.guard.remedies import in_words
from fiducial.policy.facts import Facts

_EXCERPT: Final = 100
"""Characters of a value; `--json` has it whole."""
COLOURS = {"allowed": "green", "held": "yellow", "unclear": "yellow", "denied": "red"}


def show_recorded(console: Console, found: Explained, changes: Sequence[str] | None) -> None:
    """Print a decision as it was recorded, and what came of it."""
    decided, record, opened = found.decided, found.record, found.opened
    colour = COLOURS[decided.verdict]
    console.print(f"[bold {colour}]{decided.verdict}[/]  {shown(decided.tool)}  [dim]{shown(decided.decision)}[/]")
    when = instant(decided.at_us).isoformat(timespec="seconds")
    if opened is not None:
        roles = f" ({', '.join(opened.roles)})" if opened.roles else ""
        console.print(f"  {when}, agent {shown(opened.agent)} for {shown(opened.user)}{shown(roles)}")
        console.print(f"  [dim]session {shown(str(opened.session))}, charter {shown(opened.charter)}[/]")
    if record is None:
        fired = ", ".join(firing.policy for firing in decided.fired) or decided.fault or "nothing"
        console.print(f"  the record was erased; the log still says what fired: {shown(fired)}")
    else:
        _show_reasons(console, record.reasons)
        _show_places(console, found.evidence, record.arguments)
        _show_risk(console, record.facts)
    _show_changes(console, changes or ())
    for answer in found.answered:
        console.print(f"  {answer.answer} by {shown(answer.by)}")
    for asked in found.asked:
        _show_asked(console, asked, found.decided.decision)
    if found.shadow is not None:
        fired = ", ".join(firing.policy for firing in found.shadow.fired)
        console.print(f"  the shadow policies would have {found.shadow.verdict} it: {shown(fired)}")
    if found.finished is not None:
        seconds = found.finished.duration_us / 1_000_000
        console.print(f"  outcome: {found.finished.outcome} after {seconds:.3f} s")
        if found.finished.breach:
            console.print("  [bold red]breach[/]: it ran although it was not allowed")
    elif decided.runs:
        console.print("  outcome: unknown; it was about to run, and nothing was recorded after")


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
    console.print(f"[bold {colour}]{verdict.kind}[/]  {shown(tool)}  [dim]{verdict.decision}[/]")
    _show_reasons(console, verdict.reasons)
    if isinstance(verdict, Held):
        people = f"{verdict.quorum} of " if verdict.quorum > 1 else ""
        console.print(f"  decided by: {people}{shown(verdict.role)}")
    if isinstance(verdict, Unclear):
        console.print(f"  question: {shown(verdict.question)}")
    _show_places(console, in_words(traces, places))
    _show_risk(console, facts)
    _show_changes(console, changes)
    if verdict.remedies.agent:
        console.print(f"  the agent is told: {shown(verdict.remedies.agent)}")


def _show_reasons(console: Console, reasons: Sequence[Reason]) -> None:
    for reason in reasons:
        name = reason.policy or (f"fault {reason.fault.value}" if reason.fault else "")
        clause = f" (clause {reason.clause})" if reason.clause else ""
        console.print(f"  [bold]{shown(name)}[/]{shown(clause)}: {shown(reason.message)}")


def _show_places(console: Console, evidence: Mapping[str, str], arguments: Any = None) -> None:
    if not evidence:
        return
    values = arguments if isinstance(arguments, dict) else {}
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for title in ("argument", *(["its value"] if values else []), "where its value came from"):
        table.add_column(title, overflow="fold")
    for name, words in evidence.items():
        value = values.get(name)
        text = value if isinstance(value, str) else json.encode(value).decode()
        table.add_row(shown(name), *([shown(text[:_EXCERPT])] if values else []), shown(words))
    console.print(table)


def _show_asked(console: Console, asked: Asked, decision: DecisionId) -> None:
    """A request on two lines or more: its id is what `approve` and `deny` take."""
    console.print(f"  request {asked.hold} to {shown(asked.role)}: {asked.outcome}", soft_wrap=True)
    for vote in asked.votes:
        note = f": {shown(vote.note)}" if vote.note else ""
        console.print(f"    {vote.answer} by {shown(vote.by)} as {shown(vote.role)}{note}")
    if asked.decision != decision:
        console.print(f"    asked for {asked.decision}", soft_wrap=True)
    if asked.used_by not in (None, decision):
        console.print(f"    let {asked.used_by} through", soft_wrap=True)


def _show_risk(console: Console, facts: Facts | None) -> None:
    if facts is not None and facts.risk.level:
        factors = ", ".join(sorted(facts.risk.factors)) or "the effect itself"
        console.print(f"  risk {facts.risk.level} of 4: {shown(factors)}")


def _show_changes(console: Console, changes: Sequence[str]) -> None:
    if changes:
        console.print("  what would change it:")
        for change in changes:
            console.print(f"   · {shown(change)}")
