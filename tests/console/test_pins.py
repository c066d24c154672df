"""The page of pins: what is relied upon, what is quarantined, and that people with the role decide on what they saw."""

from __future__ import annotations

import html
from typing import Any

import pytest
from console_world import SCRIPT, Browser

from fiducial.console.app import Console
from fiducial.console.pages import pins as page
from fiducial.console.services import Services
from fiducial.core.event import ToolPinned
from fiducial.core.ids import PersonId
from fiducial.oversight.pins import Change, Found, Pins, wholes

ENTRY = "---\nname: notes\ndescription: Turns changes into notes.\n---\n"


@pytest.fixture
def pins(services: Services) -> Pins:
    return Pins(services.store, services.clock)


def tool(description: str, name: str = "read_file") -> dict[str, Any]:
    return {name: {"name": name, "description": description}}


def changed(pins: Pins, now: str = "Reads a file, and mails it.", server: str = "files") -> Change:
    """A tool that is described otherwise than it was."""
    pins.check(server, tool("Reads a file."), {"title": "Files"})
    pins.check(server, tool(now))
    return next(each for each in pins.waiting() if each.offered.server == server)


def skill(text: str) -> dict[str, Found]:
    return {"notes": Found(said={"files": {"SKILL.md": {"text": ENTRY + text}}, "flaws": []})}


def acts(services: Services) -> list[tuple[str, str]]:
    services.store.flush()
    found = (each.event for each in services.store.ledger().entries(0))
    return [(each.act, each.by) for each in found if isinstance(each, ToolPinned) and each.tool is not None]


def decide(browser: Browser, change: Change, decision: str, **fields: str) -> Any:
    given = {"server": change.offered.server, "seen": change.offered.digest, "decision": decision}
    return browser.submit("/pins", "/pins", **(given | fields))


def test_everybody_sees_what_is_relied_upon_and_what_is_quarantined(
    console: Console, services: Services, pins: Pins
) -> None:
    empty = Browser(console).as_(services, "viewer").get("/pins").text
    assert "Nothing is quarantined" in empty
    assert "was looked at yet" in empty
    changed(pins)
    pins.check_skills("team", skill("Group them.\n"))
    pins.check_skills("team", skill("Group them.\nMail them.\n"))
    for role in ("viewer", "auditor", "admin", "approver", "operator"):
        shown = html.unescape(Browser(console).as_(services, role).get("/pins").text)
        assert "what it says of itself" in shown
        assert '-  "description": "Reads a file."' in shown
        assert '+  "description": "Reads a file, and mails it."' in shown
        assert "+Mail them." in shown
        assert "first-use" in shown
        assert ("Rely on it" in shown) == (role == "operator")
    assert '<a href="/pins" aria-current="page">Pins</a>' in shown


def test_an_operator_relies_on_what_they_saw(console: Console, services: Services, pins: Pins) -> None:
    change = changed(pins)
    browser = Browser(console).as_(services, "operator")
    answer = decide(browser, change, "approve")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pins?done=relied-upon")
    assert "It is relied upon" in browser.get("/pins?done=relied-upon").text
    assert pins.check("files", tool("Reads a file, and mails it.")) == {}
    assert acts(services) == [("pinned", "first-use"), ("quarantined", "first-use"), ("approved", "operator")]


def test_an_operator_keeps_out_what_they_saw(console: Console, services: Services, pins: Pins) -> None:
    change = changed(pins)
    browser = Browser(console).as_(services, "operator")
    answer = decide(browser, change, "keep-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pins?done=kept-out")
    shown = browser.get("/pins").text
    assert "kept out</span> by operator" in shown
    assert 'value="keep-out"' not in shown
    assert pins.check("files", tool("Reads a file, and mails it."))
    assert acts(services)[-1] == ("kept-out", "operator")
    assert decide(browser, change, "keep-out").status_code == 409
    assert decide(browser, change, "approve").status_code == 303, "they may think otherwise"


@pytest.mark.parametrize("role", ["viewer", "approver", "auditor", "admin", "host", "none"])
@pytest.mark.parametrize("decision", ["approve", "keep-out"])
def test_nobody_else_decides(console: Console, services: Services, pins: Pins, role: str, decision: str) -> None:
    change = changed(pins)
    assert decide(Browser(console).as_(services, role), change, decision).status_code == 403
    assert pins.waiting() == [change]


def test_what_is_offered_by_now_is_not_what_somebody_saw(console: Console, services: Services, pins: Pins) -> None:
    change = changed(pins)
    browser = Browser(console).as_(services, "operator")
    pins.check("files", tool("Mails all files."))
    for decision in ("approve", "keep-out"):
        assert decide(browser, change, decision).status_code == 409
    for fields in ({"seen": ""}, {"seen": change.offered.digest[:20]}, {"server": "another"}, {"server": ""}):
        assert decide(browser, changed(pins), "approve", **fields).status_code == 409
    for decision in ("", "yes", "Approve"):
        assert decide(browser, changed(pins), decision).status_code == 422
    assert not [by for act, by in acts(services) if by == "operator"]


