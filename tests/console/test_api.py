"""The HTTP interface: every operation by every role, only by token, and held to its own description."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from console_world import ACCOUNT, NOBODY, ROLES, Browser, held, pay
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fiducial.console.access import ACCESS, ANYONE, PUBLIC
from fiducial.console.api import OPERATIONS
from fiducial.console.app import Console
from fiducial.console.openapi import document
from fiducial.console.services import Services
from fiducial.core.event import CallDecided
from fiducial.core.ids import PersonId, SessionId
from fiducial.guard.switches import read_halts
from fiducial.oversight.people import CONSOLE_ROLES
from fiducial.store.sqlite import SqliteStore

API = [route for route in ACCESS if "/api/" in route]


def _token(services: Services, person: str) -> dict[str, str]:
    known = services.people.find(PersonId(person))
    assert known is not None
    roles = frozenset(known.person.console)
    if not roles:
        return {}
    secret = services.accounts.make_token(known.person, "test", roles, timedelta(days=1))
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("role", ROLES)
def test_every_operation_lets_in_whom_the_table_names(
    console: Console, services: Services, attacked: SessionId, role: str
) -> None:
    browser = Browser(console)
    headers = {} if role in (NOBODY, "none") else _token(services, role)
    event = next(iter(services.ledger.session(attacked))).event.id
    for route in API:
        method, _, path = route.partition(" ")
        for name, value in (
            ("hold", "hld_x"),
            ("halt", "hlt_x"),
            ("session", attacked),
            ("event", event),
            ("person", "viewer"),
        ):
            path = path.replace("{" + name + "}", value)
        answer = browser.request(method, path, headers=headers, json={} if method == "POST" else None)
        needed = ACCESS[route]
        if needed is PUBLIC or (headers and (needed == ANYONE or role in needed)):
            assert answer.status_code in (200, 201, 404, 422), (route, role, answer.text)
        else:
            assert answer.status_code == (403 if headers else 401), (route, role)
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) == {"title", "status", "detail"}


def test_a_cookie_is_worth_nothing_here(console: Console, services: Services) -> None:
    """Or another site's page could use it: the interface has no form tokens."""
    browser = Browser(console).as_(services, "operator")
    assert browser.get("/api/v1/halts").status_code == 401
    assert browser.post("/api/v1/halts", json={"why": "x", "everything": True}).status_code == 401
    assert read_halts(services.store) == ()


@pytest.mark.parametrize("bad", ["", "Bearer", "Bearer x", "Basic abc", "Bearer fiducial_" + "a" * 43, "bearer \x7f"])
def test_what_is_no_token_is_refused(console: Console, bad: str) -> None:
    assert Browser(console).get("/api/v1/ledger", headers={"Authorization": bad}).status_code == 401


def test_a_token_does_less_than_its_owner_when_it_was_given_less(console: Console, services: Services) -> None:
    admin = services.people.find(PersonId("admin"))
    assert admin is not None
    import msgspec

    changed = msgspec.structs.replace(admin.person, console=("admin", "viewer"))
    known = services.people.change(changed, version=1, by=PersonId("admin"), act="roles")
    secret = services.accounts.make_token(known.person, "read", frozenset({"viewer"}), timedelta(days=1))
    headers = {"Authorization": f"Bearer {secret}"}
    browser = Browser(console)
    assert browser.get("/api/v1/requests", headers=headers).status_code == 200
    assert browser.get("/api/v1/people", headers=headers).status_code == 403


def test_a_request_is_answered_by_a_program(console: Console, services: Services) -> None:
    session, _ = held(services)
    browser, headers = Browser(console), _token(services, "approver")
    waiting = browser.get("/api/v1/requests", headers=headers).json()
    [hold] = waiting["answerable"]
    evidence = browser.get(f"/api/v1/requests/{hold}", headers=headers).json()
    assert evidence["arguments"]["recipient"] == ACCOUNT
    assert "third parties" in evidence["origins"]["recipient"]
    path = f"/api/v1/requests/{hold}/answer"
    assert browser.post(path, headers=headers, json={"answer": "reject"}).status_code == 422
    assert browser.post(path, headers=headers, json={"answer": "approve", "more": 1}).status_code == 422
    assert browser.post(path, headers=headers, data={"answer": "approve"}).status_code == 415
    assert browser.post(path, headers=headers, json={"answer": "approve"}).json()["state"] == "approved"
    assert browser.post(path, headers=headers, json={"answer": "approve"}).status_code == 409
    assert pay(session).status == "ok"


def test_another_call_or_a_class_is_approved_by_a_program(console: Console, services: Services) -> None:
    browser, headers = Browser(console), _token(services, "approver")
    first, _ = held(services)
    [hold] = services.desk.waiting()
    edit = {"arguments": {"recipient": ACCOUNT, "amount": 90}}
    assert browser.post(f"/api/v1/requests/{hold.id}/edit", headers=headers, json=edit).json()["state"] == "rejected"
    assert pay(first, 90).status == "ok"
    second, _ = held(services, user="noah")
    [hold] = services.desk.waiting()
    bounds: dict[str, Any] = {"recipient": {"equals": ACCOUNT}, "amount": {"at_most": 130}}
    wanted = {"bounds": bounds, "uses": 2, "minutes": 10}
    unknown = {**wanted, "bounds": {**bounds, "nothing": {"anything": True}}}
    path = f"/api/v1/requests/{hold.id}/class"
    assert browser.post(path, headers=headers, json=unknown).status_code == 422
    assert browser.post(path, headers=headers, json=wanted).json()["state"] == "approved"
    assert [pay(second, amount).status for amount in (120, 130, 125)] == ["ok", "ok", "not-run"]


