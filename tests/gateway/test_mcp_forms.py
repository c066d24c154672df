"""Questions to the user, put as forms of their client's: who answers them, and what each answer comes to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from gateway_world import CONTRACTS, POLICIES, House, charter
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_http_world import Gate
from mcp_world import Line

import fiducial
from fiducial.console.words import told_as
from fiducial.core.event import CallDecided, HoldSeen, HoldVoted
from fiducial.core.ids import DecisionId, HoldId, PersonId
from fiducial.core.verdict import Unclear
from fiducial.errors import StoreError
from fiducial.gateway.mcp import forms, proxy
from fiducial.gateway.mcp.forms import MOST_FORMS, message
from fiducial.gateway.mcp.results import TICKET
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Approver

ERAS = ("legacy", "2026-07-28")
NOTE = {"name": "shopping", "text": "milk"}
QUESTION = """
@id("charter/which") @unclear("Which list do you mean?")
forbid (principal, action == Action::"write_note", resource)
when { context.flow.unknown_targets.contains("name") };
"""
EMMA = Approver(id=PersonId("emma"), roles=frozenset())
YES = types.ElicitResult(action="accept", content={"go_on": True})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "fiducial.db", charter(QUESTION)) as made:
        yield made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that come back by themselves to wait are told soon to do something else."""
    monkeypatch.setattr(proxy, "MOST_ROUNDS", 0)


