"""One request to a model and its answer: what the model reads is taken in, what it wants is decided.

The session hears what the model hears: where data classes are masked, with tokens in their places, so that no value of
them is in its log either. What goes to the client has the values again, of the classes that may be restored: in a call,
that is decided with the call; in a text, by deciding an answer (`respond`) that is the token alone, for each token.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from fiducial.charter.contracts import Audience
from fiducial.core.event import Outcome
from fiducial.core.faults import wordless
from fiducial.core.ids import DecisionId
from fiducial.core.verdict import Allowed, Held, Unclear, Verdict
from fiducial.errors import CallMismatch, SessionError, StoreError
from fiducial.flow.masking.links import Links
from fiducial.flow.masking.streams import RestoreStream
from fiducial.flow.masking.tokens import LONGEST
from fiducial.flow.masking.values import restore, restore_text
from fiducial.gateway.decisions import decided
from fiducial.gateway.model.masking import Granted, Masking
from fiducial.gateway.model.outgoing import masked_part
from fiducial.gateway.model.steps import Asked, Came, Own, Part, Said, Step
from fiducial.gateway.model.thoughts import Thoughts
from fiducial.gateway.requests import Requests
from fiducial.gateway.sessions import Seat
from fiducial.gateway.threads import APART
from fiducial.guard.heard import hear, know, see
from fiducial.guard.session import Session
from fiducial.guard.tool import classes_of

log = logging.getLogger("fiducial.gateway")
_ALIKE: Final = 16
"""Calls of one id that are remembered."""
_CALLS: Final = 10_000
"""Calls of one conversation that are remembered."""
RESTORED: Final = 100
"""Tokens of which it is decided, in the texts of one answer, whether they go to the client; further ones stay."""
_UNTOLD: Final = "`{tool}`, by arguments that cannot be read"
_NOWHERE: Final = "a tool that is not told"
_NOT_DONE: Final = "`{tool}` was not called. {why}"
_AGAIN: Final = " The request is {request}. Make the same call again once it was answered."
BROKEN: Final = "What is allowed could not be decided; tell the user."


class Call(msgspec.Struct):
    """A call that the model asked for."""

    tool: str
    arguments: Any
    decision: DecisionId | None = None
    """What was decided of it, until what came of it is told."""


class Conversation:
    """What is known of a conversation beside its session."""

    def __init__(self, key: object, session: str, host: str, masking: Masking | None) -> None:
        """`key`: by which it is found again; `session`: empty until it has begun."""
        self.key, self.session, self.host, self.masking = key, session, host, masking
        self.calls: OrderedDict[str, list[Call]] = OrderedDict()
        """Id → the calls that were asked for by it: some providers count them anew in each answer."""
        self.owed: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()
        """Answer of the provider's → what it is still to hear when it goes on from that."""
        self.thoughts = masking.thoughts if masking is not None else Thoughts()
        self.given: OrderedDict[str, None] = OrderedDict()
        """Names that the provider gave to what it keeps."""
        self._came: set[bytes] = set()
        self.at_work = 0
        """Requests under way: nobody ends it meanwhile."""

    def begin(self, session: str) -> None:
        """A session begins, which knows nothing yet."""
        self.session = session
        self.calls.clear()
        self._came.clear()

    def asked(self, id: str, call: Call) -> None:
        """The model asked for a call."""
        self.calls.setdefault(id, []).append(call)
        self.calls.move_to_end(id)
        del self.calls[id][:-_ALIKE]
        if len(self.calls) > _CALLS:
            self.calls.popitem(last=False)

    def tools_of(self, call: str) -> set[str]:
        """Tools of the calls that were asked for by that id."""
        return {each.tool for each in self.calls.get(call, ())}

    def answered(self, answer: str, owed: list[dict[str, Any]], given: Iterable[str]) -> None:
        """The provider gave an answer, named `answer` where it can go on from it, and names in it."""
        if answer:
            self.owed[answer] = owed
        self.given.update(dict.fromkeys(given))
        for kept in (self.owed, self.given):
            while len(kept) > _CALLS:
                kept.popitem(last=False)

    def take_in(self, session: Session, steps: Iterable[Step]) -> None:
        """What a request tells the model, as far as it is new. Raises `StoreError` and `SessionError`."""
        asked: dict[str, Asked] = {}
        came: Counter[str] = Counter()
        if self.masking is not None:
            session.reads_masked(self.masking)
        for step in steps:
            match step:
                case Said():
                    hear(session, step.text, step.authority)
                case Own():
                    # What the model said here is known; anything else may be anybody's.
                    hear(session, step.text, "agent")
                case Part():
                    if step.value not in self.thoughts:
                        see(session, step.where, step.value)
                case Asked():
                    asked[step.call] = step
                    if all(call.tool != step.tool for call in self.calls.get(step.call, ())):
                        self.asked(step.call, Call(step.tool, step.arguments))
                case Came():
                    call = self._called(self.calls.get(step.call, []), asked.get(step.call))
                    self._take_in(session, step, call, came[step.call])
                    came[step.call] += 1

    def _called(self, known: list[Call], asked: Asked | None) -> Call | None:
        """Which of the calls of one id a result is of, that the request tells of behind `asked`; `None` when it could
        be of several."""
        if asked is not None:
            known = [call for call in known if call.tool == asked.tool]
            if len(known) > 1:
                known = [call for call in known if asked.arguments in self._forms(call)][-1:] or known
        return known[0] if len(known) == 1 else None

    def _forms(self, call: Call) -> list[Any]:
        """Arguments of a call as a request may tell them."""
        masking = self.masking
        return [call.arguments] if masking is None else [call.arguments, masking.again(call.tool, call.arguments)]

    def _take_in(self, session: Session, step: Came, call: Call | None, number: int) -> None:
        """`number`: how many results of calls of this id came before in the request."""
        told_by = [step.call, number, step.result, step.failed]
        mark = hashlib.sha256(msgspec.json.encode(told_by, order="sorted")).digest()
        if mark in self._came:
            return
        outcome: Outcome = "failed" if step.failed else "ok"
        error = str(step.result) if step.failed else None
        if call is None:
            session.observe(_NOWHERE, {}, step.result, outcome=outcome, error=error)
        elif not isinstance(call.arguments, Mapping):
            session.observe(_UNTOLD.format(tool=call.tool), {}, step.result, outcome=outcome, error=error)
        else:
            told = partial(session.observe, call.tool, call.arguments, step.result, outcome=outcome, error=error)
            decision, call.decision = call.decision, None
            try:
                told(decision=decision)
            except CallMismatch:
                told()
        self._came.add(mark)


