"""What a session's calls store into memories, what they recall, and what of that is handed on.

`fiducial.guard.memories` keeps it for all sessions; here it meets one session: who it is for, and what it has seen.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.model import Memories as Declared
from fiducial.core.ids import Digest
from fiducial.core.label import MAX_SOURCES, Integrity
from fiducial.core.path import Path
from fiducial.core.store import Add, Put
from fiducial.core.verdict import Allowed
from fiducial.errors import StoreError
from fiducial.flow.formats.parse import parse
from fiducial.flow.provenance import EVERYTHING
from fiducial.flow.structure import Root, leaves, path_of, scalar_text, texts_in, untold
from fiducial.flow.trace import Trace, joined
from fiducial.guard.effects import Ran
from fiducial.guard.facts import detected
from fiducial.guard.recall import Item, Recall
from fiducial.guard.tool import Tool

if TYPE_CHECKING:
    from fiducial.guard.judgement import Judgement
    from fiducial.guard.knowledge import Knowledge

log = logging.getLogger("fiducial.guard")
WITHHELD = "nothing that it gave was handed on, as it is not known to be what this user has stored"
"""What is said of a result, or of an error, in place of it."""


def declared(session: Knowledge, memory: str) -> Declared:
    """What the charter says of `memory`. Raises `StoreError` when it says nothing."""
    found = session.ground.charter.about.memories.get(memory)
    if found is None:
        raise StoreError(f"charter.yaml declares no memory `{memory}`")
    return found


def private(session: Knowledge, memory: str) -> bool:
    """What is stored in `memory` comes back to who stored it alone; so it is taken where nothing is declared."""
    found = session.ground.charter.about.memories.get(memory)
    return found is None or found.audience == "self"


def keep(session: Knowledge, judgement: Judgement, payload: Digest, now: int) -> tuple[Put | Add, ...]:
    """What keeps track of what a call is about to store; `payload`: of the decision. Called with the lock held.

    It is untrusted when a third party may have chosen any of it: as instructions to another agent are, and not only
    where words of somebody untrusted are found in it, because it may be read as such in any later session. It is
    grounded when sources say all that it claims. Raises `StoreError` when the charter does not declare the memory.
    """
    tool, verdict, traces = judgement.tool, judgement.verdict, judgement.traces
    if tool is None or not tool.keeps:
        return ()
    memory = declared(session, tool.keeps)
    provenance, arguments = session.provenance, judgement.request.arguments
    classes = detected(tool, arguments).union(
        *(trace.classes | tool.parameters[name].classes for name, trace in traces.items())
    )
    content = {name: arguments[name] for name in tool.contents if name in arguments}
    own = _own(session, traces, content)
    content = {name: judgement.passed[name] for name in content}
    came_from = joined(traces[name] for name in content)
    texts = list(texts_in(content))
    unmasked = judgement.request.unmasked
    if unmasked is not None and not (isinstance(verdict, Allowed) and verdict.masks):
        # What comes back is what the tool gets; in another session its values have other tokens.
        given = unmasked()
        texts += texts_in({name: given[name] for name in content})
    item = Item(
        id=verdict.decision,
        memory=tool.keeps,
        session=session.id,
        user=session.ground.memories.owner(session.user),
        payload=payload,
        integrity=Integrity.TRUSTED if own else Integrity.UNTRUSTED,
        classes=tuple(sorted(classes)),
        read=tuple(sorted(session.read - classes)),
        sources=tuple(dict.fromkeys(where.source for where in came_from.where))[:MAX_SOURCES],
        origin=came_from.origin.value,
        grounded=any(each.grounded for each in session.tools.values())
        and not provenance.grounding("\n".join(texts_in(content))).ungrounded,
        stored_us=now,
        expires_us=now + int(memory.expires.total_seconds() * 1_000_000),
    )
    return session.ground.memories.changes(item, memory, texts)


def _own(session: Knowledge, traces: Mapping[str, Trace], content: Mapping[str, Any]) -> bool:
    """Nobody untrusted can have chosen any of `content`, nor where it is stored."""
    provenance = session.provenance
    if any(trace.doubtful(tainted=provenance.tainted) for trace in traces.values()):
        return False
    return not any(
        session.chosen(text, traces[name]) and not provenance.stands(text)
        for name, value in content.items()
        for text in texts_in(value)
    )


def recall(session: Knowledge, tool: Tool, *, anywhere: bool = False, at_us: int | None = None) -> Recall:
    """What is known of the texts in a result of `tool`, now or as of `at_us`: nothing, if the store cannot be read.

    `anywhere`: texts of the memory may stand at other places than the contract says.
    """
    memories, at = session.ground.memories, EVERYTHING if anywhere else tool.recalled
    try:
        memory = declared(session, tool.recalls)
        return memories.recall(tool.recalls, memory, session.user, at, at_us=at_us, outside=session.outside)
    except StoreError as error:
        log.error("what `%s` recalls is not known: %s", tool.name, error)
        return memories.nothing(at, frozenset(BUILT_IN_CLASSES).union(session.ground.charter.about.data_classes))


def confined(session: Knowledge, tool: Tool | None) -> bool:
    """What `tool` gives may be handed on only as far as it is known to be the user's."""
    return (
        tool is not None and bool(tool.recalls) and session.ground.mode == "enforce" and private(session, tool.recalls)
    )


