"""Frameworks that cannot be installed beside the others: their tests, with what they need in front."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPENAI = Path(sys.prefix) / "openai-agents"


@pytest.mark.skipif(not OPENAI.exists(), reason="the OpenAI Agents SDK is not there: `make test`")
def test_the_openai_agents_sdk() -> None:
    tests = ["tests/adapters/test_openai_agents.py", "tests/test_docs.py", "-k", "openai"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(OPENAI), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
