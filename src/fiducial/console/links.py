"""Signed links: an address that opens exactly one request, for a while.

    /notice/<what>.<mac>      what: base64url of JSON: key, request, role, expiry; mac: its HMAC-SHA256

A link is no key. It lets nobody in: whoever follows it signs in first and sees what their own roles let them see. What
the signature is for: nobody can make one that leads to another request or never ends, and what was followed is on
record. So its keys may lie in the store, where every console on it finds them (`console/link-keys`): a new one every 30
days, the one before it still counts, and `void_all` ends all links at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Final

import msgspec

from fiducial.core.clock import Clock
from fiducial.core.event import Entry, HoldSeen
from fiducial.core.ids import EventId, HoldId, PersonId, SessionId, mint
from fiducial.core.store import Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, OversightError, StoreError

PATH: Final = "/notice/"
KEYS: Final = "console/link-keys"
FOLLOWED: Final = "console/followed/"
ROTATION: Final = timedelta(days=30)
_MAX = 600
"""Characters of a link; none of ours has half as many."""


class Key(msgspec.Struct, frozen=True):
    """One key."""

    id: str
    made_us: int
    secret: bytes


class Keys(msgspec.Struct, frozen=True):
    """The keys that count, newest first: two at most."""

    keys: tuple[Key, ...]


class Signed(msgspec.Struct, frozen=True, array_like=True):
    """What a link says."""

    key: str
    hold: HoldId
    role: str
    """Who was told."""
    until_us: int


class Links:
    """Makes links and reads them. Usable from any thread, by any number of processes on one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def address(self, origin: str, hold: HoldId, role: str, until_us: int) -> str:
        """A link to `hold` for somebody in `role`, worth something until `until_us`. Raises `StoreError`."""
        key = self._newest()
        said = msgspec.json.encode(Signed(key.id, hold, role, until_us))
        return f"{origin}{PATH}{_text(said)}.{_text(_mac(key, said))}"

    def read(self, link: str) -> Signed:
        """What the last part of a link's path says. Raises `OversightError` for one that is not ours, or is over."""
        what, _, mac = link.partition(".")
        try:
            if len(link) > _MAX:
                raise ValueError("too long")
            said, given = _bytes(what), _bytes(mac)
            signed = msgspec.json.decode(said, type=Signed, strict=True)
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            raise OversightError("this link is not one of ours, or was changed on its way") from None
        key = next((each for each in self._kept()[0] if each.id == signed.key), None)
        if key is None or not hmac.compare_digest(_mac(key, said), given):
            raise OversightError("this link is not one of ours, was changed on its way, or has been made void")
        if self._clock.unix_us() >= signed.until_us:
            raise OversightError("this link is over: what it led to has been answered or refused by now")
        return signed

    def followed(self, hold: HoldId, session: SessionId, by: PersonId) -> None:
        """Somebody came to the request by a link; the first time is kept. Raises `StoreError`."""
        key, now = f"{FOLLOWED}{hold}/{by}", self._clock.unix_us()
        if self._store.read([key]):
            return
        event = HoldSeen(
            id=EventId(mint("evt", now // 1000)), session=session, at_us=now, hold=hold, by=by, how="followed"
        )
        try:
            self._commit(Put(key, b"%d" % now), 0, Entry(event))
        except Conflict:
            return  # the same person, twice at once

    def void_all(self) -> None:
        """Make every link there is worth nothing, also when the keys cannot be read. Raises `StoreError`."""
        cell = self._store.read([KEYS]).get(KEYS)
        self._put((self._made(),), cell.version if cell is not None else 0)

    def _newest(self) -> Key:
        while True:
            keys, version = self._kept()
            now = self._clock.unix_us()
            if keys and now - keys[0].made_us < ROTATION // timedelta(microseconds=1):
                return keys[0]
            made = self._made()
            try:
                self._put((made, *keys[:1]), version)
            except Conflict:
                continue  # another process was faster: its key serves as well
            return made

    def _made(self) -> Key:
        return Key(secrets.token_hex(4), self._clock.unix_us(), secrets.token_bytes(32))

    def _kept(self) -> tuple[tuple[Key, ...], int]:
        cell = self._store.read([KEYS]).get(KEYS)
        if cell is None:
            return (), 0
        try:
            return msgspec.json.decode(cell.value, type=Keys).keys, cell.version
        except msgspec.MsgspecError as error:
            raise StoreError(f"the cell `{KEYS}` cannot be read; run `fiducial notify void`") from error

    def _put(self, keys: tuple[Key, ...], version: int) -> None:
        self._commit(Put(KEYS, msgspec.json.encode(Keys(keys))), version)

    def _commit(self, change: Put, version: int, *entries: Entry) -> None:
        preconditions = (Unchanged(change.key, version),)
        self._store.commit(Commit(entries=entries, preconditions=preconditions, changes=(change,))).result()


def _mac(key: Key, said: bytes) -> bytes:
    return hmac.new(key.secret, b"fiducial/console/notice\0" + said, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("written in another way than ours")
    return data


__all__ = ["FOLLOWED", "KEYS", "PATH", "Links", "Signed"]
