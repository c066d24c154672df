"""Frameworks that cannot be installed beside the others: their tests, with what they need in front."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = Path(sys.prefix)


@pytest.mark.parametrize(("folder", "name"), [("openai-agents", "openai"), ("inspect-ai", "inspect")])
def test_a_framework_that_has_a_folder_of_its_own(folder: str, name: str) -> None:
    if not (ELSEWHERE / folder).exists():
        pytest.skip(f"{folder} is not there: `make test`")
    [tests] = (ROOT / "tests" / "adapters").glob(f"test_{name}_*.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "tests/test_docs.py", "-k", name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ELSEWHERE / folder), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
