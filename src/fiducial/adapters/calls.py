"""A call of a tool as an agent's framework makes it: decided, waited for, run, and put into words for the model."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from fiducial.core.faults import wordless
from fiducial.core.ids import HoldId
from fiducial.core.verdict import Fault, Held, Unclear
from fiducial.errors import ToolFailed, ToolRefused
from fiducial.guard.remedies import for_fault
from fiducial.guard.results import Result
from fiducial.guard.session import Session
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Hold

T = TypeVar("T")
log = logging.getLogger("fiducial.adapters")
AT_ONCE: Final = timedelta(0)
_POLL_SECONDS: Final = 0.2
_AGAIN: Final = " The request is {request}. Make the same call again once it was answered."
BROKEN: Final = for_fault(Fault.FACTS).agent
"""What the model is told of a call that a broken guard did not let through."""
UNKNOWN: Final = (
    "The tool was cut off, and nobody knows whether it had its effect. Do not make the call again; tell the user."
)
"""What the model is told of a call after which nobody knows what the tool has done."""


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call, as an agent gets it."""

    result: Result | None
    """`None`: the guard broke; `told` says whether the tool was called."""
    told: str = ""
    """What the model is told in place of a value; empty when there is a value."""
    waiting: HoldId | None = None
    """The request that people, or the user, have before them; nobody had answered it in time."""

    @property
    def ran(self) -> bool:
        """It has a value, and what the tool returned may be handed on as it is."""
        return self.result is not None and self.result.status == "ok" and not self.result.withheld

    @property
    def as_given(self) -> bool:
        """What the tool gave may be handed on as it is: a value, or its words for a failure."""
        return self.result is not None and self.result.status in ("ok", "failed") and not self.result.withheld

    @property
    def in_part(self) -> bool:
        """Something was left out of what the tool returned: `value` is the rest, and `told` says it to the model."""
        return self.result is not None and self.result.status == "ok" and self.result.withheld

    @property
    def value(self) -> Any:
        """What the tool returned; `None` when it did not."""
        return self.result.value if self.result is not None else None


def call(
    session: Session,
    tool: str,
    arguments: Mapping[str, Any],
    run: Callable[..., Any],
    *,
    wait: timedelta = AT_ONCE,
) -> Called:
    """All ten steps; `run(**arguments)` is called if it may. Never raises for what a tool, a policy or the guard did.

    wait  how long a call that people are asked about waits for them, on this thread; then it is decided afresh
    """
    tried = Tried(run)
    try:
        done = session.call(tool, arguments, run=tried.run)
        if (desk := _desk(session, done, wait)) is not None and not _waited(desk, done, wait).open:
            done = session.call(tool, arguments, run=tried.run)
    except Exception as error:  # noqa: BLE001 - what a framework swallows must not have let the tool run
        return tried.broken(error)
    return _called(done)


async def acall(
    session: Session,
    tool: str,
    arguments: Mapping[str, Any],
    run: Callable[..., Any],
    *,
    wait: timedelta = AT_ONCE,
) -> Called:
    """`call` on the running event loop; `run` may be asynchronous, and nothing waits on a thread."""
    tried = Tried(run)
    try:
        done = await session.acall(tool, arguments, run=tried.run)
        if (desk := _desk(session, done, wait)) is not None and await _settled(desk, done, wait):
            done = await session.acall(tool, arguments, run=tried.run)
    except Exception as error:  # noqa: BLE001 - what a framework swallows must not have let the tool run
        return tried.broken(error)
    return _called(done)


