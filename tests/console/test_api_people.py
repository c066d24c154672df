"""The HTTP interface about people, the charter, appeals and decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from console_world import Browser, held

from fiducial.console.app import Console
from fiducial.console.services import Services
from fiducial.core.event import PersonChanged
from fiducial.core.ids import PersonId
from fiducial.oversight.hold import Approver
from fiducial.oversight.people import ConsoleRole, Person

BEN = Approver(id=PersonId("ben"), roles=frozenset({"operator", "fraud-desk"}))


class Program:
    """A program with a token of a person's."""

    def __init__(self, console: Console, person: ConsoleRole) -> None:
        known = console.services.people.find(PersonId(person))
        assert known is not None
        roles = frozenset(known.person.console)
        secret = console.services.accounts.make_token(known.person, "test", roles, timedelta(days=1))
        self.browser, self.headers = Browser(console), {"Authorization": f"Bearer {secret}"}

    def get(self, path: str):  # type: ignore[no-untyped-def]
        return self.browser.get(f"/api/v1{path}", headers=self.headers)

    def post(self, path: str, body: object = None):  # type: ignore[no-untyped-def]
        return self.browser.post(f"/api/v1{path}", headers=self.headers, json=body)


@pytest.fixture
def admin(console: Console) -> Program:
    return Program(console, "admin")


def _acts(services: Services, person: str) -> list[tuple[str, str, tuple[str, ...]]]:
    events = [each.event for each in services.ledger.entries() if isinstance(each.event, PersonChanged)]
    return [(event.act, event.by, event.roles) for event in events if event.person == person]


def test_a_person_is_added_changed_and_revoked_and_each_act_is_on_record(services: Services, admin: Program) -> None:
    cleo = {"id": "cleo@example.org", "name": "Cleo", "roles": ["fraud-desk"], "console": ["approver"]}
    added = admin.post("/people", cleo)
    assert added.status_code == 201
    assert added.json()["person"]["console"] == ["approver"]
    assert admin.post("/people", cleo).status_code == 422, "the name is taken"
    assert any(each["id"] == "cleo@example.org" for each in admin.get("/people").json()["people"])
    version = admin.get("/people/cleo@example.org").json()["version"]
    change = {"version": version, "roles": ["operator"], "console": ["approver", "viewer"]}
    changed = admin.post("/people/cleo@example.org", change)
    assert changed.status_code == 200
    assert changed.json()["person"]["name"] == "Cleo", "what is left out stays"
    assert admin.post("/people/cleo@example.org", change).status_code == 409, "read again first"
    assert admin.post("/people/cleo@example.org/revoke").json() == {"ended": 0}
    off = {"version": changed.json()["version"], "active": False}
    assert admin.post("/people/cleo@example.org", off).json()["person"]["active"] is False
    assert admin.post("/people/cleo@example.org/link").status_code == 422
    assert admin.post("/people/cleo@example.org", {"version": 10**30}).status_code == 422
    assert _acts(services, "cleo@example.org") == [
        ("created", "admin", ("fraud-desk", "console:approver")),
        ("roles", "admin", ("operator", "console:approver", "console:viewer")),
        ("revoked", "admin", ()),
        ("revoked", "admin", ()),
        ("revoked", "admin", ()),
    ]


def test_a_token_makes_a_link_only_for_whom_it_is_as_much_as(
    console: Console, services: Services, admin: Program
) -> None:
    boss = Person(id=PersonId("boss"), name="Boss", console=("admin", "approver"), roles=("operator",))
    services.people.add(boss, by=PersonId("console"))
    secret = services.accounts.make_token(boss, "ci", frozenset({"admin"}), timedelta(days=1))
    admin.headers = {"Authorization": f"Bearer {secret}"}
    for person in ("boss", "approver"):
        refused = admin.post(f"/people/{person}/link")
        assert refused.status_code == 422
        assert "token" in refused.json()["detail"]
    link = admin.post("/people/none/link")
    assert link.status_code == 201
    assert admin.browser.get(link.json()["link"]).status_code == 200
    assert admin.post("/people/none/revoke").json() == {"ended": 1}
    assert admin.browser.get(link.json()["link"]).status_code == 404


