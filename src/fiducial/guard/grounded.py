"""Step 5, for content that a contract calls grounded: what it claims, and what of that the session has observed.

It is looked for only where a policy of the tool reads `context.flow.ungrounded` or `context.grounding`, enforced or in
shadow, because it takes a pass over all that was observed.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fiducial.flow.structure import texts_in
from fiducial.guard.tool import Tool
from fiducial.policy.facts import Facts, FlowFacts, GroundingFacts

if TYPE_CHECKING:
    from fiducial.flow.grounding import Grounding
    from fiducial.guard.knowledge import Knowledge

_NOTHING = Facts().grounding
"""The very default, which is left out of records."""
_WRONG = {"unknown-citation": "no source is called", "misplaced-citation": "not all of this is said by the source"}
_MOST = 8
"""Places of a text that people are shown."""
_LONGEST = 160
"""Characters of one that they are."""


def grounding_facts(
    session: Knowledge, tool: Tool, arguments: Mapping[str, Any], flow: FlowFacts
) -> tuple[FlowFacts, GroundingFacts]:
    """`flow` with the parameters that are not grounded, and what is known beside it. Called with the lock held."""
    found = _groundings(session, tool, arguments) if tool.grounded else {}
    if not found:
        return flow, _NOTHING
    whole = functools.reduce(operator.or_, found.values())
    counted = Counter(each.what for each in whole.findings)
    named = frozenset(name for name, each in found.items() if each.findings)
    return msgspec.structs.replace(flow, ungrounded=named), GroundingFacts(
        claims=whole.claims,
        ungrounded=len(whole.ungrounded),
        kinds=frozenset(each.what for each in whole.ungrounded),
        uncited=whole.uncited,
        citations=whole.citations,
        unknown_citations=counted["unknown-citation"],
        misplaced_citations=counted["misplaced-citation"],
    )


def in_words(session: Knowledge, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, str]:
    """For people: parameter → what in it no source says, and which of its citations do not hold. With the lock held."""
    found = {}
    for name, grounding in _groundings(session, tool, arguments).items() if tool.grounded else ():
        said = _said(arguments, name)
        wrong = list(
            dict.fromkeys(
                f"{_WRONG.get(each.what, 'no source says')} “{_shortened(said[each.start : each.end].strip())}”"
                for each in grounding.findings
            )
        )
        if wrong:
            more = [f"and {len(wrong) - _MOST} more"] if len(wrong) > _MOST else []
            found[name] = "; ".join([*wrong[:_MOST], *more])
    return found


def _groundings(session: Knowledge, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Grounding]:
    listed = arguments.get("citations") if tool.speaks else None
    names = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    said = {name: text for name in tool.grounded if (text := _said(arguments, name))}
    return {name: session.provenance.grounding(text, names) for name, text in said.items()}


def _said(arguments: Mapping[str, Any], name: str) -> str:
    return "\n".join(texts_in(arguments.get(name)))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


__all__ = ["grounding_facts", "in_words"]
