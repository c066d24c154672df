"""Objects and lists as the readers of this package give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MAX_DEPTH: Final = 200
"""Nesting past which a structured text is taken as text, and a value's leaves as anyone's; results stay under 20."""


class Members(tuple):  # type: ignore[type-arg]
    """A JSON object as its pairs, in order, repeated keys and all."""

    __slots__ = ()


class Lazy:
    """A list or object of a long text, decoded while it is walked, once."""

    __slots__ = ("members",)

    def __init__(self, members: Iterator[Any]) -> None:
        self.members = members


class LazyList(Lazy):
    __slots__ = ()


class LazyMembers(Lazy):
    __slots__ = ()
