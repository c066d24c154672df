"""What a span says, whichever convention it follows: who said what, which calls were made, and what came of them.

A span is `Heard` as a whole: its place in the trace, and steps with their times. Nothing of it that is not needed to
follow the agent is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from fiducial.core.event import Authority
from fiducial.gateway.otlp.conventions import OI_REDACTED

_AUTHORITIES: Final[Mapping[str, Authority]] = {
    "system": "system", "developer": "operator", "user": "user", "human": "user"
}  # fmt: skip


class Said(msgspec.Struct, frozen=True, tag="said", array_like=True):
    """Somebody said something."""

    at_ns: int
    authority: Authority
    text: str


class Asked(msgspec.Struct, frozen=True, tag="asked", array_like=True):
    """A call was made, or wanted by the model."""

    at_ns: int
    call: str
    """Id that the model gave it; empty when none is told."""
    tool: str
    arguments: Any = None
    """`None`: the trace does not tell them."""
    running: bool = False
    """The span is the call itself; otherwise the model asked for it."""
    fresh: bool = False
    """The model asks for it here; otherwise it stands in what the model was given, as asked for before."""


class Came(msgspec.Struct, frozen=True, tag="came", array_like=True):
    """A result came."""

    at_ns: int
    call: str
    """Id of the call; empty when none is told."""
    tool: str
    result: Any = None
    told: bool = True
    """False: the trace does not tell the result."""
    failed: bool = False
    error: str | None = None
    running: bool = False
    """The span is the call itself; otherwise it stands in what the model was given."""


class Doubted(msgspec.Struct, frozen=True, tag="doubted", array_like=True):
    """The agent may have read something that is not told."""

    at_ns: int
    what: str


Step: TypeAlias = Said | Asked | Came | Doubted
Kind: TypeAlias = Literal["tool", "agent", "workflow", "other"]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One span, as far as it matters."""

    id: bytes
    parent: bytes = b""
    """Empty for the first of a trace."""
    kind: Kind = "other"
    name: str = ""
    """Of the tool or the agent."""
    conversation: str = ""
    user: str = ""
    roles: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


def of_messages(messages: object, at_ns: int, *, output: bool = False) -> Iterator[Step]:
    """The steps in a list of messages, as the GenAI conventions have them (`gen-ai-input-messages.json`).

    Of what the model gave back, only the calls count. What is no message is doubted.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        yield Doubted(at_ns, "messages that cannot be read")
        return
    for message in messages:
        if not isinstance(message, Mapping):
            yield Doubted(at_ns, "a message that cannot be read")
            continue
        role, parts = message.get("role"), message.get("parts", message.get("content"))
        if isinstance(parts, str):
            parts = [{"type": "text", "content": parts}]
        for part in parts if isinstance(parts, Sequence) else [parts]:
            yield from _of_part(part, role, message.get("name"), at_ns, output=output)


def _of_part(part: object, role: object, name: object, at_ns: int, *, output: bool) -> Iterator[Step]:
    if not isinstance(part, Mapping):
        yield Doubted(at_ns, "a part of a message that cannot be read")
        return
    kind = part.get("type")
    if kind in ("tool_call", "server_tool_call"):
        given = part.get("arguments", part.get("server_tool_call"))
        yield Asked(at_ns, text_of(part.get("id")), text_of(part.get("name")), parsed(given), fresh=output)
    elif kind in ("tool_call_response", "server_tool_call_response"):
        result = next((part[key] for key in ("response", "result", "server_tool_call_response") if key in part), None)
        yield Came(at_ns, text_of(part.get("id")), text_of(name), result, told=not hidden(result))
    elif output or role == "assistant" or kind == "reasoning":
        return
    elif kind == "text" and isinstance(part.get("content"), str) and not hidden(part["content"]):
        authority = _AUTHORITIES.get(text_of(role))
        if authority is not None:
            yield Said(at_ns, authority, part["content"])
        else:
            # A tool's words, or those of a role that nobody knows.
            yield Came(at_ns, "", text_of(name) or text_of(role), part["content"])
    else:
        yield Doubted(at_ns, f"a part of a message of type {text_of(kind)!r}")


def parsed(value: object) -> Any:
    """Arguments as they were meant: text that holds a JSON object is that object, and nothing is `None`."""
    if hidden(value):
        return None
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def hidden(value: object) -> bool:
    """The value was left out, or something stands for it."""
    return value is None or value == OI_REDACTED


def text_of(value: object) -> str:
    """`value` when it is text; otherwise nothing."""
    return value if isinstance(value, str) else ""


__all__ = ["Asked", "Came", "Doubted", "Heard", "Kind", "Said", "Step", "hidden", "of_messages", "parsed", "text_of"]