def test_administrators_do_not_stand_in_for_others_by_their_own_hand(console: Console, services: Services) -> None:
    services.people.add(Person(id=PersonId("dora"), name="Dora", console=("admin", "approver")), by=PersonId("console"))
    browser = Browser(console).as_(services, "dora")

    def away(delegate: str, **more: object) -> int:
        known = services.people.find(PersonId("approver"))
        assert known is not None
        day = datetime.fromtimestamp(services.clock.unix_us() / 1e6, UTC).strftime("%Y-%m-%d")
        given = {"name": "Approver", "console": ["approver"], "roles": ["fraud-desk", "operator"], "active": "yes"}
        fields = {**given, "version": known.version, "until": day, "delegate": delegate, **more}
        return int(browser.submit("/people/approver", "/account", **fields).status_code)

    assert away("dora") == 422
    assert away("dora", until="") == 422, "before they go away is as good"
    assert away("viewer") == 303
    known = services.people.find(PersonId("approver"))
    assert known is not None
    mine = msgspec.structs.replace(known.person, delegate=PersonId("dora"), absent_until_us=0)
    services.people.change(mine, version=known.version, by=PersonId("approver"), act="changed")
    assert away("dora") == 422, "nor by sending them away"
    assert away("dora", until="", email="a@example.org") == 303, "what they said themselves stays"


def test_a_person_who_is_made_inactive_is_signed_out_at_once(
    console: Console, services: Services, admin: Program
) -> None:
    browser, program = Browser(console).as_(services, "viewer"), Program(console, "viewer")
    assert browser.get("/sessions").status_code == 200
    version = admin.get("/people/viewer").json()["version"]
    assert admin.post("/people/viewer", {"version": version, "active": False}).status_code == 200
    assert browser.get("/sessions").status_code == 303
    assert program.get("/sessions").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"id": "x", "name": ""},
        {"id": "no spaces", "name": "X"},
        {"id": "x", "name": "X", "console": ["root"]},
        {"id": "x", "name": "X", "roles": ["invented"]},
        {"id": "x", "name": "X", "email": "no address"},
        {"id": "x", "name": "X", "password": "secret"},
        {"id": "x"},
        [],
    ],
)
def test_what_is_no_person_is_refused(services: Services, admin: Program, body: object) -> None:
    size = services.ledger.size
    assert admin.post("/people", body).status_code == 422
    assert services.ledger.size == size


def test_administrators_do_not_give_themselves_roles_while_there_is_another(services: Services, admin: Program) -> None:
    mine = admin.get("/people/admin").json()["version"]
    last = {"version": mine, "console": ["viewer"]}
    assert admin.post("/people/admin", last).status_code == 422, "one administrator has to remain"
    assert admin.post("/people", {"id": "dora", "name": "Dora", "console": ["admin"]}).status_code == 201
    more = {"version": mine, "console": ["admin", "viewer", "operator"]}
    assert admin.post("/people/admin", more).status_code == 422
    known = services.people.find(PersonId("admin"))
    assert known is not None
    assert known.person.console == ("admin",)


def test_the_charter_is_told_to_everybody(console: Console) -> None:
    program = Program(console, "viewer")
    charter = program.get("/charter").json()
    assert charter["agent"] == "banking-assistant"
    assert [clause["id"] for clause in charter["clauses"]] == ["large-payments"]
    contracts = program.get("/contracts").json()["contracts"]
    assert contracts["send_money"]["effect"] == "irreversible"
    policies = {each["id"]: each for each in program.get("/policies").json()["policies"]}
    assert policies["charter/permit-declared"]["effect"] == "permit"
    assert "baseline/untrusted-target" in policies


def test_a_program_appeals_and_reads_how_people_decide(console: Console, services: Services) -> None:
    held(services)
    [hold] = services.desk.waiting()
    services.desk.vote(hold.id, BEN, "reject", note="no")
    operator, viewer = Program(console, "operator"), Program(console, "viewer")
    assert viewer.post(f"/requests/{hold.id}/appeal", {"why": "look again"}).status_code == 403
    assert operator.post(f"/requests/{hold.id}/appeal", {"why": " "}).status_code == 422
    again = operator.post(f"/requests/{hold.id}/appeal", {"why": "look again"})
    assert again.status_code == 201
    assert again.json()["appeals"] == hold.id
    assert operator.post(f"/requests/{hold.id}/appeal", {"why": "look again"}).status_code == 409
    assert operator.get("/decisions").status_code == 403
    [role] = viewer.get("/decisions").json()["roles"]
    assert (role["requests"], role["waiting"]) == (2, 1)
    assert role["refused"]["share"] == 1.0
    assert role["went_wrong"]["share"] is None, "no data"
