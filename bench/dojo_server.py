"""An AgentDojo suite as a server of MCP: the environment of one task, with an attack in it or without.

    python bench/dojo_server.py --suite slack --task user_task_0 --injection injection_task_1

That serves one environment on the standard streams. `listening` serves all of them over streamable HTTP, and has an
environment of its own for each session of the protocol's; the path says which: `/user_task_0`, or
`/user_task_0/injection_task_1`. Each result says in its `_meta`, under `RAN`, what AgentDojo writes of it for a model.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import mcp_types as types
import pydantic_core
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager

from dojo_stage import Stage
from dojo_world import SUITES, World, attack_names, shown, world

FORMS: Final = ("text", "json", "structured")
"""How results are given:

text        one text, as AgentDojo writes it for a model
json        one text of JSON
structured  structured content, and text beside it, as the SDK's own high-level server makes them of a function's type:
            what is no object is in a member `result`, and a list has a text for each of its members
"""
RAN: Final = "agentdojo/ran"
"""Key of a result's `_meta`: the call reached the server, and this came of it."""


def stage_of(here: World, user_task: str, injection_task: str | None = None) -> Stage:
    """The environment of a task. Raises `KeyError` when the suite has no such one."""
    injection = here.injection_tasks[injection_task] if injection_task is not None else None
    return Stage(here, here.user_tasks[user_task], injection)


class Served:
    """A suite's tools, and the environments that they work in."""

    def __init__(self, here: World, form: str, stage: Stage | None = None) -> None:
        """`stage`: where there is no path that names one."""
        self._world, self._form, self._stage = here, form, stage
        self._runtime = here.runtime()
        self._environments: dict[tuple[str, str], Any] = {}
        self._types = {name: returning(tool.return_type) for name, tool in self._runtime.functions.items()}

    def server(self) -> Server[Any]:
        """The server."""
        return Server(f"agentdojo-{self._world.name}", on_list_tools=self._list, on_call_tool=self._call)

    async def _list(self, context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=tool.description,
                    input_schema=tool.parameters.model_json_schema(),
                    output_schema=self._types[name].output_schema if self._form == "structured" else None,
                )
                for name, tool in self._runtime.functions.items()
            ]
        )

    async def _call(self, context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> Any:
        result, error = self._runtime.run_function(self._environment(context), params.name, params.arguments or {})
        if error is not None:
            return types.CallToolResult(content=[types.TextContent(text=error)], is_error=True, _meta={RAN: error})
        answer = self._answer(params.name, result)
        answer.meta = {RAN: shown(result)}
        return answer

    def _environment(self, context: ServerRequestContext[Any]) -> Any:
        request = context.request
        key = (request.url.path.strip("/"), request.headers["mcp-session-id"]) if request is not None else ("", "")
        if key not in self._environments:
            stage = stage_of(self._world, *key[0].split("/")) if request is not None else self._stage
            assert stage is not None
            self._environments[key] = stage.environment()
        return self._environments[key]

    def _answer(self, name: str, result: Any) -> types.CallToolResult:
        if self._form == "structured":
            made = self._types[name].convert_result(result)
            assert isinstance(made, types.CallToolResult)
            return made
        text = shown(result) if self._form == "text" else pydantic_core.to_json(result, fallback=str).decode()
        return types.CallToolResult(content=[types.TextContent(text=text)])


def returning(kind: Any) -> FuncMetadata:
    """What the SDK knows of a function that returns `kind`."""

    def function() -> None: ...

    function.__signature__ = inspect.Signature(return_annotation=kind)  # type: ignore[attr-defined]
    return func_metadata(function)


async def on_stdio(served: Served) -> None:
    """Serve on the standard streams."""
    server = served.server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


@asynccontextmanager
async def listening(served: Served) -> AsyncIterator[str]:
    """Serve all environments meanwhile, on a free port of this machine; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    manager = StreamableHTTPSessionManager(served.server())
    async with manager.run(), serving(StreamableHTTPASGIApp(manager), listener, lifespan="off"):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving(
    app: Any, listener: socket.socket, *, lifespan: Literal["auto", "off"] = "auto"
) -> AsyncIterator[None]:
    """Serve an ASGI application meanwhile."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan=lifespan)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if running.done():
                await running
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await running


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the streams end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--suite", required=True, choices=SUITES)
    parser.add_argument("--attack", default="important_instructions", choices=attack_names(), metavar="NAME")
    parser.add_argument("--results", default="text", choices=FORMS, help="how results are given")
    parser.add_argument("--injection", help="id of the injection task whose attack is in the environment")
    parser.add_argument("--task", required=True, help="id of the user task whose environment is served")
    chosen = parser.parse_args(arguments)
    here = world(chosen.suite, chosen.attack)
    stage = stage_of(here, chosen.task, chosen.injection)
    asyncio.run(on_stdio(Served(here, chosen.results, stage)))


if __name__ == "__main__":
    main()
