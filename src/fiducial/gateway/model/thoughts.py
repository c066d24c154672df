"""What a model gave along with its words in a conversation: reasoning, signatures, whatever an API has beside texts.

A client sends it back with its next request. What passed here as it comes back is the model's own; anything else may be
anybody's, whatever it says of itself.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import msgspec

MOST: Final = 10_000
"""Parts that one conversation is known to have."""
_AGAIN: Final = frozenset(["index", "type"])
"""Members that each piece has anew."""
LABELS: Final = frozenset(["id", "index", "status"])
"""Members that clients leave out or add, and no model reads."""
_LABEL: Final = re.compile(r"[\w.:-]{0,200}", re.ASCII)


class Thoughts:
    """Those of one conversation, as digests; the oldest make room."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def add(self, part: Any) -> None:
        """`part`, a value of JSON, passed here."""
        if (digest := _digest(part)) is None:
            return
        self._known[digest] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def __contains__(self, part: Any) -> bool:
        return bool(self._known) and (digest := _digest(part)) is not None and digest in self._known


def together(pieces: Sequence[Any]) -> Any:
    """A value that came in pieces, as OpenAI's SDKs put it together: texts one behind the other, the parts of a list by
    their `index` (`accumulate_delta` in openai/lib/streaming/_deltas.py)."""
    kind = type(pieces[0])
    if len(pieces) == 1 or kind not in (str, list, dict) or any(type(each) is not kind for each in pieces):
        return pieces[-1]
    if kind is str:
        return "".join(pieces)
    if kind is dict:
        members: dict[str, list[Any]] = {}
        for piece in pieces:
            for key, each in piece.items():
                if each is not None:
                    members.setdefault(key, []).append(each)
        return {key: each[-1] if key in _AGAIN else together(each) for key, each in members.items()}
    parts: dict[object, list[Any]] = {}
    for each in chain.from_iterable(pieces):
        index = each.get("index") if isinstance(each, dict) else None
        parts.setdefault(object() if index is None else str(index), []).append(each)
    return [together(each) for each in parts.values()]


def _digest(part: Any) -> bytes | None:
    """`None` for one with nothing in it but labels."""
    essence = _essence(part)
    return hashlib.sha256(msgspec.json.encode(essence, order="sorted")).digest() if essence else None


def _essence(value: Any) -> Any:
    """`value` without what is empty in it, and without its labels."""
    if isinstance(value, list):
        return [_essence(each) for each in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _essence(each) for key, each in value.items() if not (key in LABELS and _is_label(each))}
    return {key: each for key, each in inner.items() if each is not None and each not in ("", [], {})}


def _is_label(value: Any) -> bool:
    return _LABEL.fullmatch(value) is not None if isinstance(value, str) else not isinstance(value, (dict, list))


__all__ = ["LABELS", "MOST", "Thoughts", "together"]
