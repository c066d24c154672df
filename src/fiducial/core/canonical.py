"""Canonical bytes and digests.

Whatever is hashed is encoded once, here, stored, and hashed as stored. The form is sorted-key JSON as msgspec
writes it. For objects whose keys are ASCII, whose integers lie within ±(2⁵³ − 1) and that hold no floats it equals
RFC 8785 (JSON Canonicalization Scheme); events keep to that restriction. `tests/core/test_canonical.py` compares
the two on generated values, with the `rfc8785` package as the oracle (it is twenty times slower).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from fiducial.core.ids import Digest

SAFE_INTEGER = 2**53 - 1
"""Largest magnitude an integer may have: RFC 8785 section 3.2.2.3, after ECMAScript's Number."""

_ENCODER = msgspec.json.Encoder(order="sorted")

canonical_bytes = _ENCODER.encode
"""Canonical UTF-8 bytes of a JSON value, struct or dict. Raises `TypeError` or `ValueError` on what JSON lacks."""


def digest_bytes(data: bytes) -> Digest:
    """SHA-256 of `data`, as `sha256:` and hexadecimal digits."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest(value: Any) -> Digest:
    """SHA-256 of the canonical bytes of `value`."""
    return digest_bytes(canonical_bytes(value))
