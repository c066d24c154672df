"""People: their cells, their standing, and the rules that are about several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.core.clock import ManualClock
from fiducial.core.event import PersonChanged
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit, Put
from fiducial.errors import Conflict, OversightError, StoreError
from fiducial.oversight.people import CONSOLE_ROLES, People, Person, standing
from fiducial.store.memory import MemoryStore
from fiducial.store.sqlite import SqliteStore

ADA, BEN, CY = PersonId("ada"), PersonId("ben@example.org"), PersonId("cy")
HOUR = 3_600_000_000


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryStore | SqliteStore]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "fiducial.db")
    yield made
    made.close()


def _person(who: PersonId, **fields: object) -> Person:
    return msgspec.structs.replace(Person(id=who, name=str(who)), **fields)


def test_a_person_is_kept_and_every_act_is_an_event(store: MemoryStore | SqliteStore) -> None:
    people = People(store)
    known = people.add(_person(ADA, roles=("lead", "finance"), console=("viewer", "admin")), by=ADA)
    away = msgspec.structs.replace(known.person, absent_until_us=HOUR)
    people.change(away, version=known.version, by=ADA, act="absent", until_us=HOUR)
    people.note(ADA, by=ADA, act="signed-in")
    found = people.find(ADA)
    assert found is not None
    assert found.person.roles == ("finance", "lead")
    assert found.person.absent_until_us == HOUR
    acts = [record.event for record in store.ledger().entries() if isinstance(record.event, PersonChanged)]
    assert [(event.act, event.roles, event.until_us) for event in acts] == [
        ("created", ("finance", "lead", "console:admin", "console:viewer"), None),
        ("absent", (), HOUR),
        ("signed-in", (), None),
    ]


def test_what_was_read_before_another_change_is_refused(store: MemoryStore | SqliteStore) -> None:
    people = People(store)
    known = people.add(_person(ADA, console=("admin",)), by=ADA)
    people.change(msgspec.structs.replace(known.person, name="Ada L."), version=known.version, by=ADA, act="named")
    with pytest.raises(Conflict):
        people.change(known.person, version=known.version, by=ADA, act="named")
    assert people.find(ADA).person.name == "Ada L."  # type: ignore[union-attr]


def test_a_name_is_given_once(store: MemoryStore | SqliteStore) -> None:
    people = People(store)
    known = people.add(_person(ADA), by=ADA)
    people.change(msgspec.structs.replace(known.person, active=False), version=1, by=ADA, act="revoked")
    for same in (ADA, PersonId(ADA.upper()), PersonId(ADA.capitalize())):
        with pytest.raises(OversightError, match="taken"):
            people.add(_person(same), by=BEN)
    with pytest.raises(OversightError, match="add them first"):
        people.change(_person(CY), version=0, by=ADA, act="roles")


@pytest.mark.parametrize("loss", [{"active": False}, {"console": ("viewer",)}])
def test_the_last_administrator_remains(loss: dict[str, object]) -> None:
    people = People(MemoryStore())
    ada = people.add(_person(ADA, console=("admin",)), by=ADA)
    with pytest.raises(OversightError, match="administrator"):
        people.change(msgspec.structs.replace(ada.person, **loss), version=1, by=ADA, act="roles")
    people.add(_person(BEN, console=("admin",)), by=ADA)
    people.change(msgspec.structs.replace(ada.person, **loss), version=1, by=BEN, act="roles")


def test_two_who_demote_each_other_at_once_do_not_both_succeed() -> None:
    """Neither reads the other's change; the roster's cell makes the second one fail."""

    class Interleaved(MemoryStore):
        between: Callable[[], object] | None = None

        def commit(self, commit: Commit):  # type: ignore[no-untyped-def]
            if self.between is not None:
                between, self.between = self.between, None
                between()
            return super().commit(commit)

    store = Interleaved()
    people = People(store)
    ada = people.add(_person(ADA, console=("admin",)), by=ADA).person
    ben = people.add(_person(BEN, console=("admin",)), by=ADA).person
    store.between = lambda: people.change(msgspec.structs.replace(ada, console=()), version=1, by=BEN, act="roles")
    with pytest.raises(Conflict):
        people.change(msgspec.structs.replace(ben, console=()), version=1, by=ADA, act="roles")
    assert sum("admin" in known.person.console for known in people.all().values()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""}, {"id": "a b"}, {"id": "-ada"}, {"id": "a/b"}, {"id": "unknown"}, {"id": "x" * 129},
        {"name": " "}, {"name": "A\u202eb"}, {"name": "x" * 121}, {"email": "nobody"}, {"email": "a@b@c"},
        {"email": "a\x07@b.org"},
        {"roles": ("the lead",)}, {"console": ("root",)}, {"delegate": "ada"}, {"delegate": "nobody"},
    ],
)  # fmt: skip
def test_what_is_not_as_it_has_to_be_is_refused(wrong: dict[str, object]) -> None:
    people = People(MemoryStore())
    with pytest.raises(OversightError):
        people.add(_person(ADA, **wrong), by=ADA)
    assert people.all() == {}


def test_a_cell_that_is_no_person_is_an_error_and_nobody() -> None:
    store = MemoryStore()
    store.commit(Commit(changes=(Put("person/ada", b"{}"),)))
    with pytest.raises(StoreError, match="backup"):
        People(store).find(ADA)
    with pytest.raises(StoreError, match="backup"):
        People(store).standing(ADA, "lead")


def test_standing_follows_absence_and_delegation() -> None:
    clock = ManualClock()
    people = People(MemoryStore(), clock)
    now = clock.unix_us()
    people.add(_person(BEN), by=ADA)
    people.add(_person(CY), by=ADA)
    ada = people.add(_person(ADA, roles=("lead",), delegate=BEN), by=ADA)
    assert people.holders("lead") == (ADA,)
    people.change(msgspec.structs.replace(ada.person, absent_until_us=now + HOUR), version=1, by=ADA, act="absent")
    assert people.standing(ADA, "lead") is None
    assert people.holders("lead") == (BEN,)
    found = people.standing(BEN, "lead")
    assert found is not None
    assert found.instead_of == ADA
    approver = people.approver(BEN)
    assert approver is not None
    assert (approver.roles, approver.stands_in) == (frozenset({"lead"}), {"lead": ADA})
    assert approver.deputy_of == {ADA}
    assert (people.roles_of(BEN), people.roles_of(ADA)) == (frozenset(), frozenset({"lead"})), "their own, away or not"
    # Delegation does not pass on.
    people.change(_person(BEN, delegate=CY, absent_until_us=now + HOUR), version=1, by=BEN, act="absent")
    assert people.holders("lead") == ()
    clock.advance(timedelta(hours=2))
    assert people.holders("lead") == (ADA,)
    assert people.standing(PersonId("nobody"), "lead") is None
    assert people.roles_of(PersonId("nobody")) is None


ids = st.sampled_from([PersonId(name) for name in "abcd"])


@st.composite
def groups(draw: st.DrawFn) -> dict[PersonId, Person]:
    return {
        id: _person(
            id,
            roles=tuple(draw(st.sets(st.sampled_from(["x", "y"])))),
            absent_until_us=draw(st.sampled_from([0, 10])),
            delegate=draw(st.sampled_from([None, *(other for other in "abcd" if other != id)])),
            active=draw(st.booleans()),
        )
        for id in draw(st.sets(ids))
    }


@given(groups(), ids, st.sampled_from(["x", "y", "z"]), st.sampled_from([5, 15]))
def test_whoever_stands_for_a_role_has_it_or_stands_for_one_who_is_away(
    people: dict[PersonId, Person], person: PersonId, role: str, now: int
) -> None:
    found = standing(people, person, role, now)
    me = people.get(person)
    may = me is not None and me.active and not me.absent(now)
    own = may and me is not None and role in me.roles
    lent = [p for p in people.values() if p.active and p.absent(now) and p.delegate == person and role in p.roles]
    assert (found is not None) == (may and (own or bool(lent)))
    if found is not None:
        assert (found.instead_of is None) == own


def test_console_roles_are_six() -> None:
    assert CONSOLE_ROLES == ("viewer", "approver", "operator", "auditor", "admin", "host")
