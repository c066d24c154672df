"""Pins: what a server said of its tools, and what skills held, when somebody came to rely on them, and what is so now.

A server of tools describes them, and itself, to the agent's model, and can change that at any time. What it says the
first time is pinned by its canonical digest; a tool that is described otherwise later, or that was not there, is
quarantined until a person has looked at the difference. So is, from the first time on, one whose description speaks to
the model instead of describing the tool. A folder of skills (`skills`) is pinned the same way, each skill by the digest
of all its files.

| cell | holds |
|---|---|
| `pin/<server>/tool/<name>` | what is relied upon |
| `pin/<server>/itself` | the same, of the server |
| `pin-offered/…` | what the server says instead, for a person to look at |
| `pin-skill/<folder>/tool/<name>`, `pin-skill-offered/…` | the same, of skills |

1. The first time is when there is no cell of the server at all. It passes once: a cell of a server is only deleted when
   another stands for the same tool. So what was quarantined the first time stays so until a person has looked at it,
   whatever the server says of it next.
2. Of what waits for a person there is the newest only. Being quarantined is an event; saying something else meanwhile
   is none, or a server could fill the log.
3. When the server says again what is pinned, what it offered is gone and cannot be approved.
4. Where it takes a person from the first time on (`approved`), what nobody has approved is quarantined, whatever was
   pinned without one, and all of it is for them to look at. What is so offered stays when it is said again.
5. Who keeps out what is offered has decided on that, so it is no longer what is relied upon where the first time would
   do; something else that is offered later waits again.
6. All that waits of a server is approved at once by the digest of the whole, so that nothing is among it which nobody
   has seen.
7. Every change is a commit under the precondition that the cells are as they were read; whoever comes second reads
   again.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.clock import Clock
from fiducial.core.event import Entry, ToolPinned
from fiducial.core.ids import Digest, EventId, PersonId, mint
from fiducial.core.plain import plain
from fiducial.core.store import Cell, Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, NotPermitted, OversightError, StoreBusy, StoreError
from fiducial.oversight.people import People
from fiducial.oversight.signs import signs

Source: TypeAlias = Literal["server", "skills"]
"""Whence what is pinned comes: a server of tools, or a folder of skills."""
PINS: Final[Mapping[Source, str]] = {"server": "pin/", "skills": "pin-skill/"}
OFFERED: Final[Mapping[Source, str]] = {"server": "pin-offered/", "skills": "pin-skill-offered/"}
Trust: TypeAlias = Literal["first-use", "approved"]
"""What is relied upon: what was there the first time, too, or only what a person has approved."""
_Act: TypeAlias = Literal["pinned", "quarantined", "approved", "kept-out"]
_NOBODY = PersonId("first-use")
_TRIES = 10


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is so now of a tool or a skill."""

    said: Any
    """As JSON."""
    reasons: Callable[[], Sequence[str]] = tuple
    """Tells why a person has to look at it from the first time on; not asked of what is as it was pinned."""
    unfit: bool = False
    """What it holds cannot be told for certain, so nobody can rely on it."""


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a tool, and since when it is relied upon or waits."""

    of: Source = "server"
    server: str
    """As the host calls it (`fiducial mcp --name`); of skills, their folder."""
    tool: str | None
    """The tool, or the skill; `None`: the server itself."""
    digest: Digest
    """Of the tool's name and what is said of it, so no two tools of a server have the same."""
    said: Any
    """As the server gave it: name, description, schemas, annotations; of itself: name, title, instructions. Of a skill,
    its files (`skills`)."""
    at_us: int
    by: PersonId
    """Who relies on it, or found it."""
    why: str = ""
    """Of one that waits: what is wrong with it."""
    unfit: bool = False
    """Nobody can rely on it (`Found`)."""
    kept_out: PersonId | None = None
    """Who has looked at it and does not want it used; it waits for nobody else."""
    whole: bool = False
    """Of one that waits: nobody has approved what was there before, so all of it is to be looked at."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that waits for a person, with what it was pinned as; `None` for one that was not there, or that nobody has
    looked at."""

    offered: Pin
    pinned: Pin | None

    def diff(self) -> list[str]:
        """The lines in which what is said differs, as in a unified diff: they begin with `+`, `-`, a space or `@`. Of a
        skill, each file that differs has its name before its lines."""
        before = self.pinned.said if self.pinned is not None else None
        if self.offered.of == "skills":
            return list(_file_rows(before["files"] if before is not None else {}, self.offered.said["files"]))
        return _rows(_lines(before) if before is not None else [], _lines(self.offered.said))


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """All that waits of a server or a folder, and that people can rely on."""

    server: str
    pins: tuple[Pin, ...]
    digest: Digest
    """Of all of them."""


