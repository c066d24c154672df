"""The tools of a house as decorated functions."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway_world import Came, Door, House, Moment, Visit, cancelled, interrupted, of_verdict

import fiducial
from fiducial.errors import CallError, NotAllowed, ToolFailed


class ByTool(Door):
    """Functions that `@fiducial.tool` guards."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _ByTool(self, self.house.guard.session(user=user, task=task))


class ByToolAsync(ByTool):
    """The same, asynchronous."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _ByToolAsync(self, self.house.guard.session(user=user, task=task))


class _ByTool(Visit):
    def __init__(self, door: Door, session: fiducial.Session) -> None:
        self.door, self.house, self.session = door, door.house, session

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        function = fiducial.tool(name=tool, wait=self.door.wait)(_function(self.house, tool))
        try:
            with fiducial.using(self.session):
                return Came("allowed", True, function(**arguments))
        except (NotAllowed, ToolFailed, CallError) as error:
            return _refused(error)

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        interrupted(lambda: self.call(tool, arguments), when)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)


class _ByToolAsync(_ByTool):
    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        return asyncio.run(self._acall(tool, arguments))

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        cancelled(self.house, self._acall(tool, arguments), when)

    async def _acall(self, tool: str, arguments: dict[str, Any]) -> Came:
        run = _function(self.house, tool)

        @fiducial.tool(name=tool, wait=self.door.wait)
        async def function(**given: Any) -> Any:
            return await asyncio.to_thread(run, **given)

        try:
            with fiducial.using(self.session):
                return Came("allowed", True, await function(**arguments))
        except (NotAllowed, ToolFailed, CallError) as error:
            return _refused(error)


def _function(house: House, tool: str) -> Any:
    def function(**given: Any) -> Any:
        return house.tools.run(tool, given)

    return function


def _refused(error: Exception) -> Came:
    if isinstance(error, NotAllowed):
        return of_verdict(error.verdict)
    return Came("allowed" if isinstance(error, ToolFailed) else "denied", False, told=str(error))


__all__ = ["ByTool", "ByToolAsync"]
