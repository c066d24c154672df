"""Loading: a charter directory, read and compiled, with every problem of both reported at once."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

from fiducial.charter.load import read_draft
from fiducial.charter.model import Charter, PolicySource
from fiducial.charter.yaml import read_yaml
from fiducial.errors import CharterError, Problem
from fiducial.policy.lint import misreadings
from fiducial.policy.rulebook import lint, read_policies
from fiducial.policy.weave import INTENT_FILE

Profile = Literal["balanced", "strict", "none"]


def load_charter(directory: str | os.PathLike[str], *, baseline: Profile | None = None) -> Charter:
    """The charter in `directory`. `baseline`: a profile to use instead of the one that it names.

    Raises `CharterError` with every problem of its files, policies and conditions.
    """
    charter, problems = check_charter(directory, baseline=baseline)
    errors = [problem for problem in problems if problem.severity == "error"]
    if charter is None or errors:
        raise CharterError(errors)
    return charter


def check_charter(
    directory: str | os.PathLike[str], *, baseline: Profile | None = None
) -> tuple[Charter | None, list[Problem]]:
    """The charter in `directory` and every problem found, warnings included, in file and line order.

    The charter is `None` when its files are not all sound. Policies are looked at all the same: as far as the rest can
    be told in spite of its errors, or else for what shows without the rest, syntax and annotations.
    """
    charter, problems = read_draft(directory)
    if any(problem.severity == "error" for problem in problems):
        lines = _clause_lines(Path(directory))
        more = lint(charter, lines=lines) if charter is not None else _unread_policies(Path(directory))
        return None, sorted({*problems, *more})
    if charter is None:
        return None, problems
    if baseline is not None:
        about = charter.about.model_copy(update={"baseline": baseline})
        charter = Charter.build(
            about, charter.contracts, charter.clauses, charter.policies, charter.cases, charter.companions
        )
    return charter, sorted([*problems, *lint(charter, lines=_clause_lines(Path(directory)))])


def _unread_policies(directory: Path) -> list[Problem]:
    """What is wrong with policies whatever else the charter says; unreadable files are reported elsewhere."""
    sources = []
    for path in sorted(directory.glob("policies/*.cedar")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8-sig")
            sources.append(PolicySource(file=path.relative_to(directory).as_posix(), text=text))
    problems = list(misreadings(sources))
    read_policies(sources, problems)
    return problems


def _clause_lines(directory: Path) -> dict[str, int]:
    """Clause id → line of its condition in `intent.yaml`; empty when the file is gone meanwhile."""
    try:
        document = read_yaml((directory / INTENT_FILE).read_text(encoding="utf-8-sig"), INTENT_FILE)
    except (OSError, UnicodeDecodeError):
        return {}
    lines = {}
    clauses = document.data.get("clauses") if isinstance(document.data, dict) else None
    for index, clause in enumerate(clauses if isinstance(clauses, list) else ()):
        if isinstance(clause, dict):
            for key in ("id", "never", "never_without_approval"):
                if key in clause:
                    lines[str(clause.get("id"))] = document.line(("clauses", index, key))
    return lines
