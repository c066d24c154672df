"""What every channel is: something that takes a message and says what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from fiducial.console.notify.message import Message


class Outcome(msgspec.Struct, frozen=True):
    """What became of one attempt."""

    state: Literal["sent", "later", "failed"]
    """`later`: it may be tried again. `failed`: the same would be refused again."""
    said: str
    """What came back, in our words: no address, no secret, nothing that the other side wrote."""
    after_s: float = 0.0
    """For how many seconds the other side wants to be left alone."""


class Channel(Protocol):
    """Where messages go. `send` is called by one thread at a time, beside attempts that were given up."""

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    @property
    def kind(self) -> str:
        """`webhook`, `slack` or `smtp`."""
        ...

    @property
    def people(self) -> bool:
        """It can reach a person by their own address."""
        ...

    def send(self, message: Message, to: Sequence[str] = ()) -> Outcome:
        """Try once; never raises for what the other side does. `to`: addresses of people, where it has `people`."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


__all__ = ["Channel", "Outcome"]
