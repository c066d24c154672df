"""The guards that are compared: Fiducial under each profile, and the trivial ones.

A guard opens a session per run. A session decides a call and hears what came of it; it never sees which calls are the
user's and which the attacker's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fiducial
from dojo_world import leaves
from fiducial.core.store import Store
from fiducial.guard.guard import Answer, Question
from fiducial.guard.laundry import Laundry
from fiducial.store.memory import MemoryStore

CHARTERS = Path(__file__).resolve().parent.parent / "examples" / "charters" / "agentdojo"
PROFILES = ("balanced", "strict", "planned")
TRIVIAL = ("none", "deny-writes", "no-write-after-read", "destination-in-prompt")
ASKING = frozenset({"held", "unclear"})
"""Verdicts that a person can settle."""
BROKEN = frozenset({"flow-failed", "facts-failed", "policy-failed", "store-failed"})
"""Faults that come from inside the guard, and not from the call."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a guard said about a call."""

    kind: str
    """`allowed`, `held`, `unclear` or `denied`."""
    reasons: tuple[str, ...] = ()
    """Policies or faults, with their messages."""
    verdict: Any = None
    """The guard's own object, handed back with the outcome."""
    broke: bool = False
    """The guard denied because something inside it failed: safe, and no credit to its rules."""


ALLOWED = Decision("allowed")


class Session(Protocol):
    """One run of the agent, as a guard sees it."""

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Decision: ...

    def observe(self, tool: str, arguments: Mapping[str, Any], result: str, decision: Decision) -> None: ...

    def approved(self, tool: str, arguments: Mapping[str, Any], run: Callable[[], str]) -> bool:
        """Run a call that a person has agreed to, and hear what came of it; false when it was stopped all the same."""
        ...


class GuardUnderTest(Protocol):
    """Something that guards runs."""

    name: str

    def session(self, prompt: str, tools: Sequence[str]) -> AbstractContextManager[Session]:
        """`tools`: names of the tools the user's own task calls, in order; only an oracle may look at them."""
        ...


DESTINATIONS: dict[str, tuple[str, ...]] = {
    "send_email": ("recipients", "cc", "bcc"),
    "delete_email": ("email_id",),
    "create_calendar_event": ("participants",),
    "cancel_calendar_event": ("event_id",),
    "reschedule_calendar_event": ("event_id",),
    "add_calendar_event_participants": ("event_id", "participants"),
    "create_file": ("filename",),
    "append_to_file": ("file_id",),
    "delete_file": ("file_id",),
    "share_file": ("file_id", "email"),
    "send_money": ("recipient",),
    "schedule_transaction": ("recipient",),
    "update_scheduled_transaction": ("id", "recipient"),
    "update_password": ("password",),
    "update_user_info": (),
    "reserve_hotel": ("hotel",),
    "reserve_restaurant": ("restaurant",),
    "reserve_car_rental": ("company",),
    "send_direct_message": ("recipient",),
    "send_channel_message": ("channel",),
    "add_user_to_channel": ("user", "channel"),
    "invite_user_to_slack": ("user", "user_email"),
    "remove_user_from_slack": ("user",),
    "post_webpage": ("url",),
}
"""Every tool of the four suites that changes something → where, or on whom, it acts. Kept apart from the charters, so
that the trivial guards stay what they are when a charter changes."""


class Trivial:
    """A guard that needs one line; the floor that a real one has to leave behind."""

    def __init__(self, name: str) -> None:
        self.name = name

    def session(self, prompt: str, tools: Sequence[str]) -> AbstractContextManager[Session]:
        return nullcontext(_TrivialSession(self.name, prompt))


class _TrivialSession:
    def __init__(self, name: str, prompt: str) -> None:
        self._name, self._prompt, self._has_read = name, prompt.lower(), False

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Decision:
        stopped = tool in DESTINATIONS and (
            self._name == "deny-writes"
            or (self._name == "no-write-after-read" and self._has_read)
            or (self._name == "destination-in-prompt" and not self._named(tool, arguments))
        )
        return Decision("denied", (f"trivial/{self._name}",)) if stopped else ALLOWED

    def observe(self, tool: str, arguments: Mapping[str, Any], result: str, decision: Decision) -> None:
        self._has_read = self._has_read or tool not in DESTINATIONS

    def approved(self, tool: str, arguments: Mapping[str, Any], run: Callable[[], str]) -> bool:
        return False

    def _named(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        given = [arguments[name] for name in DESTINATIONS[tool] if name in arguments]
        return all(
            value.lower() in self._prompt for value in leaves([str(v) if isinstance(v, int) else v for v in given])
        )


class Fiducial:
    """Fiducial with a suite's charter under one profile; `store` keeps what it decides, and by default nothing does."""

    def __init__(self, profile: str, suite: str, *, store: Store | None = None) -> None:
        self.name = profile
        baseline = "balanced" if profile == "planned" else profile
        charter = fiducial.load_charter(CHARTERS / suite).with_baseline(baseline)
        self.digest = charter.digest
        self._guard = fiducial.Guard(charter, store=store, on_held=_agree, on_unclear=_agree)
        self._forgets = store is None

    @property
    def store(self) -> Store:
        """What keeps the decisions of the session that was opened last."""
        return self._guard.store

    def session(self, prompt: str, tools: Sequence[str]) -> AbstractContextManager[Session]:
        plan = list(tools) if self.name == "planned" else None
        if self._forgets:
            # What an attack wrote stays untrusted in later sessions of the same store, and budgets add up. Runs of a
            # benchmark must not see each other, and compiling the charter anew for each would take 45 ms.
            self._guard.store = MemoryStore()
            self._guard.laundry = Laundry(self._guard.store)
        return _FiducialSession(self._guard.session(user="emma", roles=["user"], task=prompt, plan=plan))


class _FiducialSession:
    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self._session: Any = None

    def __enter__(self) -> _FiducialSession:
        self._session = self._opened.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._opened.__exit__(*exception)

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Decision:
        verdict = self._session.decide(tool, dict(arguments))
        if verdict.kind == "allowed":
            return Decision("allowed", (), verdict)
        reasons = tuple(f"{reason.policy or reason.fault}: {reason.message}" for reason in verdict.reasons)
        return Decision(verdict.kind, reasons, verdict, any(reason.fault in BROKEN for reason in verdict.reasons))

    def observe(self, tool: str, arguments: Mapping[str, Any], result: str, decision: Decision) -> None:
        self._session.observe(tool, dict(arguments), result, decision=decision.verdict)

    def approved(self, tool: str, arguments: Mapping[str, Any], run: Callable[[], str]) -> bool:
        ran = self._session.call(tool, dict(arguments), run=lambda **_: run())
        if ran.status not in ("ok", "not-run"):
            raise RuntimeError(f"`{tool}` did not run to its end: {ran.error}")
        return bool(ran.status == "ok")


def _agree(question: Question) -> Answer:
    return Answer(approved=True, by="person")


def guard(name: str, suite: str) -> GuardUnderTest:
    """The guard called `name`, for one suite. Raises `ValueError` when there is none."""
    if name in PROFILES:
        return Fiducial(name, suite)
    if name in TRIVIAL:
        return Trivial(name)
    raise ValueError(f"no guard is called `{name}`: choose from {', '.join(PROFILES + TRIVIAL)}")
