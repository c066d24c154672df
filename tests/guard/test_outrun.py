"""What happens between the decision on a call and its run: nothing runs that may not run any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard, MemoryStore
from fiducial.core.clock import ManualClock
from fiducial.core.event import CallFinished
from fiducial.guard.compensation import Snapshot
from fiducial.guard.leases import LATE, LOST
from fiducial.store.lease import DURATION, SKEW
from fiducial.store.open import open_store

TOOLS: dict[str, dict[str, Any]] = {
    "write": {
        "effect": "reversible",
        "kind": "update",
        "parameters": {"path": {"role": "option"}},
        "capture": {"driver": "files", "tool": "restore", "arguments": {"path": "$arguments.path"}},
    },
    "restore": {"effect": "reversible", "kind": "update", "parameters": {"path": {"role": "option"}}},
}


class Slow:
    """Keeps a state; meanwhile something happens, once."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = lambda: None

    def take(self, arguments: Any) -> Snapshot:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return Snapshot("as it was")

    def restore(self, *_: Any) -> None:
        """Not called."""


@pytest.mark.parametrize("what", ["halted", "closed"])
def test_what_is_stopped_while_the_state_is_kept_does_not_run(make_charter: Any, what: str) -> None:
    files, store, ran = Slow(), MemoryStore(), []
    guard = Guard(make_charter(tools=TOOLS), store=store, captures={"files": files})
    session = guard.session(user="ann", task="write the file")
    files.meanwhile = lambda: guard.halt("stop", by="olga") if what == "halted" else session.close()
    result = session.call("write", {"path": "a"}, run=lambda **_: ran.append(1))
    assert (result.status, result.verdict.kind, ran) == ("not-run", "allowed", [])
    assert what in str(result.error)
    [finished] = [each.event for each in store.ledger().entries() if isinstance(each.event, CallFinished)]
    assert finished.outcome == "failed"


def test_who_lost_the_session_while_the_state_was_kept_does_not_run(make_charter: Any, tmp_path: Path) -> None:
    clock, files, ran = ManualClock(), Slow(), []
    where, key = str(tmp_path / "log.db"), tmp_path / "key"
    with open_store(where, key_path=key) as one, open_store(where, key_path=key) as two:
        charter = make_charter(tools=TOOLS, baseline="none")
        stopped = Guard(charter, store=one, clock=clock, captures={"files": files})
        other = Guard(charter, store=two, clock=clock, captures={"files": Slow()})
        session = stopped.session(user="ann", task="write the file")
        assert session.call("write", {"path": "x"}, run=lambda **_: ran.append("before")).status == "ok"

        def taken_over() -> None:
            clock.advance(DURATION + SKEW)
            again = other.reopen(session.id)
            assert again.call("write", {"path": "x"}, run=lambda **_: ran.append("other")).status == "ok"

        files.meanwhile = taken_over
        lost = session.call("write", {"path": "x"}, run=lambda **_: ran.append("stopped"))
        assert lost.status == "not-run"
        assert lost.error in (LOST, LATE)
    assert ran == ["before", "other"]
