"""The provenance of one session: everything that went in, and where any value that comes out came from.

The guard cannot see inside a model, but it sees all of both ends. `Provenance` is told every text and result the
session observes, and traces arguments back to them. It holds no lock: one session's calls are serialized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fiducial.charter.contracts import Role
from fiducial.core.event import Authority
from fiducial.core.ids import SourceId
from fiducial.core.label import Integrity, Label
from fiducial.core.path import PathPattern, show
from fiducial.flow import dates, entities, numbers, rules
from fiducial.flow.declared import spans
from fiducial.flow.index import lane_of
from fiducial.flow.labelling import OutputPaths
from fiducial.flow.laundry import Echo, Laundered
from fiducial.flow.lexer import LEAF, fold, pieces
from fiducial.flow.masking.detect import BUILT_IN, Detection
from fiducial.flow.memory import Memory, Outside, Recalls, as_it_is, texts_of
from fiducial.flow.rules.standing import apart
from fiducial.flow.structure import Root, is_key, leaves, scalar_text, show_place
from fiducial.flow.trace import CONSTANT, Origin, Trace, Where, joined

if TYPE_CHECKING:
    from fiducial.flow.grounding import Grounding

MAX_LEAVES = 256
"""Leaves of one argument that are traced; the rest count as unknown."""
MAX_CHARACTERS = 64 * 1024
"""Characters of one argument that are traced; the rest counts as unknown."""
_EXCERPT = 80
"""Characters shown around a value in an explanation."""
_PER_SAID = 64
"""Bytes of budget for each character of the user's words that `named_by_user` reads."""
_MAX_SAID = 512
"""Values of the user kept traced, a role."""
_USER, _TARGET, _CONTENT, _MAGNITUDE = Origin.USER, Role.TARGET, Role.CONTENT, Role.MAGNITUDE
_TRUSTING = frozenset({"system", "operator", "user"})
_NONE: frozenset[str] = frozenset()
EVERYTHING = (PathPattern("$"),)
"""The whole of a result."""


