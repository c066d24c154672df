"""Replay an AgentDojo suite through the gateway for MCP, and hold each verdict against the one in process.

    python bench/agentdojo_mcp.py --suite slack --over http
    python bench/agentdojo_mcp.py --suite slack --over stdio --tasks user_task_0 user_task_1 --injections

The same scripted agent makes the same calls three times: of a guard in its own process; of the suite as an MCP server
(`dojo_server.py`) through the gateway, where the host says what the user asked for; and the same where it does not.
Over stdio the gateway is `fiducial mcp`, with `--task` or without; over HTTP it is the door of `fiducial up --mcp`,
with a signed statement or without. In all of them the agent reads nothing but what the suite's tools return.

Calls are held against each other one by one, by whose they are and which they are of theirs: the kind of the verdict,
the policies and faults that decided with what they say, and the facts that policies were asked about. A call that one
agent made and the other never came to is counted too, and so is one of which something else came. Exit status: 0 where
the task is stated every verdict is the same for the same reasons; 1 some is not.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

import fiducial
import reports
from dojo_agent import Run, Step
from dojo_agent import replay as run_of
from dojo_guards import CHARTERS, Fiducial
from dojo_mcp import Decided, Gateway, OverMcp, decisions, inside_wrappers, over_http, over_stdio
from dojo_server import FORMS, stage_of
from dojo_stage import Stage
from dojo_world import SUITES, attack_names, world
from fiducial.policy.facts import Facts
from fiducial.store.memory import MemoryStore

OVER = ("stdio", "http")
WAYS = {"task stated": True, "task not known": False}
"""Way → whether the host says what the user asked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be replayed."""

    suite: str
    over: str = "http"
    form: str = "text"
    """How the server gives its results: one of `FORMS`."""
    as_in_process: bool = False
    """Contracts name the paths of what tools return in process, although the server wraps that."""
    attack: str = "important_instructions"
    tasks: tuple[str, ...] = ()
    injections: tuple[str, ...] = ()
    ways: tuple[str, ...] = tuple(WAYS)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One run, with what was decided of each of its calls."""

    run: Run
    decided: tuple[Decided, ...]
    other_results: tuple[str, ...] = ()
    """Tools of which something else came than in process."""

    @property
    def by_call(self) -> dict[tuple[str, int], Decided]:
        """Whose call, and which of theirs → what was decided of it."""
        counted: Counter[str] = Counter()
        found = {}
        for step, decided in zip(self.run.steps, self.decided, strict=True):
            found[step.side, counted[step.side]] = decided
            counted[step.side] += 1
        return found


def replayed(stage: Stage, guard: Fiducial | OverMcp) -> Replayed:
    """One run, its verdicts read from the log of whoever decided."""
    run = run_of(stage, guard)
    if isinstance(guard, OverMcp):
        decided, other = guard.decided, tuple(guard.other_results)
    else:
        assert isinstance(guard.store, MemoryStore)
        with guard.store.ledger() as ledger:
            decided, other = decisions(ledger), ()
    if [(each.tool, each.arguments) for each in decided] != [(each.tool, dict(each.arguments)) for each in run.steps]:
        raise RuntimeError(f"{run.user_task}: the log does not hold the calls that were made")
    steps = tuple(map(settled, run.steps, decided))
    return Replayed(replace(run, steps=steps), tuple(decided), other)


def settled(step: Step, decided: Decided) -> Step:
    """The step, with the verdict that its client was not told. Raises `RuntimeError` when it ran against it."""
    if step.ran is not (decided.kind == "allowed"):
        raise RuntimeError(f"`{step.tool}` was {decided.kind}, and {'ran' if step.ran else 'did not run'}")
    return replace(step, kind=decided.kind, reasons=decided.reasons)


def other_facts(one: Facts | None, other: Facts | None) -> set[str]:
    """Names of the facts that differ, such as `session.records`; `all` where only one call has any."""
    if one is None or other is None:
        return set() if one is other else {"all"}
    found = set()
    for group in one.__struct_fields__:
        ours, theirs = getattr(one, group), getattr(other, group)
        if ours is None or theirs is None:
            found |= set() if ours is theirs else {group}
        else:
            found |= {
                f"{group}.{name}" for name in ours.__struct_fields__ if getattr(ours, name) != getattr(theirs, name)
            }
    return found


