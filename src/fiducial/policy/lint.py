"""Lint: what is wrong with policies beyond their syntax.

0. Characters: what people see is what Cedar reads (`fiducial.charter.misread`).
1. Names: every id is unique; every role, clause, data class, tool, group and server that a policy names is declared.
2. Paths: every attribute of the context exists for a tool to which the policy applies. Cedar's validator lets a
   misspelt `has` pass, because a record might have any attribute; then the rule never fires.
3. Literals: every string that is compared with, or looked up in, a fact or an enum is one that can stand there, every
   pattern fits one, and every number that a fact is compared with can make a difference (`fiducial.policy.literals`).
4. Types: Cedar's validator, strict, on what the first three accept.
5. Scope: a policy that applies to no tool is a warning.

The rules that ship with Fiducial are checked the same way by its own tests, against a charter that has every kind of
tool, and not again for each charter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

import cedarpy

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.findings import did_you_mean, quote
from fiducial.charter.misread import misread
from fiducial.charter.model import BUILT_IN, Charter, PolicySource
from fiducial.errors import Problem
from fiducial.policy import est
from fiducial.policy.literals import RANGES, Pattern, constants, family, input_strings, left_out, patterns, roles
from fiducial.policy.rules import Hold, Mask, Rule
from fiducial.policy.schema import GROUPS, ContextPath, ToolType
from fiducial.policy.weave import INTENT_FILE

_FIX = "delete it, or end the line with a line feed; in a string write it as an escape such as `\\u{202e}`"
_TYPE_ERROR = re.compile(r"^for policy `[^`]*`, ")


def check(
    charter: Charter,
    tools: Mapping[str, ToolType],
    types: cedarpy.Schema,
    baseline: Iterable[Rule],
    rules: list[Rule],
    lines: Mapping[str, int] | None = None,
) -> list[Problem]:
    """Every problem of `rules`, the charter's own, beside those of `baseline`.

    `types`: the Cedar schema of `tools`. `lines`: clause id → line in `intent.yaml`.
    """
    problems = [*misreadings(charter.policies), *_misread_conditions(charter, lines or {}), *_tool_names(charter)]
    linter = _Linter(charter, tools, types, {str(rule.id) for rule in [*baseline, *rules]}, problems)
    seen: dict[str, Rule] = {}
    sound: list[Rule] = []
    for rule in rules:
        before = len(problems)
        first = seen.setdefault(rule.id, rule)
        if first is not rule:
            where = f"{first.statement.file}:{first.statement.line}"
            message = f"two policies have the id {quote(rule.id)}; the first is in {where}"
            linter.problem(rule, "repeated-id", message, "rename one of them", rule.id)
        if linter.check(rule) and len(problems) == before:
            sound.append(rule)
    linter.types(sound)
    linter.links(lines or {})
    return problems


def misreadings(sources: Iterable[PolicySource]) -> Iterator[Problem]:
    """Characters of policies that show people other text than Cedar reads."""
    for source in sources:
        for line, what in misread(source.text):
            yield Problem(
                source.file, line, "misread-character", f"{what} shows people other text than Cedar reads", _FIX
            )


def _misread_conditions(charter: Charter, lines: Mapping[str, int]) -> Iterator[Problem]:
    for clause in charter.clauses:
        for _, what in misread(clause.never or clause.never_without_approval or ""):
            message = (
                f"the condition of the clause {quote(clause.id)} holds {what}, which Cedar reads otherwise than people"
            )
            yield Problem(INTENT_FILE, lines.get(clause.id, 0), "misread-character", message, _FIX)


def _tool_names(charter: Charter) -> list[Problem]:
    """Tools that would take another action's place."""
    problems = []
    for name in charter.contracts:
        if name in BUILT_IN or (name.startswith("tool:") and name.removeprefix("tool:") in GROUPS):
            message = f"the name {quote(name)} is taken"
            problems.append(Problem("contracts.yaml", 0, "reserved-name", message, "rename the tool"))
    return problems


