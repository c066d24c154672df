"""The two ways the steps' effects are carried out: on threads, and on asyncio.

A tool that is run synchronously gets a thread of its own, on asyncio too: one that hangs costs a thread, and neither
the guard nor the threads that others share. A thread cannot be stopped, and a coroutine may refuse to be: past its
timeout nobody waits for either, and the outcome is unknown, because the effect may still happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from fiducial.core.store import Receipt
from fiducial.errors import StoreError, ToolFailed, ToolRefused
from fiducial.guard.effects import Ask, Effect, Kept, Ran, Run, Steps

STORE_TIMEOUT = 30.0
"""Seconds to wait for durability before the call is refused."""
_MAX_WORDS = 2000
"""Characters kept of what a tool raised."""
T = TypeVar("T")


def drive(steps: Steps[T]) -> T:
    """Carry out `steps` on this thread."""
    answer: Any = None
    fault: BaseException | None = None
    while True:
        try:
            effect = steps.send(answer) if fault is None else steps.throw(fault)
        except StopIteration as done:
            result: T = done.value
            return result
        answer = fault = None
        try:
            answer = _perform(effect)
        except BaseException as raised:  # noqa: BLE001 - handed to the steps, which fail closed and say why
            fault = raised


class Reached(NamedTuple):
    """How far steps have come."""

    effect: Effect | None
    """What is to be carried out before they go on."""
    result: Any = None
    """`effect` is `None`: what came of them."""
    fault: BaseException | None = None
    """They have failed."""


Advance: TypeAlias = Callable[[Callable[[], Reached], Any], Awaitable[Reached]]
"""Has steps go on, by its first argument, with what came of their last effect; it raises only where they do not."""


async def drive_async(steps: Steps[T], advance: Advance | None = None) -> T:
    """Carry out `steps` on the running event loop. `advance`: what they do takes the session's lock, which the loop
    must not wait for, and may take long; `None`: they go on at once."""
    answer: Any = None
    fault: BaseException | None = None
    while True:
        try:
            on = partial(_reached, steps, answer, fault)
            reached = on() if advance is None else await advance(on, answer)
        except BaseException as raised:  # noqa: BLE001 - as below
            reached = _reached(steps, None, raised)
        if reached.fault is not None:
            raise reached.fault
        if reached.effect is None:
            result: T = reached.result
            return result
        answer = fault = None
        try:
            answer = await _perform_async(reached.effect)
        except BaseException as raised:  # noqa: BLE001 - cancellation too: the steps record it before it goes on
            fault = raised


def _reached(steps: Steps[Any], answer: Any, fault: BaseException | None) -> Reached:
    try:
        return Reached(steps.send(answer) if fault is None else steps.throw(fault))
    except StopIteration as done:
        return Reached(None, done.value)
    except BaseException as raised:  # noqa: BLE001 - for whoever carries them out
        return Reached(None, fault=raised)


def _perform(effect: Effect) -> Any:
    if isinstance(effect, Kept):
        try:
            return effect.future.result(STORE_TIMEOUT)
        except TimeoutError:
            raise StoreError(f"the store did not confirm within {STORE_TIMEOUT:.0f} s") from None
    if isinstance(effect, Ask):
        return effect.hook(effect.question)
    return _run(effect)


async def _perform_async(effect: Effect) -> Any:
    if isinstance(effect, Kept):
        return await _kept(effect.future)
    if isinstance(effect, Ask):
        if inspect.iscoroutinefunction(effect.hook):
            return await effect.hook(effect.question)
        answer = await _on_loop(partial(effect.hook, effect.question))
        return await answer if inspect.isawaitable(answer) else answer
    return await _run_async(effect)


async def _kept(future: Future[Receipt]) -> Receipt:
    """What the store says. Its future is never cancelled; `asyncio.wrap_future` and its kin cost as much again."""
    if future.done():
        return future.result()
    loop = asyncio.get_running_loop()
    heard = loop.create_future()

    def hear() -> None:
        if not heard.done():
            heard.set_result(None)

    def tell(_: Future[Receipt]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(hear)

    future.add_done_callback(tell)
    late = loop.call_later(STORE_TIMEOUT, hear)
    try:
        await heard
    finally:
        late.cancel()
    if not future.done():
        raise StoreError(f"the store did not confirm within {STORE_TIMEOUT:.0f} s")
    return future.result()


# On threads


def _run(effect: Run) -> Ran:
    started = time.monotonic()
    found: list[Ran] = []

    def body() -> None:
        try:
            value = effect.function(**effect.arguments)
            if inspect.iscoroutine(value):
                value.close()
                raise ToolRefused("the tool is asynchronous: use the asynchronous form of the call")
        except BaseException as fault:  # noqa: BLE001 - whatever a tool raises is its outcome
            found.append(failed(fault))
        else:
            found.append(Ran("ok", value))

    try:
        thread = on_thread(body)
    except RuntimeError as fault:
        return failed(ToolRefused(f"no thread could be started: {fault}"), started)
    thread.join(effect.timeout.total_seconds())
    if not found:
        return Ran("unknown", error=_cut_off(effect), duration_us=_since(started))
    ran = found[0]
    return Ran(ran.outcome, ran.value, ran.error, _since(started), ran.nothing_done)


def on_thread(body: Callable[[], None]) -> threading.Thread:
    """`body`, started on a thread of its own in the caller's context. Raises `RuntimeError` when there is none left."""
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(body,), name="fiducial-tool", daemon=True
    )  # fmt: skip
    thread.start()
    return thread


