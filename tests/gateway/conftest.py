"""Doors that are open: a guard over a real store, served by a real server on loopback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
from mcp_stdio_world import OverStdio  # noqa: E402
from mcp_world import OverMcp, OverModernMcp  # noqa: E402
from model_world import (  # noqa: E402
    OverChat,
    OverChatStream,
    OverMessages,
    OverMessagesStream,
    OverResponses,
    OverResponsesStream,
)  # fmt: skip
from typescript_world import OVER_TYPESCRIPT, OVER_TYPESCRIPT_TOO  # noqa: E402

DOORS = (InProcess, InProcessAsync, OverHttp, ByAuthZen, OverMcp, OverModernMcp, OverMcpHttp, OverModernMcpHttp,
    OverMcpInSession, OverModernMcpInSession, OverEarlierMcpHttp, OverStdio, OverChat, OverResponsesStream,
    OverMessagesStream, *OVER_TYPESCRIPT,
    *(
        pytest.param(door, marks=pytest.mark.long)
        for door in (OverChatStream, OverResponses, OverMessages, *OVER_TYPESCRIPT_TOO)
    ),
)  # fmt: skip
BRIEF = frozenset({
    "test_a_guard_that_breaks_lets_nothing_run",
    "test_a_call_that_is_given_up_before_its_verdict_does_not_run_and_the_session_goes_on",
    "test_a_call_that_is_given_up_while_its_tool_runs_is_on_record_and_the_session_goes_on",
})  # fmt: skip
"""Of the tests of a door whose every session is a process, those that are not long."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    for each in items:
        made = getattr(each, "callspec", None)
        if made is not None and made.params.get("door") is OverStdio and each.originalname not in BRIEF:
            each.add_marker(pytest.mark.long)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "fiducial.db") as made:
        yield made


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest, house: House) -> Door:
    """Each of the doors; what holds for one holds for all."""
    made: Callable[[House], Door] = request.param
    return made(house)
