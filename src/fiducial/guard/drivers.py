"""The two ways the steps' effects are carried out: on threads, and on asyncio.

A tool that is run synchronously gets a thread of its own, so that one that hangs costs a thread and not the guard. A
thread cannot be stopped: past its timeout the outcome is unknown, because the effect may still happen.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from typing import Any, TypeVar, cast

from fiducial.errors import StoreError
from fiducial.guard.effects import Ask, Effect, Kept, Ran, Run, Steps

STORE_TIMEOUT = 30.0
"""Seconds to wait for durability before the call is refused."""
T = TypeVar("T")


def drive(steps: Steps[T]) -> T:
    """Carry out `steps` on this thread."""
    answer: Any = None
    fault: BaseException | None = None
    while True:
        try:
            effect = steps.send(answer) if fault is None else steps.throw(fault)
        except StopIteration as done:
            return cast("T", done.value)
        answer = fault = None
        try:
            answer = _perform(effect)
        except BaseException as raised:  # noqa: BLE001 - handed to the steps, which fail closed and say why
            fault = raised


async def drive_async(steps: Steps[T]) -> T:
    """Carry out `steps` on the running event loop."""
    answer: Any = None
    fault: BaseException | None = None
    while True:
        try:
            effect = steps.send(answer) if fault is None else steps.throw(fault)
        except StopIteration as done:
            return cast("T", done.value)
        answer = fault = None
        try:
            answer = await _perform_async(effect)
        except BaseException as raised:  # noqa: BLE001 - cancellation too: the steps record it before it goes on
            fault = raised


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
        if effect.future.done():
            return effect.future.result()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(effect.future)), STORE_TIMEOUT)
        except TimeoutError:
            raise StoreError(f"the store did not confirm within {STORE_TIMEOUT:.0f} s") from None
    if isinstance(effect, Ask):
        if inspect.iscoroutinefunction(effect.hook):
            return await effect.hook(effect.question)
        answer = await asyncio.to_thread(effect.hook, effect.question)
        return await answer if inspect.isawaitable(answer) else answer
    return await _run_async(effect)


def _run(effect: Run) -> Ran:
    started = time.monotonic()
    found: list[Ran] = []
    context = contextvars.copy_context()

    def body() -> None:
        try:
            value = context.run(effect.function, **effect.arguments)
            if inspect.iscoroutine(value):
                value.close()
                raise TypeError("the tool is asynchronous: use the asynchronous form of the call")
        except BaseException as fault:  # noqa: BLE001 - whatever a tool raises is its outcome
            found.append(Ran("failed", error=_words(fault)))
        else:
            found.append(Ran("ok", value))

    thread = threading.Thread(target=body, name="fiducial-tool", daemon=True)
    thread.start()
    thread.join(effect.timeout.total_seconds())
    if not found:
        return Ran("unknown", error=_cut_off(effect), duration_us=_since(started))
    ran = found[0]
    return Ran(ran.outcome, ran.value, ran.error, _since(started))


async def _run_async(effect: Run) -> Ran:
    started = time.monotonic()
    try:
        async with asyncio.timeout(effect.timeout.total_seconds()):
            if inspect.iscoroutinefunction(effect.function):
                value = await effect.function(**effect.arguments)
            else:
                value = await asyncio.to_thread(effect.function, **effect.arguments)
                if inspect.isawaitable(value):
                    value = await value
    except TimeoutError as fault:
        if time.monotonic() - started < effect.timeout.total_seconds():
            return Ran("failed", error=_words(fault), duration_us=_since(started))
        return Ran("unknown", error=_cut_off(effect), duration_us=_since(started))
    except Exception as fault:  # noqa: BLE001 - whatever a tool raises is its outcome
        return Ran("failed", error=_words(fault), duration_us=_since(started))
    return Ran("ok", value, None, _since(started))


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1_000_000)


def _cut_off(effect: Run) -> str:
    return f"the tool did not finish within {effect.timeout.total_seconds():g} s; its effect may have happened"


def _words(fault: BaseException) -> str:
    text = str(fault).encode("utf-8", "replace").decode()
    return f"{type(fault).__name__}: {text}"[:2000]
