"""Slices: all that can decide the calls of one tool, precomputed at load.

A slice holds the policies whose action scope can match the tool, and encodes only the context paths that those read.
Asking:

1. Encode the context. A value that does not fit its Cedar type denies.
2. Ask the engine. `Allow` without errors: allowed.
3. An error in any policy, or no decision: denied. Cedar itself passes over a `forbid` that cannot be evaluated.
4. No policy fired: nothing permits the call, denied. A hard forbid fired: denied.
5. Only soft ones fired: ask again as if all of them were satisfied. Still not allowed: denied, because a person would
   be asked in vain.
6. Compose: what masking alone satisfies is allowed with masks; else `held` when any fired policy has `@hold`, else
   `unclear`. Where several roles would have to approve, the one with the highest quorum is asked first; its approval
   (or any, for what is merely unclear) is given, the call is decided again, and the next is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cedarpy
import msgspec

from fiducial.core.canonical import digest
from fiducial.core.ids import Digest, PolicyId
from fiducial.core.verdict import Fault, Reason
from fiducial.policy import engine, est
from fiducial.policy.encode import Unfit, encoder
from fiducial.policy.facts import Facts
from fiducial.policy.rules import Hold, Mask, Rule, Unclear
from fiducial.policy.ruling import Ruling
from fiducial.policy.schema import ContextPath, ToolType, schema_json

_NONE: frozenset[str] = frozenset()
_MAX_MEMO = 256
"""Allowed rulings kept a slice, by the permits that applied; there are rarely more than two."""
_MAX_ANSWERED = 512
"""Requests that were allowed, kept a slice; past it all are forgotten."""
_MAX_REQUEST = 1024
"""Characters of a request that is kept."""

NO_PERMIT = Reason(message="no policy permits this call")


class Principal(msgspec.Struct, frozen=True):
    """On whose behalf a session acts; built once a session by `Rulebook.principal`."""

    uid: dict[str, str]
    """Cedar entity uid: `type` and `id`."""
    entities: cedarpy.Entities
    """The principal in its roles, and the actions in their groups."""
    handle: engine.Handle
    """`entities` as the engine takes them."""
    key: str
    """Tells it from every principal that the policies could tell it from."""


class Cut:
    """What the slices of one rulebook share: its rules, read once, and the sets that several tools have in common."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [(rule, est.scope_actions(rule.policy)) for rule in rules]
        self._reads = {
            rule.id: frozenset(access.path for access in est.accesses(rule.woven())) for rule, _ in self._rules
        }
        self._sets: dict[tuple[PolicyId, ...], cedarpy.PolicySet] = {}

    def applicable(self, tool: ToolType) -> list[Rule]:
        """The rules whose action scope can match `tool`."""
        return [rule for rule, actions in self._rules if actions is None or tool.matches(actions)]

    def reads(self, rules: Iterable[Rule], tool: ToolType) -> set[ContextPath]:
        """Context paths of `tool` that `rules` read, tests of the approvals included."""
        paths: set[ContextPath] = set()
        for wanted in frozenset[ContextPath]().union(*(self._reads[rule.id] for rule in rules)):
            path = wanted
            while path and tool.context.at(path) is None:
                path = path[:-1]  # absent here, as the engine must find it; the record around it stays
            if path == wanted:
                paths.add(path)
            elif path:
                paths.add((*path, ""))  # the record itself, with none of its members
        return paths

    def policy_set(self, rules: Sequence[Rule]) -> cedarpy.PolicySet:
        """The parsed set of `rules`, woven, their scopes' actions taken as matched."""
        key = tuple(rule.id for rule in rules)
        made = self._sets.get(key)
        if made is None:
            made = self._sets[key] = policy_set(rules, any_action=True)
        return made


def policy_set(rules: Sequence[Rule], *, any_action: bool = False) -> cedarpy.PolicySet:
    """`rules`, woven, as one Cedar policy set under their own ids; with `any_action`, whatever the action is."""
    policies = {rule.id: {**rule.woven(), "action": {"op": "All"}} if any_action else rule.woven() for rule in rules}
    return cedarpy.PolicySet.from_json_str(
        json.dumps({"templates": {}, "staticPolicies": policies, "templateLinks": []})
    )