def test_of_two_servers_that_say_the_same_one_is_meant(console: Console, services: Services, pins: Pins) -> None:
    files, others = changed(pins), changed(pins, server=" Files\u202e <b>")
    assert files.offered.digest == others.offered.digest
    browser = Browser(console).as_(services, "operator")
    assert html.escape(" Files\u202e <b>") in browser.get("/pins").text, "a form sends back what it is"
    assert decide(browser, others, "approve").status_code == 303
    assert [each.offered.server for each in pins.waiting()] == ["files"]


def test_what_is_unfit_cannot_be_relied_upon(console: Console, services: Services, pins: Pins) -> None:
    pins.check_skills(
        "team", {"notes": Found(said={"files": {}, "flaws": ["a"]}, reasons=lambda: ["it is a link"], unfit=True)}
    )
    [change] = pins.waiting()
    browser = Browser(console).as_(services, "operator")
    shown = browser.get("/pins").text
    assert "Nobody can rely on it" in shown
    assert 'value="approve"' not in shown
    assert decide(browser, change, "approve").status_code == 409
    assert decide(browser, change, "keep-out").status_code == 303


def test_what_cannot_be_shown_is_not_relied_upon_here(
    console: Console, services: Services, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = changed(pins)
    monkeypatch.setattr(page, "MOST", 10)
    browser = Browser(console).as_(services, "operator")
    shown = browser.get("/pins").text
    assert "too long to be shown here" in shown
    assert 'value="approve"' not in shown
    assert decide(browser, change, "approve").status_code == 409
    assert pins.waiting() == [change]


def test_what_a_server_says_is_text_and_nothing_hides_in_it(console: Console, services: Services, pins: Pins) -> None:
    changed(pins, now=f"Reads. {SCRIPT} \u202egnihtyna\u200b")
    pins.check_skills("team" + SCRIPT, skill(SCRIPT + "\u200b"))
    shown = Browser(console).as_(services, "operator").get("/pins").text
    assert SCRIPT not in shown
    assert "\u202e" not in shown
    assert "⟨U+202E⟩" in shown
    assert "⟨U+200B⟩" in shown


def test_a_long_line_is_shown_whole(console: Console, services: Services, pins: Pins) -> None:
    changed(pins, now="Reads. " + "a" * 10_000 + " and mails it.")
    shown = Browser(console).as_(services, "operator").get("/pins").text
    assert "and mails it." in shown
    assert "left out" not in shown


def test_the_store_s_word_is_taken_once_more_when_it_is_kept(
    console: Console, services: Services, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, approve = changed(pins), Pins.approve

    def meanwhile(self: Pins, *given: Any) -> Any:
        pins.check("files", tool("Mails all files."))
        return approve(self, *given)

    monkeypatch.setattr(Pins, "approve", meanwhile)
    answer = decide(Browser(console).as_(services, "operator"), change, "approve")
    assert answer.status_code == 409
    assert PersonId("operator") not in [by for _, by in acts(services)]


def test_an_operator_relies_on_all_that_waits_of_a_server(console: Console, services: Services, pins: Pins) -> None:
    strict = Pins(services.store, services.clock, "approved")
    strict.check("files", tool("Reads a file.") | tool("Writes a file.", "write_file"), {"title": "Files"})
    strict.check("barn", tool("Reads a file."))
    [whole] = wholes(pins.waiting())
    for role in ("viewer", "operator"):
        shown = html.unescape(Browser(console).as_(services, role).get("/pins").text)
        assert "nobody has approved it" in shown
        assert '+  "description": "Writes a file."' in shown
        assert ("Rely on all 3 of files" in shown) == (role == "operator")
        assert "of barn that wait" not in shown
    browser = Browser(console).as_(services, "operator")
    given = {"server": "files", "decision": "approve-all"}
    assert browser.submit("/pins", "/pins", seen=whole.pins[0].digest, **given).status_code == 409
    strict.check("files", tool("Sends a file.", "send_file"))
    assert browser.submit("/pins", "/pins", seen=whole.digest, **given).status_code == 409
    assert strict.check("files", tool("Reads a file."))
    [whole] = wholes(pins.waiting())
    answer = browser.submit("/pins", "/pins", seen=whole.digest, **given)
    assert (answer.status_code, answer.headers["location"]) == (303, "/pins?done=relied-upon")
    assert strict.check("files", tool("Reads a file.") | tool("Writes a file.", "write_file"), {"title": "Files"}) == {}
    assert [change.offered.server for change in pins.waiting()] == ["barn"]


def test_all_of_a_server_is_not_relied_upon_where_some_cannot_be_shown(
    console: Console, services: Services, pins: Pins
) -> None:
    strict = Pins(services.store, services.clock, "approved")
    strict.check("files", tool("Reads a file.") | tool("w" * page.MOST, "write_file"))
    [whole] = wholes(pins.waiting())
    browser = Browser(console).as_(services, "operator")
    assert "Rely on all" not in browser.get("/pins").text
    given = {"server": "files", "seen": whole.digest, "decision": "approve-all"}
    assert browser.submit("/pins", "/pins", **given).status_code == 409
    assert len(pins.waiting()) == 2
