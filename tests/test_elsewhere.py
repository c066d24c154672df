"""What cannot be installed beside the rest: the tests of it, with what they need in front."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODELS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests" / "gateway").glob("test_models*.py"))]
"""The tests that have a vendor's SDK ask the gateway."""


def run(folder: str, package: str, *arguments: str) -> None:
    """Run tests with what is in `folder` in front, which has `package` in it; each of them passes."""
    installed = Path(sys.prefix) / folder
    if not (installed / package).exists():
        pytest.skip(f"`{folder}` is not installed: `make test`, or `make verify`")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
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


@pytest.mark.parametrize(
    ("folder", "package", "module", "more"),
    [
        ("openai-agents", "agents", "openai_agents", ()),
        ("adk", "google/adk", "adk", ()),
        ("inspect-ai", "inspect_ai", "inspect_ai", ()),
        # It reads fields of its own that it has deprecated.
        ("crewai", "crewai", "crewai", ("-W", "ignore::DeprecationWarning")),
        pytest.param("claude-agent", "claude_agent_sdk", "claude_agent", (), marks=pytest.mark.long),
    ],
)
def test_a_framework_that_has_a_folder_of_its_own(
    folder: str, package: str, module: str, more: tuple[str, ...], pytestconfig: pytest.Config
) -> None:
    tests = (f"tests/adapters/test_{module}.py", "tests/test_docs.py", "-k", module.partition("_")[0])
    run(folder, package, *tests, "-m", pytestconfig.getoption("markexpr"), *more)


@pytest.mark.parametrize(
    "tests",
    [
        (
            "tests/gateway/test_models.py::test_a_talk_is_one_session_whose_calls_are_on_record",
            "tests/gateway/test_models.py::test_of_several_calls_those_go_on_that_may_be_made",
            "-k", "not Messages",
        ),
        pytest.param((*MODELS, "-k", "not Messages"), marks=pytest.mark.long),
        pytest.param(
            ("tests/gateway/test_every_door.py", "tests/test_docs.py", "-k", "OverChat or OverResponses or models.md"),
            marks=pytest.mark.long,
        ),
    ],
    ids=["two", "models", "doors"],
)  # fmt: skip
def test_the_sdk_of_openai_as_it_is_today(tests: tuple[str, ...]) -> None:
    run("openai", "openai", *tests, "-m", "")