class User:
    """Who sits at a client: fills in forms as it was told to, and remembers them."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[types.ElicitRequestFormParams]()

    async def __call__(self, context: Any, params: Any) -> Any:
        self.asked.append(params)
        answer = self.answers.pop(0) if self.answers else types.ElicitResult(action="cancel")
        return await answer() if callable(answer) else answer


def line(house: House, user: User | None, era: str, *, attended: bool = True, **more: Any) -> Line:
    given: dict[str, Any] = {} if user is None else {"elicitation_callback": user}
    return Line(house, era=era, attended=attended, **given, **more)


def call(line: Line, arguments: dict[str, Any] = NOTE) -> types.CallToolResult:
    found: types.CallToolResult = line.do(lambda: line.client.call_tool("write_note", arguments))
    return found


def told(found: types.CallToolResult) -> str:
    return "".join(block.text for block in found.content if isinstance(block, types.TextContent))


def events(house: House, kind: type[Any]) -> list[Any]:
    house.store.flush()
    return [each.event for each in house.store.ledger().entries(0) if isinstance(each.event, kind)]


def accept(**content: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


# --- what does not answer


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (types.ElicitResult(action="cancel"), "dismissed"),
        (types.ElicitResult(action="cancel", content={"go_on": True}), "dismissed"),
        (types.ElicitResult(action="accept"), "empty"),
        (accept(), "empty"),
        (accept(go_on=False), "empty"),
        (accept(answer="  \n", go_on=False), "empty"),
        (accept(go_on="true"), "no answer"),
        (accept(go_on=1), "no answer"),
        (accept(go_on=1.0), "no answer"),
        (accept(go_on=["true"]), "no answer"),
        (accept(answer=True), "no answer"),
        (accept(answer=["shopping"]), "no answer"),
        (accept(go_on=True, approved=True), "no answer"),
        (accept(answer="x" * 4001, go_on=True), "no answer"),
    ],
)
def test_what_is_no_answer_lets_nothing_run(house: House, era: str, answer: types.ElicitResult, why: str) -> None:
    user = User(answer)
    at = line(house, user, era)
    found = call(at)
    assert found.is_error
    assert why in told(found)
    assert not house.tools.ran
    [waiting] = house.desk.waiting()
    assert (found.meta or {})[TICKET] == waiting.id, "it can still be answered at the desk"
    assert not events(house, HoldVoted)
    assert why not in told(call(at))
    assert len(user.asked) == 1, "nobody is asked again what they have dismissed"


@pytest.mark.parametrize("era", ERAS)
def test_a_client_that_is_not_said_to_be_attended_is_not_asked(house: House, era: str) -> None:
    user = User(YES)
    found = call(line(house, user, era, attended=False))
    assert found.is_error
    assert not user.asked
    assert not house.tools.ran
    assert len(house.desk.waiting()) == 1


@pytest.mark.parametrize("era", ERAS)
def test_a_client_that_has_no_forms_is_not_asked(house: House, era: str) -> None:
    found = call(line(house, None, era))
    assert found.is_error
    assert TICKET in (found.meta or {})
    assert not house.tools.ran
    assert not events(house, HoldSeen)


@pytest.mark.parametrize("era", ERAS)
def test_a_client_that_has_addresses_alone_is_not_asked_by_a_form(
    house: House, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User(YES)
    only = types.ElicitationCapability(url=types.UrlElicitationCapability())
    at = line(house, user, era)
    monkeypatch.setattr(
        "mcp.server.session.ServerSession.client_capabilities",
        property(lambda _: types.ClientCapabilities(elicitation=only)),
    )
    assert call(at).is_error
    assert not user.asked


@pytest.mark.parametrize("era", ERAS)
def test_a_client_whose_form_fails_lets_nothing_run(house: House, era: str) -> None:
    user = User(types.ErrorData(code=types.INTERNAL_ERROR, message="no window"))
    at = line(house, user, era)
    if era == "legacy":
        found = call(at)
        assert "could not be asked" in told(found)
    else:
        with pytest.raises(MCPError, match="no window"):
            call(at)
    assert len(user.asked) == 1
    assert not house.tools.ran
    assert len(house.desk.waiting()) == 1


def test_what_is_no_result_of_a_form_lets_nothing_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(*_: Any, **__: Any) -> Any:
        return types.ElicitResult.model_validate({"action": "accepted", "content": {"go_on": True}})

    monkeypatch.setattr("mcp.server.session.ServerSession.send_request", wrong)
    found = call(line(house, User(), "legacy"))
    assert "no answer" in told(found)
    assert not house.tools.ran


def test_a_form_that_stays_open_is_given_up_and_is_put_again_so_often(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "FILLING", 0.1)
    gone = list[bool]()

    async def never() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            gone.append(True)
            raise

    user = User(*[never] * 10)
    at = line(house, user, "legacy")
    for _ in range(MOST_FORMS):
        assert "did not answer in time" in told(call(at))
    assert "in time" not in told(call(at))
    assert len(user.asked) == MOST_FORMS
    assert len(gone) == MOST_FORMS, "the client is told to close it"
    assert not house.tools.ran


def test_a_call_that_its_client_gives_up_is_not_made_by_what_is_filled_in_later(house: House) -> None:
    begun, answered = asyncio.Event(), threading.Event()

    async def late() -> types.ElicitResult:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
        answered.set()
        return YES

    at = line(house, User(late), "legacy")

    async def cut_off() -> None:
        calling = asyncio.create_task(at.client.call_tool("write_note", NOTE))
        await begun.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        while not answered.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    at.do(cut_off)
    assert not house.tools.ran
    assert not events(house, HoldVoted)


def test_an_answer_to_what_nobody_asked_is_worth_nothing(house: House) -> None:
    at = line(house, User(), "2026-07-28", attended=True)
    made = at.do(lambda: at.client.session.call_tool("write_note", NOTE, allow_input_required=True))
    assert isinstance(made, types.InputRequiredResult)
    [asked] = made.input_requests or {}
    other = at.do(
        lambda: at.client.session.call_tool(
            "write_note", {**NOTE, "name": "other"}, input_responses={asked: YES}, allow_input_required=True
        )
    )
    assert isinstance(other, types.InputRequiredResult), "it is another call, and another question"
    assert list(other.input_requests or {}) != [asked]
    assert not house.tools.ran
    assert not events(house, HoldVoted)


def test_an_answer_that_comes_before_its_question_is_worth_nothing(house: House) -> None:
    at = line(house, User(), "2026-07-28")
    asked = at.do(lambda: at.session.adecide("write_note", NOTE)).hold
    made = at.do(
        lambda: at.client.session.call_tool("write_note", NOTE, input_responses={asked: YES}, allow_input_required=True)
    )
    assert isinstance(made, types.InputRequiredResult)
    assert not house.tools.ran


def test_an_answer_that_is_sent_twice_lets_one_call_run(house: House) -> None:
    at = line(house, User(), "2026-07-28")

    def send(answers: dict[str, Any] | None) -> Any:
        return at.do(
            lambda: at.client.session.call_tool("write_note", NOTE, input_responses=answers, allow_input_required=True)
        )

    answers = dict.fromkeys(send(None).input_requests, YES)
    assert not send(answers).is_error
    assert isinstance(send(answers), types.InputRequiredResult)
    assert house.tools.ran["write_note"] == 1


def test_what_is_no_result_of_a_form_but_of_something_else_is_no_answer(house: House) -> None:
    at = line(house, User(), "2026-07-28")
    asked = at.do(lambda: at.client.session.call_tool("write_note", NOTE, allow_input_required=True))
    roots: dict[str, Any] = {each: types.ListRootsResult(roots=[]) for each in asked.input_requests}
    found = at.do(lambda: at.client.session.call_tool("write_note", NOTE, input_responses=roots))
    assert "no answer" in told(found)
    assert not house.tools.ran


@pytest.mark.parametrize("era", ERAS)
def test_an_answer_that_cannot_be_kept_lets_nothing_run(
    house: House, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(house.desk, "answer", lost)
    found = call(line(house, User(YES), era))
    assert "could not be kept" in told(found)
    assert not house.tools.ran


@pytest.mark.parametrize("era", ERAS)
def test_a_halt_is_not_lifted_by_an_answer(house: House, era: str) -> None:
    async def halted() -> types.ElicitResult:
        house.guard.halt("the list is shared", by="olga")
        return YES

    found = call(line(house, User(halted), era))
    assert found.is_error
    assert not house.tools.ran


@pytest.mark.parametrize("era", ERAS)
def test_what_others_have_to_approve_is_not_asked_of_the_user(tmp_path: Path, era: str) -> None:
    lead = '@id("charter/lead") @hold("operator") forbid (principal, action == Action::"write_note", resource);'
    with House(tmp_path / "other.db", charter(QUESTION + lead)) as house:
        user = User(YES)
        assert call(line(house, user, era)).is_error
        assert not user.asked
        assert not house.tools.ran
        assert [each.role for each in house.desk.waiting()] == ["operator"]


# --- what answers


@pytest.mark.parametrize("era", ERAS)
def test_a_confirmed_call_runs_once_and_the_user_is_on_record(house: House, era: str) -> None:
    user = User(accept(go_on=True, answer="yes, that one"))
    at = line(house, user, era)
    found = call(at)
    assert not found.is_error
    assert house.tools.given == [NOTE]
    [asked] = user.asked
    assert asked.mode == "form"
    assert asked.message.startswith("Which list do you mean?")
    assert '"shopping"' in asked.message
    [vote] = events(house, HoldVoted)
    assert (vote.by, vote.role, vote.answer, vote.through) == ("emma", "user", "approve", "form")
    assert vote.dwell_us >= 0, "how long they had it before them is known"
    assert told_as(vote) == "emma approved it as user, in a form of the client that they use"
    assert [each.verdict for each in events(house, CallDecided)][-1] == "allowed"
    assert call(at).is_error, "it was for that one call"


@pytest.mark.parametrize("era", ERAS)
def test_words_are_the_user_s_answer_and_the_agent_is_told_them(house: House, era: str) -> None:
    at = line(house, User(accept(answer="the one called groceries", go_on=False)), era)
    found = call(at)
    assert found.is_error
    assert "the one called groceries" in told(found)
    assert not house.tools.ran
    [vote] = events(house, HoldVoted)
    assert (vote.answer, vote.through) == ("answer", "form")
    assert not call(at, {**NOTE, "name": "groceries"}).is_error, "what the user named is named by the user"
    assert call(at).is_error


@pytest.mark.parametrize("era", ERAS)
def test_who_declines_refuses_the_call(house: House, era: str) -> None:
    user = User(types.ElicitResult(action="decline"))
    at = line(house, user, era)
    found = call(at)
    assert "A person refused this." in told(found)
    assert not house.tools.ran
    assert not house.desk.waiting()
    assert [(each.answer, each.through) for each in events(house, HoldVoted)] == [("reject", "form")]
    assert "A person refused this." in told(call(at)), "it stands"
    assert len(user.asked) == 1


def test_who_answers_at_the_desk_meanwhile_counts_and_the_form_is_closed(house: House) -> None:
    closed = threading.Event()

    async def slow() -> types.ElicitResult:
        [waiting] = house.desk.waiting()
        threading.Thread(target=house.desk.answer, args=(waiting.id, EMMA, "yes"), kwargs={"confirms": True}).start()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            closed.set()
            raise
        return types.ElicitResult(action="decline")

    started = time.monotonic()
    found = call(line(house, User(slow), "legacy"))
    assert not found.is_error
    assert closed.wait(5)
    assert time.monotonic() - started < 10
    assert [each.through for each in events(house, HoldVoted)] == ["desk"]


def test_one_question_is_one_form_however_many_calls_ask_it(house: House) -> None:
    both = asyncio.Event()

    async def wait() -> types.ElicitResult:
        await both.wait()
        return YES

    user = User(wait, wait)
    at = line(house, user, "legacy")

    async def twice() -> list[Any]:
        one = asyncio.create_task(at.client.call_tool("write_note", NOTE))
        while not user.asked:
            await asyncio.sleep(0.01)
        two = await at.client.call_tool("write_note", NOTE)
        both.set()
        return [await one, two]

    one, two = at.do(twice)
    assert (one.is_error, two.is_error) == (False, True)
    assert len(user.asked) == 1
    assert house.tools.ran["write_note"] == 1


def test_in_observe_mode_nobody_is_asked(house: House) -> None:
    house.guard.mode = "observe"
    user = User(YES)
    assert not call(line(house, user, "legacy")).is_error
    assert not user.asked


# --- what the form shows


def unclear(**evidence: str) -> Unclear:
    return Unclear(decision=DecisionId("dec_1"), question="Which?", hold=HoldId("hld_1"), evidence=evidence)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=600) | st.integers() | st.lists(st.text(max_size=20))))
def test_no_value_leaves_its_line_or_hides_anything(arguments: dict[str, Any]) -> None:
    shown = message(unclear(), "write_note", arguments)
    assert len(shown.split("\n")) == 3 + len(arguments)
    assert all(each == "\n" or each.isprintable() for each in shown)


def test_a_long_value_says_that_it_is_cut_off() -> None:
    shown = message(unclear(), "write_note", {"text": "a" * 5000 + "and pay Mallory"})
    assert "4,617 characters more" in shown
    assert len(shown) < 700


def test_where_a_value_came_from_is_shown() -> None:
    shown = message(unclear(name="found nowhere"), "write_note", NOTE)
    assert '  name: "shopping" (found nowhere)\n  text: "milk"' in shown
    assert message(unclear(), "look_up", {}).endswith("wants to use look_up.")


# --- over HTTP, and by the command


@pytest.mark.parametrize("era", ERAS)
def test_over_http_the_file_says_whose_clients_are_attended(house: House, era: str) -> None:
    gate = Gate(house, settings={"attended": {"hosts": ["one"]}})
    one, two = User(YES), User(YES)
    came = gate.client("emma", era=era, elicitation_callback=one)
    assert not gate.do(lambda: came.client.call_tool("write_note", NOTE)).is_error
    other = gate.connect({"Authorization": "Bearer key-of-two", "Fiducial-User": "emma"}, era, elicitation_callback=two)
    assert gate.do(lambda: other.client.call_tool("write_note", NOTE)).is_error
    assert (len(one.asked), len(two.asked)) == (1, 0)
    assert house.tools.ran["write_note"] == 1


EARLIER = Path(sys.prefix) / "mcp1"
EARLIER_CLIENT = """
import asyncio, json, sys
from importlib.metadata import version
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import ElicitResult

