"""What a replay comes to: counts, intervals, the table, the list behind it, and the plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dojo_agent import Run, Step
from dojo_guards import PROFILES
from intervals import METHOD, share


@dataclass
class Outcome:
    """Everything one guard did in the suites that were replayed."""

    guard: str
    benign: list[Run] = field(default_factory=list)
    """No attack, nobody to ask."""
    approved: list[Run] = field(default_factory=list)
    """No attack, a person who knows the task answers."""
    attacked: list[tuple[Run, bool]] = field(default_factory=list)
    """Under attack, nobody to ask; with whether the pair is hard."""
    seconds: float = 0.0
    """CPU time of these runs, scoring included."""
    digests: dict[str, str] = field(default_factory=dict)
    """Suite → charter digest; empty for the trivial guards."""

    def add(self, other: Outcome) -> None:
        """Take in what another worker found for the same guard."""
        self.benign += other.benign
        self.approved += other.approved
        self.attacked += other.attacked
        self.seconds += other.seconds
        self.digests.update(other.digests)

    def only(self, suite: str) -> Outcome:
        """The part in one suite."""
        return Outcome(
            self.guard,
            [run for run in self.benign if run.suite == suite],
            [run for run in self.approved if run.suite == suite],
            [(run, hard) for run, hard in self.attacked if run.suite == suite],
        )

    def counts(self) -> dict[str, int]:
        """The numbers of the report."""
        return {
            "user_tasks": len(self.benign),
            "solved_unattended": sum(run.solved for run in self.benign),
            "solved_with_approvals": sum(run.solved for run in self.approved),
            "solved_with_every_call": sum(run.solved and not run.stopped("user") for run in self.benign),
            "benign_calls": sum(len(run.steps) for run in self.benign),
            "benign_calls_stopped": sum(len(run.stopped("user")) for run in self.benign),
            "questions_asked": sum(step.asked for run in self.approved for step in run.steps),
            "calls_on_which_the_guard_broke": sum(
                step.broke for run in [*self.benign, *(run for run, _ in self.attacked)] for step in run.steps
            ),
            "attacks": len(self.attacked),
            "attacks_reached": sum(run.injected for run, _ in self.attacked),
            "attacks_succeeded": sum(run.succeeded for run, _ in self.attacked),
            "hard_attacks": sum(hard for _, hard in self.attacked),
            "hard_attacks_succeeded": sum(run.succeeded for run, hard in self.attacked if hard),
        }

    def intervals(self) -> dict[str, dict[str, float | int]]:
        """Shares with their intervals: attacks clustered by injection goal, calls by task."""

        def goal(run: Run) -> tuple[str, str | None]:
            return run.suite, run.injection_task

        def task(run: Run) -> tuple[str, str]:
            return run.suite, run.user_task

        return {
            "solved_unattended": share((task(run), run.solved) for run in self.benign).as_dict(),
            "solved_with_approvals": share((task(run), run.solved) for run in self.approved).as_dict(),
            "benign_calls_stopped": share(
                (task(run), step.kind != "allowed") for run in self.benign for step in run.steps
            ).as_dict(),
            "attacks_succeeded": share((goal(run), run.succeeded) for run, _ in self.attacked).as_dict(),
            "hard_attacks_succeeded": share(
                (goal(run), run.succeeded) for run, hard in self.attacked if hard
            ).as_dict(),
        }

    def verdicts(self) -> dict[str, int]:
        """Verdicts on benign calls, by kind."""
        return dict(sorted(Counter(step.kind for run in self.benign for step in run.steps).items()))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        suites = sorted({run.suite for run in self.benign})
        return {
            **self.counts(),
            "benign_verdicts": self.verdicts(),
            "intervals": self.intervals(),
            "by_suite": {suite: self.only(suite).counts() for suite in suites},
            "seconds": round(self.seconds, 2),
            "charters": self.digests,
        }


def table(outcomes: Iterable[Outcome]) -> Table:
    """One row a guard."""
    result = Table(title="AgentDojo v1.2.2, replayed with no model", caption=f"Intervals: {METHOD}.")
    for name in ("guard", "solved unattended", "with approvals", "questions", "benign calls stopped"):
        result.add_column(name, justify="left" if name == "guard" else "right")
    for name in ("attacks that succeed", "of the hard pairs", "CPU s"):
        result.add_column(name, justify="right")
    for outcome in outcomes:
        counts, intervals = outcome.counts(), outcome.intervals()
        broke = counts["calls_on_which_the_guard_broke"]

        def cell(key: str, intervals: Mapping[str, Mapping[str, float]] = intervals) -> str:
            value = intervals[key]
            return f"{value['k']} of {value['n']}  [dim]{value['low']:.1%}–{value['high']:.1%}[/dim]"

        result.add_row(
            (f"[bold]{outcome.guard}[/bold]" if outcome.guard in PROFILES else outcome.guard)
            + (f" [red]broke on {broke} calls[/red]" if broke else ""),
            cell("solved_unattended"),
            f"{counts['solved_with_approvals']}",
            f"{counts['questions_asked']}",
            cell("benign_calls_stopped"),
            cell("attacks_succeeded"),
            cell("hard_attacks_succeeded"),
            f"{outcome.seconds:.1f}",
        )
    return result


def suites_table(outcomes: Iterable[Outcome]) -> Table:
    """One row a guard and suite."""
    result = Table(title="By suite")
    for name in ("guard", "suite", "solved", "with approvals", "calls stopped", "attacks", "hard"):
        result.add_column(name, justify="left" if name in ("guard", "suite") else "right")
    for outcome in outcomes:
        for suite in dict.fromkeys(run.suite for run in outcome.benign):
            c = outcome.only(suite).counts()
            result.add_row(
                outcome.guard,
                suite,
                f"{c['solved_unattended']}/{c['user_tasks']}",
                f"{c['solved_with_approvals']}",
                f"{c['benign_calls_stopped']}/{c['benign_calls']}",
                f"{c['attacks_succeeded']}/{c['attacks']}",
                f"{c['hard_attacks_succeeded']}/{c['hard_attacks']}",
            )
    return result


def explain(outcome: Outcome, prompts: Mapping[tuple[str, str], str], console: Console) -> None:
    """Every benign call that was stopped and every attack that succeeded, with what fired and what did not."""
    console.rule(f"{outcome.guard}: benign calls stopped")
    for run in outcome.benign:
        if not run.stopped("user") and run.solved:
            continue
        solved = "solved all the same" if run.solved else "not solved"
        console.print(f"[bold]{run.suite}/{run.user_task}[/bold] ({solved})  {prompts[run.suite, run.user_task]!r}")
        for step in run.stopped("user"):
            _say(step, console)
    console.rule(f"{outcome.guard}: not solved with approvals")
    for run in outcome.approved:
        if not run.solved:
            console.print(f"[bold]{run.suite}/{run.user_task}[/bold]  {prompts[run.suite, run.user_task]!r}")
            for step in run.stopped("user"):
                _say(step, console)
    console.rule(f"{outcome.guard}: attacks that succeeded")
    grouped: dict[tuple[str, str | None], list[tuple[Run, bool]]] = {}
    for run, hard in outcome.attacked:
        if run.succeeded:
            grouped.setdefault((run.suite, run.injection_task), []).append((run, hard))
    for (suite, injection), runs in grouped.items():
        console.print(f"[bold]{suite}/{injection}[/bold] × {len(runs)}, {sum(hard for _, hard in runs)} hard")
        for run, hard in runs:
            console.print(f"  in {run.user_task}{' (hard)' if hard else ''}  {prompts[suite, run.user_task]!r}")
            for step in run.steps:
                if step.side == "injection":
                    _say(step, console)


def _say(step: Step, console: Console) -> None:
    arguments = ", ".join(f"{name}={value!r:.100}" for name, value in step.arguments.items())
    console.print(f"    {step.kind:8} {step.tool}({arguments})", markup=False, highlight=False)
    for reason in step.reasons:
        console.print(f"               {reason}", markup=False, highlight=False)


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """The frontier: benign tasks solved with nobody to ask, against attacks stopped."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "fiducial"  # the same picture gives the same file
    mpl.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
    labels: dict[tuple[float, float], list[str]] = {}
    for outcome in outcomes:
        ours = outcome.guard in PROFILES
        shares = outcome.intervals()
        x, y = shares["solved_unattended"], shares["attacks_succeeded"]
        across, up = 100 * x["k"] / x["n"], 100 * (1 - y["k"] / y["n"])
        axes.errorbar(
            across,
            up,
            xerr=[[across - 100 * x["low"]], [100 * x["high"] - across]],
            yerr=[[up - 100 * (1 - y["high"])], [100 * (1 - y["low"]) - up]],
            fmt="o" if ours else "s",
            color="#1f6f5c" if ours else "#8a8a8a",
            markersize=9 if ours else 7,
            elinewidth=1,
            capsize=3,
            alpha=0.95,
        )
        near = next((at for at in labels if abs(at[0] - across) < 3 and abs(at[1] - up) < 3), (across, up))
        labels.setdefault(near, []).append(outcome.guard)
    for (across, up), names in labels.items():
        ours = names[0] in PROFILES
        # Two of ours lie close together at the top; the left one's name goes to the left.
        left = ours and any(0 < other[0] - across < 15 and abs(other[1] - up) < 20 for other in labels)
        axes.annotate(
            ("fiducial " if ours else "") + ",\n".join(names),
            (across, up),
            textcoords="offset points",
            xytext=(-9 if left else 9, -9),
            ha="right" if left else "left",
            va="top",
            fontsize=10,
            weight="bold" if ours else "normal",
        )
    axes.set_xlabel("user tasks solved with nobody to ask, %")
    axes.set_ylabel("attacks stopped, %")
    axes.set_xlim(30, 112)
    axes.set_xticks(range(30, 101, 10))
    axes.set_ylim(-4, 104)
    axes.grid(visible=True, alpha=0.25)
    axes.set_title("AgentDojo v1.2.2, replayed with no model; 95 % intervals, attacks clustered by goal", fontsize=10)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
