"""Every error Fiducial raises, on one page.

FiducialError
├── CharterError        the charter cannot be understood; carries every problem found
├── PolicyError         the policies cannot be compiled or asked
├── CallError           a call cannot be judged; the tool does not run
│   ├── NotAllowed      the verdict was not `allowed`; carries the verdict
│   ├── CallMismatch    an outcome does not belong to the decision it names
│   ├── ToolFailed      the tool ran and raised, or its outcome is unknown
│   └── ToolRefused     raised by a tool: it refused, and has done nothing
├── SessionError        the session is closed, lost or used wrongly
├── OversightError      a person's decision cannot be taken
│   ├── NotPermitted    the person may not decide this
│   └── AlreadySettled  the request has its answer, or its time is over
├── CaptureError        what a call changes cannot be kept, or put back
│   └── ChangedSince    somebody else has changed it since
├── MaskingError        values cannot be told from a text, so that it is not given out
└── StoreError          what happened could not be kept
    ├── StoreBusy       the store could not do it in time
    ├── StoreClosed     the store was closed, or its writer stopped
    ├── Conflict        a precondition of a commit did not hold
    └── LedgerError     the stored log is not what it should be
        ├── Corrupt     an entry, a tree head or a signature does not verify
        ├── RolledBack  the log is older than a checkpoint already seen
        ├── TooNew      written by a newer version of Fiducial
        └── WrongKey    signed by a key other than the one given

Messages are lower-case, put user values in backticks, name no internal type, and say what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fiducial.core.verdict import Verdict


class FiducialError(Exception):
    """Base of every error Fiducial raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a charter, where it is and what would mend it."""

    file: str
    """Path relative to the charter's directory; empty when the charter was not read from disk."""
    line: int
    """1-based line; 0 when the problem belongs to the whole file."""
    code: str
    """Stable, kebab-case identifier, such as `unknown-key`."""
    message: str
    """What is wrong, lower-case, user values in backticks."""
    fix: str = ""
    """What to do about it; empty only when the message already says so."""
    severity: Literal["error", "warning"] = "error"
    """Warnings are reported and do not stop a charter from loading."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        return f"{where}{self.message}" + (f" ({self.fix})" if self.fix else "")


class CharterError(FiducialError):
    """The charter cannot be understood; nothing of it is enforced in part."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        """Every problem found, in file and line order; never empty."""
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''}\n" + "\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[CharterError], tuple[list[Problem]]]:
        """Pickled by its problems, so that it crosses a process boundary as what it is."""
        return CharterError, (self.problems,)


class PolicyError(FiducialError):
    """The policies cannot be compiled, or the engine could not answer."""


class CallError(FiducialError):
    """A call cannot be judged or run; the tool has not run unless `ToolFailed` says otherwise."""


class NotAllowed(CallError):
    """The verdict was `held`, `unclear` or `denied`; the tool did not run."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        """The verdict, with its reasons and remedies."""
        super().__init__(verdict.remedies.agent or f"the call was {verdict.kind}")


class CallMismatch(CallError):
    """An outcome was reported for a decision made on another tool, session or arguments."""


class ToolFailed(CallError):
    """The tool ran and raised, or was cut off; its outcome is recorded as failed or unknown."""

    def __init__(self, message: str, *, outcome: Literal["failed", "unknown"]) -> None:
        self.outcome: Literal["failed", "unknown"] = outcome
        """`failed`: the tool said so. `unknown`: it was cut off, and the effect may have happened."""
        super().__init__(message)


class ToolRefused(CallError):
    """A tool raises this to say that it refused the call and nothing has happened; what was reserved is given back.

    After any other exception nobody knows how far the tool came, so what it may have spent stays spent.
    """


class SessionError(FiducialError):
    """The session is closed, lost, or was used in a way it does not allow."""


class OversightError(FiducialError):
    """A person's decision cannot be taken as it was given."""


class NotPermitted(OversightError):
    """The person may not decide this: another role, their own request, or their second vote."""


class AlreadySettled(OversightError):
    """The request has its answer, its time is over, or what it was asked for has changed."""


class CaptureError(FiducialError):
    """What a call is about to change cannot be kept, or cannot be put back as it was; nothing was changed."""


class ChangedSince(CaptureError):
    """What would be put back is no longer as the call left it; nothing was changed."""


class MaskingError(FiducialError):
    """Values of data classes cannot be told from a text; nothing of it was given out."""


class StoreError(FiducialError):
    """What happened could not be kept; a side effect waiting on it does not run."""


class StoreBusy(StoreError):
    """The store could not do it in time; nothing of it was kept, unless the message says that this is not known."""


class StoreClosed(StoreError):
    """The store was closed, or its writer stopped after a fault."""


class Conflict(StoreError):
    """A precondition of a commit did not hold; none of its events or changes were kept."""

    def __init__(self, message: str, *, key: str) -> None:
        self.key = key
        """The state key whose precondition failed."""
        super().__init__(message)


class LedgerError(StoreError):
    """The stored log is not what it should be."""


class Corrupt(LedgerError):
    """An entry, a tree head or a signature does not verify."""

    def __init__(self, message: str, *, index: int | None = None) -> None:
        self.index = index
        """Index of the first bad entry; `None` when the fault is not in an entry."""
        super().__init__(message)


class RolledBack(LedgerError):
    """The log is older than, or forks from, a checkpoint that was already seen."""


class TooNew(LedgerError):
    """The database was written by a newer version of Fiducial."""


class WrongKey(LedgerError):
    """The checkpoint is signed by a key other than the one given."""


__all__ = sorted(
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and value is not Any and (issubclass(value, FiducialError) or value is Problem)
)