class Slice:
    """The policies of one tool, ready to be asked. Immutable; safe to share between threads."""

    __slots__ = (
        "_action", "_answered", "_context", "_encode", "_memo", "_resource", "_rules", "_shadow",
        "digest", "policy_set", "reads", "tool", "type",
    )  # fmt: skip

    def __init__(self, tool: ToolType, cut: Cut, *, with_shadow: bool = False) -> None:
        applicable = cut.applicable(tool)
        if with_shadow:
            enforced = [msgspec.structs.replace(rule, shadow=False) for rule in applicable]
        else:
            enforced = [rule for rule in applicable if not rule.shadow]
        self.tool = tool.name
        """Name of the tool."""
        self.type = tool
        """The tool as policies see it."""
        self._rules = {str(rule.id): rule for rule in enforced}
        self.policy_set = cut.policy_set(enforced)
        """The parsed policies, woven."""
        self._context = tool.context.pruned(cut.reads(enforced, tool))
        self.reads: frozenset[str] = frozenset(".".join(path) for path in self._context.leaves() if path)
        """Dotted context paths that the policies read."""
        self._encode = encoder(self._context)
        self._action = {"type": "Action", "id": tool.action}
        self._resource = {"type": "Server", "id": tool.server}
        self.digest: Digest = digest([tool.action, tool.server, [rule.substance() for rule in enforced]])
        """Of the woven policies and what they apply to."""
        self._memo: dict[tuple[str, ...], Ruling] = {}
        self._answered: dict[tuple[str, str], Ruling] = {}
        """Principal's key and context → ruling. The engine is a function of these and of policies that never change."""
        self._shadow: Slice | None = None
        if len(applicable) > len(enforced):
            self._shadow = Slice(tool, cut, with_shadow=True)

    @property
    def has_shadow(self) -> bool:
        """True when shadow policies can apply to the tool."""
        return self._shadow is not None

    @property
    def looks_at(self) -> frozenset[str]:
        """`reads`, and what its shadow policies read."""
        return self.reads | self._shadow.reads if self._shadow is not None else self.reads

    @property
    def holds(self) -> frozenset[PolicyId]:
        """Those of its rules that people of a role approve."""
        return frozenset(rule.id for rule in self._rules.values() if isinstance(rule.remedy, Hold))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The enforced rules that can apply to the tool."""
        return tuple(self._rules.values())

    @property
    def schema(self) -> cedarpy.Schema:
        """The Cedar schema of exactly the requests that the slice makes; parsed anew each time."""
        return cedarpy.Schema.from_json_str(schema_json([self.type], {self.tool: self._context}))

    def encode_context(self, arguments: Mapping[str, Any], facts: Facts, approvals: frozenset[str] = _NONE) -> str:
        """The context that is asked with, as JSON text. Raises `ValueError` when a value does not fit."""
        try:
            return self._encode(arguments, facts, approvals)
        except Unfit as error:
            raise ValueError(f"`{'.'.join(error.path)}` {error}") from None

    def request(self, principal: Principal, context: str) -> dict[str, Any]:
        """The request that the engine gets, for `cedarpy.is_authorized`."""
        return {"principal": principal.uid, "action": self._action, "resource": self._resource, "context": context}

    def ask(
        self, principal: Principal, arguments: Mapping[str, Any], facts: Facts, approvals: frozenset[str] = _NONE
    ) -> Ruling:
        """What the policies say about one call; never raises. `approvals`: ids of policies that people approved."""
        try:
            context = self._encode(arguments, facts, approvals)
        except Unfit as error:
            return _unfit(error)
        except Exception:  # noqa: BLE001 - facts of a wrong type must deny, whatever they raise
            return _fault("the context of the call could not be written for the policies")
        asked = (principal.key, context)
        known = self._answered.get(asked)
        if known is not None:
            return known
        answer = engine.ask(
            {"principal": principal.uid, "action": self._action, "resource": self._resource, "context": context},
            self.policy_set,
            principal.handle,
        )
        found = answer.diagnostics
        if answer.decision == "Allow" and not found.errors:
            ruling = self._memo.get(found.reason)
            if ruling is None:
                ruling = Ruling(kind="allowed", permits=tuple(map(PolicyId, sorted(found.reason))))
                if len(self._memo) < _MAX_MEMO:
                    self._memo[found.reason] = ruling
            if len(context) <= _MAX_REQUEST:
                if len(self._answered) >= _MAX_ANSWERED:
                    self._answered.clear()
                self._answered[asked] = ruling
            return ruling
        return self._refused(answer, principal, arguments, facts, approvals)

    def ask_shadow(
        self, principal: Principal, arguments: Mapping[str, Any], facts: Facts, approvals: frozenset[str] = _NONE
    ) -> Ruling:
        """What the policies would say if the shadow ones were enforced too."""
        return (self._shadow or self).ask(principal, arguments, facts, approvals)

    def _refused(
        self,
        answer: engine.Answer,
        principal: Principal,
        arguments: Mapping[str, Any],
        facts: Facts,
        approvals: frozenset[str],
    ) -> Ruling:
        """Steps 3 to 6."""
        found = answer.diagnostics
        if answer.decision == "NoDecision":
            return _fault("the policy engine could not decide on this call")
        if found.errors:
            fired = self._fired(found.reason, facts) if answer.decision == "Deny" else ()
            return Ruling(kind="denied", reasons=(*fired, *self._failed(found.errors)), fault=Fault.POLICY)
        rules = [self._rules[one] for one in found.reason if one in self._rules]
        if not rules:
            return Ruling(kind="denied", reasons=(NO_PERMIT,))
        reasons = self._fired(found.reason, facts)
        if any(rule.remedy is None for rule in rules):
            return Ruling(kind="denied", reasons=reasons)
        satisfied = approvals.union(rule.id for rule in rules)
        second = engine.ask(
            self.request(principal, self._encode(arguments, facts, satisfied)), self.policy_set, principal.handle
        )
        found = second.diagnostics
        if found.errors or second.decision == "NoDecision":
            return Ruling(kind="denied", reasons=(*reasons, *self._failed(found.errors)), fault=Fault.POLICY)
        if second.decision == "Deny":
            more = self._fired(found.reason, facts) or (NO_PERMIT,)
            return Ruling(kind="denied", reasons=(*more, *reasons))
        return _composed(rules, reasons, tuple(map(PolicyId, sorted(found.reason))))

    def _fired(self, ids: Sequence[str], facts: Facts) -> tuple[Reason, ...]:
        """A reason for each forbid that fired: hard ones first, then by id."""
        rules = [self._rules[one] for one in ids if one in self._rules]
        rules.sort(key=lambda rule: (rule.remedy is not None, rule.id))
        return tuple(
            Reason(rule.message, policy=rule.id, clause=rule.clause, parameters=self._parameters(rule, facts))
            for rule in rules
        )

    def _failed(self, errors: Sequence[str]) -> tuple[Reason, ...]:
        """A reason for each policy that could not be evaluated. The engine's words may hold argument values."""
        named = [rule for rule in self._rules.values() if any(f"policy `{rule.id}`" in error for error in errors)]
        return tuple(
            Reason(
                f"the policy `{rule.id}` could not be evaluated for this call, so the call is denied",
                policy=rule.id,
                clause=rule.clause,
                fault=Fault.POLICY,
            )
            for rule in named
        ) or (Reason("a policy could not be evaluated for this call, so the call is denied", fault=Fault.POLICY),)

    def _parameters(self, rule: Rule, facts: Facts) -> tuple[str, ...]:
        """Parameters that a rule is about: those it reads, and those that the facts it fires on name."""
        names: set[str] = set()
        for path in est.asserted(rule.policy):
            if path[0] == "input":
                names.update(path[1:2])
            elif len(path) == 2 and path in _NAMING:
                names |= getattr(getattr(facts, path[0]), path[1])
        return tuple(sorted(names & self.type.contract.parameters.keys()))


