"""Switches: what has been stopped by command.

A halt names what it stops: an agent and all that it delegated to, a tool, a user, a release, or everything. A call that
matches every part that a halt names is denied. Halts are cells of the store, so that they hold for every process on it
and outlive all of them. A lifted halt stays there: what people approved before it does not come back to life.
"""

from __future__ import annotations

import threading
import unicodedata
import weakref
from collections.abc import Collection
from datetime import timedelta
from typing import Final

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.event import Entry, HaltLifted, HaltOrdered
from fiducial.core.ids import EventId, GrantId, PersonId, folded_name, mint
from fiducial.core.store import Add, Commit, Put, Store, Unchanged
from fiducial.errors import NotPermitted, OversightError, StoreError

HALTS: Final = "halt/"
"""Prefix of the halts' cells."""
ORDERED: Final = "halts-ordered"
"""The counter of halts ever ordered: what rests on there being no more of them is kept only while it is unchanged."""
DEAF: Final = timedelta(seconds=5)
"""A store that has been silent for longer could not have told of a halt."""
MAX_WHY = 500
"""Characters of a halt's reason; it is in the log itself, so it must name nobody."""


class Halt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One halt; a part that is `None` matches everything."""

    id: GrantId
    why: str
    by: PersonId
    at_us: int
    agent: str | None = None
    tool: str | None = None
    user: str | None = None
    release: str | None = None
    lifted_us: int = 0
    """When it was lifted; 0 while it is in force."""

    @property
    def total(self) -> bool:
        """It stops everything."""
        return self.agent is None and self.tool is None and self.user is None and self.release is None


UNREADABLE: Final = Halt(
    id=GrantId("hlt_unreadable"), why="the halts in the store cannot be read", by=PersonId("fiducial"), at_us=0
)
"""In force when the halts cannot be read."""
_DECODER = msgspec.json.Decoder(Halt, strict=True)


def read_halts(store: Store) -> tuple[Halt, ...]:
    """Every halt there ever was, in the order in which they were given. Raises `StoreError` when one is unreadable."""
    halts = []
    for key, cell in store.scan(HALTS).items():
        try:
            halts.append(_DECODER.decode(cell.value))
        except msgspec.MsgspecError as error:
            raise StoreError(f"the halt `{key}` cannot be read ({error}); nothing runs until it can") from None
    return tuple(sorted(halts, key=lambda halt: (halt.at_us, halt.id)))


class Switches:
    """The halts in force, as this process knows them."""

    def __init__(self, store: Store, clock: Clock, *, release: str | None = None) -> None:
        """Raises `StoreError` when the halts cannot be read."""
        self._store, self._clock, self.release = store, clock, release
        self._lock = threading.Lock()
        self._own: tuple[Halt, ...] = ()
        """Ordered here, and not seen in the store yet."""
        self.halts: tuple[Halt, ...] = ()
        """Replaced as a whole at each change, so that readers need no lock."""
        heard = weakref.WeakMethod(self._heard)
        # Watched first and read afterwards: what is ordered in between is seen by one or the other.
        weakref.finalize(self, store.watch(HALTS, lambda _: (call := heard()) and call()).close)
        self.refresh()

    def refresh(self) -> None:
        """Read the halts anew. Raises `StoreError`; what was in force before then stays in force."""
        with self._lock:
            every = read_halts(self._store)
            stored = {halt.id for halt in every}
            self._own = tuple(halt for halt in self._own if halt.id not in stored)
            self.halts = (*(halt for halt in every if not halt.lifted_us), *self._own)

    def _heard(self) -> None:
        """Halts have changed, in this process or another."""
        try:
            self.refresh()
        except Exception:
            # Whatever stands there now, it may be a halt: nothing runs until the halts can be read.
            # Raised, so that the store tells of them again.
            with self._lock:
                if UNREADABLE not in self.halts:
                    self.halts = (*self.halts, UNREADABLE)
            raise

    def order(
        self,
        why: str,
        *,
        by: PersonId,
        agent: str | None = None,
        tool: str | None = None,
        user: str | None = None,
        release: str | None = None,
    ) -> Halt:
        """Stop what matches every part given, and everything when none is. In force here at once.

        Spaces around a part are dropped, and it is composed (NFC). Nothing is refused for not being known here: a tool
        may be another agent's.

        Raises `OversightError` without a reason or for a blank part, `StoreError` when it could not be kept: it then
        holds for those that use these switches alone, until their process ends.
        """
        if not why.strip():
            raise OversightError("say why; it is the first thing that everybody asks")
        agent, tool, user, release = (
            _named(part, name)
            for part, name in ((agent, "agent"), (tool, "tool"), (user, "user"), (release, "release"))
        )
        now = self._clock.unix_us()
        halt = Halt(
            id=GrantId(mint("hlt", now // 1000)), why=why[:MAX_WHY], by=by, at_us=now,
            agent=agent, tool=tool, user=user, release=release,
        )  # fmt: skip
        with self._lock:
            self._own = (*self._own, halt)
            self.halts = (*self.halts, halt)
        event = HaltOrdered(
            id=EventId(mint("evt", now // 1000)), session=None, at_us=now, halt=halt.id, by=by, why=halt.why,
            agent=agent, tool=tool, user=user, release=release,
        )  # fmt: skip
        key = HALTS + halt.id
        self._store.commit(
            Commit(
                entries=(Entry(event),),
                preconditions=(Unchanged(key, 0),),
                changes=(Put(key, msgspec.json.encode(halt)), Add(ORDERED, 1)),
            )
        ).result()
        return halt

    def lift(self, halt: GrantId, *, by: PersonId, why: str) -> Halt:
        """Let go again what `halt` stopped.

        Raises `OversightError` when it is not in force, `NotPermitted` when the person who stopped everything wants to
        lift that alone.
        """
        key = HALTS + halt
        cell = self._store.read([key]).get(key)
        if cell is None:
            raise OversightError(f"there is no halt `{halt}`")
        before = _DECODER.decode(cell.value)
        if before.lifted_us:
            raise OversightError("that halt is not in force any more")
        if before.total and folded_name(before.by) == folded_name(by):
            raise NotPermitted("whoever stopped everything does not start it again; it takes somebody else")
        now = self._clock.unix_us()
        lifted = msgspec.structs.replace(before, lifted_us=now)
        event = HaltLifted(
            id=EventId(mint("evt", now // 1000)), session=None, at_us=now, halt=halt, by=by, why=why[:MAX_WHY]
        )
        self._store.commit(
            Commit(
                entries=(Entry(event),),
                preconditions=(Unchanged(key, cell.version),),
                changes=(Put(key, msgspec.json.encode(lifted)),),
            )
        ).result()
        self.refresh()
        return lifted

    def stops(self, agents: Collection[str], tool: str, user: str) -> Halt | None:
        """The first halt that matches; `None` when nothing stops the call. `agents`: who calls, and who delegated."""
        for halt in self.halts:
            if (
                names(halt.agent, *agents)
                and names(halt.tool, tool)
                and names(halt.user, user)
                and names(halt.release, self.release)
            ):
                return halt
        return None


def names(part: str | None, *called: str | None) -> bool:
    """The part of a halt matches one of them; `None` matches everything.

    Sessions keep the names that hosts give them. Spaces around one, or accents written another way, do not show, so
    they make no other.
    """
    return part is None or _plain(part) in [_plain(one) for one in called if one is not None]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _named(part: str | None, name: str) -> str | None:
    """A part of a halt; a blank one would stop nothing, or everything."""
    if part is not None and not part.strip():
        raise OversightError(f"the `{name}` to stop is blank; name it, or leave it out")
    return _plain(part) if part is not None else None
