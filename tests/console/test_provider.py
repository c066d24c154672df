"""Signing in through a real OpenID Connect provider that runs beside the tests."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec
import oidc_provider_mock
import pytest
from console_world import URL, Browser

from fiducial.console.app import Console
from fiducial.console.pages.door import _whose
from fiducial.console.provider import AT_ONCE, CALLBACK, Provider, ProviderSettings, Subject, _derived
from fiducial.console.services import Services, Settings
from fiducial.core.clock import ManualClock, SystemClock
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError
from fiducial.oversight.people import Person
from fiducial.policy.rulebook import Rulebook
from fiducial.store.memory import MemoryStore

# The provider of the tests uses what its own library is about to drop; ours is checked by every other test.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
EVE, MALLORY = "eve@example.org", "mallory@example.org"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
        address = f"http://localhost:{server.server_port}"
        for subject, claims in (
            ("subject-eve", {"email": EVE, "email_verified": True}),
            ("subject-moved", {"email": EVE, "email_verified": True}),
            ("subject-unverified", {"email": MALLORY, "email_verified": False}),
        ):
            httpx2.put(f"{address}/users/{subject}", json=claims).raise_for_status()
        yield address


@pytest.fixture
def services(rulebook: Rulebook, issuer: str) -> Iterator[Services]:
    settings = ProviderSettings(issuer=issuer, client_id="console", client_secret="s" * 32, name="Example")
    made = Services(MemoryStore(), rulebook, Settings(url=URL, provider=settings))
    for id, email in (("eve", EVE), ("mallory", MALLORY)):
        made.people.add(Person(id=PersonId(id), name=id, console=("viewer",), email=email), by=PersonId("console"))
    yield made
    made.close()


def _sent_back(browser: Browser, subject: str, way: str = "/sign-in/provider") -> str:
    """Go to the provider as the sign-in page does, sign in there, and the path to which it sends back."""
    away = browser.get(way).headers["location"]
    query = parse_qs(urlsplit(away).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    assert {"state", "nonce", "code_challenge"} <= query.keys()
    back = httpx2.post(away, data={"sub": subject}).headers["location"]
    assert back.startswith(URL + CALLBACK)
    return back.removeprefix(URL)


def test_a_person_signs_in_and_is_known_by_subject_from_then_on(services: Services) -> None:
    browser = Browser(Console(services))
    assert "Sign in with Example" in browser.get("/sign-in").text
    answer = browser.get(_sent_back(browser, "subject-eve"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert browser.get("/sessions").status_code == 200
    known = services.people.find(PersonId("eve"))
    assert known is not None
    services.people.change(
        msgspec.structs.replace(known.person, email="other@example.org"), version=1, by=PersonId("x"), act="changed"
    )
    again = Browser(Console(services))
    assert again.get(_sent_back(again, "subject-eve")).status_code == 303
    assert len(services.accounts.sessions(PersonId("eve"))) == 2


@pytest.mark.parametrize(
    ("way", "leads"),
    [("/notice/abc.def-_", "/notice/abc.def-_"), ("/sessions?page=2", "/sessions?page=2"), ("//example.org/", "/"),
     ("https://example.org/", "/"), ("", "/")],
)  # fmt: skip
def test_signing_in_leads_on_to_the_page_that_was_asked_for(services: Services, way: str, leads: str) -> None:
    browser = Browser(Console(services))
    page = browser.get("/sign-in", params={"next": way}).text
    found = re.search(r'href="(/sign-in/provider\?next=[^"]*)"', page)
    assert found is not None
    answer = browser.get(_sent_back(browser, "subject-eve", found[1]))
    assert (answer.status_code, answer.headers["location"]) == (303, leads)
    assert not any(name.endswith("-next") for name in browser.cookies)
    browser.cookies.set(services.cookie + "-next", "https%3A%2F%2Fexample.org", domain="127.0.0.1")
    answer = browser.get(_sent_back(browser, "subject-eve", found[1]))
    assert answer.headers["location"] == leads, "what a cookie held before counts for nothing"


def test_an_address_that_was_handed_on_does_not_hand_on_the_account(services: Services) -> None:
    first, second = Browser(Console(services)), Browser(Console(services))
    assert first.get(_sent_back(first, "subject-eve")).status_code == 303
    assert second.get(_sent_back(second, "subject-moved")).status_code == 403


def test_an_address_that_is_not_verified_proves_nothing(services: Services) -> None:
    browser = Browser(Console(services))
    assert browser.get(_sent_back(browser, "subject-unverified")).status_code == 403
    assert not services.accounts.has_way_in(PersonId("mallory"))


def test_an_address_in_other_letters_is_another_address(services: Services) -> None:
    """Unicode has letters beside `k` whose lower case is `k`, such as that of kelvin."""
    kim = Person(id=PersonId("kim"), name="Kim", email="kim@example.org")
    services.people.add(kim, by=PersonId("console"))
    services.people.add(Person(id=PersonId("old"), name="Old", email=kim.email, active=False), by=PersonId("console"))
    visit: Any = SimpleNamespace(services=services)
    assert _whose(visit, Subject(key="1" * 64, email="\u212aim@example.org")) is None
    assert _whose(visit, Subject(key="2" * 64, email="KIM@Example.org")) == kim, "nor does who left share it"


def test_a_provider_that_hangs_holds_few_and_is_left_alone_for_a_while(
    rulebook: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ProviderSettings(issuer="http://127.0.0.1:9", client_id="a", client_secret="b")
    clock = ManualClock()
    provider = Provider(settings, redirect_to=URL + CALLBACK, clock=clock)
    asked, answer = [], threading.Event()

    def hang() -> None:
        asked.append(1)
        assert answer.wait(20)
        raise OversightError("the identity provider cannot be reached (ReadTimeout)")

    monkeypatch.setattr(provider, "_fetched", hang)

    def go() -> str:
        try:
            return provider.go("a" * 43)
        except OversightError as error:
            return str(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(go) for _ in range(AT_ONCE)]
        while not asked or provider._room._value:
            time.sleep(0.01)
        assert "many people" in go(), "one more is not kept waiting"
        answer.set()
        assert all("cannot be reached" in each.result() for each in waiting)
    assert len(asked) == 1
    clock.advance(timedelta(seconds=6))
    assert "cannot be reached" in go()
    assert len(asked) == 2


def test_whoever_is_inactive_stays_out(services: Services) -> None:
    known = services.people.find(PersonId("eve"))
    assert known is not None
    services.people.change(msgspec.structs.replace(known.person, active=False), version=1, by=PersonId("x"), act="off")
    browser = Browser(Console(services))
    assert browser.get(_sent_back(browser, "subject-eve")).status_code == 403


def test_an_answer_counts_once_and_in_the_browser_that_asked(services: Services) -> None:
    browser, other = Browser(Console(services)), Browser(Console(services))
    back = _sent_back(browser, "subject-eve")
    assert other.get(back).status_code == 422, "another browser: login CSRF"
    other.get("/sign-in/provider")
    assert other.get(back).status_code == 422, "another browser with a sign-in of its own"
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 422, "the cookie is gone, and the code is spent"


@pytest.mark.parametrize("change", ["state", "code", "iss"])
def test_an_answer_that_was_changed_is_refused(services: Services, change: str) -> None:
    browser = Browser(Console(services))
    back = urlsplit(_sent_back(browser, "subject-eve"))
    query = {name: values[0] for name, values in parse_qs(back.query).items()}
    query[change] = "another"
    assert browser.get(back.path, params=query).status_code == 422
    assert browser.get("/sessions").status_code == 303


def test_a_refusal_by_the_provider_signs_nobody_in(services: Services) -> None:
    browser = Browser(Console(services))
    answer = browser.get(CALLBACK, params={"error": "<script>alert(1)</script>", "state": "x"})
    assert answer.status_code == 401
    assert "script>alert" not in answer.text


@pytest.mark.parametrize("wrong", ["nonce", "audience", "issuer"])
def test_an_id_token_for_something_else_is_refused(
    services: Services, issuer: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature holds; what it says is about another sign-in, client or provider."""
    browser = Browser(Console(services))
    provider = services.provider
    assert provider is not None
    back = urlsplit(_sent_back(browser, "subject-eve"))
    query = {name: values[0] for name, values in parse_qs(back.query).items()}
    secret = browser.cookies[services.early_cookie]
    if wrong == "nonce":
        monkeypatch.setattr(
            "fiducial.console.provider._derived",
            lambda what, given: _derived(what, given) if what != "nonce" else "another",
        )
    elif wrong == "audience":
        real = provider._client
        other = msgspec.structs.replace(provider.settings, client_id="other")
        monkeypatch.setattr(provider, "_client", real)
        client = real()
        monkeypatch.setattr(provider, "_client", lambda: client)
        monkeypatch.setattr(provider, "settings", other)
    else:
        provider._description()
        monkeypatch.setattr(provider, "settings", msgspec.structs.replace(provider.settings, issuer=issuer + "/"))
    with pytest.raises(OversightError, match="does not hold"):
        provider.answered(secret, state=query["state"], code=query["code"], issuer=None)


def test_a_provider_over_plain_http_elsewhere_is_refused() -> None:
    settings = ProviderSettings(issuer="http://id.example.org", client_id="a", client_secret="b")
    with pytest.raises(OversightError, match="https"):
        Provider(settings, redirect_to=URL + CALLBACK, clock=SystemClock())


def test_a_provider_that_is_away_is_told_and_local_accounts_still_work(rulebook: Rulebook) -> None:
    settings = ProviderSettings(issuer="http://127.0.0.1:9", client_id="a", client_secret="b")
    made = Services(MemoryStore(), rulebook, Settings(url=URL, provider=settings))
    browser = Browser(Console(made))
    answer = browser.get("/sign-in/provider")
    assert answer.status_code == 422
    assert "cannot be reached" in answer.text
    assert browser.get("/sign-in").status_code == 200
    made.close()
