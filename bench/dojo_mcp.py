"""A gateway for MCP as a guard under test: the agent is a client of it, and the tools are a server behind it.

Each run has a server's environment, a gateway and a store of its own. Deciding a call is making it: where the gateway
lets it through, the server runs it, and what the server says came of it is held against what came of it here. What was
decided is read from the gateway's log when the run is over, because a client is told less than what is recorded.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import mcp_types as types
import yaml
from anyio.from_thread import BlockingPortal, start_blocking_portal
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

import fiducial
from dojo_guards import Decision, Session
from dojo_server import RAN, Served, listening, returning, serving
from dojo_stage import Stage
from dojo_world import World
from fiducial.charter.model import Charter
from fiducial.core.event import CallDecided
from fiducial.gateway.app import Doors
from fiducial.gateway.mcp.http import McpGateway
from fiducial.gateway.mcp.settings import read_settings
from fiducial.guard.record import decode_decision
from fiducial.oversight.desk import Desk
from fiducial.policy.facts import Facts
from fiducial.store.ledger import Ledger
from fiducial.store.memory import MemoryStore
from fiducial.store.open import open_ledger

SERVER = Path(__file__).with_name("dojo_server.py")
USER, ROLE = "emma", "user"
"""For whom the agent works, as in the replay in process."""
_HOST, _TOKEN, _NAME = "bench", "a-token-of-the-benchmark", "suite"


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision, as a log has it."""

    tool: str
    arguments: Any
    kind: str
    """`allowed`, `held`, `unclear` or `denied`."""
    reasons: tuple[str, ...]
    """The policies and faults that decided, with their messages; of a call that was allowed, none."""
    facts: Facts | None
    """What the policies were asked about."""


def decisions(ledger: Ledger) -> list[Decided]:
    """All that were made, in order."""
    found = []
    for record in ledger.entries():
        if isinstance(record.event, CallDecided):
            data = next(each.data for each in record.payloads if each.data is not None)
            said = decode_decision(data)
            kind = str(record.event.verdict)
            reasons = tuple(f"{each.policy or each.fault}: {each.message}" for each in said.reasons)
            found.append(Decided(said.tool, said.arguments, kind, () if kind == "allowed" else reasons, said.facts))
    return found


class OverMcp:
    """A guard at the other end of a connection, for one run."""

    name = "mcp"

    def __init__(self, gateway: Gateway, stage: Stage, *, told: bool) -> None:
        """`told`: the host says what the user asked for."""
        self._gateway, self._stage, self._told = gateway, stage, told
        self.decided: list[Decided] = []
        """What the gateway decided, once the session is over."""
        self.other_results: list[str] = []
        """Calls of which something else came than here."""

    @contextmanager
    def session(self, prompt: str, tools: Sequence[str]) -> Iterator[Session]:
        """See `GuardUnderTest`."""
        with self._gateway(self._stage, prompt if self._told else None) as connection:
            with start_blocking_portal() as portal, portal.wrap_async_context_manager(connection.client()) as client:
                yield _Calling(portal, client, self.other_results)
            with connection.ledger() as ledger:
                self.decided = decisions(ledger)


class _Calling:
    def __init__(self, portal: BlockingPortal, client: Client, other_results: list[str]) -> None:
        self._portal, self._client, self._other_results = portal, client, other_results

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Decision:
        async def called() -> types.CallToolResult:
            return await self._client.session.call_tool(tool, dict(arguments))

        answer = self._portal.call(called)
        # Which of the verdicts it was, the log says.
        return Decision("allowed" if RAN in (answer.meta or {}) else "stopped", verdict=answer)

    def observe(self, tool: str, arguments: Mapping[str, Any], result: str, decision: Decision) -> None:
        if decision.verdict.meta[RAN] != result:
            self._other_results.append(tool)

    def approved(self, tool: str, arguments: Mapping[str, Any], run: Callable[[], str]) -> bool:
        return False


@dataclass(frozen=True)
class Connection:
    """A way to a gateway of its own."""

    client: Callable[[], AbstractAsyncContextManager[Client]]
    ledger: Callable[[], AbstractContextManager[Ledger]]
    """The gateway's log, once no client is connected."""


Gateway = Callable[[Stage, str | None], AbstractContextManager[Connection]]
"""Makes one for a stage, with what the host says that the user asked for."""


