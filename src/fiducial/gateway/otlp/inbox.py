"""Spans that wait in the store until their trace is there, and what is known of the sessions that they lead to.

Cells: `otlp/spans/<host>/<trace>/<batch>` holds what one request brought of a trace, which is called `<host>/<trace>`
throughout, and `otlp/waiting/…` its size in bytes, so that whoever looks for what waits need not read all of it;
`otlp/leads/<trace or conversation>` the session that follows it; `otlp/known/<session>` what was taken in there. A
request is answered once its batches are kept; they are deleted by the commit that keeps what came of them. A server
that stops in between takes them in again: then something may stand in the ledger twice, and nothing is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.ids import mint, random_bytes
from fiducial.core.store import Commit, Put, Store, Unchanged
from fiducial.gateway.otlp.steps import Heard, Kind

SPANS: Final = "otlp/spans/"
WAITING: Final = "otlp/waiting/"
LEADS: Final = "otlp/leads/"
KNOWN: Final = "otlp/known/"
MAX_SPANS: Final = 4096
"""Spans remembered of a session; of one that comes once more after so many others, nobody knows that it was there."""
MAX_TEXTS: Final = 4096
"""Messages and results remembered of a session, by digest."""
MAX_LEADS: Final = 512
"""Traces remembered of a session; spans of an older one are followed by their conversation, or in a new session."""
MAX_CALLS: Final = 512
"""Calls remembered of a session."""


class Batch(msgspec.Struct, frozen=True):
    """What one request brought of a trace."""

    host: str
    at_us: int
    """When it came."""
    heard: tuple[Heard, ...]


class _Encoded(msgspec.Struct, frozen=True):
    """A `Batch` of spans that are encoded already."""

    host: str
    at_us: int
    heard: list[msgspec.Raw]


class Call(msgspec.Struct):
    """A call that was made, or wanted."""

    ids: list[str]
    """The model's id for it, and those of the spans that are it."""
    tool: str
    given: bytes = b""
    """Digest of the arguments; empty: they are not told."""
    decision: str = ""
    """Empty: not decided, as the arguments are not told."""
    ran: bool = False
    """A span is the call itself."""
    done: bool = False
    """What came of it was taken in."""
    done_ns: int = 0
    """When that came, by the clock of the trace."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A span in its trace."""

    parent: bytes
    """Empty for the first of the trace."""
    kind: Kind
    name: str


class Known(msgspec.Struct):
    """What was taken in of a session's spans."""

    host: str
    charter: str
    """Digest; the session cannot be read back under another one."""
    leads: list[str]
    """Traces and conversations that lead to it, those of which something came last at the end."""
    salt: bytes = msgspec.field(default_factory=random_bytes)
    """Of the digests: without it, they would tell who guesses it what was said."""
    spans: dict[bytes, Place] = {}
    texts: dict[bytes, None] = {}
    calls: list[Call] = []
    rooted: bool = False
    """The first span of a trace has come."""
    at_us: int = 0
    """When it was last added to."""

    def bound(self) -> None:
        """Forget the oldest past the limits."""
        for span in list(self.spans)[: max(0, len(self.spans) - MAX_SPANS)]:
            del self.spans[span]
        for text in list(self.texts)[: max(0, len(self.texts) - MAX_TEXTS)]:
            del self.texts[text]
        del self.calls[: max(0, len(self.calls) - MAX_CALLS)]


_BATCH: Final = msgspec.msgpack.Decoder(Batch)
_KNOWN: Final = msgspec.msgpack.Decoder(Known)


class Waiting(msgspec.Struct, frozen=True):
    """All that waits of one trace, oldest first."""

    cells: tuple[str, ...]
    batches: tuple[Batch, ...]


class Leads(msgspec.Struct, frozen=True):
    """Where a trace and its conversation lead."""

    session: str | None
    unchanged: tuple[Unchanged, ...]
    """That they still do."""