_NAMING = {
    *(("flow", name) for name in Facts().flow.__struct_fields__ if name not in ("classes", "audience")),
    ("intent", "bound_elsewhere"),
}
"""Facts whose members are names of parameters."""


def _unfit(error: Unfit) -> Ruling:
    parameter = error.path[1]
    message = f"the argument `{parameter}` {error}, and a policy reads it"
    reason = Reason(message, fault=Fault.BAD_ARGUMENTS, parameters=(parameter,))
    return Ruling(kind="denied", reasons=(reason,), fault=Fault.BAD_ARGUMENTS)


def _fault(message: str) -> Ruling:
    return Ruling(kind="denied", reasons=(Reason(message, fault=Fault.POLICY),), fault=Fault.POLICY)


def _composed(rules: Sequence[Rule], reasons: tuple[Reason, ...], permits: tuple[PolicyId, ...]) -> Ruling:
    """Step 6, for soft rules that could all be satisfied."""
    masks = tuple(sorted({rule.remedy.data_class for rule in rules if isinstance(rule.remedy, Mask)}))
    unclear = [rule for rule in rules if isinstance(rule.remedy, Unclear)]
    holds: dict[str, list[Rule]] = {}
    for rule in rules:
        if isinstance(rule.remedy, Hold):
            holds.setdefault(rule.remedy.role, []).append(rule)
    if holds:
        quorums = {role: max(_quorum(rule) for rule in held) for role, held in holds.items()}
        role = min(holds, key=lambda one: (-quorums[one], one))
        return Ruling(
            kind="held",
            reasons=reasons,
            role=role,
            quorum=quorums[role],
            approvals=tuple(sorted(rule.id for rule in [*holds[role], *unclear])),
            masks=masks,
        )
    if unclear:
        first = min(unclear, key=lambda rule: rule.id)
        assert isinstance(first.remedy, Unclear)
        return Ruling(
            kind="unclear",
            reasons=reasons,
            question=first.remedy.question,
            approvals=tuple(sorted(rule.id for rule in unclear)),
            masks=masks,
        )
    return Ruling(kind="allowed", reasons=reasons, masks=masks, permits=permits)


def _quorum(rule: Rule) -> int:
    return rule.remedy.quorum if isinstance(rule.remedy, Hold) else 0
