"""Following an agent by its spans: what they say is said, decided and observed in a session that enforces nothing.

1. Spans that were there before are left out, and the steps of the others are put in the order of their times.
2. What stands in a trace more than once is taken in once: a model is given everything that was said before with every
   request, and a call stands in the request of the model, in the span that is it, and in what the model is given next.
3. A user's words are the user's only where the span is the agent's own: what stands below a tool or another agent is
   that agent's instructions. Where one of the spans above is not there, up to the one that has none above it, nobody
   can tell, and it is an agent's too: a service that is called by an agent's tool begins a trace in its own process.
4. A call whose arguments are told is decided; what came of it is observed, or doubted where it is not told.
5. Whatever cannot be taken in counts as read, by anybody and with data of any class.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from fiducial.core.event import Outcome
from fiducial.core.faults import wordless
from fiducial.core.ids import DecisionId
from fiducial.errors import CallMismatch, StoreError
from fiducial.gateway.otlp.inbox import Call, Known, Place, digest_of
from fiducial.gateway.otlp.steps import Asked, Came, Doubted, Heard, Said, Step, parsed
from fiducial.gateway.unread import doubt
from fiducial.guard.session import Session

log = logging.getLogger("fiducial.gateway")
_UNNAMED: Final = "a tool without a name"
_HIGHEST: Final = 100
"""Spans above one that are looked at."""


def follow(session: Session, known: Known, spans: Iterable[Heard]) -> None:
    """Take in `spans`, and note in `known` what was. Raises `StoreError` and `SessionError` when it can be gone on with
    later; what was taken in until then is noted."""
    _Following(session, known).run(spans)


class _Following:
    def __init__(self, session: Session, known: Known) -> None:
        self._session, self._known = session, known

    def run(self, spans: Iterable[Heard]) -> None:
        fresh = {span.id: span for span in spans if span.id not in self._known.spans}
        places = {id: Place(span.parent, span.kind, span.name) for id, span in fresh.items()}
        self._places = {**self._known.spans, **places}
        steps = [(step.at_ns, span, step) for span in fresh.values() for step in span.steps]
        left = {span.id: len(span.steps) for span in fresh.values()}
        # The sort is stable: of one span, and of spans of one time, the order stays.
        for _, span, step in sorted(steps, key=lambda each: each[0]):
            self._take(span, step)
            left[span.id] -= 1
            if not left[span.id]:
                self._known.spans[span.id] = places[span.id]
        self._known.spans.update(places)
        self._known.rooted = self._known.rooted or first_in(fresh.values())

    def _take(self, span: Heard, step: Step) -> None:
        self._session.must_be_open()
        try:
            match step:
                case Said():
                    self._said(span, step)
                case Asked():
                    self._asked(span, step)
                case Came():
                    self._came(span, step)
                case Doubted():
                    self._doubt(step.what)
        except StoreError:
            raise
        except Exception as error:
            self._session.must_be_open()
            log.error("a step of a span cannot be taken in, and is doubted", exc_info=wordless(error))
            self._doubt("a step that could not be taken in")

    # --- what was said

    def _said(self, span: Heard, step: Said) -> None:
        authority = step.authority
        if authority == "user" and self._below_another(span):
            authority = "agent"
        if authority == "agent" and self._digest("said", "user", step.text) in self._known.texts:
            return
        if self._first("said", authority, step.text):
            self._session.say(step.text, authority=authority)

    def _below_another(self, span: Heard) -> bool:
        """Whether the span is not for sure the agent's own."""
        place = Place(span.parent, span.kind, span.name)
        below: str | None = None  # the nearest agent's name, so far; empty for one of which it is not told
        for _ in range(_HIGHEST):
            match place.kind:
                case "tool":
                    return True
                case "agent" if below is not None and not below == place.name != "":
                    return True
                case "agent":
                    below = place.name
                case "workflow":
                    # The agents in it are its own, whoever is above.
                    below = ""
            if not place.parent:
                return False
            above = self._places.get(place.parent)
            if above is None:
                return True
            place = above
        return True

    # --- calls

    def _asked(self, span: Heard, step: Asked) -> None:
        if step.running and self._inside_same(span, step.tool):
            return
        given = b"" if step.arguments is None else self._digest("given", _text(step.arguments))
        call = self._call(span, step, given)
        if call is None:
            call = Call(ids=[], tool=step.tool)
            self._known.calls.append(call)
        ids = (step.call or self._unnamed(step), self._own(span, step))
        call.ids += [id for id in ids if id and id not in call.ids]
        call.ran = call.ran or step.running
        if given and not call.given and not call.done:
            call.given = given
            call.decision = self._session.decide(step.tool or _UNNAMED, step.arguments).decision

    def _call(self, span: Heard, step: Asked, given: bytes) -> Call | None:
        """The call that `step` is about, when it stands somewhere else in the trace as well.

        Some models number their calls, anew in each turn: an id alone does not say which it is, and what a model asks
        for once its result is there is another call.
        """
        ids = {step.call or self._unnamed(step), self._own(span, step)} - {""}
        nameless = step.running and not step.call
        for call in reversed(self._known.calls):
            named = ids.intersection(call.ids) or (nameless and not call.done)
            fits = call.tool == step.tool and (not given or not call.given or given == call.given)
            again = (step.running and call.ran) or (step.fresh and call.done and call.done_ns <= step.at_ns)
            if named and fits and not again:
                return call
        return None

    def _came(self, span: Heard, step: Came) -> None:
        if step.running and self._inside_same(span, step.tool):
            return
        ids = {step.call, self._own(span, step)} - {""}
        call = next((each for each in reversed(self._known.calls) if ids.intersection(each.ids)), None)
        fresh = self._first("came", step.call or step.tool, _gist(step.result), step.error or "")
        if not step.running and not fresh:
            return
        if call is not None and (call.done or (call.ran and not step.running)):
            # Told already, or the span that is the call will tell. Whatever else is told was read as well.
            if fresh:
                self._unmatched(call.tool, step)
            return
        self._observe(call, step)
        if not step.told:
            self._doubt(f"what `{step.tool}` gave back is not told", again=True)
        if call is not None:
            call.done, call.done_ns = True, step.at_ns

    def _observe(self, call: Call | None, step: Came) -> None:
        if call is not None and call.decision:
            try:
                asked = self._session.awaited(DecisionId(call.decision)).request
                self._session.observe(
                    asked.tool, asked.arguments, step.result, decision=DecisionId(call.decision),
                    outcome=_outcome(step), error=step.error,
                )  # fmt: skip
                return
            except CallMismatch:
                # The decision is no longer awaited; the result was read all the same.
                pass
        self._unmatched(call.tool if call is not None else step.tool, step)

    def _unmatched(self, tool: str, step: Came) -> None:
        """Take in what no decision is for: by which arguments it was had nobody can tell, so it is the result of no
        tool that is known."""
        if step.told:
            name = f"{tool or _UNNAMED}, by arguments that are not told"
            self._session.observe(name, {}, step.result, outcome=_outcome(step), error=step.error)

    def _inside_same(self, span: Heard, tool: str) -> bool:
        """Whether the span right above is the call of the same tool: a client's and its protocol's are one."""
        above = self._places.get(span.parent)
        return above is not None and above.kind == "tool" and above.name == tool

    @staticmethod
    def _own(span: Heard, step: Asked | Came) -> str:
        return f"span {span.id.hex()}" if step.running else ""

    def _unnamed(self, step: Asked) -> str:
        """Stands for the id of a call that has none, wherever the model's messages repeat it."""
        return "" if step.running else "unnamed " + self._digest(step.tool, _text(step.arguments)).hex()

    # --- the rest

    def _doubt(self, what: str, *, again: bool = False) -> None:
        if again or self._first("doubted", what):
            doubt(self._session, what)

    def _digest(self, *parts: str) -> bytes:
        return digest_of(self._known.salt, *parts)

    def _first(self, *parts: str) -> bool:
        """Whether it was not there before."""
        key = self._digest(*parts)
        if key in self._known.texts:
            return False
        self._known.texts[key] = None
        return True


def _outcome(step: Came) -> Outcome:
    return "failed" if step.failed else "ok"


def _gist(value: Any) -> str:
    """The same for a result wherever the trace repeats it, as structure or as the text of one."""
    try:
        return json.dumps(parsed(value), sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        return _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def first_in(spans: Iterable[Heard]) -> bool:
    """Whether the first span of the trace is there: it comes last."""
    return any(not span.parent for span in spans)


def outermost(spans: Sequence[Heard]) -> list[Heard]:
    """`spans`, those that have the fewest of them above first."""
    parents = {span.id: span.parent for span in spans}

    def depth(span: Heard) -> int:
        above = 0
        parent = span.parent
        while parent in parents and above < _HIGHEST:
            above, parent = above + 1, parents[parent]
        return above

    return sorted(spans, key=depth)


__all__ = ["first_in", "follow", "outermost"]
