"""Pins: what a server said of its tools when somebody relied on it, and what it says now.

A server of tools describes them to the agent's model, and can change that at any time. What it says the first time is
pinned by its canonical digest; a tool that is described otherwise later, or that was not there, is quarantined until a
person has looked at the difference. So is, from the first time on, one whose description speaks to the model instead of
describing the tool.

| cell | holds |
|---|---|
| `pin/<server>/<tool>` | what is relied upon |
| `pin-offered/<server>/<tool>` | what the server says instead, for a person to look at |
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.clock import Clock
from fiducial.core.event import Entry, ToolPinned
from fiducial.core.ids import Digest, EventId, PersonId, mint
from fiducial.core.plain import is_odd, plain
from fiducial.core.store import Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, NotPermitted, OversightError
from fiducial.oversight.people import People

PINS: Final = "pin/"
OFFERED: Final = "pin-offered/"
SERVER: Final = "*"
"""In the place of a tool: what the server says of itself, and to the model at once."""
_NOBODY = PersonId("first-use")
_SPEAKING = (
    (
        "it has markup that speaks to a model",
        r"</?\s*(?:important|system|secret|hidden|instructions?|assistant)\b[^>]*>",
    ),
    (
        "it wants other instructions passed over",
        r"\b(?:ignore|disregard|forget|override)\b[^.]{0,40}\b(?:previous|prior|above|earlier|other|all|any)\b[^.]{0,30}"
        r"\b(?:instructions?|rules?|prompts?|guidelines?)\b",
    ),
    (
        "it wants something kept from the user",
        r"\b(?:do not|don't|never|without)\b[^.]{0,15}\b(?:tell|telling|mention|mentioning|inform|informing|"
        r"reveal|show|notify|notifying|ask|asking)\b[^.]{0,30}\b(?:users?|humans?|anyone|them)\b",
    ),
    (
        "it names files or settings that hold credentials",
        r"(?:~|/home/\w+|\$HOME)/\.(?:ssh|aws|config|netrc|gnupg)\b|\bid_(?:rsa|ed25519)\b|(?<![\w.])\.env\b",
    ),
    ("it speaks of the system prompt", r"\bsystem prompt\b"),
)
_SIGNS = tuple((why, re.compile(pattern, re.IGNORECASE)) for why, pattern in _SPEAKING)


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a tool, and since when it is relied upon or waits."""

    server: str
    tool: str
    digest: Digest
    said: Any
    """As the server gave it: name, description, schemas, annotations."""
    at_us: int
    by: PersonId
    """Who relies on it, or found it."""
    why: str = ""
    """Of one that waits: what is wrong with it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that waits for a person, with what it was pinned as; `None` for one that was not there."""

    offered: Pin
    pinned: Pin | None

    def diff(self) -> list[str]:
        """The lines in which what is said differs, as a unified diff."""
        before = _lines(self.pinned.said) if self.pinned is not None else []
        return list(difflib.unified_diff(before, _lines(self.offered.said), "pinned", "now", lineterm="", n=2))


