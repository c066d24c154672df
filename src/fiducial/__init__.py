"""Fiducial: the alignment control plane for AI agents.

    charter = fiducial.load_charter("support")
    guard = fiducial.Guard(charter)
    with guard.session(user="emma", roles=["customer"], task=prompt) as session:
        result = session.call("read_file", {"file_path": "bill.txt"}, run=read_file)

Names are loaded when they are first used, so that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiducial.adapters.tool import in_use, tool, using
    from fiducial.charter.model import Charter
    from fiducial.core.event import Event
    from fiducial.core.label import Integrity, Label
    from fiducial.core.trajectory import Trajectory
    from fiducial.core.verdict import Allowed, Denied, Held, Reason, Remedies, Unclear, Verdict
    from fiducial.errors import (
        CallError,
        CallMismatch,
        CharterError,
        FiducialError,
        NotAllowed,
        PolicyError,
        SessionError,
        StoreError,
        ToolFailed,
        ToolRefused,
    )
    from fiducial.guard.guard import Answer, Guard, Question
    from fiducial.guard.results import Result
    from fiducial.guard.session import Session
    from fiducial.policy.load import load_charter
    from fiducial.store.memory import MemoryStore
    from fiducial.store.postgres.store import PostgresStore
    from fiducial.store.sqlite import SqliteStore

__version__ = "0.1.0"

_HOMES = {
    "Allowed": "fiducial.core.verdict",
    "Answer": "fiducial.guard.guard",
    "CallError": "fiducial.errors",
    "CallMismatch": "fiducial.errors",
    "Charter": "fiducial.charter.model",
    "CharterError": "fiducial.errors",
    "Denied": "fiducial.core.verdict",
    "Event": "fiducial.core.event",
    "FiducialError": "fiducial.errors",
    "Guard": "fiducial.guard.guard",
    "Held": "fiducial.core.verdict",
    "Integrity": "fiducial.core.label",
    "Label": "fiducial.core.label",
    "MemoryStore": "fiducial.store.memory",
    "NotAllowed": "fiducial.errors",
    "PolicyError": "fiducial.errors",
    "PostgresStore": "fiducial.store.postgres.store",
    "Question": "fiducial.guard.guard",
    "Reason": "fiducial.core.verdict",
    "Remedies": "fiducial.core.verdict",
    "Result": "fiducial.guard.results",
    "Session": "fiducial.guard.session",
    "SessionError": "fiducial.errors",
    "SqliteStore": "fiducial.store.sqlite",
    "StoreError": "fiducial.errors",
    "ToolFailed": "fiducial.errors",
    "ToolRefused": "fiducial.errors",
    "Trajectory": "fiducial.core.trajectory",
    "Unclear": "fiducial.core.verdict",
    "Verdict": "fiducial.core.verdict",
    "in_use": "fiducial.adapters.tool",
    "load_charter": "fiducial.policy.load",
    "tool": "fiducial.adapters.tool",
    "using": "fiducial.adapters.tool",
}

__all__ = [
    "Allowed",
    "Answer",
    "CallError",
    "CallMismatch",
    "Charter",
    "CharterError",
    "Denied",
    "Event",
    "FiducialError",
    "Guard",
    "Held",
    "Integrity",
    "Label",
    "MemoryStore",
    "NotAllowed",
    "PolicyError",
    "PostgresStore",
    "Question",
    "Reason",
    "Remedies",
    "Result",
    "Session",
    "SessionError",
    "SqliteStore",
    "StoreError",
    "ToolFailed",
    "ToolRefused",
    "Trajectory",
    "Unclear",
    "Verdict",
    "__version__",
    "in_use",
    "load_charter",
    "tool",
    "using",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `fiducial` has no attribute `{name}`")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
