"""One attempt to send, bounded as a whole.

Every channel bounds how long the other side may take for each answer, but an answer that comes a byte at a time, a name
with many addresses, or a resolver that hangs can make an attempt last for hours. Such an attempt is given up: it keeps
its thread, of which there are few, until it ends by itself, and what it was to send is tried again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

from fiducial.console.notify.channels import Channel, Outcome
from fiducial.console.notify.message import Message
from fiducial.core.faults import wordless

log = logging.getLogger("fiducial.console.notify")
ATTEMPT: Final = 45.0
"""Seconds that an attempt may take; well within the lease of `fiducial.console.notify.outbox`."""
_GIVEN_UP: Final = 4
"""Attempts that may be under way after they were given up; with as many no further one is made."""


class Attempts:
    """The attempts of one channel. Used by one thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._given_up: list[threading.Thread] = []

    def stuck(self) -> bool:
        """So many attempts hang that another one would hang too."""
        self._given_up = [each for each in self._given_up if each.is_alive()]
        return len(self._given_up) >= _GIVEN_UP

    def send(self, message: Message, to: Sequence[str]) -> Outcome:
        """Try once. Never raises."""
        outcomes: list[Outcome] = []

        def attempt() -> None:
            try:
                outcomes.append(self._channel.send(message, to))
            except Exception as error:
                log.error("a message through `%s` could not be sent", self._channel.name, exc_info=wordless(error))
                outcomes.append(Outcome("later", f"it could not be sent ({type(error).__name__})"))

        thread = threading.Thread(target=attempt, name=f"fiducial-send-{self._channel.name}", daemon=True)
        thread.start()
        thread.join(ATTEMPT)
        if outcomes:
            return outcomes[0]
        self._given_up.append(thread)
        return Outcome("later", f"it took longer than {ATTEMPT:.0f} seconds")


__all__ = ["ATTEMPT", "Attempts"]
