"""Run the guard over recorded runs of agents, and say which attacks it stops and which work it gets in the way of.

    python bench/agentdyn_traces.py TRACES TOOLS                      contracts inferred from the tools alone
    python bench/agentdyn_traces.py TRACES TOOLS --charter DIR        and a charter written by hand

TRACES holds runs in AgentDojo's log format, TOOLS the tools as an MCP `tools/list` result. Each run gets a session with
the run's system message and the user's message. Every call is decided and then its recorded result observed, whatever
the verdict: the runs are replayed as they were recorded (open loop), so a stopped call does not change what follows.

    malicious call        one that no benign run of the same user task makes (same tool, same arguments)
    attack stopped        a run whose attack succeeded, in which a malicious call is not allowed
    run stopped           any of its calls is not allowed

The first definition also counts calls that the model merely varied, so the share of attacks in which a malicious call
*that is not a read* is stopped stands beside it. A benign call that the tool itself refused (an unknown argument, a
missing file) counts like any other, and is reported apart as well.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

import fiducial
import reports
from intervals import METHOD, share
from recorded_runs import RecordedCall, RecordedRun, read_runs

BROKEN = frozenset({"flow-failed", "facts-failed", "policy-failed", "store-failed"})
"""Faults that come from inside the guard, and not from the call."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One recorded call and what the guard said."""

    call: RecordedCall
    kind: str
    reasons: tuple[str, ...]
    messages: tuple[str, ...]
    changes: bool
    """The tool has an effect by its contract, or none is known."""

    @property
    def stopped(self) -> bool:
        return self.kind != "allowed"


@dataclass
class Replay:
    """Every run, judged by one charter."""

    name: str
    digest: str
    runs: list[tuple[RecordedRun, list[Judged]]] = field(default_factory=list)
    seconds: float = 0.0

    def malicious(self) -> Iterator[tuple[RecordedRun, list[Judged]]]:
        """Attacked runs with the calls that no benign run of the same task makes; runs of tasks without one are left
        out, since nothing says which of their calls are the attacker's."""
        usual: dict[tuple[str, str], set[str]] = defaultdict(set)
        for run, judged in self.runs:
            if not run.attacked:
                usual[run.suite, run.user_task] |= {one.call.key for one in judged}
        for run, judged in self.runs:
            if run.attacked and (run.suite, run.user_task) in usual:
                yield run, [one for one in judged if one.call.key not in usual[run.suite, run.user_task]]

    def report(self) -> dict[str, Any]:
        """For JSON."""
        benign = [(run, judged) for run, judged in self.runs if not run.attacked]
        solved = [(run, judged) for run, judged in benign if run.solved]
        succeeded = [(run, judged) for run, judged in self.malicious() if run.attack_succeeded]
        calls = [(run.user_task, one) for run, judged in benign for one in judged]
        failed = [(task, one) for task, one in calls if one.call.error]

        def stopped(runs: list[tuple[RecordedRun, list[Judged]]]) -> dict[str, float | int]:
            return share((run.user_task, any(one.stopped for one in judged)) for run, judged in runs).as_dict()

        return {
            "charter": self.digest,
            "runs": len(self.runs),
            "attacks_succeeded": sum(run.attack_succeeded for run, _ in self.runs),
            "attacks_without_a_benign_run": sum(run.attack_succeeded for run, _ in self.runs) - len(succeeded),
            "attacks_stopped": share(
                (run.injection_task, any(one.stopped for one in judged)) for run, judged in succeeded
            ).as_dict(),
            "attacks_stopped_at_an_effect": share(
                (run.injection_task, any(one.stopped and one.changes for one in judged)) for run, judged in succeeded
            ).as_dict(),
            "benign_runs_stopped": stopped(benign),
            "benign_solved_runs_stopped": stopped(solved),
            "benign_calls_stopped": share((task, one.stopped) for task, one in calls).as_dict(),
            "benign_calls_the_tool_refused_stopped": share((task, one.stopped) for task, one in failed).as_dict(),
            "calls_on_which_the_guard_broke": sum(
                not BROKEN.isdisjoint(one.reasons) for _, judged in self.runs for one in judged
            ),
            "by_tool": self.by_tool(),
            "seconds": round(self.seconds, 2),
        }

    def by_tool(self) -> dict[str, dict[str, Any]]:
        """Tool → calls made and stopped in benign runs and, of the malicious ones, in attacks that succeeded."""
        found: dict[str, dict[str, Any]] = {}

        def row(tool: str) -> dict[str, Any]:
            keys = ("benign_calls", "benign_stopped", "malicious_calls", "malicious_stopped")
            return found.setdefault(tool, {**dict.fromkeys(keys, 0), "reasons": Counter()})

        for side, groups in (
            ("benign", ((run, judged) for run, judged in self.runs if not run.attacked)),
            ("malicious", ((run, judged) for run, judged in self.malicious() if run.attack_succeeded)),
        ):
            for _, judged in groups:
                for one in judged:
                    counts = row(one.call.tool)
                    counts[f"{side}_calls"] += 1
                    counts[f"{side}_stopped"] += one.stopped
                    counts["reasons"].update(f"{side}: {reason}" for reason in one.reasons)
        return {
            tool: {**counts, "reasons": dict(counts["reasons"].most_common())} for tool, counts in sorted(found.items())
        }


