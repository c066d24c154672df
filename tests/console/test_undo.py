"""Taking back from the console: shown first, confirmed, through the guard, once, and on record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
from console_world import QUOTED, SCRIPT, URL, Browser
from test_injection import check

import fiducial
from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.console.app import Console
from fiducial.console.services import Services, Settings
from fiducial.console.undoing import Hands, Order
from fiducial.core.event import UndoFinished, UndoStarted
from fiducial.core.ids import PersonId, SessionId
from fiducial.oversight.captures import Files
from fiducial.oversight.hold import Approver
from fiducial.oversight.people import CONSOLE_ROLES, Person
from fiducial.oversight.undo import undo
from fiducial.policy.rulebook import compile_rulebook
from fiducial.store.sqlite import SqliteStore

TOOLS: dict[str, Any] = {
    "write": {
        "effect": "reversible", "kind": "update",
        "parameters": {"path": {"role": "target"}, "text": {"role": "content"}},
        "capture": {"driver": "files", "tool": "restore", "arguments": {"path": "$arguments.path"}},
    },
    "restore": {"effect": "reversible", "kind": "update", "parameters": {"path": {"role": "target"}}},
    "tag": {
        "effect": "reversible", "kind": "update", "parameters": {"name": {"role": "target"}},
        "undo": {"tool": "untag", "arguments": {"name": "$arguments.name"}},
    },
    "untag": {"effect": "reversible", "kind": "update", "parameters": {"name": {"role": "target"}}},
    "mail": {"effect": "irreversible", "kind": "send", "audience": "third_party",
             "parameters": {"text": {"role": "content"}}},
}  # fmt: skip
POLICIES = """@id("charter/all") permit (principal, action in Action::"declared", resource);
@id("charter/ask") @hold("clerk") forbid (principal, action == Action::"untag", resource)
when { context.input.name == "held" };
"""


@pytest.fixture(scope="module")
def world() -> Any:
    about = About(agent="clerk", owners=Owners(responsible="a", accountable="b"), roles=("clerk",), baseline="none")
    contracts = {name: Contract.model_validate(tool) for name, tool in TOOLS.items()}
    charter = Charter.build(about, contracts, (), (PolicySource(file="all.cedar", text=POLICIES),))
    return compile_rulebook(charter)


@pytest.fixture
def untagged() -> list[str]:
    return []


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture(params=["with hands"])
def console(
    request: pytest.FixtureRequest, store: SqliteStore, world: Any, notes: Path, untagged: list[str]
) -> Iterator[Console]:
    hands = Hands(tools={"untag": lambda name: untagged.append(name)}, captures={"files": Files(notes)})
    made = Console(Services(store, world, Settings(url=URL), hands=hands if request.param == "with hands" else None))
    made.services.accounts._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    for role in CONSOLE_ROLES:
        roles = ("clerk",) if role == "approver" else ()
        person = Person(id=PersonId(role), name=role.title(), console=(role,), roles=roles)
        made.services.people.add(person, by=PersonId("console"))
    yield made
    made.services.close()


def _worked(console: Console, notes: Path, *tags: str, mailed: bool = True) -> SessionId:
    """A session that wrote a note, set tags and sent a mail."""
    services = console.services
    guard = fiducial.Guard(services.charter, store=services.store, captures={"files": Files(notes)})
    with guard.session(user="ann", task=f"write a.txt {SCRIPT}") as session:
        text = {"path": "a.txt", "text": f"milk {SCRIPT}{QUOTED}"}
        wrote = session.call("write", text, run=lambda path, text: (notes / path).write_text(text))
        assert wrote.status == "ok"
        for tag in tags:
            assert session.call("tag", {"name": tag}, run=lambda name: None).status == "ok"
        if mailed:
            assert session.call("mail", {"text": SCRIPT}, run=lambda text: None).status == "ok"
    return session.id


def _plan(page: str) -> str:
    found = re.search(r'name="plan" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def _events(console: Console, kind: type) -> list[Any]:
    return [each.event for each in console.services.ledger.entries() if isinstance(each.event, kind)]


def test_what_would_be_done_is_shown_and_confirmed_and_done_once(
    console: Console, notes: Path, untagged: list[str]
) -> None:
    session = _worked(console, notes, "red")
    browser = Browser(console).as_(console.services, "operator")
    assert f"/sessions/{session}/undo" in browser.get(f"/sessions/{session}").text
    path = f"/sessions/{session}/undo"
    shown = browser.submit(path, path, why="wrong list")
    check(shown.text)
    assert shown.status_code == 200
    assert "This is the plan" in shown.text
    assert shown.text.count("would be taken back<") == 2
    assert "cannot be taken back" in shown.text
    assert (notes / "a.txt").exists()
    assert untagged == []
    fields = {"why": "wrong list", "plan": _plan(shown.text)}
    assert browser.submit(f"{path}/run", path, **fields).status_code == 422, "not confirmed"
    assert (notes / "a.txt").exists()
    done = browser.submit(f"{path}/run", path, **fields, confirm="yes")
    check(done.text)
    assert done.status_code == 200
    assert not (notes / "a.txt").exists()
    assert untagged == ["red"]
    started = _events(console, UndoStarted)
    assert [(event.by, event.why, event.dry_run) for event in started] == [
        ("operator", "wrong list", True),
        ("operator", "wrong list", False),
    ]
    assert [event.outcome for event in _events(console, UndoFinished)] == ["impossible", "undone", "undone"]
    again = browser.submit(f"{path}/run", path, **fields, confirm="yes")
    assert again.status_code == 409, "the plan is another: everything is taken back already"
    done = browser.submit(f"{path}/run", path, why="again", plan=_plan(again.text), confirm="yes")
    assert untagged == ["red"], "nothing twice"
    assert "taken back before" in done.text


@pytest.mark.parametrize("why", ["Order\u00a04711 was wrong", "Storniert \u2764\ufe0f " + "x" * 480])
def test_why_is_recorded_as_it_was_typed(console: Console, notes: Path, untagged: list[str], why: str) -> None:
    session = _worked(console, notes, "red", mailed=False)
    browser = Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session}/undo"
    shown = browser.submit(path, path, why=why).text
    kept = re.search(r'type="hidden" name="why" value="([^"]*)"', shown)
    assert kept is not None
    assert browser.submit(f"{path}/run", path, why=kept[1], plan=_plan(shown), confirm="yes").status_code == 200
    assert [event.why for event in _events(console, UndoStarted)] == [why, why]
    assert untagged == ["red"]


def test_a_plan_that_has_changed_is_shown_again_and_not_done(
    console: Console, notes: Path, untagged: list[str]
) -> None:
    session = _worked(console, notes, "red", mailed=False)
    browser = Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session}/undo"
    plan = _plan(browser.submit(path, path, why="wrong").text)
    other = console.services.people.find(PersonId("operator"))
    assert other is not None
    order = Order(session=session, why="somebody was faster")
    report = console.services.undoing.tried(order, other.person)
    assert console.services.undoing.run(order, other.person, plan).dry_run is False
    assert report.effects
    late = browser.submit(f"{path}/run", path, why="wrong", plan=plan, confirm="yes")
    assert late.status_code == 409
    assert "look again" in late.text
    assert untagged == ["red"]


def test_what_was_made_after_the_look_is_not_taken_back(
    console: Console, untagged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = fiducial.Guard(console.services.charter, store=console.services.store).session(user="ann")
    session.call("tag", {"name": "red"}, run=lambda name: None)
    browser = Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session.id}/undo"
    plan = _plan(browser.submit(path, path, why="wrong").text)

    def late(*arguments: Any, **named: Any) -> Any:
        assert session.call("tag", {"name": "late"}, run=lambda name: None).status == "ok"
        return undo(*arguments, **named)

    monkeypatch.setattr("fiducial.console.undoing.undo", late)
    assert browser.submit(f"{path}/run", path, why="wrong", plan=plan, confirm="yes").status_code == 409
    assert untagged == []
    session.close()


def test_what_was_shown_without_force_is_not_done_with_it(console: Console, notes: Path, untagged: list[str]) -> None:
    session = _worked(console, notes, "red", mailed=False)
    browser = Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session}/undo"
    plan = _plan(browser.submit(path, path, why="wrong").text)
    assert browser.submit(f"{path}/run", path, why="wrong", force="yes", plan=plan, confirm="yes").status_code == 409
    assert untagged == []


def test_what_policies_hold_goes_to_somebody_else_and_on_from_there(
    console: Console, notes: Path, untagged: list[str]
) -> None:
    session = _worked(console, notes, "held", mailed=False)
    services, browser = console.services, Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session}/undo"
    plan = _plan(browser.submit(path, path, why="wrong").text)
    page = browser.submit(f"{path}/run", path, why="wrong", plan=plan, confirm="yes").text
    assert (page.count("waits for a newer one<"), (notes / "a.txt").exists()) == (1, True)
    [hold] = services.desk.waiting()
    assert hold.user == "operator"
    assert f"/waiting/{hold.id}" in page
    assert untagged == []
    asked = Browser(console).as_(services, "approver").get(f"/waiting/{hold.id}").text
    check(asked)
    assert "To take back what" in asked
    assert "did: wrong</p>" in asked
    assert "Nothing is known of what the user asked for" not in asked
    effect = re.search(rf'takes back what <a href="(/sessions/{session})#(e\d+)">one call of <code>tag</code>', asked)
    assert effect is not None
    assert f'id="{effect[2]}"' in Browser(console).as_(services, "approver").get(effect[1]).text
    services.desk.vote(hold.id, Approver(id=PersonId("approver"), roles=frozenset({"clerk"})), "approve")
    plan = _plan(browser.submit(path, path, why="wrong").text)
    browser.submit(f"{path}/run", path, why="wrong", plan=plan, confirm="yes")
    assert untagged == ["held"]


@pytest.mark.parametrize("console", ["without hands"], indirect=True)
def test_without_the_functions_it_says_so_and_how_else(console: Console, notes: Path) -> None:
    session = _worked(console, notes, "red")
    browser = Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session}/undo"
    why = "it's wrong; $(touch x)"
    shown = browser.submit(path, path, why=why)
    check(shown.text)
    assert shown.text.count("not from here") == 2
    assert "This console was not given the tool <code>untag</code>" in shown.text
    assert "This console was not given the capture <code>files</code>" in shown.text
    assert f"fiducial undo {session} --by operator --why" in shown.text
    operator = console.services.people.find(PersonId("operator"))
    assert operator is not None
    import shlex

    words = shlex.split(console.services.undoing.command(Order(session=session, why=why), operator.person))
    assert words[words.index("--why") + 1] == why
    done = browser.submit(f"{path}/run", path, why=why, plan=_plan(shown.text), confirm="yes")
    assert "Something stands" in done.text
    assert (notes / "a.txt").exists()


@pytest.mark.parametrize("role", [role for role in CONSOLE_ROLES if role != "operator"])
def test_only_operators_come_to_it(console: Console, notes: Path, role: str) -> None:
    session = _worked(console, notes)
    browser = Browser(console).as_(console.services, role)
    assert browser.get(f"/sessions/{session}/undo").status_code == 403
    assert browser.submit(f"/sessions/{session}/undo", why="x").status_code == 403
    assert browser.submit(f"/sessions/{session}/undo/run", why="x", confirm="yes").status_code == 403
    assert _events(console, UndoStarted) == []


def test_what_cannot_be_is_refused(console: Console, notes: Path) -> None:
    session = _worked(console, notes)
    browser = Browser(console).as_(console.services, "operator")
    path = f"/sessions/{session}/undo"
    assert browser.get(path).status_code == 200
    assert browser.get("/sessions/ses_none/undo").status_code == 404
    assert browser.submit(path, path).status_code == 422, "no reason"
    assert browser.submit(path, path, why="x", since="evt_none").status_code == 422
    assert browser.submit(f"{path}/run", path, why="x", plan="made up", confirm="yes").status_code == 409
    assert (notes / "a.txt").exists()
    browser.submit(path, path, why=f"{SCRIPT}{QUOTED}")
    check(browser.submit(path, path, why=f"{SCRIPT}{QUOTED}", since=SCRIPT).text)


def test_a_program_takes_back_what_it_was_shown(console: Console, notes: Path, untagged: list[str]) -> None:
    from datetime import timedelta

    session = _worked(console, notes, "red")
    operator = console.services.people.find(PersonId("operator"))
    assert operator is not None
    secret = console.services.accounts.make_token(operator.person, "t", frozenset({"operator"}), timedelta(days=1))
    browser, path = Browser(console), f"/api/v1/sessions/{session}/undo"
    headers = {"Authorization": f"Bearer {secret}"}
    shown = browser.post(path, headers=headers, json={"why": "wrong"}).json()
    assert shown["dry_run"]
    assert [(each["tool"], each["state"], each["missing"]) for each in shown["effects"]] == [
        ("mail", "impossible", ""), ("tag", "undoable", ""), ("write", "undoable", ""),
    ]  # fmt: skip
    assert untagged == []
    other = {"why": "wrong", "plan": "sha256:" + "0" * 64}
    assert browser.post(path, headers=headers, json=other).status_code == 409
    done = browser.post(path, headers=headers, json={"why": "wrong", "plan": shown["plan"]}).json()
    assert [each["outcome"] for each in done["effects"]] == ["impossible", "undone", "undone"]
    assert untagged == ["red"]
    assert browser.post(path, headers=headers, json={"why": "wrong", "plan": shown["plan"]}).status_code == 409
    missing = browser.post("/api/v1/sessions/ses_none/undo", headers=headers, json={"why": "wrong"})
    assert missing.status_code == 404
