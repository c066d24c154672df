"""Who comes in to a server of MCP over HTTP: users with tokens of an authorization server, and hosts.

This is an OAuth 2.1 resource server as the MCP specification of 2025-11-25 has it (basic/authorization). A user's token
is a JWT (RFC 9068) that the issuer signed for this very server (RFC 8707): a token for another one, or of another
issuer, is worth nothing here, and none is passed on.

A host has a token of `fiducial token`. It is trusted to say for whom an agent works.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from fiducial.core.clock import Clock
from fiducial.gateway.door import Hosts, Refused
from fiducial.gateway.issuer import Issuer
from fiducial.gateway.settings import AttendedSettings, UserSettings
from fiducial.gateway.statements import ALGORITHMS, LEEWAY

USER: Final = b"fiducial-user"
"""The header by which a host says for whom an agent works, percent-encoded."""
ROLES: Final = b"fiducial-roles"
"""The header with that user's roles, percent-encoded and separated by commas."""
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt", "jwt", ""})
"""Of an access token's header, in small letters: RFC 9068, and what issuers wrote before it."""
_MOST: Final = 16 * 1024
"""Bytes of a token."""


class NotGoodFor(Refused):
    """The token is somebody's, and not good for this (403)."""


class Principal(msgspec.Struct, frozen=True):
    """Who asks."""

    who: tuple[str, ...]
    """The issuer, and who it says that this is; the host, and for whom it works."""
    user: str
    roles: tuple[str, ...] = ()
    """In order. A session belongs to them too: who has lost one begins another. What was read is known to all."""
    host: str | None = None
    """Who comes in for them; `None`: they do themselves."""
    attended: bool = False
    """The user answers the forms of the client that they come with themselves."""


class Principals:
    """Reads what requests say of who they are from."""

    def __init__(
        self, hosts: Hosts, users: UserSettings | None, clock: Clock, attended: AttendedSettings | None = None
    ) -> None:
        self._hosts, self._users, self._clock = hosts, users, clock
        self._attended = attended or AttendedSettings()
        self._issuer = Issuer(users.issuer) if users is not None else None

    async def of(self, headers: list[tuple[bytes, bytes]], resource: str) -> Principal:
        """Who asks for what is at the address `resource`. Raises `Refused`: 401 for nobody, 403 for a token that is not
        good for this."""
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) > 1:
            raise Refused(401, "send one token")
        authorization = given[0] if given else b""
        scheme, _, token = authorization.partition(b" ")
        if self._users is not None and scheme.lower() == b"bearer" and token.count(b".") == 2:
            return await self._user(token.strip(), resource, self._users)
        host = await self._hosts.of(authorization)
        return _for_whom(host, headers, attended=host in self._attended.hosts)

    async def _user(self, token: bytes, resource: str, users: UserSettings) -> Principal:
        assert self._issuer is not None
        if len(token) > _MOST:
            raise Refused(401, "the token is too long")
        try:
            read = _decoded(token, await self._issuer.keys())
            if read is None:  # the issuer may have changed its keys
                read = _decoded(token, await self._issuer.keys(afresh=True))
        except JoseError as error:
            raise Refused(401, f"the token does not hold ({type(error).__name__})") from error
        if read is None:
            raise Refused(401, "the token was signed by a key that the issuer does not have")
        claims = read.claims
        if str(read.header.get("typ", "")).lower() not in _TYPES:
            raise Refused(401, "the token is no access token")
        self._check(claims, resource, users)
        user, subject = claims.get(users.user), claims.get("sub")
        if not (isinstance(user, str) and user and isinstance(subject, str) and subject):
            raise Refused(401, "the token does not say who the user is")
        if users.scope not in _words(claims.get("scope", claims.get("scp"))):
            raise NotGoodFor(403, f"the token is not good for `{users.scope}`")
        roles = _words(claims.get(users.roles)) if users.roles else ()
        attended = claims.get("client_id") in self._attended.clients
        return Principal(("user", users.issuer, subject, user), user, tuple(sorted(set(roles))), attended=attended)

    def _check(self, claims: Mapping[str, Any], resource: str, users: UserSettings) -> None:
        if claims.get("iss") != users.issuer:
            raise Refused(401, "the token is of another issuer")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if resource not in [each.rstrip("/") for each in audiences if isinstance(each, str)]:
            raise Refused(401, "the token is for another server")
        now = self._clock.unix_us() / 1e6
        expires, begins = _time(claims.get("exp")), _time(claims.get("nbf", 0))
        if expires is None or begins is None or now >= expires + LEEWAY or now < begins - LEEWAY:
            raise Refused(401, "the token has expired, or does not count yet")


def _decoded(token: bytes, keys: KeySet) -> jwt.Token | None:
    """The token, its signature checked; `None` when the keys lack its own."""
    try:
        return jwt.decode(token, keys, algorithms=list(ALGORITHMS))
    except InvalidKeyIdError:
        return None
    except (ValueError, TypeError, RecursionError) as error:
        raise JoseError("unreadable") from error


def _for_whom(host: str, headers: list[tuple[bytes, bytes]], *, attended: bool) -> Principal:
    """For whom the host says that it works; for itself when it says nothing."""
    said = {name: [value for each, value in headers if each == name] for name in (USER, ROLES)}
    if any(len(values) > 1 for values in said.values()):
        raise Refused(400, "say once for whom the agent works")
    user = _text(said[USER][0]) if said[USER] else host
    roles = tuple(sorted({_text(each) for each in said[ROLES][0].split(b",")})) if said[ROLES] else ()
    if not user:
        raise Refused(400, "`Fiducial-User` is empty")
    return Principal(("host", host, user), user, roles, host, attended)


def _text(given: bytes) -> str:
    try:
        return unquote(given.decode("ascii"), errors="strict").strip()
    except UnicodeDecodeError:
        raise Refused(400, "write names in headers percent-encoded, in UTF-8") from None


def _words(given: Any) -> tuple[str, ...]:
    """A claim that is a list of words, or one text with spaces between them."""
    if isinstance(given, str):
        return tuple(given.split())
    return tuple(each for each in given if isinstance(each, str)) if isinstance(given, list) else ()


def _time(value: Any) -> float | None:
    """Unix time, seconds; `None` for what is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        time = float(value)
    except OverflowError:
        return None
    return time if isfinite(time) else None


__all__ = ["ROLES", "USER", "NotGoodFor", "Principal", "Principals"]
