"""Forms count only when a page of this console sent them; answers carry the headers that keep browsers in check."""

from __future__ import annotations

import pytest
from console_world import URL, Browser

from fiducial.console.app import HEADERS, Console
from fiducial.console.gate import MAX_BODY
from fiducial.console.services import Services, Settings
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError

CHANGE = {"until": "2026-01-02", "version": "1"}


def _away(services: Services) -> int:
    known = services.people.find(PersonId("viewer"))
    assert known is not None
    return known.person.absent_until_us


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Origin": URL}, None),
        ({"Origin": URL}, ""),
        ({"Origin": URL}, "0" * 64),
        ({}, "right"),
        ({"Origin": "null"}, "right"),
        ({"Origin": "http://evil.example"}, "right"),
        ({"Origin": "http://127.0.0.1:9999"}, "right"),
        ({"Origin": URL + ".evil.example"}, "right"),
        ({"Origin": URL}, "of another session"),
        ({"Origin": URL}, "from before the sign-in"),
    ],
)
def test_a_form_from_elsewhere_changes_nothing(
    console: Console, services: Services, browser: Browser, headers: dict[str, str], token: str | None
) -> None:
    early = Browser(console)
    before = early.csrf("/sign-in")
    browser.as_(services, "viewer")
    known = {
        "right": browser.csrf(),
        "of another session": Browser(console).as_(services, "viewer").csrf(),
        "from before the sign-in": before,
    }
    data = dict(CHANGE)
    if token is not None:
        data["csrf"] = known.get(token, token)
    answer = browser.post("/account/away", data=data, headers=headers)
    assert answer.status_code == 403
    assert _away(services) == 0


def test_the_same_form_from_the_page_does(services: Services, browser: Browser) -> None:
    browser.as_(services, "viewer")
    assert browser.submit("/account/away", **CHANGE).status_code == 303
    assert _away(services) > 0


def test_a_form_of_another_kind_or_size_is_refused(services: Services, browser: Browser) -> None:
    browser.as_(services, "viewer")
    data = {"csrf": browser.csrf(), **CHANGE}
    assert browser.post("/account/away", json=data, headers={"Origin": URL}).status_code == 415
    large = {**data, "delegate": "x" * MAX_BODY}
    assert browser.post("/account/away", data=large, headers={"Origin": URL}).status_code == 413
    form = {"Origin": URL, "Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post("/account/away", content=b"csrf=%ff%fe", headers=form).status_code == 400
    many = "&".join(f"a{number}=1" for number in range(500))
    assert browser.post("/account/away", content=many.encode(), headers=form).status_code == 400
    assert _away(services) == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "POST"])
def test_other_methods_are_not_served(services: Services, browser: Browser, method: str) -> None:
    browser.as_(services, "viewer")
    answer = browser.request(method, "/sessions", headers={"Origin": URL})
    assert answer.status_code == 405
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/sign-in", "/sessions", "/nothing", "/static/style.css", "/static/nothing", "/health"]
)
def test_every_answer_carries_the_headers(services: Services, browser: Browser, path: str) -> None:
    browser.as_(services, "viewer")
    answer = browser.get(path)
    for name, value in HEADERS.items():
        if name != "Cache-Control":
            assert answer.headers[name] == value, name
    kept = path == "/static/style.css"
    assert ("immutable" if kept else "no-store") in answer.headers["cache-control"]
    assert "server" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:8441", "localhost:8440", ""])
def test_another_host_name_is_not_answered(services: Services, browser: Browser, host: str) -> None:
    """Or a page of another site could point its own name at this machine and read everything here."""
    browser.as_(services, "viewer")
    answer = browser.get("/sessions", headers={"Host": host})
    assert answer.status_code == 421
    assert "banking" not in answer.text


def test_cookies_are_closed_to_scripts_and_other_sites(console: Console, services: Services) -> None:
    answer = Browser(console).get("/sign-in")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie


def test_over_https_cookies_and_answers_are_for_https_alone(services: Services) -> None:
    safe = Console(Services(services.store, services.rulebook, Settings(url="https://console.example.org")))
    browser = Browser(safe)
    answer = browser.get("https://console.example.org/sign-in")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-fiducial-early=")
    assert "; Secure" in cookie
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    safe.services.close()


@pytest.mark.parametrize(
    "url", ["http://console.example.org", "http://10.0.0.1:80", "ftp://localhost", "https://", "https://a/b", "x"]
)
def test_a_console_that_would_be_reached_in_the_clear_does_not_start(services: Services, url: str) -> None:
    with pytest.raises(OversightError):
        Services(services.store, services.rulebook, Settings(url=url))


@pytest.mark.parametrize(
    ("asked", "led"),
    [
        ("/sessions?q=a", "/sessions?q=a"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/%2f/evil", "/"),
        ("javascript:alert(1)", "/"),
        ("/\nset-cookie: a=b", "/"),
    ],
)
def test_the_way_back_after_signing_in_stays_here(services: Services, browser: Browser, asked: str, led: str) -> None:
    services.accounts.set_password(PersonId("viewer"), "quartz umbrella tango ninety", by=PersonId("viewer"))
    answer = browser.submit("/sign-in", "/sign-in", name="viewer", password="quartz umbrella tango ninety", next=asked)
    assert (answer.status_code, answer.headers["location"]) == (303, led)


def test_what_fails_inside_shows_no_details(
    services: Services, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.as_(services, "viewer")

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(services.index, "search", broken)
    answer = browser.get("/sessions")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "RuntimeError" not in answer.text


def test_an_address_cannot_make_a_page_fail(services: Services, browser: Browser) -> None:
    assert browser.get("/sign-in", params={"done": "x" * 41}).status_code == 200
    browser.as_(services, "viewer")
    assert browser.get("/account", params={"done": "x" * 1_000}).status_code == 200
    refused = browser.get("/sessions", params={"q": "x" * 201, "done": "x" * 41})
    assert (refused.status_code, "longer than 200 characters" in refused.text) == (422, True)


def test_an_error_page_leaves_names_as_they_are(services: Services) -> None:
    page = services.render("error.html", visit=None, done="", title="No", message="ask Anna.Schmidt, not Bob")
    assert "Ask Anna.Schmidt, not Bob." in page
