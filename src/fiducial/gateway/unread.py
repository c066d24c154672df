"""Reports that cannot be read: the agent has read what they are about, so that counts as read all the same."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from fiducial.core.label import Label
from fiducial.gateway.bodies import check
from fiducial.guard.session import Session
from fiducial.guard.tool import classes_of

_REPORT: Final = "a report that cannot be read"
"""Stands for the tool that nobody can name."""
_ESCAPES: Final = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def mended(body: bytes) -> bytes:
    """`body` with bytes that are no UTF-8 replaced, and halves of surrogate pairs, which JavaScript leaves in texts."""
    body = body.decode("utf-8", "replace").encode()
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def result_in(body: bytes, result: msgspec.Raw) -> str:
    """The text of `result`, a part of `body`. Raises `Refused` when anything else of `body` cannot be read."""
    check(body.replace(bytes(result), b"null", 1))
    return bytes(result).decode()


def doubt(session: Session, text: str) -> Label:
    """Take `text` in for whatever the agent has read, with data of any class."""
    with session.lock:
        session.must_be_open()
        session.doubt(classes_of(*session.tools.values()))
        return session.observe(_REPORT, {}, text)


__all__ = ["doubt", "mended", "result_in"]