@dataclass
class Comparison:
    """What became of the calls of some runs one way, beside what became of them in process."""

    calls: int = 0
    same: int = 0
    """Calls with the same verdict for the same reasons."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Whose call, verdict in process and here, where they differ → calls."""
    policies: Counter[str] = field(default_factory=Counter)
    """What decided here where the kind differs → calls."""
    other_reasons: int = 0
    """Calls with the same kind of verdict for other reasons."""
    facts: Counter[str] = field(default_factory=Counter)
    """Of the calls that are the same, those where policies were asked about another fact: which → calls."""
    not_made: int = 0
    """Calls that only one of the two agents came to."""
    other_results: Counter[str] = field(default_factory=Counter)
    """Tools of which something else came → calls. Some of the suites' tools give the time of day."""
    differences: list[dict[str, Any]] = field(default_factory=list)

    def add(self, here: Replayed, there: Replayed) -> None:
        """Compare a run in process with one elsewhere."""
        ours, theirs = here.by_call, there.by_call
        self.not_made += len(ours.keys() ^ theirs.keys())
        self.other_results.update(there.other_results)
        for key in [key for key in ours if key in theirs]:
            one, other = ours[key], theirs[key]
            self.calls += 1
            if (one.tool, one.arguments) != (other.tool, other.arguments):
                raise RuntimeError(f"{here.run.user_task}: two agents made different calls")
            if one.kind != other.kind:
                self.kinds[f"{key[0]}: {one.kind} → {other.kind}"] += 1
                self.policies.update({reason.partition(":")[0] for reason in other.reasons})
            elif one.reasons != other.reasons:
                self.other_reasons += 1
            else:
                self.same += 1
                self.facts.update(other_facts(one.facts, other.facts))
                continue
            run, call = here.run, {"side": key[0], "tool": one.tool}
            verdicts = {"in_process": [one.kind, *one.reasons], "over_mcp": [other.kind, *other.reasons]}
            self.differences.append({"task": run.user_task, "injection": run.injection_task, **call, **verdicts})

    def join(self, other: Comparison) -> None:
        """Take in what was compared elsewhere."""
        self.calls += other.calls
        self.same += other.same
        self.kinds += other.kinds
        self.policies += other.policies
        self.other_reasons += other.other_reasons
        self.facts += other.facts
        self.not_made += other.not_made
        self.other_results += other.other_results
        self.differences += other.differences

    @property
    def differing(self) -> int:
        """Calls whose verdict or reasons are not the same, and those that only one agent came to."""
        return self.calls - self.same + self.not_made


