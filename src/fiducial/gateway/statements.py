"""What a user asked for, as a host says it to a gateway through an agent's client.

A statement is a JWT that the host signs with a key of its own (RFC 7519, JWS compact). It goes with requests as the
header `Fiducial-Task`, which the host gives to the client that it makes for its agent. Whoever carries it cannot change
it.

| part | says |
|---|---|
| header `typ` | `fiducial-task+jwt`: the host's key signs nothing else of that type, and no other token is one |
| `iss` | the host, as the settings name it |
| `aud` | address of the server that it is for |
| `sub` | the user, as their token says it |
| `sid` | the host's conversation with the user; all that is done in it is one session of the guard |
| `task` | what the user asked for |
| `iat`, `exp` | when it was signed, and until when it counts: an hour later at most |

Sent once more, it leads to the same session and all that was read there; so nobody gains by that. For another user, at
another server or too late it says nothing: the task is then not known.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fiducial.core.clock import Clock

HEADER: Final = b"fiducial-task"
TYPE: Final = "fiducial-task+jwt"
ALGORITHMS: Final = ("EdDSA", "Ed25519", "ES256", "RS256", "PS256")
"""By which tokens and statements may be signed; never `none`, never by a secret that is shared."""
_SHORTEST_RSA: Final = 2048
"""Bits: RFC 7518 sections 3.3 and 3.5."""
LONGEST: Final = 3600
"""Seconds that a statement may count."""
LEEWAY: Final = 60
"""Seconds by which another's clock may differ."""
_MOST: Final = 64 * 1024
"""Characters of a statement."""


class Unfounded(Exception):
    """A statement says nothing; the text is why, for the log."""


class Statement(msgspec.Struct, frozen=True):
    """What a host says."""

    host: str
    conversation: str
    task: str
    expires: float
    """Unix time, seconds."""


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    sub: str
    sid: str
    task: str
    iat: int
    exp: int


class Statements:
    """Reads statements."""

    def __init__(self, keys: Mapping[str, KeySet], clock: Clock) -> None:
        """`keys`: host → the public keys by which it signs."""
        self._keys, self._clock = keys, clock

    def read(self, text: str, *, user: str, audience: str, host: str | None = None) -> Statement:
        """What it says of `user` at the server whose address is `audience`; `host`: who comes in for them, whose own it
        has to be. Raises `Unfounded`."""
        if len(text) > _MOST:
            raise Unfounded("it is too long")
        try:
            named = json.loads(jws.extract_compact(text.encode()).payload)
            keys = self._keys.get(named.get("iss", ""))
            if keys is None:
                raise Unfounded("it is of no host that the settings name")
            token = jwt.decode(text, keys, algorithms=list(ALGORITHMS))
            said = msgspec.convert(token.claims, _Claims)
        except (JoseError, ValueError, TypeError, AttributeError, msgspec.ValidationError) as error:
            raise Unfounded(f"it cannot be read, or its signature does not hold ({type(error).__name__})") from error
        now = self._clock.unix_us() / 1e6
        if token.header.get("typ") != TYPE:
            raise Unfounded("it was signed for something else")
        if said.aud != audience:
            raise Unfounded("it is for another server")
        if said.sub != user:
            raise Unfounded("it is about another user")
        if host is not None and said.iss != host:
            raise Unfounded("another host signed it")
        if not said.sid or not said.task.strip():
            raise Unfounded("it names no conversation, or no task")
        if said.exp - said.iat > LONGEST or said.iat > now + LEEWAY or now >= said.exp:
            raise Unfounded("it has expired, or is for a time that may not be")
        return Statement(said.iss, said.sid, said.task, said.exp)


def is_short(jwk: Any) -> bool:
    """A JWK of RSA that is too short to count.

    Raises `KeyError`, `TypeError` or `ValueError` for one without a modulus.
    """
    if not isinstance(jwk, Mapping) or jwk.get("kty") != "RSA":
        return False
    modulus = urlsafe_b64decode(jwk["n"] + "==")  # RFC 7518 section 6.3.1.1, without padding
    return int.from_bytes(modulus).bit_length() < _SHORTEST_RSA


def carried(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The statement that a request carries, `None` when it carries none. Raises `Unfounded` when it carries several."""
    found = [value.decode("latin-1") for name, value in headers if name == HEADER]
    if len(found) > 1:
        raise Unfounded("there are several")
    return found[0] if found else None


__all__ = [
    "ALGORITHMS",
    "HEADER",
    "LEEWAY",
    "LONGEST",
    "TYPE",
    "Statement",
    "Statements",
    "Unfounded",
    "carried",
    "is_short",
]