class Tried:
    """A tool's function, and whether it was called: a guard that breaks may break before that or after."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self.begun = False

        def called(**arguments: Any) -> Any:
            self.begun = True
            return run(**arguments)

        async def acalled(**arguments: Any) -> Any:
            self.begun = True
            return await run(**arguments)

        self.run: Callable[..., Any] = acalled if inspect.iscoroutinefunction(run) else called

    def broken(self, error: Exception) -> Called:
        """A guard that cannot say what is allowed has allowed nothing, and one that cannot say what came of it has
        run the tool all the same."""
        log.error(
            "the guard broke %s the tool was called", "after" if self.begun else "before", exc_info=wordless(error)
        )
        return Called(result=None, told=UNKNOWN if self.begun else BROKEN)


class Begun:
    """A call that a framework makes by itself, between two of its hooks: decided at the first, and at the second it is
    told what came of it. In between it stands still, on the running event loop, for as long as its contract lets the
    tool run; after that nobody knows what came of it."""

    def __init__(self, session: Session, tool: str, arguments: Mapping[str, Any], *, wait: timedelta = AT_ONCE) -> None:
        loop = asyncio.get_running_loop()
        self._may_run: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._came: asyncio.Future[Any] = loop.create_future()
        self._done = asyncio.ensure_future(acall(session, tool, arguments, self._run, wait=wait))

    async def decided(self) -> dict[str, Any] | Called:
        """The arguments to make the call with, or what came of it as it may not be made."""
        try:
            either: set[asyncio.Future[Any]] = {self._may_run, self._done}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._done.cancel()
            raise
        return self._done.result() if self._done.done() else self._may_run.result()

    @property
    def over(self) -> bool:
        """Nobody waits for it any more: the time that its contract gives the tool has run out."""
        return self._done.done()

    async def returned(self, value: Any) -> Called:
        """What came of it, now that the tool has returned `value`."""
        if not self._came.done():
            self._came.set_result(value)
        return await self._done

    async def raised(self, error: Exception) -> Called:
        """What came of it, now that the tool has raised `error`."""
        if not self._came.done():
            self._came.set_exception(error)
        return await self._done

    async def _run(self, **given: Any) -> Any:
        self._may_run.set_result(given)
        return await self._came


def readable(read: Callable[[], T]) -> T:
    """What `read` makes of what a tool has returned. Raises `ToolFailed` when that cannot be read: the tool has run,
    and nobody knows what came of it."""
    try:
        return read()
    except (ToolFailed, ToolRefused):
        raise
    except Exception as error:
        raise ToolFailed(f"its result cannot be read: {error}", outcome="unknown") from error


def _asked(done: Result) -> HoldId | None:
    """The request about a call that was not made, if people can answer it."""
    verdict = done.verdict
    return verdict.hold if done.status == "not-run" and isinstance(verdict, (Held, Unclear)) else None


def _desk(session: Session, done: Result, wait: timedelta) -> Desk | None:
    """Where people answer; `None` when nobody is asked, or nothing waits for them."""
    desk = session.ground.desk
    return desk if wait > AT_ONCE and _asked(done) is not None and isinstance(desk, Desk) else None


def _waited(desk: Desk, done: Result, wait: timedelta) -> Hold:
    hold = _asked(done)
    assert hold is not None
    return desk.wait(hold, wait)


async def _settled(desk: Desk, done: Result, wait: timedelta) -> bool:
    hold = _asked(done)
    assert hold is not None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait.total_seconds()
    while True:
        if not (await asyncio.to_thread(desk.hold, hold)).open:
            return True
        left = deadline - loop.time()
        if left <= 0:
            return False
        await asyncio.sleep(min(_POLL_SECONDS, left))


def _called(done: Result) -> Called:
    if done.status == "ok" and done.withheld:
        return Called(result=done, told=json.dumps(done.value, ensure_ascii=False, default=str))
    if done.status == "ok":
        return Called(result=done)
    if done.status == "failed":
        return Called(result=done, told=done.error or "The tool failed.")
    if done.status == "unknown":
        return Called(result=done, told=UNKNOWN)
    hold = _asked(done)
    again = _AGAIN.format(request=hold) if hold is not None else ""
    return Called(result=done, told=(done.verdict.remedies.agent or "This was not done.") + again, waiting=hold)


__all__ = ["AT_ONCE", "BROKEN", "UNKNOWN", "Begun", "Called", "acall", "call", "readable"]
