"""`@fiducial.tool`: a plain function goes all ten steps, or is not called."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import test_every_door
from gateway_world import OLGA, SECRET, Door, House, charter
from tool_world import ByTool, ByToolAsync

import fiducial
from fiducial.core.event import CallDecided, CallFinished, SessionOpened
from fiducial.errors import CallError, NotAllowed, SessionError, ToolFailed
from fiducial.guard.state import State


@pytest.fixture(params=[ByTool, ByToolAsync], ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest, house: House) -> Door:
    made: type[Door] = request.param
    return made(house)


globals().update(
    (name, each)
    for name, each in vars(test_every_door).items()
    if name.startswith("test_") and "door" in inspect.signature(each).parameters
)


@pytest.fixture
def session(house: House) -> Any:
    with house.guard.session(user="emma") as session, fiducial.using(session):
        yield session


class Shed:
    """Functions as a developer writes them."""

    def __init__(self, **more: Any) -> None:
        ran = self.ran = list[tuple[Any, ...]]()

        @fiducial.tool(**more)
        def write_note(name: str, text: str = "none") -> str:
            """Writes a note."""
            ran.append((name, text))
            return f"wrote {text}"

        @fiducial.tool(**more)
        def pay_bill(account: str, amount: float) -> str:
            ran.append((account, amount))
            return "paid"

        @fiducial.tool(**more)
        async def look_up(name: str) -> str:
            await asyncio.sleep(0)
            ran.append((name,))
            return "found"

        @fiducial.tool(name="wipe", **more)
        def clear(name: str) -> None:
            ran.append((name,))

        self.write_note, self.pay_bill, self.look_up, self.clear = write_note, pay_bill, look_up, clear


def outcomes(house: House) -> list[str]:
    house.store.flush()
    return [each.event.outcome for each in house.store.ledger().entries(0) if isinstance(each.event, CallFinished)]


def test_it_is_called_as_before(house: House, session: Any) -> None:
    shed = Shed()
    assert shed.write_note("list", text="milk") == "wrote milk"
    assert asyncio.run(shed.look_up(name="x")) == "found"
    assert shed.write_note.__doc__ == "Writes a note."
    assert outcomes(house) == ["ok", "ok"]


def test_where_no_session_is_in_use_it_is_not_called(house: House) -> None:
    shed = Shed()
    with pytest.raises(SessionError, match="no session is in use"):
        shed.write_note("list")
    with pytest.raises(SessionError):
        asyncio.run(shed.look_up("x"))
    with house.guard.session(user="emma") as session, fiducial.using(session):
        pass
    with pytest.raises(SessionError):
        shed.write_note("list")
    assert not shed.ran


def test_what_it_runs_with_unsaid_is_decided_too(session: Any) -> None:
    decided: list[Any] = []
    decide, shed = State.facts, Shed()

    def facts(self: Any, *given: Any, **more: Any) -> Any:
        decided.append(given)
        return decide(self, *given, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(State, "facts", facts)
        shed.write_note("list")
    assert shed.ran == [("list", "none")]
    assert "none" in repr(decided)


def test_masks_reach_it(session: Any) -> None:
    shed = Shed()
    assert shed.write_note("list", SECRET) == "wrote [secrets]"
    assert shed.ran == [("list", "[secrets]")]


def test_what_is_denied_raises_with_the_verdict(session: Any) -> None:
    shed = Shed()
    with pytest.raises(NotAllowed) as raised:
        shed.clear("all")
    assert raised.value.verdict.kind == "denied"
    assert not shed.ran


def test_what_is_held_runs_once_after_people_have_agreed(house: House, session: Any) -> None:
    shed = Shed()
    with pytest.raises(NotAllowed) as raised:
        shed.pay_bill("DE1", 5)
    house.desk.vote(raised.value.verdict.hold, OLGA, "approve")
    assert shed.pay_bill("DE1", 5) == "paid"
    with pytest.raises(NotAllowed):
        shed.pay_bill("DE1", 5)
    assert shed.ran == [("DE1", 5)]


@pytest.mark.parametrize("answer", ["approve", "reject"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_it_can_wait_for_people(house: House, session: Any, answer: Any, way: str) -> None:
    ran: list[Any] = []

    def decide() -> None:
        until = time.monotonic() + 10
        while not house.desk.waiting() and time.monotonic() < until:
            time.sleep(0.02)
        house.desk.vote(house.desk.waiting()[0].id, OLGA, answer, note="not on the invoice")

    deciding = threading.Thread(target=decide)
    deciding.start()
    if way == "sync":

        @fiducial.tool(name="pay_bill", wait=timedelta(seconds=20))
        def pay(account: str, amount: float) -> str:
            ran.append(amount)
            return "paid"

        act: Callable[[], Any] = lambda: pay("DE1", 5)  # noqa: E731
    else:

        @fiducial.tool(name="pay_bill", wait=timedelta(seconds=20))
        async def apay(account: str, amount: float) -> str:
            ran.append(amount)
            return "paid"

        act = lambda: asyncio.run(apay("DE1", 5))  # noqa: E731
    if answer == "approve":
        assert act() == "paid"
    else:
        with pytest.raises(NotAllowed, match="not on the invoice"):
            act()
    deciding.join()
    assert ran == ([5] if answer == "approve" else [])


def test_nobody_answers_in_time(house: House, session: Any) -> None:
    shed = Shed(wait=timedelta(seconds=0.3))
    with pytest.raises(NotAllowed) as raised:
        shed.pay_bill("DE1", 5)
    assert raised.value.verdict.kind == "held"
    assert len(house.desk.waiting()) == 1
    assert not shed.ran


def test_what_it_raises_is_the_outcome(house: House, session: Any) -> None:
    @fiducial.tool
    def look_up(name: str) -> str:
        raise OSError("the shed is closed")

    with pytest.raises(ToolFailed, match="the shed is closed"):
        look_up("x")
    assert outcomes(house) == ["failed"]


def test_a_guard_that_breaks_lets_nothing_run(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shed = Shed()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(State, "facts", broken)
    with pytest.raises(NotAllowed):
        shed.write_note("list")
    monkeypatch.setattr(type(session), "call", broken)
    monkeypatch.setattr(type(session), "acall", broken)
    with pytest.raises(CallError):
        shed.write_note("list")
    with pytest.raises(CallError):
        asyncio.run(shed.look_up("x"))
    assert not shed.ran


def test_a_closed_session_or_a_lost_store_lets_nothing_run(house: House) -> None:
    shed = Shed()
    with fiducial.using(house.guard.session(user="emma")) as session:
        session.close()
        with pytest.raises(CallError):
            shed.write_note("list")
    with fiducial.using(house.guard.session(user="emma")):
        house.store.close()
        with pytest.raises(CallError):
            shed.write_note("list")
    assert not shed.ran


def test_each_task_and_thread_has_its_own_session(house: House) -> None:
    users: list[str] = []

    @fiducial.tool
    def write_note(name: str, text: str) -> str:
        users.append(f"{text} {fiducial.in_use().user}")
        return "done"

    def act(number: int) -> None:
        with house.guard.session(user=f"user-{number}") as session, fiducial.using(session):
            for _ in range(5):
                write_note("list", f"user-{number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(act, range(16)))

    async def task(number: int) -> None:
        with house.guard.session(user=f"user-{number}") as session, fiducial.using(session):
            for _ in range(5):
                write_note("list", f"user-{number}")
                await asyncio.sleep(0)

    async def tasks() -> None:
        await asyncio.gather(*(task(number) for number in range(16, 32)))

    asyncio.run(tasks())
    assert len(users) == 160
    assert all(len(set(each.split())) == 1 for each in users)


def test_sessions_in_use_are_nested(house: House) -> None:
    with house.guard.session(user="a") as outer, fiducial.using(outer):
        with house.guard.session(user="b") as inner, fiducial.using(inner):
            assert fiducial.in_use() is inner
        assert fiducial.in_use() is outer


def test_what_a_sub_agent_calls_is_decided_in_the_session_that_was_delegated_to_it(house: House) -> None:
    house.guard.use(charter(budgets={"session": {"calls": 2}}))
    shed = Shed()

    @fiducial.tool(name="look_up")
    def ask_another(name: str) -> str:
        with fiducial.in_use().delegate(f"Note {name}.", agent="scribe") as child, fiducial.using(child):
            return shed.write_note(name)

    with house.guard.session(user="emma") as session, fiducial.using(session):
        assert ask_another("list") == "wrote none"
        with pytest.raises(NotAllowed):
            shed.write_note("list")
    house.store.flush()
    events = [each.event for each in house.store.ledger().entries(0)]
    _, child = [each for each in events if isinstance(each, SessionOpened)]
    assert (child.parent, child.agent) == (session.id, "scribe")
    decided = [(each.tool, each.session) for each in events if isinstance(each, CallDecided)]
    assert decided == [("look_up", session.id), ("write_note", child.session), ("write_note", session.id)]


def test_arguments_without_names_are_refused_at_once() -> None:
    def positional(name: str, /) -> None: ...
    def rest(*names: str) -> None: ...

    for function in (positional, rest):
        with pytest.raises(TypeError, match="without names"):
            fiducial.tool(function)


def test_further_keywords_are_arguments_like_others(session: Any) -> None:
    given: list[Any] = []

    @fiducial.tool
    def write_note(name: str, **more: str) -> None:
        given.append((name, more))

    write_note("list", text="milk")
    with pytest.raises(NotAllowed):
        write_note("list", text="milk", unheard="of")
    with pytest.raises(TypeError):
        write_note(text="milk")  # type: ignore[call-arg]
    assert given == [("list", {"text": "milk"})]


def test_a_guard_that_breaks_after_the_tool_has_run_does_not_say_that_it_has_not(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shed, made = Shed(), type(session).call

    def breaking(*given: Any, **more: Any) -> Any:
        made(*given, **more)
        raise RuntimeError("a defect")

    monkeypatch.setattr(type(session), "call", breaking)
    with pytest.raises(CallError, match="nobody knows whether it had its effect"):
        shed.write_note("list")
    assert len(shed.ran) == 1
