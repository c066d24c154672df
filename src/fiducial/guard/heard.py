"""What a session has taken in of what its agent's model reads, so that nothing is taken in twice."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from fiducial.core.event import Authority
from fiducial.errors import SessionError
from fiducial.guard.session import Session

_LESSER = frozenset[Authority | None](["agent", "tool"])
"""Whose words are untrusted."""
_HEARD: WeakKeyDictionary[Session, set[str]] = WeakKeyDictionary()
"""Digests of texts that nobody has to hear again."""
_UNTRUSTED: WeakKeyDictionary[Session, set[str]] = WeakKeyDictionary()
"""Digests of texts that are known as an agent's or a tool's words; somebody with authority may say the same."""


def know(session: Session, *texts: str, by: Authority | None = None) -> None:
    """`session` knows where `texts` come from: they are what came of a call, or a part of what it took in; as words of
    `by` alone, where that is said."""
    heard = _UNTRUSTED if by in _LESSER else _HEARD
    heard.setdefault(session, set()).update(map(_digest, texts))


def hear(session: Session, text: str, authority: Authority) -> None:
    """Take in `text`, unless the session knows it, or somebody with authority has said the very same in it.

    Raises `StoreError` when it cannot be kept, `SessionError` when the session is closed.
    """
    digest = _digest(text)
    if not text.strip() or digest in _HEARD.get(session, ()):
        return
    if authority in _LESSER and digest in _UNTRUSTED.get(session, ()):
        return
    said = set[str]()
    with suppress(SessionError):  # more was said than is kept
        said = {each.strip() for _, each, _ in session.said}
    if text.strip() not in said:
        session.say(text.strip(), authority=authority)
    know(session, text, by=authority)


def see(session: Session, where: str, part: Any) -> None:
    """Take in a part of a message that is no text, or a result, in the types of JSON, unless the session knows it: as
    something read from `where`, untrusted. Raises as `hear` does."""
    if _digest(_written(part)) not in _HEARD.setdefault(session, set()):
        session.observe(where, {}, part)
        seen(session, part)


def seen(session: Session, part: Any) -> None:
    """`session` knows where `part` comes from, which is in the types of JSON."""
    know(session, _written(part))


def _written(part: Any) -> str:
    return json.dumps(part, ensure_ascii=False, sort_keys=True)


def _digest(text: str) -> str:
    """Of the text without the white space around it."""
    return hashlib.sha256(text.strip().encode("utf-8", "replace")).hexdigest()


__all__ = ["hear", "know", "see", "seen"]
