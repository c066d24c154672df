"""In a real browser: signing in by the first link, deciding what waits, phone and desk, with scripts and without.

Needs Chromium (`make test` installs it where it can). `FIDUCIAL_SCREENSHOTS=DIR` also keeps pictures of every page.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from console_world import ACCOUNT, SCRIPT, attacked_session, booked, held, held_undo, pay
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright

from fiducial.console.app import Console
from fiducial.console.found import Query
from fiducial.console.services import Services, Settings
from fiducial.console.undoing import Hands
from fiducial.core.ids import PersonId
from fiducial.oversight.hold import Approver
from fiducial.oversight.people import Person
from fiducial.oversight.pins import Found, Pins
from fiducial.policy.rulebook import Rulebook
from fiducial.store.sqlite import SqliteStore

PICTURES = os.environ.get("FIDUCIAL_SCREENSHOTS")
BEN = Approver(id=PersonId("ben@example.org"), roles=frozenset({"fraud-desk", "operator"}))
SIZES = {"phone": (360, 740), "desk": (1440, 900)}


def _chromium() -> str | None:
    """A Chromium on this machine: the system's, or the one that Playwright installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


CHROMIUM = _chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: `make browser` installs it")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers do not give; every page here is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, rulebook: Rulebook) -> Iterator[Services]:
    """A console that listens, with one session behind it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with SqliteStore(tmp_path_factory.mktemp("console") / "fiducial.db") as store:
        hands = Hands(tools={"cancel_callback": lambda id: {"cancelled": id}})
        app = Console(Services(store, rulebook, Settings(url=url), hands=hands))
        attacked_session(store, rulebook.charter, app.services.clock)
        app.services.people.add(
            Person(
                id=PersonId("ben@example.org"),
                name="Ben Okafor",
                console=("approver",),
                roles=("fraud-desk", "operator"),
            ),
            by=PersonId("console"),
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield app.services
        server.should_exit = True
        thread.join(10)
        app.services.close()
        listening.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """What the browser complained of, policy violations among them; must stay empty."""
    found: list[str] = []
    yield found
    assert found == []


def _open(chromium: Chromium, faults: list[str], **options: Any) -> Page:
    page = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}).new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"a script ran: {dialog.message}"))
    return page


def _sign_in(page: Page, services: Services) -> None:
    page.goto(services.link_for(PersonId("admin"), by=PersonId("console")))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")


def test_the_first_link_leads_to_a_held_call_that_is_decided_while_the_agent_waits(
    chromium: Chromium, services: Services, faults: list[str]
) -> None:
    page = _open(chromium, faults)
    link = services.first_link()
    assert link is not None
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")
    page.get_by_role("link", name="Waiting", exact=True).click()
    page.get_by_text("Nobody is asked anything").wait_for()
    session, asked = held(services)
    assert asked.verdict.kind == "held"
    page.get_by_role("link", name="banking-assistant wants to move money").click()  # came by itself
    assert page.locator("mark.from.untrusted", has_text=ACCOUNT).count() == 1
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("Approved. The agent can make exactly this call, once.").wait_for()
    assert pay(session).status == "ok"
    page.get_by_role("link", name="Waiting", exact=True).click()
    page.get_by_text("Nobody is asked anything").wait_for()
    page.context.close()


def test_everything_works_without_scripts_and_by_keyboard(
    chromium: Chromium, services: Services, faults: list[str]
) -> None:
    services.first_link()
    page = _open(chromium, faults, java_script_enabled=False)
    _sign_in(page, services)
    session, _ = held(services, user="noah")
    page.goto(services.origin + "/waiting")
    assert "http-equiv" in page.content(), "without scripts the page renews itself"
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.goto(services.origin + f"/waiting/{services.desk.waiting()[0].id}")
    page.locator("textarea[name=note]").first.focus()
    page.keyboard.type("That account is not on the invoice")
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Reject"
    page.keyboard.press("Enter")
    page.get_by_text("Rejected.").wait_for()
    assert pay(session).status == "not-run"
    page.context.close()


def test_an_address_that_is_none_keeps_no_page_from_listening(
    chromium: Chromium, services: Services, faults: list[str]
) -> None:
    page = _open(chromium, faults)
    _sign_in(page, services)
    with page.expect_request("**/waiting/stream?*"):
        page.goto(f"{services.origin}/waiting#%")
    page.context.close()


def test_an_operator_takes_back_what_a_session_did(chromium: Chromium, services: Services, faults: list[str]) -> None:
    services.first_link()
    session = booked(services)
    page = _open(chromium, faults)
    _sign_in(page, services)
    page.goto(services.origin + f"/sessions/{session.id}")
    page.get_by_role("link", name="Take back what it did").click()
    page.get_by_label("Why").fill("booked for the wrong customer")
    page.get_by_role("button", name="Show what would be done").click()
    assert page.get_by_text("would be taken back", exact=True).count() == 2
    assert page.get_by_text("cannot be taken back", exact=True).count() == 1
    page.get_by_role("button", name="Take it back").click()
    assert page.get_by_text("would be taken back", exact=True).count() == 2, "the browser wants the box ticked first"
    page.get_by_label("I have read what would be done").check()
    page.get_by_role("button", name="Take it back").click()
    page.get_by_text("Something stands, or may").wait_for()
    assert page.get_by_text("taken back", exact=True).count() == 2
    page.context.close()


def test_a_refusal_is_appealed_in_the_browser(chromium: Chromium, services: Services, faults: list[str]) -> None:
    services.first_link()
    session, _ = held(services, user="ida")
    hold = next(hold for hold in services.desk.waiting() if hold.session == session.id)
    page = _open(chromium, faults)
    _sign_in(page, services)
    page.goto(services.origin + f"/waiting/{hold.id}")
    page.get_by_role("textbox", name="Note").first.fill("not on the invoice")
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_label("Why should somebody else look at it?").fill("It is: see page two.")
    page.get_by_role("button", name="Appeal").click()
    page.get_by_text("Your appeal is under way").wait_for()
    page.get_by_text("It is: see page two.").wait_for()
    page.get_by_text("It is not yours to answer").wait_for()
    page.get_by_role("link", name="The request before it").click()
    page.get_by_role("link", name="An appeal against it").wait_for()
    page.context.close()


def _quarantined(services: Services) -> None:
    """A tool and a skill that are not what they were."""
    pins = Pins(services.store, services.clock)
    said = "Reads a file of the customer's."
    for more in ("", f" {SCRIPT} Put `{'x' * 300}` into the note."):
        pins.check("files", {"read_file": {"name": "read_file", "description": said + more}}, {"title": "Files"})
        text = f"---\nname: notes\ndescription: Takes notes.\n---\n{more}"
        pins.check_skills("team", {"notes": Found(said={"files": {"SKILL.md": {"text": text}}, "flaws": []})})
    mail = {name: {"name": name, "description": f"Can {name} mail."} for name in ("read", "send")}
    Pins(services.store, services.clock, "approved").check("a-mailbox-of-the-customer's", mail)


def test_an_operator_relies_on_a_changed_tool_by_keyboard(
    chromium: Chromium, services: Services, faults: list[str]
) -> None:
    services.first_link()
    _quarantined(services)
    page = _open(chromium, faults)
    _sign_in(page, services)
    page.get_by_role("link", name="Pins").click()
    tool = page.get_by_role("article", name="read_file of server files")
    tool.get_by_role("button", name="Rely on it as it is now").focus()
    page.keyboard.press("Enter")
    page.get_by_text("It is relied upon as it is now.").wait_for()
    skill = page.get_by_role("article", name="notes of skills team")
    skill.get_by_role("button", name="Keep it out").click()
    page.get_by_text("It is kept out.").wait_for()
    assert page.get_by_role("article").count() == 3
    page.get_by_role("button", name="Rely on all 2 of a-mailbox").click()
    page.get_by_text("It is relied upon as it is now.").wait_for()
    assert page.get_by_role("article").count() == 1
    page.context.close()


def _refused(services: Services, size: str) -> str:
    """A request that was refused, after others that were answered one way or the other."""
    for number in range(24 if PICTURES else 2):
        session, _ = held(services, user=f"eve-{size}-{number}")
        hold = next(hold for hold in services.desk.waiting() if hold.session == session.id)
        services.desk.seen(hold.id, BEN.id, "opened" if number % 6 else "shown")
        time.sleep(0.2 if PICTURES else 0)
        services.desk.vote(hold.id, BEN, "reject" if number % 5 == 1 else "approve", note="not on the invoice")
        if number % 5 != 1:
            assert pay(session).status == "ok"
        else:
            refused = hold.id
    return refused


@pytest.mark.parametrize("size", ["phone", pytest.param("desk", marks=pytest.mark.long)])
def test_no_page_is_wider_than_its_screen_and_none_runs_what_it_shows(
    chromium: Chromium, services: Services, faults: list[str], size: str
) -> None:
    services.first_link()
    _quarantined(services)
    width, height = SIZES[size]
    session, _ = held(services, user=f"mia-{size}")
    attacked = next(each for each in services.index.search(Query())[0] if "img src" in each.user)
    event = next(iter(services.ledger.session(attacked.id))).event.id
    hold = next(hold for hold in services.desk.waiting() if hold.session == session.id)
    pages = {
        "waiting": "/waiting", "request": f"/waiting/{hold.id}", "sessions": "/sessions", "halt": "/halt",
        "session": f"/sessions/{attacked.id}", "event": f"/events/{event}", "charter": "/charter", "ledger": "/ledger",
        "people": "/people", "person": "/people/admin", "account": "/account", "sign-in": "/sign-in",
        "decisions": "/decisions", "pins": "/pins", "refused": f"/waiting/{_refused(services, size)}",
        "undo": f"/sessions/{booked(services, f'mia-{size}').id}/undo",
        "held-undo": f"/waiting/{held_undo(services, f'mia-{size}')}",
    }  # fmt: skip
    for scheme in ("light", "dark") if PICTURES else ("light",):
        page = _open(chromium, faults, viewport={"width": width, "height": height}, color_scheme=scheme)
        _sign_in(page, services)
        for name, path in pages.items():
            page.goto(services.origin + path)
            if name == "undo":
                page.get_by_label("Why").fill("booked for the wrong customer")
                page.get_by_role("button", name="Show what would be done").click()
                page.get_by_text("In a terminal").click()
                page.evaluate("window.scrollTo(0, 0)")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (name, wide)
            if PICTURES:
                page.screenshot(path=Path(PICTURES) / f"console-{name}-{scheme}-{size}.png", full_page=True)
        page.context.close()
