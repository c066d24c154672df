"""What only the whole charter can show: names that nothing declares, and parts that contradict each other.

Every name in a charter must be declared somewhere in it: tools in clauses, cases, budgets, previews, post-conditions,
undo and captures; parameters in templates, `cost` and `idempotency_key`; roles in approvals and cases; data classes in
outputs and parameters; currencies in ISO 4217. A misspelt name makes a rule that never fires, which is why each is an
error. Policies are looked at in a layer above, where Cedar is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.contracts import Audience, Capture, Contract, Effect, Kind, Memory, Parameter, Probe, Role, Undo
from fiducial.charter.findings import did_you_mean, quote
from fiducial.charter.model import BUILT_IN, BUILT_IN_ROLES, About, Case, Clause, GivenPlan, PolicySource, Tier
from fiducial.charter.money import EXPONENTS, is_currency
from fiducial.charter.schema import shape
from fiducial.charter.yaml import Document
from fiducial.core.path import Path, PathPattern

ACTS = frozenset(Kind) - {Kind.READ, Kind.FETCH, Kind.EXECUTE, Kind.AUTHENTICATE, Kind.RESPOND}
"""Kinds that are nothing if not a change: one of them with the effect `read` contradicts itself."""

_OUTWARD = {Kind.SEND: Audience.ORGANIZATION, Kind.PUBLISH: Audience.PUBLIC}
_WIDTH = list(Audience)


@dataclass(slots=True)
class Parts:
    """What was read of a charter so far, each part with the document and path where it stands."""

    about: About | None = None
    about_document: Document | None = None
    tools: set[str] = field(default_factory=set)
    """Every tool named in contracts.yaml, those with problems included."""
    contracts_read: bool = True
    """False when contracts.yaml is not YAML: then no tool can be called unknown."""
    contracts: dict[str, tuple[Contract, Document, Path]] = field(default_factory=dict)
    clauses: list[tuple[Clause, Document, Path]] = field(default_factory=list)
    cases: list[tuple[Case, Document, Path]] = field(default_factory=list)
    policies: tuple[PolicySource, ...] = ()


def crosscheck(parts: Parts) -> None:
    """Add to the documents every problem that shows only in the whole."""
    _about(parts)
    for name, (contract, document, path) in parts.contracts.items():
        _Checked(parts, name, contract, document, path).check()
    _clauses(parts)
    _cases(parts)


# ── charter.yaml ──────────────────────────────────────────────────────────────────────────────────────────────────


def _about(parts: Parts) -> None:
    about, document = parts.about, parts.about_document
    if about is None or document is None:
        return
    for code in about.budgets.session.spend:
        if not is_currency(code):
            _not_money(document, ("budgets", "session", "spend", code), code)
    if about.oversight.escalate_to is not None:
        _role(parts, document, ("oversight", "escalate_to"), about.oversight.escalate_to)
    _unique(document, ("budgets", "windows"), [window.name for window in about.budgets.windows], "rate window", "name")
    for index, window in enumerate(about.budgets.windows):
        path: Path = ("budgets", "windows", index)
        if (window.of == "spend") != (window.currency is not None):
            message = "`of: spend` and `currency` go together"
            document.problem(path, "contradiction", message, "add the one that is missing, or drop the other")
        elif window.currency is not None and not is_currency(window.currency):
            _not_money(document, (*path, "currency"), window.currency)
        _acts(parts, document, (*path, "tools"), window.tools)
    for index, name in enumerate(about.data_classes):
        if name in BUILT_IN_CLASSES:
            message = f"the data class {quote(name)} is built in"
            document.problem(("data_classes", index), "repeated-name", message, "drop it", warning=True)
    known = {*BUILT_IN_CLASSES, *about.data_classes}
    for name in about.detect:
        if name not in known:
            fix = did_you_mean(name, known) or "add it to `data_classes`"
            document.problem(("detect", name), "unknown-class", f"the data class {quote(name)} is not declared", fix)
    for entity, name in about.recognize.entities.items() if about.recognize is not None else ():
        if name not in known:
            fix = did_you_mean(name, known) or "add it to `data_classes`"
            at = ("recognize", "entities", entity)
            document.problem(at, "unknown-class", f"the data class {quote(name)} is not declared", fix)
    if about.tier is Tier.CHAT and parts.tools:
        message = f"the tier is `chat`, and contracts.yaml gives the agent {len(parts.tools)} tools"
        document.problem(("tier",), "contradiction", message, "raise the tier, or drop the tools")


def _not_money(document: Document, path: Path, code: str) -> None:
    fix = did_you_mean(code.upper(), EXPONENTS) or "codes are like `USD`, `EUR`, `JPY`"
    document.problem(path, "unknown-currency", f"{quote(code)} is not an ISO 4217 currency", fix)


def _unique(document: Document, at: Path, names: Iterable[str], what: str, key: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            message = f"there are two {what}s called {quote(name)}"
            document.problem((*at, index, key), "repeated-name", message, "rename one of them")
        seen.add(name)


def _acts(parts: Parts, document: Document, at: Path, names: Iterable[str]) -> None:
    """Names that stand for tools, effects or kinds."""
    groups = {*Effect, *Kind}
    for index, name in enumerate(names):
        if name not in groups and name not in BUILT_IN:
            _tool(parts, document, (*at, index), name, groups)


def _tool(parts: Parts, document: Document, path: Path, name: str, besides: Iterable[str] = ()) -> bool:
    """Whether `name` is a tool of the charter; a problem when it is not."""
    if name in parts.tools or not parts.contracts_read:
        return True
    others = list(besides)
    what = "tool, effect or kind" if others else "tool"
    fix = did_you_mean(name, [*sorted(parts.tools), *others]) or "declare it in contracts.yaml"
    document.problem(path, "unknown-tool", f"there is no {what} {quote(name)}", fix)
    return False


# ── intent.yaml ───────────────────────────────────────────────────────────────────────────────────────────────────


def _clauses(parts: Parts) -> None:
    seen: dict[str, int] = {}
    for clause, document, path in parts.clauses:
        first = seen.setdefault(clause.id, document.line((*path, "id")))
        if first != document.line((*path, "id")):
            message = f"there are two clauses called {quote(clause.id)}; the first is in line {first}"
            document.problem((*path, "id"), "repeated-name", message, "rename one of them")
        _acts(parts, document, (*path, "tools"), clause.tools)
        if clause.approval is not None:
            _role(parts, document, (*path, "approval"), clause.approval.partition(":")[0])


def _role(parts: Parts, document: Document, path: Path, role: str) -> None:
    if parts.about is not None and role not in (*BUILT_IN_ROLES, *parts.about.roles):
        fix = did_you_mean(role, parts.about.roles) or "add it to `roles` in charter.yaml"
        document.problem(path, "unknown-role", f"the role {quote(role)} is not declared", fix)


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cases(parts: Parts) -> None:
    seen: dict[str, str] = {}
    for case, document, path in parts.cases:
        where = f"{document.file}:{document.line((*path, 'name'))}"
        first = seen.setdefault(case.name, where)
        if first != where:
            message = f"there are two cases called {quote(case.name)}; the first is in {first}"
            document.problem((*path, "name"), "repeated-name", message, "rename one of them")
        if case.call.tool not in BUILT_IN and case.expect.fault != "unknown-tool":
            _tool(parts, document, (*path, "call", "tool"), case.call.tool)
        given: Path = (*path, "given")
        for index, role in enumerate(case.given.roles):
            _role(parts, document, (*given, "roles", index), role)
        if case.given.plan is not None:
            _plan(parts, document, (*given, "plan"), case.given.plan)
        for index, observed in enumerate(case.given.observed):
            _tool(parts, document, (*given, "observed", index, "tool"), observed.tool)


def _plan(parts: Parts, document: Document, at: Path, plan: GivenPlan) -> None:
    for index, step in enumerate(plan.steps):
        _tool(parts, document, (*at, "steps", index, "tool"), step.tool)
        if step.tool not in parts.contracts:
            continue
        parameters = parts.contracts[step.tool][0].parameters
        for name in step.bounds.keys() - parameters.keys():
            fix = did_you_mean(name, parameters) or "name one of contracts.yaml"
            message = f"{quote(step.tool)} has no parameter {quote(name)}"
            document.problem((*at, "steps", index, "bounds", name), "unknown-parameter", message, fix)


# ── contracts.yaml ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Checked:
    """One contract under check."""

    parts: Parts
    name: str
    contract: Contract
    document: Document
    path: Path

    def check(self) -> None:
        self._name()
        self._effect()
        self._classes()
        self._units()
        if self.contract.preview is not None:
            self._probe("preview", self.contract.preview)
        if self.contract.postcondition is not None:
            self._probe("postcondition", self.contract.postcondition)
        if self.contract.undo is not None:
            self._undo(self.contract.undo)
        if self.contract.capture is not None:
            self._capture(self.contract.capture)
        if self.contract.memory is not None:
            self._memory(self.contract.memory)
        for name, parameter in self.contract.parameters.items():
            if parameter.grounded and parameter.role is not Role.CONTENT:
                message = f"{quote(name)} is `grounded`, and is no content"
                self._add(("parameters", name, "grounded"), "contradiction", message, "drop one of the two")
        for index, phrase in enumerate(self.contract.asked_by):
            if not any(letter.isalnum() for letter in phrase):
                self._add(("asked_by", index), "invalid-value", "a phrase has no words", "drop it")

    def _add(self, path: Path, code: str, message: str, fix: str = "", *, warning: bool = False) -> None:
        self.document.problem((*self.path, *path), code, message, fix, warning=warning)

    def _name(self) -> None:
        if self.name in BUILT_IN:
            message = f"the name {quote(self.name)} is taken by a built-in tool"
            self._add((), "reserved-name", message, "rename the tool")
        if not self.name or len(self.name) > 256:
            self._add((), "invalid-value", "a tool's name has 1 to 256 characters", "rename the tool")

    def _effect(self) -> None:
        contract = self.contract
        kind, effect = contract.kind, contract.effect
        if kind is Kind.READ and effect is not Effect.READ:
            message = f"the kind is `read`, and the effect is `{effect}`"
            self._add(("effect",), "contradiction", message, "name the kind of act it performs")
        if kind in ACTS and effect is Effect.READ:
            message = f"the effect is `read`, and the kind `{kind}` changes something"
            self._add(("effect",), "contradiction", message, "say what remains after it has run")
        declared = [key for key in ("undo", "capture") if getattr(contract, key) is not None]
        for key in declared:
            if effect in (Effect.READ, Effect.IRREVERSIBLE):
                message = f"the effect is `{effect}`, and there is {'an' if key == 'undo' else 'a'} `{key}`"
                fix = "make the effect `reversible` or `compensable`, or drop it"
                self._add((key,), "contradiction", message, fix)
        if len(declared) > 1:
            message = "there is an `undo`, and a `capture`"
            self._add(("capture",), "contradiction", message, "keep the one that puts things back more exactly")
        about = self.parts.about
        if about is not None and about.tier is Tier.READ and effect is not Effect.READ:
            message = f"{quote(self.name)} has the effect `{effect}`, and the tier is `read`"
            self._add(("effect",), "contradiction", message, "raise the tier, or drop the tool")
        widest = _OUTWARD.get(kind)
        if widest is not None and _WIDTH.index(contract.audience) < _WIDTH.index(widest):
            message = f"the kind is `{kind}`, and the audience only `{contract.audience}`"
            self._add(("audience",), "contradiction", message, "name the widest audience it reaches", warning=True)

    def _classes(self) -> None:
        about = self.parts.about
        if about is None:
            return
        known = {*BUILT_IN_CLASSES, *about.data_classes}
        named: list[tuple[Path, str]] = [(("output", "classes", name), name) for name in self.contract.output.classes]
        for parameter, declared in self.contract.parameters.items():
            named += [(("parameters", parameter, "classes", i), name) for i, name in enumerate(declared.classes)]
        for path, name in named:
            if name not in known:
                fix = did_you_mean(name, known) or "add it to `data_classes` in charter.yaml"
                self._add(path, "unknown-class", f"the data class {quote(name)} is not declared", fix)

    def _units(self) -> None:
        parameters = self.contract.parameters
        for name, parameter in parameters.items():
            unit = parameter.unit
            if unit is not None and parameter.role is not Role.MAGNITUDE:
                path: Path = ("parameters", name, "unit")
                self._add(
                    path, "contradiction", f"{quote(name)} has a unit, and is no magnitude", "drop one of the two"
                )
            elif unit is not None and len(unit) == 3 and unit.isupper() and not is_currency(unit):
                _not_money(self.document, (*self.path, "parameters", name, "unit"), unit)
        self._cost(parameters)
        key = self.contract.idempotency_key
        if key is not None and self._parameter(("idempotency_key",), key):
            kind = shape(parameters[key].schema_).type
            if kind != "string":
                message = f"`idempotency_key` is {quote(key)}, which is no text"
                self._add(("idempotency_key",), "contradiction", message, "name a text parameter")

    def _cost(self, parameters: Mapping[str, Parameter]) -> None:
        cost = self.contract.cost
        if cost is None:
            self._uncounted(parameters)
        if cost is None or not self._parameter(("cost",), cost):
            return
        parameter = parameters[cost]
        if parameter.role is not Role.MAGNITUDE:
            self._add(
                ("cost",), "contradiction", f"`cost` is {quote(cost)}, which is no magnitude", "give it that role"
            )
        elif not is_currency(parameter.unit):
            message = f"`cost` is {quote(cost)}, whose unit is no ISO 4217 currency"
            self._add(("cost",), "unknown-currency", message, "give it a unit such as `USD`")
        elif shape(parameter.schema_).type not in ("number", "integer"):
            self._add(("cost",), "contradiction", f"`cost` is {quote(cost)}, which is no number", "name another")

    def _uncounted(self, parameters: Mapping[str, Parameter]) -> None:
        """A payment without `cost` spends nothing that a budget knows of."""
        about = self.parts.about
        if about is None or self.contract.kind is not Kind.PAY:
            return
        mine = {self.name, self.contract.effect.value, self.contract.kind.value}
        windows = [one for one in about.budgets.windows if not one.tools or not mine.isdisjoint(one.tools)]
        limited = {*about.budgets.session.spend, *(one.currency for one in windows if one.of == "spend")}
        for name, parameter in parameters.items():
            if parameter.role is Role.MAGNITUDE and (parameter.unit in limited or (limited and parameter.unit is None)):
                message = f"{quote(self.name)} pays {quote(name)} and has no `cost`: no budget of spending counts it"
                self._add(("kind",), "uncounted-spending", message, f"add `cost: {name}`", warning=True)
                return

    def _parameter(self, path: Path, name: str) -> bool:
        if name in self.contract.parameters:
            return True
        fix = did_you_mean(name, self.contract.parameters) or "name one of its parameters"
        self._add(path, "unknown-parameter", f"{quote(self.name)} has no parameter {quote(name)}", fix)
        return False

    # probes and undo

    def _probe(self, key: str, probe: Probe) -> None:
        path: Path = (key,)
        after = key == "postcondition"
        called = self._called(path, probe.tool, probe.arguments, results=after)
        if called is not None and called.effect is not Effect.READ:
            message = f"{quote(probe.tool)} has the effect `{called.effect}`, and must be `read` to serve as a {key}"
            self._add((*path, "tool"), "contradiction", message, "name a tool that changes nothing")
        if after and not probe.expect:
            self._add(path, "missing-key", "a post-condition needs `expect`", "say what must stand in the result")
        if after and probe.facts:
            self._add((*path, "facts"), "contradiction", "`facts` belongs to a preview", "move it, or drop it")
        if not after and not probe.facts:
            self._add(path, "missing-key", "a preview needs `facts`", "say which fact stands where in the result")
        if not after and probe.expect:
            self._add((*path, "expect"), "contradiction", "`expect` belongs to a post-condition", "move it, or drop it")
        for fact, pattern in probe.facts.items():
            self._pattern((*path, "facts", fact), pattern)
        for pattern, value in probe.expect.items():
            self._pattern((*path, "expect", pattern), pattern)
            self._templates((*path, "expect", pattern), value, results=True)

    def _undo(self, undo: Undo) -> None:
        self._takes_back(("undo",), self._called(("undo",), undo.tool, undo.arguments, results=True))

    def _capture(self, capture: Capture) -> None:
        called = self._called(("capture",), capture.tool, capture.arguments, results=False)
        self._takes_back(("capture",), called)

    def _memory(self, memory: Memory) -> None:
        about, contract, path = self.parts.about, self.contract, ("memory",)
        declared = about.memories.get(memory.of) if about is not None else None
        if about is not None and declared is None:
            fix = did_you_mean(memory.of, about.memories) or "add it to `memories` in charter.yaml"
            self._add((*path, "of"), "unknown-memory", f"the memory {quote(memory.of)} is not declared", fix)
        if contract.effect is Effect.READ:
            return
        if memory.at != ("$",):
            message = "`at` says where a result holds what was stored, and the tool changes something"
            self._add((*path, "at"), "contradiction", message, "drop it: the tool keeps its content parameters")
        if not any(parameter.role is Role.CONTENT for parameter in contract.parameters.values()):
            message = f"{quote(self.name)} stores into a memory, and has no content parameter"
            self._add(path, "contradiction", message, "give what is stored the role `content`")
        if declared is not None and _WIDTH.index(contract.audience) < _WIDTH.index(Audience(declared.audience)):
            message = f"the memory's audience is `{declared.audience}`, and the tool's only `{contract.audience}`"
            self._add(("audience",), "contradiction", message, f"make it `{declared.audience}`")

    def _takes_back(self, path: Path, called: Contract | None) -> None:
        if called is not None and called.effect is Effect.READ:
            message = "the effect of the tool is `read`, and it cannot take anything back"
            self._add((*path, "tool"), "contradiction", message, "name a tool that changes something")

    def _called(self, path: Path, tool: str, arguments: Mapping[str, Any], *, results: bool) -> Contract | None:
        """The contract of the `tool` that a probe or undo calls; problems for what does not fit it."""
        self._templates((*path, "arguments"), arguments, results=results)
        if not _tool(self.parts, self.document, (*self.path, *path, "tool"), tool):
            return None
        found = self.parts.contracts.get(tool)
        if found is None:
            return None
        called = found[0]
        for name in arguments:
            if name not in called.parameters:
                fix = did_you_mean(name, called.parameters) or f"see the parameters of {quote(tool)}"
                message = f"{quote(tool)} has no parameter {quote(name)}"
                self._add((*path, "arguments", name), "unknown-parameter", message, fix)
        for name, parameter in called.parameters.items():
            if parameter.required and name not in arguments:
                message = f"{quote(tool)} needs {quote(name)}"
                self._add((*path, "arguments"), "missing-argument", message, "give it a template or a constant")
        return called

    def _pattern(self, path: Path, pattern: str) -> None:
        try:
            PathPattern(pattern)
        except ValueError as error:
            self._add(path, "invalid-value", str(error), "write it like `$.items[*].id`")

    def _templates(self, path: Path, value: Any, *, results: bool) -> None:
        for at, text in _texts(value, path):
            if text.startswith("$arguments"):
                self._argument(at, text)
            elif text.startswith("$result"):
                if not results:
                    message = f"{quote(text)}: there is no result before the call"
                    self._add(at, "invalid-template", message, "use `$arguments`, or a constant")
                else:
                    self._pattern(at, "$" + text.removeprefix("$result"))
            elif text.startswith("$") and text[1:2].isalpha():
                fix = did_you_mean(text.split(".")[0], ["$arguments", "$result"]) or "use `$arguments` or `$result`"
                self._add(at, "invalid-template", f"{quote(text)} is not a template", fix)

    def _argument(self, at: Path, text: str) -> None:
        rest = text.removeprefix("$arguments")
        steps = [part for part in rest.replace("[", ".[").split(".") if part]
        if not rest.startswith(".") or not steps:
            self._add(at, "invalid-template", f"{quote(text)} names no parameter", "write `$arguments.NAME`")
            return
        try:
            PathPattern("$" + rest)
        except ValueError as error:
            self._add(at, "invalid-template", str(error), "write `$arguments.NAME`")
            return
        self._parameter(at, steps[0])


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text in `value`, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _texts(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _texts(member, (*path, index))
