"""What would change a verdict: the same call asked again with one thing different.

Each change is put to the real policies, so that what is said is true of them and not a guess from their text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fiducial.policy.facts import Facts
from fiducial.policy.rulebook import Principal, Ruling, Slice

_NONE: frozenset[str] = frozenset()
_replace = msgspec.structs.replace


def _targets_named(facts: Facts) -> Facts:
    flow = _replace(
        facts.flow,
        untrusted_targets=_NONE,
        unknown_targets=_NONE,
        contested_targets=_NONE,
        composed_targets=_NONE,
        instructed_targets=_NONE,
    )
    return _replace(facts, flow=flow, intent=_replace(facts.intent, bound_elsewhere=_NONE))


def _magnitudes_named(facts: Facts) -> Facts:
    flow = _replace(facts.flow, untrusted_magnitudes=_NONE, unknown_magnitudes=_NONE)
    return _replace(facts, flow=flow, intent=_replace(facts.intent, bound_elsewhere=_NONE))


def _content_own(facts: Facts) -> Facts:
    return _replace(facts, flow=_replace(facts.flow, untrusted_content=_NONE, links=_NONE))


def _asked(facts: Facts) -> Facts:
    return _replace(facts, intent=_replace(facts.intent, known=True, asked=True, requested_by="user", forbidden=False))


def _harmless(facts: Facts) -> Facts:
    return _replace(facts, flow=_replace(facts.flow, classes=_NONE))


def _untainted(facts: Facts) -> Facts:
    return _replace(facts, session=_replace(facts.session, tainted=False))


def _within_budget(facts: Facts) -> Facts:
    return _replace(facts, session=_replace(facts.session, exceeds=_NONE))


def _sure(facts: Facts) -> Facts:
    return _replace(facts, agent=_replace(facts.agent, unsure=False))


def _planned(facts: Facts) -> Facts:
    return _replace(facts, plan=_replace(facts.plan, declared=True, includes=True, in_order=True))


def _named_and_asked(facts: Facts) -> Facts:
    return _asked(_targets_named(facts))


_CHANGES: tuple[tuple[str, Callable[[Facts], Facts]], ...] = (
    ("if the user had named the targets", _targets_named),
    ("if the user had named the amounts and dates", _magnitudes_named),
    ("if the content held no third party's text and links", _content_own),
    ("if the content held no sensitive data", _harmless),
    ("if the user had asked for this in words", _asked),
    ("if nothing untrusted had been read before", _untainted),
    ("if the budget were not used up", _within_budget),
    ("if the agent were sure", _sure),
    ("if a declared plan included it", _planned),
    ("if the user had named the targets and asked for this", _named_and_asked),
)


def what_would_change(
    slice: Slice, principal: Principal, ruling: Ruling, facts: Facts, arguments: Mapping[str, Any]
) -> list[str]:
    """What would make another verdict of this one, each put to the policies; empty when it is allowed already."""
    if ruling.kind == "allowed":
        return []
    found = []
    if ruling.kind == "held":
        found.append(f"if {ruling.quorum} of role {ruling.role} approve: allowed")
    elif ruling.kind == "unclear":
        found.append("if the user answers the question: allowed")
    enough = False
    for words, change in _CHANGES:
        changed = change(facts)
        if changed == facts or (enough and change is _named_and_asked):
            continue
        kind = slice.ask(principal, arguments, changed).kind
        if kind != ruling.kind:
            found.append(f"{words}: {kind}")
            enough = enough or kind == "allowed"
    return found
