"""A guard over a real store, for agents of the frameworks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "gateway"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from gateway_world import House  # noqa: E402 - found by the lines above


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "fiducial.db") as made:
        yield made
