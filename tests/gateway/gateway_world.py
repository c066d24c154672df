"""What the tests of the doors share: tools, a charter for them, a server, and each door as an agent's host uses it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2
import pytest
import uvicorn

import fiducial
from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.event import CallDecided, CallFinished
from fiducial.core.ids import HoldId, PersonId
from fiducial.core.store import Commit, Receipt
from fiducial.core.verdict import Verdict
from fiducial.gateway.app import Doors
from fiducial.gateway.door import ADMITTED
from fiducial.gateway.trusted import trusted
from fiducial.guard.state import State
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Approver
from fiducial.store.sqlite import SqliteStore

CONTRACTS: dict[str, dict[str, Any]] = {
    "look_up": {"effect": "read", "kind": "read", "parameters": {"name": {"role": "option"}}},
    "write_note": {
        "effect": "reversible",
        "kind": "create",
        "audience": "organization",
        "parameters": {"name": {"role": "target"}, "text": {"role": "content"}},
    },
    "pay_bill": {
        "effect": "irreversible",
        "kind": "pay",
        "parameters": {
            "account": {"role": "target"},
            "amount": {"role": "magnitude", "unit": "EUR", "schema": {"type": "number"}},
        },
        "cost": "amount",
    },
    "wipe": {"effect": "irreversible", "kind": "delete", "parameters": {"name": {"role": "target"}}},
}
POLICIES = """
@id("charter/all") permit (principal, action in Action::"declared", resource);
@id("charter/own") permit (principal, action in [Action::"respond", Action::"declare_plan"], resource);
@id("charter/ask") @hold("operator") @reason("money leaves") forbid (principal, action == Action::"pay_bill", resource);
@id("charter/never") @reason("nothing is wiped") forbid (principal, action == Action::"wipe", resource);
@id("charter/mask") @mask("secrets") forbid (principal, action == Action::"write_note", resource)
when { context.flow.classes.contains("secrets") };
@id("charter/tainted") @reason("a stranger chose it") forbid (principal, action == Action::"write_note", resource)
when { !context.flow.untrusted_targets.isEmpty() };
"""
OLGA = Approver(id=PersonId("olga"), roles=frozenset({"operator"}))
SECRET = "ghp_" + "Zq8vB2nM4kL7xC1wE5rT9yU3iO6pA0sDfGhJ"


def charter(more: str = "", **about: Any) -> Charter:
    """A clerk that looks things up, writes notes, pays, and would wipe; `more`: further policies."""
    return Charter.build(
        About(agent="clerk", owners=Owners(responsible="r", accountable="a"), **({"baseline": "none"} | about)),
        {name: Contract.model_validate(each) for name, each in CONTRACTS.items()},
        (),
        (PolicySource(file="policies/all.cedar", text=POLICIES + more),),
    )


def written(made: Charter, folder: Path) -> Path:
    """The directory of that charter, as people write it."""
    at = folder / "charter"
    (at / "policies").mkdir(parents=True, exist_ok=True)
    (at / "charter.yaml").write_text(made.about.model_dump_json(exclude_unset=True))
    tools = {
        name: each.model_dump(mode="json", exclude_unset=True, by_alias=True) for name, each in made.contracts.items()
    }
    (at / "contracts.yaml").write_text(json.dumps({"tools": tools}))
    for source in made.policies:
        (at / source.file).write_text(source.text)
    return at


class Tools:
    """The tools themselves: what they were called with."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.given: list[Mapping[str, Any]] = []
        self.result: Any = "done"

    def run(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        self.ran[tool] += 1
        self.given.append(arguments)
        return self.result


class Server(uvicorn.Server):
    """One that ends as soon as it is told to, and not at its next look a tenth of a second later."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await asyncio.sleep(0.01)


class House:
    """A guard with a desk on a store, its tools, and the doors on a server."""

    def __init__(self, path: Path, made: Charter | None = None) -> None:
        self.path, self.charter, self.tools = path, made or charter(), Tools()
        self.store = SqliteStore(path)
        self.desk = Desk(self.store)
        self.guard = fiducial.Guard(self.charter, store=self.store, desk=self.desk)
        self.tokens = {"key-of-one": "one", "key-of-two": "two"}
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._clients: list[httpx2.Client] = []
        self._ending: list[Callable[[], None]] = []
        self.flushes: list[Callable[[], None]] = []
        """What ends other processes that keep something in its store."""
        self.adds: list[Callable[[Doors], None]] = []
        """What adds doors beside, whenever it is served anew."""

    def on_stop(self, act: Callable[[], None]) -> None:
        """Have `act` done before the house is closed."""
        self._ending.append(act)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._ending:
            self._ending.pop()()
        self.stop()
        self.store.close()

    def written(self) -> bytes:
        """Every byte of the log's files."""
        self.flush()
        return b"".join(each.read_bytes() for each in self.path.parent.glob(f"{self.path.name}*"))

    def flush(self) -> None:
        """Have all that is kept written; what other processes still keep too, of which sessions end with it."""
        for act in self.flushes:
            act()
        self.store.flush()

    def outcomes(self) -> list[str]:
        """What is on record of the runs of tools, in order."""
        self.store.flush()
        return [each.event.outcome for each in self.store.ledger().entries(0) if isinstance(each.event, CallFinished)]

    def start(self) -> None:
        """Serve, on any free port."""
        self.doors = Doors(self.guard, self.tokens.get, url="https://pdp.example.org")
        for add in self.adds:
            add(self.doors)
        self._server = Server(
            uvicorn.Config(self.doors, port=0, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop serving; sessions are let go of."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(20)
            assert not self._thread.is_alive()
            self._server = None

    def client(self, token: str = "key-of-one") -> httpx2.Client:
        """A host's HTTP client."""
        if self._server is None:
            self.start()
        made = httpx2.Client(
            verify=trusted(),
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        self._clients.append(made)
        return made

    def forget_tokens(self) -> None:
        """Wait until tokens are looked up again."""
        time.sleep(ADMITTED + 0.1)


class Came(NamedTuple):
    """What came of a call, as the agent and its host see it."""

    kind: str
    ran: bool
    value: Any = None
    told: str = ""
    request: HoldId | None = None


Moment = Callable[[], object]
"""Returns when it has come."""


class Visit(ABC):
    """One session through a door."""

    @abstractmethod
    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        """Ask, run the tool if it may, and report."""

    @abstractmethod
    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        """The same, given up then; returns when whatever stands behind the door could know of it."""

    @abstractmethod
    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        """The agent got a result elsewhere."""


class Door(ABC):
    """A way in."""

    between = True
    """What a tool gives passes through it; else the host hands it to the agent by itself."""
    in_part = True
    """What is left of a result reaches the agent; otherwise nothing of it does."""
    gives_up = True
    """Whoever makes a call can give it up. Otherwise all that they can do is to stop waiting for it, on another thread:
    it goes on as if they had not, and what comes of it is on record."""
    hears_of_runs = True
    """It is told what became of a call that was given up while its tool ran; otherwise nothing is heard of that."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.wait = timedelta(0)
        """How long a call that is held waits for people, in sessions from then on."""

    @abstractmethod
    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        """A session of its own."""

    def break_guard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From then on, the guard of every session breaks at each call."""

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError(SECRET)

        monkeypatch.setattr(State, "facts", broken)

    def log(self) -> str:
        """What other processes of it have logged."""
        return ""

    def lose_store(self) -> None:
        """From then on, nothing can be kept."""
        self.house.store.close()

    def hear(self) -> None:  # noqa: B027 - at once, as nearly all of them are where the halts are
        """Wait until what was halted, or resumed, is known where its sessions are."""

    @contextmanager
    def undecided(self) -> Iterator[Moment]:
        """Within it, no verdict on a call is kept. The moment: one is to be."""
        store, begun, kept = self.house.store, threading.Event(), list[tuple[Future[Receipt], Future[Receipt]]]()
        commit = store.commit

        def slow(asked: Commit) -> Future[Receipt]:
            future = commit(asked)
            if not any(isinstance(each.event, CallDecided) for each in asked.entries):
                return future
            kept.append((future, Future()))
            begun.set()
            return kept[-1][1]

        store.commit = slow  # type: ignore[method-assign]
        try:
            yield lambda: passed(begun)
        finally:
            del store.commit  # type: ignore[method-assign]
            for future, told in kept:
                told.set_result(future.result())


class InProcess(Door):
    """No door at all: what the others are held to."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _InProcess(self, self.house.guard.session(user=user, task=task))


class InProcessAsync(InProcess):
    """The same, on an event loop."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _InProcessAsync(self, self.house.guard.session(user=user, task=task))


class _InProcess(Visit):
    def __init__(self, door: Door, session: fiducial.Session) -> None:
        self.door, self.house, self.session = door, door.house, session

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        came = self._came(self.session.call(tool, arguments, run=self._run(tool)))
        if came.request is not None and self.door.wait and not self.house.desk.wait(came.request, self.door.wait).open:
            return self._came(self.session.call(tool, arguments, run=self._run(tool)))
        return came

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        interrupted(lambda: self.call(tool, arguments), when)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        self.session.observe(tool, arguments, result)

    def _run(self, tool: str) -> Callable[..., Any]:
        def run(**given: Any) -> Any:
            return self.house.tools.run(tool, given)

        return run

    def _came(self, result: fiducial.Result) -> Came:
        return of_verdict(result.verdict, result.status == "ok", result.value)


class _InProcessAsync(_InProcess):
    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        return asyncio.run(self._acall(tool, arguments))

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        cancelled(self.house, self._acall(tool, arguments), when)

    async def _acall(self, tool: str, arguments: dict[str, Any]) -> Came:
        came = self._came(await self.session.acall(tool, arguments, run=self._run(tool)))
        if came.request is not None and self.door.wait:
            while self.house.desk.hold(came.request).open:
                await asyncio.sleep(0.02)
            return self._came(await self.session.acall(tool, arguments, run=self._run(tool)))
        return came


def of_verdict(verdict: Verdict, ran: bool = False, value: Any = None) -> Came:
    """What came of a call, of which its verdict is known."""
    return Came(verdict.kind, ran, value, verdict.remedies.agent, getattr(verdict, "hold", None))


class GivenUp(BaseException):
    """What a signal's handler raises: the user of a program has interrupted it."""


def interrupted(call: Callable[[], object], when: Moment) -> None:
    """`call` on this thread, the main one, until a signal interrupts it."""

    heard = threading.Event()

    def handler(*_: object) -> None:
        if not heard.is_set():
            heard.set()
            raise GivenUp

    def interrupt() -> None:
        when()
        while not heard.wait(0.02):  # one that comes just before the thread begins to wait wakes nobody
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before, thread = signal.signal(signal.SIGUSR1, handler), threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        call()
        thread.join(30)
    except GivenUp:
        pass
    finally:
        signal.signal(signal.SIGUSR1, before)


def cancelled(house: House, call: Coroutine[Any, Any, object], when: Moment) -> None:
    """`call` as a task, until it is cancelled; its event loop goes on, as that of a server does."""
    begun, ended, loop, end = threading.Event(), threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    tasks = list[asyncio.Task[object]]()

    async def main() -> None:
        tasks.append(asyncio.create_task(call))
        begun.set()
        await asyncio.wait(tasks)
        ended.set()
        await end.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    def stop() -> None:
        loop.call_soon_threadsafe(end.set)
        thread.join(20)
        assert not thread.is_alive()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    house.on_stop(stop)
    passed(begun)
    when()
    loop.call_soon_threadsafe(tasks[0].cancel)
    passed(ended)


def abandoned(house: House, call: Callable[[], object], when: Moment) -> None:
    """`call` on a thread of its own, for which nobody waits any more until the house is closed."""

    def run() -> None:
        with suppress(Exception):  # nobody hears of it
            call()

    def end() -> None:
        thread.join(20)
        assert not thread.is_alive()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    house.on_stop(end)
    when()


def passed(event: threading.Event) -> None:
    """Wait for it."""
    assert event.wait(10)


def until(true: Callable[[], object]) -> None:
    """Wait for it."""
    for _ in range(500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come true")


class OverHttp(Door):
    """Sessions over HTTP."""

    between = False

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _OverHttp(self, self.house.client(), user, task)


class _OverHttp(Visit):
    def __init__(self, door: Door, client: httpx2.Client, user: str, task: str | None) -> None:
        self.door, self.house, self.client, self.user = door, door.house, client, user
        self._running: dict[str, Any] | None = None
        """What is to be reported of the tool that runs."""
        opened = client.post("/v1/sessions", json={"user": user, "task": task})
        assert opened.status_code == 201, opened.text
        self.id = opened.json()["session"]
        self.at = f"/v1/sessions/{self.id}"

    def call(self, tool: str, arguments: dict[str, Any]) -> Came:
        came = self._call(tool, arguments)
        if came.request is not None and self.door.wait:
            seconds = self.door.wait.total_seconds()
            if not self.client.get(f"{self.at}/requests/{came.request}", params={"wait": seconds}).json()["open"]:
                return self._call(tool, arguments)
        return came

    def give_up(self, tool: str, arguments: dict[str, Any], when: Moment) -> None:
        host, lines = copy.copy(self), Lines()
        host.client = self.house.client()
        host.client.event_hooks = {"request": [lines.request]}
        abandoned(self.house, lambda: host.call(tool, arguments), when)
        lines.close()
        if host._running is not None:
            self.client.post(f"{self.at}/results", json=host._running | {"outcome": "unknown", "result": None})

    def _call(self, tool: str, arguments: dict[str, Any]) -> Came:
        answer = self.client.post(f"{self.at}/decisions", json={"tool": tool, "arguments": arguments})
        if answer.status_code >= 500:
            return Came("denied", False, told=answer.json()["detail"])
        decided = answer.json()
        told, request = decided["remedies"]["agent"], decided.get("request")
        if not decided["runs"]:
            return Came(decided["verdict"], False, None, told, request)
        return self._run(tool, arguments, decided.get("arguments"), decided["decision"], decided["verdict"])

    def _run(self, tool: str, arguments: dict[str, Any], instead: Any, decision: str, kind: str) -> Came:
        self._running = {"tool": tool, "arguments": arguments, "decision": decision}
        value = self.house.tools.run(tool, arguments if instead is None else instead)
        reported = self.client.post(f"{self.at}/results", json=self._running | {"result": value})
        assert reported.status_code == 200, reported.text
        return Came(kind, True, value)

    def saw(self, tool: str, arguments: dict[str, Any], result: Any) -> None:
        sent = self.client.post(f"{self.at}/results", json={"tool": tool, "arguments": arguments, "result": result})
        assert sent.status_code == 200, sent.text


class Program:
    """Another program, asked by lines of JSON: each has a number, and so has its answer. It ends with its standard
    input."""

    def __init__(self, command: list[str], **environment: str) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, text=True, env=os.environ | environment, **pipes)
        self._numbers, self._lock = count(1), threading.Lock()
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, **asked: Any) -> tuple[int, Future[dict[str, Any]]]:
        """A question: its number, and what its answer will be."""
        number, answer = next(self._numbers), Future[dict[str, Any]]()
        self._asked[number] = answer
        self.say({"number": number} | asked)
        return number, answer

    def say(self, said: dict[str, Any]) -> None:
        """Something that has no answer of its own."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(said) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            self._asked.pop(said["number"]).set_result(said)


class Lines:
    """The connections of an HTTP client, which it can be cut off from."""

    def __init__(self) -> None:
        self.ends: list[Callable[[], None]] = []
        """What ends each of them."""
        self._left = False

    def request(self, request: Any) -> None:
        """What the client calls before a request."""
        if self._left:
            raise ConnectionError("nobody is there any more")
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, about: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            made = about["return_value"].get_extra_info("socket")
            self.ends.append(lambda: made.shutdown(socket.SHUT_RDWR))

    def close(self) -> None:
        """Leave."""
        self._left = True
        for end in self.ends:
            with contextlib.suppress(OSError):  # the client had closed that one
                end()


class ByAuthZen(OverHttp):
    """Decisions by AuthZEN, results as over HTTP."""

    def session(self, user: str = "emma", task: str | None = None) -> Visit:
        return _ByAuthZen(self, self.house.client(), user, task)


class _ByAuthZen(_OverHttp):
    def _call(self, tool: str, arguments: dict[str, Any]) -> Came:
        answer = self.client.post("/access/v1/evaluation", json=evaluation(tool, arguments, self.user, self.id))
        if answer.status_code >= 500:
            return Came("denied", False, told=answer.json()["detail"])
        decided = answer.json()
        context = decided["context"]
        if not decided["decision"] and "arguments" not in context:
            return Came(context["verdict"], False, None, context.get("agent", ""), context.get("request"))
        return self._run(tool, arguments, context.get("arguments"), context["id"], context["verdict"])


def evaluation(
    tool: str, arguments: dict[str, Any], user: str = "emma", session: str | None = None, **context: Any
) -> dict[str, Any]:
    """An AuthZEN access evaluation request."""
    return {
        "subject": {"type": "user", "id": user},
        "action": {"name": tool, "properties": arguments},
        "resource": {"type": "server", "id": "local"},
        "context": context if session is None else {"session": session, **context},
    }