class Pins:
    """Usable from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def check(self, server: str, said: Mapping[str, Any]) -> dict[str, str]:
        """Which of the tools that `server` describes are not to be used, and why; the others are as they were pinned.

        said  tool → what the server says of it, as JSON

        Raises `StoreError` when that cannot be told or kept.
        """
        for _ in range(3):
            try:
                return self._check(server, said)
            except Conflict:
                continue  # another process has pinned some of them meanwhile
        raise OversightError(f"what `{server}` says of its tools changes faster than it can be looked at")

    def _check(self, server: str, said: Mapping[str, Any]) -> dict[str, str]:
        pins = self._scan(PINS + _part(server) + "/")
        offered = self._scan(OFFERED + _part(server) + "/")
        now, first = self._clock.unix_us(), not pins and not offered
        kept: list[tuple[Pin, Put, Unchanged]] = []
        wrong: dict[str, str] = {}
        for name, description in said.items():
            key, seen = f"{_part(server)}/{_part(name)}", digest(description)
            pin, version = pins.get(PINS + key, (None, 0))
            if pin is not None and pin.digest == seen:
                continue
            why = _wrong(description, pin, first)
            made = Pin(server=server, tool=name, digest=seen, said=description, at_us=now, by=_NOBODY, why=why)
            if why:
                wrong[name] = why
                waiting, known = offered.get(OFFERED + key, (None, 0))
                if waiting is None or waiting.digest != seen:
                    kept.append((made, _put(OFFERED + key, made), Unchanged(OFFERED + key, known)))
            else:
                kept.append((made, _put(PINS + key, made), Unchanged(PINS + key, version)))
        if kept:
            self._commit(
                [self._entry(pin, "quarantined" if pin.why else "pinned") for pin, _, _ in kept],
                [condition for _, _, condition in kept],
                [put for _, put, _ in kept],
            )
        return wrong

    def waiting(self) -> list[Change]:
        """The tools that wait for a person, by server and name."""
        pins = self._scan(PINS)
        return [
            Change(offered=pin, pinned=pins.get(PINS + key.removeprefix(OFFERED), (None, 0))[0])
            for key, (pin, _) in self._scan(OFFERED).items()
        ]

    def approve(self, server: str, tool: str, seen: Digest, by: PersonId) -> None:
        """From here on the tool is what it is offered as. `seen`: the digest of what `by` has looked at.

        Raises `NotPermitted` for somebody who is no operator, `OversightError` when no such tool waits, or it is
        described otherwise by now.
        """
        known = People(self._store, self._clock).find(by)
        if known is None or not known.person.active or "operator" not in known.person.console:
            raise NotPermitted(f"`{by}` is nobody who may rely on a tool: it takes an operator of the console")
        key = f"{_part(server)}/{_part(tool)}"
        offered, version = self._scan(OFFERED + key).get(OFFERED + key, (None, 0))
        if offered is None:
            raise OversightError(f"no tool `{tool}` of `{server}` waits for anybody")
        if offered.digest != seen:
            raise OversightError(f"`{tool}` is described otherwise by now; look at it again")
        pin = msgspec.structs.replace(offered, by=by, at_us=self._clock.unix_us(), why="")
        self._commit(
            [self._entry(pin, "approved")],
            [Unchanged(OFFERED + key, version)],
            [_put(PINS + key, pin), Put(OFFERED + key, None)],
        )

    def _entry(self, pin: Pin, act: Any) -> Entry:
        now = self._clock.unix_us()
        return Entry(
            ToolPinned(
                id=EventId(mint("evt", now // 1000)),
                session=None,
                at_us=now,
                server=plain(pin.server)[:200],
                tool=plain(pin.tool)[:200],
                digest=pin.digest,
                act=act,
                by=pin.by,
            )
        )

    def _scan(self, prefix: str) -> dict[str, tuple[Pin, int]]:
        return {
            key: (msgspec.json.decode(cell.value, type=Pin), cell.version)
            for key, cell in self._store.scan(prefix).items()
        }

    def _commit(self, entries: list[Entry], conditions: list[Unchanged], changes: list[Put]) -> None:
        commit = Commit(entries=tuple(entries), preconditions=tuple(conditions), changes=tuple(changes))
        self._store.commit(commit).result()


def signs(said: Any) -> list[str]:
    """Why what is said of a tool speaks to the model, or hides something from people; empty when nothing is found."""
    texts = list(_texts(said))
    found = [why for why, pattern in _SIGNS if any(pattern.search(text) for text in texts)]
    if any(is_odd(character) for text in texts for character in text if character not in "\n\t\r"):
        found.append("it has characters that nobody can see")
    return found


def _wrong(said: Any, pin: Pin | None, first: bool) -> str:
    reasons = signs(said)
    if pin is not None:
        reasons.insert(0, f"the server describes it otherwise than when it was pinned by {pin.by}")
    elif not first:
        reasons.insert(0, "the server did not have it when its tools were pinned")
    return "; ".join(reasons)


def _texts(said: Any) -> list[str]:
    """Every text in it, keys too."""
    found, todo = [], [said]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, Mapping):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
    return found


def _lines(said: Any) -> list[str]:
    return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def _put(key: str, pin: Pin) -> Put:
    return Put(key, msgspec.json.encode(pin))


def _part(name: str) -> str:
    return quote(name, safe="")


__all__ = ["OFFERED", "PINS", "SERVER", "Change", "Pin", "Pins", "signs"]
