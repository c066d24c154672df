"""The OpenID AuthZEN Authorization API 1.0; sections of the standard stand beside what they ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateway_world import House, charter, evaluation

from fiducial.core.event import CallDecided, HoldRequested, SessionClosed, SessionOpened

NOTE = evaluation("write_note", {"name": "list", "text": "milk"})
WIPE = evaluation("wipe", {"name": "all"})


def ask(client: httpx2.Client, body: Any, path: str = "/access/v1/evaluation") -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask_all(client: httpx2.Client, body: Any) -> list[bool]:
    return [each["decision"] for each in ask(client, body, "/access/v1/evaluations")["evaluations"]]


def test_metadata_is_where_the_standard_says(house: House) -> None:  # 9
    client = house.client()
    del client.headers["Authorization"]
    found = client.get("/.well-known/authzen-configuration")
    assert found.headers["content-type"] == "application/json"
    assert found.json() == {
        "policy_decision_point": "https://pdp.example.org",
        "access_evaluation_endpoint": "https://pdp.example.org/access/v1/evaluation",
        "access_evaluations_endpoint": "https://pdp.example.org/access/v1/evaluations",
    }


def test_a_decision_is_a_boolean_with_its_reasons(house: House) -> None:  # 6.2
    client = house.client()
    yes, no = ask(client, NOTE), ask(client, WIPE)
    assert (yes["decision"], yes["context"]["verdict"]) == (True, "allowed")
    assert (no["decision"], no["context"]["verdict"]) == (False, "denied")
    assert no["context"]["reason_admin"]["en"].startswith("nothing is wiped (without `context.session`")
    assert no["context"]["reason_user"]["en"]
    assert no["context"]["agent"]


@pytest.mark.parametrize("lacking", ["subject", "action", "resource"])
def test_what_the_standard_requires_is_required(house: House, lacking: str) -> None:  # 6.1
    body = {name: value for name, value in NOTE.items() if name != lacking}
    answer = house.client().post("/access/v1/evaluation", json=body)
    assert answer.status_code == 400
    assert lacking in answer.json()["detail"]


def test_what_the_standard_does_not_know_is_passed_over(house: House) -> None:
    body = NOTE | {"more": 1, "context": {"time": "2030-01-01T00:00:00Z"}}
    body["subject"] = {**body["subject"], "properties": {"department": "Sales"}}
    assert ask(house.client(), body)["decision"] is True


def test_without_a_session_nothing_is_known_and_nobody_is_asked(house: House) -> None:
    client = house.client()
    found = ask(client, evaluation("pay_bill", {"account": "DE1", "amount": 5}))
    assert (found["decision"], found["context"]["verdict"]) == (False, "held")
    assert "request" not in found["context"]
    house.store.flush()
    events = [each.event for each in house.store.ledger().entries(0)]
    assert not any(isinstance(each, HoldRequested) for each in events)
    kinds = [type(each) for each in events if isinstance(each, (SessionOpened, CallDecided, SessionClosed))]
    assert kinds == [SessionOpened, CallDecided, SessionClosed]


def test_without_a_session_the_agent_counts_as_having_read_anything(tmp_path: Path) -> None:
    with House(tmp_path / "balanced.db", charter(baseline="balanced")) as house:
        client = house.client()
        unknown = evaluation("write_note", {"name": "somewhere", "text": "x"}, task="Read the news")
        assert ask(client, unknown)["decision"] is False
        opened = client.post("/v1/sessions", json={"user": "emma", "task": "Read the news"}).json()["session"]
        asked = evaluation("write_note", {"name": "somewhere", "text": "x"}, session=opened)
        assert ask(client, asked)["decision"] is True, "in a session it is known that nothing was read"


def test_without_a_session_no_budget_of_sessions_is_got_out_of(tmp_path: Path) -> None:
    with House(tmp_path / "limited.db", charter(budgets={"session": {"calls": 2}})) as house:
        client = house.client()
        opened = client.post("/v1/sessions", json={"user": "emma"}).json()["session"]
        asked = evaluation("write_note", {"name": "list", "text": "milk"}, session=opened)
        assert [ask(client, asked)["decision"] for _ in range(3)] == [True, True, False]
        assert ask(client, NOTE)["decision"] is False


@pytest.mark.parametrize(
    ("roles", "expected"), [(["admin", "auditor"], True), (["auditor", "admin"], True), (None, True), ([], False),
                            (["guest"], False), (["admin"], False)]
)  # fmt: skip
def test_roles_that_are_not_the_session_s_are_no(house: House, roles: list[str] | None, expected: bool) -> None:
    client = house.client()
    opened = client.post("/v1/sessions", json={"user": "emma", "roles": ["admin", "auditor"]}).json()["session"]
    asked = evaluation("look_up", {"name": "x"}, session=opened)
    for properties in [{"roles": roles}] if roles is not None else [{"roles": None}, {}, None]:
        found = ask(client, asked | {"subject": {"type": "user", "id": "emma", "properties": properties}})
        assert found["decision"] is expected
        assert expected or "roles" in found["context"]["reason_admin"]["en"]


def test_the_subject_s_roles_count(tmp_path: Path) -> None:
    rule = """@id("charter/admins") forbid (principal, action == Action::"look_up", resource)
