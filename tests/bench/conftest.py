"""The benchmarks are programs beside the package; here they are imported as modules."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

BENCH = str(Path(__file__).resolve().parents[2] / "bench")
if BENCH not in sys.path:
    sys.path.insert(0, BENCH)

if find_spec("agentdojo"):
    # Importing agentdojo imports every model provider's client, some of which warn.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("agentdojo.task_suite.load_suites")
