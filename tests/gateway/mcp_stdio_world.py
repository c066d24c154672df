"""`fiducial mcp` as a process of its own, between the official client and a server that is a command."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import pytest
from gateway_world import CONTRACTS, OLGA, Door, House, Moment, Visit, until, written
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_world import _OverMcp

import fiducial
from fiducial.core.ids import PersonId
from fiducial.oversight.people import People, Person

HERE = Path(__file__).parent
_FULL = 0
"""Bytes that a file may have where the disk is full."""


class Shed:
    """Where the server of another process finds the tools of a house."""

    def __init__(self, house: House) -> None:
        self.address = str(house.path.with_name("shed"))
        self.wrappers: set[int] = set()
        """Processes that have started the server."""
        self._house, self._listener = house, Listener(self.address, "AF_UNIX")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                asking = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(asking,), daemon=True).start()

    def _answer(self, asking: Connection[Any, Any]) -> None:
        with asking:
            wrapper, what, *call = asking.recv()
            self.wrappers.add(wrapper)
            if what == "tools":
                asking.send([*CONTRACTS, "not_in_the_charter"])
                return
            try:
                answer = False, str(self._house.tools.run(*call))
            except Exception as error:
                answer = True, str(error)
            asking.send(answer)

    def close(self) -> None:
        self._listener.close()


class Line:
    """A client, on an event loop of its own, of a process that wraps the server."""

    def __init__(self, words: list[str], log: Path) -> None:
        self._words, self._log = words, log
        self._ready, self._failed = threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(60)
        if self._failed:
            raise self._failed[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failed.append(error)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        started = StdioServerParameters(
            command=sys.executable,
            args=self._words,
            env={"PYTHONPATH": str(Path(fiducial.__file__).parents[1])},
        )
        with self._log.open("a") as log:
            async with Client(stdio_client(started, errlog=log), mode="legacy") as self.client:
                self._ready.set()
                await self._end.wait()

    def do(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Await something on the loop."""

        async def done() -> Any:
            return await action()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(60)

    def ping(self) -> None:
        """Wait until the process has read all that was sent to it."""
        self.do(lambda: self.client.session.send_ping())

    def close(self) -> None:
        """Leave; the process ends."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(20)
            assert not self._thread.is_alive()


class OverStdio(Door):
    """MCP by a process that wraps the server's command. Each session has one."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._shed, self._lines, self._program = Shed(house), list[Line](), ["-m", "fiducial"]
        self._log = house.path.with_name("wrapper.log")
        people = People(house.store, house.guard.clock)
        people.add(Person(id=OLGA.id, name="Olga", roles=tuple(OLGA.roles)), by=PersonId("olga"))
        house.on_stop(self._shed.close)
        house.on_stop(self._close)
        house.flushes.append(self._close)

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        house = self.house
        words = [*self._program, "mcp", "--charter", str(written(house.guard.current.charter, house.path.parent))]
        words += ["--db", str(house.path), "--user", user, *(["--task", task] if task is not None else [])]
        words += ["--mode", house.guard.mode, "--wait", str(self.wait.total_seconds()), "--name", "shed", "--alone"]
        line = Line([*words, "--", sys.executable, str(HERE / "house_server.py"), self._shed.address], self._log)
        self._lines.append(line)
        return _OverStdio(self, line)

    def break_guard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._program = [str(HERE / "broken_guard.py")]

    def log(self) -> str:
        return self._log.read_text()

    def lose_store(self) -> None:
        """The disk is full."""
        self.house.store.close()
        for each in self._shed.wrappers:
            resource.prlimit(each, resource.RLIMIT_FSIZE, (_FULL, _FULL))

    def hear(self) -> None:
        """Halts are heard in the order in which they are given."""
        [line] = self._lines
        visit, house = _OverStdio(self, line), self.house
        halt = house.guard.halt("is this heard?", by="olga", tool="look_up")
        until(lambda: not visit.call("look_up", {"name": "x"}).ran)
        house.guard.resume(halt, by="olga")
        until(lambda: visit.call("look_up", {"name": "x"}).ran)

    @contextmanager
    def undecided(self) -> Iterator[Moment]:
        """Somebody else writes to the database for long."""
        self.house.store.flush()
        other = sqlite3.connect(self.house.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield lambda: [each.ping() for each in self._lines]
        finally:
            other.close()

    def _close(self) -> None:
        while self._lines:
            self._lines.pop().close()


class _OverStdio(_OverMcp):
    def __init__(self, door: OverStdio, line: Line) -> None:
        self.line: Any = line
        self.door = door

    def given_up(self) -> None:
        self.line.ping()

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        """By the one server that it has."""
        tools = self.door.house.tools
        before, tools.result = tools.result, result
        assert self.call(tool, arguments).ran
        tools.result = before


__all__ = ["OverStdio"]