class Inbox:
    """On one store; every method blocks while it reads or writes, and raises `StoreError`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def put(self, host: str, traces: Mapping[str, list[msgspec.Raw]]) -> dict[str, int]:
        """Keep spans, each a `Heard` in msgpack, by trace; returns how many bytes each trace takes."""
        now = self._clock.unix_us()
        kept = {trace: msgspec.msgpack.encode(_Encoded(host, now, heard)) for trace, heard in traces.items()}
        changes = []
        for trace, data in kept.items():
            batch = f"{trace}/{mint('otl', now // 1000)}"
            changes += [Put(SPANS + batch, data), Put(WAITING + batch, b"%d" % len(data))]
        self._store.commit(Commit(changes=tuple(changes))).result()
        return {trace: len(data) for trace, data in kept.items()}

    def traces(self) -> dict[str, int]:
        """The traces of which something waits, and how many bytes."""
        found: dict[str, int] = {}
        for key, cell in self._store.scan(WAITING).items():
            trace = key[len(WAITING) :].rpartition("/")[0]
            found[trace] = found.get(trace, 0) + int(cell.value)
        return found

    def waiting(self, trace: str) -> Waiting:
        """All that waits of a trace."""
        found = self._store.scan(f"{SPANS}{trace}/")
        cells = [prefix + key[len(SPANS) :] for key in found for prefix in (SPANS, WAITING)]
        return Waiting(tuple(cells), tuple(_BATCH.decode(cell.value) for cell in found.values()))

    def leads(self, keys: Iterable[str]) -> Leads:
        """Where `keys` lead, the first of them first."""
        names = [LEADS + key for key in keys]
        cells = self._store.read(names)
        session = next((cells[name].value.decode() for name in names if name in cells), None)
        return Leads(session, tuple(Unchanged(name, cells[name].version if name in cells else 0) for name in names))

    def claim(self, session: str, known: Known, leads: Leads) -> None:
        """Have `leads` lead to a new session. Raises `Conflict` when another server had them lead elsewhere."""
        self._keep(session, known, known.leads, leads.unchanged, ())

    def known(self, session: str) -> Known | None:
        """What was taken in there; `None` when there is no such session, or it is over."""
        cell = self._store.read([KNOWN + session]).get(KNOWN + session)
        return None if cell is None else _KNOWN.decode(cell.value)

    def keep(self, session: str, known: Known, keys: list[str], done: Iterable[str] = ()) -> None:
        """Keep what is known now, that `keys` lead there, and delete the cells that are `done` with."""
        self._keep(session, known, keys, (), done)

    def _keep(
        self, session: str, known: Known, keys: list[str], unchanged: tuple[Unchanged, ...], done: Iterable[str]
    ) -> None:
        known.bound()
        known.leads = [key for key in known.leads if key not in keys] + keys
        forgotten, known.leads = known.leads[:-MAX_LEADS], known.leads[-MAX_LEADS:]
        leads = [Put(LEADS + key, session.encode()) for key in keys] + [Put(LEADS + key, None) for key in forgotten]
        kept = Put(KNOWN + session, msgspec.msgpack.encode(known))
        changes = (*leads, kept, *(Put(cell, None) for cell in done))
        self._store.commit(Commit(changes=changes, preconditions=unchanged)).result()

    def drop(self, cells: Iterable[str]) -> None:
        """Delete what waits there."""
        self._store.commit(Commit(changes=tuple(Put(cell, None) for cell in cells))).result()

    def forget(self, session: str, known: Known) -> None:
        """Forget a session."""
        cells = [KNOWN + session, *(LEADS + key for key in known.leads)]
        self._store.commit(Commit(changes=tuple(Put(cell, None) for cell in cells))).result()

    def quiet(self, before_us: int) -> dict[str, Known]:
        """The sessions to which nothing was added since `before_us`."""
        found = {key[len(KNOWN) :]: _KNOWN.decode(cell.value) for key, cell in self._store.scan(KNOWN).items()}
        return {session: known for session, known in found.items() if known.at_us < before_us}


def key_of(*parts: str | bytes) -> str:
    """A name for what `parts` name together."""
    return digest_of(*parts).hex()


def digest_of(*parts: str | bytes) -> bytes:
    """16 bytes that stand for `parts`."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8) + data)
    return hashed.digest()[:16]


__all__ = [
    "KNOWN",
    "LEADS",
    "SPANS",
    "WAITING",
    "Batch",
    "Call",
    "Inbox",
    "Known",
    "Place",
    "Waiting",
    "digest_of",
    "key_of",
]
