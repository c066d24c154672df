"""Every route, tried by every role and by nobody; and that no route can be forgotten."""

from __future__ import annotations

import re

import pytest
from console_world import NOBODY, ROLES, URL, Browser
from starlette.routing import Route

from fiducial.console import access
from fiducial.console.access import ACCESS, PUBLIC
from fiducial.console.app import PAGES, Console, checked
from fiducial.console.services import Services
from fiducial.core.ids import SessionId
from fiducial.errors import OversightError

STOPPED = {401, 403}


@pytest.fixture
def paths(services: Services, attacked: SessionId) -> dict[str, str]:
    """What stands for the variable parts of paths."""
    event = next(iter(services.ledger.session(attacked))).event.id
    return {
        "{session}": attacked, "{event}": event, "{person}": "viewer", "{name}": "style.css", "{secret}": "x" * 43,
        "{hold}": "hld_none", "{halt}": "hlt_none", "{grant}": "gra_none", "{link}": "none.none",
    }  # fmt: skip


def _path(route: str, paths: dict[str, str]) -> str:
    path = route.partition(" ")[2]
    for name, value in paths.items():
        path = path.replace(name, value)
    assert "{" not in path, route
    return path


@pytest.mark.parametrize("role", ROLES)
def test_every_route_lets_in_whom_the_table_names_and_nobody_else(
    console: Console, services: Services, paths: dict[str, str], role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiducial.console.live._LAST", 0)  # the stream of the queue ends at once
    for route, needed in ACCESS.items():
        browser = Browser(console)
        if role != NOBODY:
            browser.as_(services, role)
        method, path = route.partition(" ")[0], _path(route, paths)
        headers = {"Origin": URL}
        if path.startswith("/api/"):
            continue  # these take no cookies: see test_api.py
        if method == "GET":
            answer = browser.get(path, headers=headers)
        else:
            token = "" if role == NOBODY else browser.csrf()
            answer = browser.request(method, path, data={"csrf": token}, headers=headers)
        expected = needed is PUBLIC or (role != NOBODY and (needed == access.ANYONE or role in needed))
        signing_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?next=")
        if needed is PUBLIC and method == "POST":
            # Whoever comes without having seen the form is stopped by the form's token, whoever they are.
            assert answer.status_code in (STOPPED if role == NOBODY else {401, 404, 422, 429}), route
        elif expected:
            assert answer.status_code not in STOPPED, (route, role, answer.text)
            assert answer.status_code < 500, (route, role)
            assert not signing_in, (route, role)
        elif role == NOBODY and method == "GET":
            assert signing_in, (route, answer.status_code)
        else:
            assert answer.status_code == (401 if role == NOBODY else 403), (route, role)


def test_the_table_names_every_route_that_is_served_and_no_other(console: Console) -> None:
    served = {
        f"{method} {route.path}"
        for route in console._app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == set(ACCESS) == set(PAGES)


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_a_route_without_an_entry_keeps_the_console_from_starting(change: str) -> None:
    pages = dict(PAGES)
    if change == "missing":
        pages["POST /anything"] = pages["GET /"]
    else:
        del pages["GET /people"]
    with pytest.raises(OversightError, match=r"anything|people"):
        checked(pages)


def test_an_address_with_a_slash_too_many_leads_nowhere(console: Console) -> None:
    answer = Browser(console).get("/sign-in/")
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


def test_what_no_text_holds_is_refused_before_it_is_looked_for(console: Console, services: Services) -> None:
    browser = Browser(console).as_(services, "viewer")
    asked: list[object] = []
    services.store.read = asked.append  # type: ignore[method-assign, assignment]
    assert browser.get("/sessions/%00").status_code == 404
    assert browser.get("/api/v1/requests/%00").status_code == 404
    assert browser.get("/sessions?agent=%00").status_code == 422
    headers = {"Origin": URL}
    assert browser.post("/account/tokens/end", data={"key": "\0"}, headers=headers).status_code == 422
    json = {"Content-Type": "application/json"}
    assert browser.post("/api/v1/halts", content=rb'{"agent": "\\\u0000"}', headers=json).status_code == 422
    assert not asked
    assert browser.post("/api/v1/halts", content=rb'{"agent": "\\u0000"}', headers=json).status_code == 401


def test_no_role_includes_another_in_what_changes_people() -> None:
    changing = [route for route in ACCESS if route.startswith("POST /people")]
    assert changing
    assert all(ACCESS[route] == {"admin"} for route in changing)


def test_administrators_do_not_read_what_users_said(console: Console, services: Services, attacked: SessionId) -> None:
    browser = Browser(console).as_(services, "admin")
    assert browser.get(f"/sessions/{attacked}").status_code == 403
    assert "/sessions" not in re.findall(r'href="(/\w*)"', browser.get("/ledger").text)


def test_a_role_that_is_taken_away_is_gone_at_the_next_request(services: Services, browser: Browser) -> None:
    browser.as_(services, "viewer")
    assert browser.get("/sessions").status_code == 200
    known = services.people.find("viewer")  # type: ignore[arg-type]
    assert known is not None
    import msgspec

    changed = msgspec.structs.replace(known.person, console=())
    services.people.change(changed, version=known.version, by="admin", act="roles")  # type: ignore[arg-type]
    assert browser.get("/sessions").status_code == 403