class Taken(NamedTuple):
    """A conversation, and where its session is."""

    conversation: Conversation
    seat: Seat


class Passed(NamedTuple):
    """The call goes to the client."""

    arguments: Any
    """As the tool gets them; as the model wrote them, where they cannot be read."""


class Withheld(NamedTuple):
    """The call does not go to the client."""

    told: str
    """What is said in its place."""


class Rules(msgspec.Struct, frozen=True):
    """What holds for the answers of a model."""

    decides: bool = True
    """Calls are decided here, and held back where they may not be made."""
    restores: frozenset[str] = frozenset()
    """Classes of data that are put back for the client, where policies let them."""
    audience: str = Audience.SELF.value
    """Who gets to see the answers."""
    wait: float = 0.0
    """Seconds for which a call waits for people."""


class Turn:
    """One answer."""

    def __init__(
        self, taking: asyncio.Task[Taken], rules: Rules, requests: Requests, masking: Masking | None = None, *,
        model: str = "", streams: bool = False, in_json: bool = False, looks_up: bool = False,
    ) -> None:  # fmt: skip
        """`taking`: ends when what the model reads is taken in. Until then, texts go to the client; no call does, and
        no answer ends. `in_json`: its texts are JSON. `looks_up`: the provider may look something up for it."""
        self._taking, self._rules, self._requests, self._masking = taking, rules, requests, masking
        self._model, self._in_json = model, in_json
        self._outside, self._doubted = looks_up, False
        self.streams = streams
        """The answer was asked for in pieces."""
        self._vault = masking.returning if masking is not None and rules.restores else None
        self._asked: set[str] = set()
        """Tokens of which it was decided whether they go to the client in texts."""
        self._granted = Granted(self._vault) if self._vault is not None else None
        """Those that do."""
        self._left = RESTORED
        self.answer = ""
        """The provider's name for the answer, where it can go on from it."""
        self.owed: list[dict[str, Any]] = []
        """What the provider is to hear when it goes on from the answer."""
        self._given: list[str] = []
        self._wrote: list[tuple[str, bool]] = []
        """Texts, and whether they may be somebody else's words."""
        self._own: list[Any] = []
        self._read: list[Part] = []

    @property
    def decides(self) -> bool:
        """No call goes on that was not decided."""
        return self._rules.decides

    @property
    def whole(self) -> bool:
        """Calls go on only when they are whole."""
        return self._rules.decides or self._vault is not None

    async def text(self, text: str) -> str:
        """A whole text, as the client gets it: nobody decides who gets what stands in its links. Raises as `taken`
        does, where a value is to be put back."""
        return await self._restored(text, in_json=self._in_json)

    async def plain(self, text: str) -> str:
        """A whole text that is no JSON in any case, as the client gets it. Raises as `text` does."""
        return await self._restored(text, in_json=False)

    async def _restored(self, text: str, *, in_json: bool) -> str:
        if self._granted is None:
            return text
        await self.ask(text)
        return restore_text(text, self._granted, self._rules.restores, in_json=in_json, links=Links())

    async def ask(self, text: str) -> None:
        """Decide of each token in `text` whether its value goes to the client, once in an answer. Raises as `taken`
        does, and for nothing that the guard does: then it does not."""
        if self._masking is None or self._granted is None:
            return
        for token, name in self._masking.standing_in(text).items():
            if name not in self._rules.restores or token in self._asked:
                continue
            if not self._left:
                return
            taken = await self.taken()
            await self._doubt(taken.seat)
            self._asked.add(token)
            self._left -= 1
            try:
                told = partial(taken.seat.session.respond, token, audience=self._rules.audience)
                verdict = (await taken.seat.apart(told)).verdict
            except Exception as error:
                log.error("whether values go back to the client could not be decided", exc_info=wordless(error))
                continue
            if not verdict.enforced or (isinstance(verdict, Allowed) and name not in verdict.masks):
                self._granted.add(token)

    def masked(self, text: str) -> str:
        """A text of the gateway's own, as the provider gets it: it may hold what people said."""
        return text if self._masking is None else self._masking.text(text)

    def value(self, value: Any) -> Any:
        """A whole value, as the client gets it."""
        return value if self._vault is None else restore(value, self._vault, self._rules.restores)

    def stream(self, *, plain: bool = False) -> Restoring | None:
        """Restores a text that comes in pieces; `None` when there is nothing to restore. `plain`: it is no JSON."""
        if self._granted is None:
            return None
        in_json = self._in_json and not plain
        stream = RestoreStream(self._granted, self._rules.restores, in_json=in_json, links=Links())
        return Restoring(self, stream)

    @property
    def ready(self) -> bool:
        """Nothing waits for what the model reads to be taken in."""
        return self._taking.done()

    async def taken(self) -> Taken:
        """Once what the model reads is taken in. Raises why it could not be."""
        # Whoever waits may be cancelled; this goes on.
        return await asyncio.shield(self._taking)

    @staticmethod
    def cut(tool: str) -> Withheld:
        """What becomes of a call that the answer broke off in."""
        return Withheld(_NOT_DONE.format(tool=tool, why="The answer broke off before the call was whole."))

    async def call(self, id: str, tool: str, arguments: Any) -> Passed | Withheld:
        """What becomes of a call that the model asks for. Raises as `taken` does, and for nothing that the guard does:
        then it is withheld."""
        taken = await self.taken()
        await self._doubt(taken.seat)
        if self._masking is not None:
            # A model may know values from elsewhere.
            id = self._masking.name(id)
            masked = partial(self._masking.value, arguments)
            large = len(msgspec.json.encode(arguments)) * self._masking.cost >= APART
            arguments = await taken.seat.apart(masked) if large else masked()
        if not self._rules.decides:
            taken.conversation.asked(id, Call(tool, arguments))
            return Passed(self.value(arguments))
        if not isinstance(arguments, dict):
            return Withheld(_NOT_DONE.format(tool=tool, why="Its arguments are no JSON object that can be read."))
        try:
            return await self._decided(taken, id, tool, arguments)
        except Exception as error:
            log.error("a call of the model's could not be decided", exc_info=wordless(error))
            return Withheld(_NOT_DONE.format(tool=tool, why=BROKEN))

    async def _decided(self, taken: Taken, id: str, tool: str, arguments: dict[str, Any]) -> Passed | Withheld:
        size, seat = len(msgspec.json.encode(arguments)), taken.seat
        unmasked = None if self._vault is None else partial(self._values, arguments)
        verdict, given = await decided(seat, tool, arguments, None, size, unmasked)
        if verdict.enforced and (hold := _request(verdict)) is not None and self._rules.wait:
            state = await self._requests.state(seat.session.id, hold, self._rules.wait, seat.host)
            if not state.open:
                verdict, given = await decided(seat, tool, arguments, None, size, unmasked)
        if verdict.enforced and not isinstance(verdict, Allowed):
            hold = _request(verdict)
            why = (verdict.remedies.agent or "It may not be.") + (_AGAIN.format(request=hold) if hold else "")
            return Withheld(_NOT_DONE.format(tool=tool, why=why))
        taken.conversation.asked(id, Call(tool, arguments, verdict.decision))
        given = arguments if given is None else given
        masks = verdict.masks if isinstance(verdict, Allowed) and verdict.enforced else ()
        if self._vault is None:
            return Passed(given)
        return Passed(restore(given, self._vault, self._rules.restores.difference(masks)))

    def _values(self, arguments: Any) -> Any:
        """Arguments as the tool gets them; their keys stay masked, which a verdict may name."""
        if isinstance(arguments, dict):
            return {key: self._values(each) for key, each in arguments.items()}
        return [self._values(each) for each in arguments] if isinstance(arguments, list) else self.value(arguments)

    def wrote(self, text: str) -> None:
        """The client got a text of the model's, and will send it along from now on."""
        if text:
            self._wrote.append((text, self._outside))

    def own(self, part: Any, *, found: bool = False) -> None:
        """The model gave `part` along with its words; `found`: it is from outside, where something was looked up."""
        if found and self._outside:
            self.read(Part("what came with an answer", part))
        else:
            self._own.append(part)

    def gave(self, name: str) -> None:
        """The provider keeps something of the answer by that name."""
        self._given.append(name)

    def looked_up(self) -> None:
        """Something was looked up, or done, at the provider: what is said from here on may be anybody's words, and
        nobody here has seen all that the model has. What was decided about values before does not hold for it."""
        if not self._outside and self._granted is not None:
            self._asked.clear()
            self._granted.clear()
        self._outside = True

    def read(self, part: Part) -> None:
        """The model read something at its provider's."""
        self._read.append(part)

    async def settle(self) -> None:
        """Keep what the client is about to get: its next request may come as soon as it has it. Raises as `taken` does,
        as soon as that is known."""
        if self._taking.done():
            self._taking.result()
        if self.answer or (self._taking.done() and self._given):
            given, self._given = self._given, []
            (await self.taken()).conversation.answered(self.answer, self.owed, given)
        if self._wrote or self._read or (self._taking.done() and self._own):
            wrote, self._wrote, read, self._read = self._wrote, [], self._read, []
            own, self._own = self._own, []
            taken = await self.taken()
            await self._doubt(taken.seat)
            await taken.seat.apart(partial(self._settled, taken, wrote, read, own))

    async def _doubt(self, seat: Seat) -> None:
        """Where something was looked up, what the session knows is not all that the model has read."""
        if self._outside and not self._doubted:
            await seat.apart(partial(_doubted, seat.session))
            self._doubted = True

    def _settled(self, taken: Taken, wrote: list[tuple[str, bool]], read: list[Part], own: list[Any]) -> None:
        masking, session, thoughts = self._masking, taken.seat.session, taken.conversation.thoughts
        for each in own:
            thoughts.add(each)
            if masking is not None:
                thoughts.add(masked_part(each, masking))
        model = self._model
        if masking is not None:
            model, wrote = masking.name(model), [(masking.given(text), outside) for text, outside in wrote]
        for text, _ in wrote:
            session.answered(text, model=model)
        try:
            for text, outside in wrote:
                if outside:
                    hear(session, text, "tool")
                else:
                    know(session, text, by="agent")
            for part in read:
                see(session, part.where, part.value if masking is None else masked_part(part.value, masking))
        except (StoreError, SessionError) as error:
            # The client sends it with its next request, and it is taken in then.
            log.error("what a model read could not be kept: %s", error)


class Restoring:
    """Restores a text that comes in pieces."""

    def __init__(self, turn: Turn, stream: RestoreStream) -> None:
        self._turn, self._stream, self._last = turn, stream, ""

    async def feed(self, piece: str) -> str:
        """What can be given out after `piece`. Raises as `Turn.text` does."""
        text = self._last + piece
        self._last = text[-LONGEST:]
        await self._turn.ask(text)
        return self._stream.feed(piece)

    def close(self) -> str:
        """The rest."""
        return self._stream.close()


def _doubted(session: Session) -> None:
    with session.lock:
        session.doubt(classes_of(*session.tools.values()))


def _request(verdict: Verdict) -> Any:
    return verdict.hold if isinstance(verdict, (Held, Unclear)) else None


__all__ = ["Call", "Conversation", "Passed", "Restoring", "Rules", "Taken", "Turn", "Withheld"]
