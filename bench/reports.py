"""What a benchmark has measured, for programs: one JSON object, printed or written to a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option `--json [FILE]`, the same for all benchmarks."""
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE",
        help="print one JSON object, and tables nowhere but on standard error; with FILE, write it there",
    )  # fmt: skip


def deliver(report: Mapping[str, Any], where: str | None) -> bool:
    """Print or write `report` as `--json` was given; whether it was printed, so that nothing else may be."""
    text = json.dumps(report, indent=2)
    if where == "-":
        print(text)
    elif where:
        Path(where).write_text(text + "\n")
    return where == "-"