@dataclass
class Score:
    """What runs came to, by the suite's own checks."""

    solved: int = 0
    tasks: int = 0
    attacks_succeeded: int = 0
    attacks: int = 0
    user_calls_stopped: int = 0
    """In runs without an attack."""
    user_calls: int = 0

    def add(self, run: Run) -> None:
        """Count a run."""
        if run.injection_task is None:
            self.tasks += 1
            self.solved += run.solved
            self.user_calls += len(run.steps)
            self.user_calls_stopped += len(run.stopped("user"))
        else:
            self.attacks += 1
            self.attacks_succeeded += run.succeeded

    def join(self, other: Score) -> None:
        """Take in what was counted elsewhere."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Compared:
    """A suite, in process and each way."""

    scores: dict[str, Score] = field(default_factory=lambda: {name: Score() for name in ("in process", *WAYS)})
    ways: dict[str, Comparison] = field(default_factory=lambda: {name: Comparison() for name in WAYS})

    def join(self, other: Compared) -> None:
        """Take in what was compared elsewhere."""
        for name, score in other.scores.items():
            self.scores[name].join(score)
        for name, comparison in other.ways.items():
            self.ways[name].join(comparison)


def compare(job: Job) -> Compared:
    """Replay the tasks of a job, each without an attack and with each of the injections."""
    here, found, reference = world(job.suite, job.attack), Compared(), Fiducial("balanced", job.suite)
    with ExitStack() as stack:
        charter = CHARTERS / job.suite
        if job.form == "structured" and not job.as_in_process:
            charter = inside_wrappers(charter, here, Path(stack.enter_context(TemporaryDirectory(prefix="dojo-"))))
        gateway: Gateway = (
            over_stdio(charter, job.form)
            if job.over == "stdio"
            else stack.enter_context(over_http(fiducial.load_charter(charter), here, job.form))
        )
        for task in job.tasks:
            for injection in (None, *job.injections):
                stage = stage_of(here, task, injection)
                ours = replayed(stage, reference)
                found.scores["in process"].add(ours.run)
                for name in job.ways:
                    theirs = replayed(stage, OverMcp(gateway, stage, told=WAYS[name]))
                    found.scores[name].add(theirs.run)
                    found.ways[name].add(ours, theirs)
    return found


def compare_all(job: Job, workers: int) -> Compared:
    """`compare`, in so many processes."""
    if workers == 1:
        return compare(job)
    found = Compared()
    jobs = [replace(job, tasks=job.tasks[start::workers]) for start in range(min(workers, len(job.tasks)))]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for each in pool.map(compare, jobs):
            found.join(each)
    return found


def report_of(found: Compared) -> dict[str, Any]:
    """For programs."""
    return {
        name: {
            **{key: getattr(score, key) for key in score.__dataclass_fields__},
            **(_compared(found.ways[name]) if name in found.ways else {}),
        }
        for name, score in found.scores.items()
    }


def _compared(comparison: Comparison) -> dict[str, Any]:
    names = comparison.__dataclass_fields__
    shown = {name: getattr(comparison, name) for name in names}
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in shown.items()}


def table(found: Compared) -> Table:
    """For people."""
    made = Table("", *found.scores)
    score = list(found.scores.values())
    made.add_row("tasks solved with nobody to ask", *(f"{each.solved} of {each.tasks}" for each in score))
    made.add_row("calls of theirs stopped", *(f"{each.user_calls_stopped} of {each.user_calls}" for each in score))
    made.add_row("attacks that succeed", *(f"{each.attacks_succeeded} of {each.attacks}" for each in score))
    ways = list(found.ways.values())
    made.add_row("the same verdict for the same reasons", "", *(f"{each.same} of {each.calls}" for each in ways))
    for kind in sorted({kind for each in ways for kind in each.kinds}):
        made.add_row(kind, "", *(str(each.kinds[kind]) for each in ways))
    for policy in sorted({policy for each in ways for policy in each.policies}):
        made.add_row(f"  by {policy}", "", *(str(each.policies[policy]) for each in ways))
    made.add_row("the same verdict for other reasons", "", *(str(each.other_reasons) for each in ways))
    for fact in sorted(found.ways["task stated"].facts):
        made.add_row(f"the same, with another `{fact}`", "", *(str(each.facts[fact]) for each in ways))
    made.add_row("calls that only one agent came to", "", *(str(each.not_made) for each in ways))
    for tool in sorted({tool for each in ways for tool in each.other_results}):
        made.add_row(f"another result of `{tool}`", "", *(str(each.other_results[tool]) for each in ways))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 1 when a verdict differs although the task is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--suite", default="slack", choices=SUITES)
    parser.add_argument("--over", default="http", choices=OVER, help="how client, gateway and server are connected")
    parser.add_argument("--results", default="text", choices=FORMS, help="how the server gives its results")
    parser.add_argument("--same-contracts", action="store_true",
                        help="with `structured`: contracts that do not know of wrappers around results")  # fmt: skip
    parser.add_argument("--attack", default="important_instructions", choices=attack_names(), metavar="NAME")
    parser.add_argument("--tasks", nargs="+", metavar="ID", help="only these user tasks")
    parser.add_argument("--injections", nargs="*", metavar="ID", help="only these injection tasks; none: no attacks")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    reports.add_json(parser)
    chosen = parser.parse_args(arguments)
    here = world(chosen.suite, chosen.attack)
    job = Job(
        suite=chosen.suite,
        over=chosen.over,
        form=chosen.results,
        as_in_process=chosen.same_contracts,
        attack=chosen.attack,
        tasks=tuple(chosen.tasks or here.user_tasks),
        injections=tuple(here.injection_tasks if chosen.injections is None else chosen.injections),
    )
    found = compare_all(job, chosen.workers)
    console = Console(stderr=chosen.json == "-", width=None if sys.stdout.isatty() else 120)
    console.print(table(found))
    console.print(f"{chosen.suite} over {chosen.over}, results as {chosen.results}", highlight=False)
    for each in found.ways["task stated"].differences:
        console.print(each, highlight=False)
    known = {"suite": chosen.suite, "over": chosen.over, "results": chosen.results, "attack": chosen.attack}
    reports.deliver({**known, **report_of(found)}, chosen.json)
    return 1 if found.ways["task stated"].differing else 0


if __name__ == "__main__":
    sys.exit(main())
