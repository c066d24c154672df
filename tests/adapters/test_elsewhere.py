"""Frameworks that cannot be installed beside the others: their tests, with what they need in front."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("folder", "module", "more"),
    [
        ("openai-agents", "openai_agents", ()),
        ("adk", "adk", ()),
        pytest.param("inspect-ai", "inspect_ai", (), marks=pytest.mark.long),
        # It reads fields of its own that it has deprecated.
        pytest.param("crewai", "crewai", ("-W", "ignore::DeprecationWarning"), marks=pytest.mark.long),
        pytest.param("claude-agent", "claude_agent", (), marks=pytest.mark.long),
    ],
)
def test_a_framework_that_has_a_folder_of_its_own(
    folder: str, module: str, more: tuple[str, ...], pytestconfig: pytest.Config
) -> None:
    installed = Path(sys.prefix) / folder
    if not installed.exists():
        pytest.skip(f"`{folder}` is not installed: `make test`, or `make verify`")
    tests = (f"tests/adapters/test_{module}.py", "tests/test_docs.py", "-k", module.partition("_")[0])
    marked = ("-m", pytestconfig.getoption("markexpr"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *marked, *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
