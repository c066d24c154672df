"""Identifiers: look-alike strings kept apart by type.

Minted ids are 26 lower-case characters, a prefix, an underscore and a UUIDv7-like body: 48 bits of Unix
milliseconds and 80 random bits in Crockford base 32, so that they sort by time and cannot be guessed.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Final, NewType

SessionId = NewType("SessionId", str)
"""One run of an agent for one user: `ses_…`."""
EventId = NewType("EventId", str)
"""One recorded event: `evt_…`."""
DecisionId = NewType("DecisionId", str)
"""One verdict on one call: `dec_…`."""
SourceId = NewType("SourceId", str)
"""One thing observed in a session (a message, a tool result): `src_…`."""
Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits."""
PolicyId = NewType("PolicyId", str)
"""A policy's `@id`, namespaced: `baseline/…`, `charter/…`, `clause/…`."""
ClauseId = NewType("ClauseId", str)
"""A clause's id in `intent.yaml`."""
HoldId = NewType("HoldId", str)
"""One request to people, or question to the user: `hld_…`."""
GrantId = NewType("GrantId", str)
"""One standing permission or halt that people gave: `gra_…`, `gls_…`, `hlt_…`."""
PersonId = NewType("PersonId", str)
"""A person who oversees agents, as the console or the host's own sign-in knows them."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM = (1 << 80) - 1
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
"""All two-character groups: encoding ten bits at a time halves the work on the hot path."""


RANDOM_BYTES: Final = 16
_POOL: list[bytes] = []
"""Random bytes that were drawn ahead: asking the kernel costs more than all the rest of an id."""
_DRAWN = 4096
os.register_at_fork(after_in_child=_POOL.clear)


def random_bytes() -> bytes:
    """`RANDOM_BYTES` bytes from the operating system's generator, never handed out twice."""
    try:
        return _POOL.pop()
    except IndexError:
        drawn = os.urandom(_DRAWN)
        _POOL.extend(drawn[at : at + RANDOM_BYTES] for at in range(RANDOM_BYTES, _DRAWN, RANDOM_BYTES))
        return drawn[:RANDOM_BYTES]


def mint(prefix: str, unix_ms: int) -> str:
    """A new id with `prefix`, such as `dec`, for the instant `unix_ms` (milliseconds since 1970, UTC)."""
    number = (unix_ms << 80 | int.from_bytes(random_bytes()) & _RANDOM) & (1 << 130) - 1
    pairs = _PAIRS
    return (
        f"{prefix}_{pairs[number >> 120]}{pairs[number >> 110 & 1023]}{pairs[number >> 100 & 1023]}"
        f"{pairs[number >> 90 & 1023]}{pairs[number >> 80 & 1023]}{pairs[number >> 70 & 1023]}"
        f"{pairs[number >> 60 & 1023]}{pairs[number >> 50 & 1023]}{pairs[number >> 40 & 1023]}"
        f"{pairs[number >> 30 & 1023]}{pairs[number >> 20 & 1023]}{pairs[number >> 10 & 1023]}"
        f"{pairs[number & 1023]}"
    )


def folded_name(name: str) -> str:
    """A person's name as four eyes compare it: hosts, hooks and sign-ins write one person's in more than one way."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
