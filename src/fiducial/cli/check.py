"""`fiducial check`: every problem of a charter at once, and its cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fiducial.charter.contracts import Contract
from fiducial.charter.fit import Misfit, misfits
from fiducial.charter.infer import read_tools
from fiducial.charter.model import Charter
from fiducial.charter.packs.shipped import packs_with
from fiducial.cli.contracts import read_tool_list
from fiducial.cli.reporting import console, fail, print_json, shown
from fiducial.errors import CharterError, Problem
from fiducial.guard.cases import CaseResult, run_cases
from fiducial.policy.load import check_charter


def check(
    directory: Annotated[Path, typer.Argument(metavar="CHARTER", help="The charter's directory.")],
    tools: Annotated[
        list[Path] | None,
        typer.Option(
            help="What a server lists (an MCP `tools/list` result): warn of what does not fit it. Once for each server."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Report every problem of a charter with file, line and the fix, and run its cases.

    With --tools, what its contracts and its servers do not agree on is warned of too.

    Exit status: 0 clean, 1 findings, 2 could not run.
    """
    if not directory.is_dir():
        fail(f"`{directory}` is not a directory; name the one that holds charter.yaml", 2)
    charter, problems = check_charter(directory)
    results: list[CaseResult] = []
    if charter is not None and not any(problem.severity == "error" for problem in problems):
        try:
            results = run_cases(charter)
        except CharterError as error:
            problems = problems + error.problems
    if charter is not None:
        problems = problems + _unfit(charter, tools or [])
    failed = [result for result in results if not result.passed]
    if json:
        print_json(_report(charter, problems, results))
    else:
        _show(directory, problems, results, charter.digest if charter is not None else None)
    errors = [problem for problem in problems if problem.severity == "error"]
    raise typer.Exit(1 if errors or failed or charter is None else 0)


def _unfit(charter: Charter, lists: list[Path]) -> list[Problem]:
    """What the contracts and the listed tools do not agree on; none where nothing is listed."""
    listed = [tool for path in lists for tool in read_tools(read_tool_list(path))]
    found = misfits(charter.contracts, listed) if lists else []
    return [
        Problem("contracts.yaml", 0, each.code, each.message, each.fix, "warning")
        for each in found
        if each.tool not in charter.contracts or not _meant(each, charter.contracts[each.tool])
    ]


def _meant(misfit: Misfit, contract: Contract) -> bool:
    """A pack has this very contract, and says why it does not fit there."""
    packs = packs_with(misfit.tool, contract)
    if misfit.code == "milder":
        return any(misfit.tool in pack.reasons for pack in packs)
    return any(misfit.at in pack.left_out.get(misfit.tool, ()) for pack in packs)


def _report(charter: Any, problems: list[Problem], results: list[CaseResult]) -> dict[str, Any]:
    return {
        "charter": charter.digest if charter is not None else None,
        "problems": problems,
        "cases": [
            {"name": each.case.name, "passed": each.passed, "verdict": each.verdict.kind, "wrong": each.wrong}
            for each in results
        ],
    }


def _show(directory: Path, problems: list[Problem], results: list[CaseResult], digest: str | None) -> None:
    out = console(wrap=True)
    if problems:
        table = Table("", "where", "problem", "fix", box=None, pad_edge=False)
        for problem in sorted(problems):
            colour = "red" if problem.severity == "error" else "yellow"
            where = f"{problem.file}:{problem.line}" if problem.line else problem.file
            table.add_row(f"[{colour}]{problem.severity}[/]", shown(where), shown(problem.message), shown(problem.fix))
        out.print(table)
    for result in results:
        if not result.passed:
            out.print(f"[red]case[/]  {shown(result.case.name)}: {shown('; '.join(result.wrong))}")
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    passed = sum(result.passed for result in results)
    cases = f"{passed} of {len(results)} cases pass" if results else "no cases were run"
    out.print(
        f"{shown(str(directory))}: {errors} error{'s' * (errors != 1)}, "
        f"{warnings} warning{'s' * (warnings != 1)}, {cases}"
    )
    if digest is not None:
        out.print(f"charter {digest}")
