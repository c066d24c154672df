"""The receiver: takes spans in, and follows each trace in a session once it is there.

A trace is there when its first span is, which ends last, and nothing has come for a moment; or when it was waited for
long enough. What comes later is followed then. Traces of one conversation, of one user, share a session;
it ends when nothing has come for a day.

Sessions here observe: people are not asked, nothing is run, and no other door can go on with them. What is waiting is
in the store, so that any server on it can follow it, when the one that has the session does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Final

import msgspec

from fiducial.core.faults import wordless
from fiducial.errors import StoreError
from fiducial.gateway.otlp import conventions as names
from fiducial.gateway.otlp import genai, openinference
from fiducial.gateway.otlp.follow import first_in, follow, outermost
from fiducial.gateway.otlp.inbox import Inbox, Known, Leads, Waiting, digest_of, key_of
from fiducial.gateway.otlp.steps import Doubted, Heard, Step, text_of
from fiducial.gateway.otlp.wire import Span, Unreadable
from fiducial.gateway.refusals import Refused
from fiducial.gateway.sessions import Seat, Sessions
from fiducial.gateway.unread import doubt
from fiducial.guard.guard import Guard

log = logging.getLogger("fiducial.gateway")
UNKNOWN_USER: Final = "unknown"
"""Whom an agent works for, where its spans do not tell."""
MAX_WAITING: Final = 64 * 1024 * 1024
"""Bytes of one host that may wait; past it, its exporters are told to come again."""
MAX_STEPS: Final = 10_000
"""Of what a span says; past it, the rest is doubted."""
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DEPTH: Final = 100
"""Values within one another."""
_NAME: Final = 1000
"""Characters of a name; a longer one is none."""
_ROLE, _ROLES = 200, 32
"""Characters of a role, and roles of a user: they fit into the entry that opens a session."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited."""

    settle: timedelta = timedelta(seconds=2)
    """After the last spans of a trace that is there."""
    most: timedelta = timedelta(minutes=2)
    """For a trace of which the first span does not come, from when something came."""
    taken: timedelta = timedelta(minutes=10)
    """For a session that another server has."""
    quiet: timedelta = timedelta(days=1)
    """Until a session ends to which nothing was added."""
    look: timedelta = timedelta(seconds=30)
    """Between two looks at all that waits."""


PATIENCE: Final = Patience()


class Taken(msgspec.Struct, frozen=True):
    """What became of a request."""

    rejected: int = 0
    """Spans that cannot be taken in; that they were there is known all the same, where their trace can be told."""
    why: str = ""


