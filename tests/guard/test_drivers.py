"""How tools and hooks are run: bounded in time, in threads of their own, whatever they do."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fiducial import Guard
from fiducial.core.event import CallFinished
from fiducial.guard.drivers import Reached, drive_async
from fiducial.guard.effects import Ran
from fiducial.guard.guard import Answer
from fiducial.guard.judgement import request
from fiducial.guard.steps import call
from fiducial.store.memory import MemoryStore

QUICK = {"effect": "read", "kind": "read", "timeout": "PT0.2S"}


@pytest.fixture
def guard(make_charter: Any, tools: Any) -> Guard:
    return Guard(make_charter(tools={**tools, "slow": QUICK}))


def test_a_tool_that_hangs_is_cut_off_on_a_thread(guard: Guard) -> None:
    ended = threading.Event()
    with guard.session(user="ann", task="go") as session:
        started = time.monotonic()
        result = session.call("slow", {}, run=lambda: ended.wait(30))
        assert (result.status, time.monotonic() - started < 10) == ("unknown", True)
    ended.set()


def test_tools_that_hang_on_asyncio_do_not_take_the_threads_of_others(guard: Guard) -> None:
    ended = threading.Event()

    async def main() -> None:
        async with guard.session(user="ann", task="go") as session:
            hung = (os.cpu_count() or 1) + 8  # more than the loop's own executor has
            results = await asyncio.gather(
                *(session.acall("slow", {}, run=lambda: ended.wait(30)) for _ in range(hung))
            )
            assert {each.status for each in results} == {"unknown"}
            assert (await session.acall("slow", {}, run=lambda: "quick")).value == "quick"
            assert await asyncio.to_thread(lambda: "free") == "free"

    asyncio.run(asyncio.wait_for(main(), 20))
    ended.set()


def test_a_coroutine_that_will_not_be_cancelled_is_not_waited_for(guard: Guard) -> None:
    async def main() -> None:
        released = asyncio.Event()

        async def stubborn() -> None:
            while not released.is_set():
                try:
                    await asyncio.wait_for(asyncio.shield(released.wait()), 30)
                except asyncio.CancelledError:
                    continue

        async with guard.session(user="ann", task="go") as session:
            started = time.monotonic()
            result = await session.acall("slow", {}, run=stubborn)
            assert (result.status, time.monotonic() - started < 10) == ("unknown", True)
            released.set()
            await asyncio.sleep(0.05)

    asyncio.run(main())


def test_a_coroutine_past_its_timeout_is_cancelled_and_unknown(guard: Guard) -> None:
    cancelled = []

    async def main() -> None:
        async def slow() -> None:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        async with guard.session(user="ann", task="go") as session:
            result = await asyncio.wait_for(session.acall("slow", {}, run=slow), 10)
            await asyncio.sleep(0.05)
        assert (result.status, result.error is not None and "0.2 s" in result.error) == ("unknown", True)

    asyncio.run(main())
    assert cancelled == [True]


def test_a_timeout_that_the_tool_itself_meets_is_its_failure(guard: Guard) -> None:
    async def slow() -> None:
        raise TimeoutError("the server did not answer")

    async def main() -> None:
        async with guard.session(user="ann", task="go") as session:
            assert (await session.acall("slow", {}, run=slow)).status == "failed"

    asyncio.run(main())


def test_a_tool_that_cancels_itself_has_failed_and_the_caller_goes_on(guard: Guard) -> None:
    async def gone() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        async with guard.session(user="ann", task="go") as session:
            assert (await session.acall("slow", {}, run=gone)).status == "failed"

    asyncio.run(main())


@pytest.mark.parametrize("fault", [ValueError("x"), SystemExit(3), StopIteration(), KeyboardInterrupt()])
def test_whatever_a_synchronous_tool_raises_is_its_outcome(guard: Guard, fault: BaseException) -> None:
    def run() -> None:
        raise fault

    async def main() -> Any:
        async with guard.session(user="ann", task="go") as session:
            return await session.acall("slow", {}, run=run)

    assert asyncio.run(main()).status == "failed"
    with guard.session(user="ann", task="go") as session:
        assert session.call("slow", {}, run=run).status == "failed"


def test_an_exception_that_cannot_be_printed_is_an_outcome_too(guard: Guard) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def run() -> None:
        raise Odd

    with guard.session(user="ann", task="go") as session:
        result = session.call("slow", {}, run=run)
    assert (result.status, result.error) == ("failed", "Odd: it cannot be printed")


def test_no_thread_left_is_a_failure_in_which_nothing_was_done(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> Any:
        async with guard.session(user="ann", task="go") as session:
            return await session.acall("slow", {}, run=lambda: 1)

    with guard.session(user="ann", task="go") as session:
        monkeypatch.setattr(threading.Thread, "start", none_left)
        result = session.call("slow", {}, run=lambda: 1)
        assert (result.status, "ToolRefused" in (result.error or "")) == ("failed", True)
        result = asyncio.run(main())
        assert (result.status, "ToolRefused" in (result.error or "")) == ("failed", True)


def test_a_tool_runs_in_the_context_of_its_caller(guard: Guard) -> None:
    request = contextvars.ContextVar("request", default="none")
    request.set("r-7")

    async def main() -> Any:
        async with guard.session(user="ann", task="go") as session:
            return (await session.acall("slow", {}, run=request.get)).value

    with guard.session(user="ann", task="go") as session:
        assert session.call("slow", {}, run=request.get).value == "r-7"
    assert asyncio.run(main()) == "r-7"


def test_a_hook_that_waits_for_people_takes_no_thread_of_others(make_charter: Any) -> None:
    answered = threading.Event()

    def ask(_: Any) -> Answer:
        answered.wait(30)
        return Answer(approved=False, by="olga")

    guard = Guard(make_charter(), on_held=ask)

    async def main() -> None:
        async with guard.session(user="ann", task="Pay the bill in bill.txt") as session:
            session.observe("read_file", {"path": "bill.txt"}, "IBAN: GB29NWBK60161331926819")
            pay = {"recipient": "GB29NWBK60161331926819", "amount": 9.5}
            waiting = [
                asyncio.create_task(session.acall("send_money", pay, run=lambda **_: 1))
                for _ in range((os.cpu_count() or 1) + 8)
            ]
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
            answered.set()
            assert {(await each).verdict.kind for each in waiting} == {"denied"}

    asyncio.run(main())


def test_steps_go_on_where_they_are_told_to_and_who_is_given_up_before_is_cut_off(guard: Guard) -> None:
    turns, lost = list[str](), [False]

    async def advance(on: Callable[[], Reached], answer: Any) -> Reached:
        turns.append("turn")
        if lost[0] and "run" in turns:
            raise asyncio.CancelledError
        assert isinstance(answer, Ran) == (turns[-2:-1] == ["run"])
        return await asyncio.to_thread(on)

    async def run() -> str:
        turns.append("run")
        return "done"

    async def main() -> None:
        async with guard.session(user="ann", task="go") as session:

            def steps() -> Any:
                return call(session, request("slow", {}, None, runs=True), run)

            assert (await drive_async(steps(), advance)).value == "done"
            at = turns.index("run")
            assert set(turns[:at]) == set(turns[at + 1 :]) == {"turn"}
            turns.clear()
            lost[0] = True
            with pytest.raises(asyncio.CancelledError):
                await drive_async(steps(), advance)

    asyncio.run(main())
    assert isinstance(guard.store, MemoryStore)
    with guard.store.ledger() as ledger:
        finished = [each.event.outcome for each in ledger.entries() if isinstance(each.event, CallFinished)]
    assert finished == ["ok", "unknown"]
