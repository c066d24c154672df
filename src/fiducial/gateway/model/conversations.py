"""Which session a request to a model belongs to.

A request has everything in it that the model will know, and mostly no name of its conversation. It belongs to

1. the session that it names (`Fiducial-Session`), which its host has opened and decides calls in,
2. the conversation that a statement of its host's names (`Fiducial-Task`),
3. the conversation of the answer that the provider goes on from (`previous_response_id`),
4. the conversation that its messages continue: one that has got as far as some of its first messages, and no further,
   under the same prompt of the system; under another one, if it has more to say and no other conversation got as far,
5. or a conversation of its own.

Two that begin alike are one for as long as they say the same. The first that goes on is that conversation; the other is
one of its own then, in which all of it is taken in anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from fiducial.core.canonical import digest
from fiducial.core.store import Commit, Put
from fiducial.errors import FiducialError
from fiducial.flow.masking.vault import Vault
from fiducial.gateway.model.masking import Classes, Masking
from fiducial.gateway.model.steps import Said, Step
from fiducial.gateway.model.turn import Conversation, Taken
from fiducial.gateway.principals import Principal
from fiducial.gateway.refusals import Refused
from fiducial.gateway.sessions import Seat, Sessions
from fiducial.gateway.statements import Statement
from fiducial.guard.tool import classes_of

log = logging.getLogger("fiducial.gateway")
STATED: Final = "model-conversation/"
"""Prefix of the cells that say which session a stated conversation is."""
IDLE: Final = 3600.0
"""Unused for so many seconds, a conversation that nobody named ends; a named one is let go of."""
MOST: Final = 5_000
"""Conversations at once; past it, the one ends that was not used for longest by the host that has most."""
_ANSWERS: Final = 20_000
"""Answers that are remembered."""


class Named(msgspec.Struct, frozen=True):
    """What a request says of where it belongs."""

    principal: Principal
    session: str | None = None
    stated: Statement | None = None
    earlier: str = ""
    """The answer that the provider goes on from; empty: none."""
    heads: Sequence[bytes] = ()
    """For each of its messages, a digest of it and of all before it (`heads_of`)."""
    prompt: bytes = b""
    """A digest of what the system says in it."""

    @property
    def named(self) -> bool:
        """It says where it belongs, so it may belong nowhere."""
        return self.session is not None or self.stated is not None or bool(self.earlier)


class _Place:
    """A conversation in here."""

    __slots__ = ("conversation", "head", "named", "prompt", "used")

    def __init__(self, conversation: Conversation, *, named: bool) -> None:
        self.conversation, self.named = conversation, named
        self.head: object = None
        """How far it has got, where its messages say so."""
        self.prompt = b""
        self.used = time.monotonic()


class Conversations:
    """Used on one event loop."""

    def __init__(
        self,
        sessions: Sessions,
        model: str,
        *,
        secret: bytes,
        classes: Callable[[], Classes | None],
        idle: float = IDLE,
        most: int = MOST,
    ) -> None:
        """`classes`: says which data classes are masked in a conversation that begins, by tokens made from `secret`."""
        self._sessions, self._model, self._secret, self._classes = sessions, model, secret, classes
        self._idle, self._most = idle, most
        self._places: OrderedDict[object, _Place] = OrderedDict()
        self._heads: dict[object, list[_Place]] = {}
        self._answers: OrderedDict[tuple[Principal, str], object] = OrderedDict()
        self._finding: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        """One for each name that conversations are looked for by."""

    async def of(self, named: Named) -> Taken:
        """The conversation that is `named`, and its session, found for work that begins at once. Raises `Refused` when
        the host has no such session, `StoreError` and `SessionError` when none can be opened."""
        known = self._answers.get((named.principal, named.earlier))
        if named.earlier and known is None:
            # The provider has one account for all who come in here: it would go on from anybody's answer.
            raise Refused(404, "there is no such answer to go on from; send the whole conversation")
        place = await self._place(named)
        if named.earlier and known != place.conversation.key:
            await self._doubt(place)
        self._use(place)
        return Taken(place.conversation, await self._seat(place.conversation))

    def begun(self, named: Named) -> Conversation:
        """The conversation that messages without a name continue, or one that begins; `opened` finds its session."""
        principal = named.principal
        heads = [(principal, each) for each in named.heads]
        place = self._continued(heads, named.prompt)
        if place is None:
            place = self._made(object(), "", principal, named=False)
        else:
            self._leave(place)
        if heads:
            place.head, place.prompt = heads[-1], named.prompt
            self._heads.setdefault(place.head, []).append(place)
        self._use(place)
        return place.conversation

    def _continued(self, heads: list[tuple[Principal, bytes]], prompt: bytes) -> _Place | None:
        for number, head in enumerate(reversed(heads)):
            places = self._heads.get(head, [])
            same = next((place for place in places if place.prompt == prompt), None)
            if same is not None or (number and len(places) == 1):
                return same or places[0]
        return None

    def _leave(self, place: _Place) -> None:
        places = self._heads.get(place.head, [])
        if place in places:
            places.remove(place)
            if not places:
                del self._heads[place.head]

    async def opened(self, conversation: Conversation, principal: Principal) -> Taken:
        """A conversation that has `begun`, and its session, for work that begins at once; another session where that
        is gone. Raises `StoreError` and `SessionError` when none can be opened."""
        async with self._finding.setdefault(conversation.key, asyncio.Lock()):
            if conversation.session:
                with suppress(Refused):
                    return Taken(conversation, await self._seat(conversation))
            conversation.begin(await self._open(principal, durable=False))
        return Taken(conversation, await self._seat(conversation))

    def answered(self, conversation: Conversation, principal: Principal, answer: str) -> None:
        """The provider gave an answer that it can go on from."""
        if answer:
            self._answers[principal, answer] = conversation.key
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)

    async def let_go(self) -> None:
        """End, or let go of, those that nobody uses."""
        before = time.monotonic() - self._idle
        for place in list(self._places.values()):
            if place.used < before and not place.conversation.at_work:
                await self._forget(place)

    async def _seat(self, conversation: Conversation) -> Seat:
        return await self._sessions.find(conversation.host, conversation.session)

    async def _place(self, named: Named) -> _Place:
        principal = named.principal
        if named.session is not None:
            await self._sessions.find(principal.host or "", named.session)
            key: object = ("session", principal.host, named.session)
            found = self._places.get(key)
            return found if found is not None else self._made(key, named.session, principal, named=True)
        if (stated := named.stated) is not None:
            key = ("stated", principal, stated.host, stated.conversation)
            async with self._finding.setdefault(key, asyncio.Lock()):
                return await self._found(key) or await self._stated(key, principal, stated)
        known = self._answers.get((principal, named.earlier))
        return await self._found(known) or await self._opened(object(), principal, named=False)

    def _use(self, place: _Place) -> None:
        place.used = time.monotonic()
        if place.conversation.key in self._places:
            self._places.move_to_end(place.conversation.key)

    async def _found(self, key: object) -> _Place | None:
        place = self._places.get(key)
        return place if place is not None and await self._alive(place) else None

    async def _alive(self, place: _Place) -> bool:
        """Whether its session can be gone on with; it is forgotten otherwise."""
        try:
            await self._seat(place.conversation)
        except Refused:
            self._drop(place)
            return False
        return True

    async def _stated(self, key: object, principal: Principal, stated: Statement) -> _Place:
        """The session of a conversation that a host names, whichever server opened it."""
        store, threads = self._sessions.guard.store, self._sessions.threads
        host = principal.host or ""
        cell = STATED + digest([self._model, *principal.who, *principal.roles, stated.host, stated.conversation])
        kept = (await threads.run(host, partial(store.read, [cell]))).get(cell)
        if kept is not None:
            place = self._made(key, kept.value.decode(), principal, named=True)
            if await self._alive(place):
                return place
        place = await self._opened(key, principal, named=True)
        change = Put(cell, place.conversation.session.encode())
        await threads.run(host, lambda: store.commit(Commit(changes=(change,))).result())
        return place

    async def _opened(self, key: object, principal: Principal, *, named: bool) -> _Place:
        return self._made(key, await self._open(principal, durable=named), principal, named=named)

    async def _open(self, principal: Principal, *, durable: bool) -> str:
        seat = await self._sessions.open(
            principal.host or "", user=principal.user, roles=principal.roles, durable=durable
        )
        for place in self._too_many():
            if not place.conversation.at_work:
                await self._forget(place)
        return seat.session.id

    def _too_many(self) -> list[_Place]:
        """Those that have to go: of the host that has most, so that nobody loses theirs to another's."""
        count = len(self._places) - self._most
        if count <= 0:
            return []
        [(host, _)] = Counter(place.conversation.host for place in self._places.values()).most_common(1)
        of_host = (place for place in self._places.values() if place.conversation.host == host)
        return list(islice((place for place in of_host if not place.conversation.at_work), count))

    def _made(self, key: object, session: str, principal: Principal, *, named: bool) -> _Place:
        classes, vault = self._classes(), Vault(self._secret, session or os.urandom(16).hex())
        masking = Masking(vault, classes) if classes is not None else None
        place = _Place(Conversation(key, session, principal.host or "", masking), named=named)
        self._places[key] = place
        return place

    async def _doubt(self, place: _Place) -> None:
        """Nobody here knows what the model was told before."""
        seat = await self._seat(place.conversation)

        def doubted() -> None:
            with seat.session.lock:
                seat.session.doubt(classes_of(*seat.session.tools.values()))

        await seat.apart(doubted)

    async def _forget(self, place: _Place) -> None:
        self._drop(place)
        if place.named or not place.conversation.session:
            return
        try:
            await self._sessions.end(await self._seat(place.conversation), "done")
        except (Refused, FiducialError) as error:
            log.warning("the session %s could not be ended: %s", place.conversation.session, error)

    def _drop(self, place: _Place) -> None:
        self._places.pop(place.conversation.key, None)
        self._leave(place)


def prompt_of(steps: Iterable[Step]) -> bytes:
    """A digest of what the system and the operator say."""
    state = hashlib.sha256()
    for step in steps:
        if isinstance(step, Said) and step.authority in ("system", "operator"):
            state.update(hashlib.sha256(step.text.encode("utf-8", "surrogatepass")).digest())
    return state.digest()


def heads_of(messages: Sequence[Any]) -> list[bytes]:
    """For each message, a digest of it and of all before it."""
    heads: list[bytes] = []
    state = hashlib.sha256()
    for message in messages:
        state.update(hashlib.sha256(msgspec.json.encode(message, order="sorted")).digest())
        heads.append(state.copy().digest())
    return heads


__all__ = ["IDLE", "MOST", "STATED", "Conversations", "Named", "heads_of", "prompt_of"]