class Receiver:
    """Used on one event loop."""

    def __init__(self, guard: Guard) -> None:
        self.patience = PATIENCE
        self.sessions = Sessions(guard.watching())
        self._guard, self._clock = guard, guard.clock
        self._inbox = Inbox(guard.store, guard.clock)
        self._waiting: dict[str, int] = {}
        """Bytes that wait, by trace."""
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._since: dict[str, float] = {}
        """When the first came of what waits, by trace and the loop's clock."""
        self._ended = 0.0
        """When it was last looked for sessions to end, by the loop's clock."""
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By host, held while a trace is followed: two of one conversation would each open a session."""
        self._unkept: dict[str, Known] = {}
        """What was taken in, by session, while that could not be kept."""
        self._looking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Follow what waits, until `close`."""
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """What waits stays in the store."""
        for handle in self._due.values():
            handle.cancel()
        self._due.clear()
        tasks = [task for task in (self._looking, *self._busy.values()) if task is not None]
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sessions.close()

    # --- taking in

    async def take(self, host: str, found: list[Span | Unreadable]) -> Taken:
        """Keep what can be read. Raises `Refused` when too much waits, `StoreError` when it cannot be kept."""
        mine = key_of(host) + "/"
        left = MAX_WAITING - sum(size for trace, size in self._waiting.items() if trace.startswith(mine))
        sizes = await self.sessions.threads.run(host, partial(self._kept, host, mine, found, left))
        for trace, size in sizes.items():
            self._waiting[trace] = self._waiting.get(trace, 0) + size
            self._soon(trace)
        why = [span.why for span in found if isinstance(span, Unreadable)]
        return Taken(len(why), "; ".join(dict.fromkeys(why)))

    def _kept(self, host: str, mine: str, found: list[Span | Unreadable], left: int) -> dict[str, int]:
        """Keep the spans, in a thread; how many bytes each trace takes. Raises `Refused` when that is over `left`."""
        traces: dict[str, list[msgspec.Raw]] = {}
        size = 0
        for span in found:
            if span.trace is not None and (heard := _heard(span)) is not None:
                data = msgspec.Raw(_ENCODE(heard))
                size += len(bytes(data))
                if size > MAX_WAITING:
                    raise Refused(413, f"what a request says takes at most {MAX_WAITING} bytes")
                if size > left:
                    raise Refused(429, "too much waits to be followed; send it again later")
                traces.setdefault(mine + key_of(span.trace), []).append(data)
        return self._inbox.put(host, traces) if traces else {}

    def _soon(self, trace: str) -> None:
        """Follow it when nothing comes for a moment, and at the latest when it was waited for long enough."""
        if (before := self._due.pop(trace, None)) is not None:
            before.cancel()
        loop = asyncio.get_running_loop()
        latest = self._since.setdefault(trace, loop.time()) + self.patience.most.total_seconds()
        at = min(loop.time() + self.patience.settle.total_seconds(), latest)
        self._due[trace] = loop.call_at(at, self._start, trace)

    def _start(self, trace: str) -> None:
        self._due.pop(trace, None)
        self._since.pop(trace, None)
        if trace in self._busy:
            self._soon(trace)
            return
        task = self._busy[trace] = asyncio.get_running_loop().create_task(self._follow(trace))
        task.add_done_callback(lambda _: self._busy.pop(trace, None))

    async def _look(self) -> None:
        while True:
            try:
                self._waiting = await asyncio.to_thread(self._inbox.traces)
                for trace in self._waiting:
                    if trace not in self._due and trace not in self._busy:
                        self._start(trace)
                await self._end_quiet()
                await self.sessions.let_go()
            except Exception as error:
                log.error("spans that wait could not be looked at, which is tried again", exc_info=wordless(error))
            await asyncio.sleep(self.patience.look.total_seconds())

    async def _end_quiet(self) -> None:
        """End the sessions to which nothing comes any more. All of them are read for it, so it is not done often."""
        now = asyncio.get_running_loop().time()
        if now < self._ended + self.patience.quiet.total_seconds() / 24:
            return
        self._ended = now
        before = self._clock.unix_us() - self.patience.quiet // timedelta(microseconds=1)
        for session, known in (await asyncio.to_thread(self._inbox.quiet, before)).items():
            with contextlib.suppress(Refused):
                seat = await self.sessions.find(known.host, session, to_end=True)
                await self.sessions.end(seat, "done")
            await asyncio.to_thread(self._inbox.forget, session, known)

    # --- following

    async def _follow(self, trace: str) -> None:
        try:
            waiting = await asyncio.to_thread(self._inbox.waiting, trace)
            if not waiting.batches:
                self._waiting.pop(trace, None)
                return
            async with self._turns[waiting.batches[0].host]:
                await self._followed(trace, waiting)
        except (StoreError, Refused) as error:
            log.warning("a trace cannot be followed yet, which is tried again: %s", error)
        except Exception as error:
            log.error("a trace cannot be followed yet, which is tried again", exc_info=wordless(error))

    async def _followed(self, trace: str, waiting: Waiting) -> None:
        host = waiting.batches[0].host
        spans = [span for batch in waiting.batches for span in batch.heard]
        keys = [trace, *_conversation(host, spans)]
        leads = await asyncio.to_thread(self._inbox.leads, keys)
        known = None if leads.session is None else await asyncio.to_thread(self._known, leads.session)
        age = timedelta(microseconds=self._clock.unix_us() - waiting.batches[0].at_us)
        late = known is not None and known.rooted and trace in known.leads
        if not (first_in(spans) or late) and age < self.patience.most:
            # Looked at again with the next spans, or when all is looked at.
            return
        if known is None and not any(span.steps or span.kind != "other" for span in spans):
            # Of what else an application does: no agent is in it.
            await asyncio.to_thread(self._inbox.drop, waiting.cells)
            self._waiting.pop(trace, None)
            return
        lost = False
        seat = None if known is None else await self._again(host, leads.session or "", known, age)
        if seat is None or known is None:
            seat, known = await self._opened(host, leads, keys, spans)
            lost = leads.session is not None
        known.at_us = self._clock.unix_us()
        session, into = seat.session, known

        def taken_in() -> None:
            done: tuple[str, ...] = ()
            try:
                if lost:
                    doubt(session, "what was read before, in a session that cannot be gone on with")
                follow(session, into, spans)
                done = waiting.cells
            finally:
                self._unkept[session.id] = into
                self._inbox.keep(session.id, into, keys, done)
                del self._unkept[session.id]

        await seat.apart(taken_in)
        self._waiting.pop(trace, None)

    def _known(self, session: str) -> Known | None:
        """What was taken in there, kept or not."""
        return self._unkept.get(session) or self._inbox.known(session)

    async def _again(self, host: str, session: str, known: Known, age: timedelta) -> Seat | None:
        """The session that the trace leads to; `None` when nobody can go on with it. Raises `Refused` while another
        server has it."""
        try:
            return await self.sessions.find(host, session)
        except Refused as error:
            other = error.status == 409 and known.charter == self._guard.charter.digest
            if other and age < self.patience.taken:
                raise
        return None

    async def _opened(self, host: str, leads: Leads, keys: list[str], spans: list[Heard]) -> tuple[Seat, Known]:
        """A new session to follow in. Raises `Conflict` when another server opened one meanwhile."""
        if self.sessions.guard.current is not self._guard.current:
            self.sessions.guard = self._guard.watching()
        whose = _whose(spans)
        seat = await self.sessions.open(host, user=whose.user or UNKNOWN_USER, roles=whose.roles)
        charter = self.sessions.guard.charter.digest
        known = Known(host=host, charter=charter, leads=keys, at_us=self._clock.unix_us())
        try:
            await asyncio.to_thread(self._inbox.claim, seat.session.id, known, leads)
        except StoreError:
            await self.sessions.end(seat, "lost")
            raise
        return seat, known


