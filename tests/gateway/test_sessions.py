"""Sessions over HTTP: what belongs to that door alone."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import schemathesis
from gateway_world import OLGA, House, charter, evaluation
from hypothesis import HealthCheck, given, settings

from fiducial.gateway.sessions import DOORS
from fiducial.guard.session import Session

NOTE = {"tool": "write_note", "arguments": {"name": "list", "text": "milk"}}
PAYMENT = {"tool": "pay_bill", "arguments": {"account": "DE1", "amount": 5}}


def opened(client: httpx2.Client, **more: Any) -> str:
    """Path of a new session."""
    answer = client.post("/v1/sessions", json={"user": "emma", **more})
    assert answer.status_code == 201, answer.text
    return f"/v1/sessions/{answer.json()['session']}"


# --- who may come in


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic key-of-one", "key-of-one"])
def test_nobody_comes_in_without_a_host_s_token(house: House, header: str | None) -> None:
    client = house.client()
    del client.headers["Authorization"]
    if header is not None:
        client.headers["Authorization"] = header
    for path in ("/v1/sessions", "/access/v1/evaluation", "/access/v1/evaluations", "/v1/sessions/ses_x/decisions"):
        answer = client.post(path, json={"user": "emma"})
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    house.store.flush()
    assert [type(each.event).__name__ for each in house.store.ledger().entries(2)] == []


def test_a_token_that_is_revoked_is_worth_nothing_within_a_second(house: House) -> None:
    client = house.client()
    at = opened(client)
    del house.tokens["key-of-one"]
    house.forget_tokens()
    assert client.post(f"{at}/decisions", json=NOTE).status_code == 401


def test_another_host_has_no_such_session(house: House) -> None:
    at = opened(house.client())
    other = house.client("key-of-two")
    for operation, body in (("decisions", NOTE), ("messages", {"text": "x"}), ("close", {})):
        assert other.post(f"{at}/{operation}", json=body).status_code == 404
    answer = other.post("/access/v1/evaluation", json=evaluation("write_note", {}, session=at.rpartition("/")[2]))
    assert answer.json()["decision"] is False
    # Nor once it was let go of.
    house.stop()
    assert house.client("key-of-two").post(f"{at}/decisions", json=NOTE).status_code == 404
    assert house.client().post(f"{at}/decisions", json=NOTE).json()["verdict"] == "allowed"


# --- what is sent


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"tool": "write_note"}', 400),
        (b'{"tool": "write_note", "arguments": []}', 400),
        (b'{"tool": "write_note", "arguments": null}', 400),
        (b'{"tool": "write_note", "arguments": {}, "extra": 1}', 400),
        (b'{"tool": 5, "arguments": {}}', 400),
        (b'{"tool": "write_note", "arguments": {"name": "a", "name": "b", "text": ""}}', 400),
        (b'{"tool": "write_note", "arguments": {"name": {"x": 1, "x": 2}, "text": ""}}', 400),
        (b'{"tool": "wipe", "tool": "write_note", "arguments": {"name": "a", "text": ""}}', 400),
        (b'{"tool": "write_note", "arguments": {"name": "b"}, "arguments": {"name": "a", "text": ""}}', 400),
        (b'{"tool": "write_note", "arguments": {"name": NaN, "text": ""}}', 400),
        (b'{"tool": "write_note", "arguments": {"name": -Infinity, "text": ""}}', 400),
        (b"\xff\xfe", 400),
        (b'{"tool": "write_note", "arguments": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", 400),
        (b'{"tool": "write_note", "arguments": {"name": "a", "text": 1e999}}', 200),
        (b'{"tool": "write_note", "arguments": {"name": "\\ud800", "text": ""}}', 400),
        (b'{"tool": "write_note", "arguments": {"name": 9999999999999999999999, "text": ""}}', 200),
    ],
    ids=lambda value: value[:60].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_what_cannot_be_read_is_refused(house: House, body: bytes, status: int) -> None:
    client = house.client()
    answer = client.post(f"{opened(client)}/decisions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["runs"] is False
    else:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("{at}/plan", b'{"plan": {"steps": [{"tool": "wipe"}], "steps": [{"tool": "look_up"}]}}'),
        ("/v1/sessions", b'{"user": "mallory", "user": "emma"}'),
        (
            "/access/v1/evaluation",
            b'{"subject": {"type": "user", "id": "mallory", "id": "emma"}, "action": {"name": "look_up"},'
            b' "resource": {"type": "server", "id": "local"}}',
        ),
        (
            "/access/v1/evaluation",
            b'{"subject": {"type": "user", "id": "emma"}, "action": {"name": "look_up"}, "action": {"name": "wipe"},'
            b' "resource": {"type": "server", "id": "local"}}',
        ),
    ],
    ids=["step", "user", "subject", "action"],
)
def test_a_key_that_stands_twice_is_refused_wherever_it_stands(house: House, path: str, body: bytes) -> None:
    client = house.client()
    at = opened(client)
    answer = client.post(path.format(at=at), content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "twice" in answer.json()["detail"]


def test_only_json_is_read(house: House) -> None:
    client = house.client()
    at = opened(client)
    answer = client.post(f"{at}/decisions", content=json.dumps(NOTE), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


@pytest.mark.parametrize(("path", "method", "status"), [("/v1/nothing", "POST", 404), ("/v1/sessions", "GET", 405)])
def test_there_is_no_other_door(house: House, path: str, method: str, status: int) -> None:
    answer = house.client().request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_a_request_s_id_comes_back(house: House) -> None:
    client = house.client()
    for path, body in (("/v1/sessions", {"user": "emma"}), ("/access/v1/evaluation", {}), ("/v1/sessions", "x")):
        answer = client.post(path, json=body, headers={"X-Request-ID": "abc-1"})
        assert answer.headers["x-request-id"] == "abc-1"
    for method, path in (
        ("POST", "/v1/nothing"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/.well-known/authzen-configuration"),
    ):
        answer = client.request(method, path, headers={"X-Request-ID": "abc-1"})
        assert answer.headers["x-request-id"] == "abc-1", path


# --- the ten steps


def test_a_session_from_its_beginning_to_its_end(house: House) -> None:
    client = house.client()
    at = opened(client, roles=["clerk"], task="Write milk into my list", system="Be brief.", plan=["write_note"])
    assert client.post(f"{at}/messages", json={"text": "And eggs."}).json()["source"].startswith("src_")
    decided = client.post(f"{at}/decisions", json=NOTE | {"confidence": 0.9}).json()
    assert (decided["verdict"], decided["runs"]) == ("allowed", True)
    result = {**NOTE, "result": {"ok": True}, "decision": decided["decision"]}
    label = client.post(f"{at}/results", json=result)
    assert label.json() == {"integrity": "untrusted", "classes": []}
    assert client.post(f"{at}/results", json=result).status_code == 409, "reported already"
    changed = {**result, "arguments": {"name": "list", "text": "eggs"}}
    assert client.post(f"{at}/results", json=changed).status_code == 409, "another call"
    answer = client.post(f"{at}/answers", json={"text": "Done."}).json()
    assert (answer["decided"]["verdict"], answer["text"]) == ("allowed", "Done.")
    assert client.post(f"{at}/close", json={}).status_code == 200
    assert client.post(f"{at}/decisions", json=NOTE).status_code == 404
    house.store.flush()
    kinds = [type(each.event).__name__ for each in house.store.ledger().entries(0)]
    assert kinds[-1] == "SessionClosed"
    assert kinds.count("MessageObserved") == 3


def test_a_plan_that_a_session_is_opened_with_counts(house: House) -> None:
    client = house.client()
    answer = client.post("/v1/sessions", json={"user": "emma", "plan": ["look_up"]}).json()
    assert answer["planned"]["verdict"] == "allowed"
    assert client.post("/v1/sessions", json={"user": "emma", "plan": ["no_such_tool"]}).status_code == 422


def test_a_plan_is_declared_later(house: House) -> None:
    client = house.client()
    at = opened(client)
    assert client.post(f"{at}/plan", json={"plan": ["look_up"]}).json()["verdict"] == "allowed"
    assert client.post(f"{at}/plan", json={"plan": {"steps": 5}}).status_code == 422


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ({"outcome": "failed", "error": "no connection"}, 200),
        ({"outcome": "failed", "error": "closed today", "refused": True}, 200),
        ({"outcome": "unknown"}, 200),
        ({"outcome": "ok", "refused": True}, 422),
        ({"outcome": "fine"}, 400),
    ],
)
def test_outcomes(house: House, report: dict[str, Any], status: int) -> None:
    client = house.client()
    at = opened(client)
    decided = client.post(f"{at}/decisions", json=NOTE).json()
    answer = client.post(f"{at}/results", json={**NOTE, "result": None, "decision": decided["decision"], **report})
    assert answer.status_code == status, answer.text


def test_what_an_agent_delegates_is_a_session_of_its_own(house: House) -> None:
    client = house.client()
    at = opened(client, task="Write milk into my list")
    child = client.post(f"{at}/children", json={"instructions": "Write it.", "agent": "scribe"})
    assert child.status_code == 201
    below = f"/v1/sessions/{child.json()['session']}"
    assert client.post(f"{below}/decisions", json=NOTE).json()["verdict"] == "allowed"
    assert house.client("key-of-two").post(f"{below}/decisions", json=NOTE).status_code == 404
    client.post(f"{at}/close", json={})
    assert client.post(f"{below}/decisions", json=NOTE).status_code == 404


# --- waiting for people


def test_waiting_ends_when_a_person_has_answered(house: House) -> None:
    client = house.client()
    at = opened(client)
    asked = client.post(f"{at}/decisions", json=PAYMENT).json()
    request = f"{at}/requests/{asked['request']}"
    assert client.get(request).json() == {"request": asked["request"], "state": "waiting", "open": True}
    threading.Timer(0.5, lambda: house.desk.vote(asked["request"], OLGA, "approve")).start()
    started = time.monotonic()
    answer = client.get(request, params={"wait": 20})
    assert answer.json() == {"request": asked["request"], "state": "approved", "open": False}
    assert 0.4 < time.monotonic() - started < 5
    assert client.post(f"{at}/decisions", json=PAYMENT).json()["verdict"] == "allowed"


def test_waiting_ends_when_its_time_is_over(house: House) -> None:
    client = house.client()
    at = opened(client)
    asked = client.post(f"{at}/decisions", json=PAYMENT).json()
    request = f"{at}/requests/{asked['request']}"
    assert client.get(request, params={"wait": 0.2}).json()["open"] is True
    for wrong in ("-1", "61", "nan", "x"):
        assert client.get(request, params={"wait": wrong}).status_code == 400


def test_a_session_sees_its_own_requests_alone(house: House) -> None:
    client = house.client()
    asked = client.post(f"{opened(client)}/decisions", json=PAYMENT).json()
    at = opened(client)
    assert client.get(f"{at}/requests/{asked['request']}").status_code == 404
    assert client.get(f"{at}/requests/hld_no").status_code == 404


def test_a_server_that_stops_waits_for_nobody_and_whoever_waits_asks_again(house: House) -> None:
    client = house.client()
    at = opened(client)
    asked = client.post(f"{at}/decisions", json=PAYMENT).json()
    waiting = house.client()
    failed = threading.Event()

    def wait() -> None:
        try:
            waiting.get(f"{at}/requests/{asked['request']}", params={"wait": 50})
        except httpx2.HTTPError:
            failed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    house.stop()
    assert failed.wait(10)
    assert time.monotonic() - started < 10
    thread.join()
    assert house.client().get(f"{at}/requests/{asked['request']}").json()["state"] == "waiting"


# --- restarts


def test_a_session_survives_its_server(house: House) -> None:
    client = house.client()
    at = opened(client)
    client.post(f"{at}/results", json={"tool": "look_up", "arguments": {"name": "x"}, "result": "into shared-list"})
    asked = client.post(f"{at}/decisions", json=PAYMENT).json()
    house.desk.vote(asked["request"], OLGA, "approve")
    running = client.post(f"{at}/decisions", json=NOTE).json()
    house.stop()
    client = house.client()
    report = {**NOTE, "result": "done", "decision": running["decision"]}
    assert client.post(f"{at}/results", json=report).status_code == 200, "the host was not restarted"
    assert client.post(f"{at}/results", json=report).status_code == 409
    tainted = {"tool": "write_note", "arguments": {"name": "shared-list", "text": "x"}}
    assert client.post(f"{at}/decisions", json=tainted).json()["verdict"] == "denied"
    assert client.post(f"{at}/decisions", json=PAYMENT).json()["verdict"] == "allowed"
    assert client.post(f"{at}/decisions", json=PAYMENT).json()["verdict"] == "held"


def test_a_session_that_nobody_uses_is_let_go_of_and_comes_back(house: House) -> None:
    client = house.client()
    at = opened(client)
    sessions = house.doors.sessions
    sessions._idle = 0.0

    def let_go() -> None:
        import asyncio

        assert house.doors.requests._loop is not None
        asyncio.run_coroutine_threadsafe(sessions.let_go(), house.doors.requests._loop).result(10)

    let_go()
    assert not sessions._seats
    sessions._idle = 900.0
    assert client.post(f"{at}/decisions", json=NOTE).json()["verdict"] == "allowed"
    assert len(sessions._seats) == 1


def test_more_sessions_than_there_is_room_for(house: House) -> None:
    client = house.client()
    house.doors.sessions._most = 10
    paths = [opened(client) for _ in range(25)]
    assert len(house.doors.sessions._seats) <= 10
    for at in paths:
        assert client.post(f"{at}/decisions", json=NOTE).json()["verdict"] == "allowed"


def test_a_session_whose_host_could_not_be_kept_is_nobody_s(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from fiducial.errors import StoreError

    client = house.client()
    commit = house.store.commit

    def failing(asked: Any) -> Any:
        if any(change.key.startswith(DOORS) for change in asked.changes):
            raise StoreError("the disk is full")
        return commit(asked)

    monkeypatch.setattr(house.store, "commit", failing)
    assert client.post("/v1/sessions", json={"user": "emma"}).status_code == 503
    assert not house.doors.sessions._seats


def test_a_session_of_another_charter_is_not_gone_on_with(house: House) -> None:
    at = opened(house.client())
    house.stop()
    house.guard.use(charter(roles=["clerk"]))
    answer = house.client().post(f"{at}/decisions", json=NOTE)
    assert answer.status_code == 409
    assert "charter" in answer.json()["detail"]


# --- concurrency, faults


def test_a_long_result_holds_nobody_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client = house.client()
    slow, quick = opened(client), opened(client)
    observe: Callable[..., Any] = Session.observe
    inside = threading.Event()

    def observing(*given: Any, **more: Any) -> Any:
        inside.set()
        time.sleep(1.5)
        return observe(*given, **more)

    monkeypatch.setattr(Session, "observe", observing)
    other = house.client()
    report = threading.Thread(
        target=lambda: other.post(
            f"{slow}/results", json={"tool": "look_up", "arguments": {"name": "x"}, "result": "x"}
        )
    )
    report.start()
    assert inside.wait(10)
    started = time.monotonic()
    assert client.post(f"{quick}/decisions", json=NOTE).json()["verdict"] == "allowed"
    assert time.monotonic() - started < 1
    assert client.post(f"{slow}/decisions", json=NOTE).json()["verdict"] == "allowed"
    assert time.monotonic() - started > 1, "the session's own decisions wait for what it has read"
    report.join()


def test_a_host_that_hangs_up_leaves_nothing_half_done(house: House) -> None:
    client = house.client()
    at = opened(client)
    body = json.dumps(NOTE).encode()
    for sent in (body[:10], body):
        with socket.create_connection(("127.0.0.1", house.port)) as line:
            head = f"POST {at}/decisions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-of-one\r\n"
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            line.sendall((head + kind).encode() + sent)
    assert client.post(f"{at}/decisions", json=NOTE).json()["verdict"] == "allowed"
    house.store.flush()
    assert house.store.ledger().verify().size > 0


def test_what_breaks_inside_says_nothing_of_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client = house.client()
    at = opened(client)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(Session, "say", broken)
    answer = client.post(f"{at}/messages", json={"text": "x"})
    assert answer.status_code == 500
    assert "secret" not in answer.text


# --- the description


def test_the_doors_keep_to_their_description(house: House) -> None:
    """schemathesis: whatever is sent, valid or not, the answer is one that the description names; never a 500."""
    client = house.client()
    at = opened(client)
    asked = client.post(f"{at}/decisions", json=PAYMENT).json()
    known = {"session": at.rpartition("/")[2], "request": asked["request"]}
    base = f"http://127.0.0.1:{house.port}"
    schema = schemathesis.openapi.from_url(f"{base}/v1/openapi.json")
    tried = []
    for operation in schema.get_all_operations():
        tried.append(f"{operation.ok().method.upper()} {operation.ok().path}")
        _drive(operation.ok(), known)
    assert sorted(tried) == sorted(house.doors.operations)


def _drive(operation: Any, known: dict[str, str]) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        for name in case.path_parameters or {}:
            case.path_parameters[name] = known[name]
        case.query = {}
        if case.path.endswith("/close"):
            case.body = {"reason": 5}  # the others need the session
        answer = case.call(headers={"Authorization": "Bearer key-of-one"})
        case.validate_response(answer, checks=[schemathesis.checks.not_a_server_error, *_conforming()], headers={})

    send()


def _conforming() -> list[Any]:
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    return [status_code_conformance, response_schema_conformance]
