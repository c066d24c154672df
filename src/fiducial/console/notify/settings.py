"""The file of `fiducial up --notify FILE`: channels, and routes to them.

Read as charters are (`fiducial.charter.yaml`): what is not understood is refused, and every problem is reported with
its line and what to do about it. Secrets are never in the file: it names the variables that hold them.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fiducial.charter.findings import did_you_mean, report
from fiducial.charter.yaml import Document, read_yaml
from fiducial.console.notify.message import Details
from fiducial.console.notify.notices import Notice
from fiducial.core.address import is_loopback
from fiducial.core.oversight import NoticeKind
from fiducial.errors import OversightError

MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a webhook's secret, by the Standard Webhooks specification."""
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,188}[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses whose last 32 bits are an IPv4 address: RFC 6052 section 2.1."""
_METADATA = ipaddress.IPv6Address("fd00:ec2::254")
"""The one cloud's metadata that has an address which is not link-local."""

At: TypeAlias = tuple[str | int, ...]


def _as_tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def _filled(given: Any) -> Any:
    if not given:
        raise ValueError("is empty")
    return given


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""A list of names."""
SomeNames: TypeAlias = Annotated[Names, AfterValidator(_filled)]
"""One name at least."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class WebhookSettings(_Written):
    """A channel of `kind: webhook`: JSON to an address, signed by the Standard Webhooks specification."""

    kind: Literal["webhook"]
    """Which kind of channel it is."""
    url: str = ""
    """Where to, https unless it is on this machine. This or `url_env`."""
    url_env: str = ""
    """The variable that holds the address, where that is a secret."""
    secrets: SomeNames
    """Variables that hold `whsec_` and 24 to 64 bytes in base64. Each makes a signature: while a secret is changed, the
    new and the old one."""


class SlackSettings(_Written):
    """A channel of `kind: slack`: an incoming webhook of Slack, or of what understands the same."""

    kind: Literal["slack"]
    """Which kind of channel it is."""
    url_env: str
    """The variable that holds the webhook's address, which is its secret."""


class MailSettings(_Written):
    """A channel of `kind: smtp`: mail through a server of yours."""

    kind: Literal["smtp"]
    """Which kind of channel it is."""
    host: str
    """The mail server. Its certificate has to be for this name."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Without it 587, with `tls: implicit` 465."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """How the connection is made private; `none` only on this machine."""
    sender: str = Field(alias="from")
    """The address that it is from."""
    to: Names = ()
    """Addresses that are always told."""
    people: bool = False
    """Whether those who are asked are told at their own addresses, as the console's page of people has them."""
    username: str = ""
    """To sign in with; empty: without."""
    password_env: str = ""
    """The variable that holds the password."""


class Route(_Written):
    """What goes where. A part that is left out matches everything; every route that matches counts."""

    to: SomeNames
    """Names of channels."""
    events: Annotated[tuple[NoticeKind, ...], BeforeValidator(_as_tuple)] = ()
    """`request`, `question`, `escalation`, `halt`, `resume`, `emergency`."""
    roles: Names = ()
    """Only what asks one of these roles, or gives it in an emergency; `user` for questions. Halts ask nobody."""
    agents: Names = ()
    """Only what concerns one of these agents. What concerns all agents concerns these too."""

    def fits(self, notice: Notice) -> bool:
        """It is for this notice."""
        return (
            (not self.events or notice.kind in self.events)
            and (not self.roles or notice.role in self.roles)
            and (not self.agents or notice.agent is None or notice.agent in self.agents)
        )


class _Top(_Written):
    details: Details = "none"
    """`none`: no argument, no name of a person, nothing that a person wrote. `masked`: a little of each."""
    channels: Annotated[dict[str, Any], AfterValidator(_filled)]
    """Name → channel."""
    routes: Annotated[tuple[Route, ...], BeforeValidator(_as_tuple), AfterValidator(_filled)]
    """What goes where."""


ChannelSettings: TypeAlias = WebhookSettings | SlackSettings | MailSettings
_KINDS: Mapping[str, type[ChannelSettings]] = {"webhook": WebhookSettings, "slack": SlackSettings, "smtp": MailSettings}


class NotifySettings:
    """The whole file, checked, with the secrets that it names."""

    def __init__(
        self,
        details: Details,
        channels: Mapping[str, ChannelSettings],
        routes: tuple[Route, ...],
        found: Mapping[str, str],
    ) -> None:
        self.details: Details = details
        self.channels = channels
        self.routes = routes
        self._found = found

    def secret(self, variable: str) -> str:
        """What the environment held under that name."""
        return self._found[variable]

    def routed(self, channel: str, notice: Notice) -> bool:
        """`notice` goes to `channel`."""
        return any(channel in route.to and route.fits(notice) for route in self.routes)


def read_settings(path: Path, environment: Mapping[str, str]) -> NotifySettings:
    """The settings in `path`. Raises `OversightError` with every problem, or when the file cannot be read."""
    try:
        document = read_yaml(path.read_text(encoding="utf-8-sig"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise OversightError(
            f"`{path}` cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from error
    checking = _Checking(document, environment)
    settings = checking.settings() if document.readable else None
    if document.problems or settings is None:
        lines = [str(problem) for problem in sorted(document.problems)]
        raise OversightError(
            f"notifications cannot be set up: {len(lines)} problem{'s' * (len(lines) != 1)}\n" + "\n".join(lines)
        )
    return settings


class _Checking:
    """Finds every problem of one file."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document, self._environment = document, environment
        self._found: dict[str, str] = {}

    def settings(self) -> NotifySettings | None:
        """The settings; incomplete when there are problems, `None` when hardly anything could be read."""
        top = self._validated(self._document.data if self._document.data is not None else {}, _Top, ())
        channels: dict[str, ChannelSettings] = {}
        data = self._document.data if isinstance(self._document.data, dict) else {}
        written = data.get("channels")
        written = written if isinstance(written, dict) else {}
        for name, one in written.items():
            made = self._channel(name, one)
            if made is not None:
                channels[name] = made
        if top is None:
            return None
        for number, route in enumerate(top.routes):
            for channel in route.to:
                if channel not in written:
                    fix = did_you_mean(channel, written) or "name a channel of this file"
                    self._problem(("routes", number, "to"), f"there is no channel `{_short(channel)}`", fix)
        used = {channel for route in top.routes for channel in route.to}
        for name in written.keys() - used:
            self._problem(("channels", name), f"no route leads to `{_short(name)}`", "add one, or take the channel out")
        return NotifySettings(top.details, channels, top.routes, self._found)

    def _channel(self, name: str, written: Any) -> ChannelSettings | None:
        path = ("channels", name)
        if not _NAME.fullmatch(name):
            self._problem(path, f"`{_short(name)}` is no name for a channel", "use a to z, 0 to 9 and `-`, 40 at most")
        kind = written.get("kind") if isinstance(written, dict) else None
        if not isinstance(kind, str) or kind not in _KINDS:
            said = "has no `kind`" if kind is None else f"has the kind `{_short(kind)}`, which there is not"
            self._problem(
                path, f"the channel `{_short(name)}` {said}", f"write one of {', '.join(map('`{}`'.format, _KINDS))}"
            )
            return None
        made: ChannelSettings | None = self._validated(written, _KINDS[kind], path)
        if isinstance(made, WebhookSettings):
            self._webhook(path, made)
        elif isinstance(made, SlackSettings):
            self._url((*path, "url_env"), self._variable((*path, "url_env"), made.url_env))
        elif made is not None:
            self._mail(path, made)
        return made

    def _webhook(self, path: At, made: WebhookSettings) -> None:
        if bool(made.url) == bool(made.url_env):
            self._problem(
                path, "it needs one of `url` and `url_env`", "give the address, or the variable that holds it"
            )
        elif made.url:
            self._url((*path, "url"), made.url)
        else:
            self._url((*path, "url_env"), self._variable((*path, "url_env"), made.url_env))
        for number, variable in enumerate(made.secrets):
            at: At = (*path, "secrets", number)
            text = self._variable(at, variable)
            if text is not None and secret_bytes(text) is None:
                fix = "make one: echo whsec_$(openssl rand -base64 32)"
                self._problem(
                    at, f"`{_short(variable)}` holds no `whsec_` secret of {MIN_SECRET} to {MAX_SECRET} bytes", fix
                )

    def _mail(self, path: At, made: MailSettings) -> None:
        if made.tls == "none" and not is_loopback(made.host):
            self._problem((*path, "tls"), "mail in the clear is only for this machine", "use `starttls` or `implicit`")
        for key, addresses in (("from", (made.sender,)), ("to", made.to)):
            for address in addresses:
                if not _EMAIL.fullmatch(address):
                    self._problem(
                        (*path, key), f"`{_short(address)}` is no e-mail address", "write it as name@example.org"
                    )
        if not made.to and not made.people:
            self._problem(path, "nobody gets this mail", "give `to`, or `people: true`")
        if bool(made.username) != bool(made.password_env):
            self._problem(path, "`username` and `password_env` go together", "give both or none")
        elif made.password_env:
            at: At = (*path, "password_env")
            password = self._variable(at, made.password_env)
            if password is not None and not (password + made.username).isascii():
                # https://docs.python.org/3/library/smtplib.html#smtplib.SMTP.login, and RFC 4954 section 4.
                self._problem(
                    at, "nobody can sign in with other letters than those of ASCII", "choose another password"
                )

    def _url(self, path: At, url: str | None) -> None:
        wrong = _wrong_with(url) if url is not None else ""
        if wrong:
            # The address itself may be a secret.
            self._problem(path, f"the address {wrong}", "give an address such as https://hooks.example.org/fiducial")

    def _variable(self, path: At, name: str) -> str | None:
        held = self._environment.get(name, "")
        if not held.strip():
            self._problem(
                path, f"the environment has no `{_short(name)}`", "set it before you start, and not in this file"
            )
            return None
        self._found[name] = held.strip()
        return held.strip()

    def _validated(self, written: Any, model: Any, path: At) -> Any:
        try:
            return model.model_validate(written)
        except ValidationError as error:
            report(self._document, error, model, path)
            return None

    def _problem(self, path: At, message: str, fix: str) -> None:
        self._document.problem(path, "notify", message, fix)


def secret_bytes(text: str) -> bytes | None:
    """The bytes of a webhook's secret; `None` when it is none."""
    try:
        found = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if text.startswith("whsec_") and MIN_SECRET <= len(found) <= MAX_SECRET else None


def port_of(settings: MailSettings) -> int:
    """The port to connect to."""
    return settings.port or _PORTS[settings.tls]


def _wrong_with(url: str) -> str:
    """Why nothing is sent there; empty: nothing is wrong."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "cannot be read"
    if not url.isascii() or not url.isprintable() or " " in url or parts.scheme not in ("http", "https") or not host:
        return "is not one of the web"
    if parts.username is not None or parts.fragment:
        return "has a user name or a fragment"
    if parts.scheme == "http" and not is_loopback(host):
        return "is not https, which everything that is not on this machine needs"
    address = _number(host)
    if address is None:
        return ""
    inner = _within(address)
    if inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner == _METADATA:
        return "is one that machines talk to each other at, such as a cloud's metadata"
    return ""


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` is, in any way that a connection takes it for one; `None`: it is a name."""
    host = host.removesuffix(".")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # Also `2852039166`, `0xA9FEA9FE` and `169.254.43518`.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one leads to; others as they are."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _short(text: object) -> str:
    flat = " ".join(str(text).split()).replace("`", "'")
    return flat if len(flat) <= 60 else flat[:59] + "…"


__all__ = [
    "ChannelSettings", "MailSettings", "NotifySettings", "Route", "SlackSettings", "WebhookSettings",
    "port_of", "read_settings", "secret_bytes",
]  # fmt: skip
