"""What a client gets back from a model's door, and how its API says that there is no answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
import msgspec
from starlette.types import Send

from fiducial.core.faults import wordless
from fiducial.errors import MaskingError, SessionError, StoreError
from fiducial.gateway.model.steps import Json
from fiducial.gateway.refusals import Refused

log = logging.getLogger("fiducial.gateway")
_KINDS: Final = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large",
}  # fmt: skip


async def _nothing() -> None:
    pass


class Answer:
    """What is sent to the client."""

    def __init__(self, send: Send, *, anthropic: bool) -> None:
        self._send, self._anthropic, self._begun = send, anthropic, False
        self.settle: Callable[[], Awaitable[None]] = _nothing
        """Awaited before anything is sent."""

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of an answer."""
        self._begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def part(self, body: bytes, *, more: bool = True) -> None:
        """A part of its body."""
        await self.settle()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """All of it."""
        await self.settle()
        await self.begin(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self.part(body, more=False)

    async def fail(self, status: int, told: str) -> None:
        """Say that it cannot be answered, as its API says so; in the middle of a stream too."""
        self.settle = _nothing  # what failed may be just that
        kind = _KINDS.get(status, "api_error")
        if self._anthropic:
            said: Json = {"type": "error", "error": {"type": kind, "message": told}}
        else:
            said = {"error": {"message": told, "type": kind, "param": None, "code": None}}
        body = msgspec.json.encode(said)
        if not self._begun:
            await self.whole(status, [(b"content-type", b"application/json"), (b"cache-control", b"no-store")], body)
            return
        # The message that a stream ends with is an error to every SDK; nothing that could be taken for an end.
        name = b"event: error\n" if self._anthropic else b""
        await self.part(name + b"data: " + body + b"\n\n", more=False)


def told(error: Exception, path: str) -> tuple[int, str]:
    """The status and the words that `error` is told by; what is the server's own business, its log says."""
    match error:
        case Refused():
            return error.status, error.detail
        case httpx2.TimeoutException():
            log.warning("the provider behind %s does not answer in time", path)
            return 504, "the provider does not answer in time"
        case httpx2.HTTPError() | httpx2.StreamError():
            log.warning("the provider behind %s cannot be reached: %s", path, type(error).__name__)
            return 502, "the provider cannot be reached"
        case StoreError():
            log.error("the store failed under %s: %s", path, error)
            return 503, "what the model would read could not be kept; the server's log says why"
        case MaskingError():
            log.error("%s was refused: %s", path, error)
            return 503, "what is masked could not be told, so nothing was passed on; the server's log says why"
        case SessionError():
            return 409, str(error)
        case msgspec.MsgspecError() | ValueError():
            log.error("an answer behind %s cannot be read", path, exc_info=wordless(error))
            return 502, "the provider's answer cannot be read"
        case _:
            log.error("%s failed", path, exc_info=wordless(error))
            return 500, "the server's log says what"


__all__ = ["Answer", "told"]
