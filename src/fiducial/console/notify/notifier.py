"""The notifier: one thread a channel, which sends what is due.

Nobody waits for it. A round reads what there is to tell and this channel's cells, claims one message after the other,
sends it and writes down what became of it. A change of what people are asked wakes it, and the time does; what fails is
logged, and tried again. Several processes may do this on one store: see `fiducial.console.notify.outbox`.

What was tried least often comes first, of that halts and emergencies, of that the oldest: whoever makes many requests,
or has many that fail, keeps nobody from hearing that something was stopped. A round ends after a few seconds, so that a
slow receiver is not told for hours of what has long been answered, and at once when the other side wants to be left
alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from fiducial.console.notify.attempt import Attempts
from fiducial.console.notify.channels import Channel, Outcome
from fiducial.console.notify.health import retire
from fiducial.console.notify.mail import Mail
from fiducial.console.notify.message import Details, compose
from fiducial.console.notify.notices import Notice, notices
from fiducial.console.notify.outbox import Claim, Outbox
from fiducial.console.notify.settings import (
    ChannelSettings,
    MailSettings,
    NotifySettings,
    SlackSettings,
    WebhookSettings,
    port_of,
    secret_bytes,
)
from fiducial.console.notify.slack import Slack
from fiducial.console.notify.webhook import Webhook
from fiducial.console.services import Services
from fiducial.core.clock import Clock
from fiducial.core.faults import wordless
from fiducial.core.ids import PersonId
from fiducial.core.oversight import NoticeKind
from fiducial.core.store import Watch
from fiducial.errors import FiducialError
from fiducial.guard.switches import HALTS
from fiducial.oversight.cells import GLASS, WAITING
from fiducial.policy.rules import Hold, Unclear

log = logging.getLogger("fiducial.console.notify")
_ROUND = 5.0
"""Seconds between two rounds when nothing wakes it: what time alone brings about, such as an escalation."""
_SOONEST = 0.2
_SKEW = timedelta(hours=1)
"""By how much the clocks of two processes on one store may differ."""
_PATIENCE = 5.0
"""Seconds that ending waits for a message that is being sent."""


class Notifier:
    """Tells people. Usable from any thread."""

    def __init__(self, services: Services, settings: NotifySettings) -> None:
        self._services, self._settings = services, settings
        self._channels = [made(name, one, settings, services.clock) for name, one in settings.channels.items()]
        self._posts = [_Post(services, settings.details, channel, self._wants(channel)) for channel in self._channels]
        self._watches: list[Watch] = []

    def start(self) -> None:
        """Begin. Raises `StoreError`."""
        retire(self._services.store, frozenset(self._settings.channels))
        # Watched first: what is asked in between wakes a thread that has not looked yet.
        self._watches = [self._services.store.watch(prefix, self._wake) for prefix in (WAITING, HALTS, GLASS)]
        for post in self._posts:
            post.start()

    def stop(self) -> None:
        """End, within seconds. Stopping twice is no fault."""
        for watch in self._watches:
            watch.close()
        for post in self._posts:
            post.end()
        until = time.monotonic() + _PATIENCE
        for post in self._posts:
            post.wait_for_end(until)
        for channel in self._channels:
            channel.close()

    def unheard(self) -> list[str]:
        """Roles that the charter may ask of whose requests no route is for: nobody would be told."""
        rulebook, about = self._services.rulebook, self._services.charter.about
        remedies = [rule.remedy for rule in rulebook.rules if not rule.shadow]
        asked: set[tuple[str, NoticeKind]] = {(one.role, "request") for one in remedies if isinstance(one, Hold)}
        asked |= {("user", "question") for one in remedies if isinstance(one, Unclear)}
        if about.oversight.escalate_to is not None:
            asked.add((about.oversight.escalate_to, "escalation"))
        return sorted({role for role, kind in asked if not self._told(role, kind, about.agent)})

    def _told(self, role: str, kind: NoticeKind, agent: str) -> bool:
        notice = Notice(kind=kind, about="", at_us=0, until_us=0, role=role, agent=agent)
        return any(route.fits(notice) for route in self._settings.routes)

    def _wants(self, channel: Channel) -> Callable[[Notice], bool]:
        return lambda notice: self._settings.routed(channel.name, notice)

    def _wake(self, keys: frozenset[str]) -> None:
        for post in self._posts:
            post.wake()


class _Post(threading.Thread):
    """One channel's thread."""

    def __init__(self, services: Services, details: Details, channel: Channel, wants: Callable[[Notice], bool]) -> None:
        super().__init__(name=f"fiducial-notify-{channel.name}", daemon=True)
        self._services, self._details, self._channel, self._wants = services, details, channel, wants
        self._attempts = Attempts(channel)
        self._woken = threading.Event()
        self._ended = False
        self._rest = range(0)
        """When the other side wants to be left alone; microseconds since 1970 UTC."""

    def wake(self) -> None:
        """There may be something to tell."""
        self._woken.set()

    def end(self) -> None:
        """Have the thread end once it has sent what it is sending."""
        self._ended = True
        self._woken.set()

    def wait_for_end(self, until: float) -> None:
        """Wait for that until `time.monotonic` is `until`: what it had claimed is sent when the lease is over."""
        if self.ident is not None and self is not threading.current_thread():
            self.join(max(0.0, until - time.monotonic()))

    def run(self) -> None:
        """Rounds, until it is stopped."""
        outbox: Outbox | None = None
        while not self._ended:
            self._woken.clear()
            wait = _ROUND
            try:
                outbox = outbox or Outbox(self._services.store, self._services.clock, self._channel.name)
                wait = self.round(outbox)
            except FiducialError as error:
                log.warning("notifications through `%s` are delayed: %s", self._channel.name, error)
            except Exception as error:
                log.error("notifications through `%s` are delayed", self._channel.name, exc_info=wordless(error))
            if not self._ended:
                self._woken.wait(wait)

    def round(self, outbox: Outbox) -> float:
        """Send what is due; seconds until something may be. Raises `StoreError`."""
        services = self._services
        now = services.clock.unix_us()
        if now in self._rest or self._attempts.stuck():
            return _ROUND
        health, before = outbox.health(), outbox.deliveries()
        since = health.since_us if health is not None else now
        if since > now + _SKEW // timedelta(microseconds=1):
            # Set up by a clock that was ahead: rather too much is told than nothing.
            since = 0
        found = notices(services.store, services.desk, now)
        found.sort(key=lambda one: (_attempts(before.get(one.id)), one.hold is not None))
        for notice in found:
            # A request that still waits is worth telling of whenever a channel is set up; what has happened is not.
            if self._ended or not self._wants(notice) or (notice.hold is None and notice.at_us < since):
                continue
            claim = outbox.claim(notice, before.get(notice.id))
            if claim is None:
                continue
            outcome = self._sent(notice)
            outbox.settle(claim, outcome)
            passed = services.clock.unix_us()
            if outcome.after_s:
                self._rest = range(passed, passed + int(outcome.after_s * 1_000_000))
                return _SOONEST
            if passed - now >= _ROUND * 1_000_000 or self._attempts.stuck():
                return _SOONEST
        after = [claim.delivery.due_us for claim in outbox.deliveries().values() if claim.delivery.state == "open"]
        soonest = (min(after) - services.clock.unix_us()) / 1_000_000 if after else _ROUND
        return min(max(soonest, _SOONEST), _ROUND)

    def _sent(self, notice: Notice) -> Outcome:
        try:
            message = compose(self._services, notice, self._details)
            to = addresses(self._services, notice) if self._channel.people else ()
            outcome = self._attempts.send(message, to)
        except Exception as error:
            log.error("a message through `%s` could not be made", self._channel.name, exc_info=wordless(error))
            outcome = Outcome("later", f"it could not be made ({type(error).__name__})")
        level = logging.INFO if outcome.state == "sent" else logging.WARNING
        log.log(level, "%s through `%s`: %s, %s", notice.id, self._channel.name, outcome.state, outcome.said)
        return outcome


