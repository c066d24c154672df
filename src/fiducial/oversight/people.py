"""People: who oversees agents, what they may do, and who stands in for them.

A person is one cell, `person/<id>`. The id is the name by which the host's own sign-in knows them, because the user of
a session and the person who answers for it are compared by it. Two kinds of role are kept apart:

roles     roles of the charter, such as `finance-lead`: whose requests a person may answer
console   what a person may do in the console: `viewer`, `approver`, `operator`, `auditor`, `admin`

What a person may answer, now (`People.standing`):

1. A person who is unknown or not active may answer nothing.
2. A person who is absent may answer nothing until they are back: while somebody stands in for them, one place must not
   be taken twice.
3. A person who has the role answers in their own place.
4. Otherwise a person to whom an absent, active holder of the role has delegated answers in that one's place. Delegation
   does not pass on: who stands in for somebody cannot have it from a third.

Every change is a commit of the new cell with its `PersonChanged`, under the precondition that neither the person nor
the roster (`people`, which every change renews) has changed since it was read. So the rules that are about several
people at once, such as that one active administrator remains, hold whatever happens at the same time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from fiducial.core.clock import Clock, SystemClock
from fiducial.core.event import Entry, PersonChanged
from fiducial.core.ids import EventId, PersonId, folded_name, mint
from fiducial.core.store import Add, Cell, Commit, Put, Store, Unchanged
from fiducial.errors import OversightError, StoreError
from fiducial.oversight.hold import Approver

ConsoleRole: TypeAlias = Literal["viewer", "approver", "operator", "auditor", "admin", "host"]
"""`viewer` reads; `approver` answers requests; `operator` halts, resumes and takes back; `auditor` reads everything and
verifies; `admin` changes people; `host` is a program that runs agents, and comes through the doors (`gateway`) with a
token. None includes another."""

CONSOLE_ROLES: tuple[ConsoleRole, ...] = get_args(ConsoleRole)
PREFIX = "person/"
"""Where people are kept."""
ROSTER = "people"
"""The cell that every change of any person renews."""
MAX_NAME = 120
"""Characters of a person's name."""
MAX_ROLES = 64
"""Roles of the charter that one person may have."""
UNKNOWN = PersonId("unknown")
"""Whom an event is about when somebody signs in under a name that nobody has: what they typed may be a password."""
_NOTHING = Commit()
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,126}[A-Za-z0-9])?")
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_EMAIL = re.compile(r"[^\s@\"<>()\[\]\\,;:]{1,64}@[A-Za-z0-9.-]{1,190}")


