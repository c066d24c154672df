"""The values that the tests of masking share, and those of the benchmark's corpus."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[2] / "bench"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
