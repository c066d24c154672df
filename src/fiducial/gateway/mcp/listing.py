"""What an MCP server that is a command says of its tools, for whoever describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError

from fiducial.gateway.mcp.stdio import first_of, listed


def tools_of(command: Sequence[str]) -> list[dict[str, Any]]:
    """The tools of the server that `command` starts, as it lists them; none is called.

    Raises `OSError` when it cannot be talked to.
    """
    try:
        return anyio.run(listed, command)
    except (MCPError, OSError, RuntimeError, ValueError, ExceptionGroup) as errors:
        error = first_of(errors)
        if not isinstance(error, (MCPError, OSError, RuntimeError, ValueError)):
            raise
        raise OSError(str(error).partition("\n")[0] or "it does not answer in time") from errors


__all__ = ["tools_of"]