class Person(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person who oversees agents."""

    id: PersonId
    """As the host's sign-in knows them; compared with the user of a session. Letters, digits and `._@+-`."""
    name: str
    """What people call them."""
    roles: tuple[str, ...] = ()
    """Roles of the charter, sorted."""
    console: tuple[ConsoleRole, ...] = ()
    """What they may do in the console, sorted."""
    email: str = ""
    """Where they are told, and by which an identity provider's first sign-in is matched; empty: none."""
    absent_until_us: int = 0
    """Microseconds since 1970 UTC until which they are away; 0: they are not."""
    delegate: PersonId | None = None
    """Who stands in for them while they are absent."""
    active: bool = True
    """False: they may sign in no more and answer nothing. People are never deleted: the log names them."""

    def absent(self, now_us: int) -> bool:
        """Away at that instant."""
        return now_us < self.absent_until_us


class Known(msgspec.Struct, frozen=True):
    """A person as read."""

    person: Person
    version: int
    """Of their cell; a change is refused when it has another by then."""


class Standing(msgspec.Struct, frozen=True):
    """That a person may answer for a role."""

    role: str
    instead_of: PersonId | None = None
    """Whose place they take, by delegation."""


class People:
    """The people in a store. Usable from any thread."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._read: tuple[int, dict[PersonId, Known]] = 0, {}
        """Version of the roster, and everybody as they were when it was read or since; replaced as a whole."""

    def find(self, person: PersonId) -> Known | None:
        """The person with that id. Raises `StoreError` when the cell cannot be read."""
        if not _ID.fullmatch(person):
            return None
        cell = self._store.read([PREFIX + person]).get(PREFIX + person)
        return None if cell is None else _known(cell)

    def all(self) -> dict[PersonId, Known]:
        """Everybody, in order of their ids, active or not."""
        # The roster first: whoever changes after it was read renews it, and is read again at the next look.
        roster = self._store.read([ROSTER]).get(ROSTER)
        version, kept = self._read
        if roster is None or roster.version != version:
            found = [_known(cell) for cell in self._store.scan(PREFIX).values()]
            kept = {known.person.id: known for known in found}
            self._read = (roster.version if roster is not None else 0), kept
        return dict(kept)

    def standing(self, person: PersonId, role: str) -> Standing | None:
        """In whose place `person` may answer for `role` now; `None`: they may not. Numbered as above."""
        everybody = {id: known.person for id, known in self.all().items()}
        return standing(everybody, person, role, self._clock.unix_us())

    def approver(self, person: PersonId) -> Approver | None:
        """What the person may decide now, as the desk asks for it; `None` when they may decide nothing at all."""
        everybody = {id: known.person for id, known in self.all().items()}
        now = self._clock.unix_us()
        wanted = sorted({role for each in everybody.values() for role in each.roles})
        found = [each for role in wanted if (each := standing(everybody, person, role, now)) is not None]
        me = everybody.get(person)
        if me is None or not me.active or me.absent(now):
            return None
        return Approver(
            id=person,
            roles=frozenset(each.role for each in found),
            stands_in={each.role: each.instead_of for each in found if each.instead_of is not None},
            deputy_of=frozenset(
                each.id for each in everybody.values() if each.active and each.absent(now) and each.delegate == person
            ),
        )

    def roles_of(self, person: PersonId) -> frozenset[str] | None:
        """The person's own roles, away or not; `None` for one unknown or not active. For `Desk(roles_of=…)`."""
        known = self.find(person)
        return frozenset(known.person.roles) if known is not None and known.person.active else None

    def holders(self, role: str) -> tuple[PersonId, ...]:
        """Who may answer for `role` now, in their own place or in another's."""
        everybody = {id: known.person for id, known in self.all().items()}
        now = self._clock.unix_us()
        return tuple(id for id in everybody if standing(everybody, id, role, now) is not None)

    def add(self, person: Person, *, by: PersonId, act: str = "created", also: Commit = _NOTHING) -> Known:
        """Make `person` known, and keep `also` by the same commit.

        Raises `OversightError` when the id is taken or a field is not as it has to be, and as `change` does.
        """
        return self._keep(person, 0, by=by, act=act, until_us=None, also=also)

    def change(
        self,
        person: Person,
        *,
        version: int,
        by: PersonId,
        act: str,
        until_us: int | None = None,
        also: Commit = _NOTHING,
    ) -> Known:
        """Put `person` in the place of what was read as `version`, on record as `act` by `by`.

        `also` is kept by the same commit, or nothing is. Raises `OversightError` when a field is not as it has to be or
        no active administrator would remain, `Conflict` when the person, the roster or what `also` rests on has changed
        meanwhile, another `StoreError` when it could not be kept.
        """
        if version < 1:
            raise OversightError(f"there is no `{person.id}` to change; add them first")
        return self._keep(person, version, by=by, act=act, until_us=until_us, also=also)

    def note(self, person: PersonId, *, by: PersonId, act: str, until_us: int | None = None) -> None:
        """Record an act about `person` that leaves their cell as it is, such as a sign-in, durably."""
        self._store.commit(Commit(entries=(self.entry(person, by=by, act=act, until_us=until_us),))).result()

    def entry(
        self,
        person: PersonId,
        *,
        by: PersonId,
        act: str,
        roles: tuple[str, ...] = (),
        until_us: int | None = None,
    ) -> Entry:
        """The record of an act, for a commit with changes of its own."""
        now = self._clock.unix_us()
        event = PersonChanged(
            id=EventId(mint("evt", now // 1000)), session=None, at_us=now,
            person=person, by=by, act=act, roles=roles, until_us=until_us,
        )  # fmt: skip
        return Entry(event)

    def _keep(
        self, person: Person, version: int, *, by: PersonId, act: str, until_us: int | None, also: Commit
    ) -> Known:
        person = _checked(person)
        key = PREFIX + person.id
        # The roster first: whatever changes after it was read fails the commit.
        roster = self._store.read([ROSTER]).get(ROSTER)
        everybody = {known.person.id: known.person for known in self.all().values()}
        # `Ann` and `ann` are one person wherever it matters who decides, so they are not two here.
        same = next((one for one in everybody if folded_name(one) == folded_name(person.id)), None)
        if version == 0 and same is not None:
            raise OversightError(f"the name `{same}` is taken; people are never deleted, only made inactive")
        before = everybody.get(person.id)
        _still_administered(everybody, person)
        if person.delegate is not None and person.delegate not in everybody:
            raise OversightError(f"there is no `{person.delegate}` to stand in")
        shown = _all_roles(person) if before is None or _all_roles(before) != _all_roles(person) else ()
        self._store.commit(
            Commit(
                entries=(self.entry(person.id, by=by, act=act, roles=shown, until_us=until_us), *also.entries),
                preconditions=(
                    Unchanged(key, version), Unchanged(ROSTER, roster.version if roster else 0), *also.preconditions,
                ),
                changes=(Put(key, msgspec.json.encode(person)), Add(ROSTER, 1), *also.changes),
            )
        ).result()  # fmt: skip
        return Known(person, version + 1)


def standing(people: Mapping[PersonId, Person], person: PersonId, role: str, now_us: int) -> Standing | None:
    """In whose place `person` may answer for `role` at `now_us`; numbered as above."""
    # 1 and 2
    me = people.get(person)
    if me is None or not me.active or me.absent(now_us):
        return None
    # 3
    if role in me.roles:
        return Standing(role)
    # 4
    for other in people.values():
        if other.active and other.absent(now_us) and other.delegate == person and role in other.roles:
            return Standing(role, instead_of=other.id)
    return None


def _known(cell: Cell) -> Known:
    try:
        return Known(msgspec.json.decode(cell.value, type=Person), cell.version)
    except msgspec.MsgspecError as error:
        raise StoreError("a person's cell cannot be read; restore the database from a backup") from error


def _checked(person: Person) -> Person:
    """`person` with sorted roles. Raises `OversightError` for what is not as it has to be."""
    if not _ID.fullmatch(person.id) or person.id == UNKNOWN:
        raise OversightError(
            "a person's id is 1 to 128 letters, digits and `._@+-`, and neither begins nor ends with a sign"
        )
    if not person.name.strip() or len(person.name) > MAX_NAME or not person.name.isprintable():
        raise OversightError(f"a person's name has 1 to {MAX_NAME} printable characters")
    if person.email and not (_EMAIL.fullmatch(person.email) and person.email.isprintable()):
        raise OversightError("that is not an e-mail address")
    if len(person.roles) > MAX_ROLES or not all(_ROLE.fullmatch(role) for role in person.roles):
        raise OversightError(f"roles are words of letters, digits and `_.-`, at most {MAX_ROLES} of them")
    if not set(person.console) <= set(CONSOLE_ROLES):
        raise OversightError(f"console roles are {', '.join(CONSOLE_ROLES)}")
    if person.delegate == person.id:
        raise OversightError("nobody stands in for themselves")
    return msgspec.structs.replace(
        person, roles=tuple(sorted(set(person.roles))), console=tuple(sorted(set(person.console)))
    )


def _still_administered(everybody: Mapping[PersonId, Person], person: Person) -> None:
    """Refuse a change that takes the last active administrator away."""
    if not any(_administers(one) for one in everybody.values()):
        return
    if not any(_administers(one) for one in {**everybody, person.id: person}.values()):
        raise OversightError("one active administrator has to remain; make somebody else one first")


def _administers(person: Person) -> bool:
    return person.active and "admin" in person.console


def _all_roles(person: Person) -> tuple[str, ...]:
    """As events list them: a console role stands behind `console:`."""
    return (*person.roles, *(f"console:{role}" for role in person.console))


__all__ = ["CONSOLE_ROLES", "UNKNOWN", "ConsoleRole", "Known", "People", "Person", "Standing", "standing"]
