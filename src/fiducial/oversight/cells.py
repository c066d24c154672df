"""Cells of oversight in the store: keys, and values as JSON that is read strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.event import Entry
from fiducial.core.ids import DecisionId, Digest, EventId, GrantId, HoldId, PersonId, PolicyId, SessionId, mint
from fiducial.core.store import Add, Cell, Commit, Put, Store, Unchanged, text_key
from fiducial.errors import StoreError

T = TypeVar("T", bound=msgspec.Struct)
MAX_NOTE = 4000
"""Characters of what a person says."""

HOLDS, WAITING, GRANTS, GLASS, SEEN, REPLIES = "hold/", "waiting/", "grant/", "glass/", "seen/", "reply/"
UNSPENT = "unspent/"
"""Key of an approved request, until it is spent or its time is over."""


class ClassGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bounded class of calls that a person approved, for one session."""

    id: GrantId
    session: SessionId
    tool: str
    policies: tuple[PolicyId, ...]
    """What it satisfies."""
    payload: Digest | None = None
    """Of `rule`, which stands in a cell that goes with it; `None` where it was given before there were such cells."""
    rule: str = ""
    """The class, as a Cedar `permit`; one without it, because it was erased, covers nothing."""
    by: PersonId
    role: str
    instead_of: PersonId | None = None
    """Whose place they took, by delegation."""
    hold: HoldId
    """The request on which it was given."""
    given_us: int
    expires_us: int
    uses: int
    """How many calls it lets through at most."""
    used: int = 0
    release: str | None = None
    """Under which the request was made."""
    halts: int = 0
    """How many halts that concern it had been ordered by then, lifted or not; one more voids it."""


class Glass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role taken for a short time in an emergency."""

    id: GrantId
    by: PersonId
    role: str
    from_us: int
    until_us: int
    reviewed_by: PersonId | None = None
    justified: bool | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """When one person first had one request before them."""

    shown_us: int = 0
    opened_us: int = 0


class ReplyCell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's answer about one parameter of a tool."""

    hold: HoldId
    tool: str
    parameter: str
    payload: Digest | None = None
    """Of their words, which stand in a cell that goes with it."""
    text: str = ""
    """What counts of them (`Text.names`), where they were said before there were such cells."""
    at_us: int
    by: PersonId
    role: str = ""
    """In which they spoke for the user; empty where it was the user."""
    instead_of: PersonId | None = None
    """Whose place they took, by delegation."""


class Text(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a person wrote, for as long as its payload is kept: the one place of it in the control state."""

    why: str = ""
    """Of a rejection."""
    reply: str | None = None
    """Of an answer."""
    names: str = ""
    """What may count as the user's: their words, without the value that was asked about unless they confirmed it."""
    rule: str = ""
    """Of a class of calls, or of another call instead."""
    instead: Any = None
    """Of another call instead: its arguments."""


def texts(store: Store, payloads: Iterable[Digest | None]) -> dict[Digest, Text]:
    """What is kept of those `payloads`; what was erased is not among it."""
    keys = {text_key(one): one for one in payloads if one is not None}
    return {keys[key]: decode(key, cell, Text) for key, cell in store.read([*keys]).items()} if keys else {}


def asked_prefix(session: SessionId, binding: Digest) -> str:
    """Keys of the requests about exactly one call."""
    return f"asked/{session}/{binding.removeprefix('sha256:')[:32]}/"


def call_digest(tool: str, arguments: Mapping[str, Any], undoes: DecisionId | None) -> Digest:
    """Of a call, whatever is known of where its values came from; of one that takes an effect back, for that effect."""
    return digest([tool, arguments] if undoes is None else [tool, arguments, undoes])


def refused_prefix(session: SessionId, call: Digest) -> str:
    """Keys of the requests about one call that people refused."""
    return f"refused/{session}/{call.removeprefix('sha256:')[:32]}/"


def encode(value: msgspec.Struct) -> bytes:
    """`value` as a cell holds it."""
    return msgspec.json.encode(value)


def decode(key: str, cell: Cell, of: type[T]) -> T:
    """The value in `cell`. Raises `StoreError` when it is no such value, so that whoever relies on it stops."""
    try:
        return msgspec.json.decode(cell.value, type=of, strict=True)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the cell `{key}` cannot be read ({error}); run `fiducial store check`") from None


def hold_key(hold: HoldId) -> str:
    """Key of a request."""
    return HOLDS + hold


def commit(
    store: Store, entries: Iterable[Entry], preconditions: Iterable[Unchanged], changes: Iterable[Put | Add]
) -> None:
    """Keep an act of a person, durably. Raises `Conflict` when something of it has changed, `StoreError`."""
    store.commit(Commit(entries=tuple(entries), preconditions=tuple(preconditions), changes=tuple(changes))).result()


def event_id(now_us: int) -> EventId:
    """A new id for an event of `now_us`."""
    return EventId(mint("evt", now_us // 1000))
