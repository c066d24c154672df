"""A server of MCP as a command: its tools are those of a house in another process, at the address that it is given."""

from __future__ import annotations

import json
import os
import sys
import threading
from multiprocessing.connection import Client
from typing import Any


def asked(*question: Any) -> Any:
    """What the house answers."""
    with Client(sys.argv[1], "AF_UNIX") as house:
        house.send((os.getppid(), *question))
        return house.recv()


def say(id: Any, **answer: Any) -> None:
    written = json.dumps({"jsonrpc": "2.0", "id": id, **answer}) + "\n"
    with WRITING:
        sys.stdout.write(written)
        sys.stdout.flush()


def call(id: Any, name: str, arguments: Any) -> None:
    failed, value = asked("run", name, arguments)
    if failed:
        say(id, error={"code": -32000, "message": value})
    else:
        say(id, result={"content": [{"type": "text", "text": value}]})


WRITING = threading.Lock()
for line in sys.stdin:
    said = json.loads(line)
    id, method, params = said.get("id"), said["method"], said.get("params") or {}
    if method == "initialize":
        info = {"name": "shed", "version": "1.2"}
        about = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
        say(id, result=about)
    elif method == "tools/list":
        schema = {"type": "object"}
        tools = [
            {"name": name, "description": f"Does what {name} says.", "inputSchema": schema} for name in asked("tools")
        ]
        say(id, result={"tools": tools})
    elif method == "tools/call":
        threading.Thread(target=call, args=(id, params["name"], params.get("arguments") or {}), daemon=True).start()
    elif id is not None:
        say(id, result={})