def over_stdio(charter: Path, form: str) -> Gateway:
    """`fiducial mcp` with that charter around a server that is a command; `form`: see `dojo_server.FORMS`."""

    @contextmanager
    def made(stage: Stage, task: str | None) -> Iterator[Connection]:
        with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
            database = f"{folder}/log.db"
            injection = ["--injection", stage.injection_task.ID] if stage.injection_task is not None else []
            server = [
                *(sys.executable, str(SERVER), "--suite", stage.world.name, "--attack", stage.world.attack),
                *("--results", form, "--task", stage.user_task.ID, *injection),
            ]
            stated = [f"--task={task}"] if task is not None else []
            guarded = [
                *("-m", "fiducial", "mcp", "--charter", str(charter), "--db", database, "--name", _NAME),
                *("--user", USER, "--role", ROLE, "--alone", "--wait", "0", *stated, "--", *server),
            ]
            started = StdioServerParameters(command=sys.executable, args=guarded, env=dict(os.environ))
            yield Connection(lambda: Client(started, mode="legacy"), lambda: open_ledger(database))

    return made


@contextmanager
def over_http(charter: Charter, here: World, form: str) -> Iterator[Gateway]:
    """The door for MCP over HTTP with that charter, before a server on an event loop of its own, which ends with
    this."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(listening(Served(here, form))) as address,
    ):
        yield lambda stage, task: _behind_http(charter, address, stage, task)


@contextmanager
def _behind_http(charter: Charter, address: str, stage: Stage, task: str | None) -> Iterator[Connection]:
    key = OKPKey.generate_key("Ed25519", {"kid": "one", "alg": "Ed25519"})
    store = MemoryStore()
    guard = fiducial.Guard(charter, store=store, desk=Desk(store))
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    path = "/".join([stage.user_task.ID, *([stage.injection_task.ID] if stage.injection_task is not None else [])])
    with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
        settings = Path(folder, "mcp.yaml")
        Path(folder, "keys.json").write_text(json.dumps(KeySet([key]).as_dict(private=False)))
        server = {"url": f"{address}/{path}", "alone": True}
        settings.write_text(json.dumps({"servers": {_NAME: server}, "hosts": {_HOST: "keys.json"}}))
        read = read_settings(settings, {})
    admit = {_TOKEN: _HOST}.get
    doors = Doors(guard, admit, url=url)
    doors.add(McpGateway(read, lambda _: guard, doors.sessions, doors.requests, admit, url=url, wait=0))
    headers = {"Authorization": f"Bearer {_TOKEN}", "Fiducial-User": USER, "Fiducial-Roles": quote(ROLE)}
    if task is not None:
        headers["Fiducial-Task"] = _statement(key, f"{url}/mcp/{_NAME}", task)

    @asynccontextmanager
    async def client() -> AsyncIterator[Client]:
        async with serving(doors, listener), httpx2.AsyncClient(headers=headers, timeout=60) as http:
            to = streamable_http_client(f"{url}/mcp/{_NAME}", http_client=http)
            async with Client(to, mode="legacy") as connected:
                yield connected

    yield Connection(client, store.ledger)


def _statement(key: OKPKey, audience: str, task: str) -> str:
    """What the user asked for, as the host signs it."""
    now = int(time.time())
    claims = {"iss": _HOST, "aud": audience, "sub": USER, "sid": "1", "task": task, "iat": now, "exp": now + 3600}
    header = {"alg": "Ed25519", "typ": "fiducial-task+jwt", "kid": key.kid}
    return jwt.encode(header, claims, key, algorithms=["Ed25519"])


def inside_wrappers(charter: Path, here: World, folder: Path) -> Path:
    """A copy of the charter in `folder`, whose contracts name the paths of what the server gives where it has put a
    result into an object, because structured content has to be one."""
    made = Path(shutil.copytree(charter, folder / charter.name))
    written = yaml.safe_load((made / "contracts.yaml").read_text())
    for name, tool in here.runtime().functions.items():
        if not returning(tool.return_type).wrap_output or name not in written["tools"]:
            continue
        output = written["tools"][name].setdefault("output", {})
        for key in {"trusted", "prose", "untrusted"} & output.keys():
            output[key] = [_wrapped(path) for path in output[key]]
        for data_class, paths in output.get("classes", {}).items():
            output["classes"][data_class] = [_wrapped(path) for path in paths]
        output["records"] = _wrapped(output.get("records", "$"))
    (made / "contracts.yaml").write_text(yaml.safe_dump(written, sort_keys=False))
    return made


def _wrapped(path: str) -> str:
    return "$.result" + path.removeprefix("$")