def _attempts(claim: Claim | None) -> int:
    return claim.delivery.attempts if claim is not None else 0


def addresses(services: Services, notice: Notice) -> tuple[str, ...]:
    """Where those who are asked are told: the people who may answer now and have an address."""
    hold = notice.hold
    if hold is None:
        return ()
    asked = set(services.people.holders(hold.role))
    if hold.asks == "question":
        asked.add(PersonId(hold.user))
    else:
        asked -= {PersonId(hold.user), *hold.excluded}
    known = [services.people.find(person) for person in sorted(asked)]
    return tuple(one.person.email for one in known if one is not None and one.person.active and one.person.email)


def made(name: str, written: ChannelSettings, settings: NotifySettings, clock: Clock) -> Channel:
    """The channel that was described."""
    match written:
        case WebhookSettings():
            secrets = [found for each in written.secrets if (found := secret_bytes(settings.secret(each))) is not None]
            return Webhook(name, written.url or settings.secret(written.url_env), secrets, clock)
        case SlackSettings():
            return Slack(name, settings.secret(written.url_env))
        case MailSettings():
            return Mail(
                name, written.host, port_of(written), tls=written.tls, sender=written.sender, to=written.to,
                people=written.people, username=written.username, clock=clock,
                password=settings.secret(written.password_env) if written.password_env else "",
            )  # fmt: skip


__all__ = ["Notifier", "addresses", "made"]
