"""Streams: results that a tool hands over piece by piece.

The agent sees a piece as soon as it gets it, so the session has it before: whatever is decided next is decided in its
light. Nothing in a piece is trusted, because where it stands in the result is not known yet. When the stream ends, the
whole of it is taken in, checked against the post-condition and recorded like any other result. One that breaks, takes
longer than the contract's timeout, is larger than `MAX_STREAM`, or is closed or dropped early is recorded with what was
read of it; the outcome is then unknown, and `failed` where the tool raised.

Each piece that a tool with a side effect is asked for may be another effect, so a halt, a store that cannot be heard,
or another process that may have the session by now, cuts its stream off.

The tool's iterator runs in a thread (or task) of its own, because it may hang. Its timeout counts the time that the
tool took, not the reader. A stream ends with its session.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from fiducial.errors import ToolFailed
from fiducial.guard.drivers import drive, drive_async, on_thread, within
from fiducial.guard.effects import Ran, Steps
from fiducial.guard.leases import LATE, LOST
from fiducial.guard.record import describe

if TYPE_CHECKING:
    from fiducial.guard.judgement import Judgement
    from fiducial.guard.state import State

MAX_STREAM = 64 * 1024 * 1024
"""Characters or bytes of a stream; past it the stream is cut off."""
_PIECE = 64
"""Characters that a piece counts for beside its own."""
_OVERLAP = 256
"""Characters before a new piece of text that are looked at with it: what stands across two pieces is found by them."""
_NOT_READ = "the stream was not read to its end"
_ENCODER = msgspec.json.Encoder(enc_hook=describe)
_Kind = Literal["piece", "end", "fault"]
Confirmed: TypeAlias = Literal["yes", "no", "unknown", "not-checked"]
"""What a post-condition found."""


class Feed:
    """What a session knows of one stream. Safe to share between threads."""

    def __init__(
        self,
        session: State,
        judgement: Judgement,
        timeout: float,
        confirm: Callable[[Any], Steps[Confirmed]],
        finish: Callable[[Ran, Confirmed], None],
    ) -> None:
        self.judgement = judgement
        self.left = timeout
        """Seconds that the tool may still take."""
        self.ended = False
        self.dropped = False
        """Nobody holds the stream any more. Set by the garbage collector, so by no more than this."""
        self._session, self._confirm, self._finish = session, confirm, finish
        self._confirmed: Confirmed = "not-checked"
        self._pieces: list[Any] = []
        self._size = self._known = 0
        with session.lock:
            session.feeds.append(self)

    def add(self, piece: Any) -> None:
        """The tool has handed over a piece. Raises `ToolFailed` when the stream has ended, or ends by it."""
        with self._session.lock:
            if self.ended:
                raise ToolFailed("the stream has ended with its session", outcome="unknown")
            self._size += _PIECE + _weight(piece)
            self._pieces.append(piece)
            if self._size > MAX_STREAM:
                self.cut_off(f"the stream is larger than {MAX_STREAM} characters")

    def news(self) -> Any:
        """What was added since it was last asked for, as one value; `None` when nothing was. With the lock held."""
        since, self._known = self._known, len(self._pieces)
        if since == self._known:
            return None
        value: Any = joined(self._pieces[since:])
        if since and type(value) in (str, bytes):
            before: Any = joined(self._pieces[max(0, since - _OVERLAP) : since])
            if type(before) is type(value):
                return before[-_OVERLAP:] + value
        return value

    def end(self, outcome: Literal["ok", "failed", "unknown"], error: str | None = None) -> None:
        """The stream is over, and recorded. Only the first end counts."""
        with self._session.lock:
            if self.ended:
                return
            self.ended = True
            self._session.feeds.remove(self)
            value = joined(self._pieces) if self._pieces or outcome == "ok" else None
            self._finish(Ran(outcome, value, error), self._confirmed)

    def confirm(self) -> Steps[None]:
        """The tool has come to its end: see whether it did what it is for, before anybody is told of the end."""
        self._confirmed = "unknown"
        try:
            self._confirmed = yield from self._confirm(joined(self._pieces))
        except BaseException:
            self.end("ok")
            raise

    def over(self, kind: _Kind, value: Any) -> bool:
        """Whether the tool's answer is the end of the stream, which is then recorded. Raises what the tool raised."""
        if kind == "fault":
            self.end("failed", f"{type(value).__name__} in the stream")
            raise value
        if kind == "end":
            self.end("ok")
        return kind == "end"

    def cut_off(self, why: str) -> None:
        """End it as unknown. Raises `ToolFailed`."""
        self.end("unknown", why)
        raise ToolFailed(why, outcome="unknown")

    def took(self, seconds: float) -> None:
        """The tool has used up some of its time."""
        self.left -= seconds

    def drop(self) -> None:
        """Nobody reads it any more. Called by the garbage collector, wherever it happens to be: takes no lock."""
        self.dropped = True

    def go_on(self) -> None:
        """Another piece is about to be asked for. Raises `ToolFailed` where the tool may no longer act."""
        session, tool = self._session, self.judgement.tool
        if tool is None or not tool.side_effect or session.mode == "observe":
            return
        lease = session.lease
        if lease is not None and lease.lost:
            why = LOST
        elif lease is not None and session.clock.unix_us() >= lease.until_us:
            why = LATE
        else:
            why = session.halted(tool)
        if why:
            self.cut_off(why)

    def abandon(self) -> None:
        """Whoever goes on with the session has recorded what is known of it. With the lock held."""
        self.ended = True
        self._session.feeds.remove(self)

    def late(self) -> None:
        """The tool has used up its time. Raises `ToolFailed`."""
        self.cut_off("the stream did not go on within the tool's timeout; its effect may have happened")