# On asyncio


async def _run_async(effect: Run) -> Ran:
    started, seconds = time.monotonic(), effect.timeout.total_seconds()
    call = partial(effect.function, **effect.arguments)
    waiting: asyncio.Future[Any]
    try:
        waiting = asyncio.ensure_future(call()) if inspect.iscoroutinefunction(effect.function) else _on_loop(call)
    except Exception as fault:  # noqa: BLE001 - its arguments do not fit, or there is no thread left: it has not begun
        return failed(ToolRefused(_words(fault)), started)
    value: Any = None
    while await within(waiting, seconds - (time.monotonic() - started)):
        if waiting.cancelled():
            return Ran("failed", error="CancelledError: the tool cancelled itself", duration_us=_since(started))
        fault_or_none = waiting.exception()
        if fault_or_none is not None:
            return failed(fault_or_none, started)
        value = waiting.result()
        try:
            if not inspect.isawaitable(value):
                return Ran("ok", value, None, _since(started))
            waiting = asyncio.ensure_future(value)
        except Exception as fault:  # noqa: BLE001 - an object may run its own code when it is asked what it is
            return failed(fault, started)
    return Ran("unknown", error=_cut_off(effect), duration_us=_since(started))


async def within(waiting: asyncio.Future[Any], seconds: float) -> bool:
    """Whether `waiting` came to an end within `seconds`; one that did not is cancelled, and not waited for."""
    try:
        ended, _ = await asyncio.wait({waiting}, timeout=max(0.0, seconds))
        return bool(ended)
    finally:
        if not waiting.done():
            waiting.cancel()
        # Whatever it raises when nobody listens any more is not for asyncio's log.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())


def _on_loop(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """What comes of `call` on a thread of its own, as a future of the running loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, fault: BaseException | None) -> None:
        if future.done():
            return
        if fault is None:
            future.set_result(value)
        else:
            # A future cannot raise StopIteration.
            future.set_exception(RuntimeError("StopIteration") if isinstance(fault, StopIteration) else fault)

    def body() -> None:
        value, fault = None, None
        try:
            value = call()
        except BaseException as raised:  # noqa: BLE001 - whatever it raises is handed over
            fault = raised
        try:
            loop.call_soon_threadsafe(settle, value, fault)
        except RuntimeError:
            return  # the loop has ended, and nobody waits

    on_thread(body)
    return future


# In words


def failed(fault: BaseException, started: float | None = None) -> Ran:
    """What a tool's exception says: that it failed, with `ToolRefused` also that it did nothing, and with `ToolFailed`
    perhaps that it was cut off."""
    took = _since(started) if started is not None else 0
    outcome = fault.outcome if isinstance(fault, ToolFailed) else "failed"
    return Ran(outcome, error=_words(fault), duration_us=took, nothing_done=isinstance(fault, ToolRefused))


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1_000_000)


def _cut_off(effect: Run) -> str:
    return f"the tool did not finish within {effect.timeout.total_seconds():g} s; its effect may have happened"


def _words(fault: BaseException) -> str:
    try:
        text = str(fault)[:_MAX_WORDS].encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - an exception runs its own code when it is printed
        text = "it cannot be printed"
    return f"{type(fault).__name__}: {text}"[:_MAX_WORDS]
