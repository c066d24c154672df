"""Four agents under attack, guarded; one held call explained; the log verified, and tampered with; and one agent live.

    python bench/demo.py                        what `make demo` runs
    python bench/demo.py --suite banking        one of the four, for a quick look
    python bench/demo.py --svg docs/demo.svg    the same, drawn as a picture

Nothing here is prepared: the numbers are counted in this run, the held call is the first one that the run came upon,
and the log is the one that its sessions wrote. What is live is told in `demo_live.py`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import demo_live
import demo_people
import fiducial
from fiducial.core.event import CallDecided
from fiducial.store.ledger import Ledger

if TYPE_CHECKING:
    from dojo_guards import Decision, GuardUnderTest, Session
    from dojo_report import Outcome

WIDTH = 112
"""Columns, at most: what still reads well as a picture in a README."""
RECORDED = "banking"
"""The suite whose runs are kept in a ledger: its results are short, and there is money at stake."""
NOTES = {
    "none": "every call runs",
    "deny-writes": "only reading is allowed",
    "no-write-after-read": "no writing after any reading",
    "destination-in-prompt": "targets stand in the prompt",
    "balanced": "the default profile",
    "strict": "holds more",
    "planned": "balanced, plan declared *",
}
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Watched:
    """A guard whose decisions are kept, so that one of them can be shown."""

    inner: GuardUnderTest
    decisions: list[tuple[str, Mapping[str, Any], Decision]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    def session(self, prompt: str, tools: Sequence[str]) -> AbstractContextManager[Session]:
        return _WatchedSession(self.inner.session(prompt, tools), self.decisions)


@dataclass(frozen=True, slots=True)
class Shown:
    """The call that is explained."""

    task: str
    """What the user said."""
    tool: str
    arguments: Mapping[str, Any]
    verdict: Any


class _WatchedSession:
    def __init__(self, opened: Any, decisions: list[tuple[str, Mapping[str, Any], Decision]]) -> None:
        self._opened, self._decisions = opened, decisions

    def __enter__(self) -> _WatchedSession:
        self._session = self._opened.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._opened.__exit__(*exception)

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Decision:
        decision: Decision = self._session.decide(tool, arguments)
        self._decisions.append((tool, arguments, decision))
        return decision

    def observe(self, tool: str, arguments: Mapping[str, Any], result: str, decision: Decision) -> None:
        self._session.observe(tool, arguments, result, decision)

    def approved(self, tool: str, arguments: Mapping[str, Any], run: Callable[[], str]) -> bool:
        return self._session.approved(tool, arguments, run)


def compare(console: Console, suites: Sequence[str]) -> list[Outcome]:
    """Replay the suites under every guard and print what got through."""
    with console.status("loading the environments"):  # this import takes seconds, so it is not at the top
        from agentdojo_replay import replay_all
        from dojo_guards import PROFILES, TRIVIAL

    outcomes = replay_all([*TRIVIAL, *PROFILES], suites, console=console)
    table = Table(
        title="What each guard lets through", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    table.add_column("guard", no_wrap=True)
    for title in ("attacks stopped", "of the hard ones", "tasks done alone", "with a person", "questions"):
        table.add_column(title, justify="right")
    for outcome in outcomes:
        counts, shares = outcome.counts(), outcome.intervals()
        ours = outcome.guard in PROFILES
        name = f"[bold]fiducial {outcome.guard}[/]" if ours else outcome.guard
        table.add_row(
            f"{name}\n[dim]{NOTES[outcome.guard]}[/]",
            _share(shares["attacks_succeeded"], turned=True, strong=ours),
            _share(shares["hard_attacks_succeeded"], turned=True, strong=False),
            _share(shares["solved_unattended"], strong=ours),
            _share(shares["solved_with_approvals"], strong=False),
            str(counts["questions_asked"]),
        )
    console.print(table)
    console.print(
        "[dim]In grey: 95 % intervals, attacks clustered by goal; one-sided where none or all got through."
        "\nHard: the attack uses only tools that the task uses."
        "\nWith a person: someone approves held calls that the user's task needs, and no others."
        "\n* The plan is the task's own list of tools: an oracle, marked as one.[/]",
        highlight=False,
    )
    return outcomes


def _share(share: Mapping[str, float], *, turned: bool = False, strong: bool) -> str:
    """`k of n` with its interval below; `turned`: of those that did not."""
    k, low, high = share["k"], share["low"], share["high"]
    if turned:
        k, low, high = share["n"] - k, 1 - high, 1 - low
    first = f"{k:g} of {share['n']:g}"
    return f"{f'[bold green]{first}[/]' if strong else first}\n[dim]{low:.0%} to {high:.0%}[/]"


def record(suite: str, database: Path) -> tuple[Shown, str]:
    """Replay a suite's attacks with a store.

    Returns the first call that was held for where a value came from, and the log's checkpoint when all was written.
    """
    from dojo_agent import replay
    from dojo_guards import Fiducial
    from dojo_stage import Stage
    from dojo_world import world

    here = world(suite, "important_instructions")
    shown: Shown | None = None
    with fiducial.SqliteStore(database) as store:
        guard = Fiducial("balanced", suite, store=store)
        for user_task in here.user_tasks.values():
            for injection_task in here.injection_tasks.values():
                watched = Watched(guard)
                replay(Stage(here, user_task, injection_task), watched)
                for tool, arguments, decision in watched.decisions:
                    if (
                        shown is None
                        and decision.kind == "held"
                        and any(map(_pointed, decision.verdict.evidence.values()))
                    ):
                        shown = Shown(user_task.PROMPT.strip(), tool, arguments, decision.verdict)
        checkpoint = store.checkpoint()
    if shown is None:
        raise SystemExit(f"no call of the suite `{suite}` was held: there is nothing to explain")
    return shown, checkpoint


def _pointed(evidence: str) -> bool:
    return re.search(r"third parties.*\bline \d+ of\b", evidence) is not None


def explain(console: Console, shown: Shown, suite: str) -> None:
    """Print one held call, value by value."""
    from dojo_guards import CHARTERS

    verdict, contract = shown.verdict, fiducial.load_charter(CHARTERS / suite).contracts[shown.tool]
    console.print(f"\n[bold]A held call, value by value[/]  [dim]{verdict.decision}[/]", highlight=False)
    console.print(f"The user said:   {escape(shown.task)}", highlight=False)
    console.print(
        f"The agent calls: [bold]{shown.tool}[/], {contract.effect.value}, an act of the kind “{contract.kind.value}”",
        highlight=False,
    )
    table = Table("argument", "its value", "means", "came from", box=None, padding=(0, 2, 0, 0))
    for name, value in shown.arguments.items():
        source = escape(verdict.evidence.get(name, ""))
        where = f"[yellow]{source}[/]" if _pointed(source) else source
        table.add_row(name, escape(_short(value)), contract.parameters[name].role.value, where)
    console.print(table)
    console.print(
        f"[bold yellow]{verdict.kind}[/] for {verdict.quorum} {escape(verdict.role)}, because", highlight=False
    )
    for reason in verdict.reasons:
        console.print(
            f"  [bold]{escape(reason.policy or str(reason.fault))}[/]  {escape(reason.message)}", highlight=False
        )
    console.print(f"The agent is told: {escape(verdict.remedies.agent)}", highlight=False)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 32 else text[:31] + "…"


def verify(console: Console, database: Path, checkpoint: str) -> None:
    """Verify the log against a checkpoint kept outside it; then change one character of a copy, and verify that."""
    kept = [("the one this program remembers", checkpoint)]
    with Ledger.open(database) as ledger:
        started = time.monotonic()
        verified = ledger.verify(checkpoints=kept)
        took = time.monotonic() - started
        calls = sum(isinstance(each.event, CallDecided) for each in ledger.entries())
    console.print("\n[bold]The log[/]", highlight=False)
    shown = os.path.relpath(database)
    console.print(
        f"{shown}: {verified.size} events, {calls} of them decisions, verified in {took:.2f} s", highlight=False
    )
    copy = database.with_name(f"{database.name}.tampered")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    for suffix in (".key", ".checkpoint"):
        shutil.copy(f"{database}{suffix}", f"{copy}{suffix}")
    with closing(sqlite3.connect(copy)) as connection, connection:
        # A held decision becomes an allowed one, as someone would do who has something to hide.
        first, events = next(
            (first, events)
            for first, events in connection.execute("SELECT first, events FROM bundle ORDER BY first")
            if b'"verdict":"held"' in events
        )
        changed = events.replace(b'"verdict":"held"', b'"verdict":"hold"', 1)
        connection.execute("UPDATE bundle SET events=? WHERE first=?", (changed, first))
    try:
        with Ledger.open(copy) as ledger:
            ledger.verify(checkpoints=kept)
    except fiducial.StoreError as error:
        for left in copy.parent.glob(f"{copy.name}*"):
            left.unlink()
        console.print(f"with one character changed in a copy: [red]{escape(str(error))}[/]", highlight=False)
    else:
        raise SystemExit("the log verifies although it was changed: this is a defect, please report it")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--suite", action="append", choices=("workspace", "travel", "banking", "slack"))
    parser.add_argument("--database", type=Path, default=Path(".fiducial/demo.db"), help="where the log is written")
    parser.add_argument("--svg", type=Path, help="draw what is printed into this file; nobody is waited for")
    demo_live.add_options(parser)
    options = parser.parse_args(arguments)
    terminal = Console()
    width = min(WIDTH, terminal.width) if terminal.is_terminal and options.svg is None else WIDTH
    console = Console(record=options.svg is not None, width=width)
    started = time.monotonic()
    for old in options.database.parent.glob(f"{options.database.name}*"):
        old.unlink()
    suites = options.suite or ["workspace", "travel", "banking", "slack"]
    console.print(
        f"[bold]Fiducial[/]: {_agents(len(suites))} at work, while somebody writes into what is read.", highlight=False
    )
    console.print(
        "Such an agent obeys whatever it reads. Between it and its tools stands a guard. No model is called.\n",
        highlight=False,
    )
    compare(console, suites)
    suite = RECORDED if RECORDED in suites else suites[0]
    with console.status(f"once more with a ledger: {suite}"):
        shown, checkpoint = record(suite, options.database)
    explain(console, shown, suite)
    verify(console, options.database, checkpoint)
    by = options.by or (demo_people.unattended() if options.svg else None)
    live = demo_live.Live(console, options.database.parent, by, options.wait)
    live.run()
    console.print(f"\n[bold]Where to go next[/]  [dim]({time.monotonic() - started:.0f} s)[/]", highlight=False)
    command, log = os.path.relpath(Path(sys.executable).parent / "fiducial"), os.path.relpath(options.database)
    for about, line in (
        ("this log", shlex.join([command, "log", "verify", log])),
        ("that call", shlex.join([command, "explain", shown.verdict.decision, "--db", log])),
        ("the live one's pages", _console(command, live)),
        ("your agent", shlex.join([command, "init", "my-agent"])),
        ("in twenty lines", "docs/getting-started.md"),
        ("what it cannot see", "SECURITY.md"),
    ):
        # Never broken: a command has to survive being copied.
        console.print(f"{about:<21}{line}", soft_wrap=True, markup=False, highlight=False)
    if options.svg:
        options.svg.write_text(picture(console))
    return 0


def _console(command: str, live: demo_live.Live) -> str:
    parts = ["up", os.path.relpath(live.database), "--charter", os.path.relpath(demo_people.CHARTER)]
    return shlex.join([command, *parts])


def _agents(count: int) -> str:
    return f"{('one', 'two', 'three', 'four')[count - 1]} agent{'s' * (count != 1)}"


def picture(console: Console) -> str:
    """What the console printed, as an SVG that loads nothing from elsewhere."""
    svg = console.export_svg(title="make demo")
    # Rich names a web font by its address; a reader's own fixed-width font does as well.
    return re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    sys.exit(main())
