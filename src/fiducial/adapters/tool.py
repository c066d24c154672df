"""A plain function as a guarded tool: `@fiducial.tool`.

    @fiducial.tool
    def send_money(recipient: str, amount: float) -> str: ...

    with guard.session(user="emma", task=prompt) as session, fiducial.using(session):
        send_money("DE89…", 5.0)

Calling it makes all ten steps in the session that is in use, and gives what the function returns. Where none is in use,
or the call may not be made, it raises, and the function is not called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, overload

from fiducial.adapters.calls import AT_ONCE, Called, acall, call
from fiducial.errors import CallError, SessionError
from fiducial.guard.session import Session

P = ParamSpec("P")
R = TypeVar("R")
_USED: ContextVar[Session | None] = ContextVar("fiducial-session", default=None)


@contextmanager
def using(session: Session) -> Iterator[Session]:
    """Within it, guarded tools are called in `session`: in this thread or task, and in those that it starts with its
    context, as asyncio does."""
    token = _USED.set(session)
    try:
        yield session
    finally:
        _USED.reset(token)


def in_use() -> Session:
    """The session in which guarded tools are called. Raises `SessionError` when there is none."""
    session = _USED.get()
    if session is None:
        raise SessionError("no session is in use here: call the tool within `fiducial.using(session)`")
    return session


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tool(*, name: str | None = None, wait: timedelta = AT_ONCE) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None, wait: timedelta = AT_ONCE) -> Any:
    """Guard a function, synchronous or not. Its arguments are those of the contract, by the names of its parameters.

    name  what the contract calls it; without it, the function's name
    wait  how long a call that people are asked about waits for them

    The call raises `SessionError` where no session is in use, `NotAllowed` with the verdict when it may not be made,
    `ToolFailed` when the function raised or was cut off, `CallError` when the guard broke.
    """
    if function is None:
        return functools.partial(_guarded, name=name, wait=wait)
    return _guarded(function, name=name, wait=wait)


def _guarded(function: Callable[..., Any], *, name: str | None, wait: timedelta) -> Any:
    signature, called = inspect.signature(function), name or function.__name__
    if kinds := [each for each in signature.parameters.values() if each.kind in _UNNAMED]:
        raise TypeError(f"`{called}` takes arguments without names (`{kinds[0]}`), which no contract can describe")

    def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = dict(signature.bind(*args, **kwargs).arguments)
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
            elif parameter.default not in (inspect.Parameter.empty, None):
                given.setdefault(parameter.name, parameter.default)  # it runs with that, so that is decided
        return given

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return _unwrapped(await acall(in_use(), called, named(args, kwargs), function, wait=wait))

    else:

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return _unwrapped(call(in_use(), called, named(args, kwargs), function, wait=wait))

    return guarded


_UNNAMED = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL})


def _unwrapped(came: Called) -> Any:
    if came.result is None:
        raise CallError(came.told)
    return came.result.unwrap()


__all__ = ["in_use", "tool", "using"]
