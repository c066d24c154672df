"""What the APIs of models have in common: how a request is read and changed, and how an answer is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, Final, Protocol

from fiducial.gateway.model.outgoing import Mask
from fiducial.gateway.model.sse import Event
from fiducial.gateway.model.steps import Json, Step
from fiducial.gateway.model.turn import Turn
from fiducial.gateway.refusals import Refused


class Edit(Protocol):
    """Changes one answer on its way to the client."""

    async def feed(self, event: Event) -> bytes:
        """What goes to the client once `event` has come. Raises `ValueError` when it cannot be read."""

    async def close(self) -> bytes:
        """What goes to the client when nothing more comes. Raises `ValueError` when the answer has no end: nobody may
        take it for whole."""


class Api(Protocol):
    """One API."""

    path: str
    """Of the requests for an answer, behind the model's address."""
    counts: str
    """Of the requests that ask how long such a request is; empty where there are none."""

    def check(self, body: Json, provider_tools: frozenset[str] | None) -> None:
        """Raises `Refused` for a request that cannot be read, or whose answer nobody could guard; `provider_tools`:
        tools at the provider that may be used, `None` for any."""

    def history(self, body: Json) -> tuple[list[Any], str]:
        """What makes a conversation that goes on recognizable: its messages; and the earlier answer that the provider
        is to go on from, empty when it is none."""

    def steps(self, body: Json) -> Iterator[Step]:
        """What the request tells the model."""

    def prompted(self, body: Json, prompt: str) -> Json:
        """The request with a system prompt before its own."""

    def masked(self, body: Json, mask: Mask) -> Json:
        """The request, masked."""

    def settled(self, body: Json, owed: list[Json], given: Container[str]) -> Json:
        """The request with what the provider still has to hear of: what came of calls that the client never got.
        `given`: names of what it gave in this conversation. Raises `Refused` for a request that names, and does not
        say, what it may have given to somebody else."""

    def looks_up(self, body: Json) -> bool:
        """Whether the provider may look something up for the answer, without saying in it that it has."""

    def in_json(self, body: Json) -> bool:
        """Whether the texts of the answer are to be JSON."""

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """A whole answer, as the client gets it. Raises `ValueError` when it cannot be read."""

    def editing(self, turn: Turn) -> Edit:
        """Edits an answer that comes as a stream."""


_CALLING: Final = frozenset(["arguments", "function_call", "partial_json", "tool_calls"])
_KINDS_OF_CALLS: Final = ("_call", "_request", "tool_use")


NO_END: Final = "an answer has no end"


def asks(value: Any) -> bool:
    """Whether something whose form is not known could be taken for a call by whoever gets it."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if str(item.get("type", "")).endswith(_KINDS_OF_CALLS) or any(
                item.get(key) not in (None, []) for key in _CALLING
            ):
                return True
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return False


def check_tools(wanted: Iterable[str], allowed: frozenset[str] | None) -> None:
    """Raises `Refused` for tools at the provider that may not be used."""
    if allowed is not None and (refused := sorted(set(wanted) - allowed)):
        raise Refused(
            400, f"`{refused[0]}` runs at the provider, where nobody decides its calls; `provider_tools` allows it"
        )


def listed(value: Any, what: str) -> list[Any]:
    """A list of objects. Raises `Refused` when it is none."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Refused(400, f"`{what}` is a list of objects")
    return value


__all__ = ["NO_END", "Api", "Edit", "asks", "check_tools", "listed"]
