"""What the APIs of models have in common: what a request tells a model, and what an answer wants.

A request is read as *steps*, in their order. What is no step here (temperatures, formats, what came newly into an API)
passes as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from fiducial.core.event import Authority
from fiducial.gateway.model.sse import Event
from fiducial.gateway.model.turn import Turn
from fiducial.gateway.refusals import Refused

Json: TypeAlias = dict[str, Any]


class Said(msgspec.Struct, frozen=True):
    """Somebody said something."""

    authority: Authority
    text: str


class Own(msgspec.Struct, frozen=True):
    """What the model is told that it said itself."""

    text: str


class Part(msgspec.Struct, frozen=True):
    """Something else to read: a picture, a file, what a tool at the model's provider found."""

    where: str
    value: Any


class Asked(msgspec.Struct, frozen=True):
    """A call that the model is told that it made."""

    call: str
    tool: str
    arguments: Any


class Came(msgspec.Struct, frozen=True):
    """What came of a call."""

    call: str
    result: Any
    failed: bool = False


Step: TypeAlias = Said | Own | Part | Asked | Came


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
        """The request with what it tells the model masked."""

    def settled(self, body: Json, owed: list[Json]) -> Json:
        """The request with what the provider still has to hear of: what came of calls that the client never got."""

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """A whole answer, as the client gets it. Raises `ValueError` when it cannot be read."""

    def editing(self, turn: Turn) -> Edit:
        """Edits an answer that comes as a stream."""


class Mask(Protocol):
    """Masks texts and values."""

    def text(self, text: str) -> str:
        """Text that the model reads."""

    def value(self, value: Any) -> Any:
        """A value of JSON."""


AS_IT_IS: Final = frozenset(
    [
        "cache_control",
        "call_id",
        "container_id",
        "detail",
        "file_id",
        "format",
        "id",
        "item_reference",
        "media_type",
        "model",
        "name",
        "namespace",
        "phase",
        "role",
        "server_label",
        "status",
        "tool_call_id",
        "tool_name",
        "tool_use_id",
        "type",
    ]
)
"""Members of messages that no text is in: they name things."""
_BYTES: Final = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
"""In base64: pictures, files, and what only the provider can read."""


def masked_in(value: Any, mask: Mask, *, given: str = "") -> Any:
    """A part of a message, masked; `given`: the key that it stands under."""
    if isinstance(value, str):
        if value.startswith("data:") and given in ("url", "image_url", "file_data", "file_url"):
            return value
        if given in ("data", "encrypted_content", "signature", "thought_signature") and _BYTES.fullmatch(value):
            return value
        if given == "arguments":
            return masked_arguments(value, mask)
        return mask.text(value)
    if isinstance(value, list):
        return [masked_in(each, mask, given=given) for each in value]
    if isinstance(value, dict):
        if value.get("type") in ("thinking", "redacted_thinking"):
            return value  # signed by the provider, who wrote it
        return {
            key: each
            if key in AS_IT_IS and not isinstance(each, (dict, list))
            else mask.value(each)
            if key in ("input", "arguments") and not isinstance(each, str)
            else masked_in(each, mask, given=key)
            for key, each in value.items()
        }
    return value


def masked_arguments(text: str, mask: Mask) -> str:
    """Arguments as text, which stays JSON where it is."""
    read = arguments_in(text)
    return mask.text(text) if read is None else dumped(mask.value(read))


def arguments_in(text: str) -> Any:
    """The JSON value that a text of arguments holds; `None` when it is none that can only be read in one way."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def dumped(value: Any) -> str:
    """A value as text."""
    return json.dumps(value, ensure_ascii=False)


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


_CALLING: Final = frozenset(["arguments", "function_call", "partial_json", "tool_calls"])
_KINDS_OF_CALLS: Final = ("_call", "_request", "tool_use")


NO_END: Final = "an answer has no end"


def asks(value: Any) -> bool:
    """Whether something whose form is not known could be taken for a call by whoever gets it."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if str(item.get("type", "")).endswith(_KINDS_OF_CALLS) or any(item.get(key) for key in _CALLING):
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


def texts_of(content: Any, kinds: Callable[[Mapping[str, Any]], str | None]) -> Iterator[str | Mapping[str, Any]]:
    """The texts in the content of a message, and each part that is none; `kinds` gives the text of a part that is."""
    if isinstance(content, str):
        yield content
        return
    for part in content if isinstance(content, list) else [] if content is None else [content]:
        text = kinds(part) if isinstance(part, dict) else part if isinstance(part, str) else None
        yield text if isinstance(text, str) else part


__all__ = [
    "AS_IT_IS", "NO_END", "Api", "Asked", "Came", "Edit", "Json", "Mask", "Own", "Part", "Said", "Step",
    "arguments_in", "asks", "check_tools", "dumped", "listed", "masked_in", "texts_of",
]  # fmt: skip
