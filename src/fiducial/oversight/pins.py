"""Pins: what a server said of its tools when somebody relied on it, and what it says now.

A server of tools describes them, and itself, to the agent's model, and can change that at any time. What it says the
first time is pinned by its canonical digest; a tool that is described otherwise later, or that was not there, is
quarantined until a person has looked at the difference. So is, from the first time on, one whose description speaks to
the model instead of describing the tool.

| cell | holds |
|---|---|
| `pin/<server>/tool/<name>` | what is relied upon |
| `pin/<server>/itself` | the same, of the server |
| `pin-offered/…` | what the server says instead, for a person to look at |

1. The first time is when there is no cell of the server at all. It passes once: a cell of a server is only deleted when
   another stands for the same tool. So what was quarantined the first time stays so until a person has looked at it,
   whatever the server says of it next.
2. Of what waits for a person there is the newest only. Being quarantined is an event; saying something else meanwhile
   is none, or a server could fill the log.
3. When the server says again what is pinned, what it offered is gone and cannot be approved.
4. Every change is a commit under the precondition that the cells are as they were read; whoever comes second reads
   again.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.clock import Clock
from fiducial.core.event import Entry, ToolPinned
from fiducial.core.ids import Digest, EventId, PersonId, mint
from fiducial.core.plain import is_odd, plain
from fiducial.core.store import Cell, Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, NotPermitted, OversightError, StoreBusy, StoreError
from fiducial.flow.lexer import fold
from fiducial.oversight.people import People

PINS: Final = "pin/"
OFFERED: Final = "pin-offered/"
_NOBODY = PersonId("first-use")
_TRIES = 10
_SPEAKING = (
    (
        "it has markup that speaks to a model",
        r"</?\s*(?:important|system|secret|hidden|instructions?|assistant)\b",
    ),
    ("it has a comment that people do not see", r"<!--"),
    (
        "it wants other instructions passed over",
        r"\b(?:ignore|disregard|forget|override)\b[^.]{0,40}\b(?:previous|prior|above|earlier|other|all|any)\b[^.]{0,30}"
        r"\b(?:instructions?|rules?|prompts?|guidelines?)\b",
    ),
    (
        "it wants something kept from the user",
        r"\b(?:do\s+not|don't|never|without)\b[^.]{0,15}\b(?:tell|telling|mention|mentioning|inform|informing|"
        r"reveal|show|notify|notifying|ask|asking)\b[^.]{0,30}\b(?:users?|humans?|anyone|them)\b",
    ),
    (
        "it names files or settings that hold credentials",
        r"(?:~|/home/\w+|\$HOME)/\.(?:ssh|aws|config|netrc|gnupg)\b|\bid_(?:rsa|ed25519)\b|(?<![\w.])\.env\b",
    ),
    ("it speaks of the system prompt", r"\bsystem\s+prompt\b"),
)
_SIGNS = tuple((why, re.compile(pattern, re.IGNORECASE)) for why, pattern in _SPEAKING)
_EMOJI = "\U0001f000-\U0001faff"
_SYMBOLS = f"\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299{_EMOJI}"
_JOINED = "\u0600-\u0dff\u1000-\u109f\u1780-\u18af"
"""Scripts with joiners inside their words: the Arabic ones, those of India, Burmese, Khmer, Mongolian."""
_WRITTEN = re.compile(
    "[\t\n\r\u00a0\u2007\u202f\u3000]"
    f"|[{_EMOJI}]"  # those of a newer Unicode than Python's too
    f"|(?<=[{_SYMBOLS}])[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    f"|(?<=[{_SYMBOLS}\ufe0f])\u200d(?=[{_SYMBOLS}])"
    f"|(?<=[{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?=[{_JOINED}])"
)
"""What people write that is odd elsewhere: spaces that break no line, and what gives emoji and letters their shape."""


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a tool, and since when it is relied upon or waits."""

    server: str
    """As the host calls it (`fiducial mcp --name`)."""
    tool: str | None
    """`None`: the server itself."""
    digest: Digest
    """Of the tool's name and what is said of it, so no two tools of a server have the same."""
    said: Any
    """As the server gave it: name, description, schemas, annotations; of itself: name, title, instructions."""
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

    def check(self, server: str, tools: Mapping[str, Any], itself: Any = None) -> dict[str | None, str]:
        """Which of the tools that `server` describes are not to be used, and why; the others are as they were pinned.

        server  as the host calls it (`fiducial mcp --name`)
        tools   tool → what the server says of it, as JSON
        itself  what it says of itself, in the result under `None`; `None`: nothing is said

        What is said the first time belongs into one call: what comes in a later one was not there. Raises `StoreError`
        when that cannot be told or kept.
        """
        said: dict[str | None, Any] = {} if itself is None else {None: itself}
        said.update(tools.items())
        for _ in range(_TRIES):
            try:
                return self._check(server, said)
            except Conflict:
                continue  # another process has pinned some of them meanwhile
        raise StoreBusy(f"what `{server}` says of its tools changes faster than it can be looked at; try again")

    def _check(self, server: str, said: Mapping[str | None, Any]) -> dict[str | None, str]:
        pins = self._scan(f"{PINS}{_part(server)}/")
        offers = self._scan(f"{OFFERED}{_part(server)}/")
        now, first = self._clock.unix_us(), not pins and not offers
        wrong: dict[str | None, str] = {}
        entries: list[Entry] = []
        read: list[Unchanged] = []
        changes: list[Put] = []
        for tool, description in said.items():
            key, seen = _key(server, tool), digest([tool, description])
            pin, version = pins.get(PINS + key, (None, 0))
            offer, offered = offers.get(OFFERED + key, (None, 0))
            pinned = pin is not None and pin.digest == seen
            why = "" if pinned else _wrong(tool, description, pin, first)
            if why:
                wrong[tool] = why
            if (pinned and offer is None) or (why and offer is not None and offer.digest == seen):
                continue
            made = Pin(server=server, tool=tool, digest=seen, said=description, at_us=now, by=_NOBODY, why=why)
            read += [Unchanged(PINS + key, version), Unchanged(OFFERED + key, offered)]
            if pinned:
                changes.append(Put(OFFERED + key, None))
            elif why:
                changes.append(_put(OFFERED + key, made))
                entries += [self._entry(made, "quarantined")] if offer is None else []
            else:
                changes.append(_put(PINS + key, made))
                entries.append(self._entry(made, "pinned"))
        if changes:
            self._commit(entries, read, changes)
        return wrong

    def waiting(self) -> list[Change]:
        """The tools that wait for a person, by server and name."""
        pins = self._scan(PINS)
        return [
            Change(offered=pin, pinned=pins.get(PINS + key.removeprefix(OFFERED), (None, 0))[0])
            for key, (pin, _) in self._scan(OFFERED).items()
        ]

    def approve(self, server: str, seen: str, by: PersonId) -> Pin:
        """From here on what waits is relied upon; it is returned. `seen`: the digest of what `by` has looked at.

        It takes the whole digest: of the texts that a server can choose from, two whose digests begin alike are found
        in seconds. Raises `NotPermitted` for somebody who is no operator, `OversightError` when nothing with that
        digest waits.
        """
        known = People(self._store, self._clock).find(by)
        if known is None or not known.person.active or "operator" not in known.person.console:
            raise NotPermitted(f"`{by}` is nobody who may rely on a tool: it takes an operator of the console")
        offers = self._scan(f"{OFFERED}{_part(server)}/").values()
        offer, version = next(((offer, version) for offer, version in offers if offer.digest == seen), (None, 0))
        if offer is None:
            raise OversightError(
                f"nothing of `{server}` with the digest `{seen}` waits; `fiducial pins list` prints the digest of what "
                "the server says by now"
            )
        key = _key(server, offer.tool)
        pin = msgspec.structs.replace(offer, by=by, at_us=self._clock.unix_us(), why="")
        try:
            self._commit(
                [self._entry(pin, "approved")],
                [Unchanged(OFFERED + key, version)],
                [_put(PINS + key, pin), Put(OFFERED + key, None)],
            )
        except Conflict as error:
            raise OversightError(f"what waits of `{server}` has changed meanwhile; look at it again") from error
        return pin

    def _entry(self, pin: Pin, act: Any) -> Entry:
        now = self._clock.unix_us()
        return Entry(
            ToolPinned(
                id=EventId(mint("evt", now // 1000)),
                session=None,
                at_us=now,
                server=plain(pin.server)[:200],
                tool=None if pin.tool is None else plain(pin.tool)[:200],
                digest=pin.digest,
                act=act,
                by=pin.by,
            )
        )

    def _scan(self, prefix: str) -> dict[str, tuple[Pin, int]]:
        return {key: (_pin(key, cell), cell.version) for key, cell in self._store.scan(prefix).items()}

    def _commit(self, entries: Iterable[Entry], read: Iterable[Unchanged], changes: Iterable[Put]) -> None:
        commit = Commit(entries=tuple(entries), preconditions=tuple(read), changes=tuple(changes))
        self._store.commit(commit).result()


def signs(said: Any) -> list[str]:
    """Why what is said of a tool speaks to the model, or hides something from people; empty when nothing is found.

    Texts are read as they are, and with disguised letters as a hurried reader takes them.
    """
    texts = _texts(said)
    read = [*texts, *(fold(text) for text in texts if not text.isascii())]
    found = [why for why, pattern in _SIGNS if any(pattern.search(text) for text in read)]
    if any(is_odd(character) for text in texts for character in set(_WRITTEN.sub("", text))):
        found.append("it has characters that nobody can see")
    return found


def _wrong(tool: str | None, said: Any, pin: Pin | None, first: bool) -> str:
    reasons = signs(said)
    if pin is not None:
        it = "it" if tool is not None else "itself"
        reasons.insert(0, f"the server describes {it} otherwise than when it was pinned by {pin.by}")
    elif not first:
        reasons.insert(0, "it was not pinned when the server was looked at for the first time")
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
    return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False).split("\n")


def _pin(key: str, cell: Cell) -> Pin:
    try:
        return msgspec.json.decode(cell.value, type=Pin)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the cell `{key}` cannot be read; restore the database from a backup") from error


def _put(key: str, pin: Pin) -> Put:
    return Put(key, msgspec.json.encode(pin))


def _key(server: str, tool: str | None) -> str:
    return f"{_part(server)}/" + ("itself" if tool is None else f"tool/{_part(tool)}")


def _part(name: str) -> str:
    return quote(name, safe="")


__all__ = ["OFFERED", "PINS", "Change", "Pin", "Pins", "signs"]
