"""The file of `fiducial up --mcp FILE`: servers, who may use them, and which hosts say what their users asked for.

Read as charters are (`fiducial.charter.yaml`): what is not understood is refused, and every problem is reported with
its line. Secrets are never in the file: it names the variables that hold them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from fiducial.charter.findings import report
from fiducial.charter.yaml import Document, read_yaml
from fiducial.core.address import is_private
from fiducial.errors import CharterError
from fiducial.gateway.mcp.statements import is_short

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 section 3.3."""


def _as_tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def _named(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if not _NAME.fullmatch(name):
            raise ValueError(f"has the name `{name[:40]}`: use a to z, 0 to 9 and `-`, 40 at most")
    return given


def _filled(given: Any) -> Any:
    if not given:
        raise ValueError("is empty")
    return given


def _private(given: str) -> str:
    if not is_private(given):
        raise ValueError("must be an https address, or one of this machine")
    return given


def _scope(given: str) -> str:
    if not _SCOPE.fullmatch(given):
        raise ValueError("must be one scope")
    return given


Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""A list of texts."""
PrivateUrl = Annotated[str, AfterValidator(_private)]
"""An address that nobody on the way reads along."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class ServerSettings(_Written):
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


class UserSettings(_Written):
    """Who issues the tokens of users."""

    issuer: PrivateUrl
    """The authorization server's issuer; its description and keys are fetched from there."""
    scope: Annotated[str, AfterValidator(_scope)] = "mcp"
    """What a token must be good for."""
    user: str = "sub"
    """The claim that says who the user is."""
    roles: str = ""
    """The claim that lists the user's roles; empty: they have none."""


class _Top(_Written):
    servers: Annotated[dict[str, ServerSettings], AfterValidator(_filled), AfterValidator(_named)]
    """Name → server: it is at `/mcp/<name>`, and pinned under that name."""
    users: UserSettings | None = None
    """Without it, only hosts come in, with tokens of `fiducial token`."""
    hosts: dict[str, str] = {}
    """Host → file of the public keys (a JWK Set) by which it signs what its users asked for."""


class McpSettings:
    """The whole file, checked, with the keys and the secrets that it names."""

    def __init__(self, written: _Top, folder: Path, keys: Mapping[str, KeySet], tokens: Mapping[str, str]) -> None:
        self.servers, self.users = written.servers, written.users
        self.keys = keys
        """Host → its public keys."""
        self._folder, self._tokens = folder, tokens

    def charter(self, server: str) -> Path | None:
        """Directory of the server's own charter."""
        named = self.servers[server].charter
        return self._folder / named if named else None

    def token(self, server: str) -> str | None:
        """With which this gateway comes in at the server."""
        return self._tokens.get(server)


def read_settings(path: Path, environment: Mapping[str, str]) -> McpSettings:
    """The settings in `path`. Raises `CharterError` with every problem, or when the file cannot be read."""
    document = Document(path.name)
    try:
        document = read_yaml(path.read_text(encoding="utf-8-sig"), path.name)
        if document.readable:
            made = _checked(document, path.parent, environment)
            if made is not None and not document.problems:
                return made
    except (OSError, UnicodeDecodeError) as error:
        document.problem((), "unreadable", f"it cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}")
    raise CharterError(document.problems)


def _checked(document: Document, folder: Path, environment: Mapping[str, str]) -> McpSettings | None:
    data = document.data if document.data is not None else {}
    try:
        top = _Top.model_validate(data)
    except ValidationError as error:
        report(document, error, _Top)
        return None
    keys: dict[str, KeySet] = {}
    tokens: dict[str, str] = {}
    for name, server in top.servers.items():
        at = ("servers", name)
        if bool(server.command) == bool(server.url):
            document.problem(at, "invalid-value", "it needs one of `command` and `url`")
        for key in ("variables",) if server.url else ("token_env",):
            if getattr(server, key):
                document.problem((*at, key), "invalid-value", f"`{key}` is not for a server of this kind")
        if server.token_env:
            tokens[name] = environment.get(server.token_env, "")
            if not tokens[name].isascii() or not tokens[name].isprintable() or not tokens[name].strip():
                document.problem((*at, "token_env"), "invalid-value", f"`{server.token_env}` holds no token")
    for host, file in top.hosts.items():
        found = _keys(document, ("hosts", host), folder / file)
        if found is not None:
            keys[host] = found
    return McpSettings(top, folder, keys, tokens)


def _keys(document: Document, at: tuple[str, ...], file: Path) -> KeySet | None:
    """The keys in a file; `None`, with a problem, when they cannot be used."""
    try:
        written = json.loads(file.read_text())
        if any(map(is_short, written["keys"])):
            document.problem(at, "invalid-value", f"`{file.name}` holds an RSA key of less than 2048 bits")
            return None
        found = KeySet.import_key_set(written)
    except (OSError, ValueError, KeyError, TypeError, JoseError):
        document.problem(at, "invalid-value", f"`{file.name}` holds no JWK Set that can be read")
        return None
    if any(key.key_type == "oct" or key.is_private for key in found):
        fix = "give the public keys alone: who has the others can say anything in this host's name"
        document.problem(at, "invalid-value", f"`{file.name}` holds keys that are secret", fix)
        return None
    return found


__all__ = ["McpSettings", "ServerSettings", "UserSettings", "read_settings"]