class Provenance:
    """Traces values back to what the session observed."""

    __slots__ = ("_detection", "_memory", "_named_kinds", "_room", "_said", "_user_texts")

    def __init__(
        self,
        *,
        budget: int,
        laundered: Laundered | None = None,
        detection: Detection = BUILT_IN,
        outside: Outside = as_it_is,
    ) -> None:
        """`budget`: bytes that the index may use; past it values become unknown, never trusted.

        `laundered`: untrusted values that were written out through tools, shared with other sessions of the store.
        `detection`: tells data classes from text. `outside`: what is observed masked, with its values.
        """
        self._detection = detection
        self._memory = Memory(budget, laundered, outside)
        self._user_texts: list[str] = []
        self._room = budget // _PER_SAID
        self._named_kinds: dict[str, frozenset[str]] = {}
        self._said: dict[Role, dict[Any, Trace]] = {role: {} for role in Role}
        """By role: values traced to the user. Nothing observed later makes such a value any less the user's."""

    @property
    def tainted(self) -> bool:
        """Untrusted text was observed that could carry an instruction."""
        return self._memory.tainted

    @property
    def seen(self) -> Label:
        """The join of all labels observed: what an unknown value may carry."""
        return self._memory.seen

    @property
    def size(self) -> int:
        """Bytes in use, at most about."""
        memory = self._memory
        return memory.user.size + memory.record.size + memory.untrusted.size + memory.classed.size

    @property
    def full(self) -> bool:
        """Some kind of source has used up its share of the budget."""
        memory = self._memory
        return memory.user.full or memory.record.full or memory.untrusted.full

    def doubt(self, classes: frozenset[str] = _NONE) -> None:
        """Something untrusted, with data of `classes`, may have been observed that is not known here: what is unknown
        may be from it."""
        self._memory.tainted = True
        self._memory.seen = self._memory.seen | Label(Integrity.UNTRUSTED, classes)

    def observe_text(
        self,
        source: SourceId,
        text: str,
        *,
        authority: Authority,
        integrity: Integrity,
        classes: frozenset[str] = _NONE,
    ) -> Label:
        """A message entered the session. Returns its label."""
        memory = self._memory
        label = Label(integrity, classes, (source,))
        if integrity is not Integrity.TRUSTED:
            lane = memory.untrusted
        elif authority in _TRUSTING:
            lane = memory.user
        else:
            lane = memory.record
        memory.text(source, text, lane, classes)
        if authority == "user" and lane is memory.user:
            self._room -= len(text)
            if self._room >= 0:
                self._user_texts.append(text)
                self._named_kinds.clear()
        memory.seen = memory.seen | label
        return label

    def observe_result(
        self,
        source: SourceId,
        value: Any,
        *,
        label: Label,
        untrusted: Sequence[PathPattern],
        prose: Sequence[PathPattern],
        classes: Mapping[str, Sequence[PathPattern]],
        trusted: Sequence[PathPattern] = EVERYTHING,
        pointed: bool = False,
        echo: Echo | None = None,
        documents: PathPattern | None = None,
        recalls: Recalls | None = None,
    ) -> Label:
        """A tool's result entered the session. Returns the whole result's label.

        `label` is the join of the labels of the call's own arguments; `trusted`, `untrusted`, `prose` and
        `classes` are the contract's output paths; what no path covers is untrusted, and by default the caller vouches
        for everything. `pointed`: the user named this source. `echo`: arguments of the call that nobody trusted chose.
        `documents`: where the ids of documents stand. `recalls`: what is known of the texts that a memory has brought
        back, which are never trusted beyond that.
        """
        memory = self._memory
        paths = OutputPaths(trusted=trusted, untrusted=untrusted, prose=prose, classes=classes, documents=documents)
        observed = memory.result(source, value, label, paths, pointed=pointed, echo=echo, recalls=recalls)
        memory.seen = memory.seen | observed
        return observed

    def trace(
        self,
        parameter: str,
        value: Any,
        role: Role,
        *,
        unit: str | None = None,
        entity: str | None = None,
        keys: frozenset[str] = _NONE,
    ) -> Trace:
        """Where the value of a parameter came from.

        `unit` is the contract's: a magnitude may be written with it (`100 EUR`). `parameter` and `entity` name what is
        traced and do not change the answer. `keys`: object keys that the parameter's schema declares; other keys of an
        object are traced like its values, because whoever chose them chose what they say.
        """
        kind = type(value)
        if kind is str:
            # Other roles may read a text as a moment, whose hour untrusted text may name later.
            lasting = role is _TARGET or role is _CONTENT
        elif value is None or kind is bool:
            return CONSTANT
        else:
            lasting = role is _MAGNITUDE and (kind is float or kind is int)
        if lasting and not self._memory.classed:
            said = self._said[role]
            trace = said.get(value)
            if trace is None:
                trace = self._traced(value, role, unit, keys)
                if trace.origin is _USER and len(said) < _MAX_SAID:
                    said[value] = trace
            return trace
        return self._traced(value, role, unit, keys)

    def _traced(self, value: Any, role: Role, unit: str | None, keys: frozenset[str]) -> Trace:
        if isinstance(value, str):
            if len(value) <= MAX_CHARACTERS:
                return self._scalar(value, role, unit)
        elif isinstance(value, int | float):
            return self._scalar(value, role, unit)
        return self._compound(value, role, unit, keys)

    def _compound(self, value: Any, role: Role, unit: str | None, keys: frozenset[str]) -> Trace:
        traces: list[Trace] = []
        characters = count = 0
        for _, _, raw, key in leaves(value, Root("argument"), exact_indices=False):
            if raw is None or isinstance(raw, bool) or (key and raw in keys):
                continue
            text = raw if type(raw) is str else scalar_text(raw)
            characters += len(text)
            count += 1
            if count > MAX_LEAVES or characters > MAX_CHARACTERS:
                traces.append(Trace(Origin.UNKNOWN, self._memory.seen, composed=True, links=True, untrusted_text=True))
                break
            traces.append(self._scalar(raw, role, unit))
        return joined(traces)

    def _scalar(self, value: Any, role: Role, unit: str | None) -> Trace:
        text = value if isinstance(value, str) else scalar_text(value)
        if not text.strip():
            return CONSTANT
        memory = self._memory
        if role is Role.TARGET:
            return rules.target(memory, text)
        if role is Role.MAGNITUDE:
            return rules.magnitude(memory, value, text, unit)
        if role is Role.OPTION:
            return rules.option(memory, value, text)
        return rules.content(memory, text)

    def stands(self, text: str) -> bool:
        """Whether `text` stands word for word in what the user or those above said, or in a tool's own record."""
        said = text.strip()
        tokens = pieces(said)
        return any(
            lane.leaf(said) is not None or (bool(tokens) and bool(lane.find(said, tokens, apart)))
            for lane in (self._memory.user, self._memory.record)
        )

    def grounding(self, text: str, listed: Sequence[str] = ()) -> Grounding:
        """What of `text` traces to what was observed. `listed`: documents that `[1]`, `[2]`, … stand for in it."""
        # Imported here: sessions whose policies do not ask for it do without.
        from fiducial.flow.corpus import units_of
        from fiducial.flow.grounding import ground

        return ground(text, units_of(self._memory), listed)

    def document_of(self, source: SourceId, path: str) -> str:
        """The id of the document of a result in which `path` (JSONPath text) lies; empty when it lies in none."""
        root = self._memory.roots.get(source)
        for document, name in root.documents.items() if root is not None else ():
            shown = show(document)
            if path == shown or path.startswith((f"{shown}.", f"{shown}[")):
                return name
        return ""

    def named_by_user(self, kind: str) -> frozenset[str]:
        """Folded entities that the user's own words name.

        `kind`: `email`, `url`, `account`, `date` (ISO, where the year is given), `path`, `amount` (plain decimals) or
        `quoted`. Raises `ValueError` for another.
        """
        known = self._named_kinds.get(kind)
        if known is None:
            lex = _KINDS.get(kind)
            if lex is None:
                raise ValueError(f"`{kind}` is not a kind of entity; use one of {', '.join(sorted(_KINDS))}")
            known = frozenset(entity for text in self._user_texts for entity in lex(text))
            self._named_kinds[kind] = known
        return known

    def mask(self, value: Any, classes: frozenset[str]) -> Any:
        """`value` (JSON) with what belongs to `classes` replaced by the class in brackets.

        That is every value observed where a contract declares one of them, and whatever can be told from the text
        itself, also where it is spelled out, encoded (`fiducial.flow.disguise`) or, unless it is a name, backwards.
        Raises `MaskingError` when that cannot be told.
        """
        # Imported here: the detectors are needed by the few calls that are masked.
        from fiducial.flow.disguise import disguises
        from fiducial.flow.masking.detector import Found
        from fiducial.flow.masking.values import mask_with

        classed, detection = self._memory.classed, self._detection

        def declared(text: str) -> list[Found]:
            return [Found(*span) for span in spans(classed, text, classes)] if classed else []

        def finder(text: str, find: Callable[[str, frozenset[str]], list[Found]] = detection.find) -> list[Found]:
            found = declared(text) + find(text, classes)
            for start, end, plain in disguises(text):
                inner = declared(plain) + find(plain, classes)
                found += [Found(start, end, one.data_class) for one in inner[:1]]
            size, turned = len(text), text[::-1]
            backwards = declared(turned) + detection.by_form(turned, classes)
            return found + [Found(size - one.end, size - one.start, one.data_class) for one in backwards]

        return mask_with(value, finder, of_keys=lambda text: finder(text, detection.in_key))

    def text_of(self, source: SourceId) -> str:
        """What was observed as `source`, leaves of a result one a line; empty for a source that is not in the index."""
        root = self._memory.roots.get(source)
        if root is None:
            return ""
        lines: list[str] = []
        for lane in self._memory.lanes:
            for place, chunk, number in texts_of(lane, root):
                start = chunk.starts[number]
                end = chunk.text.find(LEAF, start)
                text = chunk.text[start : end if end >= 0 else len(chunk.text)]
                if not is_key(place):
                    lines.append(text if isinstance(place, Root) else f"{show_place(place)}: {text}")
        return "\n".join(lines)

    def excerpt(self, where: Where, *, around: int = _EXCERPT) -> str:
        """The line that `where` is on and what it says around it, such as `line 4: … to IBAN: GB29 …`.

        Empty when the source is not in the index. `around`: characters shown, half before and half after.
        """
        number = lane_of(where.handle) if where.handle >= 0 else len(self._memory.lanes)
        if number >= len(self._memory.lanes):
            return ""
        lane = self._memory.lanes[number]
        if lane.source(where.handle) != where.source:
            return ""
        line, text = lane.line(where.handle, where.end - where.start, around)
        return f"line {line}: {text}"


