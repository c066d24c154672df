"""Step 5: the facts of one call, from its traces and its session.

Sessions and tools keep what rarely changes ready-made, so that the common call (every argument traced to the user or
to a tool's own records) builds almost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fiducial.charter.contracts import Audience, Role
from fiducial.core.label import Integrity, Label
from fiducial.flow.disguise import may_disguise, undisguised
from fiducial.flow.laundry import Echo
from fiducial.flow.trace import Origin, Trace
from fiducial.guard.intent import RANK, Asked
from fiducial.guard.risk import SENSITIVE
from fiducial.guard.tool import Tool
from fiducial.policy.facts import FlowFacts, IntentFacts

if TYPE_CHECKING:
    from fiducial.guard.intent import Intent

# Looking a member up in its enum costs as much as a small function call.
_UNTRUSTED, _UNKNOWN = Origin.UNTRUSTED, Origin.UNKNOWN
_TARGET, _MAGNITUDE, _CONTENT = Role.TARGET, Role.MAGNITUDE, Role.CONTENT
_SUSPECT = (_UNTRUSTED, _UNKNOWN)
_WIDTH = {audience.value: width for width, audience in enumerate(Audience)}
_THIRD_PARTY = Audience.THIRD_PARTY.value
_CLEAN = {audience.value: FlowFacts(audience=audience.value) for audience in Audience}
_EMPTY: frozenset[str] = frozenset()
_ADDRESS = re.compile(r"[A-Za-z0-9.#$&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})")
"""One plain mailbox (RFC 5322 `dot-atom`), without `%` and `!`, by which some hosts pass mail on to others. A list, a
display name or anything quoted is no mailbox of which the domain can be told."""


def flow_facts(
    tool: Tool,
    traces: Mapping[str, Trace],
    arguments: Mapping[str, Any],
    *,
    plain: bool,
    novel: frozenset[str],
    inside: frozenset[str],
    when_named: bool,
) -> FlowFacts:
    """What the traces say.

    `plain`: no trace is `remarkable`.
    `novel`: target parameters whose values this session has not acted on. `inside`: mail domains of the organization.
    `when_named`: the user named a date; where nobody said when, a date of the model's own is no unknown amount.
    """
    audience = audience_of(tool, arguments, inside)
    shown = _EMPTY
    if tool.detects and (tool.speaks or audience != "self"):
        shown = detected(tool, arguments) if audience != "self" else stood_for(tool, arguments)
    if plain and not shown and not tool.carries_classes:
        return FlowFacts(audience=audience, novel_targets=novel) if novel else _CLEAN[audience]
    parameters = tool.parameters
    sets: dict[str, set[str]] = {}
    classes: set[str] = set(shown)

    def mark(fact: str, name: str) -> None:
        sets.setdefault(fact, set()).add(name)

    for name, trace in traces.items():
        parameter = parameters[name]
        classes |= trace.classes
        classes |= parameter.classes
        role, origin = parameter.role, trace.origin
        if role is _TARGET:
            if origin is _UNTRUSTED:
                mark("untrusted_targets", name)
            elif origin is _UNKNOWN:
                mark("unknown_targets", name)
            if trace.contested:
                mark("contested_targets", name)
            if trace.pointed:
                mark("pointed_targets", name)
            if trace.composed:
                mark("composed_targets", name)
        elif role is _MAGNITUDE:
            if origin is _UNTRUSTED:
                mark("untrusted_magnitudes", name)
            elif origin is _UNKNOWN and (parameter.unit != "time" or when_named):
                mark("unknown_magnitudes", name)
        elif role is _CONTENT:
            if origin is _UNTRUSTED or trace.untrusted_text:
                mark("untrusted_content", name)
            if trace.links:
                mark("links", name)
        elif origin is _UNTRUSTED:
            mark("untrusted_options", name)
    return FlowFacts(
        audience=audience,
        novel_targets=novel,
        classes=frozenset(classes),
        **{fact: frozenset(names) for fact, names in sets.items()},
    )


def detected(tool: Tool, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Data classes that the content of a call shows by itself."""
    texts = [text for name in tool.contents for text in _texts(arguments.get(name))]
    plain = [plain for text in texts if may_disguise(text) for plain in undisguised(text)]
    return frozenset().union(*map(tool.detection.classify, texts + plain))


