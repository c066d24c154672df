"""`fiducial up`: the console, and the doors through which agents come in."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from fiducial.charter.model import Charter
from fiducial.cli.log import DEFAULT_DATABASE, made
from fiducial.cli.reporting import fail, reporting, warn
from fiducial.cli.undo import mapping_at
from fiducial.console.app import Console, create_app, lifespan
from fiducial.console.notify.notifier import Notifier
from fiducial.console.notify.settings import NotifySettings, read_settings
from fiducial.console.provider import ProviderSettings
from fiducial.console.services import Services, Settings
from fiducial.console.undoing import Hands
from fiducial.core.address import is_loopback
from fiducial.core.event import Mode
from fiducial.core.ids import PersonId
from fiducial.errors import CharterError, OversightError
from fiducial.gateway.app import Beside, Doors, Part
from fiducial.gateway.model.http import ModelGateway
from fiducial.gateway.model.settings import prompt_of
from fiducial.gateway.model.settings import read_settings as read_models
from fiducial.gateway.sessions import Sessions
from fiducial.guard.guard import Guard
from fiducial.guard.tool import detection_of
from fiducial.policy.load import load_charter


def up(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="The store: a path, or `postgresql://…`; made if there is none."),
    ] = DEFAULT_DATABASE,
    charter: Annotated[Path, typer.Option(help="The charter's directory.")] = Path(),
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8440",
    url: Annotated[
        str | None, typer.Option(help="Where browsers find it, when that is elsewhere: https://console.example.org")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A proxy that is trusted to say whose address it is.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate, PEM; without a proxy that does it.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    admin: Annotated[str, typer.Option(help="Id of the administrator that the first start makes.")] = "admin",
    link: Annotated[
        str | None, typer.Option(metavar="PERSON", help="Also print a link that signs this person in, once.")
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="A mapping of tool names to functions, to take effects back with."),
    ] = None,
    captures: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="A mapping of names to captures, to put states back.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="Of what comes through the doors: observe, shadow or enforce.")
    ] = "enforce",
    mcp: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve the MCP servers that this file names, at `/mcp/…`.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve the models that this file names, at `/models/…`.")
    ] = None,
    otlp_grpc: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Also take traces in over OTLP/gRPC, there; the usual port is 4317."),
    ] = None,
    notify: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Tell people by webhook, Slack or mail, as this file says.")
    ] = None,
    oidc_issuer: Annotated[str | None, typer.Option(help="Issuer of an identity provider to sign in with.")] = None,
    oidc_client: Annotated[str, typer.Option(help="The client id that it gave.")] = "",
    oidc_secret: Annotated[
        str, typer.Option(envvar="FIDUCIAL_OIDC_SECRET", help="The client secret; better in the environment.")
    ] = "",
    oidc_name: Annotated[str, typer.Option(help="What the sign-in page calls it.")] = "your organization",
) -> None:
    """Serve the console, where people see what agents do, decide what they are asked, and stop them; and the doors,
    through which programs that run agents come in, each with a token (`fiducial token`).

    The first start prints a link that signs the administrator in, once; there is no default password. Ends with
    Ctrl-C. Exit status: 0 ended; 2 could not run.
    """
    import uvicorn

    host, port = _listening(listen)
    scheme = "https" if certificate is not None else "http"
    if (certificate is None) != (key is None):
        fail("--certificate and --key go together", 2)
    address = url or f"{scheme}://{_shown(host, port)}"
    provider = None
    if oidc_issuer is not None:
        if not oidc_client or not oidc_secret:
            fail("an identity provider needs --oidc-client and FIDUCIAL_OIDC_SECRET", 2)
        provider = ProviderSettings(
            issuer=oidc_issuer, client_id=oidc_client, client_secret=oidc_secret, name=oidc_name
        )
    if certificate is None and not address.startswith("https:") and not is_loopback(host):
        fail("others can reach this address: give --certificate and --key, or an https --url of a proxy for it", 2)
    trusted = _proxies(proxy) if proxy is not None else ""
    _check_certificate(certificate, key)
    try:
        loaded = load_charter(charter)
        detection_of(loaded)  # what is missing for it is said before anybody is let in
        told = read_settings(notify, os.environ) if notify is not None else None
        parts = [made_of(file) for file, made_of in ((mcp, _servers), (models, _models(charter))) if file is not None]
    except (CharterError, OversightError) as error:
        fail(str(error), 2)
    hands = _hands(store, charter, tools, captures)
    collector = _collector(otlp_grpc, certificate, key) if otlp_grpc is not None else None
    # The ports first: a link that was printed is worth something, and must lead to this console.
    with _bound(host, port) as listener, reporting(), made(store) as kept:
        if otlp_grpc is not None:
            # It listens there once the console does: a socket that is there already cannot be given to it.
            _bound(*_listening(otlp_grpc)).close()
        app = create_app(kept, loaded, Settings(url=address, provider=provider), hands=hands)
        first = app.services.first_link(admin)
        typer.echo(f"Fiducial's console is at {app.services.origin}/")
        if first is not None:
            typer.echo(f"Sign in, once, within an hour: {first}")
        if link is not None:
            signs_in = app.services.link_for(PersonId(link), by=PersonId("console"))
            typer.echo(f"Signs {link} in, once, within a day: {signs_in}")
        if told is not None:
            _notifying(app.services, told)
        guard = Guard(loaded, store=kept, mode=mode, desk=app.services.desk, tools=hands.tools, captures=hands.captures)
        doors = Doors(guard, _host_of(app.services), url=app.services.origin)
        for part in parts:
            doors.add(part(doors, guard, app.services))
        if collector is not None:
            doors.add_beside(collector(doors))
        config = uvicorn.Config(
            Served(app, doors), host=host, port=port, log_level="warning", access_log=False, server_header=False,
            proxy_headers=proxy is not None, forwarded_allow_ips=trusted, timeout_graceful_shutdown=3,
            ssl_certfile=str(certificate) if certificate else None, ssl_keyfile=str(key) if key else None,
        )  # fmt: skip
        server = uvicorn.Server(config)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        if not server.started:
            fail("the console could not be started; what is above says why", 2)


class Served:
    """The console and the doors at one address."""

    def __init__(self, console: Console, doors: Doors) -> None:
        self._console, self._doors = console, doors

        @asynccontextmanager
        async def both(_: Starlette) -> AsyncIterator[None]:
            async with lifespan(console.services), doors.lifespan():
                yield

        self._life = Starlette(lifespan=both)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        app: ASGIApp = self._console
        if scope["type"] == "lifespan":
            app = self._life
        elif scope["type"] == "http" and self._doors.serves(scope["path"]):
            app = self._doors
        await app(scope, receive, send)


def _host_of(services: Services) -> Callable[[str], str | None]:
    """Which host a token is of."""

    def host_of(token: str) -> str | None:
        signed = services.accounts.token(token)
        return signed.person.id if signed is not None and "host" in signed.roles else None

    return host_of


_Part: TypeAlias = Callable[[Doors, Guard, Services], Part]
"""Makes a door beside the others."""


def _servers(file: Path) -> _Part:
    """What makes the door for the MCP servers that `file` names. Raises `CharterError`; ends the command where that
    door is not installed."""
    try:
        from fiducial.gateway.mcp.http import McpGateway
        from fiducial.gateway.mcp.settings import read_settings as read_servers
    except ModuleNotFoundError as error:
        fail(f"`{error.name}` is not installed: pip install 'fiducial[console,mcp]'", 2)
    settings = read_servers(file, os.environ)
    charters = {name: load_charter(own) for name in settings.servers if (own := settings.charter(name)) is not None}

    def made(doors: Doors, guard: Guard, services: Services) -> Part:
        guard_of = _guards(charters, guard, services)
        return McpGateway(settings, guard_of, doors.sessions, doors.requests, _host_of(services), url=services.origin)

    return made


def _models(charter: Path) -> Callable[[Path], _Part]:
    """What makes the door for the models that a file names; `charter`: directory of the one they have who have none."""

    def read(file: Path) -> _Part:
        """Raises `CharterError`."""
        charter_in = cache(lambda folder: load_charter(folder or charter))
        settings = read_models(file, os.environ, charter_in)
        folders = {name: settings.charter(name) or charter for name in settings.models}
        charters = {name: charter_in(settings.charter(name)) for name in settings.models}
        prompts = {
            name: prompt_of(charters[name], folders[name], model.prompt)
            for name, model in settings.models.items()
            if model.prompt
        }
        own = {name: each for name, each in charters.items() if settings.charter(name) is not None}

        def made(doors: Doors, guard: Guard, services: Services) -> Part:
            guard_of = _guards(own, guard, services)

            def sessions(model: str) -> Sessions:
                return Sessions(guard_of(model)) if model in own else doors.sessions

            return ModelGateway(
                settings, sessions, doors.requests, _host_of(services), url=services.origin, prompts=prompts
            )

        return made

    return read


def _guards(charters: Mapping[str, Charter], guard: Guard, services: Services) -> Callable[[str], Guard]:
    """Name → a guard with the charter of that name; `guard` for one that has none."""

    def guard_of(name: str) -> Guard:
        if name not in charters:
            return guard
        return Guard(charters[name], store=guard.store, mode=guard.mode, desk=services.desk)

    return guard_of


def _collector(listen: str, certificate: Path | None, key: Path | None) -> Callable[[Doors], Beside]:
    """What makes the door for traces over gRPC; ends the command where that is not installed, or cannot be there."""
    try:
        from fiducial.gateway.otlp.grpc_door import GrpcDoor
    except ModuleNotFoundError as error:
        fail(f"`{error.name}` is not installed: pip install 'fiducial[console,otel-grpc]'", 2)
    host, port = _listening(listen)
    if certificate is None and not is_loopback(host):
        fail(f"others can reach `{listen}`, and no proxy is before it: give --certificate and --key", 2)
    tls = (certificate.read_bytes(), key.read_bytes()) if certificate is not None and key is not None else None

    def made(doors: Doors) -> Beside:
        assert doors.intake is not None
        return GrpcDoor(doors.intake, doors.hosts, _shown(host, port), tls=tls)

    return made


def _hands(store: str, charter: Path, tools: str | None, captures: str | None) -> Hands:
    """What the console takes effects back with, and what somebody would type to do it in a terminal."""
    # A store's address may hold a password: whoever has a terminal there knows it.
    words = ["--charter", str(charter)] if "://" in store else ["--db", store, "--charter", str(charter)]
    for option, where in (("--tools", tools), ("--captures", captures)):
        words += [option, where or "MODULE:NAME"]
    return Hands(tools=mapping_at(tools, "--tools"), captures=mapping_at(captures, "--captures"), command=tuple(words))


def _notifying(services: Services, settings: NotifySettings) -> None:
    """Begin to tell people, until the console ends."""
    notifier = Notifier(services, settings)
    unheard = notifier.unheard()
    if unheard:
        roles = ", ".join(f"`{role}`" for role in unheard)
        warn(f"no route is for requests to {roles}: they wait in the console, and nobody is told")
    services.on_close(notifier.stop)
    notifier.start()


def _proxies(text: str) -> list[str]:
    """Addresses or networks, as they are separated by commas; ends the command when they are none."""
    given = [each.strip() for each in text.split(",")]
    for each in given:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            fail(f"`{each}` is no address of a proxy, such as 10.0.0.7 or 10.0.0.0/24", 2)
    return given


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Ends the command when they cannot be used."""
    if certificate is None or key is None:
        return

    def no_password() -> str:
        fail("the key has a password; give one without", 2)

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=no_password)
    except OSError as error:
        fail(f"`{certificate}` and `{key}` cannot be used: {error.strerror or error}", 2)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is ours; ends the command when it cannot be had."""
    try:
        [family, kind, _, _, address], *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        made = socket.socket(family, kind)
    except OSError as error:
        fail(f"nothing can listen at `{host}`: {error.strerror or error}", 2)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        # From here on nobody else can: two that are only bound may share a port.
        made.listen(2048)
    except OSError as error:
        made.close()
        fail(f"`{host}:{port}` cannot be listened at: {error.strerror or error}", 2)
    return made


def _listening(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        fail(f"`{text}` is no HOST:PORT, such as 127.0.0.1:8440", 2)
    return host.strip("[]") or "127.0.0.1", int(port)


def _shown(host: str, port: int) -> str:
    """As it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
