"""What a request tells a model, as steps in their order.

What only sets something (temperatures, formats, what the program says of its tools) is no step; what nobody here knows
is one, as something to read that may be anybody's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from fiducial.core.event import Authority

Json: TypeAlias = dict[str, Any]


class Said(msgspec.Struct, frozen=True):
    """Somebody said something."""

    authority: Authority
    text: str


class Own(msgspec.Struct, frozen=True):
    """What the model is told that it said itself."""

    text: str


class Part(msgspec.Struct, frozen=True):
    """Something else to read: a picture, a file, what a tool at the model's provider found, reasoning, a member that no
    API had when this was written. Anybody's, unless the model itself gave it in this conversation."""

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


def texts_of(content: Any, kinds: Mapping[str, str]) -> Iterator[str | Part]:
    """The texts in the content of a message, and each part that is none, or that has more than a text. `kinds`: kinds
    of parts that are texts, and the member that holds it."""
    for part in content if isinstance(content, list) else [] if content is None else [content]:
        if isinstance(part, str):
            yield part
            continue
        key = kinds.get(str(part.get("type"))) if isinstance(part, dict) else None
        if key is None or not isinstance(part.get(key), str):
            yield part_of(part)
        else:
            yield part[key]
            yield from beside(part, {"type", key})


def kind_of(value: Any) -> str:
    """What `value` says that it is: a part, an item, an event; empty where it does not."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) else ""


def part_of(part: Any) -> Part:
    """A part of a message that is no text."""
    kind = kind_of(part)
    return Part(f"a part of a message: {kind}" if kind else "a part of a message", part)


def result_of(content: Any, kinds: Mapping[str, str]) -> Any:
    """A result: its text, where it is nothing else."""
    parts = list(texts_of(content, kinds))
    return "\n".join(str(each) for each in parts) if all(isinstance(each, str) for each in parts) else content


_SETS: Final = frozenset(["cache_control", "id", "index", "object", "phase", "status"])
"""Members of messages and parts that no model reads, where they hold no more than a name."""
_NAME: Final = re.compile(r"[\w.:-]{0,200}", re.ASCII)
_WORD: Final = re.compile(r"[a-z_]{0,40}")


def beside(value: Mapping[str, Any], known: Container[str], where: str = "a part of a message") -> Iterator[Part]:
    """What stands in `value` beside the members that are `known`, as far as there are words in it."""
    for key, each in value.items():
        if key not in known and any(key not in _SETS or not _NAME.fullmatch(text) for text in texts_in({key: each})):
            yield Part(where, {key: each})


def texts_in(value: Any) -> Iterator[str]:
    """The texts in `value`, and its keys where they are more than a word."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not _WORD.fullmatch(key):
                yield key
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
    elif isinstance(value, str) and value.strip():
        yield value


__all__ = [
    "Asked", "Came", "Json", "Own", "Part", "Said", "Step", "arguments_in", "beside", "dumped", "part_of", "result_of",
    "texts_in", "texts_of",
]  # fmt: skip