def _heard(span: Span | Unreadable) -> Heard | None:
    """The span, as far as it matters; `None` when it does not. What cannot be read of it is doubted."""
    id = digest_of(span.trace or b"", span.id)
    if isinstance(span, Unreadable):
        return Heard(id=id, steps=(Doubted(0, "a span that cannot be read"),))
    if span.scope == names.SCOPE:
        return None
    place = Heard(
        id=id,
        parent=digest_of(span.trace, span.parent) if span.parent else b"",
        conversation=_first(span.attributes, (names.CONVERSATION, names.OI_SESSION)),
        user=_first(span.attributes, names.USER_IDS),
        roles=_roles(span.attributes),
    )
    for convention in (genai, openinference):
        if convention.speaks(span.attributes):
            kind, name = convention.kind_of(span)
            steps = [_keepable(step) for step in islice(convention.read(span), MAX_STEPS)]
            if len(steps) == MAX_STEPS:
                steps[-1] = Doubted(span.end_ns, "what a span says is too much")
            return msgspec.structs.replace(place, kind=kind, name=name, steps=tuple(steps))
    return place


def _keepable(step: Step) -> Step:
    """`step`, or a doubt where it has no form in which it could be kept: half a character, a number without end, or
    more within one another than could be read again wherever it is."""
    try:
        msgspec.msgpack.encode(step)
        if _deep(step):
            return Doubted(step.at_ns, "what is nested too deep")
    except (ValueError, OverflowError, TypeError, RecursionError):
        return Doubted(step.at_ns, "what has no form in which it could be kept")
    return step


def _deep(step: Step) -> bool:
    """Whether values in it are nested deeper than `_DEPTH`."""
    layer = [getattr(step, name, None) for name in ("arguments", "result")]
    for _ in range(_DEPTH):
        layer = [
            inner
            for each in layer if isinstance(each, (dict, list))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]  # fmt: skip
        if not layer:
            return False
    return True


def _first(attributes: Mapping[str, object], keys: tuple[str, ...]) -> str:
    names = (text_of(attributes.get(key)) for key in keys)
    return next((name for name in names if 0 < len(name) <= _NAME), "")


def _roles(attributes: Mapping[str, object]) -> tuple[str, ...]:
    found = attributes.get(names.USER_ROLES)
    if not isinstance(found, list):
        return ()
    return tuple(each for each in found if isinstance(each, str) and 0 < len(each) <= _ROLE)[:_ROLES]


def _conversation(host: str, spans: list[Heard]) -> Iterator[str]:
    """What the conversation of a trace is called, when it is in one: for each user another."""
    name = next((span.conversation for span in outermost(spans) if span.conversation), "")
    if name:
        yield key_of(host, _whose(spans).user, name)


def _whose(spans: list[Heard]) -> Heard:
    """The span that says for whom the agent works: the outermost that names a user, of agents' and the first one. Any
    other may name whom it calls, and by which roles."""
    named = (span for span in outermost(spans) if span.user and (span.kind == "agent" or not span.parent))
    return next(named, Heard(id=b""))


__all__ = ["MAX_WAITING", "UNKNOWN_USER", "Patience", "Receiver", "Taken"]
