"""Doors that are open: a guard over a real store, served by a real server on loopback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (str(HERE), str(HERE.parents[1] / "bench")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from gateway_world import ByAuthZen, Door, House, InProcess, InProcessAsync, OverHttp  # noqa: E402 - found by the lines above
from mcp_http_world import (  # noqa: E402
    OverEarlierMcpHttp,
    OverMcpHttp,
    OverMcpInSession,
    OverModernMcpHttp,
    OverModernMcpInSession,
)  # fmt: skip
from mcp_world import OverMcp, OverModernMcp  # noqa: E402
from model_world import (  # noqa: E402
    OverChat,
    OverChatStream,
    OverMessages,
    OverMessagesStream,
    OverResponses,
    OverResponsesStream,
)  # fmt: skip
from typescript_world import OVER_TYPESCRIPT  # noqa: E402

DOORS = (InProcess, InProcessAsync, OverHttp, ByAuthZen, OverMcp, OverModernMcp, OverMcpHttp, OverModernMcpHttp,
    OverMcpInSession, OverModernMcpInSession, OverEarlierMcpHttp, OverChat, OverResponsesStream, OverMessagesStream,
    *(
        pytest.param(door, marks=pytest.mark.long)
        for door in (OverChatStream, OverResponses, OverMessages, *OVER_TYPESCRIPT)
    ),
)  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "fiducial.db") as made:
        yield made


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest, house: House) -> Door:
    """Each of the doors; what holds for one holds for all."""
    made: Callable[[House], Door] = request.param
    return made(house)
