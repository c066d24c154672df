"""A bank whose environment lies in a file, and the capture by which a change of a standing order is taken back.

The tools are AgentDojo's own, and run on an environment of its banking suite. That is kept in a file between two calls,
so that `fiducial undo`, which is another process, finds the bank where the agent left it:

    FIDUCIAL_DEMO_BANK=.fiducial/demo-bank.json fiducial undo SESSION … --captures bench.demo_bank:CAPTURES
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiducial.core.ids import Digest
from fiducial.errors import CaptureError, ChangedSince
from fiducial.guard.compensation import Snapshot
from fiducial.store.files import write_atomically

if TYPE_CHECKING:
    from dojo_world import World

PLACE = "FIDUCIAL_DEMO_BANK"
"""Environment variable that names the file."""


class Bank:
    """AgentDojo's bank: eleven tools on one environment."""

    def __init__(self, path: Path, world: World, injections: Mapping[str, str]) -> None:
        """Open for business: `injections`, vector → text, stand where the suite lets third parties write."""
        self.path = path
        self._type = world.suite.environment_type
        self._runtime = world.runtime()
        self._save(world.environment(dict(injections)))

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Run a tool; what it returns, as JSON. Raises `RuntimeError` with what the tool said when it failed."""
        environment = self.environment()
        result, error = self._runtime.run_function(environment, tool, arguments)
        if error is not None:
            raise RuntimeError(error)
        self._save(environment)
        return _plain(result)

    def environment(self) -> Any:
        """As the last call left it."""
        return self._type.model_validate_json(self.path.read_text())

    def payments(self) -> list[tuple[str, float]]:
        """Recipient and euros of every payment that has left the account, oldest first."""
        account = self.environment().bank_account
        return [(each.recipient, each.amount) for each in account.transactions if each.sender in ("me", account.iban)]

    def scheduled(self, id: int) -> float:
        """Euros of a standing order."""
        return next(each.amount for each in self.environment().bank_account.scheduled_transactions if each.id == id)

    def _save(self, environment: Any) -> None:
        write_atomically(self.path, environment.model_dump_json(), mode=0o600)


class Scheduled:
    """One scheduled transaction of the bank in a file: a `fiducial.guard.compensation.Capture`. Argument: `id`.

    Nothing here needs AgentDojo, whose import takes longer than an undo.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, arguments: Mapping[str, Any]) -> Snapshot:
        """The transaction as it is; `null` when there is none."""
        return Snapshot(self._found(self._read(), arguments))

    def restore(self, arguments: Mapping[str, Any], before: Snapshot, after: Digest | None) -> None:
        """Put it back in its place."""
        bank = self._read()
        present = self._found(bank, arguments)
        if after is not None and Snapshot(present).digest != after:
            raise ChangedSince("the scheduled transaction has been changed since")
        if present is None or before.state is None:
            raise CaptureError("a scheduled transaction that is gone cannot be put back in its place")
        present.clear()
        present.update(before.state)
        write_atomically(self._path, json.dumps(bank), mode=0o600)

    def _read(self) -> Any:
        return json.loads(self._path.read_text())

    def _found(self, bank: Any, arguments: Mapping[str, Any]) -> Any:
        rows = bank["bank_account"]["scheduled_transactions"]
        return next((row for row in rows if row["id"] == arguments["id"]), None)


def _plain(result: Any) -> Any:
    """A result with AgentDojo's models as the objects that they are in JSON."""
    if isinstance(result, list):
        return [_plain(each) for each in result]
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result


CAPTURES = {"scheduled": Scheduled(Path(os.environ.get(PLACE, ".fiducial/demo-bank.json")))}
"""For `fiducial undo --captures`."""
