"""The outbox: one cell for each notice and channel, so that each is sent at least once, and by one process.

    nothing ── claim ─→ open, ours until `due` ── sent ───────→ sent
                          ↑        │            ── refused ───→ failed
                          │        │            ── not now ───→ open, again at `due`
                          └────────┴─ whoever had it is gone: claimed by anybody once `due` has passed
    open ── its time is over ─→ lapsed, and forgotten

1. A claim is a commit under the precondition that the cell is what was read: of several processes one gets it.
2. It is sent after the claim is on disk and settled after it was sent. A crash in between leaves an open cell, which is
   claimed again when the lease is over. So a message may come twice, with the same id, and is never lost.
3. What has settled is kept until nobody would send it any more. What a cell says depends on nothing but the cell.

`notice/<channel>/<notice>` holds a `Delivery`, `notice-channel/<channel>` the channel's `Health`.
"""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from typing import Literal

import msgspec

from fiducial.console.notify.channels import Outcome
from fiducial.console.notify.health import CHANNELS, Health
from fiducial.console.notify.notices import Notice
from fiducial.core.clock import Clock
from fiducial.core.event import Entry, NoticeSettled
from fiducial.core.ids import EventId, SessionId, mint
from fiducial.core.oversight import NoticeKind
from fiducial.core.store import Commit, Put, Store, Unchanged
from fiducial.errors import Conflict
from fiducial.oversight.cells import decode, encode

log = logging.getLogger("fiducial.console.notify")
NOTICES = "notice/"
LEASE = timedelta(minutes=2)
"""How long whoever claimed a message has it alone: several times what an attempt may take."""
FIRST, LONGEST = timedelta(seconds=5), timedelta(minutes=10)
"""The wait after the first attempt, twice as long after each further one, and the longest."""
_KEPT = timedelta(hours=1)
"""How much longer a cell is kept than anybody would send it: for processes whose clocks differ."""
_FARTHEST = timedelta(hours=2)
"""Longer than anything is put off: what is due later than that was put off by a clock that was ahead."""
_US = timedelta(microseconds=1)


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What became of one notice in one channel."""

    notice: NoticeKind
    about: str
    state: Literal["open", "sent", "failed"]
    until_us: int
    """When it need not be sent any more."""
    due_us: int = 0
    """Of an open one: from when on anybody may try it."""
    attempts: int = 0
    session: SessionId | None = None


class Claim(msgspec.Struct, frozen=True):
    """A message that is ours to send."""

    key: str
    version: int
    delivery: Delivery


class Outbox:
    """The cells of one channel. Used by one thread."""

    def __init__(self, store: Store, clock: Clock, channel: str) -> None:
        """Raises `StoreError`."""
        self._store, self._clock, self._channel = store, clock, channel
        self._prefix, self._health = f"{NOTICES}{channel}/", CHANNELS + channel
        if self.health() is None:
            try:
                self._commit(Put(self._health, encode(Health(since_us=clock.unix_us()))), version=0)
            except Conflict:
                log.debug("`%s` was set up by another process", channel)

    def health(self) -> Health | None:
        """How the channel does; `None` before it was set up. Raises `StoreError`."""
        cell = self._store.read([self._health]).get(self._health)
        return decode(self._health, cell, Health) if cell is not None else None

    def deliveries(self) -> dict[str, Claim]:
        """Id of a notice → its cell. What is over is settled and forgotten on the way. Raises `StoreError`."""
        found, now = {}, self._clock.unix_us()
        for key, cell in self._store.scan(self._prefix).items():
            claim = Claim(key, cell.version, decode(key, cell, Delivery))
            if claim.delivery.state == "open" and now >= claim.delivery.until_us and not _put_off(claim.delivery, now):
                self._lapse(claim)
            elif now >= claim.delivery.until_us + _KEPT // _US:
                self._try(Put(key, None), version=cell.version)
            else:
                found[key.removeprefix(self._prefix)] = claim
        return found

    def claim(self, notice: Notice, before: Claim | None) -> Claim | None:
        """`notice`, if it is ours to send now: claimed, on disk. `before`: its cell as it was read."""
        now = self._clock.unix_us()
        if before is not None and (before.delivery.state != "open" or _put_off(before.delivery, now)):
            return None
        key, version = self._prefix + notice.id, before.version if before is not None else 0
        delivery = Delivery(
            notice=notice.kind, about=notice.about, state="open", until_us=notice.until_us, due_us=now + LEASE // _US,
            attempts=(before.delivery.attempts if before is not None else 0) + 1, session=notice.session,
        )  # fmt: skip
        if not self._try(Put(key, encode(delivery)), version=version):
            return None
        cell = self._store.read([key]).get(key)
        return Claim(key, cell.version, delivery) if cell is not None and cell.value == encode(delivery) else None

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Write down what became of the attempt. Raises `StoreError`."""
        now, before = self._clock.unix_us(), claim.delivery
        entries: list[Entry] = []
        if outcome.state == "later":
            wait = max(_backoff(before.attempts), timedelta(seconds=outcome.after_s))
            after = msgspec.structs.replace(before, due_us=now + wait // _US)
        else:
            after = msgspec.structs.replace(before, state=outcome.state, due_us=0)
            entries.append(self._settled(before, outcome.state, outcome.said, now))
        changes = [Put(claim.key, encode(after))]
        health = self.health()
        if health is not None and (outcome.state == "sent") != (health.failing_us == 0):
            failing = 0 if outcome.state == "sent" else now
            why = "" if outcome.state == "sent" else outcome.said
            changes.append(Put(self._health, encode(msgspec.structs.replace(health, failing_us=failing, why=why))))
        if not self._try(*changes, version=claim.version, entries=entries):
            log.warning("`%s` took so long over a message that somebody else has sent it too", self._channel)

    def _lapse(self, claim: Claim) -> None:
        entry = self._settled(claim.delivery, "lapsed", "its time was over", self._clock.unix_us())
        self._try(Put(claim.key, None), version=claim.version, entries=[entry])

    def _settled(
        self, delivery: Delivery, outcome: Literal["sent", "failed", "lapsed"], why: str, now_us: int
    ) -> Entry:
        event = NoticeSettled(
            id=EventId(mint("evt", now_us // 1000)), session=delivery.session, at_us=now_us, notice=delivery.notice,
            about=delivery.about, channel=self._channel, outcome=outcome, attempts=delivery.attempts, why=why[:200],
        )  # fmt: skip
        return Entry(event)

    def _try(self, *changes: Put, version: int, entries: list[Entry] | None = None) -> bool:
        """Commit, unless the first cell is no longer what it was."""
        try:
            self._commit(*changes, version=version, entries=entries)
        except Conflict:
            return False
        return True

    def _commit(self, *changes: Put, version: int, entries: list[Entry] | None = None) -> None:
        unchanged = (Unchanged(changes[0].key, version),)
        self._store.commit(Commit(entries=tuple(entries or ()), preconditions=unchanged, changes=changes)).result()


def _put_off(delivery: Delivery, now_us: int) -> bool:
    return now_us < delivery.due_us <= now_us + _FARTHEST // _US


def _backoff(attempts: int) -> timedelta:
    """Twice as long each time, and never the same for two who began together."""
    whole: timedelta = min(FIRST * 2 ** min(attempts - 1, 20), LONGEST)
    factor = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
    return timedelta(seconds=whole.total_seconds() * factor)


__all__ = ["FIRST", "LEASE", "LONGEST", "NOTICES", "Claim", "Delivery", "Outbox"]