class Pins:
    """Usable from any thread."""

    def __init__(self, store: Store, clock: Clock, trust: Trust = "first-use") -> None:
        self._store, self._clock, self._trust = store, clock, trust

    def check(self, server: str, tools: Mapping[str, Any], itself: Any = None) -> dict[str | None, str]:
        """Which of the tools that `server` describes are not to be used, and why; the others are as they were pinned.

        server  as the host calls it (`fiducial mcp --name`)
        tools   tool → what the server says of it, as JSON
        itself  what it says of itself, in the result under `None`; `None`: nothing is said

        What is said the first time belongs into one call: what comes in a later one was not there. Raises `StoreError`
        when that cannot be told or kept.
        """
        said: dict[str | None, Found] = {} if itself is None else {None: _described(itself)}
        said.update((name, _described(each)) for name, each in tools.items())
        return self._checked("server", server, said)

    def check_skills(self, folder: str, skills: Mapping[str, Found]) -> dict[str, str]:
        """Which of the skills in `folder`, as the host calls it, are not to be used, and why. Raises as `check`."""
        found = self._checked("skills", folder, dict(skills.items()))
        return {name: why for name, why in found.items() if name is not None}

    def _checked(self, of: Source, server: str, said: Mapping[str | None, Found]) -> dict[str | None, str]:
        for _ in range(_TRIES):
            try:
                return self._check(of, server, said)
            except Conflict:
                continue  # another process has pinned some of them meanwhile
        raise StoreBusy(f"what is said of `{server}` changes faster than it can be looked at; try again")

    def _check(self, of: Source, server: str, said: Mapping[str | None, Found]) -> dict[str | None, str]:
        pins_at, offers_at = PINS[of], OFFERED[of]
        pins = self._scan(f"{pins_at}{_part(server)}/")
        offers = self._scan(f"{offers_at}{_part(server)}/")
        now, first = self._clock.unix_us(), not pins and not offers
        wrong: dict[str | None, str] = {}
        entries: list[Entry] = []
        read: list[Unchanged] = []
        changes: list[Put] = []
        for tool, found in said.items():
            key, seen = _key(server, tool), digest([tool, found.said])
            pin, version = pins.get(pins_at + key, (None, 0))
            offer, offered = offers.get(offers_at + key, (None, 0))
            whole = self._trust == "approved" and (pin is None or pin.by == _NOBODY)
            pinned = pin is not None and pin.digest == seen and not found.unfit and not whole
            same = offer if offer is not None and offer.digest == seen else None
            why = "" if pinned else _wrong(of, tool, found, pin, first, whole=whole)
            kept_out = same.kept_out if same is not None else None
            if why:
                wrong[tool] = f"{same.why}; {kept_out} keeps it out" if same is not None and kept_out else why
                settled = same is not None and (same.whole or not whole)
            else:
                # What another look has found to take a person goes on waiting for one.
                settled = pinned and (offer is None or (same is not None and same.whole))
            if settled:
                continue
            made = Pin(
                of=of, server=server, tool=tool, digest=seen, said=found.said, at_us=now, by=_NOBODY, why=why,
                unfit=found.unfit, kept_out=kept_out, whole=whole,
            )  # fmt: skip
            read += [Unchanged(pins_at + key, version), Unchanged(offers_at + key, offered)]
            if pinned:
                changes.append(Put(offers_at + key, None))
            elif why:
                changes.append(_put(offers_at + key, made))
                entries += [self._entry(made, "quarantined")] if offer is None else []
            else:
                changes.append(_put(pins_at + key, made))
                entries.append(self._entry(made, "pinned"))
        if changes:
            self._commit(entries, read, changes)
        return wrong

    def relied_upon(self) -> list[Pin]:
        """The tools and skills that are pinned, by server and name."""
        return [pin for of in PINS for pin, _ in self._scan(PINS[of]).values()]

    def waiting(self) -> list[Change]:
        """The tools and skills that are quarantined, by server and name."""
        found = list[Change]()
        for of, offers_at in OFFERED.items():
            pins = self._scan(PINS[of])
            for key, (pin, _) in self._scan(offers_at).items():
                pinned, _ = pins.get(PINS[of] + key.removeprefix(offers_at), (None, 0))
                found.append(Change(offered=pin, pinned=None if pin.whole else pinned))
        return found

    def approve(self, server: str, seen: str, by: PersonId) -> Pin:
        """From here on what is offered is relied upon; it is returned. `seen`: the digest of what `by` has looked at.

        It takes the whole digest: of the texts that a server can choose from, two whose digests begin alike are found
        in seconds. Raises `NotPermitted` for somebody who is no operator, `OversightError` when nothing with that
        digest is offered, or nobody can rely on it.
        """
        offer, version = self._offered(server, seen, by)
        if offer.unfit:
            raise OversightError(f"nobody can rely on `{plain(offer.tool or server)}` as it is: {offer.why}; mend that")
        pin = self._relied(offer, by)
        read = Unchanged(OFFERED[pin.of] + _key(server, pin.tool), version)
        self._decided([(pin, "approved")], [read], _approval(pin))
        return pin

    def approve_all(self, server: str, seen: str, by: PersonId) -> list[Pin]:
        """From here on all that waits of `server` is relied upon as it is offered; it is returned. `seen`: the digest
        of all that `by` has looked at (`wholes`). Raises as `approve`."""
        self._must_decide(by)
        offers = self._offers(server)
        whole = _whole(server, [pin for pin, _ in offers.values()])
        if not whole.pins or whole.digest != seen:
            raise OversightError(
                f"what waits of `{server}` is not all that the digest `{seen}` is of; `fiducial pins list` prints what "
                "waits by now, and its digest"
            )
        made = [self._relied(pin, by) for pin in whole.pins]
        read = [Unchanged(OFFERED[pin.of] + _key(server, pin.tool), offers[pin.of, pin.tool][1]) for pin in whole.pins]
        changes = [change for pin in made for change in _approval(pin)]
        self._decided([(pin, "approved") for pin in made], read, changes)
        return made

    def keep_out(self, server: str, seen: str, by: PersonId) -> Pin:
        """What is offered stays quarantined, and waits for nobody any more; a pin of the very same is gone. Raises as
        `approve`."""
        offer, version = self._offered(server, seen, by)
        if offer.kept_out is not None:
            raise OversightError(f"`{offer.kept_out}` keeps that out already")
        kept = msgspec.structs.replace(offer, kept_out=by)
        at = _key(server, kept.tool)
        offered, pinned = OFFERED[kept.of] + at, PINS[kept.of] + at
        pin, pin_version = self._scan(pinned).get(pinned, (None, 0))
        gone = [Put(pinned, None)] if pin is not None and pin.digest == seen else []
        told = msgspec.structs.replace(kept, by=by)
        read = [Unchanged(offered, version), Unchanged(pinned, pin_version)]
        self._decided([(told, "kept-out")], read, [_put(offered, kept), *gone])
        return kept

    def _offered(self, server: str, seen: str, by: PersonId) -> tuple[Pin, int]:
        """What `by` has looked at, if they may decide on it, with the version of its cell."""
        self._must_decide(by)
        found = next((each for each in self._offers(server).values() if each[0].digest == seen), None)
        if found is None:
            raise OversightError(
                f"nothing of `{server}` with the digest `{seen}` waits; `fiducial pins list` prints the digest of what "
                "is offered by now"
            )
        return found

    def _offers(self, server: str) -> dict[tuple[Source, str | None], tuple[Pin, int]]:
        """What is offered of `server`, with the versions of the cells."""
        found = [each for at in OFFERED.values() for each in self._scan(f"{at}{_part(server)}/").values()]
        return {(pin.of, pin.tool): (pin, version) for pin, version in found}

    def _must_decide(self, by: PersonId) -> None:
        known = People(self._store, self._clock).find(by)
        if known is None or not known.person.active or "operator" not in known.person.console:
            raise NotPermitted(
                f"`{by}` is nobody who may decide on a tool or a skill: it takes an operator of the console"
            )

    def _relied(self, offer: Pin, by: PersonId) -> Pin:
        """What is offered, as `by` relies on it."""
        now = self._clock.unix_us()
        return msgspec.structs.replace(offer, by=by, at_us=now, why="", kept_out=None, whole=False)

    def _decided(self, acts: Sequence[tuple[Pin, _Act]], read: Iterable[Unchanged], changes: Iterable[Put]) -> None:
        """Keep what was decided on pins of one server."""
        try:
            self._commit([self._entry(pin, act) for pin, act in acts], read, changes)
        except Conflict as error:
            raise OversightError(
                f"what waits of `{acts[0][0].server}` has changed meanwhile; look at it again"
            ) from error

    def _entry(self, pin: Pin, act: _Act) -> Entry:
        now = self._clock.unix_us()
        return Entry(
            ToolPinned(
                id=EventId(mint("evt", now // 1000)),
                session=None,
                at_us=now,
                of=pin.of,
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


def wholes(waiting: Iterable[Change]) -> list[Whole]:
    """All that waits of each server and folder of which several do; `waiting` is what was looked at."""
    offers = defaultdict[str, list[Pin]](list)
    for change in waiting:
        offers[change.offered.server].append(change.offered)
    found = [_whole(server, of) for server, of in offers.items()]
    return [each for each in found if len(each.pins) > 1]


def _described(said: Any) -> Found:
    return Found(said=said, reasons=partial(signs, said))


def _whole(server: str, offers: Iterable[Pin]) -> Whole:
    """What of `offers` waits for somebody who can rely on it."""
    waiting = tuple(pin for pin in offers if pin.kept_out is None and not pin.unfit)
    return Whole(server=server, pins=waiting, digest=digest(sorted([pin.of, pin.digest] for pin in waiting)))


def _approval(pin: Pin) -> list[Put]:
    key = _key(pin.server, pin.tool)
    return [_put(PINS[pin.of] + key, pin), Put(OFFERED[pin.of] + key, None)]


def _wrong(of: Source, tool: str | None, found: Found, pin: Pin | None, first: bool, *, whole: bool) -> str:
    reasons = list(found.reasons()) or ["what it holds cannot be told"] * found.unfit
    if whole:
        reasons.insert(0, "nobody has approved it")
    elif pin is not None and of == "skills":
        reasons.insert(0, f"it is not what it was when it was pinned by {pin.by}")
    elif pin is not None:
        it = "it" if tool is not None else "itself"
        reasons.insert(0, f"the server describes {it} otherwise than when it was pinned by {pin.by}")
    elif not first:
        what = "the server was" if of == "server" else "these skills were"
        reasons.insert(0, f"it was not pinned when {what} looked at for the first time")
    return "; ".join(reasons)


def _lines(said: Any) -> list[str]:
    return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False).split("\n")


def _file_rows(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What people compare of a skill's files: their texts, or the digest of what is none."""
    for path in sorted(before.keys() | now.keys()):
        old, new = before.get(path), now.get(path)
        if old != new:
            became = "is gone" if new is None else "can be run" if new.get("runs") else ""
            yield f"@ {plain(path)}" + (f" ({became})" if became else "")
            yield from _rows(_text_of(old), _text_of(new))


def _text_of(file: Mapping[str, Any] | None) -> list[str]:
    if file is None:
        return []
    text: str = file.get("text", file.get("digest", ""))
    return text.split("\n")


def _rows(before: Sequence[str], now: Sequence[str]) -> list[str]:
    return list(difflib.unified_diff(before, now, lineterm="", n=2))[2:]


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


__all__ = ["OFFERED", "PINS", "Change", "Found", "Pin", "Pins", "Source", "Trust", "Whole", "wholes"]
