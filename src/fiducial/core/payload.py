"""Payloads: what an event is about, kept beside the log so that it can be erased.

The log holds only a salted digest. `digest = SHA-256(domain ‖ salt ‖ data)`, with 16 random bytes of salt stored
beside the data and deleted with it. Without the salt the digest says nothing about the data, even to someone who
can guess it (a name, an amount), and the log still verifies.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from fiducial.core.ids import RANDOM_BYTES, Digest, random_bytes

SALT_BYTES = RANDOM_BYTES
"""128 bits: NIST SP 800-132 section 5.1 asks for at least that much."""
_DOMAIN = b"fiducial/payload/v1\x00"

PayloadRole = Literal["text", "call", "facts", "result", "evidence", "note", "capture"]
"""What a payload is to its event."""


class PayloadRef(msgspec.Struct, frozen=True):
    """What the log keeps of a payload."""

    role: PayloadRole
    """What the payload is to its event."""
    digest: Digest
    """Salted SHA-256."""
    size: int
    """Bytes of data."""


class Payload(msgspec.Struct, frozen=True):
    """Data with its salt, ready to be stored."""

    ref: PayloadRef
    salt: bytes
    """16 random bytes."""
    data: bytes
    """The data itself; JSON unless the event's kind says otherwise."""


def payload_digest(salt: bytes, data: bytes) -> Digest:
    """Salted digest of `data`."""
    return Digest("sha256:" + hashlib.sha256(_DOMAIN + salt + data).hexdigest())


def seal(role: PayloadRole, data: bytes) -> Payload:
    """`data` with a fresh salt and its digest."""
    salt = random_bytes()
    return Payload(PayloadRef(role, payload_digest(salt, data), len(data)), salt, data)