class _Linter:
    def __init__(
        self,
        charter: Charter,
        tools: Mapping[str, ToolType],
        types: cedarpy.Schema,
        ids: set[str],
        problems: list[Problem],
    ) -> None:
        self._charter = charter
        self._tools = tools
        self._schema = types
        self._ids = ids
        self._problems = problems
        self._entities = {
            "Role": ("role", roles(charter), "add it to `roles` in charter.yaml"),
            "Server": ("server", tuple({tool.server for tool in tools.values()}), "name the `server` of a contract"),
            "Agent": ("agent", (charter.about.agent,), "this charter is of one agent"),
            "Action": (
                "tool, effect or kind",
                (*(tool.action for tool in tools.values()), *GROUPS),
                "declare it in contracts.yaml",
            ),
        }

    def problem(self, rule: Rule, code: str, message: str, fix: str, *needles: str, warning: bool = False) -> None:
        """Add a problem of `rule`, on the line where the first of `needles` stands."""
        at = rule.statement
        line = at.line if at.file == INTENT_FILE else at.line_of(*needles)
        self._problems.append(Problem(at.file, line, code, message, fix, "warning" if warning else "error"))

    def check(self, rule: Rule) -> bool:
        """Steps 1 to 3 and 5. False when the rule applies to no tool, so that there is nothing to type."""
        self._names(rule)
        actions = est.scope_actions(rule.policy)
        if actions is not None and any(one not in self._entities["Action"][1] for one in actions):
            return False
        if not self._groups(rule):
            return False
        tools = [tool for tool in self._tools.values() if actions is None or tool.matches(actions)]
        if not tools:
            message = f"{quote(rule.id)} applies to no tool of this charter"
            self.problem(rule, "never-applies", message, "drop it, or name other tools", "action", warning=True)
            return False
        for path in dict.fromkeys(access.path for access in est.accesses(rule.policy)):
            self._path(rule, path, tools)
        for path, text in dict.fromkeys(est.compared(rule.policy)):
            self._literal(rule, path, text, tools)
        for path, pattern in dict.fromkeys(patterns(rule.policy)):
            self._pattern(rule, path, pattern, tools)
        for path, sign, number, ends in dict.fromkeys(constants(rule.policy)):
            self._constant(rule, path, sign, number, ends)
        return True

    def _names(self, rule: Rule) -> None:
        if isinstance(rule.remedy, Hold) and rule.remedy.role not in roles(self._charter):
            self._undeclared(rule, "role", rule.remedy.role, roles(self._charter), "add it to `roles` in charter.yaml")
        classes = (*BUILT_IN_CLASSES, *self._charter.about.data_classes)
        if isinstance(rule.remedy, Mask) and rule.remedy.data_class not in classes:
            fix = "add it to `data_classes` in charter.yaml"
            self._undeclared(rule, "data class", rule.remedy.data_class, classes, fix)
        clauses = [clause.id for clause in self._charter.clauses]
        if rule.clause is not None and rule.clause not in clauses:
            self._undeclared(rule, "clause", rule.clause, clauses, "add it to intent.yaml")
        for kind, name in est.entity_literals(rule.policy):
            if kind in self._entities:
                what, known, fix = self._entities[kind]
                if name not in known:
                    self._undeclared(rule, what, name, known, fix)

    def _groups(self, rule: Rule) -> bool:
        """No action *is* a group: `==` with one would never hold."""
        equal = est.equal_actions(rule.policy)
        wrong = [one for one in equal if one in GROUPS]
        for name in wrong:
            fix = f'write `action in Action::"{name}"` for every tool of that group'
            if name in self._charter.contracts:
                fix += f', or `action == Action::"tool:{name}"` for the tool of that name'
            message = f"{quote(rule.id)} compares the action with {quote(name)}, which is a group and no tool"
            self.problem(rule, "group-as-tool", message, fix, f'"{name}"')
        return not wrong

    def _undeclared(self, rule: Rule, what: str, name: str, known: Iterable[str], fix: str) -> None:
        code = "unknown-" + what.replace(" ", "-") if what != "tool, effect or kind" else "unknown-tool"
        message = f"{quote(rule.id)} names the {what} {quote(name)}, which is not declared"
        self.problem(rule, code, message, did_you_mean(name, known) or fix, json.dumps(name, ensure_ascii=False), name)

    def _path(self, rule: Rule, path: ContextPath, tools: list[ToolType]) -> None:
        if any(tool.context.at(path) is not None for tool in tools):
            return
        shown = _shown(path)
        why = left_out(path, tools)
        if why is not None:
            self.problem(
                rule, "unmapped-parameter", f"{quote(rule.id)} reads {shown}, which is not there", why, path[1]
            )
            return
        parent: ContextPath = path
        while parent and not any(tool.context.at(parent) is not None for tool in tools):
            parent, missing = parent[:-1], parent[-1]
        known = {name for tool in tools if (at := tool.context.at(parent)) for name in at.attributes or ()}
        fix = did_you_mean(missing, known) or "see docs/policies.md for what a policy can read"
        message = f"{quote(rule.id)} reads {shown}, which no tool that it applies to has"
        self.problem(rule, "unknown-attribute", message, fix, missing)

    def _strings(self, path: ContextPath, tools: list[ToolType]) -> tuple[frozenset[str], str] | None:
        """The strings that can stand at `path`, and what they are; `None` where any can."""
        if path[:1] == ("input",):
            known = input_strings(path, tools)
            there = any(tool.context.at(path) is not None for tool in tools)
            return None if known is None or not there else (known, "one of its values")
        if path == ("approvals",):
            return frozenset(self._ids), "the id of a policy"
        of = family(path)
        return None if of is None else (frozenset(of.names(self._charter, tools)), of.what)

    def _literal(self, rule: Rule, path: ContextPath, text: str, tools: list[ToolType]) -> None:
        found = self._strings(path, tools)
        if found is not None and text not in found[0]:
            message = f"{quote(rule.id)} looks for {quote(text)} in {_shown(path)}, and it is not {found[1]}"
            fix = did_you_mean(text, found[0]) or "it would never be found: name one that can be"
            self.problem(rule, "unknown-literal", message, fix, json.dumps(text, ensure_ascii=False))

    def _pattern(self, rule: Rule, path: ContextPath, pattern: Pattern, tools: list[ToolType]) -> None:
        found = self._strings(path, tools)
        if found is not None and not pattern.fits(found[0]):
            message = f"{quote(rule.id)} compares {_shown(path)} with {quote(pattern.text)}, which fits no value of it"
            fix = did_you_mean(pattern.text.strip("*"), found[0]) or f"make it fit {found[1]}, or use `==`"
            self.problem(rule, "unknown-literal", message, fix, f'"{pattern.text}"')

    def _constant(self, rule: Rule, path: ContextPath, sign: str, number: int, ends: bool) -> None:
        always = "always" if ends else "never"
        message = f"{quote(rule.id)} asks for {_shown(path)} `{sign} {number}`, which {always} holds"
        self.problem(
            rule,
            "constant-comparison",
            message,
            f"it is {RANGES[path]}: name a number that makes a difference",
            path[-1],
        )

    def types(self, rules: list[Rule]) -> None:
        """Step 4. The validator numbers policies by their place in the text and gives no other position."""
        if not rules:
            return
        text = "\n".join(rule.statement.text for rule in rules)
        found: dict[int, list[str]] = {}
        for error in cedarpy.validate_policies(text, self._schema).errors:
            place = error.policy_id.removeprefix("policy")
            index = int(place) if place.isdigit() and int(place) < len(rules) else 0
            found.setdefault(index, []).append(_TYPE_ERROR.sub("", " ".join(error.error.split())))
        for index, errors in found.items():
            said = min(errors)
            more = len(set(errors)) - 1
            needle = re.search(r"attribute `(?:[^`]*\.)?([^`.]+)`", said)
            message = f"{quote(rules[index].id)}: {said}" + (f" (and {more} more like it)" if more else "")
            self.problem(rules[index], "policy-type", message, _type_fix(said), *(needle.groups() if needle else ()))

    def links(self, lines: Mapping[str, int]) -> None:
        """Clauses name the policies that encode them."""
        for clause in self._charter.clauses:
            for name in clause.policies:
                if name not in self._ids:
                    message = f"the clause {quote(clause.id)} is encoded by {quote(name)}, and there is no such policy"
                    fix = did_you_mean(name, self._ids) or "name the `@id` of a policy"
                    line = lines.get(clause.id, 0)
                    self._problems.append(Problem(INTENT_FILE, line, "unknown-policy", message, fix))


def _shown(path: ContextPath) -> str:
    return quote(".".join(("context", *path)))


def _type_fix(said: str) -> str:
    """What to do about a refusal of the validator."""
    if "optional attribute" in said:
        return "test it first: `context.input has NAME && …`"
    if "decimal" in said:
        return (
            'a number without a currency is a decimal: `decimal("5.0")`, `.lessThan(…)`; money is a Long in minor units'
        )
    if "attribute" in said and "not found" in said:
        return "test it with `has`, or name in the scope only tools that have it"
    return "see docs/policies.md for the types"
