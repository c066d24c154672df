"""What a session knows: what was said to it, what it has seen, and where each value of a call came from."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Protocol
from weakref import WeakSet

from fiducial.charter.contracts import Kind, Role
from fiducial.core.event import Authority
from fiducial.core.ids import DecisionId, SessionId, SourceId, mint
from fiducial.core.label import TRUSTED, UNTRUSTED, Integrity, Label
from fiducial.core.path import PathPattern
from fiducial.core.store import Add, Put
from fiducial.errors import SessionError, StoreError
from fiducial.flow.masking.tokens import stand_in
from fiducial.flow.provenance import EVERYTHING, Provenance
from fiducial.flow.structure import texts_in
from fiducial.flow.trace import Origin, Trace
from fiducial.guard import remembered
from fiducial.guard.desk import Reply
from fiducial.guard.facts import arguments_label, echo_of
from fiducial.guard.ground import Ground, Past
from fiducial.guard.intent import Intent
from fiducial.guard.judgement import Judgement
from fiducial.guard.kinds import kinds_in
from fiducial.guard.streams import Feed
from fiducial.guard.tool import Tool
from fiducial.policy.facts import IntentFacts

MAX_WORDS = 4096
"""Words of instructions that are traced one by one; longer ones are untrusted once anything untrusted was read."""
_NAME = 6
"""Characters of the shortest word, other than letters alone, that could be somebody's name in disguise."""
_AROUND = ".,;:!?\"'()[]{}<>“”‘’`"
_REPLY_BUDGET = 2**20
"""Bytes of index for one answer of the user."""
_WRITING = frozenset({Kind.CREATE, Kind.UPDATE})
"""Kinds of act whose targets are objects that can be read back; others have targets whom they reach."""
_NONE: frozenset[str] = frozenset()


class Unmasks(Protocol):
    """Knows what tokens stand for that a session reads in the place of values."""

    def outside(self, value: Any) -> Any:
        """`value` (a text or JSON) with the values that are known in the place of their tokens."""
        ...


