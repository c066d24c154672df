"""Messages: what people and other agents say, checked, recorded and taken in."""

from __future__ import annotations

from typing import Any, Final, get_args

from fiducial.core.event import Authority, Entry, MessageObserved, ModelAnswered
from fiducial.core.ids import SourceId, mint
from fiducial.core.label import Integrity
from fiducial.core.payload import Payload, seal
from fiducial.core.store import Commit
from fiducial.errors import SessionError
from fiducial.guard.leases import LOST
from fiducial.guard.state import State

AUTHORITIES: Final = get_args(Authority)
_NAME: Final = 256
"""Characters of a model's name that are kept."""


def take_in(
    session: State,
    text: str,
    authority: Authority = "user",
    integrity: Integrity | None = None,
    classes: frozenset[str] = frozenset(),
) -> SourceId:
    """Record what somebody said, and make it known to later traces. Returns the id that values are traced to.

    `integrity`: untrusted for other agents and tools, trusted for the rest, unless it is given. `classes`: data classes
    that the text is known to hold. Nothing is recorded once another process has taken the session over. Raises
    `SessionError` when that is known, the session is closed or something is not of its type, `StoreError` when it
    cannot be kept.
    """
    text = _text(session, text)
    authority = one_of("authority", authority, AUTHORITIES)
    if integrity is None:
        integrity = Integrity.UNTRUSTED if authority in ("agent", "tool") else Integrity.TRUSTED
    integrity = Integrity(one_of("integrity", integrity, tuple(Integrity)))
    with session.lock:
        now = session.clock.unix_us()
        source = SourceId(mint("src", now // 1000))
        payload = seal("text", text.encode("utf-8", "replace"))
        event = MessageObserved(
            id=session.event_id(now), session=session.id, at_us=now, payloads=(payload.ref,),
            source=source, authority=authority, integrity=integrity,
        )  # fmt: skip
        _keep(session, event, payload)
        session.hear(source, text, authority, integrity, classes)
    return source


def answered(session: State, text: str, model: str) -> None:
    """Record what the agent's model said. Raises as `take_in` does."""
    text = _text(session, text)
    with session.lock:
        now = session.clock.unix_us()
        payload = seal("text", text.encode("utf-8", "replace"))
        event = ModelAnswered(
            id=session.event_id(now), session=session.id, at_us=now, payloads=(payload.ref,), model=model[:_NAME]
        )
        _keep(session, event, payload)


def _text(session: State, text: str) -> str:
    session.must_be_open()
    if session.lease is not None and session.lease.lost:
        raise SessionError(LOST)
    if not isinstance(text, str):
        raise SessionError(f"what was said must be text; it is of type `{type(text).__name__}`")
    return str.__str__(text)


def _keep(session: State, event: MessageObserved | ModelAnswered, payload: Payload) -> None:
    lease = session.lease
    fence = (lease.fence,) if lease is not None else ()
    kept = session.store.commit(Commit(entries=(Entry(event, (payload,)),), preconditions=fence, durable=False))
    if lease is not None:
        lease.hear(kept)


def one_of(what: str, value: Any, known: tuple[str, ...]) -> Any:
    """`value`, as it stands in `known`. Raises `SessionError` when it does not."""
    for each in known:
        if isinstance(value, str) and value == each:
            return each
    raise SessionError(f"the {what} is none of {', '.join(known)}")


def name_of(what: str, value: Any) -> str:
    """`value` as plain text. Raises `SessionError` when it is none, is empty, or has no UTF-8 form."""
    if not isinstance(value, str) or not value:
        raise SessionError(f"the {what} must be text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SessionError(f"the {what} must be valid Unicode: it holds a lone surrogate") from None
    return str.__str__(value)


__all__ = ["answered", "name_of", "one_of", "take_in"]