def released(session: Knowledge, judgement: Judgement, ran: Ran) -> Ran:
    """What of a result may be handed on.

    From a memory of the user's alone comes what is known to be the user's and has not expired, and beside it what the
    contract calls the tool's own records. A member of a list that holds anything else is left out of it; where the
    result has no such members, all of it is. What the tool says when it fails is left out too, as no contract
    describes it.
    """
    tool = judgement.tool
    if tool is None or not confined(session, tool):
        return ran
    outcome = "failed" if ran.outcome == "failed" else "unknown"
    withheld = msgspec.structs.replace(ran, outcome=outcome, value=None, error=None, withheld=True)
    if ran.error is not None:
        return withheld
    try:
        known = recall(session, tool)
        strays = _strays(tool, known, ran.value)
        if not strays:
            return ran
        members = {known.member(path) for path in strays}
        # Where they stand is not logged: the keys on the way may be somebody's words.
        log.warning("%d parts of what `%s` recalled are not known to be this user's", len(members), tool.name)
        if () in members:
            return withheld
        left = _without(ran.value, members)
        return withheld if _strays(tool, known, left) else msgspec.structs.replace(ran, value=left, withheld=True)
    except Exception as error:  # noqa: BLE001 - what cannot be gone through is not handed on
        log.error("what `%s` recalled cannot be gone through (%s)", tool.name, type(error).__name__)
        return withheld


def _strays(tool: Tool, known: Recall, value: Any) -> set[Path]:
    """Where in a result stands what is not known to be the user's, read as it is when it is taken in."""
    own = (*tool.trusted, *tool.prose, *tool.recalled, *((tool.documents,) if tool.documents is not None else ()))
    if isinstance(value, bytes | bytearray | memoryview):
        value = scalar_text(value)
    parsed = parse(value) if isinstance(value, str) else value
    found = set()
    for place, _, raw, key in leaves(parsed, Root("recalled"), exact_indices=True):
        path, text = path_of(place), raw if isinstance(raw, str) else scalar_text(raw)
        if not text:
            strange = untold(raw)
        elif known.covers(path, key=key):
            strange = known.strange(text)
        else:
            strange = not any(pattern.covers(path) or (key and pattern.names(path)) for pattern in own)
        if strange:
            found.add(path)
    return found


def _without(value: Any, members: set[Path]) -> Any:
    """`value` without those members. Raises `ValueError` when they cannot be taken out of it."""
    if isinstance(value, str):
        return json.dumps(_without(json.loads(value), members), ensure_ascii=False)
    here = {path[0] for path in members if len(path) == 1}
    below: dict[str | int, set[Path]] = {}
    for path in members:
        if path[0] not in here:
            below.setdefault(path[0], set()).add(path[1:])
    if isinstance(value, Mapping):
        named = ((key if type(key) is str else scalar_text(key), key, member) for key, member in value.items())
        return {
            key: _without(member, below[name]) if name in below else member
            for name, key, member in named
            if name not in here
        }
    if isinstance(value, (list, tuple)):
        return [
            _without(member, below[index]) if index in below else member
            for index, member in enumerate(value)
            if index not in here
        ]
    raise ValueError(f"a {type(value).__name__} has no members")


__all__ = ["WITHHELD", "confined", "declared", "keep", "private", "recall", "released"]