class Knowledge:
    """What one session knows of what was said and seen."""

    id: SessionId
    user: str
    """On whose behalf."""

    def __init__(self, ground: Ground) -> None:
        about = ground.charter.about
        self.ground = ground
        self.clock = ground.clock
        self.tools = ground.tools
        self.lock = threading.RLock()
        """Held for steps 3 to 8, and whenever something is taken in."""
        self._masked = WeakSet[Unmasks]()
        self.provenance = Provenance(
            budget=about.session_memory,
            laundered=ground.laundry.known,
            detection=ground.detection,
            outside=self.outside,
        )
        self.feeds: list[Feed] = []
        """Streams that are being read."""
        self._past = Past()
        self._intent = Intent(kinds_in, budget=about.session_memory // 8)
        self._unsaid = about.session_memory // 8
        """Characters that may still be kept to be passed on."""
        self._about: dict[SourceId, str] = {}
        self._said: list[tuple[Authority, str, Integrity]] = []
        self._known = False
        self._words: dict[tuple[str, bool], IntentFacts] = {}
        self._came_back: dict[SourceId, tuple[DecisionId, ...]] = {}
        """By result whose record is not made yet: items of a memory of which something came back in it."""
        self._replies: dict[str, dict[str, Reply]] = {}
        self._replied: dict[str, dict[str, Provenance]] = {}
        """Tool → parameter → what the user answered to a question about it: trusted for that alone."""

    def reads_masked(self, unmasks: Unmasks) -> None:
        """Some of what comes in here is masked. What it is outside is asked for as long as `unmasks` is kept elsewhere,
        to know it again in other sessions, where its tokens are others: of that, keyed hashes are kept alone."""
        with self.lock:
            self._masked.add(unmasks)

    def outside(self, value: Any) -> Any:
        """What is read here, with values in the place of the tokens whose values are known."""
        if self._masked:
            with self.lock:
                for each in self._masked:
                    value = each.outside(value)
        return value

    def carried(self, text: str) -> tuple[Integrity, frozenset[str]]:
        """What this session would pass on with `text`: whether a third party could have chosen any of it, and its data
        classes. Called with the lock held.
        """
        self.catch_up()
        trace = self.provenance.trace("instructions", text, Role.CONTENT)
        return (Integrity.UNTRUSTED if self.chosen(text, trace) else Integrity.TRUSTED), trace.classes

    def chosen(self, text: str, trace: Trace) -> bool:
        """Whether a third party could have chosen any of `text`, which is content; `trace`: where it came from. Called
        with the lock held."""
        provenance = self.provenance
        if provenance.seen.trusted and not provenance.tainted:
            return False
        if provenance.tainted or trace.origin is Origin.UNTRUSTED or trace.untrusted_text or trace.links:
            return True
        # What was read could not give orders, but it may have named what the text names, or be it in disguise.
        words = text.split()
        for word in words[:MAX_WORDS]:
            name = word.strip(_AROUND)
            origin = provenance.trace("instructions", name, Role.TARGET).origin
            disguise = origin is Origin.UNKNOWN and len(name) >= _NAME and not name.isalpha()
            if origin is Origin.UNTRUSTED or disguise:
                return True
        return len(words) > MAX_WORDS

    def hear(
        self,
        source: SourceId,
        text: str,
        authority: Authority,
        integrity: Integrity,
        classes: frozenset[str] = _NONE,
    ) -> None:
        """Somebody said something, holding data of `classes`. Called with the lock held.

        Untrusted words have no more authority than another agent's, whoever they are said to be from.
        """
        self.provenance.observe_text(source, text, authority=authority, integrity=integrity, classes=classes)
        self._about[source] = {"user": "the user's message", "agent": "another agent's message"}.get(
            authority, f"the {authority}'s text"
        )
        self._past.tainted = self._past.tainted or self.provenance.tainted
        trusted = integrity is Integrity.TRUSTED
        if authority != "tool":
            self._intent.hear(text, authority if trusted else "agent")
        if authority in ("system", "operator", "user"):
            self._unsaid -= len(text)
            if self._unsaid >= 0:
                self._said.append((authority, text, integrity))
        self._known = self._known or (authority == "user" and trusted)
        self._words.clear()

    def doubt(self, classes: frozenset[str]) -> None:
        """Something untrusted, with data of `classes`, may have been read that is not known here. Called with the lock
        held."""
        self.provenance.doubt(classes)
        self._past.tainted = True
        self.has_read(classes)

    @property
    def read(self) -> frozenset[str]:
        """Classes of the data that was read. Called with the lock held."""
        return self._past.read

    def has_read(self, classes: Iterable[str]) -> None:
        """The log says that data of `classes` was read. Called with the lock held."""
        self._past.read |= frozenset(classes)

    def catch_up(self) -> None:
        """Make known what has come of streams so far. Called with the lock held."""
        for feed in list(self.feeds):
            if feed.dropped:
                feed.end("unknown", "the stream was not read to its end")
            elif (news := feed.news()) is not None:
                source = SourceId(mint("src", self.clock.unix_us() // 1000))
                self.take_in(source, feed.judgement, news, failed=False, partial=True)

    def traces(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Trace]:
        """Step 4, with the lock held: where each argument came from."""
        if self.feeds:
            self.catch_up()
        trace, parameters = self.provenance.trace, tool.parameters
        replied = self._replied.get(tool.name)
        traces = {}
        for name, value in arguments.items():
            parameter = parameters[name]
            role, unit, entity = parameter.role, parameter.unit, parameter.entity
            traces[name] = trace(name, value, role, unit=unit, entity=entity, keys=parameter.keys)
            if replied is not None and name in replied:
                answer = replied[name].trace(name, value, role, unit=unit, entity=entity, keys=parameter.keys)
                if answer.origin is Origin.USER:
                    traces[name] = answer
        return traces

    def heard_about(self, tool: str) -> bool:
        """Whether an answer about a parameter of `tool` counts."""
        return bool(self._replies.get(tool))

    def replied(self, tool: str, replies: Mapping[str, Reply]) -> bool:
        """Take in what the user answered about parameters of `tool`; returns whether anything of it is new."""
        if self._replies.get(tool, {}) == replies:
            return False
        self._replies[tool] = dict(replies)
        self._replied[tool] = {}
        for parameter, reply in replies.items():
            answer = self._replied[tool][parameter] = Provenance(budget=_REPLY_BUDGET)
            answer.observe_text(SourceId(reply.hold), reply.text, authority="user", integrity=Integrity.TRUSTED)
            self._about[SourceId(reply.hold)] = "the user's answer"
        return True

    @property
    def said(self) -> tuple[tuple[Authority, str, Integrity], ...]:
        """What the user and those above said, in order, and how far it may be trusted.

        Raises `SessionError` when that is more than is kept: part of it might allow what the rest forbids.
        """
        if self._unsaid < 0:
            raise SessionError("too much was said in this session for it to be passed on; open a new one")
        return tuple(self._said)

    def obtained(
        self,
        source: SourceId,
        name: str,
        arguments: Mapping[str, Any],
        result: Any,
        *,
        failed: bool = False,
        error: str | None = None,
        at_us: int | None = None,
    ) -> Label:
        """Take in a result that was obtained with no decision, and what the tool said when it failed. `at_us`: when it
        was, if not now. Called with the lock held."""
        tool = self.tools.get(name)
        fits = tool is not None and not tool.check(arguments)
        traces = self.traces(tool, arguments) if tool is not None and fits else {}
        failed = failed or (not fits and bool(arguments))
        return self.index(source, tool, name, arguments, result, traces, failed=failed, error=error, at_us=at_us)

    def take_in(
        self,
        source: SourceId,
        judgement: Judgement,
        value: Any,
        *,
        failed: bool,
        partial: bool = False,
        error: str | None = None,
        at_us: int | None = None,
    ) -> Label:
        """Step 10: label a result and make it known to later traces. Called with the lock held.

        `partial`: it is a piece of what is still being read. `error`: what the tool said beside it. `at_us`: when it
        came, if not now.
        """
        tool, request = judgement.tool, judgement.request
        return self.index(
            source,
            tool,
            request.tool,
            request.arguments,
            value,
            judgement.traces,
            failed=failed,
            partial=partial,
            breach=not judgement.may_run,
            ours=request.runs and judgement.may_run,
            error=error,
            at_us=at_us,
        )

    def launder(self, judgement: Judgement) -> tuple[Put | Add, ...]:
        """Remember what a third party may have chosen of what a call writes, so that it stays untrusted when read back.

        After untrusted text was read, that is whatever the model made up too: it may have been told how. What is
        written into an object taints the object.
        """
        tool = judgement.tool
        if tool is None or not tool.side_effect:
            return ()
        known, tainted = self.ground.laundry.known, self.provenance.tainted
        arguments = judgement.request.arguments
        doubtful = [name for name, trace in judgement.traces.items() if trace.doubtful(tainted=tainted)]
        hashes = [
            hash_ for name in doubtful for form in self._forms(arguments[name]) for hash_ in known.add_value(form)
        ]
        if doubtful and tool.contract.kind in _WRITING:
            for name in tool.targets:
                keys = tool.parameters[name].keys
                for form in self._forms(arguments.get(name)):
                    hashes.extend(known.add_object(tool.contract.server, form, keys))
        return self.ground.laundry.changes(judgement.verdict.decision, hashes)

    def _stained(self, tool: Tool, arguments: Mapping[str, Any]) -> bool:
        """A read names an object into which something of a third party's was written, or that cannot be told."""
        try:
            self.ground.laundry.refresh()
        except StoreError:
            return True
        known, server = self.ground.laundry.known, tool.contract.server
        if tool.side_effect:
            return False
        parameters = tool.parameters
        return any(
            known.holds_object(server, form, parameters[name].keys if name in parameters else _NONE)
            for name, value in arguments.items()
            for form in self._forms(value)
        ) or (len(known) > 0 and any(map(stand_in, texts_in(self.outside(dict(arguments))))))

    def _forms(self, value: Any) -> list[Any]:
        """`value` as it is here, and as it is outside."""
        outside = self.outside(value)
        return [value] if outside == value else [value, outside]

    def place(self, trace: Trace) -> str:
        """Where a traced value was first found, in words; empty when nowhere."""
        if not trace.where:
            return ""
        where = trace.where[0]
        about = self._about.get(where.source, "a source")
        if document := self.provenance.document_of(where.source, where.path):
            about = f"the document `{document}` in {about}"
        line, _, text = self.provenance.excerpt(where).partition(": ")
        if where.path != "$":
            line = f"`{where.path}`" if line == "line 1" else f"{line} of `{where.path}`"
        return f"{line} of {about}: “{text.strip()}”" if text else about

    def index(
        self,
        source: SourceId,
        tool: Tool | None,
        name: str,
        arguments: Mapping[str, Any],
        value: Any,
        traces: Mapping[str, Trace],
        *,
        failed: bool = False,
        partial: bool = False,
        breach: bool = False,
        ours: bool = False,
        error: str | None = None,
        at_us: int | None = None,
    ) -> Label:
        """Make a result known to later traces; returns its label. Called with the lock held.

        `failed`: what came of it is unknown, or it was asked for otherwise than the contract says. `breach`: the call
        had not been allowed. Nobody vouches for anything in either. Of what failed or is `partial`, nobody can tell
        where in the result it stands: nothing in a piece is trusted, and each class of the tool may be anywhere in a
        text. So it is with an `error`, which no contract describes. `ours`: the guard ran the call itself; what others
        report of a tool that goes by the name of one of the guard's own, nobody vouches for.
        """
        if error is not None and value is None:
            value, error, failed = error, None, True
        self._about[source] = f"the result of `{name}`{first_short(arguments)}"
        if tool is None:
            label = self.provenance.observe_result(
                source, value, label=UNTRUSTED, untrusted=(), prose=(), classes={}, pointed=False
            )
        else:
            label, classes = arguments_label(tool, traces), tool.classes
            if tool.speaks and ours and not failed:
                # What the agent itself has said is no source of anything, or it could vouch for what it made up.
                return label
            doubted = failed or breach or ((tool.speaks or tool.declares) and not ours)
            if doubted or partial or ((tool.trusted or tool.prose) and self._stained(tool, arguments)):
                label = label | UNTRUSTED
            recall = remembered.recall(self, tool, anywhere=failed, at_us=at_us) if tool.recalls else None
            if classes and (failed or partial) and isinstance(value, (str, bytes, bytearray, memoryview)):
                classes = dict.fromkeys(classes, EVERYTHING)
            label = self.provenance.observe_result(
                source,
                value,
                label=label,
                trusted=tool.trusted,
                untrusted=tool.untrusted,
                prose=tool.prose,
                classes=classes,
                pointed=not doubted
                and tool.contract.kind is not Kind.FETCH
                and recall is None
                and self._points(traces),
                echo=echo_of(tool, traces, arguments) if label.trusted else None,
                documents=tool.documents,
                recalls=recall,
            )
            if recall is not None:
                self._past.read |= recall.read
                if not partial:
                    self._came_back[source] = (*self._came_back.get(source, ()), *recall.back)
                    self._past.strays |= recall.strays and remembered.private(self, tool.recalls)
        if label.classes:
            self._past.read |= label.classes
        if not self._past.tainted and self.provenance.tainted:
            self._past.tainted = True
        if error is not None:
            label = label | self.index(source, tool, name, arguments, error, traces, failed=True, breach=breach)
        return label

    def came_back(self, source: SourceId | None) -> tuple[DecisionId, ...]:
        """Items of a memory of which something came back in a result; told once, for its record."""
        return self._came_back.pop(source, ()) if source is not None else ()

    def recall(
        self, about: str, values: Mapping[str, Any], untrusted: Iterable[str], classes: Mapping[str, Iterable[str]]
    ) -> None:
        """Take `values` in as records of Fiducial's own log, for a call that takes back what the log says was done.

        `untrusted`: names of those that a third party could have chosen when they were first used. `classes`: data
        class → names of those that hold it. Nothing is recorded: the log has it already.
        """
        source = SourceId(mint("src", self.clock.unix_us() // 1000))
        with self.lock:
            self._about[source] = about
            self.provenance.observe_result(
                source,
                values,
                label=TRUSTED,
                untrusted=[_member(name) for name in untrusted],
                prose=(),
                classes={key: [_member(name) for name in names] for key, names in classes.items()},
            )

    def _points(self, traces: Mapping[str, Trace]) -> bool:
        """The user named what a call reads, or handed the task to a document that names it."""
        doubtful = [trace for trace in traces.values() if trace.origin is Origin.UNTRUSTED]
        if not doubtful:
            return any(trace.origin is Origin.USER for trace in traces.values())
        return self._intent.delegated and all(trace.pointed for trace in doubtful)


def _member(name: str) -> PathPattern:
    """The member `name`; everything, when a pattern cannot name it."""
    return PathPattern("$" if "'" in name else f"$['{name}']")


def first_short(arguments: Mapping[str, Any]) -> str:
    """The first short argument, to tell one result from another in explanations."""
    for value in arguments.values():
        if isinstance(value, str) and 0 < len(value) <= 60 and value.isprintable():
            return f" for `{value}`"
    return ""