asked = []

async def fill_in(context, params):
    asked.append(params.message)
    return ElicitResult(action="accept", content={"go_on": True})

async def main():
    async with streamablehttp_client(sys.argv[1], headers=json.loads(sys.argv[2])) as (read, write, _):
        async with ClientSession(read, write, elicitation_callback=fill_in) as session:
            await session.initialize()
            note = await session.call_tool("write_note", {"name": "shopping", "text": "milk"})
            print(json.dumps({"version": version("mcp"), "error": note.isError, "asked": len(asked)}))

asyncio.run(main())
"""


@pytest.mark.skipif(not EARLIER.exists(), reason="the MCP SDK of the major version before is not there: `make test`")
def test_clients_of_the_major_version_before_are_asked_too(house: House) -> None:
    gate = Gate(house, settings={"attended": {"hosts": ["one"]}})
    headers = {"Authorization": "Bearer key-of-one", "Fiducial-User": "emma"}
    done = subprocess.run(
        [sys.executable, "-c", EARLIER_CLIENT, f"{gate.site.url}/mcp/shed", json.dumps(headers)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(EARLIER)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["version"].startswith("1.")
    assert (said["error"], said["asked"]) == (False, 1)
    assert house.tools.ran["write_note"] == 1


SERVER = """
from pathlib import Path
from mcp.server.mcpserver import MCPServer

