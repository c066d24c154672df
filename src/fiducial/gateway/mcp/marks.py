"""What outlives the lines of MCP over HTTP: that somebody has been there, and in which conversation.

A line ends when nobody uses it, when its server ends, and with its process. Its agent still knows what it read there.
So before a line answers anything, a cell of the store says that it is there, for whoever comes after it:

| cell | says |
|---|---|
| `mcp-been/<who>/unstated` | they have been at the server without a statement |
| `mcp-been/<who>/stated` | they have been there with one, or in a session that their host named |
| `mcp-been/<who>/stated/<conversation>` | they have been there in this conversation |

`<who>` is a digest of the server and of the principal without their roles, `<conversation>` one of the host and its
name for it: the cells hold nothing that anybody said. None is deleted: how long an agent remembers, nobody here knows.
"""

from __future__ import annotations

from typing import Final

from fiducial.core.canonical import digest
from fiducial.core.store import Commit, Put, Store, Unchanged
from fiducial.errors import Conflict
from fiducial.gateway.statements import Statement

BEEN: Final = "mcp-been/"


class Marks:
    """Usable from any thread."""

    def __init__(self, store: Store, server: str) -> None:
        self._store, self._server = store, server

    def leave(self, who: tuple[str, ...], stated: Statement | None, *, own: bool, named: bool = False) -> bool:
        """Mark that `who` is at the server; whether its agent may have read there what a new line does not know.

        own    without a statement: the line is that of one session of the protocol's, which nobody else comes to
        named  their host has named the session, so it knows what was read in it before

        Who marks first and reads then, so of two that come at once at least one sees the other. Raises `StoreError`.
        """
        of_all = BEEN + _part(self._server, *who)
        with_one, without = f"{of_all}/stated", f"{of_all}/unstated"
        if named:
            self._mark(with_one)
            return self._is(without)
        if stated is None:
            been = self._mark(without)
            return self._is(with_one) or (been and not own)
        been = self._mark(f"{with_one}/{_part(stated.host, stated.conversation)}", with_one)
        return self._is(without) or been

    def _is(self, key: str) -> bool:
        return key in self._store.read([key])

    def _mark(self, key: str, *also: str) -> bool:
        """Whether it was there before."""
        if self._is(key):
            return True
        changes = tuple(Put(each, b"") for each in (key, *also))
        try:
            self._store.commit(Commit(preconditions=(Unchanged(key, 0),), changes=changes)).result()
        except Conflict:
            return True
        return False


def _part(*named: str) -> str:
    return digest(list(named)).removeprefix("sha256:")


__all__ = ["BEEN", "Marks"]
