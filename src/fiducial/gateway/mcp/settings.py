"""The file of `fiducial up --mcp FILE`: servers, who may use them, and which hosts say what their users asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from joserfc.jwk import KeySet
from pydantic import AfterValidator, Field, ValidationError

from fiducial.charter.findings import report
from fiducial.charter.yaml import Document
from fiducial.gateway.settings import (
    AttendedSettings,
    PrivateUrl,
    UserSettings,
    Words,
    Written,
    filled,
    keys_of,
    named,
    read,
    secret,
)
from fiducial.oversight.pins import Trust


class ServerSettings(Written):
    """One server of MCP; `command` or `url`."""

    command: Words = ()
    """What starts it; each user has a process of their own."""
    variables: Words = ()
    """Variables of the environment that reach the command, besides the few that every program needs."""
    url: PrivateUrl | None = None
    """Where it is, over streamable HTTP; https unless it is on this machine."""
    token_env: str = ""
    """The variable that holds the token with which this gateway comes in there; empty: without one. The tokens of those
    who come in here never reach the server."""
    charter: str = ""
    """Directory of the charter for this server, from this file's; empty: the one of `fiducial up`."""
    alone: bool = False
    """Agents that use it read nothing but what this server gives them; otherwise they count as having read anything."""
    pins: Trust = "first-use"
    """What is relied upon of what the server says: what it said the first time, or what an operator has approved
    (`approved`)."""


class _Top(Written):
    servers: Annotated[dict[str, ServerSettings], AfterValidator(filled), AfterValidator(named)]
    """Name → server: it is at `/mcp/<name>`, and pinned under that name."""
    users: UserSettings | None = None
    """Without it, only hosts come in, with tokens of `fiducial token`."""
    attended: AttendedSettings = AttendedSettings()
    """Clients whose user answers forms themselves."""
    hosts: dict[str, str] = Field(default_factory=dict)
    """Host → file of the public keys (a JWK Set) by which it signs what its users asked for."""


class McpSettings:
    """The whole file, checked, with the keys and the secrets that it names."""

    def __init__(self, written: _Top, folder: Path, keys: Mapping[str, KeySet], tokens: Mapping[str, str]) -> None:
        self.servers, self.users, self.attended = written.servers, written.users, written.attended
        self.keys = keys
        """Host → its public keys."""
        self._folder, self._tokens = folder, tokens

    def charter(self, server: str) -> Path | None:
        """Directory of the server's own charter."""
        own = self.servers[server].charter
        return self._folder / own if own else None

    def token(self, server: str) -> str | None:
        """With which this gateway comes in at the server."""
        return self._tokens.get(server)


def read_settings(path: Path, environment: Mapping[str, str]) -> McpSettings:
    """The settings in `path`. Raises `CharterError` with every problem, or when the file cannot be read."""
    return read(path, lambda document: _checked(document, path.parent, environment))


def _checked(document: Document, folder: Path, environment: Mapping[str, str]) -> McpSettings | None:
    try:
        top = _Top.model_validate(document.data if document.data is not None else {})
    except ValidationError as error:
        report(document, error, _Top)
        return None
    tokens: dict[str, str] = {}
    for name, server in top.servers.items():
        at = ("servers", name)
        if bool(server.command) == bool(server.url):
            document.problem(at, "invalid-value", "it needs one of `command` and `url`")
        for key in ("variables",) if server.url else ("token_env",):
            if getattr(server, key):
                document.problem((*at, key), "invalid-value", f"`{key}` is not for a server of this kind")
        if server.token_env:
            tokens[name] = secret(document, (*at, "token_env"), server.token_env, environment)
    return McpSettings(top, folder, keys_of(document, top.hosts, folder), tokens)


__all__ = ["McpSettings", "ServerSettings", "read_settings"]
