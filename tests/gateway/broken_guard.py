"""`fiducial`, with a guard that breaks."""

from __future__ import annotations

from fiducial.cli import main
from fiducial.guard.state import State


def broken(*given: object, **_: object) -> None:
    raise ZeroDivisionError(given)


State.facts = broken  # type: ignore[assignment,method-assign]
main()