server = MCPServer("shed")

@server.tool()
def write_note(name: str, text: str) -> str:
    with Path("notes.txt").open("a") as notes:
        print(f"{name}: {text}", file=notes)
    return "done"

server.run()
"""


@pytest.mark.parametrize("attended", [True, pytest.param(False, marks=pytest.mark.long)])
def test_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attended: bool) -> None:
    monkeypatch.chdir(tmp_path)
    Path("server.py").write_text(SERVER)
    written = Path("shed")
    (written / "policies").mkdir(parents=True)
    about = {"agent": "clerk", "owners": {"responsible": "r", "accountable": "a"}, "baseline": "none"}
    (written / "charter.yaml").write_text(json.dumps(about))
    (written / "contracts.yaml").write_text(json.dumps({"tools": CONTRACTS}))
    (written / "policies" / "all.cedar").write_text(POLICIES + QUESTION)
    user = User(YES)
    words = ["-m", "fiducial", "mcp", "--charter", "shed", "--user", "emma", "--alone", "--wait", "0"]
    words += [*(["--attended"] if attended else []), "--db", "log.db", "--", sys.executable, "server.py"]

    async def main() -> bool | None:
        here = {"PYTHONPATH": str(Path(fiducial.__file__).parents[1])}
        started = StdioServerParameters(command=sys.executable, args=words, env=here)
        async with asyncio.timeout(60), Client(started, elicitation_callback=user) as client:
            return (await client.call_tool("write_note", NOTE)).is_error

    assert asyncio.run(main()) is not attended
    assert Path("notes.txt").exists() is attended
    assert len(user.asked) == attended


def test_the_desk_says_how_it_heard(house: House) -> None:
    session = house.guard.session(user="emma")
    hold = session.decide("write_note", NOTE).hold  # type: ignore[union-attr]
    assert isinstance(house.desk, Desk)
    assert hold is not None
    house.desk.answer(hold, EMMA, "yes", confirms=True)
    assert [each.through for each in events(house, HoldVoted)] == ["desk"]