unless { principal in Role::"admin" };"""
    with House(tmp_path / "roles.db", charter(rule, roles=["admin"])) as house:
        client = house.client()
        for roles in (["admin"], ["guest"], []):
            asked = evaluation("look_up", {"name": "x"})
            asked["subject"]["properties"] = {"roles": roles}
            assert ask(client, asked)["decision"] is (roles == ["admin"])


@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
def test_what_is_null_counts_as_left_out(house: House, path: str) -> None:
    body = {
        "subject": {"type": "user", "id": "emma", "properties": None},
        "action": {"name": "nothing_given", "properties": None},
        "resource": {"type": "server", "id": "local", "properties": None},
        "context": None,
        "evaluations": None,
        "options": None,
    }
    assert ask(house.client(), body, path)["context"]["verdict"] == "denied"
    assert ask(house.client(), body | {"action": NOTE["action"]}, path)["decision"] is True


def test_a_context_with_members_of_somebody_else_s_is_refused(house: House) -> None:
    for member in ("session", "task", "agent"):
        body = NOTE | {"context": {member: {"id": "x"}}}
        assert house.client().post("/access/v1/evaluation", json=body).status_code == 400


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": {"type": "group", "id": "emma"}},
        {"subject": {"type": "user", "id": "eve"}},
        {"resource": {"type": "server", "id": "elsewhere"}},
        {"resource": {"type": "account", "id": "local"}},
    ],
)
def test_what_is_asked_about_somebody_or_something_else_is_no(house: House, changed: dict[str, Any]) -> None:
    client = house.client()
    session = client.post("/v1/sessions", json={"user": "emma"}).json()["session"]
    asked = evaluation("write_note", {"name": "list", "text": "milk"}, session=session)
    assert ask(client, asked)["decision"] is True
    found = ask(client, asked | changed)
    assert found["decision"] is False
    assert found["context"]["reason_admin"]["en"]


def test_a_session_that_there_is_not_is_no(house: House) -> None:
    assert ask(house.client(), evaluation("write_note", {}, session="ses_no"))["decision"] is False


def test_a_session_that_was_delegated_is_one_of_its_own(house: House) -> None:
    client = house.client()
    above = client.post("/v1/sessions", json={"user": "emma"}).json()["session"]
    order = {"instructions": "Write it.", "agent": "scribe"}
    below = client.post(f"/v1/sessions/{above}/children", json=order).json()["session"]
    assert ask(client, evaluation("write_note", {"name": "list", "text": "milk"}, session=below))["decision"]
    house.store.flush()
    events = [each.event for each in house.store.ledger().entries(0)]
    assert [each.parent for each in events if isinstance(each, SessionOpened)] == [None, above]
    assert [each.session for each in events if isinstance(each, CallDecided)] == [below]


def test_several_are_decided_in_order_and_what_is_left_out_is_that_of_all(house: House) -> None:  # 7.1.1
    parts = [{}, {"action": WIPE["action"]}, {"action": NOTE["action"]}]
    assert ask_all(house.client(), NOTE | {"evaluations": parts}) == [True, False, True]


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_semantics(house: House, semantic: str, expected: list[bool]) -> None:  # 7.1.2
    body = {"options": {"evaluations_semantic": semantic}, "evaluations": [NOTE, WIPE, NOTE]}
    assert ask_all(house.client(), body) == expected


@pytest.mark.parametrize("parts", [[], None])
def test_without_parts_it_is_one(house: House, parts: list[Any] | None) -> None:  # 7.1
    body = NOTE if parts is None else NOTE | {"evaluations": parts}
    found = ask(house.client(), body, "/access/v1/evaluations")
    assert found["decision"] is True
    assert "evaluations" not in found


def test_one_that_cannot_be_evaluated_is_no_and_the_others_are(house: House) -> None:  # 7.2.1
    wrong: list[Any] = [{"action": {"name": "x"}}, "x", None, [], {"action": 5}, {"context": {"session": {}}}]
    *several, last = ask(house.client(), {"evaluations": [*wrong, NOTE]}, "/access/v1/evaluations")["evaluations"]
    assert [(each["decision"], each["context"]["error"]["status"]) for each in several] == [(False, 400)] * len(wrong)
    assert last["decision"] is True


def test_there_is_a_bound_to_how_many(house: House) -> None:
    body = {**NOTE, "evaluations": [{}] * 101}
    assert house.client().post("/access/v1/evaluations", json=body).status_code == 422


def test_an_unknown_semantic_is_refused(house: House) -> None:
    body = {"options": {"evaluations_semantic": "best_of"}, "evaluations": [NOTE]}
    assert house.client().post("/access/v1/evaluations", json=body).status_code == 400


def test_keys_that_are_there_twice_are_refused(house: House) -> None:
    text = json.dumps(NOTE).replace('"name": "list"', '"name": "list", "name": "other"')
    assert text.count('"name": "other"') == 1
    answer = house.client().post("/access/v1/evaluation", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_in_observe_mode_the_verdict_is_told_and_nothing_is_stopped(house: House) -> None:
    import fiducial

    house.guard = fiducial.Guard(house.charter, store=house.store, desk=house.desk, mode="observe")
    found = ask(house.client(), WIPE)
    assert (found["decision"], found["context"]["verdict"], found["context"]["enforced"]) == (True, "denied", False)
