"""What the pages stand on, made once for a console."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fiducial.console.accounts import CONSOLE, Accounts, Signed
from fiducial.console.found import SessionIndex
from fiducial.console.links import Links
from fiducial.console.live import Live
from fiducial.console.notify.health import Health, failing
from fiducial.console.provider import CALLBACK, Provider, ProviderSettings
from fiducial.console.queue import Queue
from fiducial.console.render import environment, static
from fiducial.console.rows import Rows
from fiducial.console.throttle import Throttle
from fiducial.console.undoing import Hands, Undoing
from fiducial.console.verification import Verification
from fiducial.core.address import is_loopback
from fiducial.core.clock import Clock, SystemClock
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError
from fiducial.oversight.desk import Desk
from fiducial.oversight.people import CONSOLE_ROLES, People, Person
from fiducial.oversight.seeing import Shown
from fiducial.policy.rulebook import Rulebook
from fiducial.policy.schema import tool_types
from fiducial.store.ledger import LedgerStore


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a console is reached and how long people stay signed in."""

    url: str = "http://127.0.0.1:8440"
    """Where browsers find it: scheme, host and port. Plain http only on this machine."""
    idle: timedelta = timedelta(minutes=30)
    """Unused for this long, a session is over."""
    lifetime: timedelta = timedelta(hours=12)
    """However much it is used, a session is over after this long."""
    first_link: timedelta = timedelta(hours=1)
    """How long the link of the first start is worth something."""
    link: timedelta = timedelta(days=1)
    """How long a link that an administrator makes is worth something."""
    provider: ProviderSettings | None = None
    """An identity provider to sign in with; `None`: local accounts only."""


class Services:
    """Everything a request may need. Usable from any thread."""

    def __init__(
        self,
        store: LedgerStore,
        rulebook: Rulebook,
        settings: Settings | None = None,
        clock: Clock | None = None,
        hands: Hands | None = None,
    ) -> None:
        """`rulebook`: of the charter that the pages show; `hands`: what effects are taken back with.

        Raises `OversightError` for settings that are not safe.
        """
        self.settings = settings or Settings()
        self.store = store
        self.rulebook = rulebook
        self.charter = rulebook.charter
        self.clock = clock or SystemClock()
        self.origin, self.host = _origin(self.settings.url)
        self.secure = self.origin.startswith("https:")
        # Browsers refuse the prefix on cookies that are not `Secure`, which those of plain http cannot be.
        self.cookie = "__Host-fiducial" if self.secure else "fiducial"
        self.early_cookie = self.cookie + "-early"
        self.ledger = store.ledger()
        self.people = People(store, self.clock)
        self.accounts = Accounts(
            store, self.people, self.clock, idle=self.settings.idle, lifetime=self.settings.lifetime
        )
        self.throttle = Throttle(self.clock)
        """Of passwords."""
        self.link_throttle = Throttle(self.clock)
        """Of one-time links, by address alone: whoever fails must not keep others from theirs."""
        self.index = SessionIndex(self.ledger)
        self.desk = Desk(store, clock=self.clock, roles_of=self.people.roles_of)
        self.undoing = Undoing(store, self.charter, self.desk, self.clock, hands or Hands())
        self.tools = tool_types(rulebook.charter)
        self.queue = Queue(store, self.ledger, self.charter, self.clock)
        self.live = Live(self.queue)
        self.shown = Shown(store, self.clock)
        self.links = Links(store, self.clock)
        self._closing: list[Callable[[], None]] = []
        self.verification = Verification(store, self.clock)
        given = self.settings.provider
        self.provider = Provider(given, redirect_to=self.origin + CALLBACK, clock=self.clock) if given else None
        self.static = static()
        self._templates = environment()
        self.rows = Rows(self._templates.get_template("waiting-row.html"))

    def render(self, template: str, **values: Any) -> str:
        """A template's text."""
        return self._templates.get_template(template).render(services=self, now_us=self.clock.unix_us(), **values)

    def on_close(self, act: Callable[[], None]) -> None:
        """Have `act` done when this is closed."""
        self._closing.append(act)

    def silent(self) -> dict[str, Health]:
        """The channels of notifications through which nothing goes. Raises `StoreError`."""
        return failing(self.store)

    def close(self) -> None:
        """Let go of the log, and before that of whatever else was begun."""
        while self._closing:
            self._closing.pop()()
        self.ledger.close()

    def first_link(self, admin: str = "admin") -> str | None:
        """Address of a one-time link for the first administrator; `None` once an administrator can sign in.

        The first administrator is made here, with every role of a person's and those of the charter, because there
        is nobody yet to give them; others are added by them. Raises `OversightError` for an `admin` that is no id.
        """
        everybody = [known.person for known in self.people.all().values()]
        admins = [person for person in everybody if person.active and "admin" in person.console]
        if any(self.accounts.has_way_in(person.id) for person in admins):
            return None
        if not admins:
            first = Person(
                id=PersonId(admin),
                name=admin,
                console=tuple(role for role in CONSOLE_ROLES if role != "host"),
                roles=tuple({"operator", *self.charter.about.roles}),
            )
            admins = [self.people.add(first, by=CONSOLE).person]
        return self.link_for(admins[0].id, by=CONSOLE, lifetime=self.settings.first_link)

    def link_for(
        self, person: PersonId, *, by: PersonId, lifetime: timedelta | None = None, asked: Signed | None = None
    ) -> str:
        """Address of a one-time link that signs `person` in. Raises `OversightError` when there is no such person."""
        if self.people.find(person) is None:
            raise OversightError(f"there is no `{person}`")
        secret = self.accounts.link(person, by=by, lifetime=lifetime or self.settings.link, asked=asked)
        return self.link_address(secret)

    def link_address(self, secret: str) -> str:
        """Where somebody with that one-time link goes."""
        return f"{self.origin}/sign-in/link/{secret}"


def _origin(url: str) -> tuple[str, str]:
    """Scheme, host and port of `url`, and host and port alone, as browsers write them."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OversightError(f"`{url}` is not the address of a site: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise OversightError(f"`{url}` is not the address of a site, such as `https://console.example.org`")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise OversightError("people reach the console over https, unless it is on this machine: put TLS before it")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    if port is not None and port != default:
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}", host


__all__ = ["LedgerStore", "Services", "Settings"]
