"""A call on its way: what was asked for, what was judged, and what people answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeGuard

import msgspec

from fiducial.core.call import Call
from fiducial.core.event import Entry, HoldAnswered
from fiducial.core.ids import Digest, EventId, SessionId, folded_name, mint
from fiducial.core.label import TRUSTED, Label
from fiducial.core.payload import seal
from fiducial.core.verdict import Allowed, Held, Unclear, Verdict
from fiducial.flow.trace import Trace
from fiducial.guard.arguments import NotPlain, described, plain
from fiducial.guard.budgets import Counted, Use
from fiducial.guard.compensation import Claim
from fiducial.guard.tool import Tool
from fiducial.policy.facts import Facts, PreviewFacts


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent asks for."""

    tool: str
    arguments: Mapping[str, Any]
    """A copy of plain JSON types that nobody else holds."""
    confidence: float | None = None
    runs: bool = False
    """Whether Fiducial runs the tool itself if it may."""
    approvals: frozenset[str] = frozenset()
    """Policies that a person has satisfied for exactly this call."""
    bound: Digest | None = None
    """The binding of the call that they were satisfied for; `None` in a charter's cases, which say what they assume."""
    preview: PreviewFacts | None = None
    """What a charter's case says that the preview finds."""
    claim: Claim | None = None
    """The effect that this call takes back."""
    flaw: str = ""
    """Why the arguments have no plain form; step 2 refuses them, and `arguments` describes them for the record."""
    unmasked: Callable[[], Mapping[str, Any]] | None = None
    """Gives the arguments as the tool gets them, where `arguments` have tokens in the place of values that are not to
    be known here, with the same keys. Step 2 checks them; nothing of them is kept but keyed hashes, where they go into
    a memory."""
    given: Any = None
    """The arguments as they were given, where they have a flaw: what runs where nothing is enforced."""
    via: str | None = None
    """By what it came, for the record (`CallDecided.via`)."""
    barred: str = ""
    """Why the tool is not to be used by this way, though it may be by another; step 3 refuses the call then."""


def request(
    tool: Any,
    arguments: Any,
    confidence: float | None,
    *,
    runs: bool = False,
    unmasked: Callable[[], Mapping[str, Any]] | None = None,
    via: str | None = None,
) -> Request:
    """What the agent asks for, in plain types."""
    name = str.__str__(tool) if isinstance(tool, str) else f"<{type(tool).__name__}>"
    try:
        return Request(
            tool=name, arguments=plain(arguments), confidence=confidence, runs=runs, unmasked=unmasked, via=via
        )
    except NotPlain as flaw:
        return Request(
            tool=name, arguments=described(arguments), confidence=confidence, runs=runs,
            flaw=str(flaw), given=arguments, via=via,
        )  # fmt: skip


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with what the later steps need."""

    verdict: Verdict
    request: Request
    tool: Tool | None = None
    """`None` for an unknown tool."""
    traces: Mapping[str, Trace] = {}
    facts: Facts | None = None
    label: Label = TRUSTED
    """What the arguments give to the result."""
    use: Use = Use()
    """What was reserved."""
    counted: tuple[Counted, ...] = ()
    """What it counts for in rate windows."""
    recorded: bool = True
    """False when the record could not be kept; it then runs only where nothing is enforced."""
    evidence: Mapping[str, str] = {}
    """Parameter → where its value came from, in words; for verdicts other than allowed."""
    masked: Mapping[str, Any] | None = None
    """The arguments as the tool gets them, where the verdict masks any of them."""

    @property
    def passed(self) -> Mapping[str, Any]:
        """The arguments as the tool gets them. The record holds nothing else."""
        return self.request.arguments if self.masked is None else self.masked

    @property
    def may_run(self) -> bool:
        """The tool may run: it is allowed, or the verdict is not enforced."""
        return isinstance(self.verdict, Allowed) or not self.verdict.enforced


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook is given: everything a person needs to decide."""

    verdict: Held | Unclear
    """With reasons, evidence, role and quorum, or the question."""
    call: Call
    """What the agent wants to do."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook returns; anything else leaves the call as it is."""

    approved: bool
    by: str = "hook"
    """Who answered."""
    others: tuple[str, ...] = ()
    """Who else agreed, where the quorum is more than one; the same name twice counts once."""
    note: str = ""
    """What they said; told to the agent on refusal."""

    @property
    def people(self) -> frozenset[str]:
        """Everybody who agreed; one person however often and however the name is written."""
        return frozenset(map(folded_name, (self.by, *self.others)))


def sound(answer: object) -> TypeGuard[Answer]:
    """`answer` is an `Answer` whose every field has its type: nothing that merely counts as true approves."""
    if not isinstance(answer, Answer):
        return False
    given: tuple[Any, Any] = (answer.approved, answer.others)
    if type(given[0]) is not bool or type(given[1]) is not tuple:
        return False
    names = (answer.by, *answer.others)
    return all(map(_text, (*names, answer.note))) and all(name.strip() for name in names)


def _text(value: object) -> bool:
    """`value` is text that has a UTF-8 form."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def answer_entry(session_id: SessionId, now: int, verdict: Held | Unclear, answer: Answer) -> Entry:
    """The record of an answer."""
    if not answer.approved:
        kind: Literal["approved", "rejected", "answered"] = "rejected"
    else:
        kind = "approved" if isinstance(verdict, Held) else "answered"
    payloads = (seal("note", answer.note.encode("utf-8", "replace")),) if answer.note else ()
    return Entry(
        HoldAnswered(
            id=EventId(mint("evt", now // 1000)),
            session=session_id,
            at_us=now,
            payloads=tuple(payload.ref for payload in payloads),
            decision=verdict.decision,
            answer=kind,
            by=answer.by[:128],
        ),
        payloads,
    )
