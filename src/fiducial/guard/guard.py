"""The guard: one charter in force, one store, and the sessions that run under them."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from fiducial.charter.model import Charter
from fiducial.core.clock import Clock, SystemClock
from fiducial.core.event import CharterActivated, Entry, Mode
from fiducial.core.ids import EventId, PersonId, SessionId, mint
from fiducial.core.store import Commit, Store
from fiducial.errors import SessionError
from fiducial.flow.masking.detect import Detection
from fiducial.guard.compensation import Capture
from fiducial.guard.desk import Desk
from fiducial.guard.ground import Ground
from fiducial.guard.judgement import Answer, Question
from fiducial.guard.laundry import Laundry
from fiducial.guard.leases import Leases
from fiducial.guard.memories import Memories
from fiducial.guard.plans import AnyPlan, with_plans
from fiducial.guard.reopen import reopened
from fiducial.guard.session import Session
from fiducial.guard.switches import Halt, Switches
from fiducial.guard.tool import Tool, all_ready, classes_of, detection_of
from fiducial.policy.rulebook import Rulebook, compile_rulebook
from fiducial.store.memory import MemoryStore

log = logging.getLogger("fiducial.guard")


class InForce(msgspec.Struct, frozen=True):
    """A charter made ready."""

    charter: Charter
    rulebook: Rulebook
    tools: Mapping[str, Tool]
    detection: Detection
    """What tells data classes from text."""


class Guard:
    """Decides calls under a charter and keeps what happened.

    charter      from `fiducial.load_charter` or `Charter.from_tools`
    store        where events are kept; the default keeps them in memory, unsigned
    mode         `enforce`: act on verdicts. `shadow`: record what the policies would have decided and let calls run,
                 though unknown tools, malformed arguments and halts still stop. `observe`: stop nothing
    tools        functions that previews, post-conditions and undo may run, by tool name
    captures     what takes the states that contracts want kept, and puts them back, by name
    on_held      asked, in process, about calls that are held; returns an `Answer`, or `None` to leave it held
    on_unclear   asked about calls that are unclear; returns an `Answer`, the user's words, which are heard and approve
                 nothing by themselves, or `None`
    release      what of the agent is running, for halts that name it
    desk         keeps requests to people, so that answers outlive this process: `fiducial.oversight.Desk`

    Raises `CharterError` when the charter's policies cannot be compiled, or the model that is to tell names from text
    is not there, `StoreError` when the store cannot be used,
    `SessionError` for what is no charter.
    """

    def __init__(
        self,
        charter: Charter,
        *,
        store: Store | None = None,
        mode: Mode = "enforce",
        clock: Clock | None = None,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        captures: Mapping[str, Capture] | None = None,
        on_held: Callable[[Question], Any] | None = None,
        on_unclear: Callable[[Question], Any] | None = None,
        desk: Desk | None = None,
        release: str | None = None,
    ) -> None:
        if mode not in ("observe", "shadow", "enforce"):
            raise SessionError(f"the mode `{mode}` is none of observe, shadow, enforce")
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.store: Store = store if store is not None else MemoryStore()
        self.mode: Mode = mode
        self.tools: Mapping[str, Callable[..., Any]] = MappingProxyType(dict(tools or {}))
        self.captures: Mapping[str, Capture] = MappingProxyType(dict(captures or {}))
        self.on_held = on_held
        self.on_unclear = on_unclear
        self.desk = desk
        self.switches = Switches(self.store, self.clock, release=release)
        self.laundry = Laundry(self.store)
        self.memories = Memories(self.store, self.clock, self.laundry.key_for(b"memory"))
        """What tools have stored for later calls: to be listed, and erased."""
        self.leases = Leases(self.store, self.clock)
        self._lock = threading.Lock()
        self.current = _in_force(charter)
        """The charter that new sessions get, made ready."""
        self._activated(None)

    @property
    def charter(self) -> Charter:
        """The charter that new sessions get."""
        return self.current.charter

    def use(self, charter: Charter) -> None:
        """Put another charter in force for new sessions; live ones keep theirs.

        Raises `CharterError` when it cannot be made ready; the old one then stays in force.
        """
        ready = _in_force(charter)
        with self._lock:
            previous, self.current = self.current, ready
            self._activated(previous)

    def session(
        self,
        *,
        user: str,
        roles: Iterable[str] = (),
        task: str | None = None,
        system: str | None = None,
        operator: str | None = None,
        plan: AnyPlan | None = None,
        agent: str | None = None,
    ) -> Session:
        """Open a session.

        user       on whose behalf; from the host's own authentication, never from the agent
        roles      the user's roles; one that the charter does not declare gives nothing, as no policy can name it
        task       what the user asked for, from a channel the agent does not control; `None`: not known
        system     the system prompt, operator  the operator's standing instructions
        plan       what the agent will do: a `Plan`, its JSON form, or names of tools. It is decided on when the session
                   opens (`session.planned` says what it came to); until it is accepted, no call is on it
        agent      id of the agent, when it is not the charter's

        Raises `SessionError` for a plan that does not fit the tools and for what is not of its type (`roles` is a
        collection, not one text), `StoreError` when the store cannot be read or written.
        """
        return Session(
            self._ground(), user=user, roles=self._given(roles, user), task=task, system=system, operator=operator,
            plan=plan, agent=agent,
        )  # fmt: skip

    def single(
        self, *, user: str, roles: Iterable[str] = (), task: str | None = None, agent: str | None = None
    ) -> Session:
        """A session for one decision, when nothing is known of what the agent has read and done. It counts as having
        read untrusted text, and data of every class that some tool gives; as having acted in every way that some tool
        acts in, and in none, so that a rule may want or forbid either; and as having used up every budget of sessions
        that is limited. People are not asked, as nobody would come back with what they say: what is held stays held. As
        `session` otherwise."""
        ground = msgspec.structs.replace(self._ground(), desk=None)
        session = Session(ground, user=user, roles=self._given(roles, user), task=task, agent=agent)
        session.assume(classes_of(*session.tools.values()))
        return session

    def watching(self) -> Guard:
        """A guard of this one's charter, as it is now, and store that follows what happens elsewhere: its sessions
        observe, nobody is asked, and nothing is run, not even to find out what a call would do."""
        other = copy.copy(self)
        other.mode, other.desk, other.on_held, other.on_unclear = "observe", None, None, None
        other.tools, other.captures = MappingProxyType({}), MappingProxyType({})
        return other

    def _given(self, roles: Iterable[str], user: str) -> Iterable[str]:
        """What a session begins with: the roles, and the laundry as it is."""
        self.laundry.refresh()
        roles = roles if isinstance(roles, str) else tuple(roles)
        for role in roles:
            if role not in self.current.charter.about.roles:
                # Identity providers send every group a person is in; one that no policy can name gives nothing.
                log.info("the role `%s` of `%s` is none that the charter declares; no policy can name it", role, user)
        return roles

    def reopen(self, session: str, *, takeover: str | None = None) -> Session:
        """Go on with a session whose process has ended, from what the store holds of it.

        takeover   why that process is known to be gone, when it could not give the session up and its lease has not
                   run out yet; recorded. If it is not gone, it can do nothing more all the same

        A call that was running then gets the outcome `unknown`. Raises `SessionError` when that session cannot be gone
        on with, or another process still has it, `StoreError` when it cannot be read.
        """
        return reopened(self._ground(), SessionId(session), takeover)

    def _ground(self) -> Ground:
        return Ground(
            charter=self.current.charter,
            rulebook=self.current.rulebook,
            tools=self.current.tools,
            detection=self.current.detection,
            clock=self.clock,
            store=self.store,
            mode=self.mode,
            switches=self.switches,
            laundry=self.laundry,
            memories=self.memories,
            leases=self.leases,
            runners=self.tools,
            captures=self.captures,
            on_held=self.on_held,
            on_unclear=self.on_unclear,
            desk=self.desk,
        )

    def halt(
        self,
        why: str,
        *,
        by: str = "operator",
        agent: str | None = None,
        tool: str | None = None,
        user: str | None = None,
        release: str | None = None,
    ) -> Halt:
        """Stop every call that matches all parts given, at once; with none given, every call.

        It holds for every process on the store, and voids what people approved before it. Raises `OversightError`
        without a reason, `StoreError` when it holds in this process only.
        """
        return self.switches.order(why, by=PersonId(by), agent=agent, tool=tool, user=user, release=release)

    def resume(self, halt: Halt, *, by: str, why: str = "") -> None:
        """Lift `halt`. Raises `OversightError` when it is not in force, `NotPermitted` when it stops everything and
        `by` is who ordered it."""
        self.switches.lift(halt.id, by=PersonId(by), why=why)

    def _activated(self, previous: InForce | None) -> None:
        now = self.clock.unix_us()
        event = CharterActivated(
            id=EventId(mint("evt", now // 1000)),
            session=None,
            at_us=now,
            charter=self.current.charter.digest,
            previous=previous.charter.digest if previous is not None else None,
        )
        self.store.commit(Commit(entries=(Entry(event),), durable=False))


def _in_force(charter: Charter) -> InForce:
    if not isinstance(charter, Charter):
        raise SessionError(f"a guard takes a charter and not {type(charter).__name__}: `load_charter(…)` reads one")
    rulebook = compile_rulebook(charter)
    detection = detection_of(charter)
    return InForce(charter, rulebook, MappingProxyType(with_plans(all_ready(charter, rulebook, detection))), detection)


__all__ = ["Answer", "Guard", "Halt", "InForce", "Question"]
