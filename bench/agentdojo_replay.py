"""Replay AgentDojo v1.2.2 offline, with no model, and say what each guard lets through.

    python bench/agentdojo_replay.py                              the table
    python bench/agentdojo_replay.py --explain --profile balanced --suite slack
    python bench/agentdojo_replay.py --attack lookalike --json -
    python bench/agentdojo_replay.py --plot docs/frontier.svg

A scripted agent makes the user task's ground-truth calls and, after the first tool result that shows attacker text,
the injection task's. Each guard is asked about each call; `docs/benchmarks.md` says how runs are scored, which traps
of the benchmark are avoided, and what the numbers cannot show.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import dojo_report
import fiducial
import reports
from dojo_agent import replay
from dojo_guards import ASKING, PROFILES, TRIVIAL, Fiducial, GuardUnderTest, guard
from dojo_report import Outcome
from dojo_stage import Stage
from dojo_world import SUITES, VERSION, attack_names, world


def replay_task(suite: str, attack: str, user_task: str, guards: Sequence[str]) -> list[Outcome]:
    """Every run of one user task, for each guard: alone, with a person, and under each injection of the suite."""
    here = world(suite, attack)
    outcomes = [Outcome(name) for name in guards]
    judges = [_guard(name, suite) for name in guards]
    for outcome, judge in zip(outcomes, judges, strict=True):
        if isinstance(judge, Fiducial):
            outcome.digests[suite] = judge.digest
    stage = Stage(here, here.user_tasks[user_task])
    for outcome, judge in zip(outcomes, judges, strict=True):
        started = time.process_time()
        outcome.benign.append(replay(stage, judge))
        nobody_asked = not any(step.kind in ASKING for step in outcome.benign[-1].steps)
        outcome.approved.append(outcome.benign[-1] if nobody_asked else replay(stage, judge, person=True))
        outcome.seconds += time.process_time() - started
    for id, injection_task in here.injection_tasks.items():
        stage = Stage(here, here.user_tasks[user_task], injection_task)
        hard = here.hard(user_task, id)
        for outcome, judge in zip(outcomes, judges, strict=True):
            started = time.process_time()
            outcome.attacked.append((replay(stage, judge), hard))
            outcome.seconds += time.process_time() - started
    return outcomes


_guards: dict[tuple[str, str], GuardUnderTest] = {}


def _guard(name: str, suite: str) -> GuardUnderTest:
    """One guard a worker: loading a charter and compiling its policies is not what is measured."""
    if (name, suite) not in _guards:
        _guards[name, suite] = guard(name, suite)
    return _guards[name, suite]


def replay_all(
    guards: Sequence[str],
    suites: Sequence[str] = SUITES,
    attack: str = "important_instructions",
    *,
    workers: int | None = None,
    console: Console | None = None,
) -> list[Outcome]:
    """Replay every task of `suites` under every guard; in one process when `workers` is 1."""
    outcomes = {name: Outcome(name) for name in guards}
    jobs = [(suite, attack, task, tuple(guards)) for suite in suites for task in world(suite, attack).user_tasks]
    done: dict[tuple[str, str], list[Outcome]] = {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, disable=console is None, transient=True,
    ) as progress:  # fmt: skip
        bars = {s: progress.add_task(f"{s:10}", total=sum(job[0] == s for job in jobs)) for s in suites}
        for suite, task, found in _run(jobs, workers or min(os.cpu_count() or 1, 4)):
            done[suite, task] = found
            progress.advance(bars[suite])
    for suite, _, task, _ in jobs:
        for outcome in done[suite, task]:
            outcomes[outcome.guard].add(outcome)
    return list(outcomes.values())


def _run(
    jobs: Sequence[tuple[str, str, str, tuple[str, ...]]], workers: int
) -> Iterator[tuple[str, str, list[Outcome]]]:
    if workers == 1:
        for job in jobs:
            yield job[0], job[2], replay_task(*job)
        return
    # Forked, because importing agentdojo takes seconds, and in the order of the longest suite first.
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        futures = {pool.submit(replay_task, *job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future][0], futures[future][2], future.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 when it could not run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this suite; may be repeated")
    parser.add_argument(
        "--profile", action="append", choices=PROFILES + TRIVIAL, help="only this guard; may be repeated"
    )
    parser.add_argument("--attack", default="important_instructions", choices=attack_names(), metavar="NAME",
                        help=f"attack text: {', '.join(attack_names())}")  # fmt: skip
    reports.add_json(parser)
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the frontier into an .svg or .png file")
    parser.add_argument("--explain", action="store_true", help="list benign calls stopped and attacks that succeeded")
    parser.add_argument("--workers", type=int, help="processes; default: one a core, at most 4")
    options = parser.parse_args(arguments)
    console = Console(stderr=options.json == "-")
    if not console.is_terminal:
        console = Console(stderr=options.json == "-", width=140)
    suites, guards = options.suite or list(SUITES), options.profile or [*PROFILES, *TRIVIAL]
    started = time.monotonic()
    outcomes = replay_all(guards, suites, options.attack, workers=options.workers, console=console)
    seconds = time.monotonic() - started
    report = {
        "benchmark": f"agentdojo {VERSION}, offline replay",
        "agentdojo": version("agentdojo"),
        "fiducial": fiducial.__version__,
        "attack": options.attack,
        "suites": suites,
        "interval_method": dojo_report.METHOD,
        "seconds": round(seconds, 1),
        "profiles": {outcome.guard: outcome.as_dict() for outcome in outcomes},
    }
    if options.explain:
        prompts = {(s, id): t.PROMPT.strip() for s in suites for id, t in world(s, options.attack).user_tasks.items()}
        for outcome in outcomes:
            dojo_report.explain(outcome, prompts, console)
    console.print(dojo_report.table(outcomes))
    console.print(dojo_report.suites_table(outcomes))
    console.print(f"attack text: {options.attack}; {seconds:.0f} s")
    if options.plot:
        dojo_report.plot(outcomes, options.plot)
    reports.deliver(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
