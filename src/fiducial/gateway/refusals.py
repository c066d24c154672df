"""What a host is told when something cannot be done."""

from __future__ import annotations

import msgspec

_TITLES = {
    400: "It cannot be read", 401: "No token, or one that is worth nothing", 404: "There is no such thing",
    405: "Not in this way", 409: "It does not fit what was decided", 413: "It is too large", 415: "It is no JSON",
    422: "It cannot be done as asked", 500: "Something broke",
    501: "It is not installed", 503: "The store cannot be reached",
}  # fmt: skip


class Refused(Exception):
    """The request is answered with a status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(detail)


def problem(status: int, detail: str) -> bytes:
    """A problem document (RFC 9457)."""
    return msgspec.json.encode({"title": _TITLES.get(status, "That did not work"), "status": status, "detail": detail})


__all__ = ["Refused", "problem"]