def test_what_was_erased_is_not_served(console: Console, services: Services, store: SqliteStore) -> None:
    browser, headers = Browser(console).as_(services, "approver"), _token(services, "approver")
    held(services)
    hold = services.desk.waiting()[0].id
    body = {"arguments": {"recipient": ACCOUNT, "amount": 77.0, "subject": "XQZ"}}
    assert browser.post(f"/api/v1/requests/{hold}/edit", json=body, headers=headers).status_code == 200
    path = f"/api/v1/requests/{hold}"
    assert browser.get(path, headers=headers).json()["request"]["instead"] == body["arguments"]
    store.flush()
    for payload in [one.ref.digest for each in store.ledger().entries() for one in each.payloads]:
        store.erase(payload, by="dpo", why="request 17")
    answer = browser.get(path, headers=headers)
    assert (answer.status_code, "XQZ" in answer.text, "instead" in answer.json()["request"]) == (200, False, False)
    assert "What was written with it was erased." in browser.get(f"/waiting/{hold}").text


def test_a_program_answers_for_others_by_name_and_approves_nothing_unseen(
    console: Console, services: Services, store: SqliteStore
) -> None:
    browser, headers = Browser(console), _token(services, "approver")
    for _ in range(4):
        held(services)
    first, second, third, erased = (hold.id for hold in services.desk.waiting())
    path = f"/api/v1/requests/{first}"
    evidence = browser.get(path, headers=headers).json()
    assert (evidence["alike"], evidence["ours"]) == ([second, third, erased], True)
    for record in services.ledger.session(services.desk.hold(erased).session):
        for payload in record.payloads:
            if isinstance(record.event, CallDecided):
                store.erase(payload.ref.digest, by="x", why="asked to")
    answer = {"answer": "approve", "alike": [second, erased]}
    assert browser.post(f"{path}/answer", headers=headers, json=answer).json()["state"] == "approved"
    assert [hold.id for hold in services.desk.waiting()] == [third, erased]
    call = {"arguments": {"recipient": ACCOUNT, "amount": 1}}
    bounds = {"recipient": {"equals": ACCOUNT}, "amount": {"at_most": 1}}
    bodies = {"answer": {"answer": "approve"}, "edit": call, "class": {"bounds": bounds, "uses": 1, "minutes": 1}}
    for act, body in bodies.items():
        refused = browser.post(f"/api/v1/requests/{erased}/{act}", headers=headers, json=body)
        assert (refused.status_code, "erased" in refused.text) == (422, True), act


def test_what_is_nested_too_deeply_or_allows_nothing_is_refused(console: Console, services: Services) -> None:
    browser, headers = Browser(console), _token(services, "approver")
    held(services)
    [hold] = services.desk.waiting()
    deep = '{"arguments":{"a":' + "[" * 60_000 + "]" * 60_000 + "}}"
    sent = {**headers, "content-type": "application/json"}
    assert browser.post(f"/api/v1/requests/{hold.id}/edit", headers=sent, content=deep).status_code == 422
    bounds = {name: {"anything": True} for name in services.tools["send_money"].contract.parameters}
    none = {"bounds": {**bounds, "amount": {"at_most": -5}}, "uses": 1, "minutes": 1}
    answer = browser.post(f"/api/v1/requests/{hold.id}/class", headers=headers, json=none)
    assert (answer.status_code, "`amount` is below zero" in answer.text) == (422, True)
    assert services.desk.hold(hold.id).open


def test_a_halt_by_a_program_says_when_the_tool_is_not_of_this_charter(console: Console, services: Services) -> None:
    browser, headers = Browser(console), _token(services, "operator")

    def halted(tool: str) -> Any:
        return browser.post("/api/v1/halts", headers=headers, json={"why": "x", "tool": tool})

    assert halted(" ").status_code == 422
    known, unknown = halted(" send_money "), halted("sned_money")
    assert (known.status_code, unknown.status_code) == (201, 201)
    assert known.json()["tool"] == "send_money"
    assert "note" not in known.json()
    assert "no contract of this charter has the tool `sned_money`" in unknown.json()["note"]
    assert all("note" not in halt for halt in browser.get("/api/v1/halts", headers=headers).json()["halts"])


def test_the_description_names_every_operation() -> None:
    described = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert described == set(OPERATIONS) == set(API) - {"GET /api/v1/openapi.json"}


def test_the_interface_keeps_to_its_description(services: Services, attacked: SessionId) -> None:
    """schemathesis: whatever is sent, valid or not, the answer is one that the description names; never a 500."""
    from fiducial.console.services import Settings

    near = Services(services.store, services.rulebook, Settings(url="https://testserver"), services.clock)
    person = services.people.find(PersonId("admin"))
    assert person is not None
    import msgspec

    changed = msgspec.structs.replace(person.person, console=CONSOLE_ROLES, roles=("operator", "fraud-desk"))
    services.people.change(changed, version=1, by=PersonId("admin"), act="roles")
    headers = _token(services, "admin")
    held(services)
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", Console(near))
    tried: list[str] = []
    for operation in schema.get_all_operations():
        _drive(operation.ok(), headers, tried)
    assert set(tried) == set(OPERATIONS)
    near.close()


def _drive(operation: Any, headers: dict[str, str], tried: list[str]) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def one(case: Any) -> None:
        tried.append(operation.label)
        answer = case.call(headers=headers)
        assert answer.status_code < 500, (operation.label, answer.text)
        # That what fits the schema is accepted cannot be promised: whether it fits the request is for the desk to say.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    one()