def stood_for(tool: Tool, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Data classes that tokens in the content of an answer stand for: who is answered would get the values back."""
    texts = (text for name in tool.contents for text in _texts(arguments.get(name)))
    return frozenset().union(*map(tool.detection.stood_for, texts))


def _texts(value: Any) -> Iterator[str]:
    """Every text in `value`; as deep as step 2 lets arguments be."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            todo += item


def remarkable(trace: Trace) -> bool:
    """Some fact says something about a value traced like that."""
    return (
        trace.origin in _SUSPECT
        or trace.contested
        or trace.composed
        or trace.untrusted_text
        or bool(trace.links or trace.classes)
    )


def audience_of(tool: Tool, arguments: Mapping[str, Any], inside: frozenset[str]) -> str:
    """Who gets to see the arguments: the contract's audience, narrowed by who they are addressed to.

    An optional recipient that is left out leaves the effect with the user, unless the act itself reaches others; mail
    to nobody but plain addresses of the organization's own domains stays inside it.
    """
    if tool.speaks:
        return str(arguments.get("audience", "self"))
    widest = tool.audience
    if _WIDTH[widest] <= 1 or (tool.reaches_others and not inside):
        return widest
    named = optional = False
    domains: set[str] = set()
    for name in tool.targets:
        value = arguments.get(name)
        if value is None or value == [] or value == "":
            optional = True
            continue
        named = True
        for item in value if isinstance(value, list) else (value,):
            address = _ADDRESS.fullmatch(item) if isinstance(item, str) else None
            domains.add(address[1].lower() if address is not None else "")
    if not named and optional and not tool.reaches_others:
        return Audience.SELF.value
    if widest == _THIRD_PARTY and inside and domains and domains <= inside:
        return Audience.ORGANIZATION.value
    return widest


def intent_facts(
    asked: Asked,
    intent: Intent,
    *,
    known: bool,
    tainted: bool,
    bound_elsewhere: frozenset[str],
    classes: frozenset[str],
) -> IntentFacts:
    """What was asked for, in words. `classes`: the data classes that flow."""
    requested, forbidden = asked.requested_by, asked.forbidden_by
    if requested == "none" and tainted:
        requested = "tool"
    sensitive = classes & SENSITIVE if classes else _EMPTY
    return IntentFacts(
        known=known,
        asked=asked.asked,
        delegated=intent.delegated,
        bound_elsewhere=bound_elsewhere,
        forbidden=forbidden != "none" and RANK[requested] > RANK[forbidden],
        requested_by=requested,
        forbidden_by=forbidden,
        sensitive_asked=bool(sensitive) and intent.asks_for_classes(sensitive),
    )


def arguments_label(tool: Tool, traces: Mapping[str, Trace]) -> Label:
    """The label that a call's arguments give to its result.

    Untrusted when one that chooses what the result is about is (a target, a filter, an amount); also when a target is
    unknown after untrusted text was read, because whoever wrote that text may have chosen it. A filter in the model's
    own words chooses among records without writing them; where they say it back, they are its echo (`echo_of`).
    What a read makes of content is as doubtful as the content. The content of an effect chooses nothing: what of it
    comes back in the result is told by what was written (`fiducial.flow.laundry`).
    """
    classes: frozenset[str] = frozenset()
    sources: tuple[Any, ...] = ()
    integrity = Integrity.TRUSTED
    for name, trace in traces.items():
        role = tool.parameters[name].role
        if role is _CONTENT:
            doubtful = not tool.side_effect and (trace.untrusted_text or trace.origin is _UNTRUSTED or _made_up(trace))
        else:
            doubtful = trace.origin is _UNTRUSTED or (role is _TARGET and _made_up(trace))
        if doubtful:
            integrity = Integrity.UNTRUSTED
            sources = sources + trace.label.sources
        if trace.classes:
            classes |= trace.classes
    return Label(integrity, classes, tuple(dict.fromkeys(sources))[:16])


def echo_of(tool: Tool, traces: Mapping[str, Trace], arguments: Mapping[str, Any]) -> Echo | None:
    """What arguments say that a third party may have chosen, to be known again in the result; `None` when none may.

    Else a look-up would make a record of whatever it is asked for.
    """
    doubtful = [name for name, trace in traces.items() if trace.origin is _UNTRUSTED or _made_up(trace)]
    if not doubtful:
        return None
    parameters = tool.parameters
    return Echo((arguments.get(name), parameters[name].keys, parameters[name].role is Role.OPTION) for name in doubtful)


def _made_up(trace: Trace) -> bool:
    """Nobody named the value, and untrusted text was read before, which may have told the model how to make it."""
    return trace.origin is _UNKNOWN and not trace.label.trusted
