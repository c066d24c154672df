"""What the tokens of one session stand for.

A token is a keyed digest of its value, so the same value gets the same token in a session, and another one in any
other. The value lies encrypted (AES-256-GCM) under the token, bound to it: a record that was changed, or put in
another's place, is as if it were not there. Keys are derived for each session from a secret that the
caller keeps (HKDF, RFC 5869). Without it records say how many values there are and how long.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import MutableMapping
from typing import NamedTuple, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fiducial.flow.masking.tokens import written

Scalar: TypeAlias = str | int | float | bool
_SECRET_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12


class Held(NamedTuple):
    """What a token stands for."""

    data_class: str
    value: Scalar


class Vault:
    """The tokens of one session and their values, encrypted wherever they lie."""

    __slots__ = ("_cipher", "_digest_key", "_kept", "_limit", "_session")

    def __init__(
        self, secret: bytes, session: str, kept: MutableMapping[str, bytes] | None = None, *, limit: int = 100_000
    ) -> None:
        """`secret`: at least 16 random bytes, the same whenever the session is opened. `kept`: where records (token →
        bytes) lie; a dictionary of this vault's own if it is not given. `limit`: values that it takes.

        Raises `ValueError` for a secret that is too short.
        """
        if len(secret) < _SECRET_BYTES:
            raise ValueError(f"a vault's secret takes at least {_SECRET_BYTES} bytes")
        info = b"fiducial masking 1 " + session.encode()
        keys = HKDF(algorithm=SHA256(), length=2 * _KEY_BYTES, salt=None, info=info).derive(secret)
        self._digest_key = keys[:_KEY_BYTES]
        self._cipher = AESGCM(keys[_KEY_BYTES:])
        self._kept: MutableMapping[str, bytes] = {} if kept is None else kept
        self._limit = limit
        self._session = session

    def __repr__(self) -> str:
        return f"Vault(session={self._session!r}, values={len(self._kept)})"

    def token(self, value: Scalar, data_class: str) -> str | None:
        """The token for `value`, which is kept (anew if its record does not open); `None` when the vault is full."""
        plain = json.dumps([data_class, value]).encode()
        token = written(data_class, hmac.digest(self._digest_key, plain, "sha256"))
        if self.held(token) is None:
            if len(self._kept) >= self._limit and token not in self._kept:
                return None
            nonce = os.urandom(_NONCE_BYTES)
            self._kept[token] = nonce + self._cipher.encrypt(nonce, plain, token.encode())
        return token

    def held(self, token: str) -> Held | None:
        """What `token` (in small letters) stands for; `None` when it is not one of this session's."""
        record = self._kept.get(token)
        if record is None:
            return None
        try:
            plain = self._cipher.decrypt(record[:_NONCE_BYTES], record[_NONCE_BYTES:], token.encode())
        except (InvalidTag, ValueError):
            return None
        data_class, value = json.loads(plain)
        return Held(data_class, value)