class Stream(Iterator[Any]):
    """A stream for a synchronous reader."""

    def __init__(self, feed: Feed, source: Iterator[Any]) -> None:
        self._feed, self._source, self._running = feed, source, False
        self._asks: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[tuple[_Kind, Any]] = SimpleQueue()
        weakref.finalize(self, _dropped, feed, self._asks).atexit = False

    def __next__(self) -> Any:
        feed = self._feed
        if feed.ended:
            raise StopIteration
        if not self._running:
            source, asks, answers = self._source, self._asks, self._answers
            on_thread(lambda: _pump(source, asks, answers))
            self._running = True
        try:
            feed.go_on()
        except ToolFailed:
            self._asks.put(False)
            raise
        self._asks.put(True)
        started = time.monotonic()
        try:
            kind, value = self._answers.get(timeout=max(0.0, feed.left))
        except Empty:
            self._asks.put(False)
            feed.late()
        feed.took(time.monotonic() - started)
        if kind == "end":
            drive(feed.confirm())
        if feed.over(kind, value):
            raise StopIteration
        try:
            feed.add(value)
        except ToolFailed:
            self._asks.put(False)
            raise
        return value

    def close(self) -> None:
        """Read no more of it; it is recorded with what was read."""
        self._feed.end("unknown", _NOT_READ)
        self._asks.put(False)
        if not self._running:
            _close(self._source)


class AsyncStream(AsyncIterator[Any]):
    """A stream for an asynchronous reader."""

    def __init__(self, feed: Feed, source: AsyncIterator[Any]) -> None:
        self._feed, self._source = feed, source
        self._asks: asyncio.Queue[bool] = asyncio.Queue()
        self._answers: asyncio.Queue[tuple[_Kind, Any]] = asyncio.Queue()
        self._pump: asyncio.Task[None] | None = None
        weakref.finalize(self, feed.drop).atexit = False

    async def __anext__(self) -> Any:
        feed = self._feed
        if feed.ended:
            raise StopAsyncIteration
        if self._pump is None:
            # One task for all pieces: scopes that the tool opens belong to the task that entered them.
            self._pump = asyncio.create_task(_pump_async(self._source, self._asks, self._answers))
            weakref.finalize(self, _cancel, self._pump).atexit = False
        try:
            feed.go_on()
        except ToolFailed:
            self._pump.cancel()
            raise
        self._asks.put_nowait(True)
        answer = asyncio.ensure_future(self._answers.get())
        started = time.monotonic()
        try:
            in_time = await within(answer, feed.left)
        except BaseException as cut_off:
            feed.end("unknown", f"cancelled ({type(cut_off).__name__})")
            self._pump.cancel()
            raise
        feed.took(time.monotonic() - started)
        if not in_time:
            self._pump.cancel()
            feed.late()
        kind, value = answer.result()
        if kind == "end":
            await drive_async(feed.confirm())
        if feed.over(kind, value):
            raise StopAsyncIteration
        try:
            feed.add(value)
        except ToolFailed:
            self._pump.cancel()
            raise
        return value

    async def aclose(self) -> None:
        """Read no more of it; it is recorded with what was read."""
        self._feed.end("unknown", _NOT_READ)
        if self._pump is None:
            self._pump = asyncio.create_task(_pump_async(self._source, self._asks, self._answers))
        self._asks.put_nowait(False)
        await within(self._pump, max(0.0, self._feed.left))


def joined(pieces: list[Any]) -> Any:
    """The pieces as one value: text or bytes where all are, else their list."""
    if pieces and all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if pieces and all(isinstance(piece, bytes) for piece in pieces):
        return b"".join(pieces)
    return list(pieces)


def _weight(piece: Any) -> int:
    if isinstance(piece, (str, bytes)):
        return len(piece)
    try:
        return len(_ENCODER.encode(piece))
    except Exception:  # noqa: BLE001 - what cannot be encoded is refused when it is taken in
        return 0


def _pump(source: Iterator[Any], asks: SimpleQueue[bool], answers: SimpleQueue[tuple[_Kind, Any]]) -> None:
    while asks.get():
        try:
            answers.put(("piece", next(source)))
        except StopIteration:
            answers.put(("end", None))
            return
        except BaseException as fault:  # noqa: BLE001 - handed to the reader
            answers.put(("fault", fault))
            return
    _close(source)


async def _pump_async(
    source: AsyncIterator[Any], asks: asyncio.Queue[bool], answers: asyncio.Queue[tuple[_Kind, Any]]
) -> None:
    try:
        while await asks.get():
            try:
                answers.put_nowait(("piece", await source.__anext__()))
            except StopAsyncIteration:
                answers.put_nowait(("end", None))
                return
            except Exception as fault:  # noqa: BLE001 - handed to the reader
                answers.put_nowait(("fault", fault))
                return
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            with contextlib.suppress(Exception):
                await close()


def _close(source: Iterator[Any]) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        with contextlib.suppress(Exception):
            close()


def _dropped(feed: Feed, asks: SimpleQueue[bool]) -> None:
    feed.drop()
    asks.put(False)


def _cancel(pump: asyncio.Task[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        pump.get_loop().call_soon_threadsafe(pump.cancel)


__all__ = ["MAX_STREAM", "AsyncStream", "Confirmed", "Feed", "Stream", "joined"]