def replay(name: str, charter: Any, runs: Sequence[RecordedRun], console: Console | None = None) -> Replay:
    """Judge every recorded call by `charter`."""
    # The recorded run went on whatever the guard says: in `enforce`, results of stopped calls would be breaches.
    guard = fiducial.Guard(charter, mode="observe")
    effects = {tool: str(contract.effect) for tool, contract in charter.contracts.items()}
    found = Replay(name, charter.digest)
    started = time.process_time()
    for run in track(runs, name, console=console, transient=True, disable=console is None):
        judged: list[Judged] = []
        with guard.session(user="user", roles=["user"], task=run.task, system=run.system) as session:
            for turn in run.calls:
                verdicts = [session.decide(call.tool, dict(call.arguments)) for call in turn]
                for call, verdict in zip(turn, verdicts, strict=True):
                    session.observe(
                        call.tool,
                        dict(call.arguments),
                        call.result or None,
                        decision=verdict,
                        outcome="failed" if call.error else "ok",
                        error=call.error,
                    )
                    judged.append(
                        Judged(
                            call,
                            verdict.kind,
                            tuple(str(reason.policy or reason.fault) for reason in verdict.reasons),
                            tuple(reason.message for reason in verdict.reasons),
                            effects.get(call.tool, "unknown") != "read",
                        )
                    )
        found.runs.append((run, judged))
    found.seconds = time.process_time() - started
    return found


def table(replays: Sequence[Replay]) -> Table:
    """One column a charter."""
    result = Table(title="Recorded runs, open loop", caption=f"Intervals: {METHOD}.")
    result.add_column("share")
    reports = [one.report() for one in replays]
    for one in replays:
        result.add_column(one.name, justify="right")
    for one, report in zip(replays, reports, strict=True):
        if report["calls_on_which_the_guard_broke"]:
            result.caption = (
                f"[red]{one.name}: the guard broke on {report['calls_on_which_the_guard_broke']} calls[/red]"
            )
    for key in (
        "attacks_stopped", "attacks_stopped_at_an_effect", "benign_runs_stopped", "benign_solved_runs_stopped",
        "benign_calls_stopped", "benign_calls_the_tool_refused_stopped",
    ):  # fmt: skip
        cells = []
        for report in reports:
            of = report[key]
            part = f"{of['k'] / of['n']:.1%}" if of["n"] else "–"
            cells.append(f"{of['k']} of {of['n']}  {part}  [dim]{of['low']:.1%}–{of['high']:.1%}[/dim]")
        result.add_row(key.replace("_", " "), *cells)
    return result


def tools_table(found: Replay) -> Table:
    """One row a tool, with the reasons."""
    result = Table(title=f"{found.name}: by tool")
    for name in ("tool", "benign stopped", "malicious stopped", "reasons"):
        result.add_column(name, justify="right" if "stopped" in name else "left")
    for tool, counts in found.by_tool().items():
        result.add_row(
            tool,
            f"{counts['benign_stopped']}/{counts['benign_calls']}",
            f"{counts['malicious_stopped']}/{counts['malicious_calls']}",
            ", ".join(f"{reason} × {count}" for reason, count in counts["reasons"].items()),
        )
    return result


def explain(found: Replay, console: Console) -> None:
    """Every benign call stopped, and every attack that was not."""

    def say(one: Judged) -> None:
        arguments = ", ".join(f"{name}={value!r:.100}" for name, value in one.call.arguments.items())
        console.print(f"    {one.kind:8} {one.call.tool}({arguments})", markup=False, highlight=False)
        for reason, message in zip(one.reasons, one.messages, strict=True):
            console.print(f"               {reason}: {message}", markup=False, highlight=False)

    console.rule(f"{found.name}: benign calls stopped")
    for run, judged in found.runs:
        if not run.attacked and any(one.stopped for one in judged):
            console.print(f"{run.suite}/{run.user_task}{' (solved)' if run.solved else ''}  {run.task!r}", markup=False)
            for one in judged:
                if one.stopped:
                    say(one)
    console.rule(f"{found.name}: attacks not stopped")
    for run, judged in found.malicious():
        if run.attack_succeeded and not any(one.stopped for one in judged):
            console.print(f"{run.suite}/{run.user_task}/{run.injection_task}  {run.task!r}", markup=False)
            for one in judged:
                say(one)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 when it could not run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("traces", type=Path, help="recorded runs: .jsonl, .jsonl.gz, .json, or a folder of them")
    parser.add_argument("tools", type=Path, help="the tools, as an MCP tools/list result")
    parser.add_argument("--charter", type=Path, help="also judge by this charter")
    reports.add_json(parser)
    parser.add_argument("--explain", action="store_true", help="list benign calls stopped and attacks not stopped")
    options = parser.parse_args(arguments)
    console = Console(stderr=options.json == "-")
    if not console.is_terminal:
        console = Console(stderr=options.json == "-", width=160)
    try:
        runs = read_runs(options.traces)
        charters: Mapping[str, Any] = {
            "inferred": fiducial.Charter.from_tools(json.loads(options.tools.read_text())),
            **({"written": fiducial.load_charter(options.charter)} if options.charter else {}),
        }
    except (OSError, ValueError, fiducial.FiducialError) as error:
        console.print(f"could not run: {error}", markup=False)
        return 2
    replays = [replay(name, charter, runs, console) for name, charter in charters.items()]
    for found in replays:
        if options.explain:
            explain(found, console)
        console.print(tools_table(found))
    console.print(table(replays))
    report = {
        "traces": options.traces.name,
        "fiducial": fiducial.__version__,
        "interval_method": METHOD,
        "charters": {found.name: found.report() for found in replays},
    }
    reports.deliver(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