def _emails(text: str) -> list[str]:
    return [fold(entities.trim(match[0])) for match in entities.EMAIL.finditer(text)]


def _urls(text: str) -> list[str]:
    return [
        fold(entities.trim(match[0])) for pattern in (entities.URL, entities.DOMAIN) for match in pattern.finditer(text)
    ]


def _accounts(text: str) -> list[str]:
    return [re.sub(r"\s", "", fold(match[0])) for match in entities.ACCOUNT.finditer(text)]


def _paths(text: str) -> list[str]:
    return [fold(entities.trim(match[0])) for match in entities.PATH.finditer(text)]


def _dates(text: str) -> list[str]:
    return [
        f"{found.year}-{found.month:02}-{found.day:02}"
        for found in dates.dates_in(text)
        if isinstance(found, dates.Found) and found.year
    ]


def _amounts(text: str) -> list[str]:
    return [f"{seen.value.normalize():f}" for seen in numbers.numbers_in(text, limit=256)]


def _quoted(text: str) -> list[str]:
    return [fold(next(group for group in match.groups() if group)) for match in entities.QUOTED.finditer(text)]


_KINDS: dict[str, Callable[[str], list[str]]] = {
    "email": _emails,
    "url": _urls,
    "account": _accounts,
    "date": _dates,
    "path": _paths,
    "amount": _amounts,
    "quoted": _quoted,
}
